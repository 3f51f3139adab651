"""An actor: a bounded mailbox, a handler, and what happens when the handler crashes.

An actor at rest is an object and nothing else: no task, no queue being waited on. That is what lets one
process host thousands of handsets. A delivery to an actor at rest spawns a worker, a task named after the
actor in the one ``TaskGroup`` of its :class:`ActorGroup`; the worker ends when the mailbox is empty.

A handler that raises does not take the actor down: the crash is logged and counted, :meth:`Actor.restart`
puts the actor's state right, and the same message is handled again. After :data:`ATTEMPTS` crashes on one
message the message goes to the actor's dead letters and the next one has its turn. So handlers must bear
being run twice on one message, which the bus asks of them anyway, as MQTT QoS 1 may deliver twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from bus import spans, tracing
from bus.errors import MailboxFull
from bus.log_lines import Names

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType
    from typing import Any, Self

    from structlog.typing import FilteringBoundLogger

    from bus.counters import Counters

M = TypeVar("M")

ATTEMPTS: Final = 3
CAPACITY: Final = 256
MAX_DEAD_LETTERS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter(Generic[M]):
    """A message no attempt could handle; *error* is the type of the last crash, never its text."""

    message: M = field(repr=False)
    error: str
    attempts: int


class ActorGroup:
    """The tasks of a set of actors, with one ``TaskGroup`` around them; an async context manager.

    Leaving the block in peace drains: mailboxes take no more and workers finish what is in them. An exception
    in the block, or its cancellation, cancels the workers.
    """

    def __init__(self, *, log: FilteringBoundLogger, counters: Counters) -> None:
        self.log = log
        self.counters = counters
        self._tasks = asyncio.TaskGroup()
        self._workers: set[asyncio.Task[None]] = set()
        self._taking = False
        self._cancelled = False

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._taking = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._taking = False
        self._cancelled |= kind is not None
        await self._tasks.__aexit__(kind, error, trace)

    @property
    def taking(self) -> bool:
        """Whether mailboxes still take messages."""
        return self._taking

    @property
    def cancelled(self) -> bool:
        """Whether workers are to end without emptying their mailboxes."""
        return self._cancelled

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Run *work* in the group as a task called *name*; what it raises ends the whole group.

        Raises MailboxFull, with capacity 0, when the group is ending already.
        """
        try:
            task = self._tasks.create_task(work, name=name)
        except RuntimeError:
            # A task's failure is taking the group down; it tells nobody before the last task is gone.
            work.close()
            self._taking = False
            self._cancelled = True
            raise MailboxFull(name, 0) from None
        self._workers.add(task)
        task.add_done_callback(self._workers.discard)
        return task

    async def stop(self, *, drain: bool = True) -> None:
        """Take no more; return when every task has ended: emptied its mailbox, or cancelled unless *drain*.

        Not to be awaited from a handler of the group, which would wait for itself.
        """
        self._taking = False
        if not drain:
            self._cancelled = True
            for task in self._workers:
                task.cancel()
        await self.idle()

    async def idle(self) -> None:
        """Return when no task of the group runs, so that every mailbox is empty."""
        while self._workers:
            await asyncio.wait(self._workers)


