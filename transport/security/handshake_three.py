"""The flow of three messages: offer, answer with the supplier's proof, the module's proof.

The order of judgement is the same in all its forms: who signed, before a private key is used on what came;
then the secret; then whether the other has the keys too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from transport.errors import HandshakeRejected
from transport.security.handshake_method import MAC_OCTETS, NONCE_OCTETS
from transport.security.handshake_side import Side, Step
from transport.security.handshake_states import Event, State
from transport.security.terms import INITIATOR, RESPONDER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from transport.security.handshake_method import Method
    from transport.security.keyset import KeySchedule

_HEAD = 2 + NONCE_OCTETS
"""Tag, suite and nonce of the first message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """What the opening side keeps between m1 and m2."""

    message: bytes
    secret: object = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What the answering side keeps between m2 and m3."""

    transcript: bytes
    schedule: KeySchedule = field(repr=False)


def _proof(method: Method, transcript: bytes, key: bytes) -> bytes:
    """Return our signature, if we sign in this form, and MAC of *transcript*."""
    signature = method.sign(f"{method.role} signs", transcript)
    return signature + method.confirm(method.role, key, transcript, signature)


class ThreeInitiator(Side):
    """The opening side: ``start`` gives m1, ``receive`` takes m2 and gives m3; then there are keys."""

    begins = State.READY

    def _offer(self, _octets: bytes, _kept: None) -> Step:
        method = self._method
        head = method.opening(Event.OFFER)
        contribution, secret = method.offer(head)
        message = head + contribution
        return Step(message=message, kept=_Offer(message=message, secret=secret))

    def _take_answer(self, octets: bytes, kept: _Offer) -> Step:
        method, offer = self._method, kept.message
        lengths = (NONCE_OCTETS, method.answer_length, method.peer_signature_length, MAC_OCTETS)
        nonce, contribution, signature, mac = method.cut(octets, *lengths)
        if nonce == offer[2:_HEAD] or contribution == offer[_HEAD:]:
            raise HandshakeRejected("reflected")
        head = octets[: 1 + NONCE_OCTETS]
        first = method.first_transcript(offer, head + contribution)
        method.check_signature(f"{RESPONDER} signs", first, signature)
        schedule = method.schedule(method.finish(kept.secret, contribution, head=offer + head), first)
        method.check_confirmation(schedule.responder_confirms, first, signature, mac)
        second = method.hash("transcript 2", first, octets)
        proof = _proof(method, second, schedule.initiator_confirms)
        return Step(message=method.tag(Event.PROOF) + proof, keys=schedule.session)

    acts: ClassVar[Mapping[Event, Callable[[Any, bytes, Any], Step]]] = {
        Event.START: _offer,
        Event.ANSWER: _take_answer,
    }


class ThreeResponder(Side):
    """The answering side: ``receive`` takes m1 and gives m2, then takes m3; then there are keys."""

    begins = State.LISTENING

    def _take_offer(self, octets: bytes, _kept: None) -> Step:
        method = self._method
        (offer,) = method.cut_opening(octets, method.offer_length)
        head = method.tag(Event.ANSWER) + method.nonce()
        contribution, secret = method.answer(offer, offer_head=octets[:_HEAD], head=octets + head)
        first = method.first_transcript(octets, head + contribution)
        schedule = method.schedule(secret, first)
        message = head + contribution + _proof(method, first, schedule.responder_confirms)
        kept = _Answer(transcript=method.hash("transcript 2", first, message), schedule=schedule)
        return Step(message=message, kept=kept)

    def _take_proof(self, octets: bytes, kept: _Answer) -> Step:
        method = self._method
        signature, mac = method.cut(octets, method.peer_signature_length, MAC_OCTETS)
        method.check_signature(f"{INITIATOR} signs", kept.transcript, signature)
        method.check_confirmation(kept.schedule.initiator_confirms, kept.transcript, signature, mac)
        return Step(message=None, keys=kept.schedule.session)

    acts: ClassVar[Mapping[Event, Callable[[Any, bytes, Any], Step]]] = {
        Event.OFFER: _take_offer,
        Event.PROOF: _take_proof,
    }
