from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.handshake_kit import Parties, answered, handmade_answer, offered, refused
from tests.transport.security_kit import flipped, seeded
from transport.errors import HandshakeRejected
from transport.security.handshake import Initiator, Responder
from transport.security.handshake_states import State
from transport.security.suites import SUITES, suite

EACH_SUITE = pytest.mark.parametrize("kind", SUITES)
SIGNATURE, MAC = slice(-80, -16), slice(-16, None)


@EACH_SUITE
@pytest.mark.parametrize("message", [0, 1, 2])
def test_no_altered_message_makes_a_session(kind: str, message: int) -> None:
    """One bit altered in any octet of any message ends in a refusal; the honest next attempt succeeds."""
    parties = Parties(kind)
    for at in range(len(parties.run().messages[message])):
        initiator, m1 = offered(parties)
        responder = parties.responder()
        if message == 0:
            try:
                m2 = responder.receive(flipped(m1, at))
            except HandshakeRejected:
                continue
            assert m2 is not None
            assert refused(initiator, m2) == "bad-signature"
            continue
        m2 = responder.receive(m1)
        assert m2 is not None
        if message == 1:
            refused(initiator, flipped(m2, at))
        else:
            refused(responder, flipped(initiator.receive(m2), at))
    assert parties.run().initiator.state is State.ESTABLISHED


@EACH_SUITE
def test_cut_and_lengthened_messages_are_refused(kind: str) -> None:
    """Every prefix of a message, and a message with an octet behind it, is refused for what it is."""
    parties = Parties(kind)
    m1, m2, m3 = parties.run().messages
    for message in (m1, m2, m3):
        for wrong in [*(message[:length] for length in range(len(message))), message + b"\0"]:
            initiator, fresh = offered(parties)
            responder, _ = answered(parties, fresh)
            waiting: dict[bytes, Initiator | Responder] = {
                m1: parties.responder(),
                m2: initiator,
                m3: responder,
            }
            side = waiting[message]
            short = {0: "unknown-message", 1: "wrong-suite" if message == m1 else "bad-length"}
            assert refused(side, wrong) == short.get(len(wrong), "bad-length")


@EACH_SUITE
@pytest.mark.parametrize("part", [SIGNATURE, MAC], ids=["signature", "mac"])
def test_signature_and_mac_are_both_needed(kind: str, part: slice) -> None:
    """A side that can sign but not confirm the key, or confirm but not sign, proves nothing."""
    parties = Parties(kind)
    reason = "bad-confirmation" if part == MAC else "bad-signature"
    initiator, m1 = offered(parties)
    _, m2 = answered(parties, m1)
    assert refused(initiator, m2.replace(m2[part], bytes(len(m2[part])))) == reason
    initiator, m1 = offered(parties)
    responder, m2 = answered(parties, m1)
    m3 = initiator.receive(m2)
    assert refused(responder, m3.replace(m3[part], bytes(len(m3[part])))) == reason


@EACH_SUITE
def test_reflection(kind: str) -> None:
    """A side's own message, share or nonce sent back to it is refused."""
    parties = Parties(kind)
    initiator, m1 = offered(parties)
    assert refused(initiator, m1) == "out-of-order"
    for own in (slice(2, 18), slice(18, None)):
        initiator, m1 = offered(parties)
        _, m2 = answered(parties, m1)
        at = own.start - 1
        assert refused(initiator, m2[:at] + m1[own] + m2[at + len(m1[own]) :]) == "reflected"
    _, m1 = offered(parties)
    responder, m2 = answered(parties, m1)
    assert refused(responder, m2) == "out-of-order"
    _, m1 = offered(parties)
    responder, m2 = answered(parties, m1)
    # the supplier's own proof, dressed as the module's
    assert refused(responder, b"\x13" + m2[-80:]) == "bad-signature"


@EACH_SUITE
def test_replay_of_an_old_session(kind: str) -> None:
    """No message of a finished session is good in another one."""
    parties = Parties(kind)
    old_m1, old_m2, old_m3 = parties.run().messages
    initiator, _ = offered(parties)
    assert refused(initiator, old_m2) == "bad-signature"
    responder, _ = answered(parties, old_m1)  # nothing is proven by m1: it is answered, and no more
    assert refused(responder, old_m3) == "bad-signature"


@EACH_SUITE
def test_splice_of_two_sessions(kind: str) -> None:
    """Head, signature and MAC of two answers to the same offer, or two proofs, do not mix."""
    parties = Parties(kind)
    for first, second, third in [(0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 1)]:
        initiator, m1 = offered(parties)
        answers = [answered(parties, m1)[1] for _ in range(2)]
        refused(initiator, answers[first][:-80] + answers[second][SIGNATURE] + answers[third][MAC])
    initiator, m1 = offered(parties)
    (responder, m2), (other, _) = answered(parties, m1), answered(parties, m1)
    m3 = initiator.receive(m2)
    assert refused(other, m3) == "bad-signature"
    responder.receive(m3)
    assert responder.keys == initiator.keys


TERMS_THAT_DIFFER = [
    {"initiator": b"8988211000000000026"},
    {"responder": b"shop"},
    {"tar": bytes.fromhex("b20101")},
    {"key_index": 2},
]


