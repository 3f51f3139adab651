"""The command ``otafleet``: what a person types, what it prints, and how it exits.

Exit codes: 0 all is well; 1 a run could not go on, or missed an expectation; 2 a config or a command line
that cannot be run; 130 stopped by Ctrl-C, 143 by SIGTERM. A fault of the person's, or of the world, is one
sentence on the standard error and never a traceback; a traceback is a fault of ours. Rooms are imported by
the commands that need them, so that ``--help`` does not wait for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from agents.errors import AgentError, ConfigError, FleetError
from agents.fleet.loop import loop_factory
from bus.errors import BusError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator

    from agents.fleet.config import FleetConfig
    from agents.fleet.report import Report

EXIT_FAILED: Final = 1
EXIT_CONFIG: Final = 2
EXIT_INTERRUPTED: Final = 130
EXIT_TERMINATED: Final = 143
BROKER_PORT: Final = 1883
OWN_BROKERS: Final = ("auto", "mosquitto", "amqtt")
PLAIN_WIDTH: Final = 100
"""Columns where there is no terminal to ask."""

T = TypeVar("T")

app = typer.Typer(
    name="otafleet",
    help="Launch a whole market of SIM security modules from one config file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG", help="The fleet's config, a TOML file.")]


def main() -> None:
    """Run the command line; the entry point of the distribution."""
    app()


def _check_broker(url: str | None) -> str | None:
    """Refuse a broker that is none before anything starts."""
    from bus.address import BrokerAddress

    if url not in {None, *OWN_BROKERS}:
        try:
            BrokerAddress.from_url(str(url))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    return url


def _print_version(wanted: bool) -> None:  # noqa: FBT001 -- typer calls it so
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"otafleet {version('otafleet')}")
        except PackageNotFoundError:
            typer.echo("otafleet, run from its sources without being installed")
        raise typer.Exit


@app.callback()
def otafleet(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Launch a whole market of SIM security modules from one config file."""


@app.command()
def up(  # noqa: PLR0913 -- each is an option of the command line
    config: ConfigArgument,
    *,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove the fleet's state and begin anew.")] = False,
    stay: Annotated[bool, typer.Option("--stay", help="Keep the fleet running after its last step.")] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as JSON.")] = None,
    capture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write what goes over the air to a pcapng file."),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(metavar="URL", callback=_check_broker, help="Use this broker, not the config's."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, max=64, help="Processes that host the handsets; by default what suits."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but what is wrong.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log in detail.")] = False,
) -> None:
    """Launch the fleet, run its steps, print the report; exit 0 only if every expectation held."""
    from agents.fleet.options import UpOptions
    from agents.fleet.progress import make_progress

    fleet = _load(config)
    for what, file in (("report", report), ("capture", capture)):
        if file is not None and not file.parent.is_dir():
            _complain([f"{file}: cannot write the {what}: there is no directory {file.parent}"])
            raise typer.Exit(EXIT_CONFIG)
    from agents.fleet.launch import run  # behind the checks: it brings every agent with it

    console = _console(quiet=quiet)
    publisher = _Publisher(console, report)
    options = UpOptions(
        fresh=fresh,
        stay=stay,
        broker_url=broker,
        workers=workers,
        log_level="debug" if verbose else "info",
        capture=str(capture) if capture else None,
        on_report=publisher.publish,
    )
    with _told_in_sentences():
        with make_progress(console, steps=len(fleet.steps), quiet=quiet) as progress:
            result = _run(run(fleet, options, progress))
        publisher.publish(result)
    if not result.ok:
        _complain((*result.missed, *result.faults) if quiet else ())
        raise typer.Exit(EXIT_FAILED)


class _Publisher:
    """Prints and writes the report once: with ``--stay`` before the run returns, else after."""

    def __init__(self, console: Console, path: Path | None) -> None:
        self._console = console
        self._path = path
        self._published = False

    def publish(self, report: Report) -> None:
        if self._published:
            return
        self._published = True
        report.render(self._console)
        if self._path is not None:
            write_report(report, self._path)


