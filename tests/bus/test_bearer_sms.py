"""The SMS bearer over a real broker, against handsets that answer, drop, delay, repeat and refuse."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from bus.bearers.sms import SmsSettings
from bus.clock import SystemClock
from bus.errors import DeliveryFailed
from bus.frame import Bearer, Frame
from tests.bus.handset import RESPONSE, RESPONSE_HEADER, Answer
from tests.bus.sms_network import LONG, OPERATOR, SETTINGS, SHORT, TRACE, UA, SmsNetwork, open_network
from transport.sms import SmsDeliverReport, UserData

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bus.client import BrokerAddress


@pytest.fixture
async def network(broker: BrokerAddress) -> AsyncIterator[SmsNetwork]:
    """Yield a sender and a handset, connected."""
    async with open_network(broker) as network:
        yield network


async def test_a_packet_of_one_part(network: SmsNetwork) -> None:
    """A short packet is one SMS-DELIVER with the command header, and its receipt has the response packet."""
    receipt = await network.sender.send(SHORT, to_ua=UA, trace=TRACE)
    assert (receipt.parts, receipt.retries, receipt.response) == (1, 0, RESPONSE)
    (frame,) = network.handset.frames
    assert (frame.bearer, frame.source, frame.destination) == (Bearer.SMS, OPERATOR, UA)
    assert (frame.trace.trace_id, frame.attempt, frame.sent_at) == (TRACE.trace_id, 1, network.clock.now())
    # WIRE §3: no more messages, UDHI; OA of 4 digits; data download; class 2, 8 bit. TS 23.040 §9.2.2.1
    assert frame.pdu[:7] == bytes.fromhex("44049105007ff6")
    assert frame.pdu[14:] == bytes((103,)) + bytes.fromhex("027000") + SHORT
    assert network.handset.packets == [SHORT]


async def test_a_packet_of_three_parts(network: SmsNetwork) -> None:
    """A long packet arrives whole; its parts go one by one and only the last says that no more wait."""
    receipt = await network.sender.send(LONG, to_ua=UA, trace=TRACE)
    assert (receipt.parts, receipt.retries, receipt.response) == (3, 0, RESPONSE)
    assert network.handset.packets == [LONG]
    assert [message.more_messages for message in network.handset.messages] == [True, True, False]
    assert len({frame.reference for frame in network.handset.frames}) == 3
    assert network.counted["bearers"]["sms"]["sent"]["messages"] == 3


async def test_one_part_is_under_way_at_a_time(network: SmsNetwork) -> None:
    """The second part is not sent before the first is reported."""
    network.handset.plan_answers(Answer.LATE)
    sending = network.sending(LONG)
    await network.client.published.until(1)
    await network.sender.send(SHORT, to_ua=(await network.new_handset("8999")).ua, trace=TRACE)
    assert len(network.handset.frames) == 1
    await network.handset.send_late_reports()
    await sending
    assert network.handset.packets == [LONG]


async def test_a_silent_handset_gets_the_same_part_again(network: SmsNetwork) -> None:
    """Without a report in time the part is sent again: same reference, same octets, next attempt."""
    network.handset.plan_answers(Answer.PROMPT, Answer.NONE)
    sending = network.sending(LONG)
    await network.client.published.until(2)
    await network.handset.received.until(2)
    network.clock.advance(SETTINGS.wait_s(1))
    receipt = await sending
    assert (receipt.parts, receipt.retries, receipt.response) == (3, 1, RESPONSE)
    _, first, again, _ = network.handset.frames
    assert first.reference == again.reference
    assert first.pdu == again.pdu
    assert [frame.attempt for frame in network.handset.frames] == [1, 1, 2, 1]
    assert network.counted["bearers"]["sms"]["retries"] == 1
    assert network.handset.packets == [LONG]


async def test_a_report_within_the_back_off_still_counts(network: SmsNetwork) -> None:
    """A report after the time-out but before the retry is due spares the retry."""
    network.handset.plan_answers(Answer.LATE)
    sending = network.sending(SHORT)
    await network.client.published.until(1)
    await network.handset.received.until(1)
    network.clock.advance(SETTINGS.report_timeout_s + SETTINGS.backoff_s / 2)
    await network.handset.send_late_reports()
    await sending
    assert len(network.handset.frames) == 1


async def test_a_broker_that_is_away_is_no_silent_handset(network: SmsNetwork) -> None:
    """The wait for a report begins when the broker has the part, however long that took."""
    network.client.gate.clear()
    sending = network.sending(SHORT)
    await asyncio.sleep(0)
    network.clock.advance(1000.0)
    network.client.gate.set()
    assert (await sending).retries == 0
    assert len(network.handset.frames) == 1


async def test_a_report_of_an_earlier_attempt_counts(network: SmsNetwork) -> None:
    """When the retry is on its way the report of the first attempt is as good as its own."""
    network.handset.plan_answers(Answer.LATE, Answer.NONE)
    sending = network.sending(SHORT)
    await network.client.published.until(1)
    await network.handset.received.until(1)
    network.clock.advance(SETTINGS.wait_s(1))
    await network.handset.received.until(2)
    await network.handset.send_late_reports()
    assert (await sending).retries == 1


async def test_a_handset_that_stays_silent_is_given_up(network: SmsNetwork) -> None:
    """After the last attempt the caller gets a typed error that says where, which part and how often."""
    network.handset.plan_answers(Answer.PROMPT, Answer.NONE, Answer.NONE, Answer.LATE)
    sending = network.sending(LONG)
    for attempt in range(1, SETTINGS.attempts + 1):
        await network.client.published.until(1 + attempt)
        await network.handset.received.until(1 + attempt)
        network.clock.advance(SETTINGS.wait_s(attempt))
    with pytest.raises(DeliveryFailed) as failure:
        await sending
    error = failure.value
    assert (error.reason, error.destination, error.part, error.attempts) == ("no-report", UA, 2, 3)
    await network.handset.send_late_reports()
    await network.sender.send(SHORT, to_ua=UA, trace=TRACE)
    assert network.counted["dropped"] == {"unexpected-report": 1}


async def test_a_refusal_ends_the_packet_at_once(network: SmsNetwork) -> None:
    """RP-ERROR is an answer: no retry, and the failure cause is in the error."""
    network.handset.plan_answers(Answer.REFUSAL)
    with pytest.raises(DeliveryFailed) as failure:
        await network.sender.send(LONG, to_ua=UA, trace=TRACE)
    assert (failure.value.reason, failure.value.part, failure.value.attempts) == ("rp-error-d5", 1, 1)
    assert len(network.handset.frames) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer.TWICE, "unexpected-report"),
        (Answer.IMPOSTOR_FIRST, "foreign-report"),
        (Answer.WRONG_BEARER_FIRST, "wrong-bearer"),
    ],
)
async def test_a_report_that_proves_nothing_is_dropped(
    network: SmsNetwork, answer: Answer, reason: str
) -> None:
    """A second report, another's report and no report at all are counted and change nothing."""
    network.handset.plan_answers(answer)
    receipt = await network.sender.send(SHORT, to_ua=UA, trace=TRACE)
    assert (receipt.response, receipt.retries) == (RESPONSE, 0)
    receipt = await network.sender.send(SHORT, to_ua=UA, trace=TRACE)
    assert (receipt.response, receipt.retries) == (RESPONSE, 0)
    assert network.counted["dropped"] == {reason: 1}


