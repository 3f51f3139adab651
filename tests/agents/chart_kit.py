"""What tests of charts share: transactions of real runs, and how a chart reads.

``vectors/charts.jsonl`` was cut out of the logs of ``otafleet up`` with ``configs/demo.toml``,
``configs/lossy.toml`` and ``configs/broadcast.toml``: lines as they were written, without the names of
process and client. Of the broadcast only some lines of four of its forty handsets were kept, and of two of
its rounds.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from agents.traces.chart_text import draw_text
from agents.traces.chart_words import words

if TYPE_CHECKING:
    from agents.traces.chart import Chart

Lines = list[dict[str, Any]]

SERVED: Final = "a607eeb350a4355592e30e9f551f58b5"
"""A module is served over short messages."""
RETRIED: Final = "d2ab0e40fcb84a53005eb2f93e4efe49"
"""A resource is reserved; a short message is lost and comes again, and the air doubles reports."""
REFUSED: Final = "f9d5918c9a49285e1abd43fc969aee27"
"""A subscriber runs what is not there any more."""
BROADCAST: Final = "baef08473cb1b13d5211bf37b7ea3a3b"
"""One broadcast for four modules."""
ALL: Final = (SERVED, RETRIED, REFUSED, BROADCAST)

_LINES: Final[Lines] = [
    json.loads(line) for line in (Path(__file__).parent / "vectors" / "charts.jsonl").read_text().splitlines()
]


def lines_of(trace_id: str) -> Lines:
    """Return the lines of one transaction, which the caller may change."""
    return [dict(line) for line in _LINES if line["trace_id"] == trace_id]


def read(chart: Chart) -> list[str]:
    """Return what the rows of *chart* say."""
    return [words(row, chart) for row in chart.rows]


def draw(chart: Chart, *, width: int = 80, encoding: str = "utf-8", colour: bool = False) -> str:
    """Return *chart* as a screen shows it."""
    octets = io.BytesIO()
    file = io.TextIOWrapper(octets, encoding=encoding, newline="\n")
    console = Console(
        file=file, width=width, force_terminal=colour, color_system="standard" if colour else None
    )
    draw_text(chart, console)
    file.flush()
    return octets.getvalue().decode(encoding)
