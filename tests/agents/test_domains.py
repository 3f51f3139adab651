"""Global services between the roles: who makes the domain key, who gets to see it, and who does not."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agents.errors import Refusal
from agents.identity import certify_module
from agents.messages.inside import Agree, Agreed, WrapDomainKey, WrappedDomainKey
from agents.randomness import make_rng
from tests.agents.role_kit import SUBJECTS, TRACE, Kit, offer, programme
from tests.agents.test_operator import agree
from transport.security.domain_key import DomainKey, Kind, unwrap
from transport.security.suites import SUITES
from transport.security.terms import AGREE_THEN_SIGN, DOMAIN_ASYMMETRIC, DOMAIN_SYMMETRIC

if TYPE_CHECKING:
    from agents.offers import Offer
    from tests.agents.role_kit import Puppet

SERVED = ("personalise", "subscribe", "reserve", "activate", "serve")


def _offer(form: str, custody: str) -> Offer:
    """Return a global service without personal data."""
    points = offer("silent", backend="none", code=programme("silent"), data_size=16)
    return replace(points, forms=(form,), logic_name="points", custody=custody)


def _kept(kit: Kit, name: str, table: str) -> bytes:
    """Return the domain key that *name* has on disk for the one service in *table*."""
    database = sqlite3.connect(kit.directory / f"{name}.db")
    ((octets,),) = database.execute(f"SELECT domain_key FROM {table}").fetchall()  # noqa: S608
    database.close()
    return bytes(octets)


def _in_module(kit: Kit) -> DomainKey:
    module = kit.cell.phones[kit.ua()].module
    (definition,) = module.definitions.all()
    return DomainKey.load(definition.domain_key)


@pytest.mark.parametrize("form", [DOMAIN_SYMMETRIC, DOMAIN_ASYMMETRIC])
@pytest.mark.parametrize("custody", ["supplier", "operator"])
async def test_a_domain_key_reaches_its_module(kit: Kit, form: str, custody: str) -> None:
    """Who made it has it on disk, the module has it in DEF, and the other has only what the form needs."""
    kit.offers["bank"] = [_offer(form, custody)]
    await kit.start("root", "factory", "mno", "bank")
    await kit.handset()
    await kit.agree("silent")
    await kit.take(*SERVED, service="silent")
    key = _in_module(kit)
    # What a supplier wraps comes with the version that it offers.
    assert key.oldest == (1 if custody == "supplier" else 0)
    key = replace(key, oldest=0)
    of_operator, of_supplier = _kept(kit, "mno", "agreements"), _kept(kit, "bank", "services")
    assert (of_operator == key.dump()) is (custody == "operator")
    half = key.public_half().dump() if key.kind is Kind.PAIR else key.dump()
    assert of_supplier == (key.dump() if custody == "supplier" else half)


@pytest.mark.parametrize(
    ("custody", "name", "table"),
    [("supplier", "bank", "services"), ("operator", "mno", "agreements")],
    ids=["supplier", "operator"],
)
async def test_agreed_again_a_service_keeps_its_domain_key(
    kit: Kit, custody: str, name: str, table: str
) -> None:
    """An order that comes twice makes no second key: modules that have the first stay in the domain."""
    kit.offers["bank"] = [_offer(DOMAIN_SYMMETRIC, custody)]
    await kit.start("root", "mno", "bank")
    await kit.agree("silent")
    before = _kept(kit, name, table)
    await kit.agree("silent")
    assert before
    assert _kept(kit, name, table) == before


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"forms": [DOMAIN_SYMMETRIC]}, "no-domain-key"),
        ({"logic_name": "points"}, "bad-domain"),
        ({"custody": "supplier"}, "bad-domain"),
        (
            {
                "forms": [DOMAIN_SYMMETRIC, DOMAIN_ASYMMETRIC],
                "logic_name": "points",
                "custody": "supplier",
            },
            "bad-domain",
        ),
    ],
    ids=["form-alone", "name-alone", "custody-alone", "two-kinds"],
)
async def test_a_domain_that_cannot_be_agreed(kit: Kit, changes: dict[str, Any], reason: str) -> None:
    """Logic name, custody and forms have to fit each other; the supplier hears why they do not."""
    await kit.start("root", "mno")
    bank = await kit.puppet("bank")
    with pytest.raises(Refusal, match=reason):
        await bank.desk.link.ask("mno", agree(**changes), Agreed, trace=TRACE)


async def test_a_logic_name_is_of_one_service(kit: Kit) -> None:
    """Another service under the same logic name would share its modules' key: refused, also to its owner."""
    await kit.start("root", "mno")
    bank, shop = await kit.puppet("bank"), await kit.puppet("shop")
    domain = {"logic_name": "points", "custody": "operator"}
    agreed = await bank.desk.link.ask("mno", agree("one", **domain), Agreed, trace=TRACE)
    assert DomainKey.load(agreed.domain_key).kind is Kind.SYMMETRIC
    for puppet in (bank, shop):
        with pytest.raises(Refusal, match="logic-name-taken"):
            await puppet.desk.link.ask("mno", agree("two", **domain), Agreed, trace=TRACE)


