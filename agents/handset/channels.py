"""The handset's side of bearer independent channels: what its module opens, the packet network carries.

The rules of channels and buffers are the terminal's (``transport.bip``). Here is what the terminal does by
them: octets go out and come in as ``LinkPdu`` in frames, to the server whose address the module gave. TCP is
taken for what it is, in order and whole: a frame that comes again is dropped, one that is missing ends the
connection. A datagram is let go.

A handset takes one thing at a time, but the answer to its own call is heard while it waits for it: ``hear``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from bus import tracing
from bus.bearers.cat_tp_repeats import Repeats
from bus.capture import Layer
from bus.errors import BusError
from bus.frame import Bearer, Frame
from bus.topics import BipUp
from transport.bip import Connect, Disconnect, LinkKind, LinkPdu, TerminalChannels, Transmit
from transport.errors import Rejected
from transport.toolkit import TransportProtocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.handset.site import Site
    from agents.handset.slot import Slot
    from transport.bip import Action
    from transport.toolkit import Envelope, ProactiveCommand, TerminalResponse

CONNECT_TIMEOUT_S: Final = 30.0
SEGMENT_OCTETS: Final = 1400
MAX_HELD: Final = 64
"""Segments that a connection holds for a module that does not fetch them; then the connection is lost."""
_SEQUENCE: Final = 1 << 32
_BEARERS: Final[Mapping[TransportProtocol, Bearer]] = {
    TransportProtocol.TCP_CLIENT: Bearer.BIP_TCP,
    TransportProtocol.UDP_CLIENT: Bearer.BIP_UDP,
}


@dataclass(slots=True, kw_only=True)
class _Connection:
    """One channel's connection to a server."""

    channel: int
    number: int
    bearer: Bearer
    server: str
    port: int
    sent: int = 0
    received: int = 0
    held: deque[bytes] = field(default_factory=deque, repr=False)
    answer: asyncio.Future[bool] | None = None
    repeats: Repeats = field(default_factory=Repeats)


