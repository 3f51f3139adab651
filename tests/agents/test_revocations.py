"""Revoked suppliers: what is stored first, what is refused from then on, and who notices nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Final

import pytest

from agents.errors import Refusal
from agents.messages.inside import Done, LookUp, NextSupplierKey, SupplierKey
from agents.subscriptions import ACTIVE, RELEASED
from tests.agents.role_kit import PATIENCE_S, TRACE, open_kit
from transport.errors import CertificateRejected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from bus.address import BrokerAddress
    from bus.frame import Frame
    from tests.agents.role_kit import Kit

BANK: Final = b"bank"
SERVED: Final = ("subscribe", "reserve", "activate", "serve")


@pytest.fixture
def by_certificate() -> bool:
    """Return whether the market has certificates: a test that tries both says so."""
    return True


@pytest.fixture
async def served(
    broker: BrokerAddress,
    fleet: str,
    tmp_path: Path,
    log: FilteringBoundLogger,
    by_certificate: bool,  # noqa: FBT001 -- a fixture
) -> AsyncIterator[Kit]:
    """Yield a market in which the first module is served by the bank and by the shop."""
    async with open_kit(broker, fleet, tmp_path, log, by_certificate=by_certificate) as kit:
        await kit.start("root", "factory", "mno", "other", "bank", "shop")
        await kit.handset()
        await kit.agree("account", "silent", "loyalty")
        await kit.take("personalise")
        for service in ("account", "loyalty"):
            await kit.take(*SERVED, service=service)
        yield kit


async def revoke(kit: Kit, service: str = "account", supplier: bytes = BANK) -> tuple[str, str]:
    """Revoke a supplier, and release one of its resources in the first module."""
    event = await kit.order("revoke-supplier", service, argument=supplier)
    return event.result, event.reason


async def outcome(kit: Kit, do: str, service: str, agent: str = "", argument: bytes = b"") -> tuple[str, str]:
    """Give an order; return how it ended."""
    event = await kit.order(do, service, agent=agent, argument=argument)
    return event.result, event.reason


def held(kit: Kit) -> set[str]:
    """Return which services the first module has a resource of."""
    return {each.service for each in kit.cell.phones[kit.ua()].module.definitions.all()}


def revoked_on_disk(kit: Kit) -> list[str]:
    """Return who is revoked, as the operator's database has it."""
    with sqlite3.connect(kit.directory / "mno.db") as database:
        rows = database.execute("SELECT supplier FROM revoked_suppliers").fetchall()
    database.close()
    return [name for (name,) in rows]


BOTH = pytest.mark.parametrize("by_certificate", [True, False], ids=["certificates", "bare-keys"])


@BOTH
async def test_a_revoked_suppliers_resource_is_released_and_nothing_is_done_for_it(served: Kit) -> None:
    """Whatever is ordered for it is refused as revoked; what takes from it is not."""
    assert await revoke(served) == ("ok", "")
    assert held(served) == {"loyalty"}
    assert served.operator().states() == {RELEASED: 1, ACTIVE: 1}
    for do in ("subscribe", "reserve", "activate"):
        assert (do, await outcome(served, do, "account")) == (do, ("refused", "revoked"))
    roll = await outcome(served, "roll-supplier-key", "account", argument=b"1")
    assert roll == ("refused", "revoked")
    for do in ("block", "unblock"):
        assert await outcome(served, do, "account") == ("refused", "subscription-released")
    assert await outcome(served, "release", "account") == ("ok", "")


@pytest.mark.parametrize(("do", "argument"), [("unblock", b""), ("renew", b"0 0")])
async def test_what_is_still_held_is_not_given_back(kit: Kit, do: str, argument: bytes) -> None:
    """A resource in a module that the revocation was not about is of no more use; it can be released."""
    await kit.start("root", "factory", "mno", "bank")
    await kit.handset()
    await kit.agree("account", "silent")
    await kit.take("personalise", *SERVED)
    if do == "unblock":
        await kit.take("block")
    assert await revoke(kit, "silent") == ("ok", "")
    assert await outcome(kit, do, "account", argument=argument) == ("refused", "revoked")
    assert await outcome(kit, "audit", "") == ("ok", "")
    assert await revoke(kit) == ("ok", "")
    assert held(kit) == set()


