"""Roll-overs of a domain key on the air: cut short they go on with the next launch, and are joined."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.messages.codec import encode
from agents.messages.orders import DomainRollOrder
from agents.supplier import Supplier
from bus.topics import Broadcast
from tests.agents.role_kit import Kit, offer, open_kit, programme
from tests.agents.slow_kit import CELL, CELLS, REPETITIONS, Slow
from transport.cell_broadcast import Page
from transport.security.domain_key import DomainKey
from transport.security.terms import DOMAIN_SYMMETRIC

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from agents.offers import Offer
    from bus.address import BrokerAddress

READY: Final = ("personalise", "subscribe", "reserve", "activate")
ORDER: Final = encode(DomainRollOrder(roll=8))
FLEET: Final = "renewals"


def _offer() -> Offer:
    silent = offer("silent", backend="none", code=programme("silent"), data_size=16)
    return replace(silent, forms=(DOMAIN_SYMMETRIC,), logic_name="points", custody="supplier")


async def _open(kit: Kit) -> Slow:
    """Open a market with slow pages, and one handset."""
    slow = Slow(kit)
    kit.offers["bank"] = [_offer()]
    await kit.start("root", "factory", "mno", "bank")
    await kit.handset()
    return slow


async def _market(kit: Kit) -> Slow:
    slow = await _open(kit)
    await kit.agree("silent")
    await kit.take(*READY, service="silent")
    return slow


async def _send(kit: Kit, argument: bytes = ORDER) -> None:
    await kit.send_order("roll-domain-key", "silent", agent="bank", ua="", argument=argument)


async def _rolled(kit: Kit, slow: Slow, times: int = 1) -> None:
    """Let pages go until so many orders have ended well."""
    await slow.until(lambda: sum((one.do, one.ua) == ("roll-domain-key", "") for one in kit.events) == times)
    assert {one.result for one in kit.events if one.do == "roll-domain-key"} == {"ok"}


def _bank(kit: Kit) -> Supplier:
    bank = kit.roles["bank"]
    assert isinstance(bank, Supplier)
    return bank


def _generation(kit: Kit) -> int:
    (definition,) = kit.cell.phones[kit.ua()].module.definitions.all()
    return DomainKey.load(definition.domain_key).generation


def _rows(kit: Kit, statement: str) -> list[Any]:
    with closing(sqlite3.connect(kit.directory / "bank.db")) as database:
        return database.execute(statement).fetchall()


def _times(kit: Kit) -> set[int]:
    """Return how often each page was published in our cell."""
    contents = [frame.pdu[2:] for frame in kit.wire.on(Broadcast(fleet=kit.fleet, cell=CELL))]
    return {contents.count(each) for each in contents}


async def test_cut_short_it_goes_on_by_itself_once(
    broker: BrokerAddress, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Killed behind its commit, nobody says the order again: the next launch broadcasts it, the third not."""
    async with open_kit(broker, FLEET, tmp_path, log) as kit:
        slow = await _market(kit)
        await _send(kit)
        await slow.until(lambda: bool(slow.pages()))
        assert _rows(kit, "SELECT roll, broadcasts, aired FROM domain_rolls") == [(8, 1, 0)]
        assert _generation(kit) == 1
    async with open_kit(broker, FLEET, tmp_path, log, run=2) as kit:
        slow = await _open(kit)
        await _bank(kit).go_on()
        await slow.until_idle()
        assert _rows(kit, "SELECT broadcasts, aired FROM domain_rolls") == [(2, 2)]
        assert (_times(kit), len({slow.pages(cell) for cell in CELLS})) == ({REPETITIONS}, 1)
        await kit.event("roll-domain-key")
        assert _generation(kit) == 2
    async with open_kit(broker, FLEET, tmp_path, log, run=3) as kit:
        slow = await _open(kit)
        await _bank(kit).go_on()
        await slow.until_idle()
        assert slow.pages() == 0


