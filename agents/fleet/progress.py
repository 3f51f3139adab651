"""What a person sees while a run goes on: bars on a terminal, plain lines elsewhere, or nothing.

The runner is given one ``Progress`` and calls it from the event loop; every call returns at once.
``Progress`` itself shows nothing: it is what ``--quiet`` and tests use, and what the two others refine.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final, Self

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

    from agents.fleet.config import Step
    from agents.fleet.report import StepReport


MOST_REASONS: Final = 3
"""Reasons that a line has room for, the most frequent first."""


class Progress(AbstractContextManager["Progress"]):
    """Shows nothing. ``index`` counts steps from 0, as ``config.steps`` does; sentences show it from 1."""

    def note(self, sentence: str) -> None:
        """Tell something that is not about a step: which broker, resumed from where, reconnecting."""

    def step_started(self, index: int, step: Step, total: int) -> None:
        """Show that step *index* begins, with *total* targets."""

    def advance(self, index: int, n: int = 1) -> None:
        """Show that *n* more targets of step *index* have ended."""

    def step_finished(self, index: int, report: StepReport) -> None:
        """Show how step *index* ended; it may never have started, if an earlier run did it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the screen as a person expects to find it."""


class LineProgress(Progress):
    """One plain line for each step that has ended: for logs, pipes and CI."""

    def __init__(self, console: Console, *, steps: int) -> None:
        self._console = console
        self._steps = steps

    def note(self, sentence: str) -> None:
        """Print the sentence."""
        self._line(Text(sentence))

    def step_finished(self, index: int, report: StepReport) -> None:
        """Print the step's line, then one for each expectation it missed."""
        self._line(Text(f"[{index + 1}/{self._steps}] {summary(report)}"))
        for sentence in report.missed:
            self._line(Text(f"    {sentence}"))

    def _line(self, text: Text) -> None:
        # soft_wrap: a line of a log is one line, whatever the width somebody once guessed.
        self._console.print(text, soft_wrap=True, highlight=False)


class BarProgress(Progress):
    """A bar for the step under way, and a line above it for each that has ended."""

    def __init__(self, console: Console, *, steps: int) -> None:
        self._steps = steps
        self._tasks: dict[int, TaskID] = {}
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bars and show the cursor again."""
        self._bars.stop()

    def note(self, sentence: str) -> None:
        """Print the sentence above the bars."""
        self._bars.console.print(Text(sentence, "dim"), highlight=False)

    def step_started(self, index: int, step: Step, total: int) -> None:
        """Add a bar of *total* targets."""
        words = f"{index + 1:>2}/{self._steps} {' '.join(filter(None, (step.do, step.service)))}"
        self._tasks[index] = self._bars.add_task(words, total=total)

    def advance(self, index: int, n: int = 1) -> None:
        """Move the bar on."""
        if (task := self._tasks.get(index)) is not None:
            self._bars.advance(task, n)

    def step_finished(self, index: int, report: StepReport) -> None:
        """Put a line in the place of the bar."""
        if (task := self._tasks.pop(index, None)) is not None:
            self._bars.remove_task(task)
        mark = ("✓ ", "green") if report.held else ("✗ ", "bold red")
        line = Text.assemble(mark, f"{index + 1:>2}/{self._steps} {summary(report)}")
        for sentence in report.missed:
            line.append(f"\n  {sentence}", "red")
        self._bars.console.print(line, highlight=False)


def make_progress(console: Console, *, steps: int, quiet: bool = False) -> Progress:
    """Return what suits *console*: bars on a terminal, lines elsewhere, nothing when *quiet*."""
    if quiet:
        return Progress()
    kind = BarProgress if console.is_terminal and not console.is_dumb_terminal else LineProgress
    return kind(console, steps=steps)


def summary(report: StepReport) -> str:
    """Return a step in a line: ``invoke account: 40 of 60 ok, 20 refused (blocked), 0.42 s``."""
    name = " ".join(filter(None, (report.do, report.service)))
    others = [
        f"{count} {word}" for word, count in (("refused", report.refused), ("failed", report.failed)) if count
    ]
    counts = ", ".join((f"{report.ok} of {report.targets} ok", *others))
    reasons = [reason for reason in list(report.reasons)[:MOST_REASONS] if reason]
    why = f" ({', '.join(reasons)})" if reasons else ""
    return f"{name}: {counts}{why}, {report.seconds:.2f} s"
