"""Suppliers' keys over time: what a supplier makes of a roll-over, and what its operator knows of it.

A service of a supplier has generations of keys. The first one is the supplier's own pair, by which the roles
know it too. An operator that rolls a service over asks for the next one, under the number of the roll-over:
the supplier makes it once, stores it and tells it, and endorses it with the key that the module in question
has (see ``succession``). The operator then has the modules take it, one by one, and tells the supplier of
each. So for a while different modules know the supplier by different keys, and both sides keep with each
resource which one that is, by the digest of the public key. A new reservation takes the newest.

The supplier deletes a generation once two later ones are there and no resource has it: the one before the
newest may be in a module that is reserved and not yet activated, of which the supplier knows nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agents.errors import Refusal
from agents.identity import RoleKeys
from agents.messages.air import ChangeSupplierKey
from agents.messages.inside import NextSupplierKey, SupplierKey
from agents.messages.signed import check_key
from agents.messages.succession import key_digest, sealing_for, succession_statement
from agents.randomness import branch
from agents.role import Turns
from agents.store.registry import Registry
from agents.store.tables import KEY_GENERATIONS, SUPPLIER_PUBLICS
from agents.usage import RELEASED
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agents.link import Link
    from agents.role import Desk
    from agents.store.group_commit import GroupCommit
    from agents.store.registry import Row
    from bus.frame import TraceContext


_MOST_DIGITS: Final = 9
"""Of a roll-over's number."""


class KeyRing:
    """A supplier's keys: its own pair, and the generations of each service that came after it."""

    def __init__(self, desk: Desk, store: GroupCommit) -> None:
        self._desk = desk
        self._rows = Registry(store, KEY_GENERATIONS)
        self._keys: dict[tuple[str, int], RoleKeys] = {}
        self._turns = Turns()

    async def load(self) -> None:
        """Read what the store holds."""
        await self._rows.load()

    def newest(self, service: str) -> RoleKeys:
        """Return the keys that a new reservation takes."""
        row = self._newest(service)
        return self._load(row) if row else self._desk.keys

    def known_as(self, service: str, digest: bytes) -> RoleKeys:
        """Return the keys whose public one has this digest. Raises Refusal where there are none."""
        for keys in (self._desk.keys, *map(self._load, self._of(service))):
            if key_digest(keys.signing.public) == digest:
                return keys
        raise Refusal("unknown-key")

    async def succeed(
        self, message: NextSupplierKey, forms: Iterable[str], agreed: Row | None, resources: Iterable[Row]
    ) -> SupplierKey:
        """Return the key that *message* asks for, by the word of the one that its module has.

        *agreed* is what the operator calls the service, with these *forms*; *resources* are all there are.
        """
        if agreed is None:
            raise Refusal("unknown-service")
        former = self.known_as(message.service, message.former)
        in_use = (row["supplier_digest"] for row in resources if row["state"] != RELEASED)
        new = await self.next(message.service, message.roll, in_use)
        return endorsed(former, new, tar=agreed["tar"], forms=forms)

    async def next(self, service: str, roll: int, in_use: Iterable[bytes]) -> RoleKeys:
        """Return the keys that modules shall know the supplier by from *roll* on, once they are durable.

        *in_use* are the digests of those that modules know it by now.
        """
        async with self._turns.of(service):
            newest = self._newest(service)
            if newest is None or newest["roll"] < roll:
                await self._make(service, roll, newest["generation"] + 1 if newest else 1)
                await self._forget(service, frozenset(in_use))
            await self._rows.settled()
        return self.newest(service)

    def _of(self, service: str) -> list[Row]:
        rows = (row for row in self._rows.rows() if row["service"] == service)
        return sorted(rows, key=lambda row: int(row["generation"]))

    def _newest(self, service: str) -> Row | None:
        rows = self._of(service)
        return rows[-1] if rows else None

    async def _make(self, service: str, roll: int, generation: int) -> None:
        own = self._desk.keys
        # Primes take seconds, and nobody waits for them; the thread has randomness of its own.
        rng = branch(self._desk.rng, f"{own.name}/{service}")
        made = await asyncio.to_thread(RoleKeys.make, name=own.name, role=own.role, suite=own.suite, rng=rng)
        await self._rows.put(
            {
                "service": service,
                "generation": generation,
                "roll": roll,
                "suite": made.suite,
                "signing": made.signing.private,
                "sealing": made.sealing.private,
            }
        )
        self._desk.log.info("key.made", service=service, generation=generation)

    async def _forget(self, service: str, in_use: frozenset[bytes]) -> None:
        for row in self._of(service)[:-2]:
            if key_digest(self._load(row).signing.public) not in in_use:
                await self._rows.remove(service, row["generation"])
                self._keys.pop((service, row["generation"]), None)
                self._desk.log.info("key.deleted", service=service, generation=row["generation"])

    def _load(self, row: Row) -> RoleKeys:
        known = self._keys.get((row["service"], row["generation"]))
        if known is None:
            own = self._desk.keys
            known = self._keys[row["service"], row["generation"]] = RoleKeys.load(
                name=own.name,
                role=own.role,
                suite=row["suite"],
                signing=row["signing"],
                sealing=row["sealing"],
            )
        return known


