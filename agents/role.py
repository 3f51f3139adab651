"""What the roles have in common: a desk, a mailbox, and three kinds of post.

A role is an actor whose mailbox takes questions of other roles, packets from handsets, and orders of the
console. Which of each it knows, and what it does, are three tables in the subclass: rules stand in their own
methods and never see a queue. A question always gets a reply and an order an event, whatever goes wrong in
between; only a crash (a fault of our own) goes up to the supervisor, which logs it and hands the same message
in again.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from agents.errors import MessageRejected, Refusal, Unanswered, Unheard
from agents.exchange import FromModule
from agents.link import Question
from agents.messages.inside import Refused, Reply
from agents.messages.orders import UNDER_WAY, Event, Order
from bus import spans, tracing
from bus.actor import Actor
from bus.errors import DeliveryFailed
from bus.topics import Orders
from transport.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from structlog.typing import FilteringBoundLogger

    from agents.console import Console
    from agents.directory import Directory
    from agents.exchange import Exchange
    from agents.identity import RoleKeys
    from agents.link import Link
    from bus.actor import ActorGroup
    from bus.client import BusClient
    from bus.clock import Clock
    from bus.counters import Counters
    from bus.frame import Frame, TraceContext
    from transport.security.suites import Rng

CAPACITY: Final = 4096
CONCURRENCY: Final = 256
"""How many messages a role has in hand at once; most of that time each waits for a handset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What every role works with; *exchange* only for those that speak to modules."""

    fleet: str
    keys: RoleKeys
    directory: Directory
    client: BusClient
    link: Link
    console: Console
    clock: Clock
    rng: Rng
    counters: Counters
    log: FilteringBoundLogger
    group: ActorGroup
    exchange: Exchange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """An order of the console, with the trace that it begins."""

    order: Order
    trace: TraceContext

    @property
    def label(self) -> str:
        """What work on it is called: what it orders."""
        return self.order.do


Post = Question | FromModule | Ordered


class Turns:
    """One at a time for each key, and nothing kept for a key that nobody waits for."""

    def __init__(self) -> None:
        self._locks: dict[object, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, key: object) -> AsyncIterator[None]:
        """Wait for *key*'s turn and hold it."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)


class Role(Actor[Post]):
    """A role at its desk; subclasses fill the tables."""

    questions: ClassVar[Mapping[type[Any], Callable[[Any, Question, Any], Awaitable[Reply]]]] = {}
    """By class of question: the rule that gives the reply, or raises Refusal."""
    orders: ClassVar[Mapping[str, Callable[[Any, Ordered], Awaitable[bytes]]]] = {}
    """By ``do`` of an order: the rule; it returns the output for the event."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk.keys.name,
            desk.group,
            capacity=CAPACITY,
            concurrency=CONCURRENCY,
            role=desk.keys.role.value,
        )
        self.desk = desk
        self.log = desk.log.bind(agent=self.name)

    @property
    def lost_letters(self) -> int:
        """How many messages were given up here, and by whatever works for this role."""
        return len(self.dead_letters)

    async def start(self) -> None:
        """Listen to the console, to the other roles and, with a number, to handsets."""
        # A full mailbox is refused to the bus, which counts it: who sent that sends it again.
        await self.desk.link.start(self.deliver)
        if self.desk.exchange is not None:
            await self.desk.exchange.start(self.deliver)
        await self.desk.client.subscribe([Orders(fleet=self.desk.fleet, agent=self.name)], self._ordered)

    async def from_module(self, packet: FromModule) -> None:
        """Take a packet that a handset sent; a role without a number gets none."""
        raise MessageRejected("unexpected-packet", packet.ua)

    async def handle(self, message: Post) -> None:
        """Do what one message asks, in a span of our own."""
        message = replace(message, trace=tracing.enter(message.trace))
        if isinstance(message, Question):
            await self._answer(message)
        elif isinstance(message, Ordered):
            await self._obey(message)
        else:
            await self._take(message)

    def _ordered(self, frame: Frame, topic: str) -> None:
        try:
            order = self.desk.console.take(frame, Order, to=self.name)
        except Rejected as rejection:
            self.desk.counters.dropped(rejection.reason)
            self.log.warning("order.dropped", topic=topic, source=frame.source, reason=rejection.reason)
            return
        self.deliver(Ordered(order=order, trace=frame.trace))

    async def _answer(self, question: Question) -> None:
        if question.answered:
            await self.desk.link.repeat(question)
            return
        rule = self.questions.get(type(question.message), _not_my_business)
        try:
            # Who is no more whom it was is told so, and nothing is done for it.
            self.desk.directory.party(question.sender)
            reply: Reply = await rule(self, question, question.message)
        except (Refusal, Unanswered, Rejected) as refusal:
            self.desk.counters.refused("question", refusal.reason)
            self.log.info("question.refused", source=question.sender, reason=refusal.reason)
            spans.fail(refusal.reason)
            reply = Refused(reason=refusal.reason)
        await self.desk.link.reply(question, reply)

    async def _obey(self, ordered: Ordered) -> None:
        order = ordered.order
        tracing.bind(ua=order.ua, service=order.service)
        rule = self.orders.get(order.do, _unknown_order)
        await self.ended(order.do, order.ua, order.service, ordered.trace, rule(self, ordered))

    async def ended(
        self, do: str, ua: str, service: str, trace: TraceContext, work: Awaitable[bytes]
    ) -> None:
        """Await *work* and report how it ended, with its output; only a fault of our own comes through."""
        try:
            output = await work
        except Refusal as refusal:
            # A refusal that nobody vouched for may be anybody's: then nobody knows what became of it.
            result = "refused" if refusal.proven else "failed"
            await self.report(do, ua, service, trace, result=result, reason=refusal.reason)
        except (Unanswered, DeliveryFailed, Rejected) as failure:
            await self.report(do, ua, service, trace, result="failed", reason=failure.reason)
        else:
            await self.report(do, ua, service, trace, result="ok", output=output)

    async def _take(self, packet: FromModule) -> None:
        tracing.bind(ua=packet.ua)
        try:
            await self.from_module(packet)
        except (Refusal, Unheard, Unanswered, DeliveryFailed, Rejected) as refusal:
            self.desk.counters.dropped(refusal.reason)
            self.log.warning("packet.refused", reason=refusal.reason)
            spans.fail(refusal.reason)

    async def under_way(self, ordered: Ordered, how_far: str) -> None:
        """Tell the console that an order takes its time, and how far it is."""
        order, console = ordered.order, self.desk.console
        event = Event(
            run=console.run,
            do=order.do,
            ua=order.ua,
            service=order.service,
            result=UNDER_WAY,
            reason="",
            output=how_far.encode(),
        )
        await console.report(self.desk.client, event, source=self.name, trace=ordered.trace)

    async def report(
        self,
        do: str,
        ua: str,
        service: str,
        trace: TraceContext,
        *,
        result: str = "refused",
        reason: str = "",
        output: bytes = b"",
    ) -> None:
        """Tell the console how something ended, and log it."""
        console = self.desk.console
        self.log.info("order.ended", do=do, ua=ua, service=service, result=result, reason=reason)
        event = Event(
            run=console.run, do=do, ua=ua, service=service, result=result, reason=reason, output=output
        )
        await console.report(self.desk.client, event, source=self.name, trace=trace)


async def _unknown_order(_role: Role, _ordered: Ordered) -> bytes:
    raise Refusal("unknown-order")


async def _not_my_business(_role: Role, _question: Question, _message: object) -> Reply:
    raise Refusal("not-my-business")
