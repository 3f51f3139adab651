"""A cell's antenna: what goes through the air to and from its handsets, and what the air does to it.

Between the antenna and the roles is the network, which is MQTT and loses nothing. Between the antenna and a
handset is the air (:mod:`bus.air`), which loses, delays, repeats and reorders as the config says. What comes
through to the network later than it was sent leaves in that order, by one task.
"""

from __future__ import annotations

import asyncio
import contextlib
from itertools import chain, repeat
from typing import TYPE_CHECKING, Final

from agents.errors import SwitchedOff
from bus import ends, tracing
from bus.errors import BusError
from bus.topics import DOWN

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from structlog.typing import FilteringBoundLogger

    from bus.air import AirGate, Way
    from bus.client import BusClient
    from bus.counters import Counters
    from bus.frame import Bearer, Frame, TraceContext
    from bus.topics import Topic
    from transport.air import Presence

ON_AIR: Final = "air"
NOBODY_THERE: Final = "handset-off"
"""Why messages are lost."""
OUTBOX: Final = 1024
"""Messages that came through and wait for the network; one more is lost, as on a link that is overloaded."""


class Antenna:
    """One cell's; an async context manager, around which its tasks run."""

    def __init__(
        self,
        client: BusClient,
        gate: AirGate,
        *,
        name: str,
        counters: Counters,
        log: FilteringBoundLogger,
    ) -> None:
        self._client = client
        self._counters = counters
        self._gate = gate
        self._name = name
        self._log = log
        self._log_down = log.bind(role="handset")
        self._outbox: asyncio.Queue[tuple[Topic, Frame, TraceContext | None]] = asyncio.Queue(OUTBOX)
        self._sender: asyncio.Task[None] | None = None
        self._presences: dict[str, Presence] = {}
        self._switched_off: dict[str, asyncio.Event] = {}
        """Of those that may have to wait for their reach: set while their owner has them off."""

    def cover(self, ua: str, presence: Presence) -> None:
        """Let handset *ua* be heard only while it is on."""
        self._presences[ua] = presence
        self._switched_off[ua] = asyncio.Event()

    def switch(self, ua: str, *, on: bool) -> None:
        """Take note that the owner of handset *ua* switches it: off, it waits for its reach no longer."""
        switched_off = self._switched_off.get(ua)
        if switched_off is not None:
            (switched_off.clear if on else switched_off.set)()

    async def __aenter__(self) -> Self:
        self._sender = asyncio.create_task(self._send(), name=f"antenna[{self._name}]")
        return self

    async def __aexit__(self, *_: object) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.cancel()
            await asyncio.wait([sender])

    async def up(self, ua: str, topic: Topic, frame: Frame, span: TraceContext | None = None) -> bool:
        """Send what handset *ua* says; return whether it comes through, now or later.

        *span* is the message's own, if it has one already; what the air doubles gets another. What comes
        through at once has reached the network when this returns. What a handset that is off has to say waits
        until it is on. Raises BrokerLost, and SwitchedOff where its owner does not wait for that.
        """
        if ua in self._presences:
            await self._until_on(self._presences[ua], self._switched_off[ua])
        arrived = 0
        waited = False
        copies = chain([span], repeat(None))

        def arrive() -> None:
            nonlocal arrived
            if waited:
                self._later(topic, frame, next(copies))
            else:
                arrived += 1

        through = self._gate.carry(frame.bearer, f"{ua}/up", len(frame.pdu), arrive)
        waited = True
        for _ in range(arrived):
            await self._client.publish(topic, frame, next(copies))
        if not through:
            # What is lost was sent all the same.
            self._counters.sent(frame.bearer, len(frame.pdu), topic.direction)
            span = span or tracing.child(frame.trace)
            ends.tell(self._log, ends.SENT, frame, topic.direction, span=span)
            ends.tell(self._log, ends.LOST, frame, topic.direction, span=span, reason=ON_AIR)
        return through

    async def _until_on(self, presence: Presence, switched_off: asyncio.Event) -> None:
        clock = self._gate.clock
        while not presence.is_on(now := clock.now()):
            with contextlib.suppress(TimeoutError):
                async with clock.timeout(presence.next_change(now) - now):
                    await switched_off.wait()
                    raise SwitchedOff

    def down(self, ua: str, frame: Frame, deliver: Callable[[], None]) -> None:
        """Let what the network has for handset *ua* through the air; *deliver* takes each copy that comes."""
        if not self._gate.carry(frame.bearer, f"{ua}/down", len(frame.pdu), deliver):
            self._tell_lost(frame, ON_AIR)

    def lose(self, frame: Frame) -> None:
        """Count and tell that *frame* came through the air to a handset that was no more there."""
        self._counters.lost(frame.bearer)
        self._tell_lost(frame, NOBODY_THERE)

    def _tell_lost(self, frame: Frame, reason: str) -> None:
        ends.tell(self._log_down, ends.LOST, frame, DOWN, agent=frame.destination, reason=reason)

    def way_down(self, bearer: Bearer, ua: str) -> Way:
        """Return the way that *bearer* takes to handset *ua*, for who has much to send there."""
        return self._gate.way(bearer, f"{ua}/down")

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call *call* in *delay_s* seconds of the fleet's clock; one that finds a mailbox full is lost."""
        self._gate.after(delay_s, call)

    def say(self, topic: Topic, frame: Frame) -> None:
        """Send a word of the network's own: it goes over no air, and nobody waits for it."""
        self._later(topic, frame, None)

    def _later(self, topic: Topic, frame: Frame, span: TraceContext | None) -> None:
        try:
            self._outbox.put_nowait((topic, frame, span))
        except asyncio.QueueFull:
            self._drop("outbox-full", frame)

    async def _send(self) -> None:
        while True:
            topic, frame, span = await self._outbox.get()
            try:
                await self._client.publish(topic, frame, span)
            except BusError as error:
                self._drop(type(error).__name__, frame)

    def _drop(self, reason: str, frame: Frame) -> None:
        self._counters.dropped(reason)
        self._log.warning("antenna.dropped", reason=reason, bearer=str(frame.bearer))
