"""A supplier's campaigns as who runs a fleet manages them: begun, paused, resumed, aborted, seen to the end.

There is one campaign a service at a time. An order for what is on the air already joins it: the console says
again what nobody answered, and so does a launch that resumes. An order for anything else is refused as long
as one runs or is paused (``campaign-running``). To supersede it silently would leave it to chance which cells
got which version, and whoever watches a rollout must not have it taken from under their eyes: who wants the
other one aborts this first. A campaign that is over is begun anew by the same order, from its first stage,
as the same campaign on the air: its packets are the same octets, and what modules collected stays of use. So
an abort is final for the order and not for the version, and one that was stopped for errors stops again
before its first page, for the modules' reports stand.

What a person says (pause, resume, abort) has a number, the step's: said again, it is done already.

A campaign that was under way when its supplier stopped goes on by itself, from where the store says it was.
One that stands still because of a fault of our own, a disk that was full say, goes on with the next order
that is about it.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from agents.airings import OPEN
from agents.campaign_run import Aired, Books, Run
from agents.causes import continued, export
from agents.errors import Refusal, Unanswered
from agents.loading import in_version
from agents.messages.codec import decode, encode
from agents.messages.orders import BroadcastOrder
from agents.module_reports import Reporting
from agents.role import Turns
from agents.rollout import ABORTED, UNDER_WAY, Course, Event, Plan, Rollout, Stage, State, in_stages
from bus import tracing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agents.airings import Airing
    from agents.diffuser import Diffuser
    from agents.identity import RoleKeys
    from agents.module_reports import ModuleReports
    from agents.offers import Offer
    from agents.role import Desk, Ordered
    from agents.store.group_commit import GroupCommit
    from agents.store.registry import Row
    from bus.frame import TraceContext

HEARTBEAT_S: Final = 10.0
"""How often, of our own time, the console is told that an order is still being carried out."""
_NOT_NOW: Final[Mapping[Event, Mapping[State, str]]] = {
    Event.PAUSE: {State.PAUSED: "campaign-paused"},
    Event.RESUME: {State.RUNNING: "not-paused"},
    Event.ABORT: {},
}
"""Why what a person says cannot be done; else the campaign is over."""


class Terms(NamedTuple):
    """What a campaign of a service goes by."""

    offer: Offer
    service: Row
    keys: RoleKeys


class Campaigns:
    """One supplier's."""

    def __init__(
        self,
        desk: Desk,
        store: GroupCommit,
        diffuser: Diffuser,
        *,
        terms: Callable[[str], Terms],
        reports: ModuleReports,
        under_way: Callable[[Ordered, str], Awaitable[None]],
    ) -> None:
        self._desk = desk
        self._diffuser = diffuser
        self._books = Books(desk, store, diffuser, reports)
        self._terms = terms
        self._under_way = under_way
        self._runs: dict[str, Run] = {}
        self._buried = 0
        """Messages that campaigns before the last one of a service gave up."""
        self._turns = Turns()

    async def load(self) -> None:
        """Read what the store holds."""
        await self._books.load()

    async def go_on(self) -> None:
        """Go on with every campaign that was under way."""
        for row in self._books.rollouts.rows():
            async with self._turns.of(row["service"]):
                try:
                    await self._known(row["service"])
                except Refusal as refusal:
                    self._desk.log.warning("campaign.lost", service=row["service"], reason=refusal.reason)

    def under_way(self) -> dict[str, bytes]:
        """Return the trace of each campaign that is not over, by service."""
        return {
            row["service"]: continued(row["trace"]).trace_id
            for row in self._books.rollouts.rows()
            if row["state"] in UNDER_WAY
        }

    def news(self, service: str) -> None:
        """Take note that a module has reported of a campaign."""
        if service in self._runs:
            self._runs[service].news.set()

    def is_under_way(self, service: str) -> bool:
        """Say whether a campaign of *service* runs, or is paused."""
        row = self._books.rollouts.get(service)
        return row is not None and row["state"] in UNDER_WAY

    def on_air(self) -> list[Airing]:
        """Return how far the campaigns are that are not over."""
        return [run.airing() for run in self._runs.values() if run.is_open]

    def states(self) -> dict[tuple[str, int], tuple[str, str]]:
        """Return state and reason of each service's last campaign, by service and version."""
        states = {}
        for row in self._books.rollouts.rows():
            campaign = self._diffuser.last(row["service"])
            if campaign is not None and campaign["number"] == row["number"]:
                is_over = row["state"] not in UNDER_WAY
                state = row["state"] if is_over else OPEN
                states[row["service"], campaign["version"]] = (state, row["reason"] if is_over else "")
        return states

    @property
    def lost_letters(self) -> int:
        """How often a campaign stood still because of a fault of our own."""
        return self._buried + sum(len(run.dead_letters) for run in self._runs.values())

    async def obey(self, ordered: Ordered) -> bytes:
        """Do what one of the ``ORDERS`` asks."""
        return await ORDERS[ordered.order.do](self, ordered)

    async def broadcast(self, ordered: Ordered) -> bytes:
        """Begin the campaign that an order is for, or join it; return when it is over, or begun.

        Raises Refusal: as ``Diffuser.campaign``; ``no-broadcast``, ``unknown-group``; ``unknown-version``;
        ``too-few-cells`` for so many stages; ``nobody-asked``, where a threshold is held against the reports
        of a sample that no module is in; ``campaign-running`` while another one is under way,
        ``campaign-paused`` where this one is; and why it did not come to its end.
        """
        said = decode(ordered.order.argument, BroadcastOrder)
        # Whether somebody waits for it makes it no other campaign.
        octets = encode(replace(said, wait=True))
        async with self._turns.of(ordered.order.service):
            run = await self._known(ordered.order.service)
            if run is None or not run.is_open:
                # As they are now: while we waited the domain key may have become another.
                terms = self._terms(ordered.order.service)
                run = await self._begin(terms, said, octets, ordered.trace)
            elif run.aired.ordered != octets:
                raise Refusal("campaign-running")
            run.join(ordered.trace)
        return await self._outcome(run, ordered) if said.wait else b""

    async def finish(self, ordered: Ordered) -> bytes:
        """Return when a service's last campaign is over. Raises Refusal as ``broadcast`` does then."""
        async with self._turns.of(ordered.order.service):
            run = await self._require(ordered.order.service)
            run.join(ordered.trace)
        return await self._outcome(run, ordered)

    async def happens(self, ordered: Ordered, event: Event) -> bytes:
        """Do what a person says of a service's campaign; it is stored when this returns.

        Raises Refusal: ``no-campaign``, ``campaign-paused``, ``not-paused``, ``campaign-over``.
        """
        reason = ABORTED if event is Event.ABORT else ""
        async with self._turns.of(ordered.order.service):
            run = await self._require(ordered.order.service)
            if not await run.happens(event, int(ordered.order.argument), reason):
                raise Refusal(_NOT_NOW[event].get(run.rollout.course.state, "campaign-over"))
            run.revive()
        return b""

    async def _outcome(self, run: Run, ordered: Ordered) -> bytes:
        """Return when *run* is over; Refusal says why it did not come to its end."""
        if run.rollout.course.state is State.PAUSED:
            raise Refusal("campaign-paused")
        while not run.over.is_set():
            if run.stands_still:
                raise Unanswered(run.name)
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await run.over.wait()
            except TimeoutError:
                await self._under_way(ordered, run.how_far)
        course = run.rollout.course
        if course.state is not State.ENDED:
            raise Refusal(course.reason)
        await run.roll_call()
        return str(round(run.on_air_s * 1000)).encode()

    async def _require(self, service: str) -> Run:
        run = await self._known(service)
        if run is None:
            raise Refusal("no-campaign")
        return run

    async def _begin(self, terms: Terms, said: BroadcastOrder, octets: bytes, trace: TraceContext) -> Run:
        service = terms.offer.service
        offer = in_version(terms.offer, said.version)
        stages = self._stages(offer, said)
        reporting = Reporting.ordered(said)
        campaign, update = await self._diffuser.campaign(offer, terms.service, terms.keys, reporting)
        aired = Aired(
            service=service,
            campaign=campaign,
            update=update,
            identifier=terms.service["message_identifier"],
            ordered=octets,
            begun_at=self._desk.clock.now(),
        )
        plan = self._plan(aired, said, stages)
        is_report_due = plan.success is not None and any(plan.holders)
        if is_report_due and not self._books.reports.is_anybody_asked(service):
            # It would be stopped, after all its time, for want of reports that nobody can send.
            raise Refusal("nobody-asked")
        run = Run(self._books, aired, Rollout(plan), trace=trace, command=0, is_whole=True)
        await run.keep(*self._without_stages(service))
        if service in self._runs:
            self._buried += len(self._runs[service].dead_letters)
        self._runs[service] = run
        self._desk.log.info(
            "campaign.begun",
            service=service,
            version=said.version,
            pages=campaign.pages,
            packets=len(campaign.packets),
            cells=sum(map(len, plan.stages)),
            stages=len(plan.stages),
        )
        run.go()
        return run

    async def _known(self, service: str) -> Run | None:
        """Return the last campaign of *service*; one that another launch left under way goes on."""
        if service in self._runs:
            return self._runs[service]
        row = self._books.rollouts.get(service)
        if row is None:
            return None
        run = self._runs[service] = await self._left(self._terms(service), row)
        if run.rollout.is_under_way:
            export(run.trace, self._desk.keys.name, service)
            with tracing.bound(run.trace, role=self._desk.keys.role.value):
                self._desk.log.info(
                    "campaign.goes_on", service=service, stage=row["stage"] + 1, packets=row["packets"]
                )
            run.go()
        return run

    async def _left(self, terms: Terms, row: Row) -> Run:
        """Return a campaign as another launch left it.

        Where our key for the service was replaced meanwhile, modules would not believe what is signed with
        the one before: then it begins again, signed anew.
        """
        said, service = decode(row["ordered"], BroadcastOrder), row["service"]
        offer = self._diffuser.begun(terms.offer)
        asked = (offer, terms.service, terms.keys, Reporting.ordered(said))
        campaign, update = await self._diffuser.campaign(*asked, goes_on=True)
        is_same, is_under_way = row["number"] == campaign.manifest.campaign, row["state"] in UNDER_WAY
        if not is_same and is_under_way:
            campaign, update = await self._diffuser.campaign(*asked)
        aired = Aired(
            service=service,
            campaign=campaign,
            update=update,
            identifier=terms.service["message_identifier"],
            ordered=row["ordered"],
            begun_at=row["begun_at"],
        )
        plan = self._plan(aired, said, self._stages(offer, said))
        run = Run(
            self._books,
            aired,
            Rollout(plan, *self._course(row, is_same=is_same)),
            trace=continued(row["trace"]),
            command=row["command"],
            # Whose programme modules do not know by this signature need not be asked for it.
            is_whole=not is_same and not is_under_way,
        )
        if not is_same and is_under_way:
            # The stages of what was signed before are none of its own, or the next launch took them for that.
            await run.keep(*self._without_stages(service))
        return run

    def _without_stages(self, service: str) -> list[Awaitable[None]]:
        """Return the changes that forget the stages of a service's last campaign."""
        former = [row["stage"] for row in self._books.stages.rows() if row["service"] == service]
        return [self._books.stages.remove(service, stage) for stage in former]

    def _course(self, row: Row, *, is_same: bool) -> tuple[Course, list[Stage]]:
        """Return how far a campaign has come, by the store; one that is signed anew, nowhere."""
        state = State(row["state"])
        if not is_same:
            return Course(state=state, reason=row["reason"]), []
        stages = sorted(
            (each for each in self._books.stages.rows() if each["service"] == row["service"]),
            key=lambda each: int(each["stage"]),
        )
        course = Course(
            state=state,
            reason=row["reason"],
            stage=row["stage"],
            packets=row["packets"],
            aired_at=row["aired_at"],
        )
        return course, [
            Stage(begun_at=each["begun_at"], ended_at=each["ended_at"], why=each["why"]) for each in stages
        ]

    def _stages(self, offer: Offer, said: BroadcastOrder) -> list[tuple[str, ...]]:
        cells = self._diffuser.cells(said.groups)
        try:
            return in_stages(cells, said.stages, drawn_from=hashlib.sha256(offer.code).digest())
        except ValueError:
            raise Refusal("too-few-cells") from None

    def _plan(self, aired: Aired, said: BroadcastOrder, stages: list[tuple[str, ...]]) -> Plan:
        aerial = self._diffuser.aerial
        holders = aerial.holders(aired.service)
        return Plan(
            stages=tuple(stages),
            holders=tuple(sum(holders.get(cell, 0) for cell in stage) for stage in stages),
            packets=len(aired.campaign.cycle) * aerial.repetitions,
            success=said.success,
            errors=said.errors,
            report_share=said.report_share,
            report_s=said.report_within_s + aerial.report_margin_s,
            deadline=aired.begun_at + said.deadline_s if said.deadline_s else math.inf,
        )


ORDERS: Final[Mapping[str, Callable[[Campaigns, Ordered], Awaitable[bytes]]]] = {
    "broadcast": Campaigns.broadcast,
    "pause-campaign": partial(Campaigns.happens, event=Event.PAUSE),
    "resume-campaign": partial(Campaigns.happens, event=Event.RESUME),
    "abort-campaign": partial(Campaigns.happens, event=Event.ABORT),
    "finish-campaign": Campaigns.finish,
}
"""By what an order is to do: the rule."""
