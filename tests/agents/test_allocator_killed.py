"""An operator and its allocator that are killed: after everything that either stores, sends or hears."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from agents.messages.codec import decode
from agents.messages.signed import Signed
from agents.operator import Operator
from agents.store.group_commit import GroupCommit
from agents.store.registry import Registry
from agents.store.tables import SUBSCRIPTIONS
from tests.agents.house_kit import House
from tests.agents.module_kit import SERVICE, UA

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import pytest

STORY: Final = ("reserve", "release")


class Killed(BaseException):
    """Raised in the place of whatever a process that is dead would have done next."""


class Reaper:
    """Kills at one moment of a story, counted from 1; who is dead does nothing any more."""

    def __init__(self) -> None:
        self.moments = 0
        self.fatal = 0
        """The moment; 0: nobody is killed."""

    @property
    def is_dead(self) -> bool:
        """Whether the moment has come."""
        return bool(self.fatal) and self.moments >= self.fatal

    def come(self) -> None:
        """Let a moment come."""
        self.moments += 1
        if self.is_dead:
            raise Killed

    def after(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return *method* with a moment behind it, and nothing of it for the dead."""

        async def mortal(*arguments: Any, **options: Any) -> Any:
            if self.is_dead:
                raise Killed
            result = await method(*arguments, **options)
            self.come()
            return result

        return mortal


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
