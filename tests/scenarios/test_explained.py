"""A fleet on an air that lets nothing through: why each step was missed is shown, and can be followed up."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from tests.scenarios.kit import cli, write_single

if TYPE_CHECKING:
    from pathlib import Path

HANDSETS = 2
# A loss of all is no legal value.
NOWHERE = """\
[air.sms]
loss = 0.999999999
attempts = 1
report_timeout_s = 0.1
validity_s = 0.1"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a fleet whose short messages are all lost, and a console that asks again soon."""
    monkeypatch.setattr("agents.fleet.asking.ORDER_TIMEOUT_S", 0.2)
    return write_single(tmp_path, air=NOWHERE, count=HANDSETS)


def launch(config: Path, *options: str) -> tuple[list[dict[str, Any]], str, str]:
    """Launch the fleet; return what its report explains, and what it printed, also of complaints."""
    report = config.with_suffix(".json")
    code, shown, complaints = cli("up", config, "--report", report, *options)
    assert code == 1
    return json.loads(report.read_text())["explained"], shown, complaints


def trace(command: str) -> dict[str, Any]:
    """Return what *command*, which an explanation names, has of it."""
    code, shown, complaints = cli(*shlex.split(command)[1:], "--json")
    assert (code, complaints) == (0, "")
    told: dict[str, Any] = json.loads(shown)
    return told


@pytest.mark.parametrize("workers", ["0", "1"], ids=["one-process", "two-processes"])
def test_why_nothing_came_of_it(config: Path, workers: str) -> None:
    """What was lost is charted up to where it was lost; what was refused, with who refused it and why."""
    found, shown, _ = launch(config, "--workers", workers)
    assert [(each["step"], each["result"], each["reason"], each["targets"]) for each in found] == [
        (3, "failed", "no-answer", HANDSETS),
        (4, "refused", "subscription-none", HANDSETS),
        (5, "refused", "subscription-none", HANDSETS),
    ]
    lost, refused, _ = found
    assert any(row["row"] == "arrow" and row["fate"] == "lost" for row in lost["chart"]["rows"])
    assert not lost["chart"]["incomplete"]
    assert [row["reason"] for row in refused["chart"]["rows"] if row["row"] == "remark"] == [
        refused["reason"]
    ]
    # A screen of eighty columns folds sentences, and no command.
    behind = " ".join(shown.partition("FAILED")[2].split())
    assert "3 subscribe: 2 failed: nobody answered, however often it was asked (no-answer)" in behind
    assert "4 reserve: 2 refused: the operator has no such subscription (subscription-none)" in behind
    assert "lost (air)" in behind
    for each in found:
        assert f"more: {each['command']}\n" in shown
        assert trace(each["command"])["trace_id"] == each["trace_id"]


def test_the_next_launch_knows_its_own_only(config: Path) -> None:
    """What an earlier one ended has no chart any more; and who wants it quiet is told the sentences alone."""
    launch(config)
    (lost, refused, _), shown, complaints = launch(config, "--quiet")
    assert (lost["reason"], refused["reason"]) == ("no-answer", "subscription-none")
    assert lost["chart"]["rows"]
    assert (refused["trace_id"], refused["chart"]) == ("", None)
    assert trace(refused["command"])["found"] > 0
    assert shown == ""
    assert [line.partition(":")[0] for line in complaints.splitlines()] == [
        *("step 3 subscribe", "step 4 reserve", "step 5 activate", "step 6 serve", "step 7 invoke")
    ]
