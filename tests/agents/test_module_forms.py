"""Every form of secure connection in every suite, between a real module and a supplier's side of it."""

from __future__ import annotations

import random
import tomllib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agents import domains
from agents.handset.security_module.profile import LIGHT_SUITES, STANDARD
from agents.messages.air import Prove
from agents.messages.bearers import GLOBAL_SERVICES
from agents.messages.codec import encode
from tests.agents.module_kit import TAR, UA, Market, Supplier, manage
from transport.errors import HandshakeRejected
from transport.secured_packet import ResponseStatus
from transport.security.domain_key import wrap
from transport.security.handshake import Credentials, responder
from transport.security.suites import SUITES
from transport.security.terms import (
    AGREE_THEN_SIGN,
    DOMAIN_ASYMMETRIC,
    DOMAIN_FORMS,
    DOMAIN_SYMMETRIC,
    KEY_TRANSPORT,
    SIGN_THEN_AGREE,
    Terms,
)

if TYPE_CHECKING:
    from transport.security.domain_key import DomainKey
    from transport.security.handshake import Side
    from transport.security.suites import SealingKey, SigningKey

FORMS = (AGREE_THEN_SIGN, KEY_TRANSPORT, SIGN_THEN_AGREE, DOMAIN_SYMMETRIC, DOMAIN_ASYMMETRIC)
LOGIC_NAME = "points"
EVERY = replace(STANDARD, suites=list(SUITES), buffer=16_384)
MEMORY = 192 * 1024
BASE = b"\x02"
VECTORS = tomllib.loads((Path(__file__).parents[1] / "transport/vectors/suites.toml").read_text())
(MODULUS,) = (bytes.fromhex(one["modulus"]) for one in VECTORS["modulus"] if one["id"] == "MODP 2048")


@cache
def _keys(suite: str) -> tuple[SigningKey, SealingKey]:
    """Return a supplier's key pairs; those of RSA take a while to make."""
    rng = random.Random(suite).randbytes
    return SUITES[suite].generate_signing_key(rng), SUITES[suite].generate_sealing_key(rng)


@cache
def domain_key_of(suite: str, form: str) -> DomainKey:
    """Return a domain key for *form*; a pair of RSA takes a while to make."""
    return domains.new_key([form], suite, random.Random(f"{suite}/domain").randbytes)


def domain_of(market: Market, form: str, **changes: Any) -> dict[str, Any]:
    """Return what a reservation says of the domain, its key wrapped to the module but for *changes*."""
    values = {
        "ua": UA.encode(),
        "tar": TAR,
        "logic_name": LOGIC_NAME.encode(),
        "ticket": market.ticket,
    } | changes
    wrapped = wrap(
        domain_key_of(market.supplier.suite, form),
        sealing_public=market.sealing_public,
        sealing_suite=market.module_suite,
        **values,
    )
    return {"logic_name": LOGIC_NAME, "domain_key": wrapped, "message_identifier": GLOBAL_SERVICES[0]}


def _market(suite: str, form: str, *, module_suite: str = "") -> Market:
    """Return a market whose module holds a resource of a supplier of *suite*, for *form*."""
    market = Market(module_suite=module_suite or suite, size=MEMORY, module_profile=EVERY)
    signing, sealing = _keys(suite)
    market.supplier = Supplier(suite="x25519")
    market.supplier.suite, market.supplier.key = suite, signing
    market.personalise()
    needed = sealing.public if form == KEY_TRANSPORT else b""
    domain = domain_of(market, form) if form in DOMAIN_FORMS else {}
    return market.reserve(forms=[form], supplier_sealing=needed, **domain)


def _side(market: Market, form: str, *, modulus: bytes = b"") -> Side:
    """Return the supplier's side of a connection."""
    suite = market.supplier.suite
    signing, sealing = _keys(suite)
    terms = Terms(
        suite=suite,
        form=form,
        initiator=UA.encode(),
        responder=market.supplier.name.encode(),
        tar=TAR,
        initiator_suite=market.module_suite,
        responder_suite=suite,
        dh_base=BASE if modulus else b"",
        dh_modulus=modulus,
        logic_name=LOGIC_NAME.encode() if form in DOMAIN_FORMS else b"",
    )
    credentials = Credentials(
        signing_key=signing,
        sealing_key=sealing,
        peer_signing_public=market.public,
        peer_sealing_public=market.sealing_public,
        domain_key=domains.for_supplier(domain_key_of(suite, form)) if form in DOMAIN_FORMS else None,
    )
    return responder(terms, credentials, random.Random(7).randbytes)


