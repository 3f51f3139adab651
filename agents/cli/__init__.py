"""The command ``otafleet``: what a person types, what it prints, and how it exits.

Exit codes: 0 all is well; 1 a run could not go on, or missed an expectation; 2 a config or a command line
that cannot be run; 130 stopped by Ctrl-C, 143 by SIGTERM. A fault of the person's, or of the world, is one
sentence on the standard error and never a traceback; a traceback is a fault of ours. Rooms are imported by
the commands that need them, so that ``--help`` does not wait for them.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from agents.cli import application, certificate
from agents.cli.arguments import Commands
from agents.cli.broker import broker
from agents.cli.cost import cost
from agents.cli.fleet import check, up, write_report
from agents.cli.module import card, inspect
from agents.cli.trace import trace

__all__ = ["app", "main", "write_report"]

app = typer.Typer(
    name="otafleet",
    cls=Commands,
    help="Launch a whole market of SIM security modules from one config file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (up, check, cost, inspect, trace, card, broker):
    app.command()(command)
app.add_typer(application.app)
app.add_typer(certificate.app)


def main() -> None:
    """Run the command line; the entry point of the distribution."""
    # A name out of a config or a log may have a letter that the terminal's encoding has not.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    app()


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
