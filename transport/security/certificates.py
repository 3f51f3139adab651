"""Certificates: an issuer's word that a name in a role has these public keys, for a while.

On the wire a msgpack array in the one encoding that ``encode`` gives; every other encoding of the same
values is refused, so that there is one certificate for one signature::

    [1, serial, subject, role, suite id, signing public, sealing public, issuer,
     not before, not after, signature]

``verify`` judges one link, issuer's key to certificate. Several links, and who may issue for whom, are the
business of ``chain``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, cast

import msgpack

from transport.errors import CertificateRejected, SignatureRejected
from transport.security.framing import check_name, framed
from transport.security.suites import SigningKey, suite, suite_by_id

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = 1
MAX_CERTIFICATE_OCTETS: Final = 8192
MAX_SIGNATURE: Final = 4096
MAX_SERIAL: Final = 2**64 - 1
MAX_TIME: Final = 2**40 - 1
_LABEL: Final = "otafleet/1 certificate"


class Role(StrEnum):
    """Who a certificate can say its subject is (DESIGN section 1)."""

    AUTHORITY = "authority"
    OPERATOR = "operator"
    SUPPLIER = "supplier"
    PERSONALISER = "personaliser"
    ALLOCATOR = "allocator"
    MODULE = "module"


_ROLES: Final = frozenset(str(role) for role in Role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One certificate; ValueError when a field is out of bounds.

    ``sealing_public`` is empty for a subject that takes no sealed messages. ``not_before`` and
    ``not_after`` are seconds since 1970 UTC, both inside the validity. Nothing of it is secret; keys and
    signature are left out of its repr because some suites have thousands of octets.
    """

    subject: str
    role: str
    suite: str
    signing_public: bytes = field(repr=False)
    sealing_public: bytes = field(repr=False)
    issuer: str
    serial: int
    not_before: int
    not_after: int
    signature: bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_name("a certificate's subject", self.subject)
        check_name("a certificate's issuer", self.issuer)
        if self.role not in _ROLES:
            raise ValueError("a certificate's role must be one of " + ", ".join(sorted(_ROLES)))
        self._check_keys()
        self._check_numbers()

    def _check_keys(self) -> None:
        kind = suite(self.suite)
        lengths = (
            ("signing key", self.signing_public, {kind.signing_public_length}),
            ("sealing key", self.sealing_public, {0, kind.sealing_public_length}),
            ("signature", self.signature, range(1, MAX_SIGNATURE + 1)),
        )
        for what, octets, allowed in lengths:
            if type(octets) is not bytes or len(octets) not in allowed:
                raise ValueError(
                    f"a certificate's {what} has not the octets that suite {self.suite} gives it"
                )

    def _check_numbers(self) -> None:
        for number, top in (
            (self.serial, MAX_SERIAL),
            (self.not_before, MAX_TIME),
            (self.not_after, MAX_TIME),
        ):
            # A bool is an int to isinstance, and would come back from msgpack as itself.
            if type(number) is not int or not 0 <= number <= top:
                raise ValueError(f"a certificate's numbers are whole, from 0 to {top}")
        if self.not_before > self.not_after:
            raise ValueError("a certificate must not end before it begins")

    @property
    def signed_octets(self) -> bytes:
        """What the issuer signs: every field but the signature."""
        return framed(_LABEL, cast("bytes", msgpack.packb(self._body())))

    def _body(self) -> list[Any]:
        keys = [suite(self.suite).wire_id, self.signing_public, self.sealing_public]
        return [
            FORMAT,
            self.serial,
            self.subject,
            self.role,
            *keys,
            self.issuer,
            self.not_before,
            self.not_after,
        ]

    def encode(self) -> bytes:
        """Return the certificate's octets, at most 8192."""
        return cast("bytes", msgpack.packb([*self._body(), self.signature]))

    @classmethod
    def parse(cls, octets: bytes) -> Certificate:
        """Return the certificate that *octets* encode, not yet verified.

        Raises CertificateRejected: "too-large", "malformed", "unknown-format", "unknown-suite", "bad-field",
        "not-canonical".
        """
        values = unpack(octets, MAX_CERTIFICATE_OCTETS)
        if type(values) is not list or len(values) != len(fields(cls)) + 1:
            raise CertificateRejected("malformed", "not an array of its eleven fields")
        (
            version,
            serial,
            subject,
            role,
            suite_id,
            signing,
            sealing,
            issuer,
            not_before,
            not_after,
            signature,
        ) = values
        if type(version) is not int or version != FORMAT:
            raise CertificateRejected("unknown-format")
        kind = suite_by_id(suite_id) if type(suite_id) is int else None
        if kind is None:
            raise CertificateRejected("unknown-suite")
        try:
            certificate = cls(
                subject=subject,
                role=role,
                suite=kind.name,
                signing_public=signing,
                sealing_public=sealing,
                issuer=issuer,
                serial=serial,
                not_before=not_before,
                not_after=not_after,
                signature=signature,
            )
        except (ValueError, TypeError) as error:  # TypeError: a list is no member of a set
            raise CertificateRejected("bad-field", str(error)) from None
        if certificate.encode() != octets:
            raise CertificateRejected("not-canonical")
        return certificate


