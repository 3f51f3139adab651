"""What modules of a cell changed at the same page is stored together, and each is told what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agents.errors import FleetError
from agents.handset.joint_save import JointSave
from agents.store.tables import MODULES, PAGES
from bus.actor import ActorGroup
from bus.errors import MailboxFull

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agents.role_kit import Kit

SHEET = b"sheet".ljust(2048, b"\0")


def teller(told: dict[str, Exception | None], ua: str) -> Callable[[Exception | None], None]:
    """Return what notes that *ua* was told."""

    def tell(failure: Exception | None) -> None:
        told[ua] = failure

    return tell


async def test_what_comes_together_is_one_transaction(kit: Kit) -> None:
    """All that is handed over in one turn is durable in one; each is told then, and not before."""
    store, told = await kit.store("handsets", MODULES), dict[str, Exception | None]()
    save, before = JointSave(kit.pages, kit.group), store.transactions
    addresses = [kit.ua(index) for index in range(1, 21)]
    for ua in addresses:
        save.save(ua, [(8, SHEET)], teller(told, ua))
    assert not told
    await kit.group.idle()
    assert told == dict.fromkeys(addresses)
    assert store.transactions == before + 1
    assert {ua: await kit.pages.load(ua) for ua in addresses} == {ua: [(8, SHEET)] for ua in addresses}


async def test_what_comes_during_a_save_is_in_the_next(kit: Kit) -> None:
    """Who is told may have more to save; nothing is forgotten, and the task goes when all is done."""
    told = dict[str, Exception | None]()
    save, second = JointSave(kit.pages, kit.group), kit.ua(2)

    def go_on(_failure: Exception | None) -> None:
        save.save(second, [(0, SHEET)], teller(told, second))

    save.save(kit.ua(), [(0, SHEET)], go_on)
    await kit.group.idle()
    save.save(kit.ua(3), [(0, SHEET)], teller(told, kit.ua(3)))
    await kit.group.idle()
    assert told == {second: None, kit.ua(3): None}
    assert await kit.pages.load(second) == [(0, SHEET)]


async def test_a_save_that_fails_is_told_to_each(kit: Kit) -> None:
    """Nothing is stored of any; the next save goes well."""
    await kit.store("handsets", MODULES)
    told = dict[str, Exception | None]()
    save, addresses = JointSave(kit.pages, kit.group), [kit.ua(1), kit.ua(2)]
    kit.fail_next_save("handsets", PAGES)
    for ua in addresses:
        save.save(ua, [(0, SHEET)], teller(told, ua))
    await kit.group.idle()
    assert list(told) == addresses
    assert all(isinstance(failure, FleetError) for failure in told.values())
    assert await kit.pages.load(kit.ua()) == []
    save.save(kit.ua(), [(0, SHEET)], teller(told, kit.ua()))
    await kit.group.idle()
    assert told[kit.ua()] is None


async def test_nothing_is_taken_when_the_handsets_are_going(kit: Kit) -> None:
    """A group that has ended has no task for it: who asks hears so, and nothing is stored."""
    told = dict[str, Exception | None]()
    async with ActorGroup(log=kit.log, counters=kit.counters) as group:
        save = JointSave(kit.pages, group)
    with pytest.raises(MailboxFull):
        save.save(kit.ua(), [(0, SHEET)], teller(told, kit.ua()))
    assert (told, await kit.pages.load(kit.ua())) == ({}, [])
