"""Whose domain keys are whose: a supplier's generations of one, and which of them each module has at least.

A global service's newest domain key stands in SERVICES. The ones before it are kept as long as a module that
holds the service may have one. What it has is *known* from the reservation that it was wrapped for, or
because it took one under a session that it made with a key of its own. It may have a later one: a broadcast
is answered by nobody.

A connection in a domain's form proves that somebody of the domain is there, by the generation that it was
made with, and not which module. So it tells of no module what it has, or who poses as another could have the
former key deleted that the other still needs, and lock it out. It follows that where modules prove themselves
in no other way, former keys are kept until who was reserved under them is released, or reserved anew.

Who was left out because somebody suspected it stays so, through later roll-overs too, until its operator has
blocked it and let it in again, has released it, or reserves anew what it never came to hold.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from agents.errors import Refusal
from agents.store.registry import Registry, Row
from agents.store.tables import DOMAIN_KEYS, DOMAIN_MEMBERS
from transport.security.domain_key import generation_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Container, Iterable, Mapping

    from agents.store.group_commit import GroupCommit


class DomainMembers:
    """The former domain keys of one supplier's services, and who has which."""

    def __init__(self, store: GroupCommit) -> None:
        self._keys = Registry(store, DOMAIN_KEYS)
        self._members = Registry(store, DOMAIN_MEMBERS)
        self._known: dict[str, Counter[int]] = {}
        """How many modules have each generation, by service."""

    async def load(self) -> None:
        """Read what the store holds."""
        await self._keys.load()
        await self._members.load()
        for row in self._members.rows():
            self._known.setdefault(row["service"], Counter())[row["generation"]] += 1

    def generation(self, service: Row, ua: str) -> int:
        """Return the generation that module *ua* is known to have at least; 0 where nothing is known."""
        row = self._members.get(service["service"], ua)
        return int(row["generation"]) if row else 0

    def is_left_out(self, service: Row, ua: str) -> bool:
        """Whether module *ua* is not to have the newest domain key."""
        row = self._members.get(service["service"], ua)
        return row is not None and bool(row["left_out"])

    def is_connected(self, service: Row, ua: str) -> bool:
        """Whether the last connection of module *ua* in a domain's form was made by the newest domain key."""
        row = self._members.get(service["service"], ua)
        return row is not None and row["connected"] == generation_of(service)

    def key_of(self, service: Row, ua: str, generation: int) -> bytes:
        """Return the domain key by which module *ua*, who says it is of *generation*, may prove itself.

        Raises Refusal: ``left-out``, and ``unknown-generation`` for one that is gone or never was.
        """
        if self.is_left_out(service, ua):
            raise Refusal("left-out")
        return self._of_generation(service, generation)

    def key_for(self, service: Row, ua: str, ticket: bytes) -> bytes:
        """Return the domain key that the reservation of module *ua* with this *ticket* brings.

        That is the newest. But who was left out since it was asked for with the same ticket is still to have
        that same reservation, and nothing later: it is given what it was given then.
        """
        row = self._members.get(service["service"], ua)
        if row is not None and row["left_out"] and row["ticket"] == ticket:
            return self._of_generation(service, row["generation"])
        key: bytes = service["domain_key"]
        return key

    def _of_generation(self, service: Row, generation: int) -> bytes:
        """Return a domain key. Raises Refusal (``unknown-generation``) for one that is gone or never was."""
        key: bytes = service["domain_key"]
        if generation != generation_in(key):
            former = self._keys.get(service["service"], generation)
            if former is None:
                raise Refusal("unknown-generation")
            key = former["domain_key"]
        return key

    async def has(self, service: Row, ua: str, generation: int) -> None:
        """Remember that module *ua* has *generation*."""
        row = self._members.get(service["service"], ua)
        if row is None or generation > row["generation"]:
            await self._keep({**(row or _member(service, ua)), "generation": generation})

    async def connects(self, service: Row, ua: str, generation: int) -> None:
        """Remember by which *generation* the last connection of module *ua* was made.

        An operator may have told of a release that never was, or came before the reservation: it is a member
        all the same, or it would be given the newest in each of its calls.
        """
        row = self._members.get(service["service"], ua)
        if row is None:
            await self._keep(_member(service, ua) | {"generation": generation, "connected": generation})
        elif generation != row["connected"]:
            await self._members.put(row.but(connected=generation))

    async def admit(self, service: Row, ua: str, ticket: bytes) -> None:
        """Remember that module *ua* is given a key with its reservation, and with which *ticket*.

        Where one was asked for before, that may be the one which the module takes: it has that at least. With
        another ticket it is another reservation, and nobody suspects the module any more.
        """
        row = self._members.get(service["service"], ua)
        if row is None:
            await self._keep(_member(service, ua) | {"ticket": ticket})
        elif row["ticket"] != ticket:
            await self._members.put(row.but(ticket=ticket, left_out=0))

    async def clear(self, service: str, ua: str) -> None:
        """Remember that nobody suspects module *ua* any more."""
        row = self._members.get(service, ua)
        if row is not None and row["left_out"]:
            await self._members.put(row.but(left_out=0))

    async def leave(self, service: str, ua: str) -> None:
        """Forget module *ua*, which holds the service no more."""
        row = self._members.get(service, ua)
        if row is not None:
            self._count(service, row["generation"], -1)
            await asyncio.gather(self._members.remove(service, ua), *self._forgotten(service))

    def succeeded(
        self, service: Row, left_out: Iterable[str], holders: Container[str]
    ) -> list[Awaitable[None]]:
        """Return the changes by which the key of *service*, as it is, becomes a former one.

        *left_out* are the modules that shall not have the next one, beside who was left out before: those of
        them that are *holders* of a resource, or were given a key for one that they do not hold yet.
        """
        name, generation = service["service"], generation_of(service)
        known = {ua: self._members.get(name, ua) for ua in left_out}
        for ua in (ua for ua, row in known.items() if row is None and ua in holders):
            known[ua] = Row(DOMAIN_MEMBERS, _member(service, ua))
            self._count(name, generation, 1)
        return [
            self._keys.put({"service": name, "generation": generation, "domain_key": service["domain_key"]}),
            *(
                self._members.put(row.but(left_out=generation + 1))
                for row in known.values()
                if row is not None
            ),
        ]

    async def _keep(self, row: Mapping[str, Any]) -> None:
        service = row["service"]
        former = self._members.get(service, row["ua"])
        if former is not None:
            self._count(service, former["generation"], -1)
        self._count(service, row["generation"], 1)
        await asyncio.gather(self._members.put(row), *self._forgotten(service))

    def _count(self, service: str, generation: int, by: int) -> None:
        self._known.setdefault(service, Counter())[generation] += by

    def _forgotten(self, service: str) -> list[Awaitable[None]]:
        """Return the changes that delete the keys which no module can have any more."""
        known = self._known.get(service, Counter())
        oldest = min((generation for generation, modules in known.items() if modules), default=None)
        return [
            self._keys.remove(service, row["generation"])
            for row in self._keys.rows()
            if row["service"] == service and (oldest is None or row["generation"] < oldest)
        ]


def _member(service: Row, ua: str) -> dict[str, Any]:
    generation = generation_of(service)
    return {
        "service": service["service"],
        "ua": ua,
        "generation": generation,
        "connected": 0,
        "left_out": 0,
        "ticket": b"",
    }


def generation_of(service: Row) -> int:
    """Return the generation of the newest domain key of *service*."""
    return generation_in(service["domain_key"])
