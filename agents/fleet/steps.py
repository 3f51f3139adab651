"""Plays a config's steps: gives the orders, waits for what becomes of them, remembers it.

The runner is the person at the console and at the handsets, and nothing more: it gives an order to the agent
whose business it is and waits for an event, from whichever agent ends the transaction. What has ended goes
into the ledger; a launch that resumes plays only what has not. An order that nobody answers is given again,
which every agent bears (see ``agents``); then the target has failed.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agents.console import CONSOLE
from agents.fleet.config import By, Verb
from agents.fleet.config_updates import version_of
from agents.fleet.expectations import Outcome, Outcomes, Result, evaluate
from agents.fleet.houses import authority_of, personalizer_of
from agents.fleet.report import StepReport
from agents.messages.orders import Event
from agents.subscriptions import Renewal
from bus.topics import Events
from bus.tracing import new_trace
from transport.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agents.console import Console
    from agents.fleet.config import FleetConfig, Step
    from agents.fleet.progress import Progress
    from agents.fleet.state import Ledger
    from agents.fleet.surroundings import Surroundings
    from bus.client import BusClient
    from bus.frame import Frame

WINDOW: Final = 128
"""Targets under way at once."""
ORDER_TIMEOUT_S: Final = 30.0
"""How long an order may go unanswered before it is given again, when nothing waits for the air."""
AIR_PATIENCE_S: Final = 3600.0
MAX_PATIENCE_S: Final = 600.0
"""Else so many simulated seconds, but no more than so many of ours."""
ATTEMPTS: Final = 4
LISTEN_S: Final = 5.0
"""How long the console listens to those who have yet to tell, once a broadcast has ended or somebody told."""
BUSY_S: Final = 0.25
"""A loop that comes so late to an end of its patience was busy."""
PAGES_LAG: Final = 4.0
"""Or so many times as long as the broadcast took: handsets take longer over pages than who publishes them."""


BROADCASTS: Final = frozenset({Verb.ANNOUNCE, Verb.BROADCAST})
"""The steps that are one order for many targets, and that each target tells the end of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    agent: str
    do: str
    ua: str
    service: str
    argument: bytes


@dataclass(slots=True, kw_only=True)
class _Audience:
    """The handsets that a broadcast is for, and when each told that it heard; the traces of its orders."""

    addresses: frozenset[str]
    traces: list[bytes] = field(default_factory=list)
    heard: dict[str, float] = field(default_factory=dict)
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def hears(self, ua: str, now: float) -> None:
        """Note that a handset heard."""
        if ua in self.addresses:
            self.heard.setdefault(ua, now)
        if len(self.heard) == len(self.addresses):
            self.complete.set()


