from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.air import Conditions, Outage
from transport.air.fates import MOST, draw, normal, run_length

SEED = b"a seed of the tests"
UNITS = st.floats(0, 1, exclude_max=True)


# ---- drawn numbers ----


def test_draws_are_repeatable() -> None:
    """The same seed and place give the same numbers, however many are asked for; others give others."""
    assert draw(SEED, 7, 10) == draw(SEED, 7, 10)
    assert draw(SEED, 7, 3) == draw(SEED, 7, 10)[:3]
    assert draw(SEED, 7, 3) != draw(SEED, 8, 3)
    assert draw(SEED, 7, 3) != draw(b"another", 7, 3)


def test_draws_never_change_between_versions() -> None:
    """The numbers are those of SHAKE-256, so that a seed in a report still means the same run later."""
    # openssl dgst -shake256 -xoflen 16, of eight zero octets and "seed"
    words = [0xD52A36517A77D1D4, 0x0785FADF374D541C]
    numbers = draw(b"seed", 0, 2)
    assert numbers == tuple((word >> 11) / 2**53 for word in words)


def test_draws_are_even() -> None:
    """Each of the numbers of a draw is spread evenly from 0 to 1, 1 excluded."""
    columns = list(zip(*(draw(SEED, place, MOST) for place in range(4000)), strict=True))
    assert len(columns) == MOST
    for column in columns:
        assert min(column) >= 0
        assert max(column) < 1
        assert sum(column) / len(column) == pytest.approx(0.5, abs=0.03)
        assert sum(number < 0.2 for number in column) / len(column) == pytest.approx(0.2, abs=0.03)


@given(radius=UNITS, angle=UNITS, most=st.floats(0, 10))
def test_deviates_are_cut(radius: float, angle: float, most: float) -> None:
    """No two numbers give a deviate beyond the bound."""
    assert -most <= normal(radius, angle, most=most) <= most


@pytest.mark.parametrize("chance", [0.1, 0.5, 0.9])
def test_runs_are_as_long_as_their_chance(chance: float) -> None:
    """A run of n happens with chance to the n."""
    runs = [run_length(draw(SEED, place, 1)[0], chance) for place in range(4000)]
    for length in (1, 2, 3):
        assert sum(run >= length for run in runs) / len(runs) == pytest.approx(chance**length, abs=0.03)


def test_no_chance_no_run() -> None:
    """What never happens never happens in a row either."""
    assert run_length(1 - 2**-53, 0.0) == 0


# ---- outages ----


@pytest.mark.parametrize(
    ("outage", "since_s", "remaining_s"),
    [
        (Outage(lasts_s=5), -1.0, 0.0),
        (Outage(lasts_s=5), 0.0, 5.0),
        (Outage(lasts_s=5), 4.0, 1.0),
        (Outage(lasts_s=5), 5.0, 0.0),
        (Outage(lasts_s=5), 500.0, 0.0),
        (Outage(lasts_s=5, every_s=60), 62.0, 3.0),
        (Outage(lasts_s=5, every_s=60), 65.0, 0.0),
        (Outage(lasts_s=5, every_s=60, first_s=10), 2.0, 0.0),
        (Outage(lasts_s=5, every_s=60, first_s=10), 72.0, 3.0),
        (Outage.between(100, 130), 99.0, 0.0),
        (Outage.between(100, 130), 110.0, 20.0),
        (Outage.between(100, 130), 130.0, 0.0),
    ],
)
def test_outages(outage: Outage, since_s: float, remaining_s: float) -> None:
    """An outage takes its own seconds, once or again in each period, and not its end."""
    assert outage.remaining_s(since_s) == remaining_s
    assert Conditions(outages=(outage,)).out_for_s(since_s) == remaining_s


def test_outages_that_touch_are_one() -> None:
    """Whoever waits for the end of one outage waits for the end of the next that began meanwhile."""
    conditions = Conditions(outages=(Outage.between(0, 10), Outage.between(8, 20), Outage.between(20, 21)))
    assert conditions.out_for_s(1.0) == 20.0
    assert conditions.out_for_s(21.0) == 0.0


def test_outages_without_end_are_left() -> None:
    """Outages that cover each other's gaps for ever are not waited for for ever."""
    ever = (Outage(lasts_s=6, every_s=10), Outage(lasts_s=6, every_s=10, first_s=5))
    assert 0 < Conditions(outages=ever).out_for_s(0.0) < math.inf


