"""What many handsets of a cell tell the console at once, told in one message.

A broadcast is heard by all handsets of a cell at the same time, and each has the same to tell. What waits
while a message leaves goes with the next one: the messages are as many as the cells and the turns that they
take, however many handsets there are.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from agents.messages.orders import MAX_TOGETHER, Event
from bus.errors import BusError, MailboxFull

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from agents.console import Console
    from bus.actor import ActorGroup
    from bus.client import BusClient
    from bus.counters import Counters
    from bus.frame import TraceContext

MAX_WAITING: Final = 256
"""Different things that wait to be told; one more is lost, and told of again when it is heard again."""


class _What(NamedTuple):
    """What several handsets have to tell: an order that has ended well for each, and its service.

    It is one transaction's, whichever page brought it to each of them.
    """

    trace_id: bytes
    do: str
    service: str


class _Told(NamedTuple):
    """Who has to tell it, and when each heard it; the span in which the first of them did."""

    trace: TraceContext
    handsets: dict[str, float]


class Chorus:
    """Speaks for the handsets of one cell; its task is one of *group* and there while there is something."""

    def __init__(
        self,
        console: Console,
        client: BusClient,
        group: ActorGroup,
        *,
        counters: Counters,
        log: FilteringBoundLogger,
    ) -> None:
        self._console = console
        self._client = client
        self._group = group
        self._counters = counters
        self._log = log
        self._waiting: dict[_What, _Told] = {}
        self._speaking = False

    def tell(self, do: str, ua: str, service: str, *, heard_at: float, trace: TraceContext) -> None:
        """Have it told soon that *do* has ended well for handset *ua* and *service*, of a page heard then."""
        what = _What(trace.trace_id, do, service)
        if what not in self._waiting and len(self._waiting) == MAX_WAITING:
            self._counters.dropped("chorus-full")
            return
        self._waiting.setdefault(what, _Told(trace, {})).handsets.setdefault(ua, heard_at)
        if not self._speaking:
            with suppress(MailboxFull):  # the group is ending: nobody listens any more
                self._group.spawn(self._speak(), name="chorus")
                self._speaking = True

    async def _speak(self) -> None:
        try:
            while self._waiting:
                what = next(iter(self._waiting))
                trace, handsets = self._waiting.pop(what)
                told = list(handsets.items())
                for at in range(0, len(told), MAX_TOGETHER):
                    await self._say(what, dict(told[at : at + MAX_TOGETHER]), trace)
        finally:
            self._speaking = False

    async def _say(self, what: _What, together: dict[str, float], trace: TraceContext) -> None:
        event = Event.of_all(together, run=self._console.run, do=what.do, service=what.service)
        try:
            await self._console.report(self._client, event, source=event.ua, trace=trace)
        except BusError as error:
            self._log.warning("chorus.dropped", reason=type(error).__name__, handsets=len(together))
