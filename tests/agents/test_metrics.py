"""What a run tells Prometheus, held against Prometheus's own conventions and read by its own parser."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agents.fleet.config import Step, Verb
from agents.fleet.expectations import Outcome, Outcomes, Result
from agents.fleet.figures import (
    REST,
    STRIDE,
    UNREADABLE,
    CrewFigures,
    HandsetFigures,
    Pace,
    StepFigures,
    StepsPlayed,
    Walk,
)
from agents.fleet.metrics import FAMILIES, ROOT, Family, Figures, page_of
from agents.fleet.metrics_page import Shared
from agents.fleet.report import StepReport
from agents.handset.security_module.errors import ImageRejected
from bus.counters import MAX_REASONS, OTHERS, Counters
from bus.topics import DOWN, INSIDE, UP
from tests.agents.documents import PAGES

if TYPE_CHECKING:
    from prometheus_client.core import Metric

UA = "8988847800010000030"
BASE_UNITS = ("seconds",)
OTHER_UNITS = re.compile(r"_(ms|millis|milliseconds|minutes|hours|kib|mib|kilobytes|percent)(_|$)")
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
RESERVED = ("_count", "_sum", "_bucket", "_created", "_info")


def figures() -> Figures:
    """Return a run in which everything has happened."""
    counters = Counters()
    counters.sent("sms", 140, DOWN)
    counters.sent("sms", 60, UP)
    counters.sent("role", 10, INSIDE)
    counters.received("sms", 140, DOWN)
    counters.retried("sms")
    counters.lost("sms")
    counters.aired("sms", 1.5)
    counters.dropped("late")
    counters.refused("order", "blocked")
    counters.refused("question", "not-agreed")
    for agent in ("mno", UA, "air", UA):
        counters.crashed(agent)
    return Figures(
        fleet="town",
        launch=3,
        broker="mosquitto",
        handset_count=9,
        counts=counters.snapshot(),
        roles={"mno": "operator", "bank": "supplier"},
        waiting={"mno": 4, "bank": 0},
        crew=CrewFigures(
            handsets=[
                HandsetFigures(states={"loaded": 2, "blocked": 1}, waiting=5),
                HandsetFigures(states={"loaded": 3}, waiting=1),
            ],
            processes=2,
            answering=1,
        ),
        released=7,
        steps=[StepFigures(number=1, do="serve", service="account", targets={"ok": 5, "open": 4})],
        step_count=6,
        now_s=1_800_000_000.5,
        simulated_s=12.5,
    )


def read(page: bytes) -> dict[str, Metric]:
    """Return the families on a page, by name."""
    families = list(text_string_to_metric_families(page.decode()))
    assert len({family.name for family in families}) == len(families)
    return {family.name.removeprefix(f"{ROOT}_"): family for family in families}


def samples(page: bytes, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of one metric, by the values of its labels in the table's order."""
    labels = next(family.labels for family in FAMILIES if family.name == name)
    return {
        tuple(sample.labels[label] for label in labels): sample.value
        for sample in read(page)[name.removesuffix("_total")].samples
    }


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_names_keep_to_the_conventions(family: Family) -> None:
    """Words in small letters, base units last, ``_total`` for counters alone, and a sentence of help."""
    assert NAME.fullmatch(family.name)
    assert not OTHER_UNITS.search(family.name)
    assert not family.name.removesuffix("_info").endswith(RESERVED)
    if "seconds" in family.name:
        assert family.name.removesuffix("_total").endswith(BASE_UNITS)
    for label in family.labels:
        assert NAME.fullmatch(label)
        assert label not in {"le", "quantile", "job", "instance"}
        assert label not in family.name.split("_"), "a label is not said again in the name"
    assert family.help.endswith(".")
    assert not family.help.startswith(ROOT)


