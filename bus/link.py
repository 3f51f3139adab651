"""Keeps one MQTT connection up: connects, notices the loss, backs off, connects again, wakes who waited.

Each connection is an ``aiomqtt.Client`` of its own. Reusing one after a loss leaves its "connected" set from
the first time, so that it returns before the CONNACK and can miss a second loss for ever. Calls that were
under way on the lost client are woken by rescheduling their ``asyncio.timeout``; their callers call again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from bus.address import BrokerAddress, tls_context
from bus.errors import BrokerError, BrokerLost, BrokerRefused, BrokerUnavailable, ClientClosed

if TYPE_CHECKING:
    import ssl

    import paho.mqtt.client as mqtt
    from structlog.typing import FilteringBoundLogger

Take: TypeAlias = Callable[[aiomqtt.Message], None]
Announce: TypeAlias = Callable[[aiomqtt.Client], Awaitable[None]]

_ERRNO: Final = re.compile(r"^\[Errno -?\d+\] ")  # the number says nothing that the words do not
_NO_DELAY: Final = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
# paho reports each loss, and logging would put it on stderr; we log it ourselves, once.
_QUIET: Final = logging.getLogger("bus.mqtt")
_QUIET.setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """How long to wait for what. ``give_up_s`` is for a broker that was there and went away."""

    connect_timeout_s: float = 5.0
    keepalive_s: int = 30
    backoff_first_s: float = 0.05
    backoff_most_s: float = 2.0
    give_up_s: float = 120.0
    publishes_at_once: int = 32
    rng: Callable[[int], bytes] = field(default=os.urandom, repr=False)  # for the jitter of the back-off


class Companions:
    """The clients of one process on one broker: after a loss nobody publishes before all are back.

    A broker that was killed has forgotten its sessions. Who publishes to a subscriber that has not yet
    subscribed again publishes to nobody, and gets a PUBACK for it.
    """

    def __init__(self) -> None:
        self.absent: set[str] = set()
        self.lost_at_s = 0.0
        self._complete = asyncio.Event()
        self._complete.set()

    def lost(self, identifier: str, now_s: float) -> None:
        """Note that a client lost its connection."""
        if not self.absent:
            self.lost_at_s = now_s
        self.absent.add(identifier)
        self._complete.clear()

    def back(self, identifier: str) -> None:
        """Note that a client is connected and subscribed again, or gone for good."""
        self.absent.discard(identifier)
        if not self.absent:
            self._complete.set()

    async def complete(self) -> None:
        """Wait until nobody is absent."""
        await self._complete.wait()


class Link:
    """One identifier's connection to one broker, from :meth:`open` to :meth:`close`.

    *take* gets every message in the socket's callback and must not raise; *announce* renews the subscriptions
    on each new connection, before anybody may publish on it.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        identifier: str,
        log: FilteringBoundLogger,
        take: Take,
        announce: Announce,
        persistent: bool = True,
        settings: ConnectionSettings | None = None,
        companions: Companions | None = None,
    ) -> None:
        self.settings = settings or ConnectionSettings()
        self._address = address
        self._identifier = identifier
        self._log = log
        self._queue_type = _dispatching(take)
        self._announce = announce
        self._persistent = persistent
        self._companions = companions or Companions()
        self._tls: ssl.SSLContext | None = None
        self._client: aiomqtt.Client | None = None
        self._up = asyncio.Event()
        self._calls: set[asyncio.Timeout] = set()  # on the present connection; woken when it is lost
        self._waits: set[asyncio.Timeout] = set()  # for the next connection; woken when we close
        self._lost_at_s = 0.0
        self._closed = False
        self._keeper: asyncio.Task[None] | None = None

    @property
    def opened(self) -> bool:
        """Whether :meth:`open` was called."""
        return self._keeper is not None

    async def open(self) -> None:
        """Connect. Raises BrokerUnavailable if nobody listens, BrokerRefused if it will not have us."""
        if self._keeper is not None:
            raise ValueError(f"bus client {self._identifier} was entered before")
        loop = asyncio.get_running_loop()
        self._lost_at_s = loop.time()
        first: asyncio.Future[None] = loop.create_future()
        self._keeper = asyncio.create_task(self._keep(first), name=f"bus[{self._identifier}]")
        try:
            await asyncio.wait({first, self._keeper}, return_when=asyncio.FIRST_COMPLETED)
            if not first.done():
                await self._keeper
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect; whoever waits gets ClientClosed."""
        self._closed = True
        _wake(self._waits)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)  # what it raised is said already
        self._companions.back(self._identifier)

    # ---- for those who call ------------------------------------------------------------------------------

    def client(self) -> aiomqtt.Client | None:
        """Return the present connection, or None if one must wait for it with :meth:`live`."""
        return None if self._companions.absent else self._client

    async def live(self) -> aiomqtt.Client:
        """Return the connection once it and those of all companions are up. BrokerLost, ClientClosed."""
        if self._closed or self._keeper is None:
            raise ClientClosed(self._identifier)
        since_s = max(self._lost_at_s, self._companions.lost_at_s)
        scope = asyncio.timeout_at(since_s + self.settings.give_up_s)
        try:
            async with scope:
                self._waits.add(scope)
                return await self._whole()
        except TimeoutError:
            raise self._why_not() from None
        finally:
            self._waits.discard(scope)

    async def _whole(self) -> aiomqtt.Client:
        while self._client is None or self._companions.absent:
            await self._up.wait()
            await self._companions.complete()
        return self._client

    async def call(self, call: Awaitable[None]) -> None:
        """Await *call*, made on the present connection. Raises TimeoutError when that is lost meanwhile."""
        async with asyncio.timeout(None) as scope:
            self._calls.add(scope)
            try:
                await call
            finally:
                self._calls.discard(scope)

    def _why_not(self) -> BrokerLost | ClientClosed:
        if self._closed:
            return ClientClosed(self._identifier)
        return BrokerLost(str(self._address), self.settings.give_up_s)

    # ---- the keeper: one task ----------------------------------------------------------------------------

    async def _keep(self, first: asyncio.Future[None]) -> None:
        try:
            await self._connect_for_ever(first)
        except BrokerError:
            raise
        except Exception:
            self._log.exception("bus.link_failed")
            raise
        finally:
            self._closed = True
            self._lose()
            _wake(self._waits)

    async def _connect_for_ever(self, first: asyncio.Future[None]) -> None:
        """Connect again after each loss; but raise the reason if not even the first connection came up."""
        loop = asyncio.get_running_loop()
        failures = 0
        if self._address.tls is not None:  # its files are read in a thread
            self._tls = await asyncio.to_thread(tls_context, self._address)
        while True:
            began_s = loop.time()
            why = await self._connection(first)
            if not first.done():
                raise why
            # A broker that takes us and drops us at once is backed off from as well.
            failures = 0 if loop.time() - began_s > self.settings.backoff_most_s else failures + 1
            await asyncio.sleep(self._backoff_s(failures, why))

    async def _connection(self, first: asyncio.Future[None]) -> BrokerError:
        """Live through one connection; return why it ended."""
        why: BrokerError = BrokerUnavailable(str(self._address), "the connection was closed")
        try:
            async with self._new_client() as client, asyncio.TaskGroup() as group:
                group.create_task(self._enter(client, first), name=f"bus[{self._identifier}].announce")
                async for _ in client.messages:
                    pass  # nothing ever comes: the queue dispatches; it raises when the connection is lost
        except* (aiomqtt.MqttError, BrokerError, OSError) as errors:
            why = self._explain(errors)
        finally:
            self._lose()
        return why

    async def _enter(self, client: aiomqtt.Client, first: asyncio.Future[None]) -> None:
        await self._announce(client)
        self._client = client
        self._up.set()
        self._companions.back(self._identifier)
        if first.done():
            self._log.info("bus.connected_again")
        else:
            first.set_result(None)

    def _lose(self) -> None:
        if self._client is None:
            return
        self._client = None
        self._up.clear()
        self._lost_at_s = asyncio.get_running_loop().time()
        if not self._closed:
            self._companions.lost(self._identifier, self._lost_at_s)
        calls, self._calls = self._calls, set()
        _wake(calls)

    def _new_client(self) -> aiomqtt.Client:
        address, settings = self._address, self.settings
        client = _Client(
            address.host,
            address.port,
            username=address.username,
            password=address.password,
            logger=_QUIET,
            identifier=self._identifier,
            queue_type=self._queue_type,
            clean_session=not self._persistent,
            timeout=settings.connect_timeout_s,
            keepalive=settings.keepalive_s,
            max_inflight_messages=settings.publishes_at_once,
            tls_context=self._tls,
            socket_options=_NO_DELAY,
        )
        client.pending_calls_threshold = settings.publishes_at_once + 1
        return client

    def _backoff_s(self, failures: int, why: BrokerError) -> float:
        """Return 50 to 100 % of an exponentially growing delay, so that a fleet does not return in step."""
        most_s = min(self.settings.backoff_most_s, self.settings.backoff_first_s * 2.0 ** min(failures, 16))
        delay_s = most_s * (0.5 + self.settings.rng(1)[0] / 512)
        self._log.warning("bus.connection_lost", reason=str(why), again_in_s=round(delay_s, 3))
        return delay_s

    def _explain(self, error: BaseException) -> BrokerError:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, BrokerError):
            return error
        if isinstance(error, aiomqtt.MqttCodeError) and isinstance(error.rc, ReasonCode):
            return BrokerRefused(str(self._address), str(error.rc))
        return BrokerUnavailable(str(self._address), _ERRNO.sub("", str(error)))


class _Client(aiomqtt.Client):
    """An aiomqtt client that never watches a socket that was closed meanwhile.

    aiomqtt asks the loop to watch for writing one iteration later, by descriptor. A socket lost in between
    leaves its number behind: the loop complains of a bad descriptor, or keeps a stale watch on a number that
    another client's new socket then gets, and that client hears nothing until its keepalive runs out. It
    happens when a broker dies under hundreds of clients. Watching at once also saves the loop a wake-up for
    each publish. If aiomqtt renames the hook, this class does nothing.

    Nor does it complain of a loss that nobody was left to hear of: aiomqtt keeps it in a future, and a client
    that is closed in the same instant never looks there.
    """

    def __init__(self, hostname: str, port: int, **options: Any) -> None:
        self._watch_loop = asyncio.get_running_loop()
        self._watch_thread = threading.get_ident()
        super().__init__(hostname, port, **options)
        self._disconnected.add_done_callback(_heed)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._disconnected.add_done_callback(_heed)  # it may be another one by now
        return self

    def _on_socket_register_write(self, client: mqtt.Client, userdata: object, sock: Any) -> None:  # noqa: ARG002
        if threading.get_ident() == self._watch_thread:
            self._watch(client, sock)
        else:  # connecting runs in a thread
            self._watch_loop.call_soon_threadsafe(self._watch, client, sock)

    def _watch(self, client: mqtt.Client, sock: Any) -> None:
        descriptor = sock.fileno()
        if descriptor >= 0:
            self._watch_loop.add_writer(descriptor, client.loop_write)


def _dispatching(take: Take) -> type[asyncio.Queue[aiomqtt.Message]]:
    """Return a queue that holds nothing: what is put into it is taken at once, in the socket's callback."""

    class Dispatch(asyncio.Queue[aiomqtt.Message]):
        def put_nowait(self, item: aiomqtt.Message) -> None:
            take(item)

    return Dispatch


def _heed(loss: asyncio.Future[None]) -> None:
    """Look at how *loss* ended, so that asyncio does not report it as overlooked."""
    if not loss.cancelled():
        loss.exception()


def _wake(scopes: set[asyncio.Timeout]) -> None:
    """Let every ``asyncio.timeout`` in *scopes* expire now."""
    now_s = asyncio.get_running_loop().time()
    for scope in scopes:
        scope.reschedule(now_s)
