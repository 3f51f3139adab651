"""A handset as a server of the bearer independent protocol sees it: channels, and a module that answers.

It is made of the codecs that the server uses, put together the other way round, and errs as it is told.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bus.actor import Actor, ActorGroup
from bus.frame import Bearer, Frame, TraceContext
from bus.topics import BipDown, BipUp
from tests.bus.handset import Tally
from transport.bip.link import LinkKind, LinkPdu
from transport.cat_tp import CatTpConnection, CatTpSettings, Closed, Opened, ResetReason, SduReceived
from transport.iccid import iccid_octets
from transport.secured_packet import (
    COMMAND_IDENTIFIER,
    TCP,
    PacketStream,
    PorDemand,
    ResponsePacket,
    ResponseStatus,
    SecurityParameters,
    decode_command,
    encode_command,
    encode_response,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.client import BusClient
    from bus.clock import Clock

SERVER: Final = "192.0.2.1"
TCP_PORT: Final = 4001
UDP_PORT: Final = 4002
TAR: Final = bytes.fromhex("b00011")
MODULE_TRACE: Final = TraceContext(trace_id=b"M" * 16, span_id=b"m" * 8)
SPI: Final = SecurityParameters(por=PorDemand.ALWAYS)
SMALL: Final = CatTpSettings(max_pdu=236, max_sdu=4096, window=4, max_queued_sdus=4)
SEGMENT: Final = 1400


def command(data: bytes, tar: bytes = TAR) -> bytes:
    """Return a command packet in clear, in the dialect of channels."""
    return encode_command(spi=SPI, tar=tar, data=data, dialect=TCP)


def response(data: bytes, tar: bytes = TAR) -> bytes:
    """Return a response packet in clear."""
    packet = ResponsePacket(tar=tar, counter=0, status=ResponseStatus.POR_OK, data=data)
    return encode_response(packet, spi=SPI, dialect=TCP)


def mirror(packet: bytes) -> bytes:
    """Return the response to *packet*: what it said, backwards."""
    heard = decode_command(packet, dialect=TCP)
    return response(heard.data[::-1], heard.tar)


@dataclass(kw_only=True)
class Channel:
    """One channel's connection to the server; *cat_tp* for UDP."""

    number: int
    bearer: Bearer
    port: int
    cat_tp: CatTpConnection | None = None
    sent: int = 0
    received: int = 0
    stream: PacketStream = field(default_factory=PacketStream)
    packets: list[bytes] = field(default_factory=list)
    pdus: list[LinkPdu] = field(default_factory=list)
    heard: Tally = field(default_factory=Tally)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    reset: ResetReason | None = None

    @property
    def kinds(self) -> list[LinkKind]:
        """What came, in order."""
        return [pdu.kind for pdu in self.pdus]

    def take(self, pdu: LinkPdu, now: float) -> list[bytes]:
        """Take what came; return the packets that it completes."""
        self.pdus.append(pdu)
        if self.cat_tp is not None:
            self.cat_tp.receive_datagram(pdu.payload, now)
            return self.events()
        if pdu.kind is LinkKind.ACCEPT:
            self.opened.set()
        elif pdu.kind in (LinkKind.REFUSE, LinkKind.CLOSE):
            self.over.set()
        elif pdu.sequence == self.received:
            self.received += len(pdu.payload)
            return self.stream.receive(pdu.payload)
        return []

    def events(self) -> list[bytes]:
        """Note what CAT_TP says; return its service data units."""
        assert self.cat_tp is not None
        packets = []
        for event in self.cat_tp.events_received():
            match event:
                case Opened():
                    self.opened.set()
                case SduReceived():
                    packets.append(event.octets)
                case Closed():
                    self.reset = event.reason
                    self.over.set()
        return packets


