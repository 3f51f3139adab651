"""A cell: the handsets that share one connection to the broker, as handsets share a base station.

It knows nothing of what passes: the last level of the topic names the handset, whose mailbox takes the frame.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from bus.errors import FrameRejected
from bus.frame import Bearer
from bus.topics import Contact, Orders, ShortMessageTo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agents.handset.phone import Phone
    from bus.client import BusClient
    from bus.frame import Frame
    from bus.topics import Topic


class Cell:
    """One connection and the phones that listen on it."""

    def __init__(self, client: BusClient, *, fleet: str) -> None:
        self._client = client
        self._fleet = fleet
        self.phones: dict[str, Phone] = {}

    async def attach(self, phones: Iterable[Phone]) -> None:
        """Switch the phones on: from now on the network reaches them."""
        new = {phone.name: phone for phone in phones}
        self.phones |= new
        for bearer, topic_of in _TOPICS.items():
            topics = [topic_of(self._fleet, ua) for ua in new]
            await self._client.subscribe(topics, partial(self._received, bearer))

    def _received(self, bearer: Bearer, frame: Frame, topic: str) -> None:
        if frame.bearer is not bearer:
            raise FrameRejected("wrong-bearer", f"{frame.bearer} where {bearer} belongs")
        # A full mailbox is refused to the bus, which counts it; the sender gets no report and sends again, as
        # it would to a handset that is busy.
        self.phones[topic.rpartition("/")[2]].deliver(frame)


_TOPICS: Final[Mapping[Bearer, Callable[[str, str], Topic]]] = {
    Bearer.SMS: lambda fleet, ua: ShortMessageTo(fleet=fleet, ua=ua),
    Bearer.CONTACT: lambda fleet, ua: Contact(fleet=fleet, ua=ua),
    Bearer.ORDER: lambda fleet, ua: Orders(fleet=fleet, agent=ua),
}
"""What a handset listens to, and the one bearer that belongs on each topic."""
