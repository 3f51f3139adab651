"""One who has keys and names of his own, or somebody else's: who passes for whom, and who does not."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.transport.handshake_kit import (
    CASES,
    Case,
    Parties,
    Person,
    converse,
    credentials,
    domain_key,
    each_case,
    each_form,
    finish,
    has_keys,
    person,
    refused,
)
from transport.errors import HandshakeRejected, ParametersRejected
from transport.security.domain_key import DomainKey, Kind
from transport.security.ffdh import named_group
from transport.security.handshake import Credentials
from transport.security.handshake_states import State
from transport.security.suites import ALL_SUITES, suite
from transport.security.terms import (
    DOMAIN_ASYMMETRIC,
    DOMAIN_FORMS,
    DOMAIN_SYMMETRIC,
    FORM_NUMBERS,
    INITIATOR,
    KEY_TRANSPORT,
    RESPONDER,
)

if TYPE_CHECKING:
    from transport.security.handshake_side import Side

ROGUE = b"rogue"


def ended(parties: Parties, opening: Side, answering: Side) -> str:
    """Carry an attempt to the refusal it ends in, neither side with keys; return its reason.

    The honest parties' next attempt succeeds.
    """
    with pytest.raises(HandshakeRejected) as caught:
        converse(opening, answering)
    assert (has_keys(opening), has_keys(answering)) == (False, False)
    assert parties.run().initiator.state is State.ESTABLISHED
    return caught.value.reason


def first_refusal(case: Case) -> str:
    """Return what an attempt ends in whose sides do not agree on who they are and what for.

    In a key transport the first message is sealed under terms and keys: a supplier with others cannot open
    it. In all other forms it is the supplier's signature that is of something else.
    """
    return "cannot-open" if case.form == KEY_TRANSPORT else "bad-signature"


TERMS_THAT_DIFFER: list[dict[str, Any]] = [
    {"initiator": b"8988211000000000026"},
    {"responder": b"shop"},
    {"tar": bytes.fromhex("b20101")},
    {"key_index": 2},
    {"protection": "aes-256"},
    {"logic_name": b"weather"},
]


@each_case
@pytest.mark.parametrize("changes", TERMS_THAT_DIFFER, ids="-".join)
def test_sides_with_different_terms_make_no_session(case: Case, changes: dict[str, Any]) -> None:
    """Who, with whom, for which resource, keyset, protection and domain: where the sides differ, it ends."""
    parties = Parties(case)
    assert ended(parties, parties.initiator(), parties.responder(**changes)) == first_refusal(case)
    assert ended(parties, parties.initiator(**changes), parties.responder()) == first_refusal(case)


@each_form
@pytest.mark.parametrize("role", [INITIATOR, RESPONDER])
def test_sides_that_differ_on_who_signs_how(form: str, role: str) -> None:
    """The suites of both sides' own keys are in the transcript, except the module's in a domain form."""
    one, other = list(ALL_SUITES)[:2]
    parties = Parties(Case(form, one))
    changes = {f"{role}_suite": other}
    has = parties.supplier_has()
    if role == RESPONDER:
        own = person(other, "supplier")
        has = parties.supplier_has(signing_key=own.signing, sealing_key=own.sealing)
    mistaken = parties.responder(has, **changes)
    if role == INITIATOR and form in DOMAIN_FORMS:
        finish(parties.held(0, answering=mistaken))
    else:
        reasons = {"bad-signature", "bad-length"}  # one suite's shares or signatures may be longer
        assert ended(parties, parties.initiator(), mistaken) in reasons | {first_refusal(parties.case)}


def numbers(base: int, modulus: int) -> dict[str, Any]:
    """Return Diffie-Hellman parameters as terms have them."""
    return {
        "dh_base": base.to_bytes((base.bit_length() + 7) // 8, "big"),
        "dh_modulus": modulus.to_bytes((modulus.bit_length() + 7) // 8, "big"),
    }


@each_form
def test_sides_with_other_diffie_hellman_parameters(form: str) -> None:
    """Parameters make sessions when both sides have them alike: another b or M, or none named, is refused."""
    parties = Parties(Case(form, "rsa-2048-ffdh"))
    own, larger = named_group(2048).modulus, named_group(3072).modulus
    plain = parties.terms
    parties.terms = replace(plain, **numbers(4, own))
    assert parties.run().initiator.state is State.ESTABLISHED
    unnamed = {"dh_base": b"", "dh_modulus": b""}
    for others in (numbers(2, own), numbers(4, larger), unnamed):
        reason = ended(parties, parties.initiator(), parties.responder(**others))
        assert reason in {first_refusal(parties.case), "bad-length"}  # the larger M has longer shares
    # The suite's own group said in so many words is not the same terms either.
    parties.terms = plain
    reason = ended(parties, parties.initiator(), parties.responder(**numbers(2, own)))
    assert reason == first_refusal(parties.case)


@each_form
def test_parameters_that_are_none(form: str) -> None:
    """Unsafe parameters, and any in a suite that has its own, are refused before a side exists."""
    unsafe = Parties(Case(form, "rsa-2048-ffdh"))
    with pytest.raises(ParametersRejected, match="modulus-too-small"):
        unsafe.initiator(**numbers(2, 23))
    own = Parties(Case(form, "x25519"))
    with pytest.raises(ParametersRejected, match="no-parameters"):
        own.responder(**numbers(2, named_group(2048).modulus))


# Names and keys


@each_case
def test_unknown_key_share(case: Case) -> None:
    """A rogue with a registered key of his own cannot put himself between two honest sides.

    He lets the supplier believe that it is he who calls, or the module that it is he who answers, and passes
    on what the other says: whoever checks expects another's signature, or another's name under it.
    """
    parties = Parties(case)
    rogue = person(case.suite_of(INITIATOR), "rogue")
    misled = parties.responder(credentials(parties.supplier, rogue, parties.domain_key), initiator=ROGUE)
    assert ended(parties, parties.initiator(), misled) == first_refusal(case)
    rogue = person(case.suite_of(RESPONDER), "rogue")
    misled = parties.initiator(credentials(parties.module, rogue, parties.domain_key), responder=ROGUE)
    assert ended(parties, misled, parties.responder()) == first_refusal(case)


@each_case
def test_one_key_under_two_names(case: Case) -> None:
    """Registering somebody's public keys under another name does not make what he says that name's."""
    parties = Parties(case)
    assert ended(parties, parties.initiator(responder=ROGUE), parties.responder()) == first_refusal(case)
    assert ended(parties, parties.initiator(), parties.responder(initiator=ROGUE)) == first_refusal(case)


@each_case
def test_two_keys_under_one_name(case: Case) -> None:
    """Whoever has a name, but not the key that is registered for it, is refused."""
    parties = Parties(case)
    rogue = person(case.suite_of(RESPONDER), "rogue")
    impostor = parties.responder(credentials(rogue, parties.module, parties.domain_key))
    assert ended(parties, parties.initiator(), impostor) == first_refusal(case)
    if case.form not in DOMAIN_FORMS:
        rogue = person(case.suite_of(INITIATOR), "rogue")
        impostor = parties.initiator(credentials(rogue, parties.supplier))
        assert ended(parties, impostor, parties.responder()) == first_refusal(case)


def posing_as(victim: Person, thief: Person) -> Person:
    """Return *thief* who claims all public keys of *victim* and can open what is sealed to him.

    All that he says is as it should be then; but what he signs, he signs with his own key.
    """
    return Person(replace(thief.signing, public=victim.signing.public), victim.sealing)


@each_case
@pytest.mark.parametrize("thief", ["rogue", "module"])
def test_an_impostor_of_the_supplier(case: Case, thief: str) -> None:
    """Whoever lacks the supplier's signing key is refused by the module at his first signature.

    Be it a rogue, or one who has stolen the module's own keys and DK, and the supplier's key to open with.
    """
    parties = Parties(case)
    impostor = posing_as(parties.supplier, person(case.suite_of(RESPONDER), thief))
    answering = parties.responder(credentials(impostor, parties.module, parties.domain_key))
    assert ended(parties, parties.initiator(), answering) == "bad-signature"


@pytest.mark.parametrize("case", [case for case in CASES if case.form not in DOMAIN_FORMS], ids=str)
@pytest.mark.parametrize("thief", ["rogue", "supplier"])
def test_an_impostor_of_the_module(case: Case, thief: str) -> None:
    """Whoever lacks the module's signing key is refused by the supplier at his first signature.

    The impostor has keys then, with nobody: a supplier who proves himself says nothing to him that he could
    not ask for in his own name.
    """
    parties = Parties(case)
    impostor = posing_as(parties.module, person(case.suite_of(INITIATOR), thief))
    held = parties.held(2, opening=parties.initiator(credentials(impostor, parties.supplier)))
    assert refused(held.receiver, held.message) == "bad-signature"
    assert parties.run().initiator.state is State.ESTABLISHED


@pytest.mark.parametrize("kind", ALL_SUITES)
def test_an_impostor_who_cannot_open(kind: str) -> None:
    """In a key transport the signing key alone is not enough: what is sealed to the other stays closed."""
    parties = Parties(Case(KEY_TRANSPORT, kind))
    rogue = person(kind, "rogue")
    for victim, peer in ((parties.supplier, parties.module), (parties.module, parties.supplier)):
        half = Person(victim.signing, replace(rogue.sealing, public=victim.sealing.public))
        if victim is parties.supplier:
            opening, answering = parties.initiator(), parties.responder(credentials(half, peer))
        else:
            opening, answering = parties.initiator(credentials(half, peer)), parties.responder()
        assert ended(parties, opening, answering) == "cannot-open"


# Registered keys that are none


@pytest.mark.parametrize("form", [form for form in FORM_NUMBERS if form not in DOMAIN_FORMS])
def test_a_registered_key_that_is_none(form: str) -> None:
    """A peer whose registered key is degenerate never proves himself, whatever he signs."""
    parties = Parties(Case(form, "x25519"))
    none = replace(parties.supplier.signing, public=b"\1" + bytes(31))
    parties.supplier = Person(none, parties.supplier.sealing)
    held = parties.held(1)
    assert refused(held.receiver, held.message) == "bad-public-key"
    parties = Parties(Case(form, "x25519"))
    parties.module = Person(none, parties.module.sealing)
    held = parties.held(2)
    assert refused(held.receiver, held.message) == "bad-public-key"


@pytest.mark.parametrize("kind", ALL_SUITES)
def test_a_registered_sealing_key_that_is_none(kind: str) -> None:
    """Nothing is sealed to a registered key that is none: the attempt is dead before its first octet."""
    parties = Parties(Case(KEY_TRANSPORT, kind))
    none = bytes(suite(kind).sealing_public_length)
    opening = parties.initiator(parties.module_has(peer_sealing_public=none))
    with pytest.raises(HandshakeRejected, match="bad-public-key"):
        opening.start()
    assert opening.state is State.DEAD
    parties.module = Person(parties.module.signing, replace(parties.module.sealing, public=none))
    held = parties.held(0)
    assert refused(held.receiver, held.message) == "bad-public-key"


# Domains


each_domain_case = pytest.mark.parametrize(
    "case", [case for case in CASES if case.form in DOMAIN_FORMS], ids=str
)


@each_domain_case
@pytest.mark.parametrize(("name", "generation"), [("weather", 1), ("news", 2)], ids=["other", "renewed"])
def test_another_domain_key(case: Case, name: str, generation: int) -> None:
    """Sides with keys of two domains, or of two generations of one, make no session."""
    parties = Parties(case)
    other = domain_key(case.form, case.suite_of(INITIATOR), name, generation)
    module, supplier = parties.module_has(domain_key=other), parties.supplier_has(domain_key=other)
    assert ended(parties, parties.initiator(module), parties.responder()) == "bad-signature"
    assert ended(parties, parties.initiator(), parties.responder(supplier)) == "bad-signature"
    finish(parties.held(0, parties.initiator(module), parties.responder(supplier)))


@pytest.mark.parametrize("kind", ALL_SUITES)
def test_the_keys_of_a_session_need_the_domain_key(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One who knows everything about a symmetric domain key but the key itself cannot confirm a session's."""
    parties = Parties(Case(DOMAIN_SYMMETRIC, kind))
    shown = parties.domain_key.identity
    stranger = domain_key(DOMAIN_SYMMETRIC, kind, "weather")
    monkeypatch.setattr(DomainKey, "identity", property(lambda _: shown))
    impostor = parties.initiator(parties.module_has(domain_key=stranger))
    assert ended(parties, impostor, parties.responder()) == "bad-confirmation"


