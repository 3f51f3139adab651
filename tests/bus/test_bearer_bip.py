"""The BIP server over a real broker, against handsets with TCP and UDP channels, some of which misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import defaultdict
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from structlog.testing import capture_logs

from bus.actor import ActorGroup
from bus.bearers.bip import BipServer, BipSettings, FromLink
from bus.counters import Counters
from bus.errors import ClientClosed, DeliveryFailed, MailboxFull
from bus.frame import Bearer, TraceContext
from tests.bus.bip_handset import (
    MODULE_TRACE,
    SERVER,
    TCP_PORT,
    UDP_PORT,
    BipHandset,
    Channel,
    command,
    response,
)
from tests.bus.handset import Tally, WatchedClient, WatchedCounters
from tests.bus.manual_clock import ManualClock
from transport.bip.link import LinkKind, LinkPdu
from transport.cat_tp import CatTpSettings, ResetReason
from transport.secured_packet import encode_identification

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping

    from bus.client import BrokerAddress

UA = "89880000000000000011"
OTHER_UA = "89880000000000000029"
OTHER_TAR = bytes.fromhex("b00012")
TRACE = TraceContext(trace_id=b"T" * 16, span_id=b"S" * 8)
RESPONSE_S, LINK_S, IDLE_S, AGAIN_S, GIVE_UP_S = 30.0, 20.0, 600.0, 4.0, 64.0
SETTINGS = BipSettings(
    response_timeout_s=RESPONSE_S,
    link_timeout_s=LINK_S,
    idle_s=IDLE_S,
    max_links=50,
    cat_tp=CatTpSettings(retransmission_timeout_s=AGAIN_S, max_retransmissions=2, max_syn_repeats=2),
    segment_octets=500,
)
TCP, UDP = Bearer.BIP_TCP, Bearer.BIP_UDP
BOTH = pytest.mark.parametrize("bearer", [TCP, UDP], ids=str)
SHORT = b"how are you"
BIG = bytes(number % 251 for number in range(3500))


class _Clock(ManualClock):
    """A clock that lets a test wait until somebody waits for so many seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: defaultdict[float | None, Tally] = defaultdict(Tally)

    @contextlib.asynccontextmanager
    async def timeout(self, delay_s: float | None) -> AsyncIterator[asyncio.Timeout]:
        """Count and wait."""
        async with super().timeout(delay_s) as timeout:
            self.waits[delay_s].add()
            yield timeout


class _Network:
    """A server and any number of handsets on one broker."""

    def __init__(self, stack: AsyncExitStack, broker: BrokerAddress, fleet: str) -> None:
        self.clock = _Clock()
        self.counters = WatchedCounters()
        self.heard: list[FromLink] = []
        self.commands = Tally()
        self.full = False
        self.logs: list[MutableMapping[str, Any]] = []
        self._fleet = fleet
        self._stack = stack
        self._broker = broker
        self._seed = random.Random(7)
        self.client: WatchedClient
        self.handset_client: WatchedClient
        self.group: ActorGroup
        self.server: BipServer
        self.handset: BipHandset

    async def open(self) -> None:
        self.client = await self._connect("server", self.counters)
        self.handset_client = await self._connect("handsets", Counters())
        self.group = await self._stack.enter_async_context(
            ActorGroup(log=structlog.get_logger(), counters=Counters())
        )
        self.server = await self._stack.enter_async_context(self.new_server())
        await self.server.start(self.deliver)
        self.handset = await self.new_handset(UA)

    async def _connect(self, identifier: str, counters: Counters) -> WatchedClient:
        client = WatchedClient(
            self._broker,
            identifier=f"{self._fleet}-{identifier}",
            log=structlog.get_logger(),
            counters=counters,
            persistent=False,
        )
        return await self._stack.enter_async_context(client)

    def new_server(self, settings: BipSettings = SETTINGS, **more: Any) -> BipServer:
        place: dict[str, Any] = {"address": SERVER, "tcp_port": TCP_PORT, "udp_port": UDP_PORT, **more}
        return BipServer(
            self.client,
            fleet=self._fleet,
            settings=settings,
            clock=self.clock,
            rng=self._seed.randbytes,
            counters=self.counters,
            log=structlog.get_logger(),
            **place,
        )

    async def replace_server(self, settings: BipSettings) -> BipServer:
        """Start a server with other settings where the first one was."""
        await self.server.close()
        self.server = await self._stack.enter_async_context(self.new_server(settings))
        await self.server.start(self.deliver)
        return self.server

    def deliver(self, came: FromLink) -> None:
        if self.full:
            raise MailboxFull("supplier", 1)
        self.heard.append(came)
        self.commands.add()

    async def new_handset(self, ua: str) -> BipHandset:
        handset = BipHandset(ua, self.group, self.handset_client, fleet=self._fleet, clock=self.clock)
        await handset.switch_on()
        return handset

    async def connect(self, bearer: Bearer, number: int = 1, *, ua: str = UA) -> Channel:
        """Have the handset open a channel; return when server and module both know of the link."""
        handset = self.handset if ua == UA else await self.new_handset(ua)
        channel = await handset.open(bearer, number)
        assert await self.server.wait_link(ua, bearer)
        return channel

    def asking(
        self, packet: bytes | None = None, *, ua: str = UA, bearer: Bearer | None = None
    ) -> asyncio.Task[bytes]:
        octets = command(SHORT) if packet is None else packet
        return asyncio.create_task(self.server.request(octets, ua=ua, bearer=bearer, trace=TRACE))

    async def ask(self, data: bytes = SHORT, *, ua: str = UA, bearer: Bearer | None = None) -> bytes:
        return await self.server.request(command(data), ua=ua, bearer=bearer, trace=TRACE)

    async def alone(self, channel: Channel) -> None:
        """Let the module say something; when that came, all that it sent before has come."""
        count = self.commands.count
        await self.handset.send(channel, command(b"last"))
        await self.commands.until(count + 1)

    @property
    def dropped(self) -> dict[str, int]:
        return self.counters.snapshot()["dropped"]

    @property
    def retries(self) -> int:
        return self.counters.snapshot()["bearers"]["bip-udp"]["retries"]

    def told(self, event: str) -> list[MutableMapping[str, Any]]:
        return [log for log in self.logs if log["event"] == event]

    @property
    def closings(self) -> list[str]:
        return [log["reason"] for log in self.told("bip.link_closed")]


