"""What a run came to, put together: outcomes, traffic, resources, memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from agents.fleet.campaign_report import Reported
from agents.fleet.campaigns import Books, campaigns_of
from agents.fleet.config import Verb
from agents.fleet.config_rollout import broadcast_ended
from agents.fleet.expectations import Result
from agents.fleet.report import AuditReport, BearerReport, BrokerReport, Latency, MemoryReport, Report
from agents.fleet.resources import peak_mib
from agents.module_reports import Tally
from agents.subscriptions import RELEASED
from agents.supplier import Supplier
from bus.counters import Counters
from bus.frame import Bearer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agents.fleet.campaign_report import CampaignReport
    from agents.fleet.config import FleetConfig
    from agents.fleet.expectations import Outcomes
    from agents.fleet.market import Market
    from agents.fleet.radio import HandsetSummary
    from agents.fleet.report import StepReport
    from agents.fleet.surroundings import Surroundings
    from bus.counters import Snapshot

# What the console says is how a run is steered, not what a market sends.
_CONSOLE: Final = frozenset({Bearer.ORDER, Bearer.EVENT})
_SERVES: Final = frozenset({Verb.SERVE, Verb.PULL})


class Played(NamedTuple):
    """What steps came to, and who had told of campaigns that nobody waited for when the last one ended."""

    steps: Sequence[tuple[StepReport, Outcomes]]
    so_far: Sequence[Outcomes] = ()


def make_report(
    around: Surroundings,
    market: Market,
    handsets: Sequence[HandsetSummary],
    played: Played,
    *,
    wall_s: float,
    simulated_s: float,
    base_mib: float,
    resumed: bool,
) -> Report:
    """Return the report of a run whose steps are *played*.

    *handsets* has a summary for each process that hosted some; *base_mib* is what ours held before there
    were any.
    """
    ended = [outcomes for _, outcomes in played.steps]
    own_peak = peak_mib()
    elsewhere = [summary for summary in handsets if summary.counts]
    counts = counted([around.counters.snapshot(), *(summary.counts for summary in elsewhere)])
    count = around.config.handset_count
    peak = own_peak + sum(summary.peak_mib for summary in elsewhere)
    base = base_mib + sum(summary.base_mib for summary in elsewhere)
    return Report(
        fleet=around.config.fleet.name,
        seed=around.config.fleet.seed,
        handsets=count,
        modules_served=_served(ended),
        wall_s=wall_s,
        simulated_s=simulated_s,
        steps=tuple(report for report, _ in played.steps),
        bearers=_bearers(counts),
        resources=_resources(market, handsets),
        audited=_audited(market),
        latency=Latency.of(outcome.latency_s for outcomes in ended for outcome in outcomes.outcomes),
        memory=MemoryReport(peak_mib=peak, base_mib=base, kib_per_handset=(peak - base) * 1024 / count),
        messages_per_handset=_messages(counts) / count,
        dropped=counts["dropped"],
        crashes=sum(counts["crashes"].values()),
        dead_letters=sum(role.lost_letters for role in market.roles.values())
        + sum(summary.dead_letters for summary in handsets),
        broker=BrokerReport(kind=around.broker.kind, address=str(around.broker)),
        resumed=resumed,
        campaigns=_campaigns(around, market, ended, played.so_far, counts),
    )


def counted(counts: Iterable[Snapshot | None]) -> Snapshot:
    """Return what several processes counted together; each goes on counting by itself."""
    together = Counters()
    for each in filter(None, counts):
        together.absorb(each)
    return together.snapshot()


def _campaigns(
    around: Surroundings,
    market: Market,
    ended: Sequence[Outcomes],
    so_far: Sequence[Outcomes],
    counts: Snapshot,
) -> tuple[CampaignReport, ...]:
    suppliers = [role for role in market.roles.values() if isinstance(role, Supplier)]
    books = Books(
        airings=[
            airing for supplier in suppliers for airing in (*supplier.airings.ended, *supplier.on_air())
        ],
        found=frozenset(who for supplier in suppliers for who in supplier.airings.found),
        states={name: how for supplier in suppliers for name, how in supplier.campaign_states().items()},
        brought={who: over for supplier in suppliers for who, over in supplier.airings.brought.items()},
    )
    tallies = {name: tally for supplier in suppliers for name, tally in supplier.reports.by_version().items()}
    refusals = {name: why for supplier in suppliers for name, why in supplier.reports.refusals().items()}

    def reported(name: tuple[str, int]) -> Reported:
        return _reported(tallies.get(name, Tally()), refusals.get(name, Counter()))

    return tuple(
        replace(made, reported=reported((made.service, made.version)))
        if _is_reported(around.config, made.step - 1)
        else made
        for made in campaigns_of(around.config, ended, books, counts, so_far)
    )


def _is_reported(config: FleetConfig, index: int) -> bool:
    """Say whether modules were asked to report of the broadcast that step *index* began, or is the end of."""
    begun = broadcast_ended(config.steps, index)
    return config.steps[index if begun is None else begun].report_share > 0


def _reported(tally: Tally, why: Counter[str]) -> Reported:
    reasons = dict(why.most_common())
    return Reported(loaded=tally.loaded, held=tally.held, refused=tally.refused, reasons=reasons)


def _served(steps: Sequence[Outcomes]) -> int:
    """Return how many modules had a service loaded by its supplier over their secure connection."""
    return len(
        {outcome.ua for outcomes in steps if outcomes.do in _SERVES for outcome in outcomes.of(Result.OK)}
    )


def _bearers(counts: Snapshot) -> dict[str, BearerReport]:
    return {
        name: BearerReport(
            messages=bearer["sent"]["messages"],
            octets=bearer["sent"]["octets"],
            retries=bearer["retries"],
            lost=bearer["lost"],
            air_s=round(bearer["air_s"], 3),
        )
        for name, bearer in counts["bearers"].items()
        if name not in _CONSOLE
    }


def _messages(counts: Snapshot) -> int:
    return sum(
        bearer["sent"]["messages"] for name, bearer in counts["bearers"].items() if name not in _CONSOLE
    )


def _audited(market: Market) -> AuditReport:
    """Return what the last audits said of the modules' memory."""
    zones = [zone for operator in market.operators for zone in operator.zones()]
    return AuditReport(
        modules=len(zones),
        free=sum(zone.free for zone in zones),
        largest_free=sum(zone.largest_free for zone in zones),
    )


def _resources(market: Market, handsets: Sequence[HandsetSummary]) -> dict[str, int]:
    """Return how many resources are in which state: as the modules' DEF say, and those that are gone."""
    states: Counter[str] = Counter()
    for summary in handsets:
        states.update(summary.states)
    states["released"] = sum(operator.states().get(RELEASED, 0) for operator in market.operators)
    return {state: count for state, count in sorted(states.items()) if count}
