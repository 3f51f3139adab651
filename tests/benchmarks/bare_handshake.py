"""The bare calls of ``cryptography`` that a handshake cannot do without, for each suite and form.

They know no state, terms, lengths or errors. Long-term keys are at hand, parsed; what comes from the other
side is parsed each time. Counted is what two sides must do between them: draw nonces; sign and verify; agree,
or seal and open; and on each side hash all that was said, extract, expand six keys, make one confirmation and
check another, and derive of a symmetric domain key what it adds to the secret. The keys of the session stay
octets, as they do on our side: a cipher's key schedule belongs to its first packet.
"""

from __future__ import annotations

import hmac
import os
import warnings
from hashlib import sha3_256, sha256, shake_256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PSS
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning

from transport.security.ffdh import RFC7919
from transport.security.terms import (
    AGREE_THEN_SIGN,
    DOMAIN_ASYMMETRIC,
    DOMAIN_SYMMETRIC,
    KEY_TRANSPORT,
    SIGN_THEN_AGREE,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    from cryptography.hazmat.primitives.asymmetric.dh import DHParameterNumbers, DHPublicNumbers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SIGNED: Final = bytes(96)
_INFO: Final = bytes(96)
_CONTRIBUTION: Final = bytes(32)
_SECRET: Final = bytes(range(32))
_KEY_LENGTHS: Final = (16, 16, 16, 16, 32, 32)
_NONCE: Final = 16
_SEALED_KEY_BITS: Final = 128


class Bare(NamedTuple):
    """One suite's calls: ``sign`` gives what ``verify`` takes, ``seal`` what ``open`` takes.

    ``agree`` is all that both sides do to come to one secret.
    """

    sign: Callable[[], bytes]
    verify: Callable[[bytes], object]
    agree: Callable[[], object]
    seal: Callable[[], bytes]
    open: Callable[[bytes], object]


class _Recipe(NamedTuple):
    """How often a form signs, whether it seals instead of agreeing, and what it derives of a domain key."""

    signatures: int = 2
    seals: bool = False
    derived: int = 0


_RECIPES: Final = {
    AGREE_THEN_SIGN: _Recipe(),
    KEY_TRANSPORT: _Recipe(seals=True),
    SIGN_THEN_AGREE: _Recipe(signatures=3),
    DOMAIN_SYMMETRIC: _Recipe(signatures=1, derived=1),
    DOMAIN_ASYMMETRIC: _Recipe(),
}


def bare_handshake(form: str, kind: str, messages: Sequence[bytes], signature: int) -> Callable[[], None]:
    """Return a call that does what a handshake of *form* in suite *kind* must, with those *messages*.

    *signature* is how long the suite's signatures are, which confirmations cover.
    """
    bare, recipe, confirmed = BARE[kind](), _RECIPES[form], bytes(32 + signature)

    def work() -> None:
        for _ in range(2):
            os.urandom(_NONCE)
        for _ in range(recipe.signatures):
            bare.verify(bare.sign())
        if recipe.seals:
            for _ in range(2):
                bare.open(bare.seal())
        else:
            bare.agree()
        for _ in range(2):
            _derive(messages, confirmed, recipe.derived)

    return work


def _derive(messages: Sequence[bytes], confirmed: bytes, derived: int) -> None:
    """Do what each side does with the secret."""
    digest = b""
    for message in messages:
        digest = sha256(digest + message).digest()
    for _ in range(derived):
        HKDFExpand(SHA256(), 32, _SIGNED).derive(_SECRET)
    root = HKDF.extract(SHA256(), bytes(18), _SECRET)
    keys = [HKDFExpand(SHA256(), length, digest).derive(root) for length in _KEY_LENGTHS]
    for key in keys[4:]:
        hmac.digest(key, confirmed, "sha256")


def _hpke(kem: Any, aead: Any, key: Any) -> tuple[Callable[[], bytes], Callable[[bytes], object]]:
    suite, public = hpke.Suite(kem, hpke.KDF.HKDF_SHA256, aead), key.public_key()
    return lambda: suite.encrypt(_CONTRIBUTION, public, _INFO), lambda sealed: suite.decrypt(
        sealed, key, _INFO
    )


def _x25519() -> Bare:
    def agree() -> None:
        keys = [X25519PrivateKey.from_private_bytes(os.urandom(32)) for _ in range(2)]
        shares = [key.public_key().public_bytes_raw() for key in keys]
        for key, share in zip(keys, reversed(shares), strict=True):
            key.exchange(X25519PublicKey.from_public_bytes(share))

    key = Ed25519PrivateKey.generate()
    public = key.public_key()
    return Bare(
        lambda: key.sign(_SIGNED),
        lambda signature: public.verify(signature, _SIGNED),
        agree,
        *_hpke(hpke.KEM.X25519, hpke.AEAD.AES_128_GCM, X25519PrivateKey.generate()),
    )


def _p256() -> Bare:
    curve, key = ec.SECP256R1(), ec.generate_private_key(ec.SECP256R1())
    public, sign, verify = (
        key.public_key(),
        ec.ECDSA(SHA256(), deterministic_signing=True),
        ec.ECDSA(SHA256()),
    )

    def agree() -> None:
        keys = [ec.derive_private_key(int.from_bytes(os.urandom(31), "big") + 1, curve) for _ in range(2)]
        compressed = (Encoding.X962, PublicFormat.CompressedPoint)
        shares = [each.public_key().public_bytes(*compressed) for each in keys]
        for each, share in zip(keys, reversed(shares), strict=True):
            each.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(curve, share))

    return Bare(
        lambda: key.sign(_SIGNED, sign),
        lambda signature: public.verify(signature, _SIGNED, verify),
        agree,
        *_hpke(hpke.KEM.P256, hpke.AEAD.AES_128_GCM, key),
    )


