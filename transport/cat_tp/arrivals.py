"""What a PDU does to a connection, by the state that the connection is in (RFC 908 §3.7.2).

Each rule takes a PDU that holds and is for this connection. What it does not take it rejects by reason, and
then nothing has changed but that an acknowledgement or an RST may be due.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from transport.cat_tp.events import SduReceived
from transport.cat_tp.pdu import Flags, ResetReason, refusal
from transport.cat_tp.receiving import Place
from transport.cat_tp.states import Input, State
from transport.errors import CatTpRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from transport.cat_tp.pdu import Pdu
    from transport.cat_tp.record import ConnectionRecord


def _in_closed(record: ConnectionRecord, pdu: Pdu, _now: float) -> None:
    """Say that nobody is here."""
    opens = pdu.synchronisation is not None
    _refuse(record, pdu, ResetReason.PORT_NOT_AVAILABLE if opens else ResetReason.UNEXPECTED_PDU)
    raise CatTpRejected("closed", repr(pdu.flags))


def _in_listen(record: ConnectionRecord, pdu: Pdu, now: float) -> None:
    """Answer a SYN; whatever else comes is of a connection that is no more."""
    if pdu.flags != Flags.SYN:
        _refuse(record, pdu, ResetReason.UNEXPECTED_PDU)
        raise CatTpRejected("unexpected", repr(pdu.flags))
    record.learn(pdu)
    record.advance(Input.SYN)
    record.sending.open(now)


def _in_syn_sent(record: ConnectionRecord, pdu: Pdu, now: float) -> None:
    """Open when the peer answers our SYN; end when it refuses; meet it when it opens at the same time."""
    acknowledges = pdu.flags & Flags.ACK != 0
    if acknowledges and not record.sending.is_last(pdu.acknowledgement):
        _refuse(record, pdu, ResetReason.UNEXPECTED_PDU)
        raise CatTpRejected("acknowledgement", str(pdu.acknowledgement))
    if pdu.reason is not None:
        if not acknowledges:
            raise CatTpRejected("reset-sequence", "it does not acknowledge our SYN")
        record.end(Input.RESET, pdu.reason, now)
        return
    try:
        record.learn(pdu)
    except CatTpRejected as rejection:
        if rejection.reason == "parameters":
            record.end(Input.CLOSE, ResetReason.ILLEGAL_PARAMETERS, now)
        raise
    if acknowledges:
        record.open(Input.SYN_ACK)
        record.sending.acknowledge(pdu.acknowledgement, window=pdu.window, now=now)
        record.ack_due = True
    else:
        record.advance(Input.SYN)
        record.sending.repeat()


def _in_syn_received(record: ConnectionRecord, pdu: Pdu, now: float) -> None:
    """Open with whatever acknowledges our SYN. To the peer's own again our timer gives the answer again."""
    if pdu.reason is not None:
        _check_reset(record, pdu)
        record.end(Input.FORSAKEN if record.passive else Input.RESET, pdu.reason, now)
        return
    if pdu.synchronisation is not None and pdu.sequence != record.receiving.initial_sequence:
        raise CatTpRejected("sequence", f"another SYN, {pdu.sequence}")
    if pdu.flags == Flags.SYN:
        raise CatTpRejected("duplicate", "SYN")
    if not record.receiving.is_near(pdu.sequence):
        raise CatTpRejected("sequence", str(pdu.sequence))
    if not record.sending.is_last(pdu.acknowledgement):
        _refuse(record, pdu, ResetReason.UNEXPECTED_PDU)
        raise CatTpRejected("acknowledgement", str(pdu.acknowledgement))
    if pdu.synchronisation is None:
        record.open(Input.ACK)
        _in_open(record, pdu, now)
    else:
        record.open(Input.SYN_ACK)
        record.sending.acknowledge(pdu.acknowledgement, window=pdu.window, now=now)
        record.ack_due = True


