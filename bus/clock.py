"""Time, as something that is handed in: whoever waits or stamps takes a :class:`Clock`.

A test hands in one that it moves by hand; a run hands in :class:`SystemClock`, which may go faster than the
world. What the air does and what waits for it is measured in seconds of this clock, simulated seconds.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager


class Clock(Protocol):
    """Seconds since the Unix epoch, never backwards, and ways to wait."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC; a later call never answers less."""

    async def sleep(self, delay_s: float) -> None:
        """Return when *delay_s* seconds of this clock have passed; at once when it is not positive."""

    def timeout(self, delay_s: float | None) -> AbstractAsyncContextManager[asyncio.Timeout]:
        """Return what ends its block with TimeoutError after *delay_s* seconds of this clock; None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One moment, in seconds since 1970-01-01 UTC as the world counts and as the simulation does.

    Plain numbers, so that it can be handed to another process: clocks of one origin and speed agree.
    """

    real_s: float
    simulated_s: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.real_s) and math.isfinite(self.simulated_s)):
            raise ValueError("an origin is a moment that can be named")


class SystemClock:
    """The machine's clock, read once for the date and then carried on by the monotonic clock.

    So an NTP step or a person at the clock in mid-run ends no time-out early and makes none last an hour. Its
    seconds pass *speed* times as fast as the world's, counted from *origin*, by default this moment; several
    processes that are to agree are given the origin of one.
    """

    __slots__ = ("_begun", "_monotonic", "_origin", "_speed")

    def __init__(
        self,
        speed: float = 1.0,
        *,
        origin: Origin | None = None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < speed < math.inf:
            raise ValueError("speed is a positive number")
        wall_s, monotonic_s = wall(), monotonic()
        self._speed = speed
        self._monotonic = monotonic
        self._origin = origin or Origin(real_s=wall_s, simulated_s=wall_s)
        self._begun = monotonic_s - (wall_s - self._origin.real_s)  # the monotonic clock at the origin

    @property
    def speed(self) -> float:
        """Simulated seconds in a real one."""
        return self._speed

    @property
    def origin(self) -> Origin:
        """When simulated time set out, for the clock of another process."""
        return self._origin

    def now(self) -> float:
        """Return the simulated seconds since 1970-01-01 UTC."""
        return self._origin.simulated_s + (self._monotonic() - self._begun) * self._speed

    def real(self, delay_s: float) -> float:
        """Return how many real seconds *delay_s* simulated ones take."""
        return delay_s / self._speed

    async def sleep(self, delay_s: float) -> None:
        """Wait *delay_s* simulated seconds; other tasks run meanwhile."""
        await asyncio.sleep(self.real(delay_s))

    def timeout(self, delay_s: float | None) -> asyncio.Timeout:
        """End the block of ``async with`` with TimeoutError after *delay_s* simulated seconds, if any."""
        return asyncio.timeout(None if delay_s is None else self.real(delay_s))
