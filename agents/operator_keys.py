"""An operator's keys over time: which of its modules goes by which, and how they get another.

What modules obey is a key of some *generation*. The first, 0, is the one that the operator was enrolled with,
with which it also speaks to the other roles; each later one is made for a step of the console's that rolls
the key, and has that step's number. So a step that is played again, by whichever launch, finds what it made:
two orders of one step never make two keys. A generation is durable before anything is signed for it, each
module's is kept with what else is known of the module, and one that no module has any more is deleted, but
for the first and the newest.

A roll is a command like others, signed with the key that the module has: see ``manager`` for what becomes of
one whose answer is lost. An introduction is the authority's certificate for the newest generation, and
nothing else: it reaches modules that have no key of the operator's yet, and those whose key somebody stole.
When its answer is lost the module may go by the newest key and the books not know: what is ordered then
fails, until the introduction is ordered again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from agents.errors import MessageRejected, Refusal
from agents.hands import written
from agents.messages.air import RollOperatorKey
from agents.messages.codec import encode
from agents.messages.inside import Certified, Certify
from agents.messages.signed import Purpose, sign
from agents.randomness import branch
from agents.store.registry import Registry
from agents.store.tables import OPERATOR_KEYS
from transport.security import certificates
from transport.security.certificates import Certificate
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from agents.commands import Answered, Commands
    from agents.role import Desk, Ordered
    from agents.store.group_commit import GroupCommit
    from agents.store.registry import Row
    from bus.frame import TraceContext
    from transport.security.suites import SigningKey

ROLL: Final = "roll-operator-key"
INTRODUCE: Final = "introduce-operator"
ALLOCATED: Final = "allocated"
"""The reason of who has an allocator: what the modules obey is the allocator's."""
_PURPOSE: Final = "signing."
"""What a later generation's row of ``own_keys`` is called by, before its number."""
_MOST_STEPS: Final = 1 << 31
_MOST_DIGITS: Final = 10


class OperatorKeys:
    """Every key of one operator's that a module may go by."""

    def __init__(self, desk: Desk, store: GroupCommit, modules: Registry, *, authority: str) -> None:
        """Take the registry of *modules*, which says who has which, and the *authority* that certifies."""
        self._desk = desk
        self._modules = modules
        self._authority = authority
        self._rows = Registry(store, OPERATOR_KEYS)
        self._keys: dict[int, SigningKey] = {}
        self._certificates: dict[int, Certificate] = {}
        self._held: Counter[int] = Counter()
        self._making = asyncio.Lock()

    async def load(self) -> None:
        """Read what the store holds."""
        await self._rows.load()

    @property
    def newest(self) -> int:
        """The latest generation."""
        return max(self._later(), default=0)

    def key(self, generation: int) -> SigningKey:
        """Return the key of a generation, which there must be."""
        if not generation:
            return self._desk.keys.signing
        if generation not in self._keys:
            row = self._later()[generation]
            self._keys[generation] = SUITES[row["suite"]].load_signing_key(row["private_key"])
        return self._keys[generation]

    def of(self, ua: str) -> SigningKey:
        """Return the key that module *ua* goes by."""
        row = self._modules.get(ua)
        return self.key(row["generation"] if row else 0)

    def in_use(self, subscribers: int) -> list[SigningKey]:
        """Return each key that some module goes by; of those that we never had to do with it is the first."""
        modules = tuple(self._modules.rows())
        generations = {row["generation"] for row in modules}
        if len(modules) < subscribers or not modules:
            generations.add(0)
        return [self.key(generation) for generation in sorted(generations)]

    async def make(self, number: int) -> None:
        """Return once there is a generation of step *number* or later, and it is durable."""
        async with self._making:
            if number <= self.newest:
                await self._rows.settled()
                return
            suite = self._desk.keys.suite
            # Primes take their time, and nobody waits for them; the thread has randomness of its own.
            rng = branch(self._desk.rng, f"{self._desk.keys.name}/{number}")
            key = await asyncio.to_thread(SUITES[suite].generate_signing_key, rng)
            self._keys[number] = key
            await self._rows.put(
                {"purpose": f"{_PURPOSE}{number}", "suite": suite, "private_key": key.private}
            )
            self._desk.log.info("operator_key.made", generation=number)

    @contextmanager
    def held(self, generation: int) -> Iterator[None]:
        """Keep a generation from being deleted while a module may be about to go by it."""
        self._held[generation] += 1
        try:
            yield
        finally:
            self._held[generation] -= 1

    def after(self, answered: Answered) -> dict[str, int]:
        """Return what a module's answer changes about which key it goes by."""
        command = answered.command
        if answered.reason or not isinstance(command, RollOperatorKey):
            return {}
        public = command.public
        return {"generation": next(number for number in self._later() if self.key(number).public == public)}

    async def retire(self, waiting: Callable[[], Iterable[RollOperatorKey]]) -> None:
        """Delete what no module goes by, or will when it has answered what is *waiting*."""
        for generation in set(self._later()) - {self.newest} - set(+self._held):
            # In this order: that a module has it is mostly found at once.
            if any(row["generation"] == generation for row in self._modules.rows()):
                continue
            public = self.key(generation).public
            if any(command.public == public for command in waiting()):
                continue
            self._keys.pop(generation, None)
            self._certificates.pop(generation, None)
            await self._rows.remove(f"{_PURPOSE}{generation}")
            self._desk.log.info("operator_key.deleted", generation=generation)

    async def certificate(self, generation: int, trace: TraceContext) -> Certificate:
        """Return the authority's certificate for a generation; it gives the same as long as it is valid."""
        desk, key = self._desk, self.key(generation)
        known = self._certificates.get(generation)
        if known is not None and known.not_after > desk.clock.now():
            return known
        possession = sign(
            encode(RollOperatorKey(suite=key.suite, public=key.public)),
            purpose=Purpose.POSSESSION,
            target=self._authority,
            counter=0,
            signer=desk.keys.name,
            key=key,
        )
        question = Certify(suite=key.suite, public=key.public, possession=encode(possession))
        reply = await desk.link.ask(self._authority, question, Certified, trace=trace)
        certificate = Certificate.parse(reply.certificate)
        authority = desk.directory.party(self._authority)
        certificates.verify(
            certificate,
            issuer_public=authority.signing_public,
            issuer_suite=authority.suite,
            issuer=authority.name,
            role=certificates.Role.OPERATOR,
            now=desk.clock.now(),
        )
        if (certificate.subject, certificate.signing_public) != (desk.keys.name, key.public):
            raise MessageRejected("certificate-of-another")
        self._certificates[generation] = certificate
        return certificate

    def _later(self) -> Mapping[int, Row]:
        """Return the rows of all generations but the first."""
        return {
            int(row["purpose"].removeprefix(_PURPOSE)): row
            for row in self._rows.rows()
            if row["purpose"].startswith(_PURPOSE)
        }


