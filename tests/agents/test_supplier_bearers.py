"""The supplier over every bearer that a service can name, and what it does when one of them fails."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agents.handset.channels import CONNECT_TIMEOUT_S
from agents.handset.security_module.life_cycle import ResourceState
from bus.bearers.bip import BipSettings
from bus.bearers.sms import SmsSettings
from bus.frame import Bearer
from bus.topics import Orders
from tests.agents.bearer_kit import (
    HOST,
    PATIENT,
    RESERVED,
    SERVER,
    SMS,
    TCP,
    UDP,
    calls_by_sms,
    down,
    invoke,
    messages_by_sms,
    nth,
    open_market,
    packet_frame,
    said_down,
    said_up,
    serve,
    up,
)
from tests.agents.role_kit import PATIENCE_S, Kit, open_kit
from tests.bus.manual_clock import ManualClock
from transport.bip.link import LinkKind, LinkPdu

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from agents.messages.orders import Event
    from bus.address import BrokerAddress

A_LONG_TIME_S = 1e6
UNHURRIED = SmsSettings(report_timeout_s=A_LONG_TIME_S, attempts=1, validity_s=A_LONG_TIME_S)
SHORT = BipSettings(link_timeout_s=0.2)
FIRST_DATA = {TCP: LinkKind.DATA, UDP: LinkKind.DATAGRAM}


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that the test moves."""
    return ManualClock()


@pytest.fixture
async def slow(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger, clock: ManualClock
) -> AsyncIterator[Kit]:
    """Yield surroundings whose time the test moves, and in which nobody hurries."""
    async with open_kit(broker, fleet, tmp_path, log, clock=clock) as kit:
        kit.sms = UNHURRIED
        yield kit


def state(kit: Kit, service: str = "account") -> ResourceState:
    """Return where a resource of the first module stands."""
    (definition,) = (
        each for each in kit.cell.phones[kit.ua()].module.definitions.all() if each.service == service
    )
    return definition.state


async def reserved(kit: Kit, *bearers: str, server: BipSettings | None = PATIENT) -> None:
    """Open a market with one handset, in whose module the account is reserved and activated."""
    await open_market(kit, *bearers, server=server)
    await kit.handset()
    await kit.take(*RESERVED)


async def served(kit: Kit, *bearers: str, server: BipSettings | None = PATIENT) -> None:
    """Open a market with one handset, whose account is loaded and personal."""
    await reserved(kit, *bearers, server=server)
    assert await serve(kit) == ("ok", "")


# Who is served over what


@pytest.mark.parametrize("bearer", [TCP, UDP])
async def test_a_module_is_served_over_a_channel(kit: Kit, bearer: str) -> None:
    """The handset's call opens the channel; proof, programme and data go over it, nothing by SMS."""
    await reserved(kit, bearer, SMS)
    before = messages_by_sms(kit)
    assert await serve(kit) == ("ok", "")
    assert (calls_by_sms(kit), messages_by_sms(kit)) == (0, before)
    assert FIRST_DATA[bearer] in said_up(kit)
    assert state(kit) is ResourceState.LOADED
    assert not kit.bip["bank"].has_link(kit.ua())


@pytest.mark.parametrize("bearer", [TCP, UDP])
async def test_a_large_programme_goes_over_a_channel(kit: Kit, bearer: str) -> None:
    """Pieces longer than a channel's buffers arrive whole."""
    await open_market(kit, bearer)
    await kit.handset()
    await kit.take(*RESERVED, "serve", service="large")
    assert await invoke(kit, "large") == ("ok", "")
    assert (calls_by_sms(kit), messages_by_sms(kit)) == (0, 1)


@pytest.mark.parametrize("bearer", [TCP, UDP])
async def test_the_supplier_asks_for_a_channel_by_short_message(kit: Kit, bearer: str) -> None:
    """Nobody called: one short message has the module open a channel, and the invocation goes over that."""
    await served(kit, bearer, SMS)
    before, seen = messages_by_sms(kit), len(said_up(kit))
    assert await invoke(kit) == ("ok", "")
    assert messages_by_sms(kit) - before <= 2  # the push, in one part or two
    assert FIRST_DATA[bearer] in said_up(kit)[seen:]
    assert not kit.bip["bank"].has_link(kit.ua())


@pytest.mark.parametrize("bearer", [TCP, UDP])
async def test_a_channel_can_be_asked_for_again_and_again(kit: Kit, bearer: str) -> None:
    """After the supplier has hung up the next push opens the next channel; none is left over."""
    await served(kit, bearer)
    for _ in range(9):  # more than a terminal has channels, or a module timers
        assert await invoke(kit) == ("ok", "")
    assert not kit.bip["bank"].has_link(kit.ua())


# Fallback


