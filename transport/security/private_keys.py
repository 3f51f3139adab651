"""Private keys in the form of a PKI, for a role that brings its own: PKCS#8 (RFC 5958) in PEM, coming in.

A file has a block for each key, first what the suite signs with, then, if at all, what opens what was sealed:
one block each, but two to sign with in the hybrid. The hybrid's sealing key is the seed of X-Wing, from which
both of its halves follow, and for a seed PKCS#8 has no form yet; two halves have no seed. Nothing goes out
again: a private key has no business elsewhere.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from transport.errors import CertificateRejected
from transport.security.suites import suite
from transport.security.x509_keys import KINDS, Use, suite_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transport.security.suites import SealingKey, SigningKey

MAX_OCTETS: Final = 65_536
_BEGIN: Final = b"-----BEGIN "
_LABEL_END: Final = b"-----"
_PLAIN: Final = b"PRIVATE KEY"
_ENCRYPTED: Final = b"ENCRYPTED PRIVATE KEY"
_MOST_BLOCKS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class BroughtKeys:
    """The keys that somebody brought; ``sealing`` is None where the file has none."""

    signing: SigningKey = field(repr=False)
    sealing: SealingKey | None = field(repr=False)


def import_private(octets: bytes, *, name: str, password: bytes | None = None) -> BroughtKeys:
    """Return the private keys of suite *name* in *octets*; *password* opens what is encrypted.

    Nothing that is raised quotes what it read. Raises CertificateRejected: "too-large", "no-private-key",
    "too-many-blocks", "unsupported-block", "encrypted", "not-encrypted", "wrong-password", "malformed",
    "deprecated", "unsupported-algorithm" and what else ``suite_key`` has, "other-suite", "no-sealing-form",
    "same-key", "bad-private-key". ValueError for a suite that there is not, or that X.509 does not know.
    """
    if len(octets) > MAX_OCTETS:
        raise CertificateRejected("too-large", f"{len(octets)} octets")
    blocks = octets.split(_BEGIN)[1:]
    if not blocks:
        raise CertificateRejected("no-private-key", "no PEM block")
    if len(blocks) > _MOST_BLOCKS:
        raise CertificateRejected("too-many-blocks", f"{len(blocks)} PEM blocks")
    keys = [_key(_BEGIN + block, password) for block in blocks]
    of_signing = len(KINDS[Use.SIGNING][suite(name).name])
    signing, sealing = keys[:of_signing], keys[of_signing:]
    _check_suite(name, signing, Use.SIGNING)
    if sealing:
        if len(KINDS[Use.SEALING][name]) > 1:
            raise CertificateRejected("no-sealing-form", f"suite {name}")
        _check_suite(name, sealing, Use.SEALING)
    private, opening = (b"".join(map(_octets, some)) for some in (signing, sealing))
    if compare_digest(private, opening):
        raise CertificateRejected("same-key")
    try:
        made = suite(name)
        return BroughtKeys(
            signing=made.load_signing_key(private),
            sealing=made.load_sealing_key(opening) if opening else None,
        )
    except ValueError:
        raise CertificateRejected("bad-private-key") from None


def _key(block: bytes, password: bytes | None) -> Any:
    """Return the library's key; what the library says of bad octets is not repeated, it may quote them."""
    label = block.removeprefix(_BEGIN).partition(_LABEL_END)[0]
    if label not in (_PLAIN, _ENCRYPTED):
        raise CertificateRejected("unsupported-block")
    if label == _ENCRYPTED and not password:
        raise CertificateRejected("encrypted")
    if label == _PLAIN and password is not None:
        raise CertificateRejected("not-encrypted")
    try:
        with warnings.catch_warnings():
            # The library only warns of some keys and encodings that it will drop; we begin without them.
            warnings.simplefilter("error")
            return load_pem_private_key(block, password)
    except UnsupportedAlgorithm:
        raise CertificateRejected("unsupported-algorithm") from None
    except Warning:
        raise CertificateRejected("deprecated") from None
    except (ValueError, TypeError):
        # Of what is encrypted, a wrong password and damaged octets look alike.
        raise CertificateRejected("wrong-password" if password else "malformed") from None


def _check_suite(name: str, keys: Sequence[Any], use: Use) -> None:
    """Raise CertificateRejected unless *keys* are those of suite *name* for *use*."""
    found, _ = suite_key([key.public_key() for key in keys], use)
    if found != name:
        raise CertificateRejected("other-suite", f"{use} key of suite {found}")


def _octets(key: Any) -> bytes:
    for library, octets in _OCTETS.items():
        if isinstance(key, library):
            return octets(key)
    return bytes(key.private_bytes_raw())


def _scalar(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_numbers().private_value.to_bytes(key.key_size // 8, "big")


def _primes(key: RSAPrivateKey) -> bytes:
    numbers = key.private_numbers()
    primes = sorted((numbers.p, numbers.q), reverse=True)
    return b"".join(prime.to_bytes(key.key_size // 16, "big") for prime in primes)


_OCTETS: Final[dict[Any, Callable[[Any], bytes]]] = {EllipticCurvePrivateKey: _scalar, RSAPrivateKey: _primes}
"""How a suite writes the private keys of a class; all others are as the library writes them."""