@pytest.fixture
async def network(broker: BrokerAddress, fleet: str) -> AsyncIterator[_Network]:
    """Yield a server and a handset, connected; what they log is kept for the test."""
    with capture_logs() as logs:
        async with AsyncExitStack() as stack:
            network = _Network(stack, broker, fleet)
            network.logs = logs
            await network.open()
            yield network


async def _failure(asking: asyncio.Task[bytes]) -> str:
    with pytest.raises(DeliveryFailed) as caught:
        await asking
    assert (caught.value.destination, caught.value.part, caught.value.attempts) == (UA, 1, 1)
    return caught.value.reason


# ---- links and packets ---------------------------------------------------------------------------------


@BOTH
async def test_a_module_opens_a_link_and_calls(network: _Network, bearer: Bearer) -> None:
    """An open channel is a link of its bearer, and a command packet on it comes whole, with its trace."""
    assert not network.server.has_link(UA)
    assert network.server.bearer_of(UA) is None
    channel = await network.connect(bearer)
    await network.handset.send(channel, command(SHORT))
    await network.commands.until(1)
    (heard,) = network.heard
    assert (heard.ua, heard.bearer, heard.packet) == (UA, bearer, command(SHORT))
    assert heard.trace.trace_id == MODULE_TRACE.trace_id
    assert [network.server.has_link(UA, one) for one in (bearer, None)] == [True, True]
    assert not network.server.has_link(UA, UDP if bearer is TCP else TCP)
    assert not network.server.has_link(OTHER_UA)
    assert network.server.bearer_of(UA) is bearer
    (told,) = network.told("bip.link_opened")
    assert (told["ua"], told["bearer"], told["log_level"]) == (UA, str(bearer), "info")
    assert told["trace_id"] == MODULE_TRACE.trace_id.hex()
    assert network.dropped == {}


@BOTH
async def test_a_request_gets_its_response(network: _Network, bearer: Bearer) -> None:
    """A command packet goes to the module as it is, and its response comes back."""
    channel = await network.connect(bearer)
    assert await network.ask() == response(SHORT[::-1])
    assert channel.packets == [command(SHORT)]
    frame = network.handset.frames[-1]
    assert (frame.bearer, frame.source, frame.destination) == (bearer, SERVER, UA)
    assert frame.trace.trace_id in {TRACE.trace_id, MODULE_TRACE.trace_id}
    assert frame.sent_at == network.clock.now()
    assert [log["octets"] for log in network.told("bip.packet_sent")] == [len(command(SHORT))]
    assert [log["octets"] for log in network.told("bip.packet_received")] == [len(response(SHORT))]


@BOTH
async def test_big_packets_both_ways(network: _Network, bearer: Bearer) -> None:
    """A packet of many segments, or datagrams, arrives whole in both directions."""
    channel = await network.connect(bearer)
    before = len(channel.pdus)
    assert await network.ask(BIG) == response(BIG[::-1])
    longest = max(len(pdu.payload) for pdu in channel.pdus[before:])
    assert longest == (500 if bearer is TCP else 236)
    assert len(channel.pdus) - before >= len(BIG) // longest
    assert network.dropped == {}


