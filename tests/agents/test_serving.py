"""A handset that serves its module through an air that loses things."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agents.handset.serving import SUBMIT_ATTEMPTS, SUBMIT_TIMEOUT_S
from bus.bearers.sms import SmsSettings
from bus.frame import Bearer
from bus.topics import ReportTo, ShortMessageFrom
from tests.agents.air_kit import HALF, LOST, THROUGH, seed_for
from tests.agents.bearer_kit import lost
from tests.agents.role_kit import PATIENCE_S, SUBJECTS, Kit, open_kit
from tests.bus.manual_clock import ManualClock
from transport.sms import SmsDeliver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from agents.messages.orders import Event
    from bus.address import BrokerAddress

MNO = SUBJECTS["mno"][2]


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that the test moves."""
    return ManualClock()


@pytest.fixture
async def kit(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger, clock: ManualClock
) -> AsyncIterator[Kit]:
    """Yield surroundings whose time the test moves."""
    async with open_kit(broker, fleet, tmp_path, log, clock=clock) as kit:
        yield kit


async def passes(clock: ManualClock, step_s: float, order: asyncio.Task[Event]) -> Event:
    """Let time go on in steps of *step_s* seconds until *order* has ended; return how."""
    async with asyncio.timeout(PATIENCE_S):
        while not order.done():
            clock.advance(step_s)
            await asyncio.wait([order], timeout=0.02)
    return await order


async def ready(kit: Kit, bearer: Bearer, fates: Sequence[bool]) -> None:
    """Open a market with one module, whose handset's next PDUs of *bearer* meet *fates*."""
    seed = seed_for(bearer, f"{kit.ua()}/up", fates)
    await kit.put_up_cell("lossy", {bearer: HALF}, seed=seed)
    await kit.start("root", "factory", "mno", "bank")
    await kit.agree("account")
    await kit.handset()
    await kit.take("personalise")


async def test_a_short_message_that_is_lost_is_sent_again(kit: Kit, clock: ManualClock) -> None:
    """The network said nothing: after a while the phone repeats it, under the same reference."""
    await ready(kit, Bearer.SMS, [LOST, LOST, THROUGH])
    subscribing = asyncio.create_task(kit.order("subscribe", "account"))
    ended = await passes(clock, SUBMIT_TIMEOUT_S, subscribing)
    assert (ended.result, ended.reason) == ("ok", "")
    frames = await kit.wire.until(ShortMessageFrom(fleet=kit.fleet, address=MNO))
    assert frames[0].attempt == 3
    assert lost(kit, Bearer.SMS) >= kit.counters.retries(Bearer.SMS) >= 2


async def test_a_short_message_that_is_always_lost(kit: Kit, clock: ManualClock) -> None:
    """After so many attempts the module hears "network unable", and the person that it was not sent."""
    await ready(kit, Bearer.SMS, [LOST] * SUBMIT_ATTEMPTS)
    subscribing = asyncio.create_task(kit.order("subscribe", "account"))
    ended = await passes(clock, SUBMIT_TIMEOUT_S, subscribing)
    assert (ended.result, ended.reason) == ("failed", "not-sent")
    assert kit.wire.on(ShortMessageFrom(fleet=kit.fleet, address=MNO)) == []
    assert lost(kit, Bearer.SMS) == SUBMIT_ATTEMPTS
    assert kit.counters.retries(Bearer.SMS) == SUBMIT_ATTEMPTS - 1


async def test_a_report_that_is_lost_is_given_again(kit: Kit, clock: ManualClock) -> None:
    """The sender repeats its message; the phone repeats its report, and the module is not troubled."""
    kit.sms = SmsSettings(report_timeout_s=30.0, attempts=4, backoff_s=0.0)
    await ready(kit, Bearer.REPORT, [LOST, LOST, THROUGH, LOST, THROUGH])
    await kit.take("subscribe")
    reserving = asyncio.create_task(kit.order("reserve", "account"))
    ended = await passes(clock, 31.0, reserving)
    assert (ended.result, ended.reason) == ("ok", "")
    frames = [frame for path, frame in kit.wire.frames if "/sms/mt/" in path]
    parts = {frame.reference for frame in frames}
    assert len(frames) >= len(parts) + 3
    assert len({SmsDeliver.parse(frame.pdu).user_data for frame in frames}) == len(parts)
    assert lost(kit, Bearer.REPORT) >= 3
    reports = kit.wire.on(ReportTo(fleet=kit.fleet, address=MNO))
    assert {frame.reference for frame in reports} == parts
    assert [each.service for each in kit.cell.phones[kit.ua()].module.definitions.all()] == ["account"]
