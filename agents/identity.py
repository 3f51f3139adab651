"""Who a role is: its two key pairs, its certificate, and whose certificates it goes by.

The authority is the root: it certifies itself and, at the launch, every other role (the enrolment is the
launcher's, out of band, as a registration office's is). From then on a role believes a name because the
authority signed it, not because the broker delivered it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agents.errors import MessageRejected
from transport.errors import CertificateRejected
from transport.security import certificates
from transport.security.certificates import Certificate
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transport.security.certificates import Role
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


class Directory:
    """The certificates of a market, each checked against the authority before anyone goes by it."""

    def __init__(self, authority: Certificate, others: Iterable[Certificate], *, now: float) -> None:
        """Check and keep the certificates. Raises CertificateRejected if one does not hold."""
        self.authority = authority
        self._by_name: dict[str, Certificate] = {}
        for certificate in (authority, *others):
            certificates.verify(
                certificate,
                issuer_public=authority.signing_public,
                issuer_suite=authority.suite,
                issuer=authority.subject,
                role=certificate.role,
                now=now,
            )
            if certificate.subject in self._by_name:
                raise CertificateRejected("duplicate-subject", certificate.subject)
            self._by_name[certificate.subject] = certificate

    def module(self, octets: bytes, ua: str, *, now: float) -> Certificate:
        """Return module *ua*'s certificate, which is in *octets*. Raises CertificateRejected."""
        certificate = Certificate.parse(octets)
        certificates.verify(
            certificate,
            issuer_public=self.authority.signing_public,
            issuer_suite=self.authority.suite,
            issuer=self.authority.subject,
            role=certificates.Role.MODULE,
            now=now,
        )
        if certificate.subject != ua:
            raise CertificateRejected("wrong-subject", ua)
        return certificate

    def certificate(self, name: str) -> Certificate:
        """Return *name*'s certificate. Raises MessageRejected for a name that nobody certified."""
        certificate = self._by_name.get(name)
        if certificate is None:
            raise MessageRejected("unknown-role")
        return certificate