def unpack(octets: bytes, limit: int) -> object:
    """Return the one msgpack value in *octets*, at most *limit* of them, of short arrays and no maps.

    Raises CertificateRejected: "too-large", "malformed".
    """
    if len(octets) > limit:
        raise CertificateRejected("too-large", f"{len(octets)} octets")
    limits = {"max_str_len": limit, "max_bin_len": limit, "max_array_len": 16} | dict.fromkeys(
        ("max_map_len", "max_ext_len"), 0
    )
    try:
        return cast("object", msgpack.unpackb(octets, raw=False, strict_map_key=True, **limits))
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise CertificateRejected("malformed", type(error).__name__) from None


def issue(  # noqa: PLR0913 -- a certificate has as many fields; all but the key by keyword
    issuer_key: SigningKey,
    *,
    issuer: str,
    serial: int,
    subject: str,
    role: str,
    suite: str,
    signing_public: bytes,
    sealing_public: bytes = b"",
    not_before: int,
    not_after: int,
) -> Certificate:
    """Return a certificate signed with *issuer_key*, whose suite may be another than the subject's.

    Raises ValueError for a field out of bounds.
    """
    unsigned = Certificate(
        subject=subject,
        role=role,
        suite=suite,
        signing_public=signing_public,
        sealing_public=sealing_public,
        issuer=issuer,
        serial=serial,
        not_before=not_before,
        not_after=not_after,
        signature=b"\0",
    )
    return replace(unsigned, signature=issuer_key.sign(unsigned.signed_octets))


def verify(
    certificate: Certificate, *, issuer_public: bytes, issuer_suite: str, issuer: str, role: str, now: float
) -> None:
    """Return if *issuer*, whose key is *issuer_public*, says now that the subject holds *role*.

    ``now`` is in seconds since 1970 UTC. Raises CertificateRejected: "wrong-issuer", "wrong-role",
    "not-yet-valid", "expired", "bad-signature", "bad-public-key" (of the issuer).
    """
    refuse(
        certificate,
        {"wrong-issuer": certificate.issuer != issuer, "wrong-role": certificate.role != role},
    )
    check_validity(certificate, now)
    try:
        suite(issuer_suite).verify(issuer_public, certificate.signed_octets, certificate.signature)
    except SignatureRejected as error:
        raise CertificateRejected(error.reason, f"certificate {certificate.serial}") from None


def check_validity(certificate: Certificate, now: float) -> None:
    """Raise CertificateRejected ("not-yet-valid", "expired") unless *certificate* is valid *now*."""
    refuse(
        certificate,
        {
            # "not", so that a time that is no number is in nobody's validity
            "not-yet-valid": not now >= certificate.not_before,
            "expired": not now <= certificate.not_after,
        },
    )


def refuse(certificate: Certificate, faults: Mapping[str, bool]) -> None:
    """Raise CertificateRejected with the first reason in *faults* that is true of *certificate*."""
    for reason, found in faults.items():
        if found:
            raise CertificateRejected(reason, f"certificate {certificate.serial} of {certificate.subject}")
