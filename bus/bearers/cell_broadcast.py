"""Secured packets by cell broadcast: cut into pages, publish to cells again and again, hope.

:class:`CellBroadcaster` sends from a role to cells; one publish reaches all handsets of a cell, however many
they are. Nothing comes back, so there is no proof of receipt and a receipt only says what was sent. Each
frame has a reference of its own: a repetition is a broadcast that is meant, not a retry of one that failed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bus.frame import Bearer, Frame
from bus.topics import Broadcast
from transport.cell_broadcast import SerialNumber, split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from structlog.typing import FilteringBoundLogger

    from bus.client import BusClient
    from bus.clock import Clock
    from bus.counters import Counters
    from bus.frame import TraceContext
    from transport.cell_broadcast import GeographicScope, Schedule

_REFERENCE_LENGTH: Final = 8
_LAST_ATTEMPT: Final = 255  # all that a frame can say


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadcastReceipt:
    """What was sent: *pages* of the message, *publishes* of one of them to one cell, whole *repetitions*."""

    pages: int
    publishes: int
    repetitions: int


class Airtime:
    """When a campaign's pages have been on the air: each after the one before it, and none before its time.

    Where nothing waits for the air, that runs ahead of *clock*: pages leave as fast as they can be made, and
    say when they would have been heard.
    """

    def __init__(self, clock: Clock, page_s: float) -> None:
        self._clock = clock
        self._page_s = page_s
        self._free_at = 0.0

    def __call__(self) -> float:
        """Return when the next page, which leaves as soon as it can, has been on the air."""
        self._free_at = max(self._clock.now(), self._free_at) + self._page_s
        return self._free_at


@dataclass(slots=True, kw_only=True)
class _Message:
    """One message on the air; its repetitions go on until ``stopped`` is set."""

    serial: SerialNumber
    pdus: list[bytes]
    topics: dict[str, str]  # cell: path
    trace: TraceContext
    airtime: Callable[[], float]
    stopped: asyncio.Event = field(default_factory=asyncio.Event)


class CellBroadcaster:
    """Broadcasts packets from the role *source* to cells of *fleet*; any number of messages at once."""

    def __init__(
        self,
        client: BusClient,
        *,
        fleet: str,
        source: str,
        clock: Clock,
        counters: Counters,
        rng: Callable[[int], bytes],
        log: FilteringBoundLogger,
    ) -> None:
        self._client = client
        self._fleet = fleet
        self._source = source
        self._clock = clock
        self._counters = counters
        self._rng = rng
        self._log = log
        self._on_air: dict[tuple[int, int], _Message] = {}

    async def broadcast(  # noqa: PLR0913 -- what a broadcast is
        self,
        packet: bytes,
        *,
        message_identifier: int,
        code: int,
        update: int = 0,
        cells: Sequence[str],
        scope: GeographicScope,
        schedule: Schedule,
        trace: TraceContext,
        airtime: Callable[[], float] | None = None,
    ) -> BroadcastReceipt:
        """Broadcast the secured *packet* (from CPL on) in *cells* at once, and again as *schedule* says.

        Returns after the last repetition, or after the one under way when :meth:`stop` was called or a later
        *update* of the same *code* came; cancelling it ends it in mid-repetition. Frames say when their page
        has been on the air, by *airtime*, which is asked for each page of a repetition; by default it is then
        that they are sent. ``ValueError`` when the
        packet needs more than 15 pages, for a bad number or cell name, no cell or one given twice, and while
        *code* is on the air and this is no later version of it. Raises BrokerLost and ClientClosed as
        publishing does.
        """
        serial = SerialNumber(scope=scope, code=code, update=update)
        topics = {cell: Broadcast(fleet=self._fleet, cell=cell).path for cell in cells}
        if not cells or len(topics) < len(cells):
            raise ValueError("a broadcast needs a cell, and each one once")
        pdus = [page.encode() for page in split(packet, serial, message_identifier)]
        message = _Message(
            serial=serial, pdus=pdus, topics=topics, trace=trace, airtime=airtime or self._clock.now
        )
        name = (message_identifier, code)
        self._replace(name, message)
        try:
            repetitions = await self._repeat(message, schedule)
        finally:
            if self._on_air.get(name) is message:  # else an update has its place
                del self._on_air[name]
        publishes = repetitions * len(pdus) * len(topics)
        self._tell("ended", name, message, repetitions=repetitions, publishes=publishes)
        return BroadcastReceipt(pages=len(pdus), publishes=publishes, repetitions=repetitions)

    def stop(self, *, message_identifier: int, code: int) -> bool:
        """Let the repetition under way be the last one of that message; False when none is on the air."""
        message = self._on_air.get((message_identifier, code))
        if message is None:
            return False
        message.stopped.set()
        return True

    def _replace(self, name: tuple[int, int], message: _Message) -> None:
        """Put *message* on the air in place of an earlier version."""
        earlier = self._on_air.get(name)
        if earlier is not None:
            if not message.serial.newer_than(earlier.serial):
                raise ValueError(
                    f"message {name[0]:04X}/{name[1]} is on the air; an update is a later version"
                )
            earlier.stopped.set()
        self._on_air[name] = message
        self._tell("begun", name, message, cells=len(message.topics), pages=len(message.pdus))

    async def _repeat(self, message: _Message, schedule: Schedule) -> int:
        """Publish *message* at each time of *schedule* until it ends; return how often that was."""
        repetitions = 0
        for begins_at in schedule.times(self._clock.now()):
            await self._sleep(begins_at - self._clock.now(), message.stopped)
            if message.stopped.is_set():
                break
            repetitions += 1
            await self._publish(message, repetitions)
        return repetitions

    async def _publish(self, message: _Message, repetition: int) -> None:
        # At the same time in all cells, each of which has a channel of its own.
        pages = [(pdu, message.airtime()) for pdu in message.pdus]
        for cell, topic in message.topics.items():
            for pdu, sent_at in pages:
                if repetition > 1:
                    self._counters.retried(Bearer.CELL_BROADCAST)
                await self._client.publish(topic, self._frame(message, cell, pdu, sent_at, repetition))

    async def _sleep(self, delay_s: float, stopped: asyncio.Event) -> None:
        """Return when *delay_s* seconds have passed or *stopped* is set."""
        if delay_s <= 0 or stopped.is_set():
            return
        async with asyncio.TaskGroup() as group:
            ends = [
                group.create_task(self._clock.sleep(delay_s), name=f"cell-broadcast[{self._source}].period"),
                group.create_task(stopped.wait(), name=f"cell-broadcast[{self._source}].stop"),
            ]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()

    def _frame(self, message: _Message, cell: str, pdu: bytes, sent_at: float, repetition: int) -> Frame:
        return Frame(
            bearer=Bearer.CELL_BROADCAST,
            source=self._source,
            destination=cell,
            pdu=pdu,
            reference=self._rng(_REFERENCE_LENGTH),
            trace=message.trace,
            sent_at=sent_at,
            attempt=min(repetition, _LAST_ATTEMPT),
        )

    def _tell(self, what: str, name: tuple[int, int], message: _Message, **numbers: int) -> None:
        self._log.info(
            f"cell_broadcast.{what}",
            message_identifier=name[0],
            code=name[1],
            update=message.serial.update,
            bearer="cell-broadcast",
            **numbers,
        )
