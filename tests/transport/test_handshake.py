from __future__ import annotations

import itertools
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.handshake_kit import (
    CASES,
    SMALLEST,
    Case,
    Held,
    Parties,
    each_case,
    each_form,
    fields,
    finish,
    has_keys,
    refused,
    steps,
)
from transport.concatenation import split
from transport.errors import HandshakeRejected
from transport.secured_packet import SecurityParameters, encode_command
from transport.security import handshake
from transport.security.handshake import FORWARD_SECRET
from transport.security.handshake_states import MESSAGES, TAGS, TRANSITIONS, Event, State
from transport.security.suites import ALL_SUITES
from transport.security.terms import (
    FORM_NUMBERS,
)
from transport.sms import InformationElement

if TYPE_CHECKING:
    from collections.abc import Callable

    from transport.security.handshake_side import Side

PURE = [case for case in CASES if not case.module]
each_pure_case = pytest.mark.parametrize("case", PURE, ids=str)


# What holds between honest parties


def mixtures() -> list[tuple[str, str, str]]:
    """Return suites to agree in, for the module and for the supplier: each with each, two by two."""
    names = list(ALL_SUITES)
    pairs = itertools.product(range(len(names)), repeat=2)
    return [(names[(one + two) % len(names)], names[one], names[two]) for one, two in pairs]


@each_form
@pytest.mark.parametrize("suites", mixtures(), ids="-".join)
def test_both_sides_end_with_the_same_keys(form: str, suites: tuple[str, str, str]) -> None:
    """In every form, and in any mixture of suites, an honest attempt makes one session for both sides."""
    run = Parties(Case(form, *suites)).run()
    assert run.initiator.keys == run.responder.keys
    assert run.initiator.state is run.responder.state is State.ESTABLISHED


@each_case
def test_messages_have_the_fields_described(case: Case) -> None:
    """Each message is as long as its fields together, and begins with the number of its form and its own."""
    for step, message in enumerate(Parties(case).run().messages):
        layout = fields(case, step)
        assert len(message) == max(where.stop for where in layout.values())
        assert message[0] == FORM_NUMBERS[case.form] << 4 | step + 1


def documented() -> dict[tuple[str, str], list[str]]:
    """Return the rows of the table of lengths in the handshake's documentation."""
    assert handshake.__doc__ is not None
    rows = [line.split() for line in handshake.__doc__.splitlines()]
    return {
        (row[0], row[1]): row[2:]
        for row in rows
        if len(row) == 9 and row[0] in FORM_NUMBERS and row[1] in ALL_SUITES
    }


def short_messages(message: bytes) -> int:
    """Return how many short messages *message* takes as the data of a packet without checksum."""
    packet = encode_command(spi=SecurityParameters(), tar=bytes.fromhex("b00000"), data=message)
    return len(split(packet, reference=1, first=InformationElement(iei=0x70, data=b"")))


@each_pure_case
def test_messages_fit_short_messages(case: Case) -> None:
    """The messages are as long as the documentation's table says, and take as many short messages."""
    messages = Parties(case).run().messages
    lengths = [str(len(message)) for message in messages] + ["-"] * (5 - len(messages))
    octets, count = sum(map(len, messages)), sum(map(short_messages, messages))
    assert documented()[case.form, case.suite] == [*lengths, str(octets), str(count)]


@each_case
def test_keys_are_there_after_proof_only(case: Case) -> None:
    """The module has keys with its last message and the supplier when he has it; neither a step earlier."""
    parties = Parties(case)
    *early, last = steps(case)
    for step in early:
        held = parties.held(step)
        assert not has_keys(held.sender)
        assert not has_keys(held.receiver)
    held = parties.held(last)
    assert has_keys(held.sender)
    assert not has_keys(held.receiver)
    finish(held)
    assert held.sender.keys == held.receiver.keys


@each_case
def test_every_session_has_keys_of_its_own(case: Case) -> None:
    """Four keys a session, one for each purpose and direction, and no two sessions share any."""
    parties = Parties(case)
    first, second = (parties.run().initiator.keys.dump() for _ in range(2))
    keys = [dump[at : at + 16] for dump in (first, second) for at in range(2, 66, 16)]
    assert len(set(keys)) == 8


@each_form
def test_the_keyset_is_the_one_agreed(form: str) -> None:
    """The session becomes the keyset of the index and protection that the terms name."""
    parties = Parties(Case(form, SMALLEST))
    parties.terms = replace(parties.terms, key_index=5, protection="aes-256")
    keys = parties.run().responder.keys
    assert (keys.to_module.index, keys.protection, len(keys.to_module.cipher_key)) == (5, "aes-256", 32)


@each_form
def test_nothing_secret_is_shown(form: str) -> None:
    """The repr of sides and credentials shows no key, before, while and after a session comes to be."""
    parties = Parties(Case(form, SMALLEST))
    held = parties.held(steps(parties.case)[-2])
    shown = [repr(each) for each in (held, parties.module_has(), parties.supplier_has())]
    finish(held)
    shown += [repr(side) for side in (held.sender, held.receiver)]
    keys = held.sender.keys
    secrets = [keys.to_module.cipher_key, keys.from_module.mac_key, parties.domain_key.secret]
    secrets += [who.signing.private for who in (parties.module, parties.supplier)]
    secrets += [who.sealing.private for who in (parties.module, parties.supplier)]
    for secret in secrets:
        assert not any(secret.hex() in each or repr(secret)[2:-1] in each for each in shown)


