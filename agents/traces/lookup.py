"""What is asked of an index: which transactions there are, one by its id, and where its lines lie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from agents.errors import NoTrace
from agents.traces.plain import harmless

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agents.traces.index import Index

SHORT: Final = 8
"""Hex digits of an id in a list: hardly ever two begin alike."""
_HEX: Final = frozenset("0123456789abcdef")
_TRACE_HEX: Final = 32
_SAID: Final = 5
_UA: Final = re.compile(r"\d{18,20}")


class Outcome(StrEnum):
    """What became of a transaction: the worst of what became of its targets."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"
    OPEN = "open"
    """Nobody told of an end: it is under way, or its agent was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which transactions a person wants to see; the texts may hold ``*`` and ``?``, ``None`` is any."""

    ua: str | None = None
    agent: str | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    slowest: bool = False
    """The slowest first; otherwise the last that began, in their order."""
    limit: int = 0
    """0: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One transaction's sums; ``None``, and an empty text, stand for what no line told."""

    trace_id: str
    do: str
    service: str
    asked: str
    """Whom the console's order went to."""
    ua: str
    """The module that it is about; empty where there are none or several."""
    modules_differ: bool
    began: float
    """In seconds since 1970, as :attr:`ended`, by the processes' clocks."""
    ended: float
    simulated_s: float | None
    ok: int
    """How many targets an order ended well for; a broadcast has many."""
    refused: int
    failed: int
    reason: str
    lines: int
    messages: int
    octets: int
    taken: int
    retries: int
    lost: int

    @property
    def wall_s(self) -> float:
        """How long it took, by the processes' clocks."""
        return self.ended - self.began

    @property
    def outcome(self) -> Outcome:
        """The worst that came of it."""
        ends = ((Outcome.FAILED, self.failed), (Outcome.REFUSED, self.refused), (Outcome.OK, self.ok))
        return next((name for name, count in ends if count), Outcome.OPEN)


# A text that is NULL filters nothing. Names are compared as SQLite's GLOB does: * and ? stand for others.
_WHERE: Final = """
    WHERE (:ua IS NULL OR id IN (SELECT tid FROM marks WHERE name IN
            (SELECT id FROM names WHERE kind = 'party' AND name GLOB :ua)))
      AND (:agent IS NULL OR id IN (SELECT tid FROM marks WHERE name IN
            (SELECT id FROM names WHERE kind = 'party' AND name GLOB :agent)))
      AND (:reason IS NULL OR id IN (SELECT tid FROM marks WHERE name IN
            (SELECT id FROM names WHERE kind = 'reason' AND name GLOB :reason)))
      AND CASE :outcome WHEN 'failed' THEN failed > 0 WHEN 'refused' THEN refused > 0
            WHEN 'ok' THEN ok > 0 AND refused = 0 AND failed = 0
            WHEN 'open' THEN ok = 0 AND refused = 0 AND failed = 0 ELSE 1 END"""
_COLUMNS: Final = """
    SELECT lower(hex(trace)) AS trace_id, coalesce(do, '') AS do, coalesce(service, '') AS service,
        coalesce(asked, '') AS asked, CASE WHEN ua_least = ua_most THEN ua_least ELSE '' END AS ua,
        ua_least IS NOT ua_most AS modules_differ, began, ended, at_last - at_first AS simulated_s,
        ok, refused, failed, coalesce(reason, '') AS reason, lines, messages, octets, taken, retries, lost
    FROM transactions"""
_LATEST: Final = f"{_COLUMNS}{_WHERE} ORDER BY began DESC, trace LIMIT :limit"
_LATEST_IN_ORDER: Final = f"SELECT * FROM ({_LATEST}) ORDER BY began, trace_id DESC"  # noqa: S608 -- ours
_SLOWEST: Final = (
    f"{_COLUMNS}{_WHERE} ORDER BY coalesce(at_last - at_first, ended - began) DESC, began LIMIT :limit"
)
_ONE: Final = f"{_COLUMNS}{_WHERE} AND trace = :trace"
_COUNT: Final = "SELECT count(*) FROM transactions" + _WHERE  # noqa: S608 -- likewise
_BETWEEN: Final = f"{_COLUMNS} WHERE trace BETWEEN :low AND :high ORDER BY trace LIMIT :limit"
_ABOUT: Final = "SELECT count(*) FROM marks JOIN names ON names.id = marks.name WHERE names.name = ?"
_BELOW: Final = "SELECT lower(hex(trace)) FROM transactions WHERE trace < ? ORDER BY trace DESC LIMIT ?"
_ABOVE: Final = "SELECT lower(hex(trace)) FROM transactions WHERE trace >= ? ORDER BY trace LIMIT ?"
_PLACES: Final = """
    SELECT logs.name, runs FROM places JOIN logs ON logs.id = places.log
    WHERE tid = (SELECT id FROM transactions WHERE trace = ?) ORDER BY logs.name, portion"""


def select(index: Index, selection: Selection) -> tuple[list[Transaction], int]:
    """Return the transactions that are asked for, and how many there would be without a limit."""
    wanted = _wanted(selection) | {"limit": selection.limit or -1}
    found = list(_rows(index, _SLOWEST if selection.slowest else _LATEST, wanted))
    total = len(found)
    if total == selection.limit:
        total = count(index, selection)
    return (found if selection.slowest else found[::-1]), total


