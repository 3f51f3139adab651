"""The forms of secure connection written anew from the descriptions of their octets.

What one computes who has a recording and some secret: the hashes of what was said, what the signatures and
MACs are of, and the keys that a secret gives.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from tests.transport.handshake_kit import TAR, UA, Parties, fields, steps
from transport.security.framing import framed
from transport.security.suites import suite
from transport.security.terms import (
    DOMAIN_ASYMMETRIC,
    DOMAIN_FORMS,
    DOMAIN_SYMMETRIC,
    INITIATOR,
    KEY_TRANSPORT,
    RESPONDER,
    SIGN_THEN_AGREE,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.transport.handshake_kit import Case, Person

WAYS = ("KIc to module", "KID to module", "KIc from module", "KID from module")


def label(case: Case, what: str) -> str:
    """Return the label of *what* in this form."""
    return f"otafleet/1 {case.form} {what}"


def hashed(case: Case, what: str, *parts: bytes) -> bytes:
    """Return SHA-256 of *parts* under a label."""
    return sha256(framed(label(case, what), *parts)).digest()


def told(case: Case) -> bytes:
    """Return the terms as both sides hash them."""
    own = case.suite if case.form in DOMAIN_FORMS else case.suite_of(INITIATOR)
    names = (case.form, case.suite, own, case.suite_of(RESPONDER))
    rest = (UA, b"bank", TAR, b"\x01", b"aes-128", b"", b"", b"news")
    return framed("otafleet/1 terms", *(name.encode() for name in names), *rest)


def expanded(key: bytes, info: bytes, length: int) -> bytes:
    """Return HKDF-Expand of RFC 5869 section 2.3 for up to 32 octets."""
    return hmac.new(key, info + b"\x01", sha256).digest()[:length]


def public_keys(parties: Parties) -> tuple[bytes, bytes]:
    """Return what stands for the module's and the supplier's keys in the first hash."""
    case, module, supplier = parties.case, parties.module, parties.supplier
    if case.form == KEY_TRANSPORT:
        return pair(case, module), pair(case, supplier)
    key = parties.domain_key
    if case.form == DOMAIN_SYMMETRIC:
        hint = expanded(key.secret, framed("otafleet/1 domain key", b"identity"), 32)
        return framed("otafleet/1 symmetric domain key", b"\0\0\0\1", hint), supplier.signing.public
    if case.form == DOMAIN_ASYMMETRIC:
        name = case.suite_of(INITIATOR).encode()
        shown = framed("otafleet/1 asymmetric domain key", b"\0\0\0\1", name, key.public)
        return shown, supplier.signing.public
    return module.signing.public, supplier.signing.public


def pair(case: Case, who: Person) -> bytes:
    """Return both public keys of *who*."""
    return framed(label(case, "keys"), who.signing.public, who.sealing.public)


class Said(NamedTuple):
    """The hashes of a recording: what each message's proof is of, and which of them the keys come from."""

    proofs: tuple[bytes, ...]
    keys_of: bytes


def said(parties: Parties, messages: Sequence[bytes]) -> Said:
    """Return the hashes of the recorded *messages*."""
    case = parties.case
    heads = [unproven(case, step, message) for step, message in enumerate(messages)]
    first = hashed(case, "transcript 1", told(case), *public_keys(parties), messages[0], heads[1])
    if case.form != SIGN_THEN_AGREE:
        return Said((b"", first, hashed(case, "transcript 2", first, messages[1])), first)
    second = hashed(case, "transcript 2", first, messages[1], heads[2])
    third = hashed(case, "transcript 3", second, messages[2], heads[3])
    return Said((b"", first, second, third, hashed(case, "transcript 4", third, messages[3])), third)


def unproven(case: Case, step: int, message: bytes) -> bytes:
    """Return *message* up to what proves it."""
    layout = fields(case, step)
    proof = layout.get("signature") or layout.get("mac")
    return message[: proof.start] if proof else message


def whole_secret(parties: Parties, secret: bytes) -> bytes:
    """Return what the keys come from, of what the two sides have agreed on."""
    case = parties.case
    if case.form != DOMAIN_SYMMETRIC:
        return secret
    joins = expanded(parties.domain_key.secret, framed("otafleet/1 domain key", b"handshake"), 32)
    return framed(label(case, "secret"), secret, joins)


def derived(secret: bytes, transcript: bytes, name: str, length: int = 16) -> bytes:
    """Return the key called *name*."""
    root = hmac.new(b"otafleet/1 session", secret, sha256).digest()
    return expanded(root, framed(f"otafleet/1 {name}", transcript), length)


def session_octets(secret: bytes, transcript: bytes) -> bytes:
    """Return the session's keys as ``SessionKeys.dump`` writes them."""
    return b"\x01\x01" + b"".join(derived(secret, transcript, way) for way in WAYS)


def contributions(parties: Parties, messages: Sequence[bytes], *openers: Person) -> list[bytes]:
    """Return the contributions of a key transport that *openers* can open, the module's first."""
    case = parties.case
    keys = {who.sealing.public: who.sealing for who in openers}
    found = []
    for step, role, receiver in ((0, INITIATOR, parties.supplier), (1, RESPONDER, parties.module)):
        key = keys.get(receiver.sealing.public)
        if key is not None:
            where = fields(case, step)["sealed"]
            before = b"".join(messages[:step]) + messages[step][: where.start]
            info = framed(label(case, f"{role} contributes"), told(case), *public_keys(parties), before)
            found.append(suite(key.suite).open(key, messages[step][where], info))
    return found


def agreed(parties: Parties, messages: Sequence[bytes], drawn: Sequence[bytes]) -> bytes:
    """Return what was agreed on, from all that the module drew: its nonce, then what its share is made of."""
    case, draws = parties.case, iter(drawn[1:])
    offers = [step for step in steps(case) if "offer" in fields(case, step)]
    answers = [step for step in steps(case) if "answer" in fields(case, step)]
    key = suite(case.suite).generate_agreement_key(lambda _: next(draws))
    assert key.public == messages[offers[0]][fields(case, offers[0])["offer"]]
    return key.exchange(messages[answers[0]][fields(case, answers[0])["answer"]])
