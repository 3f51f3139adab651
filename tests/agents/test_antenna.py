"""The antenna: what leaves a cell, when, in which order, and what is lost before that."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import structlog

from agents.handset.antenna import OUTBOX, Antenna
from bus.air import AirGate
from bus.bearers.sms import SmsSettings
from bus.clock import SystemClock
from bus.errors import BrokerLost
from bus.frame import Bearer, Frame, TraceContext
from bus.topics import Orders, ReportTo, ShortMessageFrom
from tests.agents.air_kit import HALF, LOST, THROUGH, seed_for
from tests.agents.bearer_kit import (
    RESERVED,
    SMS,
    TCP,
    UDP,
    invoke,
    lost,
    open_market,
    packet_frame,
    serve,
)
from tests.agents.role_kit import Kit, open_kit
from tests.bus.manual_clock import ManualClock
from transport.air import Conditions, Outage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from bus.address import BrokerAddress
    from bus.topics import Topic

NUMBER = "15550200"
SLOW = Conditions(delay_s=10.0, spread=0.0)
RADIO = (Bearer.SMS, Bearer.REPORT, Bearer.CELL_BROADCAST, Bearer.BIP_TCP, Bearer.BIP_UDP)


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that the test moves."""
    return ManualClock()


@pytest.fixture
async def slow(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger, clock: ManualClock
) -> AsyncIterator[Kit]:
    """Yield surroundings whose time the test moves."""
    async with open_kit(broker, fleet, tmp_path, log, clock=clock) as kit:
        yield kit


def message(number: int = 0) -> Frame:
    """Return a numbered short message to the bank."""
    return packet_frame(
        number.to_bytes(2, "big"), bearer=Bearer.SMS, source="handset", to=NUMBER, reference=b"%d" % number
    )


def inbox(kit: Kit) -> ShortMessageFrom:
    """Return where short messages for the bank arrive."""
    return ShortMessageFrom(fleet=kit.fleet, address=NUMBER)


async def test_what_comes_through_at_once_has_left_when_up_returns(kit: Kit) -> None:
    """Where nothing waits for the air the publish is awaited, so that its failure is the sender's to see."""
    assert await kit.antenna.up(kit.ua(), inbox(kit), message())
    assert len(await kit.wire.until(inbox(kit))) == 1

    async def publish(topic: Topic | str, frame: Frame, span: TraceContext | None = None) -> None:
        raise BrokerLost(f"{topic} {frame.bearer} {span}", 1.0)

    kit.clients["cell"].publish = publish  # type: ignore[method-assign]
    with pytest.raises(BrokerLost):
        await kit.antenna.up(kit.ua(), inbox(kit), message())


async def test_what_is_lost_never_leaves(kit: Kit) -> None:
    """The sender learns it, as a phone does that gets no acknowledgement; the loss is counted."""
    seed = seed_for(Bearer.SMS, f"{kit.ua()}/up", [LOST, THROUGH])
    await kit.put_up_cell("lossy", {Bearer.SMS: HALF}, seed=seed)
    assert not await kit.antenna.up(kit.ua(), inbox(kit), message(1))
    assert await kit.antenna.up(kit.ua(), inbox(kit), message(2))
    (frame,) = await kit.wire.until(inbox(kit))
    assert frame.reference.endswith(b"2")
    assert lost(kit, Bearer.SMS) == 1


async def test_what_is_repeated_leaves_twice(kit: Kit) -> None:
    """Both copies have the sender's reference, and each its own span."""
    await kit.put_up_cell("echo", {Bearer.SMS: Conditions(duplication=1.0)})
    assert await kit.antenna.up(kit.ua(), inbox(kit), message())
    first, second = await kit.wire.until(inbox(kit), 2)
    assert first.trace.span_id != second.trace.span_id
    assert replace(first, trace=second.trace) == second


async def test_what_is_delayed_leaves_in_order(slow: Kit, clock: ManualClock) -> None:
    """Nothing before its time; then everything, as it was sent."""
    await slow.put_up_cell("slow", {Bearer.SMS: SLOW}, wait=True)
    for number in range(20):
        assert await slow.antenna.up(slow.ua(), inbox(slow), message(number))
    clock.advance(9.0)
    marker = ReportTo(fleet=slow.fleet, address="marker")
    slow.antenna.say(marker, message())
    await slow.wire.until(marker)
    assert slow.wire.on(inbox(slow)) == []
    clock.advance(2.0)
    frames = await slow.wire.until(inbox(slow), 20)
    assert [int.from_bytes(frame.pdu, "big") for frame in frames] == list(range(20))