class BipHandset(Actor[Frame]):
    """The module *ua* and its phone. *answer* makes responses (empty: none); *deaf* says which PDUs are lost.

    With *twice* every frame that it sends is sent two times.
    """

    def __init__(self, ua: str, group: ActorGroup, client: BusClient, *, fleet: str, clock: Clock) -> None:
        super().__init__(f"handset[{ua}]", group)
        self.ua = ua
        self.fleet = fleet
        self.channels: dict[int, Channel] = {}
        self.frames: list[Frame] = []
        self.answer: Callable[[bytes], bytes] = mirror
        self.deaf: Callable[[LinkPdu], bool] = lambda _: False
        self.missed = Tally()
        self.strangers = Tally()
        self.twice = False
        self._client = client
        self._clock = clock
        self._references = 0

    async def switch_on(self) -> None:
        """Register with the network."""
        await self._client.subscribe(
            [BipDown(fleet=self.fleet, ua=self.ua)], lambda frame, _topic: self.deliver(frame)
        )

    # ---- what the module does ----

    async def dial(self, number: int, *, port: int = TCP_PORT) -> Channel:
        """Open a TCP channel without waiting for the answer."""
        channel = self.channels[number] = Channel(number=number, bearer=Bearer.BIP_TCP, port=port)
        await self.say(channel, LinkKind.OPEN)
        return channel

    async def call(self, number: int = 1) -> Channel:
        """Open a TCP channel; return when the server accepted it."""
        channel = await self.dial(number)
        await channel.opened.wait()
        return channel

    async def dial_udp(
        self, number: int, *, identification: bytes | None = None, settings: CatTpSettings = SMALL
    ) -> Channel:
        """Open a UDP channel and send a SYN over it."""
        cat_tp = CatTpConnection(
            local_port=UDP_PORT,
            remote_port=UDP_PORT,
            settings=settings,
            identification=iccid_octets(self.ua) if identification is None else identification,
            initial_sequence=1000 * number,
        )
        channel = Channel(number=number, bearer=Bearer.BIP_UDP, port=UDP_PORT, cat_tp=cat_tp)
        self.channels[number] = channel
        cat_tp.connect(self._clock.now())
        await self._flush(channel)
        return channel

    async def call_udp(self, number: int = 1) -> Channel:
        """Open a UDP channel; return when CAT_TP stands."""
        channel = await self.dial_udp(number)
        await channel.opened.wait()
        return channel

    async def open(self, bearer: Bearer, number: int = 1) -> Channel:
        """Open a channel over *bearer*; return when packets may be sent."""
        return await (self.call(number) if bearer is Bearer.BIP_TCP else self.call_udp(number))

    async def send(self, channel: Channel, packet: bytes) -> None:
        """Send a packet, or whatever octets these are."""
        if channel.cat_tp is not None:
            channel.cat_tp.send(packet, self._clock.now())
            await self._flush(channel)
            return
        for at in range(0, len(packet), SEGMENT):
            segment = packet[at : at + SEGMENT]
            sequence, channel.sent = channel.sent, channel.sent + len(segment)
            await self.say(channel, LinkKind.DATA, segment, sequence)

    async def hang_up(self, channel: Channel) -> None:
        """End the connection."""
        if channel.cat_tp is None:
            await self.say(channel, LinkKind.CLOSE, sequence=channel.sent)
        else:
            channel.cat_tp.close(self._clock.now())
            await self._flush(channel)

    async def wake(self, channel: Channel) -> None:
        """Do what CAT_TP wants done by now."""
        assert channel.cat_tp is not None
        channel.cat_tp.handle_timer(self._clock.now())
        await self._flush(channel)

    # ---- the network ----

    async def say(self, channel: Channel, kind: LinkKind, payload: bytes = b"", sequence: int = 0) -> None:
        """Send one PDU."""
        pdu = LinkPdu(
            kind=kind, connection=channel.number, port=channel.port, sequence=sequence, payload=payload
        )
        await self.say_octets(pdu.encode(), channel.bearer)

    async def say_octets(self, octets: bytes, bearer: Bearer) -> None:
        """Send one frame."""
        self._references += 1
        frame = Frame(
            bearer=bearer,
            source=self.ua,
            destination=SERVER,
            pdu=octets,
            reference=self._references.to_bytes(8, "big"),
            trace=MODULE_TRACE,
            sent_at=self._clock.now(),
        )
        for _ in range(1 + self.twice):
            await self._client.publish(BipUp(fleet=self.fleet, server=SERVER), frame)

    async def handle(self, message: Frame) -> None:
        """Take one frame, and answer the commands that it completes."""
        self.frames.append(message)
        pdu = LinkPdu.parse(message.pdu)
        if self.deaf(pdu):
            self.missed.add()
            return
        channel = self.channels.get(pdu.connection)
        if channel is None or channel.bearer is not message.bearer:
            self.strangers.add()
            return
        for packet in channel.take(pdu, self._clock.now()):
            channel.packets.append(packet)
            answer = self.answer(packet) if packet[0] == COMMAND_IDENTIFIER else b""
            if answer:
                await self.send(channel, answer)
            channel.heard.add()
        await self._flush(channel)

    async def _flush(self, channel: Channel) -> None:
        if channel.cat_tp is not None:
            for datagram in channel.cat_tp.datagrams_to_send():
                await self.say(channel, LinkKind.DATAGRAM, datagram)
