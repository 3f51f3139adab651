"""A supplier's campaigns: one broadcast, the same octets each time, and who cannot be loaded so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agents.diffuser import Aerial
from bus.bearers.cell_broadcast import CellBroadcaster
from bus.topics import Broadcast, ShortMessageTo
from tests.agents.role_kit import SUBJECTS, Kit, offer, open_kit, programme
from transport.security.terms import AGREE_THEN_SIGN, DOMAIN_ASYMMETRIC, DOMAIN_SYMMETRIC

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from agents.offers import Offer
    from agents.role import Desk
    from bus.address import BrokerAddress

READY = ("personalise", "subscribe", "reserve", "activate")
CELL = "cell"


def _offer(**changes: Any) -> Offer:
    """Return a global service without personal data, but for *changes*."""
    silent = offer("silent", backend="none", code=programme("silent"), data_size=16)
    terms = {"forms": (DOMAIN_SYMMETRIC,), "logic_name": "points", "custody": "supplier"}
    return replace(silent, **(terms | changes))


def _give_aerial(kit: Kit) -> None:
    def aerial(desk: Desk) -> Aerial:
        broadcaster = CellBroadcaster(
            desk.client,
            fleet=kit.fleet,
            source=desk.keys.name,
            clock=kit.clock,
            counters=kit.counters,
            rng=kit.rng("broadcast"),
            log=kit.log,
        )
        return Aerial(broadcaster=broadcaster, cells={"city": (CELL,)}, repetitions=1)

    kit.aerial = aerial


async def _ready(kit: Kit, offered: Offer) -> None:
    """Bring a market to where the module holds the service, and nothing is loaded."""
    _give_aerial(kit)
    kit.offers["bank"] = [offered]
    await kit.start("root", "factory", "mno", "bank")
    await kit.handset()
    await kit.agree("silent")
    await kit.take(*READY, service="silent")


def _pages(kit: Kit) -> list[bytes]:
    return [frame.pdu for frame in kit.wire.on(Broadcast(fleet=kit.fleet, cell=CELL))]


def _version(kit: Kit) -> int:
    (definition,) = kit.cell.phones[kit.ua()].module.definitions.all()
    return definition.version


async def _broadcast(kit: Kit, groups: bytes = b"") -> str:
    """Order the broadcast; return the reason of its end, empty when it was done."""
    event = await kit.order("broadcast", "silent", agent="bank", ua="", argument=groups)
    return event.reason


@pytest.mark.parametrize("fec", [False, True], ids=["plain", "raptorq"])
@pytest.mark.parametrize("form", [DOMAIN_SYMMETRIC, DOMAIN_ASYMMETRIC, AGREE_THEN_SIGN])
async def test_a_broadcast_loads_a_module(kit: Kit, form: str, *, fec: bool) -> None:
    """The handset tells that its module has it; served afterwards, it is not given the programme again."""
    await _ready(kit, _offer(forms=(form,), fec=fec))
    assert await _broadcast(kit, b"city") == ""
    event = await kit.event("broadcast")
    assert (event.result, event.service, _version(kit)) == ("ok", "silent", 1)
    number = SUBJECTS["bank"][2]
    await kit.take("serve", service="silent")
    to_module = kit.wire.on(ShortMessageTo(fleet=kit.fleet, ua=kit.ua()))
    # The supplier's proof in two parts, and the question what is there: the programme would be one more.
    assert sum(frame.source == number for frame in to_module) == 3
    assert (await kit.order("invoke", "silent", agent="bank")).result == "ok"


async def test_a_campaign_is_the_same_octets_each_time(
    kit: Kit, broker: BrokerAddress, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Ordered again, and by a later launch: what modules have collected by then stays of use."""
    await _ready(kit, _offer())
    assert await _broadcast(kit) == ""
    first = _pages(kit)
    assert await _broadcast(kit) == ""
    assert _pages(kit) == first * 2
    async with open_kit(broker, f"{kit.fleet}2", tmp_path, log, run=2) as later:
        later.keys = kit.keys
        _give_aerial(later)
        later.offers["bank"] = [_offer()]
        await later.start("bank")
        assert await _broadcast(later) == ""
        assert _pages(later) == first


@pytest.mark.parametrize(
    ("changes", "groups", "reason"),
    [
        ({"forms": (AGREE_THEN_SIGN,), "logic_name": "", "custody": ""}, b"", "not-global"),
        ({"forms": (DOMAIN_ASYMMETRIC,), "custody": "operator"}, b"", "no-domain-key"),
        ({}, b"coast", "unknown-group"),
        ({"code": bytes(70_000), "code_size": 4096}, b"", "too-large-to-broadcast"),
    ],
    ids=["not-global", "public-half", "no-cell", "too-large"],
)
async def test_what_cannot_be_broadcast(
    kit: Kit, changes: dict[str, Any], groups: bytes, reason: str
) -> None:
    """It is said before a page is sent."""
    _give_aerial(kit)
    kit.offers["bank"] = [_offer(**changes)]
    await kit.start("root", "mno", "bank")
    await kit.agree("silent")
    assert await _broadcast(kit, groups) == reason
    assert _pages(kit) == []


async def test_a_supplier_without_cells_broadcasts_nothing(kit: Kit) -> None:
    """Nor does one whose service nobody has agreed."""
    kit.offers["bank"] = [_offer()]
    await kit.start("root", "mno", "bank")
    assert await _broadcast(kit) == "unknown-service"
    await kit.agree("silent")
    assert await _broadcast(kit) == "no-broadcast"
