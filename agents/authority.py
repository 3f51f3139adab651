"""The authority: whose key is whose. It keeps the register of modules; for roles see ``enrolment``."""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from agents.authority_keys import ModuleKeyMaker, OperatorCertifier
from agents.directory import keys_in
from agents.errors import Refusal
from agents.messages.codec import decode, encode
from agents.messages.contact import ModuleKeys
from agents.messages.inside import (
    Certified,
    Certify,
    Done,
    LookUp,
    MadeKeys,
    MakeKeys,
    ModuleRecord,
    PublicKeys,
    Register,
)
from agents.messages.signed import Purpose, Signed, check_key
from agents.role import Role
from agents.store.registry import Registry
from agents.store.tables import AUTHORITY_MODULES
from transport.errors import SignatureRejected
from transport.security import certificates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.link import Question
    from agents.role import Desk
    from agents.store.group_commit import GroupCommit


class Authority(Role):
    """PERS and RES, the authority's side: takes registrations, answers operators about their own modules."""

    def __init__(self, desk: Desk, store: GroupCommit, allocators: Mapping[str, str]) -> None:
        super().__init__(desk)
        self._modules = Registry(store, AUTHORITY_MODULES)
        self._maker = ModuleKeyMaker(desk, store)
        self._certifier = OperatorCertifier(desk, store)
        self._allocators = allocators

    @classmethod
    async def open(
        cls, desk: Desk, store: GroupCommit, *, allocators: Mapping[str, str] = MappingProxyType({})
    ) -> Authority:
        """Take up the register in *store*; *allocators* says in whose place each of them stands."""
        authority = cls(desk, store, allocators)
        for each in (authority._modules, authority._maker, authority._certifier):
            await each.load()
        return authority

    async def _register(self, question: Question, message: Register) -> Done:
        if question.role != certificates.Role.PERSONALISER:
            raise Refusal("not-a-personaliser")
        check_key(message.suite, message.public)
        _check_possession(self.name, message)
        keys = PublicKeys(suite=message.suite, signing_public=message.public, sealing_public=message.sealing)
        known = self._modules.get(message.ua)
        if known is not None:
            if keys_in(known["certificate"]) != keys:
                raise Refusal("already-registered")
            await self._modules.settled()
            return Done()
        self._maker.check(message.ua, message.public, message.sealing)
        now = self.desk.clock.now()
        row = {
            "ua": message.ua,
            "certificate": self.desk.directory.vouch(message.ua, keys, issuer=self.desk.keys, now=now),
            "operator": message.operator,
            "memory": message.memory,
            "suites": " ".join(message.suites),
            "registered_at": now,
        }
        # Handed over in the same step of the loop, they share a transaction.
        await asyncio.gather(self._modules.put(row), *self._maker.forget(message.ua))
        self.log.info("module.registered", ua=message.ua)
        return Done()

    async def _look_up(self, question: Question, message: LookUp) -> ModuleRecord:
        row = self._modules.get(message.ua)
        # One answer for both, so that an operator learns nothing about another's subscribers.
        if row is None or row["operator"] != self._asks_for(question):
            raise Refusal("unknown-module")
        await self._modules.settled()
        return ModuleRecord(
            certificate=row["certificate"],
            memory=row["memory"],
            suites=row["suites"].split(),
        )

    def _asks_for(self, question: Question) -> str | None:
        """Return the operator that the asker is, or stands in the place of; None for anybody else."""
        if question.role == certificates.Role.ALLOCATOR:
            return self._allocators.get(question.sender)
        return question.sender if question.role == certificates.Role.OPERATOR else None

    async def _make_keys(self, question: Question, message: MakeKeys) -> MadeKeys:
        if question.role != certificates.Role.PERSONALISER:
            raise Refusal("not-a-personaliser")
        if self._modules.get(message.ua) is not None:
            raise Refusal("already-registered")
        return await self._maker.make(message)

    async def _certify(self, question: Question, message: Certify) -> Certified:
        return await self._certifier.certify(question, message)

    questions: ClassVar = {
        Register: _register,
        LookUp: _look_up,
        MakeKeys: _make_keys,
        Certify: _certify,
    }


def _check_possession(authority: str, message: Register) -> None:
    """Check that the module itself holds the private key. Raises Refusal."""
    signed = decode(message.possession, Signed)
    keys = encode(ModuleKeys(signing=message.public, sealing=message.sealing))
    if (signed.target, signed.signer, signed.body) != (authority, message.ua, keys):
        raise Refusal("possession-of-another")
    try:
        signed.verify(purpose=Purpose.POSSESSION, suite=message.suite, public=message.public)
    except SignatureRejected:
        raise Refusal("possession-not-proven") from None
