"""Who hears a broadcast: the console counts those who tell, and waits for the others while it makes sense."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LISTEN_S: Final = 5.0
"""How long the console listens to those who have yet to tell, once a broadcast has ended or somebody told."""
BUSY_S: Final = 0.25
"""A loop that comes so late to an end of its patience was busy."""
PAGES_LAG: Final = 4.0
"""Or so many times as long as the broadcast took: handsets take longer over pages than who publishes them."""


@dataclass(slots=True, kw_only=True)
class Audience:
    """The handsets that a broadcast is for, and when each told that it heard; the traces of its orders."""

    addresses: frozenset[str]
    started: float = 0.0
    """When the order was given."""
    stays: bool = False
    """Whether it listens on when its step is over: its campaign goes on."""
    traces: list[bytes] = field(default_factory=list)
    heard: dict[str, float] = field(default_factory=dict)
    on_air: dict[str, float] = field(default_factory=dict)
    """When the page had been on the air by which each of them heard, where that is known."""
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def hears(self, ua: str, now: float, on_air: float | None = None) -> None:
        """Note that a handset told *now* that it heard, of a page that had been on the air then."""
        if ua in self.addresses:
            self.heard.setdefault(ua, now)
            if on_air is not None:
                self.on_air.setdefault(ua, on_air)
        if len(self.heard) == len(self.addresses):
            self.complete.set()

    def heard_s(self, ua: str) -> float | None:
        """Return after how many seconds on the air a handset heard, from the order on, if that is known."""
        on_air = self.on_air.get(ua)
        return None if on_air is None else max(0.0, on_air - self.started)

    async def hear_out(self, took_s: float, received: Callable[[], Awaitable[int]]) -> None:
        """Wait for those who are still to tell, as long as somebody does; the broadcast *took_s* to send.

        A page takes its time to a module, and the longer a broadcast took the more there are. *received* says
        how much the cells have received so far: while that grows, handsets are busy, and most of them have
        something to tell at the very end only. While handsets of this process keep the loop busy, nobody
        reads what they told: then it is not they who are silent.
        """
        loop, patience_s = asyncio.get_running_loop(), max(LISTEN_S, PAGES_LAG * took_s)
        busy = await received()
        while not self.complete.is_set():
            heard, until = len(self.heard), loop.time() + patience_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self.complete.wait()
            is_late = loop.time() - until >= BUSY_S
            was, busy = busy, await received()
            if len(self.heard) == heard and busy == was and not is_late:
                return
