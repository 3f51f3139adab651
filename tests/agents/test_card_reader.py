"""A card in a reader that these tests play: power, commands, what is stored, and every way that it ends.

The real reader is in ``tests/scenarios/test_card.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import pytest

from agents.card.contacts import Contacts
from agents.card.driver import Line, encode
from agents.card.reader import Reader, insert
from agents.errors import FleetError
from agents.handset.security_module.answer_to_reset import ATR
from agents.handset.terminal import PROFILES, TerminalKind
from agents.store.database import open_store
from agents.store.pages import PageStore
from agents.store.tables import MODULES, PAGES
from bus.clock import SystemClock
from tests.agents.module_kit import UA, Card, Market
from transport import apdu

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path
    from types import TracebackType

    from agents.handset.security_module.core import Note
    from agents.store.group_commit import GroupCommit

ICCID = ("00a4000c022fe2", "00b000000a")


@dataclass(slots=True)
class Told:
    """Who keeps what happens to a card."""

    events: list[str] = field(default_factory=list)
    seen: asyncio.Event = field(default_factory=asyncio.Event)

    def inserted(self) -> None:
        """Keep that."""
        self.events.append("inserted")

    def ignored(self) -> None:
        """Keep that, and let who waits for it go on."""
        self.events.append("ignored")
        self.seen.set()

    def powered(self, line: Line) -> None:
        """Keep which line."""
        self.events.append(line.name)

    def answered(self, command: bytes, response: bytes, notes: Iterable[Note]) -> None:
        """Keep instruction, status word and reasons."""
        reasons = "".join(f" {note.reason}" for note in notes)
        self.events.append(f"{command[1]:02x} {response[-2:].hex()}{reasons}")


class Driver:
    """The reader's side: it listens, and a card connects."""

    async def __aenter__(self) -> Self:
        self._cards: asyncio.Queue[tuple[StreamReader, StreamWriter]] = asyncio.Queue()
        self._server = await asyncio.start_server(
            lambda reader, writer: self._cards.put_nowait((reader, writer)), "127.0.0.1", 0
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._writer: StreamWriter | None = None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        if self._writer is not None:
            await self.eject()

    async def seen(self) -> None:
        """Wait for a card."""
        self._reader, self._writer = await self._cards.get()

    async def eject(self) -> None:
        """Close the connection."""
        assert self._writer is not None
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def die(self) -> None:
        """Have the connection reset instead of closed."""
        assert self._writer is not None
        at_once = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        await self.eject()

    def say(self, octets: bytes) -> None:
        """Send octets as they are."""
        assert self._writer is not None
        self._writer.write(octets)

    def pull(self, line: Line) -> None:
        """Say what happens to a line."""
        self.say(encode(bytes((line,))))

    async def atr(self) -> bytes:
        """Ask for the ATR."""
        self.pull(Line.ATR)
        return await self.heard()

    async def ask(self, command: str) -> bytes:
        """Send a command APDU in hexadecimal; return the response."""
        self.say(encode(bytes.fromhex(command)))
        return await self.heard()

    async def heard(self) -> bytes:
        """Return the next message of the card's."""
        length = int.from_bytes(await self._reader.readexactly(2), "big")
        return await self._reader.readexactly(length)

    async def is_left(self) -> bool:
        """Say whether the card has closed the connection, and said nothing more before."""
        return await self._reader.read() == b""


@pytest.fixture(name="database")
async def _database(tmp_path: Path) -> AsyncIterator[GroupCommit]:
    """Open a database for modules."""
    async with open_store(tmp_path / "modules.db", MODULES) as store:
        yield store


async def contacts_of(card: Card, database: GroupCommit) -> Contacts:
    """Store the module of *card*, and put it on contacts."""
    pages = PageStore(database)
    await pages.save(UA, card.pages.items())
    return Contacts(UA, pages, clock=SystemClock(), rng=random.Random(1).randbytes)


@contextlib.asynccontextmanager
async def in_reader(contacts: Contacts, told: Told) -> AsyncIterator[tuple[Driver, asyncio.Task[None]]]:
    """Put a card into a reader that has seen it; take it out at the end if it is still there."""
    async with Driver() as driver:
        task = asyncio.create_task(insert(contacts, Reader(port=driver.port), told), name="card")
        await driver.seen()
        try:
            yield driver, task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, FleetError):
                await task


