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
KEY_TRANSPORT: Final = "key-transport"
SIGN_THEN_AGREE: Final = "sign-then-agree"
DOMAIN_SYMMETRIC: Final = "domain-symmetric"
DOMAIN_ASYMMETRIC: Final = "domain-asymmetric"
# The number of a form is the high nibble of the first octet of each of its messages, its own for ever.
FORM_NUMBERS: Final[Mapping[str, int]] = MappingProxyType(
    {
        AGREE_THEN_SIGN: 1,
        KEY_TRANSPORT: 2,
        SIGN_THEN_AGREE: 3,
        DOMAIN_SYMMETRIC: 4,
        DOMAIN_ASYMMETRIC: 5,
    }
)
DOMAIN_FORMS: Final = frozenset({DOMAIN_SYMMETRIC, DOMAIN_ASYMMETRIC})
"""The forms in which the domain key stands in for the module's own keys."""
AGREEMENT_FORMS: Final = frozenset({AGREE_THEN_SIGN, SIGN_THEN_AGREE})
"""The forms whose secret is agreed by Diffie-Hellman, and each side proves itself by its own signing key."""
PAIR_FORMS: Final = frozenset(FORM_NUMBERS) - DOMAIN_FORMS
"""The forms in which the module's own keys prove who it is."""
MAX_IDENTITY: Final = 64
MAX_DH_OCTETS: Final = 512
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
    """The suite of the initiator's own keys; empty: ``suite``. Of no account in a domain form."""
    responder_suite: str = ""
    protection: str = DEFAULT_PROTECTION
    """How the session's packets are protected: a name in ``keyset.PROTECTIONS``."""
    dh_base: bytes = b""
    """The Diffie-Hellman base b, big-endian; empty when the suite has its own."""
    dh_modulus: bytes = b""
    """The Diffie-Hellman modulus M."""
    logic_name: bytes = b""
    """Of a global service: the name that the modules of its domain know it by. A domain form needs it."""

    def __post_init__(self) -> None:
        self._check_names()
        for identity in (self.initiator, self.responder):
            if not 1 <= len(identity) <= MAX_IDENTITY:
                raise ValueError(f"an identity is 1 to {MAX_IDENTITY} octets, not {len(identity)}")
        if self.initiator == self.responder:
            raise ValueError("nobody makes a secure connection with himself")
        if len(self.tar) != 3:
            raise ValueError(f"a TAR is 3 octets, not {len(self.tar)}")
        if not 1 <= self.key_index <= 15:
            raise ValueError(f"a keyset has an index of 1..15, not {self.key_index}")
        if len(self.logic_name) > MAX_IDENTITY or (self.form in DOMAIN_FORMS and not self.logic_name):
            raise ValueError(
                f"a logic name is at most {MAX_IDENTITY} octets, and at least one in form {self.form}"
            )
        if bool(self.dh_base) != bool(self.dh_modulus):
            raise ValueError("Diffie-Hellman parameters b and M come together or not at all")
        if max(len(self.dh_base), len(self.dh_modulus)) > MAX_DH_OCTETS:
            raise ValueError(f"a Diffie-Hellman parameter is at most {MAX_DH_OCTETS} octets")

    def _check_names(self) -> None:
        for name in (self.suite, self.initiator_suite or self.suite, self.responder_suite or self.suite):
            suite(name)
        if self.form not in FORM_NUMBERS:
            raise ValueError(f"no form is called {self.form!r}; there are {', '.join(FORM_NUMBERS)}")
        if self.protection not in PROTECTIONS:
            raise ValueError(
                f"no protection is called {self.protection!r}; there are {', '.join(PROTECTIONS)}"
            )

    def signing_suite(self, role: str) -> str:
        """Return the suite of the long-term keys of the ``initiator`` or the ``responder``.

        In a domain form the initiator's own keys play no part, and the domain key says itself what it is: a
        supplier need not know in which suite each module's key was made.
        """
        if role == RESPONDER:
            return self.responder_suite or self.suite
        return self.suite if self.form in DOMAIN_FORMS else self.initiator_suite or self.suite

    def encode(self) -> bytes:
        """Return the octets that stand for these terms in a transcript: other terms, other octets."""
        # What most terms have not stands there in full or not at all: lists of other lengths, other octets.
        more = (self.dh_base, self.dh_modulus, self.logic_name)
        return framed(
            "otafleet/1 terms",
            self.form.encode("ascii"),
            self.suite.encode("ascii"),
            self.signing_suite(INITIATOR).encode("ascii"),
            self.signing_suite(RESPONDER).encode("ascii"),
            self.initiator,
            self.responder,
            self.tar,
            bytes((self.key_index,)),
            self.protection.encode("ascii"),
            *(more if any(more) else ()),
        )
