"""One campaign on the air: a task that does what its rollout says, and keeps how far it has come.

How far is stored behind the pages, and not for each: a commit takes some milliseconds, more than a packet
does in a few cells, and a packet that is broadcast twice does no harm, while one that nobody broadcast costs
a repetition. So what the store says is published has been, and whoever goes on after a kill -9 broadcasts at
most ``GRAIN`` packets again. What decides, a stage's end or another state, is stored before anything comes of
it.

Modules tell their handsets, and these the console, under the trace of the order that the pages go by. An
order that joins a campaign gives it its own. Who joins after another launch has broadcast a part of it would
never hear of whom that part reached: for that there is a roll call, the campaign's head alone under another
update number. A module that has the programme knows it by that, and its handset tells; to another one it
brings nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agents.airings import OPEN, Airing, StageAired
from agents.causes import stored
from agents.rollout import Await, Event, Publish, Reported, State
from agents.store.registry import Registry
from agents.store.tables import ROLLOUT_STAGES, ROLLOUTS
from bus import tracing
from bus.actor import Actor
from bus.bearers.cell_broadcast import Airtime
from transport.diffusion import FragmentKind

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from agents.diffuser import Diffuser
    from agents.module_reports import ModuleReports
    from agents.role import Desk
    from agents.rollout import Course, Rollout, Stage
    from agents.store.group_commit import GroupCommit
    from bus.frame import TraceContext
    from transport.diffusion import Campaign

GRAIN: Final = 32
"""Packets that are published before it is stored that they are."""
_HEADS: Final = frozenset({FragmentKind.HEAD, FragmentKind.SIGNATURE})


class Books:
    """What a supplier keeps of its campaigns: how far each service's last one has come, and its stages."""

    def __init__(self, desk: Desk, store: GroupCommit, diffuser: Diffuser, reports: ModuleReports) -> None:
        self.desk = desk
        self.diffuser = diffuser
        self.reports = reports
        self.rollouts = Registry(store, ROLLOUTS)
        self.stages = Registry(store, ROLLOUT_STAGES)

    async def load(self) -> None:
        """Read what the store holds."""
        await self.rollouts.load()
        await self.stages.load()


@dataclass(frozen=True, slots=True, kw_only=True)
class Aired:
    """What a run has to broadcast, and under which numbers."""

    service: str
    campaign: Campaign
    update: int
    identifier: int
    ordered: bytes
    """What the order said: another one with the same joins the campaign."""
    begun_at: float


