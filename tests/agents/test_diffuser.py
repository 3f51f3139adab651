"""A supplier's campaigns: one broadcast, the same octets each time, versions, and who cannot be loaded so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from agents.diffuser import Aerial
from agents.handset.security_module.rights import rights_mask
from agents.messages.codec import encode
from agents.messages.orders import BroadcastOrder
from agents.offers import Version
from agents.store.tables import PAGES
from agents.supplier import Supplier
from bus.bearers.cell_broadcast import CellBroadcaster
from bus.topics import Broadcast, ShortMessageTo
from tests.agents.role_kit import SUBJECTS, Kit, offer, open_kit, programme
from transport.cell_broadcast import Page, PageAssembler, packet_of
from transport.diffusion import DataPart, Domain, open_fragment
from transport.security.domain_key import DomainKey
from transport.security.terms import AGREE_THEN_SIGN, DOMAIN_ASYMMETRIC, DOMAIN_SYMMETRIC

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from agents.offers import Offer
    from agents.role import Desk
    from bus.address import BrokerAddress

READY = ("personalise", "subscribe", "reserve", "activate")
CELL = "cell"
ADD_FIVE, BALANCE = bytes.fromhex("010000000100000005"), b"\x03"


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
        cells = {"city": (CELL,), "coast": ("elsewhere",)}
        return Aerial(broadcaster=broadcaster, cells=cells, repetitions=1, clock=kit.clock)

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


def _contents(kit: Kit) -> list[bytes]:
    """Return what the pages carry, without their serial numbers."""
    return [page[2:] for page in _pages(kit)]


def _version(kit: Kit) -> int:
    (definition,) = kit.cell.phones[kit.ua()].module.definitions.all()
    return definition.version


async def _broadcast(kit: Kit, *groups: str, version: int = 1) -> str:
    """Order the broadcast; return the reason of its end, empty when it was done."""
    order = encode(BroadcastOrder(version=version, groups=list(groups)))
    event = await kit.order("broadcast", "silent", agent="bank", ua="", argument=order)
    return event.reason


@pytest.mark.parametrize("fec", [False, True], ids=["plain", "raptorq"])
@pytest.mark.parametrize("form", [DOMAIN_SYMMETRIC, DOMAIN_ASYMMETRIC, AGREE_THEN_SIGN])
async def test_a_broadcast_loads_a_module(kit: Kit, form: str, *, fec: bool) -> None:
    """The handset tells that its module has it; served afterwards, it is not given the programme again."""
    await _ready(kit, _offer(forms=(form,), fec=fec))
    assert await _broadcast(kit, "city") == ""
    event = await kit.event("broadcast")
    assert (event.result, event.service, _version(kit)) == ("ok", "silent", 1)
    number = SUBJECTS["bank"][2]
    await kit.take("serve", service="silent")
    to_module = kit.wire.on(ShortMessageTo(fleet=kit.fleet, ua=kit.ua()))
    bank = kit.roles["bank"]
    assert isinstance(bank, Supplier)
    assert bank.airings.found == {(kit.ua(), "silent", 1)}
    (airing,) = bank.airings.ended
    assert (airing.published, airing.cells, airing.repetitions) == (len(_pages(kit)), 1, 1)
    assert (airing.published, bool(airing.repair_pages)) == (airing.pages, fec)
    # The supplier's proof in two parts, and the question what is there: the programme would be one more.
    assert sum(frame.source == number for frame in to_module) == 3
    assert (await kit.order("invoke", "silent", agent="bank")).result == "ok"


async def test_a_page_that_only_leaves_a_note_waits_for_no_turn(kit: Kit) -> None:
    """That a campaign is announced is logged as the page comes; the handset stays at rest."""
    await _ready(kit, _offer())
    phone = kit.cell.phones[kit.ua()]
    assert await _broadcast(kit, "coast") == ""
    noted: list[tuple[str, bool]] = []
    with structlog.testing.capture_logs() as events:
        for frame in kit.wire.on(Broadcast(fleet=kit.fleet, cell="elsewhere")):
            await phone.idle()
            before = len(events)
            kit.clients["cell"].inject(Broadcast(fleet=kit.fleet, cell=CELL), frame)
            noted += [(one["event"], phone.is_at_rest) for one in events[before:]]
        await phone.idle()
    assert ("diffusion.announced", True) in noted
    assert _version(kit) == 1
    assert [one["event"] for one in events].count("diffusion.announced") == 1
    assert (await kit.event("broadcast")).result == "ok"


async def test_a_programme_that_cannot_be_stored_is_taken_again(kit: Kit) -> None:
    """The last page is taken again, on the module as it was stored; the next round loads it."""
    await _ready(kit, _offer())
    phone = kit.cell.phones[kit.ua()]
    before = phone.module
    kit.fail_next_save("handsets", PAGES)
    assert await _broadcast(kit, "city") == ""
    await phone.idle()
    assert kit.counters.snapshot()["crashes"] == {kit.ua(): 1}
    assert phone.module is not before
    assert (_version(kit), phone.dead_letters) == (0, ())
    for frame in kit.wire.on(Broadcast(fleet=kit.fleet, cell=CELL)):  # the next round of the carousel
        kit.clients["cell"].inject(Broadcast(fleet=kit.fleet, cell=CELL), frame)
    assert (await kit.event("broadcast")).result == "ok"
    assert _version(kit) == 1
    (definition,) = (await kit.boot(kit.ua())).definitions.all()
    assert definition.version == 1


async def test_a_campaign_is_the_same_octets_each_time(
    kit: Kit, broker: BrokerAddress, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Ordered again, and by a later launch: what modules have collected by then stays of use.

    The pages have another update number, so that a module that has it all hears the same as new, and tells.
    """
    await _ready(kit, _offer())
    assert await _broadcast(kit) == ""
    first = _contents(kit)
    await kit.event("broadcast")
    seen = len(kit.events)
    assert await _broadcast(kit) == ""
    assert (await kit.event("broadcast", after=seen)).result == "ok"
    assert _contents(kit) == first * 2
    assert len(set(_pages(kit))) == 2 * len(set(first))
    async with open_kit(broker, f"{kit.fleet}2", tmp_path, log, run=2) as later:
        later.keys = kit.keys
        _give_aerial(later)
        later.offers["bank"] = [_offer()]
        await later.start("bank")
        assert await _broadcast(later) == ""
        assert _contents(later) == first