async def test_a_report_that_is_none_is_dropped_and_the_part_retried(network: SmsNetwork) -> None:
    """Octets that are no TPDU are counted by what is wrong with them; the retry's report is the proof."""
    network.handset.plan_answers(Answer.GARBAGE)
    sending = network.sending(SHORT)
    await network.client.published.until(1)
    await network.counters.drops.until(1)
    network.clock.advance(SETTINGS.wait_s(1))
    receipt = await sending
    assert (receipt.response, receipt.retries) == (RESPONSE, 1)
    assert network.counted["dropped"] == {"truncated": 1}


@pytest.mark.parametrize(
    ("user_data", "response", "dropped"),
    [
        (UserData(header=RESPONSE_HEADER, payload=RESPONSE), RESPONSE, {}),
        (UserData(payload=b"\x02\x71\x00" + RESPONSE), RESPONSE, {}),
        (UserData(payload=b""), None, {}),
        (None, None, {}),
        (UserData(payload=b"\x02\x70\x00" + RESPONSE), None, {"no-response-packet": 1}),
        (UserData(payload=b"\x7f"), None, {"truncated": 1}),
    ],
    ids=["UDHI set", "UDHI clear, as a card answers", "empty", "absent", "another element", "no header"],
)
async def test_what_a_report_carries(
    network: SmsNetwork, user_data: UserData | None, response: bytes | None, dropped: dict[str, int]
) -> None:
    """The response packet is found with or without TP-UDHI; the receipt of anything else has none."""
    network.handset.last_report = SmsDeliverReport(user_data=user_data)
    receipt = await network.sender.send(SHORT, to_ua=UA, trace=TRACE)
    assert receipt.response == response
    assert RESPONSE.hex() not in repr(receipt)
    assert repr(RESPONSE) not in repr(receipt)
    assert network.counted["dropped"] == dropped


async def test_many_packets_through_a_lossy_network(network: SmsNetwork) -> None:
    """Packets to many modules at once all arrive, once each, though a third of the messages is lost."""
    seed = random.Random(42)
    handsets = [await network.new_handset(f"8988-{number}") for number in range(20)]

    def lose_some(_frame: Frame) -> Answer:
        if seed.random() < 0.33:
            return Answer.NONE
        return Answer.TWICE if seed.random() < 0.2 else Answer.PROMPT

    for handset in handsets:
        handset.plan = lose_some
    settings = SmsSettings(report_timeout_s=0.05, attempts=200, backoff_s=0.0)
    packets = [seed.randbytes(seed.randrange(1, 600)) for _ in range(100)]
    await network.sender.close()
    sender = network.new_sender(settings=settings, clock=SystemClock())
    async with sender, asyncio.TaskGroup() as group:
        sends = [
            group.create_task(sender.send(packet, to_ua=handsets[number % 20].ua, trace=TRACE))
            for number, packet in enumerate(packets)
        ]
    assert {send.result().response for send in sends} == {RESPONSE}
    arrived = [packet for handset in handsets for packet in handset.packets]
    assert sorted(arrived) == sorted(packets)
    assert network.counted["bearers"]["sms"]["retries"] == sum(send.result().retries for send in sends) > 0


