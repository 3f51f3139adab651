from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.peers import made_by_openssl, openssl
from tests.transport.security_kit import seeded, signing_key
from transport.errors import CertificateRejected
from transport.security.private_keys import MAX_OCTETS, import_private
from transport.security.suites import suite
from transport.security.x509 import export_public, import_public
from transport.security.x509_keys import Use

if TYPE_CHECKING:
    from collections.abc import Mapping

EC: Final = ("-algorithm", "EC", "-pkeyopt")
RSA: Final = ("-algorithm", "RSA", "-pkeyopt")
SIGNING: Final[Mapping[str, tuple[str, ...]]] = {
    "x25519": ("-algorithm", "ed25519"),
    "p256": (*EC, "ec_paramgen_curve:P-256"),
    "rsa-ffdh": (*RSA, "rsa_keygen_bits:3072"),
    "rsa-2048-ffdh": (*RSA, "rsa_keygen_bits:2048"),
}
"""By suite: how openssl makes a key to sign with."""
SEALING: Final = {**SIGNING, "x25519": ("-algorithm", "x25519")}
EACH: Final = pytest.mark.parametrize("kind", SIGNING)
PASSWORD: Final = b"open sesame"


@cache
def another(*options: str) -> bytes:
    """Return one more private key that openssl made."""
    return openssl("genpkey", *options)


def refusal(octets: bytes, name: str = "x25519", password: bytes | None = None) -> CertificateRejected:
    """Return the refusal that *octets* meet; nothing else may come of them."""
    with pytest.raises(CertificateRejected) as caught:
        import_private(octets, name=name, password=password)
    return caught.value


def written(*keys: Ed25519PrivateKey | X25519PrivateKey | MLDSA65PrivateKey) -> bytes:
    """Return *keys* as the library writes them."""
    how = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return b"".join(key.private_bytes(*how) for key in keys)


@EACH
def test_a_key_of_openssl_signs(kind: str) -> None:
    """The suite signs with what OpenSSL made, the public half is the one that OpenSSL derives, no other."""
    pem = made_by_openssl(*SIGNING[kind])
    brought = import_private(b"my key\n" + pem, name=kind)
    suite(kind).verify(brought.signing.public, b"so be it", brought.signing.sign(b"so be it"))
    assert export_public(kind, brought.signing.public) == openssl("pkey", "-pubout", octets=pem)
    assert brought.sealing is None


@EACH
def test_a_second_key_opens(kind: str) -> None:
    """The key behind the signing key opens what was sealed to its public half as OpenSSL derives that."""
    second = another(*SEALING[kind])
    brought = import_private(made_by_openssl(*SIGNING[kind]) + second, name=kind)
    public = import_public(openssl("pkey", "-pubout", octets=second), use=Use.SEALING).public
    assert brought.sealing is not None
    assert brought.sealing.public == public
    assert suite(kind).open(brought.sealing, suite(kind).seal(public, b"for you", b""), b"") == b"for you"


def test_a_stored_key_is_the_key() -> None:
    """What a suite stores of a brought key is what makes the same key again."""
    for kind, options in SIGNING.items():
        key = import_private(made_by_openssl(*options), name=kind).signing
        assert suite(kind).load_signing_key(key.private).public == key.public


def test_the_signing_key_of_a_hybrid() -> None:
    """A hybrid signs with two blocks, ML-DSA's and then Ed25519's; neither may be missing or in front."""
    first, second = (
        MLDSA65PrivateKey.from_seed_bytes(bytes(32)),
        Ed25519PrivateKey.from_private_bytes(bytes(32)),
    )
    brought = import_private(written(first, second), name="pq-hybrid")
    assert brought.signing.public == suite("pq-hybrid").load_signing_key(bytes(64)).public
    assert refusal(written(second, first), "pq-hybrid").reason == "unsupported-algorithm"
    assert refusal(written(first), "pq-hybrid").reason == "unsupported-algorithm"
    assert refusal(written(second), "pq-hybrid").reason == "other-suite"


def test_a_hybrid_has_no_sealing_key_there() -> None:
    """A seed of X-Wing has no form in PKCS#8, so that nothing may stand behind a hybrid's signing key."""
    both = written(
        MLDSA65PrivateKey.from_seed_bytes(bytes(32)), Ed25519PrivateKey.from_private_bytes(bytes(32))
    )
    third = written(X25519PrivateKey.from_private_bytes(bytes(32)))
    assert refusal(both + third, "pq-hybrid").reason == "no-sealing-form"


@EACH
def test_an_encrypted_key(kind: str) -> None:
    """A key that OpenSSL encrypted takes its passphrase and no other, and a plain one takes none."""
    plain = made_by_openssl(*SIGNING[kind])
    encrypted = openssl("pkcs8", "-topk8", "-passout", f"pass:{PASSWORD.decode()}", octets=plain)
    opened = import_private(encrypted, name=kind, password=PASSWORD)
    assert opened.signing.public == import_private(plain, name=kind).signing.public
    assert refusal(encrypted, kind).reason == "encrypted"
    assert refusal(encrypted, kind, b"").reason == "encrypted"
    assert refusal(encrypted, kind, b"open barley").reason == "wrong-password"
    assert refusal(plain, kind, PASSWORD).reason == "not-encrypted"