@pytest.mark.parametrize(
    ("changes", "groups", "reason"),
    [
        ({"forms": (AGREE_THEN_SIGN,), "logic_name": "", "custody": ""}, [], "not-global"),
        ({"forms": (DOMAIN_ASYMMETRIC,), "custody": "operator"}, [], "no-domain-key"),
        ({}, ["moon"], "unknown-group"),
        ({"code": bytes(70_000), "code_size": 4096}, [], "too-large-to-broadcast"),
    ],
    ids=["not-global", "public-half", "no-cell", "too-large"],
)
async def test_what_cannot_be_broadcast(
    kit: Kit, changes: dict[str, Any], groups: list[str], reason: str
) -> None:
    """It is said before a page is sent."""
    _give_aerial(kit)
    kit.offers["bank"] = [_offer(**changes)]
    await kit.start("root", "mno", "bank")
    await kit.agree("silent")
    assert await _broadcast(kit, *groups) == reason
    assert _pages(kit) == []


async def test_a_supplier_without_cells_broadcasts_nothing(kit: Kit) -> None:
    """Nor does one whose service nobody has agreed."""
    kit.offers["bank"] = [_offer()]
    await kit.start("root", "mno", "bank")
    assert await _broadcast(kit) == "unknown-service"
    await kit.agree("silent")
    assert await _broadcast(kit) == "no-broadcast"


# Versions