@pytest.mark.parametrize("kind", ALL_SUITES)
def test_the_public_half_of_a_domain_key_signs_nothing(kind: str) -> None:
    """One who has an asymmetric domain key's public half poses as no module."""
    parties = Parties(Case(DOMAIN_ASYMMETRIC, kind))
    rogue = person(kind, "rogue").signing
    forged = replace(parties.domain_key, secret=rogue.private)
    held = parties.held(2, opening=parties.initiator(parties.module_has(domain_key=forged)))
    assert forged.identity == parties.domain_key.identity
    assert refused(held.receiver, held.message) == "bad-signature"


@each_domain_case
def test_a_module_of_the_domain_as_the_supplier(case: Case) -> None:
    """A module that holds DK cannot pose as the supplier: he signs with a key of his own."""
    parties = Parties(case)
    insider = person(case.suite_of(RESPONDER), "rogue")
    answering = parties.responder(credentials(insider, parties.module, parties.domain_key))
    assert ended(parties, parties.initiator(), answering) == "bad-signature"
    if case.form == DOMAIN_ASYMMETRIC and case.suite_of(INITIATOR) == case.suite_of(RESPONDER):
        signs_with_dk = replace(parties.domain_key.signing_key, public=parties.supplier.signing.public)
        answering = parties.responder(parties.supplier_has(signing_key=signs_with_dk))
        assert ended(parties, parties.initiator(), answering) == "bad-signature"


