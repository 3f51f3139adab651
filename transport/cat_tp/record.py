"""What one end knows of its connection, and the PDUs that it says of it (RFC 908 §3.2.4 "connection record").

The verbs of the shell (``connection``) and the PDUs of the peer (``arrivals``) both work on this.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from transport.cat_tp.events import Closed, Event, Opened
from transport.cat_tp.pdu import (
    HEADER_OCTETS,
    MAX_HEADER,
    MAX_IDENTIFICATION,
    Flags,
    Pdu,
    ResetReason,
    Synchronisation,
    refusal,
)
from transport.cat_tp.receiving import ReceivingHalf
from transport.cat_tp.sending import SendingHalf
from transport.cat_tp.settings import SMALLEST_MAX_PDU, CatTpSettings
from transport.cat_tp.states import Input, State, step
from transport.errors import CatTpRejected

if TYPE_CHECKING:
    from transport.cat_tp.flight import Outgoing

_MAX_ANSWERS: Final = 4  # RSTs that wait to be sent; more would tell nobody anything new


class ConnectionRecord:
    """The state of one end, its two halves, and what waits for its shell.

    *passive*: it comes from listening. *peer*: what the peer's SYN said, None before it came. *ack_due*: the
    peer is to be told what came. *close_at*: when CLOSE-WAIT is over, None in other states.
    """

    __slots__ = (
        "_answers",
        "_farewell",
        "_identification",
        "_local_port",
        "_peer_port",
        "_remote_port",
        "ack_due",
        "close_at",
        "events",
        "passive",
        "peer",
        "receiving",
        "sending",
        "settings",
        "state",
    )

    def __init__(
        self,
        *,
        local_port: int,
        remote_port: int | None,
        settings: CatTpSettings,
        identification: bytes,
        initial_sequence: int,
    ) -> None:
        if (local_port | (remote_port or 0) | initial_sequence) >> 16:
            raise ValueError("ports and sequence numbers have 16 bits")
        if len(identification) > MAX_IDENTIFICATION:
            raise ValueError(f"an identification of {len(identification)} octets")
        self.settings = settings
        self._local_port = local_port
        self._remote_port = remote_port
        self._identification = identification
        self.state = State.CLOSED
        self.events: list[Event] = []
        self._answers: deque[bytes] = deque(maxlen=_MAX_ANSWERS)
        self.peer: Synchronisation | None
        self.close_at: float | None
        self._peer_port: int | None
        self._farewell: bytes | None
        self.sending = SendingHalf(settings, initial_sequence)
        self._forget()

    # the life of a connection

    def begin(self, happened: Input) -> None:
        """Start anew, opening or listening, with the number behind the last one of the connection before."""
        if happened is Input.CONNECT and self._remote_port is None:
            raise ValueError("there is no port to connect to")
        self.state = step(self.state, happened)
        self._forget()

    def advance(self, happened: Input) -> None:
        """Go where the table says; from CLOSE-WAIT there is nothing more to wait for."""
        self.state = step(self.state, happened)
        self.close_at = None

    def learn(self, pdu: Pdu) -> None:
        """Take what the SYN *pdu* says of the peer.

        CatTpRejected (``unexpected``: it is none; ``parameters``: no data could ever be sent, and this is
        answered), and nothing is learnt.
        """
        peer = pdu.synchronisation
        if peer is None:
            raise CatTpRejected("unexpected", repr(pdu.flags))
        if peer.max_pdu < SMALLEST_MAX_PDU or peer.max_sdu < 1:
            self.answer(refusal(pdu, ResetReason.ILLEGAL_PARAMETERS).encode())
            raise CatTpRejected("parameters", f"PDUs of {peer.max_pdu}, SDUs of {peer.max_sdu} octets")
        self.peer = peer
        self._peer_port = pdu.source_port
        self.receiving = ReceivingHalf(self.settings, pdu.sequence)
        self.sending.limit(max_pdu=peer.max_pdu, window=pdu.window)

    def open(self, happened: Input) -> None:
        """Tell the shell that the peer acknowledged our SYN."""
        assert self.peer is not None  # its SYN came first, or there is no such transition
        self.state = step(self.state, happened)
        self.events.append(
            Opened(
                identification=self.peer.identification,
                max_pdu=self.peer.max_pdu,
                max_sdu=self.peer.max_sdu,
            )
        )

    def break_off(self, happened: Input, reason: ResetReason, now: float) -> None:
        """End the connection from this side: tell the peer, and again whenever it shows not to know."""
        flags = Flags.RST if self.peer is None else Flags.RST | Flags.ACK
        self._farewell = self.pdu(flags, reason=reason).encode()
        self.answer(self._farewell)
        self.end(happened, reason, now)

    def end(self, happened: Input, reason: ResetReason, now: float) -> None:
        """Leave the connection by one of the ways that the table has."""
        self.state = step(self.state, happened)
        if self.state is State.LISTEN:
            self._forget()
            return
        self.sending.stop()
        self.ack_due = False
        if self.state is State.CLOSE_WAIT:
            self.close_at = now + self.settings.close_wait_s
        self.events.append(Closed(reason=reason))

    # what is said of it

    def parse(self, octets: bytes) -> Pdu:
        """Return the PDU that *octets* are; CatTpRejected if none, too long, or not between our two ports."""
        # no peer knows our limit before its SYN, which is never longer than a header may be
        if len(octets) > max(self.settings.max_pdu, MAX_HEADER):
            raise CatTpRejected("too-long", f"{len(octets)} octets")
        pdu = Pdu.parse(octets)
        if pdu.destination_port != self._local_port or self._peer_port not in {None, pdu.source_port}:
            raise CatTpRejected("port", f"{pdu.source_port} to {pdu.destination_port}")
        return pdu

    def pdu(
        self,
        flags: Flags,
        outgoing: Outgoing | None = None,
        *,
        synchronisation: Synchronisation | None = None,
        extended: tuple[int, ...] = (),
        reason: ResetReason | None = None,
    ) -> Pdu:
        """Return a PDU to the peer that says what came of it; *outgoing* None: one that takes no number."""
        return Pdu(
            flags=flags,
            source_port=self._local_port,
            destination_port=self._peer_port or 0,
            sequence=self.sending.next_sequence if outgoing is None else outgoing.sequence,
            acknowledgement=self.receiving.current,
            window=self.settings.window,
            payload=b"" if outgoing is None else outgoing.payload,
            synchronisation=synchronisation,
            extended=extended,
            reason=reason,
        )

    def encode(self, outgoing: Outgoing) -> bytes:
        """Return the octets of *outgoing* as they go now."""
        if outgoing.flags != Flags.SYN:
            return self.pdu(outgoing.flags, outgoing).encode()
        ours = Synchronisation(
            max_pdu=self.settings.max_pdu,
            max_sdu=self.settings.max_sdu,
            identification=self._identification,
        )
        flags = Flags.SYN if self.peer is None else Flags.SYN | Flags.ACK
        return self.pdu(flags, outgoing, synchronisation=ours).encode()

    def acknowledgement(self, *, needed: bool) -> list[bytes]:
        """Return the PDU that names what came out of order; if nothing did, a plain ACK if *needed*."""
        assert self.peer is not None  # there is nothing to acknowledge
        # each number takes two octets of a PDU that the peer must be able to take
        numbers = self.receiving.out_of_order((self.peer.max_pdu - HEADER_OCTETS) // 2)
        if numbers:
            return [self.pdu(Flags.ACK | Flags.EAK, extended=numbers).encode()]
        return [self.pdu(Flags.ACK).encode()] if needed else []

    def answer(self, octets: bytes) -> None:
        """Send an RST, once however often it is asked for."""
        if octets not in self._answers:
            self._answers.append(octets)

    def repeat_farewell(self) -> None:
        """Tell the peer once more that it is over, if it was we who ended it."""
        if self._farewell is not None:
            self.answer(self._farewell)

    def take_answers(self) -> list[bytes]:
        """Return the RSTs that wait to be sent."""
        answers = list(self._answers)
        self._answers.clear()
        return answers

    def take_events(self) -> list[Event]:
        """Return what waits to be told."""
        events, self.events = self.events, []
        return events

    def _forget(self) -> None:
        """Be as before the connection."""
        self.passive = self.state is State.LISTEN
        self.peer = None
        self._peer_port = self._remote_port
        self.sending = SendingHalf(self.settings, self.sending.next_sequence)
        self.receiving = ReceivingHalf(self.settings, 0)
        self.ack_due = False
        self.close_at = None
        self._farewell = None
