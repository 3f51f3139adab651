"""Pages that are on the air until a test says that they are gone, in a market of the role kit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agents.diffuser import Aerial
from bus.bearers.cell_broadcast import CellBroadcaster
from bus.topics import Broadcast
from tests.bus.manual_clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agents.role import Desk
    from tests.agents.role_kit import Kit

CELL: Final = "cell"
"""Where the handsets are."""
OTHERS: Final = ("north", "south")
CELLS: Final = (CELL, *OTHERS)
REPETITIONS: Final = 2


class Slow:
    """The air of a kit's suppliers; *holders* says how many modules of a service are in which cell."""

    def __init__(
        self, kit: Kit, holders: Callable[[str], Mapping[str, int]] = lambda _service: {CELL: 1}
    ) -> None:
        self._kit = kit
        self._holders = holders
        self.clock = ManualClock()
        kit.aerial = self._aerial

    def _aerial(self, desk: Desk) -> Aerial:
        kit = self._kit
        broadcaster = CellBroadcaster(
            desk.client,
            fleet=kit.fleet,
            source=desk.keys.name,
            clock=kit.clock,
            counters=kit.counters,
            rng=kit.rng("broadcast"),
            log=kit.log,
        )
        return Aerial(
            broadcaster=broadcaster,
            cells={"city": (CELL,), "coast": OTHERS},
            repetitions=REPETITIONS,
            clock=self.clock,
            page_s=1.0,
            holders=self._holders,
        )

    async def until(self, done: Callable[[], bool]) -> None:
        """Let pages go until something is so, which is looked at whenever something was published."""
        seen = -1
        async with asyncio.timeout(20):
            while (published := len(self._kit.wire.frames)) == seen or not done():
                seen = published
                self.clock.advance(15.0)
                await asyncio.sleep(0)

    async def until_still(self, done: Callable[[], bool]) -> None:
        """Let pages go until something is so, whether anything is published or not."""
        async with asyncio.timeout(20):
            while not done():
                self.clock.advance(15.0)
                await asyncio.sleep(0)

    async def until_idle(self) -> None:
        """Let pages go until nobody in the market has anything to do."""
        idle = asyncio.create_task(self._kit.group.idle())
        async with asyncio.timeout(20):
            while not idle.done():
                self.clock.advance(15.0)
                await asyncio.sleep(0)

    def pages(self, *cells: str) -> int:
        """Return how many pages were published in *cells*, in all for none."""
        kit = self._kit
        return sum(len(kit.wire.on(Broadcast(fleet=kit.fleet, cell=cell))) for cell in cells or CELLS)
