"""The suite ``pq-hybrid``: Ed25519 with ML-DSA-65, X25519 with ML-KEM-768; safe as long as one of each is.

* *Signatures* are the composite id-MLDSA65-Ed25519-SHA512 (draft-ietf-lamps-pq-composite-sigs), without a
  context of the caller's: ML-DSA-65 (FIPS 204), then Ed25519, both of::

      "CompositeAlgorithmSignatures2025" | label | 00 | SHA-512(message)

  and the label once more as ML-DSA's context. Both must verify. Neither half is a signature in any other
  suite: Ed25519's begins with a prefix that no message of ours has, ML-DSA's has a context. Keys are put
  together likewise.
* *Agreement* is X-Wing (draft-connolly-cfrg-xwing-kem): the offer is a public key of ML-KEM-768 (FIPS 203),
  then one of X25519; the answer encapsulates to both. The secret is::

      SHA3-256(ML-KEM's secret | X25519's secret | the answer's X25519 share | the offer's | label)

  ML-KEM's ciphertext and key need not be in there: they follow from its secret, which X-Wing's proof uses.
* *Sealing* is HPKE with X-Wing / HKDF-SHA256 / ChaCha20-Poly1305 (draft-ietf-hpke-pq).

Private keys are the seeds. An ML-KEM ciphertext that is none gives a secret that nobody shares (FIPS 203
section 6.3), no refusal: it is the confirmation that fails.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha3_256, sha512, shake_256
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from transport.errors import HandshakeRejected, SignatureRejected
from transport.security.suite_base import AgreementKey, HpkeSuite, Rng, SealingKey, SigningKey, draw
from transport.security.suite_x25519 import ed25519_verifier

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_SEED: Final = 32  # of ML-DSA, of Ed25519, and of X-Wing as a whole
_X25519: Final = 32
_ED25519_PUBLIC: Final = 32
_REMEMBERED: Final = 256
_MLDSA_PUBLIC: Final = 1952
_MLDSA_SIGNATURE: Final = 3309
_MLKEM_SEED: Final = 64
_MLKEM_PUBLIC: Final = 1184
_MLKEM_CIPHERTEXT: Final = 1088
_XWING_LABEL: Final = b"\\.//^\\"
_COMPOSITE_LABEL: Final = b"COMPSIG-MLDSA65-Ed25519-SHA512"
_COMPOSITE_PREFIX: Final = b"CompositeAlgorithmSignatures2025" + _COMPOSITE_LABEL + b"\0"


def _representative(message: bytes) -> bytes:
    """Return what both halves of a composite signature are of."""
    return _COMPOSITE_PREFIX + sha512(message).digest()


def _combined(post_quantum: bytes, classic: bytes, answer: bytes, offer: bytes) -> bytes:
    """Return X-Wing's secret, of both secrets and both X25519 shares."""
    return sha3_256(post_quantum + classic + answer + offer + _XWING_LABEL).digest()


class _XWingKey(NamedTuple):
    """Both private keys that come of one seed."""

    mlkem: MLKEM768PrivateKey
    x25519: X25519PrivateKey

    @classmethod
    def expand(cls, seed: bytes) -> _XWingKey:
        """Return the keys of *seed*; ValueError when it is not 32 octets."""
        if len(seed) != _SEED:
            raise ValueError(f"an X-Wing private key is a seed of {_SEED} octets")
        octets = shake_256(seed).digest(_MLKEM_SEED + _X25519)
        return cls(
            MLKEM768PrivateKey.from_seed_bytes(octets[:_MLKEM_SEED]),
            X25519PrivateKey.from_private_bytes(octets[_MLKEM_SEED:]),
        )

    @property
    def public(self) -> bytes:
        return self.mlkem.public_key().public_bytes_raw() + self.x25519.public_key().public_bytes_raw()


def _xwing_public(octets: bytes) -> tuple[MLKEM768PublicKey, X25519PublicKey]:
    """Return both public keys; ValueError when *octets* are none."""
    return (
        MLKEM768PublicKey.from_public_bytes(octets[:_MLKEM_PUBLIC]),
        X25519PublicKey.from_public_bytes(octets[_MLKEM_PUBLIC:]),
    )


# A role meets the same long-term keys over and over; parsed they are larger than those of other suites.


@lru_cache(maxsize=_REMEMBERED)
def _verifiers(public: bytes) -> tuple[MLDSA65PublicKey, Ed25519PublicKey]:
    """Return both keys that verify; SignatureRejected("bad-public-key") when *public* is none."""
    if len(public) != _MLDSA_PUBLIC + _ED25519_PUBLIC:
        raise SignatureRejected("bad-public-key")
    ed25519 = ed25519_verifier(public[_MLDSA_PUBLIC:])
    return MLDSA65PublicKey.from_public_bytes(public[:_MLDSA_PUBLIC]), ed25519


