"""What a supplier has broadcast, and whom it loaded one by one: for the report, of this launch alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OPEN: Final = "open"
"""The state of a campaign that is not over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageAired:
    """One stage of a campaign; its seconds count from the order on."""

    cells: int
    holders: int
    begun_s: float
    ended_s: float
    why: str
    """Why the campaign went on from it, or stopped in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Airing:
    """One order's broadcast, from its first page to its last, or to the last so far."""

    traces: frozenset[bytes]
    """By which its pages went: the order's, and those of orders that joined it."""
    scheme: str
    packets: int
    """In a cycle, each as often as it comes."""
    pages: int
    """In a cycle."""
    repair_pages: int
    """Those among them with pieces of error correction."""
    cells: int
    repetitions: int
    published: int
    """Pages, once for each cell."""
    planned: int = 0
    """Pages, once for each cell, if it is broadcast to its end."""
    is_whole: bool = True
    """Whether this launch began it: else an earlier one published some of its pages, or all."""
    state: str = "ended"
    """How the campaign ended; ``open`` where it has not."""
    reason: str = ""
    stages: tuple[StageAired, ...] = ()


class Airings:
    """One supplier's."""

    def __init__(self) -> None:
        self.ended: list[Airing] = []
        self.found: set[tuple[str, str, int]] = set()
        """Modules, with service and version, that a broadcast had loaded: they said so when served."""
        self.brought: dict[tuple[str, str, int], str] = {}
        """And those that were loaded when served: over which bearer."""
