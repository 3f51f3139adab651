"""When a handset is switched on."""

from __future__ import annotations

import math
from typing import Final

from transport.air.fates import draw

_SHORTEST_S: Final = 0.01  # far above what a float can tell apart in seconds since 1970
# The first draw makes the handset's habit, draw n + 1 the two changes of its n-th round.
_HABIT: Final = 0


class Presence:
    """One handset's times: on at *epoch*, then off and on in turn; always on when *off_s* is 0.

    Each handset has a habit drawn from *seed*: its own mean times, between half and one and a half times
    *on_s* and *off_s*, and how far into its on-time it is at *epoch*, so that a fleet does not go off as one.
    Each single time then differs from the habit by up to half of the shorter of the two.

    Any moment is found in constant time. One before the latest asked for is taken for that one.
    """

    __slots__ = ("_change", "_from", "_jitter_s", "_off_after_s", "_on", "_round_s", "_seed")

    def __init__(self, on_s: float, off_s: float, seed: bytes, epoch: float) -> None:
        if not _SHORTEST_S <= on_s < math.inf:
            raise ValueError("on_s is out of bounds")
        if off_s and not _SHORTEST_S <= off_s < math.inf:
            raise ValueError("off_s is out of bounds")
        self._seed = seed
        of_on, of_off, of_phase = draw(seed, _HABIT, 3)
        self._off_after_s = on_s * (0.5 + of_on)
        own_off_s = off_s * (0.5 + of_off)
        self._round_s = self._off_after_s + own_off_s
        self._jitter_s = min(self._off_after_s, own_off_s) / 4
        into_s = self._jitter_s + of_phase * (self._off_after_s - 2 * self._jitter_s)
        self._from = epoch - into_s
        self._on = True
        self._change = epoch if off_s else math.inf

    def is_on(self, now: float) -> bool:
        """Return whether the handset is on at *now* (seconds)."""
        if now >= self._change:
            self._find(now)
        return self._on

    def next_change(self, now: float) -> float:
        """Return the first time after *now* at which it goes off or on; infinity when it never does."""
        if now >= self._change:
            self._find(now)
        return self._change

    def _find(self, now: float) -> None:
        """Find the first change after *now*: a round early or late is as far as the changes stray."""
        number = max(0, math.floor((now - self._from) / self._round_s))
        changes = (*self._changes(number), *self._changes(number + 1))
        place = next(place for place, change in enumerate(changes) if change > now)
        self._change = changes[place]
        self._on = place % 2 == 1

    def _changes(self, number: int) -> tuple[float, float]:
        """Return when the *number*-th round goes on and when it goes off."""
        of_on, of_off = draw(self._seed, number + 1, 2)
        begin = self._from + number * self._round_s
        return (
            begin + self._jitter_s * (2 * of_on - 1),
            begin + self._off_after_s + self._jitter_s * (2 * of_off - 1),
        )
