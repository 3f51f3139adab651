"""RSA key pairs as octets: a public key is its modulus, a private one its two primes, the larger first.

The public exponent is 65537 for all, so it does not travel. Everything else of a private key follows from the
primes; when it is loaded it proves itself on a message, for octets that were damaged in storage would give
away what they are of. That the primes are prime was seen when they were made.
"""

from __future__ import annotations

from functools import lru_cache
from math import lcm
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    RSAPublicKey,
    RSAPublicNumbers,
)
from cryptography.hazmat.primitives.hashes import SHA256

from transport.security.primes import make_prime

if TYPE_CHECKING:
    from transport.security.suite_base import Rng

EXPONENT: Final = 65537
SALT_OCTETS: Final = 32
PADDING: Final = PSS(MGF1(SHA256()), SALT_OCTETS)
"""RSASSA-PSS (RFC 8017 section 8.1), salt as long as the hash."""
DIGEST: Final = SHA256()
_MIN_DISTANCE_BITS: Final = 100  # FIPS 186-5 appendix A.1.3: the primes differ within that many top bits
_TRIAL: Final = b"otafleet/1 trial of a loaded key"


def make_private(rng: Rng, length: int) -> bytes:
    """Return the private octets of a new key with a modulus of *length* octets, of *rng*'s octets alone.

    Draws half of *length* octets for each prime, and again if there is none near. Raises ValueError when the
    random source leads nowhere.
    """
    primes = sorted((make_prime(rng, 4 * length, EXPONENT) for _ in range(2)), reverse=True)
    return b"".join(prime.to_bytes(length // 2, "big") for prime in primes)


def load_private(octets: bytes, length: int) -> RSAPrivateKey:
    """Return the key with a modulus of *length* octets whose primes *octets* are; ValueError for others."""
    p, q = (int.from_bytes(part, "big") for part in (octets[: length // 2], octets[length // 2 :]))
    shape = len(octets) == length and p & q & 1 and (p * q).bit_length() == 8 * length
    if not shape or p < q or (p - q).bit_length() <= 4 * length - _MIN_DISTANCE_BITS:
        raise ValueError("an RSA private key is two primes of half its length, far apart, the larger first")
    d = pow(EXPONENT, -1, lcm(p - 1, q - 1))  # ValueError when there is none
    numbers = RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=d % (p - 1),
        dmq1=d % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=RSAPublicNumbers(EXPONENT, p * q),
    )
    # The library would prove the primes anew, which costs a hundred times what the key is loaded for.
    key = numbers.private_key(unsafe_skip_rsa_key_validation=True)
    try:
        key.public_key().verify(key.sign(_TRIAL, PADDING, DIGEST), _TRIAL, PADDING, DIGEST)
    except InvalidSignature:
        raise ValueError("not the primes of an RSA key") from None
    return key


def public_octets(key: RSAPrivateKey) -> bytes:
    """Return the modulus, which is the public key."""
    return key.public_key().public_numbers().n.to_bytes(key.key_size // 8, "big")


@lru_cache(maxsize=4096)
def load_public(octets: bytes, length: int) -> RSAPublicKey:
    """Return the public key of *length* octets; ValueError when they are none.

    A modulus is odd and has its top bit set. That it is of two primes shows nowhere: who publishes another
    has a weak key, and only himself to blame.
    """
    if len(octets) != length or octets[0] < 0x80 or not octets[-1] & 1:
        raise ValueError(f"an RSA public key is an odd modulus of {8 * length} bits")
    return RSAPublicNumbers(EXPONENT, int.from_bytes(octets, "big")).public_key()