async def test_many_handsets_at_once(network: _Network) -> None:
    """Requests to twenty modules over both bearers are answered each by its own module."""
    handsets = [await network.new_handset(f"8988000000000001{number:04}") for number in range(20)]
    bearers = [TCP if number % 2 else UDP for number in range(20)]
    await asyncio.gather(*map(BipHandset.open, handsets, bearers))
    await asyncio.gather(*(network.server.wait_link(handset.ua) for handset in handsets))
    for handset in handsets:
        handset.answer = lambda _, ua=handset.ua: response(ua.encode())  # type: ignore[misc]
    answers = await asyncio.gather(*(network.ask(BIG, ua=handset.ua) for handset in handsets))
    assert answers == [response(handset.ua.encode()) for handset in handsets]
    assert network.dropped == {}


@BOTH
async def test_what_is_delivered_twice_counts_once(network: _Network, bearer: Bearer) -> None:
    """Frames that the broker delivers twice change nothing: one link, one command, one response."""
    network.handset.twice = True
    channel = await network.connect(bearer)
    await network.handset.send(channel, command(BIG))
    await network.commands.until(1)
    assert await network.ask() == response(SHORT[::-1])
    network.handset.twice = False
    await network.alone(channel)
    assert [came.packet for came in network.heard] == [command(BIG), command(b"last")]
    assert network.dropped.keys() <= {"duplicate", "segment-repeated"}
    assert len(network.told("bip.link_opened")) == 1
    assert network.closings == []
    assert network.told("bip.dropped") == []


@BOTH
async def test_requests_to_two_resources_do_not_wait_for_each_other(
    network: _Network, bearer: Bearer
) -> None:
    """Responses find their requests by TAR, in whatever order they come."""
    channel = await network.connect(bearer)
    network.handset.answer = lambda _: b""
    first, second = network.asking(command(b"1")), network.asking(command(b"2", OTHER_TAR))
    await channel.heard.until(2)
    await network.handset.send(channel, response(b"to two", OTHER_TAR))
    assert await second == response(b"to two", OTHER_TAR)
    assert not first.done()
    await network.handset.send(channel, response(b"to one"))
    assert await first == response(b"to one")


async def test_requests_to_one_resource_take_turns(network: _Network) -> None:
    """The second request to a resource goes out when the first one is answered."""
    channel = await network.handset.call()
    network.handset.answer = lambda _: b""
    first, second = network.asking(command(b"1")), network.asking(command(b"2"))
    await channel.heard.until(1)
    await network.alone(channel)
    assert channel.packets == [command(b"1")]
    await network.handset.send(channel, response(b"one"))
    await channel.heard.until(2)
    await network.handset.send(channel, response(b"two"))
    assert [await first, await second] == [response(b"one"), response(b"two")]


async def test_a_module_may_have_a_link_of_each_bearer(network: _Network) -> None:
    """A request names its bearer, or goes over the link that was used last."""
    tcp = await network.handset.call(1)
    network.clock.advance(1.0)
    udp = await network.connect(UDP, 2)
    assert network.server.bearer_of(UA) is UDP
    await network.ask(b"over TCP", bearer=TCP)
    network.clock.advance(1.0)
    await network.ask(b"over UDP", bearer=UDP)
    await network.ask(b"over the last")
    assert tcp.packets == [command(b"over TCP")]
    assert udp.packets == [command(b"over UDP"), command(b"over the last")]


async def test_an_identification_packet_says_who_calls(network: _Network) -> None:
    """A module that calls itself what the frame says is served; another is hung up on, and not heard."""
    channel = await network.handset.call()
    handset = network.handset
    assert handset.ua == UA
    await handset.send(channel, encode_identification(bytes.fromhex("98880000000000000011")))
    await network.alone(channel)
    assert network.closings == []
    foreign = encode_identification(bytes.fromhex("98880000000000000092"))
    await handset.send(channel, foreign + command(b"not heard"))
    await channel.over.wait()
    assert [came.packet for came in network.heard] == [command(b"last")]
    assert network.closings == ["identification"]
    assert network.dropped == {"identification": 1}


# ---- lost links ----------------------------------------------------------------------------------------


@BOTH
async def test_without_a_link_there_is_no_request(network: _Network, bearer: Bearer) -> None:
    """A request to a module that has not called fails at once."""
    assert await _failure(network.asking(bearer=bearer)) == "no-link"
    assert await _failure(network.asking()) == "no-link"


