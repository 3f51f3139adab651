"""What all commands share: exit codes, the screen, sentences in place of tracebacks, an end in good order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from rich.console import Console

from agents.errors import AgentError, ConfigError, NoTrace
from agents.fleet.loop import loop_factory
from bus.errors import BusError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator

    from agents.fleet.config import FleetConfig

EXIT_FAILED: Final = 1
EXIT_CONFIG: Final = 2
EXIT_INTERRUPTED: Final = 130
EXIT_TERMINATED: Final = 143
PLAIN_WIDTH: Final = 100
"""Columns where there is no terminal to ask."""

T = TypeVar("T")

ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG", help="The fleet's config, a TOML file.")]
UaArgument = Annotated[str, typer.Argument(metavar="UA", help="The module's address, 19 digits.")]
StateOption = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="The fleet's state directory; by default all in state/."),
]


def make_console(*, quiet: bool = False, stderr: bool = False) -> Console:
    """Return the screen, or what stands for it where the output goes elsewhere."""
    console = Console(quiet=quiet, stderr=stderr)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PLAIN_WIDTH
    return console


def load(path: Path) -> FleetConfig:
    """Return the config at *path*; say what is wrong with it, and exit, where that is something."""
    from agents.fleet.config import load_config

    try:
        return load_config(path)
    except ConfigError as error:
        complain(error.sentences)
        raise typer.Exit(EXIT_CONFIG) from None


@contextlib.contextmanager
def told_in_sentences(
    stopped: str = "stopped; the same command without --fresh goes on from here",
) -> Iterator[None]:
    """Turn what is not our fault into sentences and an exit code; *stopped* is what is said of a Ctrl-C."""
    sentences: list[str] = []
    code = 0
    try:
        yield
    # Nothing is raised inside these clauses: it would come out wrapped in a group.
    except* NoTrace as group:
        code = EXIT_CONFIG
        sentences = [str(error) for error in _leaves(group)]
    except* (AgentError, BusError) as group:
        code = EXIT_FAILED
        sentences = list(dict.fromkeys(str(error) for error in _leaves(group)))
    except* KeyboardInterrupt:
        code = EXIT_INTERRUPTED
        sentences = [stopped]
    if code:
        complain(sentences)
        raise typer.Exit(code)


def _leaves(group: BaseExceptionGroup[Any]) -> Iterable[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def complain(sentences: Iterable[str]) -> None:
    """Print sentences on the standard error."""
    for sentence in sentences:
        typer.secho(sentence, err=True, fg=typer.colors.RED)


def put(octets: bytes, target: Path) -> None:
    """Write *octets*; whoever reads *target* sees it whole or not at all. Raises OSError."""
    # Not by the target's name, which may be as long as a name can be, or none: "/", ".".
    partial = target.parent / f".otafleet.{os.getpid()}"
    try:
        partial.write_bytes(octets)
        partial.replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def write_whole(octets: bytes, target: Path) -> tuple[str, ...]:
    """Write *octets* to *target* as ``put`` does. Return what went wrong."""
    try:
        put(octets, target)
    except OSError as error:
        return (f"cannot write {target}: {(error.strerror or str(error)).lower()}",)
    return ()


def run_until_terminated(main: Coroutine[Any, Any, T]) -> T:
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
