"""One who owns the network: what he drops, alters, cuts, repeats, reorders, reflects and splices."""

from __future__ import annotations

from copy import copy
from itertools import permutations
from typing import TYPE_CHECKING, Final

import pytest

from tests.transport.handshake_kit import (
    CASES,
    CONTRIBUTION,
    SMALLEST,
    Case,
    Parties,
    altered,
    contribution_field,
    converse,
    each_case,
    fields,
    finish,
    has_keys,
    meddled,
    positions,
    put,
    refused,
    steps,
)
from transport.errors import HandshakeRejected
from transport.security.ffdh import named_group
from transport.security.handshake_states import MESSAGES, TAGS, State
from transport.security.suite_base import AgreementKey, Suite
from transport.security.suite_p256 import P256Suite
from transport.security.suite_rsa_ffdh import Rsa2048FfdhSuite
from transport.security.suite_x25519 import X25519Suite
from transport.security.suites import ALL_SUITES, suite
from transport.security.terms import FORM_NUMBERS, KEY_TRANSPORT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.transport.handshake_kit import Held

STEPS = [(case, step) for case in CASES for step in steps(case)]
each_step = pytest.mark.parametrize(("case", "step"), STEPS, ids=str)


def reasons(case: Case, step: int, field: str) -> set[str]:
    """Return what may be said of a message whose *field* is not what was sent."""
    if field in _REASONS:
        return _REASONS[field]
    if step:
        return {"bad-signature"}
    # Nothing in a first message is proven: what is wrong with it shows when the other side's proof comes, if
    # it does not show in itself.
    if case.form == KEY_TRANSPORT:
        return {"cannot-open"}
    return {"bad-signature", "bad-share"} if field == "offer" else {"bad-signature"}


_REASONS = {
    "tag": {"unknown-message", "wrong-form", "out-of-order"},
    "suite": {"wrong-suite"},
    "signature": {"bad-signature"},
    "mac": {"bad-confirmation"},
}


@each_step
def test_a_lost_message(case: Case, step: int) -> None:
    """Who has not heard enough has no keys; the next attempt succeeds, and so does this one when it comes."""
    parties = Parties(case)
    held = parties.held(step)
    assert has_keys(held.sender) == (step == steps(case)[-1])
    assert not has_keys(held.receiver)
    assert parties.run().initiator.state is State.ESTABLISHED
    finish(held)


@each_step
def test_no_altered_message_makes_a_session(case: Case, step: int) -> None:
    """A bit turned in any octet is refused for its field's reason; the message as it was sent then passes."""
    parties = Parties(case)
    held = parties.held(step)
    for field, where in fields(case, step).items():
        for at in positions(held.message, where):
            for octets in altered(held.message, at):
                assert meddled(held, octets) in reasons(case, step, field), (field, at)
    finish(held)
    assert parties.run().initiator.state is State.ESTABLISHED


@each_step
def test_fields_of_zeros(case: Case, step: int) -> None:
    """A message with any of its fields wiped is refused for that field's reason."""
    held = Parties(case).held(step)
    for field, where in fields(case, step).items():
        wiped = put(held.message, where, bytes(where.stop - where.start))
        expected = {"bad-share", "cannot-open"} if field in {"offer", "sealed"} and not step else set()
        assert meddled(held, wiped) in reasons(case, step, field) | expected, field
    finish(held)


@each_step
def test_cut_and_lengthened_messages_are_refused(case: Case, step: int) -> None:
    """Every prefix of a message, and a message with octets behind it, is refused for what it is."""
    parties = Parties(case)
    held = parties.held(step)
    message = held.message
    lengths = sorted({at for where in fields(case, step).values() for at in positions(message, where)})
    for wrong in [*(message[:length] for length in lengths), message + b"\0", message + message]:
        short = {0: "unknown-message", 1: "bad-length" if step else "wrong-suite"}
        assert refused(copy(held.receiver), wrong) == short.get(len(wrong), "bad-length")
    finish(held)
    assert parties.run().initiator.state is State.ESTABLISHED


@each_step
def test_a_message_that_comes_twice(case: Case, step: int) -> None:
    """The second coming is out of order: it ends an attempt that is under way, and no session that stands."""
    held = Parties(case).held(step)
    receiver = held.receiver
    receiver.receive(held.message)
    stood = receiver.state is State.ESTABLISHED
    with pytest.raises(HandshakeRejected, match="out-of-order"):
        receiver.receive(held.message)
    assert has_keys(receiver) == stood


@each_case
def test_messages_out_of_their_turn(case: Case) -> None:
    """Any message of this or of another attempt at a turn that is not its own is out of order."""
    parties = Parties(case)
    old = parties.run().messages
    for step in steps(case):
        held = parties.held(step)
        for turn in set(steps(case)) - {step}:
            assert meddled(held, old[turn]) == "out-of-order"
        for message in held.messages[:-1]:
            assert meddled(held, message) == "out-of-order"
        finish(held)


