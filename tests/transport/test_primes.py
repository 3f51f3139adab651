from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers

from tests.transport.security_kit import name_of, seeded, vectors
from transport.security.primes import is_prime, make_prime

if TYPE_CHECKING:
    from transport.security.suites import Rng

MERSENNE = 2**1279 - 1
# F. Arnault, Constructing Carmichael numbers which are strong pseudoprimes to several bases, J. Symbolic
# Computation 20 (1995): three primes whose product passes Miller-Rabin for every prime base below 307.
ARNAULT = 29674495668685510550154174642905332730771991799853043350995075531276838753171770199594238596428121188033664754218345562493168782883  # noqa: E501 -- as it is printed


def passes(number: int, base: int) -> bool:
    """Return whether *number* passes one round of Miller-Rabin."""
    odd, halvings = number - 1, 0
    while odd % 2 == 0:
        odd, halvings = odd // 2, halvings + 1
    power = pow(base, odd, number)
    return power == 1 or any(pow(power, 2**at, number) == number - 1 for at in range(halvings))


@pytest.mark.parametrize("vector", vectors("ffdh"), ids=name_of)
def test_published_primes(vector: dict[str, str]) -> None:
    """A published safe prime is prime, its half too, and its neighbours are not."""
    modulus = int(vector["modulus"], 16)
    assert is_prime(modulus // 2)
    assert not is_prime(modulus + 2)
    assert not is_prime(modulus - 1)


def test_a_prime_whose_predecessor_is_smooth_for_every_usual_exponent() -> None:
    """The test finds an RSA exponent for any number, whatever divides its predecessor."""
    smooth = 3 * 5 * 7 * 11 * 13 * 17 * 257 * 65537
    number = (2**1100 + 144) * smooth + 1
    assert passes(number, 2)
    assert is_prime(number)


def test_a_number_made_to_pass_for_a_prime() -> None:
    """A product of three primes that every small base takes for a prime is none."""
    number = ARNAULT * (313 * (ARNAULT - 1) + 1) * (353 * (ARNAULT - 1) + 1)
    assert all(passes(number, base) for base in (2, 3, 5, 7, 97, 293))
    assert not is_prime(number)


@pytest.mark.parametrize("number", [MERSENNE * MERSENNE, MERSENNE * (2**521 - 1), MERSENNE + 2])
def test_products(number: int) -> None:
    """Squares and other products, and even a product by 3, are no primes."""
    assert is_prime(MERSENNE)
    assert not is_prime(number)
    assert not is_prime(3 * number)


def test_short_numbers_are_not_judged() -> None:
    """A number that the library takes no key of is our own mistake, prime or not."""
    for number in (-7, 0, 7, 2**521 - 1, 2**1022 - 1):
        with pytest.raises(ValueError, match="1023 bits"):
            is_prime(number)


def test_a_prime_is_made_of_the_random_source_alone() -> None:
    """The same octets give the same prime, of the length asked for and fit for the exponent."""
    first, again, other = (make_prime(seeded(seed), 1024, 65537) for seed in (1, 1, 2))
    assert first == again != other
    for prime in (first, other):
        assert prime >> 1022 == 0b11
        assert prime % 65537 != 1
        assert passes(prime, 2)


def test_the_prime_is_the_first_from_its_start() -> None:
    """Nothing is passed over between the random start and the prime but what is composite or unfit."""
    rng = seeded(1)
    prime = make_prime(rng, 1024, 65537)
    start = int.from_bytes(seeded(1)(128), "big") | 3 << 1022 | 1
    assert start <= prime
    small = [number for number in range(3, 1000, 2) if all(number % odd for odd in range(3, number, 2))]
    between = [number for number in range(start, prime, 2) if all(number % factor for factor in small)]
    assert between
    assert not any(passes(number, 2) for number in between)


def test_a_start_from_which_there_is_no_prime() -> None:
    """Where no prime follows, another start is drawn; a source that never gives one is our own mistake."""
    good = seeded(3)(128)
    starts = iter([b"\xff" * 128, b"\xff" * 128, good])
    assert make_prime(lambda _: next(starts), 1024, 65537) == make_prime(lambda _: good, 1024, 65537)
    with pytest.raises(ValueError, match="gives no prime"):
        make_prime(lambda length: b"\xff" * length, 1024, 65537)
    with pytest.raises(ValueError, match="random source gave"):
        make_prime(lambda _: b"", 1024, 65537)


def test_a_prime_that_the_exponent_divides_is_passed_over() -> None:
    """A prime that is one more than a multiple of the exponent has no use in a key."""
    rng: Rng = seeded(5)
    prime = make_prime(rng, 1024, 65537)
    start = prime.to_bytes(128, "big")
    assert make_prime(lambda _: start, 1024, 65537) == prime
    factor = next(odd for odd in range(3, 10_000, 2) if (prime - 1) % odd == 0)
    later = make_prime(lambda _: start, 1024, factor)
    assert later > prime
    RSAPrivateNumbers(
        p=later,
        q=MERSENNE,
        d=(inverse := pow(factor, -1, (later - 1) * (MERSENNE - 1))),
        dmp1=inverse % (later - 1),
        dmq1=inverse % (MERSENNE - 1),
        iqmp=pow(MERSENNE, -1, later),
        public_numbers=RSAPublicNumbers(factor, later * MERSENNE),
    ).private_key()
