"""Secured packets by short message: split, send, await the delivery reports, send again, give up.

:class:`SmsSender` carries packets from a role to a module (SMS-DELIVER, answered by SMS-DELIVER-REPORT),
:class:`SmsReceiver` puts together what modules send to a role (SMS-SUBMIT).

A sender costs one task however many packets are on their way: waits of one length end in the order in which
they began, so the open waits of each attempt are a queue (a dict, as answers leave it from the middle) and
one sweeper looks at the head of each.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bus.errors import DeliveryFailed
from bus.frame import Bearer, Frame
from bus.topics import ReportTo, ShortMessageTo
from transport.concatenation import split
from transport.errors import Rejected
from transport.sms import (
    IEI_COMMAND_PACKET,
    IEI_RESPONSE_PACKET,
    Address,
    InformationElement,
    ServiceCentreTime,
    SmsDeliver,
    SmsDeliverReport,
    SmsSubmit,
    UserData,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from structlog.typing import FilteringBoundLogger

    from bus.client import BusClient
    from bus.clock import Clock
    from bus.counters import Counters
    from bus.frame import TraceContext
    from transport.concatenation import Reassembler

# TS 31.115 §4.2: the element that says "what follows is a command packet"; it stands in the first part only.
_COMMAND_PACKET: Final = InformationElement(iei=IEI_COMMAND_PACKET, data=b"")
_REFERENCE_LENGTH: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsSettings:
    """How long to wait for a report (*report_timeout_s*) and how often to send a part (*attempts*).

    Before attempt n + 1 the wait is longer by *backoff_s* times 2 to the power n - 1; a report that comes
    in that time still counts.
    """

    report_timeout_s: float = 30.0
    attempts: int = 4
    backoff_s: float = 2.0

    def __post_init__(self) -> None:
        """Refuse a sender that would never wait or never send."""
        if self.report_timeout_s <= 0 or self.attempts < 1 or self.backoff_s < 0:
            raise ValueError("an SMS sender needs a positive time-out, an attempt and no negative back-off")

    def wait_s(self, attempt: int) -> float:
        """Return for how long the report of *attempt* (from 1) is awaited, in seconds."""
        more = self.backoff_s * 2 ** (attempt - 1) if attempt < self.attempts else 0.0
        return self.report_timeout_s + more


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsReceipt:
    """The proof that a packet arrived: every one of its *parts* was reported.

    *response* is the response packet of the report (from RPL on, without ``02 71 00``), None when there was
    none; *retries* counts the parts that were sent again.
    """

    response: bytes | None = field(repr=False)
    parts: int
    retries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedPacket:
    """A whole message from the module *ua*, put together from its parts; *user_data* keeps its header."""

    ua: str
    user_data: UserData


class _Part:
    """One part on its way; the future is that of the running attempt, None when no report came in time."""

    __slots__ = ("answer", "attempt", "deadline", "pdu", "reference", "to_ua", "topic", "trace")

    def __init__(self, *, pdu: bytes, reference: bytes, to_ua: str, topic: str, trace: TraceContext) -> None:
        self.pdu = pdu
        self.reference = reference
        self.to_ua = to_ua
        self.topic = topic
        self.trace = trace
        self.attempt = 0
        self.deadline = 0.0
        self.answer: asyncio.Future[SmsDeliverReport | None]


class SmsSender:
    """Sends packets from the short number *address* to modules of *fleet*; an async context manager.

    Any number of packets may be on their way at once, to one module or many; of one packet one part at a
    time.
    """

    def __init__(
        self,
        client: BusClient,
        *,
        fleet: str,
        address: str,
        settings: SmsSettings,
        clock: Clock,
        rng: Callable[[int], bytes],
        counters: Counters,
        log: FilteringBoundLogger,
    ) -> None:
        self._client = client
        self._fleet = fleet
        self._address = address
        self._originator = Address(digits=address)
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._counters = counters
        self._log = log
        self._parts: dict[bytes, _Part] = {}
        self._waits: tuple[dict[bytes, _Part], ...] = tuple({} for _ in range(settings.attempts))
        self._waiting = asyncio.Event()
        self._concatenations: dict[str, int] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._stamp = (-1, ServiceCentreTime.at(0.0))

    async def start(self) -> None:
        """Subscribe to the delivery reports for our address; packets may be sent afterwards."""
        if self._sweeper is not None:
            raise ValueError(f"the SMS sender {self._address} has started already")
        self._sweeper = asyncio.create_task(self._sweep(), name=f"sms[{self._address}].time-outs")
        await self._client.subscribe([ReportTo(fleet=self._fleet, address=self._address)], self._on_report)

    async def close(self) -> None:
        """End the time-outs; whoever still sends must have been cancelled before. Safe to repeat."""
        sweeper, self._sweeper = self._sweeper, None
        if sweeper is not None:
            sweeper.cancel()
            await asyncio.wait([sweeper])

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def send(self, packet: bytes, *, to_ua: str, trace: TraceContext) -> SmsReceipt:
        """Send the secured *packet* (from CPL on) to the module *to_ua*; return when all parts are reported.

        Raises DeliveryFailed: ``no-report`` when a part ran out of attempts, ``rp-error-XX`` when the phone
        refused it with TP-FCS XX. ``ValueError`` when the packet needs more than 255 parts.
        """
        if self._sweeper is None:
            raise ValueError(f"the SMS sender {self._address} has not started")
        topic = ShortMessageTo(fleet=self._fleet, ua=to_ua).path
        parts = split(packet, reference=self._next_concatenation(to_ua), first=_COMMAND_PACKET)
        response: bytes | None = None
        retries = 0
        for number, user_data in enumerate(parts, 1):
            pdu = self._encode(user_data, more_messages=number < len(parts))
            part = _Part(pdu=pdu, reference=self._new_reference(), to_ua=to_ua, topic=topic, trace=trace)
            report = await self._deliver(part, number)
            response = self._response_in(report, to_ua) or response
            retries += part.attempt - 1
        self._log.info(
            "sms.delivered", to_ua=to_ua, parts=len(parts), retries=retries, octets=len(packet), bearer="sms"
        )
        return SmsReceipt(response=response, parts=len(parts), retries=retries)

    # ---- one part ----

    async def _deliver(self, part: _Part, number: int) -> SmsDeliverReport:
        self._parts[part.reference] = part
        try:
            report = await self._until_reported(part)
        finally:
            del self._parts[part.reference]
            self._waits[part.attempt - 1].pop(part.reference, None)
        if report is None:
            raise self._failure("no-report", part, number)
        if report.failure_cause is not None:
            raise self._failure(f"rp-error-{report.failure_cause:02x}", part, number)
        return report

    async def _until_reported(self, part: _Part) -> SmsDeliverReport | None:
        report = None
        while report is None and part.attempt < self._settings.attempts:
            part.attempt += 1
            part.answer = asyncio.get_running_loop().create_future()
            if part.attempt > 1:
                self._counters.retried(Bearer.SMS)
                self._log.warning("sms.retry", to_ua=part.to_ua, attempt=part.attempt, bearer="sms")
            await self._client.publish(part.topic, self._frame(part))
            self._await_report(part)
            report = await part.answer
        return report

    def _await_report(self, part: _Part) -> None:
        # The wait begins when the broker has the part: a broker that is away is no handset that is silent.
        if not part.answer.done():
            part.deadline = self._clock.now() + self._settings.wait_s(part.attempt)
            self._waits[part.attempt - 1][part.reference] = part
            self._waiting.set()

    async def _sweep(self) -> None:
        while True:
            await self._waiting.wait()
            now = self._clock.now()
            nearest = min([self._sweep_queue(queue, now) for queue in self._waits])
            if not any(self._waits):
                self._waiting.clear()
                continue
            # No new wait is shorter than the time-out, so none can end while we sleep no longer than that.
            await self._clock.sleep(min(nearest - now, self._settings.report_timeout_s))

    def _sweep_queue(self, queue: dict[bytes, _Part], now: float) -> float:
        while queue:
            reference, part = next(iter(queue.items()))
            if part.deadline > now:
                return part.deadline
            del queue[reference]
            if not part.answer.done():  # else its sender was cancelled and has not come to clean up yet
                part.answer.set_result(None)
        return now + self._settings.report_timeout_s

    # ---- what comes back ----

    def _on_report(self, frame: Frame, _topic: str) -> None:
        part = self._parts.get(frame.reference)
        if frame.bearer is not Bearer.REPORT:
            self._drop("wrong-bearer", frame)
        elif part is None or part.answer.done():
            # Nothing is wrong with it: QoS 1 delivers twice now and then, and a retry may be answered twice.
            self._counters.dropped("unexpected-report")
        elif frame.source != part.to_ua:
            self._drop("foreign-report", frame)
        else:
            self._take_report(part, frame)

    def _take_report(self, part: _Part, frame: Frame) -> None:
        try:
            report = SmsDeliverReport.parse(frame.pdu)
        except Rejected as rejection:
            self._drop(rejection.reason, frame)
        else:
            self._waits[part.attempt - 1].pop(part.reference, None)
            part.answer.set_result(report)

    def _response_in(self, report: SmsDeliverReport, ua: str) -> bytes | None:
        if report.user_data is None or not report.user_data.length:
            return None
        reason = "no-response-packet"
        try:
            user_data = report.user_data.assume_header()
            if user_data.find(IEI_RESPONSE_PACKET) is not None:
                return user_data.payload
        except Rejected as rejection:
            reason = rejection.reason
        self._counters.dropped(reason)
        self._log.warning("sms.response_ignored", ua=ua, reason=reason, bearer="sms")
        return None

    # ---- small things ----

    def _encode(self, user_data: UserData, *, more_messages: bool) -> bytes:
        return SmsDeliver(
            originator=self._originator,
            user_data=user_data,
            timestamp=self._service_centre_time(),
            more_messages=more_messages,
        ).encode()

    def _service_centre_time(self) -> ServiceCentreTime:
        # The stamp counts seconds, a busy sender sends thousands in one: it is made once for all of them.
        second = int(self._clock.now())
        if self._stamp[0] != second:
            self._stamp = (second, ServiceCentreTime.at(second))
        return self._stamp[1]

    def _frame(self, part: _Part) -> Frame:
        return Frame(
            bearer=Bearer.SMS,
            source=self._address,
            destination=part.to_ua,
            pdu=part.pdu,
            reference=part.reference,
            trace=part.trace,
            sent_at=self._clock.now(),
            attempt=part.attempt,
        )

    def _new_reference(self) -> bytes:
        reference = self._rng(_REFERENCE_LENGTH)
        if reference in self._parts:
            raise ValueError("the randomness handed in repeats itself")
        return reference

    def _next_concatenation(self, ua: str) -> int:
        # One count a module, so that a reference comes back to it only after 255 others; begun anywhere, so
        # that a role that was restarted does not go on with a message that it had left half sent.
        last = self._concatenations.get(ua)
        number = self._rng(1)[0] if last is None else (last + 1) & 0xFF
        self._concatenations[ua] = number
        return number

    def _failure(self, reason: str, part: _Part, number: int) -> DeliveryFailed:
        self._log.warning(
            "sms.failed", to_ua=part.to_ua, reason=reason, part=number, attempts=part.attempt, bearer="sms"
        )
        return DeliveryFailed(reason, part.to_ua, number, part.attempt)

    def _drop(self, reason: str, frame: Frame) -> None:
        self._counters.dropped(reason)
        self._log.warning(
            "sms.report_dropped", reason=reason, ua=frame.source, octets=len(frame.pdu), bearer="sms"
        )


class SmsReceiver:
    """Puts together what modules send to a role; what is no part of a message is counted and dropped."""

    def __init__(self, reassembler: Reassembler, *, counters: Counters, log: FilteringBoundLogger) -> None:
        self._reassembler = reassembler
        self._counters = counters
        self._log = log

    def receive(self, frame: Frame, now: float) -> ReceivedPacket | None:
        """Take the SMS-SUBMIT in *frame* at *now* (seconds); return the message that it completes, if any."""
        if frame.bearer is not Bearer.SMS:
            self._drop("wrong-bearer", frame)
            return None
        try:
            submit = SmsSubmit.parse(frame.pdu)
            user_data = self._reassembler.receive(frame.source, submit.user_data, now)
        except Rejected as rejection:
            self._drop(rejection.reason, frame)
            return None
        return None if user_data is None else ReceivedPacket(ua=frame.source, user_data=user_data)

    def expire(self, now: float) -> int:
        """Give up messages whose other parts stay away; return how many were since the last call."""
        given_up = self._reassembler.expire(now)
        for dropped in given_up:
            self._counters.dropped(f"concatenation-{dropped.reason}")
            self._log.warning("sms.given_up", ua=dropped.sender, reason=str(dropped.reason), bearer="sms")
        return len(given_up)

    def _drop(self, reason: str, frame: Frame) -> None:
        self._counters.dropped(reason)
        self._log.warning("sms.dropped", reason=reason, ua=frame.source, octets=len(frame.pdu), bearer="sms")
