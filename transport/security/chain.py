"""Chains of certificates: from the one issuer that a verifier knows to a subject that it never met.

A chain runs from the anchor down, as in RFC 5280 §6.1: the first certificate is issued by the anchor, each
next one by the subject before it, and the last is the one in question. The anchor's own certificate is not in
it: a verifier has the anchor already, or has no reason to believe it. On the wire a chain is a msgpack array
of the octets of its certificates, in the one encoding that ``encode_chain`` gives.

Who may issue for whom is the table ``MAY_ISSUE``, by role. Nobody in it comes back to a role above his own,
so that it bounds the depth by itself; a certificate needs no path length, and its format is what it was.

Validity. Each certificate must be valid now (RFC 5280 §6.1.3 (a) (2)); a subject's validity need not lie
within its issuer's. A chain ends when the first of its links does, so nesting would protect nobody, and an
issuer could not renew his own certificate without all that he ever issued.

Revocation is by issuer and serial (RFC 5280 §5.3). Who revokes an operator revokes what he issued, for the
chain leads through him.

What a chain does not say: that a name is one. Whoever may issue for suppliers can issue for every supplier's
name, so a verifier that deals with one operator says so by ``issuer``, and goes by no certificate of that
name from another. Nor does it say that the subject has the private key; a handshake or a sealed message does.

Key roll-over. A verifier remembers of whom it goes by what ``Incumbent`` has, beside the public key, and
takes a later certificate of the same issuer in its place (``successor``); one of serial zero stands for a key
that came without a certificate, or for none yet. It needs no signature by the old key, which may be lost or
stolen: that is why serials must rise with each certificate that an issuer makes for a name, and why an older
one is never taken again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

import msgpack

from transport.errors import CertificateRejected
from transport.security.certificates import (
    MAX_CERTIFICATE_OCTETS,
    Certificate,
    Role,
    check_validity,
    refuse,
    unpack,
    verify,
)
from transport.security.framing import check_name
from transport.security.suites import suite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

MAY_ISSUE: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        Role.AUTHORITY: frozenset(
            {Role.OPERATOR, Role.SUPPLIER, Role.PERSONALISER, Role.ALLOCATOR, Role.MODULE}
        ),
        Role.OPERATOR: frozenset({Role.SUPPLIER}),
    }
)
MAX_DEPTH: Final = 4
"""Certificates in a chain: more than the table has levels, and few enough for a stranger to send."""

MAX_CHAIN_OCTETS: Final = 1 + MAX_DEPTH * (3 + MAX_CERTIFICATE_OCTETS)
_NOBODY: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """An issuer that is believed (RFC 5280 §6.1.1 (d)); ValueError when a field is out of bounds."""

    name: str
    suite: str
    public: bytes = field(repr=False)
    role: str = Role.AUTHORITY

    def __post_init__(self) -> None:
        check_name("an anchor's name", self.name)
        if len(self.public) != suite(self.suite).signing_public_length:
            raise ValueError(f"the key of anchor {self.name} is none of suite {self.suite}")

    @classmethod
    def of(cls, certificate: Certificate) -> Anchor:
        """Return the subject of a certificate that was verified as an issuer in its turn."""
        return cls(
            name=certificate.subject,
            suite=certificate.suite,
            public=certificate.signing_public,
            role=certificate.role,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Incumbent:
    """What a verifier remembers of the certificate that it goes by, so that only a later one replaces it."""

    subject: str
    issuer: str
    role: str = Role.OPERATOR
    serial: int = 0

    @classmethod
    def of(cls, certificate: Certificate) -> Incumbent:
        """Return what to remember of *certificate*."""
        return cls(
            subject=certificate.subject,
            issuer=certificate.issuer,
            role=certificate.role,
            serial=certificate.serial,
        )


def encode_chain(chain: Sequence[Certificate]) -> bytes:
    """Return the chain's octets; ValueError unless it has 1 to 4 certificates."""
    if not 1 <= len(chain) <= MAX_DEPTH:
        raise ValueError(f"a chain has 1 to {MAX_DEPTH} certificates, not {len(chain)}")
    return cast("bytes", msgpack.packb([certificate.encode() for certificate in chain]))


