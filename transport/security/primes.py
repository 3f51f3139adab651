"""Prime numbers: whether one is, and how to come by one from a random source that repeats.

``cryptography`` has no test of primality to call, and Python's ``pow`` is ten times slower than what is
inside the library. But the library checks the primes of an RSA key before it loads it: a number is prime if
and only if the RSA key of it and 3 is one. That check is Miller-Rabin with 64 bases, above 2048 bits with
128, which the library draws from its own random source: one who chooses a composite number cannot know them,
and passes with a probability below 2^-128 whatever number he chose. The verdict is no matter of chance.
"""

from __future__ import annotations

from itertools import count
from math import gcd, isqrt
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers

from transport.security.suite_base import Rng, draw

if TYPE_CHECKING:
    from collections.abc import Iterator

MIN_BITS: Final = 1023  # below, the library takes no key of the number and 3
_PARTNER: Final = 3
_SIEVE: Final = 1 << 16  # numbers with a prime factor below are not tried
_WINDOW: Final = 1 << 12  # odd numbers looked at from a random start, some eight times the usual gap
_ATTEMPTS: Final = 64


def is_prime(number: int) -> bool:
    """Return whether *number*, of at least 1023 bits, is prime; ValueError for a shorter one.

    A number of 4096 bits that is costs some seconds; nearly all that are not cost a hundredth of that.
    """
    if number.bit_length() < MIN_BITS:
        raise ValueError(f"only numbers of at least {MIN_BITS} bits are tested here")
    if not number % 2 or not number % _PARTNER:
        return False
    totient = (number - 1) * (_PARTNER - 1)
    exponent = next(one for one in count(3, 2) if gcd(one, totient) == 1)
    inverse = pow(exponent, -1, totient)
    numbers = RSAPrivateNumbers(
        p=number,
        q=_PARTNER,
        d=inverse,
        dmp1=inverse % (number - 1),
        dmq1=inverse % (_PARTNER - 1),
        iqmp=pow(_PARTNER, -1, number),
        public_numbers=RSAPublicNumbers(exponent, number * _PARTNER),
    )
    try:
        numbers.private_key()
    except ValueError:
        return False
    return True


def make_prime(rng: Rng, bits: int, exponent: int) -> int:
    """Return a prime of *bits* bits, a multiple of 8, made of *rng*'s octets alone; the two top bits are set.

    It is the first one from a random start (as FIPS 186-5 appendix A.1.3, but for the steps) that is not one
    more than a multiple of *exponent*. Draws as many octets as the prime has; again if there is none near.
    Raises ValueError when the random source leads nowhere.
    """
    for _ in range(_ATTEMPTS):
        start = int.from_bytes(draw(rng, bits // 8), "big") | 0b11 << (bits - 2) | 1
        for candidate in _without_small_factors(start):
            if candidate.bit_length() == bits and (candidate - 1) % exponent and is_prime(candidate):
                return candidate
    raise ValueError("the random source gives no prime")


def _without_small_factors(start: int) -> Iterator[int]:
    """Return the numbers of the window from the odd *start* on that no prime below 65536 divides."""
    window = bytearray(b"\1") * _WINDOW
    for prime in _SMALL_PRIMES:
        # start + 2 * first is the first odd multiple of it
        first = -start * ((prime + 1) // 2) % prime
        window[first::prime] = bytes(len(range(first, _WINDOW, prime)))
    return (start + 2 * at for at, kept in enumerate(window) if kept)


def _odd_primes_below(limit: int) -> tuple[int, ...]:
    kept = bytearray(b"\1") * limit
    for number in range(3, isqrt(limit) + 1, 2):
        if kept[number]:
            kept[number * number :: 2 * number] = bytes(len(range(number * number, limit, 2 * number)))
    return tuple(number for number in range(3, limit, 2) if kept[number])


_SMALL_PRIMES: Final = _odd_primes_below(_SIEVE)
