"""The flow of five messages: who the supplier is, who the module is and its share, his share, both proofs.

Three questions, as the air has it: the module calls with m1, m2 is answered by m3, m4 by m5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from transport.errors import HandshakeRejected
from transport.security.handshake_method import MAC_OCTETS, NONCE_OCTETS
from transport.security.handshake_side import Side, Step
from transport.security.handshake_states import Event, State
from transport.security.terms import INITIATOR, RESPONDER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from transport.security.keyset import KeySchedule

_RESPONDS: Final = f"{RESPONDER} signs"
_OFFERS: Final = f"{INITIATOR} signs"
_ANSWERS: Final = f"{RESPONDER} agrees"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Challenge:
    """What the opening side keeps between m1 and m2."""

    message: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Response:
    """What the answering side keeps between m2 and m3."""

    transcript: bytes
    message: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """What the opening side keeps between m3 and m4."""

    transcript: bytes
    message: bytes
    share: bytes
    secret: object = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What the answering side keeps between m4 and m5."""

    transcript: bytes
    schedule: KeySchedule = field(repr=False)


class FiveInitiator(Side):
    """The opening side: ``start`` gives m1, m2 gives m3, m4 gives m5; then there are keys."""

    begins = State.READY

    def _challenge(self, _octets: bytes, _kept: None) -> Step:
        message = self._method.opening(Event.CHALLENGE)
        return Step(message=message, kept=_Challenge(message=message))

    def _take_response(self, octets: bytes, kept: _Challenge) -> Step:
        method = self._method
        nonce, signature = method.cut(octets, NONCE_OCTETS, method.peer_signature_length)
        if nonce == kept.message[2:]:
            raise HandshakeRejected("reflected")
        first = method.first_transcript(kept.message, octets[: 1 + NONCE_OCTETS])
        method.check_signature(_RESPONDS, first, signature)
        share, secret = method.offer(b"")
        head = method.tag(Event.OFFER) + share
        second = method.hash("transcript 2", first, octets, head)
        message = head + method.sign(_OFFERS, second)
        offer = _Offer(transcript=second, message=message, share=share, secret=secret)
        return Step(message=message, kept=offer)

    def _take_answer(self, octets: bytes, kept: _Offer) -> Step:
        method = self._method
        lengths = (method.answer_length, method.peer_signature_length, MAC_OCTETS)
        share, signature, mac = method.cut(octets, *lengths)
        if share == kept.share:
            raise HandshakeRejected("reflected")
        third = method.hash("transcript 3", kept.transcript, kept.message, octets[: 1 + len(share)])
        method.check_signature(_ANSWERS, third, signature)
        schedule = method.schedule(method.finish(kept.secret, share, head=b""), third)
        method.check_confirmation(schedule.responder_confirms, third, signature, mac)
        fourth = method.hash("transcript 4", third, octets)
        proof = method.confirm(INITIATOR, schedule.initiator_confirms, fourth, b"")
        return Step(message=method.tag(Event.PROOF) + proof, keys=schedule.session)

    acts: ClassVar[Mapping[Event, Callable[[Any, bytes, Any], Step]]] = {
        Event.START: _challenge,
        Event.RESPONSE: _take_response,
        Event.ANSWER: _take_answer,
    }


class FiveResponder(Side):
    """The answering side: m1 gives m2, m3 gives m4, then it takes m5; then there are keys."""

    begins = State.LISTENING

    def _take_challenge(self, octets: bytes, _kept: None) -> Step:
        method = self._method
        method.cut_opening(octets)
        head = method.tag(Event.RESPONSE) + method.nonce()
        first = method.first_transcript(octets, head)
        message = head + method.sign(_RESPONDS, first)
        return Step(message=message, kept=_Response(transcript=first, message=message))

    def _take_offer(self, octets: bytes, kept: _Response) -> Step:
        method = self._method
        offer, signature = method.cut(octets, method.offer_length, method.peer_signature_length)
        second = method.hash("transcript 2", kept.transcript, kept.message, octets[: 1 + len(offer)])
        method.check_signature(_OFFERS, second, signature)
        share, secret = method.answer(offer, offer_head=b"", head=b"")
        head = method.tag(Event.ANSWER) + share
        third = method.hash("transcript 3", second, octets, head)
        schedule = method.schedule(secret, third)
        signed = method.sign(_ANSWERS, third)
        message = head + signed + method.confirm(RESPONDER, schedule.responder_confirms, third, signed)
        fourth = method.hash("transcript 4", third, message)
        return Step(message=message, kept=_Answer(transcript=fourth, schedule=schedule))

    def _take_proof(self, octets: bytes, kept: _Answer) -> Step:
        method = self._method
        (mac,) = method.cut(octets, MAC_OCTETS)
        method.check_confirmation(kept.schedule.initiator_confirms, kept.transcript, b"", mac)
        return Step(message=None, keys=kept.schedule.session)

    acts: ClassVar[Mapping[Event, Callable[[Any, bytes, Any], Step]]] = {
        Event.CHALLENGE: _take_challenge,
        Event.OFFER: _take_offer,
        Event.PROOF: _take_proof,
    }
