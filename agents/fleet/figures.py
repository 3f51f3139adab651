"""What a run comes to while it goes on: steps and their targets, resources by state, messages that wait.

Looking at the memory of ten thousand modules takes a quarter of a second, and the loop has other things to
do. So a :class:`Walk` gives way after every few of them, and rests nineteen times as long as it worked before
it sets out again: whoever asks more often gets what was found last.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agents.fleet.expectations import Result
from agents.handset.security_module.errors import ImageRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from agents.fleet.config import Step
    from agents.fleet.expectations import Outcome
    from agents.fleet.report import StepReport
    from agents.handset.cell import Cell
    from agents.handset.phone import Phone
    from bus.counters import Snapshot

STRIDE: Final = 32
"""Handsets that are looked at before others have their turn: a millisecond."""
REST: Final = 19
"""For how many times as long as it took it is not done again: a twentieth of the time at most."""
UNREADABLE: Final = "unreadable"
"""The state of a module's resources when its DEF does not hold."""
OPEN: Final = "open"
"""The result of a step's target that has not ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFigures:
    """How far a step is, or how it ended."""

    number: int
    do: str
    service: str
    targets: Mapping[str, int]
    """How many by result, those that have not ended among them."""


class StepsPlayed:
    """The steps of a run that have ended, and the one that is being played."""

    def __init__(self) -> None:
        self._ended: list[StepReport] = []
        self._playing: tuple[int, Step, int, Sequence[Outcome]] | None = None

    def begin(self, number: int, step: Step, total: int, outcomes: Sequence[Outcome]) -> None:
        """Look from now on at *outcomes*, which grow, of step *number* with *total* targets."""
        self._playing = number, step, total, outcomes

    def end(self, report: StepReport) -> None:
        """Keep how the step ended that was being played."""
        self._ended.append(report)
        self._playing = None

    def figures(self) -> list[StepFigures]:
        """Return how far each step is that was begun, in the order of the steps."""
        figures = [
            _figures(
                each.number,
                each.do,
                each.service,
                {Result.OK: each.ok, Result.REFUSED: each.refused, Result.FAILED: each.failed},
            )
            for each in self._ended
        ]
        if self._playing is not None:
            number, step, total, outcomes = self._playing
            results = Counter(outcome.result for outcome in outcomes)
            still_open = max(0, total - len(outcomes))
            figures.append(_figures(number, step.do.value, step.service or "", results, still_open))
        return figures


def _figures(
    number: int, do: str, service: str, results: Mapping[Result, int], still_open: int = 0
) -> StepFigures:
    targets = {result.value: results.get(result, 0) for result in Result} | {OPEN: still_open}
    return StepFigures(number=number, do=do, service=service, targets=targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandsetFigures:
    """What the handsets of some process come to; *counts* is None where they count with everybody else."""

    states: dict[str, int] = field(default_factory=dict)
    """How many resources are in which state, as the modules' DEF say."""
    waiting: int = 0
    """Messages in the handsets' mailboxes."""
    counts: Snapshot | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CrewFigures:
    """What all handsets come to, and how many of the processes beside ours said so in time."""

    handsets: Sequence[HandsetFigures]
    processes: int = 0
    answering: int = 0


class Pace:
    """Says when something may be done again, by how long it took the last time."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._not_before = -float("inf")

    @property
    def is_rested(self) -> bool:
        """Whether it may be done again."""
        return self._now() >= self._not_before

    def worked(self, took_s: float) -> None:
        """Rest from now on, for as long as work of *took_s* seconds asks for."""
        self._not_before = self._now() + REST * took_s


class Walk:
    """Looks at each handset of some cells, a few at a time."""

    def __init__(self, cells: Sequence[Cell], now: Callable[[], float] = time.perf_counter) -> None:
        self._cells = cells
        self._now = now
        self._pace = Pace(now)
        self._found = HandsetFigures()

    async def figures(self) -> HandsetFigures:
        """Return what the handsets come to: now, or when they were last looked at."""
        if self._pace.is_rested:
            self._found = await self._look()
        return self._found

    async def _look(self) -> HandsetFigures:
        phones = [phone for cell in self._cells for phone in cell.phones.values()]
        states: Counter[str] = Counter()
        waiting, took_s = 0, 0.0
        for start in range(0, len(phones), STRIDE):
            begun = self._now()
            some = phones[start : start + STRIDE]
            states.update(_states(some))
            waiting += sum(phone.waiting for phone in some)
            took_s += self._now() - begun
            await asyncio.sleep(0)
        self._pace.worked(took_s)
        return HandsetFigures(states=dict(states), waiting=waiting)


def _states(phones: Iterable[Phone]) -> Iterable[str]:
    for phone in phones:
        try:
            yield from (definition.state.value for definition in phone.module.definitions.all())
        except ImageRejected:
            yield UNREADABLE
