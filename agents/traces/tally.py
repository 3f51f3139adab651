"""What the lines of one transaction add up to, whichever come first.

A tally is kept in portions, and portions are added up by SQLite: so each of its numbers is a minimum, a
maximum or a sum, and each of its texts the least or the greatest of those that there are. Texts hardly ever
differ: a transaction is one order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from agents.traces.reading import Flaw

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agents.traces.reading import Fields

MAX_TEXT: Final = 128
_CONSOLE_ORDERS: Final = "order"
_PARTIES: Final = ("agent", "ua", "source", "destination")
_TRACE_HEX: Final = 32
_MAX_AT_S: Final = 1e12
_LATEST_S: Final = 250_000_000_000
"""In the year 9892: later times can be parsed, and some of them not be written again."""


def trace_of(fields: Fields) -> bytes | None:
    """Return the id of the transaction that a line belongs to, 16 octets, or None."""
    text = fields.get("trace_id")
    if not isinstance(text, str) or len(text) != _TRACE_HEX:
        return None
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        return None
    return octets if len(octets) == _TRACE_HEX // 2 else None


def told_at(fields: Fields) -> float | None:
    """Return when a line was written, in seconds since 1970, or None; none was written before."""
    try:
        seconds = datetime.fromisoformat(fields["time"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None
    return seconds if 0 <= seconds < _LATEST_S else None


def number(fields: Fields, name: str) -> int:
    """Return the field as a count, 0 where it is none."""
    value = fields.get(name)
    return value if type(value) is int and 0 <= value < 1 << 31 else 0


def text(fields: Fields, name: str) -> str:
    """Return the field as a text that fits the index, empty where it is none."""
    value = fields.get(name)
    return value[:MAX_TEXT].encode(errors="replace").decode() if isinstance(value, str) else ""


@dataclass(slots=True, kw_only=True)
class Tally:
    """One transaction's sums; times are in seconds since 1970, ``None`` stands for what no line told."""

    began: float
    ended: float
    at_first: float | None = None
    at_last: float | None = None
    do: str | None = None
    service: str | None = None
    asked: str | None = None
    ua_least: str | None = None
    ua_most: str | None = None
    ok: int = 0
    refused: int = 0
    failed: int = 0
    reason: str | None = None
    lines: int = 0
    messages: int = 0
    octets: int = 0
    taken: int = 0
    retries: int = 0
    lost: int = 0
    parties: set[str] = field(default_factory=set)
    reasons: set[str] = field(default_factory=set)
    runs: list[int] = field(default_factory=list)
    """Where the lines lie: how far behind the run before, and how long, in turns."""
    reached: int = 0
    """Where the last run ends."""

    def add(self, fields: Fields, told: float, offset: int, length: int) -> None:
        """Take one more line, written when *told*, which lies there."""
        self.lines += 1
        self.began = min(self.began, told)
        self.ended = max(self.ended, told)
        at = fields.get("at")
        if type(at) is float and abs(at) < _MAX_AT_S:
            self.at_first = at if self.at_first is None or at < self.at_first else self.at_first
            self.at_last = at if self.at_last is None or at > self.at_last else self.at_last
        self._add_names(fields)
        rule = _RULES.get(fields["event"])
        if rule is not None:
            rule(self, fields)
        self._add_place(offset, length)

    def _add_names(self, fields: Fields) -> None:
        for name in _PARTIES:
            value = fields.get(name)
            if value and type(value) is str and value not in self.parties:
                self.parties.add(text(fields, name))
        ua = fields.get("ua")
        if ua and type(ua) is str and not self.ua_least == ua == self.ua_most:
            self.ua_least = _least(self.ua_least, text(fields, "ua"))
            self.ua_most = _most(self.ua_most, text(fields, "ua"))
        if fields.get("reason"):
            self.reasons.add(text(fields, "reason"))

    def _add_place(self, offset: int, length: int) -> None:
        if self.runs and offset == self.reached:
            self.runs[-1] += length
        else:
            self.runs += (offset - self.reached, length)
        self.reached = offset + length


def _least(known: str | None, told: str) -> str:
    return told if known is None or told < known else known


def _most(known: str | None, told: str) -> str:
    return told if known is None or told > known else known


def _sent(tally: Tally, fields: Fields) -> None:
    tally.messages += 1
    tally.octets += number(fields, "octets")
    tally.retries += number(fields, "attempt") > 1
    if fields.get("bearer") == _CONSOLE_ORDERS:
        if destination := text(fields, "destination"):
            tally.asked = _least(tally.asked, destination)
        _say_what(tally, fields)


def _taken(tally: Tally, _fields: Fields) -> None:
    tally.taken += 1


def _lost(tally: Tally, _fields: Fields) -> None:
    tally.lost += 1


def _say_what(tally: Tally, fields: Fields) -> None:
    if do := text(fields, "do"):
        tally.do = _least(tally.do, do)
    if service := text(fields, "service"):
        tally.service = _least(tally.service, service)


def _ended(tally: Tally, fields: Fields) -> None:
    result = fields.get("result")
    tally.ok += result == "ok"
    tally.refused += result == "refused"
    tally.failed += result == "failed"
    _say_what(tally, fields)
    if reason := text(fields, "reason"):
        tally.reason = _least(tally.reason, reason)


_RULES: Final[Mapping[str, Callable[[Tally, Fields], None]]] = {
    "message.sent": _sent,
    "message.taken": _taken,
    "message.lost": _lost,
    "order.ended": _ended,
}


class Portion:
    """The tallies of what is read of one file until they go into the index."""

    def __init__(self) -> None:
        self.tallies: dict[bytes, Tally] = {}
        self._by_text: dict[str, Tally] = {}
        self.lines = 0
        """All that were read, also those of no transaction."""
        self.foreign = 0
        self.unwritten = 0

    def add(self, offset: int, length: int, fields: Fields) -> None:
        """Take one more line."""
        self.lines += 1
        told = told_at(fields)
        if told is None:
            self._add_timeless(fields)
            return
        text_id = fields.get("trace_id")
        if type(text_id) is not str:
            return
        tally = self._by_text.get(text_id)
        if tally is None:
            tally = self._begin(text_id, told, fields)
        if tally is not None:
            tally.add(fields, told, offset, length)

    def _begin(self, text_id: str, told: float, fields: Fields) -> Tally | None:
        trace = trace_of(fields)
        if trace is None:
            return None
        tally = self.tallies.get(trace)  # it may be written in capitals elsewhere
        if tally is None:
            tally = self.tallies[trace] = Tally(began=told, ended=told)
        self._by_text[text_id] = tally
        return tally

    def _add_timeless(self, fields: Fields) -> None:
        if fields["event"] == "log.lost":
            self.unwritten += number(fields, "lines")
        else:
            self.foreign += 1

    @property
    def flaws(self) -> dict[Flaw, int]:
        """What was skipped here, beside what the reading skipped."""
        return {Flaw.FOREIGN: self.foreign, Flaw.UNWRITTEN: self.unwritten}
