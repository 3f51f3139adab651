"""What every suite offers, and the keys it hands out.

A suite is stateless: keys are values that carry what they can do, so that a caller never sees a library's key
class, and a new suite (with RSA, with a KEM) changes no caller.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from cryptography.exceptions import InvalidTag

from transport.errors import ParametersRejected, SealRejected

Rng = Callable[[int], bytes]
_TAG_OCTETS: Final = 16  # of every AEAD that HPKE knows (RFC 9180 section 7.3)


def draw(rng: Rng, length: int) -> bytes:
    """Return *length* octets from *rng*; ValueError when it gives another number."""
    octets = rng(length)
    if len(octets) != length:
        raise ValueError(f"the random source gave {len(octets)} octets instead of {length}")
    return octets


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SigningKey:
    """A long-term private key; ``private`` is for storage, in the form ``Suite.load_signing_key`` takes."""

    suite: str
    public: bytes
    private: bytes = field(repr=False)
    signer: Callable[[bytes], bytes] = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """Return the signature of *message*, as many octets as the suite's ``signature_length``."""
        return self.signer(message)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AgreementKey:
    """One side's ephemeral part of a key agreement; ``public`` is its share on the wire."""

    public: bytes
    exchanger: Callable[[bytes], bytes] = field(repr=False)

    def exchange(self, peer: bytes) -> bytes:
        """Return the secret shared with *peer*'s sender; HandshakeRejected("bad-share") when it is none."""
        return self.exchanger(peer)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SealingKey:
    """A private key that opens what was sealed to ``public``; ``private`` is for storage."""

    suite: str
    public: bytes
    private: bytes = field(repr=False)
    handle: Any = field(repr=False)


class Suite(ABC):
    """One choice of signature, key agreement and sealing. Lengths are in octets and fixed for the suite.

    Those of the shares may depend on the parameters that the suite was given.
    """

    name: ClassVar[str]
    wire_id: ClassVar[int]
    signing_public_length: ClassVar[int]
    signing_private_length: ClassVar[int]
    """Of the octets that ``load_signing_key`` takes."""
    sealing_public_length: ClassVar[int]
    signature_length: ClassVar[int]
    offer_length: int
    answer_length: int

    def with_parameters(self, base: bytes, modulus: bytes) -> Suite:
        """Return this suite with Diffie-Hellman over b and M, big-endian, in place of its own.

        Raises ParametersRejected: "no-parameters" in a suite that has none, the reasons of ``ffdh.group``.
        """
        del base, modulus
        raise ParametersRejected("no-parameters", f"suite {self.name} takes no Diffie-Hellman parameters")

    @abstractmethod
    def generate_signing_key(self, rng: Rng) -> SigningKey:
        """Return a new key made of *rng*'s octets alone."""

    @abstractmethod
    def load_signing_key(self, octets: bytes) -> SigningKey:
        """Return the key whose ``private`` octets are *octets*; ValueError when they are none."""

    @abstractmethod
    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        """Return if *signature* is *public*'s of *message*.

        Raises SignatureRejected: "bad-public-key" or "bad-signature".
        """

    @abstractmethod
    def generate_agreement_key(self, rng: Rng) -> AgreementKey:
        """Return the opening side's ephemeral key, used once and dropped."""

    def answer_agreement(self, offer: bytes, rng: Rng) -> tuple[bytes, bytes]:
        """Return the answering side's share, and the secret it shares with whoever sent *offer*.

        Apart from ``generate_agreement_key``, because a KEM's second side encapsulates and has no key pair.
        Raises HandshakeRejected("bad-share").
        """
        key = self.generate_agreement_key(rng)
        return key.public, key.exchange(offer)

    @abstractmethod
    def generate_sealing_key(self, rng: Rng) -> SealingKey:
        """Return a new key made of *rng*'s octets alone."""

    @abstractmethod
    def load_sealing_key(self, octets: bytes) -> SealingKey:
        """Return the key whose ``private`` octets are *octets*; ValueError when they are none."""

    @abstractmethod
    def seal(self, public: bytes, plaintext: bytes, info: bytes) -> bytes:
        """Return *plaintext* encrypted to *public* and bound to *info*; SealRejected("bad-public-key")."""

    @abstractmethod
    def sealed_length(self, length: int) -> int:
        """Return how many octets come of sealing *length* octets."""

    @abstractmethod
    def open(self, key: SealingKey, octets: bytes, info: bytes) -> bytes:
        """Return what was sealed to *key* under *info*.

        Raises SealRejected("cannot-open") without saying why, for the why would be an oracle; ValueError
        for a key of another suite.
        """


class HpkeSuite(Suite):
    """A suite that seals with HPKE (RFC 9180), base mode: encapsulated key, then ciphertext and tag."""

    hpke: ClassVar[Any]
    encapsulated_length: ClassVar[int]

    @abstractmethod
    def sealing_public_key(self, octets: bytes) -> Any:
        """Return the library's key; ValueError when *octets* are none."""

    def seal(self, public: bytes, plaintext: bytes, info: bytes) -> bytes:
        """See ``Suite.seal``. The ephemeral key comes from the library's own random source."""
        try:
            # A point of small order loads and only fails in the exchange, so both stand under the try.
            return bytes(self.hpke.encrypt(plaintext, self.sealing_public_key(public), info))
        except ValueError:
            raise SealRejected("bad-public-key") from None

    def sealed_length(self, length: int) -> int:
        """See ``Suite.sealed_length``."""
        return self.encapsulated_length + length + _TAG_OCTETS

    def open(self, key: SealingKey, octets: bytes, info: bytes) -> bytes:
        """See ``Suite.open``."""
        if key.suite != self.name:
            raise ValueError(f"a sealing key of suite {key.suite} does not open what {self.name} sealed")
        try:
            return bytes(self.hpke.decrypt(octets, key.handle, info))
        except (InvalidTag, ValueError):
            raise SealRejected("cannot-open") from None