def _in_open(record: ConnectionRecord, pdu: Pdu, now: float) -> None:
    """Take acknowledgements, data and NULs; a SYN is a late duplicate, or of a peer that began anew."""
    if pdu.reason is not None:
        _check_reset(record, pdu)
        record.end(Input.RESET, pdu.reason, now)
        return
    # What has a number is answered, be it taken or not: to a duplicate the answer may have been lost, and a
    # peer that knows nothing of this connection answers the answer by an RST. A mere ACK is not, or two ends
    # that disagree would go on for ever.
    record.ack_due |= pdu.takes_number
    if pdu.synchronisation is not None:
        is_old = pdu.sequence == record.receiving.initial_sequence
        raise CatTpRejected("duplicate" if is_old else "unexpected", "SYN")
    if not record.receiving.is_near(pdu.sequence):
        raise CatTpRejected("sequence", str(pdu.sequence))
    if not record.sending.acknowledge(pdu.acknowledgement, window=pdu.window, now=now):
        raise CatTpRejected("acknowledgement", str(pdu.acknowledgement))
    record.sending.acknowledge_single(pdu.extended, now)
    if pdu.takes_number:
        _PLACES[record.receiving.place(pdu.sequence)](record, pdu, now)


def _in_close_wait(record: ConnectionRecord, pdu: Pdu, _now: float) -> None:
    """Tell a peer that does not know yet."""
    if pdu.reason is not None:
        _check_reset(record, pdu)
        record.advance(Input.RESET)
        return
    record.repeat_farewell()
    raise CatTpRejected("closed", repr(pdu.flags))


def _next(record: ConnectionRecord, pdu: Pdu, now: float) -> None:
    """Take what was missing. Data that nobody fetches has to be sent again."""
    if pdu.payload and len(record.events) >= record.settings.max_queued_sdus:
        raise CatTpRejected("crowded", f"{len(record.events)} events wait to be taken")
    try:
        sdus = record.receiving.take(pdu)
    except CatTpRejected:
        record.break_off(Input.CLOSE, ResetReason.UNEXPECTED_PDU, now)
        raise
    record.events.extend(SduReceived(octets=sdu) for sdu in sdus)


def _ahead(record: ConnectionRecord, pdu: Pdu, _now: float) -> None:
    """Keep what lies within the window."""
    record.receiving.hold(pdu)


def _again(_record: ConnectionRecord, pdu: Pdu, _now: float) -> None:
    """Acknowledge what is here once more."""
    raise CatTpRejected("duplicate", str(pdu.sequence))


def _outside(_record: ConnectionRecord, pdu: Pdu, _now: float) -> None:
    """Leave what the peer should not have sent yet."""
    raise CatTpRejected("sequence", str(pdu.sequence))


def _refuse(record: ConnectionRecord, pdu: Pdu, reason: ResetReason) -> None:
    """Answer *pdu* by an RST, unless it is one."""
    if pdu.reason is None:
        record.answer(refusal(pdu, reason).encode())


def _check_reset(record: ConnectionRecord, pdu: Pdu) -> None:
    """Reject an RST whose number the peer cannot have had next: it was overtaken, or comes from elsewhere."""
    if not record.receiving.may_reset(pdu.sequence):
        raise CatTpRejected("reset-sequence", str(pdu.sequence))


_PLACES: Final[Mapping[Place, Callable[[ConnectionRecord, Pdu, float], None]]] = MappingProxyType(
    {
        Place.NEXT: _next,
        Place.AHEAD: _ahead,
        Place.HELD: _again,
        Place.PAST: _again,
        Place.OUTSIDE: _outside,
    }
)

RULES: Final[Mapping[State, Callable[[ConnectionRecord, Pdu, float], None]]] = MappingProxyType(
    {
        State.CLOSED: _in_closed,
        State.LISTEN: _in_listen,
        State.SYN_SENT: _in_syn_sent,
        State.SYN_RECEIVED: _in_syn_received,
        State.OPEN: _in_open,
        State.CLOSE_WAIT: _in_close_wait,
    }
)
