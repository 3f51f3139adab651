from __future__ import annotations

from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    RSAPublicNumbers,
    rsa_crt_dmp1,
    rsa_crt_dmq1,
    rsa_crt_iqmp,
    rsa_recover_private_exponent,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from tests.transport.security_kit import flipped, name_of, sealing_key, seeded, signing_key, vectors
from transport.errors import SealRejected, SignatureRejected
from transport.security.suites import Suite, suite

KINDS = ("rsa-ffdh", "rsa-2048-ffdh")
EACH_SUITE = pytest.mark.parametrize("kind", [suite(name) for name in KINDS], ids=KINDS)
SMALL = suite("rsa-2048-ffdh")


@cache
def of_library(private: bytes) -> RSAPrivateKey:
    """Return the library's key of our private octets, after all the checks that the library has."""
    half = len(private) // 2
    p, q = (int.from_bytes(part, "big") for part in (private[:half], private[half:]))
    d = rsa_recover_private_exponent(65537, p, q)
    numbers = RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=rsa_crt_dmp1(d, p),
        dmq1=rsa_crt_dmq1(d, q),
        iqmp=rsa_crt_iqmp(p, q),
        public_numbers=RSAPublicNumbers(65537, p * q),
    )
    return numbers.private_key()


# Signatures


@pytest.mark.parametrize("vector", vectors("rsa_pss"), ids=name_of)
def test_signature_vectors(vector: dict[str, str]) -> None:
    """A published signature verifies, and not for another message."""
    public, signature = bytes.fromhex(vector["public"]), bytes.fromhex(vector["signature"])
    suite(vector["suite"]).verify(public, bytes.fromhex(vector["message"]), signature)
    with pytest.raises(SignatureRejected, match="bad-signature"):
        suite(vector["suite"]).verify(public, b"another", signature)


@EACH_SUITE
def test_the_library_takes_our_keys_and_signatures(kind: Suite) -> None:
    """A key we made passes the library's every check, primes too, and its signatures are PSS with salt 32."""
    key = signing_key(kind.name)
    private = of_library(key.private)
    assert private.key_size == 8 * kind.signing_public_length
    assert private.public_key().public_numbers().n == int.from_bytes(key.public, "big")
    private.public_key().verify(key.sign(b"message"), b"message", PSS(MGF1(SHA256()), 32), SHA256())


@pytest.mark.parametrize(
    "padding", [PSS(MGF1(SHA256()), 20), PSS(MGF1(SHA256()), 0), PKCS1v15()], ids=["salt20", "salt0", "v15"]
)
def test_other_paddings_are_no_signatures(padding: PSS | PKCS1v15) -> None:
    """A signature by the right key with another salt length or scheme does not count."""
    key = signing_key(SMALL.name)
    signature = of_library(key.private).sign(b"message", padding, SHA256())
    with pytest.raises(SignatureRejected, match="bad-signature"):
        SMALL.verify(key.public, b"message", signature)


@EACH_SUITE
def test_a_signature_has_one_form(kind: Suite) -> None:
    """The same signature with the modulus added, where it has room for it, is refused."""
    key, length = signing_key(kind.name), kind.signature_length
    modulus = int.from_bytes(key.public, "big")
    signatures = (int.from_bytes(key.sign(b"message"), "big") for _ in range(200))
    number = next(one for one in signatures if one + modulus < 1 << 8 * length)
    kind.verify(key.public, b"message", number.to_bytes(length, "big"))
    with pytest.raises(SignatureRejected, match="bad-signature"):
        kind.verify(key.public, b"message", (number + modulus).to_bytes(length, "big"))


# Public keys


@EACH_SUITE
def test_moduli_that_are_none(kind: Suite) -> None:
    """Even, short and long moduli, and one with a leading zero, are no keys, to verify or to seal to."""
    good, sealing = signing_key(kind.name).public, sealing_key(kind.name).public
    for change in (
        lambda one: one[:-1] + bytes([one[-1] & 0xFE]),
        lambda one: b"\x7f" + one[1:],
        lambda one: b"\0" + one[1:],
        lambda one: b"\0" + one,
        lambda one: one[1:],
        lambda _: b"",
    ):
        with pytest.raises(SignatureRejected, match="bad-public-key"):
            kind.verify(change(good), b"message", bytes(kind.signature_length))
        with pytest.raises(SealRejected, match="bad-public-key"):
            kind.seal(change(sealing), b"message", b"info")


def test_the_sizes_are_not_mixed() -> None:
    """A key of one size is none in the suite of the other."""
    small, large = (signing_key(name) for name in reversed(KINDS))
    for kind, key in ((suite("rsa-ffdh"), small), (SMALL, large)):
        with pytest.raises(SignatureRejected, match="bad-public-key"):
            kind.verify(key.public, b"message", key.sign(b"message"))
        with pytest.raises(ValueError, match="two primes"):
            kind.load_signing_key(key.private)


