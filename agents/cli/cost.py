"""The command ``cost``: what each way to a secure connection costs, on the air of a config."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Self

import typer
from rich.text import Text

from agents.cli.telling import (
    EXIT_CONFIG,
    EXIT_FAILED,
    ConfigArgument,
    complain,
    load,
    make_console,
    run_until_terminated,
    told_in_sentences,
    write_whole,
)

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

_STDOUT: Final = "-"
_REPEAT: Final = 25


def cost(
    config: ConfigArgument,
    *,
    suite: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this suite; may be given again.")
    ] = None,
    form: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this form; may be given again.")
    ] = None,
    bearer: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this bearer; may be given again.")
    ] = None,
    repeat: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=10_000, help="Handshakes that are timed, of each suite and form."
        ),
    ] = _REPEAT,
    table: Annotated[
        str | None, typer.Option("--csv", metavar="FILE", help="Write the rows as CSV; - is the screen.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Tell nothing while it works.")] = False,
) -> None:
    """Measure what a secure connection costs: every suite, form and bearer, on the air of CONFIG."""
    from agents.fleet.cost_rows import as_csv, as_table, ways_of

    fleet = load(config)
    try:
        ways = ways_of(suite or (), form or (), bearer or ())
    except ValueError as error:
        complain([str(error)])
        raise typer.Exit(EXIT_CONFIG) from None
    target = None if table in {None, _STDOUT} else Path(str(table))
    if target is not None and not target.parent.is_dir():
        complain([f"{target}: cannot write the rows: there is no directory {target.parent}"])
        raise typer.Exit(EXIT_CONFIG)
    from agents.fleet.cost import measure  # behind the checks: it brings every agent with it

    console = make_console()
    progress = _Progress(make_console(quiet=quiet, stderr=True))
    with told_in_sentences("stopped; nothing is left behind"), progress:
        rows = run_until_terminated(measure(fleet, ways, repeat=repeat, tell=progress.tell))
    if table == _STDOUT:
        typer.echo(as_csv(rows), nl=False)
        return
    console.print(as_table(rows, title=f"One secure connection, on the air of {config}"))
    console.print(Text(_NOTE.format(repeat=repeat)), soft_wrap=True, highlight=False)
    if not all(row.fits for row in rows):
        console.print(Text("* no module of this config can use this suite"), highlight=False)
    if target is not None and (problems := write_whole(as_csv(rows).encode(), target)):
        complain(problems)
        raise typer.Exit(EXIT_FAILED)


_NOTE: Final = (
    "Up is from the module. Messages are short messages, or a channel's segments or datagrams. Delivery"
    " reports are in the octets and not in the messages; where the module's answer is short, it rides in one."
    " The microseconds are what each side computes, the median of {repeat}. Nothing is lost, and every delay"
    " is its median."
)


class _Progress(AbstractContextManager["_Progress"]):
    """One line that changes, on a terminal; elsewhere a line whenever something else goes on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("") if console.is_terminal else None
        self._latest = ""

    def tell(self, what: str, which: str) -> None:
        """Tell *what* is going on, and with *which* of many."""
        if self._status is not None:
            self._status.update(f"{what}: {which}")
        elif what != self._latest:
            self._console.print(Text(f"cost: {what}"), soft_wrap=True, highlight=False)
        self._latest = what

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the screen as a person expects to find it."""
        if self._status is not None:
            self._status.stop()
