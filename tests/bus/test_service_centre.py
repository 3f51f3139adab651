"""Handsets that are off, and messages that grow old, over a real broker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bus.bearers.notice import Notice
from bus.bearers.sms import SmsSettings
from bus.errors import DeliveryFailed
from bus.frame import Bearer
from tests.bus.handset import RESPONSE, Answer
from tests.bus.sms_network import LONG, OPERATOR, SETTINGS, SHORT, TRACE, UA, SmsNetwork, open_network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bus.bearers.sms import SmsReceipt
    from bus.client import BrokerAddress

OTHER_UA = "89880000000000000029"


@pytest.fixture
async def network(broker: BrokerAddress) -> AsyncIterator[SmsNetwork]:
    """Yield a sender and a handset, connected."""
    async with open_network(broker) as network:
        yield network


async def failure_of(sending: asyncio.Task[SmsReceipt]) -> DeliveryFailed:
    """Return why the packet was given up."""
    with pytest.raises(DeliveryFailed) as failure:
        await sending
    return failure.value


async def transmitted(network: SmsNetwork, count: int) -> None:
    """Return when *count* messages have gone out and have come to the handset."""
    await network.client.published.until(count)
    await network.handset.received.until(count)


async def test_absent_then_alert(network: SmsNetwork) -> None:
    """A message for a handset that is off waits, past any time-out, and goes out again on the alert."""
    network.handset.plan_answers(Answer.ABSENT)
    sending = network.sending(SHORT)
    await network.book.until("sms.absent", 1)
    assert (network.sender.parked, network.sender.waiting) == (1, 1)
    network.clock.advance(SETTINGS.absent_retry_s - 1.0)
    await network.handset.come_back()
    receipt = await sending
    assert (receipt.response, receipt.retries) == (RESPONSE, 1)
    first, second = network.handset.frames
    assert first.reference == second.reference
    assert (first.pdu, first.attempt, second.attempt) == (second.pdu, 1, 2)
    assert (network.sender.parked, network.sender.waiting) == (0, 0)
    assert network.counted["bearers"]["sms"]["retries"] == 1
    assert network.counted["dropped"] == {}
    assert network.book.of("sms.absent") == [{"event": "sms.absent", "to_ua": UA, "part": 1, "bearer": "sms"}]
    assert network.book.of("sms.alerted") == [
        {"event": "sms.alerted", "to_ua": UA, "parts": 1, "bearer": "sms"}
    ]


async def test_alert_lost(network: SmsNetwork) -> None:
    """When no alert comes the sender tries again by itself, each time after as long."""
    network.handset.plan_answers(Answer.ABSENT, Answer.ABSENT)
    sending = network.sending(SHORT)
    for tries in (1, 2):
        await network.book.until("sms.absent", tries)
        network.clock.advance(SETTINGS.absent_retry_s)
    assert (await sending).retries == 2
    assert len(network.handset.frames) == 3
    assert network.sender.parked == 0


async def test_absence_is_no_attempt(network: SmsNetwork) -> None:
    """However often the handset was off, all attempts are left to it when it is silent."""
    absences = 5
    network.handset.plan_answers(*[Answer.ABSENT] * absences, *[Answer.NONE] * SETTINGS.attempts)
    sending = network.sending(SHORT)
    for number in range(1, absences + 1):
        await network.book.until("sms.absent", number)
        await network.handset.come_back()
    for attempt in range(1, SETTINGS.attempts + 1):
        await transmitted(network, absences + attempt)
        network.clock.advance(SETTINGS.wait_s(attempt))
    failure = await failure_of(sending)
    assert (failure.reason, failure.attempts) == ("no-report", absences + SETTINGS.attempts)


async def test_absent_between_attempts(network: SmsNetwork) -> None:
    """An attempt that was made before the handset went off counts afterwards."""
    await network.use(SmsSettings(report_timeout_s=30.0, attempts=2, backoff_s=0.0))
    network.handset.plan_answers(Answer.NONE, Answer.ABSENT, Answer.NONE)
    sending = network.sending(SHORT)
    await transmitted(network, 1)
    network.clock.advance(30.0)
    await network.book.until("sms.absent", 1)
    await network.handset.come_back()
    await transmitted(network, 3)
    network.clock.advance(30.0)
    assert (await failure_of(sending)).reason == "no-report"


async def test_validity_expired_while_parked(network: SmsNetwork) -> None:
    """A handset that stays off is given up when the message is no longer valid, and not before."""
    await network.use(SmsSettings(validity_s=1000.0, absent_retry_s=600.0))
    network.handset.plan = lambda _: Answer.ABSENT
    sending = network.sending(LONG)
    await network.book.until("sms.absent", 1)
    network.clock.advance(600.0)
    await network.book.until("sms.absent", 2)
    network.clock.advance(399.0)
    await network.sender.send(SHORT, to_ua=(await network.new_handset(OTHER_UA)).ua, trace=TRACE)
    assert network.sender.parked == 1
    network.clock.advance(1.0)
    failure = await failure_of(sending)
    assert (failure.reason, failure.destination, failure.part) == ("validity-expired", UA, 1)
    assert failure.attempts == len(network.handset.frames) == 2
    assert (network.sender.parked, network.sender.waiting) == (0, 0)


async def test_validity_expired_while_retrying(network: SmsNetwork) -> None:
    """A silent handset is given up when the message is no longer valid, though attempts are left."""
    await network.use(SmsSettings(report_timeout_s=30.0, attempts=9, backoff_s=2.0, validity_s=40.0))
    network.handset.plan = lambda _: Answer.NONE
    sending = network.sending(SHORT)
    await transmitted(network, 1)
    network.clock.advance(32.0)
    await transmitted(network, 2)
    network.clock.advance(8.0)
    failure = await failure_of(sending)
    assert (failure.reason, failure.attempts) == ("validity-expired", 2)


async def test_every_part_has_its_own_validity(network: SmsNetwork) -> None:
    """The time that one part took is not taken from the next."""
    await network.use(SmsSettings(validity_s=300.0, absent_retry_s=200.0))
    network.handset.plan_answers(Answer.ABSENT, Answer.PROMPT, Answer.ABSENT)
    sending = network.sending(LONG)
    for absences in (1, 2):
        await network.book.until("sms.absent", absences)
        network.clock.advance(200.0)
    assert (await sending).retries == 2
    assert network.handset.packets == [LONG]


async def test_all_that_waits_for_a_handset_goes_out_on_its_alert(network: SmsNetwork) -> None:
    """One alert sends out everything for that module, of several packets, and nothing for another."""
    other = await network.new_handset(OTHER_UA)
    network.handset.plan_answers(*[Answer.ABSENT] * 3)
    other.plan_answers(Answer.ABSENT)
    packets = [LONG, SHORT, LONG[::-1]]
    sendings = [network.sending(packet) for packet in packets]
    elsewhere = network.sending(SHORT, to_ua=OTHER_UA)
    await network.book.until("sms.absent", 4)
    assert network.sender.parked == 4
    await network.handset.come_back()
    receipts = await asyncio.gather(*sendings)
    assert [(receipt.parts, receipt.retries) for receipt in receipts] == [(3, 1), (1, 1), (3, 1)]
    assert sorted(network.handset.packets) == sorted(packets)
    assert network.sender.parked == 1
    assert not elsewhere.done()
    await other.come_back()
    assert (await elsewhere).response == RESPONSE
    assert [entry["parts"] for entry in network.book.of("sms.alerted")] == [3, 1]


async def test_a_late_report_delivers_what_is_parked(network: SmsNetwork) -> None:
    """When the handset went off after the first transmission, its report is as good as ever."""
    network.handset.plan_answers(Answer.LATE, Answer.ABSENT)
    sending = network.sending(SHORT)
    await transmitted(network, 1)
    network.clock.advance(SETTINGS.wait_s(1))
    await network.book.until("sms.absent", 1)
    await network.handset.send_late_reports()
    assert (await sending).response == RESPONSE
    assert (network.sender.parked, network.sender.waiting) == (0, 0)


@pytest.mark.parametrize("back_first", [False, True], ids=["alert after", "alert before"])
async def test_a_slow_broker_changes_nothing(network: SmsNetwork, *, back_first: bool) -> None:
    """The network's words may come before the broker's own acknowledgement of the message."""
    network.handset.plan_answers(Answer.ABSENT)
    network.client.way_back.clear()
    sending = network.sending(SHORT)
    await network.book.until("sms.absent", 1)
    if back_first:
        await network.handset.come_back()
        await network.book.until("sms.alerted", 1)
    network.client.way_back.set()
    await network.client.published.until(1)
    if not back_first:
        await network.handset.come_back()
    assert (await sending).retries == 1


@pytest.mark.parametrize(
    ("pdu", "change", "reason"),
    [
        (Notice.ABSENT.encode(), {"reference": b"unknown."}, "unexpected-notice"),
        (Notice.ABSENT.encode(), {"source": OTHER_UA}, "foreign-notice"),
        (Notice.ABSENT.encode(), {"bearer": Bearer.EVENT}, "wrong-bearer"),
        (Notice.ABSENT.encode(), {"bearer": Bearer.REPORT}, "wrong-type"),
        (Notice.ABSENT.encode() * 2, {}, "bad-notice"),
        (b"", {}, "bad-notice"),
        (b"\xff", {}, "bad-notice"),
        (Notice.ALERT.encode(), {}, "unexpected-notice"),
        (Notice.ALERT.encode(), {"source": OTHER_UA}, "unexpected-notice"),
    ],
    ids=[
        "unknown reference",
        "another handset's",
        "wrong bearer",
        "as a report",
        "too long",
        "empty",
        "unknown word",
        "alert for nothing",
        "another handset's alert",
    ],
)
async def test_notices_that_mean_nothing(
    network: SmsNetwork, pdu: bytes, change: dict[str, object], reason: str
) -> None:
    """What the network cannot have said of this message is counted and changes nothing."""
    network.handset.plan_answers(Answer.LATE)
    sending = network.sending(SHORT)
    await transmitted(network, 1)
    frame = {"reference": network.handset.frames[0].reference} | change
    await network.say(pdu, **frame)  # type: ignore[arg-type]
    await network.counters.drops.until(1)
    assert network.sender.parked == 0
    await network.handset.send_late_reports()
    assert (await sending).retries == 0
    assert network.counted["dropped"] == {reason: 1}


async def test_a_notice_that_comes_twice(network: SmsNetwork) -> None:
    """QoS 1 may repeat a notice: the second one is counted and moves no deadline."""
    network.handset.plan_answers(Answer.ABSENT)
    sending = network.sending(SHORT)
    await network.book.until("sms.absent", 1)
    network.clock.advance(SETTINGS.absent_retry_s / 2)
    await network.say(Notice.ABSENT.encode(), reference=network.handset.frames[0].reference)
    await network.counters.drops.until(1)
    network.clock.advance(SETTINGS.absent_retry_s / 2)
    assert (await sending).retries == 1
    assert network.counted["dropped"] == {"unexpected-notice": 1}


async def test_an_alert_for_what_is_answered_already(network: SmsNetwork) -> None:
    """A report, then an alert, before the sender could look: the report counts and nothing is sent again."""
    network.handset.plan_answers(Answer.LATE, Answer.ABSENT)
    sending = network.sending(SHORT)
    await transmitted(network, 1)
    network.client.way_back.clear()
    network.clock.advance(SETTINGS.wait_s(1))
    await network.book.until("sms.absent", 1)
    await network.handset.send_late_reports()
    await network.handset.come_back()
    await network.book.until("sms.alerted", 1)
    network.client.way_back.set()
    assert (await sending).response == RESPONSE
    assert len(network.handset.frames) == 2
    assert network.sender.parked == 0


async def test_a_report_before_the_brokers_own_word(network: SmsNetwork) -> None:
    """A report that overtakes the broker's acknowledgement leaves no deadline behind."""
    network.client.way_back.clear()
    sending = network.sending(SHORT)
    await network.handset.received.until(1)
    await network.say(b"", reference=b"marker..")
    await network.counters.drops.until(1)
    network.client.way_back.set()
    assert (await sending).retries == 0
    network.clock.advance(SETTINGS.wait_s(1))
    assert network.sender.waiting == 0