@BOTH
async def test_a_module_that_hangs_up_loses_the_request(network: _Network, bearer: Bearer) -> None:
    """The module's CLOSE or RST ends the link, and whoever waits, also for his turn, is told."""
    channel = await network.connect(bearer)
    network.handset.answer = lambda _: b""
    asking, queued = network.asking(), network.asking()
    await channel.heard.until(1)
    await network.handset.hang_up(channel)
    assert [await _failure(asking), await _failure(queued)] == ["link-lost"] * 2
    assert not network.server.has_link(UA)
    assert network.closings == ["by-module" if bearer is TCP else "cat-tp-normal"]


@BOTH
async def test_a_silent_module_loses_its_link(network: _Network, bearer: Bearer) -> None:
    """No response in time fails the request and closes the link, so that a late one can answer no other."""
    channel = await network.connect(bearer)
    network.handset.answer = lambda _: b""
    asking = network.asking()
    await channel.heard.until(1)
    await network.clock.waits[RESPONSE_S].until(1)
    network.clock.advance(RESPONSE_S)
    assert await _failure(asking) == "no-response"
    await channel.over.wait()
    assert network.closings == ["no-response"]
    assert await _failure(network.asking()) == "no-link"


@BOTH
async def test_a_cancelled_request_closes_the_link(network: _Network, bearer: Bearer) -> None:
    """Whoever gives up waiting leaves no response behind that the next request could take for its own."""
    channel = await network.connect(bearer)
    network.handset.answer = lambda _: b""
    asking = network.asking()
    await channel.heard.until(1)
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()
    await channel.over.wait()
    assert network.closings == ["abandoned"]


async def test_a_missing_segment_ends_the_connection(network: _Network) -> None:
    """What stands behind a gap is not heard, and the module learns that its connection is over."""
    channel = await network.handset.call()
    network.handset.answer = lambda _: b""
    asking = network.asking()
    await channel.heard.until(1)
    channel.sent += 5
    await network.handset.send(channel, response(SHORT))
    assert await _failure(asking) == "link-lost"
    await channel.over.wait()
    assert network.closings == ["segment-missing"]
    assert network.dropped == {"segment-missing": 1}


async def test_a_stream_that_is_no_packet_ends_the_connection(network: _Network) -> None:
    """Behind octets that are no packet nothing can be found any more; packets ahead of them are heard."""
    first = await network.handset.call(1)
    await network.handset.send(first, command(SHORT) + b"\xff")
    await first.over.wait()
    second = await network.handset.call(2)
    await network.handset.send(second, b"\x01\x80")
    await second.over.wait()
    assert [came.packet for came in network.heard] == [command(SHORT)]
    assert network.closings == ["stream-identifier", "stream-length"]
    assert network.dropped == {"stream-length": 1}


async def test_a_lost_datagram_is_sent_again(network: _Network) -> None:
    """CAT_TP repeats what the air lost, by the clock, and each repetition is counted as one."""
    channel = await network.connect(UDP)
    network.handset.deaf = lambda _: network.handset.missed.count < 2
    asking = network.asking()
    for count in (1, 2):
        await network.handset.missed.until(count)
        network.clock.advance(AGAIN_S)
    assert await asking == response(SHORT[::-1])
    assert network.retries == 2
    assert channel.packets == [command(SHORT)]


async def test_a_module_out_of_reach_is_given_up(network: _Network) -> None:
    """After the last repetition the link is lost, and so is the request."""
    await network.connect(UDP)
    network.handset.deaf = lambda _: True
    asking = network.asking()
    for count in (1, 2, 3):
        await network.handset.missed.until(count)
        network.clock.advance(AGAIN_S)
    assert await _failure(asking) == "link-lost"
    assert network.closings == ["cat-tp-max-retries"]
    assert network.retries == 2


async def test_a_caller_that_does_not_go_on_is_forgotten(network: _Network) -> None:
    """A SYN whose answer is never acknowledged makes no link; the answer goes again ever later, then not."""
    network.handset.deaf = lambda _: True
    await network.handset.dial_udp(1)
    for count in (1, 2, 3):
        await network.handset.missed.until(count)
        assert not network.server.has_link(UA)
        network.clock.advance(AGAIN_S * 2 ** (count - 1))
    network.handset.deaf = lambda _: False
    await network.connect(UDP, 2)
    assert network.closings == ["forsaken"]
    assert network.dropped == {}


@BOTH
async def test_an_idle_link_is_closed(network: _Network, bearer: Bearer) -> None:
    """A link that nobody uses is closed after its time; traffic begins that time anew."""
    idle = await network.connect(bearer, 1)
    await network.connect(bearer, ua=OTHER_UA)
    network.clock.advance(IDLE_S - 1)
    await network.ask(ua=OTHER_UA)
    network.clock.advance(1)
    await idle.over.wait()
    assert [network.server.has_link(ua) for ua in (UA, OTHER_UA)] == [False, True]
    assert network.closings == ["idle"]


