"""A supplier's roll-overs of a domain key: who is given the next one and how, and who is not."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.diffuser import Aerial
from agents.errors import Refusal
from agents.handset.security_module import domain
from agents.handset.security_module.core import Identity
from agents.handset.security_module.memory import Memory, Record
from agents.handset.security_module.module import SecurityModule
from agents.identity import certify_module
from agents.messages.codec import decode, encode
from agents.messages.inside import Activate, Done, ResourceChanged, WrapDomainKey, WrappedDomainKey
from agents.messages.orders import BroadcastOrder, DomainRollOrder
from agents.randomness import make_rng
from bus.bearers.cell_broadcast import CellBroadcaster
from bus.topics import Broadcast
from tests.agents.operator_session_kit import EVERY, ROOM
from tests.agents.role_kit import TRACE, Kit, offer, open_kit, programme
from transport.diffusion import Domain, renewal_keys, renewal_mark
from transport.errors import PacketRejected
from transport.secured_packet import CELL_BROADCAST, decode_command
from transport.security.domain_key import FIRST_TICKET, DomainKey
from transport.security.suites import SUITES
from transport.security.terms import AGREE_THEN_SIGN, DOMAIN_ASYMMETRIC, DOMAIN_SYMMETRIC

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from agents.offers import Offer
    from agents.role import Desk
    from bus.address import BrokerAddress

CELL: Final = "cell"
NOWHERE: Final = "elsewhere"
READY: Final = ("personalise", "subscribe", "reserve", "activate")
ALL_FORMS: Final = (AGREE_THEN_SIGN, DOMAIN_SYMMETRIC, DOMAIN_ASYMMETRIC)
PROVING: Final = (DOMAIN_SYMMETRIC, DOMAIN_ASYMMETRIC)


def _offer(form: str = DOMAIN_SYMMETRIC, **changes: Any) -> Offer:
    """Return a global service without personal data, but for *changes*."""
    silent = offer("silent", backend="none", code=programme("silent"), data_size=16)
    terms: dict[str, Any] = {"forms": (form,), "logic_name": "points", "custody": "supplier"}
    return replace(silent, **(terms | changes))


def _give_aerial(kit: Kit) -> None:
    """Let suppliers broadcast: the first two modules' groups are in our cell, the third group is not."""

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
        return Aerial(
            broadcaster=broadcaster,
            cells={"city": (CELL,), "coast": (CELL,), "moon": (NOWHERE,)},
            repetitions=1,
            clock=kit.clock,
            members={"city": frozenset({kit.ua()}), "coast": frozenset({kit.ua(2)}), "moon": frozenset()},
        )

    kit.aerial = aerial


async def _ready(kit: Kit, offered: Offer, modules: int = 1) -> None:
    """Bring a market to where modules hold the service, and nothing is loaded."""
    _give_aerial(kit)
    kit.offers["bank"] = [offered]
    await kit.start("root", "factory", "mno", "bank")
    for index in range(1, modules + 1):
        await kit.handset(kit.ua(index))
    await kit.agree("silent")
    for index in range(1, modules + 1):
        await kit.take(*READY, service="silent", ua=kit.ua(index))


async def _roll(kit: Kit, roll: int = 8, groups: tuple[str, ...] = ("city",), **said: Any) -> str:
    """Order a roll-over; return the reason of its end, empty when it was done."""
    order = encode(DomainRollOrder(roll=roll, groups=list(groups), **said))
    return (await kit.order("roll-domain-key", "silent", agent="bank", ua="", argument=order)).reason


async def _broadcast(kit: Kit) -> str:
    order = encode(BroadcastOrder(version=1, groups=["city"]))
    return (await kit.order("broadcast", "silent", agent="bank", ua="", argument=order)).reason


async def _serve(kit: Kit, index: int = 1) -> tuple[str, str]:
    """Have a handset call; return how that ended."""
    event = await kit.order("serve", "silent", ua=kit.ua(index))
    return event.result, event.reason


def _contents(kit: Kit) -> list[bytes]:
    """Return what the pages in the cell carry, without their serial numbers."""
    return [frame.pdu[2:] for frame in kit.wire.on(Broadcast(fleet=kit.fleet, cell=CELL))]


def _definition(kit: Kit, index: int = 1) -> Any:
    (definition,) = kit.cell.phones[kit.ua(index)].module.definitions.all()
    return definition


def _generation(kit: Kit, index: int = 1) -> int:
    return DomainKey.load(_definition(kit, index).domain_key).generation


