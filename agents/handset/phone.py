"""The phone: an actor that stands between the network, the subscriber and the security module.

It takes one thing at a time: a short message, a page, what a channel brought, an APDU over the contacts, an
order of its subscriber, the end of a timer. Each becomes APDUs to the module; what the module changed is
stored; then the answer leaves, and then whatever the module asks for with proactive commands is done. A short
message that comes again (QoS 1, or a sender that missed the report) gets the report it got before, without
troubling the module.

Whoever switches it on has it start its module (``start_up``), which may have something to do that nobody asks
for. When a fleet is launched the first thing that it takes for its module does so: thousands of handsets
start no slower. Over the contacts a reader talks to the module, and not the handset: that starts nothing.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final

from agents.console import COMMAND, RESPONSE
from agents.errors import SwitchedOff
from agents.handset.channels import Channels
from agents.handset.paging import Paging
from agents.handset.posts import InReach, OrderGiven, OutOfReach, Post, PoweredOff, PoweredOn, TimerEnded
from agents.handset.security_module.links import GIVEN_UP
from agents.handset.security_module.menu import REFUSED, RESULT, Item
from agents.handset.security_module.outgoing import GOES_ON
from agents.handset.serving import Serving
from agents.handset.slot import Slot
from agents.handset.terminal import Subscriber
from agents.handset.timers import Timers
from agents.messages.orders import Event, Order
from bus import spans, tracing
from bus.actor import Actor
from bus.capture import Layer
from bus.frame import Bearer, Frame
from bus.topics import ContactReply, ReportTo
from bus.tracing import new_trace
from transport.apdu import ResponseApdu
from transport.errors import Rejected
from transport.sms.report import FailureCause, SmsDeliverReport
from transport.sms.user_data import UserData
from transport.toolkit import Envelope, Tag
from transport.usim import Service

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from agents.handset.security_module.module import SecurityModule
    from agents.handset.site import Site
    from bus.frame import TraceContext
    from transport.cell_broadcast import Page

CAPACITY: Final = 1024
"""Room for the pages of a campaign, which come faster than they are taken when nothing waits for the air."""
MAX_TPDU: Final = 200
"""More than any SMS-DELIVER has, and less than an ENVELOPE can hold."""
SET_CLOCK: Final = "set-clock"
"""The order to a handset to be wrong about the time; its argument is by how many seconds, in decimal."""
MOST_SECONDS: Final = 1 << 40
"""More than any handset is wrong by."""
REMEMBERED: Final = 48
"""Reports that a phone keeps for frames that come again; other senders send meanwhile."""


class Phone(Actor[Post]):
    """One handset with its module, which is powered."""

    def __init__(self, ua: str, module: SecurityModule, site: Site) -> None:
        super().__init__(ua, site.group, capacity=CAPACITY, role="handset")
        self._site = site
        self._reports: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
        self._slot = Slot(ua, module, site, new_trace(site.console.rng))
        self._timers = Timers(site, self._slot, self.deliver)
        self._channels = Channels(ua, site, self._slot)
        self._serving = Serving(ua, site, self._slot, self._channels, self._timers)
        self._is_off = False
        self._paging = Paging(ua, site, self._slot, self._serving, self)
        self._contacted: tuple[bytes, ResponseApdu] = (b"", ResponseApdu())
        """The last APDU over the contacts, by its reference, and what the module answered."""
        self._calls: dict[str, Order] = {}
        """The last order to call each service's supplier."""

    @property
    def module(self) -> SecurityModule:
        """The module in the slot."""
        return self._slot.module

    @module.setter
    def module(self, module: SecurityModule) -> None:
        self._slot.module = module
        self._serving.is_started = False

    def hear(self, frame: Frame) -> bool:
        """Take what is heard while the handset is busy: the answer to its own call. False: nothing such."""
        return self._channels.hear(frame)

    def wants(self, page: Page) -> bool:
        """Whether the module asked for such pages; until its file is read, nobody knows, and it is asked."""
        return self._paging.wants(page)

    def take_page(self, frame: Frame) -> None:
        """Take a page: at once if the handset is at rest, else in its turn; MailboxFull as ``deliver``."""
        if not (self.is_at_rest and self._paging.take(frame)):
            self.deliver(frame)

    async def handle(self, message: Post) -> None:
        """Take one thing, under its trace."""
        if isinstance(message, OutOfReach):
            self._channels.lose_all()
            return
        self._slot.trace = trace = tracing.enter(self._trace_of(message), ua=self.name)
        self._slot.notes.clear()
        try:
            await _POSTS[type(message)](self, message)
        except SwitchedOff:
            # Its owner did not wait for the network: the power goes in the middle of it.
            await self._boot()
            return
        if not self._is_off:
            await self._tell_events()
            await self._tell_given_up(trace)

    def _trace_of(self, message: Post) -> TraceContext:
        if isinstance(message, PoweredOff | PoweredOn):
            return message.given.trace
        return self._slot.trace if isinstance(message, InReach | OutOfReach) else message.trace

    async def restart(self, cause: Exception) -> None:  # noqa: ARG002 -- whatever it was, power off and on
        """Power the module off and on: it comes back as it was last stored."""
        await self._boot()

    # power -----------------------------------------------------------------------------------------------

    async def _boot(self) -> None:
        await self._slot.reboot()
        self._timers.clear()
        self._channels = Channels(self.name, self._site, self._slot)
        self._serving = Serving(self.name, self._site, self._slot, self._channels, self._timers)
        self._paging = Paging(self.name, self._site, self._slot, self._serving, self)

    async def _power_off(self, message: PoweredOff) -> None:
        self._is_off = True
        self._timers.clear()
        self._channels.lose_all()
        await self._event(message.given.order, self._slot.trace, result="ok")

    async def _power_on(self, message: PoweredOn) -> None:
        if self._is_off:
            await self._boot()
            self._calls.clear()
            self._is_off = False
            # A module may have something to do then that nobody comes to ask it for.
            await self._serving.start()
        await self._event(message.given.order, self._slot.trace, result="ok")

    async def _in_reach(self, message: InReach) -> None:
        """Nothing is to be done here: the module is told of its channels now."""

    # what comes in ---------------------------------------------------------------------------------------

    async def _short_message(self, frame: Frame) -> None:
        self._slot.record(Layer.SMS, frame.pdu, uplink=False, peer=frame.source, trace=frame.trace)
        known = self._reports.get((frame.source, frame.reference))
        if known is not None:
            await self._report(frame, known)
            return
        if len(frame.pdu) > MAX_TPDU:
            self._drop("too-large", frame)
            return
        if Service.SMS_PP_DOWNLOAD in self._serving.usim.services:
            response = await self._slot.envelope(Envelope(tag=Tag.SMS_PP_DOWNLOAD, tpdu=frame.pdu))
            report = _report(response).encode()
        else:
            # It would go into EF.SMS (TS 31.111 clause 7.1.1.1), and none of our modules has that.
            response = ResponseApdu()
            report = SmsDeliverReport(failure_cause=FailureCause.NO_STORAGE).encode()
        self._reports[frame.source, frame.reference] = report
        while len(self._reports) > REMEMBERED:
            self._reports.popitem(last=False)
        await self._report(frame, report)
        await self._serving.serve(response)

    async def _page(self, frame: Frame) -> None:
        spans.of_page()
        await self._paging.handle(frame)

    async def _packet(self, frame: Frame) -> None:
        try:
            self._channels.take(frame)
        except Rejected as rejection:
            self._drop(rejection.reason, frame)

    async def _contact(self, frame: Frame) -> None:
        console = self._site.console
        try:
            command = console.unwrap(console.contact(COMMAND), frame, to=self.name)
        except Rejected as rejection:
            self._drop(rejection.reason, frame)
            return
        # Who waits for long says the same again, and means it once: the module may have moved on since.
        reference, response = self._contacted
        is_new = frame.reference != reference
        if is_new:
            response = await self._slot.transmit(command)
            self._contacted = (frame.reference, response)
        sealed = console.wrap(
            console.contact(RESPONSE),
            response.encode(),
            to=frame.source,
            reference=frame.reference,
            trace=self._slot.trace,
        )
        topic = ContactReply(fleet=self._site.fleet, agent=frame.source)
        await self._site.client.publish(topic, self._answer(frame, Bearer.CONTACT, sealed))
        if is_new:
            await self._serving.serve(response)

    async def _frame(self, frame: Frame) -> None:
        if self._is_off and frame.bearer is not Bearer.CONTACT:
            # It was on its way when the handset went off. A reader's contacts power the module themselves.
            self._site.antenna.lose(frame)
            return
        if frame.bearer is not Bearer.CONTACT:
            await self._serving.start()
        await _HANDLERS[frame.bearer](self, frame)

    async def _order(self, given: OrderGiven) -> None:
        order = given.order
        if order.do == SET_CLOCK:
            await self._set_clock(order, self._slot.trace)
            return
        item = _ITEMS.get(order.do)
        if item is None:
            self._site.counters.dropped("unknown-order")
            self._site.log.warning("phone.dropped", do=order.do, reason="unknown-order")
            return
        await self._serving.start()
        if item is Item.SERVE:
            self._calls[order.service] = order
        typed = [order.service.encode()]
        if item is Item.USE:
            typed.append(order.argument.hex().encode())
        self._serving.subscriber = Subscriber(types=deque(typed))
        response = await self._slot.envelope(Envelope(tag=Tag.MENU_SELECTION, item=item))
        try:
            is_sent = await self._serving.serve(response)
        except SwitchedOff:
            await self._event(order, self._slot.trace, result="failed", reason="switched-off")
            raise
        if not is_sent:
            await self._event(order, self._slot.trace, result="failed", reason="not-sent")
            return
        await self._tell(order, self._slot.trace)

    async def _set_clock(self, order: Order, trace: TraceContext) -> None:
        """Tell the module another time from now on: off by as many seconds as the order says."""
        off_s = _seconds(order.argument)
        if off_s is None:
            await self._event(order, trace, result="refused", reason="bad-argument")
            return
        self._slot.clock_off_s = off_s
        await self._event(order, trace, result="ok")

    async def _tell(self, order: Order, trace: TraceContext) -> None:
        """Report what the display says, if that is the end: a refusal, or the result of a use."""
        for text in _whole(self._serving.subscriber.shown):
            if text.startswith(REFUSED):
                await self._event(order, trace, result="refused", reason=text.removeprefix(REFUSED))
                return
            if text.startswith(RESULT):
                output = bytes.fromhex(text.removeprefix(RESULT))
                await self._event(order, trace, result="ok", output=output)
                return

    async def _tell_given_up(self, trace: TraceContext) -> None:
        """Report the calls that no bearer is left for: nobody else knows of them."""
        for note in tuple(self._slot.notes):
            definition = self.module.definitions.by_tar(note.tar) if note.name == GIVEN_UP else None
            order = self._calls.pop(definition.service, None) if definition else None
            if order is not None:
                await self._event(order, trace, result="failed", reason="no-link")

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

    async def _tell_module(self, envelope: Envelope) -> None:
        await self._serving.serve(await self._slot.envelope(envelope))

    async def _tell_events(self) -> None:
        """Tell the module what its channels brought; what it then asks for may bring more."""
        while events := self._channels.events():
            for event in events:
                await self._tell_module(event)

    async def _timer_ended(self, ended: TimerEnded) -> None:
        """Tell the module that its timer has ended, unless it was stopped or started anew since."""
        if self._timers.end(ended):
            await self._tell_module(Envelope(tag=Tag.TIMER_EXPIRATION, timer=ended.number))

    # what goes out ---------------------------------------------------------------------------------------

    async def _report(self, frame: Frame, report: bytes) -> None:
        answer = self._answer(frame, Bearer.REPORT, report)
        span = tracing.child(answer.trace)
        self._slot.record(Layer.SMS, report, uplink=True, peer=frame.source, trace=span)
        topic = ReportTo(fleet=self._site.fleet, address=frame.source)
        await self._site.antenna.up(self.name, topic, answer, span)

    def _answer(self, frame: Frame, bearer: Bearer, pdu: bytes) -> Frame:
        return Frame(
            bearer=bearer,
            source=self.name,
            destination=frame.source,
            pdu=pdu,
            reference=frame.reference,
            trace=self._slot.trace,
            sent_at=self._site.clock.now(),
        )

    def _drop(self, reason: str, frame: Frame) -> None:
        spans.fail(reason)
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


