"""A card in a reader: the connection to the driver, until one of the two goes away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from agents.card.driver import HOST, PORT, Line, Message, Messages, encode
from agents.errors import DriverRejected, FleetError
from agents.handset.security_module.answer_to_reset import ATR

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Iterable

    from agents.card.contacts import Contacts
    from agents.handset.security_module.core import Note

CONNECT_TIMEOUT_S: Final = 10.0
PATIENCE_S: Final = 5.0
"""How long a driver may take until it asks for the card: it looks several times a second."""
CHUNK: Final = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Where a driver listens."""

    host: str = HOST
    port: int = PORT

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Witness(Protocol):
    """Who hears what happens to a card."""

    def inserted(self) -> None:
        """Hear that the reader has seen the card."""

    def ignored(self) -> None:
        """Hear that the reader takes the connection and does not ask for a card."""

    def powered(self, line: Line) -> None:
        """Hear that the card was switched on, switched off or reset."""

    def answered(self, command: bytes, response: bytes, notes: Iterable[Note]) -> None:
        """Hear what the card answered to a command, and what it noted meanwhile."""


async def insert(
    contacts: Contacts, reader: Reader, witness: Witness, *, patience_s: float = PATIENCE_S
) -> None:
    """Be the card in *reader* until cancelled; then, and whatever happens, the contacts have no power.

    Raises FleetError when no driver listens there, when it goes away, and when it is none.
    """
    stream, writer = await _connect(reader)
    try:
        await _serve(contacts, stream, writer, witness, patience_s)
    except DriverRejected as rejection:
        raise FleetError(f"{reader}: what listens there is no vpcd: {rejection}") from None
    except ConnectionError:
        pass
    finally:
        contacts.power_off()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    raise FleetError(f"{reader}: the reader is gone: pcscd has ended, or another card took this one's place")


async def _connect(reader: Reader) -> tuple[StreamReader, StreamWriter]:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await asyncio.open_connection(reader.host, reader.port)
    except OSError as error:
        raise FleetError(
            f"{reader}: no vpcd listens there ({_why(error)}); install pcscd and vsmartcard-vpcd and start "
            "pcscd, or name another place with --host and --port"
        ) from None


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    return os.strerror(error.errno) if error.errno else "no answer"


async def _serve(
    contacts: Contacts, stream: StreamReader, writer: StreamWriter, witness: Witness, patience_s: float
) -> None:
    """Answer the driver until it closes the connection."""
    messages = Messages()
    octets = await _first(stream, witness, patience_s)
    while octets:
        _acknowledge(writer)
        for message in messages.receive(octets):
            answer = await _answer(contacts, message, witness)
            if answer:
                if writer.is_closing():  # uvloop takes nothing more then, as asyncio does
                    return
                writer.write(encode(answer))
                await writer.drain()
        octets = await stream.read(CHUNK)


def _acknowledge(writer: StreamWriter) -> None:
    """Have what came acknowledged now, which the kernel would otherwise put off for 40 ms.

    The driver sends a length and what it is of apart, and the second waits for the first's acknowledgement.
    """
    with contextlib.suppress(OSError):  # the driver may have gone since
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


async def _first(stream: StreamReader, witness: Witness, patience_s: float) -> bytes:
    """Wait for the driver to ask for the first time: only then is the card in the reader."""
    try:
        async with asyncio.timeout(patience_s):
            octets = await stream.read(CHUNK)
    except TimeoutError:
        witness.ignored()
        octets = await stream.read(CHUNK)
    if octets:
        witness.inserted()
    return octets


async def _answer(contacts: Contacts, message: Message, witness: Witness) -> bytes:
    """Return what the driver hears, nothing for a line that has no answer."""
    if isinstance(message, bytes):
        response = await contacts.transmit(message)
        witness.answered(message, response, contacts.take_notes())
        return response
    if message is Line.ATR:
        return ATR
    if message is Line.POWER_OFF:
        contacts.power_off()
    else:
        await contacts.power_on()
    witness.powered(message)
    return b""