def _connect(market: Market, form: str, *, modulus: bytes = b"") -> int:
    """Carry a connection through; return how many messages the supplier sent."""
    side = _side(market, form, modulus=modulus)
    said = side.receive(market.call().opening)
    count = 0
    while said is not None:
        count += 1
        replied = manage(market.card, encode(Prove(tar=TAR, proof=said)))
        assert replied.status is ResponseStatus.POR_OK, market.card.reasons
        said = side.receive(replied.data)
    market.supplier.keys, market.supplier.counter = side.keys, 0
    return count


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suite", SUITES)
def test_every_form_in_every_suite_ends_in_a_session(suite: str, form: str) -> None:
    """What the supplier then sends under its keys is obeyed, also after a power cut."""
    market = _market(suite, form)
    assert _connect(market, form) == (2 if form == SIGN_THEN_AGREE else 1)
    market.load()
    assert market.supplier.invoke(market.card).output == b"\x01\0"
    market.card.power_cycle()
    assert market.supplier.invoke(market.card).output == b"\x02\0"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("module_suite", "suite"), [("x25519", "rsa-2048-ffdh"), ("pq-hybrid", "p256")], ids=["to-rsa", "from-pq"]
)
def test_a_module_serves_suppliers_of_other_suites(module_suite: str, suite: str, form: str) -> None:
    """The module signs in its own suite, the agreement is in the supplier's."""
    market = _market(suite, form, module_suite=module_suite)
    _connect(market, form)
    market.load()
    assert market.supplier.invoke(market.card).reason == ""


@pytest.mark.parametrize("form", FORMS)
def test_half_a_connection_ends_nothing(form: str) -> None:
    """Until the module's last word the session before stays; with it, it is gone."""
    market = _market("x25519", form)
    _connect(market, form)
    market.load()
    before = market.card.definition().session
    old = market.supplier.packet(encode(Prove(tar=TAR, proof=b"")))  # any packet under the old keys
    side = _side(market, form)
    said = side.receive(market.call().opening)
    if form == SIGN_THEN_AGREE:
        assert said is not None
        said = side.receive(manage(market.card, encode(Prove(tar=TAR, proof=said))).data)
    after = market.card.definition().session
    assert before is not None
    assert after is not None
    assert after.keys == before.keys
    assert said is not None
    side.receive(manage(market.card, encode(Prove(tar=TAR, proof=said))).data)
    renewed = market.card.definition().session
    assert renewed is not None
    assert renewed.keys != before.keys
    market.supplier.keys = side.keys
    octets = market.card.download(old, sender=market.supplier.number)
    assert octets[-1] != ResponseStatus.POR_OK


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("other", FORMS)
def test_only_the_form_that_def_allows(form: str, other: str) -> None:
    """A supplier who answers in another form than the reservation's gets no session."""
    if other == form:
        _connect(_market("x25519", form), form)
        return
    market = _market("x25519", form)
    opening = market.call().opening
    own = _side(market, form).receive(opening)
    assert own is not None
    forged = bytes([own[0] ^ 0x70]) + own[1:]
    for proof in (forged, own[:-1], b""):
        replied = manage(market.card, encode(Prove(tar=TAR, proof=proof)))
        assert replied.status is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
    assert market.card.definition().session is None
    with pytest.raises(HandshakeRejected, match=r"wrong-form|unknown-message"):
        _side(market, other).receive(opening)
    _connect(market, form)


@pytest.mark.parametrize("suite", sorted(set(SUITES) - set(LIGHT_SUITES)))
def test_a_module_without_the_suite_reserves_nothing_of_it(suite: str) -> None:
    """The standard profile has the light suites only: the refusal says so."""
    market = Market().personalise()
    signing, _ = _keys(suite)
    refused = market.supplier.reserve(suite=suite, supplier_public=signing.public)
    assert market.command(refused).reason == "unsupported-suite"


@pytest.mark.parametrize("form", [AGREE_THEN_SIGN, SIGN_THEN_AGREE])
def test_a_group_of_ones_own(form: str) -> None:
    """B and M of the reservation are agreed over; a supplier who has others, or none, gets no session."""
    market = Market(module_suite="x25519", size=MEMORY, module_profile=EVERY)
    signing, _ = _keys("rsa-2048-ffdh")
    market.supplier = Supplier(suite="x25519")
    market.supplier.suite, market.supplier.key = "rsa-2048-ffdh", signing
    market.personalise().reserve(forms=[form], dh_base=BASE, dh_modulus=MODULUS)
    definition = market.card.definition()
    assert (definition.dh_base, definition.dh_modulus) == (BASE, MODULUS)
    with pytest.raises((AssertionError, HandshakeRejected)):
        _connect(market, form)
    assert market.card.definition().session is None
    _connect(market, form, modulus=MODULUS)
    market.load()
    assert market.supplier.invoke(market.card).reason == ""


def test_unsafe_parameters_are_refused() -> None:
    """B and M of a reservation are judged before anything is kept: size, primes, order."""
    market = Market(size=MEMORY, module_profile=EVERY).personalise()
    signing, _ = _keys("rsa-2048-ffdh")
    terms = {"suite": "rsa-2048-ffdh", "supplier_public": signing.public}
    even, small = (1 << 2047).to_bytes(256, "big"), (23).to_bytes(1, "big")
    for modulus, base, reason in (
        (small, b"\x02", "modulus-too-small"),
        (even, b"\x02", "modulus-even"),
        (bytes([0xFF]) * 256, b"\x02", "modulus-not-prime"),
    ):
        refused = market.supplier.reserve(**terms, dh_base=base, dh_modulus=modulus)
        assert market.command(refused).reason == reason
    assert market.card.module.definitions.all() == []
