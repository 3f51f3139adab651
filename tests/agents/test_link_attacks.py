"""One who owns the inside road: what he drops, delays, repeats, turns back, alters, splices and pretends.

Each of his doings ends in a typed refusal and no session, or changes nothing; the honest next attempt
succeeds. What he can do to a handshake by itself is in ``tests/transport/test_handshake_attacks.py``; here it
is between two roles, with their certificates, labels and packets.
"""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from agents.directory import Party
from agents.errors import MessageRejected
from agents.identity import RoleKeys, certify
from agents.link_sealed import QUESTION as SEALED_QUESTION
from agents.link_sealed import SealedWay
from agents.link_session import LINK_TAR
from agents.link_ways import LinkForms
from agents.messages.codec import encode
from agents.messages.link import LinkGreeted, LinkGreeting, LinkQuestion, LinkReply, LinkUnknown
from tests.agents.link_kit import (
    ASKER,
    FORMS,
    NOW,
    OTHER,
    QUESTION,
    REFERENCE,
    SMALL,
    THIRD,
    Case,
    Street,
    but,
    each_case,
    each_form,
    each_small_step,
    each_step,
    keys_of,
    letter,
    misled,
    noticed,
    packet_in,
    parsed,
    refused,
    renewed,
    said_in,
    steps,
)
from tests.transport.security_kit import flipped
from transport.errors import CertificateRejected, Rejected
from transport.secured_packet import (
    TCP,
    CounterMode,
    Integrity,
    PacketKeys,
    PorDemand,
    SecurityParameters,
    encode_command,
)
from transport.security import sealing
from transport.security.certificates import Role
from transport.security.suites import ALL_SUITES, suite
from transport.security.terms import KEY_TRANSPORT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from transport.security.certificates import Certificate

CASE = SMALL[0]
UNPROVEN = {"bad-signature", "bad-confirmation", "cannot-open", "bad-share", "bad-length", "wrong-suite"}


def nothing_was_made(street: Street) -> None:
    """Check that the two have no session, or none that is of use; then that the honest next one is."""
    if street.session() is not None:
        # The asker had the last word, and it did not get there.
        noticed(street, OTHER, ASKER, street.ask())
    renewed(street)


# Drop and delay


@each_step
def test_a_lost_message_of_a_handshake(case: Case, step: int) -> None:
    """Whichever is lost, there is no session that both have; the next attempt succeeds."""
    street = Street(case)
    held = street.held(step)
    if step < steps(case)[-1]:
        assert street.session() is None
    else:
        # The asker has keys that the other has not: he is told so with his first question.
        notice = noticed(street, OTHER, ASKER, street.ask())
        street.shake(first=letter(street.take(ASKER, OTHER, notice)))
        assert street.session() != held.label
        assert street.converses()
    renewed(street)


@each_small_step
def test_a_delayed_message_of_a_handshake(case: Case, step: int) -> None:
    """A message that comes late goes on where it was to go on, whatever came in between."""
    street = Street(case)
    held = street.held(step)
    street.converses(OTHER, ASKER) if street.session(OTHER, ASKER) else street.shake(OTHER, ASKER)
    held.finish()
    assert street.converses(OTHER, ASKER)


@each_form
def test_a_proof_held_back_does_not_end_a_newer_session(case: Case) -> None:
    """Somebody keeps the last message of an attempt until another is done: it is of no use then."""
    street = Street(case)
    held = street.held(steps(case)[-1])
    street.shake()
    label = street.session()
    assert refused(street, OTHER, ASKER, held.message) == "out-of-order"
    assert street.session() == label != held.label
    assert street.converses()


def test_lost_packets() -> None:
    """Questions and replies that never come cost nothing but themselves."""
    street = Street(CASE)
    street.shake()
    for _ in range(40):
        street.ask()
        street.reply()
    assert street.converses()


# Replay and reorder


@each_step
def test_a_message_of_an_old_handshake(case: Case, step: int) -> None:
    """Played into the next attempt, under the next label, it proves nothing."""
    street = Street(case)
    old = street.shake()
    street.restart(OTHER)
    held = street.held(step)
    if step == 0:
        assert misled(street, but(old[0], label=bytes(8)), label=held.label) in UNPROVEN
    else:
        assert refused(street, held.receiver, held.sender, but(old[step], label=held.label)) in UNPROVEN
    held.finish()


