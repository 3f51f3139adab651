"""The cell broadcast bearer over a real broker: cells, repetitions, updates, and what is no page."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from structlog.testing import capture_logs

from bus.bearers.cell_broadcast import Airtime, BroadcastReceipt, CellBroadcaster
from bus.counters import Counters
from bus.frame import Bearer, Frame, TraceContext
from bus.topics import Broadcast
from tests.bus.handset import Tally, WatchedClient
from tests.bus.manual_clock import ManualClock
from transport.cell_broadcast import (
    PERIOD_UNIT_S,
    GeographicScope,
    MessageFilter,
    Page,
    PageAssembler,
    Schedule,
    SerialNumber,
    packet_of,
    split,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bus.client import BrokerAddress
    from bus.counters import Snapshot

OPERATOR = "5000"
IDENTIFIER = 0x1080
TRACE = TraceContext(trace_id=b"T" * 16, span_id=b"S" * 8)
PACKET = (200).to_bytes(2, "big") + bytes(range(200))  # three pages
START = 1_000_000.0
PERIOD = 10
PERIOD_S = PERIOD * PERIOD_UNIT_S
A_LITTLE_S = 1e-3  # so that sums of periods do not fall short of their product


class _WatchedClock(ManualClock):
    """A clock that lets a test wait until somebody waits for it."""

    def __init__(self) -> None:
        super().__init__(now=START)
        self.sleeps = Tally()

    async def sleep(self, delay_s: float) -> None:
        """Count and wait."""
        self.sleeps.add()
        await super().sleep(delay_s)


class _Cell:
    """All that a cell hears, and what a phone in it would make of that."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.frames: list[Frame] = []
        self.heard = Tally()
        self.counters = Counters()

    def __call__(self, frame: Frame, _topic: str) -> None:
        """Keep *frame*."""
        self.frames.append(frame)
        self.heard.add()

    @property
    def pages(self) -> list[Page]:
        """Every page that came, repetitions too."""
        return [Page.parse(frame.pdu) for frame in self.frames]

    def packets(self, wanted: MessageFilter) -> list[bytes]:
        """Return what a card with *wanted* in EF.CBMID gets of it."""
        assembler = PageAssembler()
        passed = [page for page in self.pages if wanted.passes(page.message_identifier)]
        contents = [assembler.receive(page, 0.0) for page in passed]
        return [packet_of(content) for content in contents if content is not None]


class _Network:
    """An operator that broadcasts, and any number of cells, on one broker."""

    def __init__(self, stack: AsyncExitStack, broker: BrokerAddress, fleet: str) -> None:
        self.clock = _WatchedClock()
        self.counters = Counters()
        self._stack = stack
        self._broker = broker
        self._fleet = fleet
        self._references = itertools.count(1)
        self.client: WatchedClient
        self.broadcaster: CellBroadcaster

    async def open(self) -> None:
        self.client = await self._connect("operator", self.counters)
        self.broadcaster = CellBroadcaster(
            self.client,
            fleet=self._fleet,
            source=OPERATOR,
            clock=self.clock,
            counters=self.counters,
            rng=lambda size: next(self._references).to_bytes(size, "big"),
            log=structlog.get_logger(),
        )

    async def _connect(self, who: str, counters: Counters) -> WatchedClient:
        client = WatchedClient(
            self._broker,
            identifier=f"{self._fleet}-{who}",
            log=structlog.get_logger(),
            counters=counters,
            persistent=False,
        )
        return await self._stack.enter_async_context(client)

    async def new_cell(self, name: str) -> _Cell:
        cell = _Cell(name)
        client = await self._connect(name, cell.counters)
        await client.subscribe([Broadcast(fleet=self._fleet, cell=name)], cell)
        return cell

    async def broadcast(self, packet: bytes = PACKET, **fields: Any) -> BroadcastReceipt:
        ours: dict[str, Any] = {
            "message_identifier": IDENTIFIER,
            "code": 7,
            "cells": ["north"],
            "scope": GeographicScope.PLMN,
            "schedule": Schedule(),
            "trace": TRACE,
        }
        return await self.broadcaster.broadcast(packet, **ours | fields)

    def broadcasting(self, packet: bytes = PACKET, **fields: Any) -> asyncio.Task[BroadcastReceipt]:
        return asyncio.create_task(self.broadcast(packet, **fields))

    @property
    def counted(self) -> Snapshot:
        return self.counters.snapshot()


