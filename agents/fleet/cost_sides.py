"""Both sides of one handshake, with all that they bring to it: what ``cost`` times, and the benchmark too."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from transport.security.domain_key import generate_asymmetric, generate_symmetric
from transport.security.handshake import Credentials, State, initiator, responder
from transport.security.suites import suite
from transport.security.terms import DOMAIN_ASYMMETRIC, DOMAIN_FORMS, DOMAIN_SYMMETRIC, Terms

if TYPE_CHECKING:
    from transport.security.domain_key import DomainKey
    from transport.security.handshake import Side
    from transport.security.suites import SealingKey, SigningKey

_TAR: Final = bytes.fromhex("b20000")
_MODULE: Final = b"89882110000000000018"
_SUPPLIER: Final = b"supplier"
_DOMAIN: Final = b"domain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One who takes part: a key to sign with, and one to open with."""

    signing: SigningKey
    sealing: SealingKey

    @classmethod
    def of(cls, kind: str) -> Party:
        """Return somebody with new keys of suite *kind*; with RSA that takes about a second."""
        return cls(
            signing=suite(kind).generate_signing_key(os.urandom),
            sealing=suite(kind).generate_sealing_key(os.urandom),
        )

    def facing(self, peer: Party, domain_key: DomainKey | None) -> Credentials:
        """Return what this party brings to a handshake with *peer*."""
        return Credentials(
            signing_key=self.signing,
            sealing_key=self.sealing,
            peer_signing_public=peer.signing.public,
            peer_sealing_public=peer.sealing.public,
            domain_key=domain_key,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A module and a supplier who share terms, and a domain key where the form needs one."""

    terms: Terms
    of_module: Credentials
    of_supplier: Credentials

    @classmethod
    def of(
        cls,
        form: str,
        kind: str,
        module: Party,
        supplier: Party,
        *,
        dh_base: bytes = b"",
        dh_modulus: bytes = b"",
    ) -> Pair:
        """Return a pair for *form*, both with keys of suite *kind*; ParametersRejected for a bad b or M."""
        domain_key = _domain_key(form, kind)
        for_supplier = domain_key.public_half() if form == DOMAIN_ASYMMETRIC and domain_key else domain_key
        terms = Terms(
            suite=kind,
            form=form,
            initiator=_MODULE,
            responder=_SUPPLIER,
            tar=_TAR,
            dh_base=dh_base,
            dh_modulus=dh_modulus,
            logic_name=_DOMAIN if form in DOMAIN_FORMS else b"",
        )
        return cls(
            terms=terms,
            of_module=module.facing(supplier, domain_key),
            of_supplier=supplier.facing(module, for_supplier),
        )

    def opening(self) -> Side:
        """Return the module's side of a new attempt."""
        return initiator(self.terms, self.of_module, os.urandom)

    def answering(self) -> Side:
        """Return the supplier's side of a new attempt."""
        return responder(self.terms, self.of_supplier, os.urandom)


def _domain_key(form: str, kind: str) -> DomainKey | None:
    if form == DOMAIN_SYMMETRIC:
        return generate_symmetric(os.urandom)
    return generate_asymmetric(kind, os.urandom) if form == DOMAIN_ASYMMETRIC else None


def shake(pair: Pair) -> list[bytes]:
    """Shake hands once, from nothing to both sides' session keys; return the messages as they went."""
    opening, answering = pair.opening(), pair.answering()
    messages = [opening.start()]
    sides = (answering, opening)
    while (answer := sides[(len(messages) - 1) % 2].receive(messages[-1])) is not None:
        messages.append(answer)
    assert opening.state is answering.state is State.ESTABLISHED
    return messages
