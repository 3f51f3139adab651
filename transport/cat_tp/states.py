"""The life of a connection, as a table: RFC 908 §3.2.3 with the names of TS 102 127.

A pair that the table does not list is no transition: ``step`` raises and nothing has changed. The table knows
nothing of sequence numbers: an input has happened only when its PDU was found to belong to this connection.
What it leaves alone (a duplicate SYN, data, what is answered by an RST) never comes to it.

One pair is not RDP's: a closed or closing connection may be closed again, which does nothing, so that a
shell need not know whether the peer was faster.
"""

from __future__ import annotations

from enum import Enum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(Enum):
    """Where one end stands."""

    CLOSED = auto()  # there is no connection
    LISTEN = auto()  # waiting for a SYN
    SYN_SENT = auto()  # SYN sent, waiting for the peer's
    SYN_RECEIVED = auto()  # the peer's SYN answered by SYN+ACK, waiting for its acknowledgement
    OPEN = auto()  # SDUs go both ways
    CLOSE_WAIT = auto()  # over; late PDUs of the peer are still answered


class Input(Enum):
    """What may happen to it."""

    CONNECT = auto()  # our own request to open
    LISTEN = auto()  # our own request to wait for the peer to open
    SYN = auto()  # a SYN without ACK
    SYN_ACK = auto()  # a SYN that acknowledges ours
    ACK = auto()  # any other PDU that acknowledges our SYN
    RESET = auto()  # an RST that counts
    FORSAKEN = auto()  # whoever a listener answered resets or falls silent: it may have been an old duplicate
    CLOSE = auto()  # our own request, or the peer broke the rules
    GIVE_UP = auto()  # sent as often as the settings allow, never acknowledged
    WAITED = auto()  # close_wait_s are over


TRANSITIONS: Final[Mapping[tuple[State, Input], State]] = MappingProxyType(
    {
        (State.CLOSED, Input.CONNECT): State.SYN_SENT,
        (State.CLOSED, Input.LISTEN): State.LISTEN,
        (State.CLOSED, Input.CLOSE): State.CLOSED,
        (State.LISTEN, Input.SYN): State.SYN_RECEIVED,
        (State.LISTEN, Input.CLOSE): State.CLOSED,
        (State.SYN_SENT, Input.SYN): State.SYN_RECEIVED,  # both opened at once
        (State.SYN_SENT, Input.SYN_ACK): State.OPEN,
        (State.SYN_SENT, Input.RESET): State.CLOSED,
        (State.SYN_SENT, Input.CLOSE): State.CLOSED,
        (State.SYN_SENT, Input.GIVE_UP): State.CLOSED,
        (State.SYN_RECEIVED, Input.SYN_ACK): State.OPEN,  # both opened at once
        (State.SYN_RECEIVED, Input.ACK): State.OPEN,
        (State.SYN_RECEIVED, Input.FORSAKEN): State.LISTEN,
        (State.SYN_RECEIVED, Input.RESET): State.CLOSED,
        (State.SYN_RECEIVED, Input.CLOSE): State.CLOSED,
        (State.SYN_RECEIVED, Input.GIVE_UP): State.CLOSED,
        (State.OPEN, Input.RESET): State.CLOSE_WAIT,
        (State.OPEN, Input.CLOSE): State.CLOSE_WAIT,
        (State.OPEN, Input.GIVE_UP): State.CLOSE_WAIT,
        (State.CLOSE_WAIT, Input.RESET): State.CLOSED,
        (State.CLOSE_WAIT, Input.CLOSE): State.CLOSE_WAIT,
        (State.CLOSE_WAIT, Input.WAITED): State.CLOSED,
    }
)


def step(state: State, happened: Input) -> State:
    """Return the state after *happened*; ``ValueError`` for what cannot happen in *state*."""
    after = TRANSITIONS.get((state, happened))
    if after is None:
        raise ValueError(f"{happened.name} cannot happen to a connection that is {state.name}")
    return after