@EACH
def test_a_key_of_another_suite(kind: str) -> None:
    """A key that another suite signs or opens with is told whose it is."""
    for other, options in SIGNING.items():
        if other != kind:
            told = refusal(made_by_openssl(*options), kind)
            assert (told.reason, told.detail) == ("other-suite", f"signing key of suite {other}")
            both = made_by_openssl(*SIGNING[kind]) + another(*SEALING[other])
            assert refusal(both, kind).detail == f"sealing key of suite {other}"


@pytest.mark.parametrize("kind", ["p256", "rsa-2048-ffdh"])
def test_one_key_is_not_two(kind: str) -> None:
    """The key that signs does not open as well."""
    assert refusal(2 * made_by_openssl(*SIGNING[kind]), kind).reason == "same-key"


NO_KEYS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "P-384": ("unsupported-curve", (*EC, "ec_paramgen_curve:P-384")),
    "Ed448": ("unsupported-algorithm", ("-algorithm", "ed448")),
    "X25519 in front": ("unsupported-algorithm", ("-algorithm", "x25519")),
    "RSA of 1024 bits": ("unsupported-size", (*RSA, "rsa_keygen_bits:1024")),
    "RSA with exponent 3": (
        "unsupported-exponent",
        (*RSA, "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_pubexp:3"),
    ),
    "Diffie-Hellman": ("deprecated", ("-algorithm", "DH", "-pkeyopt", "group:ffdhe2048")),
}


@pytest.mark.parametrize(("reason", "options"), NO_KEYS.values(), ids=NO_KEYS)
def test_keys_that_no_suite_takes(reason: str, options: tuple[str, ...]) -> None:
    """A private key of another algorithm, curve or length is refused with a reason."""
    assert refusal(made_by_openssl(*options)).reason == reason


def test_a_key_that_its_suite_does_not_take() -> None:
    """An RSA key whose primes lie side by side is one to the library, and none to us."""
    key = signing_key("rsa-2048-ffdh")
    p, q = (int.from_bytes(part, "big") for part in (key.private[:128], key.private[128:]))
    near = p - (p - q) % 4096
    while True:
        near -= 2
        if pow(2, near - 1, near) == 1 and (near - 1) % 65537 and (p * near).bit_length() == 2048:
            break
    d = pow(65537, -1, (p - 1) * (near - 1))
    numbers = RSAPrivateNumbers(
        p=p,
        q=near,
        d=d,
        dmp1=d % (p - 1),
        dmq1=d % (near - 1),
        iqmp=pow(near, -1, p),
        public_numbers=RSAPublicNumbers(65537, p * near),
    )
    pem = numbers.private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert refusal(pem, "rsa-2048-ffdh").reason == "bad-private-key"


OLD: Final = b"-----BEGIN EC PRIVATE KEY-----\nMARKED\n-----END EC PRIVATE KEY-----\n"
NOBODYS: Final = b"MC4CAQAwBQYDK2UABCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
BAD: Final[Mapping[str, tuple[str, bytes]]] = {
    "nothing": ("no-private-key", b""),
    "no PEM": ("no-private-key", b"\x30\x2e"),
    "an octet too many": ("too-large", bytes(MAX_OCTETS + 1)),
    "five blocks": ("too-many-blocks", 5 * OLD),
    "the form before PKCS#8": ("unsupported-block", OLD),
    "no octets": ("malformed", b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"),
    "no base64": ("malformed", b"-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n"),
    "no end": ("malformed", b"-----BEGIN PRIVATE KEY-----\nMARKED"),
    "an algorithm of nobody": (
        "unsupported-algorithm",
        b"-----BEGIN PRIVATE KEY-----\n" + NOBODYS + b"\n-----END PRIVATE KEY-----\n",
    ),
}


@pytest.mark.parametrize(("reason", "octets"), BAD.values(), ids=BAD)
def test_files_that_hold_no_key(reason: str, octets: bytes) -> None:
    """What is no PEM of PKCS#8 keys is refused with its reason, and none of it is repeated."""
    told = refusal(octets)
    assert told.reason == reason
    assert "MARKED" not in f"{told}{told.__context__}"


def test_a_suite_that_there_is_not() -> None:
    """That a suite is unknown is our own mistake."""
    with pytest.raises(ValueError, match="no suite is called 'rot13'"):
        import_private(written(Ed25519PrivateKey.from_private_bytes(bytes(32))), name="rot13")


def test_keys_are_not_shown() -> None:
    """Neither what came out nor a refusal shows a key."""
    key = seeded(1)(32)
    brought = import_private(written(Ed25519PrivateKey.from_private_bytes(key)), name="x25519")
    assert key == brought.signing.private
    assert key.hex() not in repr(brought)
    assert repr(key)[2:-1] not in repr(brought)


@settings(deadline=None, max_examples=50)
@given(
    st.one_of(
        st.binary(max_size=80).map(lambda octets: b"-----BEGIN PRIVATE KEY-----\n" + octets),
        st.text(max_size=60).map(lambda text: f"-----BEGIN {text}-----END".encode(errors="replace")),
    ),
    st.sampled_from(["x25519", "pq-hybrid"]),
)
def test_arbitrary_octets(octets: bytes, name: str) -> None:
    """Arbitrary octets behind a head that promises a key are refused in kind."""
    with suppress(CertificateRejected):
        import_private(octets, name=name)