async def test_a_cancelled_send_leaves_nothing_behind(network: SmsNetwork) -> None:
    """After a cancellation neither time-outs nor late reports find the packet, and the next one goes well."""
    network.handset.plan_answers(Answer.LATE)
    sending = network.sending(SHORT)
    await network.client.published.until(1)
    await network.handset.received.until(1)
    sending.cancel()
    network.clock.advance(1000.0)
    await asyncio.wait([sending])
    assert sending.cancelled()
    await network.handset.send_late_reports()
    receipt = await network.sender.send(LONG, to_ua=UA, trace=TRACE)
    assert (receipt.response, receipt.retries) == (RESPONSE, 0)
    assert network.counted["dropped"] == {"unexpected-report": 1}
    assert len(network.handset.frames) == 4


async def test_concatenation_references_are_counted_for_each_module(network: SmsNetwork) -> None:
    """References go round for one module without regard to what others get."""
    other = await network.new_handset("8999")
    await network.sender.close()
    async with network.new_sender(rng=_Counting()) as sender:
        for _ in range(3):
            await sender.send(LONG, to_ua=UA, trace=TRACE)
            await sender.send(LONG, to_ua=other.ua, trace=TRACE)
    for handset in (network.handset, other):
        firsts = [message for message in handset.messages if message.user_data.find(0x70)]
        references = [message.user_data.header[1].data[0] for message in firsts]
        assert references == [254, 255, 0]


async def test_randomness_that_repeats_itself_is_misuse(network: SmsNetwork) -> None:
    """Two parts under one reference would take each other's reports: refused."""
    network.handset.plan_answers(Answer.LATE)
    await network.sender.close()
    async with network.new_sender(rng=bytes) as sender:
        first = asyncio.create_task(sender.send(SHORT, to_ua=UA, trace=TRACE))
        await network.client.published.until(1)
        await network.handset.received.until(1)
        with pytest.raises(ValueError, match="repeats itself"):
            await sender.send(SHORT, to_ua=UA, trace=TRACE)
        await network.handset.send_late_reports()
        await first


async def test_a_sender_is_started_once_and_before_it_sends(network: SmsNetwork) -> None:
    """Sending before the start and starting twice are misuse; closing twice is not."""
    sender = network.new_sender()
    with pytest.raises(ValueError, match="has not started"):
        await sender.send(SHORT, to_ua=UA, trace=TRACE)
    await network.sender.close()
    await sender.start()
    with pytest.raises(ValueError, match="has started already"):
        await sender.start()
    await sender.close()
    await sender.close()


async def test_what_is_logged_never_holds_the_packet(network: SmsNetwork) -> None:
    """Sent, retried and given up: the events name module and numbers and no octets."""
    network.handset.plan_answers(Answer.PROMPT, Answer.REFUSAL)
    await network.sender.send(SHORT, to_ua=UA, trace=TRACE)
    with pytest.raises(DeliveryFailed):
        await network.sender.send(SHORT, to_ua=UA, trace=TRACE)
    ours = [log for log in network.book.entries if log["event"].startswith("sms.")]
    assert [log["event"] for log in ours] == ["sms.delivered", "sms.failed"]
    assert not any(isinstance(value, bytes) for log in ours for value in log.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"report_timeout_s": 0.0},
        {"attempts": 0},
        {"backoff_s": -1.0},
        {"backoff_most_s": -1.0},
        {"validity_s": 0.0},
        {"absent_retry_s": 0.0},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_that_could_never_work_are_refused(wrong: dict[str, float]) -> None:
    """No time-out, no attempt or a back-off into the past is misuse."""
    with pytest.raises(ValueError, match="positive time-out"):
        SmsSettings(**wrong)  # type: ignore[arg-type]


def test_waits_grow_until_the_last_attempt() -> None:
    """Each retry is held back twice as long as the one before, up to a bound; the last is not."""
    settings = SmsSettings(report_timeout_s=30.0, attempts=4, backoff_s=2.0)
    assert [settings.wait_s(attempt) for attempt in (1, 2, 3, 4)] == [32.0, 34.0, 38.0, 30.0]
    patient = SmsSettings(report_timeout_s=30.0, attempts=5000, backoff_s=2.0)
    assert [patient.wait_s(attempt) for attempt in (6, 7, 8, 4999)] == [94.0, 150.0, 150.0, 150.0]


class _Counting:
    """Randomness that counts up, and begins every concatenation at reference 254."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, count: int) -> bytes:
        self._count += 1
        return b"\xfe" if count == 1 else self._count.to_bytes(count, "big")
