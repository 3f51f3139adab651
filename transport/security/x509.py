"""Public keys and certificates in the forms of X.509, for people who have a PKI: in and out.

Out: a public key as SubjectPublicKeyInfo, and a compact certificate as an X.509 certificate that says the
same: subject and role as CN and OU, signing key, serial, validity. Its issuer signs it anew, for X.509 signs
other octets: so it takes the issuer's private key, and is a self-signed root where the subject is the issuer.
Who may issue by ``chain.MAY_ISSUE`` becomes a CA, with the path length that the table gives. The sealing key
has no place in it and goes out by itself.

In: the public key of an X.509 certificate or of a SubjectPublicKeyInfo, as DER or PEM. It is taken as a key
and nothing more: whether a PKI still vouches for its owner has been asked before, where that PKI's roots and
revocation lists are. An authority then certifies it here, as any other.

One private key signs under both forms. That is sound because what is signed here starts with the length of a
label, an octet 00, and a TBSCertificate with 30: neither is ever the other.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from transport.errors import CertificateRejected
from transport.security.certificates import Certificate, verify
from transport.security.chain import MAY_ISSUE
from transport.security.x509_keys import SIGNERS, Use, library_keys, suite_key

if TYPE_CHECKING:
    from transport.security.suites import SigningKey

MAX_OCTETS: Final = 16_384
_LAST_SECOND: Final = 253_402_300_799  # 99991231235959Z: "no well-defined expiration date", RFC 5280 §4.1.2.5
_BEGIN: Final = b"-----BEGIN "
_LABEL_END: Final = b"-----"
_MOST_BLOCKS: Final = 2  # of a hybrid
_ENCODINGS: Final = {True: Encoding.PEM, False: Encoding.DER}  # by ``pem``


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A public key that somebody brought, and the suite whose key it is."""

    suite: str
    public: bytes = field(repr=False)


def export_public(name: str, public: bytes, *, use: Use = Use.SIGNING, pem: bool = True) -> bytes:
    """Return a public key of suite *name* as SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).

    A hybrid's key is a PEM block for each of its keys. Raises CertificateRejected("bad-public-key");
    ValueError for a suite that X.509 does not know, and for a hybrid in DER.
    """
    keys = library_keys(name, public, use)
    if len(keys) > 1 and not pem:
        raise ValueError(f"a key of suite {name} is {len(keys)} keys, which only PEM takes together")
    return b"".join(key.public_bytes(_ENCODINGS[pem], PublicFormat.SubjectPublicKeyInfo) for key in keys)


def fingerprint(name: str, public: bytes, *, use: Use = Use.SIGNING) -> str:
    """Return the SHA-256 of a public key as SubjectPublicKeyInfo in DER, in hexadecimal.

    That of a hybrid is over those of its keys behind each other. Raises as ``export_public``.
    """
    keys = library_keys(name, public, use)
    return sha256(
        b"".join(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in keys)
    ).hexdigest()


def export_certificate(
    certificate: Certificate, *, issuer: Certificate, issuer_key: SigningKey, pem: bool = True
) -> bytes:
    """Return what *certificate* says as an X.509 certificate (RFC 5280), signed with *issuer_key*.

    *issuer* is the issuer's own certificate, for a root *certificate* itself. A validity beyond the year 9999
    ends with it. Raises CertificateRejected when *issuer* did not issue *certificate*; ValueError for another
    key than *issuer*'s, for serial zero, and for suites that X.509 does not know or that sign with two keys.
    """
    if issuer_key.public != issuer.signing_public:
        raise ValueError(f"the key is not that of issuer {issuer.subject}")
    verify(
        certificate,
        issuer_public=issuer.signing_public,
        issuer_suite=issuer.suite,
        issuer=issuer.subject,
        role=certificate.role,
        now=certificate.not_before,
    )
    keys = [_only_key(one) for one in (certificate, issuer)]
    if certificate.not_before > _LAST_SECOND:
        raise ValueError("an X.509 certificate begins before the year 10000")
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(certificate))
        .issuer_name(_name(issuer))
        .public_key(keys[0])
        .serial_number(certificate.serial)
        .not_valid_before(_time(certificate.not_before))
        .not_valid_after(_time(min(certificate.not_after, _LAST_SECOND)))
    )
    for extension, critical in _extensions(certificate.role, *keys):
        builder = builder.add_extension(extension, critical=critical)
    return SIGNERS[issuer.suite](builder, issuer_key.private).public_bytes(_ENCODINGS[pem])


