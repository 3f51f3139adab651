"""A handset's call to its supplier (SER): both prove themselves, then the module is given what it lacks.

One call a resource counts, its last: a module that calls again has forgotten the call before, and whatever is
being done for that is given up. Over a channel that is lost the supplier waits for the next call a while, for
it is the module that opens channels.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agents.answering import answering
from agents.errors import Refusal, Unanswered
from agents.messages.air import DomainCall, Prove
from agents.messages.bearers import CHANNEL_BEARERS
from agents.messages.codec import encode
from agents.usage import READY
from bus.errors import DeliveryFailed
from transport.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.domain_rolls import DomainRolls
    from agents.exchange import FromModule
    from agents.loading import Loading
    from agents.messages.air import Call
    from agents.offers import Offer
    from agents.role import Desk, Turns
    from agents.store.registry import Registry
    from agents.supplier_keys import KeyRing
    from agents.usage import Usage, Use

CALL_AGAIN_S: Final = 600.0
"""How long a module may take to call again when its channel was lost: it opens another, more than once."""


class Superseded(Exception):  # noqa: N818 -- a condition, not an error
    """Raised when a handset has called again since."""


class Calls:
    """Those of one supplier's modules; *use* begins the use of a resource, *offer* is a service's."""

    def __init__(  # noqa: PLR0913 -- what a supplier has
        self,
        desk: Desk,
        usage: Usage,
        turns: Turns,
        *,
        resources: Registry,
        services: Registry,
        ring: KeyRing,
        rolls: DomainRolls,
        loading: Loading,
        use: Callable[[FromModule, bytes], Use],
        offer: Callable[[str], Offer],
    ) -> None:
        self._desk = desk
        self._log = desk.log.bind(agent=desk.keys.name)
        self._usage = usage
        self._turns = turns
        self._resources = resources
        self._services = services
        self._ring = ring
        self._rolls = rolls
        self._loading = loading
        self._use = use
        self._offer = offer
        self._calls: dict[tuple[str, bytes], Call | DomainCall] = {}
        """The last call of each resource that is not done with."""
        self._again: dict[tuple[str, bytes], asyncio.Event] = {}
        """Set when a resource calls again whose channel was lost."""
        self._answered: dict[tuple[str, bytes], bytes] = {}
        """The opening of each resource's session: the air may bring a call twice."""

    async def serve(self, packet: FromModule, call: Call | DomainCall) -> bytes:
        """Serve who calls. Raises Superseded once it has called again, and as ``Usage.command``."""
        key = (packet.ua, call.tar)
        self._calls[key] = call
        if key in self._again:
            self._again[key].set()
        try:
            return await self._serve(packet, call)
        finally:
            if self._calls.get(key) is call:
                del self._calls[key]

    async def _serve(self, packet: FromModule, call: Call | DomainCall) -> bytes:
        # The line first: what waits for its turn needs the link as well.
        async with self._usage.line(packet.ua), self._turns.of((packet.ua, call.tar)):
            use = self._use(packet, call.tar)
            try:
                await self._connect(use, call)
                offer = self._offer(self._usage.row(use)["service"])
                if await self._rolls.renew(use, offer, self._usage):
                    raise Superseded  # it calls again by the key that it was given
                await self._loading.load(use, offer)
                await self._loading.personalise(use)
            except (Refusal, Rejected, DeliveryFailed, Unanswered):
                self._raise_if_superseded(use, call)
                raise
        return b""

    def _raise_if_superseded(self, use: Use, call: Call | DomainCall) -> None:
        """Raise Superseded once the handset called again: it has forgotten the call before."""
        if self._calls.get((use.ua, use.tar)) is not call:
            raise Superseded

    async def _connect(self, use: Use, call: Call | DomainCall) -> None:
        self._raise_if_superseded(use, call)
        row = self._usage.row(use)
        if self._answered.get((use.ua, use.tar)) == call.opening:
            if row["state"] == READY:
                self._desk.counters.dropped("replayed")
                raise Superseded
            return
        service = self._services.get(row["service"])
        assert service is not None, "it was found by its TAR"
        keys = self._ring.known_as(row["service"], row["supplier_digest"])
        offer = self._offer(row["service"])
        generation = call.generation if isinstance(call, DomainCall) else 0
        domain_key = self._rolls.proving(offer, service, use.ua, generation)
        side = answering(offer, keys, row, domain_key, self._desk.rng)
        said = side.receive(call.opening)
        # Once or twice, as the form has it: what we say is answered with the module's next message.
        while said is not None:
            said = side.receive(await self._say(use, said))
        await asyncio.gather(
            self._resources.put(self._usage.row(use).but(session=side.keys.dump(), counter=0)),
            self._rolls.connected(use, offer, generation),
        )
        self._answered[use.ua, use.tar] = call.opening
        self._log.info("session.opened", ua=use.ua, service=row["service"])

    async def _say(self, use: Use, proof: bytes) -> bytes:
        """Bring the module a message of the secure connection; return its next one."""
        message = encode(Prove(tar=use.tar, proof=proof))
        try:
            return await self._usage.exchange.manage(use.ua, message, trace=use.trace, bearer=use.bearers[0])
        except DeliveryFailed:
            # The call is the module's, and so is the next one, over this bearer or another.
            if use.bearers[0] in CHANNEL_BEARERS:
                await self._wait_for_call((use.ua, use.tar))
            raise

    async def _wait_for_call(self, key: tuple[str, bytes]) -> None:
        """Wait until a module whose channel was lost calls again, or for as long as it would try."""
        again = self._again[key] = asyncio.Event()
        try:
            async with self._desk.clock.timeout(CALL_AGAIN_S):
                await again.wait()
        except TimeoutError:
            self._log.info("call.lost", ua=key[0])
        finally:
            del self._again[key]
