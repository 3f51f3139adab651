"""The steps: who is ordered to do what, what is waited for, and what is remembered."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agents.console import CONSOLE
from agents.fleet import asking
from agents.fleet.expectations import Outcome, Result
from agents.fleet.progress import Progress
from agents.fleet.state import Ledger
from agents.fleet.steps import Runner
from agents.messages.codec import decode, encode
from agents.messages.orders import BroadcastOrder, Event, Order
from agents.store.tables import FLEET
from bus.clock import SystemClock
from bus.frame import Bearer
from bus.topics import Events, Orders
from tests.agents.fleet_kit import fleet_config, surroundings
from tests.agents.role_kit import TRACE, open_kit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from agents.fleet.config import FleetConfig
    from agents.fleet.report import StepReport
    from bus.address import BrokerAddress
    from bus.frame import Frame, TraceContext
    from tests.agents.role_kit import Kit

Answer = tuple[str, str, bytes]


def step(do: str, more: str = "") -> str:
    """Return a step of a config."""
    return f'\n[[step]]\ndo = "{do}"\n{more}\n'


class Watched(Progress):
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.started: list[tuple[int, int]] = []
        self.advanced = 0
        self.finished: list[StepReport] = []
        self.notes: list[str] = []

    def note(self, sentence: str) -> None:
        """Keep it."""
        self.notes.append(sentence)

    def step_started(self, index: int, step: object, total: int) -> None:
        """Keep it."""
        assert step
        self.started.append((index, total))

    def advance(self, index: int, n: int = 1) -> None:
        """Count it."""
        assert index >= 0
        self.advanced += n

    def step_finished(self, index: int, report: StepReport) -> None:
        """Keep it."""
        assert index == report.number - 1
        self.finished.append(report)


class Stage:
    """A runner, and in the place of all agents one that keeps its orders and answers as it is told."""

    def __init__(self, kit: Kit, config: FleetConfig, ledger: Ledger, runner: Runner) -> None:
        self.kit = kit
        self.config = config
        self.ledger = ledger
        self.runner = runner
        self.progress = Watched()
        self.orders: list[tuple[str, Order]] = []
        self.answer: Callable[[str, Order], list[Answer]] = lambda _agent, _order: [("ok", "", b"")]

    def received(self, frame: Frame, topic: str) -> None:
        """Take an order, and answer."""
        agent = topic.rpartition("/")[2]
        order = self.kit.console.open(frame, Order, to=agent)
        self.orders.append((agent, order))
        for answer in self.answer(agent, order):
            self.tell(frame, answer)

    def tell(self, frame: Frame, answer: Answer = ("ok", "", b"")) -> None:
        """Report what became of the order in *frame*."""
        order = self.kit.console.open(frame, Order, to=frame.destination)
        result, reason, output = answer
        event = Event(
            run=order.run,
            do=order.do,
            ua=order.ua,
            service=order.service,
            result=result,
            reason=reason,
            output=output,
        )
        client = self.kit.clients["agents"]
        report = self.kit.console.report(client, event, source="agent", trace=frame.trace)
        self.kit.group.spawn(report, name="agent")


@asynccontextmanager
async def open_stage(
    kit: Kit, steps: str, *, window: int = 128, edit: tuple[str, str] = ("", "")
) -> AsyncIterator[Stage]:
    """Open a stage for a config with these steps."""
    config = fleet_config(kit.directory, steps, name=kit.fleet, edit=edit)
    ledger = Ledger(await kit.store("fleet", FLEET))
    await ledger.load()
    watched = Watched()
    runner = Runner(surroundings(kit, config), await kit.client("runner"), ledger, watched, window=window)
    stage = Stage(kit, config, ledger, runner)
    stage.progress = watched
    agents = ["mno", "bank", "personaliser.root", *(ua for ua, _ in config.handset_addresses())]
    topics = [Orders(fleet=kit.fleet, agent=agent) for agent in agents]
    await (await kit.client("agents")).subscribe(topics, stage.received)
    await runner.start()
    yield stage


@pytest.mark.parametrize(
    ("do", "agent"),
    [
        ("personalise", "personaliser.root"),
        ("agree", "bank"),
        ("subscribe", "ua"),
        ("reserve", "mno"),
        ("activate", "mno"),
        ("serve", "ua"),
        ("block", "mno"),
        ("unblock", "mno"),
        ("renew", "mno"),
        ("release", "mno"),
        ("compact", "mno"),
        ("audit", "mno"),
        ("set-clock", "ua"),
    ],
)
async def test_each_order_goes_to_the_agent_whose_business_it_is(kit: Kit, do: str, agent: str) -> None:
    """Factory, supplier, operator or the handset itself; every target once."""
    async with open_stage(kit, step(do, "by_s = 60" if do == "set-clock" else "")) as stage:
        report, outcomes = await stage.runner.play(0)
        targets = stage.config.targets(stage.config.steps[0])
        assert sorted((order.ua, order.service) for _, order in stage.orders) == sorted(targets)
        assert all(who == (order.ua if agent == "ua" else agent) for who, order in stage.orders)
        assert {order.do for _, order in stage.orders} == {do}
        assert (report.targets, report.ok, outcomes.do) == (len(targets), len(targets), do)


@pytest.mark.parametrize(("by", "agent"), [("user", "ua"), ("supplier", "bank")])
async def test_an_application_is_run_by_its_user_or_its_supplier(kit: Kit, by: str, agent: str) -> None:
    """The handset gets the input with the step's number in it, the supplier its order."""
    more = f'service = "loyalty"\nby = "{by}"\n' + ('input = "01{step}05"' if by == "user" else "")
    async with open_stage(kit, step("invoke", more)) as stage:
        await stage.runner.play(0)
        assert len(stage.orders) == 2
        for who, order in stage.orders:
            assert who == (order.ua if agent == "ua" else agent)
            assert order.argument == (bytes.fromhex("010000000105") if by == "user" else b"")


