"""The report of a run, put together from what was counted."""

from __future__ import annotations

import gc
import os
import resource
import sys
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import structlog

from agents.audits import Zone
from agents.fleet import measure
from agents.fleet.expectations import Outcome, Outcomes, Result
from agents.fleet.loop import loop_factory
from agents.fleet.market import Market
from agents.fleet.measure import Played, make_report
from agents.fleet.radio import HandsetSummary
from agents.fleet.report import AuditReport, Latency, StepReport
from agents.fleet.resources import cores, peak_mib, quiet_collector
from agents.fleet.state import Launch
from agents.fleet.surroundings import Surroundings
from bus.actor import ActorGroup
from bus.address import BrokerAddress
from bus.client import Companions
from bus.clock import SystemClock
from bus.counters import Counters
from bus.frame import Bearer
from tests.agents.fleet_kit import fleet_config

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from agents.fleet.report import Report
    from agents.operator import Operator
    from bus.counters import Snapshot


class Books:
    """In the place of an operator: how many subscriptions are in which state, and what audits said."""

    def __init__(self, *zones: Zone, **states: int) -> None:
        self._states = states
        self._zones = list(zones)

    def states(self) -> dict[str, int]:
        """Return them."""
        return self._states

    def zones(self) -> list[Zone]:
        """Return what each module that was audited said of its room."""
        return self._zones


def outcome(index: int, result: Result = Result.OK, latency_s: float = 0.01) -> Outcome:
    """Return the outcome of a handset."""
    return Outcome(ua=f"ua{index}", service="account", result=result, latency_s=latency_s)


def ended(number: int, do: str, *outcomes: Outcome) -> tuple[StepReport, Outcomes]:
    """Return a step that has ended."""
    made = Outcomes(number=number, do=do, outcomes=outcomes)
    return StepReport.of(made, service="account", seconds=1.0, missed=()), made


def summary(
    states: dict[str, int], *, counts: Snapshot | None = None, dead_letters: int = 0
) -> HandsetSummary:
    """Return the summary of a process that hosted handsets."""
    return HandsetSummary(
        states=states, dead_letters=dead_letters, base_mib=10.0, peak_mib=30.0, counts=counts
    )


class Run:
    """What a report is made from."""

    def __init__(self, directory: Path) -> None:
        log = cast("FilteringBoundLogger", structlog.get_logger())
        self.counters = Counters()
        self.around = Surroundings(
            config=fleet_config(directory, ""),
            launch=Launch(directory=directory, number=1, console_key=bytes(16)),
            broker=BrokerAddress(host="localhost", port=1883, kind="mosquitto"),
            companions=Companions(),
            clock=SystemClock(),
            ground=SystemClock(),
            counters=self.counters,
            log=log,
            group=ActorGroup(log=log, counters=self.counters),
        )
        self.market = Market(self.around, AsyncExitStack())

    def report(
        self,
        *steps: tuple[StepReport, Outcomes],
        handsets: tuple[HandsetSummary, ...] = (),
        base: float = 1.0,
    ) -> Report:
        """Return the report."""
        return make_report(
            self.around,
            self.market,
            handsets,
            Played(steps),
            wall_s=2.5,
            simulated_s=25.0,
            base_mib=base,
            resumed=True,
        )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run of three handsets."""
    return Run(tmp_path)


def test_a_report_says_which_fleet_on_which_broker(run: Run) -> None:
    """Name, seed, size, time and broker are those of the run."""
    report = run.report()
    assert (report.fleet, report.seed, report.handsets, report.wall_s, report.resumed) == (
        "small",
        7,
        3,
        2.5,
        True,
    )
    assert (report.broker.kind, report.broker.address) == ("mosquitto", "localhost:1883")
    assert report.simulated_s == 25.0
    assert report.steps == ()
    assert report.latency == Latency.of([])


def test_a_module_is_served_once_however_often(run: Run) -> None:
    """Modules are counted, not services or steps; what was refused or another step does not count."""
    report = run.report(
        ended(1, "serve", outcome(1), outcome(2), outcome(3, Result.REFUSED)),
        ended(2, "serve", outcome(1)),
        ended(3, "invoke", outcome(3)),
    )
    assert report.modules_served == 2
    assert [step.number for step in report.steps] == [1, 2, 3]


def test_latency_is_over_all_steps(run: Run) -> None:
    """The percentiles are those of every target of every step."""
    report = run.report(
        ended(1, "serve", outcome(1, latency_s=0.1)), ended(2, "block", outcome(1, latency_s=0.3))
    )
    assert report.latency == Latency.of([0.1, 0.3])


def test_the_console_is_no_traffic_of_the_market(run: Run) -> None:
    """Messages and octets of the air and the inside road are shown, orders and events are not."""
    for bearer, octets in ((Bearer.SMS, 100), (Bearer.SMS, 40), (Bearer.ROLE, 60), (Bearer.ORDER, 9)):
        run.counters.sent(bearer, octets)
    run.counters.sent(Bearer.EVENT, 9)
    run.counters.retried(Bearer.SMS)
    run.counters.lost(Bearer.SMS)
    report = run.report()
    assert set(report.bearers) == {"sms", "role"}
    sms = report.bearers["sms"]
    assert (sms.messages, sms.octets, sms.retries, sms.lost) == (2, 140, 1, 1)
    assert report.messages_per_handset == 1.0


def test_resources_are_counted_in_the_modules_and_the_released_in_the_books(run: Run) -> None:
    """DEF says what is there, of every process; what is gone only the operators know. None is not shown."""
    run.market.operators.extend(
        cast("Operator", books) for books in (Books(released=2, active=9), Books(active=1))
    )
    report = run.report(
        handsets=(summary({"loaded": 3, "blocked": 1}), summary({"loaded": 2, "reserved": 0}))
    )
    assert report.resources == {"blocked": 1, "loaded": 5, "released": 2}
    assert list(report.resources) == sorted(report.resources)


def test_room_is_added_up_over_all_audited_modules(run: Run) -> None:
    """Of every operator; what is free in the largest areas shows what could be reserved at once."""
    assert run.report().audited == AuditReport()
    run.market.operators.extend(
        cast("Operator", books)
        for books in (Books(Zone(1000, 1000), Zone(600, 200)), Books(), Books(Zone(0, 0)))
    )
    audited = run.report().audited
    assert audited == AuditReport(modules=3, free=1600, largest_free=1200)
    assert audited.fragmentation == 0.25


def test_what_went_wrong_is_counted(run: Run) -> None:
    """Drops by reason, crashes of all actors, dead letters of roles and handsets."""
    run.counters.dropped("not-msgpack")
    run.counters.crashed("mno")
    run.counters.crashed("bank")
    report = run.report(handsets=(summary({}, dead_letters=2), summary({}, dead_letters=1)))
    assert (report.dropped, report.crashes, report.dead_letters) == ({"not-msgpack": 1}, 2, 3)


def test_memory_is_our_own_where_the_handsets_are_ours(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Peak less base, shared among the handsets."""
    monkeypatch.setattr(measure, "peak_mib", lambda: 16.0)
    memory = run.report(handsets=(summary({}),), base=10.0).memory
    assert (memory.peak_mib, memory.base_mib, memory.kib_per_handset) == (16.0, 10.0, 2048.0)


