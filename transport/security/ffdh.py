"""Diffie-Hellman over a finite field, with base b and modulus M: those of RFC 7919, or given ones.

Given ones come from a configuration or a reservation, so they are judged before use. M is a safe prime:
M = 2q + 1, both prime. Nothing says of which order b is, so only a group whose orders are known by its shape
will do: 1, 2, q and 2q. b is none of 0, 1 and M - 1, which leaves q and 2q. What no test finds is a modulus
made with a trapdoor; it is the operator who vouches for it.

Exponents are even. That takes every share into the subgroup of order q, b's or a peer's, so that there is
nothing of small order to be confined to and nothing to learn from a share of order 2q but what q says; it
also keeps the parity of our own exponent out of our share. Of a share it is then enough to know that it is
none of 0, 1, M - 1 and beyond, for the secret to be none of them.

Everything about ``cryptography``'s own Diffie-Hellman is in here: it is deprecated since version 50, which
``pyproject.toml`` bounds. It raises to a power in constant time, but only for the moduli that it knows by
name; for any other it proves the modulus prime anew with each key, which takes longer than a person waits.
There Python's ``pow`` does it, ten times slower and not in constant time: exponents are of one length and
serve one exchange, which gives an onlooker two measurements of each and no more.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from cryptography.utils import CryptographyDeprecationWarning

from transport.errors import HandshakeRejected, ParametersRejected
from transport.security.primes import is_prime
from transport.security.suite_base import Rng, draw

if TYPE_CHECKING:
    from collections.abc import Mapping

with warnings.catch_warnings():
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    from cryptography.hazmat.primitives.asymmetric.dh import (
        DHParameterNumbers,
        DHPrivateNumbers,
        DHPublicNumbers,
    )

MIN_MODULUS_BITS: Final = 2048
MAX_MODULUS_OCTETS: Final = 512
"""What a reservation and a definition have room for."""
_GENERATOR: Final = 2  # of RFC 7919; the library knows a modulus only together with it
_REMEMBERED: Final = 64  # verdicts and groups, of 512 octets each


def _rfc7919_modulus(bits: int, offset: int) -> int:
    """Return the modulus of RFC 7919 appendix A of that length, from its formula."""
    # 2^bits - 2^(bits-64) + (floor(2^(bits-130) e) + offset) 2^64 - 1, with e as the sum of 1/n!
    spare = 64
    term = euler = 1 << (bits - 130 + spare)
    divisor = 1
    while term:
        term //= divisor
        euler += term
        divisor += 1
    return (1 << bits) - (1 << (bits - 64)) + (((euler >> spare) + offset) << 64) - 1


RFC7919: Final[Mapping[int, int]] = MappingProxyType(
    {
        bits: _rfc7919_modulus(bits, offset)
        for bits, offset in ((2048, 560316), (3072, 2625351), (4096, 5736041))
    }
)
"""The moduli ffdhe2048, ffdhe3072 and ffdhe4096, by their length in bits."""
_KNOWN: Final = frozenset(RFC7919.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The powers of *base* modulo *modulus*; made by ``group``, which judges what comes from outside."""

    base: int
    modulus: int

    @property
    def length(self) -> int:
        """How many octets a share has, and a secret."""
        return (self.modulus.bit_length() + 7) // 8

    def exponent(self, rng: Rng) -> int:
        """Return a private exponent of *rng*'s octets, at least as long as RFC 7919 appendix A asks for.

        Draws 29 octets for a modulus of 2048 bits, 35 for 3072, 41 for 4096.
        """
        octets = 29 + 6 * ceil((self.modulus.bit_length() - MIN_MODULUS_BITS) / 1024)
        number = int.from_bytes(draw(rng, octets), "big")
        return (number | 1 << (8 * octets - 1)) & ~1

    def share(self, exponent: int) -> bytes:
        """Return what goes to the other side."""
        return self.power(self.base, exponent)

    def secret(self, exponent: int, peer: bytes) -> bytes:
        """Return what we share with *peer*'s sender; HandshakeRejected("bad-share") when it is no share."""
        if len(peer) != self.length or not 1 < (share := int.from_bytes(peer, "big")) < self.modulus - 1:
            raise HandshakeRejected("bad-share")
        return self.power(share, exponent)

    def power(self, number: int, exponent: int) -> bytes:
        """Return *number*, of 2 to M - 2, to the power of *exponent*, as long as the modulus."""
        if self.modulus not in _KNOWN:
            return pow(number, exponent, self.modulus).to_bytes(self.length, "big")
        known = DHParameterNumbers(self.modulus, _GENERATOR)
        # A key needs a public part, which has no part in an exchange: any will do, and ours costs a power.
        own = DHPrivateNumbers(exponent, DHPublicNumbers(_GENERATOR, known)).private_key()
        return own.exchange(DHPublicNumbers(number, known).public_key())


def named_group(bits: int) -> Group:
    """Return the group of RFC 7919 of that length: 2048, 3072 or 4096."""
    return Group(base=_GENERATOR, modulus=RFC7919[bits])


@lru_cache(maxsize=_REMEMBERED)
def group(base: bytes, modulus: bytes) -> Group:
    """Return the group of b and M, big-endian without leading zeros; they may come from anybody.

    A modulus that is good costs up to three seconds the first time, one that is none a fifth of one.
    Raises ParametersRejected: "modulus-too-small", "modulus-too-large", "modulus-even", "modulus-not-prime",
    "modulus-not-safe-prime", "base-out-of-range", "leading-zero".
    """
    if modulus[:1] == b"\0" or base[:1] == b"\0":
        raise ParametersRejected("leading-zero")
    if len(modulus) > MAX_MODULUS_OCTETS:
        raise ParametersRejected("modulus-too-large", f"above {8 * MAX_MODULUS_OCTETS} bits")
    made = Group(base=int.from_bytes(base, "big"), modulus=int.from_bytes(modulus, "big"))
    if made.modulus.bit_length() < MIN_MODULUS_BITS:
        raise ParametersRejected("modulus-too-small", f"below {MIN_MODULUS_BITS} bits")
    # 1 and M - 1 are the elements of order 1 and 2; 0 is none, and what is beyond M is another's encoding.
    if not 1 < made.base < made.modulus - 1:
        raise ParametersRejected("base-out-of-range", "not from 2 to M - 2")
    fault = _fault(made.modulus)
    if fault:
        raise ParametersRejected(fault)
    return made


@lru_cache(maxsize=_REMEMBERED)
def _fault(modulus: int) -> str:
    """Return why *modulus* is no safe prime, or nothing; apart from ``group``, to remember refusals too."""
    if modulus in _KNOWN:
        return ""
    if not modulus % 2:
        return "modulus-even"
    # Fermat's test refuses for certain, and accepts for certain once q is known to be prime and 3 no factor:
    # M - 1 has the prime factor q above the root of M, and 2^2 - 1 has no factor with M (Pocklington 1914).
    if not modulus % 3 or pow(2, modulus - 1, modulus) != 1:
        return "modulus-not-prime"
    return "" if is_prime(modulus // 2) else "modulus-not-safe-prime"
