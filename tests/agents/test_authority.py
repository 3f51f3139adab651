"""The authority: certificates at the launch, the register of modules, and who may look into it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agents import link as link_module
from agents.enrolment import Registrar
from agents.errors import Refusal
from agents.identity import VALIDITY_S, RoleKeys
from agents.messages.codec import decode, encode
from agents.messages.contact import ModuleKeys
from agents.messages.inside import Done, LookUp, ModuleRecord, Register, ResourceChanged
from agents.messages.signed import Purpose, Signed, sign
from agents.randomness import make_rng
from agents.store.registry import Registry
from agents.store.tables import AUTHORITY, AUTHORITY_MODULES
from tests.agents.role_kit import TRACE, open_kit
from transport.security.certificates import Certificate, Role
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from agents.role import Desk
    from bus.address import BrokerAddress
    from tests.agents.role_kit import Kit
    from transport.security.suites import SigningKey

RNG = make_rng(1, "authority")
KEY = SUITES["x25519"].generate_signing_key(RNG)
SEALING = SUITES["x25519"].generate_sealing_key(RNG).public
KEYS = encode(ModuleKeys(signing=KEY.public, sealing=SEALING))


def register(ua: str, *, key: SigningKey = KEY, operator: str = "mno") -> Register:
    """Return what a factory registers: a module with *key*, which proves that it has it."""
    keys = encode(ModuleKeys(signing=key.public, sealing=SEALING))
    possession = sign(keys, purpose=Purpose.POSSESSION, target="root", counter=0, signer=ua, key=key)
    return Register(
        ua=ua,
        suite=key.suite,
        public=key.public,
        sealing=SEALING,
        memory=32_768,
        operator=operator,
        suites=["p256", "x25519"],
        possession=encode(possession),
    )


async def ask_as(kit: Kit, name: str) -> Desk:
    """Return *name*'s desk, from which to ask the authority."""
    puppet = await kit.puppet(name)
    return puppet.desk


@pytest.fixture
async def office(kit: Kit) -> Kit:
    """Return a market in which the authority alone is real."""
    await kit.start("root")
    return kit


def certified(kit: Kit, record: ModuleRecord) -> Certificate:
    """Return the certificate in *record*, checked as an operator does."""
    kit.directory_of_roles.module(record.certificate, kit.ua())
    return Certificate.parse(record.certificate)


async def registered(kit: Kit) -> list[str]:
    """Return the addresses in the register on disk."""
    registry = Registry(await kit.store("root", AUTHORITY), AUTHORITY_MODULES)
    await registry.load()
    return [row["ua"] for row in registry.rows()]


async def test_the_operator_gets_what_the_factory_registered(office: Kit) -> None:
    """Key and characteristics come back as they were given, and are on disk when the factory hears so."""
    factory, operator = await ask_as(office, "factory"), await ask_as(office, "mno")
    message = register(office.ua())
    assert await factory.link.ask("root", message, Done, trace=TRACE) == Done()
    assert await registered(office) == [office.ua()]
    record = await operator.link.ask("root", LookUp(ua=office.ua()), ModuleRecord, trace=TRACE)
    assert (record.memory, record.suites) == (32_768, ["p256", "x25519"])
    certificate = certified(office, record)
    assert (certificate.subject, certificate.role, certificate.suite) == (office.ua(), Role.MODULE, "x25519")
    assert (certificate.signing_public, certificate.sealing_public) == (KEY.public, SEALING)


@pytest.mark.parametrize("name", ["mno", "bank", "shop"])
async def test_nobody_but_a_personaliser_registers(office: Kit, name: str) -> None:
    """A role that the authority certified as something else is refused, and nothing is stored."""
    desk = await ask_as(office, name)
    with pytest.raises(Refusal, match="not-a-personaliser"):
        await desk.link.ask("root", register(office.ua()), Done, trace=TRACE)
    assert await registered(office) == []


async def test_the_same_registration_again_is_done_already(office: Kit) -> None:
    """The factory may be stopped before it hears the answer: asked twice, registered once."""
    factory = await ask_as(office, "factory")
    for _ in range(2):
        assert await factory.link.ask("root", register(office.ua()), Done, trace=TRACE) == Done()
    assert await registered(office) == [office.ua()]


