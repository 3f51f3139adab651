"""The suites ``rsa-ffdh`` and ``rsa-2048-ffdh``: RSA-PSS with SHA-256, finite-field Diffie-Hellman, RSA-OAEP.

Public keys are moduli, for the exponent 65537; signatures and shares are numbers as long as the modulus they
belong to. Diffie-Hellman is over ffdhe3072 or ffdhe2048 (RFC 7919), or over b and M as given
(``with_parameters``), which need not be of the strength of the RSA key.

Sealing is RSA-OAEP (RFC 8017 section 7.1) of a fresh AES-128 key, then AES-128-GCM under that key, its nonce
zero::

    wrapped key, as long as the modulus | ciphertext | tag 16

``info`` is the label of OAEP, so that a wrapped key is of use under no other; and with the receiver's public
key and the wrapped key it is the additional data of GCM, so that no part can be put with another's. Whatever
does not hold, it is "cannot-open". HPKE has no key encapsulation with RSA.
"""

from __future__ import annotations

from typing import ClassVar, Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from transport.errors import SealRejected, SignatureRejected
from transport.security.ffdh import Group, group, named_group
from transport.security.rsa_keys import (
    DIGEST,
    PADDING,
    load_private,
    load_public,
    make_private,
    public_octets,
)
from transport.security.suite_base import AgreementKey, Rng, SealingKey, SigningKey, Suite

_KEY_OCTETS: Final = 16
_NONCE: Final = bytes(12)  # each key seals one message
_TAG_OCTETS: Final = 16


def _oaep(info: bytes) -> OAEP:
    return OAEP(MGF1(SHA256()), SHA256(), info)


def _aead(key: bytes) -> AESGCM:
    """Return AES-128-GCM under *key*; ValueError for another length, with which the library takes AES-192."""
    if len(key) != _KEY_OCTETS:
        raise ValueError(f"a message is sealed under a key of {_KEY_OCTETS} octets")
    return AESGCM(key)


class RsaFfdhSuite(Suite):
    """What both sizes of key have in common."""

    def __init__(self, own: Group | None = None) -> None:
        self._group = own or named_group(8 * self.signing_public_length)
        self.offer_length = self.answer_length = self._group.length

    def with_parameters(self, base: bytes, modulus: bytes) -> Suite:
        """See ``Suite.with_parameters``."""
        return type(self)(group(base, modulus))

    def generate_signing_key(self, rng: Rng) -> SigningKey:
        """See ``Suite.generate_signing_key``; costs some tenths of a second."""
        return self.load_signing_key(make_private(rng, self.signing_public_length))

    def load_signing_key(self, octets: bytes) -> SigningKey:
        """See ``Suite.load_signing_key``; both primes, the larger first."""
        key = load_private(octets, self.signing_public_length)
        return SigningKey(
            suite=self.name,
            public=public_octets(key),
            private=octets,
            signer=lambda message: key.sign(message, PADDING, DIGEST),
        )

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        """See ``Suite.verify``."""
        try:
            key = load_public(public, self.signing_public_length)
        except ValueError:
            raise SignatureRejected("bad-public-key") from None
        try:
            key.verify(signature, message, PADDING, DIGEST)
        except InvalidSignature:
            raise SignatureRejected("bad-signature") from None

    def generate_agreement_key(self, rng: Rng) -> AgreementKey:
        """See ``Suite.generate_agreement_key``. The secret is as long as the modulus."""
        chosen, exponent = self._group, self._group.exponent(rng)
        return AgreementKey(
            public=chosen.share(exponent), exchanger=lambda peer: chosen.secret(exponent, peer)
        )

    def generate_sealing_key(self, rng: Rng) -> SealingKey:
        """See ``Suite.generate_sealing_key``; costs some tenths of a second."""
        return self.load_sealing_key(make_private(rng, self.sealing_public_length))

    def load_sealing_key(self, octets: bytes) -> SealingKey:
        """See ``Suite.load_sealing_key``; both primes, the larger first."""
        key = load_private(octets, self.sealing_public_length)
        return SealingKey(suite=self.name, public=public_octets(key), private=octets, handle=key)

    def seal(self, public: bytes, plaintext: bytes, info: bytes) -> bytes:
        """See ``Suite.seal``. The AES key and OAEP's seed come from the library's own random source."""
        try:
            recipient = load_public(public, self.sealing_public_length)
        except ValueError:
            raise SealRejected("bad-public-key") from None
        key = AESGCM.generate_key(8 * _KEY_OCTETS)
        wrapped = recipient.encrypt(key, _oaep(info))
        return wrapped + _aead(key).encrypt(_NONCE, plaintext, public + wrapped + info)

    def sealed_length(self, length: int) -> int:
        """See ``Suite.sealed_length``."""
        return self.sealing_public_length + length + _TAG_OCTETS

    def open(self, key: SealingKey, octets: bytes, info: bytes) -> bytes:
        """See ``Suite.open``."""
        if key.suite != self.name:
            raise ValueError(f"a sealing key of suite {key.suite} does not open what {self.name} sealed")
        wrapped, ciphertext = octets[: self.sealing_public_length], octets[self.sealing_public_length :]
        try:
            opener = _aead(key.handle.decrypt(wrapped, _oaep(info)))
            return opener.decrypt(_NONCE, ciphertext, key.public + wrapped + info)
        except (InvalidTag, ValueError):
            raise SealRejected("cannot-open") from None


class Rsa3072FfdhSuite(RsaFfdhSuite):
    """RSA-3072 and ffdhe3072: what the method's text has, at the strength of the other suites."""

    name: ClassVar[str] = "rsa-ffdh"
    wire_id: ClassVar[int] = 3
    signing_public_length: ClassVar[int] = 384
    signing_private_length: ClassVar[int] = 384
    sealing_public_length: ClassVar[int] = 384
    signature_length: ClassVar[int] = 384


class Rsa2048FfdhSuite(RsaFfdhSuite):
    """RSA-2048 and ffdhe2048: what older cards have, of 112 bits of strength."""

    name: ClassVar[str] = "rsa-2048-ffdh"
    wire_id: ClassVar[int] = 4
    signing_public_length: ClassVar[int] = 256
    signing_private_length: ClassVar[int] = 256
    sealing_public_length: ClassVar[int] = 256
    signature_length: ClassVar[int] = 256
