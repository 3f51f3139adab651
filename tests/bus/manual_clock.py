"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio


class ManualClock:
    """A :class:`bus.clock.Clock` moved by :meth:`advance` alone."""

    def __init__(self, now: float = 1_750_000_000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Return the seconds to which the test has moved."""
        return self._now

    async def sleep(self, delay_s: float) -> None:
        """Return when the test has moved on by *delay_s*."""
        if delay_s > 0:
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._sleepers.append((self._now + delay_s, woken))
            await woken

    def advance(self, delay_s: float) -> None:
        """Move on by *delay_s* and wake whose time has come."""
        self._now += delay_s
        due = [sleeper for sleeper in self._sleepers if sleeper[0] <= self._now]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self._now]
        for _, woken in due:
            if not woken.done():
                woken.set_result(None)
