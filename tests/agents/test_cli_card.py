"""``otafleet card``: what it says when it cannot be done, and what a person sees while it is."""

from __future__ import annotations

import asyncio
import fcntl
import socket
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from agents.card.driver import Line
from agents.cli import app
from agents.cli.module import CardScreen
from agents.fleet.inspection import MODULES_FILE
from agents.handset.security_module.core import Note
from agents.handset.security_module.memory import Memory, Record
from agents.store.database import open_store
from agents.store.pages import PageStore
from agents.store.tables import MODULES
from tests.agents.module_kit import OTHER_UA, UA, Card

if TYPE_CHECKING:
    from pathlib import Path

IN_USE = "is in use: a run of this fleet is under way, or a module of it is in a card reader"


@pytest.fixture(name="state")
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a directory with the state of a fleet that has one module."""
    monkeypatch.chdir(tmp_path)
    state = tmp_path / "state/demo"

    async def save() -> None:
        async with open_store(state / MODULES_FILE, MODULES) as store:
            await PageStore(store).save(UA, Card().pages.items())

    asyncio.run(save())
    (state / "lock").touch()
    return state


def card(*arguments: str) -> tuple[int, str, str]:
    """Run the command; return exit code, standard output, standard error."""
    result = CliRunner().invoke(app, ["card", *arguments])
    return result.exit_code, result.stdout, result.stderr


def nobodys_port() -> str:
    """Return a port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.mark.parametrize("ua", ["8988", UA[:-1] + "x", UA[:-1]])
def test_no_address(ua: str) -> None:
    """What is no address is told so, as of a command line that cannot be run."""
    code, said, complained = card(ua)
    assert (code, said) == (2, "")
    assert complained.startswith(f"{ua}: is no module's address")


def test_no_such_module(state: Path) -> None:
    """A module that is not there is named, with where was looked."""
    assert state.is_dir()
    assert card(OTHER_UA) == (1, "", f"there is no module {OTHER_UA} in state/demo\n")


def test_no_state(tmp_path: Path) -> None:
    """Where there is no state directory, what makes one is named."""
    code, said, complained = card(UA, "--state", str(tmp_path))
    assert (code, said) == (1, "")
    assert "run 'otafleet up'" in complained


def test_the_fleet_runs(state: Path) -> None:
    """While a run holds the state directory, the module is not taken out of its handset."""
    with (state / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert card(UA) == (1, "", f"state/demo: {IN_USE}\n")


def test_a_directory_that_is_not_ours(state: Path) -> None:
    """A directory with modules and without the mark of a fleet is left alone."""
    (state / "lock").unlink()
    code, said, complained = card(UA)
    assert (code, said) == (1, "")
    assert complained.startswith("state/demo: is no state directory of otafleet")


def test_no_reader(state: Path) -> None:
    """Where nobody listens, the place is named and what to install; the directory is free again."""
    port = nobodys_port()
    for _ in range(2):
        code, said, complained = card(UA, "--port", port, "--state", str(state))
        assert (code, said) == (1, "")
        assert complained.startswith(
            f"127.0.0.1:{port}: no vpcd listens there (Connection refused); install "
        )


def test_a_module_that_does_not_boot(state: Path) -> None:
    """A memory whose octets hold and whose records are none is told before a reader is looked for."""
    memory = Memory.from_pages(Card().pages.items())
    with memory.transaction() as transaction:
        memory.put_record(transaction, Record.IDENTITY, b"\x90")

    async def spoil() -> None:
        async with open_store(state / MODULES_FILE, MODULES) as store:
            await PageStore(store).save(UA, memory.take_changes())

    asyncio.run(spoil())
    code, said, complained = card(UA, "--port", nobodys_port())
    assert (code, said) == (1, "")
    assert complained.startswith(f"the memory of module {UA} is corrupt: corrupt-record: identity")


@pytest.mark.parametrize("port", ["0", "65536", "reader"])
def test_no_port(port: str) -> None:
    """What is no port is refused with the option's name."""
    code, _, complained = card(UA, "--port", port)
    assert code == 2
    assert "--port" in complained


@pytest.mark.parametrize("verbose", [True, False], ids=["verbose", "brief"])
def test_what_a_person_sees(capsys: pytest.CaptureFixture[str], verbose: bool) -> None:  # noqa: FBT001 -- a case
    """That the card is in, and how much there was; with ``--verbose`` each command, response and note."""
    screen = CardScreen("module 1 of state is in the reader at here", verbose=verbose)
    screen.ignored()
    screen.inserted()
    screen.powered(Line.POWER_ON)
    screen.answered(bytes.fromhex("00a4000c022fe2"), bytes.fromhex("9000"), ())
    refused = Note(name="envelope.refused", reason="missing")
    screen.answered(bytes.fromhex("80c2000002d100"), bytes.fromhex("6f00"), [refused])
    screen.answered(bytes.fromhex("00ff0000"), bytes.fromhex("6d00"), [Note(name="resource.expired")])
    screen.powered(Line.POWER_OFF)
    screen.summarise()
    details = [
        "power on",
        "SELECT: 00A4000C022FE2 > 9000",
        "ENVELOPE: 80C2000002D100 > 6F00",
        "  envelope.refused missing",
        "unknown: 00FF0000 > 6D00",
        "  resource.expired",
        "power off",
    ]
    assert capsys.readouterr().out.splitlines() == [
        "connected, but the reader does not look for a card: perhaps another one is in it",
        "module 1 of state is in the reader at here; Ctrl-C takes it out",
        *(details if verbose else ()),
        "3 commands, powered or reset once",
    ]


def test_one_command_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    """The summary counts as people do, and of a card that never was in it says nothing."""
    screen = CardScreen("in", verbose=False)
    screen.summarise()
    screen.inserted()
    screen.answered(bytes.fromhex("00a40000"), bytes.fromhex("6a86"), ())
    for line in (Line.POWER_ON, Line.RESET):
        screen.powered(line)
    screen.summarise()
    assert capsys.readouterr().out == "in; Ctrl-C takes it out\n1 command, powered or reset 2 times\n"