# ---- new links for old ---------------------------------------------------------------------------------


@BOTH
async def test_a_new_link_takes_the_place_of_the_old_one(network: _Network, bearer: Bearer) -> None:
    """A module that calls again has lost its link: what waits on it fails, and it is closed."""
    old = await network.connect(bearer, 1)
    network.handset.answer = lambda _: b""
    asking = network.asking()
    await old.heard.until(1)
    new = await network.connect(bearer, 2)
    assert await _failure(asking) == "link-lost"
    await old.over.wait()
    assert network.closings == ["replaced"]
    network.handset.answer = lambda _: response(b"new")
    assert await network.ask() == response(b"new")
    assert new.packets == [command(SHORT)]


async def test_a_handset_that_began_anew_may_use_the_number_again(network: _Network) -> None:
    """A connection of the same number takes the old one's place, and is not closed in its stead."""
    await network.handset.call(1)
    await network.ask()
    new = await network.handset.call(1)
    assert await network.ask(b"again") == response(b"niaga")
    assert new.kinds == [LinkKind.ACCEPT, LinkKind.DATA]
    assert network.closings == ["replaced"]


async def test_an_old_syn_takes_no_place(network: _Network) -> None:
    """A SYN that comes late, of a connection that the module has left, does not end the one that stands."""
    channel = await network.connect(UDP, 2)
    await network.handset.dial_udp(1)
    del network.handset.channels[1]
    await network.alone(channel)
    assert network.server.has_link(UA)
    assert await network.ask() == response(SHORT[::-1])
    assert network.closings == []


async def test_one_handset_cannot_take_all_places(network: _Network) -> None:
    """Of more SYNs than a terminal has channels the oldest are forgotten, never the link that stands."""
    network.handset.deaf = lambda pdu: pdu.connection > 1
    await network.connect(UDP, 1)
    for number in range(2, 10):
        await network.handset.dial_udp(number)
    await network.alone(network.handset.channels[1])
    assert network.closings == ["crowded-out"] * 2
    assert await network.ask() == response(SHORT[::-1])


@BOTH
async def test_a_server_takes_so_many_links_and_no_more(network: _Network, bearer: Bearer) -> None:
    """Who comes too late is refused; who is there already may call again."""
    await network.replace_server(BipSettings(max_links=1))
    await network.connect(bearer)
    late = await network.new_handset(OTHER_UA)
    tcp = await late.dial(1)
    await tcp.over.wait()
    udp = await late.dial_udp(2)
    await udp.over.wait()
    assert tcp.kinds == [LinkKind.REFUSE]
    assert udp.reset is ResetReason.TEMPORARILY_UNABLE
    assert network.dropped == {"crowded": 2}
    assert network.server.has_link(UA)
    assert not network.server.has_link(OTHER_UA)


async def test_at_the_limit_a_tcp_link_is_still_replaced(network: _Network) -> None:
    """The place of the lost link is free for the new one."""
    await network.replace_server(BipSettings(max_links=1))
    await network.handset.call(1)
    await network.handset.call(2)
    assert await network.ask() == response(SHORT[::-1])
    assert network.dropped == {}


# ---- what is not for us --------------------------------------------------------------------------------

_OPEN = LinkPdu(kind=LinkKind.OPEN, connection=9, port=TCP_PORT)
_FOREIGN: dict[str, tuple[bytes, Bearer, str]] = {
    "wrong-bearer": (_OPEN.encode(), Bearer.SMS, "wrong-bearer"),
    "too-short": (b"\x01", TCP, "link-too-short"),
    "unknown-kind": (bytes((7, *_OPEN.encode()[1:])), TCP, "link-kind"),
    "datagram-on-tcp": (bytes((6, *_OPEN.encode()[1:])), TCP, "wrong-kind"),
    "open-on-udp": (_OPEN.encode(), UDP, "wrong-kind"),
    "accept": (bytes((2, *_OPEN.encode()[1:])), TCP, "no-such-connection"),
    "close-of-nothing": (bytes((5, *_OPEN.encode()[1:])), TCP, "no-such-connection"),
    "no-cat-tp": (
        LinkPdu(kind=LinkKind.DATAGRAM, connection=9, port=UDP_PORT, payload=b"\x80").encode(),
        UDP,
        "too-short",
    ),
    "wrong-udp-port": (
        LinkPdu(kind=LinkKind.DATAGRAM, connection=9, port=TCP_PORT, payload=b"\x80").encode(),
        UDP,
        "wrong-port",
    ),
}


