"""A cell: the handsets that share one connection to the broker, as handsets share a base station.

It knows little of what passes: the last level of the topic names the handset, whose mailbox takes the frame
once it is through the air. A page is for all of them, and goes to those whose module asked for its kind.

It knows who is there. To a short message for a handset that is off the network says so at once ("absent
subscriber"), and when the handset is back, to everybody whose messages it turned away ("alert"), so that a
service centre need not guess (TS 23.040 clause 10). What a person wants of a handset that is off waits, but
for one thing: to switch it on. A handset is off when it is out of reach or when its owner switched it off;
the one loses its channels, the other all that is volatile.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from agents.handset.phone import MAX_TPDU
from agents.handset.posts import (
    SWITCH_OFF,
    SWITCH_ON,
    InReach,
    OrderGiven,
    OutOfReach,
    PoweredOff,
    PoweredOn,
)
from agents.messages.orders import Order
from bus.bearers.notice import Notice
from bus.errors import FrameRejected, MailboxFull
from bus.frame import MAX_PDU_OCTETS, Bearer
from bus.topics import BipDown, Broadcast, Contact, Orders, ReportTo, ShortMessageTo
from transport.cell_broadcast import Page
from transport.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agents.handset.phone import Phone
    from agents.handset.posts import Post
    from agents.handset.site import Site
    from bus.air import Way
    from bus.frame import Frame
    from bus.topics import Topic
    from transport.air import Presence

MAX_WAITING: Final = 64
"""Orders that wait for a handset to come back; the person has given up on more."""
MOST_OCTETS: Final[Mapping[Bearer, int]] = {
    Bearer.SMS: MAX_TPDU,
    Bearer.BIP_TCP: 2048,
    Bearer.BIP_UDP: 2048,
    Bearer.CONTACT: 1024,
    Bearer.ORDER: MAX_PDU_OCTETS,
}
"""At least what a TPDU, a segment or datagram, or a sealed APDU has; what is longer waits in no mailbox."""
MAX_TURNED_AWAY: Final = 64
"""Senders that are told of a handset's return; the first ones give way, and try again by themselves."""


@dataclass(slots=True, kw_only=True)
class _Subscriber:
    """What the network knows of one handset: whether it is there, and what waits for that."""

    phone: Phone
    presence: Presence | None
    pages: Way
    """The way that pages take to it."""
    switched_off: bool = False
    """Whether its owner did so."""
    turned_away: dict[str, Frame] = field(default_factory=dict)
    """The last message of each sender that was told so."""
    waiting: list[OrderGiven] = field(default_factory=list)

    def is_on(self, now: float) -> bool:
        return not self.switched_off and (self.presence is None or self.presence.is_on(now))


