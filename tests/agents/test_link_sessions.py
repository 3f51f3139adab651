"""Sessions between roles: how they begin, what travels in them, how they end, and what they cost."""

from __future__ import annotations

import pytest

from agents.directory import Party
from agents.errors import MessageRejected
from agents.link_session import COUNTER_WINDOW, LINK_TAR, SECURED, Window
from agents.link_sessions import HALF_OPEN, HALF_OPEN_S, NOTICE_S
from agents.link_ways import SEALED, LinkForms
from agents.messages.link import LinkQuestion, LinkReply
from tests.agents.link_kit import (
    ASKER,
    CASES,
    MIXED,
    OTHER,
    PATIENCE_S,
    QUESTION,
    REFERENCE,
    REPLY,
    SMALL,
    THIRD,
    Case,
    Street,
    but,
    each_form,
    keys_of,
    letter,
    noticed,
    packet_in,
    parsed,
    refused,
    renewed,
    said_in,
    steps,
)
from transport.errors import CertificateRejected
from transport.secured_packet import TCP, parse_header
from transport.security.terms import FORM_NUMBERS

CASE = SMALL[0]


@pytest.mark.parametrize("case", [*CASES, *MIXED], ids=str)
def test_every_form_in_every_suite(case: Case) -> None:
    """Two roles of any suites make a session in the form's messages, and ask and reply in it."""
    street = Street(case)
    assert street.session() is None
    messages = street.shake()
    assert len(messages) == len(steps(case))
    assert {said_in(octets)[0] >> 4 for octets in messages} == {FORM_NUMBERS[case.form]}
    assert street.session() == parsed(messages[0]).label
    assert street.converses()


@each_form
def test_what_is_asked_is_a_command_packet(case: Case) -> None:
    """A question is a packet of TS 102 225 with checksum, ciphering and a counter, and so is its reply."""
    street = Street(case)
    street.shake()
    question, reply = street.ask(), street.reply()
    for octets, kind, said in ((question, LinkQuestion, QUESTION), (reply, LinkReply, REPLY)):
        assert isinstance(parsed(octets), kind)
        header = parse_header(packet_in(octets), TCP)
        assert (header.spi, header.tar, header.keyset) == (SECURED, LINK_TAR, 1)
        assert header.spi.meets(0x16)
        assert said not in octets
        assert REFERENCE not in octets


def test_both_ask_first_at_the_same_time() -> None:
    """Each asker's session is its own: two openings that cross make two sessions, and both are of use."""
    street = Street(CASE)
    ours, theirs = street.open(), street.open(OTHER, ASKER)
    street.shake(OTHER, ASKER, first=theirs)
    street.shake(first=ours)
    assert street.session() != street.session(OTHER, ASKER)
    assert street.converses()
    assert street.converses(OTHER, ASKER)


def test_one_role_has_sessions_with_several() -> None:
    """What is asked of one is heard by that one alone; the other's session is another one."""
    street = Street(CASE)
    street.shake()
    street.shake(ASKER, THIRD)
    assert refused(street, THIRD, ASKER, street.ask()) == "no-session"
    assert street.converses()
    assert street.converses(ASKER, THIRD)


# Asked again


def test_the_same_octets_again_are_told_from_new_ones() -> None:
    """A packet that comes again is heard as such, and a reply that comes again is none."""
    street = Street(CASE)
    street.shake()
    question = street.ask()
    assert [street.heard(OTHER, ASKER, question).again for _ in range(3)] == [False, True, True]
    assert not street.heard(OTHER, ASKER, street.ask()).again
    reply = street.reply()
    street.heard(ASKER, OTHER, reply)
    assert refused(street, ASKER, OTHER, reply) == "replayed"


