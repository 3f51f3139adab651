"""What all roles have in common: who gets an answer, what is dropped, whose turn it is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agents.errors import Refusal
from agents.exchange import FromModule
from agents.messages.inside import Done, LookUp
from agents.role import Role, Turns
from bus.errors import MailboxFull
from bus.topics import Inbox, Orders
from tests.agents.role_kit import TRACE
from transport.secured_packet import CommandPacket, SecurityParameters

if TYPE_CHECKING:
    from bus.frame import Frame
    from tests.agents.role_kit import Kit


def order(kit: Kit, **changes: Any) -> Frame:
    """Return an order for the bank, of the console or of one that differs from it."""
    return kit.sealed_order("nonsense", agent="bank", console=replace(kit.console, **changes))


async def test_an_order_that_nobody_knows_is_refused(kit: Kit) -> None:
    """Even that gets an event, under the order's own words."""
    await kit.start("bank")
    event = await kit.order("nonsense", "account", agent="bank", ua="")
    assert (event.result, event.reason, event.service) == ("refused", "unknown-order", "account")


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"fleet": "other"}, "not-from-the-console"), ({"run": 2}, "of-an-earlier-run")],
    ids=["a-stranger", "an-earlier-run"],
)
async def test_an_order_that_is_not_the_consoles_is_dropped(
    kit: Kit, options: dict[str, Any], reason: str
) -> None:
    """Who has not this run's key, or speaks of another run, is not obeyed."""
    await kit.start("bank")
    topic = Orders(fleet=kit.fleet, agent="bank")
    kit.clients["bank"].inject(topic, order(kit, **options))
    assert kit.counters.drops(reason) == 1
    assert (await kit.order("nonsense", agent="bank", ua="")).reason == "unknown-order"
    assert len(kit.events) == 1


async def test_an_order_is_taken_once(kit: Kit) -> None:
    """A recorded order, played again, is dropped: it is obeyed once."""
    await kit.start("bank")
    assert (await kit.order("nonsense", agent="bank", ua="")).reason == "unknown-order"
    topic = Orders(fleet=kit.fleet, agent="bank")
    kit.clients["bank"].inject(topic, kit.wire.on(topic)[0])
    assert kit.counters.drops("replayed") == 1
    await kit.order("nonsense", agent="bank", ua="")
    assert len(kit.events) == 2


async def test_what_finds_no_room_is_refused_to_the_bus(kit: Kit) -> None:
    """A role that takes no more says so: the bus counts it, and whoever asked asks again."""
    await kit.start("bank")
    await kit.group.stop()
    with pytest.raises(MailboxFull):
        kit.clients["bank"].inject(Orders(fleet=kit.fleet, agent="bank"), order(kit))


async def test_a_question_is_answered_again_as_it_was(kit: Kit) -> None:
    """A question that comes again gets the reply that it got, without its rule being asked."""
    await kit.start("bank")
    mno = await kit.puppet("mno")
    message = LookUp(ua=kit.ua())
    with pytest.raises(Refusal, match="not-my-business"):
        await mno.desk.link.ask("bank", message, Done, trace=TRACE)
    inbox = Inbox(fleet=kit.fleet, agent="bank")
    kit.clients["bank"].inject(inbox, kit.wire.on(inbox)[0])
    first, second = await kit.wire.until(Inbox(fleet=kit.fleet, agent="mno"), 2)
    assert first.pdu == second.pdu


async def test_a_role_without_a_number_takes_no_packets(kit: Kit) -> None:
    """A packet for a role that speaks to no module is dropped with that reason."""
    role = Role(await kit.desk("factory"))
    packet = CommandPacket(spi=SecurityParameters(), tar=bytes(3), counter=0, data=b"")
    await role.handle(FromModule(ua=kit.ua(), packet=packet, trace=TRACE))
    assert kit.counters.drops("unexpected-packet") == 1


async def test_one_key_has_one_turn_at_a_time() -> None:
    """Who shares a key waits for his turn, in order; who has another key does not wait."""
    turns, said = Turns(), list[str]()
    gate = asyncio.Event()

    async def work(key: str, name: str) -> None:
        async with turns.of(key):
            said.append(f"{name} in")
            if name == "first":
                await gate.wait()
            said.append(f"{name} out")

    async with asyncio.TaskGroup() as group:
        first = group.create_task(work("a", "first"))
        group.create_task(work("a", "second"))
        other = group.create_task(work("b", "other"))
        await other
        assert not first.done()
        assert said == ["first in", "other in", "other out"]
        gate.set()
    assert said[3:] == ["first out", "second in", "second out"]


async def test_a_turn_ends_with_an_exception_or_a_cancellation_too() -> None:
    """Whatever ends the work, the next one gets the turn."""
    turns = Turns()
    with pytest.raises(ValueError, match="boom"):
        async with turns.of("a"):
            raise ValueError("boom")

    async def hold(asks: asyncio.Event, has: asyncio.Event) -> None:
        asks.set()
        async with turns.of("a"):
            has.set()
            await asyncio.Event().wait()

    asks, has, queues = asyncio.Event(), asyncio.Event(), asyncio.Event()
    holder = asyncio.create_task(hold(asks, has))
    await has.wait()
    waiter = asyncio.create_task(hold(queues, asyncio.Event()))
    await queues.wait()
    waiter.cancel()
    holder.cancel()
    await asyncio.wait([holder, waiter])
    async with asyncio.timeout(5), turns.of("a"):
        pass
