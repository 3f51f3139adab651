"""A service centre: brings single short messages to handsets, as long as they are valid.

One transmission of a message ends in one of three ways. A delivery report comes: the message is delivered, or
refused for good. Nothing comes in time: that is an attempt, and there is another until they run out. The
network says that the subscriber is absent: that is no attempt, and the message waits until the network says
that the handset is back; it also tries again by itself now and then, in case that word is lost (TS 23.040
clause 10). Whatever a message waits for, it waits no longer than it is valid.

While a message waits for an absent subscriber it is still the same message: the report of an earlier
transmission delivers it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bus.bearers.deadlines import Deadlines
from bus.bearers.notice import Notice
from bus.bearers.report_times import ReportTimes
from bus.errors import DeliveryFailed, FrameRejected
from bus.frame import Bearer, Frame
from bus.topics import ReportTo, ShortMessageTo
from transport.errors import Rejected
from transport.sms import SmsDeliverReport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from structlog.typing import FilteringBoundLogger

    from bus.client import BusClient
    from bus.clock import Clock
    from bus.counters import Counters
    from bus.frame import TraceContext

_LAST_NUMBER: Final = 255  # of a frame's attempts; a message that waits long is sent more often


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsSettings:
    """How long to wait for a report (*report_timeout_s*) and how often to send a part (*attempts*).

    From a handset that was found to take longer, up to *report_most_s*, a report is awaited for longer.
    Before attempt n + 1 the wait is longer by *backoff_s* times 2 to the power n - 1, *backoff_most_s* at
    most; a report that comes in that time still counts. A transmission that the network answers with "absent
    subscriber" is no attempt: the part is sent again when the handset is back, and every *absent_retry_s*.
    After *validity_s* the part is given up, whatever it waits for. All in simulated seconds.
    """

    report_timeout_s: float = 30.0
    attempts: int = 4
    backoff_s: float = 2.0
    report_most_s: float = 600.0
    backoff_most_s: float = 120.0
    validity_s: float = 86400.0
    absent_retry_s: float = 600.0

    def __post_init__(self) -> None:
        """Refuse a sender that would never wait or never send."""
        if self.report_timeout_s <= 0 or self.attempts < 1 or min(self.backoff_s, self.backoff_most_s) < 0:
            raise ValueError("an SMS sender needs a positive time-out, an attempt and no negative back-off")
        if self.validity_s <= 0 or self.absent_retry_s <= 0:
            raise ValueError("an SMS sender needs a positive time-out, validity and retry of the absent")

    def more_s(self, attempt: int) -> float:
        """Return by how much longer the report of *attempt* (from 1) is awaited, in seconds."""
        if attempt >= self.attempts:
            return 0.0
        # beyond 2^64 is every bound, and floats go no further than 2^1023
        return min(self.backoff_s * 2.0 ** min(attempt - 1, 64), self.backoff_most_s)

    def wait_s(self, attempt: int) -> float:
        """Return for how long the first report of a handset is awaited, in seconds, at *attempt* (from 1)."""
        return self.report_timeout_s + self.more_s(attempt)


@dataclass(slots=True, kw_only=True, eq=False)
class ShortMessage:
    """One SMS-DELIVER (*pdu*), part *number* of its packet, and how far its delivery has come."""

    pdu: bytes = field(repr=False)
    number: int
    to_ua: str
    reference: bytes
    trace: TraceContext
    transmissions: int = 0
    sent_at: float = 0.0
    """When it went first, or first after the handset was absent; *again*: once more since."""
    again: bool = False
    unanswered: int = 0
    absent: bool = False
    """The last transmission was answered so: the message is parked, or was and is about to be sent again."""
    expires_at: float = 0.0
    answer: asyncio.Future[SmsDeliverReport | None] = field(init=False, repr=False)
    """Of the running transmission; None: send again, if there is time and an attempt left."""

    @property
    def is_awaited(self) -> bool:
        """Whether an answer to it still changes anything."""
        return not self.answer.done()


class ServiceCentre:
    """The service centre of the short number *address*, which the reports to its messages are sent to."""

    def __init__(
        self,
        client: BusClient,
        *,
        fleet: str,
        address: str,
        settings: SmsSettings,
        clock: Clock,
        counters: Counters,
        log: FilteringBoundLogger,
    ) -> None:
        self._client = client
        self._fleet = fleet
        self._address = address
        self._settings = settings
        self._clock = clock
        self._counters = counters
        self._log = log
        self._deadlines = Deadlines(clock)
        self._times = ReportTimes(settings)
        self._messages: dict[bytes, ShortMessage] = {}
        self._parked: dict[str, dict[bytes, ShortMessage]] = {}
        self.started = False

    @property
    def parked(self) -> int:
        """How many messages wait for an absent subscriber."""
        return sum(map(len, self._parked.values()))

    @property
    def waiting(self) -> int:
        """How many messages have been handed in and are neither reported nor given up."""
        return len(self._messages)

    async def start(self) -> None:
        """Subscribe to what the network answers; messages may be delivered afterwards."""
        if self.started:
            raise ValueError(f"the SMS sender {self._address} has started already")
        self.started = True
        self._deadlines.start(f"sms[{self._address}].time-outs")
        await self._client.subscribe([ReportTo(fleet=self._fleet, address=self._address)], self._on_answer)

    async def close(self) -> None:
        """End the time-outs; whoever still waits must have been cancelled before. Safe to repeat."""
        self.started = False
        await self._deadlines.close()

    async def deliver(self, message: ShortMessage) -> SmsDeliverReport:
        """Bring *message* to its handset; return the report with which the handset took it.

        Raises DeliveryFailed: ``no-report`` when the attempts ran out, ``validity-expired`` when the time
        did, ``rp-error-XX`` when the handset refused it with TP-FCS XX. ``ValueError`` when another message
        with this reference is on its way.
        """
        if message.reference in self._messages:
            raise ValueError("the randomness handed in repeats itself")
        self._messages[message.reference] = message
        message.expires_at = self._clock.now() + self._settings.validity_s
        try:
            report = await self._until_reported(message)
        finally:
            del self._messages[message.reference]
            self._deadlines.clear(message.answer)
            self._unpark(message)
        if report.failure_cause is not None:
            raise self._failure(f"rp-error-{report.failure_cause:02x}", message)
        return report

    async def _until_reported(self, message: ShortMessage) -> SmsDeliverReport:
        while True:
            await self._transmit(message)
            report = await message.answer
            self._deadlines.clear(message.answer)
            if report is not None:
                return report
            message.unanswered += not message.absent
            if self._clock.now() >= message.expires_at:
                raise self._failure("validity-expired", message)
            if message.unanswered == self._settings.attempts:
                raise self._failure("no-report", message)

    async def _transmit(self, message: ShortMessage) -> None:
        message.answer = asyncio.get_running_loop().create_future()
        message.again = message.transmissions > 0 and not message.absent
        if not message.again:
            message.sent_at = self._clock.now()
        self._unpark(message)
        message.transmissions += 1
        if message.transmissions > 1:
            self._counters.retried(Bearer.SMS)
            self._log.warning("sms.retry", to_ua=message.to_ua, attempt=message.transmissions, bearer="sms")
        topic = ShortMessageTo(fleet=self._fleet, ua=message.to_ua)
        await self._client.publish(topic, self._frame(message))
        # The wait begins when the broker has the part: a broker that is away is no handset that is silent.
        if message.is_awaited and not message.absent:
            self._wait(message, self._times.wait_s(message.to_ua, message.unanswered + 1))

    def _wait(self, message: ShortMessage, delay_s: float) -> None:
        self._deadlines.set(message.answer, min(self._clock.now() + delay_s, message.expires_at))

    def _unpark(self, message: ShortMessage) -> None:
        message.absent = False
        parked = self._parked.get(message.to_ua)
        if parked is not None:
            parked.pop(message.reference, None)
            if not parked:
                del self._parked[message.to_ua]

    # ---- what comes back ----

    def _on_answer(self, frame: Frame, _topic: str) -> None:
        take = _ANSWERS.get(frame.bearer)
        if take is None:
            self._drop("wrong-bearer", frame)
            return
        try:
            take(self, frame)
        except (Rejected, FrameRejected) as rejection:
            self._drop(rejection.reason, frame)

    def _on_report(self, frame: Frame) -> None:
        message = self._awaited(frame)
        if message is None:
            self._times.reported_again(frame.source, frame.reference)
            return
        message.answer.set_result(SmsDeliverReport.parse(frame.pdu))
        took_s = self._clock.now() - message.sent_at
        self._times.reported(message.to_ua, message.reference, took_s, again=message.again)

    def _on_notice(self, frame: Frame) -> None:
        if Notice.parse(frame.pdu) is Notice.ALERT:
            self._alert(frame.source)
            return
        message = self._awaited(frame)
        if message is None:
            return
        if message.absent:
            self._counters.dropped("unexpected-notice")
        else:
            self._park(message)

    def _park(self, message: ShortMessage) -> None:
        message.absent = True
        self._parked.setdefault(message.to_ua, {})[message.reference] = message
        self._wait(message, self._settings.absent_retry_s)
        self._log.info("sms.absent", to_ua=message.to_ua, part=message.number, bearer="sms")

    def _alert(self, ua: str) -> None:
        parked = self._parked.pop(ua, {})
        if not parked:
            self._counters.dropped("unexpected-notice")
            return
        for message in parked.values():
            if message.is_awaited:
                message.answer.set_result(None)
        self._log.info("sms.alerted", to_ua=ua, parts=len(parked), bearer="sms")

    def _awaited(self, frame: Frame) -> ShortMessage | None:
        """Return the message that *frame* answers; count and drop what answers none that is awaited."""
        message = self._messages.get(frame.reference)
        if message is None or not message.is_awaited:
            # Nothing is wrong with it: QoS 1 delivers twice now and then, and a retry may be answered twice.
            self._counters.dropped(f"unexpected-{frame.bearer}")
        elif frame.source != message.to_ua:
            self._drop(f"foreign-{frame.bearer}", frame)
        else:
            return message
        return None

    # ---- small things ----

    def _frame(self, message: ShortMessage) -> Frame:
        return Frame(
            bearer=Bearer.SMS,
            source=self._address,
            destination=message.to_ua,
            pdu=message.pdu,
            reference=message.reference,
            trace=message.trace,
            sent_at=self._clock.now(),
            attempt=min(message.transmissions, _LAST_NUMBER),
        )

    def _failure(self, reason: str, message: ShortMessage) -> DeliveryFailed:
        to_ua, number, attempts = message.to_ua, message.number, message.transmissions
        self._log.warning(
            "sms.failed", to_ua=to_ua, reason=reason, part=number, attempts=attempts, bearer="sms"
        )
        return DeliveryFailed(reason, to_ua, number, attempts)

    def _drop(self, reason: str, frame: Frame) -> None:
        self._counters.dropped(reason)
        self._log.warning(
            "sms.report_dropped",
            reason=reason,
            ua=frame.source,
            octets=len(frame.pdu),
            bearer="sms",
        )


_ANSWERS: Final[Mapping[Bearer, Callable[[ServiceCentre, Frame], None]]] = {
    Bearer.REPORT: ServiceCentre._on_report,  # noqa: SLF001 -- the class's own table
    Bearer.NOTICE: ServiceCentre._on_notice,  # noqa: SLF001
}