@pytest.mark.parametrize(
    "values",
    [
        {"lasts_s": 0.0},
        {"lasts_s": -1.0},
        {"lasts_s": math.inf},
        {"lasts_s": math.nan},
        {"lasts_s": 5.0, "every_s": 5.0},
        {"lasts_s": 5.0, "every_s": math.inf},
        {"lasts_s": 5.0, "first_s": -1.0},
    ],
    ids=str,
)
def test_outages_refuse_to_make_no_sense(values: dict[str, Any]) -> None:
    """An outage without length, or longer than its period, does not exist."""
    with pytest.raises(ValueError, match="is out of bounds"):
        Outage(**values)


# ---- conditions ----


@pytest.mark.parametrize(
    "values",
    [
        {"loss": 1.0},
        {"loss": -0.1},
        {"loss": math.nan},
        {"duplication": 1.1},
        {"reordering": -0.1},
        {"delay_s": -1.0},
        {"delay_s": math.inf},
        {"delay_s": 1.0, "delay_min_s": 2.0},
        {"spread": 4.0},
        {"hold_s": 0.0},
        {"octets_per_s": 0.0},
        {"messages_per_s": math.inf},
        {"max_queue_s": -1.0},
        {"max_queue_s": math.nan},
        {"outages": (Outage(lasts_s=1.0),) * 65},
    ],
    ids=lambda values: "-".join(values) + f"-{len(str(values))}",
)
def test_conditions_refuse_to_make_no_sense(values: dict[str, Any]) -> None:
    """Each value has bounds, and the sentence names the one that breaks them."""
    with pytest.raises(ValueError, match=f"^({'|'.join(values)}) is out of bounds$"):
        Conditions(**values)


@pytest.mark.parametrize(
    ("conditions", "clear", "instant"),
    [
        (Conditions(), True, True),
        (Conditions(delay_s=2.0), True, False),
        (Conditions(octets_per_s=100.0), True, False),
        (Conditions(messages_per_s=1.0), True, False),
        (Conditions(loss=0.1), False, True),
        (Conditions(duplication=0.1), False, True),
        (Conditions(reordering=0.1), False, True),
        (Conditions(outages=(Outage(lasts_s=1.0),)), False, True),
    ],
    ids=["none", "delay", "octets", "messages", "loss", "duplication", "reordering", "outage"],
)
def test_clear_and_instant(conditions: Conditions, *, clear: bool, instant: bool) -> None:
    """Clear is what changes nothing but the time, instant what changes no time."""
    assert conditions.is_clear is clear
    assert conditions.is_instant is instant


def test_transmission() -> None:
    """A PDU occupies its lane as long as the slower of the two rates asks."""
    assert Conditions().transmission_s(100) == 0.0
    assert Conditions(octets_per_s=50.0).transmission_s(100) == 2.0
    assert Conditions(messages_per_s=4.0).transmission_s(100) == 0.25
    both = Conditions(octets_per_s=50.0, messages_per_s=1.0)
    assert (both.transmission_s(100), both.transmission_s(10)) == (2.0, 1.0)


def test_delays_are_lognormal_about_their_median() -> None:
    """Half the delays are below the median, two thirds within one deviation, none below the minimum."""
    conditions = Conditions(delay_s=3.0, delay_min_s=1.0, spread=0.5)
    delays = [conditions.drawn_delay_s(*draw(SEED, place, 2)) for place in range(4000)]
    assert min(delays) > 1.0
    assert max(delays) <= 1.0 + 2.0 * math.exp(1.5)
    assert sum(delay < 3.0 for delay in delays) / 4000 == pytest.approx(0.5, abs=0.03)
    within = sum(2.0 * math.exp(-0.5) <= delay - 1.0 <= 2.0 * math.exp(0.5) for delay in delays)
    assert within / 4000 == pytest.approx(0.683, abs=0.03)


@given(radius=UNITS, angle=UNITS)
def test_delays_without_spread(radius: float, angle: float) -> None:
    """Without spread every delay is the median, and without a delay there is none."""
    assert Conditions(delay_s=3.0, spread=0.0).drawn_delay_s(radius, angle) == 3.0
    assert Conditions(spread=1.0).drawn_delay_s(radius, angle) == 0.0


@pytest.mark.parametrize(
    ("conditions", "hold_s"),
    [
        (Conditions(hold_s=8.0), 8.0),
        (Conditions(delay_s=2.0), 8.0),
        (Conditions(), 0.05),
    ],
    ids=["given", "of-delay", "least"],
)
def test_holds(conditions: Conditions, hold_s: float) -> None:
    """What is held back is held half to one and a half times as long as said, or as four delays last."""
    assert conditions.drawn_hold_s(0.0) == hold_s * 0.5
    assert conditions.drawn_hold_s(0.5) == hold_s
