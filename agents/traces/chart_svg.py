"""A chart as SVG, for documents: fonts of the viewer's own, nothing fetched, dark where that is preferred.

Whatever a log holds is text in here, escaped; what no XML may hold was taken out where lines are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from rich.cells import cell_len, set_cell_size

from agents.traces.chart_rows import Arrow, Fate, Kind
from agents.traces.chart_words import heading, missing, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agents.traces.chart import Chart
    from agents.traces.chart_rows import Remark, Row

_CHARACTER: Final = 6.9
"""Pixels that one of 12 pixels' size takes, a little more than it does."""
_MARGIN, _TIMES, _TOP, _HEAD, _STEP = 20, 74, 70, 40, 32
_LEAST_SPACING, _MOST_SPACING = 150, 330
_TIP: Final = 8
_STYLE: Final = """\
text { font: 12px ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px }
.name { font-weight: 600 }
.faint { fill: #59636e }
.ground { fill: #ffffff }
.box { fill: #f6f8fa; stroke: #d1d9e0 }
.life { stroke: #d1d9e0 }
.arrow { stroke: #0969da; stroke-width: 1.5; fill: none }
.tip { fill: #0969da }
.dot { fill: #1a7f37 }
.repetition { opacity: 0.55 }
.bad { stroke: #cf222e; stroke-width: 2; fill: none }
.broken { stroke-dasharray: 5 4 }
text.refused { fill: #cf222e; font-weight: 600 }
text.warning { fill: #9a6700 }
circle.warning { fill: #bf8700 }
circle.refused { fill: #cf222e }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .faint { fill: #9198a1 }
  .ground { fill: #0d1117 }
  .box { fill: #151b23; stroke: #3d444d }
  .life { stroke: #3d444d }
  .arrow { stroke: #4493f8 }
  .tip { fill: #4493f8 }
  .dot { fill: #3fb950 }
  .bad { stroke: #f85149 }
  text.refused { fill: #f85149 }
  text.warning { fill: #d29922 }
  circle.warning { fill: #d29922 }
  circle.refused { fill: #f85149 }
}
"""
_MARKS: Final[Mapping[Kind, str]] = {Kind.NOTE: "dot", Kind.WARNING: "warning", Kind.REFUSED: "refused"}


def to_svg(chart: Chart) -> str:
    """Return *chart* as the text of an SVG file."""
    return _Picture(chart).text()