async def test_a_word_of_the_network_goes_over_no_air(kit: Kit) -> None:
    """An air that lets nothing through does not keep the network from speaking."""
    out = Conditions(outages=(Outage.between(0.0, 1e9),))
    await kit.put_up_cell("out", dict.fromkeys(RADIO, out))
    assert not await kit.antenna.up(kit.ua(), inbox(kit), message(1))
    kit.antenna.say(inbox(kit), message(2))
    (frame,) = await kit.wire.until(inbox(kit))
    assert frame.reference.endswith(b"2")


async def test_a_broker_that_is_away_costs_what_does_not_fit(kit: Kit) -> None:
    """So much waits for it and no more, what it loses is logged, and what comes later leaves again."""
    away, back = asyncio.Event(), asyncio.Event()
    client = kit.clients["cell"]
    publish = client.publish

    async def wait(topic: Topic | str, frame: Frame, span: TraceContext | None = None) -> None:
        if back.is_set():
            await publish(topic, frame, span)
            return
        away.set()
        await back.wait()
        raise BrokerLost(str(topic), 1.0)

    client.publish = wait  # type: ignore[method-assign]
    with structlog.testing.capture_logs() as logs:
        kit.antenna.say(inbox(kit), message())
        await away.wait()
        for number in range(1, OUTBOX + 10):
            kit.antenna.say(inbox(kit), message(number))
        back.set()
        frames = await kit.wire.until(inbox(kit), OUTBOX)
    assert len(frames) == OUTBOX
    assert int.from_bytes(frames[0].pdu, "big") == 1
    reasons = [entry["reason"] for entry in logs if entry["event"] == "antenna.dropped"]
    assert reasons == ["outbox-full"] * 9 + ["BrokerLost"]
    assert kit.counters.snapshot()["dropped"] == {"outbox-full": 9, "BrokerLost": 1}


async def test_a_closed_antenna_sends_nothing_more(kit: Kit) -> None:
    """Leaving it ends its task, also when it was never entered; what still waits is dropped."""
    gate = AirGate(clock=kit.clock, seed=b"", conditions={}, counters=kit.counters, log=kit.log, wait=False)
    antenna = Antenna(kit.clients["cell"], gate, name="another", counters=kit.counters, log=kit.log)
    await antenna.__aexit__(None, None, None)
    async with antenna:
        pass
    antenna.say(inbox(kit), message())
    tasks = {task.get_name() for task in asyncio.all_tasks()}
    assert "antenna[another]" not in tasks
    assert "antenna[cell]" in tasks


async def test_a_call_comes_when_its_time_has_come(slow: Kit, clock: ManualClock) -> None:
    """Not before; it goes over no air."""
    called = asyncio.Event()
    slow.antenna.after(5.0, called.set)
    clock.advance(4.0)
    assert not called.is_set()
    clock.advance(1.1)
    await called.wait()


@pytest.mark.parametrize("bearers", [(SMS,), (TCP, SMS), (UDP, SMS)], ids="-".join)
async def test_what_comes_twice_does_no_harm(kit: Kit, bearers: tuple[str, ...]) -> None:
    """An air that repeats everything: what is told twice is done once, and nothing fails for it."""
    await kit.put_up_cell("echo", dict.fromkeys(RADIO, Conditions(duplication=1.0)))
    await open_market(kit, *bearers)
    await kit.handset()
    await kit.take(*RESERVED)
    assert await serve(kit) == ("ok", "")
    for _ in range(3):
        assert await invoke(kit) == ("ok", "")
    await kit.roles["bank"].idle()
    await kit.roles["mno"].idle()
    assert {event.result for event in kit.events} == {"ok"}
    assert len(kit.wire.on(Orders(fleet=kit.fleet, agent="bank"))) == 3 + 3  # agreed, and invoked
    assert kit.counters.snapshot()["crashes"] == {}


@pytest.mark.parametrize("bearers", [(SMS,), (TCP,), (UDP,)], ids="-".join)
async def test_an_air_that_loses_much_is_got_through(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger, bearers: tuple[str, ...]
) -> None:
    """A fifth of everything is lost, some comes twice and out of order: all of it ends well all the same."""
    async with open_kit(broker, fleet, tmp_path, log, clock=SystemClock(20.0)) as kit:
        kit.sms = SmsSettings(report_timeout_s=10.0, attempts=20)
        bad = Conditions(loss=0.2, duplication=0.1, reordering=0.1)
        await kit.put_up_cell("bad", dict.fromkeys(RADIO, bad), seed=b"bad weather")
        await open_market(kit, *bearers)
        await kit.handset()
        await kit.take(*RESERVED)
        assert await serve(kit) == ("ok", "")
        assert await invoke(kit) == ("ok", "")
        assert kit.counters.snapshot()["crashes"] == {}
