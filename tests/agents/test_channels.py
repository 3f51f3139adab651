"""A handset's channels: what its module asks, what servers send, and what belongs to neither."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from agents.handset.channels import CONNECT_TIMEOUT_S, MAX_HELD, SEGMENT_OCTETS, Channels
from agents.handset.posts import OutOfReach
from agents.handset.slot import Slot
from bus.errors import BrokerLost
from bus.frame import Bearer, Frame, TraceContext
from bus.topics import BipUp
from tests.agents.bearer_kit import (
    RESERVED,
    TCP,
    invoke,
    kinds,
    open_market,
    packet_frame,
    said_up,
    serve,
)
from tests.agents.role_kit import TRACE, Kit, open_kit
from tests.bus.manual_clock import ManualClock
from transport.bip.link import LinkKind, LinkPdu
from transport.errors import Rejected
from transport.toolkit import (
    BipCause,
    ChannelOpening,
    CommandType,
    EventCode,
    ProactiveCommand,
    TerminalResponse,
    TerminalResult,
    TransportProtocol,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from bus.address import BrokerAddress
    from bus.topics import Topic

SERVER = "192.0.2.7"
PORT = 40000
SEND_NOW = 0x01
ALL_EVENTS = (EventCode.DATA_AVAILABLE, EventCode.CHANNEL_STATUS)
BUFFER = 1400


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that the test moves."""
    return ManualClock()


@pytest.fixture
async def kit(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger, clock: ManualClock
) -> AsyncIterator[Kit]:
    """Yield surroundings whose time the test moves."""
    async with open_kit(broker, fleet, tmp_path, log, clock=clock) as kit:
        yield kit


class Module:
    """What a module asks of the channels of the first handset, and a server that the test speaks for."""

    def __init__(self, kit: Kit, channels: Channels) -> None:
        self.kit = kit
        self.channels = channels
        self.topic = BipUp(fleet=kit.fleet, server=SERVER)

    async def ask(self, type_: CommandType, **fields: object) -> TerminalResponse:
        """Ask for something."""
        return await self.channels.perform(ProactiveCommand(type=type_, **fields))  # type: ignore[arg-type]

    async def listen(self) -> None:
        """Ask to be told what happens."""
        await self.ask(CommandType.SET_UP_EVENT_LIST, events=ALL_EVENTS)

    def opening(self, protocol: TransportProtocol = TransportProtocol.TCP_CLIENT) -> ProactiveCommand:
        """Return the command that opens a channel."""
        opening = ChannelOpening(
            protocol=protocol, port=PORT, address=IPv4Address(SERVER).packed, buffer=BUFFER
        )
        return ProactiveCommand(type=CommandType.OPEN_CHANNEL, opening=opening)

    async def open(self, answer: LinkKind = LinkKind.ACCEPT) -> TerminalResponse:
        """Open a TCP channel, which the server answers."""
        before = len(self.kit.wire.on(self.topic))
        opened = asyncio.create_task(self.channels.perform(self.opening()))
        frames = await self.kit.wire.until(self.topic, before + 1)
        number = LinkPdu.parse(frames[-1].pdu).connection
        assert self.channels.hear(self.said(answer, number))
        return await opened

    async def fetch(self, channel: int = 1, length: int = 200) -> tuple[bytes, int]:
        """Fetch octets of a channel; return them and how many remain."""
        response = await self.ask(CommandType.RECEIVE_DATA, channel=channel, length=length)
        assert response.length is not None
        return response.data, response.length

    def said(
        self,
        kind: LinkKind,
        number: int = 1,
        payload: bytes = b"",
        *,
        at: int = 0,
        bearer: Bearer = Bearer.BIP_TCP,
        source: str = SERVER,
    ) -> Frame:
        """Return what a server says."""
        pdu = LinkPdu(kind=kind, connection=number, port=PORT, sequence=at, payload=payload)
        return packet_frame(pdu, bearer=bearer, source=source, to=self.kit.ua())

    def take(self, kind: LinkKind, number: int = 1, payload: bytes = b"", **options: object) -> None:
        """Have the handset take what a server says."""
        self.channels.take(self.said(kind, number, payload, **options))  # type: ignore[arg-type]

    def refused(self, kind: LinkKind, number: int = 1, payload: bytes = b"", **options: object) -> str:
        """Return why the handset drops what a server says."""
        with pytest.raises(Rejected) as rejected:
            self.take(kind, number, payload, **options)
        return rejected.value.reason

    def told(self) -> list[tuple[EventCode | None, int | None]]:
        """Return the events that the module is told, each with how much data there is."""
        return [(event.event, event.length) for event in self.channels.events()]

    async def up(self, count: int) -> list[LinkPdu]:
        """Return what the handset has sent, once that is *count* PDUs."""
        return [LinkPdu.parse(frame.pdu) for frame in await self.kit.wire.until(self.topic, count)]