@pytest.mark.parametrize("is_over", [False, True], ids=["on-air", "over"])
async def test_an_order_joins_what_goes_on(
    broker: BrokerAddress, tmp_path: Path, log: FilteringBoundLogger, *, is_over: bool
) -> None:
    """Nothing but the notice is broadcast for it, and its handset tells; said once more, it is broadcast."""
    async with open_kit(broker, FLEET, tmp_path, log) as kit:
        slow = await _market(kit)
        await _send(kit)
        await slow.until(lambda: bool(slow.pages()))
    async with open_kit(broker, FLEET, tmp_path, log, run=2) as kit:
        slow = await _open(kit)
        await _bank(kit).go_on()
        await slow.until(lambda: bool(slow.pages()))
        if is_over:
            await slow.until_idle()
        seen = len(kit.events)
        await _send(kit)
        await _rolled(kit, slow)
        assert (await kit.event("roll-domain-key", after=seen)).result == "ok"
        assert (_generation(kit), _times(kit)) == (2, {REPETITIONS, 2 * REPETITIONS})
        await _send(kit)
        await _rolled(kit, slow, 2)
        assert _times(kit) == {2 * REPETITIONS, 3 * REPETITIONS}
        assert _rows(kit, "SELECT broadcasts = aired FROM domain_rolls") == [(1,)]


async def test_the_next_roll_over_has_serial_numbers_of_its_own(
    broker: BrokerAddress, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """By serial number and page a phone knows what it had: nothing else ever comes under the same ones."""
    async with open_kit(broker, FLEET, tmp_path, log) as kit:
        slow = await _market(kit)
        for number, order in enumerate((ORDER, encode(DomainRollOrder(roll=9))), 1):
            await _send(kit, order)
            await _rolled(kit, slow, number)
        pages = {Page.parse(frame.pdu) for frame in kit.wire.on(Broadcast(fleet=kit.fleet, cell=CELL))}
    assert _generation(kit) == 3
    assert len({(page.serial, page.number) for page in pages}) == len(pages)
    assert {page.serial.update for page in pages} == {1, 2}


async def test_an_order_comes_before_what_would_go_on(
    broker: BrokerAddress, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Said again at once by the next launch, it is broadcast once, and not by itself as well."""
    async with open_kit(broker, FLEET, tmp_path, log) as kit:
        slow = await _market(kit)
        await _send(kit)
        await slow.until(lambda: bool(slow.pages()))
    async with open_kit(broker, FLEET, tmp_path, log, run=2) as kit:
        slow = await _open(kit)
        await _send(kit)
        await slow.until(lambda: bool(slow.pages()))
        await _bank(kit).go_on()
        await _rolled(kit, slow)
        assert (await kit.event("roll-domain-key")).result == "ok"
        assert (_generation(kit), _times(kit)) == (2, {REPETITIONS})


async def test_an_order_said_twice_is_broadcast_once(kit: Kit) -> None:
    """The second one joins the first; another one, to other cells, does not and is broadcast as well."""
    slow = await _market(kit)
    await _send(kit)
    await slow.until(lambda: bool(slow.pages()))
    await _send(kit)
    await _rolled(kit, slow, 2)
    assert _times(kit) == {REPETITIONS, 2 * REPETITIONS}
    pages = slow.pages(CELL)
    elsewhere = encode(DomainRollOrder(roll=8, groups=["coast"]))
    await _send(kit, elsewhere)
    await _rolled(kit, slow, 3)
    assert (slow.pages(CELL), len({slow.pages(cell) for cell in CELLS})) == (pages, 2)


async def test_what_has_no_cells_any_more_does_not_go_on(
    broker: BrokerAddress, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """A launch whose config has another network says so, and the supplier is at everybody's service."""
    async with open_kit(broker, FLEET, tmp_path, log) as kit:
        slow = await _market(kit)
        await _send(kit)
        await slow.until(lambda: bool(slow.pages()))
    async with open_kit(broker, FLEET, tmp_path, log, run=2) as kit:
        kit.offers["bank"] = [_offer()]
        await kit.start("root", "factory", "mno", "bank")
        await _bank(kit).go_on()
        event = await kit.order("roll-domain-key", "silent", agent="bank", ua="", argument=ORDER)
        assert (event.result, event.reason) == ("refused", "no-broadcast")
        assert (kit.wire.on(Broadcast(fleet=kit.fleet, cell=CELL)), _bank(kit).lost_letters) == ([], 0)