@pytest.mark.parametrize(("octets", "bearer", "reason"), _FOREIGN.values(), ids=_FOREIGN.keys())
async def test_foreign_frames_are_dropped(
    network: _Network, octets: bytes, bearer: Bearer, reason: str
) -> None:
    """What is not ours is counted under its reason, answered by nothing, and changes nothing."""
    channel = await network.handset.call()
    await network.handset.say_octets(octets, bearer)
    await network.counters.drops.until(1)
    assert network.dropped == {reason: 1}
    assert await network.ask() == response(SHORT[::-1])
    assert channel.kinds == [LinkKind.ACCEPT, LinkKind.DATA]
    assert len(network.handset.frames) == 2


async def test_a_wrong_port_is_refused(network: _Network) -> None:
    """Nobody listens on another port."""
    channel = await network.handset.dial(1, port=TCP_PORT + 1)
    await channel.over.wait()
    assert channel.kinds == [LinkKind.REFUSE]
    assert network.dropped == {"wrong-port": 1}


async def test_data_of_no_connection_is_answered_by_a_close(network: _Network) -> None:
    """A module whose link we have forgotten is told so by the next that it sends; an ACCEPT is misplaced."""
    channel = await network.handset.call()
    await network.handset.say(channel, LinkKind.ACCEPT)
    await network.counters.drops.until(1)
    await network.handset.hang_up(channel)
    await network.handset.send(channel, b"\x01")
    await channel.over.wait()
    assert network.dropped == {"no-such-connection": 1, "wrong-kind": 1}
    assert network.closings == ["by-module"]


async def test_cat_tp_of_no_connection_is_answered_by_a_reset(network: _Network) -> None:
    """Data over a channel that has opened nothing is reset, which ends the module's half of a lost link."""
    channel = await network.connect(UDP)
    server = await network.replace_server(SETTINGS)
    await channel.over.wait()
    stale = await network.connect(UDP, 2)
    assert server.has_link(UA)
    stale.number = 3
    network.handset.channels[3] = stale
    await network.handset.send(stale, command(SHORT))
    await stale.over.wait()
    assert stale.reset is ResetReason.UNEXPECTED_PDU
    assert network.dropped == {"no-such-connection": 1}


@pytest.mark.parametrize("ua", [UA, "no-iccid"])
async def test_a_syn_under_another_name_is_refused(network: _Network, ua: str) -> None:
    """The identification in a SYN must be the ICCID of the module that the frame names."""
    handset = await network.new_handset(ua)
    channel = await handset.dial_udp(1, identification=bytes.fromhex("98880000000000000092"))
    await channel.over.wait()
    assert channel.reset is ResetReason.ILLEGAL_PARAMETERS
    assert network.dropped == {"identification": 1}
    assert not network.server.has_link(ua)


async def test_a_reset_of_no_connection_is_not_answered(network: _Network) -> None:
    """Two ends that know of nothing do not go on for ever."""
    channel = await network.handset.dial_udp(1, identification=b"")
    await channel.over.wait()
    count = len(network.handset.frames)
    assert channel.cat_tp is not None
    forgotten = await network.handset.dial_udp(2, identification=b"")
    await network.handset.hang_up(forgotten)
    await network.counters.drops.until(3)
    await network.handset.call()
    assert len(network.handset.frames) == count + 2
    assert network.dropped == {"identification": 2, "no-such-connection": 1}


_USELESS: dict[str, tuple[bytes, str]] = {
    "response-to-nothing": (response(SHORT), "unexpected-response"),
    "response-without-tar": (b"\x02\x03\x0a\x00\x00", "no-tar"),
    "response-cut-short": (b"\x02\x10\x0a", "rpl"),
    "unknown-identifier": (b"\x04\x00", "identifier"),
    "no-identification": (b"\x03\x00", "length"),
}


@pytest.mark.parametrize(("octets", "reason"), _USELESS.values(), ids=_USELESS.keys())
async def test_packets_that_are_of_no_use_are_dropped(network: _Network, octets: bytes, reason: str) -> None:
    """A response that nobody waits for, or what is no packet, is counted and leaves the link alone."""
    channel = await network.connect(UDP)
    await network.handset.send(channel, octets)
    await network.counters.drops.until(1)
    assert network.dropped == {reason: 1}
    assert await network.ask() == response(SHORT[::-1])


async def test_a_response_that_comes_twice_answers_once(network: _Network) -> None:
    """The second of two responses in one segment finds nobody waiting."""
    channel = await network.handset.call()
    network.handset.answer = lambda _: response(b"1") + response(b"2")
    assert await network.ask() == response(b"1")
    await network.alone(channel)
    assert network.dropped == {"unexpected-response": 1}