@pytest.fixture
async def network(broker: BrokerAddress, fleet: str) -> AsyncIterator[_Network]:
    """Yield an operator, connected; what it logs is kept off the terminal."""
    with capture_logs():
        async with AsyncExitStack() as stack:
            network = _Network(stack, broker, fleet)
            await network.open()
            yield network


async def test_a_broadcast_reaches_the_cells_it_is_for(network: _Network) -> None:
    """Two cells are addressed and hear all pages, a third one hears none of them."""
    north, south, west = [await network.new_cell(name) for name in ("north", "south", "west")]
    receipt = await network.broadcast(cells=["north", "south"])
    await network.broadcast(b"\x00\x00", code=8, cells=["west"])
    await north.heard.until(3)
    await south.heard.until(3)
    await west.heard.until(1)
    assert receipt == BroadcastReceipt(pages=3, publishes=6, repetitions=1)
    serial = SerialNumber(scope=GeographicScope.PLMN, code=7)
    for cell in (north, south):
        assert cell.pages == split(PACKET, serial, IDENTIFIER)
        assert cell.packets(MessageFilter(identifiers=(IDENTIFIER,))) == [PACKET]
        assert cell.packets(MessageFilter(identifiers=(IDENTIFIER + 1,))) == []
    assert west.packets(MessageFilter(identifiers=(IDENTIFIER,))) == [b"\x00\x00"]


async def test_frames_of_a_broadcast(network: _Network) -> None:
    """Each frame has a page of 88 octets, its cell, the sender, the trace, and a reference of its own."""
    north = await network.new_cell("north")
    await network.broadcast(update=5, scope=GeographicScope.CELL)
    await north.heard.until(3)
    for frame in north.frames:
        assert (frame.bearer, frame.source, frame.destination) == (Bearer.CELL_BROADCAST, OPERATOR, "north")
        assert (frame.trace.trace_id, frame.sent_at, frame.attempt) == (TRACE.trace_id, START, 1)
        assert len(frame.pdu) == 88
    assert [frame.pdu[:6].hex() for frame in north.frames] == [f"c0751080f6{number}3" for number in (1, 2, 3)]
    assert len({frame.reference for frame in north.frames}) == 3


async def test_frames_say_when_their_page_has_been_on_the_air(network: _Network) -> None:
    """A page after the other, in all cells at the same time, by whoever reckons with the air."""
    cells = [await network.new_cell(name) for name in ("north", "south")]
    airtime = Airtime(network.clock, 2.0)
    for code in (7, 8):
        await network.broadcast(cells=["north", "south"], code=code, airtime=airtime)
    network.clock.advance(60.0)
    await network.broadcast(cells=["north", "south"], code=9, airtime=airtime)
    for cell in cells:
        await cell.heard.until(9)
        assert [frame.sent_at - START for frame in cell.frames] == [2, 4, 6, 8, 10, 12, 62, 64, 66]