async def test_where_nobody_listens_the_module_calls_by_short_message(slow: Kit, clock: ManualClock) -> None:
    """Nothing answers at the server's address: after the terminal's time-out the call goes by SMS."""
    await reserved(slow, TCP, SMS, server=None)
    await slow.send_order("serve", "account", agent=slow.ua(), ua=slow.ua())
    await slow.wire.until(up(slow))
    assert calls_by_sms(slow) == 0
    clock.advance(CONNECT_TIMEOUT_S)
    assert (await slow.event("serve")).result == "ok"
    assert (said_up(slow)[0], calls_by_sms(slow)) == (LinkKind.OPEN, 1)
    invoking = asyncio.create_task(slow.order("invoke", "account", agent="bank"))
    assert (await passes(clock, 10.0, invoking)).result == "ok"


async def test_a_server_that_refuses_is_answered_by_short_message(kit: Kit) -> None:
    """A server that takes no more links refuses the channel: the module is served by SMS at once."""
    await reserved(kit, TCP, SMS, server=BipSettings(max_links=1, link_timeout_s=0.2))
    opening = LinkPdu(kind=LinkKind.OPEN, connection=1, port=SERVER.tcp_port)
    other = packet_frame(opening, bearer=Bearer.BIP_TCP, source=kit.ua(2), to=HOST)
    await kit.clients["tap"].publish(up(kit), other)
    await kit.wire.until(down(kit, 2))
    assert await serve(kit) == ("ok", "")
    assert said_down(kit) == [LinkKind.REFUSE]
    assert await invoke(kit) == ("ok", "")


async def passes(clock: ManualClock, step_s: float, waiting: asyncio.Task[Event]) -> Event:
    """Let time go on in steps of *step_s* seconds until *waiting* is done; return what it brings."""
    async with asyncio.timeout(PATIENCE_S):
        while not waiting.done():
            clock.advance(step_s)
            await asyncio.wait([waiting], timeout=0.02)
    return await waiting


async def test_a_channel_that_does_not_come_up_again_gives_way(slow: Kit, clock: ManualClock) -> None:
    """Served over a channel; the next does not come up, and the invocation goes by short message."""
    await served(slow, TCP, SMS)
    nth(slow, "cell", 1, LinkKind.OPEN)
    before = messages_by_sms(slow)
    invoking = asyncio.create_task(slow.order("invoke", "account", agent="bank"))
    assert (await passes(clock, 10.0, invoking)).result == "ok"
    assert messages_by_sms(slow) > before + 1


@pytest.mark.parametrize(
    ("number", "outcome", "again"),
    [
        pytest.param(2, ("ok", ""), LinkKind.OPEN, id="call"),
        pytest.param(3, ("failed", "link-lost"), None, id="proof"),
        pytest.param(4, ("ok", ""), LinkKind.OPEN, id="response-to-programme"),
        pytest.param(5, ("ok", ""), LinkKind.OPEN, id="response-to-data"),
    ],
)
async def test_a_link_that_is_lost_in_the_middle(
    slow: Kit, clock: ManualClock, number: int, outcome: tuple[str, str], again: LinkKind | None
) -> None:
    """The server drops the link as the module speaks: call and commands go on, half a handshake does not."""
    await reserved(slow, TCP, SMS)
    hanging_up: list[asyncio.Task[None]] = []

    def drop(_pdu: LinkPdu) -> list[LinkPdu]:
        hanging_up.append(asyncio.create_task(slow.bip["bank"].hang_up(slow.ua())))
        return []

    nth(slow, "cell", number, LinkKind.DATA, drop)
    serving = asyncio.create_task(slow.order("serve", "account"))
    if again is None:  # the module takes the handshake for done and does not call again: the bank waits
        await slow.wire.until(down(slow), 3)
        await passes(clock, 15.0, serving)
    ended = await serving
    assert (ended.result, ended.reason) == outcome
    await asyncio.gather(*hanging_up)
    if again is None:
        assert await serve(slow) == ("ok", "")
    assert state(slow) is ResourceState.LOADED
    assert await invoke(slow) == ("ok", "")
    assert slow.counters.snapshot()["crashes"] == {}


async def test_a_response_that_never_comes(slow: Kit, clock: ManualClock) -> None:
    """The server waits no longer than it is patient, hangs up, and the command goes by short message."""
    await reserved(slow, TCP, SMS, server=BipSettings(response_timeout_s=60.0, link_timeout_s=A_LONG_TIME_S))
    nth(slow, "cell", 4, LinkKind.DATA)
    serving = asyncio.create_task(slow.order("serve", "account"))
    await slow.wire.until(down(slow), 3)
    ended = await passes(clock, 15.0, serving)
    assert (ended.result, ended.reason) == ("ok", "")
    assert LinkKind.CLOSE in said_down(slow)


