"""A campaign's way through its stages, without a clock and a store: what comes next, and when it is over."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.rollout import (
    ABORTED,
    AIRED,
    DEADLINE,
    REPORTED,
    SUCCESSES,
    TOO_FEW_SUCCESSES,
    TOO_MANY_ERRORS,
    TRANSITIONS,
    UNDER_WAY,
    Await,
    Course,
    Event,
    Plan,
    Publish,
    Reported,
    Rollout,
    Stage,
    State,
    in_stages,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CELLS = [f"town.{number}" for number in range(1, 21)]
NOBODY = Reported()


def _plan(**changes: Any) -> Plan:
    """Return stages of one, two and three cells with ten modules in each, four packets; all report."""
    terms: dict[str, Any] = {
        "stages": (("a",), ("b", "c"), ("d", "e", "f")),
        "holders": (10, 20, 30),
        "packets": 4,
        "report_share": 1.0,
        "report_s": 60.0,
    }
    return Plan(**(terms | changes))


def _air(rollout: Rollout, reported: Reported = NOBODY, now: float = 0.0) -> Iterator[Publish]:
    """Publish as long as nothing else is to be done."""
    while isinstance(do := rollout.next(reported, now), Publish):
        yield do
        rollout.published(now)


# ---- stages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("percents", "counts"),
    [
        ([], [20]),
        ([100], [20]),
        ([5, 25, 100], [1, 4, 15]),
        ([1, 2, 3, 100], [1, 1, 1, 17]),
        ([50], [10]),
        ([91, 100], [19, 1]),
    ],
    ids=["none", "all", "three", "one-more-each", "half", "rounded-up"],
)
def test_stages_are_shares_of_cells(percents: list[int], counts: list[int]) -> None:
    """Each rounded up, each a cell more than the one before, and no cell twice."""
    stages = in_stages(CELLS, percents, drawn_from=b"campaign")
    assert [len(stage) for stage in stages] == counts
    cells = [cell for stage in stages for cell in stage]
    assert len(set(cells)) == len(cells)


def test_too_few_cells_for_so_many_stages() -> None:
    """The last stage cannot add a cell that is not there."""
    with pytest.raises(ValueError, match="2 cells are not enough for 3 stages"):
        in_stages(CELLS[:2], [10, 50, 100], drawn_from=b"campaign")
    with pytest.raises(ValueError, match="20 cells are not enough for 2 stages"):
        in_stages(CELLS, [99, 100], drawn_from=b"campaign")


def test_who_comes_first_is_drawn_from_the_campaign() -> None:
    """The same campaign draws the same cells whatever their order; another one others."""
    drawn = in_stages(CELLS, [10, 100], drawn_from=b"one")
    assert in_stages(reversed(CELLS), [10, 100], drawn_from=b"one") == drawn
    first = {in_stages(CELLS, [5, 100], drawn_from=bytes([number]))[0] for number in range(50)}
    assert len(first) > 10


@pytest.mark.parametrize(
    "changes",
    [
        {"stages": (), "holders": ()},
        {"holders": (10, 20)},
        {"stages": (("a",), (), ("b",))},
        {"packets": 0},
        {"report_share": 0.0, "success": 0.9},
        {"report_share": 0.0, "errors": 0.0},
    ],
    ids=["no-stage", "no-number", "no-cell", "no-packet", "success-of-nothing", "errors-of-nothing"],
)
def test_a_plan_that_cannot_be(changes: dict[str, Any]) -> None:
    """It refuses to exist."""
    with pytest.raises(ValueError, match=r"."):
        _plan(**changes)


# ---- the way ---------------------------------------------------------------------------------------------


def test_stages_follow_at_once_without_thresholds() -> None:
    """Every packet once in the cells of each stage, in order; then the campaign has ended."""
    rollout = Rollout(_plan(report_share=0.0))
    assert list(_air(rollout)) == [(stage, packet) for stage in range(3) for packet in range(4)]
    assert rollout.course.state is State.ENDED
    assert [stage.why for stage in rollout.stages] == [AIRED] * 3


@pytest.mark.parametrize(
    ("reported", "now", "why"),
    [(Reported(good=50, refused=10), 1.0, AIRED), (Reported(good=59), 60.0, REPORTED)],
    ids=["all-have-come", "their-time-is-over"],
)
def test_reports_that_nobody_judges_are_waited_for_at_the_end(
    reported: Reported, now: float, why: str
) -> None:
    """Not between stages; in the last one until all have come, whatever they say, or their time is over."""
    rollout = Rollout(_plan())
    assert len(list(_air(rollout))) == 3 * 4
    assert [stage.why for stage in rollout.stages] == [AIRED, AIRED, ""]
    for some in (NOBODY, Reported(good=59)):
        assert rollout.next(some, 59.9) == Await(60.0)
    assert rollout.next(reported, now) is None
    assert (rollout.course.state, rollout.stages[-1].why) == (State.ENDED, why)


def test_a_stage_waits_for_its_successes() -> None:
    """It is counted from all cells so far; with one report too few nothing is published."""
    rollout = Rollout(_plan(success=0.9))
    assert {do.stage for do in _air(rollout, now=5.0)} == {0}
    assert rollout.next(Reported(good=8), 6.0) == Await(65.0)
    assert {do.stage for do in _air(rollout, Reported(good=9), 7.0)} == {1}
    assert rollout.next(Reported(good=26), 8.0) == Await(67.0)
    assert {do.stage for do in _air(rollout, Reported(good=27), 9.0)} == {2}
    assert rollout.next(Reported(good=54), 10.0) is None
    assert rollout.course.state is State.ENDED
    assert rollout.stages == [
        Stage(begun_at=5.0, ended_at=7.0, why=SUCCESSES),
        Stage(begun_at=7.0, ended_at=9.0, why=SUCCESSES),
        Stage(begun_at=9.0, ended_at=10.0, why=SUCCESSES),
    ]


@pytest.mark.parametrize("stage", range(3))
def test_too_few_successes_stop_it_when_their_time_is_over(stage: int) -> None:
    """In the last stage as well, where the verdict is all that is left."""
    rollout = Rollout(_plan(success=0.9), Course(stage=stage, packets=4, aired_at=100.0))
    assert rollout.next(NOBODY, 159.9) == Await(160.0)
    assert rollout.next(NOBODY, 160.0) is None
    assert (rollout.course.state, rollout.course.reason) == (State.STOPPED, TOO_FEW_SUCCESSES)


def test_too_many_errors_stop_it_whatever_is_on_the_air() -> None:
    """One refusal more than the share allows, in the middle of a stage, paused or waiting for reports."""
    for course in (
        Course(packets=1),
        Course(packets=4, aired_at=10.0),
        Course(packets=1, state=State.PAUSED),
    ):
        rollout = Rollout(_plan(errors=0.1), course)
        assert rollout.next(Reported(refused=1), 20.0) is not None
        assert rollout.next(Reported(refused=2), 20.0) is None
        assert (rollout.course.state, rollout.course.reason) == (State.STOPPED, TOO_MANY_ERRORS)


def test_without_a_threshold_for_successes_reports_have_their_time() -> None:
    """Then the next stage begins, if there were not too many errors."""
    rollout = Rollout(_plan(errors=0.1))
    assert {do.stage for do in _air(rollout, now=0.0)} == {0}
    assert rollout.next(NOBODY, 59.0) == Await(60.0)
    assert {do.stage for do in _air(rollout, now=60.0)} == {1}
    assert rollout.stages[0].why == REPORTED


def test_a_sample_is_not_taken_for_failures() -> None:
    """Of 10 modules of which a quarter report, one report is due; of 1,000 most of the 250."""
    plan = _plan(stages=(("a",),), holders=(10,), success=0.9, report_share=0.25)
    assert (plan.expected(0), plan.due(0)) == (2.5, 1.0)
    many = replace(plan, holders=(1000,))
    assert many.due(0) == pytest.approx(250 - 3 * math.sqrt(250 * 0.75))
    assert replace(plan, holders=(0,)).due(0) == 0.0
    assert replace(many, report_share=1.0).due(0) == 1000.0


@pytest.mark.parametrize(
    ("success", "errors", "reported", "state", "reason"),
    [
        (None, 0.0, Reported(refused=1), State.STOPPED, TOO_MANY_ERRORS),
        (None, 0.0, Reported(good=1), State.ENDED, ""),
        (None, 0.99, Reported(refused=1), State.STOPPED, TOO_MANY_ERRORS),
        (None, 1.0, Reported(refused=1), State.ENDED, ""),
        (1.0, None, Reported(good=1), State.ENDED, ""),
        (1.0, None, Reported(), State.STOPPED, TOO_FEW_SUCCESSES),
        (0.01, None, Reported(), State.STOPPED, TOO_FEW_SUCCESSES),
        (1.0, 1.0, Reported(refused=1), State.STOPPED, TOO_FEW_SUCCESSES),
        (1.0, 0.0, Reported(), State.STOPPED, TOO_FEW_SUCCESSES),
    ],
    ids=[
        "0-refused",
        "0-good",
        "99-refused",
        "100-refused",
        "all-good",
        "all-mute",
        "1-mute",
        "both",
        "mute",
    ],
)
def test_thresholds_at_their_ends_with_one_module(
    success: float | None, errors: float | None, reported: Reported, state: State, reason: str
) -> None:
    """No share of errors is passed by one refusal, all of them by none; a success in all cases needs it."""
    plan = _plan(stages=(("a",),), holders=(1,), success=success, errors=errors)
    rollout = Rollout(plan)
    assert len(list(_air(rollout))) == plan.packets
    assert rollout.next(reported, plan.report_s) is None
    assert (rollout.course.state, rollout.course.reason) == (state, reason)


def test_where_nobody_has_the_resource_nothing_is_waited_for() -> None:
    """A stage of empty cells has no report that could be missing."""
    rollout = Rollout(_plan(holders=(0, 0, 0), success=1.0, errors=0.0))
    assert len(list(_air(rollout))) == 12
    assert rollout.course.state is State.ENDED


@pytest.mark.parametrize("course", [Course(packets=2), Course(packets=4), Course(state=State.PAUSED)])
def test_at_the_deadline_it_expires(course: Course) -> None:
    """On the air, waiting for reports, or paused; who waits is told to look again by then."""
    rollout = Rollout(_plan(success=1.0, deadline=50.0), course)
    assert rollout.next(NOBODY, 49.0) in {Publish(0, 2), Await(50.0)}
    assert rollout.next(NOBODY, 50.0) is None
    assert (rollout.course.state, rollout.course.reason) == (State.EXPIRED, DEADLINE)


def test_paused_it_publishes_nothing_and_goes_on_where_it_was() -> None:
    """As if nothing had been."""
    rollout = Rollout(_plan())
    assert rollout.next(NOBODY, 0.0) == Publish(0, 0)
    rollout.published(0.0)
    rollout.happens(Event.PAUSE, 1.0)
    assert rollout.next(NOBODY, 2.0) == Await(math.inf)
    rollout.happens(Event.RESUME, 3.0)
    assert rollout.next(NOBODY, 3.0) == Publish(0, 1)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_only_what_the_table_lists_can_happen(state: State, event: Event) -> None:
    """Everything else is refused and changes nothing."""
    rollout = Rollout(_plan(), Course(state=state, stage=1, packets=2))
    before = rollout.course
    if rollout.may(event):
        rollout.happens(event, 1.0, ABORTED)
        assert rollout.course == replace(before, state=TRANSITIONS[state, event], reason=ABORTED)
    else:
        with pytest.raises(ValueError, match=f"{event.value} cannot happen to a campaign that is {state}"):
            rollout.happens(event, 1.0)
        assert rollout.course == before


def test_what_is_over_stays_over() -> None:
    """Nothing leads out of a state that is a campaign's last, and nothing is to be done in it."""
    over = set(State) - UNDER_WAY
    assert over == {State.STOPPED, State.ABORTED, State.EXPIRED, State.ENDED}
    for state in over:
        assert Rollout(_plan(), Course(state=state)).next(Reported(good=60), 0.0) is None


