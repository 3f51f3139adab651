"""One transaction in the form that was asked for: a chart, here or in a file, its lines, or JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from agents.cli.telling import EXIT_CONFIG, EXIT_FAILED, complain, make_console, write_whole
from agents.fleet.expectations import Result
from agents.fleet.reasons import in_words
from agents.traces.chart import chart_of, reasons, to_json
from agents.traces.chart_mermaid import to_mermaid
from agents.traces.chart_svg import to_svg
from agents.traces.chart_text import draw_text
from agents.traces.lines import as_list, heading
from agents.traces.listing import to_json as transaction_to_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agents.traces.chart import Chart
    from agents.traces.lookup import Transaction
    from agents.traces.reading import Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a person wants to see a transaction; a chart on the screen, if nothing else is said."""

    as_json: bool = False
    as_lines: bool = False
    mermaid: bool = False
    svg: Path | None = None
    unfold: bool = False

    def check(self, trace_id: str | None, *, follow: bool) -> None:
        """Refuse what does not go together."""
        is_chart = self.svg is not None or self.mermaid or self.unfold
        if trace_id is None and (is_chart or self.as_lines):
            _refuse("--svg, --mermaid, --lines and --unfold are about one transaction: name its ID")
        if follow and is_chart:
            _refuse("--follow tells lines as they come, a chart is of those there are: leave one of them out")
        if sum((self.as_json, self.as_lines, self.mermaid)) > 1:
            _refuse("--json, --lines and --mermaid each say how to print the transaction: name one of them")


def _refuse(sentence: str) -> None:
    complain([sentence])
    raise typer.Exit(EXIT_CONFIG)


def show(transaction: Transaction, lines: Sequence[Fields], form: Form) -> None:
    """Print *transaction*, of which *lines* tell, in its *form*."""
    chart = chart_of(lines, unfold=form.unfold)
    if form.as_json:
        told = {**transaction_to_json(transaction), "chart": to_json(chart), "told": lines}
        typer.echo(json.dumps(told, indent=2))
    elif form.as_lines:
        typer.echo(heading(transaction))
        for row in as_list(lines):
            typer.echo(row)
    elif form.mermaid:
        typer.echo(to_mermaid(chart), nl=False)
    elif form.svg is None:
        _draw(chart)
    if form.svg is not None and (faults := write_whole(to_svg(chart).encode(), form.svg)):
        complain(faults)
        raise typer.Exit(EXIT_FAILED)


def _draw(chart: Chart) -> None:
    """Draw *chart* on the screen, and below it say what its reasons mean."""
    console = make_console()
    draw_text(chart, console)
    meant = [(reason, in_words(Result.REFUSED, reason)) for reason in reasons(chart)]
    explained = [Text(f"{reason}: {words}", "dim") for reason, words in meant if words != reason]
    if explained:
        console.print(Text("\n").join([Text(), *explained]), highlight=False)