async def test_without_a_server_nor_another_bearer_the_call_fails(slow: Kit, clock: ManualClock) -> None:
    """Nobody is there and nothing else was agreed: the handset says that there is no link."""
    await reserved(slow, TCP, server=None)
    serving = asyncio.create_task(slow.order("serve", "account"))
    await slow.wire.until(up(slow))
    clock.advance(CONNECT_TIMEOUT_S)
    ended = await serving
    assert (ended.result, ended.reason) == ("failed", "no-link")
    assert calls_by_sms(slow) == 0


async def test_datagrams_that_nobody_answers_end_the_call(slow: Kit, clock: ManualClock) -> None:
    """Over UDP the module finds out by itself, by its timer, that nobody is there."""
    await reserved(slow, UDP, server=None)
    serving = asyncio.create_task(slow.order("serve", "account"))
    await slow.wire.until(up(slow))
    ended = await passes(clock, 2.0, serving)
    assert (ended.result, ended.reason) == ("failed", "no-link")
    assert set(said_up(slow)) == {LinkKind.DATAGRAM}


async def test_datagrams_that_nobody_answers_give_way(slow: Kit, clock: ManualClock) -> None:
    """With short messages agreed as well the call goes by them."""
    await reserved(slow, UDP, SMS, server=None)
    serving = asyncio.create_task(slow.order("serve", "account"))
    await slow.wire.until(up(slow))
    assert (await passes(clock, 2.0, serving)).result == "ok"
    assert calls_by_sms(slow) == 1


async def test_a_supplier_that_cannot_reach_the_module_says_so(kit: Kit) -> None:
    """The module is pushed but its channel never comes up: no other bearer, so the invocation fails."""
    await served(kit, TCP, server=SHORT)
    nth(kit, "cell", 1, LinkKind.OPEN)
    assert await invoke(kit) == ("failed", "no-link")


# Several at once


@pytest.mark.parametrize("bearer", [TCP, UDP])
async def test_a_call_takes_the_place_of_the_one_before(kit: Kit, bearer: str) -> None:
    """The subscriber calls twice in a row: the second call is served, the first is nobody's failure."""
    await reserved(kit, bearer, SMS)
    orders, before = Orders(fleet=kit.fleet, agent=kit.ua()), len(kit.events)
    for _ in range(2):
        kit.clients["cell"].inject(orders, kit.sealed_order("serve", agent=kit.ua()))
    assert (await kit.event("serve", after=before)).result == "ok"
    await kit.roles["bank"].idle()
    assert await invoke(kit) == ("ok", "")
    assert [event.result for event in kit.events[before:] if event.do == "serve"] == ["ok"]


@pytest.mark.parametrize("bearer", [TCP, UDP])
async def test_two_services_of_one_supplier_share_a_channel(kit: Kit, bearer: str) -> None:
    """Called for at once, served side by side: each comes to its end, once, and both work."""
    await open_market(kit, bearer)
    await kit.handset()
    await kit.take("personalise")
    for service in ("account", "silent"):
        await kit.take("subscribe", "reserve", "activate", service=service)
    orders, before = Orders(fleet=kit.fleet, agent=kit.ua()), len(kit.events)
    for service in ("account", "silent"):
        kit.clients["cell"].inject(orders, kit.sealed_order("serve", service, agent=kit.ua()))
    await kit.event("serve", after=before)
    await kit.roles["bank"].idle()
    while len(kit.events) < before + 2:
        await kit.event("serve", after=len(kit.events))
    ended = sorted((event.service, event.result) for event in kit.events[before:])
    assert ended == [("account", "ok"), ("silent", "ok")]
    results = await asyncio.gather(
        *(kit.order("invoke", each, agent="bank") for each in ("account", "silent"))
    )
    assert {result.result for result in results} == {"ok"}
    assert await invoke(kit) == await invoke(kit, "silent") == ("ok", "")
    assert kit.counters.snapshot()["crashes"] == {}


@pytest.mark.parametrize("bearer", [TCP, UDP])
async def test_blocked_while_the_link_is_open(kit: Kit, bearer: str) -> None:
    """The operator blocks the resource in the middle of its use: the use ends, and so does the link."""
    await served(kit, bearer, SMS, server=SHORT)
    blocking: list[asyncio.Task[Event]] = []

    def block(_pdu: LinkPdu) -> list[LinkPdu]:
        blocking.append(asyncio.create_task(kit.order("block", "account")))
        return []

    nth(kit, "bank", 1 if bearer == TCP else 2, FIRST_DATA[bearer], block)
    result, reason = await invoke(kit)
    assert (result, reason) != ("ok", "")
    assert (await blocking[0]).result == "ok"
    assert state(kit) is ResourceState.BLOCKED
    assert not kit.bip["bank"].has_link(kit.ua())
    await kit.take("unblock", "serve")
    assert await invoke(kit) == ("ok", "")
