"""Progress: bars on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import io
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from rich.text import Text

from agents.fleet.config import Step
from agents.fleet.progress import BarProgress, LineProgress, Progress, make_progress, summary
from agents.fleet.report import Latency, StepReport

if TYPE_CHECKING:
    from collections.abc import Mapping

STEP = Step.model_validate({"do": "subscribe", "service": "account"})


def report(
    *,
    refused: int = 0,
    failed: int = 0,
    missed: tuple[str, ...] = (),
    reasons: Mapping[str, int] = MappingProxyType({}),
) -> StepReport:
    """Return the report of a step with sixty targets."""
    return StepReport(
        number=3,
        do="subscribe",
        service="account",
        targets=60,
        ok=60 - refused - failed,
        refused=refused,
        failed=failed,
        reasons=reasons,
        seconds=0.42,
        latency=Latency(),
        missed=missed,
    )


def play(console: Console, *, missed: tuple[str, ...] = (), quiet: bool = False) -> str:
    """Show a run of twelve steps of which the third is under way, and return what was written."""
    with make_progress(console, steps=12, quiet=quiet) as progress:
        progress.note("broker: mosquitto at 127.0.0.1:18830")
        progress.step_started(2, STEP, 60)
        for _ in range(59):
            progress.advance(2)
        progress.advance(2, 1)
        progress.step_finished(2, report(missed=missed))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_plain_lines() -> None:
    """Where there is no terminal, each step is one line, however narrow somebody thinks the log is."""
    shown = play(Console(file=io.StringIO(), width=20), missed=("step 3 subscribe: expected 61 ok, got 60",))
    assert shown.splitlines() == [
        "broker: mosquitto at 127.0.0.1:18830",
        "[3/12] subscribe account: 60 of 60 ok, 0.42 s",
        "    step 3 subscribe: expected 61 ok, got 60",
    ]


def test_bars_on_a_terminal() -> None:
    """On a terminal a bar counts targets, and the line that replaces it stays."""
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    shown = play(console, missed=("step 3 subscribe: expected 61 ok, got 60",))
    assert "✗  3/12 subscribe account: 60 of 60 ok, 0.42 s" in shown
    assert "expected 61 ok, got 60" in shown
    assert "broker: mosquitto" in shown


def test_step_of_an_earlier_run() -> None:
    """A step that an earlier run finished gets its line without ever having had a bar."""
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    with make_progress(console, steps=12) as progress:
        progress.advance(0)
        progress.step_finished(0, report())
    assert isinstance(console.file, io.StringIO)
    assert "✓  1/12 subscribe account: 60 of 60 ok" in Text.from_ansi(console.file.getvalue()).plain


def test_quiet() -> None:
    """``--quiet`` writes nothing at all."""
    assert play(Console(file=io.StringIO(), force_terminal=True), quiet=True) == ""


@pytest.mark.parametrize(
    ("terminal", "term", "quiet", "kind"),
    [
        (True, "xterm", False, BarProgress),
        (True, "dumb", False, LineProgress),
        (False, "xterm", False, LineProgress),
        (True, "xterm", True, Progress),
    ],
)
def test_choice(
    *, terminal: bool, term: str, quiet: bool, kind: type[Progress], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The console decides what is shown, and the person may want none of it."""
    monkeypatch.setenv("TERM", term)
    assert (
        type(make_progress(Console(file=io.StringIO(), force_terminal=terminal), steps=1, quiet=quiet))
        is kind
    )


def test_summary() -> None:
    """Refusals and failures are named where there are any."""
    assert summary(report()) == "subscribe account: 60 of 60 ok, 0.42 s"
    assert (
        summary(report(refused=2, failed=1)) == "subscribe account: 57 of 60 ok, 2 refused, 1 failed, 0.42 s"
    )


@pytest.mark.parametrize(
    ("reasons", "words"),
    [
        ({}, ""),
        ({"blocked": 2}, " (blocked)"),
        ({"blocked": 2, "": 1}, " (blocked)"),
        ({"expired": 5, "blocked": 2, "released": 2, "no-session": 1}, " (expired, blocked, released)"),
    ],
    ids=["none", "one", "one-without-words", "more-than-a-line-has-room-for"],
)
def test_a_line_says_why(reasons: dict[str, int], words: str) -> None:
    """The most frequent reasons, in that order, behind the counts."""
    said = summary(report(refused=sum(reasons.values()), reasons=reasons))
    assert said.endswith(f"{words}, 0.42 s")
    assert said.count("(") == bool(words)


def interrupt(progress: Progress) -> None:
    """Begin a step and be stopped in the middle of it."""
    with progress:
        progress.step_started(0, STEP, 1)
        raise KeyboardInterrupt


def test_cursor_comes_back_after_an_error() -> None:
    """Whatever ends a run, the terminal is left as it was."""
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None)
    with pytest.raises(KeyboardInterrupt):
        interrupt(make_progress(console, steps=1))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().rfind("\x1b[?25h") > console.file.getvalue().rfind("\x1b[?25l")