class Channels:
    """The channels of one handset's module."""

    def __init__(self, ua: str, site: Site, slot: Slot) -> None:
        self._ua = ua
        self._site = site
        self._slot = slot
        self._terminal = TerminalChannels()
        self._connections: dict[int, _Connection] = {}
        self._last_number = 0

    async def perform(self, command: ProactiveCommand) -> TerminalResponse:
        """Do what the module asks of a channel; return the terminal response."""
        step = self._terminal.command(command)
        response = step.response
        for action in step.actions:
            said = await self._act(action)
            response = said if response is None else response
        self._refill()
        assert response is not None, "what is not answered at once is answered by its connection"
        return response

    def hear(self, frame: Frame) -> bool:
        """Take the answer to a connection that the handset waits for; False: *frame* is something else."""
        try:
            pdu = LinkPdu.parse(frame.pdu)
        except Rejected:
            return False
        connection = self._connections.get(pdu.connection)
        if connection is None or connection.answer is None or not _is_of(frame, connection):
            return False
        if not connection.answer.done():
            connection.answer.set_result(pdu.kind is LinkKind.ACCEPT)
        return pdu.kind in (LinkKind.ACCEPT, LinkKind.REFUSE)

    def take(self, frame: Frame) -> None:
        """Take what a server sent. Raises Rejected for what belongs to no connection."""
        pdu = LinkPdu.parse(frame.pdu)
        connection = self._connections.get(pdu.connection)
        if connection is None or not _is_of(frame, connection):
            raise Rejected("no-such-connection")
        if pdu.kind is LinkKind.DATAGRAM:
            self._slot.record(Layer.CAT_TP, pdu.payload, uplink=False, peer=frame.source, trace=frame.trace)
            self._terminal.received(connection.channel, pdu.payload)
        elif pdu.kind is LinkKind.DATA:
            self._take_segment(connection, pdu)
        elif pdu.kind is LinkKind.CLOSE:
            self._lose(connection)
        else:
            raise Rejected("answered-before")  # of a connection that stands: QoS 1 delivers twice

    def events(self) -> list[Envelope]:
        """Return what the module wants to be told and has not been told yet."""
        return self._terminal.events()

    def lose_all(self) -> None:
        """Lose every connection: the handset is off, or out of reach."""
        for connection in tuple(self._connections.values()):
            self._lose(connection)

    def _take_segment(self, connection: _Connection, pdu: LinkPdu) -> None:
        gap = (pdu.sequence - connection.received) % _SEQUENCE
        if gap:
            if gap < _SEQUENCE // 2:
                self._lose(connection)
                raise Rejected("segment-missing")
            raise Rejected("segment-repeated")
        if len(connection.held) >= MAX_HELD:
            self._lose(connection)
            raise Rejected("module-does-not-fetch")
        connection.received = (connection.received + len(pdu.payload)) % _SEQUENCE
        connection.held.append(pdu.payload)
        self._refill()

    def _refill(self) -> None:
        """Give the terminal's buffers what they have room for again."""
        for connection in self._connections.values():
            while connection.held and (room := self._terminal.room(connection.channel)):
                segment = connection.held.popleft()
                self._terminal.received(connection.channel, segment[:room])
                if segment[room:]:
                    connection.held.appendleft(segment[room:])

    def _lose(self, connection: _Connection) -> None:
        del self._connections[connection.number]
        if connection.answer is not None and not connection.answer.done():
            connection.answer.set_result(False)
        self._terminal.dropped(connection.channel)

    async def _act(self, action: Action) -> TerminalResponse | None:
        if isinstance(action, Connect):
            return await self._connect(action)
        connection = next((one for one in self._connections.values() if one.channel == action.channel), None)
        if connection is None:
            return None
        if isinstance(action, Transmit):
            await self._transmit(connection, action.octets)
        elif isinstance(action, Disconnect):
            del self._connections[connection.number]
            if connection.bearer is Bearer.BIP_TCP:
                await self._send(connection, LinkKind.CLOSE)
        return None

    async def _connect(self, action: Connect) -> TerminalResponse | None:
        self._last_number = self._last_number % 0xFFFF + 1
        connection = _Connection(
            channel=action.channel,
            number=self._last_number,
            bearer=_BEARERS[action.protocol],
            server=str(IPv4Address(action.address)),
            port=action.port,
        )
        self._connections[connection.number] = connection
        if connection.bearer is Bearer.BIP_UDP:
            return None
        if await self._is_accepted(connection):
            return self._terminal.connected(action.channel)
        self._connections.pop(connection.number, None)
        return self._terminal.refused(action.channel)

    async def _is_accepted(self, connection: _Connection) -> bool:
        connection.answer = asyncio.get_running_loop().create_future()
        try:
            async with self._site.clock.timeout(CONNECT_TIMEOUT_S):
                return await self._send(connection, LinkKind.OPEN) and await connection.answer
        except TimeoutError:
            return False
        finally:
            connection.answer = None

    async def _transmit(self, connection: _Connection, octets: bytes) -> None:
        if connection.bearer is Bearer.BIP_UDP:
            await self._send(connection, LinkKind.DATAGRAM, octets)
            return
        for at in range(0, len(octets), SEGMENT_OCTETS):
            segment = octets[at : at + SEGMENT_OCTETS]
            await self._send(connection, LinkKind.DATA, segment)
            connection.sent = (connection.sent + len(segment)) % _SEQUENCE

    async def _send(self, connection: _Connection, kind: LinkKind, payload: bytes = b"") -> bool:
        pdu = LinkPdu(
            kind=kind,
            connection=connection.number,
            port=connection.port,
            sequence=connection.sent,
            payload=payload,
        )
        attempt = connection.repeats.time_of(payload) if kind is LinkKind.DATAGRAM else 1
        if attempt > 1:
            self._site.counters.retried(connection.bearer)
        frame = Frame(
            bearer=connection.bearer,
            source=self._ua,
            destination=connection.server,
            pdu=pdu.encode(),
            reference=self._site.console.rng(8),
            trace=self._slot.trace,
            sent_at=self._site.clock.now(),
            attempt=attempt,
        )
        span = tracing.child(frame.trace)
        if kind is LinkKind.DATAGRAM:
            self._slot.record(Layer.CAT_TP, payload, uplink=True, peer=connection.server, trace=span)
        topic = BipUp(fleet=self._site.fleet, server=connection.server)
        try:
            return await self._site.antenna.up(self._ua, topic, frame, span)
        except BusError as error:
            self._site.log.warning("phone.not_sent", reason=type(error).__name__, bearer=str(frame.bearer))
            return False


def _is_of(frame: Frame, connection: _Connection) -> bool:
    """Whether *frame* comes from where *connection* leads."""
    return frame.bearer is connection.bearer and frame.source == connection.server
