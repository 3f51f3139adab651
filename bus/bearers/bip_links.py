"""The links of a server: who is at the other end, what is asked of them, and whose time has come."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final

from bus.bearers.cat_tp_repeats import Repeats
from bus.frame import Bearer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bus.bearers.bip_lines import Line
    from bus.bearers.bip_outbox import Lane
    from bus.clock import Clock
    from bus.frame import TraceContext

MAX_CHANNELS: Final = 7
"""Channels that a terminal has at most, TS 102 223 clause 8.7: a handset has no more links of a bearer."""


@dataclass(slots=True, kw_only=True, eq=False)
class BipLink:
    """The module *ua* at the other end of a *line*; *reference* is that of the frame that opened it.

    *requests* are those that wait for a response, by TAR; when the link is lost they get None. *trace* is the
    transaction that used it last.
    """

    ua: str
    line: Line
    lane: Lane
    reference: bytes
    trace: TraceContext
    announced: bool = False
    over: bool = False
    used_at: float = 0.0
    alarm_at: float = inf
    requests: dict[bytes, asyncio.Future[bytes | None]] = field(default_factory=dict)
    repeats: Repeats = field(default_factory=Repeats)
    turns: defaultdict[bytes, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    @property
    def bearer(self) -> Bearer:
        """What carries it."""
        return self.line.bearer

    def answer(self, tar: bytes, packet: bytes) -> bool:
        """Give the response *packet* to the request that waits for it; False: none does."""
        request = self.requests.get(tar)
        if request is None or request.done():
            return False
        request.set_result(packet)
        return True

    def lose(self) -> None:
        """Tell all requests that no response will come."""
        self.over = True
        for request in self.requests.values():
            if not request.done():
                request.set_result(None)


class Links:
    """All links of a server, the longest unused one first."""

    def __init__(self) -> None:
        self._links: OrderedDict[tuple[Bearer, str, int], BipLink] = OrderedDict()
        self._of: dict[tuple[Bearer, str], dict[int, BipLink]] = {}

    def __len__(self) -> int:
        return len(self._links)

    def __iter__(self) -> Iterator[BipLink]:
        return iter(tuple(self._links.values()))

    @property
    def oldest(self) -> BipLink | None:
        """The link that was not used for longest."""
        return next(iter(self._links.values()), None)

    def get(self, bearer: Bearer, ua: str, connection: int) -> BipLink | None:
        """Return the link over that channel."""
        return self._links.get((bearer, ua, connection))

    def of(self, bearer: Bearer, ua: str) -> list[BipLink]:
        """Return the links of one handset, oldest first."""
        return list(self._of.get((bearer, ua), {}).values())

    def open_link(self, ua: str, bearer: Bearer | None) -> BipLink | None:
        """Return the open link of *ua* over *bearer*, or over any: the one that was used last."""
        bearers = (Bearer.BIP_TCP, Bearer.BIP_UDP) if bearer is None else (bearer,)
        found = [link for one in bearers for link in self.of(one, ua) if link.line.is_open]
        return max(found, key=lambda link: link.used_at, default=None)

    def add(self, link: BipLink, now: float) -> None:
        """Take *link*; there is no other over its channel."""
        self._links[link.bearer, link.ua, link.line.connection] = link
        self._of.setdefault((link.bearer, link.ua), {})[link.line.connection] = link
        link.used_at = now

    def used(self, link: BipLink, now: float) -> None:
        """Note that something went over *link*."""
        self._links.move_to_end((link.bearer, link.ua, link.line.connection))
        link.used_at = now

    def remove(self, link: BipLink) -> None:
        """Forget *link*."""
        del self._links[link.bearer, link.ua, link.line.connection]
        those = self._of[link.bearer, link.ua]
        del those[link.line.connection]
        if not those:
            del self._of[link.bearer, link.ua]


class Timekeeper:
    """One task for the times of all *links*: *ring* at what a line is due for, *idle* after *idle_s* unused.

    *idle* must remove the link. A link whose line is due later than it was stays in the heap until then; one
    that is due earlier gets another entry.
    """

    def __init__(
        self,
        links: Links,
        *,
        clock: Clock,
        idle_s: float,
        ring: Callable[[BipLink], None],
        idle: Callable[[BipLink], None],
    ) -> None:
        self._links = links
        self._clock = clock
        self._idle_s = idle_s
        self._ring = ring
        self._idle = idle
        self._heap: list[tuple[float, int, BipLink]] = []
        self._next_number = itertools.count().__next__
        self._earlier = asyncio.Event()
        self._waits_until = inf

    def watch(self, link: BipLink) -> None:
        """Look at what *link* is due for now."""
        due = link.line.due
        if due is not None and due < link.alarm_at:
            link.alarm_at = due
            heapq.heappush(self._heap, (due, self._next_number(), link))
        if self._next() < self._waits_until:
            self._earlier.set()

    async def run(self) -> None:
        """Call as times come, until cancelled."""
        while True:
            self._earlier.clear()
            if self._call():
                await asyncio.sleep(0)
                continue
            self._waits_until = self._next()
            delay_s = None if self._waits_until == inf else self._waits_until - self._clock.now()
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(delay_s):
                    await self._earlier.wait()

    def _next(self) -> float:
        oldest = self._links.oldest
        idle_at = inf if oldest is None else oldest.used_at + self._idle_s
        return min(idle_at, self._heap[0][0] if self._heap else inf)

    def _call(self) -> bool:
        """Call for those whose time has come; say whether there were any."""
        now = self._clock.now()
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap))
        for at, _, link in due:
            if link.alarm_at == at and not link.over:
                link.alarm_at = inf
                self._ring(link)
        idle = 0
        while (oldest := self._links.oldest) is not None and oldest.used_at + self._idle_s <= now:
            self._idle(oldest)
            idle += 1
        return bool(due) or idle > 0
