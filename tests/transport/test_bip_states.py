from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from transport.bip import ChannelEvent, ChannelState, TerminalEvent, TerminalState
from transport.bip.states import MODULE_TRANSITIONS, TERMINAL_TRANSITIONS, step

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import Enum

TABLES = [
    (MODULE_TRANSITIONS, ChannelState, ChannelEvent),
    (TERMINAL_TRANSITIONS, TerminalState, TerminalEvent),
]
PAIRS = [
    pytest.param(table, state, event, id=f"{states.__name__}-{state.name}-{event.name}")
    for table, states, events in TABLES
    for state, event in product(states, events)
]


@pytest.mark.parametrize(("table", "state", "event"), PAIRS)
def test_every_pair(table: Mapping[tuple[Enum, Enum], Enum], state: Enum, event: Enum) -> None:
    """Each event leads from each state to the one that the table lists, or raises."""
    if (state, event) in table:
        assert step(table, state, event) is table[state, event]
    else:
        with pytest.raises(ValueError, match=f"{state.name} cannot be {event.name}"):
            step(table, state, event)


@pytest.mark.parametrize(("table", "states", "events"), TABLES, ids=["module", "terminal"])
def test_nothing_is_out_of_reach(
    table: Mapping[tuple[Any, Any], Any], states: type[Enum], events: type[Enum]
) -> None:
    """Every state can be reached and left, and every event happens somewhere."""
    assert {state for state, _ in table} == set(states) == set(table.values())
    assert {event for _, event in table} == set(events)