def test_packets_in_any_order() -> None:
    """What overtook is heard, and what it overtook is heard too, once."""
    street = Street(CASE)
    street.shake()
    questions = [street.ask(bytes([number])) for number in range(5)]
    for number in (3, 0, 4, 2, 1):
        heard = street.heard(OTHER, ASKER, questions[number])
        assert (heard.octets, heard.again) == (bytes([number]), False)
    assert all(street.heard(OTHER, ASKER, question).again for question in questions)


def test_a_question_without_room_may_come_again() -> None:
    """A packet that is forgotten is new when it comes again."""
    street = Street(CASE)
    street.shake()
    question = street.ask()
    street.ways[OTHER].forget(street.heard(OTHER, ASKER, question))
    assert not street.heard(OTHER, ASKER, question).again


def test_the_window_of_counters() -> None:
    """Counters are new once, in any order within the window; what is behind it cannot be told any more."""
    window = Window()
    for counter in (1, 3, 2, COUNTER_WINDOW):
        assert not window.has(counter)
        window.hear(counter)
        assert window.has(counter)
    window.hear(COUNTER_WINDOW + 2)
    assert window.has(3)
    assert not window.has(4)
    assert not window.has(COUNTER_WINDOW + 1)
    with pytest.raises(MessageRejected, match="stale"):
        window.has(2)
    window.hear((1 << 40) - 1)
    with pytest.raises(MessageRejected, match="stale"):
        window.has(COUNTER_WINDOW + 2)
    assert not window.has((1 << 40) - 2)


def test_a_question_too_old_to_tell_is_refused() -> None:
    """Far behind the latest counter a packet is refused, be it new or not; the next one is heard."""
    street = Street(CASE)
    street.shake()
    old = street.ask()
    newer = [street.ask() for _ in range(COUNTER_WINDOW)]
    street.heard(OTHER, ASKER, newer[-1])
    assert refused(street, OTHER, ASKER, old) == "stale"
    assert street.converses()


# A new session


@each_form
def test_a_new_session_ends_the_old_one_when_it_is_established(case: Case) -> None:
    """Up to the last message of a handshake the old session is of use; then its packets are none."""
    street = Street(case)
    street.shake()
    before, old = street.session(), street.ask()
    for step in steps(case)[:-1]:
        street.held(step)
        assert street.session() == before
        assert street.converses()
    street.held(steps(case)[-1]).finish()
    assert street.session() != before
    assert refused(street, OTHER, ASKER, old) == "no-session"


def test_a_reply_goes_by_the_session_that_took_its_questions_place() -> None:
    """Asked under one session, a role that is in another meanwhile replies in that, with the reference."""
    street = Street(CASE)
    street.shake()
    question = street.heard(OTHER, ASKER, street.ask())
    street.shake()
    heard = street.heard(ASKER, OTHER, street.reply(reference=question.reference))
    assert (heard.octets, heard.reference) == (REPLY, REFERENCE)


@each_form
def test_one_who_was_asked_and_restarts(case: Case) -> None:
    """Who has lost a session says so, and its asker makes a new one at once: two questions, all in all."""
    street = Street(case)
    street.shake()
    street.restart(OTHER)
    notice = noticed(street, OTHER, ASKER, street.ask())
    street.shake(first=letter(street.take(ASKER, OTHER, notice)))
    assert street.converses()


def test_an_asker_who_restarts() -> None:
    """One who has forgotten his session makes another, which takes the old one's place on the other side."""
    street = Street(CASE)
    street.shake()
    late = street.reply()
    street.restart(ASKER)
    assert refused(street, ASKER, OTHER, late) == "no-session"
    renewed(street)


def test_a_reply_without_a_session_is_not_sent() -> None:
    """Who has no session with the asker any more has nothing to reply in, and keeps what it would say."""
    street = Street(CASE)
    assert street.ways[OTHER].reply(ASKER, REPLY, REFERENCE) == (None, REPLY)
    assert street.ways[OTHER].again(ASKER, REPLY, REFERENCE) is None


# Attempts, and what they may cost


