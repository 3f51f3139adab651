"""What a form does at each message, apart from the order of messages: hash, sign, confirm, come to a secret.

A ``Method`` belongs to one side of one attempt and never changes; the flows (``handshake_three``,
``handshake_five``) call it, and a form overrides what is its own.
"""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar, Final

from transport.errors import HandshakeRejected
from transport.security.framing import cut, framed
from transport.security.handshake_credentials import Credentials, check_credentials
from transport.security.handshake_states import TAGS, Event
from transport.security.keyset import KeySchedule, derive_keys
from transport.security.suite_base import AgreementKey, draw
from transport.security.suites import Rng, SigningKey, suite, suite_for
from transport.security.terms import INITIATOR, RESPONDER, Terms

if TYPE_CHECKING:
    from collections.abc import Sequence

NONCE_OCTETS: Final = 16
MAC_OCTETS: Final = 16
PEER: Final = {INITIATOR: RESPONDER, RESPONDER: INITIATOR}


class Method(ABC):
    """One side's terms, credentials and randomness, and what it makes of them in its form.

    ValueError when credentials are lacking or do not fit the terms, and when both sides have the same key;
    ParametersRejected when the terms' b and M are nothing to agree with.
    """

    form: ClassVar[str]
    signers: ClassVar[frozenset[str]] = frozenset({INITIATOR, RESPONDER})
    """Who signs; the other proves itself by what it knows."""

    def __init__(self, terms: Terms, role: str, credentials: Credentials, rng: Rng) -> None:
        assert terms.form == self.form, "the front takes the method by the terms' form"
        check_credentials(terms, role, credentials)
        self.role, self.peer_role = role, PEER[role]
        self.terms, self.suite = terms, suite_for(terms.suite, terms.dh_base, terms.dh_modulus)
        self._credentials = credentials
        self._rng = rng
        self._signing_key = self._own_signing_key()
        peer_suite, self._peer_public = self._peer_signing_public()
        self._peer_suite = suite(peer_suite)
        if self._signing_key is not None and self._signing_key.public == self._peer_public:
            raise ValueError("both sides have the same signing key")
        self._bound = terms.encode(), self._keys_of(INITIATOR), self._keys_of(RESPONDER)

    # Whose keys

    def _own_signing_key(self) -> SigningKey | None:
        return self._credentials.signing_key

    def _peer_signing_public(self) -> tuple[str, bytes]:
        """Return the suite and public key that the peer's signatures verify under."""
        return self.terms.signing_suite(self.peer_role), self._credentials.peer_signing_public

    def _keys_of(self, role: str) -> bytes:
        """Return what stands for the long-term key of *role* in the transcript."""
        if role == self.peer_role:
            return self._peer_public
        assert self._signing_key is not None
        return self._signing_key.public

    # Hashes, signatures and confirmations

    def hash(self, label: str, *fields: bytes) -> bytes:
        """Return the hash of *fields* under a label of this form."""
        return sha256(framed(f"otafleet/1 {self.form} {label}", *fields)).digest()

    def first_transcript(self, offer: bytes, answer: bytes) -> bytes:
        """Return T1: the terms, who is who, the first message and the second up to what proves it."""
        return self.hash("transcript 1", *self._bound, offer, answer)

    def sign(self, purpose: str, transcript: bytes) -> bytes:
        """Return our signature of *transcript* for *purpose*; empty in a role that does not sign."""
        if self.role not in self.signers:
            return b""
        assert self._signing_key is not None
        return self._signing_key.sign(self._labelled(purpose, transcript))

    def check_signature(self, purpose: str, transcript: bytes, signature: bytes) -> None:
        """Return if the peer signed; SignatureRejected. A peer who does not sign is not asked to."""
        if self.peer_role in self.signers:
            self._peer_suite.verify(self._peer_public, self._labelled(purpose, transcript), signature)

    @property
    def peer_signature_length(self) -> int:
        """How long the peer's signatures are; 0 when it makes none."""
        return self._peer_suite.signature_length if self.peer_role in self.signers else 0

    def confirm(self, role: str, key: bytes, transcript: bytes, signature: bytes) -> bytes:
        """Return the MAC by which *role* shows that it has the session's keys."""
        message = self._labelled(f"{role} confirms", transcript, signature)
        return hmac.digest(key, message, "sha256")[:MAC_OCTETS]

    def check_confirmation(self, key: bytes, transcript: bytes, signature: bytes, mac: bytes) -> None:
        """Return if *mac* is the peer's; HandshakeRejected("bad-confirmation")."""
        if not hmac.compare_digest(mac, self.confirm(self.peer_role, key, transcript, signature)):
            raise HandshakeRejected("bad-confirmation")

    def _labelled(self, purpose: str, *fields: bytes) -> bytes:
        return framed(f"otafleet/1 {self.form} {purpose}", *fields)

    # Messages

    def nonce(self) -> bytes:
        """Return a fresh nonce."""
        return draw(self._rng, NONCE_OCTETS)

    def tag(self, event: Event) -> bytes:
        """Return the first octet of a message."""
        return TAGS[self.form, event]

    def opening(self, event: Event) -> bytes:
        """Return how the first message of an attempt begins: tag, suite, nonce."""
        return self.tag(event) + bytes([self.suite.wire_id]) + self.nonce()

    def cut(self, octets: bytes, *lengths: int) -> Sequence[bytes]:
        """Return what follows the tag in pieces of *lengths*; HandshakeRejected("bad-length")."""
        pieces = cut(octets, (1, *lengths))
        if pieces is None:
            raise HandshakeRejected("bad-length", f"{len(octets)} octets instead of {1 + sum(lengths)}")
        return pieces[1:]

    def cut_opening(self, octets: bytes, *lengths: int) -> Sequence[bytes]:
        """Return what follows tag, suite and nonce; HandshakeRejected: "wrong-suite", "bad-length"."""
        if octets[1:2] != bytes([self.suite.wire_id]):
            raise HandshakeRejected("wrong-suite")
        return self.cut(octets, 1, NONCE_OCTETS, *lengths)[2:]

    # The secret, which each side contributes to. *head* is what its message says before the contribution.

    @property
    @abstractmethod
    def offer_length(self) -> int:
        """How long the opening side's contribution is as it travels."""

    @property
    @abstractmethod
    def answer_length(self) -> int:
        """How long the answering side's contribution is as it travels."""

    @abstractmethod
    def offer(self, head: bytes) -> tuple[bytes, object]:
        """Return the opening side's contribution as it travels, and what ``finish`` takes."""

    @abstractmethod
    def answer(self, offer: bytes, *, offer_head: bytes, head: bytes) -> tuple[bytes, bytes]:
        """Return the answering side's contribution as it travels, and the secret; Rejected."""

    @abstractmethod
    def finish(self, kept: object, answer: bytes, *, head: bytes) -> bytes:
        """Return the secret on the opening side; Rejected."""

    def schedule(self, secret: bytes, transcript: bytes) -> KeySchedule:
        """Return all keys that come of *secret* and *transcript*."""
        return derive_keys(secret, transcript, self.terms.key_index, self.terms.protection)


class Agreement(Method):
    """A form whose secret is a key agreement's, by ephemeral keys of the suite that the terms name."""

    @property
    def offer_length(self) -> int:
        """The octets of the opening side's share."""
        return self.suite.offer_length

    @property
    def answer_length(self) -> int:
        """The octets of the answering side's share."""
        return self.suite.answer_length

    def offer(self, head: bytes) -> tuple[bytes, object]:  # noqa: ARG002 -- a share stands by itself
        """See ``Method.offer``; what is kept is the ephemeral key."""
        key = self.suite.generate_agreement_key(self._rng)
        return key.public, key

    def answer(self, offer: bytes, *, offer_head: bytes, head: bytes) -> tuple[bytes, bytes]:  # noqa: ARG002 -- likewise
        """See ``Method.answer``; HandshakeRejected("bad-share")."""
        return self.suite.answer_agreement(offer, self._rng)

    def finish(self, kept: object, answer: bytes, *, head: bytes) -> bytes:  # noqa: ARG002 -- likewise
        """See ``Method.finish``; HandshakeRejected("bad-share")."""
        assert isinstance(kept, AgreementKey)
        return kept.exchange(answer)
