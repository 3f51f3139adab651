from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.clock import Origin, SystemClock
from tests.bus.manual_clock import ManualClock

NOON = 1_750_000_000.0


class World:
    """Time as the machine tells it: a wall clock that people set, a monotonic clock of unknown begin."""

    def __init__(self, *, wall: float = NOON, monotonic: float = 5_000.0) -> None:
        self.wall_s = wall
        self.monotonic_s = monotonic

    def wall(self) -> float:
        """Return the date."""
        return self.wall_s

    def monotonic(self) -> float:
        """Return the seconds since nobody knows when."""
        return self.monotonic_s

    def pass_(self, seconds: float) -> None:
        """Let time pass."""
        self.wall_s += seconds
        self.monotonic_s += seconds

    def clock(self, speed: float = 1.0, origin: Origin | None = None) -> SystemClock:
        """Return a clock of this world."""
        return SystemClock(speed, origin=origin, wall=self.wall, monotonic=self.monotonic)


async def settle() -> None:
    """Let every task that can run have its turns."""
    for _ in range(20):
        await asyncio.sleep(0)


# ---- the system's clock ----


def test_it_begins_with_the_date() -> None:
    """A clock without origin tells the date when it is made, and the world's seconds from there."""
    world = World()
    clock = world.clock()
    assert clock.now() == NOON
    world.pass_(7.5)
    assert clock.now() == NOON + 7.5
    assert (clock.speed, clock.origin) == (1.0, Origin(real_s=NOON, simulated_s=NOON))


def test_it_goes_faster() -> None:
    """At speed 60 a second of the world is a minute, and waits are as much shorter."""
    world = World()
    clock = world.clock(60.0)
    world.pass_(2.0)
    assert clock.now() == NOON + 120.0
    assert clock.real(90.0) == 1.5


def test_nobody_at_the_wall_clock_moves_it() -> None:
    """A step of the machine's date changes nothing in mid-run."""
    world = World()
    clock = world.clock(60.0)
    world.wall_s -= 86_400.0
    world.pass_(1.0)
    assert clock.now() == NOON + 60.0


def test_it_goes_on_from_an_origin() -> None:
    """A simulation that is ahead of the world goes on from where it was."""
    world = World()
    clock = world.clock(10.0, Origin(real_s=NOON, simulated_s=NOON + 5_000.0))
    assert clock.now() == NOON + 5_000.0
    world.pass_(1.0)
    assert clock.now() == NOON + 5_010.0


@given(speed=st.floats(0.01, 100_000), later=st.floats(0, 10_000), booted=st.floats(0, 1e7))
def test_processes_with_one_origin_agree(speed: float, later: float, booted: float) -> None:
    """A process that starts later, with a monotonic clock of its own, tells the same simulated time."""
    first, second = World(), World(wall=NOON + later, monotonic=booted)
    ours = first.clock(speed)
    first.pass_(later)
    handed_over = json.loads(json.dumps(dataclasses.asdict(ours.origin)))
    theirs = second.clock(speed, Origin(**handed_over))
    assert theirs.now() == pytest.approx(ours.now(), abs=1e-6 * max(1.0, speed))


@pytest.mark.parametrize("speed", [0.0, -1.0, math.inf, math.nan])
def test_speed_is_positive(speed: float) -> None:
    """A clock that stands, goes back or jumps to the end of time is refused."""
    with pytest.raises(ValueError, match="speed"):
        SystemClock(speed)


@pytest.mark.parametrize(("real_s", "simulated_s"), [(math.nan, 0.0), (0.0, math.inf)])
def test_an_origin_is_a_moment(real_s: float, simulated_s: float) -> None:
    """An origin at no moment is refused."""
    with pytest.raises(ValueError, match="origin"):
        Origin(real_s=real_s, simulated_s=simulated_s)


async def test_waits_are_as_short_as_the_speed_makes_them() -> None:
    """At a speed of ten million, days of sleep and time-out are over within the test."""
    clock = SystemClock(1e7)
    begun = clock.now()
    await clock.sleep(86_400.0)
    assert clock.now() - begun >= 86_400.0
    with pytest.raises(TimeoutError):
        async with clock.timeout(86_400.0):
            await asyncio.Event().wait()


async def test_time_outs_are_measured_in_simulated_seconds() -> None:
    """A time-out ends the loop's seconds later that its simulated seconds take; None never."""
    loop = asyncio.get_running_loop()
    clock = SystemClock(0.001)
    before = loop.time()
    async with clock.timeout(60.0) as timeout:
        when = timeout.when()
        assert when is not None
        assert before + 60_000.0 <= when <= loop.time() + 60_000.0
    async with clock.timeout(None) as timeout:
        assert timeout.when() is None


# ---- the tests' clock ----


async def test_a_manual_time_out_expires_when_the_test_says() -> None:
    """The block ends with TimeoutError once the clock was moved past it, and not before."""
    clock = ManualClock()
    ended: list[str] = []

    async def wait() -> None:
        timeout = None
        try:
            async with clock.timeout(10.0) as timeout:
                await asyncio.Event().wait()
        except TimeoutError:
            ended.append(f"expired {timeout is not None and timeout.expired()}")

    task = asyncio.create_task(wait())
    await settle()
    clock.advance(9.0)
    await settle()
    assert ended == []
    clock.advance(1.0)
    clock.advance(1.0)
    await task
    assert ended == ["expired True"]


async def test_a_manual_time_out_that_is_not_needed_ends_nothing() -> None:
    """A block that was left in time, or never had to hurry, is not ended afterwards."""
    clock = ManualClock()
    async with clock.timeout(10.0) as timeout:
        clock.advance(1.0)
    async with clock.timeout(None) as endless:
        clock.advance(1e9)
        await settle()
    assert not timeout.expired()
    assert not endless.expired()


async def test_a_manual_time_out_of_nothing_expires_at_once() -> None:
    """Time that has run out already is not waited for."""
    with pytest.raises(TimeoutError):
        async with ManualClock().timeout(0.0):
            await asyncio.Event().wait()


async def test_cancelling_is_no_time_out() -> None:
    """Who is cancelled in the block is cancelled, and the clock may be moved afterwards."""
    clock = ManualClock()

    async def wait() -> None:
        async with clock.timeout(10.0):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await settle()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    clock.advance(100.0)
