"""What a recording gives away: the octets as documented, and who can open it with which keys later."""

from __future__ import annotations

import gc
import hmac
import itertools
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.transport.handshake_by_hand import (
    agreed,
    contributions,
    derived,
    label,
    public_keys,
    said,
    session_octets,
    whole_secret,
)
from tests.transport.handshake_kit import (
    CASES,
    Case,
    Parties,
    Person,
    contribution_field,
    converse,
    each_case,
    fields,
    has_keys,
    refused,
    steps,
)
from transport.errors import HandshakeRejected
from transport.security.framing import framed
from transport.security.handshake import FORWARD_SECRET
from transport.security.suite_base import AgreementKey
from transport.security.suite_x25519 import X25519Suite
from transport.security.suites import suite
from transport.security.terms import (
    DOMAIN_ASYMMETRIC,
    DOMAIN_SYMMETRIC,
    FORM_NUMBERS,
    INITIATOR,
    KEY_TRANSPORT,
    RESPONDER,
    SIGN_THEN_AGREE,
)

if TYPE_CHECKING:
    from transport.security.domain_key import DomainKey
    from transport.security.suites import Rng


class Recording(NamedTuple):
    """All that went over the air in one session, and what came of it."""

    parties: Parties
    messages: list[bytes]
    keys: bytes
    drawn: list[bytes]
    """What the module drew: its ephemeral randomness, which nobody but the tests can know."""


def recorded(case: Case) -> Recording:
    """Return a session with what the module drew for it."""
    parties, drawn = Parties(case), list[bytes]()
    answering = parties.responder()
    source = parties.rng

    def noted(length: int) -> bytes:
        drawn.append(source(length))
        return drawn[-1]

    parties.rng = noted
    opening = parties.initiator()
    messages = converse(opening, answering)
    return Recording(parties, messages, opening.keys.dump(), drawn)


def secret_of(recording: Recording) -> bytes:
    """Return what the session's keys come from, computed by one who has all there is."""
    parties, messages = recording.parties, recording.messages
    if parties.case.form == KEY_TRANSPORT:
        both = contributions(parties, messages, parties.module, parties.supplier)
        return framed(label(parties.case, "secret"), *both)
    return whole_secret(parties, agreed(parties, messages, recording.drawn))


PURPOSES = {
    SIGN_THEN_AGREE: ("", "responder signs", "initiator signs", "responder agrees", ""),
    DOMAIN_SYMMETRIC: ("", "responder signs", ""),
}


@each_case
def test_the_octets_are_as_documented(case: Case) -> None:
    """Signatures, MACs and keys of a session are those computed by hand from the forms' descriptions."""
    recording = recorded(case)
    parties = recording.parties
    hashes, secret = said(parties, recording.messages), secret_of(recording)
    for step, message in enumerate(recording.messages):
        layout = fields(case, step)
        role, who = ((INITIATOR, parties.module), (RESPONDER, parties.supplier))[step % 2]
        purpose = PURPOSES.get(case.form, ("", "responder signs", "initiator signs"))[step]
        signature = b""
        if purpose:
            signature = message[layout["signature"]]
            public = who.signing.public
            if case.form == DOMAIN_ASYMMETRIC and role == INITIATOR:
                public = parties.domain_key.public
            signed = framed(label(case, purpose), hashes.proofs[step])
            suite(case.suite_of(role)).verify(public, signed, signature)
        if "mac" in layout:
            key = derived(secret, hashes.keys_of, f"{role} confirms", 32)
            confirmed = framed(label(case, f"{role} confirms"), hashes.proofs[step], signature)
            assert message[layout["mac"]] == hmac.digest(key, confirmed, "sha256")[:16]
    assert session_octets(secret, hashes.keys_of) == recording.keys


# Later compromise


class Thief(NamedTuple):
    """One who has recorded a session and later gets hold of long-term keys."""

    stolen: tuple[Person, ...]
    domain_key: DomainKey | None = None

    def candidates(self, recording: Recording) -> set[bytes]:
        """Return everything he has that could be a secret: keys, fields, and keys agreed with shares."""
        parties, case = recording.parties, recording.parties.case
        seen = {
            message[where]
            for step, message in enumerate(recording.messages)
            for where in fields(case, step).values()
        }
        privates = {key.private for who in self.stolen for key in who}
        publics = {key.public for who in self.stolen for key in who} | set(public_keys(parties))
        shares = [
            recording.messages[step][fields(case, step)[name]]
            for step in steps(case)
            if (name := contribution_field(case, step))
        ]
        agreements = {
            secret for private in privates for share in shares for secret in exchanges(case, private, share)
        }
        opened = set[bytes]()
        if case.form == KEY_TRANSPORT:
            opened = set(contributions(parties, recording.messages, *self.stolen))
        of_domain = set[bytes]()
        if self.domain_key is not None:
            of_domain.add(self.domain_key.secret)
        if case.form == DOMAIN_SYMMETRIC and self.domain_key is not None:
            of_domain |= {self.domain_key.derive("handshake"), self.domain_key.derive("identity")}
        return seen | privates | publics | agreements | opened | of_domain | {b""}

    def opens(self, recording: Recording, *more: bytes) -> bool:
        """Try every candidate and every pair of them as the session's secret, with *more* that he is told."""
        transcript = said(recording.parties, recording.messages).keys_of
        known = self.candidates(recording) | set(more)
        what = label(recording.parties.case, "secret")
        pairs = (framed(what, *pair) for pair in itertools.permutations(known, 2))
        return any(
            session_octets(secret, transcript) == recording.keys for secret in itertools.chain(known, pairs)
        )