def _rsa(bits: int) -> Bare:
    key, numbers = rsa.generate_private_key(65537, bits), DHParameterNumbers(RFC7919[bits], 2)
    parameters, public = numbers.parameters(), key.public_key()
    pss, oaep = PSS(MGF1(SHA256()), 32), OAEP(MGF1(SHA256()), SHA256(), _INFO)

    def agree() -> None:
        keys = [parameters.generate_private_key() for _ in range(2)]
        shares = [each.public_key().public_numbers().y.to_bytes(bits // 8, "big") for each in keys]
        for each, share in zip(keys, reversed(shares), strict=True):
            each.exchange(DHPublicNumbers(int.from_bytes(share, "big"), numbers).public_key())

    def seal() -> bytes:
        fresh = AESGCM.generate_key(_SEALED_KEY_BITS)
        wrapped = public.encrypt(fresh, oaep)
        return wrapped + AESGCM(fresh).encrypt(bytes(12), _CONTRIBUTION, wrapped)

    def unseal(sealed: bytes) -> bytes:
        wrapped = sealed[: bits // 8]
        return AESGCM(key.decrypt(wrapped, oaep)).decrypt(bytes(12), sealed[bits // 8 :], wrapped)

    return Bare(
        lambda: key.sign(_SIGNED, pss, SHA256()),
        lambda signature: public.verify(signature, _SIGNED, pss, SHA256()),
        agree,
        seal,
        unseal,
    )


def _pq_hybrid() -> Bare:
    classic, modern = Ed25519PrivateKey.generate(), MLDSA65PrivateKey.generate()
    publics = classic.public_key(), modern.public_key()

    def verify(signatures: bytes) -> None:
        publics[0].verify(signatures[:64], _SIGNED)
        publics[1].verify(signatures[64:], _SIGNED)

    def agree() -> None:
        seeds = shake_256(os.urandom(32)).digest(96)
        mlkem, own = (
            MLKEM768PrivateKey.from_seed_bytes(seeds[:64]),
            X25519PrivateKey.from_private_bytes(seeds[64:]),
        )
        offer = mlkem.public_key().public_bytes_raw(), own.public_key().public_bytes_raw()
        theirs = X25519PrivateKey.from_private_bytes(os.urandom(32))
        share = theirs.public_key().public_bytes_raw()
        secret, ciphertext = MLKEM768PublicKey.from_public_bytes(offer[0]).encapsulate()
        shared = theirs.exchange(X25519PublicKey.from_public_bytes(offer[1]))
        again = own.exchange(X25519PublicKey.from_public_bytes(share))
        for both in (secret + shared, mlkem.decapsulate(ciphertext) + again):
            sha3_256(both + share + offer[1]).digest()

    sealing = hpke.MLKEM768X25519PrivateKey(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())
    return Bare(
        lambda: classic.sign(_SIGNED) + modern.sign(_SIGNED),
        verify,
        agree,
        *_hpke(hpke.KEM.MLKEM768_X25519, hpke.AEAD.CHACHA20_POLY1305, sealing),
    )


BARE: Final[dict[str, Callable[[], Bare]]] = {
    "x25519": _x25519,
    "p256": _p256,
    "rsa-ffdh": lambda: _rsa(3072),
    "rsa-2048-ffdh": lambda: _rsa(2048),
    "pq-hybrid": _pq_hybrid,
}
