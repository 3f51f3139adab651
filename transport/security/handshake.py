"""The form ``agree-then-sign``: key agreement first, then each side signs all that was said.

Octets of each message, for ``x25519`` and ``p256``::

    m1  module to supplier   11 | suite | nonce 16 | share              50, 51
    m2  supplier to module   12 | nonce 16 | share | signature | MAC   129, 130
    m3  module to supplier   13 | signature | MAC                       81, 81

    T1 = SHA-256(label | terms | module's key | supplier's key | m1 | m2 up to its share)
    T2 = SHA-256(label | T1 | m2)
    keys      = HKDF(shared secret; a label for each, T1)
    signature = each side's long-term key over (label with the role | T1 in m2, T2 in m3)
    MAC       = HMAC-SHA-256, first 16 octets, under that side's confirmation key,
                over (label with the role | T1 in m2, T2 in m3 | signature)

The terms are form, suite, the suites that each side signs in, both identities, TAR, keyset index and the
protection of its packets; ``framed`` makes each of these hashes and signed strings injective.

Why it holds, against one who owns the network, opens as many sessions as he likes under keys of his own,
and may have the long-term keys of anyone but the two sides in question. Assumed: signatures cannot be
forged, the gap Diffie-Hellman problem is hard in the suite's group, HKDF is a random oracle, SHA-256 has no
collisions, nonces of 16 octets do not repeat.

* *Agreement.* A side has keys only after a signature by the peer's registered key over its own fresh nonce
  and share, its own idea of the terms, and its role. So the peer ran this form, in the other role, for this
  TAR, with us, with the same shares: the secrets are the same, and every run accepted has a run of its own
  on the other side.
* *Unknown key share, identity misbinding.* Both identities and both public keys are under both signatures.
  One who strips a signature and puts his own there, or who registers the other's public key under his own
  name, changes T1, and neither side can be led to hold a key that it takes to be shared with somebody else.
* *Key confirmation both ways.* A MAC under a key that only the secret gives stands in m2 and in m3, a
  different key for each side. Whoever signs has also shown that it has KS; a signing oracle alone passes
  neither check.
* *No key before proof.* ``keys`` is empty until signature and MAC have been checked, in this order; the
  module does not touch its ephemeral key for a share that is not signed. The supplier derives before m3
  comes, to make his MAC, but gives nothing out. The session layer must not end an old session before
  ``keys`` is there, or an unproven m1 would end it.
* *Reflection.* The messages of the two sides have different first octets, their signatures and MACs different
  labels and keys, identities and long-term keys must differ, and a share or nonce that comes back is refused.
* *Replay.* An old m1 gets a fresh m2 for which there is no m3. An old m2 or m3 signs another nonce and share.
* *Splice.* T2 holds the whole of m2, T1 the whole of m1: parts of two runs never make one that both accept.
* *Downgrade.* Nothing is chosen on the air. Suite and form are in T1 from each side's own terms, so the
  only effect of altering the suite octet in m1 is a refusal; it is there to give that refusal its name.
* *Degenerate shares.* Those that make the secret independent of us (X25519's all-zero results; points not
  on P-256) are refused by the suite. Each side's keys also depend on its own nonce through T1.
* *Cross-protocol.* Every signed string starts with a label of its own; no certificate, sealed message or
  command is a handshake signature, nor the other way round.
* *Forward secrecy.* Ephemeral keys and secrets are let go as soon as they are used (Python cannot wipe
  them). One who gets the long-term keys later opens no recorded session; one who gets a side's long-term
  key now can pose as that side but not, to that side, as another.

Not claimed: deniability, or hiding from an observer that two parties speak. When m3 is lost the module has
keys that the supplier has not: its first packet fails, and the module opens a new session, which costs no
security. There are no retransmissions here; the same octets may be sent again by whoever carries them.

``HandshakeRejected.reason`` is one of: unknown-message, out-of-order, wrong-suite, bad-length, reflected,
bad-share, bad-public-key, bad-signature, bad-confirmation.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from transport.errors import HandshakeRejected
from transport.security.framing import framed
from transport.security.handshake_side import Side
from transport.security.handshake_states import ANSWER_TAG, OFFER_TAG, PROOF_TAG, State
from transport.security.keyset import KeySchedule, derive_keys
from transport.security.suite_base import draw
from transport.security.terms import INITIATOR, RESPONDER

if TYPE_CHECKING:
    from transport.security.suites import AgreementKey, Rng, SigningKey
    from transport.security.terms import Terms

NONCE_OCTETS: Final = 16
MAC_OCTETS: Final = 16
_LABEL: Final = "otafleet/1 agree-then-sign "


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """What the opening side keeps between m1 and m2."""

    message: bytes
    key: AgreementKey = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What the answering side keeps between m2 and m3."""

    transcript: bytes
    schedule: KeySchedule = field(repr=False)


class _AgreeThenSign(Side):
    """What both sides of this form hash, sign and prove."""

    def _first_transcript(self, initiator: bytes, responder: bytes, offer: bytes, answer: bytes) -> bytes:
        return _hash("transcript 1", self._terms.encode(), initiator, responder, offer, answer)

    def _prove(self, role: str, transcript: bytes, confirmation_key: bytes) -> bytes:
        """Return our signature and MAC of *transcript*."""
        signature = self._signing_key.sign(_signed(role, transcript))
        return signature + _mac(role, confirmation_key, transcript, signature)

    def _check_signature(self, role: str, transcript: bytes, signature: bytes) -> None:
        self._peer_suite.verify(self._peer_public, _signed(role, transcript), signature)


