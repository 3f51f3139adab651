"""The authority: whose key is whose. It keeps the register of modules; for roles see ``enrolment``."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from agents.directory import keys_in
from agents.errors import Refusal
from agents.messages.codec import decode, encode
from agents.messages.contact import ModuleKeys
from agents.messages.inside import Done, LookUp, ModuleRecord, PublicKeys, Register
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

    def __init__(self, desk: Desk, modules: Registry, allocators: Mapping[str, str]) -> None:
        super().__init__(desk)
        self._modules = modules
        self._allocators = allocators

    @classmethod
    async def open(
        cls, desk: Desk, store: GroupCommit, *, allocators: Mapping[str, str] = MappingProxyType({})
    ) -> Authority:
        """Take up the register in *store*; *allocators* says in whose place each of them stands."""
        modules = Registry(store, AUTHORITY_MODULES)
        await modules.load()
        return cls(desk, modules, allocators)

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
        now = self.desk.clock.now()
        await self._modules.put(
            {
                "ua": message.ua,
                "certificate": self.desk.directory.vouch(message.ua, keys, issuer=self.desk.keys, now=now),
                "operator": message.operator,
                "memory": message.memory,
                "suites": " ".join(message.suites),
                "registered_at": now,
            }
        )
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

    questions: ClassVar = {Register: _register, LookUp: _look_up}


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