async def test_an_address_keeps_its_key(office: Kit) -> None:
    """Another key for a registered address is refused, and the register stays as it was."""
    factory, operator = await ask_as(office, "factory"), await ask_as(office, "mno")
    await factory.link.ask("root", register(office.ua()), Done, trace=TRACE)
    other = register(office.ua(), key=SUITES["p256"].generate_signing_key(RNG))
    with pytest.raises(Refusal, match="already-registered"):
        await factory.link.ask("root", other, Done, trace=TRACE)
    record = await operator.link.ask("root", LookUp(ua=office.ua()), ModuleRecord, trace=TRACE)
    assert certified(office, record).signing_public == KEY.public


def changed(message: Register, **changes: object) -> Register:
    """Return *message* with its proof of possession altered."""
    proof = replace(decode(message.possession, Signed), **changes)  # type: ignore[arg-type]
    return replace(message, possession=encode(proof))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"target": "other"}, "possession-of-another"),
        ({"signer": "8988000000000000000"}, "possession-of-another"),
        ({"body": bytes(32)}, "possession-of-another"),
        ({"signature": bytes(64)}, "possession-not-proven"),
        ({"counter": 1}, "possession-not-proven"),
    ],
    ids=["another-authority", "another-module", "another-key", "no-signature", "another-turn"],
)
async def test_a_module_must_hold_the_key_that_is_registered_for_it(
    office: Kit, changes: dict[str, object], reason: str
) -> None:
    """The module's own signature over its key, for this authority, or no registration."""
    factory = await ask_as(office, "factory")
    with pytest.raises(Refusal, match=reason):
        await factory.link.ask("root", changed(register(office.ua()), **changes), Done, trace=TRACE)
    assert await registered(office) == []


async def test_a_signature_for_something_else_proves_no_possession(office: Kit) -> None:
    """A module's answer or request over the same octets is not its word about its key."""
    factory = await ask_as(office, "factory")
    ua = office.ua()
    answer = sign(KEYS, purpose=Purpose.ANSWER, target="root", counter=0, signer=ua, key=KEY)
    message = replace(register(ua), possession=encode(answer))
    with pytest.raises(Refusal, match="possession-not-proven"):
        await factory.link.ask("root", message, Done, trace=TRACE)


async def test_octets_that_are_no_proof_are_refused(office: Kit) -> None:
    """Garbage in the place of the proof is a refusal with its reason, not a crash."""
    factory = await ask_as(office, "factory")
    message = replace(register(office.ua()), possession=b"garbage")
    with pytest.raises(Refusal, match="not-"):
        await factory.link.ask("root", message, Done, trace=TRACE)
    assert office.counters.snapshot()["crashes"] == {}