def _hash(label: str, *fields: bytes) -> bytes:
    return sha256(framed(_LABEL + label, *fields)).digest()


def _signed(role: str, transcript: bytes) -> bytes:
    return framed(_LABEL + role + " signs", transcript)


def _mac(role: str, key: bytes, transcript: bytes, signature: bytes) -> bytes:
    message = framed(_LABEL + role + " confirms", transcript, signature)
    return hmac.digest(key, message, "sha256")[:MAC_OCTETS]


def _check_mac(role: str, key: bytes, transcript: bytes, signature: bytes, mac: bytes) -> None:
    if not hmac.compare_digest(mac, _mac(role, key, transcript, signature)):
        raise HandshakeRejected("bad-confirmation")


class Initiator(_AgreeThenSign):
    """The opening side, the module: ``start`` gives m1, ``receive`` takes m2 and gives m3; then ``keys``.

    *peer_public* is the supplier's signing key from DEF. ValueError when *signing_key* is of another suite
    than the terms give the initiator, or is the peer's too.
    """

    own_role = INITIATOR
    peer_role = RESPONDER

    def __init__(self, terms: Terms, signing_key: SigningKey, peer_public: bytes, rng: Rng) -> None:
        super().__init__(terms, signing_key, peer_public, rng, State.READY)
        self._offer: _Offer | None = None

    def start(self) -> bytes:
        """Return m1; ValueError when called a second time."""
        after = self._begin()
        nonce = draw(self._rng, NONCE_OCTETS)
        key = self._suite.generate_agreement_key(self._rng)
        message = OFFER_TAG + bytes([self._suite.wire_id]) + nonce + key.public
        self._offer = _Offer(message=message, key=key)
        self._state = after
        return message

    def receive(self, octets: bytes) -> bytes:
        """Take m2, return m3; HandshakeRejected, and no session ever, when it does not hold."""
        return self._react(octets, self._take_answer)

    def _take_answer(self, octets: bytes) -> bytes:
        assert self._offer is not None
        offer, kind = self._offer, self._suite
        lengths = (
            len(ANSWER_TAG),
            NONCE_OCTETS,
            kind.answer_length,
            self._peer_suite.signature_length,
            MAC_OCTETS,
        )
        tag, nonce, share, signature, mac = self._cut(octets, *lengths)
        if share == offer.key.public or nonce == offer.message[2 : 2 + NONCE_OCTETS]:
            raise HandshakeRejected("reflected")
        own, peer = self._signing_key.public, self._peer_public
        first = self._first_transcript(own, peer, offer.message, tag + nonce + share)
        self._check_signature(RESPONDER, first, signature)
        schedule = derive_keys(
            offer.key.exchange(share), first, self._terms.key_index, self._terms.protection
        )
        _check_mac(RESPONDER, schedule.responder_confirms, first, signature, mac)
        proof = self._prove(INITIATOR, _hash("transcript 2", first, octets), schedule.initiator_confirms)
        self._keys = schedule.session
        return PROOF_TAG + proof

    def _forget(self) -> None:
        self._offer = None


class Responder(_AgreeThenSign):
    """The answering side, the supplier: ``receive`` takes m1 and gives m2, then takes m3; then ``keys``.

    *peer_public* is the module's signing key from the operator's activation. ValueError as for ``Initiator``.
    """

    own_role = RESPONDER
    peer_role = INITIATOR

    def __init__(self, terms: Terms, signing_key: SigningKey, peer_public: bytes, rng: Rng) -> None:
        super().__init__(terms, signing_key, peer_public, rng, State.LISTENING)
        self._answer: _Answer | None = None

    def receive(self, octets: bytes) -> bytes | None:
        """Take m1 and return m2, or take m3 and return None.

        Raises HandshakeRejected, and there is no session ever, when the message does not hold.
        """
        act = self._take_offer if self._state is State.LISTENING else self._take_proof
        return self._react(octets, act)

    def _take_offer(self, octets: bytes) -> bytes:
        kind = self._suite
        if octets[1:2] != bytes([kind.wire_id]):
            raise HandshakeRejected("wrong-suite")
        share = self._cut(octets, len(OFFER_TAG) + 1, NONCE_OCTETS, kind.offer_length)[2]
        nonce = draw(self._rng, NONCE_OCTETS)
        answer_share, secret = kind.answer_agreement(share, self._rng)
        head = ANSWER_TAG + nonce + answer_share
        own, peer = self._signing_key.public, self._peer_public
        first = self._first_transcript(peer, own, octets, head)
        schedule = derive_keys(secret, first, self._terms.key_index, self._terms.protection)
        message = head + self._prove(RESPONDER, first, schedule.responder_confirms)
        self._answer = _Answer(transcript=_hash("transcript 2", first, message), schedule=schedule)
        return message

    def _take_proof(self, octets: bytes) -> None:
        assert self._answer is not None
        answer = self._answer
        lengths = (len(PROOF_TAG), self._peer_suite.signature_length, MAC_OCTETS)
        _, signature, mac = self._cut(octets, *lengths)
        self._check_signature(INITIATOR, answer.transcript, signature)
        _check_mac(INITIATOR, answer.schedule.initiator_confirms, answer.transcript, signature, mac)
        self._keys = answer.schedule.session

    def _forget(self) -> None:
        if self._state is not State.ANSWERED:
            self._answer = None
