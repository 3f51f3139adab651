"""What a row of a chart says, in words: the same on a screen and in a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.traces.chart_lines import ORDER_ENDED
from agents.traces.chart_rows import FALLBACK, Arrow, Fate, Kind
from agents.traces.plain import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agents.traces.chart import Chart
    from agents.traces.chart_lines import Lapse
    from agents.traces.chart_rows import Remark, Row

_DETAILS: Final[Mapping[str, str]] = {
    "version": "version {}",
    "stage": "stage {}",
    "octets": "{} octets",
    "parts": "{} parts",
    "retries": "{} retries",
    "pages": "{} pages",
    "packets": "{} packets",
    "cells": "{} cells",
    "attempt": "attempt {}",
    "supplier": "with {}",
}
_ABOUT_TIME: Final = 0.02
"""Two durations that differ by less than this share of them are shown as one."""
_SENDING_UNTOLD: Final = "nobody tells that it was sent"
_TAKING_UNTOLD: Final = "nobody tells that it was taken"


def words(row: Row, chart: Chart) -> str:
    """Return what *row* says."""
    said = ", ".join(_arrow(row) if isinstance(row, Arrow) else _remark(row))
    who = _who(row, chart)
    return f"{who}: {said}" if who else said


def heading(chart: Chart) -> tuple[str, str]:
    """Return two lines above a chart: what it is and how it ended; which trace, when, how long."""
    about = [
        f"trace {chart.trace_id[:16]}" if chart.trace_id else "",
        chart.began_at and f"began {chart.began_at}",
    ]
    return f"{chart.title}: {chart.ending}", ", ".join(filter(None, [*about, _took(chart.took)]))


def missing(chart: Chart) -> str:
    """Return a sentence about messages that one end is missing of; empty where none is."""
    number = len(chart.incomplete)
    if not number:
        return ""
    which = "1 message has" if number == 1 else f"{number:,} messages have"
    return f"{which} one end only: the log was cut, or they were still on their way"


def _took(took: Lapse) -> str:
    wall, simulated = took.wall_s, took.simulated_s
    if wall is None or simulated is None:
        known = wall if simulated is None else simulated
        return "" if known is None else f"took {duration(known)}"
    if abs(wall - simulated) <= _ABOUT_TIME * max(wall, simulated):
        return f"took {duration(wall)}"
    return f"took {duration(simulated)} simulated, {duration(wall)} wall time"


def _who(row: Row, chart: Chart) -> str:
    """Return who of a crowd it is, where a row is about one of them."""
    if isinstance(row, Arrow):
        if row.messages > 1:
            return ""
        for name, lifeline in ((row.sender, row.source), (row.recipient, row.destination)):
            if chart.participants[lifeline].is_crowd:
                return name
        return ""
    return row.agent if row.times == 1 and chart.participants[row.participant].is_crowd else ""


def _arrow(arrow: Arrow) -> Iterator[str]:
    bearer = arrow.bearer or "a message"
    yield f"{arrow.messages:,} x {bearer}" if arrow.messages > 1 else bearer
    yield f"{arrow.octets:,} octets"
    if arrow.attempt > 1:
        yield f"attempt {arrow.attempt:,}"
    elif arrow.is_again:
        yield "again"
    if arrow.is_fallback:
        yield "fallback"
    yield from _fate(arrow)


def _fate(arrow: Arrow) -> Iterator[str]:
    if arrow.fate is Fate.LOST:
        yield f"lost ({arrow.reason})" if arrow.reason else "lost"
        if arrow.messages > 1 and arrow.delay.seconds is not None:
            yield f"in {duration(arrow.delay.seconds)}"
    if not arrow.is_sending_told:
        yield _SENDING_UNTOLD
    if arrow.fate is Fate.UNKNOWN:
        yield _TAKING_UNTOLD
    elif arrow.fate is Fate.TAKEN and arrow.is_sending_told:
        if arrow.taken > 1:
            yield "taken twice" if arrow.taken == 2 else f"taken {arrow.taken:,} times"
        if arrow.delay.seconds is not None:
            yield ("in " if arrow.messages > 1 else "+") + duration(arrow.delay.seconds)


def _remark(remark: Remark) -> Iterator[str]:
    details = [(name, value) for name, value in remark.details if not _is_said(remark, name, value)]
    yield f"{_times(remark)}{_event(remark)}"
    yield from (_DETAILS.get(name, "{}").format(value) for name, value in details)
    if remark.times > 1 and (within := remark.until.since(remark.told).seconds) is not None:
        yield f"in {duration(within)}"


def _is_said(remark: Remark, name: str, value: str) -> bool:
    """Whether the event says that already."""
    if value == remark.reason:
        return True
    if name == "bearer":
        about = remark.event.partition(".")[0].replace("_", "-")
        return about == value or remark.event.endswith(FALLBACK)
    return name in {"result", "do", "service"}


def _times(remark: Remark) -> str:
    return f"{remark.times:,} x " if remark.times > 1 else ""


def _event(remark: Remark) -> str:
    """Return the event, what it is about, and why not."""
    details = dict(remark.details)
    about = " ".join(details[name] for name in ("do", "service") if name in details)
    event = remark.event or "something"
    if remark.event == ORDER_ENDED:
        result = details.get("result", "ended")
        return f"{about or event} {result}{_because(remark.reason)}"
    if event.endswith(FALLBACK):
        return f"{event} to {remark.reason or details.get('bearer', 'the next bearer')}"
    is_answer = event.startswith(("manager.", "command.")) and not event.endswith(".refused")
    no = " refused" if remark.kind is Kind.REFUSED and is_answer else ""
    return " ".join(filter(None, (event, about))) + no + _because(remark.reason)


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
