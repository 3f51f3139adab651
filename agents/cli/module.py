"""Commands about one module of a fleet: ``inspect``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agents.cli.telling import EXIT_CONFIG, StateOption, UaArgument, complain, make_console, told_in_sentences


def inspect(
    ua: UaArgument,
    *,
    state: StateOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a module's memory map and its table of resources, DEF."""
    from agents.fleet.addresses import is_ua
    from agents.fleet.inspection import find_image, to_json
    from agents.fleet.memory_map import render_module

    if not is_ua(ua):
        complain([f"{ua}: is no module's address: that has 19 digits, the last one after Luhn"])
        raise typer.Exit(EXIT_CONFIG)
    with told_in_sentences():
        _, image = find_image(ua, [state] if state else sorted(Path("state").glob("*/")))
        if as_json:
            typer.echo(json.dumps(to_json(ua, image), indent=2))
        else:
            render_module(ua, image, make_console())