@each_step
def test_replay_of_an_old_session(case: Case, step: int) -> None:
    """No message of a finished session is good in another one."""
    parties = Parties(case)
    old = parties.run().messages
    held = parties.held(step)
    # An old first message is answered, for nothing in it is proven; it is the new initiator who refuses.
    last_is_mac_only = "signature" not in fields(case, step) and step > 0
    assert meddled(held, old[step]) == ("bad-confirmation" if last_is_mac_only else "bad-signature")
    finish(held)


@each_case
def test_a_whole_old_session_played_to_a_supplier(case: Case) -> None:
    """The module's part of an old session, played again without the module, ends at its first proof."""
    parties = Parties(case)
    old = parties.run().messages
    answering = parties.responder()
    assert answering.receive(old[0]) is not None
    proof = fields(case, 2)
    assert refused(answering, old[2]) == ("bad-signature" if "signature" in proof else "bad-confirmation")
    assert parties.run().responder.state is State.ESTABLISHED


@each_step
def test_splice_of_two_sessions(case: Case, step: int) -> None:
    """Fields of two sessions under way between the same two parties, in any mixture, make no session."""
    parties = Parties(case)
    held, other = parties.held(step), parties.held(step)
    layout = {name: where for name, where in fields(case, step).items() if name not in {"tag", "suite"}}
    for mixed in mixtures(held, other, list(layout.values())):
        assert meddled(held, mixed) in {"bad-signature", "bad-confirmation", "cannot-open"}
    finish(held)
    finish(other)
    assert held.sender.keys != other.sender.keys


def mixtures(held: Held, other: Held, layout: list[slice]) -> Iterator[bytes]:
    """Return the message of *held* with one or more of its fields, up to all, taken from *other*'s."""
    for chosen in range(1, 1 << len(layout)):
        octets = held.message
        for number, where in enumerate(layout):
            if chosen >> number & 1:
                octets = put(octets, where, other.message[where])
        yield octets


@each_case
def test_sessions_whose_messages_cross(case: Case) -> None:
    """Two attempts at once, all messages of the one carried into the other: neither makes a session."""
    parties = Parties(case)
    for step in steps(case):
        held, other = parties.held(step), parties.held(step)
        expected = {"bad-signature", "bad-confirmation"}
        assert meddled(held, other.message) in expected
        assert meddled(other, held.message) in expected


# Reflection


@each_step
def test_a_message_sent_back(case: Case, step: int) -> None:
    """A side's own message, sent back to it, is out of order."""
    held = Parties(case).held(step)
    sender = held.sender
    stood = sender.state is State.ESTABLISHED
    with pytest.raises(HandshakeRejected, match="out-of-order"):
        sender.receive(held.message)
    assert has_keys(sender) == stood


@each_case
def test_own_nonces_and_contributions_sent_back(case: Case) -> None:
    """A nonce or contribution of the module's that comes back as the supplier's is refused as reflected."""
    parties = Parties(case)
    for step in [step for step in steps(case) if step % 2]:
        held = parties.held(step)
        ours = {
            field: octets for message in range(0, step, 2) for field, octets in said_in(case, held, message)
        }
        theirs = fields(case, step)
        for field in {"nonce", contribution_field(case, step)} & set(theirs):
            octets = ours["nonce" if field == "nonce" else "contribution"]
            if len(octets) == theirs[field].stop - theirs[field].start:
                assert meddled(held, put(held.message, theirs[field], octets)) == "reflected"
        finish(held)


def said_in(case: Case, held: Held, step: int) -> Iterator[tuple[str, bytes]]:
    """Return nonce and contribution of a message that has been sent."""
    layout = fields(case, step)
    for field in ("nonce", contribution_field(case, step)):
        if field in layout:
            yield ("nonce" if field == "nonce" else "contribution"), held.messages[step][layout[field]]


@each_case
def test_a_proof_sent_back_as_the_other_sides(case: Case) -> None:
    """The supplier's own proof, dressed as the module's, is none."""
    parties = Parties(case)
    for step in [step for step in steps(case) if step and step % 2 == 0]:
        held = parties.held(step)
        theirs, ours = fields(case, step), fields(case, step - 1)
        both = held.message
        for field in ("mac", "signature"):
            own = held.messages[step - 1][ours[field]] if field in ours else b""
            if field in theirs and len(own) == theirs[field].stop - theirs[field].start:
                both = put(both, theirs[field], own)
                assert meddled(held, put(held.message, theirs[field], own)) in reasons(case, step, field)
                assert meddled(held, both) in reasons(case, step, field)
        finish(held)


# Downgrade, and confusion of suites and forms


