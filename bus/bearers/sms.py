"""Secured packets by short message: cut, deliver part by part, find the response in the reports.

:class:`SmsSender` carries packets from a role to a module (SMS-DELIVER, answered by SMS-DELIVER-REPORT). Each
part is brought to its handset by the role's own :class:`~bus.bearers.service_centre.ServiceCentre`, which
knows about time-outs, retries and handsets that are off. What modules send to a role is put together by
:class:`~bus.bearers.sms_receiver.SmsReceiver`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bus.bearers.service_centre import ServiceCentre, ShortMessage, SmsSettings
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

__all__ = ["SmsReceipt", "SmsSender", "SmsSettings"]

# TS 31.115 §4.2: the element that says "what follows is a command packet"; it stands in the first part only.
_COMMAND_PACKET: Final = InformationElement(iei=IEI_COMMAND_PACKET, data=b"")
_REFERENCE_LENGTH: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsReceipt:
    """The proof that a packet arrived: every one of its *parts* was reported.

    *response* is the response packet of the report (from RPL on, without ``02 71 00``), None when there was
    none; *retries* counts how often parts were sent again.
    """

    response: bytes | None = field(repr=False)
    parts: int
    retries: int


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
        self._address = address
        self._originator = Address(digits=address)
        self._clock = clock
        self._rng = rng
        self._counters = counters
        self._log = log
        self._centre = ServiceCentre(
            client, fleet=fleet, address=address, settings=settings, clock=clock, counters=counters, log=log
        )
        self._concatenations: dict[str, int] = {}
        self._stamp = (-1, ServiceCentreTime.at(0.0))

    @property
    def waiting(self) -> int:
        """How many parts are on their way."""
        return self._centre.waiting

    @property
    def parked(self) -> int:
        """How many of them wait for a handset that is off."""
        return self._centre.parked

    async def start(self) -> None:
        """Subscribe to the delivery reports for our address; packets may be sent afterwards."""
        await self._centre.start()

    async def close(self) -> None:
        """End the time-outs; whoever still sends must have been cancelled before. Safe to repeat."""
        await self._centre.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def send(self, packet: bytes, *, to_ua: str, trace: TraceContext) -> SmsReceipt:
        """Send the secured *packet* (from CPL on) to the module *to_ua*; return when all parts are reported.

        Raises DeliveryFailed: ``no-report`` when a part ran out of attempts, ``validity-expired`` when it was
        not reported in the time that it is valid, ``rp-error-XX`` when the phone refused it with TP-FCS XX.
        ``ValueError`` when the packet needs more than 255 parts.
        """
        if not self._centre.started:
            raise ValueError(f"the SMS sender {self._address} has not started")
        parts = split(packet, reference=self._next_concatenation(to_ua), first=_COMMAND_PACKET)
        response: bytes | None = None
        retries = 0
        for number, user_data in enumerate(parts, 1):
            pdu = self._encode(user_data, more_messages=number < len(parts))
            reference = self._rng(_REFERENCE_LENGTH)
            message = ShortMessage(pdu=pdu, number=number, to_ua=to_ua, reference=reference, trace=trace)
            report = await self._centre.deliver(message)
            response = self._response_in(report, to_ua) or response
            retries += message.transmissions - 1
        self._log.info(
            "sms.delivered", to_ua=to_ua, parts=len(parts), retries=retries, octets=len(packet), bearer="sms"
        )
        return SmsReceipt(response=response, parts=len(parts), retries=retries)

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

    def _next_concatenation(self, ua: str) -> int:
        # One count a module, so that a reference comes back to it only after 255 others; begun anywhere, so
        # that a role that was restarted does not go on with a message that it had left half sent.
        last = self._concatenations.get(ua)
        number = self._rng(1)[0] if last is None else (last + 1) & 0xFF
        self._concatenations[ua] = number
        return number
