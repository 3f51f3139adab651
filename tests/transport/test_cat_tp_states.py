from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.cat_tp import State
from transport.cat_tp.states import TRANSITIONS, Input, step


@pytest.mark.parametrize(
    ("state", "happened"), list(product(State, Input)), ids=lambda value: value.name.lower()
)
def test_each_pair(state: State, happened: Input) -> None:
    """A listed pair leads where the table says; any other is an error."""
    if (state, happened) in TRANSITIONS:
        assert step(state, happened) is TRANSITIONS[state, happened]
        return
    with pytest.raises(
        ValueError, match=f"{happened.name} cannot happen to a connection that is {state.name}"
    ):
        step(state, happened)


@given(st.lists(st.sampled_from(Input), max_size=30))
def test_any_history(history: list[Input]) -> None:
    """However often errors happen in between, the state is the one that the listed inputs alone lead to."""
    state = alone = State.CLOSED
    for happened in history:
        try:
            state = step(state, happened)
        except ValueError:
            continue
        alone = TRANSITIONS[alone, happened]
        assert state is alone


def test_every_state_is_reached_and_left() -> None:
    """No state is an island or a trap: from each, the connection can come to be closed."""
    reached = {State.CLOSED}
    closing = {State.CLOSED}
    for _ in State:
        reached |= {after for (before, _), after in TRANSITIONS.items() if before in reached}
        closing |= {before for (before, _), after in TRANSITIONS.items() if after in closing}
    assert reached == closing == set(State)


def test_the_table_cannot_be_changed() -> None:
    """The table is the same for all connections."""
    with pytest.raises(TypeError):
        TRANSITIONS[State.CLOSED, Input.SYN] = State.OPEN  # type: ignore[index]
