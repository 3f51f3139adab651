"""References that grow old, and the memory of those that were taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import freshness
from agents.errors import MessageRejected
from agents.freshness import COUNTER_WINDOW, WINDOW_S, References, Taken, heard
from agents.randomness import make_rng
from tests.bus.manual_clock import ManualClock


def rng(count: int) -> bytes:
    """Return the highest octets there are."""
    return b"\xff" * count


def at(second: int, count: int = 0) -> bytes:
    """Return the reference that was made in *second* of the epoch."""
    return (second & 0xFFFFFFFF).to_bytes(4, "big") + count.to_bytes(4, "big")


def test_references_say_their_second_and_count_up() -> None:
    """The first half is the clock's second, the second half a count that begins anywhere and wraps."""
    clock = ManualClock(1_750_000_000.9)
    references = References(clock, rng)
    assert references.next() == at(1_750_000_000, 0)
    clock.advance(1.0)
    assert references.next() == at(1_750_000_001, 1)


def test_no_two_references_of_two_makers_are_alike() -> None:
    """Makers of the same second begin at counts of their own."""
    clock = ManualClock()
    makers = [References(clock, make_rng(1, label)) for label in ("a", "b", "c")]
    made = [maker.next() for maker in makers for _ in range(1000)]
    assert len(set(made)) == len(made)


def test_a_reference_is_taken_once() -> None:
    """Taken again it is a replay; of another sender the same octets are another reference."""
    clock = ManualClock()
    taken = Taken[str](clock)
    now = at(int(clock.now()))
    taken.take("mno", now, "first")
    taken.take("bank", now, "other")
    with pytest.raises(MessageRejected, match="replayed"):
        taken.take("mno", now, "second")
    assert (taken.get("mno", now), taken.get("bank", now), taken.get("shop", now)) == (
        "first",
        "other",
        None,
    )


@given(age=st.integers(min_value=-(1 << 31), max_value=1 << 31))
def test_only_references_of_these_minutes_are_taken(age: int) -> None:
    """What is older than the window, or as far ahead, is stale, and is not remembered."""
    clock = ManualClock(1_750_000_000.0)
    taken = Taken[None](clock)
    reference = at(1_750_000_000 - age)
    if abs(age) <= WINDOW_S:
        taken.take("mno", reference, None)
        with pytest.raises(MessageRejected, match="replayed"):
            taken.take("mno", reference, None)
    else:
        with pytest.raises(MessageRejected, match="stale"):
            taken.take("mno", reference, None)
        assert taken.get("mno", reference) is None


def test_what_is_too_old_is_forgotten_and_stays_refused() -> None:
    """After the window the memory lets a reference go, and its age refuses it from then on."""
    clock = ManualClock(1_750_000_000.0)
    taken = Taken[str](clock)
    old = at(1_750_000_000)
    taken.take("mno", old, "value")
    clock.advance(WINDOW_S + 1)
    taken.take("mno", at(int(clock.now())), "new")
    assert taken.get("mno", old) is None
    with pytest.raises(MessageRejected, match="stale"):
        taken.take("mno", old, "again")


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come in a window, the oldest gives way to the newest."""
    monkeypatch.setattr(freshness, "MOST", 4)
    clock = ManualClock(1_750_000_000.0)
    taken = Taken[int](clock)
    references = [at(1_750_000_000, count) for count in range(6)]
    for count, reference in enumerate(references):
        taken.take("mno", reference, count)
    assert [taken.get("mno", reference) for reference in references] == [None, None, 2, 3, 4, 5]


def test_a_value_may_be_settled_later() -> None:
    """What was taken gets its value when there is one; what is forgotten gets none."""
    clock = ManualClock()
    taken = Taken[str](clock)
    one, two = at(int(clock.now()), 1), at(int(clock.now()), 2)
    taken.take("mno", one, "")
    taken.settle("mno", one, "reply")
    taken.settle("mno", two, "reply")
    assert (taken.get("mno", one), taken.get("mno", two)) == ("reply", None)


def test_what_is_let_go_may_be_taken_again() -> None:
    """A message that found no room may come again; forgetting twice is no fault."""
    clock = ManualClock()
    taken = Taken[str](clock)
    now = at(int(clock.now()))
    taken.take("mno", now, "first")
    taken.forget("mno", now)
    taken.forget("mno", now)
    taken.take("mno", now, "second")
    assert taken.get("mno", now) == "second"


@given(st.permutations(range(1, 24)))
def test_counters_out_of_order(order: list[int]) -> None:
    """Whatever order counters of one window come in, each is heard once, and only the latest once more."""
    latest = window = 0
    for place, counter in enumerate(order):
        after = heard(counter, latest, window)
        assert after is not None
        latest, window = max(latest, counter), after
        for before in order[: place + 1]:
            assert (heard(before, latest, window) is None) is (before != latest)


def test_counters_that_are_too_old() -> None:
    """What is a window behind the latest is not heard, and a leap forgets all that was before it."""
    window = heard(100, 0, 0)
    assert window is not None
    assert heard(100 - COUNTER_WINDOW, 100, window) is None
    assert heard(101 - COUNTER_WINDOW, 100, window) is not None
    assert heard(1 << 39, 100, window) == 1
