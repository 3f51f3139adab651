"""An operator and its allocator that are killed: after everything that either stores, sends or hears."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Final

from agents.messages.codec import decode
from agents.messages.signed import Signed
from agents.operator import Operator
from agents.store.group_commit import GroupCommit
from agents.store.registry import Registry
from agents.store.tables import SUBSCRIPTIONS
from tests.agents.house_kit import House
from tests.agents.module_kit import SERVICE, UA
from tests.agents.reaper_kit import Killed, Reaper

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

STORY: Final = ("reserve", "release")


async def told(house: House, ended: list[str]) -> None:
    """Give the orders of the story that have not *ended*, as a console does in each launch."""
    with suppress(Killed):
        async with house.allocating(), house.operator() as operator:
            for do in STORY[len(ended) :]:
                assert await Operator.orders[do](operator, house.order(do)) == b""
                ended.append(do)


async def state(house: House) -> str:
    """Return what the operator's books say of the subscription."""
    async with house.store() as store:
        subscriptions = Registry(store, SUBSCRIPTIONS)
        await subscriptions.load()
        row = subscriptions.get(UA, SERVICE)
        assert row is not None
        return str(row["state"])


async def test_killed_after_everything_there_is_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the same orders again, both end as if nothing had been: one command for each, signed once."""
    for fatal in count(1):
        house, reaper = House(tmp_path / str(fatal)), Reaper()
        house.directory.mkdir()
        house.air.manage = reaper.after(house.air.manage)  # type: ignore[method-assign, assignment]
        house.suppliers.ask = reaper.after(house.suppliers.ask)  # type: ignore[method-assign, assignment]
        house.suppliers.say = reaper.after(house.suppliers.say)  # type: ignore[method-assign, assignment]
        reaper.fatal = fatal
        with monkeypatch.context() as patched:
            patched.setattr(GroupCommit, "change", reaper.after(GroupCommit.change))
            ended: list[str] = []
            await told(house, ended)
        lived, reaper.fatal = len(ended) == len(STORY), 0
        await told(house, ended)
        assert len(ended) == len(STORY)
        assert await state(house) == "released"
        assert house.market.card.module.definitions.all() == []
        turns: dict[int, set[bytes]] = {}
        for octets in house.air.sent:
            turns.setdefault(decode(octets, Signed).counter, set()).add(octets)
        assert [(turn, len(signed)) for turn, signed in turns.items()] == [(1, 1), (2, 1)]
        if lived:
            break
    # A command and its answer on either side, what is asked, sent and answered, and what becomes of it.
    assert fatal > len(STORY) * 7