@EACH_SUITE
@pytest.mark.parametrize("changes", TERMS_THAT_DIFFER, ids=lambda changes: next(iter(changes)))
def test_sides_with_different_terms_make_no_session(kind: str, changes: dict[str, Any]) -> None:
    """Who, with whom, for which resource and keyset: where the two sides differ, the first proof fails."""
    parties = Parties(kind)
    initiator, m1 = offered(parties)
    _, m2 = answered(parties, m1, **changes)
    assert refused(initiator, m2) == "bad-signature"
    initiator, m1 = offered(parties, **changes)
    _, m2 = answered(parties, m1)
    assert refused(initiator, m2) == "bad-signature"


@pytest.mark.parametrize(("ours", "theirs"), [("x25519", "p256"), ("p256", "x25519")])
def test_downgrade_to_another_suite(ours: str, theirs: str) -> None:
    """An offer of another suite is refused by name; and claiming our suite for it only makes it misshapen."""
    _, m1 = offered(Parties(theirs))
    assert refused(Parties(ours).responder(), m1) == "wrong-suite"
    claimed = m1[:1] + bytes([suite(ours).wire_id]) + m1[2:]
    assert refused(Parties(ours).responder(), claimed) == "bad-length"


def test_another_form_is_no_message_of_ours() -> None:
    """The first octet names form and step: that of another form is unknown here."""
    _, m1 = offered(Parties("x25519"))
    assert refused(Parties("x25519").responder(), b"\x21" + m1[1:]) == "unknown-message"


@EACH_SUITE
def test_unknown_key_share(kind: str) -> None:
    """A rogue with a registered key of his own cannot put himself between two honest sides.

    He offers the module's share as his own to the supplier, or passes the supplier's answer on as his own:
    whoever checks expects another's signature, or another's name under it.
    """
    parties, rogue = Parties(kind), suite(kind).generate_signing_key(seeded(66))
    # The supplier believes that he talks with the rogue; the module, that it talks with the supplier.
    initiator, m1 = offered(parties)
    misled = Responder(
        replace(parties.terms, initiator=b"rogue"), parties.supplier, rogue.public, parties.rng
    )
    m2 = misled.receive(m1)
    assert m2 is not None
    assert refused(initiator, m2) == "bad-signature"
    assert refused(misled, b"\x13" + rogue.sign(b"anything") + bytes(16)) == "bad-signature"
    # The module believes that it talks with the rogue, who passes the supplier's answer on under his name.
    terms = replace(parties.terms, responder=b"rogue")
    initiator = Initiator(terms, parties.module, rogue.public, parties.rng)
    m2 = parties.responder().receive(initiator.start())
    assert m2 is not None
    assert refused(initiator, m2) == "bad-signature"


@EACH_SUITE
def test_identity_misbinding_by_a_borrowed_key(kind: str) -> None:
    """Registering the supplier's public key under another name does not make his answers that name's."""
    parties = Parties(kind)
    misled = replace(parties.terms, responder=b"rogue")
    initiator = Initiator(misled, parties.module, parties.supplier.public, parties.rng)
    _, m2 = answered(parties, initiator.start())
    assert refused(initiator, m2) == "bad-signature"


@EACH_SUITE
def test_a_rogue_who_has_one_long_term_key_cannot_pose_as_the_other_side(kind: str) -> None:
    """Whoever steals the module's key can pose as the module, but not, to the module, as the supplier."""
    parties = Parties(kind)
    initiator, m1 = offered(parties)
    agreement = suite(kind).answer_agreement(m1[18:], seeded(9))
    thief = parties.module
    m2, _ = handmade_answer(parties.terms, thief, parties.module.public, m1, agreement)
    assert refused(initiator, m2) == "bad-signature"


def test_degenerate_shares() -> None:
    """A share that fixes the secret is refused, from an unproven offer and from a supplier who signed it."""
    parties = Parties("x25519")
    _, m1 = offered(parties)
    assert refused(parties.responder(), m1[:18] + bytes(32)) == "bad-share"
    initiator, m1 = offered(parties)
    fixed = (bytes(32), bytes(32))
    m2, _ = handmade_answer(parties.terms, parties.supplier, parties.module.public, m1, fixed)
    assert refused(initiator, m2) == "bad-share"


def test_points_off_the_curve() -> None:
    """A P-256 share that is no point is refused."""
    _, m1 = offered(Parties("p256"))
    assert refused(Parties("p256").responder(), m1[:18] + b"\2" + b"\xff" * 32) == "bad-share"


def test_a_registered_key_that_is_none() -> None:
    """A peer whose registered key is degenerate never proves himself, whatever he signs."""
    parties = Parties("x25519")
    initiator = Initiator(parties.terms, parties.module, b"\1" + bytes(31), parties.rng)
    _, m2 = answered(parties, initiator.start())
    assert refused(initiator, m2) == "bad-public-key"


@EACH_SUITE
@settings(max_examples=50, deadline=None)
@given(octets=st.binary(max_size=140), tag=st.sampled_from([b"", b"\x11\1", b"\x11\2", b"\x12", b"\x13"]))
def test_arbitrary_octets_make_no_session(kind: str, octets: bytes, tag: bytes) -> None:
    """Arbitrary octets to a side that waits are refused in kind, or at most answered as an offer."""
    parties = Parties(kind)
    initiator, m1 = offered(parties)
    refused(initiator, tag + octets)
    refused(answered(parties, m1)[0], tag + octets)
    responder = parties.responder()
    try:
        responder.receive(tag + octets)
    except HandshakeRejected:
        assert responder.state is State.DEAD
    else:
        assert responder.state is State.ANSWERED
