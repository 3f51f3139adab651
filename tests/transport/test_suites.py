from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.security_kit import (
    flipped,
    name_of,
    places,
    sealing_key,
    seeded,
    signing_key,
    vectors,
)
from transport.errors import HandshakeRejected, ParametersRejected, SealRejected, SignatureRejected
from transport.security.framing import check_name, cut, framed
from transport.security.suites import ALL_SUITES, SUITES, Suite, suite, suite_by_id, suite_for

if TYPE_CHECKING:
    from collections.abc import Callable

EACH_SUITE = pytest.mark.parametrize("kind", ALL_SUITES.values(), ids=list(ALL_SUITES))
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize("vector", vectors("signature"), ids=name_of)
def test_signature_vectors(vector: dict[str, str]) -> None:
    """The published keys give the published public keys and signatures, and these verify."""
    kind = suite(vector["suite"])
    key = kind.load_signing_key(bytes.fromhex(vector["private"]))
    message, signature = bytes.fromhex(vector["message"]), bytes.fromhex(vector["signature"])
    assert key.public.hex() == vector["public"]
    assert key.sign(message) == signature
    kind.verify(key.public, message, signature)


@pytest.mark.parametrize("vector", [v for v in vectors("signature") if "high_s" in v], ids=name_of)
def test_the_other_form_of_an_ecdsa_signature_is_refused(vector: dict[str, str]) -> None:
    """The signature as the RFC prints it, with s in the upper half, is a second form and does not count."""
    signature = bytes.fromhex(vector["signature"][:64] + vector["high_s"])
    with pytest.raises(SignatureRejected, match="bad-signature"):
        suite("p256").verify(bytes.fromhex(vector["public"]), bytes.fromhex(vector["message"]), signature)


@pytest.mark.parametrize("vector", vectors("agreement"), ids=name_of)
def test_agreement_vectors(vector: dict[str, str]) -> None:
    """Ephemeral keys made of the published scalars give the published shares and secret, on both sides."""
    kind = suite(vector["suite"])

    def source(private: str) -> bytes:
        octets = bytes.fromhex(private)
        # p256 reduces 48 octets to 1..n-1 as FIPS 186-5 A.2.1 does, so one less than the scalar gives it
        return (
            octets if vector["suite"] == "x25519" else (int.from_bytes(octets, "big") - 1).to_bytes(48, "big")
        )

    key = kind.generate_agreement_key(lambda _: source(vector["private_a"]))
    share, secret = kind.answer_agreement(key.public, lambda _: source(vector["private_b"]))
    assert (key.public.hex(), share.hex()) == (vector["public_a"], vector["public_b"])
    assert secret.hex() == key.exchange(share).hex() == vector["secret"]


@pytest.mark.parametrize("vector", vectors("hpke"), ids=name_of)
def test_hpke_vectors(vector: dict[str, str]) -> None:
    """A suite opens what is encrypted under the RFC's own key and nonce for its encapsulated key and info.

    The RFC's ciphertexts carry additional data, which a suite does not use: it differs in the tag alone.
    """
    octets = {name: bytes.fromhex(vector[name]) for name in vector if name not in {"id", "source", "suite"}}
    gcm = AESGCM(octets["key"])
    assert gcm.encrypt(octets["base_nonce"], octets["plaintext"], octets["aad"]) == octets["ciphertext"]
    kind = suite(vector["suite"])
    key = kind.load_sealing_key(octets["private"])
    assert key.public == octets["public"]
    sealed = octets["enc"] + gcm.encrypt(octets["base_nonce"], octets["plaintext"], None)
    assert kind.open(key, sealed, octets["info"]) == octets["plaintext"]


@EACH_SUITE
def test_lengths_are_as_announced(kind: Suite) -> None:
    """Every key, share, signature and sealed message has the length that its suite states."""
    rng, signing, sealing = seeded(1), signing_key(kind.name), sealing_key(kind.name)
    assert len(signing.public) == kind.signing_public_length
    assert len(signing.private) == kind.signing_private_length
    assert len(signing.sign(b"a")) == kind.signature_length
    offer = kind.generate_agreement_key(rng)
    assert len(offer.public) == kind.offer_length
    assert len(kind.answer_agreement(offer.public, rng)[0]) == kind.answer_length
    assert len(sealing.public) == kind.sealing_public_length
    for length in (0, 1, 300):
        assert len(kind.seal(sealing.public, bytes(length), b"info")) == kind.sealed_length(length)


