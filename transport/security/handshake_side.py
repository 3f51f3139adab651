"""What every side of every form does alike: walk the table, judge a message, give no key before its time."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from transport.errors import HandshakeRejected, Rejected
from transport.security.handshake_states import TAGGED, TRANSITIONS, Event, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from transport.security.handshake_method import Method
    from transport.security.keyset import SessionKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What comes of a good message: what to send, what to keep for the next one, and at the end the keys."""

    message: bytes | None
    kept: object = field(default=None, repr=False)
    keys: SessionKeys | None = field(default=None, repr=False)


class Side(ABC):
    """One side of one attempt. It is used once: established or dead, it stays so.

    What it keeps from one message to the next is one frozen value, put in the place of the one before when a
    message has been found good. So a ``copy.copy`` of a side is a side of its own: whoever must not lose an
    attempt to a message that anybody may have sent lets a copy judge it.
    """

    begins: ClassVar[State]
    acts: ClassVar[Mapping[Event, Callable[[Any, bytes, Any], Step]]]
    """What judges each message: it takes the octets and what was kept, and changes nothing."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self._state = self.begins
        self._kept: object = None
        self._keys: SessionKeys | None = None

    @property
    def state(self) -> State:
        """Where this side stands."""
        return self._state

    @property
    def keys(self) -> SessionKeys:
        """The session's keys; ValueError until the other side has proven itself."""
        if self._keys is None:
            raise ValueError("there are no session keys before the other side has proven itself")
        return self._keys

    def start(self) -> bytes:
        """Return the first message. The opening side does this, and once; else ValueError.

        Raises HandshakeRejected when what is registered as the other side's key is none.
        """
        after = TRANSITIONS[self._method.form].get((self._state, Event.START))
        if after is None:
            raise ValueError(f"a handshake starts once; this one is {self._state.name}")
        message = self._take(Event.START, after, b"")
        assert message is not None
        return message

    def receive(self, octets: bytes) -> bytes | None:
        """Take the other side's message; return the next one, or None when there is none.

        Raises HandshakeRejected when it does not hold; then there will be no session of this attempt, unless
        there already was.
        """
        form, event = TAGGED.get(octets[:1], ("", Event.REFUSED))
        if not form:
            self._refuse("unknown-message")
        if form != self._method.form:
            self._refuse("wrong-form", f"a message of {form}")
        after = TRANSITIONS[form].get((self._state, event))
        if after is None:
            self._refuse("out-of-order", f"{event.name} in {self._state.name}")
        return self._take(event, after, octets)

    def _take(self, event: Event, after: State, octets: bytes) -> bytes | None:
        try:
            step = self.acts[event](self, octets, self._kept)
        except Rejected as error:
            self._refuse(error.reason, error.detail)
        self._state, self._kept, self._keys = after, step.kept, step.keys
        return step.message

    def _refuse(self, reason: str, detail: str = "") -> NoReturn:
        self._state = TRANSITIONS[self._method.form][self._state, Event.REFUSED]
        # Nothing is kept in ESTABLISHED, so this forgets what a dead attempt knew and takes no keys away.
        self._kept = None
        raise HandshakeRejected(reason, detail) from None