class Actor(ABC, Generic[M]):
    """One agent's mailbox and supervision; a subclass says in :meth:`handle` what a message does.

    *capacity* bounds the messages that wait; with *concurrency* 1 they are handled in order, with more that
    many at once and in no order. Neither is changed afterwards. *role* says what kind of agent it is.
    """

    def __init__(
        self, name: str, group: ActorGroup, *, capacity: int = CAPACITY, concurrency: int = 1, role: str = ""
    ) -> None:
        if capacity < 1 or concurrency < 1:
            raise ValueError(f"{name}: capacity {capacity} and concurrency {concurrency} must be positive")
        self.name = name
        self.capacity = capacity
        self.concurrency = concurrency
        self._group = group
        self._mailbox: deque[M] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._is_held = False
        self._released: asyncio.Event | None = None  # made by who waits for it
        self._handled = 0  # messages being handled; a worker is there a little longer than its last one
        self._dead_letters: list[DeadLetter[M]] = []
        self._names = Names(agent=name, role=role) if role else Names(agent=name)

    # ---- for whoever has a message ----

    def deliver(self, message: M) -> None:
        """Put *message* into the mailbox: at once, from the loop's thread, without waiting.

        Raises MailboxFull when *capacity* messages wait already, or with capacity 0 when the group has
        stopped; the message is then not taken.
        """
        if not self._group.taking:
            raise MailboxFull(self.name, 0)
        if len(self._mailbox) >= self.capacity:
            raise MailboxFull(self.name, self.capacity)
        self._mailbox.append(message)
        if len(self._workers) < self.concurrency and not self._is_held:
            self._hire()

    @property
    def waiting(self) -> int:
        """How many messages wait in the mailbox, those being handled not among them."""
        return len(self._mailbox)

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing waits and nothing is being handled, and what is delivered would be taken."""
        return not (self._handled or self._mailbox or self._is_held) and self._group.taking

    @property
    def dead_letters(self) -> tuple[DeadLetter[M], ...]:
        """The last messages that were given up, at most :data:`MAX_DEAD_LETTERS`, oldest first."""
        return tuple(self._dead_letters)

    async def idle(self) -> None:
        """Return when it is at rest, or would be if it took messages; not to be awaited in a handler."""
        while self._workers or self._is_held:
            if self._workers:
                await asyncio.wait(self._workers)
            else:
                self._released = self._released or asyncio.Event()
                await self._released.wait()

    # ---- for the subclass ----

    @abstractmethod
    async def handle(self, message: M) -> None:
        """Do what *message* asks; may be run again on the same message after a crash."""

    async def restart(self, cause: Exception) -> None:
        """Put the actor's state right after *cause*, before the message is handled again."""

    def hold(self) -> None:
        """Begin no message before ``release``: elsewhere something is done for this actor, now at rest."""
        self._is_held = True

    def release(self, first: M | None = None) -> None:
        """Go on with what came meanwhile; with *first* before it, whatever the capacity."""
        self._is_held = False
        released, self._released = self._released, None
        if released is not None:
            released.set()
        if first is not None:
            self._mailbox.appendleft(first)
        if self._mailbox and len(self._workers) < self.concurrency:
            with contextlib.suppress(MailboxFull):  # the group is ending, and takes its mailboxes along
                self._hire()

    # ---- the worker ----

    def _hire(self) -> None:
        worker = self._group.spawn(self._work(), name=self.name)
        self._workers.add(worker)
        worker.add_done_callback(self._dismiss)

    def _dismiss(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        # A worker that somebody cancelled alone leaves its mailbox to a new one.
        if self._mailbox and not (self._workers or self._is_held or self._group.cancelled):
            with contextlib.suppress(MailboxFull):
                self._hire()

    async def _work(self) -> None:
        while self._mailbox:
            # The task was born in the context of whoever delivered: that one's trace is not ours.
            tracing.bind_only(self._names)
            self._handled += 1
            try:
                await self._supervise(self._mailbox.popleft())
            finally:
                self._handled -= 1

    async def _supervise(self, message: M) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self.handle(message)
            except asyncio.CancelledError as error:
                if _is_being_cancelled():
                    spans.fail("cancelled")
                    self._mailbox.appendleft(message)
                    raise
                # Something the handler awaited was cancelled, not the handler: a crash like any other.
                await self._crashed(
                    message, attempt, RuntimeError("what the handler awaited was cancelled"), error
                )
            except Exception as error:  # noqa: BLE001 -- whatever it is, the actor lives on
                await self._crashed(message, attempt, error)
            else:
                return
            finally:
                tracing.leave(message)

    async def _crashed(
        self, message: M, attempt: int, cause: Exception, origin: BaseException | None = None
    ) -> None:
        self._group.counters.crashed(self.name)
        spans.fail("crashed")
        last = attempt == ATTEMPTS
        event = "actor.dead_letter" if last else "actor.crashed"
        self._group.log.error(
            event, agent=self.name, message=type(message).__name__, attempt=attempt, exc_info=origin or cause
        )
        if last:
            letter = DeadLetter(message=message, error=type(origin or cause).__name__, attempts=attempt)
            self._dead_letters = [*self._dead_letters[-MAX_DEAD_LETTERS + 1 :], letter]
        try:
            await self.restart(cause)
        except Exception:
            # The state that was not put right shows again at the next attempt; this one message bears it.
            self._group.log.exception("actor.restart_failed", agent=self.name)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
