"""The public keys of suites as X.509 spells them: what kinds there are, and which suite has which.

A suite that is not in the table has no spelling in X.509; nothing else depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePublicKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from transport.errors import CertificateRejected, SealRejected, SignatureRejected
from transport.security.suites import suite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.x509 import Certificate, CertificateBuilder


class Use(StrEnum):
    """What a public key is for: to check its owner's signatures, or to seal to him."""

    SIGNING = "signing"
    SEALING = "sealing"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyKind:
    """One kind of public key: the library's class of it, and the way there from a suite's octets and back.

    *dump* raises CertificateRejected for a key of that class that no suite takes.
    """

    library: Any
    load: Callable[[bytes], Any]
    dump: Callable[[Any], bytes]


def _raw(key: Any) -> bytes:
    return bytes(key.public_bytes_raw())


def _point(key: EllipticCurvePublicKey) -> bytes:
    if not isinstance(key.curve, SECP256R1):
        raise CertificateRejected("unsupported-curve", key.curve.name)
    return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def _sign_ed25519(builder: CertificateBuilder, private: bytes) -> Certificate:
    return builder.sign(Ed25519PrivateKey.from_private_bytes(private), None)


def _sign_p256(builder: CertificateBuilder, private: bytes) -> Certificate:
    # The same octets each time, as with Ed25519 and as the suite itself signs (RFC 6979).
    key = derive_private_key(int.from_bytes(private, "big"), SECP256R1())
    return builder.sign(key, SHA256(), ecdsa_deterministic=True)


ED25519: Final = KeyKind(library=Ed25519PublicKey, load=Ed25519PublicKey.from_public_bytes, dump=_raw)
X25519: Final = KeyKind(library=X25519PublicKey, load=X25519PublicKey.from_public_bytes, dump=_raw)
P256: Final = KeyKind(
    library=EllipticCurvePublicKey,
    load=lambda octets: EllipticCurvePublicKey.from_encoded_point(SECP256R1(), octets),
    dump=_point,
)

KINDS: Final[Mapping[Use, Mapping[str, KeyKind]]] = MappingProxyType(
    {
        Use.SIGNING: MappingProxyType({"x25519": ED25519, "p256": P256}),
        Use.SEALING: MappingProxyType({"x25519": X25519, "p256": P256}),
    }
)

SIGNERS: Final[Mapping[str, Callable[[CertificateBuilder, bytes], Certificate]]] = MappingProxyType(
    {"x25519": _sign_ed25519, "p256": _sign_p256}
)
"""How what ``SigningKey.private`` has signs an X.509 certificate, by suite."""


def library_key(name: str, public: bytes, use: Use) -> Any:
    """Return the library's key of a suite's *public* octets.

    Raises CertificateRejected("bad-public-key"); ValueError for a suite whose keys have no form in X.509.
    """
    kind = KINDS[use].get(name)
    if kind is None:
        raise ValueError(f"keys of suite {name!r} have no form in X.509; there are {', '.join(KINDS[use])}")
    _check(name, public, use)
    return kind.load(public)


def suite_key(key: Any, use: Use) -> tuple[str, bytes]:
    """Return the suite that takes *key* of the library for *use*, and its octets there.

    Raises CertificateRejected: "unsupported-algorithm", "unsupported-curve", "bad-public-key".
    """
    rejection = CertificateRejected("unsupported-algorithm", type(key).__name__)
    for name, kind in KINDS[use].items():
        if not isinstance(key, kind.library):
            continue
        try:
            public = kind.dump(key)
        except CertificateRejected as closer:
            rejection = closer
            continue
        _check(name, public, use)
        return name, public
    raise rejection


def _check(name: str, public: bytes, use: Use) -> None:
    """Raise CertificateRejected("bad-public-key") for octets that suite *name* would not take as a key."""
    kind = suite(name)
    try:
        # A suite judges a key when it is used, and what comes of the use is of no interest here.
        if use is Use.SEALING:
            kind.seal(public, b"", b"")
        else:
            kind.verify(public, b"", bytes(kind.signature_length))
    except (SealRejected, SignatureRejected) as rejection:
        if rejection.reason == "bad-public-key":
            raise CertificateRejected(rejection.reason) from None
