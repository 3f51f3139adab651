"""A whole handshake, both sides, beside the bare calls of ``cryptography`` that it cannot do without.

Run ``python -m tests.benchmarks.bench_handshake``. The bare side does what two sides must do between them:
make two ephemeral keys, exchange twice, sign twice, verify twice, and derive six keys twice. It knows no
transcript, state, terms or error. Rounds of all rows alternate and medians are printed, so that a busy
machine slows all alike.
"""

from __future__ import annotations

import os
import sys
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from transport.security.handshake import Initiator, Responder
from transport.security.suites import SUITES
from transport.security.terms import AGREE_THEN_SIGN, Terms

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS: Final = 9
HANDSHAKES: Final = 200  # a round
MESSAGE: Final = bytes(96)
KEY_LENGTHS: Final = (16, 16, 16, 16, 32, 32)
SCALAR: Final = 2**255 // 3

_ED25519: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_ED25519_PUBLIC: Final = _ED25519.public_key().public_bytes_raw()
_CURVE: Final = ec.SECP256R1()
_ECDSA: Final = ec.ECDSA(SHA256())
_SIGN: Final = ec.ECDSA(SHA256(), deterministic_signing=True)
_P256: Final = ec.derive_private_key(SCALAR, _CURVE)
_P256_PUBLIC: Final = _P256.public_key()


def _derive(secret: bytes) -> None:
    root = HKDF.extract(SHA256(), bytes(18), secret)
    for length in KEY_LENGTHS:
        HKDFExpand(SHA256(), length, MESSAGE).derive(root)


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


BARE: Final[dict[str, Callable[[], None]]] = {"x25519": bare_x25519, "p256": bare_p256}


def handshake_of(kind: str) -> Callable[[], None]:
    """Return a call that shakes hands once in suite *kind*, from nothing to both sides' session keys."""
    terms = Terms(
        suite=kind, form=AGREE_THEN_SIGN, initiator=b"8988", responder=b"bank", tar=bytes.fromhex("b20000")
    )
    module, supplier = (SUITES[kind].generate_signing_key(os.urandom) for _ in range(2))

    def shake() -> None:
        initiator = Initiator(terms, module, supplier.public, os.urandom)
        responder = Responder(terms, supplier, module.public, os.urandom)
        answer = responder.receive(initiator.start())
        assert answer is not None
        responder.receive(initiator.receive(answer))
        assert initiator.keys == responder.keys

    return shake


def microseconds(call: Callable[[], None]) -> float:
    """Return what *call* costs, over one round."""
    began = perf_counter()
    for _ in range(HANDSHAKES):
        call()
    return (perf_counter() - began) / HANDSHAKES * 1e6


def main() -> None:
    """Print the table."""
    calls = {kind: (handshake_of(kind), BARE[kind]) for kind in SUITES}
    rounds = [
        {kind: (microseconds(ours), 2 * microseconds(bare)) for kind, (ours, bare) in calls.items()}
        for _ in range(ROUNDS)
    ]
    lines = [
        f"handshake {AGREE_THEN_SIGN}, both sides, {os.cpu_count()} cores, 1 used",
        "  suite       ours     bare  bare/ours  handshakes/s",
    ]
    for kind in calls:
        ours, bare = (median(times[kind][side] for times in rounds) for side in range(2))
        lines.append(f"  {kind:<7}{ours:>6.0f} us{bare:>6.0f} us{bare / ours:>11.2f}{1e6 / ours:>14,.0f}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
