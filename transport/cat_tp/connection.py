"""One end of a CAT_TP connection, TS 102 127: datagrams in, SDUs out, and the other way round."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from transport.cat_tp.arrivals import RULES
from transport.cat_tp.pdu import ResetReason, Synchronisation
from transport.cat_tp.record import ConnectionRecord
from transport.cat_tp.settings import CatTpSettings
from transport.cat_tp.states import Input, State
from transport.errors import CatTpRejected

if TYPE_CHECKING:
    from transport.cat_tp.events import Event

_OVER: Final = frozenset({State.CLOSED, State.CLOSE_WAIT})


class CatTpConnection:
    """One end of a connection between two CAT_TP ports.

    *remote_port* None: whoever opens, for ``listen`` only. *identification*, 0..232 octets, goes into our
    SYN. *initial_sequence* (0..65535) should differ from that of the last connection of the same two ports.
    ``ValueError`` for what the header cannot hold, and from the verbs for what cannot be done in the state
    that the connection is in. All times are seconds on one clock of the caller's.

    After every call, send ``datagrams_to_send`` and take ``events_received``. Should they not be taken, the
    connection takes no more SDUs than ``max_queued_sdus`` and what one window completes.
    """

    __slots__ = ("_drops", "_record")

    def __init__(
        self,
        *,
        local_port: int,
        remote_port: int | None,
        settings: CatTpSettings | None = None,
        identification: bytes = b"",
        initial_sequence: int,
    ) -> None:
        self._record = ConnectionRecord(
            local_port=local_port,
            remote_port=remote_port,
            settings=settings or CatTpSettings(),
            identification=identification,
            initial_sequence=initial_sequence,
        )
        self._drops: Counter[str] = Counter()

    @property
    def state(self) -> State:
        """Where this end stands."""
        return self._record.state

    @property
    def peer(self) -> Synchronisation | None:
        """What the peer's SYN said of it; None before it came."""
        return self._record.peer

    @property
    def writable(self) -> bool:
        """Whether ``send`` takes an SDU now."""
        return self._record.state is State.OPEN and self._record.sending.has_room

    @property
    def idle(self) -> bool:
        """Whether every SDU sent was acknowledged: the moment to ``close`` without loss."""
        return self._record.sending.is_idle

    @property
    def held(self) -> int:
        """Octets received that no event has told of, for lack of those before or behind them."""
        return self._record.receiving.held_octets

    @property
    def drops(self) -> dict[str, int]:
        """How many datagrams were not taken, by reason.

        The reasons of ``Pdu.parse``; ``too-long`` (for our maximum PDU), ``port``, ``closed``, ``unexpected``
        (in this state), ``sequence``, ``acknowledgement`` (of what was never sent), ``reset-sequence``,
        ``parameters`` (a SYN that leaves no room for data), ``duplicate`` (acknowledged once more),
        ``crowded`` (SDUs wait to be taken) and ``sdu-too-long``. The last ends the connection, as do
        ``parameters`` in the answer to our SYN; with all others nothing changes.
        """
        return dict(self._drops)

    def connect(self, now: float) -> None:
        """Open the connection by a SYN; one that is closed may be opened again. ValueError without a port."""
        self._record.begin(Input.CONNECT)
        self._record.sending.open(now)

    def listen(self) -> None:
        """Wait for the peer to open the connection."""
        self._record.begin(Input.LISTEN)

    def send(self, sdu: bytes, now: float) -> None:
        """Send *sdu*: 1 octet to the peer's maximum; ValueError for others, and when not ``writable``."""
        peer = self._record.peer
        if peer is None or self.state is not State.OPEN:
            raise ValueError(f"nothing can be sent over a connection that is {self.state.name}")
        if not 1 <= len(sdu) <= peer.max_sdu:
            raise ValueError(f"the peer takes SDUs of 1..{peer.max_sdu} octets, not {len(sdu)}")
        if not self._record.sending.has_room:
            raise ValueError("the queue is full")
        self._record.sending.put(sdu, now)

    def probe(self, now: float) -> None:
        """Ask by a NUL whether the peer is there: if not, the connection is given up in time.

        What is under way already asks the same; nothing is sent then. ValueError when not open.
        """
        if self.state is not State.OPEN:
            raise ValueError(f"there is no peer to a connection that is {self.state.name}")
        if self.idle:
            self._record.sending.put_probe(now)

    def close(self, now: float, reason: ResetReason = ResetReason.NORMAL) -> None:
        """End the connection by an RST, at once: what waits is lost. Nothing if it is over already."""
        if self.state in _OVER:
            return
        if self.state is State.LISTEN:
            self._record.end(Input.CLOSE, reason, now)
        else:
            self._record.break_off(Input.CLOSE, reason, now)

    def receive_datagram(self, octets: bytes, now: float) -> None:
        """Take a UDP payload. What does not hold is counted in ``drops``; nothing is ever raised."""
        try:
            RULES[self.state](self._record, self._record.parse(octets), now)
        except CatTpRejected as rejection:
            self._drops[rejection.reason] += 1

    def next_timer(self) -> float | None:
        """Return when ``handle_timer`` wants to be called next, if at all."""
        record = self._record
        return record.sending.next_timer() if record.close_at is None else record.close_at

    def handle_timer(self, now: float) -> None:
        """Do what is due: repeat, give up, or forget a connection that is over. Too early does no harm."""
        record = self._record
        if record.close_at is not None:
            if record.close_at <= now:
                record.advance(Input.WAITED)
        elif not record.sending.expire(now):
            waits = record.passive and self.state is State.SYN_RECEIVED
            record.break_off(Input.FORSAKEN if waits else Input.GIVE_UP, ResetReason.MAX_RETRIES, now)

    def datagrams_to_send(self) -> list[bytes]:
        """Return the UDP payloads to send now, in order.

        Acknowledgements ride on what goes anyway; several that became due since the last call are one.
        """
        record = self._record
        datagrams = [record.encode(outgoing) for outgoing in record.sending.take()]
        if record.ack_due:
            datagrams += record.acknowledgement(needed=not datagrams)
            record.ack_due = False
        return datagrams + record.take_answers()

    def events_received(self) -> list[Event]:
        """Return what happened since the last call, in order."""
        return self._record.take_events()
