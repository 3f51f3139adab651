"""A list of transactions, for the screen and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from agents.traces.lookup import SHORT, Outcome
from agents.traces.plain import clock, duration, harmless, moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from agents.traces.lookup import Transaction

_HEADS: Final = ("trace", "began", "what", "who", "outcome", "simulated", "wall", "messages", "retries")
_COUNTED: Final = 5
"""From this column on there are numbers."""
_COLOURS: Final[Mapping[Outcome, str]] = {
    Outcome.OK: "",
    Outcome.REFUSED: "red",
    Outcome.FAILED: "bold red",
    Outcome.OPEN: "yellow",
}
_FOLDED: Final = frozenset({"what", "outcome"})
"""Where there is little room: an id, a time and an address stay whole."""
_DISPENSABLE: Final = frozenset({"wall", "messages"})
_NARROW: Final = 96
_WIDE: Final = 130
_WIDTHS: Final[Mapping[str, int]] = {
    "trace": SHORT,
    "began": 12,
    "what": 18,
    "who": 24,
    "outcome": 24,
    "simulated": 9,
    "wall": 9,
    "messages": 8,
    "retries": 7,
}
"""Of the columns where rows come one by one."""
_FITS: Final = sum(_WIDTHS.values()) + 2 * (len(_WIDTHS) - 1)
_FEWER: Final[Mapping[str, int]] = {
    "trace": SHORT,
    "began": 8,
    "what": 18,
    "who": 19,
    "simulated": 9,
    "outcome": 0,
}
"""The same where all of them are too wide: what has no room is left out, and a reason goes on at the end."""


def as_table(transactions: Iterable[Transaction], width: int) -> Table:
    """Return the list as a table for a screen of so many columns."""
    shown = [place for place, head in enumerate(_HEADS) if width >= _NARROW or head not in _DISPENSABLE]
    table = Table(box=None, pad_edge=False, padding=(0, 1 if width < _WIDE else 2, 0, 0))
    for place in shown:
        table.add_column(
            _HEADS[place],
            justify="right" if place >= _COUNTED else "left",
            overflow="fold",
            no_wrap=_HEADS[place] not in _FOLDED,
        )
    for each in transactions:
        row = [cell.replace(": ", ":\n") if width < _WIDE else cell for cell in cells(each)]
        table.add_row(*(Text(row[place], style=_COLOURS[each.outcome]) for place in shown))
    return table


def as_row(transaction: Transaction | None = None, width: int = _FITS) -> Text:
    """Return one line of a list that grows, or with None its head, for a screen of so many columns."""
    row = dict(zip(_HEADS, cells(transaction) if transaction else _HEADS, strict=True))
    widths, between = (_WIDTHS, "  ") if width >= _FITS else (_FEWER, " ")
    if transaction and widths is _FEWER:
        row |= {"began": row["began"][: _FEWER["began"]], "who": row["who"].rpartition(": ")[2]}
    padded = [
        row[head].rjust(room) if _HEADS.index(head) >= _COUNTED else row[head].ljust(room)
        for head, room in widths.items()
    ]
    return Text(between.join(padded).rstrip(), style=_COLOURS[transaction.outcome] if transaction else "bold")


def cells(transaction: Transaction) -> tuple[str, ...]:
    """Return what is said of a transaction, column by column."""
    return (
        transaction.trace_id[:SHORT],
        clock(transaction.began),
        what(transaction),
        who(transaction),
        outcome(transaction),
        duration(transaction.simulated_s),
        duration(transaction.wall_s),
        f"{transaction.messages:,}",
        f"{transaction.retries:,}",
    )


def what(transaction: Transaction) -> str:
    """Return what was ordered."""
    return harmless(f"{transaction.do} {transaction.service}".strip()) or "-"


def who(transaction: Transaction) -> str:
    """Return whom it was ordered from, and for which module."""
    asked, module = harmless(transaction.asked), harmless(transaction.ua)
    if transaction.modules_differ:
        module = "several modules"
    return ": ".join(dict.fromkeys(filter(None, (asked, module)))) or "-"


def outcome(transaction: Transaction) -> str:
    """Return what became of it, with the reason."""
    counts = {
        Outcome.OK: transaction.ok,
        Outcome.REFUSED: transaction.refused,
        Outcome.FAILED: transaction.failed,
    }
    many = sum(counts.values()) > 1
    said = ", ".join(f"{count:,} {end}" if many else str(end) for end, count in counts.items() if count)
    return ": ".join(filter(None, (said or str(Outcome.OPEN), harmless(transaction.reason))))


def as_json_list(logs: Path, count: int, found: Iterable[Transaction]) -> Iterator[str]:
    """Yield the parts of a JSON object with the transactions that were *found*, of *count*, one by one."""
    head = json.dumps({"logs": str(logs), "found": count}, indent=2).removesuffix("\n}")
    yield f'{head},\n  "transactions": ['
    is_first = True
    for each in found:
        yield f"{'' if is_first else ','}\n    "
        yield json.dumps(to_json(each), indent=2).replace("\n", "\n    ")
        is_first = False
    yield "]\n}\n" if is_first else "\n  ]\n}\n"


def to_json(transaction: Transaction) -> dict[str, Any]:
    """Return all that the index knows of a transaction; what nobody told is null."""
    return {
        "trace_id": transaction.trace_id,
        "do": transaction.do or None,
        "service": transaction.service or None,
        "asked": transaction.asked or None,
        "ua": transaction.ua or None,
        "began": moment(transaction.began),
        "ended": moment(transaction.ended),
        "simulated_s": transaction.simulated_s,
        "wall_s": round(transaction.wall_s, 6),
        "outcome": str(transaction.outcome),
        "reason": transaction.reason or None,
        **{
            name: getattr(transaction, name)
            for name in ("ok", "refused", "failed", "lines", "messages", "octets", "taken", "retries", "lost")
        },
    }