async def test_repetitions_keep_their_period(network: _Network) -> None:
    """A message is broadcast as often as its schedule says, each time a period after the one before."""
    north = await network.new_cell("north")
    sending = network.broadcasting(schedule=Schedule(period=PERIOD, count=3))
    for repetition in (1, 2):
        await network.clock.sleeps.until(repetition)
        assert len(north.frames) <= 3 * repetition
        assert not sending.done()
        network.clock.advance(PERIOD_S + A_LITTLE_S)
    assert await sending == BroadcastReceipt(pages=3, publishes=9, repetitions=3)
    await north.heard.until(9)
    assert [frame.attempt for frame in north.frames] == [1] * 3 + [2] * 3 + [3] * 3
    times = [frame.sent_at - START for frame in north.frames]
    assert times == pytest.approx([0.0] * 3 + [PERIOD_S] * 3 + [2 * PERIOD_S] * 3, abs=3 * A_LITTLE_S)
    assert len({frame.reference for frame in north.frames}) == 9
    assert north.packets(MessageFilter(identifiers=(IDENTIFIER,))) == [PACKET]
    counted = network.counted["bearers"]["cell-broadcast"]
    assert counted["sent"] == {"messages": 9, "octets": 9 * 88}
    assert counted["retries"] == 6


async def test_a_period_does_not_end_early(network: _Network) -> None:
    """Until the whole period has passed nothing is repeated."""
    sending = network.broadcasting(schedule=Schedule(period=PERIOD, count=2))
    await network.clock.sleeps.until(1)
    network.clock.advance(PERIOD_S - A_LITTLE_S)
    await network.broadcast(b"\x00\x00", code=8)  # whatever would go too early goes before this
    assert network.client.published.count == 3 + 1
    network.clock.advance(2 * A_LITTLE_S)
    assert (await sending).publishes == 6


async def test_a_repetition_that_is_late_is_not_put_off(network: _Network) -> None:
    """When publishing took longer than a period the next repetition follows at once."""
    network.client.gate.clear()
    sending = network.broadcasting(schedule=Schedule(period=1, count=2))
    await asyncio.sleep(0)
    network.clock.advance(1000.0)
    network.client.gate.set()
    assert (await sending).repetitions == 2
    assert network.clock.sleeps.count == 0


async def test_a_broadcast_without_end_is_stopped(network: _Network) -> None:
    """A count of zero goes on until it is stopped; the receipt says how far it came."""
    sending = network.broadcasting(schedule=Schedule(period=PERIOD, count=0))
    for repetition in range(1, 5):
        await network.clock.sleeps.until(repetition)
        network.clock.advance(PERIOD_S + A_LITTLE_S)
    await network.clock.sleeps.until(5)
    assert network.broadcaster.stop(message_identifier=IDENTIFIER, code=7)
    assert await sending == BroadcastReceipt(pages=3, publishes=15, repetitions=5)
    assert not network.broadcaster.stop(message_identifier=IDENTIFIER, code=7)


async def test_a_stop_lets_the_repetition_under_way_end(network: _Network) -> None:
    """Stopped while its pages are being published, a message is broadcast whole that time."""
    network.client.gate.clear()
    sending = network.broadcasting(schedule=Schedule(period=PERIOD, count=0))
    await asyncio.sleep(0)
    assert network.broadcaster.stop(message_identifier=IDENTIFIER, code=7)
    network.client.gate.set()
    assert await sending == BroadcastReceipt(pages=3, publishes=3, repetitions=1)


async def test_a_cancelled_broadcast_leaves_nothing_behind(network: _Network) -> None:
    """After a cancellation nothing is repeated, and the same message may go on the air again."""
    sending = network.broadcasting(schedule=Schedule(period=PERIOD, count=0))
    await network.clock.sleeps.until(1)
    sending.cancel()
    await asyncio.wait([sending])
    assert sending.cancelled()
    network.clock.advance(PERIOD_S + A_LITTLE_S)
    assert await network.broadcast() == BroadcastReceipt(pages=3, publishes=3, repetitions=1)
    assert network.client.published.count == 6