class Cell:
    """One connection and the phones that listen on it."""

    def __init__(self, name: str, site: Site) -> None:
        self._name = name
        self._site = site
        self._subscribers: dict[str, _Subscriber] = {}
        self.phones: dict[str, Phone] = {}

    async def attach(self, phones: Iterable[Phone], presences: Mapping[str, Presence] | None = None) -> None:
        """Switch the phones on: from now on the network reaches them, as *presences* (by UA) have it."""
        new = {phone.name: phone for phone in phones}
        self.phones |= new
        for ua, phone in new.items():
            presence = (presences or {}).get(ua)
            pages = self._site.antenna.way_down(Bearer.CELL_BROADCAST, ua)
            self._subscribers[ua] = _Subscriber(phone=phone, presence=presence, pages=pages)
            if presence is not None:
                self._site.antenna.cover(ua, presence)
                self._watch(ua, presence)
        client, fleet = self._site.client, self._site.fleet
        for bearers, topic_of in _TOPICS:
            topics = [topic_of(fleet, ua) for ua in new]
            await client.subscribe(topics, partial(self._received, bearers))
        await client.subscribe([Broadcast(fleet=fleet, cell=self._name)], self._broadcast)

    # what comes in ---------------------------------------------------------------------------------------

    def _received(self, bearers: frozenset[Bearer], frame: Frame, topic: str) -> None:
        if frame.bearer not in bearers:
            raise FrameRejected(
                "wrong-bearer", f"{frame.bearer} where {' or '.join(sorted(bearers))} belongs"
            )
        if len(frame.pdu) > MOST_OCTETS[frame.bearer]:
            raise FrameRejected("too-large", f"{len(frame.pdu)} octets")
        subscriber = self._subscribers[topic.rpartition("/")[2]]
        _ARRIVALS[frame.bearer](self, subscriber, frame)

    def _broadcast(self, frame: Frame, _topic: str) -> None:
        if frame.bearer is not Bearer.CELL_BROADCAST:
            raise FrameRejected("wrong-bearer", f"{frame.bearer} where {Bearer.CELL_BROADCAST} belongs")
        try:
            page = Page.parse(frame.pdu)
        except Rejected as rejection:
            raise FrameRejected(rejection.reason) from None
        now, octets = self._site.clock.now(), len(frame.pdu)
        for subscriber in self._subscribers.values():
            if subscriber.is_on(now) and subscriber.phone.wants(page):
                subscriber.pages(octets, partial(self._arrive_page, subscriber, frame))

    def _arrive_page(self, subscriber: _Subscriber, frame: Frame) -> None:
        if subscriber.is_on(self._site.clock.now()):
            subscriber.phone.take_page(frame)
        else:
            self._site.antenna.lose(frame)

    def _by_air(self, subscriber: _Subscriber, frame: Frame) -> None:
        self._site.antenna.down(subscriber.phone.name, frame, partial(self._arrive, subscriber, frame))

    def _arrive(self, subscriber: _Subscriber, frame: Frame) -> None:
        if subscriber.is_on(self._site.clock.now()):
            subscriber.phone.deliver(frame)
        else:
            self._site.antenna.lose(frame)

    def _short_message(self, subscriber: _Subscriber, frame: Frame) -> None:
        if subscriber.is_on(self._site.clock.now()):
            self._by_air(subscriber, frame)
            return
        subscriber.turned_away[frame.source] = frame
        while len(subscriber.turned_away) > MAX_TURNED_AWAY:
            del subscriber.turned_away[next(iter(subscriber.turned_away))]
        self._notify(subscriber, frame, Notice.ABSENT)

    def _packet(self, subscriber: _Subscriber, frame: Frame) -> None:
        self._site.antenna.down(subscriber.phone.name, frame, partial(self._arrive_packet, subscriber, frame))

    def _arrive_packet(self, subscriber: _Subscriber, frame: Frame) -> None:
        if not subscriber.is_on(self._site.clock.now()):
            self._site.antenna.lose(frame)
        elif not subscriber.phone.hear(frame):
            subscriber.phone.deliver(frame)

    def _by_wire(self, subscriber: _Subscriber, frame: Frame) -> None:
        # The factory's contacts have no air between them, and a module in the factory is powered. A full
        # mailbox is refused to the bus, which counts it; the sender gets no answer and sends again.
        subscriber.phone.deliver(frame)

    def _by_hand(self, subscriber: _Subscriber, frame: Frame) -> None:
        """Take an order. It is taken now, also if it has to wait: its reference may be too old by then."""
        try:
            order = self._site.console.take(frame, Order, to=subscriber.phone.name)
        except Rejected as rejection:
            raise FrameRejected(rejection.reason) from None
        given = OrderGiven(order=order, trace=frame.trace)
        switch = _SWITCHES.get(order.do)
        if switch is not None:
            switch(self, subscriber, given)
        elif subscriber.is_on(self._site.clock.now()):
            subscriber.phone.deliver(given)
        elif len(subscriber.waiting) < MAX_WAITING:
            subscriber.waiting.append(given)
        else:
            raise FrameRejected("handset-off")

    def _switch_off(self, subscriber: _Subscriber, given: OrderGiven) -> None:
        subscriber.phone.deliver(PoweredOff(given=given))
        self._site.antenna.switch(subscriber.phone.name, on=False)
        subscriber.switched_off = True

    def _switch_on(self, subscriber: _Subscriber, given: OrderGiven) -> None:
        subscriber.phone.deliver(PoweredOn(given=given))
        self._site.antenna.switch(subscriber.phone.name, on=True)
        was_off, subscriber.switched_off = subscriber.switched_off, False
        if was_off and subscriber.is_on(self._site.clock.now()):
            self._is_back(subscriber)

    # who is there ----------------------------------------------------------------------------------------

    def _watch(self, ua: str, presence: Presence) -> None:
        now = self._site.clock.now()
        self._site.antenna.after(presence.next_change(now) - now, partial(self._changed, ua))

    def _changed(self, ua: str) -> None:
        subscriber = self._subscribers[ua]
        assert subscriber.presence is not None, "only what changes is watched"
        self._watch(ua, subscriber.presence)
        if subscriber.switched_off:
            return
        if not subscriber.is_on(self._site.clock.now()):
            self._site.log.info("phone.off", ua=ua)
            subscriber.phone.deliver(OutOfReach())
            return
        self._site.log.info("phone.on", ua=ua)
        self._deliver(subscriber, InReach())
        self._is_back(subscriber)

    def _is_back(self, subscriber: _Subscriber) -> None:
        """Tell whoever was turned away, and hand over what waited."""
        turned_away, subscriber.turned_away = subscriber.turned_away, {}
        for frame in turned_away.values():
            self._notify(subscriber, frame, Notice.ALERT)
        waiting, subscriber.waiting = subscriber.waiting, []
        for given in waiting:
            self._deliver(subscriber, given)

    def _deliver(self, subscriber: _Subscriber, post: Post) -> None:
        try:
            subscriber.phone.deliver(post)
        except MailboxFull:
            self._site.counters.dropped("mailbox-full")

    def _notify(self, subscriber: _Subscriber, frame: Frame, notice: Notice) -> None:
        """Tell the sender of *frame* how things stand with its addressee: the network's own word."""
        word = replace(
            frame,
            bearer=Bearer.NOTICE,
            source=subscriber.phone.name,
            destination=frame.source,
            pdu=notice.encode(),
            sent_at=self._site.clock.now(),
        )
        self._site.antenna.say(ReportTo(fleet=self._site.fleet, address=word.destination), word)


