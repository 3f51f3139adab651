"""The authority: whose key is whose. It certifies roles and keeps the register of modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from agents.errors import Refusal
from agents.identity import certify, certify_module
from agents.messages.codec import decode, encode
from agents.messages.contact import ModuleKeys
from agents.messages.inside import Done, LookUp, ModuleRecord, Register
from agents.messages.signed import Purpose, Signed, check_key
from agents.role import Role
from agents.store.registry import Registry
from agents.store.tables import AUTHORITY_MODULES, CERTIFICATES
from transport.errors import SignatureRejected
from transport.security import certificates
from transport.security.certificates import Certificate

if TYPE_CHECKING:
    from agents.identity import RoleKeys
    from agents.link import Question
    from agents.role import Desk
    from agents.store.group_commit import GroupCommit


class Registrar:
    """The authority's registration office: certifies at launch, before there is a bus to speak on."""

    def __init__(self, store: GroupCommit, keys: RoleKeys, *, now: float) -> None:
        self._keys = keys
        self._now = now
        self._issued = Registry(store, CERTIFICATES)

    async def load(self) -> None:
        """Read what was issued before."""
        await self._issued.load()

    async def enrol(self, subject: RoleKeys) -> Certificate:
        """Return *subject*'s certificate: the one it has, while it is valid for these keys, or a new one."""
        for row in self._issued.rows():
            certificate = Certificate.parse(row["octets"])
            same = (certificate.subject, certificate.signing_public, certificate.sealing_public) == (
                subject.name,
                subject.signing.public,
                subject.sealing.public,
            )
            if same and certificate.not_after > self._now:
                return certificate
        serial = len(self._issued) + 1
        certificate = certify(subject, issuer=self._keys, serial=serial, now=self._now)
        await self._issued.put(
            {
                "serial": serial,
                "subject": subject.name,
                "role": str(subject.role),
                "octets": certificate.encode(),
                "issued_at": self._now,
            }
        )
        return certificate


class Authority(Role):
    """PERS and RES, the authority's side: takes registrations, answers operators about their own modules."""

    def __init__(self, desk: Desk, modules: Registry) -> None:
        super().__init__(desk)
        self._modules = modules

    @classmethod
    async def open(cls, desk: Desk, store: GroupCommit) -> Authority:
        """Take up the register in *store*."""
        modules = Registry(store, AUTHORITY_MODULES)
        await modules.load()
        return cls(desk, modules)

    async def _register(self, question: Question, message: Register) -> Done:
        if question.role != certificates.Role.PERSONALISER:
            raise Refusal("not-a-personaliser")
        check_key(message.suite, message.public)
        _check_possession(self.name, message)
        known = self._modules.get(message.ua)
        if known is not None:
            certified = Certificate.parse(known["certificate"])
            if (certified.signing_public, certified.sealing_public) != (message.public, message.sealing):
                raise Refusal("already-registered")
            await self._modules.settled()
            return Done()
        now = self.desk.clock.now()
        certificate = certify_module(
            message.ua, message.suite, message.public, message.sealing, issuer=self.desk.keys, now=now
        )
        await self._modules.put(
            {
                "ua": message.ua,
                "certificate": certificate.encode(),
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
        if question.role != certificates.Role.OPERATOR or row is None or row["operator"] != question.sender:
            raise Refusal("unknown-module")
        await self._modules.settled()
        return ModuleRecord(
            certificate=row["certificate"],
            memory=row["memory"],
            suites=row["suites"].split(),
        )

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