def test_an_attempt_under_way_is_not_begun_again() -> None:
    """Whoever else wants a session waits for the attempt there is, while it is young; then comes another."""
    street = Street(CASE)
    first = street.open()
    way = street.ways[ASKER]
    assert way.open(OTHER, street.now + PATIENCE_S - 0.1, patience_s=PATIENCE_S) is None
    second = way.open(OTHER, street.now + PATIENCE_S, patience_s=PATIENCE_S)
    assert second is not None
    assert parsed(second.octets).label != parsed(first.octets).label
    answer = letter(street.take(OTHER, ASKER, first.octets))
    assert refused(street, ASKER, OTHER, answer.octets) == "no-attempt"
    street.shake(first=second)
    assert street.converses()


def test_a_letter_that_establishes_nothing_now() -> None:
    """That an opening was sent makes no session, nor the last message of an attempt that gave way."""
    street = Street(CASE)
    way = street.ways[ASKER]
    opening = street.open()
    assert not way.sent(OTHER, opening)
    answer = letter(street.take(OTHER, ASKER, opening.octets))
    last = letter(street.take(ASKER, OTHER, answer.octets))
    street.open()
    assert not way.sent(OTHER, last)
    assert street.session() is None


def test_openings_are_bounded_for_each_asker() -> None:
    """One too many in one name, and that name's oldest gives way; nobody else's does."""
    street = Street(CASE)
    street.forms = LinkForms(said={OTHER: CASE.form})
    for name in (OTHER, THIRD):
        street.restart(name)
    theirs = letter(street.take(OTHER, THIRD, street.open(THIRD, OTHER).octets))
    oldest = letter(street.take(OTHER, ASKER, street.open().octets))
    last = letter(street.take(ASKER, OTHER, oldest.octets))
    stranger = Street(CASE, seed=1)
    for _ in range(HALF_OPEN):
        letter(street.take(OTHER, ASKER, stranger.open().octets))
    assert refused(street, OTHER, ASKER, last.octets) == "out-of-order"
    proof = letter(street.take(THIRD, OTHER, theirs.octets))
    assert street.take(OTHER, THIRD, proof.octets) is None
    renewed(street)


def test_a_half_open_attempt_does_not_wait_for_ever() -> None:
    """A proof that comes too late is none: what it was to prove is forgotten."""
    street = Street(CASE)
    held = street.held(2)
    street.clock.advance(HALF_OPEN_S + 1)
    assert refused(street, OTHER, ASKER, held.message) == "out-of-order"
    renewed(street)


def test_an_opening_that_comes_twice_is_answered_alike() -> None:
    """QoS 1 may double any message of a handshake: it gets the same answer, and the attempt goes on."""
    street = Street(CASE)
    opening = street.open()
    answers = [letter(street.take(OTHER, ASKER, opening.octets)) for _ in range(2)]
    assert answers[0] == answers[1]
    proofs = [letter(street.take(ASKER, OTHER, answers[0].octets)) for _ in range(2)]
    assert proofs[0] == proofs[1]
    street.ways[ASKER].sent(OTHER, proofs[0])
    assert street.take(OTHER, ASKER, proofs[0].octets) is None
    assert refused(street, OTHER, ASKER, proofs[0].octets) == "replayed"
    assert street.converses()


def test_notices_are_followed_once_in_a_while() -> None:
    """However many notices come, a session is doubted once in NOTICE_S, and is of use all the while."""
    street = Street(CASE)
    street.shake()
    notice = noticed(street, THIRD, ASKER, street.ask())
    letter(street.take(ASKER, OTHER, notice))
    for _ in range(3):
        assert refused(street, ASKER, OTHER, notice) == "too-many-notices"
        assert street.converses()
    street.clock.advance(NOTICE_S)
    street.shake(first=letter(street.take(ASKER, OTHER, notice)))
    assert refused(street, ASKER, OTHER, notice) == "unexpected-notice"
    assert street.converses()