def test_processes_of_handsets_count_with_ours(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their memory is added to ours, peak to peak and base to base, and so is what they counted."""
    monkeypatch.setattr(measure, "peak_mib", lambda: 16.0)
    there = Counters()
    there.sent(Bearer.SMS, 50)
    there.dropped("stale")
    run.counters.sent(Bearer.SMS, 100)
    handsets = (summary({}, counts=there.snapshot()), summary({}, counts=there.snapshot()))
    report = run.report(handsets=handsets, base=10.0)
    assert (report.memory.peak_mib, report.memory.base_mib) == (76.0, 30.0)
    assert (report.bearers["sms"].messages, report.bearers["sms"].octets) == (3, 200)
    assert report.dropped == {"stale": 2}


# What the machine gives


def test_the_peak_is_a_sensible_number_of_mib() -> None:
    """A Python process with all this loaded has more than ten and less than ten thousand."""
    assert 10 < peak_mib() < 10_000


def test_the_peak_is_counted_as_the_system_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux says it in KiB, macOS in octets."""
    usage = SimpleNamespace(ru_maxrss=2 * 1024 * 1024)
    monkeypatch.setattr(resource, "getrusage", lambda _who: usage)
    for platform, mib in (("linux", 2048.0), ("darwin", 2.0)):
        monkeypatch.setattr(sys, "platform", platform)
        assert peak_mib() == mib


def test_cores_are_those_that_we_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the scheduler where it says so, else all that there are; one where nobody knows."""
    if hasattr(os, "sched_getaffinity"):
        assert cores() == len(os.sched_getaffinity(0))
        monkeypatch.delattr(os, "sched_getaffinity")
    assert cores() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


def test_without_uvloop_the_loop_is_asyncios(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uvloop is used where it is installed, and not missed where it is not."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory() is None


@pytest.mark.parametrize("frozen", [False, True], ids=["thawed", "frozen"])
def test_the_collector_is_quiet_as_long_as_a_fleet_runs(frozen: bool) -> None:  # noqa: FBT001 -- a parameter
    """What is there when a fleet begins is left alone; afterwards the collector is as it was found."""
    gc.unfreeze()
    try:
        if frozen:
            gc.freeze()
        found = gc.get_threshold()
        with quiet_collector():
            assert gc.get_freeze_count() > 10_000
            assert gc.get_threshold() > found
        assert gc.get_threshold() == found
        assert (gc.get_freeze_count() > 10_000) == frozen
    finally:
        gc.collect()
        gc.freeze()