async def roll(commands: Commands, ordered: Ordered) -> None:
    """Have a module go by the key of the ordering step, or a later one; only in its turn."""
    ua, trace, keys = ordered.order.ua, ordered.trace, commands.keys
    if not commands.has_keys:
        raise Refusal(ALLOCATED)
    number = _number(ordered.order.argument)
    # Made whether or not this module listens: one that does not may be introduced by it.
    await keys.make(number)
    await commands.settle(ua, trace)
    module = await commands.module(ua, trace)
    key = keys.key(keys.newest)
    if module["generation"] >= number:
        return
    if key.suite not in module["suites"].split():
        raise Refusal("unsupported-suite")
    await commands.carry_out(ROLL, ua, "", RollOperatorKey(suite=key.suite, public=key.public), trace)


async def introduce(commands: Commands, ordered: Ordered) -> None:
    """Have a module go by the newest key, on the authority's word; only in its turn.

    What the module has not answered is not sent before: it may have been signed with a key that the module
    does not know.
    """
    ua, trace, keys = ordered.order.ua, ordered.trace, commands.keys
    if not commands.has_keys:
        raise Refusal(ALLOCATED)
    await commands.module(ua, trace)
    generation = keys.newest
    with keys.held(generation):
        certificate = await keys.certificate(generation, trace)
        reason = await commands.present(ua, certificate, trace)
        if reason:
            raise Refusal(reason)
        await _went_over(commands, ua, generation, certificate)


async def _went_over(commands: Commands, ua: str, generation: int, certificate: Certificate) -> None:
    """Keep which key the module goes by now, and what it has yet to answer signed with that one.

    What is signed is the same, so a module that has carried it out takes it for the repetition that it is. A
    roll is not signed again: it would lead back to an older key. Its turn is used up, wherever it came to.
    """
    keys, module, waiting = commands.keys, commands.modules.get(ua), commands.waiting.get(ua)
    assert module is not None, "it was just asked"
    changed = module.but(generation=generation)
    changes = []
    if waiting is not None and waiting["kind"] == ROLL:
        changed = changed.but(command_counter=waiting["counter"])
        changes.append(commands.waiting.remove(ua))
    elif waiting is not None:
        command = commands.read(waiting)
        octets = written(certificate.subject, keys.key(generation), ua, waiting["counter"], command)
        changes.append(commands.waiting.put(waiting.but(octets=octets)))
    # Handed over in the same step of the loop, they share a transaction.
    await asyncio.gather(commands.modules.put(changed), *changes)
    await keys.retire(commands.rolls)


def _number(argument: bytes) -> int:
    """Return the number of the step that ordered. Raises Refusal for what is none."""
    is_number = len(argument) <= _MOST_DIGITS and argument.isdigit()
    if not is_number or not 0 < int(argument) < _MOST_STEPS:
        raise Refusal("bad-step")
    return int(argument)


RULES: Final = {ROLL: roll, INTRODUCE: introduce}
