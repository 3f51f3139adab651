from __future__ import annotations

import itertools
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.handshake_kit import (
    CASES,
    LOGIC_NAME,
    SMALLEST,
    Case,
    Held,
    Parties,
    converse,
    credentials,
    domain_key,
    each_case,
    each_form,
    fields,
    finish,
    has_keys,
    person,
    refused,
    steps,
)
from transport.concatenation import split
from transport.errors import HandshakeRejected
from transport.secured_packet import SecurityParameters, encode_command
from transport.security import handshake
from transport.security.handshake import FORWARD_SECRET, NEEDS, Credentials, Initiator, Responder
from transport.security.handshake_states import MESSAGES, TAGS, TRANSITIONS, Event, State
from transport.security.suites import ALL_SUITES
from transport.security.terms import (
    AGREE_THEN_SIGN,
    DOMAIN_ASYMMETRIC,
    DOMAIN_FORMS,
    DOMAIN_SYMMETRIC,
    FORM_NUMBERS,
    INITIATOR,
    KEY_TRANSPORT,
    RESPONDER,
    Terms,
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


@each_form
def test_a_side_that_wants_more_than_it_brought(form: str) -> None:
    """What a form needs of each role is a table; without it a ValueError names what is lacking."""
    parties = Parties(Case(form, SMALLEST))
    for role, make, has in (
        (INITIATOR, parties.initiator, parties.module_has),
        (RESPONDER, parties.responder, parties.supplier_has),
    ):
        needs = NEEDS[form][role]
        names = ", ".join(name.replace("_", " ") for name in needs)
        with pytest.raises(ValueError, match=f"form {form} lacks of its {role}: {names}$"):
            make(Credentials())
        for name in needs:
            empty = b"" if name.startswith("peer") else None
            with pytest.raises(
                ValueError, match=f"form {form} lacks of its {role}: {name.replace('_', ' ')}$"
            ):
                make(has(**{name: empty}))
        # and nothing else is needed
        everything = has()
        side = make(Credentials(**{name: getattr(everything, name) for name in needs}))
        assert side.state in {State.READY, State.LISTENING}


@each_form
@pytest.mark.parametrize("role", [INITIATOR, RESPONDER])
def test_keys_that_do_not_fit_the_terms(form: str, role: str) -> None:
    """A key of another suite than the terms give its owner raises a ValueError that names both."""
    parties = Parties(Case(form, SMALLEST))
    other = next(name for name in ALL_SUITES if name != SMALLEST)
    make, has = {
        INITIATOR: (parties.initiator, parties.module_has),
        RESPONDER: (parties.responder, parties.supplier_has),
    }[role]
    for name in {"signing_key", "sealing_key"}.intersection(NEEDS[form][role]):
        key = getattr(person(other, "module"), name.removesuffix("_key"))
        with pytest.raises(
            ValueError, match=f"suite {other} in a handshake whose {role} has keys of {SMALLEST}"
        ):
            make(has(**{name: key}))


@each_form
def test_both_sides_with_one_key(form: str) -> None:
    """The same key on both sides raises ValueError: each could pass for the other."""
    parties = Parties(Case(form, SMALLEST))
    ours, theirs = parties.supplier, parties.module
    if form == DOMAIN_ASYMMETRIC:
        key = replace(parties.domain_key, public=ours.signing.public, secret=ours.signing.private)
        for make, has in ((parties.initiator, parties.module_has), (parties.responder, parties.supplier_has)):
            with pytest.raises(ValueError, match="same signing key"):
                make(has(domain_key=key))
    elif form != DOMAIN_SYMMETRIC:
        with pytest.raises(ValueError, match="same signing key"):
            parties.responder(parties.supplier_has(peer_signing_public=ours.signing.public))
    if form == KEY_TRANSPORT:
        with pytest.raises(ValueError, match="same sealing key"):
            parties.initiator(parties.module_has(peer_sealing_public=theirs.sealing.public))


def test_domain_keys_of_the_wrong_kind() -> None:
    """A domain form refuses a key of the other kind, and a module cannot sign with the public half."""
    pair = domain_key(DOMAIN_ASYMMETRIC, SMALLEST)
    shared = domain_key(DOMAIN_SYMMETRIC, SMALLEST)
    wrong = [(DOMAIN_SYMMETRIC, pair, "symmetric"), (DOMAIN_ASYMMETRIC, shared, "pair or public half")]
    for form, key, names in wrong:
        parties = Parties(Case(form, SMALLEST))
        with pytest.raises(ValueError, match=f"domain key that is: {names}"):
            parties.responder(parties.supplier_has(domain_key=key))
    parties = Parties(Case(DOMAIN_ASYMMETRIC, SMALLEST))
    with pytest.raises(ValueError, match=r"domain key that is: pair$"):
        parties.initiator(parties.module_has(domain_key=pair.public_half()))


def test_a_supplier_needs_the_public_half_only() -> None:
    """A supplier with an asymmetric domain key's public half recognises its modules and can pose as none."""
    parties = Parties(Case(DOMAIN_ASYMMETRIC, SMALLEST))
    answering = parties.responder(parties.supplier_has(domain_key=parties.domain_key.public_half()))
    finish(parties.held(2, answering=answering))


def test_the_module_of_a_domain_needs_no_suite_of_its_own() -> None:
    """In a domain form the suite of the module's own key plays no part: suppliers need not know it."""
    for form in FORM_NUMBERS:
        terms = Parties(Case(form, SMALLEST)).terms
        named = replace(terms, initiator_suite=next(name for name in ALL_SUITES if name != SMALLEST))
        assert (named.encode() == terms.encode()) == (form in DOMAIN_FORMS)


def test_which_forms_are_forward_secret() -> None:
    """Every form but the key transport is said to be, and the documentation's table says the same."""
    assert handshake.__doc__ is not None
    rows = [line.split() for line in handshake.__doc__.splitlines() if line.endswith(("yes", " no"))]
    said = {row[0]: row[-1] == "yes" for row in rows}
    assert said == {form: form in FORWARD_SECRET for form in FORM_NUMBERS}


def test_two_keys_are_enough_for_the_first_form() -> None:
    """The pair of classes of ``agree-then-sign`` speaks with the general sides, and no other form."""
    parties = Parties(Case(AGREE_THEN_SIGN, SMALLEST))
    opening = Initiator(parties.terms, parties.module.signing, parties.supplier.signing.public, parties.rng)
    answering = Responder(parties.terms, parties.supplier.signing, parties.module.signing.public, parties.rng)
    finish(parties.held(2, opening, parties.responder()))
    finish(parties.held(2, answering=answering))
    other = replace(parties.terms, form=KEY_TRANSPORT)
    with pytest.raises(ValueError, match="terms of form key-transport in a handshake of agree-then-sign"):
        Initiator(other, parties.module.signing, parties.supplier.signing.public, parties.rng)


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


# Terms


@pytest.mark.parametrize(
    "changes",
    [
        {"suite": "rot13"},
        {"initiator_suite": "rot13"},
        {"responder_suite": "rot13"},
        {"form": "handwave"},
        {"initiator": b""},
        {"responder": bytes(65)},
        {"responder": b"8988211000000000018"},
        {"tar": b"\0\0"},
        {"key_index": 0},
        {"key_index": 16},
        {"protection": "rot13"},
        {"logic_name": bytes(65)},
        {"form": DOMAIN_SYMMETRIC, "logic_name": b""},
        {"form": DOMAIN_ASYMMETRIC, "logic_name": b""},
        {"dh_base": b"\2"},
        {"dh_modulus": b"\x17"},
        {"dh_base": b"\2", "dh_modulus": bytes(513)},
    ],
    ids="-".join,
)
def test_terms_refuse_to_exist_out_of_bounds(changes: dict[str, Any]) -> None:
    """Unknown names, missing or equal identities, and TARs, indexes or parameters that are none raise."""
    with pytest.raises(ValueError, match=r"."):
        replace(Parties(Case(AGREE_THEN_SIGN, SMALLEST)).terms, **changes)


def test_a_logic_name_is_for_a_global_service() -> None:
    """The forms with the module's own keys do without a logic name, and bind one that is there."""
    parties = Parties(Case(AGREE_THEN_SIGN, SMALLEST))
    nameless = replace(parties.terms, logic_name=b"")
    assert nameless.encode() != parties.terms.encode()
    parties.terms = nameless
    assert parties.run().initiator.state is State.ESTABLISHED


ANY_TERMS = st.builds(
    Terms,
    suite=st.sampled_from(list(ALL_SUITES)),
    form=st.sampled_from(list(FORM_NUMBERS)),
    initiator=st.binary(min_size=1, max_size=3),
    responder=st.binary(min_size=4, max_size=6),
    tar=st.binary(min_size=3, max_size=3),
    key_index=st.integers(1, 15),
    logic_name=st.binary(min_size=1, max_size=2),
)


@given(ANY_TERMS, ANY_TERMS)
def test_other_terms_other_octets(left: Terms, right: Terms) -> None:
    """Two terms enter the transcript as the same octets only when they are the same."""
    assert (left.encode() == right.encode()) == (left == right)


def test_parties_use_what_they_were_given() -> None:
    """The kit's parties hold different keys, so that the tests of mixed-up keys show something."""
    parties = Parties(Case(KEY_TRANSPORT, SMALLEST))
    has = credentials(parties.module, parties.supplier)
    assert has.signing_key is parties.module.signing
    assert len({each.public for who in (parties.module, parties.supplier) for each in who}) == 4
    assert converse(parties.initiator(), parties.responder())
    assert parties.terms.logic_name == LOGIC_NAME
