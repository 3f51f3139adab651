"""The command ``trace``: which transactions there were, and what each agent did in one of them."""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path  # noqa: TC003 -- typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated, Final, NoReturn, TypeVar

import typer
from rich.text import Text

from agents.cli.telling import load, make_console, told_in_sentences
from agents.traces.following import LOOK_S, Ended, Lines
from agents.traces.lines import sentence
from agents.traces.listing import as_json_list, as_row, as_table, to_json
from agents.traces.lookup import Outcome, Selection
from agents.traces.plain import clock, harmless
from agents.traces.tally import told_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from rich.console import Console

    from agents.cli.trace_forms import Form
    from agents.traces.archive import Archive
    from agents.traces.lookup import Transaction
    from agents.traces.reading import Fields

T = TypeVar("T")

_LIMIT: Final = 20
_MOST: Final = (1 << 31) - 1
_WIDE: Final = 1_000
"""Columns of a list that goes into a file or another programme: its rows are not folded there."""
_LONGEST: Final = 1_000
_MANY_ROWS: Final = 1_000
"""Of a longer list the columns are as wide as usual: to make them as wide as it needs takes all of it."""
_MANY_LINES: Final = 100_000
"""So many to read take a second or more, of which a person is told."""


def trace(  # noqa: PLR0913 -- each is an option of the command line
    trace_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="Chart this transaction; the beginning of its id is enough."),
    ] = None,
    *,
    fleet: Annotated[
        Path | None,
        typer.Option(
            metavar="CONFIG|DIR",
            help="The fleet's config, state directory or logs; by default what was last written in state/.",
        ),
    ] = None,
    ua: Annotated[str | None, typer.Option(metavar="UA", help="Only what this module had part in.")] = None,
    agent: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only what this agent had part in.")
    ] = None,
    outcome: Annotated[
        Outcome | None, typer.Option(help="Only what came to this, for one target at least.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="REASON", help="Only where somebody gave this reason.")
    ] = None,
    slowest: Annotated[bool, typer.Option("--slowest", help="The slowest, by simulated time.")] = False,
    limit: Annotated[
        int, typer.Option(metavar="N", min=0, max=_MOST, help="How many are listed; 0: all there are.")
    ] = _LIMIT,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as the fleet does, until Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_lines: Annotated[bool, typer.Option("--lines", help="Print its lines in place of a chart.")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print the chart as Mermaid's text.")] = False,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the chart to this file, as SVG.")
    ] = None,
    unfold: Annotated[
        bool, typer.Option("--unfold", help="Each message by itself, also parts of one packet.")
    ] = False,
) -> None:
    """List a fleet's transactions, or chart one across all agents, from the logs."""
    from agents.cli.trace_forms import Form
    from agents.traces.archive import Archive

    form = Form(as_json=as_json, as_lines=as_lines, mermaid=mermaid, svg=svg, unfold=unfold)
    form.check(trace_id, follow=follow)
    selection = Selection(ua=ua, agent=agent, outcome=outcome, reason=reason, slowest=slowest, limit=limit)
    with told_in_sentences("stopped"):
        logs = _logs(fleet)
        with _Progress() as progress, Archive(logs, tell=progress.tell) as archive:
            progress.done()
            _warn(archive.said)
            if trace_id is None:
                _list(archive, selection, as_json=as_json, goes_on=follow)
                if follow:
                    _follow(Ended(archive, selection).look, _tell_ended(as_json=as_json))
                return
            wanted = archive.find(trace_id)
            if follow:
                _follow(Lines(archive, wanted.trace_id).look, _tell_lines(as_json=as_json))
            _show(archive, wanted, form)


def _logs(fleet: Path | None) -> Path:
    from agents.traces.whereabouts import is_log, latest_logs, logs_in

    if fleet is None:
        return latest_logs()
    if is_log(fleet):
        return fleet.parent
    return logs_in(load(fleet).state_directory if _is_file(fleet) else fleet)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name may be too long; what is wrong is said when it is read
        return False