def _newest(kit: Kit) -> DomainKey:
    ((octets,),) = _rows(kit, "SELECT domain_key FROM services")
    return DomainKey.load(octets)


def _is_wrapped_to(kit: Kit, index: int, former: DomainKey) -> bool:
    """Return whether the last roll-over has a module's entry; who has the *former* key can read that."""
    definition = _definition(kit)
    of = Domain(
        tar=definition.tar,
        logic_name=definition.logic_name.encode(),
        supplier=definition.supplier.encode(),
        supplier_suite=definition.suite,
        supplier_public=definition.supplier_public,
        domain_key=former,
    )
    mark = renewal_mark(kit.ua(index).encode(), former.generation + 1)
    # The notice, which comes last, is under the next key's keys and has no entries.
    (*packets, _notice) = _rows(kit, "SELECT octets FROM renewals ORDER BY number")
    data = [decode_command(octets, renewal_keys(of), CELL_BROADCAST).data for (octets,) in packets]
    return any(mark in each for each in data)


def _former(kit: Kit) -> list[int]:
    return [row[0] for row in _rows(kit, "SELECT generation FROM domain_keys ORDER BY generation")]


def _rows(kit: Kit, statement: str) -> list[Any]:
    database = sqlite3.connect(kit.directory / "bank.db")
    rows = database.execute(statement).fetchall()
    database.close()
    return rows


@pytest.mark.parametrize("form", ALL_FORMS)
async def test_a_roll_over_reaches_modules_by_broadcast(kit: Kit, form: str) -> None:
    """Both tell; the campaign after it loads both; served afterwards, in any form, both go on."""
    await _ready(kit, _offer(form), modules=2)
    first = _newest(kit)
    assert await _roll(kit) == ""
    for index in (1, 2):
        event = await kit.event("roll-domain-key", ua=kit.ua(index))
        assert (event.result, event.service) == ("ok", "silent")
        assert DomainKey.load(_definition(kit, index).domain_key).secret == _newest(kit).secret
    assert (_newest(kit).generation, _newest(kit).secret != first.secret) == (2, True)
    assert await _broadcast(kit) == ""
    for index in (1, 2):
        await kit.event("broadcast", ua=kit.ua(index))
        assert _definition(kit, index).version == 1
        assert await _serve(kit, index) == ("ok", "")
        assert (await kit.order("invoke", "silent", agent="bank", ua=kit.ua(index))).result == "ok"
    # Whose own key proves it has told which one it has; where the domain's does, nobody can know.
    assert _former(kit) == ([] if form == AGREE_THEN_SIGN else [1])


