"""A picture of a run's broadcasts: how many modules had the application by when, as SVG.

Plain text, fonts of the viewer's own, nothing fetched; dark where whoever looks at it prefers that.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from agents.fleet.campaign_report import figures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agents.fleet.campaign_report import CampaignReport

WIDTH: Final = 760
_LEFT, _RIGHT, _TOP, _PLOT = 76, 24, 58, 160
_LINE: Final = 19
"""Of text."""
_TICKS: Final = 6
"""At most so many steps of time."""
_STYLE: Final = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px }
.name { font-weight: 600 }
.axis { fill: #59636e }
.ground { fill: #ffffff }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.area { fill: #0969da; fill-opacity: 0.15 }
.curve { fill: none; stroke: #0969da; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .axis { fill: #9198a1 }
  .ground { fill: #0d1117 }
  .grid { stroke: #3d444d }
  .area { fill: #4493f8; fill-opacity: 0.2 }
  .curve { stroke: #4493f8 }
}
"""


def draw(fleet: str, campaigns: Sequence[CampaignReport]) -> str:
    """Return the picture of *campaigns*, one below the other."""
    parts: list[str] = []
    top = 0
    for campaign in campaigns:
        parts += _campaign(campaign, top)
        top += _height(campaign)
    if not campaigns:
        parts, top = [_text(20, 28, "no broadcast was carried out")], 44
    size = f'width="{WIDTH}" height="{top}"'
    name = escape(f"Broadcasts of fleet {fleet}")
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {WIDTH} {top}" role="img">',
            f"<title>{name}</title>",
            f"<style>\n{_STYLE}</style>",
            f'<rect class="ground" {size}/>',
            *parts,
            "</svg>\n",
        )
    )


def _height(campaign: CampaignReport) -> int:
    return _TOP + _PLOT + 60 + _LINE * len(list(figures(campaign)))


def _campaign(campaign: CampaignReport, top: int) -> Iterator[str]:
    yield f'<g transform="translate(0 {top})">'
    yield _text(20, 28, campaign.title, "title")
    yield from _shares(campaign)
    yield from _times(campaign)
    yield from _curve(campaign)
    for number, (name, words) in enumerate(figures(campaign)):
        y = _TOP + _PLOT + 62 + _LINE * number
        yield _text(20, y, name, "name")
        yield _text(110, y, words)
    yield "</g>"


def _shares(campaign: CampaignReport) -> Iterator[str]:
    """Yield a line across, and what it stands for, at each quarter of the targets."""
    yield _text(WIDTH - _RIGHT, 28, f"share of {campaign.targets:,} modules", "axis", "end")
    for quarter in range(5):
        y = _TOP + _PLOT * (4 - quarter) / 4
        yield f'<path class="grid" d="M{_LEFT} {y:g}H{WIDTH - _RIGHT}"/>'
        yield _text(_LEFT - 10, y + 4, f"{quarter / 4:.0%}", "axis", "end")


def _times(campaign: CampaignReport) -> Iterator[str]:
    """Yield round times below the curve."""
    span = campaign.coverage[-1][0] if campaign.coverage else 0.0
    step = round_step(span / _TICKS)
    for tick in range(math.floor(span / step) + 1) if span else ():
        x = _LEFT + (WIDTH - _LEFT - _RIGHT) * tick * step / span
        yield _text(x, _TOP + _PLOT + 18, f"{tick * step:.5g} s", "axis", "middle")
    yield _text(WIDTH - _RIGHT, _TOP + _PLOT + 36, f"{campaign.time} time since the order", "axis", "end")


def round_step(least: float) -> float:
    """Return the first of 1, 2, 5, 10, 20, ... (and of 0.5, 0.2, ...) that is *least* or more."""
    if least <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(least))
    return next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= least)


def _curve(campaign: CampaignReport) -> Iterator[str]:
    """Yield the curve in steps, and the area under it."""
    if not campaign.coverage:
        yield _text(_LEFT + 12, _TOP + 20, "no handset told that its module has it")
        return
    span = campaign.coverage[-1][0] or 1.0
    across, down = (WIDTH - _LEFT - _RIGHT) / span, _PLOT / campaign.targets
    steps = "".join(
        f"H{_LEFT + across * at:.1f}V{_TOP + _PLOT - down * told:.1f}" for at, told in campaign.coverage
    )
    path = f"M{_LEFT} {_TOP + _PLOT}{steps}"
    yield f'<path class="area" d="{path}V{_TOP + _PLOT}Z"/>'
    yield f'<path class="curve" d="{path}"/>'


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    attributes = f' class="{kind}"' if kind else ""
    if anchor != "start":
        attributes += f' text-anchor="{anchor}"'
    return f'<text x="{x:g}" y="{y:g}"{attributes}>{escape(words)}</text>'
