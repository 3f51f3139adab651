"""The suite ``p256``: ECDSA with SHA-256 (FIPS 186-5), ECDH, HPKE P-256 / HKDF-SHA256 / AES-128-GCM.

Public keys and shares travel compressed (SEC 1 section 2.3.3, 33 octets). Signatures are r then s, 32
octets each, with s in the lower half of its range: ECDSA lets anyone turn (r, s) into (r, n - s), and a
message should not have two valid forms. Nonces are deterministic (RFC 6979), so that a poor random source
cannot give the key away.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from transport.errors import HandshakeRejected, SignatureRejected
from transport.security.suite_base import AgreementKey, HpkeSuite, Rng, SealingKey, SigningKey, draw

_CURVE: Final = ec.SECP256R1()
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SIGN: Final = ec.ECDSA(SHA256(), deterministic_signing=True)
_VERIFY: Final = ec.ECDSA(SHA256())
_POINT: Final = 33


@lru_cache(maxsize=4096)
def _point(octets: bytes) -> ec.EllipticCurvePublicKey:
    # Finding y again costs as much as the exchange itself; a role meets the same long-term keys over and
    # over.
    if len(octets) != _POINT:
        raise ValueError("a compressed point is 33 octets")
    return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, octets)


def _compressed(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def _load(octets: bytes) -> ec.EllipticCurvePrivateKey:
    scalar = int.from_bytes(octets, "big")
    if len(octets) != 32 or not 0 < scalar < _ORDER:
        raise ValueError("a P-256 private key is 32 octets, above zero and below the group's order")
    return ec.derive_private_key(scalar, _CURVE)


def _scalar(rng: Rng) -> bytes:
    # FIPS 186-5 A.2.1: 128 bits more than needed, reduced; the bias is below 2^-128 and there is no loop to
    # run long.
    return (int.from_bytes(draw(rng, 48), "big") % (_ORDER - 1) + 1).to_bytes(32, "big")


class P256Suite(HpkeSuite):
    """NIST P-256 throughout: what most certified cards have in hardware."""

    name: ClassVar[str] = "p256"
    wire_id: ClassVar[int] = 2
    signing_public_length: ClassVar[int] = _POINT
    signing_private_length: ClassVar[int] = 32
    sealing_public_length: ClassVar[int] = _POINT
    signature_length: ClassVar[int] = 64
    offer_length: int = _POINT
    answer_length: int = _POINT
    hpke: ClassVar[Any] = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)
    encapsulated_length: ClassVar[int] = 65

    def generate_signing_key(self, rng: Rng) -> SigningKey:
        """See ``Suite.generate_signing_key``; draws 48 octets."""
        return self.load_signing_key(_scalar(rng))

    def load_signing_key(self, octets: bytes) -> SigningKey:
        """See ``Suite.load_signing_key``; the scalar, big-endian."""
        key = _load(octets)

        def sign(message: bytes) -> bytes:
            r, s = decode_dss_signature(key.sign(message, _SIGN))
            return r.to_bytes(32, "big") + min(s, _ORDER - s).to_bytes(32, "big")

        return SigningKey(suite=self.name, public=_compressed(key), private=octets, signer=sign)

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        """See ``Suite.verify``. An s in the upper half is refused."""
        try:
            key = _point(public)
        except ValueError:
            raise SignatureRejected("bad-public-key") from None
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        if len(signature) != self.signature_length or s > _ORDER // 2:
            raise SignatureRejected("bad-signature")
        try:
            key.verify(encode_dss_signature(r, s), message, _VERIFY)
        except InvalidSignature:
            raise SignatureRejected("bad-signature") from None

    def generate_agreement_key(self, rng: Rng) -> AgreementKey:
        """See ``Suite.generate_agreement_key``; draws 48 octets. The secret is the x-coordinate."""
        key = _load(_scalar(rng))

        def exchange(peer: bytes) -> bytes:
            try:
                # Not through the cache of _point: a share is met once. A compressed point is on the curve
                # by itself.
                return key.exchange(ec.ECDH(), _point.__wrapped__(peer))
            except ValueError:
                raise HandshakeRejected("bad-share") from None

        return AgreementKey(public=_compressed(key), exchanger=exchange)

    def generate_sealing_key(self, rng: Rng) -> SealingKey:
        """See ``Suite.generate_sealing_key``; draws 48 octets."""
        return self.load_sealing_key(_scalar(rng))

    def load_sealing_key(self, octets: bytes) -> SealingKey:
        """See ``Suite.load_sealing_key``; the scalar, big-endian."""
        key = _load(octets)
        return SealingKey(suite=self.name, public=_compressed(key), private=octets, handle=key)

    def sealing_public_key(self, octets: bytes) -> ec.EllipticCurvePublicKey:
        """See ``HpkeSuite.sealing_public_key``."""
        return _point(octets)
