"""What an authority makes and certifies while it is open: modules' keys, and later keys of operators."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.authority_keys import MOST_MADE
from agents.errors import Refusal
from agents.messages.air import RollOperatorKey
from agents.messages.codec import decode, encode
from agents.messages.contact import ModuleKeys
from agents.messages.inside import Certified, Certify, Done, MadeKeys, MakeKeys, Register
from agents.messages.signed import Purpose, Signed, sign
from agents.randomness import make_rng
from agents.store.registry import Registry
from agents.store.tables import AUTHORITY, CERTIFICATES, MADE_KEYS
from tests.agents.role_kit import TRACE, open_kit
from transport.security import certificates
from transport.security.certificates import Certificate, Role
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from agents.role import Desk
    from bus.address import BrokerAddress
    from tests.agents.role_kit import Kit
    from transport.security.suites import SealingKey, SigningKey

RNG: Final = make_rng(1, "authority keys")
KEY: Final = SUITES["x25519"].generate_signing_key(RNG)
OTHER: Final = SUITES["p256"].generate_signing_key(RNG)


@pytest.fixture
async def office(kit: Kit) -> Kit:
    """Return a market in which the authority alone is real."""
    await kit.start("root")
    return kit


async def ask_as(kit: Kit, name: str) -> Desk:
    """Return *name*'s desk, from which to ask the authority."""
    return (await kit.puppet(name)).desk


# --- modules' keys ---


async def make(factory: Desk, ua: str, suite: str = "x25519") -> tuple[SigningKey, SealingKey]:
    """Have the authority make a module's keys."""
    made = await factory.link.ask("root", MakeKeys(ua=ua, suite=suite), MadeKeys, trace=TRACE)
    kind = SUITES[suite]
    return kind.load_signing_key(made.private), kind.load_sealing_key(made.sealing_private)


def register(ua: str, signing: SigningKey, sealing: SealingKey) -> Register:
    """Return what a factory registers: a module with these keys, which proves that it has them."""
    keys = encode(ModuleKeys(signing=signing.public, sealing=sealing.public))
    possession = sign(keys, purpose=Purpose.POSSESSION, target="root", counter=0, signer=ua, key=signing)
    return Register(
        ua=ua,
        suite=signing.suite,
        public=signing.public,
        sealing=sealing.public,
        memory=32_768,
        operator="mno",
        suites=["p256", "x25519"],
        possession=encode(possession),
    )


async def made(kit: Kit) -> list[Any]:
    """Return what the authority has on disk of keys that it made."""
    registry = Registry(await kit.store("root", AUTHORITY), MADE_KEYS)
    await registry.load()
    return [row["ua"] for row in registry.rows()]


@pytest.mark.parametrize("suite", ["p256", "x25519"])
async def test_keys_are_made_and_registered(office: Kit, suite: str) -> None:
    """The authority knows them again by a digest, and by nothing once they are registered."""
    factory = await ask_as(office, "factory")
    keys = await make(factory, office.ua(), suite)
    assert await made(office) == [office.ua()]
    message = register(office.ua(), *keys)
    for _ in range(2):
        assert await factory.link.ask("root", message, Done, trace=TRACE) == Done()
    assert await made(office) == []


