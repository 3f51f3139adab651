from __future__ import annotations

from hashlib import sha3_256, sha512, shake_256

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from tests.transport.security_kit import flipped, name_of, sealing_key, seeded, signing_key, vectors
from transport.errors import HandshakeRejected, SealRejected, SignatureRejected
from transport.security.suites import suite

KIND = suite("pq-hybrid")
LABEL = b"COMPSIG-MLDSA65-Ed25519-SHA512"
PRIME = 3329  # of ML-KEM: its keys are numbers below it, of 12 bits each
SMALL_ORDER = [bytes(32), b"\1" + bytes(31)]


def octets_in(vector: dict[str, str]) -> dict[str, bytes]:
    """Return the octet fields of *vector*."""
    return {name: bytes.fromhex(vector[name]) for name in vector.keys() - {"id", "source"}}


def representative(message: bytes) -> bytes:
    """Return what both halves of a composite signature are of, from the draft's text."""
    return b"CompositeAlgorithmSignatures2025" + LABEL + b"\0" + sha512(message).digest()


def halves(private: bytes) -> tuple[MLDSA65PrivateKey, Ed25519PrivateKey]:
    """Return the library's keys of our private octets."""
    return MLDSA65PrivateKey.from_seed_bytes(private[:32]), Ed25519PrivateKey.from_private_bytes(private[32:])


# Signatures


@pytest.mark.parametrize("vector", vectors("composite"), ids=name_of)
def test_composite_vectors(vector: dict[str, str]) -> None:
    """The published composite signature verifies under the public key of the published seeds."""
    octets = octets_in(vector)
    key = KIND.load_signing_key(octets["private"])
    KIND.verify(key.public, octets["message"], octets["signature"])
    KIND.verify(key.public, octets["message"], key.sign(octets["message"]))
    with pytest.raises(SignatureRejected, match="bad-signature"):
        KIND.verify(key.public, octets["message"] + b" ", octets["signature"])


def test_a_signature_is_as_described() -> None:
    """Each half is a signature of the draft's octets by its algorithm, and made by hand they are accepted."""
    key = signing_key("pq-hybrid")
    both, signature = representative(b"message"), key.sign(b"message")
    MLDSA65PublicKey.from_public_bytes(key.public[:1952]).verify(signature[:3309], both, LABEL)
    Ed25519PublicKey.from_public_bytes(key.public[1952:]).verify(signature[3309:], both)
    mldsa, ed25519 = halves(key.private)
    KIND.verify(key.public, b"message", mldsa.sign(both, LABEL) + ed25519.sign(both))


def test_both_halves_are_needed() -> None:
    """With one half altered, missing, of another message or by another key, the other half proves nothing."""
    key, other = signing_key("pq-hybrid", 1), signing_key("pq-hybrid", 2)
    good, elsewhere, foreign = key.sign(b"message"), key.sign(b"massage"), other.sign(b"message")
    cut = 3309
    for wrong in (
        good[:cut] + elsewhere[cut:],
        elsewhere[:cut] + good[cut:],
        good[:cut] + foreign[cut:],
        foreign[:cut] + good[cut:],
        good[:cut] + bytes(64),
        bytes(cut) + good[cut:],
        flipped(good, cut - 1),
        flipped(good, cut),
        good[:cut],
        good[cut:],
        good[cut:] + good[:cut],
    ):
        with pytest.raises(SignatureRejected, match="bad-signature"):
            KIND.verify(key.public, b"message", wrong)


def test_no_half_serves_alone() -> None:
    """A half of a composite signature is none of the message by its own algorithm, nor the reverse."""
    key = signing_key("pq-hybrid")
    mldsa, ed25519 = halves(key.private)
    signature, both = key.sign(b"message"), representative(b"message")
    for message in (b"message", both):
        with pytest.raises(InvalidSignature):
            mldsa.public_key().verify(signature[:3309], message)
    with pytest.raises(SignatureRejected, match="bad-signature"):
        suite("x25519").verify(key.public[1952:], b"message", signature[3309:])
    for own, context in ((b"message", LABEL), (both, None), (both, b"")):
        with pytest.raises(SignatureRejected, match="bad-signature"):
            KIND.verify(key.public, b"message", mldsa.sign(own, context) + ed25519.sign(both))
    with pytest.raises(SignatureRejected, match="bad-signature"):
        KIND.verify(key.public, b"message", mldsa.sign(both, LABEL) + ed25519.sign(b"message"))


