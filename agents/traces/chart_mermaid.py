"""A chart as a sequence diagram of Mermaid, which GitHub and many wikis draw from text.

In Mermaid's text almost any sign may mean something. So what is no letter, digit, or one of a few signs that
mean nothing is written as an entity, ``#`` its code ``;``, and so is a letter of each word that would end a
block. GitHub takes no more than 50,000 characters: a longer chart is cut, and says by how much.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from agents.traces.chart_rows import Arrow, Fate, Kind
from agents.traces.chart_words import heading, missing, words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.traces.chart import Chart
    from agents.traces.chart_rows import Row

MAX_CHARACTERS: Final = 50_000
"""What Mermaid takes unless it is told otherwise (``maxTextSize``)."""
_ROOM_TO_END: Final = 1_000
_MEANING: Final = re.compile(r"[^A-Za-z0-9 .,()_+:✗-]")
_MEANING_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9 .,()_+-]")
_WORD_OF_MERMAID: Final = re.compile(r"\b(e)(nd)\b", re.IGNORECASE)
_MARKS: Final[Mapping[Kind, str]] = {Kind.NOTE: "", Kind.WARNING: "(!) ", Kind.REFUSED: "✗ "}


def to_mermaid(chart: Chart) -> str:
    """Return *chart* as the text of a ``sequenceDiagram``."""
    title, about = heading(chart)
    lines = [f"%% {_escaped(about)}", "sequenceDiagram", f"    title {_escaped(title, _MEANING_IN_NAMES)}"]
    for number, each in enumerate(chart.participants):
        role = "" if each.is_crowd or each.role in {"", each.name} else f" ({each.role})"
        lines.append(f"    participant p{number} as {_escaped(each.name + role, _MEANING_IN_NAMES)}")
    length = sum(map(len, lines))
    for number, row in enumerate(chart.rows):
        line = f"    {_row(row, chart)}"
        length += len(line) + 1
        if length > MAX_CHARACTERS - _ROOM_TO_END:
            lines.append(_over_all(chart, f"and {len(chart.rows) - number:,} rows more"))
            break
        lines.append(line)
    if sentence := missing(chart):
        lines.append(_over_all(chart, sentence))
    return "\n".join(lines) + "\n"


def _row(row: Row, chart: Chart) -> str:
    said = words(row, chart)
    if not isinstance(row, Arrow):
        return f"Note over p{row.participant}: {_escaped(_MARKS[row.kind] + said)}"
    return f"p{row.source}{_stroke(row)}p{row.destination}: {_escaped(said)}"


def _stroke(row: Arrow) -> str:
    """Return the kind of arrow: whole, a repetition, lost, or of an end that is not told."""
    if row.fate is Fate.LOST:
        return "--x"
    if not row.is_whole:
        return "--)"
    return "-->>" if row.is_repetition else "->>"


def _over_all(chart: Chart, said: str) -> str:
    last = len(chart.participants) - 1
    return f"    Note over p0{f',p{last}' if last > 0 else ''}: {_escaped(said)}"


def _escaped(text: str, meaning: re.Pattern[str] = _MEANING) -> str:
    """Return *text* with an entity for each sign that has a *meaning* to Mermaid."""
    whole = meaning.sub(lambda sign: f"#{ord(sign.group())};", text)
    return _WORD_OF_MERMAID.sub(lambda word: f"#{ord(word.group(1))};{word.group(2)}", whole)