async def test_the_atr_is_said_with_and_without_power(database: GroupCommit) -> None:
    """The driver asks for it to see that a card is there: before power, under power, without it again."""
    told = Told()
    async with in_reader(await contacts_of(Card(), database), told) as (driver, _):
        for line in (Line.POWER_ON, Line.RESET, Line.POWER_OFF):
            assert await driver.atr() == ATR
            driver.pull(line)
        assert await driver.atr() == ATR
    assert told.events == ["inserted", "POWER_ON", "RESET", "POWER_OFF"]


async def test_commands_are_answered(database: GroupCommit) -> None:
    """One after the other, also when they come in one piece; each is told with status word and reasons."""
    told = Told()
    async with in_reader(await contacts_of(Market().personalise().card, database), told) as (driver, _):
        driver.pull(Line.POWER_ON)
        driver.say(b"".join(encode(bytes.fromhex(command)) for command in (*ICCID, "80c2000002d100")))
        assert await driver.heard() == bytes.fromhex("9000")
        assert (await driver.heard())[-2:] == bytes.fromhex("9000")
        assert await driver.heard() == bytes.fromhex("6f00")
    assert told.events == ["inserted", "POWER_ON", "a4 9000", "b0 9000", "c2 6f00 missing"]


@pytest.mark.parametrize("line", [Line.RESET, Line.POWER_ON, Line.POWER_OFF], ids=lambda line: line.name)
async def test_every_line_is_a_reboot(database: GroupCommit, line: Line) -> None:
    """Reset, power on, and power off before the next command: what was volatile is gone."""
    async with in_reader(await contacts_of(Card(), database), Told()) as (driver, _):
        assert await driver.ask(ICCID[0]) == bytes.fromhex("9000")
        assert (await driver.ask(ICCID[1]))[-2:] == bytes.fromhex("9000")
        driver.pull(line)
        assert await driver.ask(ICCID[1]) == apdu.SW_NO_FILE_SELECTED.to_bytes(2, "big")


async def test_a_change_is_stored_before_it_is_told(database: GroupCommit) -> None:
    """The request that the module signs has its turn on the disk when the response is there."""
    card = Market().personalise().card
    async with in_reader(await contacts_of(card, database), Told()) as (driver, _):
        told = PROFILES[TerminalKind.FULL].octets
        await driver.ask(f"80100000{len(told):02x}{told.hex()}")
        await driver.ask("80c2000009d30782020181900101")
        await driver.ask("8012000000")
        stored = await PageStore(database).load(UA)
        typed = "8103012300" + "82028281" + "830100" + "8d0804" + b"account".hex()
        response = await driver.ask(f"80140000{len(typed) // 2:02x}{typed}")
        assert response[0] == 0x91
        assert await PageStore(database).load(UA) != stored