class Runner:
    """The console of one run."""

    def __init__(
        self,
        around: Surroundings,
        client: BusClient,
        ledger: Ledger,
        progress: Progress,
        *,
        window: int = WINDOW,
    ) -> None:
        self._around = around
        self._ledger = ledger
        self._client = client
        self._progress = progress
        self._window = window
        self._console: Console = around.console("console")
        self._waiting: dict[bytes, tuple[asyncio.Future[Event], _Target]] = {}
        self._audiences: dict[bytes, _Audience] = {}
        self._agents = _Agents(around.config)
        self._may_fail: set[int] = set()
        """The steps that expect failures: tried again in a resumed run, such a target would not meet what it
        met then, but what later steps have made of it."""

    async def start(self) -> None:
        """Listen to events."""
        await self._client.subscribe([Events(fleet=self._around.config.fleet.name)], self._received)

    async def play(self, index: int) -> tuple[StepReport, Outcomes]:
        """Play step *index* (from 0), or what is left of it; return how it ended."""
        step = self._around.config.steps[index]
        targets = self._around.config.targets(step)
        if step.expect is not None and step.expect.wants(Result.FAILED, len(targets)):
            self._may_fail.add(index)
        self._progress.step_started(index, step, len(targets))
        begun = self._around.clock.now()
        outcomes: list[Outcome] = []
        traces: list[bytes] = []
        if step.do is Verb.WAIT:
            await self._wait(index, step, outcomes)
        elif step.do in BROADCASTS:
            traces = await self._broadcast(index, step, targets, outcomes)
        else:
            await self._one_by_one(index, step, targets, outcomes)
        ended = Outcomes(
            number=index + 1,
            do=step.do.value,
            outcomes=outcomes,
            service=step.service or "",
            traces=frozenset(traces),
        )
        report = StepReport.of(
            ended,
            service=step.service or "",
            seconds=self._around.clock.now() - begun,
            missed=evaluate(step.expect, ended),
            expected=step.expect is not None,
        )
        self._progress.step_finished(index, report)
        return report, ended

    async def _wait(self, index: int, step: Step, outcomes: list[Outcome]) -> None:
        """Let simulated time pass; nobody is ordered anything."""
        outcome = self._ledger.outcome(index + 1, "", "")
        if outcome is None:
            assert step.for_s is not None, "a config without is refused"
            started = self._around.clock.now()
            await self._around.clock.sleep(step.for_s)
            outcome = Outcome(
                ua="", service="", result=Result.OK, latency_s=self._around.clock.now() - started
            )
            await self._ledger.keep(index + 1, outcome, started=started)
        outcomes.append(outcome)
        self._progress.advance(index)

    async def _one_by_one(
        self, index: int, step: Step, targets: list[tuple[str, str]], outcomes: list[Outcome]
    ) -> None:
        left = iter(targets)
        async with asyncio.TaskGroup() as tasks:
            for number in range(min(self._window, len(targets))):
                tasks.create_task(self._work(index, step, left, outcomes), name=f"step[{index + 1}].{number}")

    async def _broadcast(
        self, index: int, step: Step, targets: list[tuple[str, str]], outcomes: list[Outcome]
    ) -> list[bytes]:
        """Give who broadcasts one order for all its handsets; a target has ended well when it tells so.

        A broadcast is answered by nobody: who tells is the handset, whose module took what it heard. Returns
        the traces of the orders.
        """
        traces: list[bytes] = []
        audiences: dict[tuple[str, str], set[str]] = {}
        for ua, service in targets:
            known = self._outcome(index, ua, service)
            if known is None:
                audiences.setdefault((self._agents.of(step, ua, service), service), set()).add(ua)
            else:
                outcomes.append(known)
                self._progress.advance(index)
        for (agent, service), listening in audiences.items():
            audience = _Audience(addresses=frozenset(listening))
            started = self._around.clock.now()
            argument = " ".join((*_versions(self._around.config, index), *(step.handsets or ()))).encode()
            target = _Target(agent=agent, do=step.do.value, ua="", service=service, argument=argument)
            event = await self._ask(target, audience)
            traces += audience.traces
            unheard = (Result.FAILED, "not-heard")
            if event is not None and event.result == Result.REFUSED:
                unheard = (Result.REFUSED, event.reason)
            for ua in sorted(listening):
                at = audience.heard.get(ua)
                result, reason = unheard if at is None else (Result.OK, "")
                outcome = Outcome(
                    ua=ua,
                    service=service,
                    result=result,
                    reason=reason,
                    latency_s=(self._around.clock.now() if at is None else at) - started,
                )
                await self._ledger.keep(index + 1, outcome, started=started)
                outcomes.append(outcome)
                self._progress.advance(index)
        return traces

    async def _work(
        self, index: int, step: Step, left: Iterator[tuple[str, str]], outcomes: list[Outcome]
    ) -> None:
        for ua, service in left:
            outcome = self._outcome(index, ua, service)
            if outcome is None or self._is_forgotten(index, ua):
                started = self._around.clock.now()
                outcome = await self._one(index, step, ua, service, started)
                await self._ledger.keep(index + 1, outcome, started=started)
            outcomes.append(outcome)
            self._progress.advance(index)

    def _outcome(self, index: int, ua: str, service: str) -> Outcome | None:
        """Return how a target of step *index* ended in an earlier launch, if it has."""
        return self._ledger.outcome(index + 1, ua, service, may_fail=index in self._may_fail)

    def _is_forgotten(self, index: int, ua: str) -> bool:
        """Say whether a handset has to be told again what step *index* told it in an earlier launch.

        Switched off since, it has forgotten what it was told of the time; of that, the last word counts.
        """
        steps = self._around.config.steps
        if steps[index].do is not Verb.SET_CLOCK:
            return False
        later = (
            number for number, step in enumerate(steps, 1) if step.do is Verb.SET_CLOCK and number > index + 1
        )
        return all(self._ledger.outcome(number, ua, "") is None for number in later)

    async def _one(self, index: int, step: Step, ua: str, service: str, started: float) -> Outcome:
        target = _Target(
            agent=self._agents.of(step, ua, service),
            do=_ORDERS.get(step.do, step.do).value,
            ua=ua,
            service=service,
            argument=_ARGUMENTS.get(step.do, _nothing)(step, index + 1),
        )
        event = await self._ask(target)
        latency_s = self._around.clock.now() - started
        if event is None:
            return Outcome(
                ua=ua, service=service, result=Result.FAILED, reason="no-answer", latency_s=latency_s
            )
        return Outcome(
            ua=ua,
            service=service,
            result=Result(event.result),
            reason=event.reason,
            latency_s=latency_s,
            output=event.output,
        )

    async def _ask(self, target: _Target, audience: _Audience | None = None) -> Event | None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Event] = loop.create_future()
        traces: list[bytes] = []
        began = loop.time()
        try:
            for _ in range(ATTEMPTS):
                # An order's trace goes through everything that it leads to, and comes back with the event:
                # what is told late of another order, or of another attempt's target, is no answer to this.
                trace = new_trace(self._console.rng)
                traces.append(trace.trace_id)
                self._waiting[trace.trace_id] = (future, target)
                if audience is not None:
                    self._audiences[trace.trace_id] = audience
                    audience.traces.append(trace.trace_id)
                await self._console.order(
                    self._client,
                    target.agent,
                    do=target.do,
                    ua=target.ua,
                    service=target.service,
                    argument=target.argument,
                    trace=trace,
                )
                done, _ = await asyncio.wait([future], timeout=self._patience_s())
                if done:
                    event = future.result()
                    if event.result == Result.OK:
                        await self._hear_out(audience, loop.time() - began)
                    return event
        finally:
            for trace_id in traces:
                del self._waiting[trace_id]
                self._audiences.pop(trace_id, None)
        return None

    async def _hear_out(self, audience: _Audience | None, took_s: float) -> None:
        """Wait for those who are still to tell, as long as somebody does.

        A page takes its time to a module, and the longer a broadcast took the more there are. While handsets of
        this process keep the loop busy, nobody reads what they told: then it is not they who are silent.
        """
        loop, patience_s = asyncio.get_running_loop(), max(LISTEN_S, PAGES_LAG * took_s)
        while audience is not None and not audience.complete.is_set():
            heard, until = len(audience.heard), loop.time() + patience_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await audience.complete.wait()
            if len(audience.heard) == heard and loop.time() - until < BUSY_S:
                return

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
            audience.hears(event.ua, self._around.clock.now())
        future, target = self._waiting.get(frame.trace.trace_id, (None, None))
        if target is None or (event.do, event.ua, event.service) != (target.do, target.ua, target.service):
            return
        # An agent that was asked twice tells twice; the first word counts.
        if future is not None and not future.done():
            future.set_result(event)