@pytest.fixture
async def module(kit: Kit) -> Module:
    """Return the channels of a handset, on the real network."""
    site = kit.site(kit.clients["cell"])
    slot = Slot(kit.ua(), await kit.boot(kit.ua()), site, TRACE)
    module = Module(kit, Channels(kit.ua(), site, slot))
    await module.listen()
    return module


# OPEN


async def test_a_server_that_accepts(module: Module) -> None:
    """OPEN goes to the server's address and port; ACCEPT makes the channel, with the buffer asked for."""
    response = await module.open()
    assert (response.result, response.buffer) == (TerminalResult.OK, BUFFER)
    assert response.channel_status is not None
    assert response.channel_status.channel == 1
    (pdu,) = await module.up(1)
    assert (pdu.kind, pdu.port, pdu.sequence) == (LinkKind.OPEN, PORT, 0)
    (frame,) = module.kit.wire.on(module.topic)
    assert (frame.bearer, frame.source, frame.destination) == (Bearer.BIP_TCP, module.kit.ua(), SERVER)


async def test_a_server_that_refuses(module: Module) -> None:
    """REFUSE is a BIP error, "remote device not reachable"; the next channel is tried anew."""
    response = await module.open(LinkKind.REFUSE)
    assert (response.result, response.cause) == (TerminalResult.BIP_ERROR, BipCause.REMOTE_NOT_REACHABLE)
    assert (await module.open()).result is TerminalResult.OK


async def test_a_server_that_says_nothing(module: Module, clock: ManualClock) -> None:
    """After the time-out nobody is there; an answer that comes later belongs to no connection."""
    opened = asyncio.create_task(module.channels.perform(module.opening()))
    await module.up(1)
    clock.advance(CONNECT_TIMEOUT_S - 0.1)
    assert not opened.done()
    clock.advance(0.2)
    assert (await opened).result is TerminalResult.BIP_ERROR
    late = module.said(LinkKind.ACCEPT)
    assert not module.channels.hear(late)
    assert module.refused(LinkKind.ACCEPT) == "no-such-connection"


async def test_a_network_that_is_away(module: Module) -> None:
    """The broker is lost: the channel is not opened, and nothing is raised."""

    async def publish(topic: Topic | str, frame: Frame, span: TraceContext | None = None) -> None:
        raise BrokerLost(f"{topic} {frame.bearer} {span}", 1.0)

    module.kit.clients["cell"].publish = publish  # type: ignore[method-assign]
    assert (await module.channels.perform(module.opening())).result is TerminalResult.BIP_ERROR


async def test_only_its_server_answers_a_call(module: Module) -> None:
    """An answer of another server, over another bearer, on another connection or of octets is not heard."""
    opened = asyncio.create_task(module.channels.perform(module.opening()))
    await module.up(1)
    for frame in (
        module.said(LinkKind.ACCEPT, source="192.0.2.8"),
        module.said(LinkKind.ACCEPT, bearer=Bearer.BIP_UDP),
        module.said(LinkKind.ACCEPT, 2),
        packet_frame(b"garbage", bearer=Bearer.BIP_TCP, source=SERVER, to=module.kit.ua()),
    ):
        assert not module.channels.hear(frame)
    assert not opened.done()
    assert module.channels.hear(module.said(LinkKind.ACCEPT))
    assert module.channels.hear(module.said(LinkKind.REFUSE))  # too late to change anything
    assert (await opened).result is TerminalResult.OK


