"""What a side must bring and agree on beforehand: credentials and terms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.handshake_kit import (
    LOGIC_NAME,
    SMALLEST,
    Case,
    Parties,
    converse,
    credentials,
    domain_key,
    each_form,
    finish,
    person,
)
from transport.security.handshake import NEEDS, Credentials
from transport.security.handshake_states import State
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


NUMBERS = [{}, {"dh_base": b"\2", "dh_modulus": b"\x17"}, {"dh_base": b"\x17", "dh_modulus": b"\2"}]
ANY_TERMS = st.builds(
    lambda numbers, **others: Terms(**numbers, **others),
    numbers=st.sampled_from(NUMBERS),
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
