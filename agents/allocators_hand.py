"""An operator's side of having an allocator: its commands go to modules by another's hand.

The operator decides, numbers its commands and keeps what comes of them, as with a hand of its own. It asks
the allocator for one turn after the other, and for the same one until it is answered: the allocator never
signs two commands for one turn of a module, so that asking again is always safe. The answer is the module's,
signed for the allocator, and held against the key that the operator has from the authority itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agents.announcer import TICKS_PER_S
from agents.errors import Refusal, Unanswered
from agents.messages.air import OPERATOR_COMMANDS, Announce
from agents.messages.codec import decode, encode
from agents.messages.inside import MAX_GROUPS, Manage, Managed
from agents.messages.signed import EVERYBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agents.messages.air import OperatorCommand
    from agents.role import Desk
    from bus.frame import TraceContext
    from transport.security.suites import SigningKey

ASKS: Final = 15
"""How often a question is asked anew that the link has given up: what it waits for is the air, which may take
ten minutes where an air with a speed is slow."""


class AllocatorsHand:
    """Has the allocator *name* sign and send; as a voice, has it announce."""

    def __init__(self, desk: Desk, name: str) -> None:
        self._desk = desk
        self._name = name
        self._announcing = asyncio.Lock()
        self._announced = 0

    @property
    def name(self) -> str:
        """Whom the modules obey."""
        return self._name

    async def load(self) -> None:
        """Read nothing: the allocator keeps what is under way."""

    def write(self, ua: str, turn: int, command: OperatorCommand) -> bytes:
        """Return *command* as the allocator shall sign it; module and turn are told it beside."""
        del ua, turn
        return encode(command)

    def read(self, octets: bytes) -> OperatorCommand:
        """Return the command in octets that were written here."""
        command: OperatorCommand = decode(octets, *OPERATOR_COMMANDS)
        return command

    async def deliver(self, ua: str, turn: int, octets: bytes, trace: TraceContext) -> bytes:
        """Have the allocator carry a command out; return the module's answer to it."""
        return await self._ask(Manage(target=ua, turn=turn, body=octets, groups=[]), trace)

    async def announce(
        self,
        groups: Iterable[str],
        *,
        keys: Callable[[int], Sequence[SigningKey]] | None = None,
        trace: TraceContext,
    ) -> None:
        """Have the allocator tell the modules of *groups*, or of all for none, the time, under its key."""
        del keys
        chosen = list(dict.fromkeys(groups))
        async with self._announcing:
            for start in range(0, len(chosen) or 1, MAX_GROUPS):
                now = self._desk.clock.now()
                # Time never goes back, so that this need not be stored; but it may stand still.
                self._announced = max(self._announced + 1, int(now * TICKS_PER_S))
                question = Manage(
                    target=EVERYBODY,
                    turn=self._announced,
                    body=encode(Announce(time=int(now))),
                    groups=chosen[start : start + MAX_GROUPS],
                )
                await self._ask(question, trace)

    async def _ask(self, question: Manage, trace: TraceContext) -> bytes:
        for _ in range(ASKS - 1):
            try:
                return await self._ask_once(question, trace)
            except Unanswered:
                self._desk.log.info("allocator.silent", allocator=self._name, target=question.target)
        return await self._ask_once(question, trace)

    async def _ask_once(self, question: Manage, trace: TraceContext) -> bytes:
        managed = await self._desk.link.ask(self._name, question, Managed, trace=trace)
        if managed.failure:
            # The allocator's word alone: nobody has proven that the module said no.
            raise Refusal(managed.failure, proven=False)
        return managed.answer
