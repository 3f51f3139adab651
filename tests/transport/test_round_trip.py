"""How long to wait for an acknowledgement, by RFC 6298."""

from __future__ import annotations

import pytest

from transport.round_trip import RoundTrip


def test_time_out_by_hand() -> None:
    """The time-out is RFC 6298's, by hand: 3 s at first, then SRTT and four times RTTVAR."""
    round_trip = RoundTrip(first_s=3.0, least_s=0.1, most_s=30.0)
    assert round_trip.timeout_s == 3.0
    round_trip.measured(0.5)
    assert round_trip.timeout_s == 0.5 + 4 * 0.25
    round_trip.measured(1.0)
    assert round_trip.timeout_s == pytest.approx(0.5625 + 4 * 0.3125)


def test_time_out_within_bounds() -> None:
    """A link as fast as you like is given the least time-out, one as slow as you like the ceiling."""
    round_trip = RoundTrip(first_s=3.0, least_s=1.0, most_s=30.0)
    round_trip.measured(0.0)
    assert round_trip.timeout_s == 1.0
    round_trip.measured(1e9)
    assert round_trip.timeout_s == 30.0
    round_trip.measured(-86400.0)  # the clock was set back meanwhile
    assert round_trip.timeout_s == 30.0


def test_waits_double_up_to_the_ceiling() -> None:
    """Each wait in vain is followed by one of twice the length, but never longer than the ceiling."""
    round_trip = RoundTrip(first_s=3.0, least_s=1.0, most_s=30.0)
    waits = []
    for _ in range(6):
        waits.append(round_trip.timeout_s)
        round_trip.back_off()
    assert waits == [3.0, 6.0, 12.0, 24.0, 30.0, 30.0]
    for _ in range(5000):
        round_trip.back_off()
    assert round_trip.timeout_s == 30.0


def test_patient_from_the_start() -> None:
    """Who is told to begin above the ceiling is not made impatient by waiting in vain."""
    round_trip = RoundTrip(first_s=100.0, least_s=1.0, most_s=30.0)
    round_trip.back_off()
    assert round_trip.timeout_s == 100.0