@pytest.mark.parametrize("half", SMALL_ORDER, ids=["zero", "one"])
def test_an_ed25519_half_that_could_claim_any_message(half: bytes) -> None:
    """A composite key with an Ed25519 half of small order is none, as in the suite x25519."""
    key = signing_key("pq-hybrid")
    with pytest.raises(SignatureRejected, match="bad-public-key"):
        KIND.verify(key.public[:1952] + half, b"message", key.sign(b"message"))


# Agreement


@pytest.mark.parametrize("vector", vectors("xwing"), ids=name_of)
def test_xwing_vectors(vector: dict[str, str]) -> None:
    """The published seed gives the published public key and, for the published answer, the secret."""
    octets = octets_in(vector)
    offer = KIND.generate_agreement_key(lambda _: octets["private"])
    assert offer.public == octets["public"]
    assert offer.exchange(octets["enc"]) == octets["shared_secret"]
    assert KIND.load_sealing_key(octets["private"]).public == octets["public"]


def test_an_answer_is_as_described() -> None:
    """What the answering side sends and keeps is X-Wing's: opened by hand, it gives the same secret."""
    seed = seeded(1)(32)
    expanded = shake_256(seed).digest(96)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
    own = x25519.public_key().public_bytes_raw()
    answer, secret = KIND.answer_agreement(mlkem.public_key().public_bytes_raw() + own, seeded(2))
    share = answer[1088:]
    assert share == X25519PrivateKey.from_private_bytes(seeded(2)(32)).public_key().public_bytes_raw()
    classic = x25519.exchange(X25519PublicKey.from_public_bytes(share))
    told = mlkem.decapsulate(answer[:1088]) + classic + share + own + bytes.fromhex("5c2e2f2f5e5c")
    assert sha3_256(told).digest() == secret


@pytest.mark.parametrize("share", SMALL_ORDER, ids=["zero", "one"])
def test_an_x25519_share_that_fixes_the_secret(share: bytes) -> None:
    """An X25519 half of small order is refused in an offer, in an answer and in a key to seal to."""
    offer = KIND.generate_agreement_key(seeded(3))
    answer, _ = KIND.answer_agreement(offer.public, seeded(4))
    with pytest.raises(HandshakeRejected, match="bad-share"):
        KIND.answer_agreement(offer.public[:1184] + share, seeded(4))
    with pytest.raises(HandshakeRejected, match="bad-share"):
        offer.exchange(answer[:1088] + share)
    with pytest.raises(SealRejected, match="bad-public-key"):
        KIND.seal(sealing_key("pq-hybrid").public[:1184] + share, b"message", b"info")


@pytest.mark.parametrize("number", [PRIME, 4095], ids=str)
def test_an_ml_kem_key_out_of_bounds(number: int) -> None:
    """An ML-KEM key with a number that is not below its prime is refused (FIPS 203 section 7.2)."""
    public = KIND.generate_agreement_key(seeded(5)).public
    # the first of the numbers: the first octet and the lower half of the second
    wrong = bytes([number & 0xFF, public[1] & 0xF0 | number >> 8]) + public[2:]
    with pytest.raises(HandshakeRejected, match="bad-share"):
        KIND.answer_agreement(wrong, seeded(6))
    with pytest.raises(SealRejected, match="bad-public-key"):
        KIND.seal(wrong, b"message", b"info")


@pytest.mark.parametrize("at", [0, 500, 1087, 1088, 1119], ids=str)
def test_an_altered_answer_shares_another_secret(at: int) -> None:
    """ML-KEM refuses no ciphertext: altered anywhere, it leaves the two sides with different secrets."""
    offer = KIND.generate_agreement_key(seeded(7))
    answer, secret = KIND.answer_agreement(offer.public, seeded(8))
    assert offer.exchange(flipped(answer, at)) != secret


# Sealing


@pytest.mark.parametrize("vector", vectors("xwing"), ids=name_of)
def test_hpke_vectors(vector: dict[str, str]) -> None:
    """A sealing key opens what is encrypted under the published key and nonce for the published answer."""
    octets = octets_in(vector)
    aead = ChaCha20Poly1305(octets["key"])
    assert aead.encrypt(octets["base_nonce"], octets["plaintext"], octets["aad"]) == octets["ciphertext"]
    key = KIND.load_sealing_key(octets["private"])
    sealed = octets["enc"] + aead.encrypt(octets["base_nonce"], octets["plaintext"], None)
    assert KIND.open(key, sealed, octets["info"]) == octets["plaintext"]


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65, 96], ids=str)
def test_seeds_of_another_length_are_no_keys(length: int) -> None:
    """Private octets that are not as long as the seeds raise ValueError."""
    with pytest.raises(ValueError, match=r"."):
        KIND.load_signing_key(bytes(length))
    with pytest.raises(ValueError, match="seed of 32"):
        KIND.load_sealing_key(bytes(length))
