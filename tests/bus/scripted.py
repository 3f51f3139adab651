"""A broker that does what a test tells it, for what real ones do too seldom: refuse, deny, fall silent."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bus.address import BrokerAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONNECT, PUBLISH, SUBSCRIBE = 0x10, 0x30, 0x80


@dataclass(kw_only=True)
class Scripted:
    """MQTT 3.1.1 as far as the tests need it: one answer to each kind of packet, b"" for none."""

    address: BrokerAddress
    connack: int = 0
    suback: int = 1
    connections: int = 0
    published: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def answer(self, kind: int, body: bytes) -> bytes:
        """Return what to send for one packet."""
        if kind == CONNECT:
            return bytes((0x20, 2, 0, self.connack))
        if kind == SUBSCRIBE:
            topics, rest = 0, body[2:]
            while rest:
                topics, rest = topics + 1, rest[3 + int.from_bytes(rest[:2], "big") :]
            return bytes((0x90, 2 + topics)) + body[:2] + bytes([self.suback] * topics)
        if kind == PUBLISH:
            self.published.set()  # and no PUBACK: it stays under way
        return b""

    def hang_up(self) -> None:
        """Close all connections."""
        while self.writers:
            self.writers.pop().close()


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    kind = (await reader.readexactly(1))[0] & 0xF0
    length = shift = 0
    while True:
        octet = (await reader.readexactly(1))[0]
        length |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            return kind, await reader.readexactly(length)


@contextlib.asynccontextmanager
async def scripted_broker(*, connack: int = 0, suback: int = 1) -> AsyncIterator[Scripted]:
    """Listen on a free port until left; *connack* and *suback* are the return codes."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        broker.connections += 1
        broker.writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                writer.write(broker.answer(*await _packet(reader)))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    broker = Scripted(address=BrokerAddress(host="127.0.0.1", port=port), connack=connack, suback=suback)
    try:
        yield broker
    finally:
        server.close()
        broker.hang_up()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