async def test_each_connection_has_a_number_of_its_own(module: Module) -> None:
    """A channel that is opened again is another connection to the server."""
    numbers = set()
    for round_ in range(3):
        await module.open()
        numbers.add((await module.up(2 * round_ + 1))[-1].connection)
        await module.ask(CommandType.CLOSE_CHANNEL, channel=1)
        await module.up(2 * round_ + 2)
    assert numbers == {1, 2, 3}
    assert kinds(module.kit.wire.on(module.topic)) == [LinkKind.OPEN, LinkKind.CLOSE] * 3


# TCP


async def test_what_the_module_sends_leaves_in_order(module: Module) -> None:
    """Octets leave as segments that say what came before them."""
    await module.open()
    pieces = [bytes([number]) * 200 for number in range(3)]
    for piece in pieces:
        await module.ask(CommandType.SEND_DATA, qualifier=SEND_NOW, channel=1, data=piece)
    pdus = (await module.up(4))[1:]
    assert [(pdu.kind, pdu.sequence) for pdu in pdus] == [(LinkKind.DATA, at) for at in (0, 200, 400)]
    assert [pdu.payload for pdu in pdus] == pieces


async def test_what_was_stored_is_cut_into_segments(module: Module) -> None:
    """The buffer that is sent at once is cut where a segment ends."""
    await module.open()
    await fill(module)
    pdus = (await module.up(2))[1:]
    assert sum(len(pdu.payload) for pdu in pdus) == BUFFER
    assert all(len(pdu.payload) <= SEGMENT_OCTETS for pdu in pdus)


