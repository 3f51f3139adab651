from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from bus.bearers.deadlines import Deadlines
from tests.bus.manual_clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that begins at zero."""
    return ManualClock(0.0)


@pytest.fixture
async def deadlines(clock: ManualClock) -> AsyncIterator[Deadlines]:
    """Yield deadlines of that clock, started."""
    deadlines = Deadlines(clock)
    deadlines.start("deadlines")
    yield deadlines
    await deadlines.close()


def future() -> asyncio.Future[str | None]:
    """Return something to wait for."""
    return asyncio.get_running_loop().create_future()


async def advance(clock: ManualClock, delay_s: float) -> None:
    """Move the clock and let whoever it wakes run."""
    clock.advance(delay_s)
    for _ in range(5):
        await asyncio.sleep(0)


async def test_each_ends_at_its_own_time(clock: ManualClock, deadlines: Deadlines) -> None:
    """Whatever the order in which they were set, each future gets None when its time comes, not before."""
    futures = {when: future() for when in (5.0, 1.0, 3.0)}
    for when, waiting in futures.items():
        deadlines.set(waiting, when)
    assert len(deadlines) == 3
    for when in (1.0, 3.0, 5.0):
        await advance(clock, when - 0.5 - clock.now())
        assert not futures[when].done()
        await advance(clock, 0.5)
        assert futures[when].result() is None
    assert len(deadlines) == 0


async def test_a_nearer_one_is_not_overslept(clock: ManualClock, deadlines: Deadlines) -> None:
    """A deadline set while the task sleeps until a later one is kept."""
    late, soon = future(), future()
    deadlines.set(late, 100.0)
    await advance(clock, 1.0)
    deadlines.set(soon, 2.0)
    await advance(clock, 0.0)
    await advance(clock, 1.0)
    assert soon.done()
    assert not late.done()


async def test_the_past_is_due_at_once(clock: ManualClock, deadlines: Deadlines) -> None:
    """A deadline that has passed already ends its future without the clock moving."""
    waiting = future()
    deadlines.set(waiting, clock.now() - 1.0)
    assert await waiting is None


async def test_a_deadline_can_be_moved(clock: ManualClock, deadlines: Deadlines) -> None:
    """Of two deadlines of one future only the one set last holds, be it later or earlier."""
    later, earlier = future(), future()
    deadlines.set(later, 1.0)
    deadlines.set(later, 3.0)
    deadlines.set(earlier, 5.0)
    deadlines.set(earlier, 2.0)
    await advance(clock, 2.0)
    assert (later.done(), earlier.done()) == (False, True)
    await advance(clock, 1.0)
    assert later.done()


async def test_what_is_cleared_or_done_is_left_alone(clock: ManualClock, deadlines: Deadlines) -> None:
    """A cleared future never ends, and one with a result keeps it."""
    cleared, done = future(), future()
    deadlines.set(cleared, 1.0)
    deadlines.set(done, 1.0)
    deadlines.clear(cleared)
    deadlines.clear(cleared)
    done.set_result("answer")
    await advance(clock, 1.0)
    assert not cleared.done()
    assert done.result() == "answer"
    assert len(deadlines) == 0


async def test_remains_do_not_pile_up(deadlines: Deadlines) -> None:
    """Futures whose deadlines were cleared are forgotten long before these would have come."""
    kept = future()
    deadlines.set(kept, 1e9)
    alive: weakref.WeakSet[asyncio.Future[str | None]] = weakref.WeakSet()
    for number in range(1000):
        answered = future()
        alive.add(answered)
        deadlines.set(answered, 1e6 + number)
        deadlines.clear(answered)
    gc.collect()
    assert len(alive) < 100
    assert len(deadlines) == 1


async def test_closing_ends_the_task_alone(clock: ManualClock) -> None:
    """Closed, there is no task left and who waits waits on; closing again does nothing."""
    deadlines = Deadlines(clock)
    deadlines.start("deadlines of nobody")
    waiting = future()
    deadlines.set(waiting, 1.0)
    await deadlines.close()
    await deadlines.close()
    await advance(clock, 2.0)
    assert not waiting.done()
    assert "deadlines of nobody" not in {task.get_name() for task in asyncio.all_tasks()}
