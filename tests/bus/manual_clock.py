"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class ManualClock:
    """A :class:`bus.clock.Clock` moved by :meth:`advance` alone."""

    def __init__(self, now: float = 1_750_000_000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self._timeouts: list[tuple[float, asyncio.Timeout]] = []

    def now(self) -> float:
        """Return the seconds to which the test has moved."""
        return self._now

    async def sleep(self, delay_s: float) -> None:
        """Return when the test has moved on by *delay_s*."""
        if delay_s > 0:
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._sleepers.append((self._now + delay_s, woken))
            await woken

    @contextlib.asynccontextmanager
    async def timeout(self, delay_s: float | None) -> AsyncIterator[asyncio.Timeout]:
        """End the block with TimeoutError once the test has moved on by *delay_s*; None: never."""
        overdue = delay_s is not None and delay_s <= 0
        async with asyncio.timeout(0 if overdue else None) as timeout:
            entry = (self._now + (delay_s or 0), timeout)
            if delay_s is not None and not overdue:
                self._timeouts.append(entry)
            try:
                yield timeout
            finally:
                with contextlib.suppress(ValueError):
                    self._timeouts.remove(entry)

    def advance(self, delay_s: float) -> None:
        """Move on by *delay_s* and wake, or end, whose time has come."""
        self._now += delay_s
        due = [sleeper for sleeper in self._sleepers if sleeper[0] <= self._now]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self._now]
        for _, woken in due:
            if not woken.done():
                woken.set_result(None)
        for _, timeout in [entry for entry in self._timeouts if entry[0] <= self._now]:
            timeout.reschedule(asyncio.get_running_loop().time())
        self._timeouts = [entry for entry in self._timeouts if entry[0] > self._now]