class Run(Actor[None]):
    """A service's last campaign: on the air, or over."""

    def __init__(
        self,
        books: Books,
        aired: Aired,
        rollout: Rollout,
        *,
        trace: TraceContext,
        command: int,
        is_whole: bool,
    ) -> None:
        super().__init__(f"{books.desk.keys.name}.campaign.{aired.service}", books.desk.group)
        self.aired = aired
        self.rollout = rollout
        self.command = command
        """The last word of a person about it, by its number."""
        self.is_whole = is_whole
        """Whether all its pages were broadcast by this launch."""
        self.trace = trace
        self.over = asyncio.Event()
        self.news = asyncio.Event()
        self.published = 0
        self.on_air_s = 0.0
        """How long the pages took, of our own time."""
        self._books = books
        self._airtime = Airtime(books.desk.clock, books.diffuser.aerial.page_s)
        self._first_trace = trace
        self._traces = {trace.trace_id}
        self._is_begun_here = is_whole
        self._kept: Course | None = None
        self._kept_stages: dict[int, Stage] = {}
        self._is_released = False
        self._turn = asyncio.Lock()
        self._log = books.desk.log.bind(service=aired.service, version=aired.campaign.manifest.version)
        if not rollout.is_under_way:
            self.over.set()

    @property
    def how_far(self) -> str:
        """How far the campaign is, in words."""
        course, plan, reported = self.rollout.course, self.rollout.plan, self._reported()
        words = (
            f"stage {course.stage + 1} of {len(plan.stages)}, {course.packets / plan.packets:.0%} of it sent"
        )
        if plan.report_share:
            words += f"; reported: {reported.good} have it, {reported.refused} refused it"
        return f"{words} ({course.state})"

    @property
    def stands_still(self) -> bool:
        """Whether it is not over and nobody is at it: a fault of our own kept it from going on."""
        return not self.over.is_set() and self.is_at_rest

    @property
    def is_open(self) -> bool:
        """Whether it is not over, as far as the store knows."""
        return self.rollout.is_under_way or self.stands_still

    def go(self) -> None:
        """Begin, or go on."""
        self.deliver(None)

    def revive(self) -> None:
        """Go on if it stands still."""
        if self.stands_still:
            self.go()

    def join(self, trace: TraceContext) -> None:
        """Make what is broadcast from now on that of another order, which wants it to go on."""
        self.trace = trace
        self._traces.add(trace.trace_id)
        self.revive()

    async def handle(self, message: None) -> None:  # noqa: ARG002 -- there is one thing to do
        """Go the campaign's way, to its end."""
        do: Publish | Await | None = Await(0.0)
        while do is not None:
            self.news.clear()
            tracing.bind(self.trace, role=self._books.desk.keys.role.value)
            async with self._turn:
                do = self.rollout.next(self._reported(), self._now())
                if isinstance(do, Publish):
                    await self._publish(do)
                if self._is_to_be_kept():
                    await self.keep()
            if isinstance(do, Await):
                await self._wait(do.until)
        self._end()

    async def happens(self, event: Event, command: int, reason: str = "") -> bool:
        """Do what a person says, unless it cannot happen now; it is stored when this returns.

        A page on its way is on the air by then, and the next one is not.
        """
        async with self._turn:
            if self.command == command:
                return True
            if not self.rollout.may(event):
                return False
            before = (self.rollout.course, list(self.rollout.stages), self.command)
            self.rollout.happens(event, self._now(), reason)
            self.command = command
            try:
                await self.keep()
            except Exception:
                self.rollout.course, self.rollout.stages, self.command = before
                raise
        self._log.info("campaign.told", what=event.value, state=self.rollout.course.state.value)
        self.news.set()
        return True

    async def keep(self, *with_it: Awaitable[None]) -> None:
        """Store how far the campaign has come, and changes *with_it*, all or nothing.

        A version that has not to pass a trial, or has passed it, is for everybody then.
        """
        aired, course, books = self.aired, self.rollout.course, self._books
        is_for_all = course.state is State.ENDED or not self.rollout.plan.is_trial
        stages = {
            number: stage
            for number, stage in enumerate(self.rollout.stages)
            if self._kept_stages.get(number) != stage
        }
        # Handed over in the same step of the loop, all of this shares a transaction.
        await asyncio.gather(
            *with_it,
            *([books.diffuser.release(aired.service)] if is_for_all and not self._is_released else ()),
            *(books.stages.put(_stage_row(aired.service, number, stage)) for number, stage in stages.items()),
            books.rollouts.put(
                {
                    "service": aired.service,
                    "number": aired.campaign.manifest.campaign,
                    "ordered": aired.ordered,
                    "state": course.state.value,
                    "reason": course.reason,
                    "stage": course.stage,
                    "packets": course.packets,
                    "aired_at": course.aired_at,
                    "begun_at": aired.begun_at,
                    "command": self.command,
                    "trace": stored(self._first_trace),
                }
            ),
        )
        self._is_released = is_for_all
        self._kept_stages |= stages
        self._kept = course

    async def roll_call(self) -> None:
        """Have those who have the programme tell so, once, where another launch broadcast a part of it."""
        if self.is_whole:
            return
        self.is_whole = True
        diffuser, cells = self._books.diffuser, [cell for stage in self.rollout.plan.stages for cell in stage]
        update = await diffuser.next_update(self.aired.service)
        heads = [packet for packet in self.aired.campaign.packets if packet.kind in _HEADS]
        self._log.info("campaign.roll_call", cells=len(cells), packets=len(heads))
        for _ in range(diffuser.aerial.repetitions):
            for packet in heads:
                if not diffuser.is_newest(self.aired.service, update):
                    return  # another campaign is on the air, with heads of its own under the same codes
                self.published += await diffuser.publish(
                    packet,
                    identifier=self.aired.identifier,
                    update=update,
                    cells=cells,
                    trace=self.trace,
                    airtime=self._airtime,
                )

    def _is_to_be_kept(self) -> bool:
        course, kept = self.rollout.course, self._kept
        if kept is None or (course.state, course.stage) != (kept.state, kept.stage):
            return True
        new = course.packets - kept.packets
        return new >= GRAIN or (new > 0 and course.packets == self.rollout.plan.packets)

    async def _publish(self, do: Publish) -> None:
        if not do.packet:
            self._log.info(
                "campaign.stage",
                stage=do.stage + 1,
                cells=len(self.rollout.plan.stages[do.stage]),
                holders=self.rollout.plan.holders[do.stage],
            )
        cycle, loop = self.aired.campaign.cycle, asyncio.get_running_loop()
        began = loop.time()
        self.published += await self._books.diffuser.publish(
            cycle[do.packet % len(cycle)],
            identifier=self.aired.identifier,
            update=self.aired.update,
            cells=self.rollout.plan.stages[do.stage],
            trace=self.trace,
            airtime=self._airtime,
        )
        self.rollout.published(self._now())
        self.on_air_s += loop.time() - began

    async def _wait(self, until: float) -> None:
        """Wait for news, but not longer than *until*."""
        delay_s = None if until == math.inf else max(0.0, until - self._now())
        with contextlib.suppress(TimeoutError):
            async with self._books.desk.clock.timeout(delay_s):
                await self.news.wait()

    def airing(self) -> Airing:
        """Return what was broadcast so far, and how it ended if it has."""
        course, campaign, plan = self.rollout.course, self.aired.campaign, self.rollout.plan
        repetitions = self._books.diffuser.aerial.repetitions
        state, reason = course.state.value, course.reason
        if self.is_open:
            paused = state if course.state is State.PAUSED else ""
            state, reason = OPEN, "crashed" if self.stands_still else paused
        return Airing(
            traces=frozenset(self._traces),
            scheme=campaign.coding.scheme.name.lower(),
            packets=len(campaign.cycle),
            pages=campaign.pages,
            repair_pages=campaign.repair_pages,
            cells=sum(map(len, plan.stages[: len(self.rollout.stages)])),
            repetitions=repetitions,
            published=self.published,
            planned=campaign.pages * repetitions * sum(map(len, plan.stages)),
            is_whole=self._is_begun_here,
            state=state,
            reason=reason,
            stages=tuple(self._stages_aired()),
        )

    def _end(self) -> None:
        if self.over.is_set():
            return
        course = self.rollout.course
        self._books.diffuser.airings.ended.append(self.airing())
        self._log.info("campaign.ended", state=course.state.value, reason=course.reason)
        self.over.set()

    def _stages_aired(self) -> list[StageAired]:
        cells = map(len, self.rollout.plan.stages)
        return [
            StageAired(
                cells=count,
                holders=holders,
                begun_s=stage.begun_at - self.aired.begun_at,
                ended_s=(stage.ended_at or self._now()) - self.aired.begun_at,
                why=stage.why,
            )
            for stage, count, holders in zip(
                self.rollout.stages, cells, self.rollout.plan.holders, strict=False
            )
        ]

    def _reported(self) -> Reported:
        tally = self._books.reports.tally(self.aired.service, self.aired.campaign.manifest.campaign)
        return Reported(good=tally.loaded + tally.held, refused=tally.refused)

    def _now(self) -> float:
        return self._books.desk.clock.now()


def _stage_row(service: str, number: int, stage: Stage) -> dict[str, Any]:
    return {
        "service": service,
        "stage": number,
        "begun_at": stage.begun_at,
        "ended_at": stage.ended_at,
        "why": stage.why,
    }
