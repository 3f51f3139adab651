"""An operator's sender and any number of handsets on one broker, for the tests of short messages."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from bus.actor import ActorGroup
from bus.bearers.sms import SmsSender, SmsSettings
from bus.counters import Counters
from bus.frame import Bearer, Frame, TraceContext
from bus.topics import ReportTo
from tests.bus.handset import FLEET, Handset, WatchedClient, WatchedCounters
from tests.bus.manual_clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, MutableMapping
    from typing import Any

    from structlog.typing import FilteringBoundLogger

    from bus.bearers.sms import SmsReceipt
    from bus.client import BrokerAddress
    from bus.clock import Clock
    from bus.counters import Snapshot

UA = "89880000000000000011"
OPERATOR = "5000"
TRACE = TraceContext(trace_id=b"T" * 16, span_id=b"S" * 8)
SETTINGS = SmsSettings(report_timeout_s=30.0, attempts=3, backoff_s=2.0)
SHORT = bytes(range(100))
LONG = bytes(number % 251 for number in range(132 + 134 + 16))


class LogBook:
    """Keeps what is logged to :attr:`log`, and lets a test wait for an event."""

    def __init__(self) -> None:
        self.entries: list[MutableMapping[str, Any]] = []
        self.log: FilteringBoundLogger = structlog.wrap_logger(None, processors=[self._keep])
        self._changed = asyncio.Event()

    def _keep(
        self, _logger: object, _method: str, entry: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        self.entries.append(entry)
        self._changed.set()
        raise structlog.DropEvent

    def of(self, event: str) -> list[MutableMapping[str, Any]]:
        """Return the entries of *event*."""
        return [entry for entry in self.entries if entry["event"] == event]

    async def until(self, event: str, count: int) -> None:
        """Return when *event* has been logged *count* times."""
        while len(self.of(event)) < count:
            self._changed.clear()
            await self._changed.wait()


class SmsNetwork:
    """What a test needs; see :func:`open_network`."""

    def __init__(self, stack: AsyncExitStack, broker: BrokerAddress) -> None:
        self.clock = ManualClock()
        self.counters = WatchedCounters()
        self.handset_counters = Counters()
        self.book = LogBook()
        self._stack = stack
        self._broker = broker
        self._seed = random.Random(7)
        self.client: WatchedClient
        self.handset_client: WatchedClient
        self.group: ActorGroup
        self.sender: SmsSender
        self.handset: Handset

    async def open(self) -> None:
        """Connect and start everybody."""
        self.client = await self._connect("operator", self.counters)
        self.handset_client = await self._connect("handsets", self.handset_counters)
        self.group = await self._stack.enter_async_context(
            ActorGroup(log=self.book.log, counters=self.handset_counters)
        )
        self.sender = await self._stack.enter_async_context(self.new_sender())
        self.handset = await self.new_handset(UA)

    async def _connect(self, identifier: str, counters: Counters) -> WatchedClient:
        return await self._stack.enter_async_context(
            WatchedClient(
                self._broker, identifier=identifier, log=self.book.log, counters=counters, persistent=False
            )
        )

    def new_sender(
        self,
        *,
        settings: SmsSettings = SETTINGS,
        rng: Callable[[int], bytes] | None = None,
        clock: Clock | None = None,
    ) -> SmsSender:
        """Return a sender of the operator's that has not started; only one may run at a time."""
        return SmsSender(
            self.client,
            fleet=FLEET,
            address=OPERATOR,
            settings=settings,
            clock=clock or self.clock,
            rng=rng or self._seed.randbytes,
            counters=self.counters,
            log=self.book.log,
        )

    async def use(self, settings: SmsSettings) -> None:
        """Replace the sender by one with *settings*."""
        await self.sender.close()
        self.sender = await self._stack.enter_async_context(self.new_sender(settings=settings))

    async def new_handset(self, ua: str) -> Handset:
        """Return another handset, switched on."""
        handset = Handset(ua, self.group, self.handset_client)
        await handset.switch_on()
        return handset

    def sending(self, packet: bytes, *, to_ua: str = UA) -> asyncio.Task[SmsReceipt]:
        """Begin to send *packet*."""
        return asyncio.create_task(self.sender.send(packet, to_ua=to_ua, trace=TRACE))

    async def say(
        self, pdu: bytes, *, reference: bytes, source: str = UA, bearer: Bearer = Bearer.NOTICE
    ) -> None:
        """Send the operator a frame where its reports come from."""
        frame = Frame(
            bearer=bearer,
            source=source,
            destination=OPERATOR,
            pdu=pdu,
            reference=reference,
            trace=TRACE,
            sent_at=0.0,
        )
        await self.handset_client.publish(ReportTo(fleet=FLEET, address=OPERATOR), frame)

    @property
    def counted(self) -> Snapshot:
        """What the operator counted."""
        return self.counters.snapshot()


@asynccontextmanager
async def open_network(broker: BrokerAddress) -> AsyncIterator[SmsNetwork]:
    """Yield a sender and a handset, connected; what they log is kept off the terminal."""
    async with AsyncExitStack() as stack:
        network = SmsNetwork(stack, broker)
        await network.open()
        yield network