def write_report(report: Report, path: Path) -> None:
    """Write *report* as JSON; whoever reads *path* sees it whole or not at all. Raises FleetError."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise FleetError(f"{path}: cannot write the report: {error.strerror}") from None


@app.command()
def check(config: ConfigArgument) -> None:
    """Say what is wrong with a config, in words, without running it."""
    fleet = _load(config)
    console = _console()
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


@app.command()
def inspect(
    ua: Annotated[str, typer.Argument(metavar="UA", help="The module's address, 19 digits.")],
    *,
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The fleet's state directory; by default all in state/."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a module's memory map and its table of resources, DEF."""
    from agents.fleet.addresses import is_ua
    from agents.fleet.inspection import find_image, to_json
    from agents.fleet.memory_map import render_module

    if not is_ua(ua):
        _complain([f"{ua}: is no module's address: that has 19 digits, the last one after Luhn"])
        raise typer.Exit(EXIT_CONFIG)
    with _told_in_sentences():
        _, image = find_image(ua, [state] if state else sorted(Path("state").glob("*/")))
        if as_json:
            typer.echo(json.dumps(to_json(ua, image), indent=2))
        else:
            render_module(ua, image, _console())


@app.command()
def broker(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Listen here, on 127.0.0.1.")] = BROKER_PORT,
    directory: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the broker keeps its configuration and queues.")
    ] = Path("state/broker"),
) -> None:
    """Run the broker alone, until it is stopped."""
    with _told_in_sentences():
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FleetError(f"{directory}: cannot keep the broker's files: {error.strerror}") from None
        _run(_serve_broker(port, directory))


async def _serve_broker(port: int, directory: Path) -> None:
    from bus.broker import open_broker
    from bus.tracing import configure, get_logger

    with configure(directory / "log.jsonl", process="broker"):
        async with open_broker(
            "auto", directory=directory, log=get_logger(agent="broker"), port=port
        ) as address:
            typer.echo(f"{address.kind} listens at mqtt://{address}; Ctrl-C stops it")
            await asyncio.Event().wait()


def _console(*, quiet: bool = False) -> Console:
    console = Console(quiet=quiet)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PLAIN_WIDTH
    return console


def _load(path: Path) -> FleetConfig:
    from agents.fleet.config import load_config

    try:
        return load_config(path)
    except ConfigError as error:
        _complain(error.sentences)
        raise typer.Exit(EXIT_CONFIG) from None


@contextlib.contextmanager
def _told_in_sentences() -> Iterator[None]:
    """Turn what is not our fault into sentences and an exit code."""
    sentences: list[str] = []
    code = 0
    try:
        yield
    # Nothing is raised inside these clauses: it would come out wrapped in a group.
    except* (AgentError, BusError) as group:
        code = EXIT_FAILED
        sentences = list(dict.fromkeys(str(error) for error in _leaves(group)))
    except* KeyboardInterrupt:
        code = EXIT_INTERRUPTED
        sentences = ["stopped; the same command without --fresh goes on from here"]
    if code:
        _complain(sentences)
        raise typer.Exit(code)


def _leaves(group: BaseExceptionGroup[Any]) -> Iterable[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _complain(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        typer.secho(sentence, err=True, fg=typer.colors.RED)


def _run(main: Coroutine[Any, Any, T]) -> T:
    """Run *main*; Ctrl-C and SIGTERM cancel it, so that it can put everything in order before it ends."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_until_terminated(main))


async def _until_terminated(main: Coroutine[Any, Any, T]) -> T:
    task = asyncio.current_task()
    assert task is not None
    terminated = False

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        task.cancel()

    with contextlib.suppress(NotImplementedError):  # Windows has no such signal
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await main
    except asyncio.CancelledError:
        if terminated:
            raise typer.Exit(EXIT_TERMINATED) from None
        raise