@each_case
def test_a_whole_old_handshake(case: Case) -> None:
    """The asker's part of an old handshake, played again without the asker, ends at its first proof."""
    street = Street(case)
    old = street.shake()
    for restarted in (False, True):
        if restarted:
            street.restart(OTHER)
        label = bytes([restarted] * 8)
        letter(street.take(OTHER, ASKER, but(old[0], label=label)))
        assert refused(street, OTHER, ASKER, but(old[2], label=label)) in UNPROVEN
        if not restarted:
            assert {refused(street, OTHER, ASKER, octets) for octets in old[::2]} == {"replayed"}
            assert street.converses()
    nothing_was_made(street)


@each_form
def test_messages_of_a_handshake_out_of_their_turn(case: Case) -> None:
    """Any message at a turn that is not its own is out of order; the attempt goes on with the right one."""
    street = Street(case)
    old = street.shake()
    street.restart(OTHER)
    for step in steps(case):
        held = street.held(step)
        for turn in set(steps(case)) - {step}:
            if turn % 2 == step % 2:
                wrong = but(old[turn], label=held.label)
                assert refused(street, held.receiver, held.sender, wrong) == "out-of-order"
        held.finish()


@each_form
def test_packets_of_an_old_session(case: Case) -> None:
    """What was said in an old session is not heard in the new one, under the old label or the new."""
    street = Street(case)
    street.shake()
    question, reply = street.ask(), street.reply()
    street.shake()
    label = street.session()
    assert noticed(street, OTHER, ASKER, question)
    assert refused(street, ASKER, OTHER, reply) == "no-session"
    for to, source, octets in ((OTHER, ASKER, question), (ASKER, OTHER, reply)):
        assert refused(street, to, source, but(octets, label=label)) == "checksum"
    assert street.converses()


# Reflect


@each_small_step
def test_a_message_of_a_handshake_sent_back(case: Case, step: int) -> None:
    """A side's own message, turned back to it as the other's, gets nobody to where there are keys."""
    street = Street(case)
    held = street.held(step)
    octets = said_in(held.message)
    for kind in (LinkGreeting, LinkGreeted):
        back = encode(kind(label=held.label, octets=octets))
        if kind is LinkGreeting and step == 0:
            # Taken for an opening of the other's: what is said to it is signed with the wrong key.
            assert misled(street, back, to=ASKER, source=OTHER) in UNPROVEN
            continue
        assert refused(street, held.sender, held.receiver, back) in {"out-of-order", "no-attempt"}
    held.finish()


@each_form
def test_packets_sent_back(case: Case) -> None:
    """A question is no reply to its asker, a reply no question to whoever gave it; nor in their own name."""
    street = Street(case)
    street.shake()
    street.shake(OTHER, ASKER)
    label = street.session()
    assert label is not None
    question, reply = street.ask(), street.reply()
    as_reply = encode(LinkReply(label=label, packet=packet_in(question)))
    as_question = encode(LinkQuestion(label=label, packet=packet_in(reply)))
    assert refused(street, ASKER, OTHER, as_reply) == "checksum"
    assert refused(street, OTHER, ASKER, as_question) == "checksum"
    # Both ways have sessions: turned back as it is, each packet is of another one.
    for to, source, octets in ((ASKER, OTHER, question), (OTHER, ASKER, reply)):
        assert refused(street, to, source, octets) == "no-session"
        assert refused(street, to, to, octets) == "reflected"
    assert street.converses()


# Truncate and alter


@each_small_step
def test_cut_and_lengthened_messages(case: Case, step: int) -> None:
    """Every prefix of a message, and one with an octet more, inside and out, is refused."""
    street = Street(case)
    held = street.held(step)
    for length in range(len(held.message)):
        assert refused(street, held.receiver, held.sender, held.message[:length]) in {
            "not-msgpack",
            "unexpected-message",
        }
    assert refused(street, held.receiver, held.sender, held.message + b"\0") == "not-msgpack"
    octets = said_in(held.message)
    for wrong in [octets[:length] for length in range(len(octets))] + [octets + b"\0"]:
        reason = refused(street, held.receiver, held.sender, but(held.message, octets=wrong))
        assert reason in {"unknown-message", "wrong-suite", "bad-length"}
    held.finish()


