"""What an operator agrees with suppliers (AGREE): the supplier's terms, and what the operator adds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from agents import domains
from agents.errors import Refusal
from agents.messages.choices import check_keys, check_names
from agents.messages.inside import Agreed
from agents.store.registry import Registry
from agents.store.tables import AGREEMENTS
from agents.supplier_keys import KnownKeys
from transport.security import certificates

if TYPE_CHECKING:
    from collections.abc import Container

    from agents.link import Question
    from agents.messages.inside import Agree
    from agents.revocations import Revocations
    from agents.role import Desk
    from agents.store.group_commit import GroupCommit
    from agents.store.registry import Row
    from transport.security.domain_key import DomainKey


FIRST_TAR: Final = 0xA00001
"""The first agreed service's TAR; the next ones follow. From memory of TS 101 220 annex D: 000001 to AFFFFF
are the card issuer's to allocate, and our operator is the issuer."""


class Agreements:
    """The services that one operator has agreed; *suppliers* are those it deals with, None: all."""

    def __init__(
        self, desk: Desk, store: GroupCommit, revocations: Revocations, *, suppliers: Container[str] | None
    ) -> None:
        self._desk = desk
        self._log = desk.log.bind(agent=desk.keys.name)
        self._revocations = revocations
        self._suppliers = suppliers
        self._turn = asyncio.Lock()
        self.rows = Registry(store, AGREEMENTS)
        """By the name of the service."""
        self.keys = KnownKeys(desk.link, store, self.rows)
        """Of their suppliers."""

    async def load(self) -> None:
        """Read what the store holds."""
        await self.rows.load()
        await self.keys.load()

    def of(self, service: str, do: str = "") -> Row:
        """Return an agreement. Raises Refusal where there is none, or none for the order *do* any more."""
        row = self.rows.get(service)
        if row is None:
            raise Refusal("unknown-service")
        if do:
            self._revocations.check(do, row["supplier"])
        return row

    async def agree(self, question: Question, message: Agree) -> Agreed:
        """Agree, or agree anew, on a service with the supplier that asks for it. Raises Refusal."""
        # One after the other: the TAR and message identifier that one gets are those that no other one has.
        async with self._turn:
            return await self._agree(question, message)

    async def _agree(self, question: Question, message: Agree) -> Agreed:
        known = self._known(question, message.service)
        check_names(message)
        check_keys(message, public=message.public, sealing=message.sealing)
        domain_key = domains.agreed_key(message, self.rows.rows(), self._desk.rng)
        identifier = domains.agreed_identifier(message, self.rows.rows())
        tar = known["tar"] if known else next_tar(len(self.rows))
        row = agreement_row(
            message,
            question.sender,
            tar=tar,
            domain_key=domain_key,
            identifier=identifier,
            now=self._desk.clock.now(),
        )
        # Handed over in the same step of the loop, they share a transaction.
        await asyncio.gather(self.rows.put(row), self.keys.learn(message.service, message.public))
        self._log.info("service.agreed", service=message.service, supplier=question.sender)
        told = domains.for_supplier(domain_key).dump() if domain_key else b""
        return Agreed(service=message.service, tar=tar, domain_key=told, message_identifier=identifier)

    def _known(self, question: Question, service: str) -> Row | None:
        """Return what was agreed of a service before. Raises Refusal for one who may not agree on it."""
        if question.role != certificates.Role.SUPPLIER:
            raise Refusal("not-a-supplier")
        if self._suppliers is not None and question.sender not in self._suppliers:
            raise Refusal("supplier-of-another")
        self._revocations.check("agree", question.sender)
        known = self.rows.get(service)
        if known is not None and known["supplier"] != question.sender:
            raise Refusal("service-of-another")
        return known


def next_tar(count: int) -> bytes:
    """Return the TAR of a new service, after *count* others."""
    return (FIRST_TAR + count).to_bytes(3, "big")


def agreement_row(
    message: Agree, supplier: str, *, tar: bytes, domain_key: DomainKey | None, identifier: int, now: float
) -> dict[str, Any]:
    """Return the row of what *supplier* asked for and is given: TAR, message *identifier*, domain key."""
    return {
        "service": message.service,
        "supplier": supplier,
        "number": message.number,
        "suite": message.suite,
        "forms": " ".join(message.forms),
        "public_key": message.public,
        "sealing_key": message.sealing,
        "dh_base": message.dh_base,
        "dh_modulus": message.dh_modulus,
        "tar": tar,
        "code_size": message.code_size,
        "data_size": message.data_size,
        "rights": message.rights,
        "expires_at": message.expires_at,
        "lifetime": message.lifetime,
        "executions": message.executions,
        "at_end": message.at_end,
        "bearers": " ".join(message.bearers),
        "server": message.server,
        "protection": message.protection,
        "logic_name": message.logic_name,
        "message_identifier": identifier,
        "domain_key": domain_key.dump() if domain_key else b"",
        "agreed_at": now,
    }