@pytest.mark.parametrize(("ours", "theirs"), list(permutations(ALL_SUITES, 2)))
@pytest.mark.parametrize("form", FORM_NUMBERS)
def test_downgrade_to_another_suite(form: str, ours: str, theirs: str) -> None:
    """An opening of another suite is refused by name; claiming ours for it makes no session either."""
    module, supplier = Parties(Case(form, theirs)), Parties(Case(form, ours), seed=1)
    held = module.held(0, answering=supplier.responder())
    assert meddled(held, held.message) == "wrong-suite"
    claimed = put(held.message, slice(1, 2), bytes([suite(ours).wire_id]))
    assert meddled(held, claimed) in {"bad-length", "bad-share", "cannot-open", "bad-signature"}
    # and the other way round: the suite of an opening talked down on its way
    held = supplier.held(0)
    lowered = put(held.message, slice(1, 2), bytes([suite(theirs).wire_id]))
    assert meddled(held, lowered) == "wrong-suite"
    finish(held)


@pytest.mark.parametrize(("ours", "theirs"), list(permutations(FORM_NUMBERS, 2)))
def test_messages_of_another_form(ours: str, theirs: str) -> None:
    """A message of another form, between the same two parties, is refused by name in every state."""
    case, other = Case(ours, SMALLEST), Case(theirs, SMALLEST)
    foreign = Parties(other).run().messages
    for step in steps(case):
        held = Parties(case).held(step)
        for message in foreign:
            assert meddled(held, message) == "wrong-form"
        finish(held)


@pytest.mark.parametrize(("ours", "theirs"), list(permutations(FORM_NUMBERS, 2)))
def test_a_translator_between_two_forms(ours: str, theirs: str) -> None:
    """Module and supplier hold different forms, and somebody writes the one's messages as the other's.

    Where the messages have the same fields, only the labels under signatures and MACs tell them apart.
    """
    opening = Parties(Case(ours, SMALLEST)).initiator()
    answering = Parties(Case(theirs, SMALLEST), seed=1).responder()

    def translated(step: int, octets: bytes) -> bytes:
        form = ours if step % 2 else theirs
        return TAGS[form, MESSAGES[form][min(step, len(MESSAGES[form]) - 1)]] + octets[1:]

    with pytest.raises(HandshakeRejected) as caught:
        converse(opening, answering, translated)
    assert caught.value.reason in {"bad-length", "bad-signature", "cannot-open"}
    assert not has_keys(opening)
    assert not has_keys(answering)


# Contributions that are none


M: Final = named_group(2048).modulus
NO_SHARES: Final[dict[str, tuple[type[Suite], bytes]]] = {
    "x25519-zero": (X25519Suite, bytes(32)),
    "x25519-one": (X25519Suite, b"\1" + bytes(31)),
    "p256-off-the-curve": (P256Suite, b"\2" + b"\xff" * 32),
    "ffdh-zero": (Rsa2048FfdhSuite, bytes(256)),
    "ffdh-one": (Rsa2048FfdhSuite, (1).to_bytes(256, "big")),
    "ffdh-minus-one": (Rsa2048FfdhSuite, (M - 1).to_bytes(256, "big")),
}


@pytest.mark.parametrize(("kind", "share"), NO_SHARES.values(), ids=list(NO_SHARES))
@pytest.mark.parametrize("form", [form for form in FORM_NUMBERS if form != KEY_TRANSPORT])
def test_a_share_that_is_none(
    form: str, kind: type[Suite], share: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share that fixes the secret, or is no element, is refused from both sides, even when it is signed."""
    parties = Parties(Case(form, kind.name))
    offer, answer = (
        next(step for step in steps(parties.case) if field in fields(parties.case, step))
        for field in ("offer", "answer")
    )
    dishonest = AgreementKey(public=share, exchanger=lambda _: bytes(32))
    with monkeypatch.context() as patch:
        patch.setattr(kind, "generate_agreement_key", lambda *_: dishonest)
        held = parties.held(offer)
    assert refused(held.receiver, held.message) == "bad-share"
    with monkeypatch.context() as patch:
        patch.setattr(kind, "answer_agreement", lambda *_: (share, bytes(32)))
        held = parties.held(answer)
    assert refused(held.receiver, held.message) == "bad-share"
    assert parties.run().initiator.state is State.ESTABLISHED


@pytest.mark.parametrize("kind", ALL_SUITES)
def test_a_contribution_sealed_for_something_else(kind: str) -> None:
    """What was sealed to the supplier for another purpose, or by nobody, is no contribution."""
    parties = Parties(Case(KEY_TRANSPORT, kind))
    held = parties.held(0)
    for info in (b"", b"otafleet/1 sealed"):
        sealed = suite(kind).seal(parties.supplier.sealing.public, bytes(CONTRIBUTION), info)
        assert meddled(held, put(held.message, fields(parties.case, 0)["sealed"], sealed)) == "cannot-open"
    finish(held)
