"""Why a step was not as expected: its most telling transactions as short charts, from this launch's logs.

A sentence says what was missed; this says what happened. For each of the commonest surprises of a step
(``surprises``) one transaction is charted, of those that its examples' orders began: of refusals the shortest
that shows who said no, of silences the one in which most went wrong on the way. Whatever came of an earlier
launch is named without a chart: nobody knows its trace any more.

Logs are written behind the run, and those of handset processes by others: they are read again until all
messages of a chart have both their ends, for :data:`PATIENCE_S` at most.
"""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from agents.fleet.reasons import in_words
from agents.fleet.surprises import surprises
from agents.traces.chart import chart_of
from agents.traces.chart_cut import cut, shows_refusal
from agents.traces.chart_rows import Arrow, Fate, Kind
from agents.traces.chart_text import draw_text
from agents.traces.gleaning import Gleaner
from agents.traces.plain import harmless
from bus.log_file import FLUSH_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from agents.fleet.config import Step
    from agents.fleet.expectations import Outcomes
    from agents.fleet.report import StepReport
    from agents.fleet.surprises import Surprise
    from agents.traces.chart import Chart
    from agents.traces.chart_cut import Excerpt
    from agents.traces.chart_rows import Row
    from agents.traces.reading import Fields

MOST_STEPS: Final = 3
"""Of a run that are explained: what later ones missed is a consequence, as a rule."""
PATIENCE_S: Final = 2.0
SHOWN_HEX: Final = 16
"""Digits of an id that a person is told to type; a chart's heading has as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What some targets of a step came to alike, why, and one of them as an example."""

    step: int
    """From 1, as reports count."""
    do: str
    service: str
    result: str
    reason: str
    words: str
    targets: int
    """How many came to this."""
    ua: str
    """The example's; empty where the step is not about modules."""
    trace_id: str
    """Empty where an earlier launch ended it."""
    command: str
    """What shows more."""
    excerpt: Excerpt | None
    """None where there are no lines."""

    def to_json(self) -> dict[str, Any]:
        """Return this as JSON values; ``chart`` as ``otafleet trace --json`` has it, cut to some rows."""
        names = ("step", "do", "service", "result", "reason", "words", "targets", "ua", "trace_id", "command")
        chart = self.excerpt.to_json() if self.excerpt else None
        return {name: getattr(self, name) for name in names} | {"chart": chart}

    def render(self, console: Console) -> None:
        """Draw it: the reason in words, the chart, the command."""
        name = " ".join(filter(None, (self.do, self.service)))
        code = f" ({self.reason})" if self.reason and self.reason != self.words else ""
        sentence = f"step {self.step} {name}: {self.targets:,} {self.result}: {self.words}{code}{self._one}"
        console.print()
        console.print(Text(harmless(sentence), "bold red"), highlight=False)
        if self.excerpt is not None:
            draw_text(self.excerpt.chart, console)
            if left_out := self.excerpt.left_out:
                console.print(Text(left_out, "dim"), highlight=False)
        else:
            console.print(Text(_UNTOLD[bool(self.trace_id)], "dim"), highlight=False)
        # In one line, however long, so that it can be copied.
        console.print(Text(f"more: {self.command}"), soft_wrap=True, highlight=False)

    @property
    def _one(self) -> str:
        """Who the example is, where its chart does not say so."""
        is_told = self.excerpt is not None and self.excerpt.chart.ua == self.ua
        return f"; {self.ua} is one" if self.ua and not is_told else ""


_UNTOLD: Final = {
    True: "the log of this launch does not tell of it",
    False: "it ended in an earlier launch",
}