def count(index: Index, selection: Selection) -> int:
    """Return how many transactions are asked for, whatever the limit."""
    ((found,),) = index.connection.execute(_COUNT, _wanted(selection)).fetchall()
    return int(found)


def each(index: Index, selection: Selection) -> Iterator[Transaction]:
    """Yield those that are asked for, in the order of :func:`select`, of which not all are in memory."""
    wanted = _wanted(selection) | {"limit": selection.limit or -1}
    return _rows(index, _SLOWEST if selection.slowest else _LATEST_IN_ORDER, wanted)


def among(index: Index, selection: Selection, trace: bytes) -> Transaction | None:
    """Return the transaction *trace* if it is one of those that are asked for."""
    return next(_rows(index, _ONE, _wanted(selection) | {"trace": trace}), None)


def _wanted(selection: Selection) -> dict[str, Any]:
    return {
        "ua": _storable(selection.ua),
        "agent": _storable(selection.agent),
        "reason": _storable(selection.reason),
        "outcome": selection.outcome,
    }


def _storable(name: str | None) -> str | None:
    """Return *name* as the index would have it: a terminal may give us what is no text."""
    return None if name is None else name.encode(errors="replace").decode()


def find(index: Index, text: str) -> Transaction:
    """Return the transaction whose id begins with *text*. Raises NoTrace, which says what would be near."""
    wanted = text.strip().lower()
    said = harmless(text.strip()) or "an empty id"
    if wanted and len(wanted) <= _TRACE_HEX and set(wanted) <= _HEX:
        found = list(_beginning_with(index, wanted, limit=_SAID))
        if len(found) == 1:
            return found[0]
        if found:
            ids = " or ".join(each.trace_id for each in found[:2])
            raise NoTrace(f"{said}: more than one transaction's id begins so; is it {ids}?")
    raise NoTrace(f"{said}: {_what_instead(index, wanted)}")


def trace_id(index: Index, tid: int) -> str:
    """Return the id of the transaction that has this number in the index."""
    rows = index.connection.execute("SELECT lower(hex(trace)) FROM transactions WHERE id = ?", (tid,))
    return str(rows.fetchall()[0][0])


def places(index: Index, trace: bytes) -> list[tuple[str, list[bytes]]]:
    """Return where a transaction's lines lie: by log, its packed runs in order."""
    rows = index.connection.execute(_PLACES, (trace,)).fetchall()
    return [(name, [runs for _, runs in group]) for name, group in groupby(rows, key=lambda row: str(row[0]))]


def _rows(index: Index, statement: str, values: dict[str, Any]) -> Iterator[Transaction]:
    rows = index.connection.execute(statement, values)
    columns = [column[0] for column in rows.description]
    for row in rows:
        named = dict(zip(columns, row, strict=True))
        yield Transaction(**named | {"modules_differ": bool(named["modules_differ"])})


def _beginning_with(index: Index, prefix: str, *, limit: int) -> Iterator[Transaction]:
    low, high = (bytes.fromhex(prefix.ljust(_TRACE_HEX, digit)) for digit in "0f")
    yield from _rows(index, _BETWEEN, {"low": low, "high": high, "limit": limit})


def _what_instead(index: Index, wanted: str) -> str:
    if _UA.fullmatch(wanted):
        ((count,),) = index.connection.execute(_ABOUT, (wanted,)).fetchall()
        if count:
            many = "1 transaction has it" if count == 1 else f"{count} transactions have it"
            return f"is a module's address and no transaction's id; {many}: see --ua {wanted}"
    near = _near(index, wanted)
    if not near:
        return "there is no such transaction, and no other in these logs"
    names = [each[: max(SHORT, len(wanted))] for each in near]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    return f"there is no such transaction; did you mean {listed}?"


def _near(index: Index, wanted: str) -> list[str]:
    """Return ids that begin with what *wanted* may be a slip for; else those that agree with it longest."""
    slips = {
        each.trace_id: None
        for slip in _slips("".join(digit for digit in wanted if digit in _HEX)[:_TRACE_HEX])
        for each in _beginning_with(index, slip, limit=1)
    }
    if slips:
        return list(slips)[: _SAID - 2]
    middle = bytes.fromhex(
        "".join(d if d in _HEX else "0" for d in wanted)[:_TRACE_HEX].ljust(_TRACE_HEX, "0")
    )
    execute = index.connection.execute
    around = [str(row[0]) for ask in (_BELOW, _ABOVE) for row in execute(ask, (middle, 2))]
    return sorted(around, key=lambda each: -_agree(each, wanted))[: _SAID - 2]


def _slips(prefix: str) -> Iterator[str]:
    """Yield what a person may have meant: a digit mistyped, left out, too many, or two in the wrong order."""
    if len(prefix) < SHORT:
        return  # too short a prefix is near to everything
    yield prefix
    for at in range(len(prefix)):
        head, digit, tail = prefix[:at], prefix[at], prefix[at + 1 :]
        yield head + tail
        if tail:
            yield head + tail[0] + digit + tail[1:]
        for other in sorted(_HEX):
            yield head + other + tail
            if len(prefix) < _TRACE_HEX:
                yield head + other + digit + tail


def _agree(one: str, other: str) -> int:
    pairs: Sequence[tuple[str, str]] = list(zip(one, other, strict=False))
    return next((at for at, (a, b) in enumerate(pairs) if a != b), len(pairs))
