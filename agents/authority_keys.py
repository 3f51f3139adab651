"""What an authority makes and certifies while it is open: key pairs for modules, later keys of operators.

Module keys. The private halves leave in the reply and are forgotten; of what was made stays a digest of the
public halves, until the module is registered. So an authority that is asked again makes other keys, and knows
each of them again: whichever the module was given in the end, and whatever was stopped in between, that is
the one that it proves. Once keys were made for an address, no others are registered for it.

Operators' keys. An operator is certified for its own name, for a key that it proves to have. The same key is
given the same certificate while that is valid. Serials rise, and a key that another one took the place of is
certified no more: what is later at the authority is later everywhere.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final

from agents.errors import Refusal
from agents.identity import certify_operator
from agents.messages.air import RollOperatorKey
from agents.messages.codec import decode, encode
from agents.messages.contact import ModuleKeys
from agents.messages.inside import Certified, MadeKeys
from agents.messages.signed import Purpose, Signed, check_key
from agents.randomness import branch
from agents.store.registry import Registry
from agents.store.tables import CERTIFICATES, MADE_KEYS
from transport.errors import SignatureRejected
from transport.security import certificates
from transport.security.certificates import Certificate
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from agents.link import Question
    from agents.messages.inside import Certify, MakeKeys
    from agents.role import Desk
    from agents.store.group_commit import GroupCommit
    from transport.security.suites import Rng, SealingKey, SigningKey

MOST_MADE: Final = 8
"""Of one module's keys that are known again: more are made only for who asks, and never gives one to it."""


class ModuleKeyMaker:
    """Makes module keys, and knows them again."""

    def __init__(self, desk: Desk, store: GroupCommit) -> None:
        self._desk = desk
        self._made = Registry(store, MADE_KEYS)

    async def load(self) -> None:
        """Read what the store holds."""
        await self._made.load()

    async def make(self, message: MakeKeys) -> MadeKeys:
        """Return new key pairs, once it is durable how to know them again; the oldest gives way."""
        if message.suite not in SUITES:
            raise Refusal("unknown-suite")
        # Primes take their time, and nobody waits for them; the thread has randomness of its own.
        rng = branch(self._desk.rng, message.ua)
        signing, sealing = await asyncio.to_thread(_pairs, message.suite, rng)
        known = self._of(message.ua)
        for digest in known[: max(0, len(known) - MOST_MADE + 1)]:
            await self._made.remove(message.ua, digest)
        digest = _digest(signing.public, sealing.public)
        await self._made.put({"ua": message.ua, "digest": digest, "made_at": self._desk.clock.now()})
        self._desk.log.info("module_keys.made", ua=message.ua)
        return MadeKeys(private=signing.private, sealing_private=sealing.private)

    def check(self, ua: str, signing: bytes, sealing: bytes) -> None:
        """Raise Refusal for keys of a module for which others were made."""
        known = self._of(ua)
        if known and _digest(signing, sealing) not in known:
            raise Refusal("keys-of-another")

    def forget(self, ua: str) -> list[Awaitable[None]]:
        """Return what forgets how to know a module's keys again: it is registered with them."""
        return [self._made.remove(ua, digest) for digest in self._of(ua)]

    def _of(self, ua: str) -> list[bytes]:
        """Return the digests of what was made for a module, the oldest first."""
        rows = sorted((row for row in self._made.rows() if row["ua"] == ua), key=lambda row: row["made_at"])
        return [row["digest"] for row in rows]


class OperatorCertifier:
    """Certifies operators' later keys, beside what was certified at the launch."""

    def __init__(self, desk: Desk, store: GroupCommit) -> None:
        self._desk = desk
        self._issued = Registry(store, CERTIFICATES)

    async def load(self) -> None:
        """Read what was issued before."""
        await self._issued.load()

    async def certify(self, question: Question, message: Certify) -> Certified:
        """Return the operator's certificate for its newest key, which it has to prove that it has."""
        if question.role != certificates.Role.OPERATOR:
            raise Refusal("not-an-operator")
        check_key(message.suite, message.public)
        _check_possession(self._desk.keys.name, question.sender, message)
        now = self._desk.clock.now()
        known = self._known(question.sender)
        same = [each for each in known if each.signing_public == message.public]
        if same and same[-1] is not known[-1]:
            raise Refusal("key-was-replaced")
        if same and same[-1].not_after > now:
            await self._issued.settled()
            return Certified(certificate=same[-1].encode())
        serial = max((row["serial"] for row in self._issued.rows()), default=0) + 1
        certificate = certify_operator(
            question.sender,
            message.suite,
            message.public,
            issuer=self._desk.keys,
            serial=serial,
            now=now,
        )
        await self._issued.put(
            {
                "serial": serial,
                "subject": question.sender,
                "role": str(certificates.Role.OPERATOR),
                "octets": certificate.encode(),
                "issued_at": now,
            }
        )
        self._desk.log.info("operator.certified", operator=question.sender, serial=serial)
        return Certified(certificate=certificate.encode())

    def _known(self, subject: str) -> list[Certificate]:
        """Return what was issued for *subject*, in the order of the serials."""
        rows = sorted(
            (row for row in self._issued.rows() if row["subject"] == subject), key=lambda row: row["serial"]
        )
        return [Certificate.parse(row["octets"]) for row in rows]


def _pairs(suite: str, rng: Rng) -> tuple[SigningKey, SealingKey]:
    made = SUITES[suite]
    return made.generate_signing_key(rng), made.generate_sealing_key(rng)


def _check_possession(authority: str, operator: str, message: Certify) -> None:
    """Check that the operator itself holds the private key. Raises Refusal."""
    signed = decode(message.possession, Signed)
    key = encode(RollOperatorKey(suite=message.suite, public=message.public))
    if (signed.target, signed.signer, signed.body) != (authority, operator, key):
        raise Refusal("possession-of-another")
    try:
        signed.verify(purpose=Purpose.POSSESSION, suite=message.suite, public=message.public)
    except SignatureRejected:
        raise Refusal("possession-not-proven") from None


def _digest(signing: bytes, sealing: bytes) -> bytes:
    return hashlib.sha256(encode(ModuleKeys(signing=signing, sealing=sealing))).digest()
