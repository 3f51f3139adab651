"""What every side of every form does alike: walk the table, judge a message, give no key before its time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NoReturn, TypeVar

from transport.errors import HandshakeRejected, Rejected
from transport.security.framing import cut
from transport.security.handshake_states import EVENTS, TRANSITIONS, Event, State
from transport.security.suites import Rng, SigningKey, suite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transport.security.keyset import SessionKeys
    from transport.security.terms import Terms

_Result = TypeVar("_Result")


class Side(ABC):
    """One side of one attempt. It is used once: established or dead, it stays so."""

    own_role: ClassVar[str]
    peer_role: ClassVar[str]

    def __init__(
        self, terms: Terms, signing_key: SigningKey, peer_public: bytes, rng: Rng, begin: State
    ) -> None:
        own_suite = terms.signing_suite(self.own_role)
        if signing_key.suite != own_suite:
            raise ValueError(
                f"a signing key of suite {signing_key.suite} in a handshake whose {self.own_role} signs in "
                f"{own_suite}"
            )
        if signing_key.public == peer_public:
            raise ValueError("both sides have the same signing key")
        self._terms = terms
        self._suite = suite(terms.suite)
        self._peer_suite = suite(terms.signing_suite(self.peer_role))
        self._signing_key = signing_key
        self._peer_public = peer_public
        self._rng = rng
        self._state = begin
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

    def _react(self, octets: bytes, act: Callable[[bytes], _Result]) -> _Result:
        """Let *act* judge a message that the table allows now; whatever it rejects ends the attempt."""
        event = EVENTS.get(octets[:1])
        if event is None:
            self._refuse("unknown-message")
        after = TRANSITIONS.get((self._state, event))
        if after is None:
            self._refuse("out-of-order", f"{event.name} in {self._state.name}")
        try:
            result = act(octets)
        except Rejected as error:
            self._refuse(error.reason, error.detail)
        self._state = after
        self._forget()
        return result

    def _refuse(self, reason: str, detail: str = "") -> NoReturn:
        self._state = TRANSITIONS[self._state, Event.REFUSED]
        if self._state is State.DEAD:
            self._forget()
        raise HandshakeRejected(reason, detail) from None

    @abstractmethod
    def _forget(self) -> None:
        """Let go of what the present state needs no more."""

    def _begin(self) -> State:
        """Return the state after our own start; ValueError when the table does not allow it now."""
        after = TRANSITIONS.get((self._state, Event.START))
        if after is None:
            raise ValueError(f"a handshake starts once; this one is {self._state.name}")
        return after

    def _cut(self, octets: bytes, *lengths: int) -> Sequence[bytes]:
        """Return *octets* in pieces of *lengths*; HandshakeRejected("bad-length")."""
        pieces = cut(octets, lengths)
        if pieces is None:
            raise HandshakeRejected("bad-length", f"{len(octets)} octets instead of {sum(lengths)}")
        return pieces
