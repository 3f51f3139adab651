"""How each module came by a version that was broadcast, and what that comes to in each cell."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Way(StrEnum):
    """How a module came by it."""

    BROADCAST = "broadcast"
    BEFORE = "before"
    """It had it: from an earlier broadcast of that version, or its supplier."""
    SERVED = "served"
    """By its supplier afterwards, until the next broadcast of the service."""
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One module's."""

    ua: str
    cell: str
    way: Way
    at_s: float | None = None
    """When it had it, as its handset told, in seconds from the order on; None where only its supplier learned
    of it."""
    bearer: str = ""
    """What the supplier brought it over; empty for other ways, and where an earlier launch did."""

    @property
    def words(self) -> str:
        """The way, with its bearer."""
        return f"{self.way} over {self.bearer}" if self.bearer else self.way.value


@dataclass(frozen=True, slots=True, kw_only=True)
class CellShare:
    """What it came to in one cell: modules by way."""

    cell: str
    ways: tuple[tuple[str, int], ...]

    @property
    def modules(self) -> int:
        """How many modules the campaign is about there."""
        return sum(count for _, count in self.ways)

    def count(self, way: Way) -> int:
        """Return how many came by it that *way*."""
        return dict(self.ways)[way.value]


def by_cell(arrivals: Iterable[Arrival]) -> list[CellShare]:
    """Return the share of each cell: those first in which most modules are without, then by name."""
    cells: dict[str, Counter[Way]] = {}
    for arrival in arrivals:
        cells.setdefault(arrival.cell, Counter())[arrival.way] += 1
    shares = [
        CellShare(cell=cell, ways=tuple((way.value, ways[way]) for way in Way))
        for cell, ways in cells.items()
    ]
    return sorted(shares, key=lambda share: (-share.count(Way.NONE), _natural(share.cell)))


def _natural(cell: str) -> tuple[str, int]:
    """Return what sorts ``city.2`` before ``city.10``."""
    group, _, number = cell.rpartition(".")
    return group, int(number)
