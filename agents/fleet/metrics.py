"""What a run tells Prometheus: one table, and how its rows are written.

Names and units are Prometheus's: counters end in ``_total``, times are seconds. An octet is an octet, as
everywhere here. A label takes few values, whatever the fleet's size and whatever its parties say: bearers,
directions, states, the names and steps of a config; reasons up to the bounds of ``bus.counters``. No address
of a module is among them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from agents.fleet.figures import CrewFigures, StepFigures
    from bus.counters import BearerCounts, Snapshot, Way

    Row = tuple[tuple[str, ...], float]

ROOT: Final = "otafleet"
HANDSET: Final = "handset"
AIR: Final = "air"
_TOTAL: Final = "_total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A run at one moment."""

    fleet: str
    launch: int
    broker: str
    handset_count: int
    counts: Snapshot
    """Of all processes together."""
    roles: Mapping[str, str]
    """What kind of role each agent is; whoever is not here is a handset."""
    waiting: Mapping[str, int]
    """Messages in the mailbox of each role."""
    crew: CrewFigures
    released: int
    """Resources that are gone, as the operators' books say."""
    steps: Sequence[StepFigures]
    step_count: int
    now_s: float
    """Simulated time, in seconds since 1970."""
    simulated_s: float
    """Simulated seconds since the launch."""


class Family(NamedTuple):
    """One metric: its name, what it says, the names of its labels, and where its rows come from."""

    name: str
    help: str
    labels: tuple[str, ...]
    rows: Callable[[Figures], Iterable[Row]]

    @property
    def is_counter(self) -> bool:
        """Whether it only ever grows while the run lasts."""
        return self.name.endswith(_TOTAL)


def _traffic(number: Callable[[Way], float]) -> Callable[[Figures], Iterator[Row]]:
    """Return the rows of one number of every bearer, in each direction."""

    def rows(figures: Figures) -> Iterator[Row]:
        for bearer, counts in figures.counts["bearers"].items():
            for direction, way in counts["ways"].items():
                yield (bearer, direction), number(way)

    return rows


def _of_bearers(number: Callable[[BearerCounts], float]) -> Callable[[Figures], Iterator[Row]]:
    def rows(figures: Figures) -> Iterator[Row]:
        for bearer, counts in figures.counts["bearers"].items():
            yield (bearer,), number(counts)

    return rows


def _dropped(figures: Figures) -> Iterator[Row]:
    for reason, count in figures.counts["dropped"].items():
        yield (reason,), count


def _refused(figures: Figures) -> Iterator[Row]:
    for what, reasons in figures.counts["refused"].items():
        for reason, count in reasons.items():
            yield (what, reason), count


def _crashes(figures: Figures) -> Iterator[Row]:
    kinds: Counter[str] = Counter()
    for agent, count in figures.counts["crashes"].items():
        kinds[figures.roles.get(agent, AIR if agent == AIR else HANDSET)] += count
    for kind, count in sorted(kinds.items()):
        yield (kind,), count


def _resources(figures: Figures) -> Iterator[Row]:
    states: Counter[str] = Counter({"released": figures.released})
    for handsets in figures.crew.handsets:
        states.update(handsets.states)
    for state, count in sorted(states.items()):
        yield (state,), count


def _mailboxes(figures: Figures) -> Iterator[Row]:
    for agent, waiting in figures.waiting.items():
        yield (figures.roles[agent], agent), waiting
    yield (HANDSET, ""), sum(handsets.waiting for handsets in figures.crew.handsets)


def _processes(figures: Figures) -> Iterator[Row]:
    # Ours, the roles', always answers: it is the one that is asked.
    yield ("answering",), 1 + figures.crew.answering
    yield ("late",), figures.crew.processes - figures.crew.answering


def _targets(figures: Figures) -> Iterator[Row]:
    for step in figures.steps:
        for result, count in step.targets.items():
            yield (str(step.number), step.do, step.service, result), count


