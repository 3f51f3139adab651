"""The allocator: a third party that commands modules in an operator's place.

The operator keeps agreements and subscriptions: it decides who may use what, answers AGREE and hears SUB. The
allocator holds the key that the operator's modules obey; it signs, sends, repeats and announces what the
operator asks it for, and nothing else: of suppliers, agreements and subscribers it learns what stands in the
commands. It takes orders from its one operator, and only for modules of which their authority says that they
are that operator's. It signs one command for each turn of a module, whatever it is asked: asked again it
sends the same octets again, until the module has answered, and from then on it repeats the answer. All of
that is stored before it is sent or said, so that a kill -9 of either changes nothing.

What an allocator that is not honest can do is what its key can: command modules otherwise than it was told.
The operator checks each answer itself, with the module's key that it has from the authority, and so notices

* an answer made up, at once: only the module can sign it, and for one turn;
* a command that nobody ordered, with its own next command to that module: a turn was used up, and the module
  signs that this one is ``replayed``; or answers for a later turn, which the operator did not ask for;
* what was done in the place of its order, under the order's own turn, with its next audit: an answer names no
  command, but there the module signs what it holds, and that is held against the operator's books;
* a time announced that has yet to come, with its next audit too: what expired by it was not due.

It cannot open what suppliers and modules say to each other, nor become a supplier unseen: a key that is not
the supplier's is a fault that the audit names. It can refuse to work, which the operator sees. Who runs the
link between them can do none of it: a question is sealed and signed by the operator, fresh, and taken once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from agents.commands import answer_in
from agents.errors import Refusal, Unanswered
from agents.hands import OwnHand
from agents.messages.air import (
    Announce,
    Audit,
    Block,
    ChangeSupplierKey,
    Compact,
    Release,
    Renew,
    Reserve,
    Unblock,
)
from agents.messages.codec import decode, encode, is_address
from agents.messages.inside import LookUp, Manage, Managed, ModuleRecord
from agents.messages.signed import EVERYBODY
from agents.operator_sessions import KeysetHand
from agents.role import Role, Turns
from agents.store.registry import Registry
from agents.store.tables import ALLOCATOR_COMMANDS, ALLOCATOR_SESSIONS
from bus.errors import DeliveryFailed
from transport.errors import Rejected
from transport.security import certificates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.announcer import Announcer
    from agents.link import Question
    from agents.operator_sessions import SessionTerms
    from agents.role import Desk
    from agents.store.group_commit import GroupCommit
    from agents.store.registry import Row
    from bus.frame import TraceContext

SIGNED: Final = (Reserve, Block, Unblock, Release, Renew, Compact, Audit, ChangeSupplierKey)
"""What an operator may have signed in its place: what is done to resources, and nothing that touches keys of
the allocator's own or sessions under them."""


class Allocator(Role):
    """One allocator at its desk."""

    def __init__(
        self,
        desk: Desk,
        store: GroupCommit,
        *,
        operator: str,
        authority: str,
        announcer: Announcer | None = None,
        session: SessionTerms | None = None,
    ) -> None:
        super().__init__(desk)
        self._operator = operator
        self._authority = authority
        self._announcer = announcer
        self._commands = known = Registry(store, ALLOCATOR_COMMANDS)
        self._hand = (
            OwnHand(desk)
            if session is None
            else KeysetHand(desk, store, session, modules=known, table=ALLOCATOR_SESSIONS)
        )
        self._in_hand = Turns()

    @classmethod
    async def open(
        cls,
        desk: Desk,
        store: GroupCommit,
        *,
        operator: str,
        authority: str,
        announcer: Announcer | None = None,
        session: SessionTerms | None = None,
    ) -> Allocator:
        """Take up what *store* holds: the allocator of *operator*, by the register of *authority*.

        With *session* its commands travel under a keyset.
        """
        allocator = cls(
            desk, store, operator=operator, authority=authority, announcer=announcer, session=session
        )
        await allocator._commands.load()
        await allocator._hand.load()
        return allocator

    async def _manage(self, question: Question, message: Manage) -> Managed:
        if (question.role, question.sender) != (certificates.Role.OPERATOR, self._operator):
            raise Refusal("not-our-operator")
        async with self._in_hand.of(message.target):
            if message.target == EVERYBODY:
                return await self._announce(message, question.trace)
            return await self._command(message, question.trace)

    async def _command(self, message: Manage, trace: TraceContext) -> Managed:
        if not is_address(message.target):
            raise Refusal("unknown-module")
        row = await self._known(message.target, trace)
        _check_turn(message.turn, message.body, row)
        if message.turn != row["turn"]:
            if row["turn"] and not row["answer"]:
                # Nobody knows yet what became of that one: it has to be settled first.
                raise Refusal("turn-under-way")
            command = decode(message.body, *SIGNED)
            octets = self._hand.write(message.target, message.turn, command)
            row = row.but(turn=message.turn, body=message.body, octets=octets, answer=b"")
            await self._commands.put(row)
        if not row["answer"]:
            try:
                answer = await self._send(row, trace)
            except (Refusal, Unanswered, DeliveryFailed, Rejected) as failure:
                return Managed(answer=b"", failure=failure.reason)
            row = row.but(answer=answer)
            await self._commands.put(row)
        return Managed(answer=row["answer"], failure="")

    async def _send(self, row: Row, trace: TraceContext) -> bytes:
        """Send a stored command; return the answer that the module signed."""
        ua, turn = row["target"], row["turn"]
        answer = await self._hand.deliver(ua, turn, row["octets"], trace)
        answer_in(answer, ua, turn=turn, to=self.name, module=row)
        self.log.info("command.answered", ua=ua, turn=turn)
        return answer

    async def _announce(self, message: Manage, trace: TraceContext) -> Managed:
        if self._announcer is None:
            raise Refusal("no-broadcast")
        row = self._commands.get(EVERYBODY) or _blank(EVERYBODY, b"")
        # Whole: to whom it was said belongs to what was said.
        whole = encode(message)
        _check_turn(message.turn, whole, row)
        if message.turn != row["turn"]:
            said = decode(message.body, Announce)
            await self._announcer.announce(message.groups, trace=trace, said=said)
            # Kept behind the broadcast: stopped in between, it is broadcast again, which harms nobody.
            await self._commands.put({**row, "turn": message.turn, "body": whole})
        return Managed(answer=b"", failure="")

    async def _known(self, ua: str, trace: TraceContext) -> Row:
        """Return what is known of a module; ask the authority for its key where that is nothing yet."""
        link, directory = self.desk.link, self.desk.directory
        row = self._commands.get(ua)
        if row is None:
            found = await link.ask(self._authority, LookUp(ua=ua), ModuleRecord, trace=trace)
            directory.module(found.certificate, ua)
            await self._commands.put(_blank(ua, found.certificate))
            row = self._commands.get(ua)
            assert row is not None, "it was just put"
        # As of now: by a certificate that has run out nobody can tell whose answer it is.
        directory.module(row["certificate"], ua)
        return row

    questions: ClassVar = {Manage: _manage}


def _check_turn(turn: int, body: bytes, row: Mapping[str, Any]) -> None:
    """Raise Refusal if what is asked does not come in its turn, by what is known of its target."""
    if turn < row["turn"] or not turn:
        raise Refusal("replayed")
    if turn == row["turn"] and body != row["body"]:
        raise Refusal("turn-of-another-command")


def _blank(target: str, certificate: bytes) -> dict[str, Any]:
    return {
        "target": target,
        "certificate": certificate,
        "turn": 0,
        "body": b"",
        "octets": b"",
        "answer": b"",
    }