@lru_cache(maxsize=_REMEMBERED)
def _receiver(public: bytes) -> hpke.MLKEM768X25519PublicKey:
    return hpke.MLKEM768X25519PublicKey(*_xwing_public(public))


class PqHybridSuite(HpkeSuite):
    """Long messages that a recording of today will not be opened from by tomorrow's quantum computer."""

    name: ClassVar[str] = "pq-hybrid"
    wire_id: ClassVar[int] = 5
    signing_public_length: ClassVar[int] = _MLDSA_PUBLIC + _ED25519_PUBLIC
    signing_private_length: ClassVar[int] = 2 * _SEED
    sealing_public_length: ClassVar[int] = _MLKEM_PUBLIC + _X25519
    signature_length: ClassVar[int] = _MLDSA_SIGNATURE + 64
    offer_length: int = _MLKEM_PUBLIC + _X25519
    answer_length: int = _MLKEM_CIPHERTEXT + _X25519
    hpke: ClassVar[Any] = hpke.Suite(
        hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305
    )
    encapsulated_length: ClassVar[int] = _MLKEM_CIPHERTEXT + _X25519

    def generate_signing_key(self, rng: Rng) -> SigningKey:
        """See ``Suite.generate_signing_key``; draws 64 octets."""
        return self.load_signing_key(draw(rng, 2 * _SEED))

    def load_signing_key(self, octets: bytes) -> SigningKey:
        """See ``Suite.load_signing_key``; the seed of ML-DSA, then that of Ed25519."""
        mldsa = MLDSA65PrivateKey.from_seed_bytes(octets[:_SEED])
        ed25519 = Ed25519PrivateKey.from_private_bytes(octets[_SEED:])

        def sign(message: bytes) -> bytes:
            both = _representative(message)
            return mldsa.sign(both, _COMPOSITE_LABEL) + ed25519.sign(both)

        public = mldsa.public_key().public_bytes_raw() + ed25519.public_key().public_bytes_raw()
        return SigningKey(suite=self.name, public=public, private=octets, signer=sign)

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        """See ``Suite.verify``. Ed25519 has the last word on what is a key: any octets are one of ML-DSA."""
        mldsa, ed25519 = _verifiers(public)
        both = _representative(message)
        try:
            ed25519.verify(signature[_MLDSA_SIGNATURE:], both)
            mldsa.verify(signature[:_MLDSA_SIGNATURE], both, _COMPOSITE_LABEL)
        except InvalidSignature:
            raise SignatureRejected("bad-signature") from None

    def generate_agreement_key(self, rng: Rng) -> AgreementKey:
        """See ``Suite.generate_agreement_key``; draws 32 octets."""
        key = _XWingKey.expand(draw(rng, _SEED))
        offer = key.public

        def exchange(peer: bytes) -> bytes:
            ciphertext, share = peer[:_MLKEM_CIPHERTEXT], peer[_MLKEM_CIPHERTEXT:]
            try:
                classic = key.x25519.exchange(X25519PublicKey.from_public_bytes(share))
                return _combined(key.mlkem.decapsulate(ciphertext), classic, share, offer[_MLKEM_PUBLIC:])
            except ValueError:
                raise HandshakeRejected("bad-share") from None

        return AgreementKey(public=offer, exchanger=exchange)

    def answer_agreement(self, offer: bytes, rng: Rng) -> tuple[bytes, bytes]:
        """See ``Suite.answer_agreement``; draws 32 octets. ML-KEM's come from the library itself."""
        own = X25519PrivateKey.from_private_bytes(draw(rng, _X25519))
        share = own.public_key().public_bytes_raw()
        try:
            mlkem, x25519 = _xwing_public(offer)
            classic = own.exchange(x25519)
        except ValueError:
            raise HandshakeRejected("bad-share") from None
        secret, ciphertext = mlkem.encapsulate()
        return ciphertext + share, _combined(secret, classic, share, offer[_MLKEM_PUBLIC:])

    def generate_sealing_key(self, rng: Rng) -> SealingKey:
        """See ``Suite.generate_sealing_key``; draws 32 octets."""
        return self.load_sealing_key(draw(rng, _SEED))

    def load_sealing_key(self, octets: bytes) -> SealingKey:
        """See ``Suite.load_sealing_key``; X-Wing's seed."""
        key = _XWingKey.expand(octets)
        handle = hpke.MLKEM768X25519PrivateKey(key.mlkem, key.x25519)
        return SealingKey(suite=self.name, public=key.public, private=octets, handle=handle)

    def sealing_public_key(self, octets: bytes) -> hpke.MLKEM768X25519PublicKey:
        """See ``HpkeSuite.sealing_public_key``."""
        return _receiver(octets)
