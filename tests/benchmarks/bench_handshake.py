"""A whole handshake, both sides, beside the bare calls of ``cryptography`` that it cannot do without.

Run ``python -m tests.benchmarks.bench_handshake``. The bare side does what two sides must do between them:
make two ephemeral keys, exchange twice, sign twice, verify twice, derive six keys twice, make those of the
packets ready, hash the transcript and confirm it, twice on each side. It knows no state, terms or error. What
is measured is the time of this process; rounds of all rows alternate and medians are printed, so that a busy
machine slows all alike. An ML-DSA signature is tried until one will do, four times and more in the mean: its
row wavers.
"""

from __future__ import annotations

import hmac
import os
import sys
import warnings
from hashlib import sha256
from itertools import cycle
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning

from transport.security.ffdh import RFC7919
from transport.security.handshake import Credentials, initiator, responder
from transport.security.suites import ALL_SUITES
from transport.security.terms import AGREE_THEN_SIGN, Terms

with warnings.catch_warnings():
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    from cryptography.hazmat.primitives.asymmetric.dh import DHParameterNumbers, DHPublicNumbers

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS: Final = 9
ROUND_S: Final = 0.2
MESSAGE: Final = bytes(96)
KEY_LENGTHS: Final = (16, 16, 16, 16, 32, 32)
SCALAR: Final = 2**255 // 3

_ED25519: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_ED25519_PUBLIC: Final = _ED25519.public_key().public_bytes_raw()
_CURVE: Final = ec.SECP256R1()
_ECDSA: Final = ec.ECDSA(SHA256())
_SIGN: Final = ec.ECDSA(SHA256(), deterministic_signing=True)
_MLDSA: Final = MLDSA65PrivateKey.from_seed_bytes(bytes(range(32)))
_MLDSA_PUBLIC: Final = _MLDSA.public_key().public_bytes_raw()
_EVERY_OTHER: Final = cycle((1, 0))
_P256: Final = ec.derive_private_key(SCALAR, _CURVE)
_P256_PUBLIC: Final = _P256.public_key()


def _derive(secret: bytes) -> None:
    root = HKDF.extract(SHA256(), bytes(18), secret)
    keys = [HKDFExpand(SHA256(), length, MESSAGE).derive(root) for length in KEY_LENGTHS]
    for key in keys[1:4:2]:
        CMAC(AES(key))
    for key in keys[4:]:
        hmac.digest(key, sha256(MESSAGE).digest(), "sha256")


def bare_x25519() -> None:
    """Do what one side does with Curve25519: a share, a secret, a signature, a verification, six keys."""
    key = X25519PrivateKey.from_private_bytes(os.urandom(32))
    share = key.public_key().public_bytes_raw()
    _derive(key.exchange(X25519PublicKey.from_public_bytes(share)))
    Ed25519PublicKey.from_public_bytes(_ED25519_PUBLIC).verify(_ED25519.sign(MESSAGE), MESSAGE)


def bare_p256() -> None:
    """Do the same with P-256; the peer's long-term key is at hand, its share comes compressed."""
    key = ec.derive_private_key(int.from_bytes(os.urandom(31), "big") + 1, _CURVE)
    share = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    _derive(key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, share)))
    _P256_PUBLIC.verify(_P256.sign(MESSAGE, _SIGN), MESSAGE, _ECDSA)


def bare_rsa(bits: int) -> Callable[[], None]:
    """Return what does the same with RSA and the group of RFC 7919, both of that length."""
    key, modulus = rsa.generate_private_key(65537, bits), RFC7919[bits]
    numbers, padding = DHParameterNumbers(modulus, 2), PSS(MGF1(SHA256()), 32)
    parameters, public = numbers.parameters(), key.public_key()

    def work() -> None:
        own = parameters.generate_private_key()
        share = own.public_key().public_numbers().y.to_bytes(bits // 8, "big")
        peer = DHPublicNumbers(int.from_bytes(share, "big"), numbers).public_key()
        _derive(own.exchange(peer))
        public.verify(key.sign(MESSAGE, padding, SHA256()), MESSAGE, padding, SHA256())

    return work


def bare_pq_hybrid() -> None:
    """Do half of what both sides do with the hybrid, and what one does with each of its signatures."""
    # Of a KEM's sides one makes a key and decapsulates, the other encapsulates: all of it, every other time
    own = X25519PrivateKey.from_private_bytes(os.urandom(32))
    share = own.public_key().public_bytes_raw()
    classic = own.exchange(X25519PublicKey.from_public_bytes(share))
    for _ in range(next(_EVERY_OTHER)):
        mlkem = MLKEM768PrivateKey.from_seed_bytes(os.urandom(64))
        offer = mlkem.public_key().public_bytes_raw()
        mlkem.decapsulate(MLKEM768PublicKey.from_public_bytes(offer).encapsulate()[1])
    _derive(classic)
    Ed25519PublicKey.from_public_bytes(_ED25519_PUBLIC).verify(_ED25519.sign(MESSAGE), MESSAGE)
    MLDSA65PublicKey.from_public_bytes(_MLDSA_PUBLIC).verify(_MLDSA.sign(MESSAGE), MESSAGE)


BARE: Final[dict[str, Callable[[], None]]] = {
    "x25519": bare_x25519,
    "p256": bare_p256,
    "rsa-ffdh": bare_rsa(3072),
    "rsa-2048-ffdh": bare_rsa(2048),
    "pq-hybrid": bare_pq_hybrid,
}


def handshake_of(kind: str) -> Callable[[], None]:
    """Return a call that shakes hands once in suite *kind*, from nothing to both sides' session keys."""
    terms = Terms(
        suite=kind, form=AGREE_THEN_SIGN, initiator=b"8988", responder=b"bank", tar=bytes.fromhex("b20000")
    )
    module, supplier = (ALL_SUITES[kind].generate_signing_key(os.urandom) for _ in range(2))
    of_module = Credentials(signing_key=module, peer_signing_public=supplier.public)
    of_supplier = Credentials(signing_key=supplier, peer_signing_public=module.public)

    def shake() -> None:
        opening = initiator(terms, of_module, os.urandom)
        answering = responder(terms, of_supplier, os.urandom)
        answer = answering.receive(opening.start())
        assert answer is not None
        proof = opening.receive(answer)
        assert proof is not None
        answering.receive(proof)
        assert opening.keys == answering.keys

    return shake


def microseconds(call: Callable[[], None]) -> float:
    """Return what *call* costs, over one round."""
    began, calls = process_time(), 0
    while (spent := process_time() - began) < ROUND_S:
        call()
        call()
        calls += 2
    return spent / calls * 1e6


def main() -> None:
    """Print the table."""
    calls = {kind: (handshake_of(kind), BARE[kind]) for kind in ALL_SUITES}
    rounds = [
        {kind: (microseconds(ours), 2 * microseconds(bare)) for kind, (ours, bare) in calls.items()}
        for _ in range(ROUNDS)
    ]
    lines = [
        f"handshake {AGREE_THEN_SIGN}, both sides, {os.cpu_count()} cores, 1 used",
        "  suite             ours      bare  ours/bare  handshakes/s",
    ]
    for kind in calls:
        ours, bare = (median(times[kind][side] for times in rounds) for side in range(2))
        lines.append(f"  {kind:<13}{ours:>6.0f} us{bare:>7.0f} us{ours / bare:>11.2f}{1e6 / ours:>14,.0f}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