# ---- whatever modules report -----------------------------------------------------------------------------

REPORTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2), st.floats(0.0, 40.0)), max_size=60)
PLANS = st.builds(
    _plan,
    success=st.one_of(st.none(), st.floats(0.1, 1.0)),
    errors=st.one_of(st.none(), st.floats(0.0, 0.5)),
    report_share=st.floats(0.1, 1.0),
    deadline=st.one_of(st.just(math.inf), st.floats(1.0, 500.0)),
)


@given(plan=PLANS, reports=REPORTS, cuts=st.sets(st.integers(0, 200)))
def test_it_goes_on_above_the_threshold_only_and_always_ends(
    plan: Plan, reports: list[tuple[int, int, float]], cuts: set[int]
) -> None:
    """Whatever modules report and when, and wherever it is cut and taken up again from what is stored."""
    rollout, now, reported, published = Rollout(plan), 0.0, NOBODY, 0
    arriving = iter(reports)
    for turn in range(400):
        if turn in cuts:
            rollout = Rollout(plan, rollout.course, rollout.stages)
        stage = rollout.course.stage
        do = rollout.next(reported, now)
        if rollout.course.stage > stage and plan.success is not None:
            assert reported.good >= plan.success * plan.due(stage) - 1e-6
        if plan.errors is not None and do is not None:
            assert (
                reported.refused
                <= plan.errors * max(plan.expected(rollout.course.stage), sum(reported)) + 1e-6
            )
        if do is None:
            break
        if isinstance(do, Publish):
            published += 1
            rollout.published(now)
        good, refused, later = next(arriving, (0, 0, math.inf))
        reported = Reported(reported.good + good, reported.refused + refused)
        now = min(now + later, do.until) if isinstance(do, Await) else now + 0.1
    assert not rollout.is_under_way
    assert rollout.next(reported, now) is None
    assert published <= 12
    if rollout.course.state is State.ENDED:
        assert published == 12
    assert all(stage.ended_at is not None for stage in rollout.stages)