async def fill(module: Module) -> None:
    """Fill the channel's buffer, then send it."""
    for _ in range(BUFFER // 200 - 1):
        await module.ask(CommandType.SEND_DATA, channel=1, data=bytes(200))
    response = await module.ask(CommandType.SEND_DATA, channel=1, data=bytes(201))
    assert response.result is TerminalResult.BIP_ERROR or response.length == BUFFER % 200 - 1
    await module.ask(CommandType.SEND_DATA, qualifier=SEND_NOW, channel=1, data=bytes(200))


async def test_what_comes_is_told_once_and_fetched(module: Module) -> None:
    """The module is told of data in an empty buffer; it fetches piece by piece."""
    await module.open()
    module.take(LinkKind.DATA, payload=b"ab")
    module.take(LinkKind.DATA, payload=b"cd", at=2)
    assert module.told() == [(EventCode.DATA_AVAILABLE, 4)]
    assert await module.fetch(length=3) == (b"abc", 1)
    assert await module.fetch(length=1) == (b"d", 0)
    module.take(LinkKind.DATA, payload=b"e", at=4)
    assert module.told() == [(EventCode.DATA_AVAILABLE, 1)]


async def test_a_segment_that_comes_again_is_dropped(module: Module) -> None:
    """QoS 1 delivers twice: the octets are taken once, and the connection stands."""
    await module.open()
    module.take(LinkKind.DATA, payload=b"ab")
    assert module.refused(LinkKind.DATA, payload=b"ab") == "segment-repeated"
    assert module.refused(LinkKind.ACCEPT) == "answered-before"
    module.take(LinkKind.DATA, payload=b"cd", at=2)
    assert await module.fetch() == (b"abcd", 0)


async def test_a_segment_that_is_missing_ends_the_connection(module: Module) -> None:
    """TCP is whole or over: the module is told that the link was dropped; the rest finds no connection."""
    await module.open()
    module.take(LinkKind.DATA, payload=b"ab")
    assert module.refused(LinkKind.DATA, payload=b"e", at=4) == "segment-missing"
    assert [event for event, _ in module.told()] == [EventCode.DATA_AVAILABLE, EventCode.CHANNEL_STATUS]
    assert module.refused(LinkKind.DATA, payload=b"cd", at=2) == "no-such-connection"
    assert await module.fetch() == (b"ab", 0)
    response = await module.ask(CommandType.SEND_DATA, qualifier=SEND_NOW, channel=1, data=b"x")
    assert (response.result, response.cause) == (TerminalResult.BIP_ERROR, BipCause.CHANNEL_CLOSED)


async def test_a_server_that_hangs_up(module: Module) -> None:
    """CLOSE drops the link, which the module is told, and closes without another word."""
    await module.open()
    module.take(LinkKind.CLOSE)
    assert module.told() == [(EventCode.CHANNEL_STATUS, None)]
    await module.ask(CommandType.CLOSE_CHANNEL, channel=1)
    assert kinds(module.kit.wire.on(module.topic)) == [LinkKind.OPEN]


async def test_what_the_module_does_not_fetch_is_held(module: Module) -> None:
    """What does not fit into the buffer waits and follows as the module fetches: nothing is lost."""
    await module.open()
    sent = [bytes([number]) * 700 for number in range(6)]
    for number, segment in enumerate(sent):
        module.take(LinkKind.DATA, payload=segment, at=700 * number)
    assert module.told() == [(EventCode.DATA_AVAILABLE, 255)]
    fetched = b""
    while len(fetched) < 4200:
        octets, _ = await module.fetch(length=250)
        assert octets
        fetched += octets
    assert fetched == b"".join(sent)


async def test_a_module_that_never_fetches_costs_little(module: Module) -> None:
    """Beyond what is held the connection is lost, whatever the server goes on to send."""
    await module.open()
    for number in range(MAX_HELD + 1):
        module.take(LinkKind.DATA, payload=bytes(BUFFER), at=BUFFER * number)
    reason = module.refused(LinkKind.DATA, payload=bytes(BUFFER), at=BUFFER * (MAX_HELD + 1))
    assert reason == "module-does-not-fetch"
    assert module.refused(LinkKind.CLOSE) == "no-such-connection"


async def test_a_segment_longer_than_the_buffer_comes_in_parts(module: Module) -> None:
    """What the buffer has no room for follows what was fetched before it."""
    await module.open()
    sent = bytes(number % 251 for number in range(3 * BUFFER))
    module.take(LinkKind.DATA, payload=sent)
    fetched = b""
    while len(fetched) < len(sent):
        octets, _ = await module.fetch(length=250)
        assert octets
        fetched += octets
    assert fetched == sent


# UDP


async def test_datagrams_go_and_come(module: Module) -> None:
    """A datagram is let go without an answer; what comes is shown one at a time."""
    response = await module.channels.perform(module.opening(TransportProtocol.UDP_CLIENT))
    assert response.result is TerminalResult.OK
    assert module.kit.wire.on(module.topic) == []
    await module.ask(CommandType.SEND_DATA, qualifier=SEND_NOW, channel=1, data=b"ping")
    (pdu,) = await module.up(1)
    assert (pdu.kind, pdu.payload, pdu.sequence) == (LinkKind.DATAGRAM, b"ping", 0)
    for payload in (b"pong", b"pung"):
        module.take(LinkKind.DATAGRAM, payload=payload, bearer=Bearer.BIP_UDP)
    assert await module.fetch() == (b"pong", 0)
    assert await module.fetch() == (b"pung", 0)


async def test_datagrams_beyond_the_buffer_are_lost(module: Module) -> None:
    """What does not fit is dropped, as UDP does; the ones before are whole."""
    await module.channels.perform(module.opening(TransportProtocol.UDP_CLIENT))
    for number in range(20):
        module.take(LinkKind.DATAGRAM, payload=bytes([number]) * 200, bearer=Bearer.BIP_UDP)
    octets, fetched = b".", []
    while octets:
        response = await module.ask(CommandType.RECEIVE_DATA, channel=1, length=200)
        octets = response.data
        fetched += [octets] if octets else []
    assert fetched == [bytes([number]) * 200 for number in range(BUFFER // 200)]


async def test_a_udp_channel_closes_silently(module: Module) -> None:
    """There is no connection to close: the port is given back, and later datagrams find nobody."""
    await module.channels.perform(module.opening(TransportProtocol.UDP_CLIENT))
    await module.ask(CommandType.CLOSE_CHANNEL, channel=1)
    reason = module.refused(LinkKind.DATAGRAM, payload=b"late", bearer=Bearer.BIP_UDP)
    assert reason == "no-such-connection"
    assert module.kit.wire.on(module.topic) == []


# What does not belong


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param({"source": "192.0.2.8"}, "no-such-connection", id="another-server"),
        pytest.param({"number": 2}, "no-such-connection", id="another-connection"),
        pytest.param({"bearer": Bearer.BIP_UDP}, "no-such-connection", id="another-bearer"),
    ],
)
async def test_foreign_frames(module: Module, options: dict[str, object], reason: str) -> None:
    """What comes from elsewhere changes nothing: the connection's own octets are still taken."""
    await module.open()
    assert module.refused(LinkKind.DATA, payload=b"evil", **options) == reason  # type: ignore[arg-type]
    assert module.told() == []
    module.take(LinkKind.DATA, payload=b"good")
    assert await module.fetch() == (b"good", 0)


async def test_octets_that_are_no_pdu(module: Module) -> None:
    """Malformed frames are refused by name, for a phone to count."""
    await module.open()
    for octets in (b"", b"\x04", bytes(9), b"\x09" + bytes(8)):
        frame = packet_frame(octets, bearer=Bearer.BIP_TCP, source=SERVER, to=module.kit.ua())
        with pytest.raises(Rejected, match="link-"):
            module.channels.take(frame)


async def test_a_phone_counts_what_it_drops(kit: Kit) -> None:
    """Foreign and malformed frames from the network cost a handset nothing but a count."""
    await kit.handset()
    for pdu in (b"garbage", LinkPdu(kind=LinkKind.DATA, connection=1, port=PORT, payload=b"x")):
        frame = packet_frame(pdu, bearer=Bearer.BIP_TCP, source=SERVER, to=kit.ua())
        await kit.clients["tap"].publish(f"otafleet/{kit.fleet}/bip/down/{kit.ua()}", frame)
    await kit.counters.until_dropped("no-such-connection")
    assert kit.counters.drops("link-too-short") == 1
    assert kit.counters.snapshot()["crashes"] == {}


# All at once


async def test_a_handset_that_goes_off_loses_all_channels(module: Module) -> None:
    """Each channel's link is dropped, of either protocol, and a call that waits is answered."""
    await module.open()
    await module.channels.perform(module.opening(TransportProtocol.UDP_CLIENT))
    waiting = asyncio.create_task(module.channels.perform(module.opening()))
    await module.up(2)
    module.channels.lose_all()
    assert (await waiting).result is TerminalResult.BIP_ERROR
    assert module.told() == [(EventCode.CHANNEL_STATUS, None)] * 2
    assert module.refused(LinkKind.DATA, payload=b"x") == "no-such-connection"


async def test_a_phone_that_crashed_opens_new_channels(kit: Kit) -> None:
    """Power off and on: the module calls anew over a new connection, and the server takes it for one."""
    await open_market(kit, TCP)
    phone = await kit.handset()
    await kit.take(*RESERVED)
    assert await serve(kit) == ("ok", "")
    await phone.restart(RuntimeError("a crash"))
    assert await serve(kit) == ("ok", "")
    assert await invoke(kit) == ("ok", "")
    assert said_up(kit).count(LinkKind.OPEN) == 3


async def test_a_phone_that_is_off_finds_its_channels_gone(kit: Kit) -> None:
    """After it was off the module learns it and calls over a new channel."""
    await open_market(kit, TCP)
    phone = await kit.handset()
    await kit.take(*RESERVED)
    phone.deliver(OutOfReach())
    assert await serve(kit) == ("ok", "")
    phone.deliver(OutOfReach())
    assert await invoke(kit) == ("ok", "")
