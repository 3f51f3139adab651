"""The page of metrics of one run: figures of every process, asked for when somebody scrapes.

The processes that host handsets are asked over the lines by which they are led: one port is all that a
Prometheus has to know, sums over processes are made here, and a process that is busy costs a scrape two
seconds at most. However often and by however many it is asked for, a page is made by one at a time, and not
again before nineteen times as long has passed as it took: whoever comes before that gets the last one, and
whoever comes while one is made gets that one, so that nobody waits for more than one.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from agents.fleet.figures import Pace
from agents.fleet.measure import counted
from agents.fleet.metrics import Figures, page_of
from agents.subscriptions import RELEASED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agents.fleet.crew import Crew
    from agents.fleet.figures import CrewFigures
    from agents.fleet.market import Market
    from agents.fleet.radio import Radio
    from agents.fleet.steps import Runner
    from agents.fleet.surroundings import Surroundings


class Shared:
    """What *make* makes, for whomever asks: by one at a time, when *pace* has rested."""

    def __init__(self, make: Callable[[], Awaitable[bytes]], pace: Pace) -> None:
        self._make = make
        self._pace = pace
        self._turn = asyncio.Lock()
        self._count = 0
        self._octets = b""

    async def __call__(self) -> bytes:
        """Return it: of now, as it was made while we waited, or the last one if that is not long ago."""
        known = self._count
        async with self._turn:
            if self._count == known and self._pace.is_rested:
                self._octets = await self._make()
                self._count += 1
            return self._octets


class MetricsPage:
    """Of the run of *market* and *handsets*, whose steps *runner* plays; simulated since *begun_s*."""

    def __init__(
        self, around: Surroundings, market: Market, handsets: Crew | Radio, runner: Runner, *, begun_s: float
    ) -> None:
        self._around = around
        self._market = market
        self._handsets = handsets
        self._runner = runner
        self._begun_s = begun_s
        self._pace = Pace()
        self._shared = Shared(self._make, self._pace)

    async def __call__(self) -> bytes:
        """Return the page: of this moment, or the last one if that was a moment ago."""
        return await self._shared()

    async def _make(self) -> bytes:
        crew = await self._handsets.figures()
        begun = time.perf_counter()
        octets = page_of(self._figures(crew))
        self._pace.worked(time.perf_counter() - begun)
        return octets

    def _figures(self, crew: CrewFigures) -> Figures:
        around, roles = self._around, self._market.roles
        now_s = around.clock.now()
        return Figures(
            fleet=around.config.fleet.name,
            launch=around.launch.number,
            broker=around.broker.kind,
            handset_count=around.config.handset_count,
            counts=counted([around.counters.snapshot(), *(handsets.counts for handsets in crew.handsets)]),
            roles={name: role.desk.keys.role.value for name, role in roles.items()},
            waiting={name: role.waiting for name, role in roles.items()},
            crew=crew,
            released=sum(operator.states().get(RELEASED, 0) for operator in self._market.operators),
            steps=self._runner.steps.figures(),
            step_count=len(around.config.steps),
            now_s=now_s,
            simulated_s=now_s - self._begun_s,
        )