def exchanges(case: Case, private: bytes, share: bytes) -> list[bytes]:
    """Return what a long-term private key agrees on with *share*, if they are of one group."""
    # What x25519 draws for a key is the key itself; p256 draws 48 octets, and adds 1 to them.
    less_one = (int.from_bytes(private, "big") - 1).to_bytes(max(48, len(private)), "big")
    found = []
    for octets in (private, less_one):
        with suppress(HandshakeRejected, ValueError):
            key = suite(case.suite).generate_agreement_key(lambda _, drawn=octets: drawn)  # type: ignore[misc]
            found.append(key.exchange(share))
    return found


ALONE = [case for case in CASES if not case.module]
PURE = pytest.mark.parametrize("case", ALONE, ids=str)


def thief_of_all(recording: Recording) -> Thief:
    """Return one who gets everything that outlives a session."""
    parties = recording.parties
    return Thief((parties.module, parties.supplier), parties.domain_key)


@PURE
def test_forward_secrecy_is_as_promised(case: Case) -> None:
    """All long-term keys, and DK, got later open a recorded session where FORWARD_SECRET does not promise."""
    recording = recorded(case)
    assert thief_of_all(recording).opens(recording) == (case.form not in FORWARD_SECRET)


@pytest.mark.parametrize("case", [case for case in ALONE if case.form != KEY_TRANSPORT], ids=str)
def test_what_was_forgotten_would_have_opened_it(case: Case) -> None:
    """The same attempt succeeds with the forgotten ephemeral secret: it is this that the thief lacks."""
    recording = recorded(case)
    ephemeral = agreed(recording.parties, recording.messages, recording.drawn)
    assert thief_of_all(recording).opens(recording, ephemeral)
    # With DK in the schedule, not even the ephemeral secret is enough without it.
    without = Thief((recording.parties.module, recording.parties.supplier))
    assert without.opens(recording, ephemeral) == (case.form != DOMAIN_SYMMETRIC)


@PURE
@pytest.mark.parametrize("who", [0, 1], ids=["module", "supplier"])
def test_one_side_alone_opens_no_recording(case: Case, who: int) -> None:
    """One side's long-term keys open no recorded session in any form, the key transport included."""
    recording = recorded(case)
    stolen = (recording.parties.module, recording.parties.supplier)[who]
    assert not Thief((stolen,), recording.parties.domain_key).opens(recording)


# What is forgotten


class Watched:
    """An ephemeral key's working part, of which one can see whether somebody still has it."""

    def __init__(self, key: AgreementKey) -> None:
        self.key = key

    def __call__(self, peer: bytes) -> bytes:
        """Exchange as the key does."""
        return self.key.exchange(peer)


@pytest.mark.parametrize("form", [form for form in FORM_NUMBERS if form != KEY_TRANSPORT])
def test_an_ephemeral_key_does_not_outlive_its_attempt(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When an attempt is over, be it with a session or with a refusal, nobody holds its ephemeral key."""
    parties = Parties(Case(form, "x25519"))
    generate = X25519Suite.generate_agreement_key
    seen: list[weakref.ref[Watched]] = []

    def watched(kind: X25519Suite, rng: Rng) -> AgreementKey:
        key = generate(kind, rng)
        working = Watched(key)
        seen.append(weakref.ref(working))
        return AgreementKey(public=key.public, exchanger=working)

    monkeypatch.setattr(X25519Suite, "generate_agreement_key", watched)
    answer = next(step for step in steps(parties.case) if "answer" in fields(parties.case, step))
    for spoil in (False, True):
        seen.clear()
        held = parties.held(answer)
        opening = held.receiver
        ours = seen[0]
        assert ours() is not None
        if spoil:
            refused(opening, held.message + b"\0")
        else:
            opening.receive(held.message)
        gc.collect()
        assert ours() is None
        assert has_keys(opening) is not spoil