async def test_an_update_takes_the_place_of_its_message(network: _Network) -> None:
    """A later version ends the earlier one, and phones get both, once each."""
    north = await network.new_cell("north")
    newer = PACKET[:2] + bytes(200)
    old = network.broadcasting(schedule=Schedule(period=PERIOD, count=0))
    await network.clock.sleeps.until(1)
    new = network.broadcasting(newer, update=1, schedule=Schedule(period=PERIOD, count=2))
    assert (await old).repetitions == 1
    await network.clock.sleeps.until(2)
    network.clock.advance(PERIOD_S + A_LITTLE_S)
    assert (await new).repetitions == 2
    await north.heard.until(9)
    assert north.packets(MessageFilter(identifiers=(IDENTIFIER,))) == [PACKET, newer]


@pytest.mark.parametrize(
    "fields", [{"update": 3}, {"update": 2}, {"update": 4, "scope": GeographicScope.CELL}], ids=str
)
async def test_a_code_on_the_air_is_taken(network: _Network, fields: dict[str, Any]) -> None:
    """The same version, an earlier one, or another scope's message under the code is our own mistake."""
    sending = network.broadcasting(update=3, schedule=Schedule(period=PERIOD, count=2))
    await network.clock.sleeps.until(1)
    with pytest.raises(ValueError, match="1080/7 is on the air"):
        await network.broadcast(**fields)
    network.clock.advance(PERIOD_S + A_LITTLE_S)
    assert (await sending).repetitions == 2


async def test_messages_are_on_the_air_together(network: _Network) -> None:
    """Other codes and other identifiers do not disturb each other."""
    north = await network.new_cell("north")
    receipts = await asyncio.gather(
        network.broadcast(),
        network.broadcast(code=8),
        network.broadcast(message_identifier=IDENTIFIER + 1),
    )
    assert [receipt.publishes for receipt in receipts] == [3, 3, 3]
    await north.heard.until(9)
    wanted = MessageFilter(identifiers=(IDENTIFIER, IDENTIFIER + 1))
    assert north.packets(wanted) == [PACKET] * 3


async def test_attempts_are_capped(network: _Network) -> None:
    """Past the last number that a frame can say, repetitions go on under it."""
    north = await network.new_cell("north")
    sending = network.broadcasting(b"\x00\x00", schedule=Schedule(period=1, count=257))
    for repetition in range(1, 257):
        await network.clock.sleeps.until(repetition)
        network.clock.advance(PERIOD_UNIT_S + A_LITTLE_S)
    assert (await sending).repetitions == 257
    await north.heard.until(257)
    assert [frame.attempt for frame in north.frames][-4:] == [254, 255, 255, 255]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"cells": []}, "needs a cell"),
        ({"cells": ["north", "north"]}, "each one once"),
        ({"cells": ["no/rth"]}, "is no name"),
        ({"code": 1024}, "message code"),
        ({"update": 16}, "update number"),
        ({"message_identifier": 0x10000}, "message identifier"),
        ({"packet": bytes(1231)}, "15 pages"),
    ],
    ids=["no cell", "one twice", "no name", "code", "update", "identifier", "too long"],
)
async def test_misuse_puts_nothing_on_the_air(network: _Network, fields: dict[str, Any], why: str) -> None:
    """What cannot be broadcast is our own mistake, and nothing is published."""
    with pytest.raises(ValueError, match=why):
        await network.broadcast(**fields)
    assert network.client.published.count == 0
    assert not network.broadcaster.stop(message_identifier=IDENTIFIER, code=7)


async def test_what_is_logged_never_holds_the_packet(network: _Network) -> None:
    """Begun and ended: the events name the message and numbers, and no octets."""
    with capture_logs() as logs:
        await network.broadcast()
    ours = [log for log in logs if log["event"].startswith("cell_broadcast.")]
    assert [log["event"] for log in ours] == ["cell_broadcast.begun", "cell_broadcast.ended"]
    assert {(log["message_identifier"], log["code"], log["update"]) for log in ours} == {(IDENTIFIER, 7, 0)}
    assert not any(isinstance(value, bytes) for log in ours for value in log.values())