def _only_key(certificate: Certificate) -> Any:
    keys = library_keys(certificate.suite, certificate.signing_public, Use.SIGNING)
    if len(keys) > 1:
        raise ValueError(
            f"suite {certificate.suite} signs with {len(keys)} keys and an X.509 certificate has one: "
            "export its public keys by themselves"
        )
    return keys[0]


def _name(certificate: Certificate) -> x509.Name:
    attributes = (
        (x509.NameOID.COMMON_NAME, certificate.subject),
        (x509.NameOID.ORGANIZATIONAL_UNIT_NAME, str(certificate.role)),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _extensions(role: str, key: Any, issuer_key: Any) -> list[tuple[x509.ExtensionType, bool]]:
    """Return the extensions that RFC 5280 §4.2.1 asks for, and whether each is critical."""
    levels = _levels_below(role)
    unused = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    usage = x509.KeyUsage(digital_signature=True, key_cert_sign=levels > 0, **unused)
    return [
        (x509.BasicConstraints(ca=levels > 0, path_length=levels - 1 if levels else None), True),
        (usage, True),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), False),
    ]


def _levels_below(role: str) -> int:
    return max((1 + _levels_below(below) for below in MAY_ISSUE.get(role, ())), default=0)


def import_public(octets: bytes, *, use: Use = Use.SIGNING) -> PublicKey:
    """Return the public key in *octets*: an X.509 certificate or SubjectPublicKeyInfo, DER or PEM.

    A hybrid's is a PEM block for each of its keys, in its order. Text around blocks does not matter. Raises
    CertificateRejected: "too-large", "too-many-blocks", "private-key" (which should never come here),
    "unsupported-block", "malformed", "deprecated", "unsupported-algorithm", "unsupported-curve",
    "unsupported-size", "unsupported-exponent", "bad-public-key".
    """
    if len(octets) > MAX_OCTETS:
        raise CertificateRejected("too-large", f"{len(octets)} octets")
    name, public = suite_key(_read(octets), use)
    return PublicKey(suite=name, public=public)


def _read(octets: bytes) -> list[Any]:
    """Return the library's keys; what the library says of bad octets is not repeated, it may quote them."""
    blocks = octets.split(_BEGIN)[1:]
    if len(blocks) > _MOST_BLOCKS:
        raise CertificateRejected("too-many-blocks", f"{len(blocks)} PEM blocks")
    try:
        with warnings.catch_warnings():
            # The library only warns of some keys and encodings that it will drop; we begin without them.
            warnings.simplefilter("error")
            return [_pem_key(_BEGIN + block) for block in blocks] or [_der_key(octets)]
    except UnsupportedAlgorithm:
        raise CertificateRejected("unsupported-algorithm") from None
    except Warning:
        raise CertificateRejected("deprecated") from None
    except (ValueError, x509.InvalidVersion):
        detail = "neither an X.509 certificate nor a SubjectPublicKeyInfo"
        raise CertificateRejected("malformed", detail) from None


def _pem_key(block: bytes) -> Any:
    label = block.removeprefix(_BEGIN).partition(_LABEL_END)[0]
    if label.endswith(b"PRIVATE KEY"):
        raise CertificateRejected("private-key")
    if label == b"CERTIFICATE":
        return x509.load_pem_x509_certificate(block).public_key()
    if label == b"PUBLIC KEY":
        return load_pem_public_key(block)
    raise CertificateRejected("unsupported-block")


def _der_key(octets: bytes) -> Any:
    try:
        return load_der_public_key(octets)
    except ValueError:
        return x509.load_der_x509_certificate(octets).public_key()
