"""How long to wait for an acknowledgement: RFC 6298, from round trips as they are measured.

Until the first is measured, the wait is as long as somebody thought. After that it is the smoothed round trip
and four times its variation, within bounds. Each time that it was waited in vain it doubles.

What was sent twice measures nothing, for nobody knows which of the two was acknowledged, and until something
else is measured the wait stays as long as it has become (Karn's rule). On a radio that loses, that is longer
than it need be; on a link, or a machine, that has become slow, anything less repeats every PDU for nothing,
and makes it slower still.
"""

from __future__ import annotations

from typing import Final

# RFC 6298 §2.3: the gains of Jacobson's filter, and how many variations are waited beyond the mean.
_SMOOTHED_GAIN: Final = 1 / 8
_VARIATION_GAIN: Final = 1 / 4
_VARIATIONS: Final = 4


class RoundTrip:
    """The round trips on one way, and the time-out that follows from them.

    It is *first_s* to begin with, *least_s* to *most_s* as soon as one was measured.
    """

    __slots__ = ("_doublings", "_least_s", "_measured_s", "_most_s", "_smoothed_s", "_variation_s")

    def __init__(self, *, first_s: float, least_s: float, most_s: float) -> None:
        self._least_s = least_s
        self._most_s = max(most_s, first_s)  # who begins more patiently is not made impatient by waiting
        self._measured_s = first_s  # RTO without its doublings
        self._doublings = 0
        self._smoothed_s: float | None = None  # SRTT
        self._variation_s = 0.0  # RTTVAR

    @property
    def timeout_s(self) -> float:
        """How long to wait now."""
        return self.doubled_s(self._doublings)

    def doubled_s(self, times: int) -> float:
        """Return the measured time-out, doubled so many times."""
        # beyond 2^64 times the least is every ceiling, and floats go no further than 2^1023
        return min(self._measured_s * 2.0 ** min(times, 64), self._most_s)

    def measured(self, round_trip_s: float) -> None:
        """Learn that what went once was acknowledged after *round_trip_s*."""
        found_s = max(0.0, round_trip_s)  # a module's time may have been set back meanwhile
        if self._smoothed_s is None:
            self._smoothed_s, self._variation_s = found_s, found_s / 2
        else:
            off_s = abs(self._smoothed_s - found_s)
            self._variation_s += _VARIATION_GAIN * (off_s - self._variation_s)
            self._smoothed_s += _SMOOTHED_GAIN * (found_s - self._smoothed_s)
        wanted_s = self._smoothed_s + _VARIATIONS * self._variation_s
        self._measured_s = min(max(wanted_s, self._least_s), self._most_s)
        self._doublings = 0

    def back_off(self) -> None:
        """Learn that the time-out passed in vain."""
        self._doublings += 1
