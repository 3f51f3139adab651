"""A campaign's way through its stages: which cells come when, when to go on or to stop. No clock, no store.

A plan says what is to be broadcast where; a course says how far that has come; ``Rollout.next`` holds one
against the other, with what modules reported and what time it is, and says what to do now. Whoever does it
(``campaigns``) tells that it is done, and keeps the course.

*Stages* are shares of cells, not of modules: a page is heard by everybody in a cell, and one that nobody
there shall take is wasted air. Which cells come first is drawn from the campaign, so that it is not always
the same subscribers who try things out. A stage is broadcast to the cells that it adds: a rollout publishes
no page more than a broadcast to all.

*Thresholds* are held against the reports that can be expected of the cells so far. Where a sample of the
modules reports, that is a number that swings, for who of it is in which cell the supplier does not know:
three standard deviations fewer than the mean are still no sign that anything failed, and so many are not
waited for. Refusals count against the mean, or against all that reported where these are more. More refusals
than the threshold stop the campaign whatever is on the air; too few successes when the time for reports is
over stop it as well, in its last stage too: there nothing is left to stop, but who names a threshold wants a
verdict. A threshold for errors alone lets each stage have its time for reports, and goes on. Reports that
nothing is held against are waited for in the last stage alone, until all have come or their time is over: who
asks for them wants them.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TOO_MANY_ERRORS: Final = "too-many-errors"
TOO_FEW_SUCCESSES: Final = "too-few-successes"
ABORTED: Final = "aborted"
DEADLINE: Final = "deadline"
AIRED: Final = "aired"
SUCCESSES: Final = "enough-successes"
REPORTED: Final = "no-errors"
"""Why a stage ended as it should: nothing was to be waited for; the reports are there; their time is over."""
_DEVIATIONS: Final = 3.0
_DIGITS: Final = 9  # of a product: 0.07 x 100 is 7
_LABEL: Final = b"otafleet rollout: a cell's place\0"


class State(StrEnum):
    """Of a campaign."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    """Modules refused it, or did not report that they took it."""
    ABORTED = "aborted"
    EXPIRED = "expired"
    ENDED = "ended"


STATES: Final[Mapping[str, State]] = {
    TOO_MANY_ERRORS: State.STOPPED,
    TOO_FEW_SUCCESSES: State.STOPPED,
    ABORTED: State.ABORTED,
    DEADLINE: State.EXPIRED,
}
"""By why a campaign ended before its end: how it stands then."""
CUT_SHORT: Final = frozenset(STATES)
"""A target that had not heard it by then is refused for one of these."""


class Event(Enum):
    """What happens to a campaign."""

    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    STOP = "stop"
    EXPIRE = "expire"
    END = "end"


TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = {
    (State.RUNNING, Event.PAUSE): State.PAUSED,
    (State.PAUSED, Event.RESUME): State.RUNNING,
    (State.RUNNING, Event.ABORT): State.ABORTED,
    (State.PAUSED, Event.ABORT): State.ABORTED,
    (State.RUNNING, Event.STOP): State.STOPPED,
    (State.PAUSED, Event.STOP): State.STOPPED,
    (State.RUNNING, Event.EXPIRE): State.EXPIRED,
    (State.PAUSED, Event.EXPIRE): State.EXPIRED,
    (State.RUNNING, Event.END): State.ENDED,
}
"""What is not here is refused and changes nothing; a state that nothing leads out of is a campaign's last."""
UNDER_WAY: Final = frozenset(state for state, _event in TRANSITIONS)


class Reported(NamedTuple):
    """How many modules have reported of a campaign."""

    good: int = 0
    """That they have the version, by this campaign or before it."""
    refused: int = 0


class Publish(NamedTuple):
    """Publish this packet, counted from 0 through all repetitions, in the cells of this stage."""

    stage: int
    packet: int