@each_small_step
def test_no_octet_of_a_handshake_can_be_altered(case: Case, step: int) -> None:
    """A bit turned in any octet makes no session: it is refused at once, or by the other at his next word."""
    street = Street(case)
    held = street.held(step)
    for at in range(len(held.message)):
        try:
            answer = street.take(held.receiver, held.sender, flipped(held.message, at))
        except Rejected:
            continue
        # Nothing in an opening is proven, its label neither: it is the asker who finds what is amiss.
        assert step == 0
        reason = refused(street, ASKER, OTHER, letter(answer).octets)
        assert reason in ({"no-attempt"} if at in LABEL_AT else UNPROVEN)
        held = street.held(step)
    held.finish()


LABEL_AT = range(4, 12)
"""Where a label stands: behind array, code and its own length."""


@each_case
def test_each_field_of_a_handshake_altered(case: Case) -> None:
    """In every suite: a bit turned at the ends and in the middle of what is said ends the attempt."""
    street = Street(case)
    for step in steps(case):
        length = len(said_in(street.held(step).message))
        for at in {0, 1, 2, length // 2, length - 17, length - 1}:
            with pytest.raises(Rejected) as caught:
                street.shake(meddle=_turn(step, at % length))
            assert caught.value.reason in UNPROVEN | {"unknown-message", "wrong-form", "out-of-order"}
    nothing_was_made(street)


def _turn(wanted: int, at: int) -> Callable[[int, bytes], bytes]:
    """Return what turns a bit of one message of a handshake on its way."""

    def meddle(step: int, octets: bytes) -> bytes:
        return but(octets, octets=flipped(said_in(octets), at)) if step == wanted else octets

    return meddle


@each_form
def test_no_octet_of_a_packet_can_be_altered(case: Case) -> None:
    """A bit turned in any octet of a question or reply, clear or ciphered, is refused; the session stands."""
    street = Street(case)
    street.shake()
    for to, source, octets in ((OTHER, ASKER, street.ask()), (ASKER, OTHER, street.reply())):
        for at in range(len(octets)):
            for length in (at, None):
                wrong = flipped(octets, at) if length is None else octets[:length]
                assert refused(street, to, source, wrong) in PACKET_REASONS
        street.heard(to, source, octets)
    assert street.converses()


PACKET_REASONS = {
    *("not-msgpack", "not-an-array", "unexpected-message", "wrong-field-count", "bad-field", "no-session"),
    *("identifier", "cpl", "chl", "short", "spi", "wrong-protection", "kic", "kid", "checksum", "blocks"),
    *("no-attempt", "unexpected-notice", "unknown-message"),
}


@pytest.mark.parametrize(
    "spi",
    [
        SecurityParameters(),
        SecurityParameters(counter=CounterMode.HIGHER),
        SecurityParameters(counter=CounterMode.HIGHER, integrity=Integrity.RC),
        SecurityParameters(ciphering=True, integrity=Integrity.CC),
        SecurityParameters(
            counter=CounterMode.HIGHER, ciphering=True, integrity=Integrity.CC, por=PorDemand.ALWAYS
        ),
    ],
    ids=["clear", "counter", "redundancy-check", "no-counter", "with-response"],
)
def test_a_packet_with_less_protection(spi: SecurityParameters) -> None:
    """What a packet says of its own protection counts for nothing: one SPI is spoken, and no other."""
    street = Street(CASE)
    street.shake()
    keys = PacketKeys(index=1, cipher_key=bytes(16), mac_key=bytes(16))
    packet = encode_command(
        spi=spi, tar=LINK_TAR, data=REFERENCE + QUESTION, counter=9, keys=keys, dialect=TCP
    )
    assert refused(street, OTHER, ASKER, but(street.ask(), packet=packet)) == "wrong-protection"
    assert street.converses()


def test_a_packet_for_an_application() -> None:
    """The TAR is the road's own: a packet for any other is none of its packets."""
    street = Street(CASE)
    street.shake()
    packet = bytearray(packet_in(street.ask()))
    at = packet.index(LINK_TAR, 6)
    packet[at : at + 3] = b"\xb0\0\0"
    assert refused(street, OTHER, ASKER, but(street.ask(), packet=bytes(packet))) == "wrong-protection"
    assert street.converses()


# Splice


@each_step
def test_a_splice_of_two_sessions(case: Case, step: int) -> None:
    """The messages of two attempts between the same two, one put for the other, make no session."""
    street, other = Street(case), Street(case, seed=1)
    held, theirs = street.held(step), other.held(step)
    octets = but(theirs.message, label=held.label)
    if step == 0:
        assert misled(street, but(octets, label=bytes(8)), label=held.label) in UNPROVEN
    else:
        assert refused(street, held.receiver, held.sender, octets) in UNPROVEN
    held.finish()
    theirs.finish()


@each_form
def test_packets_of_another_session_at_the_same_time(case: Case) -> None:
    """A packet of one session is none in the other, whatever label it bears: theirs, or the third's."""
    street = Street(case)
    street.shake()
    street.shake(OTHER, ASKER)
    street.shake(ASKER, THIRD)
    ours, theirs, third = street.session(), street.session(OTHER, ASKER), street.session(ASKER, THIRD)
    back = street.ways[OTHER].question(ASKER, QUESTION, REFERENCE)
    aside = street.ways[ASKER].question(THIRD, QUESTION, REFERENCE)
    assert len({ours, theirs, third}) == 3
    assert refused(street, OTHER, ASKER, but(back, label=ours)) == "checksum"
    assert refused(street, OTHER, ASKER, but(aside, label=ours)) == "checksum"
    assert refused(street, ASKER, OTHER, but(street.ask(), label=theirs)) == "checksum"
    assert street.converses()
    assert street.converses(OTHER, ASKER)
    assert street.converses(ASKER, THIRD)


# Whose session it is


def unlike(case: Case) -> set[str]:
    """Return what an opening comes to whose sides do not agree on who they are."""
    return {"cannot-open"} if case.form == KEY_TRANSPORT else {"bad-signature"}


@each_case
def test_unknown_key_share(case: Case) -> None:
    """A role with a certificate of its own passes on what another says, as its own or as if to itself.

    The bank is to believe that the shop asks, or the operator that it asks the shop, while they speak with
    each other. In a key transport it does not even open what it is sent.
    """
    street = Street(case)
    street.forms = LinkForms(said={ASKER: case.form, OTHER: case.form})
    for name in (ASKER, OTHER, THIRD):
        street.restart(name)
    assert misled(street, street.open().octets, source=THIRD) in unlike(case)
    opening = street.open(ASKER, THIRD).octets
    others = {"wrong-suite"} if case.other != "x25519" else unlike(case)
    assert misled(street, opening, other=THIRD) in others
    nothing_was_made(street)


@each_case
def test_one_key_under_two_names(case: Case) -> None:
    """A role that had another's keys certified under its own name does not get that one's sessions."""
    street = Street(case)
    stolen = replace(street.keys[OTHER], name=THIRD)
    street.restart(ASKER, certify(stolen, issuer=street.keys["root"], serial=9, now=NOW))
    assert misled(street, street.open(ASKER, THIRD).octets, other=THIRD) in unlike(case)
    assert street.session(ASKER, THIRD) is None
    nothing_was_made(street)


@each_case
def test_another_name_on_a_message(case: Case) -> None:
    """Who says that he is somebody else is heard as that one, and so is not heard."""
    street = Street(case)
    street.forms = LinkForms(said={ASKER: case.form, THIRD: case.form})
    for name in (ASKER, OTHER, THIRD):
        street.restart(name)
    assert misled(street, street.open(THIRD, OTHER).octets, asker=THIRD) in unlike(case)
    street.shake(THIRD, OTHER)
    street.shake()
    question = street.ways[THIRD].question(OTHER, QUESTION, REFERENCE)
    assert refused(street, OTHER, ASKER, question) == "no-session"
    assert refused(street, OTHER, ASKER, but(question, label=street.session())) == "checksum"
    assert street.converses()


@each_case
def test_an_impostor_without_the_private_key(case: Case) -> None:
    """Who has a certified name, but not its keys, proves nothing to either side."""
    for name, at in ((OTHER, 1), (ASKER, 2)):
        street = Street(case)
        thief = keys_of(THIRD, case.suite_of(name))
        own = street.keys[name]
        street.keys[name] = replace(own, signing=replace(thief.signing, public=own.signing.public))
        street.restart(name)
        held = street.held(at)
        assert refused(street, held.receiver, held.sender, held.message) == "bad-signature"
        street.keys[name] = own
        street.restart(name)
        nothing_was_made(street)


def test_a_stranger_is_nobody() -> None:
    """A name that nobody certified is refused before anything is done for it."""
    street = Street(CASE)
    assert refused(street, OTHER, "stranger", street.open().octets) == "unknown-role"
    renewed(street)


# Downgrade


@pytest.mark.parametrize(("ours", "theirs"), list(permutations(FORMS, 2)), ids="-".join)
def test_another_form(ours: str, theirs: str) -> None:
    """Where one form is configured, every message of another is refused by name, in each state."""
    case = Case(ours, "x25519", "p256")
    street, other = Street(case), Street(case._replace(form=theirs), seed=1)
    foreign = other.shake()
    for step in steps(case):
        held = street.held(step)
        for octets in foreign[step % 2 :: 2]:
            wrong = but(octets, label=held.label)
            assert refused(street, held.receiver, held.sender, wrong) == "wrong-form"
        held.finish()
    # And whose config says another one than ours cannot be spoken with at all.
    street.restart(OTHER, forms=other.forms)
    with pytest.raises(Rejected, match="wrong-form"):
        street.shake()


@pytest.mark.parametrize(("ours", "theirs"), list(permutations(ALL_SUITES, 2)), ids="-".join)
def test_another_suite(ours: str, theirs: str) -> None:
    """The suite is that of the other's certificate: an opening that names another one is refused."""
    street = Street(Case(FORMS[0], "x25519", ours))
    held = street.held(0)
    octets = bytearray(said_in(held.message))
    octets[1] = suite(theirs).wire_id
    assert refused(street, OTHER, ASKER, but(held.message, octets=bytes(octets))) == "wrong-suite"
    held.finish()


@each_form
def test_sealed_where_there_are_sessions(case: Case) -> None:
    """A well sealed question is refused where sessions are spoken, before its seal is looked at."""
    street = Street(case)
    recipient = street.certified[OTHER]
    sealed = sealing.seal(
        QUESTION,
        context=SEALED_QUESTION,
        sender=ASKER,
        sender_key=street.keys[ASKER].signing,
        recipient=OTHER,
        recipient_public=recipient.sealing_public,
        recipient_suite=recipient.suite,
        serial=REFERENCE,
    )
    for forms, expected in ((street.forms, "wrong-way"), (LinkForms(), "")):
        way = SealedWay(
            keys=street.keys[OTHER],
            directory=street.directory(),
            forms=forms,
            awaits=lambda _sender, _reference: False,
        )
        if expected:
            with pytest.raises(MessageRejected, match=expected):
                way.take(ASKER, sealed, street.now)
        else:
            assert way.take(ASKER, sealed, street.now)
    renewed(street)


def test_a_session_where_messages_are_sealed() -> None:
    """Neither opens a session where it is to seal, nor answers one who would."""
    street = Street(CASE)
    opening = street.open()
    street.restart(OTHER, forms=LinkForms())
    assert refused(street, OTHER, ASKER, opening.octets) == "wrong-way"
    with pytest.raises(MessageRejected, match="wrong-way"):
        street.open(OTHER, ASKER)
    street.restart(OTHER)
    renewed(street)


# The notice that nobody vouches for


def test_a_forged_notice_of_another_label() -> None:
    """Who does not know the label of a session cannot even have it doubted."""
    street = Street(CASE)
    label = bytes(8)
    assert refused(street, ASKER, OTHER, encode(LinkUnknown(label=label))) == "unexpected-notice"
    street.shake()
    assert refused(street, ASKER, OTHER, encode(LinkUnknown(label=label))) == "unexpected-notice"
    assert street.converses()


@each_form
def test_a_forged_notice_ends_nothing(case: Case) -> None:
    """One who read the label has the two shake hands again; until they have, they speak as before."""
    street = Street(case)
    street.shake()
    label = street.session()
    assert label is not None
    notice = encode(LinkUnknown(label=label))
    opening = letter(street.take(ASKER, OTHER, notice))
    assert refused(street, ASKER, OTHER, notice) == "too-many-notices"
    assert street.session() == label
    assert street.converses()
    # He answers the opening himself, and proves nothing by that.
    garbage = encode(LinkGreeted(label=parsed(opening.octets).label, octets=bytes([0x12]) * 129))
    assert refused(street, ASKER, OTHER, garbage)
    assert street.session() == label
    street.shake(first=opening)
    assert street.session() != label
    assert street.converses()


# Certificates


def unusable(street: Street) -> dict[str, Party]:
    """Return what may be known of the other that is nobody to make a session with, by the fault."""
    keys = street.keys[OTHER]
    return {
        "wrong-role": Party.known(replace(keys, role=Role.MODULE), issuer="root"),
        "same-key": Party.known(replace(street.keys[ASKER], name=OTHER), issuer="root"),
        "same-key-to-seal": replace(
            Party.known(keys, issuer="root"), sealing_public=street.keys[ASKER].sealing.public
        ),
        "no-sealing-key": replace(Party.known(keys, issuer="root"), sealing_public=b""),
    }


@each_form
@pytest.mark.parametrize("fault", ["wrong-role", "same-key", "same-key-to-seal", "no-sealing-key"])
def test_one_whom_nobody_shakes_hands_with(case: Case, fault: str) -> None:
    """A module, one with a key of ours, one without a key to seal to: neither opened to nor answered."""
    street, reason = Street(case), fault.removesuffix("-to-seal")
    opening = street.open(OTHER, ASKER)
    street.restart(ASKER).newer[OTHER] = unusable(street)[fault]
    with pytest.raises(CertificateRejected, match=reason):
        street.open()
    assert refused(street, ASKER, OTHER, opening.octets) == reason
    street.restart(ASKER)
    renewed(street)


def rejected(street: Street) -> Iterator[tuple[str, Certificate]]:
    """Return why each of these certificates of the other's is none."""
    root, keys = street.keys["root"], street.keys[OTHER]
    false = RoleKeys.make(name="root", role=Role.AUTHORITY, suite="x25519", rng=random.Random(9).randbytes)
    day = 86_400
    yield "self-signed", certify(keys, issuer=keys, serial=9, now=NOW)
    yield "wrong-issuer", certify(keys, issuer=street.keys[ASKER], serial=9, now=NOW)
    yield "bad-signature", certify(keys, issuer=false, serial=9, now=NOW)
    yield "wrong-role", certify(replace(keys, role=Role.OPERATOR), issuer=root, serial=9, now=NOW)
    yield "not-yet-valid", certify(keys, issuer=root, serial=9, now=NOW + 2 * day)
    yield "expired", certify(keys, issuer=root, serial=9, now=NOW - 11 * 365 * day)


def test_certificates_that_nobody_takes_up() -> None:
    """Self-signed, by a role that is no authority, by a false one, of another role or time: nobody enters it.

    Who is not entered is nobody to make a session with.
    """
    street = Street(CASE)
    for reason, certificate in rejected(street):
        with pytest.raises(CertificateRejected, match=reason):
            street.restart(ASKER, certificate)
    renewed(street)


def test_a_certificate_of_another_role_is_heard_as_that_role() -> None:
    """Who asks is told to the rules by the certificate's role: a supplier is no operator by its session."""
    street = Street(CASE)
    street.shake(OTHER, ASKER)
    question = street.ways[OTHER].question(ASKER, QUESTION, REFERENCE)
    assert street.heard(ASKER, OTHER, question).sender.role == Role.SUPPLIER
