"""A process that hosts handsets for a fleet launched by another: ``python -m agents.fleet.worker``.

Started by ``crew`` and spoken to in lines of JSON: its first line of input is its :class:`Assignment`; it
says ``{"ready": true}`` when its handsets are on, answers each further line, with a :class:`HandsetSummary`,
with :class:`HandsetFigures` or with how many pages it has received, and ends when its input does, so that it
never outlives who started it. What goes wrong is its last line: ``{"error": "a sentence"}``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agents.errors import AgentError, FleetError
from agents.fleet.captures import open_capture
from agents.fleet.config import load_config
from agents.fleet.exports import open_spans
from agents.fleet.failures import as_fleet_error
from agents.fleet.loop import loop_factory
from agents.fleet.radio import Radio
from agents.fleet.resources import quiet_collector
from agents.fleet.state import Launch, open_log
from agents.fleet.surroundings import Surroundings
from agents.fleet.weather import clock_of
from bus import tracing
from bus.actor import ActorGroup
from bus.address import BrokerAddress, TlsSettings
from bus.client import Companions
from bus.clock import Origin, SystemClock
from bus.counters import Counters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

RECEIVED: Final = "received"
"""How many pages has it received? Also the name of the answer."""
FIGURES: Final = "figures"
"""What do its handsets come to at this moment?"""
SUMMARY: Final = "summary"
"""What has become of its handsets?"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a worker needs to know; it travels on its standard input, for it holds secrets."""

    config: str
    fingerprints: dict[str, str]
    """Of the config that the launcher read: a file edited in between is refused."""
    broker: BrokerAddress = dataclasses.field(repr=False)
    launch: Launch
    share: int
    processes: int
    log_level: str
    capture: str | None = None
    """The file to capture into: a part of the run's."""
    otlp: str | None = dataclasses.field(default=None, repr=False)
    """The collector that spans are exported to, if the command line names one."""

    def encode(self) -> str:
        """Return this as one line of JSON."""
        values = dataclasses.asdict(self)
        values["launch"]["console_key"] = self.launch.console_key.hex()
        return json.dumps(values, default=str)

    @classmethod
    def parse(cls, line: str) -> Assignment:
        """Read what ``encode`` wrote."""
        values: dict[str, Any] = json.loads(line)
        broker, launch = values.pop("broker"), values.pop("launch")
        origin = launch["origin"]
        tls = broker.pop("tls")
        files = {name: Path(value) if value else None for name, value in (tls or {}).items()}
        return cls(
            broker=BrokerAddress(tls=TlsSettings(**files) if tls else None, **broker),
            launch=Launch(
                directory=Path(launch["directory"]),
                number=launch["number"],
                console_key=bytes.fromhex(launch["console_key"]),
                begun_s=launch["begun_s"],
                origin=Origin(**origin) if origin else None,
            ),
            **values,
        )


async def work(assignment: Assignment, lines: asyncio.StreamReader) -> None:
    """Host the handsets of *assignment* until *lines* end."""
    config = load_config(Path(assignment.config))
    if config.fingerprints() != assignment.fingerprints:
        raise FleetError(f"{assignment.config}: was changed while the fleet was being launched")
    counters = Counters()
    async with AsyncExitStack() as stack:
        process = f"handsets-{assignment.share + 1}"
        clock = clock_of(config.air, assignment.launch.origin)
        stack.enter_context(open_log(assignment.launch, process, assignment.log_level, clock))
        log = tracing.get_logger()
        exported = open_spans(
            config, assignment.launch, process, url=assignment.otlp, clock=clock, log=log, say=_launcher_says
        )
        await stack.enter_async_context(exported)
        group = await stack.enter_async_context(ActorGroup(log=log, counters=counters))
        around = Surroundings(
            config=config,
            launch=assignment.launch,
            broker=assignment.broker,
            companions=Companions(),
            clock=clock,
            ground=SystemClock(),
            counters=counters,
            log=log,
            group=group,
            capture=open_capture(stack, assignment.capture, log),
        )
        radio = Radio(around, stack, share=assignment.share, processes=assignment.processes)
        await radio.open()
        stack.enter_context(quiet_collector())
        stack.push_async_callback(group.stop, drain=False)
        _say({"ready": True})
        while line := await lines.readline():
            _say(await _ANSWERS[line.decode().strip()](radio, counters))


async def _received(radio: Radio, _counters: Counters) -> dict[str, Any]:
    return {RECEIVED: await radio.received()}


async def _figures(radio: Radio, counters: Counters) -> dict[str, Any]:
    return dataclasses.asdict(replace(await radio.walk.figures(), counts=counters.snapshot()))


async def _summary(radio: Radio, counters: Counters) -> dict[str, Any]:
    return dataclasses.asdict(radio.summary(counts=counters.snapshot()))


_ANSWERS: Final[Mapping[str, Callable[[Radio, Counters], Awaitable[dict[str, Any]]]]] = {
    RECEIVED: _received,
    FIGURES: _figures,
    SUMMARY: _summary,
}
"""What a worker says, by what it is asked."""


def _launcher_says(_sentence: str) -> None:
    """Leave it to the launcher to tell the person that a collector is away: it meets the same one."""


def _say(values: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


async def _main() -> None:
    lines = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    assignment = Assignment.parse((await lines.readline()).decode())
    try:
        with as_fleet_error():
            await work(assignment, lines)
    except (AgentError, OSError) as error:
        _say({"error": str(error)})
    finally:
        transport.close()


def main() -> None:
    """Work until the input ends; Ctrl-C is for the launcher, which ends the input when it has cleaned up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_main())


if __name__ == "__main__":
    main()
