"""A supplier's roll-overs of domain keys: the next one by broadcast, and to who missed it when it calls.

A roll-over makes the next generation of a global service's domain key and wraps it to each module whose
resource may be used, but to none that is to be left out. Key, packets, and who is left out become durable in
one transaction before anything is broadcast (``domain_airings``), under the number of the roll-over: given
again, the order broadcasts the very same octets. From then on reservations bring the new key and campaigns
are under it. Sessions that were made in a domain's form end, for each may be anybody's of the former domain.
The operator, and what it agreed, is not concerned: it forwards reservations that it cannot read.

What one packet does not hold (``pq-hybrid``) is not broadcast, nor is anything to a module that knows the
supplier by another key than its newest, or that is barred: blocked, expired, exhausted. All of these, and who
just did not hear, are given the key when they are next served, under the session:

* *in a form with the module's own key* the session goes on, for it is the module's own whatever key it has of
  the domain. Who is left out is served as anybody, and is not given the key.
* *in a domain's form* a connection by a former key proves somebody of the former domain, perhaps one who was
  left out since. It is given the newest key, wrapped to the module that it says it is, and nothing else: no
  question, programme or data. The session ends with that, and the module calls again by the new key, which
  only that module could unwrap. Who is left out is refused before anything is said.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agents import domains
from agents.domain_airings import RenewalAirings
from agents.domain_members import DomainMembers
from agents.errors import Refusal
from agents.messages.air import RenewDomainKey
from agents.messages.inside import PublicKeys, ResourceChanged, WrapDomainKey, WrappedDomainKey
from agents.messages.succession import key_digest
from agents.randomness import branch
from agents.role import Turns
from agents.usage import ACTIVE, BARS, RELEASED
from transport.diffusion import Domain, longest_wrapped, make_notice, make_renewal
from transport.errors import SealRejected
from transport.security.domain_key import DomainKey
from transport.security.terms import DOMAIN_FORMS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping

    from agents.diffuser import Aerial, Diffuser
    from agents.identity import RoleKeys
    from agents.messages.orders import DomainRollOrder
    from agents.offers import Offer
    from agents.role import Desk
    from agents.store.group_commit import GroupCommit
    from agents.store.registry import Registry, Row
    from agents.usage import Usage, Use
    from bus.frame import TraceContext
    from transport.security.suites import Rng


@dataclass(frozen=True, slots=True, kw_only=True)
class _Next:
    """A generation that was made: its key, the packets that bring it, and to how many modules."""

    domain_key: bytes = field(repr=False)
    packets: list[bytes] = field(repr=False)
    modules: int


class DomainRolls:
    """One supplier's; *services* and *resources* are the supplier's own."""

    def __init__(
        self,
        desk: Desk,
        store: GroupCommit,
        diffuser: Diffuser,
        *,
        services: Registry,
        resources: Registry,
    ) -> None:
        self.members = DomainMembers(store)
        self._desk = desk
        self._diffuser = diffuser
        self._services = services
        self._resources = resources
        self._turns = Turns()
        self.airings = RenewalAirings(desk, store, diffuser, services=services, turns=self._turns)

    async def load(self) -> None:
        """Read what the store holds."""
        await self.members.load()
        await self.airings.load()

    # what the operator asks for and tells -------------------------------------------------------------------

    async def wrap(self, offer: Offer, message: WrapDomainKey) -> WrappedDomainKey:
        """Wrap the domain key to a module, whose keys the authority vouches for, for one reservation.

        Raises Refusal: ``not-my-domain-key``, and ``left-out`` for one that holds the service and is not to
        have it. Who holds nothing is let in again by a new reservation, as by one after a release.
        """
        service = self._services.get(offer.service)
        if service is None or offer.custody != domains.BY_SUPPLIER:
            raise Refusal("not-my-domain-key")
        if self.members.is_left_out(service, message.ua) and message.ua in self._holders(offer):
            raise Refusal("left-out")
        wrapped = domains.wrap(
            DomainKey.load(self.members.key_for(service, message.ua, message.ticket)),
            self._desk.directory.module(message.certificate, message.ua),
            ua=message.ua,
            tar=service["tar"],
            logic_name=offer.logic_name,
            oldest=self._diffuser.newest(offer).version,
            ticket=message.ticket,
        )
        await self.members.admit(service, message.ua, message.ticket)
        return WrappedDomainKey(octets=wrapped)

    async def changed(self, message: ResourceChanged, before: Row | None) -> None:
        """Take note of whom the operator lets into a domain again, or takes out of it.

        *before* is the resource as it was, None for one that was never activated.
        """
        if message.state == RELEASED:
            await self.members.leave(message.service, message.ua)
        elif message.state == ACTIVE and before is not None and before["barred"] == BARS["blocked"]:
            await self.members.clear(message.service, message.ua)

    # the roll-over ----------------------------------------------------------------------------------------

    async def roll(self, offer: Offer, keys: RoleKeys, said: DomainRollOrder, *, trace: TraceContext) -> None:
        """Roll *offer*'s domain key over and broadcast the next one; *keys* are the newest of the service.

        Raises Refusal: ``no-broadcast``, ``unknown-service``, ``not-global``, ``not-my-domain-key`` where the
        operator made it, ``unknown-group``, ``campaign-running``.
        """
        cells = self._diffuser.cells(said.groups)
        left_out = _modules(self._diffuser.aerial, said.leave_out)
        joined = self.airings.join(offer.service, said, trace)
        async with self._turns.of(offer.service):
            service = self._service(offer)
            if self.airings.last(offer.service) < said.roll:
                await self._succeed(offer, service, keys, said, left_out, trace=trace)
                await self.airings.broadcast(offer.service, cells, trace)
            else:
                await self.airings.broadcast_again(offer.service, said, cells, trace, joined=joined)

    def _service(self, offer: Offer) -> Row:
        service = self._services.get(offer.service)
        if service is None:
            raise Refusal("unknown-service")
        if not service["domain_key"]:
            raise Refusal("not-global")
        if offer.custody != domains.BY_SUPPLIER:
            raise Refusal("not-my-domain-key")
        return service

    async def _succeed(
        self,
        offer: Offer,
        service: Row,
        keys: RoleKeys,
        said: DomainRollOrder,
        left_out: frozenset[str],
        *,
        trace: TraceContext,
    ) -> None:
        """Make the next key and all that its broadcast takes, and keep that, all or nothing.

        Raises Refusal (``campaign-running``) where a campaign under this key was begun meanwhile.
        """
        last = self._diffuser.last(offer.service)
        oldest = self._diffuser.newest(offer).version
        remaining, made = self._remaining(offer, service, keys, left_out), None
        while made is None:
            # To wrap takes 0.1 ms and more a module, and primes take longer than a thousand of them.
            rng = branch(self._desk.rng, f"{keys.name}/{offer.service}")
            next_one = await asyncio.to_thread(_make, offer, service, keys, remaining.values(), oldest, rng)
            # Who was blocked meanwhile, or released, shall not find the next key on the air.
            still = self._remaining(offer, service, keys, left_out)
            if remaining.keys() <= still.keys():
                made = next_one
            remaining = {ua: row for ua, row in remaining.items() if ua in still}
        if self._diffuser.last(offer.service) is not last:
            raise Refusal("campaign-running")
        # Handed over in the same step of the loop, all of this shares a transaction.
        await asyncio.gather(
            *self.members.succeeded(service, left_out, self._holders(offer)),
            *self.airings.made(offer.service, said, made.packets, trace),
            *self._without_session(offer),
            self._services.put(service.but(domain_key=made.domain_key)),
        )
        self._desk.log.info(
            "domain_key.rolled",
            service=offer.service,
            modules=made.modules,
            served_later=len(remaining) - made.modules,
            left_out=len(left_out),
            packets=len(made.packets),
        )

    def _holders(self, offer: Offer) -> dict[str, Row]:
        """Return the resources of a service that are not released, by UA."""
        rows = (row for row in self._resources.rows() if row["service"] == offer.service)
        return {row["ua"]: row for row in rows if row["state"] != RELEASED}

    def _remaining(
        self, offer: Offer, service: Row, keys: RoleKeys, left_out: frozenset[str]
    ) -> dict[str, Row]:
        """Return the resources whose modules are to have the next key, and know us by *keys*."""
        known_by = key_digest(keys.signing.public)
        return {
            ua: row
            for ua, row in self._holders(offer).items()
            if not row["barred"]
            and ua not in left_out
            and row["supplier_digest"] == known_by
            and not self.members.is_left_out(service, ua)
        }

    def _without_session(self, offer: Offer) -> list[Awaitable[None]]:
        """Return the changes that end the sessions which a former domain key proved."""
        if offer.forms[0] not in DOMAIN_FORMS:
            return []
        return [
            self._resources.put(row.but(session=None))
            for row in self._resources.rows()
            if row["service"] == offer.service and row["session"] is not None
        ]

    # who is served ----------------------------------------------------------------------------------------

    def proving(self, offer: Offer, service: Row, ua: str, generation: int) -> bytes:
        """Return the domain key for a connection of module *ua*, which says it is of *generation*.

        Raises Refusal as ``DomainMembers.key_of``.
        """
        if offer.forms[0] in DOMAIN_FORMS and offer.custody == domains.BY_SUPPLIER:
            return self.members.key_of(service, ua, generation)
        key: bytes = service["domain_key"]
        return key

    async def connected(self, use: Use, offer: Offer, generation: int) -> None:
        """Remember by which generation somebody has proved himself as module *use.ua*, if by any."""
        service = self._services.get(offer.service)
        if service is not None and self._proves(offer):
            await self.members.connects(service, use.ua, generation)

    def check(self, offer: Offer, ua: str) -> None:
        """Raise Refusal for a session that a former domain key has proved."""
        service = self._services.get(offer.service)
        if service is None or not self._proves(offer):
            return
        if self.members.is_left_out(service, ua):
            raise Refusal("left-out")
        if not self.members.is_connected(service, ua):
            raise Refusal("no-session")

    async def renew(self, use: Use, offer: Offer, usage: Usage) -> bool:
        """Give a module that may lack it the newest domain key, under its session.

        True: it has to call again by that key, for its session proves nothing more. Raises Refusal
        (``left-out``) where a module that is left out has a session by a domain key.
        """
        service = self._services.get(offer.service)
        if service is None or offer.custody != domains.BY_SUPPLIER:
            return False
        is_proof = self._proves(offer)
        if self.members.is_left_out(service, use.ua):
            if is_proof:
                await self._end(use)
                raise Refusal("left-out")
            return False
        newest = DomainKey.load(service["domain_key"])
        known = self.members.generation(service, use.ua)
        if self.members.is_connected(service, use.ua) if is_proof else known == newest.generation:
            return False
        oldest = self._diffuser.newest(offer).version
        await usage.command(use, RenewDomainKey(octets=_wrapped(newest, usage.row(use), offer, oldest)))
        self._desk.log.info("domain_key.renewed", ua=use.ua, service=offer.service)
        if is_proof:
            await self._end(use)
        else:
            await self.members.has(service, use.ua, newest.generation)
        return is_proof

    async def _end(self, use: Use) -> None:
        row = self._resources.get(use.ua, use.tar)
        if row is not None:
            await self._resources.put(row.but(session=None))

    def _proves(self, offer: Offer) -> bool:
        """Whether the domain key is what a module proves itself by."""
        return offer.forms[0] in DOMAIN_FORMS and offer.custody == domains.BY_SUPPLIER


def _modules(aerial: Aerial, groups: Iterable[str]) -> frozenset[str]:
    """Return the modules of *groups*. Raises Refusal (``unknown-group``)."""
    members: Mapping[str, frozenset[str]] = aerial.members
    try:
        return frozenset().union(*(members[group] for group in groups))
    except KeyError:
        raise Refusal("unknown-group") from None


def _make(
    offer: Offer, service: Row, keys: RoleKeys, remaining: Iterable[Row], oldest: int, rng: Rng
) -> _Next:
    """Return the next generation of *service*'s domain key and the packets that bring it to *remaining*."""
    former = DomainKey.load(service["domain_key"])
    key = domains.new_key(offer.forms, keys.suite, rng, generation=former.generation + 1)
    of_former, of_next = (_domain(offer, service, keys, each) for each in (former, key))
    longest = longest_wrapped(of_former)
    if longest < 0:
        return _Next(domain_key=key.dump(), packets=[], modules=0)
    wrapped = {}
    for row in remaining:
        with suppress(SealRejected):  # no key that one module has shall keep the others from theirs
            wrapped[row["ua"].encode()] = _wrapped(key, row, offer, oldest)
    fitting = {ua: octets for ua, octets in wrapped.items() if len(octets) <= longest}
    packets = make_renewal(of_former, key.generation, fitting, keys.signing)
    notice = make_notice(of_next, former.generation, keys.signing)
    octets = [each.octets for each in (*packets, notice)]
    return _Next(domain_key=key.dump(), packets=octets, modules=len(fitting))


def _wrapped(key: DomainKey, resource: Row, offer: Offer, oldest: int) -> bytes:
    module = PublicKeys(
        suite=resource["module_suite"],
        signing_public=resource["module_public"],
        sealing_public=resource["module_sealing"],
    )
    return domains.wrap(
        key, module, ua=resource["ua"], tar=resource["tar"], logic_name=offer.logic_name, oldest=oldest
    )


def _domain(offer: Offer, service: Row, keys: RoleKeys, key: DomainKey) -> Domain:
    return Domain(
        tar=service["tar"],
        logic_name=offer.logic_name.encode(),
        supplier=keys.name.encode(),
        supplier_suite=keys.suite,
        supplier_public=keys.signing.public,
        domain_key=key,
    )
