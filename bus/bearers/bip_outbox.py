"""What a server of the bearer independent protocol has to send: in order for each link, side by side for all.

A lane at rest is an object and nothing else. One with something to send has a task, which publishes one frame
after the other and ends with the last: that keeps a link's frames in order even over a broker that comes and
goes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from bus.errors import BusError

if TYPE_CHECKING:
    from typing import TypeAlias

    from structlog.typing import FilteringBoundLogger

    from bus.client import BusClient
    from bus.counters import Counters
    from bus.frame import Frame

    Parcel: TypeAlias = "tuple[str, Frame]"


class Outbox:
    """The lanes of one server, called *name*; they share its connection and end together."""

    def __init__(
        self, client: BusClient, *, name: str, counters: Counters, log: FilteringBoundLogger
    ) -> None:
        self.client = client
        self.name = name
        self.counters = counters
        self.log = log
        self.tasks: set[asyncio.Task[None]] = set()

    def lane(self, *, limit: int | None = None) -> Lane:
        """Return a new lane, in which at most *limit* frames wait."""
        return Lane(self, limit)

    async def drain(self) -> None:
        """Return when nothing waits in any lane."""
        while self.tasks:
            await asyncio.wait(self.tasks)

    async def close(self) -> None:
        """Give up what still waits."""
        for task in self.tasks:
            task.cancel()
        await self.drain()


class Lane:
    """Frames that go out in their order."""

    __slots__ = ("_limit", "_outbox", "_task", "_waiting")

    def __init__(self, outbox: Outbox, limit: int | None) -> None:
        self._outbox = outbox
        self._limit = limit
        self._waiting: deque[Parcel | asyncio.Future[None]] = deque()
        self._task: asyncio.Task[None] | None = None

    def post(self, topic: str, frame: Frame) -> None:
        """Send *frame*, without waiting; one too many is counted as dropped (``outbox-full``)."""
        if self._limit is not None and len(self._waiting) >= self._limit:
            self._outbox.counters.dropped("outbox-full")
            return
        self._waiting.append((topic, frame))
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name=f"{self._outbox.name}.down[{topic}]")
            self._outbox.tasks.add(self._task)
            self._task.add_done_callback(self._finished)

    async def flush(self) -> None:
        """Return when the broker has all that was posted up to now; raises BusError when it never will."""
        if self._task is not None:
            flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(flushed)
            await flushed

    def discard(self, error: BusError | None = None) -> None:
        """Forget what waits; who waits for it is told of *error*, or that there is nothing more to do."""
        for entry in self._waiting:
            if isinstance(entry, asyncio.Future):
                _resolve(entry, error)
        self._waiting.clear()

    async def _work(self) -> None:
        try:
            while self._waiting:
                entry = self._waiting.popleft()
                if isinstance(entry, asyncio.Future):
                    _resolve(entry)
                else:
                    await self._outbox.client.publish(*entry)
        except BusError as error:
            self._outbox.log.warning("bip.not_sent", reason=type(error).__name__, frames=len(self._waiting))
            self.discard(error)
        finally:
            self._task = None

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._outbox.tasks.discard(task)
        if task.cancelled():
            self._task = None
            self.discard()


def _resolve(flushed: asyncio.Future[None], error: BusError | None = None) -> None:
    if flushed.done():  # who waited was cancelled
        return
    if error is None:
        flushed.set_result(None)
    else:
        flushed.set_exception(error)
