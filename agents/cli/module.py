"""Commands about one module of a fleet: ``inspect`` and ``card``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agents.card.driver import HOST, PORT, Line
from agents.cli.telling import (
    EXIT_CONFIG,
    StateOption,
    UaArgument,
    complain,
    make_console,
    run_until_terminated,
    told_in_sentences,
)
from transport.apdu import INSTRUCTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agents.card.reader import Reader
    from agents.handset.security_module.core import Note


def _check_ua(ua: str) -> None:
    """Refuse what is no address before anything is looked for."""
    from agents.fleet.addresses import is_ua

    if not is_ua(ua):
        complain([f"{ua}: is no module's address: that has 19 digits, the last one after Luhn"])
        raise typer.Exit(EXIT_CONFIG)


def _states(state: Path | None) -> list[Path]:
    return [state] if state else sorted(Path("state").glob("*/"))


def inspect(
    ua: UaArgument,
    *,
    state: StateOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a module's memory map and its table of resources, DEF."""
    from agents.fleet.inspection import find_image, to_json
    from agents.fleet.memory_map import render_module

    _check_ua(ua)
    with told_in_sentences():
        _, image = find_image(ua, _states(state))
        if as_json:
            typer.echo(json.dumps(to_json(ua, image), indent=2))
        else:
            render_module(ua, image, make_console())


def card(
    ua: UaArgument,
    *,
    host: Annotated[str, typer.Option(metavar="HOST", help="Where vpcd listens.")] = HOST,
    port: Annotated[int, typer.Option(min=1, max=65535, help="At which port.")] = PORT,
    state: StateOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show each command and response.")] = False,
) -> None:
    """Put a module into a card reader of PC/SC, through vsmartcard's vpcd, until Ctrl-C takes it out."""
    from agents.card.reader import Reader
    from agents.fleet.inspection import find_image
    from agents.fleet.state import hold

    _check_ua(ua)
    with told_in_sentences("stopped; the module is out of the reader"):
        directory, _ = find_image(ua, _states(state))
        with hold(directory):
            run_until_terminated(_be_card(ua, directory, Reader(host=host, port=port), verbose=verbose))


async def _be_card(ua: str, directory: Path, reader: Reader, *, verbose: bool) -> None:
    from agents.card.contacts import Contacts
    from agents.card.reader import insert
    from agents.fleet.inspection import MODULES_FILE
    from agents.randomness import make_rng
    from agents.store.database import open_store
    from agents.store.pages import PageStore
    from agents.store.tables import MODULES
    from bus.clock import SystemClock

    async with open_store(directory / MODULES_FILE, MODULES) as store:
        contacts = Contacts(ua, PageStore(store), clock=SystemClock(), rng=make_rng(None, ua))
        await contacts.power_on()  # a memory that does not boot is no card, and is told before anything else
        screen = CardScreen(f"module {ua} of {directory} is in the reader at {reader}", verbose=verbose)
        try:
            await insert(contacts, reader, screen)
        finally:
            screen.summarise()


class CardScreen:
    """What a person sees of a card: that it is in, each command if he wants, and how much there was."""

    def __init__(self, inserted: str, *, verbose: bool) -> None:
        self._inserted = inserted
        self._verbose = verbose
        self._is_in = False
        self._commands = 0
        self._resets = 0

    def inserted(self) -> None:
        """Say that the card is in."""
        self._is_in = True
        typer.echo(f"{self._inserted}; Ctrl-C takes it out")

    def ignored(self) -> None:
        """Say why it may not be."""
        typer.echo("connected, but the reader does not look for a card: perhaps another one is in it")

    def powered(self, line: Line) -> None:
        """Count what makes a card boot."""
        self._resets += line is not Line.POWER_OFF
        self._detail(line.name.lower().replace("_", " "))

    def answered(self, command: bytes, response: bytes, notes: Iterable[Note]) -> None:
        """Count commands; show command, response, and what the module noted."""
        self._commands += 1
        name = INSTRUCTIONS.get(command[1], "unknown")
        self._detail(f"{name}: {command.hex().upper()} > {response.hex().upper()}")
        for note in notes:
            self._detail(f"  {note.name} {note.reason}".rstrip())

    def summarise(self) -> None:
        """Say how much there was, if the card was in at all."""
        commands = "1 command" if self._commands == 1 else f"{self._commands} commands"
        times = "once" if self._resets == 1 else f"{self._resets} times"
        if self._is_in:
            typer.echo(f"{commands}, powered or reset {times}")

    def _detail(self, line: str) -> None:
        if self._verbose:
            typer.echo(line)