# Private keys


@EACH_SUITE
def test_damaged_private_octets_are_no_key(kind: Suite) -> None:
    """Private octets with a bit altered, swapped, doubled or of the wrong shape do not load."""
    octets = signing_key(kind.name).private
    half = len(octets) // 2
    p, q = octets[:half], octets[half:]
    composite = (int.from_bytes(p, "big") - 2).to_bytes(half, "big")
    wrong = [flipped(octets, at) for at in (1, half - 1, half, half + 1, len(octets) - 1)]
    wrong += [q + p, p + p, p + bytes(half), bytes(half) + q, composite + q, octets[1:], octets + b"\0", b""]
    wrong += [p + (int.from_bytes(p, "big") - 2**20).to_bytes(half, "big")]
    for one in wrong:
        with pytest.raises(ValueError, match=r"primes|invertible") as caught:
            kind.load_signing_key(one)
        assert octets.hex()[:32] not in str(caught.value)
        with pytest.raises(ValueError, match=r"primes|invertible"):
            kind.load_sealing_key(one)


def test_a_prime_without_an_exponent_is_no_key() -> None:
    """A prime that is one more than a multiple of 65537 has no private exponent: no key."""
    step = 2 * 65537
    p = next(
        one
        for one in range(3 * 2**1022 // step * step + step + 1, 2**1024, step)
        if all(one % odd for odd in range(3, 1000, 2)) and pow(2, one - 1, one) == 1
    )
    q = signing_key(SMALL.name).private[128:]
    octets = b"".join(sorted((p.to_bytes(128, "big"), q), reverse=True))
    with pytest.raises(ValueError, match="invertible"):
        SMALL.load_signing_key(octets)


@EACH_SUITE
def test_a_source_that_repeats_itself_gives_no_key(kind: Suite) -> None:
    """Two primes from the same octets are one prime, and make no key."""
    start = seeded(1)(kind.signing_public_length // 2)
    with pytest.raises(ValueError, match="far apart"):
        kind.generate_signing_key(lambda _: start)


# Sealing


@EACH_SUITE
def test_a_sealed_message_is_as_described(kind: Suite) -> None:
    """The description is enough to open what the suite sealed, and to seal what it opens."""
    key, length = sealing_key(kind.name), kind.sealing_public_length
    oaep, private = OAEP(MGF1(SHA256()), SHA256(), b"info"), of_library(key.private)
    sealed = kind.seal(key.public, b"message", b"info")
    wrapped, ciphertext = sealed[:length], sealed[length:]
    aes = private.decrypt(wrapped, oaep)
    assert len(aes) == 16
    assert AESGCM(aes).decrypt(bytes(12), ciphertext, key.public + wrapped + b"info") == b"message"
    wrapped = private.public_key().encrypt(bytes(16), oaep)
    ciphertext = AESGCM(bytes(16)).encrypt(bytes(12), b"by hand", key.public + wrapped + b"info")
    assert kind.open(key, wrapped + ciphertext, b"info") == b"by hand"


@EACH_SUITE
def test_parts_of_two_sealed_messages_do_not_mix(kind: Suite) -> None:
    """A wrapped key opens only the ciphertext it came with, even when who made both knows both keys."""
    key, length = sealing_key(kind.name), kind.sealing_public_length
    first, second = (kind.seal(key.public, b"message", b"info") for _ in range(2))
    with pytest.raises(SealRejected, match="cannot-open"):
        kind.open(key, first[:length] + second[length:], b"info")
    public = of_library(key.private).public_key()
    wrapped, again = (public.encrypt(bytes(16), OAEP(MGF1(SHA256()), SHA256(), b"info")) for _ in range(2))
    ciphertext = AESGCM(bytes(16)).encrypt(bytes(12), b"message", key.public + wrapped + b"info")
    assert kind.open(key, wrapped + ciphertext, b"info") == b"message"
    with pytest.raises(SealRejected, match="cannot-open"):
        kind.open(key, again + ciphertext, b"info")


@EACH_SUITE
@pytest.mark.parametrize("wrapped", [0, 8, 15, 17, 24, 32, 100], ids=str)
def test_a_wrapped_key_of_another_length_opens_nothing(kind: Suite, wrapped: int) -> None:
    """What was wrapped must be a key of 16 octets; GCM's other key lengths do not come in by that way."""
    key = sealing_key(kind.name)
    oaep, public = OAEP(MGF1(SHA256()), SHA256(), b"info"), of_library(key.private).public_key()
    head = public.encrypt(bytes(wrapped), oaep)
    tail = bytes(24)
    if wrapped in {24, 32}:
        tail = AESGCM(bytes(wrapped)).encrypt(bytes(12), b"message", key.public + head + b"info")
    with pytest.raises(SealRejected) as caught:
        kind.open(key, head + tail, b"info")
    assert (caught.value.reason, caught.value.detail) == ("cannot-open", "")