@EACH_SUITE
def test_both_sides_share_a_secret(kind: Suite) -> None:
    """Who offers and who answers end with the same secret, and with another one the next time."""
    rng, secrets = seeded(12), set()
    for _ in range(2):
        offer = kind.generate_agreement_key(rng)
        answer, secret = kind.answer_agreement(offer.public, rng)
        assert offer.exchange(answer) == secret
        secrets.add(secret)
    assert len(secrets) == 2


@EACH_SUITE
def test_keys_survive_storage_and_show_nothing(kind: Suite) -> None:
    """A key loaded from its private octets is the same key, and no repr shows these octets."""
    signing, sealing = signing_key(kind.name), sealing_key(kind.name)
    offer = kind.generate_agreement_key(seeded(2))
    loaded, opener = kind.load_signing_key(signing.private), kind.load_sealing_key(sealing.private)
    assert loaded.public == signing.public
    kind.verify(signing.public, b"message", loaded.sign(b"message"))
    assert kind.open(opener, kind.seal(sealing.public, b"message", b"info"), b"info") == b"message"
    shown = repr(signing) + repr(sealing) + repr(offer)
    assert not any(
        repr(key.private)[2:-1] in shown or key.private.hex() in shown for key in (signing, sealing)
    )
    assert "object at" not in shown


@EACH_SUITE
def test_the_same_randomness_gives_the_same_keys(kind: Suite) -> None:
    """Keys depend on the random source alone, so that a seeded run can be repeated."""
    first, other = (signing_key(kind.name, seed).public for seed in (1, 2))
    assert first == kind.generate_signing_key(seeded(1)).public != other


@EACH_SUITE
def test_a_signature_is_of_one_message_by_one_key(kind: Suite) -> None:
    """Another message, another key, or any altered, missing or further octet of the signature is refused."""
    key, other = signing_key(kind.name, 1), signing_key(kind.name, 2)
    signature = key.sign(b"message")
    kind.verify(key.public, b"message", signature)
    wrong = [flipped(signature, at) for at in places(signature)]
    attempts = [(key.public, b"massage", signature), (other.public, b"message", signature)]
    attempts += [
        (key.public, b"message", one)
        for one in (*wrong, signature[:-1], signature + b"\0", b"", bytes(len(signature)))
    ]
    for public, message, candidate in attempts:
        with pytest.raises(SignatureRejected, match="bad-signature"):
            kind.verify(public, message, candidate)


@EACH_SUITE
@settings(deadline=None)
@given(octets=st.binary(max_size=80))
def test_any_octets_as_a_public_key_are_refused_in_kind(kind: Suite, octets: bytes) -> None:
    """Arbitrary octets in place of a peer's key, signature or share end in the typed rejection or a value."""
    with pytest.raises(SignatureRejected):
        kind.verify(octets, b"message", octets)
    with suppress(HandshakeRejected):
        assert len(kind.generate_agreement_key(seeded(7)).exchange(octets)) == 32
    with pytest.raises(SealRejected, match="cannot-open"):
        kind.open(sealing_key(kind.name), octets, b"")


@EACH_SUITE
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_octets_as_long_as_they_should_be_are_refused_in_kind(kind: Suite, seed: int) -> None:
    """Random octets of the very length of a key, signature, share or sealed message fare no better."""
    rng, signature = seeded(seed), signing_key(kind.name).sign(b"message")
    for public, claimed in (
        (rng(kind.signing_public_length), signature),
        (signing_key(kind.name).public, rng(kind.signature_length)),
    ):
        with pytest.raises(SignatureRejected):
            kind.verify(public, b"message", claimed)
    with suppress(HandshakeRejected):
        assert kind.answer_agreement(rng(kind.offer_length), rng)[1]
    with suppress(HandshakeRejected):
        assert kind.generate_agreement_key(rng).exchange(rng(kind.answer_length))
    with suppress(SealRejected):
        assert kind.seal(rng(kind.sealing_public_length), b"", b"")
    with pytest.raises(SealRejected, match="cannot-open"):
        kind.open(sealing_key(kind.name), rng(kind.sealed_length(20)), b"")