@each_domain_case
def test_a_module_of_the_domain_as_another_module(case: Case) -> None:
    """What these forms do not prove: whoever holds DK opens a session in the name of any module.

    It is his own session, and not the other's.
    """
    parties = Parties(case)
    insider = parties.initiator(insider_has(parties))
    victims = parties.held(1)
    finish(parties.held(0, opening=insider))
    finish(victims)
    assert insider.keys != victims.receiver.keys


def insider_has(parties: Parties) -> Credentials:
    """Return what every module of the domain has: DK, and the supplier's public key."""
    return Credentials(domain_key=parties.domain_key, peer_signing_public=parties.supplier.signing.public)


@each_domain_case
def test_a_module_of_the_domain_in_the_middle(case: Case) -> None:
    """One who holds DK and opens in a module's name cannot pass the supplier's answer on to that module."""
    parties = Parties(case)
    held = parties.held(0)
    insider = parties.initiator(insider_has(parties))
    theirs = parties.held(1, opening=insider)
    waiting = copy(held.sender)
    assert refused(waiting, theirs.message) == "bad-signature"
    finish(held)


def test_two_domain_keys_have_two_identities() -> None:
    """Kind, key and generation are all in what stands for a domain key in the transcript."""
    keys = [
        domain_key(form, kind, name, generation)
        for form in DOMAIN_FORMS
        for kind in ALL_SUITES
        for name in ("news", "weather")
        for generation in (1, 2)
    ]
    # The kit draws symmetric keys for each suite apart; generations of one name share the key here.
    assert len({key.identity for key in keys}) == len(keys)
    assert {key.kind for key in keys} == {Kind.SYMMETRIC, Kind.PAIR}