class _Agents:
    """Whose business each order is."""

    def __init__(self, config: FleetConfig) -> None:
        self._operator = {
            ua: group.operator for group in config.handsets for ua in config.group_addresses(group.name)
        }
        self._authority = {operator.name: authority_of(operator) for operator in config.operators}
        self._supplier = {name: offer.supplier.name for name, offer in config.offers.items()}

    def of(self, step: Step, ua: str, service: str) -> str:
        """Return the agent that is ordered to do *step* for this target."""
        if step.do is Verb.INVOKE:
            return ua if step.by is By.USER else self._supplier[service]
        return _AGENTS[step.do](self, ua, service)

    def personalizer(self, ua: str, _service: str) -> str:
        """Return the factory of the module's authority."""
        return personalizer_of(self._authority[self._operator[ua]])

    def supplier(self, _ua: str, service: str) -> str:
        """Return who offers the service."""
        return self._supplier[service]

    def handset(self, ua: str, _service: str) -> str:
        """Return the handset itself."""
        return ua

    def operator(self, ua: str, _service: str) -> str:
        """Return the subscriber's operator."""
        return self._operator[ua]


_AGENTS: Final[Mapping[Verb, Callable[[_Agents, str, str], str]]] = {
    Verb.PERSONALISE: _Agents.personalizer,
    Verb.AGREE: _Agents.supplier,
    Verb.SUBSCRIBE: _Agents.handset,
    Verb.SERVE: _Agents.handset,
    Verb.PULL: _Agents.handset,
    Verb.RESERVE: _Agents.operator,
    Verb.ACTIVATE: _Agents.operator,
    Verb.BLOCK: _Agents.operator,
    Verb.UNBLOCK: _Agents.operator,
    Verb.RENEW: _Agents.operator,
    Verb.RELEASE: _Agents.operator,
    Verb.ROLL_SUPPLIER_KEY: _Agents.operator,
    Verb.REVOKE_SUPPLIER: _Agents.operator,
    Verb.COMPACT: _Agents.operator,
    Verb.AUDIT: _Agents.operator,
    Verb.SET_CLOCK: _Agents.handset,
    Verb.ROLL_OPERATOR_KEY: _Agents.operator,
    Verb.INTRODUCE_OPERATOR: _Agents.operator,
    Verb.ANNOUNCE: _Agents.operator,
    Verb.BROADCAST: _Agents.supplier,
}


_ORDERS: Final[Mapping[Verb, Verb]] = {Verb.PULL: Verb.SERVE}
"""What is ordered under another name than the step's: who pulls calls its supplier, as whoever is served."""


def _versions(config: FleetConfig, index: int) -> list[str]:
    """Return what the order for a broadcast says before its groups."""
    return [str(version_of(config, index))] if config.steps[index].do is Verb.BROADCAST else []


def _nothing(_step: Step, _number: int) -> bytes:
    return b""


def _input(step: Step, number: int) -> bytes:
    return step.input_octets(number)


def _renewal(step: Step, _number: int) -> bytes:
    return Renewal(for_s=step.for_s or 0, executions=step.executions or 0).encode()


def _by_seconds(step: Step, _number: int) -> bytes:
    return str(step.by_s).encode()


def _number(_step: Step, number: int) -> bytes:
    return str(number).encode()


def _supplier(step: Step, _number: int) -> bytes:
    return (step.supplier or "").encode()


_ARGUMENTS: Final[Mapping[Verb, Callable[[Step, int], bytes]]] = {
    Verb.INVOKE: _input,
    Verb.RENEW: _renewal,
    Verb.SET_CLOCK: _by_seconds,
    Verb.ROLL_SUPPLIER_KEY: _number,
    Verb.REVOKE_SUPPLIER: _supplier,
    Verb.ROLL_OPERATOR_KEY: _number,
}
"""What an order says beside whom and what it is about; *number* is the step's, from 1."""