@BOTH
async def test_what_it_asks_is_refused_by_everybody(served: Kit) -> None:
    """By its operator, and by whomever else goes by the operator's word; nobody asks it anything either."""
    await revoke(served)
    event = await served.order("agree", "silent", agent="bank", ua="")
    assert (event.result, event.reason) == ("refused", "revoked")
    bank, shop, mno = (served.roles[name].desk for name in ("bank", "shop", "mno"))
    for to in ("root", "other", "shop"):
        with pytest.raises(Refusal, match="revoked"):
            await bank.link.ask(to, LookUp(ua=served.ua()), Done, trace=TRACE)
    with pytest.raises(Refusal, match="unknown-module"):
        await shop.link.ask("root", LookUp(ua=served.ua()), Done, trace=TRACE)
    question = NextSupplierKey(service="account", roll=1, former=b"")
    with pytest.raises(CertificateRejected, match="revoked"):
        await mno.link.ask("bank", question, SupplierKey, trace=TRACE)


async def test_its_calls_end_in_refusals(served: Kit) -> None:
    """The subscriber's at the module, which has no such resource; the supplier's own packets there too."""
    await revoke(served)
    assert await outcome(served, "serve", "account") == ("refused", "unknown-resource")
    result, reason = await outcome(served, "invoke", "account", agent="bank")
    assert (result, reason) == ("failed", "tar-unknown")


async def test_the_others_notice_nothing(served: Kit) -> None:
    """Another supplier in the same module goes on, is served anew, and agrees; the audit finds no fault."""
    await revoke(served)
    assert (await outcome(served, "invoke", "loyalty", agent="shop"))[0] == "ok"
    await served.take("serve", service="loyalty")
    await served.agree("liar")
    assert await outcome(served, "audit", "") == ("ok", "")
    with pytest.raises(Refusal, match="unknown-module"):
        await served.roles["other"].desk.link.ask("root", LookUp(ua=served.ua()), Done, trace=TRACE)


async def test_revoked_twice_is_revoked_once(served: Kit) -> None:
    """Given again, and for each of its resources, had or never had, the order ends well."""
    for service in ("account", "account", "silent"):
        assert await revoke(served, service) == ("ok", "")
    assert revoked_on_disk(served) == ["bank"]
    assert held(served) == {"loyalty"}


async def test_a_resource_of_another_supplier_is_not_released(served: Kit) -> None:
    """An order that names one supplier and the service of another is refused before anything is done."""
    assert await revoke(served, "loyalty") == ("refused", "service-of-another")
    assert revoked_on_disk(served) == []
    assert held(served) == {"account", "loyalty"}


async def test_who_was_never_agreed_with_can_be_revoked(kit: Kit) -> None:
    """There is nothing to release, and nothing will be agreed."""
    await kit.start("root", "mno", "bank")
    assert await revoke(kit) == ("ok", "")
    event = await kit.order("agree", "account", agent="bank", ua="")
    assert (event.result, event.reason) == ("refused", "revoked")


async def test_whom_the_authority_certified_its_operator_refuses_all_the_same(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """The certificate is not the operator's to revoke, so others go by it; the operator does not."""
    async with open_kit(broker, fleet, tmp_path, log, issuers={"bank": "root"}) as kit:
        await kit.start("root", "mno", "bank")
        await kit.agree("account")
        assert await revoke(kit) == ("ok", "")
        assert kit.directory_of_roles.party("bank").issuer == "root"
        event = await kit.order("agree", "account", agent="bank", ua="")
        assert (event.result, event.reason) == ("refused", "revoked")
        assert await outcome(kit, "reserve", "account") == ("refused", "revoked")


async def test_it_is_stored_before_anything_is_released(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Stopped in between, the supplier is out all the same; the order, given again, comes to its end."""
    async with open_kit(broker, fleet, tmp_path, log) as kit:
        await kit.start("root", "factory", "mno", "bank")
        phone = await kit.handset()
        await kit.agree("account")
        await kit.take("personalise", *SERVED)
        leaving: list[list[str]] = []
        left = asyncio.Event()

        def withhold(path: str, frame: Frame) -> list[Frame]:
            if "sms/mt" not in path:
                return [frame]
            leaving.append(revoked_on_disk(kit))
            left.set()
            return []

        kit.clients["mno"].alter = withhold
        await kit.send_order("revoke-supplier", "account", agent="mno", ua=kit.ua(), argument=BANK)
        async with asyncio.timeout(PATIENCE_S):
            await left.wait()
        assert leaving[0] == ["bank"]
        assert len(phone.module.definitions.all()) == 1
    async with open_kit(broker, fleet, tmp_path, log, run=2) as kit:
        await kit.start("root", "factory", "mno", "bank")
        await kit.handset()
        event = await kit.order("agree", "account", agent="bank", ua="")
        assert (event.result, event.reason) == ("refused", "revoked")
        assert await outcome(kit, "reserve", "account") == ("refused", "revoked")
        assert await revoke(kit) == ("ok", "")
        assert held(kit) == set()
