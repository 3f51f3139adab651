"""What ``otafleet certificate`` says of certificates and public keys."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from transport.errors import CertificateRejected
from transport.security.x509 import MAX_OCTETS, fingerprint, import_public
from transport.security.x509_keys import Use

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from transport.security.certificates import Certificate
    from transport.security.x509 import PublicKey

_SHORT: Final = 16
"""Digits of a fingerprint in a list; all of them are told of one name."""
_LAST_SECOND: Final = 253_402_300_799
"""What is valid beyond the year 9999 has no end."""
_GENERAL: Final = "unsupported-algorithm"
_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "too-large": f"is larger than {MAX_OCTETS} octets",
        "too-many-blocks": "has more PEM blocks than any suite's key",
        "private-key": "is a private key, which should never leave its owner: "
        "bring the public half, as 'openssl pkey -pubout' writes it",
        "unsupported-block": "has a PEM block that is neither a certificate nor a public key",
        "malformed": "is neither an X.509 certificate nor a public key, in PEM or DER",
        "deprecated": "has a key or an encoding that is no longer taken",
        _GENERAL: "has a key of an algorithm that no suite has",
        "unsupported-curve": "has a key on the curve {detail}, and a suite has NIST P-256 alone",
        "unsupported-size": "has a key that no suite takes, {detail}; there are 3072 and 2048 bits",
        "unsupported-exponent": "has an RSA key with another public exponent than 65537",
        "bad-public-key": "has a key that is none of its algorithm, and that nobody should trust",
    }
)


def as_table(certificates: Iterable[Certificate]) -> Table:
    """Return a row for each certificate."""
    table = Table("subject", "role", "suite", "issuer", "serial", "from", "to", "sha256", box=None)
    for one in certificates:
        short = _fingerprints(one)[Use.SIGNING][:_SHORT]
        days = (_day(one.not_before), _day(one.not_after))
        table.add_row(one.subject, one.role, one.suite, one.issuer, str(one.serial), *days, short)
    return table


def details(one: Certificate) -> list[str]:
    """Return what a person wants to know of one certificate."""
    return [
        f"{one.subject}: {one.role}",
        f"  issuer   {one.issuer}, serial {one.serial}",
        f"  valid    {_time(one.not_before)} to {_time(one.not_after)}",
        f"  suite    {one.suite}",
        *(f"  {use:8} sha256 {digest}" for use, digest in _fingerprints(one).items()),
    ]


def to_json(one: Certificate) -> dict[str, Any]:
    """Return a certificate for ``--json``; the keys are a promise to CI jobs."""
    return {
        "subject": one.subject,
        "role": one.role,
        "suite": one.suite,
        "issuer": one.issuer,
        "serial": one.serial,
        "not_before": one.not_before,
        "not_after": one.not_after,
        "sha256": {str(use): digest for use, digest in _fingerprints(one).items()},
        "public": {str(use): _public(one, use).hex() for use in _uses(one)},
    }


def brought(octets: bytes) -> list[str]:
    """Return what a person wants to know of the public key in *octets*. Raises CertificateRejected."""
    found: dict[Use, PublicKey] = {}
    rejections: list[CertificateRejected] = []
    for use in Use:
        try:
            found[use] = import_public(octets, use=use)
        except CertificateRejected as rejection:
            rejections.append(rejection)
    if not found:
        # Of two refusals the one that knows more: a key to sign with is no key at all to seal to.
        raise min(rejections, key=lambda rejection: rejection.reason == _GENERAL)
    use, key = next(iter(found.items()))
    return [
        f"  suite    {key.suite}",
        f"  purpose  {', '.join(found)}",
        f"  public   {key.public.hex()}",
        f"  sha256   {fingerprint(key.suite, key.public, use=use)}",
    ]


def refused(rejection: CertificateRejected) -> str:
    """Return why nobody takes the key in a file, to be put behind its name."""
    return _WORDS[rejection.reason].format(detail=rejection.detail)


def _uses(certificate: Certificate) -> list[Use]:
    return [Use.SIGNING, Use.SEALING] if certificate.sealing_public else [Use.SIGNING]


def _fingerprints(one: Certificate) -> dict[Use, str]:
    return {use: fingerprint(one.suite, _public(one, use), use=use) for use in _uses(one)}


def _public(one: Certificate, use: Use) -> bytes:
    return one.sealing_public if use is Use.SEALING else one.signing_public


def _time(seconds: int) -> str:
    if seconds > _LAST_SECOND:
        return "no end"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _day(seconds: int) -> str:
    return _time(seconds)[:10]
