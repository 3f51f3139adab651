"""A transaction as a sequence chart: who took part, what they said to each other, what they noted.

:func:`chart_of` makes it of the lines of one transaction, in whatever order they come, with gaps, with lines
of strangers between them; it never raises. What is drawn, on a screen (``chart_text``) or in a document
(``chart_svg``, ``chart_mermaid``), is this value; :func:`to_json` is the same for a programme.

An arrow is a message, and stands where it was sent. Both its ends are told as a rule: that it was sent, and
that it was taken or lost. Where one end is missing the chart says so, and ``incomplete`` has the arrow: the
log was cut, or the message was on its way when it ended.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from agents.traces.chart_entries import Entries
from agents.traces.chart_fold import fold
from agents.traces.chart_lines import ORDER, ORDER_ENDED, SENT, Lapse, Moment, in_order, read
from agents.traces.chart_people import is_ua, line_up
from agents.traces.chart_rows import Arrow, Kind, Remark

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agents.traces.chart_lines import Told
    from agents.traces.chart_people import Participant
    from agents.traces.chart_rows import Row

OPEN: Final = "open"
"""The outcome where nobody tells of one, as in the list."""
_NO_END: Final = "nobody tells how it ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One transaction, ready to be drawn."""

    trace_id: str
    do: str
    """What was ordered; empty where nothing tells."""
    service: str
    ua: str
    """The module that it is about, where it is one."""
    outcome: str
    reason: str
    began: Moment
    took: Lapse
    participants: tuple[Participant, ...]
    rows: tuple[Row, ...]
    incomplete: tuple[Arrow, ...]
    """Messages of which one end is missing."""

    @property
    def title(self) -> str:
        """What it was, and about whom."""
        what = " ".join(part for part in (self.do, self.service) if part)
        return ", ".join(part for part in (what, self.ua) if part) or "a transaction"

    @property
    def ending(self) -> str:
        """How it ended, and why so."""
        why = self.reason or (_NO_END if self.outcome == OPEN else "")
        return f"{self.outcome}: {why}" if why else self.outcome

    @property
    def began_at(self) -> str:
        """When it began, by the wall's clock in UTC, as text."""
        try:
            return f"{datetime.fromtimestamp(self.began.wall or 0, UTC):%Y-%m-%d %H:%M:%S} UTC"
        except (ValueError, OverflowError, OSError):
            return ""


def chart_of(lines: Iterable[Mapping[str, Any]], *, unfold: bool = False) -> Chart:
    """Return the chart of *lines*, one transaction's; *unfold* gives each message an arrow of its own."""
    told = in_order(read(line) for line in lines)
    entries = Entries(told)
    participants, lifelines = line_up(entries.met(), entries.names)
    rows = list(entries.rows(lifelines))
    ending = _last_ending(told)
    said = dict((ending or _order(told)).details)
    began = told[0].moment if told else Moment(wall=None, simulated=None)
    return Chart(
        trace_id=_commonest(line.trace for line in told),
        do=said.get("do", ""),
        service=said.get("service", ""),
        ua=_only_module(participants),
        outcome=said.get("result", OPEN),
        reason=ending.reason if ending else "",
        began=began,
        took=max((line.moment.since(began) for line in told), key=_length, default=began.since(began)),
        participants=tuple(participants),
        rows=tuple(rows if unfold else fold(rows, participants)),
        incomplete=tuple(row for row in rows if isinstance(row, Arrow) and not row.is_whole),
    )


def _last_ending(told: Sequence[Told]) -> Told | None:
    """Return what the order came to. A broadcast is ended by each module, and then by whoever broadcast."""
    return next((line for line in reversed(told) if line.event == ORDER_ENDED), None)


def _order(told: Sequence[Told]) -> Told:
    """Return the line that tells what was ordered; of no line, one that tells nothing."""
    return next((line for line in told if line.bearer == ORDER and line.event == SENT), read({}))


def _commonest(texts: Iterable[str]) -> str:
    return next((text for text, _ in Counter(filter(None, texts)).most_common(1)), "")


def _only_module(participants: Sequence[Participant]) -> str:
    modules = [name for each in participants for name in each.members if is_ua(name)]
    return modules[0] if len(modules) == 1 else ""


def _length(lapse: Lapse) -> tuple[float, float]:
    return lapse.wall_s or 0.0, lapse.simulated_s or 0.0


def reasons(chart: Chart) -> list[str]:
    """Return why somebody said no, or something went wrong, in *chart*: each reason once, in order."""
    told = (row.reason for row in chart.rows if isinstance(row, Remark) and row.kind is not Kind.NOTE)
    return [reason for reason in dict.fromkeys((*told, chart.reason)) if reason]


def to_json(chart: Chart) -> dict[str, Any]:
    """Return *chart* as JSON has it; a row of it names lifelines by their place in ``participants``."""
    return {
        **asdict(chart),
        "participants": [asdict(each) for each in chart.participants],
        "rows": [{"row": type(row).__name__.lower(), **_row(row)} for row in chart.rows],
        "incomplete": [_row(arrow) for arrow in chart.incomplete],
    }


def _row(row: Row) -> dict[str, Any]:
    told = asdict(row)
    if "details" in told:
        told["details"] = dict(told["details"])
    return told
