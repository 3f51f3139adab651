"""The bus for an agent: publish that survives the broker's absence, dispatch without a task for each message.

* ``publish`` is QoS 1 and returns after the broker's PUBACK. While the broker is away it waits; what was not
  acknowledged is published again on the next connection. So it may arrive twice (QoS 1) but is not lost.
* Messages are dispatched inside the queue's ``put_nowait``, that is in the socket's callback, before paho
  acknowledges them. aiomqtt's own iterator would cost a task for each.
* Publishes under way are bounded: aiomqtt looks through all pending calls at each new one, and senders feel
  the pressure.
* All subscriptions are renewed on every connection: the broker may have lost the session, and saying it twice
  is harmless.
* A persistent session may bring messages before anybody has subscribed in this run: they are held, bounded,
  until a subscription claims them.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from bus import ends, tracing
from bus.address import BrokerAddress, TlsSettings
from bus.errors import BrokerRefused, FrameRejected, MailboxFull
from bus.frame import Frame
from bus.link import Companions, ConnectionSettings, Link
from bus.topics import direction_of

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from structlog.typing import FilteringBoundLogger

    from bus.counters import Counters
    from bus.frame import TraceContext
    from bus.topics import Topic

__all__ = ["BrokerAddress", "BusClient", "Companions", "ConnectionSettings", "Handler", "TlsSettings"]

Handler: TypeAlias = Callable[[Frame, str], None]
"""Takes a frame and the topic it came on, at once and without blocking."""

_SUBSCRIBE_AT_ONCE: Final = 256  # topics in one SUBSCRIBE, so that it stays a packet of a few KiB
_MAX_HELD: Final = 4096
_MAX_HELD_OCTETS: Final = 16 << 20
_SHOWN: Final = 128  # characters of a stranger's topic in the log
_DENIED: Final = 0x80  # MQTT 3.1.1, 3.9.3: the failure bit of a SUBACK's return code


class BusClient:
    """An async context manager around one connection, which it keeps up until it is left.

    *identifier* must be unique at the broker and, with a *persistent* session, the same in each run: then the
    broker keeps what arrives while we are away. Clients of a process should share one *companions*. Entering
    raises BrokerUnavailable if nobody listens, BrokerRefused if the broker will not have us.

    *owner* says whose it is (``agent``, ``role``), for what its lines tell outside of an agent's own tasks.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        identifier: str,
        log: FilteringBoundLogger,
        counters: Counters,
        owner: Mapping[str, str] | None = None,
        persistent: bool = True,
        settings: ConnectionSettings | None = None,
        companions: Companions | None = None,
    ) -> None:
        self.address = address
        self.identifier = identifier
        self._log = log.bind(client=identifier)
        self._owners_log = self._log.bind(**(owner or {}))
        self._counters = counters
        self._handlers: dict[str, Handler] = {}
        self._wildcards: dict[str, Handler] = {}
        self._held: deque[aiomqtt.Message] = deque()
        self._held_octets = 0
        self._link = Link(
            address,
            identifier=identifier,
            log=self._log.bind(broker=str(address)),
            take=self._take,
            announce=lambda client: self._announce(client, (*self._handlers, *self._wildcards)),
            persistent=persistent,
            settings=settings,
            companions=companions,
        )
        self._backoff_s = self._link.settings.backoff_first_s
        self._permits = asyncio.Semaphore(self._link.settings.publishes_at_once)

    async def __aenter__(self) -> Self:
        await self._link.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._link.close()
        for message in self._held:
            self._drop(message, "no-handler")
        self._held.clear()

    async def subscribe(self, topics: Sequence[Topic | str], handler: Handler) -> None:
        """Give what arrives on *topics* to *handler*; returns when the broker knows it.

        Before entering it returns at once, and the first connection announces it. A wildcard gets what no
        exact topic claims. Raises BrokerRefused if the broker denies a topic, and BrokerLost and ClientClosed
        as :meth:`publish` does.
        """
        paths = [str(topic) for topic in topics]
        for path in paths:
            (self._wildcards if "#" in path or "+" in path else self._handlers)[path] = handler
        held, self._held, self._held_octets = self._held, deque(), 0
        for message in held:
            self._take(message)
        if self._link.opened:
            await self._insist(lambda client: self._announce(client, paths))

    async def publish(self, topic: Topic | str, frame: Frame, span: TraceContext | None = None) -> None:
        """Publish *frame* with QoS 1; returns when the broker has it, however often it went away meanwhile.

        *span*, a child of the frame's, is the message's where who sends it has begun it already.
        Raises BrokerLost when it stayed away for ``give_up_s``, ClientClosed when this client is left.
        """
        path = topic if isinstance(topic, str) else topic.path
        span = span or tracing.child(frame.trace)
        octets = frame.encode(span.span_id)
        direction = direction_of(path)
        log, agent = (self._log, "") if tracing.names_agent() else (self._owners_log, frame.source)
        ends.tell(log, ends.SENT, frame, direction, span=span, agent=agent)
        with ends.on_its_way(frame, path, span):
            async with self._permits:
                await self._insist(lambda client: client.publish(path, octets, qos=1, timeout=math.inf))
        self._counters.sent(frame.bearer, len(frame.pdu), direction)

    async def _insist(self, call: Callable[[aiomqtt.Client], Awaitable[None]]) -> None:
        """Make *call* on the connection, and again on the next one, until it returns."""
        while True:
            client = self._link.client() or await self._link.live()
            try:
                await self._link.call(call(client))
            except TimeoutError:
                self._log.info("bus.call_repeated")
            except aiomqtt.MqttError:
                # paho knows that the connection is dead, our link not yet.
                await asyncio.sleep(self._backoff_s)
            else:
                return

    async def _announce(self, client: aiomqtt.Client, paths: Sequence[str]) -> None:
        for start in range(0, len(paths), _SUBSCRIBE_AT_ONCE):
            some = paths[start : start + _SUBSCRIBE_AT_ONCE]
            granted = await client.subscribe([(path, 1) for path in some])
            if denied := _denied(some, granted):
                raise BrokerRefused(str(self.address), f"it denies the topic {denied}")

    # ---- incoming: runs in the socket's callback and must not raise --------------------------------------

    def _take(self, message: aiomqtt.Message) -> None:
        topic = message.topic.value
        handler = self._handlers.get(topic) or self._matching(message.topic)
        if handler is None:
            self._hold(message)
            return
        try:
            frame = Frame.parse(message.payload)
            direction = direction_of(topic)
            self._counters.received(frame.bearer, len(frame.pdu), direction)
            ends.tell(self._owners_log, ends.TAKEN, frame, direction, agent=frame.destination)
            with tracing.bound(frame.trace):
                self._handle(handler, frame, message)
        except FrameRejected as error:
            self._drop(message, error.reason, error.detail)

    def _handle(self, handler: Handler, frame: Frame, message: aiomqtt.Message) -> None:
        """Hand *frame* in; what is told of that meanwhile belongs to its transaction."""
        topic = message.topic.value
        try:
            handler(frame, topic)
        except FrameRejected as error:
            self._drop(message, error.reason, error.detail)
        except MailboxFull as error:
            self._drop(message, "mailbox-full", str(error))
        except Exception:  # noqa: BLE001 -- a handler's fault must not take the connection down with it
            self._log.exception("bus.handler_failed", topic=topic[:_SHOWN])
            self._drop(message, "handler-failed")

    def _matching(self, topic: aiomqtt.Topic) -> Handler | None:
        for wildcard, handler in self._wildcards.items():
            if topic.matches(wildcard):
                return handler
        return None

    def _hold(self, message: aiomqtt.Message) -> None:
        self._held.append(message)
        self._held_octets += len(message.payload)
        while len(self._held) > _MAX_HELD or self._held_octets > _MAX_HELD_OCTETS:
            oldest = self._held.popleft()
            self._held_octets -= len(oldest.payload)
            self._drop(oldest, "no-handler")

    def _drop(self, message: aiomqtt.Message, reason: str, detail: str = "") -> None:
        self._counters.dropped(reason)
        self._log.warning(
            "bus.payload_dropped",
            reason=reason,
            detail=detail,
            topic=message.topic.value[:_SHOWN],
            octets=len(message.payload),
        )


def _denied(paths: Sequence[str], granted: Iterable[int | ReasonCode]) -> str | None:
    """Return the first path that the SUBACK says no to."""
    for path, code in zip(paths, granted, strict=False):
        if (code.value if isinstance(code, ReasonCode) else code) >= _DENIED:
            return path
    return None
