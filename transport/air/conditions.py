"""What a bearer does to every PDU: values that refuse to exist when they make no sense."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from transport.air.fates import normal

if TYPE_CHECKING:
    from collections.abc import Mapping

# A delay is cut at this many deviations, so that no PDU comes back from the dead after a day.
_MOST_DEVIATIONS: Final = 3.0
_MOST_SPREAD: Final = 3.0
_HELD_DELAYS: Final = 4.0  # what is held back is held for so many delays, unless the conditions say how long
_LEAST_HOLD_S: Final = 0.05
_MOST_OUTAGES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Nothing passes for *lasts_s* seconds, from *first_s* after launch on; every *every_s* again."""

    lasts_s: float
    every_s: float | None = None
    first_s: float = 0.0

    def __post_init__(self) -> None:
        _refuse(
            {
                "lasts_s": 0 < self.lasts_s < math.inf,
                "every_s": self.every_s is None or self.lasts_s < self.every_s < math.inf,
                "first_s": 0 <= self.first_s < math.inf,
            }
        )

    @classmethod
    def between(cls, begin_s: float, end_s: float) -> Outage:
        """Return the one outage from *begin_s* until *end_s* after launch."""
        return cls(first_s=begin_s, lasts_s=end_s - begin_s)

    def remaining_s(self, since_s: float) -> float:
        """Return for how long nothing will pass yet, *since_s* after launch; 0 when something does."""
        into = since_s - self.first_s
        if into < 0:
            return 0.0
        return max(0.0, self.lasts_s - (into if self.every_s is None else into % self.every_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What one bearer does to every PDU, in each direction; the defaults do nothing.

    *loss*, *duplication* and *reordering* are chances: that a PDU is lost (below 1: something must pass
    some day), that it arrives twice, and that a copy is held back behind later ones. What is held comes
    *hold_s* later, half of that to one and a half times; by default 4 delays.

    The delay is lognormal, as service times of networks are: its median is *delay_s*, never less than
    *delay_min_s*, and *spread* is the standard deviation of the logarithm of what is above that minimum, cut
    at 3 deviations; 0 makes every delay *delay_s*.

    A PDU occupies its lane for as long as *octets_per_s* or *messages_per_s* ask, whichever is longer. What
    would wait more than *max_queue_s* for its turn is lost.
    """

    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    delay_s: float = 0.0
    delay_min_s: float = 0.0
    spread: float = 0.5
    hold_s: float | None = None
    octets_per_s: float | None = None
    messages_per_s: float | None = None
    max_queue_s: float = 3600.0
    outages: tuple[Outage, ...] = ()

    def __post_init__(self) -> None:
        _refuse(
            {
                "loss": 0 <= self.loss < 1,
                "duplication": 0 <= self.duplication <= 1,
                "reordering": 0 <= self.reordering <= 1,
                "delay_s": 0 <= self.delay_s < math.inf,
                "delay_min_s": 0 <= self.delay_min_s <= self.delay_s,
                "spread": 0 <= self.spread <= _MOST_SPREAD,
                "hold_s": self.hold_s is None or _LEAST_HOLD_S <= self.hold_s < math.inf,
                "octets_per_s": _is_rate(self.octets_per_s),
                "messages_per_s": _is_rate(self.messages_per_s),
                "max_queue_s": self.max_queue_s >= 0,
                "outages": len(self.outages) <= _MOST_OUTAGES,
            }
        )

    @property
    def is_clear(self) -> bool:
        """Whether the radio loses, repeats and reorders nothing; it may be slow, its queue full."""
        return not (self.loss or self.duplication or self.reordering or self.outages)

    @property
    def is_instant(self) -> bool:
        """Whether what passes arrives when it was sent."""
        return not (self.delay_s or self.octets_per_s or self.messages_per_s)

    def transmission_s(self, octets: int) -> float:
        """Return for how long a PDU of *octets* octets occupies its lane."""
        by_messages = 1.0 / self.messages_per_s if self.messages_per_s else 0.0
        if not self.octets_per_s:
            return by_messages
        by_octets = octets / self.octets_per_s
        return max(by_octets, by_messages)

    def drawn_delay_s(self, radius: float, angle: float) -> float:
        """Return the delay that two numbers drawn from 0 <= number < 1 stand for."""
        if not (self.delay_s and self.spread):
            return self.delay_s
        deviate = normal(radius, angle, most=_MOST_DEVIATIONS)
        return self.delay_min_s + (self.delay_s - self.delay_min_s) * math.exp(self.spread * deviate)

    def drawn_hold_s(self, number: float) -> float:
        """Return for how long a copy is held back, for a number drawn from 0 <= number < 1."""
        hold = max(_LEAST_HOLD_S, _HELD_DELAYS * self.delay_s) if self.hold_s is None else self.hold_s
        return hold * (0.5 + number)

    def out_for_s(self, since_s: float) -> float:
        """Return how long it will be until something passes, *since_s* after launch; 0 outside all outages.

        Outages that overlap so that there is never an end are left after 64 of them.
        """
        waited = 0.0
        for _ in range(_MOST_OUTAGES):
            longest = max((outage.remaining_s(since_s + waited) for outage in self.outages), default=0.0)
            if not longest:
                break
            waited += longest
        return waited


def _is_rate(rate: float | None) -> bool:
    return rate is None or 0 < rate < math.inf


def _refuse(checks: Mapping[str, bool]) -> None:
    for name, holds in checks.items():
        if not holds:
            raise ValueError(f"{name} is out of bounds")
