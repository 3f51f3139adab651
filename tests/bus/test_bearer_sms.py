"""The SMS bearer over a real broker, against handsets that answer, drop, delay, repeat and refuse."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import structlog
from structlog.testing import capture_logs

from bus.actor import ActorGroup
from bus.bearers.sms import ReceivedPacket, SmsReceiver, SmsSender, SmsSettings
from bus.clock import SystemClock
from bus.counters import Counters
from bus.errors import DeliveryFailed
from bus.frame import Bearer, Frame, TraceContext
from tests.bus.handset import (
    FLEET,
    RESPONSE,
    RESPONSE_HEADER,
    Answer,
    Handset,
    WatchedClient,
    WatchedCounters,
)
from tests.bus.manual_clock import ManualClock
from transport.concatenation import Reassembler, split
from transport.sms import Address, InformationElement, SmsDeliverReport, SmsSubmit, UserData

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bus.bearers.sms import SmsReceipt
    from bus.client import BrokerAddress
    from bus.clock import Clock
    from bus.counters import Snapshot

UA = "89880000000000000011"
OPERATOR = "5000"
TRACE = TraceContext(trace_id=b"T" * 16, span_id=b"S" * 8)
SETTINGS = SmsSettings(report_timeout_s=30.0, attempts=3, backoff_s=2.0)
SHORT = bytes(range(100))
LONG = bytes(number % 251 for number in range(132 + 134 + 16))


class _Network:
    """An operator's sender and any number of handsets on one broker."""

    def __init__(self, stack: AsyncExitStack, broker: BrokerAddress) -> None:
        self.clock = ManualClock()
        self.counters = WatchedCounters()
        self.handset_counters = Counters()
        self._stack = stack
        self._broker = broker
        self._seed = random.Random(7)
        self.client: WatchedClient
        self.handset_client: WatchedClient
        self.group: ActorGroup
        self.sender: SmsSender
        self.handset: Handset

    async def open(self) -> None:
        self.client = await self._connect("operator", self.counters)
        self.handset_client = await self._connect("handsets", self.handset_counters)
        self.group = await self._stack.enter_async_context(
            ActorGroup(log=structlog.get_logger(), counters=self.handset_counters)
        )
        self.sender = await self._stack.enter_async_context(self.new_sender())
        self.handset = await self.new_handset(UA)

    async def _connect(self, identifier: str, counters: Counters) -> WatchedClient:
        return await self._stack.enter_async_context(
            WatchedClient(
                self._broker,
                identifier=identifier,
                log=structlog.get_logger(),
                counters=counters,
                persistent=False,
            )
        )

    def new_sender(
        self,
        *,
        settings: SmsSettings = SETTINGS,
        rng: Callable[[int], bytes] | None = None,
        clock: Clock | None = None,
    ) -> SmsSender:
        return SmsSender(
            self.client,
            fleet=FLEET,
            address=OPERATOR,
            settings=settings,
            clock=clock or self.clock,
            rng=rng or self._seed.randbytes,
            counters=self.counters,
            log=structlog.get_logger(),
        )

    async def new_handset(self, ua: str) -> Handset:
        handset = Handset(ua, self.group, self.handset_client)
        await handset.switch_on()
        return handset

    def sending(self, packet: bytes) -> asyncio.Task[SmsReceipt]:
        return asyncio.create_task(self.sender.send(packet, to_ua=UA, trace=TRACE))

    @property
    def counted(self) -> Snapshot:
        return self.counters.snapshot()


@pytest.fixture
async def network(broker: BrokerAddress) -> AsyncIterator[_Network]:
    """Yield a sender and a handset, connected; what they log is kept off the terminal."""
    with capture_logs():
        async with AsyncExitStack() as stack:
            network = _Network(stack, broker)
            await network.open()
            yield network


async def test_a_packet_of_one_part(network: _Network) -> None:
    """A short packet is one SMS-DELIVER with the command header, and its receipt has the response packet."""
    receipt = await network.sender.send(SHORT, to_ua=UA, trace=TRACE)
    assert (receipt.parts, receipt.retries, receipt.response) == (1, 0, RESPONSE)
    (frame,) = network.handset.frames
    assert (frame.bearer, frame.source, frame.destination) == (Bearer.SMS, OPERATOR, UA)
    assert (frame.trace, frame.attempt, frame.sent_at) == (TRACE, 1, network.clock.now())
    # WIRE §3: no more messages, UDHI; OA of 4 digits; data download; class 2, 8 bit. TS 23.040 §9.2.2.1
    assert frame.pdu[:7] == bytes.fromhex("44049105007ff6")
    assert frame.pdu[14:] == bytes((103,)) + bytes.fromhex("027000") + SHORT
    assert network.handset.packets == [SHORT]


