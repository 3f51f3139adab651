"""The suite ``x25519``: Ed25519 (RFC 8032), X25519 (RFC 7748), HPKE X25519 / HKDF-SHA256 / AES-128-GCM."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from transport.errors import HandshakeRejected, SignatureRejected
from transport.security.suite_base import AgreementKey, HpkeSuite, Rng, SealingKey, SigningKey, draw

_P: Final = 2**255 - 19
_Y_MASK: Final = 2**255 - 1
# The y-coordinates of the eight points of small order. RFC 8032 lets them be public keys, and under such a
# key one signature can verify for every message, so that its owner could claim what another has signed. The
# two of order 8 are roots of d*y^4 + 2*y^2 - 1; a test computes the list anew.
_ORDER_8: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER: Final = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8})


@lru_cache(maxsize=4096)
def ed25519_verifier(public: bytes) -> Ed25519PublicKey:
    """Return the key that verifies, kept among the latest; SignatureRejected("bad-public-key") for none."""
    y = int.from_bytes(public, "little") & _Y_MASK
    if len(public) != 32 or y >= _P or y in _SMALL_ORDER:
        raise SignatureRejected("bad-public-key")
    return Ed25519PublicKey.from_public_bytes(public)


@lru_cache(maxsize=4096)
def _receiver(public: bytes) -> X25519PublicKey:
    return X25519PublicKey.from_public_bytes(public)


class X25519Suite(HpkeSuite):
    """Curve25519 throughout: the shortest messages and, on a server, the fastest signatures."""

    name: ClassVar[str] = "x25519"
    wire_id: ClassVar[int] = 1
    signing_public_length: ClassVar[int] = 32
    signing_private_length: ClassVar[int] = 32
    sealing_public_length: ClassVar[int] = 32
    signature_length: ClassVar[int] = 64
    offer_length: int = 32
    answer_length: int = 32
    hpke: ClassVar[Any] = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)
    encapsulated_length: ClassVar[int] = 32

    def generate_signing_key(self, rng: Rng) -> SigningKey:
        """See ``Suite.generate_signing_key``; draws 32 octets."""
        return self.load_signing_key(draw(rng, 32))

    def load_signing_key(self, octets: bytes) -> SigningKey:
        """See ``Suite.load_signing_key``; the seed of RFC 8032 section 5.1.5."""
        key = Ed25519PrivateKey.from_private_bytes(octets)
        public = key.public_key().public_bytes_raw()
        return SigningKey(suite=self.name, public=public, private=octets, signer=key.sign)

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        """See ``Suite.verify``. Public keys of small order and encodings of y not below p are none."""
        try:
            ed25519_verifier(public).verify(signature, message)
        except InvalidSignature:
            raise SignatureRejected("bad-signature") from None

    def generate_agreement_key(self, rng: Rng) -> AgreementKey:
        """See ``Suite.generate_agreement_key``; draws 32 octets."""
        key = X25519PrivateKey.from_private_bytes(draw(rng, 32))

        def exchange(peer: bytes) -> bytes:
            try:
                # The library refuses an all-zero secret (RFC 7748 section 6.1): the peer added nothing to it.
                return key.exchange(X25519PublicKey.from_public_bytes(peer))
            except ValueError:
                raise HandshakeRejected("bad-share") from None

        return AgreementKey(public=key.public_key().public_bytes_raw(), exchanger=exchange)

    def generate_sealing_key(self, rng: Rng) -> SealingKey:
        """See ``Suite.generate_sealing_key``; draws 32 octets."""
        return self.load_sealing_key(draw(rng, 32))

    def load_sealing_key(self, octets: bytes) -> SealingKey:
        """See ``Suite.load_sealing_key``."""
        key = X25519PrivateKey.from_private_bytes(octets)
        public = key.public_key().public_bytes_raw()
        return SealingKey(suite=self.name, public=public, private=octets, handle=key)

    def sealing_public_key(self, octets: bytes) -> X25519PublicKey:
        """See ``HpkeSuite.sealing_public_key``."""
        return _receiver(octets)