def _step_number(figures: Figures) -> Iterator[Row]:
    yield (), figures.steps[-1].number if figures.steps else 0


FAMILIES: Final = (
    Family(
        "run_info",
        "The run: its fleet, how often that was launched, the kind of its broker.",
        ("fleet", "launch", "broker"),
        lambda figures: [((figures.fleet, str(figures.launch), figures.broker), 1)],
    ),
    Family("handsets", "Handsets of the fleet.", (), lambda figures: [((), figures.handset_count)]),
    Family(
        "processes",
        "Processes of the run; of a late one the figures are those that it gave last.",
        ("state",),
        _processes,
    ),
    Family(
        "simulated_time_seconds",
        "The simulated time, in seconds since 1970.",
        (),
        lambda figures: [((), figures.now_s)],
    ),
    Family(
        "simulated_run_seconds",
        "Simulated seconds since this launch.",
        (),
        lambda figures: [((), figures.simulated_s)],
    ),
    Family(
        "messages_total",
        "PDUs sent, each counted once; up is from handsets, down to them, inside over no air.",
        ("bearer", "direction"),
        _traffic(lambda way: way["sent"]["messages"]),
    ),
    Family(
        "octets_total",
        "Octets of the PDUs sent, as they go over the air.",
        ("bearer", "direction"),
        _traffic(lambda way: way["sent"]["octets"]),
    ),
    Family(
        "received_messages_total",
        "PDUs taken from the network, before the air of those that go down.",
        ("bearer", "direction"),
        _traffic(lambda way: way["received"]["messages"]),
    ),
    Family(
        "received_octets_total",
        "Octets of the PDUs taken from the network.",
        ("bearer", "direction"),
        _traffic(lambda way: way["received"]["octets"]),
    ),
    Family("retries_total", "PDUs sent again.", ("bearer",), _of_bearers(lambda counts: counts["retries"])),
    Family(
        "losses_total",
        "PDUs that the air did not deliver.",
        ("bearer",),
        _of_bearers(lambda counts: counts["lost"]),
    ),
    Family(
        "air_seconds_total",
        "Simulated seconds that PDUs were on the air, those of different handsets added up.",
        ("bearer",),
        _of_bearers(lambda counts: counts["air_s"]),
    ),
    Family("dropped_total", "Payloads thrown away.", ("reason",), _dropped),
    Family(
        "refusals_total",
        "Orders of the console, and questions between roles, that were refused.",
        ("what", "reason"),
        _refused,
    ),
    Family("crashes_total", "Crashes of actors: faults of our own.", ("role",), _crashes),
    Family(
        "resources", "Resources of the modules, as their DEF say, and those released.", ("state",), _resources
    ),
    Family(
        "mailbox_messages",
        "Messages that wait in mailboxes; those of all handsets together.",
        ("role", "agent"),
        _mailboxes,
    ),
    Family("steps", "Steps of the config.", (), lambda figures: [((), figures.step_count)]),
    Family("step_number", "The step that was begun last, from 1; 0 before the first.", (), _step_number),
    Family(
        "step_targets",
        "Targets of each step that was begun, by result; open: not ended.",
        ("number", "do", "service", "result"),
        _targets,
    ),
)
"""Every metric there is; what only grows is a counter, the others are gauges."""


class _Collected:
    """The families of *figures*, as prometheus-client's writers want them."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        return map(self._metric, FAMILIES)

    def _metric(self, family: Family) -> Metric:
        kind = CounterMetricFamily if family.is_counter else GaugeMetricFamily
        metric = kind(f"{ROOT}_{family.name}", family.help, labels=family.labels)
        for labels, value in family.rows(self._figures):
            metric.add_metric(labels, value)
        return metric


def page_of(figures: Figures) -> bytes:
    """Return *figures* in Prometheus's text format."""
    return generate_latest(_Collected(figures))
