"""How long a report is awaited, by what each handset took before."""

from __future__ import annotations

import pytest

from bus.bearers.report_times import ReportTimes
from bus.bearers.service_centre import SmsSettings

SETTINGS = SmsSettings(report_timeout_s=30.0, attempts=4, backoff_s=2.0, report_most_s=500.0)
SLOW, OTHER = "slow", "other"


def learnt(*reports: tuple[float, bool, bool]) -> ReportTimes:
    """Return what is known after *reports* of SLOW: how long it took, whether sent and reported again."""
    times = ReportTimes(SETTINGS)
    for number, (took_s, sent_again, reported_again) in enumerate(reports):
        reference = bytes([number])
        times.reported(SLOW, reference, took_s, again=sent_again)
        if reported_again:
            times.reported_again(SLOW, reference)
    return times


@pytest.mark.parametrize(
    ("reports", "wait_s"),
    [
        ((), 30.0),
        (((5.0, False, False),), 30.0),  # never less than the time-out
        (((60.0, False, False),), 60.0 + 4 * 30.0),
        (((60.0, True, False),), 30.0),  # lost or late, nobody knows
        (((60.0, True, True),), 60.0 + 4 * 30.0),
        (((5.0, False, True),), 30.0),  # the network doubles now and then
        (((60.0, True, False), (5.0, False, False)), 30.0),
        (((9000.0, False, False),), 500.0),
    ],
    ids=["nothing", "quick", "slow", "unclear", "needless", "doubled", "lost-once", "bounded"],
)
@pytest.mark.parametrize(("attempt", "more_s"), [(1, 2.0), (3, 8.0), (4, 0.0)], ids=str)
def test_waits(
    reports: tuple[tuple[float, bool, bool], ...], wait_s: float, attempt: int, more_s: float
) -> None:
    """What a handset took says how long it is waited for, where that is more than the time-out."""
    times = learnt(*reports)
    assert times.wait_s(SLOW, attempt) == wait_s + more_s
    assert times.wait_s(OTHER, attempt) == 30.0 + more_s


def test_reported_again_counts_once() -> None:
    """Of one message the first report's time is learnt once, and only from its own handset."""
    times = learnt((60.0, True, False))
    times.reported_again(OTHER, b"\0")
    times.reported_again(SLOW, b"another")
    assert times.wait_s(SLOW, 4) == 30.0
    times.reported_again(SLOW, b"\0")
    known = times.wait_s(SLOW, 4)
    times.reported_again(SLOW, b"\0")
    assert times.wait_s(SLOW, 4) == known