@EACH_SUITE
def test_octets_that_are_too_short_or_too_long_are_no_share_and_no_key(kind: Suite) -> None:
    """One octet less or more than a share or a public key has, or none at all, is refused for what it is."""
    rng = seeded(13)
    offer = kind.generate_agreement_key(rng)
    answer, _ = kind.answer_agreement(offer.public, rng)
    for wrong in (lambda one: one[:-1], lambda one: one + b"\0", lambda _: b""):
        with pytest.raises(HandshakeRejected, match="bad-share"):
            kind.answer_agreement(wrong(offer.public), rng)
        with pytest.raises(HandshakeRejected, match="bad-share"):
            offer.exchange(wrong(answer))
        with pytest.raises(SignatureRejected, match="bad-public-key"):
            kind.verify(wrong(signing_key(kind.name).public), b"message", bytes(kind.signature_length))
        with pytest.raises(SealRejected, match="bad-public-key"):
            kind.seal(wrong(sealing_key(kind.name).public), b"message", b"info")


def small_order_keys() -> list[bytes]:
    """Return every encoding of a point of small order of edwards25519, found from the curve's equation."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p
    # order 1 and 2: x = 0; order 4: y = 0; order 8: y^2 = x^2 up to sign, so that d*y^4 + 2*y^2 = 1
    ys = {0, 1, p - 1} | set(roots_of_order_8(d, p))
    ys |= {y + p for y in ys if y + p < 2**255}
    return [(y | sign << 255).to_bytes(32, "little") for y in ys for sign in (0, 1)]


def roots_of_order_8(d: int, p: int) -> list[int]:
    """Return the two y with d*y^4 + 2*y^2 - 1 = 0 modulo p."""
    squares = [(-1 + sign * square_root(1 + d, p)) * pow(d, -1, p) % p for sign in (1, -1)]
    y = next(root for square in squares if (root := square_root(square, p)) * root % p == square)
    return [y, p - y]


def square_root(number: int, p: int) -> int:
    """Return a root of *number* modulo p = 5 mod 8, where it has one."""
    root = pow(number, (p + 3) // 8, p)
    return root if root * root % p == number % p else root * pow(2, (p - 1) // 4, p) % p


@pytest.mark.parametrize("public", small_order_keys(), ids=bytes.hex)
def test_a_key_that_could_claim_any_message_is_none(public: bytes) -> None:
    """No encoding of a point of small order counts as an Ed25519 key, though RFC 8032 lets it."""
    with pytest.raises(SignatureRejected, match="bad-public-key"):
        suite("x25519").verify(public, b"anything", b"\1" + bytes(63))


def test_the_small_order_list_is_complete() -> None:
    """The curve has five y of small order, of which two (0 and 1) can be written in two ways."""
    assert len({key[:31] + bytes([key[31] & 0x7F]) for key in small_order_keys()}) == 7


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("x25519", bytes(31)),
        ("x25519", (2**255 - 19 + 5).to_bytes(32, "little")),
        ("p256", b"\2" + b"\xff" * 32),
        ("p256", bytes(33)),
        ("p256", b"\4" + bytes(64)),
        ("p256", b"\0"),
    ],
)
def test_public_keys_that_are_none(name: str, public: bytes) -> None:
    """A key of another length, above the field, off the curve or uncompressed is refused as a key."""
    with pytest.raises(SignatureRejected, match="bad-public-key"):
        suite(name).verify(public, b"message", bytes(64))
    with pytest.raises((SealRejected, HandshakeRejected)):
        suite(name).seal(public[:31], b"", b"")


@pytest.mark.parametrize("share", [bytes(32), b"\1" + bytes(31)], ids=["zero", "one"])
def test_a_share_that_fixes_the_secret_is_refused(share: bytes) -> None:
    """X25519 shares of small order make the secret zero whatever we add: refused, and in HPKE too."""
    kind = suite("x25519")
    with pytest.raises(HandshakeRejected, match="bad-share"):
        kind.answer_agreement(share, seeded(9))
    with pytest.raises(SealRejected, match="bad-public-key"):
        kind.seal(share, b"message", b"info")


@EACH_SUITE
def test_sealing_binds_key_and_info(kind: Suite) -> None:
    """What was sealed opens with its key and info, and with no other key, info or octets."""
    key, other = sealing_key(kind.name, 1), sealing_key(kind.name, 2)
    sealed = kind.seal(key.public, b"message", b"info")
    assert kind.open(key, sealed, b"info") == b"message"
    attempts = [(other, sealed, b"info"), (key, sealed, b"other"), (key, sealed + b"\0", b"info")]
    attempts += [(key, sealed[:end], b"info") for end in places(sealed)]
    attempts += [(key, flipped(sealed, at), b"info") for at in places(sealed)]
    # x25519 ignores the top bit of a share, but HPKE binds the octets as they came
    for opener, octets, info in attempts:
        with pytest.raises(SealRejected, match="cannot-open"):
            kind.open(opener, octets, info)


@EACH_SUITE
def test_keys_of_another_suite_are_our_own_mistake(kind: Suite) -> None:
    """A suite opens nothing with another suite's key, and loads no private octets of another length."""
    other = next(one for one in ALL_SUITES if one != kind.name)
    with pytest.raises(ValueError, match="does not open"):
        kind.open(sealing_key(other), bytes(2000), b"")
    for load in (kind.load_signing_key, kind.load_sealing_key):
        for octets in (b"", b"short", bytes(500)):
            with pytest.raises(ValueError, match=r"."):
                load(octets)