async def test_a_packet_of_three_parts(network: _Network) -> None:
    """A long packet arrives whole; its parts go one by one and only the last says that no more wait."""
    receipt = await network.sender.send(LONG, to_ua=UA, trace=TRACE)
    assert (receipt.parts, receipt.retries, receipt.response) == (3, 0, RESPONSE)
    assert network.handset.packets == [LONG]
    assert [message.more_messages for message in network.handset.messages] == [True, True, False]
    assert len({frame.reference for frame in network.handset.frames}) == 3
    assert network.counted["bearers"]["sms"]["sent"]["messages"] == 3


async def test_one_part_is_under_way_at_a_time(network: _Network) -> None:
    """The second part is not sent before the first is reported."""
    network.handset.plan_answers(Answer.LATE)
    sending = network.sending(LONG)
    await network.client.published.until(1)
    await network.sender.send(SHORT, to_ua=(await network.new_handset("8999")).ua, trace=TRACE)
    assert len(network.handset.frames) == 1
    await network.handset.send_late_reports()
    await sending
    assert network.handset.packets == [LONG]


async def test_a_silent_handset_gets_the_same_part_again(network: _Network) -> None:
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


async def test_a_report_within_the_back_off_still_counts(network: _Network) -> None:
    """A report after the time-out but before the retry is due spares the retry."""
    network.handset.plan_answers(Answer.LATE)
    sending = network.sending(SHORT)
    await network.client.published.until(1)
    await network.handset.received.until(1)
    network.clock.advance(SETTINGS.report_timeout_s + SETTINGS.backoff_s / 2)
    await network.handset.send_late_reports()
    await sending
    assert len(network.handset.frames) == 1


async def test_a_broker_that_is_away_is_no_silent_handset(network: _Network) -> None:
    """The wait for a report begins when the broker has the part, however long that took."""
    network.client.gate.clear()
    sending = network.sending(SHORT)
    await asyncio.sleep(0)
    network.clock.advance(1000.0)
    network.client.gate.set()
    assert (await sending).retries == 0
    assert len(network.handset.frames) == 1


async def test_a_report_of_an_earlier_attempt_counts(network: _Network) -> None:
    """When the retry is on its way the report of the first attempt is as good as its own."""
    network.handset.plan_answers(Answer.LATE, Answer.NONE)
    sending = network.sending(SHORT)
    await network.client.published.until(1)
    await network.handset.received.until(1)
    network.clock.advance(SETTINGS.wait_s(1))
    await network.handset.received.until(2)
    await network.handset.send_late_reports()
    assert (await sending).retries == 1


async def test_a_handset_that_stays_silent_is_given_up(network: _Network) -> None:
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


async def test_a_refusal_ends_the_packet_at_once(network: _Network) -> None:
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
    network: _Network, answer: Answer, reason: str
) -> None:
    """A second report, another's report and no report at all are counted and change nothing."""
    network.handset.plan_answers(answer)
    receipt = await network.sender.send(SHORT, to_ua=UA, trace=TRACE)
    assert (receipt.response, receipt.retries) == (RESPONSE, 0)
    receipt = await network.sender.send(SHORT, to_ua=UA, trace=TRACE)
    assert (receipt.response, receipt.retries) == (RESPONSE, 0)
    assert network.counted["dropped"] == {reason: 1}


async def test_a_report_that_is_none_is_dropped_and_the_part_retried(network: _Network) -> None:
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
    network: _Network, user_data: UserData | None, response: bytes | None, dropped: dict[str, int]
) -> None:
    """The response packet is found with or without TP-UDHI; the receipt of anything else has none."""
    network.handset.last_report = SmsDeliverReport(user_data=user_data)
    receipt = await network.sender.send(SHORT, to_ua=UA, trace=TRACE)
    assert receipt.response == response
    assert RESPONSE.hex() not in repr(receipt)
    assert repr(RESPONSE) not in repr(receipt)
    assert network.counted["dropped"] == dropped


async def test_many_packets_through_a_lossy_network(network: _Network) -> None:
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


async def test_a_cancelled_send_leaves_nothing_behind(network: _Network) -> None:
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


async def test_concatenation_references_are_counted_for_each_module(network: _Network) -> None:
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


async def test_randomness_that_repeats_itself_is_misuse(network: _Network) -> None:
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


async def test_a_sender_is_started_once_and_before_it_sends(network: _Network) -> None:
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


async def test_what_is_logged_never_holds_the_packet(network: _Network) -> None:
    """Sent, retried and given up: the events name module and numbers and no octets."""
    network.handset.plan_answers(Answer.PROMPT, Answer.REFUSAL)
    with capture_logs() as logs:
        await network.sender.send(SHORT, to_ua=UA, trace=TRACE)
        with pytest.raises(DeliveryFailed):
            await network.sender.send(SHORT, to_ua=UA, trace=TRACE)
    ours = [log for log in logs if log["event"].startswith("sms.")]
    assert [log["event"] for log in ours] == ["sms.delivered", "sms.failed"]
    assert not any(isinstance(value, bytes) for log in ours for value in log.values())


