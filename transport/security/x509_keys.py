"""The public keys of suites as X.509 spells them: what kinds there are, and which suite has which.

A suite's key is one key of a kind, or several put behind each other: a hybrid's are known to X.509 one by
one. A suite that is not in the table has no spelling there; nothing else depends on it.
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
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from transport.errors import CertificateRejected, SealRejected, SignatureRejected
from transport.security.framing import cut
from transport.security.rsa_keys import DIGEST, EXPONENT, PADDING, load_private, load_public
from transport.security.suites import suite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cryptography.x509 import Certificate, CertificateBuilder


class Use(StrEnum):
    """What a public key is for: to check its owner's signatures, or to seal to him."""

    SIGNING = "signing"
    SEALING = "sealing"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyKind:
    """One kind of public key: the library's class of it, and the way there from a suite's octets and back.

    There are *length* of them. *dump* raises CertificateRejected for a key of that class that no suite takes.
    """

    library: Any
    length: int
    load: Callable[[bytes], Any]
    dump: Callable[[Any], bytes]


def _raw(key: Any) -> bytes:
    return bytes(key.public_bytes_raw())


def _point(key: EllipticCurvePublicKey) -> bytes:
    if not isinstance(key.curve, SECP256R1):
        raise CertificateRejected("unsupported-curve", key.curve.name)
    return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def _rsa(length: int) -> KeyKind:
    def modulus(key: RSAPublicKey) -> bytes:
        numbers = key.public_numbers()
        if numbers.e != EXPONENT:
            raise CertificateRejected("unsupported-exponent", f"only {EXPONENT} is")
        if key.key_size != 8 * length:
            raise CertificateRejected("unsupported-size", f"RSA of {key.key_size} bits")
        return numbers.n.to_bytes(length, "big")

    def load(octets: bytes) -> RSAPublicKey:
        return load_public(octets, length)

    return KeyKind(library=RSAPublicKey, length=length, load=load, dump=modulus)


ED25519: Final = KeyKind(
    library=Ed25519PublicKey, length=32, load=Ed25519PublicKey.from_public_bytes, dump=_raw
)
X25519: Final = KeyKind(library=X25519PublicKey, length=32, load=X25519PublicKey.from_public_bytes, dump=_raw)
ML_DSA_65: Final = KeyKind(
    library=MLDSA65PublicKey, length=1952, load=MLDSA65PublicKey.from_public_bytes, dump=_raw
)
ML_KEM_768: Final = KeyKind(
    library=MLKEM768PublicKey, length=1184, load=MLKEM768PublicKey.from_public_bytes, dump=_raw
)
P256: Final = KeyKind(
    library=EllipticCurvePublicKey,
    length=33,
    load=lambda octets: EllipticCurvePublicKey.from_encoded_point(SECP256R1(), octets),
    dump=_point,
)
RSA_3072: Final = _rsa(384)
RSA_2048: Final = _rsa(256)

KINDS: Final[Mapping[Use, Mapping[str, tuple[KeyKind, ...]]]] = MappingProxyType(
    {
        Use.SIGNING: MappingProxyType(
            {
                "x25519": (ED25519,),
                "p256": (P256,),
                "rsa-ffdh": (RSA_3072,),
                "rsa-2048-ffdh": (RSA_2048,),
                "pq-hybrid": (ML_DSA_65, ED25519),
            }
        ),
        Use.SEALING: MappingProxyType(
            {
                "x25519": (X25519,),
                "p256": (P256,),
                "rsa-ffdh": (RSA_3072,),
                "rsa-2048-ffdh": (RSA_2048,),
                "pq-hybrid": (ML_KEM_768, X25519),
            }
        ),
    }
)


def _sign_ed25519(builder: CertificateBuilder, private: bytes) -> Certificate:
    return builder.sign(Ed25519PrivateKey.from_private_bytes(private), None)


def _sign_p256(builder: CertificateBuilder, private: bytes) -> Certificate:
    # The same octets each time, as with Ed25519 and as the suite itself signs (RFC 6979).
    key = derive_private_key(int.from_bytes(private, "big"), SECP256R1())
    return builder.sign(key, SHA256(), ecdsa_deterministic=True)


def _sign_rsa(builder: CertificateBuilder, private: bytes) -> Certificate:
    # A private key is as long as its modulus. The library draws the salt.
    return builder.sign(load_private(private, len(private)), DIGEST, rsa_padding=PADDING)


SIGNERS: Final[Mapping[str, Callable[[CertificateBuilder, bytes], Certificate]]] = MappingProxyType(
    {"x25519": _sign_ed25519, "p256": _sign_p256, "rsa-ffdh": _sign_rsa, "rsa-2048-ffdh": _sign_rsa}
)
"""How what ``SigningKey.private`` has signs an X.509 certificate, by suite."""


def library_keys(name: str, public: bytes, use: Use) -> list[Any]:
    """Return the library's keys of a suite's *public* octets.

    Raises CertificateRejected("bad-public-key"); ValueError for a suite whose keys have no form in X.509.
    """
    kinds = KINDS[use].get(name)
    if kinds is None:
        raise ValueError(f"keys of suite {name!r} have no form in X.509; there are {', '.join(KINDS[use])}")
    _check(name, public, use)
    pieces = cut(public, [kind.length for kind in kinds])
    assert pieces is not None, "a suite takes keys of its own length only"
    return [kind.load(piece) for kind, piece in zip(kinds, pieces, strict=True)]


def suite_key(keys: Sequence[Any], use: Use) -> tuple[str, bytes]:
    """Return the suite that takes *keys* of the library for *use*, and their octets there.

    Raises CertificateRejected: "unsupported-algorithm", "unsupported-curve", "unsupported-size",
    "unsupported-exponent", "bad-public-key".
    """
    brought = " and ".join(type(key).__name__ for key in keys)
    rejection = CertificateRejected("unsupported-algorithm", brought)
    for name, kinds in KINDS[use].items():
        if len(kinds) != len(keys) or not all(map(isinstance, keys, (kind.library for kind in kinds))):
            continue
        try:
            public = b"".join(kind.dump(key) for kind, key in zip(kinds, keys, strict=True))
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