async def _agreed(kit: Kit, custody: str = "supplier") -> Puppet:
    """Start a bank that has agreed a global service with a puppet; return the puppet."""
    kit.offers["bank"] = [_offer(DOMAIN_SYMMETRIC, custody)]
    mno = await kit.puppet("mno")
    mno.says = lambda question: Agreed(
        service="silent",
        tar=b"\xa0\0\x01",
        domain_key=bytes(37) if getattr(question.message, "custody", "") == "operator" else b"",
    )
    await kit.start("bank")
    await kit.agree("silent")
    assert isinstance(mno.questions[0].message, Agree)
    return mno


def _wrap(kit: Kit, *, service: str = "silent", issuer: str = "root", sealing: bytes) -> WrapDomainKey:
    signing = SUITES["x25519"].generate_signing_key(make_rng(1, "module")).public
    certificate = certify_module(
        kit.ua(), "x25519", signing, sealing, issuer=kit.keys[issuer], now=kit.clock.now()
    )
    return WrapDomainKey(ua=kit.ua(), service=service, certificate=certificate.encode(), ticket=b"occasion")


async def test_the_operator_forwards_what_it_cannot_read(kit: Kit) -> None:
    """What the supplier gives out opens with the module's key alone, and for this address and name alone."""
    mno = await _agreed(kit)
    module = SUITES["x25519"].generate_sealing_key(make_rng(1, "sealing"))
    question = _wrap(kit, sealing=module.public)
    wrapped = await mno.desk.link.ask("bank", question, WrappedDomainKey, trace=TRACE)
    key = unwrap(
        wrapped.octets,
        module,
        ua=kit.ua().encode(),
        tar=b"\xa0\0\x01",
        logic_name=b"points",
        ticket=b"occasion",
    )
    assert replace(key, oldest=0).dump() == _kept(kit, "bank", "services")
    assert key.secret not in wrapped.octets


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("another-operator", "not-my-operator"),
        ("own-certificate", "bad-signature|wrong-issuer"),
        ("no-sealing-key", "bad-public-key"),
        ("unknown-service", "unknown-service"),
        ("operators-custody", "not-my-domain-key"),
    ],
)
async def test_who_gets_no_domain_key(kit: Kit, case: str, reason: str) -> None:
    """Not another operator; not the operator itself, with a module key of its own; not for no such key."""
    mno = await _agreed(kit, "operator" if case == "operators-custody" else "supplier")
    other = await kit.puppet("other")
    asker = other if case == "another-operator" else mno
    question = _wrap(
        kit,
        service="account" if case == "unknown-service" else "silent",
        issuer="mno" if case == "own-certificate" else "root",
        sealing=b"" if case == "no-sealing-key" else bytes(range(32)),
    )
    with pytest.raises(Refusal, match=reason):
        await asker.desk.link.ask("bank", question, WrappedDomainKey, trace=TRACE)


async def test_a_pair_form_of_a_global_service(kit: Kit) -> None:
    """The logic name is in the terms of every form: a global service may prove each module for itself."""
    kit.offers["bank"] = [_offer(AGREE_THEN_SIGN, "supplier")]
    await kit.start("root", "factory", "mno", "bank")
    await kit.handset()
    await kit.agree("silent")
    await kit.take(*SERVED, service="silent")
    assert _in_module(kit).kind is Kind.SYMMETRIC
    assert SUBJECTS["bank"][1] == "p256"
