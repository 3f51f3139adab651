"""One line of a log as a chart needs it, whatever it holds; and a transaction's lines, causes before effects.

Lines are untrusted: a field of the wrong kind counts as absent, a text is cut and loses what does not print,
a number has to be one that can be. After this, no text of a chart can steer a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SENT: Final = "message.sent"
TAKEN: Final = "message.taken"
LOST: Final = "message.lost"
ENDS: Final = frozenset({SENT, TAKEN, LOST})
ORDER_ENDED: Final = "order.ended"
ORDER: Final = "order"
"""The bearer of what the console orders: it says what."""

MAX_TEXT: Final = 64
"""Characters of a field that are shown."""
MAX_NUMBER: Final = 10**12
DETAILS: Final = (
    *("do", "service", "result", "outcome", "bearer", "state", "version", "parts", "retries", "octets"),
    *("stage", "pages", "packets", "cells", "attempt", "supplier"),
)
"""What an event says for itself, in this order, and a chart repeats."""
_UNPRINTED: Final = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When something was told: by the wall, and by the fleet's own time; seconds since 1970."""

    wall: float | None
    simulated: float | None

    def since(self, other: Moment) -> Lapse:
        """Return how long after *other* this was; two clocks that disagree tell nothing."""
        return Lapse(
            wall_s=_difference(self.wall, other.wall),
            simulated_s=_difference(self.simulated, other.simulated),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lapse:
    """How long something took, by both clocks, as far as they tell."""

    wall_s: float | None
    simulated_s: float | None

    @property
    def seconds(self) -> float | None:
        """By the fleet's own time, which is what the market lives by; else by the wall's."""
        return self.wall_s if self.simulated_s is None else self.simulated_s


def _difference(later: float | None, earlier: float | None) -> float | None:
    if later is None or earlier is None or later < earlier:
        return None
    return round(later - earlier, 6)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Told:
    """What one line tells."""

    moment: Moment
    process: str
    seq: int
    level: str
    event: str
    agent: str
    role: str
    trace: str
    span: str
    parent: str
    cause: str
    """Of a message that set out: the one that the work began with which sent it."""
    bearer: str
    direction: str
    source: str
    destination: str
    reference: str
    attempt: int
    octets: int
    ua: str
    reason: str
    details: tuple[tuple[str, str], ...]


def read(fields: Mapping[str, Any]) -> Told:
    """Return what *fields*, one line of a log, tell."""
    texts = ("process", "level", "event", "agent", "role", "bearer", "direction", "source", "destination")
    return Told(
        moment=Moment(wall=_time(fields.get("time")), simulated=_seconds(fields.get("at"))),
        trace=_text(fields.get("trace_id")),
        span=_text(fields.get("span_id")),
        parent=_text(fields.get("parent_id")),
        cause=_text(fields.get("cause_id")),
        reference=_text(fields.get("reference")),
        ua=_text(fields.get("ua")),
        reason=_text(fields.get("reason")),
        seq=_number(fields.get("seq")),
        attempt=_number(fields.get("attempt")),
        octets=_number(fields.get("octets")),
        details=tuple((name, said) for name in DETAILS if name in fields and (said := _detail(fields[name]))),
        **{name: _text(fields.get(name)) for name in texts},
    )


def in_order(told: Iterable[Told]) -> list[Told]:
    """Return *told* by time, but no effect before its cause, however two clocks differ.

    A message is taken after it was sent, and whatever is told in a span comes after the message that began
    it. Each line has one cause at most, so a cause that comes late is drawn forward with its own causes.
    """
    by_time = sorted(told, key=_place)
    causes = _causes(by_time)
    done: set[int] = set()
    ordered: list[Told] = []
    for line in by_time:
        chain: list[Told] = []
        step: Told | None = line
        while step is not None and id(step) not in done:
            done.add(id(step))
            chain.append(step)
            step = causes.get(id(step))
        ordered.extend(reversed(chain))
    return ordered


def _causes(lines: list[Told]) -> dict[int, Told]:
    """Return, by the line's identity, the line that it cannot come before."""
    sent: dict[str, Told] = {}
    arrived: dict[str, Told] = {}
    parents: dict[str, str] = {}
    for line in lines:
        if line.event == SENT:
            sent.setdefault(line.span, line)
            if line.cause:
                parents.setdefault(line.parent, line.cause)
        if line.event == TAKEN:
            arrived.setdefault(line.span, line)
        elif line.event not in ENDS and line.parent:
            parents.setdefault(line.span, line.parent)
    causes = {}
    for line in lines:
        if line.event in {TAKEN, LOST}:
            cause = sent.get(line.span)
        else:
            begun_by = parents.get(line.parent, line.parent) if line.event == SENT else line.parent
            cause = arrived.get(begun_by) or sent.get(begun_by)
        if cause is not None and line.span:
            causes[id(line)] = cause
    return causes


def _place(line: Told) -> tuple[bool, float, str, int]:
    when = line.moment.wall if line.moment.wall is not None else line.moment.simulated
    return when is None, when or 0.0, line.process, line.seq


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    shown = value if len(value) <= MAX_TEXT else f"{value[: MAX_TEXT - 1]}…"
    if shown.isprintable():
        return shown
    return "".join(each if each.isprintable() else _UNPRINTED for each in shown)


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if 0 <= value <= MAX_NUMBER else 0


def _detail(value: object) -> str:
    return _text(value) if isinstance(value, str) else str(_number(value) or "")


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) <= MAX_NUMBER else None  # also no NaN


def _time(value: object) -> float | None:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return None
    try:
        when = datetime.fromisoformat(value)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
