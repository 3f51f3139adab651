"""Launches a fleet: state, log, broker, roles, handsets; plays the steps; reports.

Everything is opened on one exit stack, in the order in which it is needed, and closed in the reverse order
however the run ends: a signal, a fault, or its last step.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agents.console import CONSOLE
from agents.errors import FleetError
from agents.fleet.captures import claim, gather, open_capture
from agents.fleet.crew import Crew, open_crew, workers_for
from agents.fleet.explanations import Explainer
from agents.fleet.exports import open_spans
from agents.fleet.failures import as_fleet_error
from agents.fleet.market import Market
from agents.fleet.measure import Played, make_report
from agents.fleet.metrics_server import MetricsServer, listen
from agents.fleet.radio import Radio
from agents.fleet.resources import peak_mib, quiet_collector
from agents.fleet.state import open_log, open_state
from agents.fleet.steps import Runner
from agents.fleet.surroundings import Surroundings
from agents.fleet.weather import clock_of
from agents.traces.gleaning import lengths
from bus import tracing
from bus.actor import ActorGroup
from bus.address import BrokerAddress, TlsSettings
from bus.broker import open_broker
from bus.client import Companions
from bus.clock import SystemClock
from bus.counters import Counters
from bus.log_file import warn_on_stderr

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from socket import socket

    from structlog.typing import FilteringBoundLogger

    from agents.fleet.config import BrokerTable, FleetConfig
    from agents.fleet.metrics_page import MetricsPage
    from agents.fleet.options import UpOptions
    from agents.fleet.progress import Progress
    from agents.fleet.report import Report
    from agents.fleet.state import FleetState

_PROCESS: Final = "otafleet"


async def run(config: FleetConfig, options: UpOptions, progress: Progress) -> Report:
    """Launch *config*'s fleet, play its steps and return the report.

    Raises FleetError, in one sentence, when the run cannot begin or go on.
    """
    with as_fleet_error():
        async with AsyncExitStack() as stack:
            return await _run(config, options, progress, stack)


async def _run(config: FleetConfig, options: UpOptions, progress: Progress, stack: AsyncExitStack) -> Report:
    ground = SystemClock()
    begun = ground.now()
    # Before anything is touched: a port that somebody else has is the person's mistake.
    listener = _listener(stack, options)
    state = await stack.enter_async_context(open_state(config, fresh=options.fresh))
    resumed = state.resumed
    clock = clock_of(config.air, state.launch.origin)
    logs = state.launch.log_file(_PROCESS).parent
    earlier = lengths(logs)
    written = stack.enter_context(open_log(state.launch, _PROCESS, options.log_level, clock))
    log = tracing.get_logger()
    exported = open_spans(
        config, state.launch, _PROCESS, url=options.otlp, clock=clock, log=log, say=warn_on_stderr
    )
    await stack.enter_async_context(exported)
    counters = Counters()
    workers = workers_for(config, options.workers)
    # Handsets write what is captured; with processes of their own, a part each.
    capture = open_capture(stack, None if workers else options.capture, log)
    simulated_from = clock.now()
    server = await _metrics_server(stack, listener, progress, log)
    broker = await stack.enter_async_context(_broker(config.broker, options, state, log))
    progress.note(f"broker: {broker.kind} at {broker.host}:{broker.port}")
    group = await stack.enter_async_context(ActorGroup(log=log, counters=counters))
    around = Surroundings(
        config=config,
        launch=state.launch,
        broker=broker,
        companions=Companions(),
        clock=clock,
        ground=ground,
        capture=capture,
        counters=counters,
        log=log,
        group=group,
    )
    market = Market(around, stack)
    await market.open()
    base_mib = peak_mib()
    handsets = await _switch_on(around, stack, options, workers)
    # The console's session is of this launch alone: what was said to an earlier one is nobody's business.
    console = await stack.enter_async_context(
        around.client(CONSOLE, persistent=False, owner={"agent": CONSOLE, "role": CONSOLE})
    )
    runner = Runner(around, console, state.ledger, progress, received=handsets.received)
    await runner.start()
    runner.goes_on(market.campaigns_under_way())
    await market.go_on()
    state.forget_previous()
    if server is not None:
        stack.enter_context(server.showing(_metrics_page(around, market, handsets, runner, simulated_from)))
    stack.enter_context(quiet_collector())
    # First of all at the end: whoever still works waits for what is about to be closed.
    stack.push_async_callback(group.stop, drain=False)
    if resumed:
        progress.note(f"resuming {state.launch.directory}: {len(state.ledger)} targets are done")
    log.info(
        "fleet.launched", fleet=config.fleet.name, launch=state.launch.number, handsets=config.handset_count
    )
    ended = [await runner.play(index) for index in range(len(config.steps))]
    report = make_report(
        around,
        market,
        await handsets.summaries(),
        Played(ended, await runner.so_far()),
        wall_s=ground.now() - begun,
        simulated_s=clock.now() - simulated_from,
        base_mib=base_mib,
        resumed=resumed,
    )
    if report.missed:
        explainer = Explainer(state.launch.directory, logs, earlier, written.flush)
        report = replace(report, explained=await explainer.explain(config.steps, ended))
    log.info("fleet.ended", fleet=config.fleet.name, ok=report.ok)
    options.on_report(report)
    if options.stay:
        progress.note("the fleet stays up; Ctrl-C stops it")
        await asyncio.Event().wait()
    return report


def _listener(stack: AsyncExitStack, options: UpOptions) -> socket | None:
    """Return what listens where metrics are asked for, if they are; closed with *stack*."""
    if options.metrics is None:
        return None
    listener = listen(options.metrics)
    stack.callback(listener.close)
    return listener


async def _metrics_server(
    stack: AsyncExitStack, listener: socket | None, progress: Progress, log: FilteringBoundLogger
) -> MetricsServer | None:
    if listener is None:
        return None
    server = await stack.enter_async_context(MetricsServer(listener, log=log))
    progress.note(f"metrics: {server.url}")
    return server


def _metrics_page(
    around: Surroundings, market: Market, handsets: Crew | Radio, runner: Runner, begun_s: float
) -> MetricsPage:
    """Return what is served; who does not ask for metrics does not wait for the library that writes them."""
    from agents.fleet.metrics_page import MetricsPage

    return MetricsPage(around, market, handsets, runner, begun_s=begun_s)


async def _switch_on(
    around: Surroundings, stack: AsyncExitStack, options: UpOptions, processes: int
) -> Crew | Radio:
    """Switch the handsets on: in *processes* of their own, or in ours."""
    if processes:
        if options.capture is not None:
            claim(Path(options.capture))
            stack.callback(gather, Path(options.capture), processes)
        crew = open_crew(around, processes, options)
        return await stack.enter_async_context(crew)
    radio = Radio(around, stack)
    await radio.open()
    return radio


def _broker(
    table: BrokerTable, options: UpOptions, state: FleetState, log: FilteringBoundLogger
) -> AbstractAsyncContextManager[BrokerAddress]:
    """Return the broker that the command line or the config names, to be entered."""
    url = options.broker_url or table.url
    directory = state.launch.directory / "broker"
    if "://" not in url:
        return open_broker(url, directory=directory, log=log, port=table.port)
    return open_broker(broker_address(table, url), directory=directory, log=log)


def broker_address(table: BrokerTable, url: str) -> BrokerAddress:
    """Return the external broker at *url*, with the config's user, password and TLS files.

    Raises FleetError when the password's environment variable is not set, or the parts do not go together.
    """
    password = table.password
    if table.password_env is not None:
        password = os.environ.get(table.password_env)
        if password is None:
            raise FleetError(f"broker.password_env: the environment has no variable {table.password_env}")
    files = {
        name: Path(value) if (value := getattr(table, name)) else None
        for name in ("ca_file", "certificate_file", "key_file")
    }
    tls = TlsSettings(**files) if any(files.values()) else None
    try:
        return BrokerAddress.from_url(url, username=table.username, password=password, tls=tls)
    except ValueError as error:
        raise FleetError(str(error)) from None