def _seconds(argument: bytes) -> int | None:
    """Return how many seconds an order says, or None if it says none that can be."""
    try:
        seconds = int(argument)
    except ValueError:
        return None
    return seconds if abs(seconds) < MOST_SECONDS else None


def _report(response: ResponseApdu) -> SmsDeliverReport:
    """Return the delivery report for what the module said of a short message (TS 31.111 clause 7.1.1.2)."""
    if not response.is_good:
        return SmsDeliverReport(failure_cause=FailureCause.DATA_DOWNLOAD_ERROR)
    if not response.data:
        return SmsDeliverReport()
    return SmsDeliverReport(pid=0x7F, dcs=0xF6, user_data=UserData(payload=response.data))


_ITEMS: Final[Mapping[str, Item]] = {"subscribe": Item.SUBSCRIBE, "serve": Item.SERVE, "invoke": Item.USE}
_HANDLERS: Final[Mapping[Bearer, Callable[[Phone, Frame], Awaitable[None]]]] = {
    Bearer.SMS: Phone._short_message,  # noqa: SLF001 -- the class's own table
    Bearer.CELL_BROADCAST: Phone._page,  # noqa: SLF001
    Bearer.BIP_TCP: Phone._packet,  # noqa: SLF001
    Bearer.BIP_UDP: Phone._packet,  # noqa: SLF001
    Bearer.CONTACT: Phone._contact,  # noqa: SLF001
}
_POSTS: Final[Mapping[type[Any], Callable[[Phone, Any], Awaitable[None]]]] = {
    Frame: Phone._frame,  # noqa: SLF001 -- the class's own table
    TimerEnded: Phone._timer_ended,  # noqa: SLF001
    InReach: Phone._in_reach,  # noqa: SLF001
    OrderGiven: Phone._order,  # noqa: SLF001
    PoweredOff: Phone._power_off,  # noqa: SLF001
    PoweredOn: Phone._power_on,  # noqa: SLF001
}
