"""What stands between a link's packets and the octets of its channel: one wire for each transport protocol.

Over TCP packets stand one behind the other, and the first says who we are. Over UDP each packet is a service
data unit of CAT_TP, and each of its protocol data units a datagram.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from transport.cat_tp import CARD_SETTINGS, HEADER_OCTETS, CatTpConnection, Closed, Opened, SduReceived
from transport.errors import Rejected
from transport.iccid import iccid_octets
from transport.secured_packet import PacketStream, encode_identification
from transport.toolkit import TransportProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from transport.security.suites import Rng

MAX_PACKET: Final = 8192
"""The longest packet that a module takes over a channel: as much as it buffers of short messages."""


MAX_WAITING: Final = 64
"""Packets that wait to be sent; a server that takes nothing and asks for more loses its link."""
_SYN_FIELDS_OCTETS: Final = 5


class Wire(Protocol):
    """What stands between packets and the octets of a channel."""

    def opened(self, buffer: int, now: float) -> None:
        """Begin: the channel is there, its buffer *buffer* octets. Raises Rejected when that is too few."""

    def send(self, packet: bytes, now: float) -> None:
        """Take one packet to send. Raises Rejected when it cannot be, or too many wait."""

    def receive(self, octets: bytes, now: float) -> list[bytes]:
        """Take what came; return the packets that it completes. Raises Rejected when nothing more can."""

    def outgoing(self, now: float) -> list[bytes]:
        """Return what to send now, each in one piece of its own. Raises Rejected when nothing more can."""

    def close(self, now: float) -> None:
        """Say good-bye, if this wire does: ``outgoing`` has it."""

    @property
    def due(self) -> float | None:
        """When ``outgoing`` will have something again by itself."""


class StreamWire:
    """Packets one behind the other, over TCP; the first one says who we are (TS 102 225, CPI 03)."""

    def __init__(self, ua: str) -> None:
        self._ua = ua
        self._stream = PacketStream(MAX_PACKET)
        self._waiting: list[bytes] = []

    due: float | None = None

    def opened(self, buffer: int, now: float) -> None:  # noqa: ARG002 -- TCP has its own pieces and time
        """Say who we are."""
        self._waiting.insert(0, encode_identification(iccid_octets(self._ua)))

    def send(self, packet: bytes, now: float) -> None:  # noqa: ARG002
        """Take one packet to send; raises Rejected for one too many."""
        _put(self._waiting, packet)

    def receive(self, octets: bytes, now: float) -> list[bytes]:  # noqa: ARG002
        """Take octets of the stream; return the packets that they complete."""
        return self._stream.receive(octets)

    def close(self, now: float) -> None:  # noqa: ARG002
        """Say nothing: the end of the connection says it."""
        self._waiting.clear()

    def outgoing(self, now: float) -> list[bytes]:  # noqa: ARG002
        """Return what waits."""
        waiting, self._waiting = self._waiting, []
        return waiting


class CatTpWire:
    """Each packet a service data unit of CAT_TP, each protocol data unit a datagram."""

    def __init__(self, ua: str, ports: tuple[int, int], sequence: int) -> None:
        self._identification = iccid_octets(ua)
        self._ports = ports
        self._sequence = sequence
        self._connection: CatTpConnection | None = None
        self._waiting: list[bytes] = []
        self._room = 0

    @property
    def due(self) -> float | None:
        """When a time-out of the connection is."""
        return self._connection.next_timer() if self._connection else None

    def opened(self, buffer: int, now: float) -> None:
        """Open the connection; its datagrams must fit *buffer*."""
        if buffer < HEADER_OCTETS + _SYN_FIELDS_OCTETS + len(self._identification):
            raise Rejected("buffer", f"{buffer} octets")
        own, server = self._ports
        self._connection = CatTpConnection(
            local_port=own,
            remote_port=server,
            settings=replace(CARD_SETTINGS, max_pdu=min(CARD_SETTINGS.max_pdu, buffer)),
            identification=self._identification,
            initial_sequence=self._sequence,
        )
        self._connection.connect(now)

    def send(self, packet: bytes, now: float) -> None:
        """Take one packet; it waits for the connection."""
        _put(self._waiting, packet)
        self._give(now)

    def receive(self, octets: bytes, now: float) -> list[bytes]:
        """Take one datagram; raises Rejected once the connection is closed."""
        if self._connection is not None:
            self._connection.receive_datagram(octets, now)
        return self._events(now)

    def close(self, now: float) -> None:
        """Reset the connection, so that the server does not wait for what will not come."""
        if self._connection is not None:
            self._connection.close(now)

    def outgoing(self, now: float) -> list[bytes]:
        """Return the datagrams to send, those of time-outs that are over among them."""
        if self._connection is None:
            return []
        due = self.due
        if due is not None and due <= now:
            self._connection.handle_timer(now)
            self._events(now)
        return self._connection.datagrams_to_send()

    def _events(self, now: float) -> list[bytes]:
        packets: list[bytes] = []
        for event in self._connection.events_received() if self._connection else ():
            if isinstance(event, Opened):
                self._room = event.max_sdu
                self._give(now)
            elif isinstance(event, SduReceived):
                packets.append(event.octets)
            elif isinstance(event, Closed):
                raise Rejected("cat-tp-closed", str(event.reason))
        return packets

    def _give(self, now: float) -> None:
        while self._connection is not None and self._waiting and self._connection.writable:
            packet = self._waiting.pop(0)
            if len(packet) > self._room:
                raise Rejected("max-sdu", f"{len(packet)} octets, where the server takes {self._room}")
            self._connection.send(packet, now)


def _put(waiting: list[bytes], packet: bytes) -> None:
    if len(waiting) >= MAX_WAITING:
        raise Rejected("crowded", f"{MAX_WAITING} packets wait")
    waiting.append(packet)


def wire_of(protocol: TransportProtocol, ua: str, port: int, rng: Rng) -> Wire:
    """Return the wire for a channel of *protocol* to the server's *port*, of the module *ua*."""
    return _WIRES[protocol](ua, port, rng)


def _stream(ua: str, _port: int, _rng: Rng) -> Wire:
    return StreamWire(ua)


def _cat_tp(ua: str, port: int, rng: Rng) -> Wire:
    return CatTpWire(ua, (port, port), int.from_bytes(rng(2), "big"))


_WIRES: Final[Mapping[TransportProtocol, Callable[[str, int, Rng], Wire]]] = {
    TransportProtocol.TCP_CLIENT: _stream,
    TransportProtocol.UDP_CLIENT: _cat_tp,
}
