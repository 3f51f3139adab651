from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.security_kit import name_of, seeded, vectors
from transport.errors import HandshakeRejected, ParametersRejected
from transport.security.ffdh import MAX_MODULUS_OCTETS, RFC7919, Group, group, named_group
from transport.security.primes import make_prime
from transport.security.suites import suite, suite_for

MODULI = {vector["id"]: bytes.fromhex(vector["modulus"]) for vector in vectors("modulus") + vectors("ffdh")}
MODP = MODULI["MODP 2048"]
M = int.from_bytes(MODP, "big")
GIVEN = Group(base=2, modulus=M)
EACH_GROUP = pytest.mark.parametrize("one", [named_group(2048), GIVEN], ids=["rfc7919", "given"])
SECOND_ROOT = -1 % M  # the element of order 2


def octets_of(number: int) -> bytes:
    """Return *number* big-endian, without leading zeros."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def refused(base: bytes, modulus: bytes) -> str:
    """Return why parameters are refused, twice over for the same reason."""
    reasons = set()
    for _ in range(2):
        with pytest.raises(ParametersRejected) as caught:
            group(base, modulus)
        reasons.add(caught.value.reason)
    (reason,) = reasons
    return reason


# What is published


@pytest.mark.parametrize("bits", [2048, 3072])
def test_the_moduli_are_those_of_the_rfc(bits: int) -> None:
    """What comes of the RFC's formula is the RFC's number."""
    assert octets_of(RFC7919[bits]) == MODULI[f"ffdhe{bits}"]


def test_the_library_knows_each_modulus() -> None:
    """The formula holds for all three lengths: a share takes the library no time to prove a modulus prime."""
    for bits, modulus in RFC7919.items():
        assert modulus.bit_length() == bits
        assert int.from_bytes(named_group(bits).power(3, 1 << 230), "big") == pow(3, 1 << 230, modulus)


@pytest.mark.parametrize("vector", vectors("ffdh"), ids=name_of)
def test_published_exchange(vector: dict[str, str]) -> None:
    """The published private keys give the published public keys and secret, from both sides."""
    one = group(b"\2", bytes.fromhex(vector["modulus"]))
    for own, other in (("a", "b"), ("b", "a")):
        private, peer = int(vector[f"private_{own}"], 16), bytes.fromhex(vector[f"public_{other}"])
        assert one.share(private).hex() == vector[f"public_{own}"]
        assert one.secret(private, peer).hex() == vector["secret"]


def test_the_room_loads_without_a_warning() -> None:
    """The library deprecates what is behind this room; nobody who uses the room hears of it."""
    code = "import transport.security.suites"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


# Exchanges


@EACH_GROUP
def test_both_sides_share_a_secret(one: Group) -> None:
    """In a group known by name and in a given one, both sides end with one secret as long as the modulus."""
    ours, theirs = one.exponent(seeded(1)), one.exponent(seeded(2))
    secret = one.secret(ours, one.share(theirs))
    assert secret == one.secret(theirs, one.share(ours))
    assert len(secret) == one.length == 256


@pytest.mark.parametrize(("bits", "octets", "least"), [(2048, 29, 225), (3072, 35, 275), (4096, 41, 325)])
def test_exponents_are_as_long_as_the_rfc_asks_for(bits: int, octets: int, least: int) -> None:
    """An exponent is made of so many octets, of one length whatever these are, and even."""
    one, drawn = named_group(bits), []

    def rng(length: int) -> bytes:
        drawn.append(length)
        return bytes(length)

    exponents = [one.exponent(rng), *(one.exponent(seeded(seed)) for seed in range(20))]
    assert drawn == [octets]
    assert {number.bit_length() for number in exponents} == {8 * octets}
    assert 8 * octets - 2 >= least
    assert not any(number % 2 for number in exponents)


def test_a_length_between_those_of_the_rfc_is_rounded_up() -> None:
    """A modulus a little longer than 2048 bits has exponents like one of 3072, and shares of whole octets."""
    one = Group(base=2, modulus=(1 << 2050) + 1)
    assert one.exponent(seeded(1)).bit_length() == 8 * 35
    assert one.length == 257


@EACH_GROUP
def test_degenerate_shares(one: Group) -> None:
    """0, 1, M - 1 and what is not below M are no shares, nor is anything shorter or longer."""
    exponent, good = one.exponent(seeded(3)), one.share(one.exponent(seeded(4)))
    wrong = [number.to_bytes(one.length, "big") for number in (0, 1, one.modulus - 1, one.modulus)]
    wrong += [b"\xff" * one.length, b"", good[1:], b"\0" + good, good + b"\0"]
    for share in wrong:
        with pytest.raises(HandshakeRejected, match="bad-share"):
            one.secret(exponent, share)


@EACH_GROUP
@pytest.mark.parametrize("share", [2, 3, 5, 7, 11, 13], ids=str)
def test_a_share_of_twice_the_order_gives_nothing_away(one: Group, share: int) -> None:
    """Whatever its order, a share and its negative lead to one secret, in the subgroup of order q."""
    exponent = one.exponent(seeded(5))
    secrets = {
        one.secret(exponent, number.to_bytes(one.length, "big")) for number in (share, one.modulus - share)
    }
    (secret,) = secrets
    assert pow(int.from_bytes(secret, "big"), one.modulus // 2, one.modulus) == 1


# Parameters


@pytest.mark.parametrize("base", [2, 3, 5, M - 2], ids=["2", "3", "5", "M-2"])
def test_given_parameters(base: int) -> None:
    """Any base but those of small order will do with a safe prime, and is judged once."""
    made = group(octets_of(base), MODP)
    assert (made.base, made.modulus) == (base, M)
    assert group(octets_of(base), MODP) is made


NOT_SAFE = octets_of(make_prime(seeded(6), 2048, 3))
PRODUCT = octets_of(make_prime(seeded(7), 1024, 3) * make_prime(seeded(8), 1024, 3))


@pytest.mark.parametrize(
    ("base", "modulus", "reason"),
    [
        (b"\2", b"", "modulus-too-small"),
        (b"\2", b"\x17", "modulus-too-small"),
        (b"\2", b"\x7f" + MODP[1:], "modulus-too-small"),
        (b"\2", MODULI["ffdhe2048"][1:], "modulus-too-small"),
        (b"\2", b"\xff" * (MAX_MODULUS_OCTETS + 1), "modulus-too-large"),
        (b"\2", MODP[:-1] + b"\xfe", "modulus-even"),
        (b"\2", octets_of(M + 2), "modulus-not-prime"),
        (b"\2", octets_of(3 * M), "modulus-not-prime"),
        (b"\2", b"\xff" * MAX_MODULUS_OCTETS, "modulus-not-prime"),
        (b"\2", PRODUCT, "modulus-not-prime"),
        (b"\2", NOT_SAFE, "modulus-not-safe-prime"),
        (b"", MODP, "base-out-of-range"),
        (b"\1", MODP, "base-out-of-range"),
        (octets_of(SECOND_ROOT), MODP, "base-out-of-range"),
        (MODP, MODP, "base-out-of-range"),
        (octets_of(M + 2), MODP, "base-out-of-range"),
        (b"\xff" * 10_000, MODP, "base-out-of-range"),
        (b"\1", MODULI["ffdhe2048"], "base-out-of-range"),
        (b"\0", MODP, "leading-zero"),
        (b"\0\2", MODP, "leading-zero"),
        (b"\2", b"\0" + MODP, "leading-zero"),
    ],
    ids=lambda one: one if isinstance(one, str) else f"{len(one)}-{one[:1].hex()}{one[-1:].hex()}",
)
def test_unsafe_parameters(base: bytes, modulus: bytes, reason: str) -> None:
    """Moduli too small, too large, even, composite or unsafe, and bases of small order, each for a reason."""
    assert refused(base, modulus) == reason


def test_a_modulus_whose_half_is_composite_hides_a_small_subgroup() -> None:
    """What a safe prime is asked for: in another group an element of small order is easily found."""
    modulus = int.from_bytes(NOT_SAFE, "big")
    small = next(odd for odd in range(3, 10**6, 2) if (modulus - 1) % odd == 0)
    element = next(
        power for base in range(2, 100) if (power := pow(base, (modulus - 1) // small, modulus)) > 1
    )
    assert pow(element, small, modulus) == 1
    assert refused(octets_of(element), NOT_SAFE) == "modulus-not-safe-prime"


@settings(max_examples=50, deadline=None)
@given(base=st.binary(max_size=600), modulus=st.binary(max_size=600), low=st.binary(max_size=3))
def test_arbitrary_parameters(base: bytes, modulus: bytes, low: bytes) -> None:
    """Arbitrary octets, and good parameters with a few octets altered, are refused in kind."""
    altered = MODP[: -len(low) or None] + low
    for wrong in (modulus, altered if altered != MODP else b""):
        with pytest.raises(ParametersRejected):
            group(base, wrong)


# In the suites


@pytest.mark.parametrize("name", ["rsa-ffdh", "rsa-2048-ffdh"])
def test_a_suite_over_given_parameters(name: str) -> None:
    """A suite takes b and M in place of its own, and its shares are as long as M."""
    kind, other = suite_for(name, b"\2", MODP), suite_for(name, b"\3", MODP)
    assert (kind.name, kind.wire_id) == (name, suite(name).wire_id)
    assert kind.offer_length == kind.answer_length == 256
    offer = kind.generate_agreement_key(seeded(1))
    answer, secret = kind.answer_agreement(offer.public, seeded(2))
    assert offer.exchange(answer) == secret
    assert offer.public == GIVEN.share(GIVEN.exponent(seeded(1)))
    assert other.generate_agreement_key(seeded(1)).public != offer.public
    assert suite_for(name, b"\2", MODP) is kind


def test_a_suite_s_own_parameters() -> None:
    """Without parameters a suite has those of RFC 7919 that go with its keys."""
    for name, bits in (("rsa-ffdh", 3072), ("rsa-2048-ffdh", 2048)):
        one, kind = named_group(bits), suite_for(name)
        assert kind is suite(name)
        assert kind.generate_agreement_key(seeded(1)).public == one.share(one.exponent(seeded(1)))


def test_a_suite_refuses_unsafe_parameters() -> None:
    """One of the two parameters alone, or unsafe ones, give no suite."""
    for base, modulus, reason in (
        (b"\2", b"", "modulus-too-small"),
        (b"", MODP, "base-out-of-range"),
        (b"\2", PRODUCT, "modulus-not-prime"),
    ):
        with pytest.raises(ParametersRejected, match=reason):
            suite_for("rsa-ffdh", base, modulus)