async def test_a_roll_over_is_the_same_octets_each_time(
    kit: Kit, broker: BrokerAddress, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Ordered again, by a later launch too, it makes no other key; who has it by then has that proven."""
    await _ready(kit, _offer())
    assert await _roll(kit) == ""
    await kit.event("roll-domain-key")
    first, key, seen = _contents(kit), _newest(kit), len(kit.events)
    assert await _roll(kit) == ""
    assert (await kit.event("roll-domain-key", after=seen)).result == "ok"
    assert await _roll(kit, roll=7) == ""
    assert (_contents(kit), _newest(kit), _generation(kit)) == (first * 3, key, 2)
    async with open_kit(broker, f"{kit.fleet}2", tmp_path, log, run=2) as later:
        later.keys = kit.keys
        _give_aerial(later)
        later.offers["bank"] = [_offer()]
        await later.start("bank")
        assert await _roll(later) == ""
        assert (_contents(later), _newest(later)) == (first, key)
        assert await _roll(later, roll=9) == ""
        assert _newest(later).generation == 3
        assert set(_contents(later)[len(first) :]).isdisjoint(first)


@pytest.mark.parametrize("form", ALL_FORMS)
async def test_who_missed_a_roll_over_is_given_the_key_when_it_is_served(kit: Kit, form: str) -> None:
    """By its own key under the session that goes on; by the domain's it has to call again, which it does."""
    await _ready(kit, _offer(form))
    assert await _serve(kit) == ("ok", "")
    for roll in (8, 9):
        assert await _roll(kit, roll, ("moon",)) == ""
    used = await kit.order("invoke", "silent", agent="bank")
    expected = ("ok", "") if form == AGREE_THEN_SIGN else ("refused", "no-session")
    assert ((used.result, used.reason), _generation(kit)) == (expected, 1)
    seen = len(kit.events)
    assert await _serve(kit) == ("ok", "")
    assert [event.result for event in kit.events[seen:] if event.do == "serve"] == ["ok"]
    assert _generation(kit) == 3
    assert (await kit.order("invoke", "silent", agent="bank")).result == "ok"
    assert _former(kit) == ([] if form == AGREE_THEN_SIGN else [1, 2])
    await kit.take("release", service="silent")
    assert _former(kit) == []


@pytest.mark.parametrize("form", ALL_FORMS)
async def test_who_is_left_out_gets_nothing_more(kit: Kit, form: str) -> None:
    """It hears the roll-over and the next campaign and has nothing; where DK proves it, it is refused.

    By its own key it is served, and stays without the domain's. The operator, who blocks it and lets it in
    again, has it in the domain again.
    """
    await _ready(kit, _offer(form), modules=2)
    assert await _roll(kit, leave_out=["coast"]) == ""
    await kit.event("roll-domain-key")
    assert await _broadcast(kit) == ""
    await kit.event("broadcast")
    refused = form != AGREE_THEN_SIGN
    # A handset takes one thing after the other: this is behind all the pages.
    assert await _serve(kit, 2) == (("refused", "left-out") if refused else ("ok", ""))
    assert (_definition(kit, 2).version, _generation(kit, 2)) == (0 if refused else 1, 1)
    heard = {(one.do, one.result) for one in kit.events if one.ua == kit.ua(2)}
    assert heard.isdisjoint({("roll-domain-key", "ok"), ("broadcast", "ok")})
    # A later roll-over does not forgive it, nor does the same one again: nothing in it is for this module.
    former = _newest(kit)
    assert await _roll(kit, 9) == ""
    assert [_is_wrapped_to(kit, index, former) for index in (1, 2)] == [True, False]
    assert await _serve(kit, 2) == (("refused", "left-out") if refused else ("ok", ""))
    assert _generation(kit, 2) == 1
    for do in ("block", "unblock"):
        await kit.take(do, service="silent", ua=kit.ua(2))
    assert await _serve(kit, 2) == ("ok", "")
    assert (_definition(kit, 2).version, _generation(kit, 2)) == (1, 3)


@pytest.mark.parametrize("form", ALL_FORMS)
async def test_who_is_blocked_is_left_out_until_it_is_let_in_again(kit: Kit, form: str) -> None:
    """Blocked, its call is refused for that; unblocked, it is given the key when it is next served."""
    await _ready(kit, _offer(form), modules=2)
    await kit.take("block", service="silent", ua=kit.ua(2))
    assert await _roll(kit) == ""
    await kit.event("roll-domain-key")
    assert _generation(kit, 2) == 1
    event = await kit.order("serve", "silent", ua=kit.ua(2))
    assert event.result == "refused"
    await kit.take("unblock", service="silent", ua=kit.ua(2))
    assert await _serve(kit, 2) == ("ok", "")
    assert (_definition(kit, 2).version, _generation(kit, 2)) == (1, 2)


@pytest.mark.parametrize("form", PROVING)
async def test_who_poses_as_another_by_a_former_key_gets_nothing(kit: Kit, form: str) -> None:
    """With all of a module but its sealing key: it is offered the next key, cannot open it, and that is all.

    The module itself is not locked out by that, for nothing is believed of who had what.
    """
    await _ready(kit, _offer(form))
    assert await _roll(kit, groups=("moon",)) == ""
    phone = kit.cell.phones[kit.ua()]
    module, image = phone.module, await kit.pages.load(kit.ua())
    memory = Memory.from_pages(image)
    octets = memory.get_record(Record.IDENTITY)
    assert octets is not None
    stranger = SUITES["x25519"].generate_sealing_key(make_rng(1, "stranger"))
    identity = replace(
        decode(octets, Identity), sealing_private=stranger.private, sealing_public=stranger.public
    )
    with memory.transaction() as transaction:
        memory.put_record(transaction, Record.IDENTITY, encode(identity))
    phone.module = SecurityModule(memory, rng=kit.rng("forger"))
    assert await _serve(kit) == ("refused", "cannot-open")
    assert (_definition(kit).version, _generation(kit)) == (0, 1)
    phone.module = module
    assert await _serve(kit) == ("ok", "")
    assert (_definition(kit).version, _generation(kit)) == (1, 2)


async def test_who_is_reserved_for_later_gets_the_newest(kit: Kit) -> None:
    """A reservation brings it; who was reserved before, and is activated after, is given it when served."""
    await _ready(kit, _offer(), modules=1)
    await kit.handset(kit.ua(2))
    await kit.take("personalise", "subscribe", "reserve", service="silent", ua=kit.ua(2))
    await kit.handset(kit.ua(3))
    await kit.take("personalise", "subscribe", service="silent", ua=kit.ua(3))
    assert await _roll(kit) == ""
    await kit.take("activate", service="silent", ua=kit.ua(2))
    await kit.take("reserve", "activate", service="silent", ua=kit.ua(3))
    assert (_generation(kit, 2), _generation(kit, 3)) == (1, 2)
    assert [await _serve(kit, 2), await _serve(kit, 3)] == [("ok", "")] * 2
    assert (_generation(kit, 2), _generation(kit, 3)) == (2, 2)


async def test_the_operator_cannot_let_in_who_is_left_out_by_asking(kit: Kit) -> None:
    """While the module holds the service, its key is not wrapped to it anew; by a reservation it is."""
    await _ready(kit, _offer())
    assert await _roll(kit, leave_out=["city"]) == ""
    with pytest.raises(Refusal, match="left-out"):
        await _wrap(kit)
    for do in ("release", "subscribe", "reserve", "activate", "serve"):
        await kit.take(do, service="silent")
    assert _generation(kit) == 2


@pytest.mark.parametrize("form", [AGREE_THEN_SIGN, DOMAIN_SYMMETRIC])
async def test_a_key_that_is_wrapped_again_need_not_be_taken(kit: Kit, form: str) -> None:
    """An operator asks twice, and delivers what it got first: the module is still given the newest key."""
    await _ready(kit, _offer(form))
    assert await _roll(kit, groups=("moon",)) == ""
    await _wrap(kit)
    assert (_former(kit), _generation(kit)) == ([1], 1)
    assert await _serve(kit) == ("ok", "")
    assert _generation(kit) == 2


@pytest.mark.parametrize("how", ["reserved", "asked-for"])
async def test_who_is_left_out_before_it_is_activated_stays_so(kit: Kit, how: str) -> None:
    """That its supplier was not told yet of its resource lets no module in, nor does asking for it again.

    Not where the module has taken it, nor where its operator was stopped when it had asked: it is one
    reservation, and brings the one key. What lets it in is what lets in others.
    """
    await _ready(kit, _offer())
    await kit.handset(kit.ua(2))
    await kit.take("personalise", "subscribe", service="silent", ua=kit.ua(2))
    if how == "reserved":
        await kit.take("reserve", service="silent", ua=kit.ua(2))
    else:
        await _wrap(kit, 2)
    assert await _roll(kit, leave_out=["coast"]) == ""
    if how == "reserved":
        await _wrap(kit, 2)
    await kit.take("reserve", "activate", service="silent", ua=kit.ua(2))
    assert _generation(kit, 2) == 1
    assert await _serve(kit, 2) == ("refused", "left-out")
    await kit.take("block", "unblock", service="silent", ua=kit.ua(2))
    assert await _serve(kit, 2) == ("ok", "")
    assert _generation(kit, 2) == 2


async def test_who_is_released_before_it_is_activated_keeps_no_key_alive(kit: Kit) -> None:
    """Its supplier never had the resource, and forgets all the same that it wrapped a key for it."""
    await _ready(kit, _offer())
    await kit.handset(kit.ua(2))
    await kit.take("personalise", "subscribe", "reserve", service="silent", ua=kit.ua(2))
    await kit.take("release", service="silent")
    assert await _roll(kit, leave_out=["coast"]) == ""
    assert _former(kit) == [1]
    await kit.take("release", "subscribe", service="silent", ua=kit.ua(2))
    assert _rows(kit, "SELECT * FROM domain_members") == []
    assert _former(kit) == []
    await kit.take("reserve", "activate", "serve", service="silent", ua=kit.ua(2))
    assert _generation(kit, 2) == 2


async def test_who_is_left_out_and_refuses_its_reservation_is_reserved_anew(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds nothing, so there is nothing to block: a new reservation lets it in, as after a release."""
    await _ready(kit, _offer())
    await kit.handset(kit.ua(2))
    await kit.take("personalise", "subscribe", service="silent", ua=kit.ua(2))
    with monkeypatch.context() as patch:
        patch.setattr(domain, "MOST_IDENTIFIERS", 0)
        event = await kit.order("reserve", "silent", ua=kit.ua(2))
    assert (event.result, event.reason) == ("refused", "message-identifiers-full")
    assert await _roll(kit, leave_out=["coast"]) == ""
    await kit.take("reserve", "activate", service="silent", ua=kit.ua(2))
    assert _generation(kit, 2) == 2
    assert await _serve(kit, 2) == ("ok", "")
    assert (await kit.order("invoke", "silent", agent="bank", ua=kit.ua(2))).result == "ok"


async def test_who_is_blocked_while_the_key_is_wrapped_does_not_get_it(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To wrap it to thousands takes its time; what is broadcast is for whom it is for then."""
    await _ready(kit, _offer(), modules=2)
    in_thread, times = asyncio.to_thread, iter(range(9))

    async def slowly(make: Callable[..., Any], *arguments: Any) -> Any:
        made = await in_thread(make, *arguments)
        if next(times) == 0:
            await kit.take("block", service="silent", ua=kit.ua(2))
        return made

    with monkeypatch.context() as patch:
        patch.setattr("agents.domain_rolls.asyncio.to_thread", slowly)
        assert await _roll(kit) == ""
    await kit.event("roll-domain-key")
    assert next(times) == 2
    await kit.take("unblock", service="silent", ua=kit.ua(2))
    assert (_generation(kit), _generation(kit, 2)) == (2, 1)
    assert await _serve(kit, 2) == ("ok", "")
    assert _generation(kit, 2) == 2


async def test_a_campaign_that_begins_while_the_key_is_wrapped_keeps_its_key(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had the next one could not take it; so the roll-over is refused, and done when it is over."""
    await _ready(kit, _offer())
    in_thread = asyncio.to_thread

    async def slowly(make: Callable[..., Any], *arguments: Any) -> Any:
        made = await in_thread(make, *arguments)
        assert await _broadcast(kit) == ""
        return made

    with monkeypatch.context() as patch:
        patch.setattr("agents.domain_rolls.asyncio.to_thread", slowly)
        assert await _roll(kit) == "campaign-running"
    await kit.event("broadcast")
    assert (_newest(kit).generation, _definition(kit).version) == (1, 1)
    assert await _roll(kit) == ""
    await kit.event("roll-domain-key")
    assert _generation(kit) == 2


async def test_a_module_with_a_useless_key_keeps_the_others_from_nothing(kit: Kit) -> None:
    """An operator and a module in league activate one to whose key nothing can be sealed."""
    await _ready(kit, _offer())
    (digest,), (tar,) = _rows(kit, "SELECT supplier_digest FROM resources UNION ALL SELECT tar FROM services")
    useless = Activate(
        ua=kit.ua(2),
        service="silent",
        tar=tar,
        rsc_id=1,
        certificate=_certificate(kit, 2, sealing=bytes(32)),
        supplier_digest=digest,
        turn=1,
    )
    assert isinstance(await kit.operator().desk.link.ask("bank", useless, Done, trace=TRACE), Done)
    assert await _roll(kit) == ""
    await kit.event("roll-domain-key")
    assert _generation(kit) == 2


@pytest.mark.parametrize("form", ALL_FORMS)
async def test_a_key_that_was_never_asked_for_anew_is_renewed_once(kit: Kit, form: str) -> None:
    """An operator releases and reserves with what was wrapped before: the supplier knows nothing of that.

    It is told of both, and whatever the module has by then, one call gets it the newest and one session.
    """
    await _ready(kit, _offer(form))
    ((digest,),) = _rows(kit, "SELECT supplier_digest FROM resources")
    ((tar,),) = _rows(kit, "SELECT tar FROM services")
    database = sqlite3.connect(kit.directory / "mno.db")
    ((certificate,),) = database.execute("SELECT certificate FROM modules").fetchall()
    database.close()
    link = kit.operator().desk.link
    told = {"ua": kit.ua(), "service": "silent", "supplier_digest": digest}
    released = ResourceChanged(**told, state="released", turn=100)
    reserved = Activate(**told, tar=tar, rsc_id=1, certificate=certificate, turn=101)
    for said in (released, reserved):
        await link.ask("bank", said, Done, trace=TRACE)
    assert _rows(kit, "SELECT * FROM domain_members") == []
    for roll, generation in ((0, 1), (8, 2)):
        if roll:
            assert await _roll(kit, roll, ("moon",)) == ""
        assert await _serve(kit) == ("ok", "")
        assert (await kit.order("invoke", "silent", agent="bank")).result == "ok"
        assert _generation(kit) == generation


def _certificate(kit: Kit, index: int, sealing: bytes) -> bytes:
    module = certify_module(
        kit.ua(index), "x25519", bytes(31) + b"1", sealing, issuer=kit.keys["root"], now=kit.clock.now()
    )
    return module.encode()


async def _wrap(kit: Kit, index: int = 1, ticket: bytes = FIRST_TICKET) -> None:
    """Have the operator ask for the domain key, wrapped to a module for the reservation with *ticket*."""
    certificate = _certificate(kit, index, sealing=bytes(range(32)))
    question = WrapDomainKey(ua=kit.ua(index), service="silent", certificate=certificate, ticket=ticket)
    await kit.operator().desk.link.ask("bank", question, WrappedDomainKey, trace=TRACE)


async def test_what_one_packet_does_not_hold_is_not_broadcast(kit: Kit) -> None:
    """A module whose wrapped key is too long hears nothing, and is given the key when it is served."""
    await _ready(kit, _offer())

    async def boot(ua: str) -> SecurityModule:
        return SecurityModule.blank(ROOM, rng=kit.rng(f"module/{ua}"), profile=EVERY)

    kit.boot = boot  # type: ignore[method-assign]
    await kit.handset(kit.ua(2), suite="pq-hybrid")
    await kit.take(*READY, service="silent", ua=kit.ua(2))
    assert await _roll(kit) == ""
    await kit.event("roll-domain-key")
    assert (_generation(kit), _generation(kit, 2)) == (2, 1)
    assert await _serve(kit, 2) == ("ok", "")
    assert _generation(kit, 2) == 2


@pytest.mark.parametrize(
    ("changes", "said", "reason"),
    [
        ({"forms": (AGREE_THEN_SIGN,), "logic_name": "", "custody": ""}, {}, "not-global"),
        ({"custody": "operator"}, {}, "not-my-domain-key"),
        ({}, {"groups": ("mars",)}, "unknown-group"),
        ({}, {"leave_out": ["mars"]}, "unknown-group"),
    ],
    ids=["not-global", "operators-custody", "no-cell", "nobody"],
)
async def test_what_cannot_be_rolled_over(
    kit: Kit, changes: dict[str, Any], said: dict[str, Any], reason: str
) -> None:
    """It is said, and neither is a key made nor a page sent."""
    _give_aerial(kit)
    kit.offers["bank"] = [_offer(**changes)]
    await kit.start("root", "mno", "bank")
    assert await _roll(kit) == "unknown-service"
    await kit.agree("silent")
    before = _rows(kit, "SELECT domain_key FROM services")
    assert await _roll(kit, **said) == reason
    assert (_rows(kit, "SELECT domain_key FROM services"), _contents(kit)) == (before, [])


async def test_a_supplier_without_cells_rolls_nothing_over(kit: Kit) -> None:
    """Nor does an order that says nothing."""
    kit.offers["bank"] = [_offer()]
    await kit.start("root", "mno", "bank")
    await kit.agree("silent")
    assert await _roll(kit) == "no-broadcast"
    event = await kit.order("roll-domain-key", "silent", agent="bank", ua="")
    assert (event.result, event.reason) == ("failed", "not-msgpack")


@pytest.mark.parametrize("how", ["released", "blocked", "suspected"])
async def test_what_was_broadcast_has_nothing_for_who_is_left_out(kit: Kit, how: str) -> None:
    """Read with the former key, the packets have an entry for who remains, and none for the other one."""
    await _ready(kit, _offer(), modules=2)
    if how != "suspected":
        await kit.take({"released": "release", "blocked": "block"}[how], service="silent", ua=kit.ua(2))
    former = _newest(kit)
    assert await _roll(kit, leave_out=["coast"] if how == "suspected" else []) == ""
    ((tar,),) = _rows(kit, "SELECT tar FROM services")
    bank = kit.keys["bank"]
    domain = Domain(
        tar=tar,
        logic_name=b"points",
        supplier=b"bank",
        supplier_suite=bank.suite,
        supplier_public=bank.signing.public,
        domain_key=former,
    )
    packet, notice = (octets for (octets,) in _rows(kit, "SELECT octets FROM renewals ORDER BY number"))
    read = decode_command(packet, renewal_keys(domain), CELL_BROADCAST).data
    marks = [renewal_mark(kit.ua(index).encode(), 2) in read for index in (1, 2)]
    assert marks == [True, False]
    assert read.count(b"\x00\x5f\x01") == 1  # the length and the format of a wrapped key: there is one
    with pytest.raises(PacketRejected):
        decode_command(notice, renewal_keys(domain), CELL_BROADCAST)
