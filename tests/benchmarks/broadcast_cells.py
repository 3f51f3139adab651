"""Cells with handsets in them and no broker: what a page costs from where its frame arrives.

The cells, antennas, the air, the phones, their modules and the store are the real ones, as a fleet's process
has them; in the place of the connection to the broker stands one that hands over what it is given.
"""

from __future__ import annotations

import random
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final, cast

import structlog

from agents.console import Console
from agents.handset.antenna import Antenna
from agents.handset.cell import Cell
from agents.handset.phone import Phone
from agents.handset.security_module.memory import Memory
from agents.handset.security_module.module import SecurityModule
from agents.handset.site import Site
from agents.store.database import open_store
from agents.store.pages import PageStore
from agents.store.tables import MODULES
from bus.actor import ActorGroup
from bus.air import AirGate
from bus.clock import SystemClock
from bus.counters import Counters
from bus.frame import Bearer, Frame, TraceContext
from bus.topics import Broadcast
from transport.air import Conditions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from bus.client import BusClient
    from bus.topics import Topic

FLEET: Final = "cells"
SEED: Final = bytes(16)
AIR: Final = Conditions(delay_s=1.0, spread=0.3, messages_per_s=0.531)
"""The default of ``[air.cell_broadcast]``."""


class Wire:
    """What a cell subscribes to and publishes on, without a broker."""

    def __init__(self) -> None:
        self.published = 0
        self._handlers: dict[str, Callable[[Frame, str], None]] = {}

    async def subscribe(self, topics: Sequence[Topic | str], handler: Callable[[Frame, str], None]) -> None:
        """Remember who wants what."""
        self._handlers |= {str(topic): handler for topic in topics}

    async def publish(self, topic: Topic | str, frame: Frame) -> None:
        """Take what is said, as the broker would, and count it."""
        frame.encode()
        assert topic, "everything has an address"
        self.published += 1

    def arrive(self, octets: bytes, topic: str) -> None:
        """Hand over what came from the broker."""
        self._handlers[topic](Frame.parse(octets), topic)


class Cells:
    """Some cells, and the pages that they hear."""

    def __init__(self, group: ActorGroup, clock: SystemClock) -> None:
        self.group = group
        self.wire = Wire()
        self.cells: list[Cell] = []
        self._clock = clock
        self._reference = 0

    async def hear(self, pages: Sequence[bytes]) -> None:
        """Let every cell hear these pages, each as a frame of its own, and wait for what comes of it."""
        for page in pages:
            for number in range(len(self.cells)):
                self.wire.arrive(self._frame(page, number).encode(), topic_of(number))
        await self.group.idle()

    @property
    def modules(self) -> list[SecurityModule]:
        """All modules."""
        return [phone.module for cell in self.cells for phone in cell.phones.values()]

    def _frame(self, page: bytes, number: int) -> Frame:
        self._reference += 1
        return Frame(
            bearer=Bearer.CELL_BROADCAST,
            source="shop",
            destination=f"c{number}",
            pdu=page,
            reference=self._reference.to_bytes(8, "big"),
            trace=TraceContext(trace_id=b"T" * 16, span_id=b"S" * 8),
            sent_at=self._clock.now(),
        )


def topic_of(number: int) -> str:
    """Return the topic of a cell's broadcasts."""
    return Broadcast(fleet=FLEET, cell=f"c{number}").path


@asynccontextmanager
async def open_cells(directory: Path, image: bytes, *, cells: int, handsets: int) -> AsyncIterator[Cells]:
    """Yield *cells* with *handsets* each, whose modules have the same *image* to begin with."""
    clock, counters = SystemClock(), Counters()
    log = structlog.get_logger().bind()  # as a process has it: bound once
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(ActorGroup(log=log, counters=counters))
        store = await stack.enter_async_context(open_store(directory / "modules.db", MODULES))
        gate = await stack.enter_async_context(
            AirGate(
                clock=clock,
                seed=SEED,
                conditions={Bearer.CELL_BROADCAST: AIR},
                counters=counters,
                log=log,
                wait=False,
            )
        )
        pages = PageStore(store)

        async def boot(_ua: str) -> SecurityModule:
            return SecurityModule(Memory.boot(image), rng=random.Random(0).randbytes)

        made = Cells(group, clock)
        for number in range(cells):
            client = cast("BusClient", made.wire)
            antenna = Antenna(client, gate, name=f"c{number}", counters=counters, log=log)
            site = Site(
                fleet=FLEET,
                client=client,
                antenna=await stack.enter_async_context(antenna),
                console=Console(fleet=FLEET, run=1, key=SEED, clock=clock, rng=random.Random(1).randbytes),
                pages=pages,
                boot=boot,
                clock=clock,
                counters=counters,
                log=log,
                group=group,
            )
            cell = Cell(f"c{number}", site)
            addresses = [f"89{number:03}{index:05}" for index in range(handsets)]
            await cell.attach([Phone(ua, await boot(ua), site) for ua in addresses])
            made.cells.append(cell)
        yield made
