"""The life of a handshake in each form, as a table, and the first octets of its messages.

An event that the table of a form does not list for a state is no transition: our own code gets a ValueError
for it, a peer a rejection. REFUSED is listed for every state. It ends an attempt that is under way; it does
not end a session that stands, for otherwise a stray or repeated message would be a way to tear one down.

The tables know nothing of cryptography: an event has happened only when its message has been found good.
"""

from __future__ import annotations

from enum import Enum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from transport.security.terms import (
    AGREE_THEN_SIGN,
    DOMAIN_ASYMMETRIC,
    DOMAIN_SYMMETRIC,
    FORM_NUMBERS,
    KEY_TRANSPORT,
    SIGN_THEN_AGREE,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(Enum):
    """Where one side stands."""

    READY = auto()  # the opening side, nothing sent
    CHALLENGED = auto()  # the opening side, waiting for the other to prove who he is
    OFFERED = auto()  # the opening side, waiting for the answer
    LISTENING = auto()  # the answering side, nothing received
    RESPONDED = auto()  # the answering side, waiting for the other to prove who he is
    ANSWERED = auto()  # the answering side, waiting for the proof
    ESTABLISHED = auto()  # the other side has proven itself: there are keys
    DEAD = auto()  # refused: there are none and will be none

    __hash__ = object.__hash__  # that of Enum is Python code, and the tables are asked with every message


class Event(Enum):
    """What may happen: our own start, a good message of each kind, or a refusal."""

    START = auto()
    CHALLENGE = auto()
    RESPONSE = auto()
    OFFER = auto()
    ANSWER = auto()
    PROOF = auto()
    REFUSED = auto()

    __hash__ = object.__hash__


Table = MappingProxyType[tuple[State, Event], State]

_REFUSALS: Final = {
    (State.READY, Event.REFUSED): State.DEAD,
    (State.OFFERED, Event.REFUSED): State.DEAD,
    (State.LISTENING, Event.REFUSED): State.DEAD,
    (State.ANSWERED, Event.REFUSED): State.DEAD,
    (State.ESTABLISHED, Event.REFUSED): State.ESTABLISHED,
    (State.DEAD, Event.REFUSED): State.DEAD,
}
_THREE: Final[Table] = MappingProxyType(
    {
        (State.READY, Event.START): State.OFFERED,
        (State.OFFERED, Event.ANSWER): State.ESTABLISHED,
        (State.LISTENING, Event.OFFER): State.ANSWERED,
        (State.ANSWERED, Event.PROOF): State.ESTABLISHED,
        **_REFUSALS,
    }
)
_FIVE: Final[Table] = MappingProxyType(
    {
        (State.READY, Event.START): State.CHALLENGED,
        (State.CHALLENGED, Event.RESPONSE): State.OFFERED,
        (State.OFFERED, Event.ANSWER): State.ESTABLISHED,
        (State.LISTENING, Event.CHALLENGE): State.RESPONDED,
        (State.RESPONDED, Event.OFFER): State.ANSWERED,
        (State.ANSWERED, Event.PROOF): State.ESTABLISHED,
        (State.CHALLENGED, Event.REFUSED): State.DEAD,
        (State.RESPONDED, Event.REFUSED): State.DEAD,
        **_REFUSALS,
    }
)
TRANSITIONS: Final[Mapping[str, Table]] = MappingProxyType(
    {
        AGREE_THEN_SIGN: _THREE,
        KEY_TRANSPORT: _THREE,
        SIGN_THEN_AGREE: _FIVE,
        DOMAIN_SYMMETRIC: _THREE,
        DOMAIN_ASYMMETRIC: _THREE,
    }
)

_THREE_MESSAGES: Final = (Event.OFFER, Event.ANSWER, Event.PROOF)
_FIVE_MESSAGES: Final = (Event.CHALLENGE, Event.RESPONSE, *_THREE_MESSAGES)
MESSAGES: Final[Mapping[str, tuple[Event, ...]]] = MappingProxyType(
    {
        AGREE_THEN_SIGN: _THREE_MESSAGES,
        KEY_TRANSPORT: _THREE_MESSAGES,
        SIGN_THEN_AGREE: _FIVE_MESSAGES,
        DOMAIN_SYMMETRIC: _THREE_MESSAGES,
        DOMAIN_ASYMMETRIC: _THREE_MESSAGES,
    }
)
"""The messages of each form in their order; the initiator sends the first, and then each side in turn."""

TAGS: Final[Mapping[tuple[str, Event], bytes]] = MappingProxyType(
    {
        (form, event): bytes([FORM_NUMBERS[form] << 4 | number])
        for form, events in MESSAGES.items()
        for number, event in enumerate(events, 1)
    }
)
"""The first octet of each message: the number of its form, then its own."""
TAGGED: Final[Mapping[bytes, tuple[str, Event]]] = MappingProxyType({tag: at for at, tag in TAGS.items()})