def test_a_page_has_every_metric_with_its_type_and_help() -> None:
    """The parser finds each family once, counters as counters, all others as gauges, in one prefix."""
    page = page_of(figures())
    found = read(page)
    assert set(found) == {family.name.removesuffix("_total") for family in FAMILIES}
    for family in FAMILIES:
        metric = found[family.name.removesuffix("_total")]
        assert metric.type == ("counter" if family.is_counter else "gauge")
        assert metric.documentation == family.help
        assert {sample.name for sample in metric.samples} <= {f"{ROOT}_{family.name}"}
        assert {label for sample in metric.samples for label in sample.labels} <= set(family.labels)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("messages_total", {("sms", "down"): 1, ("sms", "up"): 1, ("role", "inside"): 1}),
        ("octets_total", {("sms", "down"): 140, ("sms", "up"): 60, ("role", "inside"): 10}),
        ("received_messages_total", {("sms", "down"): 1, ("sms", "up"): 0, ("role", "inside"): 0}),
        ("received_octets_total", {("sms", "down"): 140, ("sms", "up"): 0, ("role", "inside"): 0}),
        ("retries_total", {("role",): 0, ("sms",): 1}),
        ("losses_total", {("role",): 0, ("sms",): 1}),
        ("air_seconds_total", {("role",): 0, ("sms",): 1.5}),
        ("dropped_total", {("late",): 1}),
        ("refusals_total", {("order", "blocked"): 1, ("question", "not-agreed"): 1}),
        ("crashes_total", {("air",): 1, ("handset",): 2, ("operator",): 1}),
        ("resources", {("blocked",): 1, ("loaded",): 5, ("released",): 7}),
        ("mailbox_messages", {("operator", "mno"): 4, ("supplier", "bank"): 0, ("handset", ""): 6}),
        ("processes", {("answering",): 2, ("late",): 1}),
        ("step_targets", {("1", "serve", "account", "ok"): 5, ("1", "serve", "account", "open"): 4}),
        ("step_number", {(): 1}),
        ("steps", {(): 6}),
        ("handsets", {(): 9}),
        ("run_info", {("town", "3", "mosquitto"): 1}),
        ("simulated_time_seconds", {(): 1_800_000_000.5}),
        ("simulated_run_seconds", {(): 12.5}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_metric_says_what_was_counted(name: str, values: dict[tuple[str, ...], float]) -> None:
    """Of all processes together, each number under its labels."""
    assert samples(page_of(figures()), name) == values


def test_before_the_first_step_nothing_is_begun() -> None:
    """The number of the step is 0, and no step has targets."""
    page = page_of(replace(figures(), steps=[]))
    assert samples(page, "step_number") == {(): 0}
    assert samples(page, "step_targets") == {}


def test_no_module_and_no_flood_of_reasons_is_a_label() -> None:
    """Addresses stay out, also those of modules that crash; reasons past the bound share one label."""
    counters = Counters()
    for number in range(3 * MAX_REASONS):
        counters.refused("order", f"reason-{number}")
        counters.crashed(f"{int(UA) + number}")
    page = page_of(replace(figures(), counts=counters.snapshot()))
    assert len(samples(page, "refusals_total")) == MAX_REASONS + 1
    assert samples(page, "refusals_total")["order", OTHERS] == 2 * MAX_REASONS
    assert samples(page, "crashes_total") == {("handset",): 3 * MAX_REASONS}
    assert not re.search(rb"\d{19}", page)


@pytest.mark.parametrize("reason", ['quo"ted', "back\\slash", "new\nline", "", "Ω"], ids=ascii)
def test_whatever_a_label_holds_the_page_is_read_back(reason: str) -> None:
    """A reason with marks of the format in it comes back as it was and adds no line of its own."""
    counters = Counters()
    counters.dropped(reason)
    page = page_of(replace(figures(), counts=counters.snapshot()))
    assert samples(page, "dropped_total") == {(reason,): 1}


def test_the_manual_has_every_metric_with_its_labels() -> None:
    """Its table is this one, row by row."""
    rows = re.findall(r"^\| `otafleet_(\w+)` \| (.*?) \|", PAGES["docs/tracing.md"], re.MULTILINE)
    assert {name: tuple(re.findall(r"\w+", labels)) for name, labels in rows} == {
        family.name: family.labels for family in FAMILIES
    }


# How far a run is


def test_the_steps_of_a_run_are_followed_target_by_target() -> None:
    """What has ended counts by result, what has not is open; afterwards the step's report is kept."""
    played = StepsPlayed()
    assert played.figures() == []
    outcomes: list[Outcome] = []
    played.begin(1, Step(do=Verb.SERVE, service="account"), 3, outcomes)
    outcomes.append(Outcome(ua=UA, service="account", result=Result.REFUSED, reason="blocked"))
    (step,) = played.figures()
    assert (step.number, step.do, step.service) == (1, "serve", "account")
    assert step.targets == {"ok": 0, "refused": 1, "failed": 0, "open": 2}
    ended = Outcomes(number=1, do="serve", outcomes=outcomes)
    played.end(StepReport.of(ended, service="account", seconds=1.0, missed=()))
    played.begin(2, Step(do=Verb.AGREE), 1, [])
    first, second = played.figures()
    assert first.targets == {"ok": 0, "refused": 1, "failed": 0, "open": 0}
    assert (second.number, second.service, second.targets["open"]) == (2, "", 1)


class Phone:
    """A handset, as far as a walk looks: how much waits, and the states that its DEF says, or None."""

    def __init__(self, waiting: int, *states: str | None) -> None:
        self.waiting = waiting
        self.module = self.definitions = self
        self._states = states
        self.looked_at = 0

    def all(self) -> list[Phone]:
        """Return its definitions."""
        self.looked_at += 1
        if None in self._states:
            raise ImageRejected("corrupt-slot")
        return [Defined(str(state)) for state in self._states]


class Defined(Phone):
    """A definition with a state."""

    def __init__(self, value: str) -> None:
        super().__init__(0)
        self.value = value
        self.state = self


class Town:
    """A cell of such handsets, and a clock that moves a second with each look at it."""

    def __init__(self, *phones: Phone) -> None:
        self.phones = {str(number): phone for number, phone in enumerate(phones)}
        self.seconds = 0.0

    def now(self) -> float:
        """Return the time, a second later each time."""
        self.seconds += 1
        return self.seconds


async def test_a_walk_adds_up_what_all_handsets_have() -> None:
    """States and waiting messages of every handset; of a module that cannot be read, that it cannot."""
    town = Town(Phone(1, "loaded", "blocked"), Phone(2, "loaded"), Phone(0), Phone(0, None))
    walk = Walk([town], town.now)  # type: ignore[list-item]
    found = await walk.figures()
    assert found == HandsetFigures(states={"loaded": 2, "blocked": 1, UNREADABLE: 1}, waiting=3)


async def test_a_walk_rests_longer_than_it_worked() -> None:
    """Asked again at once it looks at nobody, and tells what it found; rested, it looks anew."""
    phones = [Phone(0, "loaded") for _ in range(2 * STRIDE)]
    town = Town(*phones)
    walk = Walk([town], town.now)  # type: ignore[list-item]
    first = await walk.figures()
    worked_s = 2.0  # two strides of a second each
    assert await walk.figures() is first
    assert {phone.looked_at for phone in phones} == {1}
    town.seconds += worked_s * REST
    phones[0].waiting = 8
    assert (await walk.figures()).waiting == 8


def test_a_pace_is_a_twentieth_of_the_time() -> None:
    """What took a second is not done for nineteen more; what was never done may be done at once."""
    now = [0.0]
    pace = Pace(lambda: now[0])
    assert pace.is_rested
    pace.worked(1.0)
    now[0] = REST - 0.5
    assert not pace.is_rested
    now[0] = REST
    assert pace.is_rested


async def test_whoever_comes_while_a_page_is_made_gets_that_one() -> None:
    """Five who ask at once wait for one page, not for each other's; the next one has another made."""
    made: list[bytes] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def make() -> bytes:
        begun.set()
        await go_on.wait()
        made.append(b"page %d" % len(made))
        return made[-1]

    shared = Shared(make, Pace())
    first = asyncio.create_task(shared())
    await begun.wait()
    others = asyncio.gather(*(shared() for _ in range(4)))
    go_on.set()
    assert await first == b"page 0"
    assert await others == [b"page 0"] * 4
    assert await shared() == b"page 1"


async def test_who_waited_for_a_page_that_failed_has_one_made() -> None:
    """A fault is told to the one it befell; whoever waited behind it tries for itself."""
    tries: list[int] = []

    async def make() -> bytes:
        tries.append(1)
        if len(tries) == 1:
            raise LookupError("nothing there")
        return b"page"

    shared = Shared(make, Pace())
    one, other = await asyncio.gather(shared(), shared(), return_exceptions=True)
    assert isinstance(one, LookupError)
    assert other == b"page"
