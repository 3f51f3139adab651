"""What both sides of a secure connection must hold alike before a word is spoken.

None of it is negotiated. The module has its terms from DEF, where the operator's signed reservation put
them; the supplier has his from the operator's signed activation. A handshake carries no name and no choice
on the air: it hashes the terms into its transcript, so that two sides with different terms end in a
refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from transport.security.framing import framed
from transport.security.keyset import DEFAULT_PROTECTION, PROTECTIONS
from transport.security.suites import suite

if TYPE_CHECKING:
    from collections.abc import Mapping

AGREE_THEN_SIGN: Final = "agree-then-sign"
# The octet of a form is the high nibble of the first octet of each of its messages.
FORMS: Final[Mapping[str, int]] = MappingProxyType({AGREE_THEN_SIGN: 1})
MAX_IDENTITY: Final = 64
INITIATOR: Final = "initiator"
RESPONDER: Final = "responder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Suite, form, who opens (the module's UA), who answers (the supplier's name), and for which resource.

    ``tar`` is 3 octets, an identity 1 to 64; ``key_index`` (1..15) is the keyset that the session becomes.
    ``suite`` is that of the key agreement; each side may sign in another, which is then named too: a module
    whose key was made in one suite serves suppliers of all. ValueError for what is out of bounds.
    """

    suite: str
    form: str
    initiator: bytes
    responder: bytes
    tar: bytes
    key_index: int = 1
    initiator_suite: str = ""
    """The suite that the initiator signs in; empty: ``suite``."""
    responder_suite: str = ""
    protection: str = DEFAULT_PROTECTION
    """How the session's packets are protected: a name in ``keyset.PROTECTIONS``."""

    def __post_init__(self) -> None:
        for name in (self.suite, self.signing_suite(INITIATOR), self.signing_suite(RESPONDER)):
            suite(name)
        if self.form not in FORMS:
            raise ValueError(f"no form is called {self.form!r}; there are {', '.join(FORMS)}")
        if self.protection not in PROTECTIONS:
            raise ValueError(
                f"no protection is called {self.protection!r}; there are {', '.join(PROTECTIONS)}"
            )
        for identity in (self.initiator, self.responder):
            if not 1 <= len(identity) <= MAX_IDENTITY:
                raise ValueError(f"an identity is 1 to {MAX_IDENTITY} octets, not {len(identity)}")
        if self.initiator == self.responder:
            raise ValueError("nobody makes a secure connection with himself")
        if len(self.tar) != 3:
            raise ValueError(f"a TAR is 3 octets, not {len(self.tar)}")
        if not 1 <= self.key_index <= 15:
            raise ValueError(f"a keyset has an index of 1..15, not {self.key_index}")

    def signing_suite(self, role: str) -> str:
        """Return the suite that the ``initiator`` or the ``responder`` signs in."""
        return {INITIATOR: self.initiator_suite, RESPONDER: self.responder_suite}[role] or self.suite

    def encode(self) -> bytes:
        """Return the octets that stand for these terms in a transcript: other terms, other octets."""
        suites = (self.suite, self.signing_suite(INITIATOR), self.signing_suite(RESPONDER))
        names = [name.encode("ascii") for name in (self.form, *suites)]
        index, protection = bytes([self.key_index]), self.protection.encode("ascii")
        return framed("otafleet/1 terms", *names, self.initiator, self.responder, self.tar, index, protection)
