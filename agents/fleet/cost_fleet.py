"""The fleet that ``cost`` measures: a supplier for each suite, a module for each form, a service a bearer.

It is a real fleet on a real broker, launched up to four times over one state directory. All launches play the
same steps, so each goes on where the one before ended:

* the first, on air that nothing waits for, prepares everything and has each service served, which loads its
  application; it is then served again. There is nothing to load any more: what goes over the air is the
  secure connection alone, and it is counted, with handsets and roles counting apart.
* the others, on air that takes its time, have each service served once more. What counts are simulated
  seconds, from the order to its end. Computing takes simulated time too, and the more of it the faster the
  clock runs, so there is a launch for short messages, one for such connections as take hundreds of them, and
  one for channels, each with a speed of its own. A few modules go at a time, each with its services in turn,
  the longest first.

The air is the config's, but loses, doubles and reorders nothing, has no outages and no spread of delays: what
chance does to one connection is nothing to compare connections by.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from agents.errors import FleetError
from agents.fleet.cost_config import PREPARATION, calm, step_number
from agents.fleet.cost_rows import Traffic
from agents.fleet.expectations import Result
from agents.fleet.failures import as_fleet_error
from agents.fleet.market import Market
from agents.fleet.progress import Progress
from agents.fleet.radio import Radio
from agents.fleet.state import open_log, open_state
from agents.fleet.steps import Runner
from agents.fleet.surroundings import Surroundings
from agents.fleet.weather import MAX, clock_of
from agents.messages.bearers import SMS
from bus import tracing
from bus.actor import ActorGroup
from bus.broker import open_broker
from bus.client import Companions
from bus.clock import SystemClock
from bus.counters import Counters
from bus.frame import Bearer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

    from agents.fleet.config import FleetConfig
    from agents.fleet.config_air import AirTable
    from agents.fleet.cost_rows import Tell, Way
    from agents.fleet.expectations import Outcome

LONG: Final = 60
"""Short messages and reports of a connection that is measured at more speed, for it takes minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pace:
    """Simulated seconds in a second, and how many modules go at a time: what one computes, all wait for."""

    speed: float
    at_a_time: int


_SMS: Final = _Pace(speed=8.0, at_a_time=6)
_LONG_SMS: Final = _Pace(speed=40.0, at_a_time=6)
_CHANNEL: Final = _Pace(speed=1.0, at_a_time=8)
_WINDOW: Final = 3
"""Targets of a step under way at once: to make RSA keys for more modules keeps the others from answering."""
_ON_AIR: Final = (Bearer.SMS, Bearer.REPORT, Bearer.BIP_TCP, Bearer.BIP_UDP)
_UP: Final = "up"
_DOWN: Final = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Launched:
    """The fleet while it is up: who gives the orders, and what each side counts that it sends."""

    config: FleetConfig
    runner: Runner
    counters: dict[str, Counters]

    async def play(self, index: int) -> Outcome:
        """Play step *index*; return how its last target ended. Raises FleetError unless all end well."""
        _, ended = await self.runner.play(index)
        for outcome in ended.outcomes:
            if outcome.result is not Result.OK:
                step = self.config.steps[index]
                what = " ".join(filter(None, (step.do, outcome.service)))
                raise FleetError(f"cost: {what}: {outcome.result} ({outcome.reason})")
        return ended.outcomes[-1]

    def sent(self) -> dict[str, tuple[int, int, int]]:
        """Return what each side has sent on the air so far: messages, octets, and how many were reports."""
        return {side: _sent(counters) for side, counters in self.counters.items()}


def _sent(counters: Counters) -> tuple[int, int, int]:
    bearers = counters.snapshot()["bearers"]
    carried = [bearers[name]["sent"] for name in _ON_AIR if name in bearers]
    reports = bearers[Bearer.REPORT]["sent"]["messages"] if Bearer.REPORT in bearers else 0
    return sum(each["messages"] for each in carried), sum(each["octets"] for each in carried), reports


