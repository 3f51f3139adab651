"""An operator's commands to modules: one at a time to each, stored, sent, and answered.

Every command is written for its module and the next turn, stored, and only then delivered, by whose hand ever
(see ``hands``). Whatever stops in between (the network, this process), the stored octets are delivered again
first, and the module answers a repetition with its first answer: nothing is carried out twice.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from agents.audits import Reading
from agents.directory import keys_in
from agents.errors import MessageRejected, Refusal
from agents.hands import OwnHand
from agents.messages.air import (
    Answer,
    Audit,
    Audited,
    IntroduceOperator,
    OperatorCommand,
    Release,
    RollOperatorKey,
)
from agents.messages.codec import decode, encode
from agents.messages.inside import LookUp, ModuleRecord
from agents.messages.signed import Purpose, Signed
from agents.operator_keys import ROLL, OperatorKeys
from agents.operator_sessions import KeysetHand
from agents.store.registry import Registry
from agents.store.tables import COMMANDS, OPERATOR_MODULES
from transport.errors import SignatureRejected
from transport.security.chain import encode_chain
from transport.security.domain_key import FIRST_TICKET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agents.hands import Hand
    from agents.operator_sessions import SessionTerms
    from agents.role import Desk
    from agents.store.group_commit import GroupCommit
    from agents.store.registry import Row
    from bus.frame import TraceContext
    from transport.security.certificates import Certificate

BAD_ANSWER: Final = "bad-answer"
"""The reason that stands for an answer which the module signed, and which says nothing."""
UNKNOWN_RESOURCE: Final = "unknown-resource"
"""The module's reason for refusing a command about a resource that it does not have."""


class Answered(NamedTuple):
    """A command that its module has answered: for which order, in which turn, and the module's word."""

    do: str
    ua: str
    service: str
    command: OperatorCommand
    turn: int
    answer: Answer | Audited

    @property
    def reason(self) -> str:
        """Why the module refused; empty when it did not.

        One that has no such resource any more is where a release was to bring it: that is no refusal.
        """
        reason = self.answer.reason if isinstance(self.answer, Answer) else ""
        is_gone = isinstance(self.command, Release) and reason == UNKNOWN_RESOURCE
        return "" if is_gone else reason

    @property
    def ticket(self) -> dict[str, bytes]:
        """What this changes about the ticket of the module's next reservation, if it tells of one."""
        return {"ticket": self.answer.ticket} if self.answer.ticket else {}


