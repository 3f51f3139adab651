"""Dividing the zone: pure arithmetic on extents, a ``(start, end)`` pair of offsets, end not included.

What is taken comes from DEF; what is free is what lies between. There is no list of free areas to be kept,
and so none that could be wrong after a power cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from agents.handset.security_module.errors import MemoryFull

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class AreaKind(StrEnum):
    """What an area of the image is used for."""

    OPERATING = "operating"
    DEFINITIONS = "definitions"
    CODE = "code"
    DATA = "data"
    FREE = "free"


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """An area of the memory map; ``owner`` is the service of a resource's code or data, else empty."""

    start: int
    end: int
    kind: AreaKind
    owner: str = ""

    @property
    def size(self) -> int:
        """Octets in the area."""
        return self.end - self.start


def gaps(start: int, end: int, taken: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the free extents between ``start`` and ``end``; raise ValueError when taken ones overlap."""
    free, at = [], start
    for taken_start, taken_end in sorted(taken):
        if taken_start < at or taken_end < taken_start or taken_end > end:
            raise ValueError(f"{taken_start}..{taken_end} overlaps or is outside {start}..{end}")
        if taken_start > at:
            free.append((at, taken_start))
        at = taken_end
    if at < end:
        free.append((at, end))
    return free


def best_fit(free: Sequence[tuple[int, int]], size: int) -> int:
    """Return where ``size`` octets fit with the least left over, lowest first.

    Raise MemoryFull: ``zone-full`` when that many octets are not free at all, ``zone-fragmented`` when they
    are but not in one piece, ``no-size`` when the size is not positive.
    """
    if size <= 0:
        # A size may come straight from a command: it is refused, not a fault of ours.
        raise MemoryFull("no-size", f"an area has at least one octet, not {size}")
    fitting = [(end - start, start) for start, end in free if end - start >= size]
    if fitting:
        return min(fitting)[1]
    total = sum(end - start for start, end in free)
    reason = "zone-fragmented" if total >= size else "zone-full"
    raise MemoryFull(reason, f"{size} octets wanted, {total} free")


def fragmentation(free: Sequence[tuple[int, int]]) -> float:
    """Return the share of free octets that lie outside the largest free area: 0.0 is none."""
    sizes = [end - start for start, end in free]
    return 1.0 - max(sizes) / sum(sizes) if sizes else 0.0
