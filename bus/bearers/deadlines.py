"""Deadlines: futures that get None as their result when nothing better came in time.

However many wait, they cost one task, which sleeps until the nearest deadline, and for each a place in a
heap. A deadline that was cleared, or moved, stays there until it comes up or until more than half of the heap
is such remains; so the heap stays in proportion to what really waits.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bus.clock import Clock

_MIN_REMAINS: Final = 64


class Deadlines:
    """The deadlines of one owner, in seconds of *clock*; between :meth:`start` and :meth:`close`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, asyncio.Future[Any]]] = []
        self._numbers = count()
        self._valid: dict[asyncio.Future[Any], int] = {}
        self._nearer = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Return how many futures have a deadline."""
        return len(self._valid)

    def start(self, name: str) -> None:
        """Start the task, under *name*."""
        self._task = asyncio.create_task(self._run(), name=name)

    async def close(self) -> None:
        """End the task; who still waits waits on. Safe to repeat."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def set(self, future: asyncio.Future[Any], when: float) -> None:
        """Give *future* None at *when* if it has no result then; a deadline set before no longer holds."""
        number = next(self._numbers)
        self._valid[future] = number
        heappush(self._heap, (when, number, future))
        if self._heap[0][1] == number:
            self._nearer.set()
        if len(self._heap) > 2 * len(self._valid) + _MIN_REMAINS:
            self._heap = [entry for entry in self._heap if self._holds(entry)]
            heapify(self._heap)

    def clear(self, future: asyncio.Future[Any]) -> None:
        """Forget *future*'s deadline, if it has one."""
        self._valid.pop(future, None)

    def _holds(self, entry: tuple[float, int, asyncio.Future[Any]]) -> bool:
        return self._valid.get(entry[2]) == entry[1]

    async def _run(self) -> None:
        while True:
            self._nearer.clear()
            delay_s = self._end_due()
            with suppress(TimeoutError):
                async with self._clock.timeout(delay_s):
                    await self._nearer.wait()

    def _end_due(self) -> float | None:
        """End what is due; return the seconds to the nearest deadline, None when there is none."""
        now = self._clock.now()
        while self._heap:
            entry = self._heap[0]
            when, _, future = entry
            if self._holds(entry):
                if when > now:
                    return when - now
                del self._valid[future]
                if not future.done():
                    future.set_result(None)
            heappop(self._heap)
        return None
