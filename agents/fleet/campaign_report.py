"""What one broadcast of an application came to: frozen values, as JSON and on the screen.

Nothing here measures anything (``campaigns`` does). What is not known is None, which is JSON's null, and said
so on the screen: a launch that resumes has the ledger, but not what the one before it sent.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from agents.fleet.arrivals import Way, by_cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

    from agents.airings import StageAired
    from agents.fleet.arrivals import Arrival

_COLUMNS: Final = 60
_ROWS: Final = 6
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_COUNTS: Final = ("modules", "by_broadcast", "untold", "had_before", "one_by_one", "without")
_CELLS: Final = 12
"""Cells on the screen; the report has all."""
_ENDED: Final = "ended"
_UNKNOWN: Final = "not known: an earlier launch sent it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What goes over the air: pages or short messages, octets of their PDUs, and the seconds that these take.

    The seconds are simulated, by the config's rates, and those of all cells or handsets added up.
    """

    messages: int
    octets: int
    air_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What the supplier broadcast."""

    scheme: str
    packets: int
    """In a cycle."""
    pages: int
    """In a cycle."""
    repair_pages: int
    """Those among them that carry error correction."""
    repetitions: int
    cells: int
    published: int
    """Pages, once for each repetition and cell, by this launch."""
    lost: int | None
    """Pages that handsets did not hear, each counted; None where others broadcast as well."""
    lost_by_all: int
    """Those of all broadcasts of the run."""
    load: Load
    planned: int = 0
    """Pages, if it is broadcast to its end."""
    is_whole: bool = True
    """Whether this launch published all that was published."""
    state: str = "ended"
    """How the supplier's campaign ended."""
    reason: str = ""
    """Why, where that was before its end."""
    stages: tuple[StageAired, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """How many modules reported which outcome to the supplier, of the last campaign of the version."""

    loaded: int
    held: int
    refused: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Why they refused it, by those that have reported of no other campaign since."""

    @property
    def words(self) -> str:
        """Each outcome with its count, and why it was refused."""
        why = ", ".join(f"{count} {reason}" for reason, count in self.reasons.items())
        counts = f"{self.loaded} loaded, {self.held} held, {self.refused} refused"
        return f"{counts}: {why}" if why else counts


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignReport:
    """One step ``broadcast``."""

    step: int
    service: str
    version: int
    programme_octets: int
    targets: int
    """Modules that the broadcast was for."""
    arrivals: tuple[Arrival, ...]
    """How each module came by it: the targets, and those that came too late for it and were served."""
    time: str
    """Whose seconds the curve has: ``simulated``, or ``wall`` where neither pages nor anybody take any."""
    coverage: tuple[tuple[float, int], ...]
    """How many modules had it by when, of those that told, in seconds from the order on."""
    clock: str
    """Whose seconds stages have: ``simulated``, or ``wall`` where nothing waits for the air."""
    sent: Sent | None
    """None when an earlier launch sent it."""
    unicast: Load
    """What the programme alone would have taken by short messages, each sent once, to the modules that the
    broadcast loaded."""
    reported: Reported | None = None
    """None when nobody was asked to."""
    state: str = "ended"
    """How it stands: ``ended``, ``stopped``, ``aborted``, ``expired``, or ``open`` where it has not ended."""
    reason: str = ""
    """Why, where that is not its end."""

    @property
    def modules(self) -> int:
        """The targets, and those that came too late for it and were served."""
        return len(self.arrivals)

    @property
    def by_broadcast(self) -> int:
        """How many modules have it by the broadcast."""
        return self._count(Way.BROADCAST)

    @property
    def untold(self) -> int:
        """Those among them of which only their supplier learned that they have it, when it served them."""
        return sum(each.way is Way.BROADCAST and each.at_s is None for each in self.arrivals)

    @property
    def had_before(self) -> int:
        """Targets that had it: from an earlier broadcast of that version, or their supplier."""
        return self._count(Way.BEFORE)

    @property
    def one_by_one(self) -> int:
        """Modules that were loaded when they were served afterwards, until the service's next broadcast."""
        return self._count(Way.SERVED)

    @property
    def without(self) -> int:
        """How many modules have nothing of it."""
        return self._count(Way.NONE)

    def _count(self, way: Way) -> int:
        return sum(arrival.way is way for arrival in self.arrivals)

    def to_json(self) -> dict[str, Any]:
        """Return the campaign as JSON values."""
        values = asdict(self) | {name: getattr(self, name) for name in _COUNTS}
        values["coverage"] = [{"s": at, "modules": modules} for at, modules in self.coverage]
        values["cells"] = [{"cell": share.cell} | dict(share.ways) for share in by_cell(self.arrivals)]
        return values

    def render(self, console: Console) -> None:
        """Draw the campaign for a person."""
        console.print(Text.assemble("\n", (self.title, "bold")), highlight=False)
        for line in chart(self):
            console.print(Text(line), highlight=False, no_wrap=True)
        console.print(_figures(self), highlight=False)
        if len(by_cell(self.arrivals)) > 1 and not _common_way(self):
            console.print(_cells(self), highlight=False)

    @property
    def title(self) -> str:
        """What the campaign is called."""
        return f"Broadcast of {self.service}, version {self.version} (step {self.step})"


def chart(campaign: CampaignReport) -> Iterator[str]:
    """Yield the lines of the curve: the share of the targets that had told, over the seconds."""
    if not (campaign.coverage and campaign.targets):
        yield "  no handset told that its module has it"
        return
    heights = list(_heights(campaign))
    for row in reversed(range(_ROWS)):
        cells = "".join(_EIGHTHS[max(0, min(8, height - 8 * row))] for height in heights)
        label = {_ROWS - 1: "100 %", 0: "0 %"}.get(row, "")
        yield f"{label:>5} │{cells}".rstrip()
    yield "      └" + "─" * _COLUMNS
    last = f"{seconds(campaign.coverage[-1][0])} {campaign.time} time"
    yield f"       0{last:>{_COLUMNS - 1}}"


def _heights(campaign: CampaignReport) -> Iterator[int]:
    """Yield the curve's height at the end of each column, in eighths of a row."""
    span = campaign.coverage[-1][0]
    points = iter(campaign.coverage)
    following = next(points, None)
    modules = 0
    for column in range(1, _COLUMNS + 1):
        until = span if column == _COLUMNS else span * column / _COLUMNS
        while following is not None and following[0] <= until:
            modules, following = following[1], next(points, None)
        yield math.floor(8 * _ROWS * modules / campaign.targets)


def seconds(value: float) -> str:
    """Return a time as short as it can be read."""
    return f"{value:,.0f} s" if value >= 100 else f"{value:.2f} s"


def _figures(campaign: CampaignReport) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, words in figures(campaign):
        table.add_row(Text(name, "bold"), Text(words))
    return table


def _cells(campaign: CampaignReport) -> Table:
    """Return the share of each cell, those first in which most modules are without."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("cell")
    for heading in ("modules", *(way.value for way in Way), "share"):
        table.add_column(heading, justify="right")
    shares = by_cell(campaign.arrivals)
    for share in shares[:_CELLS]:
        loaded = 1 - share.count(Way.NONE) / share.modules
        counts = (str(share.count(way)) for way in Way)
        table.add_row(share.cell, str(share.modules), *counts, f"{math.floor(loaded * 1000) / 10:g} %")
    if len(shares) > _CELLS:
        rest = shares[_CELLS:]
        counts = (str(sum(share.count(way) for share in rest)) for way in Way)
        table.add_row(f"{len(rest)} more", str(sum(share.modules for share in rest)), *counts, "")
    return table


def figures(campaign: CampaignReport) -> Iterator[tuple[str, str]]:
    """Yield what there is to say beside the curve, a line each: what it is, what it comes to."""
    others = campaign.modules - campaign.targets
    told = campaign.coverage[-1][1] if campaign.coverage else 0
    share = f", {told} of them told ({math.floor(1000 * told / campaign.targets) / 10:g} %)" if told else ""
    yield "targets", f"{campaign.targets}{share}" + (f"; {others} others served afterwards" if others else "")
    untold = f" ({campaign.untold} told when served)" if campaign.untold else ""
    before = f", {campaign.had_before} had it before" if campaign.had_before else ""
    bearers = Counter(each.bearer for each in campaign.arrivals if each.bearer)
    over = ", ".join(f"{count} over {bearer}" for bearer, count in sorted(bearers.items()))
    served = f"{campaign.one_by_one} one by one afterwards" + (f" ({over})" if over else "")
    afterwards = f"{served}, {campaign.without} without"
    yield "loaded", f"{campaign.by_broadcast} by broadcast{untold}{before}, {afterwards}"
    if campaign.reported is not None:
        yield "reported", campaign.reported.words
    if campaign.sent is None:
        yield "sent", _UNKNOWN
    else:
        yield from _sent(campaign.sent, campaign.programme_octets)
    yield "instead", _instead(campaign)
    if campaign.sent is not None:
        yield from _stages(campaign.sent, campaign.clock)
    if campaign.state != _ENDED or _is_staged(campaign):
        yield "campaign", _standing(campaign)
    if way := _common_way(campaign):
        yield "cells", f"{len(by_cell(campaign.arrivals))}, the same in each: {way}"


def _sent(sent: Sent, octets: int) -> Iterator[tuple[str, str]]:
    repair = f"{sent.repair_pages / sent.pages:.0%} of them repair" if sent.repair_pages else "none repair"
    what = f"{octets:,} octets ({sent.scheme}) in {sent.packets:,} packets, {sent.pages:,} pages"
    yield "a cycle", f"{what}, {repair}"
    rounds = f"{sent.pages:,} a cycle, repetitions {sent.repetitions}, cells {sent.cells}"
    of = f" of {sent.planned:,}" if sent.published < sent.planned else ""
    yield "sent", f"{sent.published:,}{of} pages: {rounds}"
    if not sent.is_whole:
        yield "before", "an earlier launch sent pages too"
    whose = "" if sent.lost is not None else ", in all broadcasts of the run"
    yield "lost", f"{sent.lost_by_all:,} on the way to handsets{whose}"
    yield "broadcast", _load(sent.load, "pages")


def _stages(sent: Sent, clock: str) -> Iterator[tuple[str, str]]:
    """Yield what became of each stage, where there were several, or one that was judged or cut short."""
    clock = "" if clock == "simulated" else f" {clock} time"
    if len(sent.stages) > 1 or sent.state != _ENDED:
        for number, stage in enumerate(sent.stages, 1):
            modules = f"{stage.holders} module{'s' * (stage.holders != 1)}"
            cells = f"{stage.cells} cell{'s' * (stage.cells != 1)}, {modules}"
            span = f"from {seconds(stage.begun_s)} to {seconds(stage.ended_s)}{clock}"
            yield f"stage {number}", f"{cells}, {span}: {stage.why or 'not over'}"


def _common_way(campaign: CampaignReport) -> str:
    """Return by which way all modules came by it, where there is one and several cells; else nothing."""
    ways = {arrival.way for arrival in campaign.arrivals}
    return ways.pop().value if len(ways) == 1 and len(by_cell(campaign.arrivals)) > 1 else ""


def _is_staged(campaign: CampaignReport) -> bool:
    return campaign.sent is not None and len(campaign.sent.stages) > 1


def _standing(campaign: CampaignReport) -> str:
    """Return how the campaign stands, and why if that says more."""
    why = f": {campaign.reason}" if campaign.reason not in {"", campaign.state} else ""
    return campaign.state + why


def _instead(campaign: CampaignReport) -> str:
    """Return what it would have taken to load those one by one whom the broadcast loaded."""
    if not campaign.by_broadcast:
        return "nothing: it loaded nobody"
    modules = f"{campaign.by_broadcast} module{'s' * (campaign.by_broadcast != 1)}"
    return f"{_load(campaign.unicast, 'short messages')}, for {modules} one by one"


def _load(load: Load, what: str) -> str:
    return f"{load.messages:,} {what}, {load.octets:,} octets, {load.air_s:,.0f} s on air"