def test_which_forms_are_forward_secret() -> None:
    """Every form but the key transport is said to be, and the documentation's table says the same."""
    assert handshake.__doc__ is not None
    rows = [line.split() for line in handshake.__doc__.splitlines() if line.endswith(("yes", " no"))]
    said = {row[0]: row[-1] == "yes" for row in rows}
    assert said == {form: form in FORWARD_SECRET for form in FORM_NUMBERS}


# The life of a side


@given(st.sampled_from(list(FORM_NUMBERS)), st.sampled_from(State), st.sampled_from(Event))
def test_the_table_leads_nowhere_else(form: str, state: State, event: Event) -> None:
    """Only a proven step leads to a session, nothing leads away from one, and nothing revives the dead."""
    after = TRANSITIONS[form].get((state, event))
    if after is State.ESTABLISHED and state is not State.ESTABLISHED:
        assert event in {Event.ANSWER, Event.PROOF}
    if state in {State.ESTABLISHED, State.DEAD}:
        assert after is (state if event is Event.REFUSED else None)
    if event is Event.REFUSED:
        assert after in {State.DEAD, state, None}
        is_reached = state in TRANSITIONS[form].values() or state in {State.READY, State.LISTENING}
        assert (after is None) == (not is_reached)


def test_every_message_has_a_first_octet_of_its_own() -> None:
    """No two messages of any forms begin alike."""
    assert len(set(TAGS.values())) == sum(map(len, MESSAGES.values()))


def sides(parties: Parties) -> dict[State, Callable[[], Held]]:
    """Return, for each state that the form knows, what makes an attempt whose receiver is in it.

    The messages are those of an attempt as far as it came, and a finished one's for the rest.
    """
    case = parties.case
    old = parties.run().messages

    def at(step: int) -> Held:
        held = parties.held(step)
        return held._replace(messages=(*held.messages, *old[step + 1 :]))

    def ready() -> Held:
        return Held(parties.responder(), parties.initiator(), old)

    def established() -> Held:
        run = parties.run()
        return Held(run.initiator, run.responder, run.messages)

    def dead() -> Held:
        held = at(1)
        refused(held.receiver, b"")
        return held

    waiting = {at(step).receiver.state: lambda step=step: at(step) for step in steps(case)}
    return {State.READY: ready, State.ESTABLISHED: established, State.DEAD: dead, **waiting}


@each_form
def test_each_message_in_each_state(form: str) -> None:
    """A good message leads where the table says; one that is not listed there is out of order."""
    parties = Parties(Case(form, SMALLEST))
    makers = sides(parties)
    assert set(makers) == {state for state, _ in TRANSITIONS[form]}
    for (state, make), (step, event) in itertools.product(makers.items(), enumerate(MESSAGES[form])):
        held = make()
        side: Side = held.receiver
        assert side.state is state
        if (state, event) in TRANSITIONS[form]:
            side.receive(held.messages[step])
            assert side.state is TRANSITIONS[form][state, event]
        else:
            with pytest.raises(HandshakeRejected) as caught:
                side.receive(held.messages[step])
            assert (caught.value.reason, side.state) == (
                "out-of-order",
                TRANSITIONS[form][state, Event.REFUSED],
            )


@each_case
def test_a_session_that_stands_is_not_torn_down(case: Case) -> None:
    """Repeated, foreign and arbitrary messages to an established side are refused and leave its keys."""
    run = Parties(case).run()
    keys = run.initiator.keys
    for side in (run.initiator, run.responder):
        for octets in (*run.messages, b"", b"noise", *TAGS.values()):
            with pytest.raises(HandshakeRejected):
                side.receive(octets)
        assert side.keys == keys


@each_form
def test_an_attempt_starts_once(form: str) -> None:
    """Starting twice, after a refusal, or on the answering side is our own mistake and raises ValueError."""
    parties = Parties(Case(form, SMALLEST))
    opening = parties.held(0).sender
    for _ in range(2):
        with pytest.raises(ValueError, match="starts once"):
            opening.start()
        with pytest.raises(HandshakeRejected):
            opening.receive(b"noise")
    answering = parties.responder()
    with pytest.raises(ValueError, match="starts once; this one is LISTENING"):
        answering.start()
    assert answering.state is State.LISTENING


@each_form
def test_a_copy_is_a_side_of_its_own(form: str) -> None:
    """What a copy of a side is led into, good or bad, leaves the side where it was."""
    parties = Parties(Case(form, SMALLEST))
    for step in steps(parties.case):
        held = parties.held(step)
        before = held.receiver.state
        refused(copy(held.receiver), held.message + b"\0")
        copy(held.receiver).receive(held.message)
        assert held.receiver.state is before
        finish(held)


@each_form
def test_a_failing_random_source_is_our_own_fault(form: str) -> None:
    """A random source that runs short raises ValueError and leaves the side as it was."""
    parties = Parties(Case(form, SMALLEST))
    m1 = parties.held(0).message
    parties.rng = lambda _: b""
    opening, answering = parties.initiator(), parties.responder()
    with pytest.raises(ValueError, match="random source"):
        opening.start()
    with pytest.raises(ValueError, match="random source"):
        answering.receive(m1)
    assert (opening.state, answering.state) == (State.READY, State.LISTENING)