def parse_chain(octets: bytes) -> tuple[Certificate, ...]:
    """Return the certificates that *octets* encode, not yet verified.

    Raises CertificateRejected: "too-large", "malformed", "empty-chain", "too-deep", "not-canonical", or what
    ``Certificate.parse`` says of one of them.
    """
    parts = unpack(octets, MAX_CHAIN_OCTETS)
    if type(parts) is not list or not all(type(part) is bytes for part in parts):
        raise CertificateRejected("malformed", "not an array of certificates")
    _check_depth(len(parts), MAX_DEPTH)
    if msgpack.packb(parts) != octets:
        raise CertificateRejected("not-canonical")
    return tuple(Certificate.parse(part) for part in parts)


def verify_chain(
    chain: Sequence[Certificate],
    anchor: Anchor,
    *,
    subject: str,
    role: str,
    now: float,
    issuer: str | None = None,
    revoked: AbstractSet[tuple[str, int]] = frozenset(),
    max_depth: int = MAX_DEPTH,
) -> Certificate:
    """Return the last certificate of *chain*, by which *anchor* vouches now for *subject* in *role*.

    With *issuer*, only he may have issued it. *revoked* has issuer and serial of what does not hold any more;
    *max_depth* is the number of certificates that the caller would follow.

    Raises CertificateRejected: "empty-chain", "too-deep", "self-signed", "wrong-issuer", "repeated-subject",
    "may-not-issue", "wrong-subject", "wrong-role", "revoked", "not-yet-valid", "expired", "bad-signature",
    "bad-public-key". What needs no cryptography is looked at first, for all certificates.
    """
    _check_depth(len(chain), min(max_depth, MAX_DEPTH))
    _check_links(chain, anchor)
    target = chain[-1]
    refuse(
        target,
        {
            "wrong-subject": target.subject != subject,
            "wrong-role": target.role != role,
            "wrong-issuer": issuer not in {None, target.issuer},
        },
    )
    check_current(chain, now=now, revoked=revoked)
    for certificate in chain:
        verify(
            certificate,
            issuer_public=anchor.public,
            issuer_suite=anchor.suite,
            issuer=anchor.name,
            role=certificate.role,
            now=now,
        )
        anchor = Anchor.of(certificate)
    return target


def check_current(
    chain: Sequence[Certificate], *, now: float, revoked: AbstractSet[tuple[str, int]] = frozenset()
) -> None:
    """Check again what may have changed of a chain that was verified before: signatures stay what they are.

    Raises CertificateRejected: "revoked", "not-yet-valid", "expired".
    """
    for certificate in chain:
        refuse(certificate, {"revoked": (certificate.issuer, certificate.serial) in revoked})
        check_validity(certificate, now)


def successor(
    old: Incumbent,
    chain: Sequence[Certificate],
    anchor: Anchor,
    *,
    now: float,
    revoked: AbstractSet[tuple[str, int]] = frozenset(),
) -> Certificate:
    """Return the certificate to go by from now on in place of *old*: the last one of *chain*.

    Raises CertificateRejected for the reasons of ``verify_chain``, for the same subject, role and issuer; and
    "not-newer" when its serial is not above the old one's.
    """
    new = verify_chain(
        chain, anchor, subject=old.subject, role=old.role, issuer=old.issuer, now=now, revoked=revoked
    )
    refuse(new, {"not-newer": new.serial <= old.serial})
    return new


def _check_depth(depth: int, limit: int) -> None:
    if depth == 0:
        raise CertificateRejected("empty-chain")
    if depth > limit:
        raise CertificateRejected("too-deep", f"{depth} certificates")


def _check_links(chain: Sequence[Certificate], anchor: Anchor) -> None:
    """Check that each certificate names the subject before it as its issuer, who may issue it."""
    name, role, above = anchor.name, anchor.role, {anchor.name}
    for certificate in chain:
        refuse(
            certificate,
            {
                "self-signed": certificate.subject == certificate.issuer,
                "wrong-issuer": certificate.issuer != name,
                "repeated-subject": certificate.subject in above,
                "may-not-issue": certificate.role not in MAY_ISSUE.get(role, _NOBODY),
            },
        )
        name, role = certificate.subject, certificate.role
        above.add(name)
