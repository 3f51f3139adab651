from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.air import Presence

EPOCH = 1_750_000_000.0
TIMES = st.floats(0.1, 10_000)
SEEDS = st.binary(min_size=1, max_size=32)


def changes(presence: Presence, count: int) -> list[float]:
    """Return the first *count* changes after launch."""
    found = [EPOCH]
    for _ in range(count):
        found.append(presence.next_change(found[-1]))
    return found[1:]


@given(seed=SEEDS, on_s=TIMES)
def test_without_an_off_time_it_is_always_on(seed: bytes, on_s: float) -> None:
    """A handset that is off for 0 seconds never is, and nothing ever changes."""
    presence = Presence(on_s, 0.0, seed, EPOCH)
    assert presence.is_on(EPOCH)
    assert presence.is_on(EPOCH + 1e9)
    assert presence.next_change(EPOCH + 1e9) == math.inf


@given(seed=SEEDS, on_s=TIMES, off_s=TIMES)
def test_it_begins_on_and_takes_turns(seed: bytes, on_s: float, off_s: float) -> None:
    """On at launch, then off and on in turn at each change, with times about those asked for."""
    presence = Presence(on_s, off_s, seed, EPOCH)
    assert presence.is_on(EPOCH)
    at = EPOCH
    for number in range(20):
        assert presence.is_on(at) is (number % 2 == 0)
        change = presence.next_change(at)
        assert change > at
        at = change
    lasted = [later - earlier for earlier, later in pairwise(changes(Presence(on_s, off_s, seed, EPOCH), 20))]
    for off, on in zip(lasted[::2], lasted[1::2], strict=False):
        assert off_s / 4 - 1e-5 <= off <= off_s * 2.25 + 1e-5
        assert on_s / 4 - 1e-5 <= on <= on_s * 2.25 + 1e-5


@given(seed=SEEDS, on_s=TIMES, off_s=TIMES, steps=st.lists(st.floats(0, 30_000), max_size=30))
def test_the_same_answer_however_it_is_asked(
    seed: bytes, on_s: float, off_s: float, steps: list[float]
) -> None:
    """Whether it was asked on the way there or not, a moment has one answer."""
    asked = Presence(on_s, off_s, seed, EPOCH)
    now = EPOCH
    for step in steps:
        now += step
        fresh = Presence(on_s, off_s, seed, EPOCH)
        assert asked.next_change(now) == fresh.next_change(now)
        assert asked.is_on(now) is fresh.is_on(now)


def test_time_does_not_go_back() -> None:
    """A moment before the latest is taken for the latest."""
    presence = Presence(100.0, 100.0, b"seed", EPOCH)
    first, second = changes(Presence(100.0, 100.0, b"seed", EPOCH), 2)
    assert not presence.is_on(first)
    assert not presence.is_on(EPOCH)
    assert presence.next_change(EPOCH) == second


def test_a_moment_far_away_costs_no_more() -> None:
    """After a hundred million rounds the next change is still found, and near."""
    presence = Presence(0.01, 0.01, b"seed", 0.0)
    now = 2_000_000.0
    assert now < presence.next_change(now) < now + 0.1


def test_a_fleet_does_not_go_off_as_one() -> None:
    """Handsets go off at different times, spread over the on-time, and share the time as asked."""
    fleet = [Presence(300.0, 100.0, b"handset %d" % number, EPOCH) for number in range(1000)]
    firsts = sorted(presence.next_change(EPOCH) - EPOCH for presence in fleet)
    assert firsts[100] < 60.0
    assert firsts[900] > 200.0
    assert len(set(firsts)) == 1000
    on = sum(presence.is_on(EPOCH + 100_000.0) for presence in fleet)
    assert on / 1000 == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize(
    ("on_s", "off_s"),
    [(0.0, 1.0), (0.001, 1.0), (math.inf, 1.0), (math.nan, 0.0), (1.0, -1.0), (1.0, 0.001), (1.0, math.nan)],
)
def test_times_have_bounds(on_s: float, off_s: float) -> None:
    """Times that cannot be told apart, negative or endless ones are refused."""
    with pytest.raises(ValueError, match="is out of bounds"):
        Presence(on_s, off_s, b"seed", EPOCH)
