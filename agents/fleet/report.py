"""What a run came to: frozen values, as JSON and on the screen.

The values are filled by whoever ran the fleet; nothing here measures anything. ``Report.to_json`` is the
format of ``otafleet up --report FILE``: its keys are a promise to CI jobs that read them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from agents.fleet.expectations import Outcomes, Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

    from agents.fleet.campaign_report import CampaignReport
    from agents.fleet.explanations import Explanation

_SECOND_MS: Final = 1000
_LONG_S: Final = 100
"""Of a step that takes longer nobody wants to know hundredths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long targets took, in milliseconds, at three percentiles; all zero when nothing was timed."""

    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0

    @classmethod
    def of(cls, latencies_s: Iterable[float]) -> Latency:
        """Return the percentiles of latencies in seconds, by nearest rank."""
        ordered = sorted(latencies_s)
        p50, p95, p99 = (round(1000 * _percentile(ordered, percent), 3) for percent in (50, 95, 99))
        return cls(p50=p50, p95=p95, p99=p99)


def _percentile(ordered: Sequence[float], percent: int) -> float:
    if not ordered:
        return 0.0
    rank = -(-len(ordered) * percent // 100)
    return ordered[rank - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """How one step ended."""

    number: int
    do: str
    service: str
    """The service filter of the step; empty when it had none."""
    targets: int
    ok: int
    refused: int
    failed: int
    reasons: Mapping[str, int]
    """Why targets were refused or failed, and how many."""
    seconds: float
    latency: Latency
    missed: tuple[str, ...] = ()
    """A sentence for each expectation that did not hold."""
    expected: bool = True
    """Whether the step had an expectation at all."""

    @classmethod
    def of(
        cls, outcomes: Outcomes, *, service: str, seconds: float, missed: Iterable[str], expected: bool = True
    ) -> StepReport:
        """Sum up *outcomes* of a step that took *seconds*; *missed* is what ``evaluate`` said of them."""
        return cls(
            number=outcomes.number,
            do=outcomes.do,
            service=service,
            targets=len(outcomes.outcomes),
            ok=outcomes.count(Result.OK),
            refused=outcomes.count(Result.REFUSED),
            failed=outcomes.count(Result.FAILED),
            reasons=outcomes.reasons(Result.REFUSED, Result.FAILED),
            seconds=seconds,
            latency=Latency.of(outcome.latency_s for outcome in outcomes.outcomes),
            missed=tuple(missed),
            expected=expected,
        )

    @property
    def held(self) -> bool:
        """Whether every expectation of the step held."""
        return not self.missed

    def to_json(self) -> dict[str, Any]:
        """Return the step as JSON values."""
        values = asdict(self)
        values["seconds"] = round(self.seconds, 3)
        values["latency_ms"] = values.pop("latency")
        values["missed"] = list(self.missed)
        return values | {"held": self.held}


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerReport:
    """The traffic of one bearer: each message counted once, where it was sent; octets of its PDU.

    *lost* is what the air did not deliver, *air_s* the simulated seconds that messages were on the air, those
    of different handsets added up.
    """

    messages: int
    octets: int
    retries: int
    lost: int = 0
    air_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryReport:
    """Memory of the process, in MiB; *base* is what it had before the first handset."""

    peak_mib: float
    base_mib: float
    kib_per_handset: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What the last audit of each module that was audited said of its memory; octets, added up."""

    modules: int = 0
    free: int = 0
    largest_free: int = 0
    """In the largest free area of each: what could be reserved at once."""

    @property
    def fragmentation(self) -> float:
        """The share of the free octets that lie outside the largest free areas."""
        return 1 - self.largest_free / self.free if self.free else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerReport:
    """The broker of the run: ``mosquitto``, ``amqtt`` or ``external``, and its ``host:port``."""

    kind: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run came to."""

    fleet: str
    seed: int | None
    handsets: int
    modules_served: int
    """Modules on which at least one service was served."""
    wall_s: float
    steps: tuple[StepReport, ...]
    bearers: Mapping[str, BearerReport]
    resources: Mapping[str, int]
    """How many resources are in each state at the end."""
    latency: Latency
    memory: MemoryReport
    messages_per_handset: float
    dropped: Mapping[str, int]
    """Payloads thrown away, by reason."""
    crashes: int
    dead_letters: int
    broker: BrokerReport
    resumed: bool = False
    """Whether the run went on from an earlier one's state."""
    simulated_s: float = 0.0
    """The run's length in simulated seconds, which latencies are counted in."""
    audited: AuditReport = AuditReport()
    campaigns: tuple[CampaignReport, ...] = ()
    """What became of each broadcast of an application."""
    faults: tuple[str, ...] = field(default=())
    """Sentences for what went wrong beside the steps' expectations."""
    explained: tuple[Explanation, ...] = ()
    """Why steps were not as expected, by their most telling transactions."""

    @property
    def missed(self) -> tuple[str, ...]:
        """The sentences for every expectation that did not hold, in the order of the steps."""
        return tuple(sentence for step in self.steps for sentence in step.missed)

    @property
    def ok(self) -> bool:
        """Whether the run is what its config expects, and nothing was left undone."""
        return not self.missed and not self.faults

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values, in the format of ``--report``."""
        return {
            "ok": self.ok,
            "fleet": self.fleet,
            "seed": self.seed,
            "handsets": self.handsets,
            "modules_served": self.modules_served,
            "wall_s": round(self.wall_s, 3),
            "simulated_s": round(self.simulated_s, 3),
            "steps": [step.to_json() for step in self.steps],
            "bearers": {name: asdict(bearer) for name, bearer in self.bearers.items()},
            "resources": dict(self.resources),
            "audited": asdict(self.audited) | {"fragmentation": round(self.audited.fragmentation, 3)},
            "latency_ms": asdict(self.latency),
            "memory": asdict(self.memory),
            "messages_per_handset": round(self.messages_per_handset, 1),
            "dropped": dict(self.dropped),
            "crashes": self.crashes,
            "dead_letters": self.dead_letters,
            "broker": asdict(self.broker),
            "resumed": self.resumed,
            "campaigns": [campaign.to_json() for campaign in self.campaigns],
            "faults": list(self.faults),
            "explained": [explanation.to_json() for explanation in self.explained],
        }

    def render(self, console: Console) -> None:
        """Draw the report for a person: readable at 100 columns, with colours or without."""
        console.print()
        console.print(_steps_table(self))
        console.print(_bearers_table(self))
        for campaign in self.campaigns:
            campaign.render(console)
        console.print(_figures(self), highlight=False)
        for sentence in (*self.missed, *self.faults):
            console.print(Text.assemble(("✗ ", "bold red"), sentence), highlight=False)
        console.print(_headline(self), highlight=False)
        for explanation in self.explained:
            explanation.render(console)


def _headline(report: Report) -> Text:
    verdict = ("OK", "bold green") if report.ok else ("FAILED", "bold red")
    held = sum(step.held for step in report.steps)
    how = f"{held} of {len(report.steps)} steps as expected"
    resumed = ", resumed" if report.resumed else ""
    # Where a broadcast loads, nobody may have to be served.
    served = f"{report.modules_served} of {report.handsets} modules served"
    who = served if report.modules_served else f"{report.handsets} handsets"
    return Text.assemble(verdict, f"  fleet {report.fleet}: {who}, {how}, {report.wall_s:.2f} s{resumed}")


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1, 0, 0)
    )


def _steps_table(report: Report) -> Table:
    table = _table("Steps")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("step", overflow="fold")  # the only one that gives way on a narrow screen
    for heading in ("targets", "ok", "refused", "failed", "s", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("expected", no_wrap=True)
    for step in report.steps:
        table.add_row(
            str(step.number),
            escape(" ".join(filter(None, (step.do, step.service)))),
            *(str(count) for count in (step.targets, step.ok, step.refused, step.failed)),
            f"{step.seconds:.2f}" if step.seconds < _LONG_S else f"{step.seconds:.0f}",
            *map(_milliseconds, (step.latency.p50, step.latency.p95, step.latency.p99)),
            _verdict(step),
        )
    return table


def _milliseconds(value: float) -> str:
    """Return a latency as wide as its column, whatever it is."""
    return f"{value:.1f}" if value < _SECOND_MS else f"{value:.0f}"


def _verdict(step: StepReport) -> Text:
    if not step.expected:
        return Text("-", "dim")
    return Text("held", "green") if step.held else Text("missed", "bold red")


def _bearers_table(report: Report) -> Table:
    table = _table("\nBearers")
    table.add_column("bearer")
    for heading in ("messages", "octets", "retries", "lost", "air s"):
        table.add_column(heading, justify="right")
    for name, bearer in report.bearers.items():
        counts = (bearer.messages, bearer.octets, bearer.retries, bearer.lost)
        table.add_row(escape(name), *(f"{value:,}" for value in counts), f"{bearer.air_s:,.1f}")
    return table


def _figures(report: Report) -> Table:
    """Return the rest, one figure a line: what it is, what it comes to."""
    table = Table.grid(padding=(0, 2, 0, 0))
    memory, latency = report.memory, report.latency
    peak = f"peak {memory.peak_mib:.0f} MiB, base {memory.base_mib:.0f} MiB"
    table.add_row()
    for name, words in (
        ("resources", _counted(report.resources) or "none"),
        ("audited", _audits(report.audited)),
        ("latency", f"p50 {latency.p50:.1f} ms, p95 {latency.p95:.1f} ms, p99 {latency.p99:.1f} ms"),
        ("messages", f"{report.messages_per_handset:.1f} a handset"),
        ("memory", f"{peak}, {memory.kib_per_handset:.0f} KiB a handset"),
        ("dropped", _counted(report.dropped) or "none"),
        ("crashes", f"{report.crashes}, dead letters {report.dead_letters}"),
        ("broker", f"{report.broker.kind} at {report.broker.address}"),
    ):
        table.add_row(Text(name, "bold"), Text(words))
    table.add_row()
    return table


def _audits(audited: AuditReport) -> str:
    if not audited.modules:
        return "none"
    modules = f"{audited.modules} module{'s' * (audited.modules != 1)}"
    if not audited.free:
        return f"{modules}, nothing free"
    where = "in one piece each"
    if audited.largest_free < audited.free:
        where = f"{audited.fragmentation:.0%} of them outside the largest pieces"
    return f"{modules}, {audited.free:,} octets free, {where}"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