def _points(*parts: DataPart, **changes: Any) -> Offer:
    """Return a global service that counts points, with a later version for each of *parts*."""
    code = programme("loyalty")
    updates = tuple(
        Version(number=number, code=code + b"\0\1\0" * number, data_part=part)
        for number, part in enumerate(parts, 2)
    )
    terms = {"backend": "loyalty", "code": code, "data_size": 64, "updates": updates}
    return _offer(**(terms | changes))


async def _balance(kit: Kit, argument: bytes = BALANCE) -> int:
    event = await kit.order("invoke", "silent", agent="bank", argument=argument)
    assert event.result == "ok"
    return int.from_bytes(event.output)


async def _heard(kit: Kit, version: int) -> None:
    """Broadcast a version to the module; return when its handset tells that it has it."""
    seen = len(kit.events)
    assert await _broadcast(kit, "city", version=version) == ""
    assert (await kit.event("broadcast", after=seen)).result == "ok"
    assert _version(kit) == version


@pytest.mark.parametrize("part", DataPart)
@pytest.mark.parametrize("group", ["city", "coast"])
async def test_a_version_that_is_served_is_as_one_that_is_heard(kit: Kit, part: DataPart, group: str) -> None:
    """Points that were collected stay or go as the supplier signed it, by broadcast and by call alike."""
    await _ready(kit, _points(part))
    await _heard(kit, 1)
    await kit.take("serve", service="silent")
    assert await _balance(kit, ADD_FIVE) == 5
    if group == "city":
        await _heard(kit, 2)
    else:
        assert await _broadcast(kit, "coast", version=2) == ""
        assert _version(kit) == 1
    await kit.take("serve", service="silent")
    assert _version(kit) == 2
    assert await _balance(kit) == (5 if part is DataPart.KEEP else 0)


async def test_a_first_call_takes_no_points_away(kit: Kit) -> None:
    """Points that were collected between a broadcast and the first call are there after it."""
    await _ready(kit, _points(DataPart.KEEP))
    await _heard(kit, 1)
    event = await kit.order("invoke", "silent", agent=kit.ua(), argument=ADD_FIVE)
    assert (event.result, event.output) == ("ok", bytes((0, 0, 0, 5)))
    assert await _broadcast(kit, "coast", version=2) == ""
    await kit.take("serve", service="silent")
    assert (_version(kit), await _balance(kit)) == (2, 5)


async def test_personal_data_are_given_again_after_a_version_that_took_them(kit: Kit) -> None:
    """A key of the module's own goes with a data part that begins anew; the next call brings it back."""
    code = programme("account")
    updates = tuple(
        Version(number=number, code=code + b"\0\1\0" * number, data_part=part)
        for number, part in ((2, DataPart.RESET), (3, DataPart.KEEP))
    )
    terms = {"backend": "account", "code": code, "data_size": 256, "rights": rights_mask(("hmac",))}
    await _ready(kit, _offer(forms=(AGREE_THEN_SIGN,), updates=updates, **terms))
    await _heard(kit, 1)
    await kit.take("serve", service="silent")
    assert (await kit.order("invoke", "silent", agent="bank")).result == "ok"
    await _heard(kit, 2)
    await _heard(kit, 3)
    assert (await kit.order("invoke", "silent", agent="bank")).result != "ok"
    await kit.take("serve", service="silent")
    assert (await kit.order("invoke", "silent", agent="bank")).result == "ok"


