"""Who a role is: its two key pairs, and the certificates that an issuer makes of them and of modules' keys.

Whom a role goes by is in ``directory``, and how it gets in there in ``enrolment``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from transport.security import certificates
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from transport.security.certificates import Certificate, Role
    from transport.security.suites import Rng, SealingKey, SigningKey

VALIDITY_S: Final = 10 * 365 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleKeys:
    """A role's private half; only its own store ever holds this."""

    name: str
    role: Role
    suite: str
    signing: SigningKey = field(repr=False)
    sealing: SealingKey = field(repr=False)

    @classmethod
    def make(cls, *, name: str, role: Role, suite: str, rng: Rng) -> RoleKeys:
        """Make both key pairs."""
        made = SUITES[suite]
        return cls(
            name=name,
            role=role,
            suite=suite,
            signing=made.generate_signing_key(rng),
            sealing=made.generate_sealing_key(rng),
        )

    @classmethod
    def load(cls, *, name: str, role: Role, suite: str, signing: bytes, sealing: bytes) -> RoleKeys:
        """Take up key pairs from their stored private halves."""
        made = SUITES[suite]
        return cls(
            name=name,
            role=role,
            suite=suite,
            signing=made.load_signing_key(signing),
            sealing=made.load_sealing_key(sealing),
        )


def certify(subject: RoleKeys, *, issuer: RoleKeys, serial: int, now: float) -> Certificate:
    """Return *subject*'s certificate, signed by *issuer*, valid from a day before *now* for ten years."""
    return certificates.issue(
        issuer.signing,
        subject=subject.name,
        role=subject.role,
        suite=subject.suite,
        signing_public=subject.signing.public,
        sealing_public=subject.sealing.public,
        issuer=issuer.name,
        serial=serial,
        not_before=int(now) - 86_400,
        not_after=int(now) + VALIDITY_S,
    )


def certify_module(
    ua: str, suite: str, signing: bytes, sealing: bytes, *, issuer: RoleKeys, now: float
) -> Certificate:
    """Return the certificate of module *ua*'s two keys; its serial follows from its address."""
    return certificates.issue(
        issuer.signing,
        subject=ua,
        role=certificates.Role.MODULE,
        suite=suite,
        signing_public=signing,
        sealing_public=sealing,
        issuer=issuer.name,
        serial=int.from_bytes(hashlib.sha256(ua.encode()).digest()[:6], "big"),
        not_before=int(now) - 86_400,
        not_after=int(now) + VALIDITY_S,
    )


def certify_operator(
    name: str, suite: str, signing: bytes, *, issuer: RoleKeys, serial: int, now: float
) -> Certificate:
    """Return the certificate of operator *name*'s key for its modules, to which nothing is sealed."""
    return certificates.issue(
        issuer.signing,
        subject=name,
        role=certificates.Role.OPERATOR,
        suite=suite,
        signing_public=signing,
        issuer=issuer.name,
        serial=serial,
        not_before=int(now) - 86_400,
        not_after=int(now) + VALIDITY_S,
    )
