"""The phone: an actor that stands between the network, the subscriber and the security module.

It takes one thing at a time: a short message, an APDU over the contacts, an order of its subscriber. Each
becomes APDUs to the module; what the module changed is stored; then the answer leaves, and then whatever the
module asks for with proactive commands is done. A frame that comes again (QoS 1, or a sender that missed the
report) gets the report it got before, without troubling the module.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agents.console import COMMAND, RESPONSE
from agents.handset.security_module.menu import REFUSED, RESULT, Item
from agents.handset.security_module.module import (
    INS_ENVELOPE,
    INS_FETCH,
    INS_TERMINAL_RESPONSE,
    PROPRIETARY,
)
from agents.handset.security_module.outgoing import GOES_ON
from agents.handset.terminal import Subscriber, answer
from agents.messages.orders import Event, Order
from bus import tracing
from bus.actor import Actor
from bus.errors import BrokerLost
from bus.frame import Bearer, Frame
from bus.topics import ContactReply, ReportTo, ShortMessageFrom
from transport import apdu
from transport.apdu import CommandApdu, ResponseApdu
from transport.errors import Rejected
from transport.sms.report import FailureCause, SmsDeliverReport
from transport.sms.tpdu import SmsSubmit
from transport.sms.user_data import UserData
from transport.toolkit import CommandType, Envelope, ProactiveCommand, Tag

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from structlog.typing import FilteringBoundLogger

    from agents.console import Console
    from agents.handset.security_module.module import SecurityModule
    from agents.store.pages import PageStore
    from bus.actor import ActorGroup
    from bus.client import BusClient
    from bus.clock import Clock
    from bus.counters import Counters
    from bus.frame import TraceContext

CAPACITY: Final = 32
MAX_TPDU: Final = 200
"""More than any SMS-DELIVER has, and less than an ENVELOPE can hold."""
REMEMBERED: Final = 8
"""Reports that a phone keeps for frames that come again."""
MAX_PROACTIVE: Final = 256
"""Proactive commands that one event may lead to; a module that never stops asking is told so no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the handsets of one cell share; *boot* powers a module from the store again, after a crash."""

    fleet: str
    client: BusClient
    console: Console
    pages: PageStore
    boot: Callable[[str], Awaitable[SecurityModule]]
    clock: Clock
    counters: Counters
    log: FilteringBoundLogger
    group: ActorGroup


class Phone(Actor[Frame]):
    """One handset with its module, which is powered."""

    def __init__(self, ua: str, module: SecurityModule, site: Site) -> None:
        super().__init__(ua, site.group, capacity=CAPACITY)
        self.module = module
        self._site = site
        self._reports: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
        self._subscriber = Subscriber()
        self._order_taken: tuple[Frame, Order] | None = None

    async def handle(self, message: Frame) -> None:
        """Take one frame, of a bearer that the cell lets through, under its trace."""
        tracing.bind(message.trace, ua=self.name)
        await _HANDLERS[message.bearer](self, message)

    async def restart(self, cause: Exception) -> None:  # noqa: ARG002 -- whatever it was, power off and on
        """Power the module off and on: it comes back as it was last stored."""
        self.module = await self._site.boot(self.name)
        self._subscriber = Subscriber()

    # what comes in ---------------------------------------------------------------------------------------

    async def _short_message(self, frame: Frame) -> None:
        known = self._reports.get((frame.source, frame.reference))
        if known is not None:
            await self._report(frame, known)
            return
        if len(frame.pdu) > MAX_TPDU:
            self._drop("too-large", frame)
            return
        envelope = Envelope(tag=Tag.SMS_PP_DOWNLOAD, tpdu=frame.pdu)
        response = await self._envelope(envelope)
        report = _report(response).encode()
        self._reports[frame.source, frame.reference] = report
        while len(self._reports) > REMEMBERED:
            self._reports.popitem(last=False)
        await self._report(frame, report)
        await self._serve_module(response, frame.trace)

    async def _contact(self, frame: Frame) -> None:
        console = self._site.console
        try:
            command = console.unwrap(console.contact(COMMAND), frame, to=self.name)
        except Rejected as rejection:
            self._drop(rejection.reason, frame)
            return
        response = await self._transmit(command)
        sealed = console.wrap(
            console.contact(RESPONSE),
            response.encode(),
            to=frame.source,
            reference=frame.reference,
            trace=frame.trace,
        )
        topic = ContactReply(fleet=self._site.fleet, agent=frame.source)
        await self._site.client.publish(topic, self._answer(frame, Bearer.CONTACT, sealed))

    async def _order(self, frame: Frame) -> None:
        try:
            order = self._take(frame)
        except Rejected as rejection:
            self._drop(rejection.reason, frame)
            return
        item = _ITEMS.get(order.do)
        if item is None:
            self._drop("unknown-order", frame)
            return
        typed = [order.service.encode()]
        if item is Item.USE:
            typed.append(order.argument.hex().encode())
        self._subscriber = Subscriber(types=deque(typed))
        response = await self._envelope(Envelope(tag=Tag.MENU_SELECTION, item=item))
        if not await self._serve_module(response, frame.trace):
            await self._event(order, frame.trace, result="failed", reason="not-sent")
            return
        await self._tell(order, frame.trace)

    def _take(self, frame: Frame) -> Order:
        """Return the order in *frame*: once, but again for a frame whose handling crashed."""
        if self._order_taken is None or self._order_taken[0] is not frame:
            self._order_taken = (frame, self._site.console.take(frame, Order, to=self.name))
        return self._order_taken[1]

    async def _tell(self, order: Order, trace: TraceContext) -> None:
        """Report what the display says, if that is the end: a refusal, or the result of a use."""
        for text in _whole(self._subscriber.shown):
            if text.startswith(REFUSED):
                await self._event(order, trace, result="refused", reason=text.removeprefix(REFUSED))
                return
            if text.startswith(RESULT):
                output = bytes.fromhex(text.removeprefix(RESULT))
                await self._event(order, trace, result="ok", output=output)
                return

    async def _event(
        self, order: Order, trace: TraceContext, *, result: str, reason: str = "", output: bytes = b""
    ) -> None:
        self._site.log.info("order.ended", do=order.do, service=order.service, result=result, reason=reason)
        event = Event(
            run=order.run,
            do=order.do,
            ua=self.name,
            service=order.service,
            result=result,
            reason=reason,
            output=output,
        )
        await self._site.console.report(self._site.client, event, source=self.name, trace=trace)

    # the module --------------------------------------------------------------------------------------------

    async def _envelope(self, envelope: Envelope) -> ResponseApdu:
        command = CommandApdu(cla=PROPRIETARY, ins=INS_ENVELOPE, data=envelope.encode())
        return await self._transmit(command.encode())

    async def _transmit(self, command: bytes) -> ResponseApdu:
        """Give the module one APDU; return its response once what it changed is durable."""
        response = self.module.process(command, self._site.clock.now())
        for note in self.module.take_notes():
            self._site.log.info(note.name, reason=note.reason, tar=note.tar.hex())
        changes = self.module.take_changes()
        if changes:
            await self._site.pages.save(self.name, changes)
        return ResponseApdu.parse(response)

    async def _serve_module(self, response: ResponseApdu, trace: TraceContext) -> bool:
        """Do what the module asks for, until it asks for nothing more; say whether all of it was sent."""
        all_sent = True
        for _ in range(MAX_PROACTIVE):
            length = response.proactive_length
            if length is None:
                return all_sent
            fetch = CommandApdu(cla=PROPRIETARY, ins=INS_FETCH, expected=length or 256)
            fetched = await self._transmit(fetch.encode())
            command = ProactiveCommand.parse(fetched.data)
            sent = command.type is not CommandType.SEND_SHORT_MESSAGE or await self._send(command, trace)
            all_sent = all_sent and sent
            data = answer(command, self._subscriber, sent=sent).encode()
            told = CommandApdu(cla=PROPRIETARY, ins=INS_TERMINAL_RESPONSE, data=data)
            response = await self._transmit(told.encode())
        self._site.log.warning("phone.stopped_serving", reason="too-many-proactive-commands")
        return all_sent

    async def _send(self, command: ProactiveCommand, trace: TraceContext) -> bool:
        """Give the module's short message to the network; say whether it took it."""
        try:
            to = SmsSubmit.parse(command.tpdu).destination.digits
            frame = Frame(
                bearer=Bearer.SMS,
                source=self.name,
                destination=to,
                pdu=command.tpdu,
                reference=self._site.console.rng(8),
                trace=trace,
                sent_at=self._site.clock.now(),
            )
            await self._site.client.publish(ShortMessageFrom(fleet=self._site.fleet, address=to), frame)
        except (Rejected, BrokerLost, ValueError) as failure:
            self._site.log.warning(
                "phone.not_sent", reason=getattr(failure, "reason", type(failure).__name__)
            )
            return False
        return True

    # what goes out ---------------------------------------------------------------------------------------

    async def _report(self, frame: Frame, report: bytes) -> None:
        topic = ReportTo(fleet=self._site.fleet, address=frame.source)
        await self._site.client.publish(topic, self._answer(frame, Bearer.REPORT, report))

    def _answer(self, frame: Frame, bearer: Bearer, pdu: bytes) -> Frame:
        return Frame(
            bearer=bearer,
            source=self.name,
            destination=frame.source,
            pdu=pdu,
            reference=frame.reference,
            trace=frame.trace,
            sent_at=self._site.clock.now(),
        )

    def _drop(self, reason: str, frame: Frame) -> None:
        self._site.counters.dropped(reason)
        self._site.log.warning("phone.dropped", source=frame.source, bearer=str(frame.bearer), reason=reason)