def roll_in(argument: bytes) -> int:
    """Return the number of a roll-over, which an order's argument is. Raises Refusal for what is none."""
    if not argument.isdigit() or len(argument) > _MOST_DIGITS:
        raise Refusal("bad-roll-over")
    return int(argument)


def endorsed(former: RoleKeys, new: RoleKeys, *, tar: bytes, forms: Iterable[str]) -> SupplierKey:
    """Return the public half of *new*, with the word of *former* for it, for a resource with these forms."""
    statement = succession_statement(
        supplier=former.name,
        tar=tar,
        former=former.signing.public,
        public=new.signing.public,
        sealing=sealing_for(frozenset(forms), new.sealing.public),
    )
    return SupplierKey(
        suite=new.suite,
        public=new.signing.public,
        sealing=new.sealing.public,
        endorsement=former.signing.sign(statement),
    )


class KnownKeys:
    """The keys of suppliers that one operator told its modules of, or will."""

    def __init__(self, link: Link, store: GroupCommit, agreements: Registry) -> None:
        self._link = link
        self._agreements = agreements
        self._rows = Registry(store, SUPPLIER_PUBLICS)

    async def load(self) -> None:
        """Read what the store holds."""
        await self._rows.load()

    async def learn(self, service: str, public: bytes) -> None:
        """Remember a key of *service*'s supplier."""
        await self._rows.put({"service": service, "digest": key_digest(public), "public_key": public})

    def of(self, agreement: Row, subscription: Row | None) -> bytes:
        """Return the key that the resource of *subscription* has, or would get."""
        known = self._rows.get(agreement["service"], subscription["supplier_digest"] if subscription else b"")
        public: bytes = known["public_key"] if known else agreement["public_key"]
        return public

    async def succeed(
        self, agreement: Row, subscription: Row, roll: int, trace: TraceContext
    ) -> ChangeSupplierKey | None:
        """Return the command that has a module take the key of *roll*; None if its resource has it already.

        The supplier is asked for it, and new reservations take it from now on.
        """
        service, former = agreement["service"], self.of(agreement, subscription)
        question = NextSupplierKey(service=service, roll=roll, former=key_digest(former))
        reply = await self._link.ask(agreement["supplier"], question, SupplierKey, trace=trace)
        _check(reply, agreement)
        await self._adopt(service, reply)
        if reply.public == former:
            return None
        return ChangeSupplierKey(
            tar=agreement["tar"],
            former_public=former,
            supplier_public=reply.public,
            supplier_sealing=sealing_for(agreement["forms"].split(), reply.sealing),
            endorsement=reply.endorsement,
        )

    async def _adopt(self, service: str, reply: SupplierKey) -> None:
        current = self._agreements.get(service)
        assert current is not None, "its supplier was asked"
        if current["public_key"] == reply.public:
            await self._agreements.settled()
            return
        await self.learn(service, reply.public)
        await self._agreements.put(current.but(public_key=reply.public, sealing_key=reply.sealing))


def _check(reply: SupplierKey, agreement: Row) -> None:
    """Raise Refusal, or Rejected, for keys that are none of the suite that was agreed."""
    if reply.suite != agreement["suite"]:
        raise Refusal("other-suite")
    check_key(reply.suite, reply.public)
    if len(reply.sealing) != SUITES[reply.suite].sealing_public_length:
        raise Refusal("bad-sealing-key")
