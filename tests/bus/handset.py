"""A handset as a bearer sees it: takes SMS-DELIVER and answers at once, late, twice, wrongly or never."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from enum import Enum, auto
from functools import cached_property
from typing import TYPE_CHECKING

from bus.actor import Actor, ActorGroup
from bus.bearers.notice import Notice
from bus.client import BusClient
from bus.counters import Counters
from bus.frame import Bearer, Frame, TraceContext
from bus.topics import ReportTo, ShortMessageTo
from transport.concatenation import Reassembler
from transport.sms import (
    IEI_COMMAND_PACKET,
    IEI_RESPONSE_PACKET,
    FailureCause,
    InformationElement,
    SmsDeliver,
    SmsDeliverReport,
    UserData,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.topics import Topic

FLEET = "test-fleet"
RESPONSE = bytes.fromhex("000c0ab00000000000000100029000")  # a response packet from RPL on, for show
RESPONSE_HEADER = (InformationElement(iei=IEI_RESPONSE_PACKET, data=b""),)


class Answer(Enum):
    """What becomes of one short message."""

    PROMPT = auto()
    NONE = auto()
    LATE = auto()
    TWICE = auto()
    REFUSAL = auto()
    GARBAGE = auto()
    IMPOSTOR_FIRST = auto()
    WRONG_BEARER_FIRST = auto()
    ABSENT = auto()
    """Nobody is there to take it, and the network says so."""


class Tally:
    """Counts up, and lets a test wait until so much has been counted."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    def add(self) -> None:
        """Count one more."""
        self.count += 1
        self._changed.set()

    async def until(self, count: int) -> None:
        """Return when *count* have been counted."""
        while self.count < count:
            self._changed.clear()
            await self._changed.wait()


class WatchedClient(BusClient):
    """A client that counts the publishes that have returned, and holds new ones while the gate is shut."""

    @cached_property
    def published(self) -> Tally:
        """How many publishes have returned."""
        return Tally()

    @cached_property
    def gate(self) -> asyncio.Event:
        """Shut (cleared), it stands for a broker that is away."""
        gate = asyncio.Event()
        gate.set()
        return gate

    @cached_property
    def way_back(self) -> asyncio.Event:
        """Shut (cleared), it stands for a broker whose acknowledgement is slow."""
        way_back = asyncio.Event()
        way_back.set()
        return way_back

    async def publish(self, topic: Topic | str, frame: Frame, span: TraceContext | None = None) -> None:
        """Publish and count."""
        await self.gate.wait()
        await super().publish(topic, frame, span)
        await self.way_back.wait()
        self.published.add()


class WatchedCounters(Counters):
    """Counters that let a test wait for a drop."""

    def __init__(self) -> None:
        super().__init__()
        self.drops = Tally()

    def dropped(self, reason: str) -> None:
        """Count, and wake who waits for it."""
        super().dropped(reason)
        self.drops.add()


class Handset(Actor[Frame]):
    """The module *ua* and its phone; *plan* says for each message that comes what becomes of it."""

    def __init__(self, ua: str, group: ActorGroup, client: BusClient) -> None:
        super().__init__(f"handset[{ua}]", group)
        self.ua = ua
        self.frames: list[Frame] = []
        self.received = Tally()
        self.packets: list[bytes] = []
        self.plan: Callable[[Frame], Answer] = lambda _: Answer.PROMPT
        self.last_report = SmsDeliverReport(user_data=UserData(header=RESPONSE_HEADER, payload=RESPONSE))
        self._client = client
        self._reports: dict[bytes, SmsDeliverReport] = {}
        self._late: list[tuple[Frame, bytes]] = []
        self._reassembler = Reassembler(require_first_element=IEI_COMMAND_PACKET)

    async def switch_on(self) -> None:
        """Register with the network."""
        await self._client.subscribe(
            [ShortMessageTo(fleet=FLEET, ua=self.ua)], lambda frame, _topic: self.deliver(frame)
        )

    def plan_answers(self, *answers: Answer) -> None:
        """Answer the next messages as listed and all others promptly."""
        left = iter(answers)
        self.plan = lambda _: next(left, Answer.PROMPT)

    @property
    def messages(self) -> list[SmsDeliver]:
        """Every TPDU that came, repetitions too."""
        return [SmsDeliver.parse(frame.pdu) for frame in self.frames]

    async def send_late_reports(self) -> None:
        """Send what was held back."""
        late, self._late = self._late, []
        for frame, pdu in late:
            await self._report(frame, pdu)

    async def come_back(self) -> None:
        """Let the network tell the sender of the last message that the handset is there again."""
        await self._report(self.frames[-1], Notice.ALERT.encode(), bearer=Bearer.NOTICE)

    async def handle(self, message: Frame) -> None:
        """Take one SMS-DELIVER and answer it as planned."""
        self.frames.append(message)
        self.received.add()
        answer = self.plan(message)
        if answer is Answer.NONE:
            return
        if answer is Answer.ABSENT:
            await self._report(message, Notice.ABSENT.encode(), bearer=Bearer.NOTICE)
            return
        pdu = self._take(message).encode()
        match answer:
            case Answer.LATE:
                self._late.append((message, pdu))
                return
            case Answer.REFUSAL:
                pdu = SmsDeliverReport(failure_cause=FailureCause.DATA_DOWNLOAD_ERROR).encode()
            case Answer.GARBAGE:
                pdu = b"\x40\x07\x7f"
            case Answer.TWICE:
                await self._report(message, pdu)
            case Answer.IMPOSTOR_FIRST:
                impostor = replace(message, destination="impostor")
                await self._report(
                    impostor, SmsDeliverReport(failure_cause=FailureCause.UNSPECIFIED).encode()
                )
            case Answer.WRONG_BEARER_FIRST:
                await self._report(message, pdu, bearer=Bearer.EVENT)
        await self._report(message, pdu)

    def _take(self, frame: Frame) -> SmsDeliverReport:
        """Return the report: the last one again for a repetition, as a phone must not deliver twice."""
        if frame.reference not in self._reports:
            whole = self._reassembler.receive(
                frame.source, SmsDeliver.parse(frame.pdu).user_data, frame.sent_at
            )
            if whole is not None:
                self.packets.append(whole.payload)
            self._reports[frame.reference] = SmsDeliverReport() if whole is None else self.last_report
        return self._reports[frame.reference]

    async def _report(self, question: Frame, pdu: bytes, bearer: Bearer = Bearer.REPORT) -> None:
        answer = replace(
            question, bearer=bearer, source=question.destination, destination=question.source, pdu=pdu
        )
        await self._client.publish(ReportTo(fleet=FLEET, address=question.source), answer)