class Commands:
    """The modules of one operator, and the command that each has under way."""

    def __init__(
        self,
        desk: Desk,
        store: GroupCommit,
        *,
        authority: str,
        keep: Callable[[Answered], Awaitable[None]],
        hand: Hand | None = None,
        session: SessionTerms | None = None,
    ) -> None:
        """Take the authority that knows the modules, and what *keep*s an answer in the same transaction.

        *hand* signs and delivers; without, the desk's own does, with *session* under a keyset.
        """
        self._desk = desk
        self._authority = authority
        self._keep = keep
        self.waiting = Registry(store, COMMANDS)
        """What each module was sent and has yet to answer."""
        self.modules = Registry(store, OPERATOR_MODULES)
        """Every module that the operator had to do with."""
        self.keys = OperatorKeys(desk, store, self.modules, authority=authority)
        self.has_keys = hand is None
        """Whether what the modules obey is the operator's own, and not an allocator's."""
        key_of = self.keys.of
        own = (
            OwnHand(desk, key_of)
            if session is None
            else KeysetHand(desk, store, session, modules=self.modules, key_of=key_of)
        )
        self._hand = hand or own

    async def load(self) -> None:
        """Read what the store holds."""
        await self.modules.load()
        await self.waiting.load()
        await self.keys.load()
        await self._hand.load()

    async def module(self, ua: str, trace: TraceContext) -> Row:
        """Return what is known of a module; ask the authority for its key where that is nothing yet."""
        row = self.modules.get(ua)
        if row is None:
            desk = self._desk
            found = await desk.link.ask(self._authority, LookUp(ua=ua), ModuleRecord, trace=trace)
            desk.directory.module(found.certificate, ua)
            await self.modules.put(
                {
                    "ua": ua,
                    "certificate": found.certificate,
                    "memory": found.memory,
                    "suites": " ".join(found.suites),
                    "generation": 0,
                    "command_counter": 0,
                    "request_counter": 0,
                    "request_window": 0,
                    "ticket": FIRST_TICKET,
                    "free": 0,
                    "largest_free": 0,
                    "audited_at": 0.0,
                }
            )
            row = self.modules.get(ua)
            assert row is not None, "it was just put"
        # As of now: a module whose certificate has run out is none of ours any more.
        self._desk.directory.module(row["certificate"], ua)
        return row

    async def settle(self, ua: str, trace: TraceContext) -> None:
        """Send a command again that was never answered: until it is, nobody knows how things stand."""
        waiting = self.waiting.get(ua)
        if waiting is not None:
            await self._send(waiting, trace)

    async def carry_out(
        self, do: str, ua: str, service: str, command: OperatorCommand, trace: TraceContext
    ) -> Answered:
        """Have module *ua* carry out *command* for the order *do*; return its word once that is kept.

        Only in *ua*'s turn, and with nothing left to ``settle``. Raises Refusal with the module's reason.
        """
        module = await self.module(ua, trace)
        counter = module["command_counter"] + 1
        octets = self._hand.write(ua, counter, command)
        await self.waiting.put(
            {"ua": ua, "counter": counter, "kind": do, "service": service, "octets": octets}
        )
        row = self.waiting.get(ua)
        assert row is not None, "it was just put"
        answered = await self._send(row, trace)
        if answered.reason:
            raise Refusal(answered.reason)
        return answered

    async def read_definitions(self, ua: str, trace: TraceContext) -> Reading:
        """Have module *ua* say what its DEF holds, page by page, as in ``carry_out``; return it whole."""
        reading = Reading()
        while not reading.is_complete:
            answered = await self.carry_out("audit", ua, "", Audit(after=reading.after), trace)
            assert isinstance(answered.answer, Audited), "what is not refused is answered with one"
            reading.take(answered.answer, answered.turn)
        return reading

    async def _send(self, row: Row, trace: TraceContext) -> Answered:
        """Send a stored command, check the module's signed answer, and keep what became of it."""
        ua = row["ua"]
        module = await self.module(ua, trace)
        response = await self._hand.deliver(ua, row["counter"], row["octets"], trace)
        signed = answer_in(response, ua, turn=row["counter"], to=self._hand.name, module=module)
        answered = self._answered(signed, row)
        current = self.modules.get(ua) or module
        # Handed over in the same step of the loop, the three share a transaction.
        await asyncio.gather(
            self.modules.put(
                current.but(command_counter=row["counter"], **answered.ticket, **self.keys.after(answered))
            ),
            self.waiting.remove(ua),
            self._keep(answered),
        )
        await self.keys.retire(self.rolls)
        self._desk.log.info(
            "command.answered", do=row["kind"], ua=ua, service=row["service"], reason=answered.reason
        )
        return answered

    async def present(self, ua: str, certificate: Certificate, trace: TraceContext) -> str:
        """Show module *ua* the authority's word on our key; return why it will not go by it, if it will not.

        It goes by nothing that we sign, so neither is this.
        """
        exchange = self._desk.exchange
        assert exchange is not None, "an operator has a number"
        module = await self.module(ua, trace)
        introduction = IntroduceOperator(chain=encode_chain([certificate]))
        response = await exchange.manage(ua, encode(introduction), trace=trace)
        turn, name = certificate.serial, certificate.subject
        signed = answer_in(response, ua, turn=turn, to=name, module=module, purpose=Purpose.INTRODUCTION)
        return decode(signed.body, Answer).reason

    def read(self, row: Row) -> OperatorCommand:
        """Return the command in a row of ``waiting``."""
        return self._hand.read(row["octets"])

    def rolls(self) -> list[RollOperatorKey]:
        """Return every roll that is waiting for its answer."""
        waiting = (self.read(row) for row in self.waiting.rows() if row["kind"] == ROLL)
        return [command for command in waiting if isinstance(command, RollOperatorKey)]

    def _answered(self, signed: Signed, row: Row) -> Answered:
        command = self.read(row)
        return Answered(
            do=row["kind"],
            ua=row["ua"],
            service=row["service"],
            command=command,
            turn=row["counter"],
            answer=_word(signed.body, command),
        )


def answer_in(
    octets: bytes, ua: str, *, turn: int, to: str, module: Row, purpose: Purpose = Purpose.ANSWER
) -> Signed:
    """Return what module *ua* signed in *turn* for whom it obeys. Raises MessageRejected."""
    signed = decode(octets, Signed)
    if (signed.signer, signed.target, signed.counter) != (ua, to, turn):
        raise MessageRejected("answer-of-another")
    verify(signed, purpose, module)
    return signed


def _word(body: bytes, command: OperatorCommand) -> Answer | Audited:
    """Return the module's word on *command*, which it signed.

    What is none counts as a refusal: asked again, the module would say it again, and for ever.
    """
    bad = Answer(reason=BAD_ANSWER, rsc_id=0)
    try:
        word = decode(body, Answer, Audited)
    except MessageRejected:
        return bad
    if isinstance(word, Answer) and word.reason:
        return word
    return word if isinstance(word, Audited) == isinstance(command, Audit) else bad


def verify(signed: Signed, purpose: Purpose, module: Row) -> None:
    """Check that the module said this. Raises MessageRejected."""
    keys = keys_in(module["certificate"])
    try:
        signed.verify(purpose=purpose, suite=keys.suite, public=keys.signing_public)
    except SignatureRejected:
        raise MessageRejected("signature") from None