async def test_who_comes_later_is_told_what_is_too_old(kit: Kit) -> None:
    """A module that is reserved after version 3 does not take what somebody recorded of version 1."""
    await _ready(kit, _points(DataPart.KEEP, DataPart.KEEP))
    await _heard(kit, 1)
    recorded = kit.wire.on(Broadcast(fleet=kit.fleet, cell=CELL))
    await _heard(kit, 3)
    await kit.handset(kit.ua(2))
    await kit.take(*READY, service="silent", ua=kit.ua(2))
    console = await kit.client("console", persistent=False)
    for frame in recorded:
        await console.publish(Broadcast(fleet=kit.fleet, cell=CELL), frame)
    event = await kit.order("invoke", "silent", ua=kit.ua(2), agent=kit.ua(2))
    assert (event.result, event.reason) == ("refused", "invoke-when-reserved")
    seen = len(kit.events)
    await _heard(kit, 3)
    assert (await kit.event("broadcast", ua=kit.ua(2), after=seen)).result == "ok"


async def test_who_knows_the_supplier_by_an_older_key_is_served(kit: Kit) -> None:
    """A campaign is signed with the newest key: who was not told of it takes nothing, until it calls."""
    await _ready(kit, _points(DataPart.KEEP))
    await kit.handset(kit.ua(2))
    await kit.take(*READY, service="silent", ua=kit.ua(2))
    rolled = await kit.order("roll-supplier-key", "silent", ua=kit.ua(2), agent="mno", argument=b"1")
    assert rolled.result == "ok"
    assert await _broadcast(kit, "city") == ""
    assert (await kit.event("broadcast", ua=kit.ua(2))).result == "ok"
    event = await kit.order("invoke", "silent", agent=kit.ua())
    assert (event.result, _version(kit)) == ("refused", 0)
    await kit.take("serve", service="silent")
    assert _version(kit) == 1


async def test_versions_only_rise(kit: Kit) -> None:
    """What was broadcast is the newest; an older one, and one that nobody knows, are refused."""
    await _ready(kit, _points(DataPart.KEEP, DataPart.KEEP))
    await _heard(kit, 3)
    pages = len(_pages(kit))
    assert await _broadcast(kit, "city", version=2) == "version-not-newer"
    assert await _broadcast(kit, "city") == "version-not-newer"
    assert await _broadcast(kit, "city", version=4) == "unknown-version"
    assert (len(_pages(kit)), _version(kit)) == (pages, 3)


async def test_no_counter_stands_for_two_contents(kit: Kit) -> None:
    """Each version is a campaign with a number of its own; one that is ordered again is the same octets."""
    await _ready(kit, _points(DataPart.KEEP))
    for version in (1, 2, 2):
        await _heard(kit, version)
    (definition,) = kit.cell.phones[kit.ua()].module.definitions.all()
    domain = Domain(
        tar=definition.tar,
        logic_name=definition.logic_name.encode(),
        supplier=definition.supplier.encode(),
        supplier_suite=definition.suite,
        supplier_public=definition.supplier_public,
        domain_key=DomainKey.load(definition.domain_key),
    )
    assembler, contents = PageAssembler(versions_apart=True), dict[int, set[bytes]]()
    for octets in _pages(kit):
        content = assembler.receive(Page.parse(octets), 0.0)
        if content is not None:
            fragment = open_fragment(packet_of(content), domain)
            contents.setdefault(fragment.counter, set()).add(fragment.data)
    assert {counter >> 16 for counter in contents} == {1, 2}
    assert {len(data) for data in contents.values()} == {1}


async def test_the_newest_version_outlives_a_restart(
    broker: BrokerAddress, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Programme and all: a later launch, whose offers know nothing of it, serves it, and takes no other."""
    async with open_kit(broker, "outlives", tmp_path, log) as kit:
        await _ready(kit, _points(DataPart.KEEP))
        await _heard(kit, 1)
        assert await _broadcast(kit, "coast", version=2) == ""
    async with open_kit(broker, "outlives", tmp_path, log, run=2) as kit:
        _give_aerial(kit)
        other = Version(number=2, code=programme("loyalty"))
        kit.offers["bank"] = [_points(updates=(other,))]
        await kit.start("root", "factory", "mno", "bank")
        await kit.handset()
        await kit.take("serve", service="silent")
        assert _version(kit) == 2
        assert await _broadcast(kit, "city", version=2) == "version-not-newer"