def _whole(shown: Iterable[str]) -> list[str]:
    """Return the texts on the display, each with what goes on in the next ones."""
    texts: list[str] = []
    goes_on = GOES_ON.decode()
    for text in shown:
        if texts and text.startswith(goes_on):
            texts[-1] += text.removeprefix(goes_on)
        else:
            texts.append(text)
    return texts


def _report(response: ResponseApdu) -> SmsDeliverReport:
    """Return the delivery report for what the module said of a short message (TS 31.111 clause 7.1.1.2)."""
    good = response.status == apdu.SW_OK or response.proactive_length is not None
    if not good:
        return SmsDeliverReport(failure_cause=FailureCause.DATA_DOWNLOAD_ERROR)
    if not response.data:
        return SmsDeliverReport()
    return SmsDeliverReport(pid=0x7F, dcs=0xF6, user_data=UserData(payload=response.data))


_ITEMS: Final[Mapping[str, Item]] = {"subscribe": Item.SUBSCRIBE, "serve": Item.SERVE, "invoke": Item.USE}
_HANDLERS: Final[Mapping[Bearer, Callable[[Phone, Frame], Awaitable[None]]]] = {
    Bearer.SMS: Phone._short_message,  # noqa: SLF001 -- the class's own table
    Bearer.CONTACT: Phone._contact,  # noqa: SLF001
    Bearer.ORDER: Phone._order,  # noqa: SLF001
}
