"""Commands about a whole fleet: ``up`` and ``check``."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 -- typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from agents.cli.telling import (
    EXIT_CONFIG,
    EXIT_FAILED,
    ConfigArgument,
    complain,
    load,
    make_console,
    put,
    run_until_terminated,
    told_in_sentences,
)
from agents.errors import FleetError
from agents.fleet.campaign_picture import draw

if TYPE_CHECKING:
    from rich.console import Console

    from agents.fleet.report import Report

OWN_BROKERS: Final = ("auto", "mosquitto", "amqtt")


def _check_broker(url: str | None) -> str | None:
    """Refuse a broker that is none before anything starts."""
    from bus.address import BrokerAddress

    if url not in {None, *OWN_BROKERS}:
        try:
            BrokerAddress.from_url(str(url))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    return url


def _check_collector(url: str | None) -> str | None:
    """Refuse a collector that is none before anything starts."""
    from agents.fleet.exports import endpoint_of

    if url is not None:
        try:
            endpoint_of(url)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    return url


def _check_metrics(endpoint: str | None) -> str | None:
    """Refuse a port that is none before anything starts."""
    from agents.fleet.metrics_server import Endpoint

    if endpoint is not None:
        try:
            Endpoint.parse(endpoint)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    return endpoint


def up(  # noqa: PLR0913 -- each is an option of the command line
    config: ConfigArgument,
    *,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove the fleet's state and begin anew.")] = False,
    stay: Annotated[bool, typer.Option("--stay", help="Keep the fleet running after its last step.")] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as JSON.")] = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw whom broadcasts loaded, and when, as SVG."),
    ] = None,
    capture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write what goes over the air to a pcapng file."),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(metavar="URL", callback=_check_broker, help="Use this broker, not the config's."),
    ] = None,
    otlp: Annotated[
        str | None,
        typer.Option(
            metavar="URL", callback=_check_collector, help="Export spans to this OpenTelemetry collector."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, max=64, help="Processes that host the handsets; by default what suits."
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:]PORT", callback=_check_metrics, help="Let Prometheus ask there how the run goes."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but what is wrong.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log in detail.")] = False,
) -> None:
    """Launch the fleet, run its steps, print the report; exit 0 only if every expectation held."""
    from agents.fleet.metrics_server import Endpoint
    from agents.fleet.options import UpOptions
    from agents.fleet.progress import make_progress

    fleet = load(config)
    for what, file in (("report", report), ("picture", picture), ("capture", capture)):
        if file is not None and not file.parent.is_dir():
            complain([f"{file}: cannot write the {what}: there is no directory {file.parent}"])
            raise typer.Exit(EXIT_CONFIG)
    if picture is not None and all(step.do != "broadcast" for step in fleet.steps):
        complain([f"{picture}: there is nothing to draw: {config} has no step that broadcasts"])
        raise typer.Exit(EXIT_CONFIG)
    from agents.fleet.launch import run  # behind the checks: it brings every agent with it

    console = make_console(quiet=quiet)
    publisher = _Publisher(console, report, picture)
    options = UpOptions(
        fresh=fresh,
        stay=stay,
        broker_url=broker,
        workers=workers,
        log_level="debug" if verbose else "info",
        capture=str(capture) if capture else None,
        otlp=otlp,
        metrics=Endpoint.parse(metrics) if metrics is not None else None,
        on_report=publisher.publish,
    )
    with told_in_sentences():
        with make_progress(console, steps=len(fleet.steps), quiet=quiet) as progress:
            result = run_until_terminated(run(fleet, options, progress))
        publisher.publish(result)
    if not result.ok:
        complain((*result.missed, *result.faults) if quiet else ())
        raise typer.Exit(EXIT_FAILED)


class _Publisher:
    """Prints, writes and draws the report once: with ``--stay`` before the run returns, else after."""

    def __init__(self, console: Console, path: Path | None, picture: Path | None) -> None:
        self._console = console
        self._path = path
        self._picture = picture
        self._published = False

    def publish(self, report: Report) -> None:
        if self._published:
            return
        self._published = True
        report.render(self._console)
        if self._path is not None:
            write_report(report, self._path)
        if self._picture is not None:
            write_whole(draw(report.fleet, report.campaigns), self._picture, "picture")


def write_report(report: Report, path: Path) -> None:
    """Write *report* as JSON; whoever reads *path* sees it whole or not at all. Raises FleetError."""
    write_whole(json.dumps(report.to_json(), indent=2) + "\n", path, "report")


def write_whole(text: str, path: Path, what: str) -> None:
    """Write *text*, or none of it. Raises FleetError, which says *what* it was."""
    try:
        put(text.encode(), path)
    except OSError as error:
        raise FleetError(f"{path}: cannot write the {what}: {error.strerror}") from None


def check(config: ConfigArgument) -> None:
    """Say what is wrong with a config, in words, without running it."""
    fleet = load(config)
    console = make_console()
    counts = ", ".join(
        f"{count} {noun if count == 1 else plural}"
        for count, noun, plural in (
            (fleet.handset_count, "handset", "handsets"),
            (len(fleet.offers), "service", "services"),
            (len(fleet.steps), "step", "steps"),
        )
    )
    console.print(Text(f"{config}: good; {counts}"), soft_wrap=True, highlight=False)
    for group in fleet.handsets:
        addresses = fleet.group_addresses(group.name)
        services = ", ".join(group.services) or "no service"
        line = f"  {group.name}: {addresses[0]} to {addresses[-1]}, {services}"
        console.print(Text(line), soft_wrap=True, highlight=False)
