"""Who hears a broadcast: how long the console listens to those who have yet to tell."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agents.fleet import audience as room
from agents.fleet.audience import Audience

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LISTEN_S", 0.01)


def cells(counts: list[int], then: Callable[[], None] = lambda: None) -> Callable[[], Awaitable[int]]:
    """Return what says these counts, one after the other; before the last it does *then*."""

    async def received() -> int:
        if len(counts) == 1:
            then()
            return counts[0]
        return counts.pop(0)

    return received


async def test_the_console_listens_on_while_cells_receive_pages() -> None:
    """Handsets have something to tell at the end only: until then their cells show that they are busy."""
    audience = Audience(addresses=frozenset({"1"}))
    counts = [1, 2, 3, 4, 5]
    await audience.hear_out(0.0, cells(counts, lambda: audience.hears("1", 7.0)))
    assert (counts, audience.heard) == ([5], {"1": 7.0})


async def test_the_console_gives_up_when_nothing_moves_any_more() -> None:
    """No page and no word: whoever has not told did not hear."""
    audience = Audience(addresses=frozenset({"1", "2"}))
    audience.hears("2", 1.0)
    async with asyncio.timeout(10):
        await audience.hear_out(0.0, cells([9]))
    assert audience.heard == {"2": 1.0}