# Whom one speaks with


def test_who_speaks_how() -> None:
    """A pair speaks as it is said of one of the two, the same on both sides; of nobody: sealed."""
    forms = LinkForms(said={"mno": "key-transport", "factory": "agree-then-sign"})
    pairs = {("mno", "bank"): "key-transport", ("root", "factory"): "agree-then-sign", ("a", "b"): SEALED}
    pairs[("mno", "factory")] = "agree-then-sign"
    for (one, other), form in pairs.items():
        assert forms.between(one, other) == forms.between(other, one) == form


def test_nobody_speaks_with_himself() -> None:
    """One's own name is nobody to open a session with, nor is it anybody to hear from."""
    street = Street(CASE)
    with pytest.raises(MessageRejected, match="reflected"):
        street.ways[ASKER].open(ASKER, street.now, patience_s=0)
    assert refused(street, ASKER, ASKER, street.open().octets) == "reflected"


@pytest.mark.parametrize("reason", ["expired", "revoked"])
def test_one_who_is_no_more_whom_it_was(reason: str) -> None:
    """It is asked nothing, its replies are none, and nobody shakes hands with it; what it asks is heard.

    So that it can be told no: the role's rules do that, and the session is there to tell it in.
    """
    street = Street(CASE)
    asker = street.restart(ASKER)
    street.shake()
    street.shake(OTHER, ASKER)
    question, reply = street.ways[OTHER].question(ASKER, QUESTION, REFERENCE), street.reply()
    opening = street.open(OTHER, ASKER)
    if reason == "revoked":
        asker.revoke(OTHER, by="root")
    else:
        street.clock.advance(street.certified[OTHER].not_after + 1 - street.now)
    with pytest.raises(CertificateRejected, match=reason):
        street.session()
    with pytest.raises(CertificateRejected, match=reason):
        street.open()
    assert refused(street, ASKER, OTHER, reply) == reason
    assert refused(street, ASKER, OTHER, opening.octets) == reason
    assert street.heard(ASKER, OTHER, question).sender.name == OTHER
    assert street.ways[ASKER].reply(OTHER, REPLY, REFERENCE)[0] is not None


@pytest.mark.parametrize("when", ["established", "under-way"])
def test_other_keys_are_another_session(when: str) -> None:
    """What was agreed with somebody's old keys is not spoken in, nor carried on, with the new ones."""
    street = Street(CASE)
    goes_by = street.restart(OTHER)
    if when == "established":
        street.shake()
        octets = street.ask()
    else:
        octets = street.held(2).message
    goes_by.newer[ASKER] = Party.known(keys_of(ASKER, "p256"), issuer="root")
    assert refused(street, OTHER, ASKER, octets) in {"no-session", "out-of-order"}
    goes_by.newer.clear()
    asker = street.restart(ASKER)
    street.shake()
    asker.newer[OTHER] = Party.known(keys_of(OTHER, "x25519"), issuer="root")
    assert street.session() is None
    assert refused(street, ASKER, OTHER, street.reply()) == "no-session"
    asker.newer.clear()
    renewed(street)


@pytest.mark.parametrize("packet", [b"", b"\1\0", b"\1\x02\0\0", bytes(40)], ids=len)
def test_a_packet_that_is_none(packet: bytes) -> None:
    """Whatever is no packet is refused for what it lacks, and the session goes on."""
    street = Street(CASE)
    street.shake()
    assert refused(street, OTHER, ASKER, but(street.ask(), packet=packet)) in {"identifier", "short"}
    assert street.converses()


def test_a_packet_without_a_reference() -> None:
    """Even a role that has proven itself has to say what its message is a question or reply of."""
    street = Street(CASE)
    street.shake()
    assert refused(street, OTHER, ASKER, street.ask(b"", b"1234567")) == "no-reference"
    assert street.converses()
