"""The life of a handshake, as a table, and the first octets of its messages.

An event that the table does not list for a state is no transition: our own code gets a ValueError for it, a
peer a rejection. REFUSED is listed for every state. It ends an attempt that is under way; it does not end a
session that stands, for otherwise a stray or repeated message would be a way to tear one down.

The table knows nothing of cryptography: an event has happened only when its message has been found good.
"""

from __future__ import annotations

from enum import Enum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from transport.security.terms import AGREE_THEN_SIGN, FORMS

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(Enum):
    """Where one side stands."""

    READY = auto()  # the opening side, nothing sent
    OFFERED = auto()  # the opening side, waiting for the answer
    LISTENING = auto()  # the answering side, nothing received
    ANSWERED = auto()  # the answering side, waiting for the proof
    ESTABLISHED = auto()  # the other side has proven itself: there are keys
    DEAD = auto()  # refused: there are none and will be none


class Event(Enum):
    """What may happen: our own start, a good message of each kind, or a refusal."""

    START = auto()
    OFFER = auto()
    ANSWER = auto()
    PROOF = auto()
    REFUSED = auto()


TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = MappingProxyType(
    {
        (State.READY, Event.START): State.OFFERED,
        (State.OFFERED, Event.ANSWER): State.ESTABLISHED,
        (State.LISTENING, Event.OFFER): State.ANSWERED,
        (State.ANSWERED, Event.PROOF): State.ESTABLISHED,
        (State.READY, Event.REFUSED): State.DEAD,
        (State.OFFERED, Event.REFUSED): State.DEAD,
        (State.LISTENING, Event.REFUSED): State.DEAD,
        (State.ANSWERED, Event.REFUSED): State.DEAD,
        (State.ESTABLISHED, Event.REFUSED): State.ESTABLISHED,
        (State.DEAD, Event.REFUSED): State.DEAD,
    }
)

_FORM: Final = FORMS[AGREE_THEN_SIGN] << 4
OFFER_TAG: Final = bytes([_FORM | 1])
ANSWER_TAG: Final = bytes([_FORM | 2])
PROOF_TAG: Final = bytes([_FORM | 3])
EVENTS: Final[Mapping[bytes, Event]] = MappingProxyType(
    {
        OFFER_TAG: Event.OFFER,
        ANSWER_TAG: Event.ANSWER,
        PROOF_TAG: Event.PROOF,
    }
)