async def test_a_handset_that_takes_longer_than_the_time_out(network: SmsNetwork) -> None:
    """Its first message goes twice; when both are reported, that is known, and the next goes once."""
    network.handset.plan_answers(Answer.LATE, Answer.LATE)
    first = network.sending(SHORT)
    await transmitted(network, 1)
    network.clock.advance(SETTINGS.wait_s(1))
    await transmitted(network, 2)
    network.clock.advance(10.0)
    await network.handset.send_late_reports()
    assert (await first).retries == 1
    await network.counters.drops.until(1)
    network.handset.plan_answers(Answer.LATE)
    second = network.sending(SHORT)
    await transmitted(network, 3)
    network.clock.advance(SETTINGS.wait_s(1) + 10.0)
    await network.handset.send_late_reports()
    assert (await second).retries == 0
    assert len(network.handset.frames) == 3


async def test_how_long_a_handset_was_off_is_no_round_trip(network: SmsNetwork) -> None:
    """A message that waited for its handset is timed from when it went out again."""
    network.handset.plan_answers(Answer.ABSENT, Answer.PROMPT, Answer.NONE)
    sending = network.sending(SHORT)
    await network.book.until("sms.absent", 1)
    network.clock.advance(SETTINGS.absent_retry_s - 1.0)
    await network.handset.come_back()
    assert (await sending).retries == 1
    sending = network.sending(SHORT)
    await transmitted(network, 3)
    network.clock.advance(SETTINGS.wait_s(1))
    assert (await sending).retries == 1


