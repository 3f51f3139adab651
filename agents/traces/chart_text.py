"""A chart on the screen: lifelines down, messages across, what each says beside it.

A row has one line and what it says stands at the right, so that a chart fits 80 columns with four lifelines.
Where there is no room for lifelines, each row names its ends instead. A screen that knows ASCII only gets
ASCII.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from agents.traces.chart_rows import Arrow, Fate, Kind
from agents.traces.chart_words import heading, missing, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

    from agents.traces.chart import Chart
    from agents.traces.chart_rows import Row

_LEAST_SPACING: Final = 8
_MOST_SPACING: Final = 22
"""Columns of a lifeline: the address of a module has room in three lines, or in one."""
_GOOD_SPACING: Final = 13
_LEAST_WORDS, _MANY_WORDS = 37, 51
"""Columns beside the lifelines: words come before lifelines that stand further apart than they need."""
_NARROWEST: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Pen:
    """What a chart is drawn with."""

    life: str
    line: str
    cross: str
    broken: str
    right: str
    left: str
    from_left: str
    from_right: str
    lost: str
    unknown: str
    itself: str
    marks: Mapping[Kind, str]


UNICODE: Final = Pen(
    life="│",
    line="─",
    cross="┼",
    broken="╌",
    right="▶",
    left="◀",
    from_left="├",
    from_right="┤",
    lost="✗",
    unknown="?",
    itself="○",
    marks={Kind.NOTE: "●", Kind.WARNING: "!", Kind.REFUSED: "✗"},
)
ASCII: Final = Pen(
    life="|",
    line="-",
    cross="+",
    broken=".",
    right=">",
    left="<",
    from_left="|",
    from_right="|",
    lost="x",
    unknown="?",
    itself="o",
    marks={Kind.NOTE: "*", Kind.WARNING: "!", Kind.REFUSED: "X"},
)
_SEAMS: Final = re.compile(r"(?<=[.-])")
_IN_ASCII: Final = str.maketrans({"…": "..."})
_KINDS: Final[Mapping[Kind, str]] = {Kind.NOTE: "", Kind.WARNING: "yellow", Kind.REFUSED: "bold red"}


def draw_text(chart: Chart, console: Console) -> None:
    """Draw *chart* on *console*, as wide as that is."""
    for line in _Drawing(chart, console).lines():
        console.print(line, no_wrap=True, overflow="ignore", crop=False, highlight=False)


class _Drawing:
    def __init__(self, chart: Chart, console: Console) -> None:
        self._chart = chart
        self._console = console
        self._pen = ASCII if console.options.ascii_only else UNICODE
        self._times = [_time(chart, row) for row in chart.rows]
        self._margin = max(map(len, self._times), default=0) + 1
        number = max(len(chart.participants), 1)
        least, most = (
            int((console.width - self._margin - beside) / (number - 0.5))
            for beside in (_MANY_WORDS, _LEAST_WORDS)
        )
        self._spacing = min(max(least, min(most, _GOOD_SPACING)), _MOST_SPACING)
        if self._spacing < _LEAST_SPACING:  # no lifelines: each row names its ends
            self._spacing = 0
        taken = self._margin + (self._column(number - 1) + 3 if self._spacing else 0)
        self._width = max(console.width - taken, _NARROWEST)
        lives = "".join(_centred(self._pen.life, self._spacing) for _ in chart.participants)
        self._lives = Text(lives.rstrip(), "dim")

    def lines(self) -> Iterator[Text]:
        """Yield what is to be printed."""
        title, about = heading(self._chart)
        yield from self._wrapped(title, "bold", self._console.width)
        yield from self._wrapped(about, "dim", self._console.width)
        yield Text()
        if self._spacing:
            yield from self._names()
        for time, row in zip(self._times, self._chart.rows, strict=True):
            yield from self._row(time, row)
        if sentence := missing(self._chart):
            yield Text()
            yield from self._wrapped(sentence, "magenta", self._console.width)

    def _names(self) -> Iterator[Text]:
        """Yield the heads of the lifelines: names, in as many lines as they need, and roles."""
        people = self._chart.participants
        yield from self._heads([each.name for each in people], "bold")
        yield from self._heads(
            ["" if each.is_crowd or each.role == each.name else each.role for each in people], "dim"
        )

    def _heads(self, texts: list[str], style: str) -> Iterator[Text]:
        heads = [_pieces(self._plain(text), self._spacing - 1) for text in texts]
        for pieces in zip_longest(*heads, fillvalue=""):
            line = "".join(_centred(piece, self._spacing) for piece in pieces)
            yield Text(" " * self._margin + line.rstrip(), style)

    def _row(self, time: str, row: Row) -> Iterator[Text]:
        style = _style(row)
        said = words(row, self._chart)
        if not self._spacing:
            said = f"{self._ends(row)}: {said}"
        for number, piece in enumerate(self._wrapped(said, style, self._width)):
            line = Text().append((time if not number else "").rjust(self._margin - 1) + " ", "dim")
            if self._spacing:
                line.append_text(self._ladder(row, style) if not number else self._lives)
                line.append("  ")
            yield line.append_text(piece)

    def _ends(self, row: Row) -> str:
        names = [each.name for each in self._chart.participants]
        if isinstance(row, Arrow):
            return f"{names[row.source]} -> {names[row.destination]}"
        return names[row.participant]

    def _ladder(self, row: Row, style: str) -> Text:
        """Return the lifelines with *row* on them."""
        drawn = self._lives
        for column, mark in self._arrow(row) if isinstance(row, Arrow) else self._remark(row):
            drawn = Text.assemble(drawn[:column], (mark, style or "not dim"), drawn[column + len(mark) :])
        return drawn

    def _column(self, lifeline: int) -> int:
        return self._spacing * lifeline + self._spacing // 2

    def _remark(self, row: Row) -> Iterator[tuple[int, str]]:
        if not isinstance(row, Arrow):
            yield self._column(row.participant), self._pen.marks[row.kind]

    def _arrow(self, row: Arrow) -> Iterator[tuple[int, str]]:
        pen = self._pen
        if row.source == row.destination:
            yield self._column(row.source), pen.itself
            return
        is_right = row.source < row.destination
        first, last = sorted((self._column(row.source), self._column(row.destination)))
        stroke = pen.line if row.is_whole and row.fate is Fate.TAKEN else pen.broken
        crossed = {self._column(number) for number in range(len(self._chart.participants))}
        shaft = "".join(pen.cross if x in crossed else stroke for x in range(first + 1, last))
        tip = pen.right if is_right else pen.left
        if row.fate is Fate.LOST:  # it does not get there
            half = len(shaft) // 2
            shaft = shaft[:half] if is_right else shaft[half + 1 :]
            tip = pen.lost
        elif row.fate is Fate.UNKNOWN:
            tip = pen.unknown
        begin = (pen.from_left if is_right else pen.from_right) if row.is_sending_told else pen.unknown
        if is_right:
            yield first, begin + (shaft if row.fate is Fate.LOST else shaft[:-1]) + tip
        else:
            drawn = tip + (shaft if row.fate is Fate.LOST else shaft[1:]) + begin
            yield last + 1 - len(drawn), drawn

    def _wrapped(self, said: str, style: str, width: int) -> list[Text]:
        text = Text(self._plain(said), style)
        if text.cell_len <= width:
            return [text]
        pieces = text.wrap(self._console, width, overflow="fold")
        for piece in pieces:
            piece.rstrip()
        return list(pieces)

    def _plain(self, text: str) -> str:
        if self._pen is UNICODE:
            return text
        return text.translate(_IN_ASCII).encode("ascii", "replace").decode()


def _time(chart: Chart, row: Row) -> str:
    since = row.told.since(chart.began).seconds
    return "" if since is None else f"+{since:,.3f}"


def _style(row: Row) -> str:
    if not isinstance(row, Arrow):
        return _KINDS[row.kind]
    if row.fate is Fate.LOST:
        return "red"
    if not row.is_whole:
        return "magenta"
    return "dim" if row.is_repetition else ""


def _pieces(name: str, room: int) -> list[str]:
    """Return *name* in pieces, none wider than *room*: cut where a dot or a dash is, or into even lengths."""
    number = -(-cell_len(name) // room)
    if number < 2:
        return [name]
    parts = _SEAMS.split(name)
    if len(parts) == number and all(cell_len(part) <= room for part in parts):
        return parts
    size = -(-len(name) // number)
    pieces = (name[start : start + size] for start in range(0, len(name), size))
    return [piece if cell_len(piece) <= room else set_cell_size(piece, room) for piece in pieces]


def _centred(text: str, width: int) -> str:
    """Return *text* with its middle over a lifeline, *width* columns in all."""
    shown = text if cell_len(text) < width else set_cell_size(text, width - 1)
    before = width // 2 - cell_len(shown) // 2
    return set_cell_size(" " * max(before, 0) + shown, width)
