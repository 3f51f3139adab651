"""How often a message is broadcast, and when."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PERIOD_UNIT_S: Final = 1.883
"""Eight 51-multiframes: the time that the channel needs for one page, in seconds."""
MAX_PERIOD: Final = 4095
MAX_COUNT: Final = 0xFFFF


# TS 23.041 §9.3.8 and §9.3.9
@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Repetition *period* in units of 1.883 s (1..4095); *count* of broadcasts (1..65535, 0: without end)."""

    period: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        """Refuse what a network cannot be asked for."""
        if not 1 <= self.period <= MAX_PERIOD:
            raise ValueError(f"a repetition period is 1..{MAX_PERIOD}, not {self.period}")
        if not 0 <= self.count <= MAX_COUNT:
            raise ValueError(f"a number of broadcasts is 0..{MAX_COUNT}, not {self.count}")

    def nth(self, start: float, n: int) -> float:
        """Return when broadcast *n* (from 0) begins if the first does at *start*, both in seconds.

        ``ValueError`` when there is no broadcast *n*.
        """
        if n < 0 or (self.count and n >= self.count):
            raise ValueError(f"there is no broadcast {n} of {self.count or 'endless'}")
        return start + n * self.period * PERIOD_UNIT_S

    def times(self, start: float) -> Iterator[float]:
        """Yield when each broadcast begins, the first at *start*; never ends when the count is 0."""
        return (self.nth(start, n) for n in islice(count(), self.count or None))