async def test_a_cancelled_send_leaves_nothing_parked(network: SmsNetwork) -> None:
    """After a cancellation the alert finds only what else was parked, and then nothing."""
    network.handset.plan_answers(Answer.ABSENT, Answer.ABSENT)
    cancelled, kept = network.sending(SHORT), network.sending(LONG)
    await network.book.until("sms.absent", 2)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    assert (network.sender.parked, network.sender.waiting) == (1, 1)
    await network.handset.come_back()
    assert (await kept).retries == 1
    assert (network.sender.parked, network.sender.waiting) == (0, 0)
    await network.handset.come_back()
    await network.counters.drops.until(1)
    assert network.counted["dropped"] == {"unexpected-notice": 1}
    assert network.handset.packets == [LONG]


async def test_attempts_beyond_what_a_frame_can_say(network: SmsNetwork) -> None:
    """A message that is sent more than 255 times says 255 from then on."""
    times = 257
    network.handset.plan_answers(*[Answer.ABSENT] * times)
    sending = network.sending(SHORT)
    for number in range(1, times + 1):
        await network.book.until("sms.absent", number)
        await network.handset.come_back()
    assert (await sending).retries == times
    assert [frame.attempt for frame in network.handset.frames[-4:]] == [255] * 4


async def test_closing_leaves_no_task(network: SmsNetwork) -> None:
    """After close no task of the sender's is left, whatever waited."""
    network.handset.plan_answers(Answer.ABSENT)
    sending = network.sending(SHORT)
    await network.book.until("sms.absent", 1)
    sending.cancel()
    await asyncio.wait([sending])
    await network.sender.close()
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not any(name.startswith(f"sms[{OPERATOR}]") for name in names)
    assert (network.sender.parked, network.sender.waiting) == (0, 0)