def test_our_own_mistakes_are_value_errors() -> None:
    """A short random source, octets that are no key, another suite's key or name raise ValueError."""
    x25519, p256 = suite("x25519"), suite("p256")
    mistakes: list[Callable[[], object]] = [
        lambda: x25519.generate_signing_key(lambda _: b"short"),
        lambda: p256.generate_agreement_key(lambda _: bytes(49)),
        lambda: x25519.load_signing_key(b"short"),
        lambda: x25519.load_sealing_key(b"short"),
        lambda: p256.load_signing_key(bytes(32)),
        lambda: p256.load_signing_key(b"\1"),
        lambda: p256.load_sealing_key(P256_ORDER.to_bytes(32, "big")),
        lambda: p256.open(x25519.generate_sealing_key(seeded(1)), bytes(90), b""),
        lambda: suite("rot13"),
    ]
    for mistake in mistakes:
        with pytest.raises(ValueError, match=r"."):
            mistake()


def test_suites_are_found_by_name_and_by_octet() -> None:
    """The two tables agree, an octet that names no suite gives none, and fleets may name some of them."""
    kinds = ALL_SUITES.values()
    assert [suite_by_id(kind.wire_id) for kind in kinds] == [suite(name) for name in ALL_SUITES]
    assert len({kind.wire_id for kind in kinds}) == len(kinds)
    assert suite_by_id(0) is None
    assert SUITES.items() <= ALL_SUITES.items()


@pytest.mark.parametrize("name", ["x25519", "p256", "pq-hybrid"])
def test_parameters_that_a_suite_does_not_take(name: str) -> None:
    """Parameters for a suite without Diffie-Hellman over a field are refused; none at all are its own."""
    with pytest.raises(ParametersRejected, match="no-parameters"):
        suite_for(name, b"\2", b"\xff" * 256)
    assert suite_for(name) is suite(name)


@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
def test_framed_fields_come_apart_in_one_way(left: list[bytes], right: list[bytes]) -> None:
    """Two lists of fields give the same octets only when they are the same list."""
    assert (framed("label", *left) == framed("label", *right)) == (left == right)


@given(st.lists(st.binary(max_size=6), max_size=4))
def test_cutting_undoes_joining(pieces: list[bytes]) -> None:
    """Octets are cut into pieces of the stated lengths, or not at all when the lengths do not add up."""
    lengths = [len(piece) for piece in pieces]
    assert cut(b"".join(pieces), lengths) == tuple(pieces)
    assert cut(b"".join(pieces) + b"\0", lengths) is None


def test_framing_has_bounds() -> None:
    """A field too long for its length octets and a name outside its alphabet raise ValueError."""
    with pytest.raises(ValueError, match="longer than"):
        framed("label", bytes(65536))
    for name in ("", "a b", "a" * 65, "é", "a\n", b"bytes"):
        with pytest.raises(ValueError, match="a thing must be"):
            check_name("a thing", name)
