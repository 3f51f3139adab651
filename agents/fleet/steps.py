"""Plays a config's steps: gives the orders, waits for what becomes of them, remembers it.

The runner is the person at the console and at the handsets, and nothing more: it gives an order to the agent
whose business it is and waits for an event, from whichever agent ends the transaction. What has ended goes
into the ledger; a launch that resumes plays only what has not. An order that nobody answers is given again,
which every agent bears (see ``agents``); then the target has failed.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agents.fleet.asking import Asking, nothing
from agents.fleet.audience import Audience
from agents.fleet.begun import Begun
from agents.fleet.config import Verb
from agents.fleet.expectations import Outcome, Outcomes, Result, evaluate
from agents.fleet.figures import StepsPlayed
from agents.fleet.holders import Holders
from agents.fleet.order_spans import Target
from agents.fleet.report import StepReport
from agents.fleet.step_orders import ORDERS, Agents, argument_for_all, argument_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from agents.fleet.asking import Asked
    from agents.fleet.config import Step
    from agents.fleet.progress import Progress
    from agents.fleet.state import Ledger
    from agents.fleet.surroundings import Surroundings
    from bus.client import BusClient

WINDOW: Final = 128
"""Targets under way at once."""
BROADCASTS: Final = frozenset({Verb.ANNOUNCE, Verb.BROADCAST, Verb.FINISH_CAMPAIGN, Verb.ROLL_DOMAIN_KEY})
"""The steps that are one order for many targets, and that each target tells the end of."""
FORGOTTEN: Final = (frozenset({Verb.SET_CLOCK}), frozenset({Verb.SWITCH_OFF, Verb.SWITCH_ON}))
"""What a launch begins without: handsets go right by the time, and are on; by what says something of it."""


class Runner:
    """The console of one run; *received* says how many pages its cells have received."""

    def __init__(
        self,
        around: Surroundings,
        client: BusClient,
        ledger: Ledger,
        progress: Progress,
        *,
        window: int = WINDOW,
        received: Callable[[], Awaitable[int]] = nothing,
    ) -> None:
        self.steps = StepsPlayed()
        self._around = around
        self._ledger = ledger
        self._progress = progress
        self._window = window
        self._asking = Asking(around, client, note=progress.note, received=received)
        self._begun = Begun(around.config, ledger)
        self._agents = Agents(around.config)
        self._holders = Holders(around.config)
        self._may_fail: set[int] = set()
        """The steps that expect failures: tried again in a resumed run, such a target would not meet what it
        met then, but what later steps have made of it."""

    async def start(self) -> None:
        """Listen to events."""
        await self._asking.start()

    def goes_on(self, traces: Mapping[str, bytes]) -> None:
        """Listen to the campaigns that go on by themselves: by service, under which trace."""
        for service, trace_id in traces.items():
            audience = self._begun.last(service, self._around.clock.now())
            if audience is not None:
                self._asking.listen(audience, trace_id)

    async def so_far(self) -> list[Outcomes]:
        """Return who has told of each campaign that a step began and did not wait for."""
        return await self._begun.so_far(self._around.clock.now())

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
        self.steps.begin(index + 1, step, len(targets), outcomes)
        if step.do is Verb.WAIT:
            await self._wait(index, step, outcomes)
        elif not step.wait:
            traces = await self._begin(index, step, outcomes)
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
        self._holders.after(ended)
        ended = replace(ended, loaded=self._holders.brought(ended))
        report = StepReport.of(
            ended,
            service=step.service or "",
            seconds=self._around.clock.now() - begun,
            missed=evaluate(step.expect, ended),
            expected=step.expect is not None,
        )
        self.steps.end(report)
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

    async def _begin(self, index: int, step: Step, outcomes: list[Outcome]) -> list[bytes]:
        """Have a campaign begun; from now on handsets tell that they heard it. Returns the orders' traces."""
        service = step.service or ""
        started = self._around.clock.now()
        audience = self._begun.audience(index, started)
        outcome = self._outcome(index, "", service)
        if outcome is None:
            asked = await self._asking.ask(self._target_for_all(index, step, "", service), audience)
            outcome = self._ended("", service, asked, started)
            await self._ledger.keep(index + 1, outcome, started=started)
        outcomes.append(outcome)
        self._progress.advance(index)
        return audience.traces

    def _target_for_all(self, index: int, step: Step, ua: str, service: str) -> Target:
        """Return whom to give the one order of a step that is about many handsets; one of them is *ua*."""
        return Target(
            agent=self._agents.of(step, ua, service),
            do=step.do.value,
            ua="",
            service=service,
            argument=argument_for_all(self._around.config, index),
        )

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
        for (_agent, service), listening in audiences.items():
            started = self._around.clock.now()
            audience = self._begun.ended_by(index, started) or Audience(
                addresses=frozenset(listening), started=started
            )
            target = self._target_for_all(index, step, min(listening), service)
            event, _ = await self._asking.ask(target, audience, hears_out=True)
            traces += audience.traces
            ordered = tuple(audience.traces)
            unheard = (Result.FAILED, "not-heard")
            if event is not None and event.result == Result.REFUSED:
                unheard = (Result.REFUSED, event.reason)
            ended = self._around.clock.now()
            told = []
            for ua in sorted(listening):
                at = audience.heard.get(ua)
                result, reason = unheard if at is None else (Result.OK, "")
                at = ended if at is None else at
                told.append(
                    Outcome(
                        ua=ua,
                        service=service,
                        result=result,
                        reason=reason,
                        # Of a campaign that an earlier step began it may have told before this one.
                        latency_s=max(0.0, at - started),
                        told_s=at - audience.started,
                        heard_s=audience.heard_s(ua),
                        traces=ordered,
                        started=audience.started,
                    )
                )
            await self._ledger.keep_all(index + 1, told, started=audience.started)
            outcomes += told
            self._progress.advance(index, len(told))
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

        What a handset forgets between two launches has to be said again, and of that the last word counts.
        """
        steps = self._around.config.steps
        about = next((verbs for verbs in FORGOTTEN if steps[index].do in verbs), None)
        if about is None:
            return False
        later = (number for number, step in enumerate(steps, 1) if step.do in about and number > index + 1)
        return all(self._ledger.outcome(number, ua, "") is None for number in later)

    async def _one(self, index: int, step: Step, ua: str, service: str, started: float) -> Outcome:
        target = Target(
            agent=self._agents.of(step, ua, service),
            do=ORDERS.get(step.do, step.do).value,
            ua=ua,
            service=service,
            argument=argument_of(step, index + 1),
        )
        return self._ended(ua, service, await self._asking.ask(target), started)

    def _ended(self, ua: str, service: str, asked: Asked, started: float) -> Outcome:
        """Return how a target ended, by the event that says so, if any does."""
        event = asked.event
        return Outcome(
            ua=ua,
            service=service,
            result=Result(event.result) if event else Result.FAILED,
            reason=event.reason if event else "no-answer",
            latency_s=self._around.clock.now() - started,
            output=event.output if event else b"",
            traces=asked.traces,
            started=started,
        )
