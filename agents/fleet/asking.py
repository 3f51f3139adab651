"""What the console says to agents, and what it hears: an order given until somebody tells its end.

An order has a trace, which goes through everything that it leads to and comes back with the event that ends
it. One that nobody answers is given again, under another trace. A broadcast's order is answered by whoever
sends the pages; that they were heard each handset tells by itself, to the audience of the order's trace.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from agents.console import CONSOLE
from agents.fleet.expectations import Result
from agents.fleet.order_spans import Target, order_span
from agents.messages.orders import UNDER_WAY, Event
from bus.topics import Events
from bus.tracing import new_trace
from transport.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agents.console import Console
    from agents.fleet.audience import Audience
    from agents.fleet.surroundings import Surroundings
    from bus.client import BusClient
    from bus.frame import Frame, TraceContext

ORDER_TIMEOUT_S: Final = 30.0
"""How long an order may go unanswered before it is given again, when nothing waits for the air."""
AIR_PATIENCE_S: Final = 3600.0
MAX_PATIENCE_S: Final = 600.0
"""Else so many simulated seconds, but no more than so many of ours."""
ATTEMPTS: Final = 4


class Asked(NamedTuple):
    """The event that ended an order, if any did, and the traces of each time that it was given."""

    event: Event | None
    traces: tuple[bytes, ...]


async def nothing() -> int:
    """Say that no handset has received anything."""
    return 0


class Asking:
    """One run's. *note* is told, in words, how far an order is; *received*, how many pages cells received."""

    def __init__(
        self,
        around: Surroundings,
        client: BusClient,
        *,
        note: Callable[[str], None],
        received: Callable[[], Awaitable[int]] = nothing,
    ) -> None:
        self._around = around
        self._client = client
        self._note = note
        self._received_pages = received
        self._console: Console = around.console("console")
        self._waiting: dict[bytes, tuple[asyncio.Future[Event], Target]] = {}
        self._audiences: dict[bytes, Audience] = {}
        self._under_way: set[bytes] = set()
        """The traces of orders of which we were told since that they are being carried out."""

    async def start(self) -> None:
        """Listen to events."""
        await self._client.subscribe([Events(fleet=self._around.config.fleet.name)], self._received)

    def listen(self, audience: Audience, trace_id: bytes) -> None:
        """Have *audience* hear what is told under that trace."""
        audience.traces.append(trace_id)
        self._audiences[trace_id] = audience

    async def ask(
        self, target: Target, audience: Audience | None = None, *, hears_out: bool = False
    ) -> Asked:
        """Give an order until it is answered, ATTEMPTS times at most; return what it came to.

        *audience* is listened to meanwhile and, where it *hears_out* a broadcast that ended well, as long as
        somebody has something to tell.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Event] = loop.create_future()
        traces: list[bytes] = []
        began = loop.time()
        try:
            for attempt in range(1, ATTEMPTS + 1):
                # What is told late of another order, or of another attempt's target, is no answer to this.
                trace = new_trace(self._console.rng)
                traces.append(trace.trace_id)
                self._waiting[trace.trace_id] = (future, target)
                if audience is not None:
                    self.listen(audience, trace.trace_id)
                with order_span(trace, target, future, attempt):
                    await self._give(target, trace, future)
                if future.done():
                    event = future.result()
                    if audience is not None and hears_out and event.result == Result.OK:
                        took_s = _on_air_s(event, loop.time() - began)
                        await audience.hear_out(took_s, self._received_pages)
                    return Asked(event, tuple(traces))
        finally:
            for trace_id in traces:
                del self._waiting[trace_id]
                self._under_way.discard(trace_id)
                if audience is None or not audience.stays:
                    self._audiences.pop(trace_id, None)
        return Asked(None, tuple(traces))

    async def _give(self, target: Target, trace: TraceContext, answer: asyncio.Future[Event]) -> None:
        """Give an order; returns when it is answered, or when nobody has said for long that it will be."""
        await self._console.order(
            self._client,
            target.agent,
            do=target.do,
            ua=target.ua,
            service=target.service,
            argument=target.argument,
            trace=trace,
        )
        done, _ = await asyncio.wait([answer], timeout=self._patience_s())
        while not done and trace.trace_id in self._under_way:
            self._under_way.discard(trace.trace_id)
            done, _ = await asyncio.wait([answer], timeout=self._patience_s())

    def _patience_s(self) -> float:
        speed = self._around.config.air.speed
        if isinstance(speed, str):
            return ORDER_TIMEOUT_S
        return max(ORDER_TIMEOUT_S, min(MAX_PATIENCE_S, AIR_PATIENCE_S / speed))

    def _received(self, frame: Frame, topic: str) -> None:
        try:
            event = self._console.take(frame, Event, to=CONSOLE)
        except Rejected as rejection:
            self._around.counters.dropped(rejection.reason)
            self._around.log.warning(
                "event.dropped", topic=topic, source=frame.source, reason=rejection.reason
            )
            return
        audience = self._audiences.get(frame.trace.trace_id)
        if audience is not None and event.result == Result.OK:
            for ua, heard_at in event.heard:
                audience.hears(ua, self._around.clock.now(), heard_at)
        future, target = self._waiting.get(frame.trace.trace_id, (None, None))
        if target is None or (event.do, event.ua, event.service) != (target.do, target.ua, target.service):
            return
        if event.result == UNDER_WAY:
            self._under_way.add(frame.trace.trace_id)
            self._note(f"{event.do} {event.service}: {event.output.decode(errors='replace')}")
            return
        # An agent that was asked twice tells twice; the first word counts.
        if future is not None and not future.done():
            future.set_result(event)


def _on_air_s(event: Event, took_s: float) -> float:
    """Return for how long a broadcast sent pages: as its supplier says, else as long as it *took_s*."""
    return min(took_s, int(event.output) / 1000) if event.output.isdigit() else took_s