async def test_a_full_mailbox_drops_the_command(network: _Network) -> None:
    """A role that takes no more loses the packet and not the link."""
    channel = await network.handset.call()
    network.full = True
    await network.handset.send(channel, command(SHORT))
    await network.counters.drops.until(1)
    network.full = False
    await network.alone(channel)
    assert network.dropped == {"mailbox-full": 1}
    assert [came.packet for came in network.heard] == [command(b"last")]


async def test_arbitrary_octets_do_no_harm(network: _Network) -> None:
    """Whatever handsets send, nothing is raised, what is held stays bounded, and others are served."""
    vandal, seed = await network.new_handset(OTHER_UA), random.Random(11)
    await network.handset.call()
    for bearer in (TCP, UDP):
        for _ in range(150):
            payload = seed.randbytes(seed.randrange(40))
            head = bytes((seed.randrange(8), 0, seed.randrange(3)))
            port = TCP_PORT if bearer is TCP else UDP_PORT
            sequence = bytes((0, 0, 0, seed.randrange(2)))
            await vandal.say_octets(head + port.to_bytes(2, "big") + sequence + payload, bearer)
    assert await network.ask() == response(SHORT[::-1])
    assert "handler-failed" not in network.dropped
    assert await network.server.wait_link(UA)


# ---- waiting, hanging up, closing ----------------------------------------------------------------------


@BOTH
async def test_waiting_for_a_link(network: _Network, bearer: Bearer) -> None:
    """Whoever waits for a module's call is told of it, over the bearer that he wants or over any."""
    waiting = [asyncio.create_task(network.server.wait_link(UA, one)) for one in (bearer, None, bearer, None)]
    other = asyncio.create_task(network.server.wait_link(UA, UDP if bearer is TCP else TCP))
    await network.clock.waits[LINK_S].until(5)
    waiting[3].cancel()
    await network.handset.open(bearer)
    assert await asyncio.gather(*waiting[:3]) == [True] * 3
    assert await network.server.wait_link(UA, bearer)
    network.clock.advance(LINK_S)
    assert await other is False


@BOTH
async def test_hanging_up(network: _Network, bearer: Bearer) -> None:
    """The module learns that its link is over; where there is none, hanging up is nothing."""
    await network.server.hang_up(UA)
    channel = await network.connect(bearer)
    await network.ask()
    await network.server.hang_up(UA, UDP if bearer is TCP else TCP)
    assert network.server.has_link(UA)
    await network.server.hang_up(UA, bearer)
    assert not network.server.has_link(UA)
    await channel.over.wait()
    assert channel.reset is (None if bearer is TCP else ResetReason.NORMAL)
    assert network.closings == ["hung-up"]


async def test_hanging_up_ends_what_waits(network: _Network) -> None:
    """Links of all bearers end at once, and requests on them fail."""
    tcp, udp = await network.connect(TCP, 1), await network.connect(UDP, 2)
    network.handset.answer = lambda _: b""
    asking = [network.asking(bearer=bearer) for bearer in (TCP, UDP)]
    await tcp.heard.until(1)
    await udp.heard.until(1)
    await network.server.hang_up(UA)
    assert [await _failure(one) for one in asking] == ["link-lost"] * 2
    await asyncio.gather(tcp.over.wait(), udp.over.wait())


@BOTH
async def test_closing_leaves_nothing(network: _Network, bearer: Bearer) -> None:
    """Modules are hung up on, whoever waits is told, no task is left, and what comes later is not heard."""
    channel = await network.connect(bearer)
    network.handset.answer = lambda _: b""
    asking = network.asking()
    before = network.clock.waits[LINK_S].count
    waiting = asyncio.create_task(network.server.wait_link(OTHER_UA))
    await channel.heard.until(1)
    await network.clock.waits[LINK_S].until(before + 1)
    await network.server.close()
    await network.server.close()
    await channel.over.wait()
    assert await _failure(asking) == "link-lost"
    assert await waiting is False
    assert network.closings == ["server-closed"]
    await network.handset.dial(5)
    assert not network.server.has_link(UA)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("bip[")]


async def test_closing_does_not_wait_for_a_broker_for_ever(network: _Network) -> None:
    """While the broker is away nobody can be told; after a while the server goes all the same."""
    await network.handset.call()
    network.client.gate.clear()
    closing = asyncio.create_task(network.server.close())
    await network.clock.waits[LINK_S].until(1)
    network.clock.advance(LINK_S)
    await closing
    network.client.gate.set()
    assert len(network.told("bip.not_hung_up")) == 1
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("bip[")]


