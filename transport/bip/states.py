"""The life of a channel as two tables: as the module sees it, and as its terminal does.

An event that a table does not list for a state is no transition: a ``ValueError`` for whoever called, and no
change. The tables know nothing of buffers and octets.
"""

from __future__ import annotations

from enum import Enum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

_State = TypeVar("_State", bound=Enum)
_Event = TypeVar("_Event", bound=Enum)


class ChannelState(Enum):
    """Where a channel stands for the module."""

    CLOSED = auto()  # there is none
    OPENING = auto()  # the terminal has been or will be asked for it
    OPEN = auto()
    CLOSING = auto()  # the terminal has been or will be asked to close it
    FAILED = auto()  # it did not come up, or is lost; the terminal may hold its number still


class ChannelEvent(Enum):
    """What may happen to a channel of the module's."""

    OPEN = auto()  # we want it
    OPENED = auto()  # the terminal has opened it
    FAILED = auto()  # the terminal has not, or has lost it
    CLOSE = auto()  # we do not want it any more, and the terminal knows of it
    FORGET = auto()  # likewise, and the terminal does not
    GONE = auto()  # the terminal has closed it, or never opened it


MODULE_TRANSITIONS: Final[Mapping[tuple[ChannelState, ChannelEvent], ChannelState]] = MappingProxyType(
    {
        (ChannelState.CLOSED, ChannelEvent.OPEN): ChannelState.OPENING,
        (ChannelState.CLOSED, ChannelEvent.FORGET): ChannelState.CLOSED,
        (ChannelState.OPENING, ChannelEvent.OPENED): ChannelState.OPEN,
        (ChannelState.OPENING, ChannelEvent.FAILED): ChannelState.FAILED,
        (ChannelState.OPENING, ChannelEvent.CLOSE): ChannelState.CLOSING,
        (ChannelState.OPENING, ChannelEvent.FORGET): ChannelState.CLOSED,
        (ChannelState.OPEN, ChannelEvent.FAILED): ChannelState.FAILED,
        (ChannelState.OPEN, ChannelEvent.CLOSE): ChannelState.CLOSING,
        # Closed before it was open: the answer still comes, and what it opens has to be closed.
        (ChannelState.CLOSING, ChannelEvent.OPENED): ChannelState.CLOSING,
        (ChannelState.CLOSING, ChannelEvent.FAILED): ChannelState.CLOSING,
        (ChannelState.CLOSING, ChannelEvent.CLOSE): ChannelState.CLOSING,
        (ChannelState.CLOSING, ChannelEvent.GONE): ChannelState.CLOSED,
        (ChannelState.FAILED, ChannelEvent.CLOSE): ChannelState.CLOSING,
        (ChannelState.FAILED, ChannelEvent.FORGET): ChannelState.CLOSED,
    }
)


class TerminalState(Enum):
    """Where a channel stands for the terminal."""

    FREE = auto()
    CONNECTING = auto()  # the network has been asked; the module waits for its terminal response
    UP = auto()
    LOST = auto()  # the link is gone; what had come can be fetched, then the module closes it


class TerminalEvent(Enum):
    """What may happen to a channel of the terminal's."""

    CONNECT = auto()
    BIND = auto()
    CONNECTED = auto()
    REFUSED = auto()
    DROPPED = auto()
    CLOSE = auto()


TERMINAL_TRANSITIONS: Final[Mapping[tuple[TerminalState, TerminalEvent], TerminalState]] = MappingProxyType(
    {
        (TerminalState.FREE, TerminalEvent.CONNECT): TerminalState.CONNECTING,
        (TerminalState.FREE, TerminalEvent.BIND): TerminalState.UP,
        (TerminalState.FREE, TerminalEvent.DROPPED): TerminalState.FREE,
        (TerminalState.CONNECTING, TerminalEvent.CONNECTED): TerminalState.UP,
        (TerminalState.CONNECTING, TerminalEvent.REFUSED): TerminalState.FREE,
        # What drops before it was up is yet to be refused: the module still waits for the word on it.
        (TerminalState.CONNECTING, TerminalEvent.DROPPED): TerminalState.CONNECTING,
        (TerminalState.CONNECTING, TerminalEvent.CLOSE): TerminalState.FREE,
        (TerminalState.UP, TerminalEvent.DROPPED): TerminalState.LOST,
        (TerminalState.UP, TerminalEvent.CLOSE): TerminalState.FREE,
        (TerminalState.LOST, TerminalEvent.DROPPED): TerminalState.LOST,
        (TerminalState.LOST, TerminalEvent.CLOSE): TerminalState.FREE,
    }
)


def step(table: Mapping[tuple[_State, _Event], _State], state: _State, event: _Event) -> _State:
    """Return the state after *event*; ``ValueError`` when *table* does not list it for *state*."""
    try:
        return table[state, event]
    except KeyError:
        raise ValueError(f"a channel that is {state.name} cannot be {event.name}") from None