_ARRIVALS: Final[Mapping[Bearer, Callable[[Cell, _Subscriber, Frame], None]]] = {
    Bearer.SMS: Cell._short_message,  # noqa: SLF001 -- the class's own table
    Bearer.BIP_TCP: Cell._packet,  # noqa: SLF001
    Bearer.BIP_UDP: Cell._packet,  # noqa: SLF001
    Bearer.CONTACT: Cell._by_wire,  # noqa: SLF001
    Bearer.ORDER: Cell._by_hand,  # noqa: SLF001
}
_SWITCHES: Final[Mapping[str, Callable[[Cell, _Subscriber, OrderGiven], None]]] = {
    SWITCH_OFF: Cell._switch_off,  # noqa: SLF001 -- the class's own table
    SWITCH_ON: Cell._switch_on,  # noqa: SLF001
}
"""The orders that are about the handset's power, and obeyed whether it has any or not."""
_TOPICS: Final[tuple[tuple[frozenset[Bearer], Callable[[str, str], Topic]], ...]] = (
    (frozenset({Bearer.SMS}), lambda fleet, ua: ShortMessageTo(fleet=fleet, ua=ua)),
    (frozenset({Bearer.BIP_TCP, Bearer.BIP_UDP}), lambda fleet, ua: BipDown(fleet=fleet, ua=ua)),
    (frozenset({Bearer.CONTACT}), lambda fleet, ua: Contact(fleet=fleet, ua=ua)),
    (frozenset({Bearer.ORDER}), lambda fleet, ua: Orders(fleet=fleet, agent=ua)),
)
"""What a handset listens to, and the bearers that belong on each topic."""
