"""The two protocols below a link: a stream (TCP), and service data units (CAT_TP on UDP).

A line turns ``LinkPdu`` into packets and packets into ``LinkPdu``. It knows neither clock nor broker: its
shell sends what ``outgoing`` returns after each call and looks at ``is_open`` and ``over``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from typing import TYPE_CHECKING, ClassVar, Final

from bus.frame import Bearer
from transport.bip.link import LinkKind, LinkPdu
from transport.cat_tp import CatTpConnection, Closed, Opened, SduReceived, State
from transport.errors import BipRejected, CatTpRejected, PacketRejected
from transport.secured_packet.stream import PacketStream

if TYPE_CHECKING:
    from transport.cat_tp import ResetReason
    from transport.errors import Rejected

_SEQUENCE: Final = 1 << 32


class Line(ABC):
    """One end of a connection to the channel *connection* of a handset, on our *port*.

    *over* says why it carries nothing any more, None as long as it does; an end that we choose has no reason.
    """

    bearer: ClassVar[Bearer]

    def __init__(self, connection: int, port: int) -> None:
        self.connection = connection
        self.is_open = False
        self.over: str | None = None
        self._port = port
        self._outgoing: list[LinkPdu] = []

    @abstractmethod
    def take(self, pdu: LinkPdu, now: float) -> list[bytes]:
        """Take what came; return the packets that it completes. Raises Rejected for what is not taken."""

    @abstractmethod
    def fits(self, packet: bytes) -> bool:
        """Whether the other end takes a packet as long as *packet*."""

    @abstractmethod
    def send(self, packet: bytes, now: float) -> None:
        """Send *packet*, which must fit."""

    @abstractmethod
    def hang_up(self, now: float) -> None:
        """End the connection and tell the other end."""

    @property
    def due(self) -> float | None:
        """When ``expire`` wants to be called next, if at all."""
        return None

    def expire(self, now: float) -> None:  # noqa: B027 -- most lines have no time of their own
        """Do what is due; too early does no harm."""

    def outgoing(self) -> list[LinkPdu]:
        """Return what is to be sent now, in order."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def _say(self, kind: LinkKind, payload: bytes = b"", sequence: int = 0) -> None:
        self._outgoing.append(
            LinkPdu(
                kind=kind, connection=self.connection, port=self._port, sequence=sequence, payload=payload
            )
        )


class StreamLine(Line):
    """TCP: packets one behind the other, accepted as soon as it is made; at most *segment* octets in a PDU.

    The network below is reliable and in order, but a broker may deliver twice: octets that were there already
    are dropped (``segment-repeated``). That some are missing ends the line (``segment-missing``).
    """

    bearer = Bearer.BIP_TCP

    def __init__(self, connection: int, port: int, *, segment: int) -> None:
        super().__init__(connection, port)
        self._segment = segment
        self._sent = self._received = 0
        self._stream = PacketStream()
        self.is_open = True
        self._say(LinkKind.ACCEPT)

    def take(self, pdu: LinkPdu, now: float) -> list[bytes]:  # noqa: ARG002 -- TCP's time is the network's
        """Take octets of the stream, or the end of it."""
        if pdu.kind is LinkKind.CLOSE:
            self.over = "by-module"
            return []
        if pdu.kind is not LinkKind.DATA:
            raise BipRejected("wrong-kind")
        gap = (pdu.sequence - self._received) % _SEQUENCE
        if gap >= _SEQUENCE // 2:
            raise BipRejected("segment-repeated")
        if gap:
            raise self._break_off(BipRejected("segment-missing", f"{gap} octets"))
        self._received = (self._received + len(pdu.payload)) % _SEQUENCE
        return self._packets(pdu.payload)

    def fits(self, packet: bytes) -> bool:  # noqa: ARG002
        """Say yes: a stream has no limit but that of packets."""
        return True

    def send(self, packet: bytes, now: float) -> None:  # noqa: ARG002
        """Send *packet* in segments."""
        for at in range(0, len(packet), self._segment):
            segment = packet[at : at + self._segment]
            self._say(LinkKind.DATA, segment, self._sent)
            self._sent = (self._sent + len(segment)) % _SEQUENCE

    def hang_up(self, now: float) -> None:  # noqa: ARG002
        """Close the connection."""
        self._say(LinkKind.CLOSE, sequence=self._sent)

    def _packets(self, octets: bytes) -> list[bytes]:
        packets: list[bytes] = []
        try:
            packets = self._stream.receive(octets)
            if self._stream.is_dead:
                self._stream.receive(b"")  # says why
        except PacketRejected as rejection:
            self._break_off(rejection)
            if not packets:
                raise
        return packets

    def _break_off(self, rejection: Rejected) -> Rejected:
        self._say(LinkKind.CLOSE, sequence=self._sent)
        self.over = rejection.reason
        return rejection


class CatTpLine(Line):
    """UDP: *cat_tp*, which listens; each packet is one service data unit, each PDU a datagram.

    A connection that nobody opens after all, or that the module resets, is over; so is one that was given up.
    """

    bearer = Bearer.BIP_UDP

    def __init__(self, connection: int, port: int, *, cat_tp: CatTpConnection) -> None:
        super().__init__(connection, port)
        self._cat_tp = cat_tp
        self._waiting: deque[bytes] = deque()
        cat_tp.listen()

    def take(self, pdu: LinkPdu, now: float) -> list[bytes]:
        """Take a datagram."""
        before = Counter(self._cat_tp.drops)
        self._cat_tp.receive_datagram(pdu.payload, now)
        packets = self._events(now)
        if dropped := Counter(self._cat_tp.drops) - before:
            raise CatTpRejected(next(iter(dropped)))
        return packets

    def fits(self, packet: bytes) -> bool:
        """Whether the module takes a service data unit of that length."""
        peer = self._cat_tp.peer
        return peer is not None and len(packet) <= peer.max_sdu

    def send(self, packet: bytes, now: float) -> None:
        """Send *packet*, as soon as there is room for it."""
        self._waiting.append(packet)
        self._give(now)

    def hang_up(self, now: float) -> None:
        """Reset the connection."""
        self._cat_tp.close(now)

    @property
    def due(self) -> float | None:
        """When something is to be sent again or given up."""
        return self._cat_tp.next_timer()

    def expire(self, now: float) -> None:
        """Send again, or give up."""
        self._cat_tp.handle_timer(now)
        self._events(now)

    def outgoing(self) -> list[LinkPdu]:
        """Return the datagrams to send."""
        for octets in self._cat_tp.datagrams_to_send():
            self._say(LinkKind.DATAGRAM, octets)
        return super().outgoing()

    def _events(self, now: float) -> list[bytes]:
        packets = []
        for event in self._cat_tp.events_received():
            match event:
                case Opened():
                    self.is_open = True
                case SduReceived():
                    packets.append(event.octets)
                case Closed():
                    self.over = _words(event.reason)
        if self._cat_tp.state is State.LISTEN:
            self.over = "forsaken"
        self._give(now)
        return packets

    def _give(self, now: float) -> None:
        while self._waiting and self._cat_tp.writable:
            self._cat_tp.send(self._waiting.popleft(), now)


def _words(reason: ResetReason) -> str:
    return f"cat-tp-{reason.name.lower().replace('_', '-')}"
