"""Two parties that may shake hands, and a supplier written anew from the description of the octets."""

from __future__ import annotations

import hmac
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.transport.security_kit import seeded
from transport.errors import HandshakeRejected
from transport.security.framing import framed
from transport.security.handshake import Initiator, Responder
from transport.security.handshake_states import State
from transport.security.keyset import SessionKeys, derive_keys
from transport.security.suites import SigningKey, suite
from transport.security.terms import AGREE_THEN_SIGN, Terms

if TYPE_CHECKING:
    from transport.security.suites import Rng

UA, SUPPLIER, TAR = b"8988211000000000018", b"bank", bytes.fromhex("b20100")


class Run(NamedTuple):
    """A finished handshake: both sides and the three messages."""

    initiator: Initiator
    responder: Responder
    messages: tuple[bytes, bytes, bytes]


class Parties:
    """A module and a supplier who know each other's keys, and any number of attempts between them."""

    def __init__(self, kind: str, seed: int = 0, *, module: str = "", supplier: str = "") -> None:
        self.rng: Rng = seeded(seed)
        self.terms = Terms(
            suite=kind,
            form=AGREE_THEN_SIGN,
            initiator=UA,
            responder=SUPPLIER,
            tar=TAR,
            initiator_suite=module,
            responder_suite=supplier,
        )
        self.module = suite(module or kind).generate_signing_key(self.rng)
        self.supplier = suite(supplier or kind).generate_signing_key(self.rng)

    def initiator(self, **changes: object) -> Initiator:
        """Return a module's side, its terms but for *changes*."""
        return Initiator(replace(self.terms, **changes), self.module, self.supplier.public, self.rng)  # type: ignore[arg-type]

    def responder(self, **changes: object) -> Responder:
        """Return a supplier's side, its terms but for *changes*."""
        return Responder(replace(self.terms, **changes), self.supplier, self.module.public, self.rng)  # type: ignore[arg-type]

    def run(self) -> Run:
        """Return an honest attempt, carried through."""
        initiator, responder = self.initiator(), self.responder()
        m1 = initiator.start()
        m2 = responder.receive(m1)
        assert m2 is not None
        m3 = initiator.receive(m2)
        assert responder.receive(m3) is None
        return Run(initiator, responder, (m1, m2, m3))


def handmade_answer(
    terms: Terms, key: SigningKey, module_public: bytes, m1: bytes, share_and_secret: tuple[bytes, bytes]
) -> tuple[bytes, SessionKeys]:
    """Return m2 and the session's keys, from the description in the handshake's documentation alone."""
    label = "otafleet/1 agree-then-sign "
    share, secret = share_and_secret
    head = b"\x12" + bytes(range(16)) + share
    form, kind = terms.form.encode(), terms.suite.encode()
    index = bytes([terms.key_index])
    told = framed(
        "otafleet/1 terms",
        form,
        kind,
        kind,
        kind,
        terms.initiator,
        terms.responder,
        terms.tar,
        index,
        b"aes-128",
    )
    first = sha256(framed(label + "transcript 1", told, module_public, key.public, m1, head)).digest()
    schedule = derive_keys(secret, first, terms.key_index)
    signature = key.sign(framed(label + "responder signs", first))
    proof = framed(label + "responder confirms", first, signature)
    mac = hmac.new(schedule.responder_confirms, proof, sha256).digest()[:16]
    return head + signature + mac, schedule.session


def refused(side: Initiator | Responder, octets: bytes) -> str:
    """Let *side* receive what it must refuse; it ends dead and without keys. Return the reason."""
    with pytest.raises(HandshakeRejected) as caught:
        side.receive(octets)
    assert side.state is State.DEAD
    with pytest.raises(ValueError, match="no session keys"):
        _ = side.keys
    return caught.value.reason


def offered(parties: Parties, **changes: object) -> tuple[Initiator, bytes]:
    """Return a module's side that has sent its m1, and m1."""
    initiator = parties.initiator(**changes)
    return initiator, initiator.start()


def answered(parties: Parties, m1: bytes, **changes: object) -> tuple[Responder, bytes]:
    """Return a supplier's side that has answered *m1*, and m2."""
    responder = parties.responder(**changes)
    m2 = responder.receive(m1)
    assert m2 is not None
    return responder, m2
