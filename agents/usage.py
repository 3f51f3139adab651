"""A supplier's resources in use: its commands to them, over the bearers of their service in order.

A command takes the first bearer that serves, and the next when that fails. A channel is the module's to open;
when it has none, it is asked to, in a short message under the session's keys. A packet's counter is stored
before the packet leaves, so that no counter is used twice.
"""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from agents.errors import PacketRefused, Refusal, Unanswered
from agents.messages.air import Push, Result
from agents.messages.bearers import CHANNEL_BEARERS, SMS, TERMINAL_LACKS
from agents.messages.codec import decode, encode
from bus import tracing
from bus.errors import DeliveryFailed
from bus.fallbacks import fall_back
from transport.errors import PacketRejected
from transport.security.keyset import SessionKeys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from agents.exchange import Exchange
    from agents.messages.air import Held, Invoke, LoadApplication, LoadData, RenewDomainKey
    from agents.role import Desk, Turns
    from agents.store.registry import Registry, Row
    from bus.frame import TraceContext

    Command = LoadApplication | LoadData | Invoke | Push | Held | RenewDomainKey

# How far a resource has come; each state includes what the ones before it have.
ACTIVE, LOADED, READY, RELEASED = "active", "loaded", "ready", "released"

BARS: Final[Mapping[str, str]] = {
    "active": "",
    "blocked": "blocked",
    "expired": "expired",
    "exhausted": "exhausted",
}
"""By what the operator says a resource has become: why it is not to be used, if it is not."""


class Use(NamedTuple):
    """One resource in use: its row's key, which reservation it is, and the trace it is used under."""

    ua: str
    tar: bytes
    reserved_turn: int
    trace: TraceContext
    bearers: tuple[str, ...]
    """To reach the module over, the first choice first."""


class Usage:
    """What one supplier does with its *resources*; *turns* are the supplier's own."""

    def __init__(self, desk: Desk, resources: Registry, turns: Turns) -> None:
        self._desk = desk
        self._resources = resources
        self._turns = turns
        self._log = desk.log.bind(agent=desk.keys.name)
        self._busy: Counter[str] = Counter()
        """How many uses of a module's resources are under way, or wait for their turn."""
        self._over: dict[tuple[str, bytes], str] = {}
        """The bearer that last served each resource."""

    def row(self, use: Use) -> Row:
        """Return the resource as it is now: what was waited for may have changed it. Raises Refusal."""
        row = self._resources.get(use.ua, use.tar)
        if row is None or row["reserved_turn"] != use.reserved_turn or row["state"] == RELEASED:
            raise Refusal("released")
        if row["barred"]:
            raise Refusal(row["barred"])
        return row

    async def command(self, use: Use, message: Command) -> Result:
        """Send one command under the session over the first bearer that serves; return its result.

        Raises Refusal with the module's reason, or what the last bearer failed with.
        """
        if not use.bearers:
            raise DeliveryFailed("no-bearer", use.ua, 1, 1)
        bearer, *others = use.bearers
        try:
            await self._reach(use, bearer)
            result = await self._send(use, message, bearer)
        except (DeliveryFailed, Unanswered) as failed:
            self._log.warning("bearer.failed", ua=use.ua, bearer=bearer, reason=failed.reason)
            if not others:
                raise
        else:
            self._over[use.ua, use.tar] = bearer
            return result
        instead = fall_back(use.trace, self._desk.keys.name, others[0])
        with tracing.bound(instead):
            self._log.info("bearer.fallback", ua=use.ua, bearer=others[0])
            return await self.command(use._replace(trace=instead, bearers=tuple(others)), message)

    def over(self, use: Use) -> str:
        """Return the bearer that the last command to the resource went over."""
        return self._over[use.ua, use.tar]

    async def _reach(self, use: Use, bearer: str) -> None:
        """Have the module open a channel, if that is what *bearer* takes and there is none: ask it by SMS."""
        if bearer == SMS:
            return
        # One at a time: a second push would have the module give up what the first one opened.
        async with self._turns.of((use.ua, bearer)):
            if self.exchange.has_link(use.ua, bearer):
                return
            try:
                await self._send(use, Push(bearer=bearer), SMS)
            except Refusal as refusal:
                if refusal.reason.startswith(TERMINAL_LACKS):  # another bearer may do
                    raise DeliveryFailed(refusal.reason, use.ua, 1, 1) from None
                raise
            if not await self.exchange.wait_link(use.ua, bearer):
                raise DeliveryFailed("no-link", use.ua, 1, 1)

    async def _send(self, use: Use, message: Command, bearer: str) -> Result:
        row = self.row(use)
        if row["session"] is None:
            raise Refusal("no-session")
        # Every attempt has a counter of its own: whether the one before was taken, nobody knows.
        counter = row["counter"] + 1
        await self._resources.put(row.but(counter=counter))
        try:
            response = await self.exchange.command(
                use.ua,
                use.tar,
                encode(message),
                keys=SessionKeys.load(row["session"]),
                counter=counter,
                trace=use.trace,
                bearer=bearer,
            )
        except (PacketRefused, PacketRejected):
            # The module has another session, or none: this one is of no more use.
            await self._resources.put(self.row(use).but(session=None))
            raise
        result = decode(response, Result)
        if result.reason:
            raise Refusal(result.reason)
        return result

    @asynccontextmanager
    async def line(self, ua: str) -> AsyncIterator[None]:
        """Hang up on module *ua* afterwards, unless another of its resources is in use meanwhile."""
        self._busy[ua] += 1
        try:
            yield
        finally:
            self._busy[ua] -= 1
            if not self._busy[ua]:
                del self._busy[ua]
                for bearer in CHANNEL_BEARERS:
                    await self.exchange.hang_up(ua, bearer)

    @property
    def exchange(self) -> Exchange:
        """The supplier's number and server."""
        exchange = self._desk.exchange
        assert exchange is not None, "a supplier has a number"
        return exchange
