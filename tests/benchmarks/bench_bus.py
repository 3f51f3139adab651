"""The bus through real brokers: round trips and one-way throughput, BusClient beside bare aiomqtt.

Run ``python -m tests.benchmarks.bench_bus [KIND ...]`` with kinds ``mosquitto`` and ``amqtt``. Both sides
live in one process and one loop, as in a run. Bare aiomqtt publishes the same octets ready made, as many of
them under way, and iterates over ``client.messages``: no frame, no counting, no surviving of a loss. Rounds
alternate and medians are printed, so that a busy machine slows both alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Final, cast

import aiomqtt
import structlog
import uvloop

from bus.broker import find_mosquitto, open_broker
from bus.client import BusClient
from bus.counters import Counters
from bus.frame import Bearer, Frame, TraceContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    from bus.address import BrokerAddress

ROUNDS: Final = 5
ROUND_TRIPS: Final = 400
MESSAGES: Final = 6_000
AT_ONCE: Final = 32
FRAME: Final = Frame(
    bearer=Bearer.SMS,
    source="15550100",
    destination="8988000000000000001",
    pdu=bytes(160),
    reference=bytes(8),
    trace=TraceContext(trace_id=b"T" * 16, span_id=b"S" * 8),
    sent_at=1.0,
)
OCTETS: Final = FRAME.encode()


@dataclass(kw_only=True)
class Pair:
    """Two connected clients of one make, and what was measured; *arrived* gets every message's topic."""

    make: str
    publish: Callable[[str], Awaitable[None]]
    arrived: Callable[[str], None] = lambda _topic: None
    trips_ms: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    costs_us: list[float] = field(default_factory=list)

    def row(self) -> str:
        """Return the medians as a line of the table."""
        trips = sorted(self.trips_ms)
        return (
            f"  {self.make:<14}{median(trips):8.2f} ms{trips[len(trips) * 99 // 100]:8.2f} ms"
            f"{median(self.rates):12,.0f}{median(self.costs_us):10.0f} us"
        )


@contextlib.asynccontextmanager
async def bus_pair(address: BrokerAddress) -> AsyncIterator[Pair]:
    """Connect two BusClients: one publishes, the other answers a ping."""
    log = cast("FilteringBoundLogger", structlog.wrap_logger(structlog.testing.CapturingLogger()))
    clients = [
        BusClient(address, identifier=name, log=log, counters=Counters(), persistent=False) for name in "ab"
    ]
    async with clients[0] as sender, clients[1] as receiver:
        pair = Pair(make="BusClient", publish=lambda topic: sender.publish(topic, FRAME))
        await receiver.subscribe(["bus/ping", "bus/flow"], lambda _frame, topic: pair.arrived(topic))
        yield pair


@contextlib.asynccontextmanager
async def bare_pair(address: BrokerAddress) -> AsyncIterator[Pair]:
    """Connect two aiomqtt clients with the same socket options and a task that iterates."""
    options = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
    clients = [
        aiomqtt.Client(address.host, address.port, max_inflight_messages=AT_ONCE, socket_options=options)
        for _ in range(2)
    ]
    async with clients[0] as sender, clients[1] as receiver:
        sender.pending_calls_threshold = AT_ONCE + 1
        pair = Pair(
            make="bare aiomqtt",
            publish=lambda topic: sender.publish(topic, OCTETS, qos=1, timeout=math.inf),
        )
        await receiver.subscribe([("bus/ping", 1), ("bus/flow", 1)])

        async def iterate() -> None:
            async for message in receiver.messages:
                pair.arrived(message.topic.value)

        task = asyncio.create_task(iterate())
        yield pair
        task.cancel()


async def trips(pair: Pair) -> None:
    """Publish, and wait for the PUBACK and for the message at the other client: one after the other."""
    arrived = asyncio.Event()
    pair.arrived = lambda _topic: arrived.set()
    for _ in range(ROUND_TRIPS):
        arrived.clear()
        began = perf_counter()
        await pair.publish("bus/ping")
        await arrived.wait()
        pair.trips_ms.append((perf_counter() - began) * 1e3)


async def flow(pair: Pair) -> None:
    """Publish as fast as AT_ONCE tasks can, until all has arrived."""
    left, numbers, done = MESSAGES, iter(range(MESSAGES)), asyncio.Event()

    def arrived(_topic: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    async def work() -> None:
        for _ in numbers:
            await pair.publish("bus/flow")

    pair.arrived = arrived
    began, began_cpu = perf_counter(), process_time()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    await done.wait()
    pair.rates.append(MESSAGES / (perf_counter() - began))
    pair.costs_us.append((process_time() - began_cpu) / MESSAGES * 1e6)


async def bench(kind: str, directory: Path) -> None:
    """Print the table of one kind of broker."""
    log = cast("FilteringBoundLogger", structlog.wrap_logger(structlog.testing.CapturingLogger()))
    async with (
        open_broker(kind, directory=directory, log=log) as address,
        bus_pair(address) as ours,
        bare_pair(address) as bare,
    ):
        for _ in range(ROUNDS):
            for pair in (ours, bare):
                await trips(pair)
                await flow(pair)
    sizes = f"{len(FRAME.pdu)}-octet PDUs in {len(OCTETS)}-octet frames"
    lines = [
        f"bus over {kind}, QoS 1, {sizes}, {os.cpu_count()} cores",
        "                trip p50        p99  messages/s  our CPU each",
        ours.row(),
        bare.row(),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def main() -> None:
    """Bench the kinds named, or all that are installed."""
    kinds = sys.argv[1:] or [*(["mosquitto"] if find_mosquitto() else []), "amqtt"]
    for kind in kinds:
        with tempfile.TemporaryDirectory() as directory:
            uvloop.run(bench(kind, Path(directory)))


if __name__ == "__main__":
    main()
