"""A long chart cut to the rows that matter most: those around its refusal, or its last ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from agents.traces.chart import to_json
from agents.traces.chart_lines import ORDER_ENDED
from agents.traces.chart_rows import Arrow, Kind

if TYPE_CHECKING:
    from agents.traces.chart import Chart
    from agents.traces.chart_rows import Row

MOST_ROWS: Final = 20
AFTERWARDS: Final = 6
"""Rows after the refusal that are kept where there are too many: what it led to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """A chart with some of its rows, and how many there are before and after them."""

    chart: Chart
    before: int = 0
    after: int = 0

    @property
    def left_out(self) -> str:
        """What is said of the rows that are not there; empty where all are."""
        gaps = ((self.before, "before these"), (self.after, "after these"))
        parts = [f"{_rows(count)} {where}" for count, where in gaps if count]
        return f"left out: {', '.join(parts)}" if parts else ""

    def to_json(self) -> dict[str, Any]:
        """Return the chart as JSON has it, and how many rows were left out."""
        # Of a broadcast that a run cut short, thousands of messages may have one end only.
        bounded = replace(self.chart, incomplete=self.chart.incomplete[:MOST_ROWS])
        return {**to_json(bounded), "left_out": {"before": self.before, "after": self.after}}


def cut(chart: Chart, *, most: int = MOST_ROWS) -> Excerpt:
    """Return *chart* with *most* of its rows: those around the refusal that decided, else the last ones."""
    rows = chart.rows
    if len(rows) <= most:
        return Excerpt(chart=chart)
    end = min(len(rows), max(most, _decisive(chart) + min(AFTERWARDS, most - 1) + 1))
    begin = end - most
    return Excerpt(chart=replace(chart, rows=rows[begin:end]), before=begin, after=len(rows) - end)


def shows_refusal(chart: Chart) -> bool:
    """Whether somebody says no in *chart*, and not only that it came to nothing."""
    return any(_is_refusal(row) for row in chart.rows)


def _decisive(chart: Chart) -> int:
    """Return where the last is refused for the reason that the order ended for; for any, if none for that."""
    places = [at for at, row in enumerate(chart.rows) if _is_refusal(row)]
    same = [at for at in places if chart.rows[at].reason == chart.reason]
    return max(same or places, default=len(chart.rows))


def _is_refusal(row: Row) -> bool:
    """Whether somebody says no here; that the order came to nothing is what all of it led to."""
    return not isinstance(row, Arrow) and row.kind is Kind.REFUSED and row.event != ORDER_ENDED


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