class Explainer:
    """Explains with the logs in the state directory *state* and what they have more than *since*."""

    def __init__(self, state: Path, logs: Path, since: Mapping[str, int], flush: Callable[[], None]) -> None:
        self._state = state
        self._logs = logs
        self._since = since
        self._flush = flush
        """Writes what our own process still has to log; blocks."""

    async def explain(
        self, steps: Sequence[Step], ended: Sequence[tuple[StepReport, Outcomes]]
    ) -> tuple[Explanation, ...]:
        """Return why the first of the steps that were missed *ended* as they did."""
        found = [
            (outcomes, surprise)
            for step, (report, outcomes) in _missed(steps, ended)
            if step.expect is not None
            for surprise in surprises(step.expect, outcomes)
        ]
        if not found:
            return ()
        # None of that on the loop: the handsets live on.
        gleaner = Gleaner(self._logs, self._since, _ids(surprise for _, surprise in found))
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            made, is_whole = await asyncio.to_thread(self._look, gleaner, found)
            if is_whole or asyncio.get_running_loop().time() >= deadline:
                return made
            await asyncio.sleep(FLUSH_S / 2)

    def _look(
        self, gleaner: Gleaner, found: Sequence[tuple[Outcomes, Surprise]]
    ) -> tuple[tuple[Explanation, ...], bool]:
        """Return what the logs tell by now, and whether that is all."""
        self._flush()
        lines = gleaner.look()
        examples = [_example(surprise, lines) for _, surprise in found]
        made = [
            self._explanation(outcomes, surprise, example)
            for (outcomes, surprise), example in zip(found, examples, strict=True)
        ]
        return tuple(made), all(example.is_whole for example in examples)

    def _explanation(self, outcomes: Outcomes, surprise: Surprise, example: _Example) -> Explanation:
        return Explanation(
            step=outcomes.number,
            do=outcomes.do,
            service=outcomes.service,
            result=surprise.result.value,
            reason=surprise.reason,
            words=in_words(surprise.result, surprise.reason),
            targets=surprise.count,
            ua=example.ua,
            trace_id=example.trace_id,
            command=self._command(surprise, example),
            excerpt=cut(example.chart) if example.chart else None,
        )

    def _command(self, surprise: Surprise, example: _Example) -> str:
        command = f"otafleet trace --fleet {shlex.quote(str(self._state))}"
        if example.trace_id:
            return f"{command} {example.trace_id[:SHOWN_HEX]}"
        return f"{command} --ua {example.ua}" if example.ua else f"{command} --outcome {surprise.result}"


# ---- which transaction tells the most --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Example:
    """A target, and the transaction that tells of it; no chart where no line does."""

    ua: str
    trace_id: str = ""
    chart: Chart | None = None

    @property
    def is_whole(self) -> bool:
        """Whether there is nothing to wait for."""
        return not self.trace_id or (self.chart is not None and not self.chart.incomplete)


def _missed(
    steps: Sequence[Step], ended: Sequence[tuple[StepReport, Outcomes]]
) -> list[tuple[Step, tuple[StepReport, Outcomes]]]:
    return [(step, pair) for step, pair in zip(steps, ended, strict=True) if pair[0].missed][:MOST_STEPS]


def _ids(found: Iterable[Surprise]) -> set[str]:
    return {trace.hex() for surprise in found for outcome in surprise.examples for trace in outcome.traces}


def _example(surprise: Surprise, lines: Mapping[str, Sequence[Fields]]) -> _Example:
    """Return the one of the examples whose transaction tells the most; the first, where no line tells."""
    begun = {trace.hex(): each.ua for each in reversed(surprise.examples) for trace in each.traces}
    charts = {name: chart_of(lines[name]) for name in begun if lines[name]}
    if charts:
        telling = _troubles if surprise.is_silence else _clarity
        best = max(charts, key=lambda name: telling(charts[name]))
        return _Example(ua=begun[best], trace_id=best, chart=charts[best])
    first = surprise.examples[0]
    return _Example(ua=first.ua, trace_id=first.traces[0].hex() if first.traces else "")


def _clarity(chart: Chart) -> tuple[int, ...]:
    """Return how clearly a chart shows who said no: whether at all, and in how few rows."""
    return shows_refusal(chart), -len(chart.rows)


def _troubles(chart: Chart) -> tuple[int, ...]:
    """Return how much went wrong on the way."""
    return (sum(_is_trouble(row) for row in chart.rows),)


def _is_trouble(row: Row) -> bool:
    if isinstance(row, Arrow):
        return row.fate is not Fate.TAKEN or row.is_repetition
    return row.kind is not Kind.NOTE