async def test_what_cannot_be_stored_is_not_told(
    database: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full: the reader gets no response, and the session ends with the store's sentence."""
    card = Market().personalise().card
    async with in_reader(await contacts_of(card, database), Told()) as (driver, task):
        await driver.ask("80c2000009d30782020181900101")
        await driver.ask("8012000000")

        async def fail(*_arguments: object, **_options: object) -> None:
            raise FleetError("modules.db: database or disk is full")

        monkeypatch.setattr(database, "change", fail)
        typed = "8103012300" + "82028281" + "830100" + "8d0804" + b"account".hex()
        driver.say(encode(bytes.fromhex(f"80140000{len(typed) // 2:02x}{typed}")))
        assert await driver.is_left()
        with pytest.raises(FleetError, match="disk is full"):
            await task


async def test_a_corrupt_memory_does_not_boot(database: GroupCommit) -> None:
    """A page that was altered on the disk is told in a sentence with the module's address."""
    card = Market().personalise().card
    contacts = await contacts_of(card, database)
    octets = bytearray(card.pages[0])
    octets[256] ^= 1
    await PageStore(database).save(UA, [(0, bytes(octets))])
    with pytest.raises(FleetError, match=f"the memory of module {UA} is corrupt: corrupt-slot"):
        await contacts.power_on()
    assert list(contacts.take_notes()) == []


async def test_a_boot_stores_what_it_repaired(database: GroupCommit) -> None:
    """A journal that power left behind is carried out at boot, and is not there a second time."""
    card = Card()
    end = card.size // 256
    contacts = await contacts_of(card, database)
    await PageStore(database).save(UA, [(end, b"half a journal".ljust(256, b"\0"))])
    await contacts.power_on()
    async with database.engine.connect() as connection:
        numbers = {row.first for row in await connection.execute(PAGES.select())}
    assert end not in numbers


@pytest.mark.parametrize(
    ("octets", "reason"), [("0000", "empty-message"), ("000109", "unknown-line: 09")], ids=["empty", "line"]
)
async def test_what_is_no_driver(database: GroupCommit, octets: str, reason: str) -> None:
    """Another program that listens there is told apart at its first message, and left."""
    async with in_reader(await contacts_of(Card(), database), Told()) as (driver, task):
        driver.say(bytes.fromhex(octets))
        assert await driver.is_left()
        with pytest.raises(
            FleetError, match=f"^127.0.0.1:{driver.port}: what listens there is no vpcd: {reason}$"
        ):
            await task


@pytest.mark.parametrize("half", ["", "00", "0007 00a4"], ids=["nothing", "half-a-length", "half-a-command"])
async def test_the_reader_goes(database: GroupCommit, half: str) -> None:
    """The connection ends, in the middle of a message or not: a sentence says that the reader is gone."""
    async with in_reader(await contacts_of(Card(), database), Told()) as (driver, task):
        await driver.atr()
        driver.say(bytes.fromhex(half))
        await driver.eject()
        with pytest.raises(FleetError, match=f"^127.0.0.1:{driver.port}: the reader is gone"):
            await task


async def test_the_reader_goes_at_once(database: GroupCommit) -> None:
    """A reader that closes the connection before it has asked is gone too, and the card never was in it."""
    told = Told()
    async with in_reader(await contacts_of(Card(), database), told) as (driver, task):
        await driver.eject()
        with pytest.raises(FleetError, match="the reader is gone"):
            await task
    assert told.events == []


@pytest.mark.parametrize("questions", [0, 1, 200])
async def test_the_reader_dies(database: GroupCommit, questions: int) -> None:
    """A connection that is reset, as by a killed daemon, is the same, also where answers are still owed."""
    async with in_reader(await contacts_of(Card(), database), Told()) as (driver, task):
        await driver.atr()
        driver.say(questions * encode(bytes.fromhex("80f2000000")))
        await driver.die()
        with pytest.raises(FleetError, match="the reader is gone"):
            await task


async def test_a_reader_that_does_not_look(database: GroupCommit) -> None:
    """Somebody takes the connection and asks nothing: that is said, and the card waits on."""
    contacts, told = await contacts_of(Card(), database), Told()
    async with Driver() as driver:
        task = asyncio.create_task(insert(contacts, Reader(port=driver.port), told, patience_s=0.0))
        await driver.seen()
        await told.seen.wait()
        assert await driver.atr() == ATR
        assert told.events == ["ignored", "inserted"]
        await driver.eject()
        with pytest.raises(FleetError, match="is gone"):
            await task


async def test_nobody_listens(database: GroupCommit) -> None:
    """Without a reader there is a sentence with the place, the system's word, and what to install."""
    contacts = await contacts_of(Card(), database)
    async with Driver() as driver:
        port = driver.port
    with pytest.raises(FleetError) as error:
        await insert(contacts, Reader(port=port), Told())
    assert error.value.sentence == (
        f"127.0.0.1:{port}: no vpcd listens there (Connection refused); install pcscd and vsmartcard-vpcd "
        "and start pcscd, or name another place with --host and --port"
    )
    with pytest.raises(FleetError, match=r"^no\.such\.host\.invalid:1: no vpcd listens there \(\w"):
        await insert(contacts, Reader(host="no.such.host.invalid", port=1), Told())


async def test_taken_out(database: GroupCommit) -> None:
    """Who takes the card out closes the connection, and its contacts have no power any more."""
    told = Told()
    async with in_reader(await contacts_of(Card(), database), told) as (driver, task):
        await driver.atr()
        task.cancel()
        assert await driver.is_left()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert told.events == ["inserted"]