class _Picture:
    def __init__(self, chart: Chart) -> None:
        self._chart = chart
        self._said = [words(row, chart) for row in chart.rows]
        self._spacing = self._wanted_spacing()
        number = len(chart.participants)
        self._bottom = _TOP + _HEAD + _STEP * len(chart.rows) + 20
        longest = max((self._right_end(row, said) for row, said in self._rows()), default=0.0)
        titles = max(cell_len(line) for line in heading(chart)) * _CHARACTER * 1.25 + _MARGIN
        self._width = round(max(self._x(number - 1) + self._spacing / 2, longest, titles) + _MARGIN)

    def _rows(self) -> Iterator[tuple[Row, str]]:
        return zip(self._chart.rows, self._said, strict=True)

    def _wanted_spacing(self) -> float:
        """Return how far apart lifelines are, so that most words fit between them."""
        wanted = [len(each.name) * _CHARACTER + 24 for each in self._chart.participants]
        for row, said in self._rows():
            if isinstance(row, Arrow) and row.source != row.destination:
                wanted.append((cell_len(said) * _CHARACTER + 24) / abs(row.source - row.destination))
        return min(max([_LEAST_SPACING, *wanted]), _MOST_SPACING)

    def _right_end(self, row: Row, said: str) -> float:
        if isinstance(row, Arrow):
            return 0.0 if row.source != row.destination else self._x(row.source) + 14 + _length(said)
        return self._x(row.participant) + 14 + _length(said)

    def _x(self, lifeline: int) -> float:
        return _TIMES + self._spacing / 2 + self._spacing * lifeline

    def text(self) -> str:
        """Return the whole picture."""
        sentence = missing(self._chart)
        height = self._bottom + (30 if sentence else 10)
        size = f'width="{self._width}" height="{height}"'
        view = f'viewBox="0 0 {self._width} {height}"'
        title, about = heading(self._chart)
        return "\n".join(
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view} role="img">',
                f"<title>{escape(title)}</title>",
                f"<style>\n{_STYLE}</style>",
                f'<rect class="ground" {size}/>',
                _text(_MARGIN, 28, title, "title"),
                _text(_MARGIN, 48, about, "faint"),
                *self._lifelines(),
                *self._all_rows(),
                *([_text(_MARGIN, self._bottom + 14, sentence, "warning")] if sentence else []),
                "</svg>\n",
            )
        )

    def _lifelines(self) -> Iterator[str]:
        for number, each in enumerate(self._chart.participants):
            x, width = self._x(number), self._spacing - 16
            yield f'<path class="life" d="M{x:g} {_TOP + _HEAD}V{self._bottom}"/>'
            box = f'x="{x - width / 2:g}" y="{_TOP}" width="{width:g}" height="{_HEAD}"'
            yield f'<rect class="box" {box} rx="6"/>'
            name = _fitting(each.name, width - 12)
            if each.is_crowd or each.role in {"", each.name}:
                yield _text(x, _TOP + 24, name, "name", "middle")
            else:
                yield _text(x, _TOP + 17, name, "name", "middle")
                yield _text(x, _TOP + 32, each.role, "faint", "middle")

    def _all_rows(self) -> Iterator[str]:
        for number, (row, said) in enumerate(self._rows()):
            y = _TOP + _HEAD + _STEP * (number + 1)
            since = row.told.since(self._chart.began).seconds
            if since is not None:
                yield _text(_TIMES - 6, y + 4, f"+{since:,.3f}", "faint", "end")
            if isinstance(row, Arrow):
                yield from self._arrow(row, said, y)
            else:
                yield from self._remark(row, said, y)

    def _remark(self, row: Remark, said: str, y: int) -> Iterator[str]:
        x, kind = self._x(row.participant), _MARKS[row.kind]
        yield f'<circle class="{kind}" cx="{x:g}" cy="{y}" r="4.5"/>'
        yield self._backed(x + 11, y + 4, said, "" if row.kind is Kind.NOTE else kind)

    def _backed(self, x: float, y: int, said: str, kind: str) -> str:
        """Return *said* over the lifelines that it crosses."""
        ground = (
            f'<rect class="ground" x="{x - 2:g}" y="{y - 12}" width="{_length(said) + 4:g}" height="16"/>'
        )
        return ground + _text(x, y, said, kind)

    def _over(self, x: float, y: int, said: str, kind: str) -> Iterator[str]:
        """Yield *said* with its middle at *x*, over the lifelines that it crosses."""
        width = _length(said)
        yield f'<rect class="ground" x="{x - width / 2:g}" y="{y - 10}" width="{width:g}" height="13"/>'
        yield _text(x, y, said, kind, "middle")

    def _arrow(self, row: Arrow, said: str, y: int) -> Iterator[str]:
        begin, end = self._x(row.source), self._x(row.destination)
        if begin == end:
            yield f'<path class="arrow" d="M{begin:g} {y - 8}h9v12h-3"/>'
            yield self._backed(begin + 14, y + 4, said, _arrow_kind(row))
            return
        way = 1 if end > begin else -1
        reach = (begin + end) / 2 if row.fate is Fate.LOST else end - way * 2
        broken = "" if row.is_whole and row.fate is Fate.TAKEN else " broken"
        faint = " repetition" if row.is_repetition else ""
        yield f'<g class="row{faint}">'
        label = _fitting(said, abs(end - begin) - 16)
        yield from self._over((begin + end) / 2, y - 7, label, _arrow_kind(row))
        yield f'<path class="arrow{broken}" d="M{begin:g} {y}H{reach:g}"/>'
        yield _tip(row, reach, y, way)
        yield "</g>"


def _tip(row: Arrow, x: float, y: int, way: int) -> str:
    if row.fate is Fate.LOST:
        return f'<path class="bad" d="M{x - 4:g} {y - 4}l8 8m0 -8l-8 8"/>'
    if row.fate is Fate.UNKNOWN:
        return f'<circle class="warning" cx="{x:g}" cy="{y}" r="4"/>'
    back = x - way * _TIP
    return f'<path class="tip" d="M{x:g} {y}L{back:g} {y - 4}V{y + 4}Z"/>'


def _arrow_kind(row: Arrow) -> str:
    if row.fate is Fate.LOST:
        return "refused"
    return "" if row.is_whole else "warning"


def _length(said: str) -> float:
    return cell_len(said) * _CHARACTER * 1.06


def _fitting(said: str, width: float) -> str:
    room = int(width / _CHARACTER)
    return said if cell_len(said) <= room else f"{set_cell_size(said, max(room - 1, 1)).rstrip()}…"


def _text(x: float, y: float, said: str, kind: str = "", anchor: str = "start") -> str:
    attributes = f' class="{kind}"' if kind else ""
    if anchor != "start":
        attributes += f' text-anchor="{anchor}"'
    return f'<text x="{x:g}" y="{y:g}"{attributes}>{escape(said)}</text>'