async def test_an_unknown_suite_is_refused(office: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module whose suite nobody here knows cannot be registered: nothing could be checked later."""
    monkeypatch.setattr(link_module, "REPLY_TIMEOUT_S", 1.0)
    factory = await ask_as(office, "factory")
    message = replace(register(office.ua()), suite="rot13")
    with pytest.raises(Refusal):
        await factory.link.ask("root", message, Done, trace=TRACE)
    assert await registered(office) == []
    assert office.counters.snapshot()["crashes"] == {}


@pytest.mark.parametrize("name", ["other", "bank", "factory"])
async def test_only_its_own_operator_learns_of_a_module(office: Kit, name: str) -> None:
    """Another operator, and who is none, gets the very answer that an unknown address gets."""
    factory = await ask_as(office, "factory")
    await factory.link.ask("root", register(office.ua()), Done, trace=TRACE)
    desk = factory if name == "factory" else await ask_as(office, name)
    for ua in (office.ua(), office.ua(2)):
        with pytest.raises(Refusal, match="unknown-module"):
            await desk.link.ask("root", LookUp(ua=ua), ModuleRecord, trace=TRACE)


async def test_an_allocator_learns_of_its_operators_modules(office: Kit) -> None:
    """In whose place it stands is the authority's own knowledge: of another's modules it hears nothing."""
    factory, host = await ask_as(office, "factory"), await ask_as(office, "host")
    await factory.link.ask("root", register(office.ua()), Done, trace=TRACE)
    await factory.link.ask("root", register(office.ua(2), operator="other"), Done, trace=TRACE)
    record = await host.link.ask("root", LookUp(ua=office.ua()), ModuleRecord, trace=TRACE)
    office.directory_of_roles.module(record.certificate, office.ua())
    for index in (2, 3):
        with pytest.raises(Refusal, match="unknown-module"):
            await host.link.ask("root", LookUp(ua=office.ua(index)), ModuleRecord, trace=TRACE)


async def test_an_allocator_that_is_called_like_the_operator_learns_nothing(office: Kit) -> None:
    """It learns what the operator may whose place it takes, and nothing in its own name."""
    factory, host = await ask_as(office, "factory"), await ask_as(office, "host")
    await factory.link.ask("root", register(office.ua(), operator="host"), Done, trace=TRACE)
    with pytest.raises(Refusal, match="unknown-module"):
        await host.link.ask("root", LookUp(ua=office.ua()), ModuleRecord, trace=TRACE)


async def test_a_role_that_is_called_like_the_operator_learns_nothing(office: Kit) -> None:
    """The name in the register counts together with the role: a supplier registered as operator is none."""
    factory, bank = await ask_as(office, "factory"), await ask_as(office, "bank")
    await factory.link.ask("root", register(office.ua(), operator="bank"), Done, trace=TRACE)
    with pytest.raises(Refusal, match="unknown-module"):
        await bank.link.ask("root", LookUp(ua=office.ua()), ModuleRecord, trace=TRACE)


async def test_what_is_none_of_its_business_is_refused(office: Kit) -> None:
    """A question that the authority has no rule for gets an answer all the same."""
    desk = await ask_as(office, "mno")
    message = ResourceChanged(ua=office.ua(), service="account", state="blocked", turn=1, supplier_digest=b"")
    with pytest.raises(Refusal, match="not-my-business"):
        await desk.link.ask("root", message, Done, trace=TRACE)


async def test_the_register_outlives_a_launch(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """What was registered in one launch is looked up in the next."""
    async with open_kit(broker, fleet, tmp_path, log) as first:
        await first.start("root")
        factory = await ask_as(first, "factory")
        await factory.link.ask("root", register(first.ua()), Done, trace=TRACE)
    async with open_kit(broker, fleet, tmp_path, log, run=2) as second:
        await second.start("root")
        operator = await ask_as(second, "mno")
        record = await operator.link.ask("root", LookUp(ua=second.ua()), ModuleRecord, trace=TRACE)
        assert certified(second, record).signing_public == KEY.public


# Enrolment


async def office_at(kit: Kit, now: float) -> Registrar:
    """Return the registration office as it is opened at *now*."""
    registrar = Registrar(await kit.store("root", AUTHORITY), kit.keys["root"], now=now)
    await registrar.load()
    return registrar


async def test_a_role_keeps_its_certificate(kit: Kit) -> None:
    """Enrolled again, in the same launch or a later one, a role gets the certificate that it has."""
    now = kit.clock.now()
    bank = kit.keys["bank"]
    first = await (await office_at(kit, now)).enrol(bank)
    registrar = await office_at(kit, now + 86_400)
    assert await registrar.enrol(bank) == await registrar.enrol(bank) == first


async def test_a_new_certificate_is_made_when_the_old_one_serves_no_more(kit: Kit) -> None:
    """For other keys, another name or after ten years there is a new certificate with a serial of its own."""
    now = kit.clock.now()
    registrar = await office_at(kit, now)
    bank = kit.keys["bank"]
    first = await registrar.enrol(bank)
    renewed = await registrar.enrol(RoleKeys.make(name="bank", role=Role.SUPPLIER, suite="p256", rng=RNG))
    named = await registrar.enrol(replace(bank, name="bank2"))
    late = await office_at(kit, now + VALIDITY_S + 86_400)
    again = await late.enrol(bank)
    serials = {certificate.serial for certificate in (first, renewed, named, again)}
    assert len(serials) == 4
    assert again.signing_public == first.signing_public
    assert again.not_before > first.not_before