async def test_a_client_that_is_closed_fails_the_request(network: _Network) -> None:
    """A request that can never be sent raises what the client raises, and its link is gone."""
    await network.handset.call()
    network.client.gate.clear()
    asking = network.asking()
    hanging_up = asyncio.create_task(network.server.hang_up(OTHER_UA))
    await hanging_up
    await network.client.__aexit__(None, None, None)
    network.client.gate.set()
    with pytest.raises(ClientClosed):
        await asking
    assert network.closings == ["abandoned"]
    assert network.told("bip.not_sent")


async def test_a_broker_that_is_away_bounds_what_waits(network: _Network) -> None:
    """Answers to strangers that cannot be sent are kept up to a limit, then dropped."""
    network.client.gate.clear()
    stranger = Channel(number=3, bearer=TCP, port=TCP_PORT)
    for _ in range(300):
        await network.handset.say(stranger, LinkKind.DATA, b"\x01")
    await network.counters.drops.until(300 + 43)
    network.client.gate.set()
    await network.handset.strangers.until(257)
    assert network.dropped == {"no-such-connection": 300, "outbox-full": 43}


async def test_links_that_are_replaced_faster_than_that_can_be_said_are_refused(network: _Network) -> None:
    """Each leaves a last word that waits to be sent: beyond so many the one that stands is left alone."""
    network.client.gate.clear()
    opens = 600
    for number in range(1, opens + 1):
        await network.handset.say(Channel(number=number, bearer=TCP, port=TCP_PORT), LinkKind.OPEN)
    await network.counters.drops.until(opens - 514)
    network.client.gate.set()
    assert network.dropped == {"crowded": opens - 514}
    assert await network.server.wait_link(UA, TCP)
    assert len(network.told("bip.link_opened")) == 514


async def test_a_packet_that_the_module_cannot_take_is_not_sent(network: _Network) -> None:
    """A service data unit has the module's limit, so that the next bearer can be tried at once."""
    channel = await network.connect(UDP)
    assert await _failure(network.asking(command(bytes(5000)))) == "too-long"
    assert await network.ask() == response(SHORT[::-1])
    assert channel.packets == [command(SHORT)]


async def test_more_requests_than_cat_tp_queues(network: _Network) -> None:
    """Packets beyond CAT_TP's own queue wait in the link and all arrive."""
    cat_tp = CatTpSettings(window=1, max_queued_sdus=1)
    await network.replace_server(BipSettings(cat_tp=cat_tp))
    await network.connect(UDP)
    packets = [command(bytes((number,)) * 500, bytes((0xB0, 0, number))) for number in range(10)]
    answers = await asyncio.gather(*(network.asking(packet) for packet in packets))
    assert answers == [response(bytes((number,)) * 500, bytes((0xB0, 0, number))) for number in range(10)]


async def test_misuse_is_refused(network: _Network) -> None:
    """What a server needs it must have: a start, once, an address, ports, and packets that are packets."""
    with pytest.raises(ValueError, match="has started already"):
        await network.server.start(network.deliver)
    with pytest.raises(ValueError, match="no command packet"):
        await network.server.request(response(SHORT), ua=UA, trace=TRACE)
    idle = network.new_server()
    with pytest.raises(ValueError, match="not started"):
        await idle.request(command(SHORT), ua=UA, trace=TRACE)
    with pytest.raises(ValueError, match="not started"):
        await idle.wait_link(UA)
    await idle.close()
    for wrong in ({"address": "192.0.2.01"}, {"address": "server"}, {"tcp_port": 0}, {"udp_port": 65536}):
        with pytest.raises(ValueError, match=r"192|server|ports"):
            network.new_server(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"response_timeout_s": 0.0},
        {"link_timeout_s": -1.0},
        {"idle_s": 0.0},
        {"max_links": 0},
        {"segment_octets": 0},
        {"segment_octets": 65_536},
        {"cat_tp": CatTpSettings(max_pdu=65_535)},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_that_could_never_work_are_refused(wrong: dict[str, Any]) -> None:
    """No time, no link, no octet or more than a frame holds is misuse."""
    with pytest.raises(ValueError, match=r"positive times|at most"):
        BipSettings(**wrong)


@BOTH
async def test_what_is_logged_never_holds_the_packet(network: _Network, bearer: Bearer) -> None:
    """The events name module, bearer and numbers, and no octets."""
    channel = await network.connect(bearer)
    await network.ask()
    await network.handset.send(channel, command(SHORT))
    await network.commands.until(1)
    await network.server.hang_up(UA)
    ours = [log for log in network.logs if log["event"].startswith("bip.")]
    assert {"bip.link_opened", "bip.packet_sent", "bip.packet_received", "bip.link_closed"} == {
        log["event"] for log in ours
    }
    assert all((log["ua"], log["bearer"]) == (UA, str(bearer)) for log in ours)
    assert not any(isinstance(value, bytes) for log in ours for value in log.values())