@asynccontextmanager
async def _launched(config: FleetConfig) -> AsyncIterator[_Launched]:
    async with AsyncExitStack() as stack:
        state = await stack.enter_async_context(open_state(config, fresh=False))
        clock = clock_of(config.air, state.launch.origin)
        stack.enter_context(open_log(state.launch, "cost", "warning", clock))
        log = tracing.get_logger()
        counters = {_UP: Counters(), _DOWN: Counters()}
        broker = await stack.enter_async_context(
            open_broker(config.broker.url, directory=state.launch.directory / "broker", log=log)
        )
        group = await stack.enter_async_context(ActorGroup(log=log, counters=counters[_DOWN]))
        around = Surroundings(
            config=config,
            launch=state.launch,
            broker=broker,
            companions=Companions(),
            clock=clock,
            ground=SystemClock(),
            counters=counters[_DOWN],
            log=log,
            group=group,
        )
        await Market(around, stack).open()
        await Radio(replace(around, counters=counters[_UP]), stack).open()
        console = await stack.enter_async_context(around.client("console", persistent=False))
        runner = Runner(around, console, state.ledger, Progress(), window=_WINDOW)
        await runner.start()
        stack.push_async_callback(group.stop, drain=False)
        yield _Launched(config=config, runner=runner, counters=counters)


async def measure_traffic(
    config: FleetConfig, air: AirTable, ways: Sequence[Way], tell: Tell
) -> dict[Way, Traffic]:
    """Return what goes over the air for one connection of each way. Raises FleetError."""
    found: dict[Way, Traffic] = {}
    with as_fleet_error():
        async with _launched(config.model_copy(update={"air": calm(air, MAX)})) as fleet:
            for index, do in enumerate(PREPARATION):
                tell("the fleet is prepared", do)
                await fleet.play(index)
            for way in ways:
                tell("what goes over the air is counted", str(way))
                await fleet.play(step_number(ways, way, "load"))
                before = fleet.sent()
                await fleet.play(step_number(ways, way, "count"))
                found[way] = _difference(before, fleet.sent())
    return found


def _difference(before: dict[str, tuple[int, int, int]], after: dict[str, tuple[int, int, int]]) -> Traffic:
    up, down = (
        [late - early for early, late in zip(before[side], after[side], strict=True)] for side in (_UP, _DOWN)
    )
    return Traffic(
        messages_up=up[0],
        messages_down=down[0],
        octets_up=up[1],
        octets_down=down[1],
        reports=up[2] + down[2],
    )


async def measure_time(
    config: FleetConfig, air: AirTable, traffic: Mapping[Way, Traffic], tell: Tell
) -> dict[Way, float]:
    """Return the simulated seconds of one connection of each way in *traffic*. Raises FleetError."""
    found: dict[Way, float] = {}
    for pace in (_SMS, _LONG_SMS, _CHANNEL):
        turns = _turns([way for way in traffic if _pace(way, traffic[way]) is pace], traffic)
        if not turns:
            continue
        left = iter(turns)
        with as_fleet_error():
            async with (
                _launched(config.model_copy(update={"air": calm(air, pace.speed)})) as fleet,
                asyncio.TaskGroup() as tasks,
            ):
                for number in range(pace.at_a_time):
                    work = _take_turns(fleet, left, list(traffic), found, tell)
                    tasks.create_task(work, name=f"cost.{number}")
    return found


def _pace(way: Way, traffic: Traffic) -> _Pace:
    if way.bearer != SMS:
        return _CHANNEL
    return _LONG_SMS if traffic.messages_up + traffic.messages_down > LONG else _SMS


def _turns(ways: Iterable[Way], traffic: Mapping[Way, Traffic]) -> list[list[Way]]:
    """Return the ways of each module, those of the one with the most to say first."""
    modules: dict[tuple[str, str], list[Way]] = {}
    for way in ways:
        modules.setdefault((way.suite, way.form), []).append(way)
    return sorted(modules.values(), key=lambda own: sum(traffic[way].octets for way in own), reverse=True)


async def _take_turns(
    fleet: _Launched,
    left: Iterator[list[Way]],
    ways: Sequence[Way],
    found: dict[Way, float],
    tell: Tell,
) -> None:
    for own in left:
        for way in own:
            outcome = await fleet.play(step_number(ways, way, "time"))
            found[way] = outcome.latency_s
            tell("the clock runs on the air", str(way))
