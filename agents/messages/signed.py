"""The envelope of everything that proves itself: who says it, to which module, in which turn.

What is signed starts with a context string, the purpose, the target and the counter, and the body is signed
as the octets it travels in: nothing is ever re-encoded to be checked.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Final

import msgpack
from pydantic import Field

from agents.errors import MessageRejected
from agents.messages.codec import Body, Counter, Name, message
from transport.errors import SignatureRejected
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from transport.security.suites import SigningKey

EVERYBODY: Final = "all"
"""The target of what an operator says to all its modules at once. No UA and no role is called so."""
_CONTEXT: Final = b"otafleet signed message v1"


class Purpose(IntEnum):
    """What a signature is for; a signature made for one purpose never serves another."""

    COMMAND = 1
    """Operator to module: reserve, block, unblock, release."""
    ANSWER = 2
    """Module to operator: what became of a command."""
    REQUEST = 3
    """Module to operator: the subscriber wants a service."""
    POSSESSION = 4
    """Module to authority, through the personaliser: the private key of this public key is here."""
    ANNOUNCEMENT = 5
    """Operator to all its modules at once."""
    CONNECTION = 6
    """Operator to module, and back: the beginning of a secure connection."""
    INTRODUCTION = 9
    """Module to operator: what became of a certificate; the counter is its serial, and no command's."""
    CAMPAIGN_REPORT = 10
    """Module to supplier: what became of a broadcast; the counter is the campaign's number."""


@message(1)
class Signed:
    """Body octets with their proof. *target* is whom it is meant for: a UA, or a role's name."""

    purpose: Annotated[int, Field(ge=1, le=15)]
    target: Name
    counter: Counter
    body: Body
    signer: Name
    signature: Annotated[bytes, Field(min_length=64, max_length=4096)]

    def verify(self, *, purpose: Purpose, suite: str, public: bytes) -> None:
        """Check the proof against the signer's *public* key.

        Raises SignatureRejected if it does not verify, or was made for another purpose.
        """
        if self.purpose != purpose:
            raise SignatureRejected("purpose")
        SUITES[suite].verify(public, self.signed_octets, self.signature)

    @property
    def signed_octets(self) -> bytes:
        """What the signature is over: two messages that differ only in how they are encoded are the same."""
        return _to_be_signed(self.purpose, self.target, self.counter, self.signer, self.body)


def sign(body: bytes, *, purpose: Purpose, target: str, counter: int, signer: str, key: SigningKey) -> Signed:
    """Return *body* signed by *signer*'s *key* for one target and one turn."""
    signature = key.sign(_to_be_signed(purpose, target, counter, signer, body))
    return Signed(
        purpose=int(purpose), target=target, counter=counter, body=body, signer=signer, signature=signature
    )


def _to_be_signed(purpose: int, target: str, counter: int, signer: str, body: bytes) -> bytes:
    # msgpack's own lengths keep the parts apart: no two different tuples give the same octets.
    packed: bytes = msgpack.packb([_CONTEXT, int(purpose), target, counter, signer, body])
    return packed


def check_key(suite: str, public: bytes) -> None:
    """Check a key that a message brings, before anybody goes by it.

    Raises MessageRejected for a suite that is none, or octets that cannot be a signing key of it.
    """
    if suite not in SUITES:
        raise MessageRejected("unknown-suite")
    if len(public) != SUITES[suite].signing_public_length:
        raise MessageRejected("bad-public-key")