@pytest.mark.parametrize("wrong", [{"report_timeout_s": 0.0}, {"attempts": 0}, {"backoff_s": -1.0}])
def test_settings_that_could_never_work_are_refused(wrong: dict[str, float]) -> None:
    """No time-out, no attempt or a back-off into the past is misuse."""
    with pytest.raises(ValueError, match="positive time-out"):
        SmsSettings(**wrong)  # type: ignore[arg-type]


def test_waits_grow_until_the_last_attempt() -> None:
    """Each retry is held back twice as long as the one before; after the last attempt there is none."""
    settings = SmsSettings(report_timeout_s=30.0, attempts=4, backoff_s=2.0)
    assert [settings.wait_s(attempt) for attempt in (1, 2, 3, 4)] == [32.0, 34.0, 38.0, 30.0]


# ---- from modules to a role ----------------------------------------------------------------------------


def _submit(user_data: UserData, *, ua: str = UA, bearer: Bearer = Bearer.SMS) -> Frame:
    submit = SmsSubmit(reference=1, destination=Address(digits=OPERATOR), user_data=user_data)
    return _mobile_originated(submit.encode(), ua=ua, bearer=bearer)


def _mobile_originated(pdu: bytes, *, ua: str = UA, bearer: Bearer = Bearer.SMS) -> Frame:
    return Frame(
        bearer=bearer,
        source=ua,
        destination=OPERATOR,
        pdu=pdu,
        reference=b"R" * 8,
        trace=TRACE,
        sent_at=0.0,
    )


def _receiver(counters: Counters, *, timeout_s: float = 60.0) -> SmsReceiver:
    reassembler = Reassembler(timeout_s=timeout_s)
    return SmsReceiver(reassembler, counters=counters, log=structlog.get_logger())


PACKET = InformationElement(iei=0x70, data=b"")


def test_a_message_of_one_part_is_received_at_once() -> None:
    """A single SMS-SUBMIT is its message, header and all."""
    user_data = UserData(header=(PACKET,), payload=SHORT)
    received = _receiver(Counters()).receive(_submit(user_data), 0.0)
    assert received == ReceivedPacket(ua=UA, user_data=user_data)


def test_parts_of_two_modules_are_kept_apart() -> None:
    """The same reference from two modules in any order makes two messages."""
    receiver = _receiver(Counters())
    ones = [_submit(part, ua="8901") for part in split(LONG, reference=5, first=PACKET)]
    twos = [_submit(part, ua="8902") for part in split(LONG[::-1], reference=5, first=PACKET)]
    results = [
        receiver.receive(frame, 0.0) for frame in (ones[2], twos[0], ones[0], twos[2], ones[1], twos[1])
    ]
    assert results[:4] == [None] * 4
    one, two = results[4:]
    assert one
    assert two
    assert (one.ua, one.user_data.payload, one.user_data.header) == ("8901", LONG, (PACKET,))
    assert (two.ua, two.user_data.payload) == ("8902", LONG[::-1])


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (_mobile_originated(b""), "truncated"),
        (_mobile_originated(b"\x44\x00\x91"), "wrong-type"),
        (_mobile_originated(b"\x01", bearer=Bearer.EVENT), "wrong-bearer"),
    ],
    ids=["empty", "no SMS-SUBMIT", "another bearer"],
)
def test_what_is_no_short_message_is_dropped(frame: Frame, reason: str) -> None:
    """Octets that are no SMS-SUBMIT are counted and logged once by reason, and nothing is received."""
    counters = Counters()
    with capture_logs() as logs:
        assert _receiver(counters).receive(frame, 0.0) is None
    assert counters.snapshot()["dropped"] == {reason: 1}
    assert [(log["event"], log["reason"]) for log in logs] == [("sms.dropped", reason)]


def test_a_message_that_stays_incomplete_is_given_up() -> None:
    """After the time-out the parts are forgotten and counted, once."""
    counters = Counters()
    receiver = _receiver(counters, timeout_s=60.0)
    receiver.receive(_submit(split(LONG, reference=1, first=PACKET)[0]), 0.0)
    with capture_logs():
        assert [receiver.expire(59.0), receiver.expire(61.0), receiver.expire(62.0)] == [0, 1, 0]
    assert counters.snapshot()["dropped"] == {"concatenation-timed-out": 1}


# ---- time ----------------------------------------------------------------------------------------------


async def test_the_system_clock_tells_the_time_and_never_goes_back() -> None:
    """Its seconds are since 1970, each reading is at least the one before, and a sleep of nothing returns."""
    clock = SystemClock()
    readings = [clock.now() for _ in range(100)]
    assert readings == sorted(readings)
    assert readings[0] > 1_700_000_000
    await clock.sleep(0)


class _Counting:
    """Randomness that counts up, and begins every concatenation at reference 254."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, count: int) -> bytes:
        self._count += 1
        return b"\xfe" if count == 1 else self._count.to_bytes(count, "big")