@pytest.mark.parametrize(
    ("do", "more", "argument"),
    [
        ("renew", "", b"0 0"),
        ("renew", "for_s = 60", b"60 0"),
        ("renew", "executions = 5", b"0 5"),
        ("renew", "for_s = 60\nexecutions = 5", b"60 5"),
        ("set-clock", "by_s = -86400", b"-86400"),
        ("set-clock", "by_s = 0", b"0"),
        ("release", "", b""),
    ],
)
async def test_an_order_says_what_its_step_says(kit: Kit, do: str, more: str, argument: bytes) -> None:
    """Limits in seconds and executions, a clock's error; an order that needs nothing says nothing."""
    async with open_stage(kit, step(do, more)) as stage:
        await stage.runner.play(0)
        assert {order.argument for _, order in stage.orders} == {argument}


async def test_a_wait_orders_nobody_anything(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Simulated time passes, as much as the step says; waited once, it is not waited for again."""
    steps = step("wait", "for_s = 60")
    async with (
        open_kit(broker, fleet, tmp_path, log, clock=SystemClock(2000.0)) as kit,
        open_stage(kit, steps, edit=("[broker]", "[air]\nspeed = 2000.0\n\n[broker]")) as stage,
    ):
        begun = kit.clock.now()
        report, outcomes = await stage.runner.play(0)
        assert kit.clock.now() - begun >= 60
        (outcome,) = outcomes.outcomes
        assert (outcome.ua, outcome.service, outcome.result) == ("", "", Result.OK)
        assert outcome.latency_s >= 60
        assert (report.targets, report.ok, report.expected) == (1, 1, False)
        assert stage.progress.advanced == 1
        again, outcomes = await stage.runner.play(0)
        assert outcomes.outcomes == [outcome]
        assert again.ok == 1
        assert stage.orders == []


async def test_a_handset_is_told_again_what_it_has_forgotten(kit: Kit) -> None:
    """Switched off it forgets the time that it was told: the last word is said again, and no other."""
    steps = "".join(
        (
            step("set-clock", "by_s = 86400"),
            step("set-clock", 'handsets = ["city"]\nby_s = 0'),
            step("set-clock", 'handsets = ["coast"]\nby_s = -60'),
            step("set-clock", 'handsets = ["coast"]\nby_s = -90'),
        )
    )
    async with open_stage(kit, steps) as stage:
        for index in range(3):
            await stage.runner.play(index)
        stage.orders.clear()
        for index in range(4):
            report, _ = await stage.runner.play(index)
            assert report.ok == report.targets
        groups = dict(stage.config.handset_addresses())
        told = sorted((groups[order.ua], order.argument) for _, order in stage.orders)
        assert told == [("city", b"0"), ("city", b"0"), ("coast", b"-60"), ("coast", b"-90")]


async def test_a_handset_that_was_off_is_switched_off_again(kit: Kit) -> None:
    """A launch begins with handsets that are on: the last word on each one's power is said again."""
    steps = "".join(
        (
            step("switch-off"),
            step("set-clock", "by_s = 60"),
            step("switch-on", 'handsets = ["city"]'),
        )
    )
    async with open_stage(kit, steps) as stage:
        for index in range(3):
            await stage.runner.play(index)
        stage.orders.clear()
        for index in range(3):
            await stage.runner.play(index)
        groups = dict(stage.config.handset_addresses())
        told = sorted((groups[order.ua], order.do) for _, order in stage.orders)
        assert told == [
            ("city", "set-clock"),
            ("city", "set-clock"),
            ("city", "switch-on"),
            ("city", "switch-on"),
            ("coast", "set-clock"),
            ("coast", "switch-off"),
        ]


async def test_outcomes_are_what_the_agents_say(kit: Kit) -> None:
    """Result, reason and output of each event; the report counts them and says what was not expected."""
    steps = step("reserve", 'service = "account"\nexpect = { ok = "all" }')
    async with open_stage(kit, steps) as stage:
        uas = [ua for ua, _ in stage.config.handset_addresses()]
        said = {
            uas[0]: ("ok", "", b"\x05"),
            uas[1]: ("refused", "blocked", b""),
            uas[2]: ("failed", "x", b""),
        }
        stage.answer = lambda _agent, order: [said[order.ua]]
        report, outcomes = await stage.runner.play(0)
        by_ua = {outcome.ua: outcome for outcome in outcomes.outcomes}
        for ua, (result, reason, output) in said.items():
            outcome = by_ua[ua]
            assert (outcome.result, outcome.reason, outcome.output) == (Result(result), reason, output)
            assert outcome.latency_s >= 0
        assert (report.ok, report.refused, report.failed) == (1, 1, 1)
        (missed,) = report.missed
        assert missed.startswith("step 1 reserve")
        assert missed.endswith("expected 3 ok, got 1 (1 refused: blocked; 1 failed: x)")
        assert stage.progress.started == [(0, 3)]
        assert stage.progress.advanced == 3
        assert stage.progress.finished == [report]


async def test_what_has_ended_is_remembered_and_not_ordered_again(kit: Kit) -> None:
    """The ledger has each target when the step is over; played again, the step costs no order."""
    async with open_stage(kit, step("reserve", 'service = "account"')) as stage:
        first, _ = await stage.runner.play(0)
        orders = len(stage.orders)
        assert orders == len(stage.ledger) == 3
        again, outcomes = await stage.runner.play(0)
        assert len(stage.orders) == orders
        assert (again.ok, again.targets) == (first.ok, first.targets)
        assert {outcome.result for outcome in outcomes.outcomes} == {Result.OK}


async def test_only_what_is_left_is_played(kit: Kit) -> None:
    """A target that an earlier launch ended counts with the outcome it had."""
    async with open_stage(kit, step("reserve", 'service = "account"')) as stage:
        ua = kit.ua()
        done = Outcome(ua=ua, service="account", result=Result.REFUSED, reason="zone-full")
        await stage.ledger.keep(1, done, started=0.0)
        report, outcomes = await stage.runner.play(0)
        assert ua not in {order.ua for _, order in stage.orders}
        assert (report.ok, report.refused) == (2, 1)
        assert done in outcomes.outcomes


@pytest.mark.parametrize(
    ("expect", "again"),
    [
        ("", 3),
        ('expect = { ok = "all" }', 3),
        ('expect = { failed = "< 4" }', 3),
        ("expect = { failed = 3 }", 0),
    ],
    ids=["nothing", "ok", "a-bound", "failures"],
)
async def test_failures_are_tried_again_but_where_they_were_expected(
    kit: Kit, expect: str, again: int
) -> None:
    """A resumed run orders what failed once more, unless the step was to show just that it fails."""
    async with open_stage(kit, step("block", f'service = "account"\n{expect}')) as stage:
        stage.answer = lambda _agent, _order: [("failed", "no-answer", b"")]
        report, _ = await stage.runner.play(0)
        assert (report.failed, len(stage.orders)) == (3, 3)
        stage.orders.clear()
        report, _ = await stage.runner.play(0)
        assert (report.failed, len(stage.orders)) == (3, again)


async def test_an_order_that_nobody_answers_is_given_again_and_then_has_failed(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many attempts as there are; then the target has failed, and the step goes on."""
    monkeypatch.setattr(asking, "ORDER_TIMEOUT_S", 0.01)
    async with open_stage(kit, step("agree", 'service = "account"')) as stage:
        stage.answer = lambda _agent, _order: []
        report, outcomes = await stage.runner.play(0)
        (outcome,) = outcomes.outcomes
        assert (outcome.result, outcome.reason) == (Result.FAILED, "no-answer")
        assert report.failed == 1
        topic = Orders(fleet=kit.fleet, agent="bank")
        assert len(await kit.wire.until(topic, asking.ATTEMPTS)) == asking.ATTEMPTS


async def test_the_first_word_counts(kit: Kit) -> None:
    """An agent that was asked twice tells twice: the second changes nothing."""
    async with open_stage(kit, step("agree", 'service = "account"')) as stage:
        stage.answer = lambda _agent, _order: [("ok", "", b""), ("refused", "late", b"")]
        report, _ = await stage.runner.play(0)
        assert (report.ok, report.refused) == (1, 0)
        await kit.wire.until(Events(fleet=kit.fleet), 2)


def event(
    kit: Kit,
    order: Frame,
    result: str,
    *,
    run: int = 1,
    service: str = "account",
    trace: TraceContext | None = None,
) -> Frame:
    """Return the frame of an event about an agreement, as its agent tells it under the order's trace."""
    told = Event(run=run, do="agree", ua="", service=service, result=result, reason="", output=b"")
    return kit.sealed(
        encode(told), use="Event", bearer=Bearer.EVENT, to=CONSOLE, source="bank", trace=trace or order.trace
    )


async def test_two_words_at_once_are_one(kit: Kit) -> None:
    """Both in one reading of the socket, before the runner could look: still the first counts."""
    async with open_stage(kit, step("agree", 'service = "account"')) as stage:
        stage.answer = lambda _agent, _order: []
        playing = asyncio.create_task(stage.runner.play(0))
        (order,) = await kit.wire.until(Orders(fleet=kit.fleet, agent="bank"))
        for result in ("ok", "refused"):
            kit.clients["runner"].inject(Events(fleet=kit.fleet), event(kit, order, result))
        report, _ = await playing
        assert (report.ok, report.refused) == (1, 0)


async def test_events_of_others_are_not_believed(kit: Kit) -> None:
    """Altered, of another run, of another trace or service, told before: the order waits for its own."""
    async with open_stage(kit, step("agree", 'service = "account"')) as stage:
        stage.answer = lambda _agent, _order: []
        playing = asyncio.create_task(stage.runner.play(0))
        (order,) = await kit.wire.until(Orders(fleet=kit.fleet, agent="bank"))
        refused = event(kit, order, "refused")
        altered = replace(refused, pdu=refused.pdu[:-1] + bytes([refused.pdu[-1] ^ 1]))
        other = event(kit, order, "refused", trace=TRACE)
        earlier = event(kit, order, "refused", run=2)
        about_another = event(kit, order, "refused", service="loyalty")
        for frame in (altered, earlier, other, other, about_another):
            kit.clients["runner"].inject(Events(fleet=kit.fleet), frame)
        for reason in ("not-from-the-console", "of-an-earlier-run", "replayed"):
            assert kit.counters.drops(reason) == 1
        stage.tell(order)
        report, _ = await playing
        assert (report.ok, report.refused) == (1, 0)


async def test_an_order_that_is_carried_out_is_not_said_again(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told that it is under way, the console waits as long once more before it repeats it."""
    monkeypatch.setattr(asking, "ORDER_TIMEOUT_S", 0.5)
    async with open_stage(kit, step("agree", 'service = "account"')) as stage:
        stage.answer = lambda _agent, _order: (
            [("under-way", "", b"half of it")] if len(stage.orders) == 1 else []
        )
        playing = asyncio.create_task(stage.runner.play(0))
        first, again = await kit.wire.until(Orders(fleet=kit.fleet, agent="bank"), 2)
        assert again.sent_at - first.sent_at >= 1.0
        assert stage.progress.notes == ["agree account: half of it"]
        stage.tell(again)
        report, _ = await playing
        assert report.ok == 1


async def test_a_campaign_that_is_begun_is_seen_to_its_end_by_a_later_step(kit: Kit) -> None:
    """Handsets tell meanwhile; how late counts from the order on, and the targets are the broadcast's."""
    steps = step("broadcast", 'service = "loyalty"\nwait = false') + step(
        "finish-campaign", 'service = "loyalty"'
    )
    is_global = ('name = "loyalty"\n', 'name = "loyalty"\nscope = "global"\n')
    async with open_stage(kit, steps, edit=is_global) as stage:
        begun, _ = await stage.runner.play(0)
        assert (begun.targets, begun.ok) == (1, 1)
        (order,) = kit.wire.on(Orders(fleet=kit.fleet, agent="bank"))
        handsets = stage.config.targets(stage.config.steps[1])
        for ua, service in handsets:
            told = Event(run=1, do="broadcast", ua=ua, service=service, result="ok", reason="", output=b"")
            frame = kit.sealed(
                encode(told), use="Event", bearer=Bearer.EVENT, to=CONSOLE, source=ua, trace=order.trace
            )
            kit.clients["runner"].inject(Events(fleet=kit.fleet), frame)
        report, outcomes = await stage.runner.play(1)
        assert (report.targets, report.ok) == (len(handsets), len(handsets)) == (2, 2)
        assert order.trace.trace_id in outcomes.traces
        assert [(order.do, order.argument) for _, order in stage.orders][1:] == [("finish-campaign", b"")]


async def test_a_campaign_that_is_stopped_refuses_who_did_not_hear_it(kit: Kit) -> None:
    """With the supplier's reason; it is ordered with all that its step says."""
    more = (
        'service = "loyalty"\nstages = [100]\nsuccess = 0.9\nerrors = 0.1\nreport_share = 0.5\n'
        "deadline_s = 60"
    )
    is_global = ('name = "loyalty"\n', 'name = "loyalty"\nscope = "global"\n')
    async with open_stage(kit, step("broadcast", more), edit=is_global) as stage:
        stage.answer = lambda _agent, _order: [("refused", "too-many-errors", b"")]
        report, _ = await stage.runner.play(0)
        assert (report.refused, report.reasons) == (2, {"too-many-errors": 2})
        ((_, order),) = stage.orders
        assert decode(order.argument, BroadcastOrder) == BroadcastOrder(
            version=1,
            report_share=0.5,
            report_within_s=60,
            stages=[100],
            success=0.9,
            errors=0.1,
            deadline_s=60,
        )


async def test_no_more_are_under_way_than_the_window_allows(kit: Kit) -> None:
    """With a window of two the third order waits until one has ended."""
    async with open_stage(kit, step("reserve"), window=2) as stage:
        stage.answer = lambda _agent, _order: []
        playing = asyncio.create_task(stage.runner.play(0))
        topic = Orders(fleet=kit.fleet, agent="mno")
        targets = len(stage.config.targets(stage.config.steps[0]))
        assert targets == 5
        for number in range(targets):
            seen = min(number + 2, targets)
            frames = await kit.wire.until(topic, seen)
            assert len(frames) == seen
            stage.tell(frames[number])
        report, _ = await playing
        assert report.ok == targets


async def test_a_step_without_targets_is_over_at_once(kit: Kit) -> None:
    """Nothing to do is nothing done: no order, a report of none."""
    steps = step("block", 'handsets = ["coast"]\nservice = "account"')
    async with open_stage(kit, steps.replace('"coast"', '"city"')) as stage:
        for ua, service in stage.config.targets(stage.config.steps[0]):
            done = Outcome(ua=ua, service=service, result=Result.OK)
            await stage.ledger.keep(1, done, started=0.0)
        report, _ = await stage.runner.play(0)
        assert stage.orders == []
        assert report.targets == report.ok == 2
