"""The announcer: signed, to the cells of the groups named, newer each time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agents.announcer import Announcer
from agents.errors import Refusal
from agents.messages.air import MANAGER_TAR, Announce
from agents.messages.bearers import ANNOUNCEMENTS
from agents.messages.codec import decode
from agents.messages.signed import EVERYBODY, Purpose, Signed
from agents.randomness import make_rng
from bus.bearers.cell_broadcast import CellBroadcaster
from bus.topics import Broadcast
from tests.agents.role_kit import TRACE, Kit, open_kit
from tests.bus.manual_clock import ManualClock
from transport.cell_broadcast import Page, PageAssembler, Schedule, packet_of
from transport.cell_broadcast.serial_number import MAX_CODE
from transport.secured_packet import CELL_BROADCAST, decode_command
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from bus.address import BrokerAddress
    from bus.frame import Frame
    from transport.security.suites import SigningKey

CELLS = {"city": ("city.1", "city.2"), "coast": ("coast.1",)}


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


@pytest.fixture
async def announcer(kit: Kit) -> Announcer:
    """Return the operator's announcer, for two groups."""
    desk = await kit.desk("mno")
    broadcaster = CellBroadcaster(
        desk.client,
        fleet=kit.fleet,
        source="mno",
        clock=kit.clock,
        counters=kit.counters,
        rng=kit.rng("broadcast"),
        log=kit.log,
    )
    return Announcer(desk=desk, broadcaster=broadcaster, cells=CELLS, schedule=Schedule())


async def heard(kit: Kit, cell: str, skip: int = 0) -> Signed:
    """Return the message that a cell's pages hold, behind the first *skip* pages."""
    assembler = PageAssembler(max_messages=1, timeout_s=60.0)
    while True:
        frames = await kit.wire.until(Broadcast(fleet=kit.fleet, cell=cell), skip + 1)
        page = Page.parse(frames[skip].pdu)
        assert page.message_identifier == ANNOUNCEMENTS
        content = assembler.receive(page, 0.0)
        skip += 1
        if content is not None:
            packet = decode_command(packet_of(content), dialect=CELL_BROADCAST)
            assert packet.tar == MANAGER_TAR
            return decode(packet.data, Signed)


async def test_everybody_is_told_the_time_under_the_operators_name(
    kit: Kit, announcer: Announcer, clock: ManualClock
) -> None:
    """Signed for everybody, and for this purpose alone; without a group named all cells get it."""
    await announcer.announce((), trace=TRACE)
    for cell in ("city.1", "city.2", "coast.1"):
        signed = await heard(kit, cell)
        keys = kit.keys["mno"].signing
        assert (signed.target, signed.signer) == (EVERYBODY, "mno")
        signed.verify(purpose=Purpose.ANNOUNCEMENT, suite="x25519", public=keys.public)
        assert decode(signed.body, Announce).time == int(clock.now())


async def test_only_the_groups_named_are_told(kit: Kit, announcer: Announcer) -> None:
    """Each cell of them once."""
    await announcer.announce(["coast"], trace=TRACE)
    await heard(kit, "coast.1")
    assert kit.wire.on(Broadcast(fleet=kit.fleet, cell="city.1")) == []


async def test_no_two_announcements_have_the_same_message_code(kit: Kit, announcer: Announcer) -> None:
    """By that a phone knows which pages belong together; codes go round after the last."""
    times = 3
    frames: list[Frame] = []
    for _ in range(times):
        await announcer.announce(["coast"], trace=TRACE)
        await heard(kit, "coast.1", len(frames))
        frames = kit.wire.on(Broadcast(fleet=kit.fleet, cell="coast.1"))
    codes = list(dict.fromkeys(Page.parse(frame.pdu).serial.code for frame in frames))
    assert codes == [(codes[0] + number) % (MAX_CODE + 1) for number in range(times)]


@pytest.mark.parametrize("later_s", [0.0, 0.5])
async def test_the_next_announcement_is_newer(
    kit: Kit, announcer: Announcer, clock: ManualClock, later_s: float
) -> None:
    """Its counter is the time, or the next one in the same tick: a module takes it for news."""
    await announcer.announce(["coast"], trace=TRACE)
    first = await heard(kit, "coast.1")
    pages = len(kit.wire.on(Broadcast(fleet=kit.fleet, cell="coast.1")))
    clock.advance(later_s)
    await announcer.announce(["coast"], trace=TRACE)
    assert (await heard(kit, "coast.1", pages)).counter > first.counter


async def test_a_group_without_cells_cannot_be_told(announcer: Announcer) -> None:
    """A group of another operator has none of this one's cells."""
    with pytest.raises(Refusal, match="unknown-group"):
        await announcer.announce(["elsewhere"], trace=TRACE)


async def test_a_group_that_is_named_twice_is_told_once(kit: Kit, announcer: Announcer) -> None:
    """Each cell gets each page once."""
    await announcer.announce(["coast", "coast"], trace=TRACE)
    await heard(kit, "coast.1")
    pages = [
        Page.parse(frame.pdu).number for frame in kit.wire.on(Broadcast(fleet=kit.fleet, cell="coast.1"))
    ]
    assert len(set(pages)) == len(pages)


async def test_once_under_each_key(kit: Kit, announcer: Announcer) -> None:
    """Modules go by keys of several generations: each key is asked for by how many modules there are."""
    keys = [SUITES["x25519"].generate_signing_key(make_rng(1, name)) for name in ("first", "second")]
    asked: list[int] = []

    def in_use(subscribers: int) -> list[SigningKey]:
        asked.append(subscribers)
        return keys

    await replace(announcer, subscribers=80).announce(["coast"], keys=in_use, trace=TRACE)
    assert asked == [80]
    skip = 0
    for key in keys:
        signed = await heard(kit, "coast.1", skip)
        signed.verify(purpose=Purpose.ANNOUNCEMENT, suite="x25519", public=key.public)
        skip = len(kit.wire.on(Broadcast(fleet=kit.fleet, cell="coast.1"))) // len(keys)