async def test_keys_that_are_asked_for_again(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Others are made, by the next launch too, and whichever of them the module proves are registered."""
    async with open_kit(broker, fleet, tmp_path, log) as first:
        await first.start("root")
        factory = await ask_as(first, "factory")
        keys = [await make(factory, first.ua()) for _ in range(2)]
    async with open_kit(broker, fleet, tmp_path, log, run=2) as second:
        await second.start("root")
        factory = await ask_as(second, "factory")
        keys.append(await make(factory, second.ua()))
        assert len({signing.public for signing, _ in keys}) == 3
        message = register(second.ua(), *keys[0])
        assert await factory.link.ask("root", message, Done, trace=TRACE) == Done()
        assert await made(second) == []


async def test_others_than_it_made_are_not_registered(office: Kit) -> None:
    """Nor is the signing key of one pair with the other key of another; another module's keys are its own."""
    factory = await ask_as(office, "factory")
    first, second = await make(factory, office.ua()), await make(factory, office.ua())
    own = SUITES["x25519"].generate_signing_key(RNG), SUITES["x25519"].generate_sealing_key(RNG)
    for keys in (own, (first[0], second[1])):
        with pytest.raises(Refusal, match="keys-of-another"):
            await factory.link.ask("root", register(office.ua(), *keys), Done, trace=TRACE)
    assert await factory.link.ask("root", register(office.ua(2), *own), Done, trace=TRACE) == Done()


async def test_so_many_keys_are_known_again(office: Kit) -> None:
    """Of more than that the oldest gives way."""
    factory = await ask_as(office, "factory")
    keys = [await make(factory, office.ua()) for _ in range(MOST_MADE + 1)]
    assert len(await made(office)) == MOST_MADE
    with pytest.raises(Refusal, match="keys-of-another"):
        await factory.link.ask("root", register(office.ua(), *keys[0]), Done, trace=TRACE)
    message = register(office.ua(), *keys[1])
    assert await factory.link.ask("root", message, Done, trace=TRACE) == Done()


async def test_a_module_that_is_registered_gets_no_other_keys(office: Kit) -> None:
    """Its address is taken; nothing is made."""
    factory = await ask_as(office, "factory")
    keys = await make(factory, office.ua())
    await factory.link.ask("root", register(office.ua(), *keys), Done, trace=TRACE)
    with pytest.raises(Refusal, match="already-registered"):
        await make(factory, office.ua())


@pytest.mark.parametrize("name", ["mno", "bank"])
async def test_nobody_but_a_personaliser_has_keys_made(office: Kit, name: str) -> None:
    """Who is something else would learn a module's private keys."""
    desk = await ask_as(office, name)
    with pytest.raises(Refusal, match="not-a-personaliser"):
        await make(desk, office.ua())
    assert await made(office) == []


async def test_keys_of_an_unknown_suite(office: Kit) -> None:
    """There is nothing to make."""
    factory = await ask_as(office, "factory")
    question = MakeKeys(ua=office.ua(), suite="rot13")
    with pytest.raises(Refusal, match="unknown-suite"):
        await factory.link.ask("root", question, MadeKeys, trace=TRACE)


# --- operators' keys ---


def certify(own: SigningKey, **changes: Any) -> Certify:
    """Return an operator's question for the certificate of a key, its proof altered by *changes*."""
    terms: dict[str, Any] = {
        "purpose": Purpose.POSSESSION,
        "target": "root",
        "counter": 0,
        "signer": "mno",
        "key": own,
        "body": encode(RollOperatorKey(suite=own.suite, public=own.public)),
    }
    terms |= changes
    possession = sign(terms.pop("body"), **terms)
    return Certify(suite=own.suite, public=own.public, possession=encode(possession))


async def certificate(desk: Desk, own: SigningKey, **changes: Any) -> Certificate:
    """Have an operator's key certified."""
    reply = await desk.link.ask("root", certify(own, **changes), Certified, trace=TRACE)
    return Certificate.parse(reply.certificate)


async def issued(kit: Kit) -> list[tuple[int, str]]:
    """Return serial and subject of what the authority has issued, from its disk."""
    registry = Registry(await kit.store("root", AUTHORITY), CERTIFICATES)
    await registry.load()
    return sorted((row["serial"], row["subject"]) for row in registry.rows())


async def test_an_operators_later_key(office: Kit) -> None:
    """It is certified for the operator's own name, later than all before, and on disk when it is said."""
    desk = await ask_as(office, "mno")
    before = await issued(office)
    found = await certificate(desk, OTHER)
    root = office.keys["root"]
    certificates.verify(
        found,
        issuer_public=root.signing.public,
        issuer_suite=root.suite,
        issuer="root",
        role=Role.OPERATOR,
        now=office.clock.now(),
    )
    assert (found.subject, found.suite, found.signing_public) == ("mno", "p256", OTHER.public)
    assert found.serial > max(serial for serial, _ in before)
    assert await issued(office) == [*before, (found.serial, "mno")]


async def test_the_same_key_has_the_same_certificate(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Asked again, by the next launch too, the authority issues nothing; so of the key of the enrolment."""
    async with open_kit(broker, fleet, tmp_path, log) as first:
        await first.start("root")
        desk = await ask_as(first, "mno")
        enrolled = await certificate(desk, first.keys["mno"].signing)
        assert enrolled.serial in [serial for serial, name in await issued(first) if name == "mno"]
        known = await certificate(desk, KEY)
        assert await certificate(desk, KEY) == known
    async with open_kit(broker, fleet, tmp_path, log, run=2) as second:
        await second.start("root")
        assert await certificate(await ask_as(second, "mno"), KEY) == known


async def test_a_key_that_was_replaced_is_not_certified_again(office: Kit) -> None:
    """Its certificate would be later than that of the key that took its place."""
    desk = await ask_as(office, "mno")
    await certificate(desk, KEY)
    await certificate(desk, OTHER)
    for key in (KEY, office.keys["mno"].signing):
        with pytest.raises(Refusal, match="key-was-replaced"):
            await certificate(desk, key)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key": OTHER}, "possession-not-proven"),
        ({"target": "elsewhere"}, "possession-of-another"),
        ({"signer": "other"}, "possession-of-another"),
        ({"body": encode(RollOperatorKey(suite="x25519", public=bytes(32)))}, "possession-of-another"),
        ({"purpose": Purpose.COMMAND}, "possession-not-proven"),
    ],
    ids=["by-another-key", "for-another-authority", "by-another-operator", "of-another-key", "as-a-command"],
)
async def test_an_operator_must_hold_the_key(office: Kit, changes: dict[str, Any], reason: str) -> None:
    """Its own signature with that key, for this authority, or no certificate."""
    desk = await ask_as(office, "mno")
    before = await issued(office)
    with pytest.raises(Refusal, match=reason):
        await certificate(desk, KEY, **changes)
    assert await issued(office) == before


async def test_a_proof_that_was_altered(office: Kit) -> None:
    """One octet of the signature is enough."""
    desk = await ask_as(office, "mno")
    message = certify(KEY)
    proof = decode(message.possession, Signed)
    forged = replace(proof, signature=bytes((proof.signature[0] ^ 1, *proof.signature[1:])))
    with pytest.raises(Refusal, match="possession-not-proven"):
        await desk.link.ask("root", replace(message, possession=encode(forged)), Certified, trace=TRACE)


@pytest.mark.parametrize("name", ["factory", "bank"])
async def test_nobody_but_an_operator_is_certified_as_one(office: Kit, name: str) -> None:
    """A role that the authority certified as something else is refused."""
    desk = await ask_as(office, name)
    with pytest.raises(Refusal, match="not-an-operator"):
        await certificate(desk, KEY, signer=name)


async def test_an_operator_is_certified_under_its_own_name(office: Kit) -> None:
    """Two operators that ask for one key have a certificate each, for who asks and nobody else."""
    for name in ("mno", "other"):
        found = await certificate(await ask_as(office, name), KEY, signer=name)
        assert found.subject == name
