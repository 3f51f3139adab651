"""Stopped at any moment and launched again, a fleet comes to the same end; nothing is lost or done twice."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.scenarios.kit import TARGETS, cli, ends, modules, play, rows, write_fleet
from tests.scenarios.processes import Running, broker_of, brokers_of, killed, wait_for_end, workers_of

if TYPE_CHECKING:
    from pathlib import Path

    from agents.fleet.report import Report
    from tests.scenarios.conftest import Recording

CODES = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}
# Processes are found through /proc here, as nothing else knows the broker of a launcher that was killed.
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


def registries(state: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return what operator and suppliers have, without what each launch draws or counts anew.

    Those are times, keys, sessions, and the numbers of requests: who asks again asks under a new one.
    """
    columns = {
        ("mno", "subscriptions"): ("ua", "service", "state", "reason"),
        ("mno", "commands"): ("ua", "counter"),
        ("mno", "agreements"): ("service", "supplier"),
        ("bank", "resources"): ("ua", "service", "state", "barred"),
        ("shop", "resources"): ("ua", "service", "state", "barred"),
    }
    return {
        f"{database}.{table}": sorted(
            tuple(row[name] for name in names) for row in rows(state, database, table)
        )
        for (database, table), names in columns.items()
    }


def same_end(report: Report, state: Path, recording: Recording) -> None:
    """Check that the fleet came to the end that it comes to undisturbed, and holds nothing besides."""
    recording.check_same_end(report, state)
    assert registries(state) == registries(recording.state)
    assert len(rows(state, "fleet", "step_results")) == sum(TARGETS)
    assert brokers_of(state) == []


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("number", "after"),
    [
        (signal.SIGKILL, 2),
        (signal.SIGKILL, 5),
        (signal.SIGTERM, 5),
        (signal.SIGINT, 4),
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else str(value),
)
def test_stopped_in_mid_run(
    number: signal.Signals, after: int, config: Path, state: Path, recording: Recording
) -> None:
    """A process that is stopped after one of its steps leaves no broker, and the next one ends the same."""
    with Running(("up", str(config)), config.parent) as process:
        process.until(f"[{after}/15]")
        broker = broker_of(state)
        process.send(number)
        code, complained = process.ended()
    assert code == CODES[number]
    assert len(complained.splitlines()) <= 1, complained
    wait_for_end(broker)
    report = play(config)
    assert report.resumed
    same_end(report, state, recording)


@pytest.mark.parametrize(
    ("moment", "count"),
    [("publish", 30), ("change", 165), ("published", 235)],
)
def test_killed_between_two_things(
    moment: str, count: int, config: Path, state: Path, recording: Recording
) -> None:
    """What was stored and not yet said, or said and not yet stored, is put right by the next launch."""
    killed(config, moment, count)
    same_end(play(config), state, recording)


def test_killed_again_and_again(config: Path, state: Path, recording: Recording) -> None:
    """A fleet that is killed in every launch gets on all the same."""
    for moment, count in (("publish", 60), ("changed", 45), ("published", 70), ("change", 50)):
        killed(config, moment, count)
    same_end(play(config), state, recording)


def test_killed_while_operator_and_modules_make_sessions(tmp_path: Path, recording: Recording) -> None:
    """Whoever had the session's keys already and whoever had not: a keyset changes nothing of how it ends."""
    number = 'number = "15550100"\n'
    config = write_fleet(tmp_path, edits=[(number, f"{number}operator_session = true\n")])
    for moment, count in (("published", 115), ("published", 40)):
        killed(config, moment, count)
    same_end(play(config), tmp_path / "state", recording)
    assert all(module["operator_session"] for module in modules(tmp_path / "state").values())


def test_the_ledger_is_gone_on_from(config: Path, state: Path, recording: Recording) -> None:
    """What had ended is not done again: its entry in the ledger stays, and no packet is sent for it."""
    with Running(("up", str(config)), config.parent) as process:
        process.until("[6/15]")
        process.send(signal.SIGKILL)
        process.ended()
    before = ledger(state)
    assert len(before) >= sum(TARGETS[:6])
    report = play(config)
    same_end(report, state, recording)
    after = ledger(state)
    assert {key: after[key] for key in before} == before
    assert "contact" not in report.bearers, "a module was personalised twice"


def ledger(state: Path) -> dict[tuple[int, str, str], dict[str, Any]]:
    """Return how each target of each step ended."""
    return {(row["step"], row["ua"], row["service"]): row for row in rows(state, "fleet", "step_results")}


def test_a_finished_run_again(config: Path, state: Path, recording: Recording) -> None:
    """A run that came to its end only tells it again; nothing goes over the air."""
    play(config)
    before = ledger(state)
    report = play(config)
    assert report.resumed
    assert report.bearers == {}
    assert ledger(state) == before
    same_end(report, state, recording)


def test_a_step_more(config: Path, state: Path) -> None:
    """A step that is added to a finished run is played, and nothing before it."""
    play(config)
    more = '[[step]]\ndo = "invoke"\nservice = "account"\nexpect = { ok = 4 }\n'
    config.write_text(config.read_text() + more)
    report = play(config)
    assert report.ok, report.missed
    assert report.bearers.keys() == {"sms", "report"}
    assert len(rows(state, "fleet", "step_results")) == sum(TARGETS) + 4


def test_fresh(config: Path, state: Path, recording: Recording) -> None:
    """``--fresh`` forgets what was: the story begins anew and comes to the same end."""
    play(config)
    code, said, complained = cli("up", config, "--fresh")
    assert (code, complained) == (0, "")
    assert "resuming" not in said
    assert ends(state) == recording.ends
    (launches,) = (row["value"] for row in rows(state, "fleet", "settings") if row["key"] == "launches")
    assert int.from_bytes(launches, "big") == 1


def test_two_at_once(config: Path, state: Path, recording: Recording) -> None:
    """While a fleet is up, another launch of it is refused in a sentence and disturbs nothing."""
    with Running(("up", str(config), "--stay"), config.parent) as process:
        process.until("OK  fleet small")
        broker = broker_of(state)
        for more in ((), ("--fresh",)):
            code, said, complained = cli("up", config, *more)
            assert (code, said) == (1, "")
            assert complained.startswith(f"{state}: is in use: a run of this fleet is under way, or ")
        assert brokers_of(state) == [broker]
        process.send(signal.SIGTERM)
        assert process.ended() == (143, "")
    assert brokers_of(state) == []
    same_end(play(config), state, recording)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
def test_stopped_with_workers(
    number: signal.Signals, config: Path, state: Path, recording: Recording
) -> None:
    """Processes that host handsets end with their launcher, however it ended."""
    with Running(("up", str(config), "--workers", "2"), config.parent) as process:
        process.until("[4/15]")
        workers = workers_of(process.pid)
        assert len(workers) == 2
        process.send(number)
        code, complained = process.ended()
    assert code == CODES[number]
    assert len(complained.splitlines()) <= 1, complained
    for worker in workers:
        wait_for_end(worker)
    same_end(play(config), state, recording)