class Await(NamedTuple):
    """Wait for news: a report or an order; look again at this time at the latest."""

    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be broadcast, and where; times are those of one clock."""

    stages: tuple[tuple[str, ...], ...]
    """The cells that each stage adds."""
    holders: tuple[int, ...]
    """How many modules in these have the resource."""
    packets: int
    """For each stage: a cycle, so many times as it is repeated."""
    success: float | None = None
    errors: float | None = None
    report_share: float = 0.0
    """How large a part of the modules reports."""
    report_s: float = 0.0
    """How long reports may take from a stage's last packet on."""
    deadline: float = math.inf

    def __post_init__(self) -> None:
        if not self.stages or len(self.stages) != len(self.holders) or not all(self.stages):
            raise ValueError("each stage has cells, and a number of holders")
        if self.packets < 1:
            raise ValueError("there is a packet to broadcast")
        if self.is_judged and not self.report_share:
            raise ValueError("a threshold needs reports")

    @property
    def is_judged(self) -> bool:
        """Whether there is a threshold."""
        return self.success is not None or self.errors is not None

    @property
    def is_trial(self) -> bool:
        """Whether the version is on trial, until the campaign has ended."""
        return self.is_judged or len(self.stages) > 1

    def expected(self, stage: int) -> float:
        """Return how many reports there will be in the mean, when *stage* and those before it are aired."""
        return self.report_share * sum(self.holders[: stage + 1])

    def due(self, stage: int) -> float:
        """Return how many reports there will be if chance is as unkind as it has to be reckoned with.

        One is always due where modules hold the resource: no news is not good news.
        """
        mean = self.expected(stage)
        return max(min(1.0, mean), mean - _DEVIATIONS * math.sqrt(mean * (1 - self.report_share)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How far a campaign has come."""

    state: State = State.RUNNING
    reason: str = ""
    stage: int = 0
    packets: int = 0
    """Published in this stage."""
    aired_at: float = 0.0
    """When the stage's last packet was published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """How one stage went; ``ended_at`` is None, and ``why`` empty, as long as it is under way."""

    begun_at: float
    ended_at: float | None = None
    why: str = ""


def in_stages(cells: Iterable[str], percents: Sequence[int], *, drawn_from: bytes) -> list[tuple[str, ...]]:
    """Return the cells that each stage adds, for *percents* that rise; all cells at once for none.

    A stage adds a cell at least. The last one need not have 100 per cent: then the campaign ends there, with
    cells that never hear it. ValueError where cells do not suffice for so many stages.
    """
    drawn = sorted(cells, key=lambda cell: hashlib.sha256(_LABEL + drawn_from + cell.encode()).digest())
    ends = [0]
    for percent in percents or (100,):
        ends.append(max(ends[-1] + 1, math.ceil(len(drawn) * percent / 100)))
    if ends[-1] > len(drawn):
        raise ValueError(f"{len(drawn)} cells are not enough for {len(percents)} stages")
    return [tuple(drawn[begin:end]) for begin, end in pairwise(ends)]


class Rollout:
    """One campaign on its way; *course* and *stages* are how far it had come when it was stored."""

    def __init__(self, plan: Plan, course: Course | None = None, stages: Iterable[Stage] = ()) -> None:
        self.plan = plan
        self.course = course or Course()
        self.stages = list(stages)
        """Those that have begun."""

    @property
    def is_under_way(self) -> bool:
        """Whether the campaign runs, or would if somebody resumed it."""
        return self.course.state in UNDER_WAY

    def may(self, event: Event) -> bool:
        """Say whether *event* is one that can happen now."""
        return (self.course.state, event) in TRANSITIONS

    def happens(self, event: Event, now: float, reason: str = "") -> None:
        """Change state. ValueError for what cannot happen now."""
        state = TRANSITIONS.get((self.course.state, event))
        if state is None:
            raise ValueError(f"{event.value} cannot happen to a campaign that is {self.course.state}")
        self.course = replace(self.course, state=state, reason=reason)
        if not self.is_under_way:
            self._end_stage(now, reason)

    def next(self, reported: Reported, now: float) -> Publish | Await | None:
        """Return what is to be done now, None when the campaign is over; verdicts change the course."""
        while self.is_under_way:
            if now >= self.plan.deadline:
                self.happens(Event.EXPIRE, now, DEADLINE)
            elif self._is_refused(reported):
                self.happens(Event.STOP, now, TOO_MANY_ERRORS)
            elif self.course.state is State.PAUSED:
                return Await(self.plan.deadline)
            elif self.course.packets < self.plan.packets:
                self._begin_stage(now)
                return Publish(self.course.stage, self.course.packets)
            elif (until := self._judge(reported, now)) is not None:
                return Await(min(until, self.plan.deadline))
        return None

    def published(self, now: float) -> None:
        """Note that the packet asked for last is published."""
        self.course = replace(self.course, packets=self.course.packets + 1, aired_at=now)

    def _is_refused(self, reported: Reported) -> bool:
        if self.plan.errors is None:
            return False
        of = max(self.plan.expected(self.course.stage), reported.good + reported.refused)
        return reported.refused > round(self.plan.errors * of, _DIGITS)

    def _judge(self, reported: Reported, now: float) -> float | None:
        """Go on, or stop, after a stage that is aired; return until when to wait where it is too early."""
        plan, over_at = self.plan, self.course.aired_at + self.plan.report_s
        if not plan.is_judged and not (self._is_last and self._is_awaited(reported)):
            self._go_on(now, AIRED)
        elif plan.success is not None and reported.good >= round(
            plan.success * plan.due(self.course.stage), _DIGITS
        ):
            self._go_on(now, SUCCESSES)
        elif now < over_at:
            return over_at
        elif plan.success is None:
            self._go_on(now, REPORTED)
        else:
            self.happens(Event.STOP, now, TOO_FEW_SUCCESSES)
        return None

    @property
    def _is_last(self) -> bool:
        return self.course.stage + 1 == len(self.plan.stages)

    def _is_awaited(self, reported: Reported) -> bool:
        """Whether reports may be on their way still: of all modules that were asked some have not come."""
        return self.plan.report_share > 0 and reported.good + reported.refused < sum(self.plan.holders)

    def _go_on(self, now: float, why: str) -> None:
        self._end_stage(now, why)
        if self._is_last:
            self.happens(Event.END, now)
        else:
            self.course = Course(stage=self.course.stage + 1)

    def _begin_stage(self, now: float) -> None:
        if len(self.stages) == self.course.stage:
            self.stages.append(Stage(begun_at=now))

    def _end_stage(self, now: float, why: str) -> None:
        if self.stages and self.stages[-1].ended_at is None:
            self.stages[-1] = replace(self.stages[-1], ended_at=now, why=why)