def _warn(sentences: Iterable[str]) -> None:
    """Say what of the logs was not read; what was is on the standard output."""
    for each in sentences:
        typer.secho(harmless(each, _LONGEST), err=True, fg=typer.colors.YELLOW)


def _list(archive: Archive, selection: Selection, *, as_json: bool, goes_on: bool) -> None:
    """Print what there is; a list that *goes_on* is in JSON a line for each, as what comes will be."""
    count = archive.count(selection)
    found = archive.each(selection)
    shown = min(count, selection.limit or count)
    if not count:
        _warn(archive.misnomers(selection))
    if as_json and goes_on:
        for transaction in found:
            typer.echo(json.dumps(to_json(transaction)))
        return
    if as_json:
        for part in as_json_list(archive.logs, count, found):
            typer.echo(part, nl=False)
        return
    console = make_console()
    if not console.is_terminal:
        console.width = _WIDE
    if shown > _MANY_ROWS:
        _print_rows(console, found)
    elif shown:
        console.print(as_table(found, console.width))
    many = "1 transaction" if count == 1 else f"{count:,} transactions"
    which = "slowest" if selection.slowest else "last"
    told = f"; the {which} {shown:,} are shown" if shown < count else ""
    console.print(Text(f"{many} in {archive.logs}{told}"), soft_wrap=True, highlight=False)


def _print_rows(console: Console, found: Iterable[Transaction]) -> None:
    """Print a list that is too long to be measured first, row by row."""
    for row in chain([None], found):
        text = as_row(row, console.width)
        if console.is_terminal:
            console.print(text, soft_wrap=True, highlight=False)
        else:
            typer.echo(text.plain)


def _show(archive: Archive, wanted: Transaction, form: Form) -> None:
    from agents.cli.trace_forms import show

    lines = archive.lines_of(wanted.trace_id)
    show(wanted, lines, form)
    if len(lines) < wanted.lines:
        _warn([f"{len(lines):,} of its {wanted.lines:,} lines are shown"])
    _warn(archive.unread)


def _tell_ended(*, as_json: bool) -> Callable[[Transaction], None]:
    console = make_console()
    width = console.width if console.is_terminal else _WIDE
    if not as_json:
        console.print(as_row(width=width), soft_wrap=True, highlight=False)

    def tell(transaction: Transaction) -> None:
        if as_json:
            typer.echo(json.dumps(to_json(transaction)))
        else:
            console.print(as_row(transaction, width), soft_wrap=True, highlight=False)

    return tell


def _tell_lines(*, as_json: bool) -> Callable[[Fields], None]:
    def tell(line: Fields) -> None:
        typer.echo(json.dumps(line) if as_json else f"{clock(told_at(line) or 0)} {sentence(line)}")

    return tell


def _follow(look: Callable[[], Iterable[T]], tell: Callable[[T], None]) -> NoReturn:
    """Tell what is new, as long as nobody stops it."""
    while True:
        for new in look():
            tell(new)
        time.sleep(LOOK_S)


class _Progress(AbstractContextManager["_Progress"]):
    """How many lines have been read, on a terminal, once that takes a while."""

    def __init__(self) -> None:
        console = make_console(stderr=True)
        self._status = console.status("") if console.is_terminal else None
        self._lines = 0
        self._drawn = False

    def tell(self, lines: int) -> None:
        """Count *lines* more."""
        self._lines += lines
        if self._status is not None and self._lines >= _MANY_LINES:
            self._status.update(f"reading the logs: {self._lines:,} lines")
            if not self._drawn:
                self._status.start()
            self._drawn = True

    def done(self) -> None:
        """Say no more."""
        if self._status is not None and self._drawn:
            self._status.stop()
        self._status = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the screen as a person expects to find it."""
        self.done()
