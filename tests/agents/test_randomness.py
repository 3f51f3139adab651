"""Randomness: a seed's streams repeat, and are nobody else's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.randomness import branch, make_rng

COUNTS = st.lists(st.integers(min_value=0, max_value=64), min_size=1, max_size=8)


@given(seed=st.integers(min_value=0), label=st.text(), counts=COUNTS)
def test_a_seeded_stream_repeats(seed: int, label: str, counts: list[int]) -> None:
    """The same seed, label and calls give the same octets, each call as many as asked."""
    one, two = make_rng(seed, label), make_rng(seed, label)
    drawn = [one(count) for count in counts]
    assert drawn == [two(count) for count in counts]
    assert [len(octets) for octets in drawn] == counts


def test_no_two_draws_are_alike() -> None:
    """Draws of one stream differ from each other, and from those of another label or another seed."""
    streams = (make_rng(1, "a"), make_rng(1, "b"), make_rng(2, "a"))
    drawn = [stream(16) for stream in streams for _ in range(100)]
    assert len(set(drawn)) == len(drawn)


def test_without_a_seed_nothing_repeats() -> None:
    """Without a seed the system's randomness serves, whatever the label."""
    assert make_rng(None, "a")(16) != make_rng(None, "a")(16)


def test_a_branch_is_randomness_of_its_own() -> None:
    """Two of one source differ, and neither is what the source goes on with; the same seed gives the same."""
    drawn = []
    for _ in range(2):
        source = make_rng(1, "source")
        first, second = branch(source, "thread"), branch(source, "thread")
        drawn.append([first(16), second(16), source(16), first(16)])
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 4
