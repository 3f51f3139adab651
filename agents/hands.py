"""By whose hand an operator's commands reach its modules: who signs them, and brings them there.

A module obeys one key. Whoever holds it writes each command, signed for its module and its turn, and delivers
it; the word that comes back is the module's own, signed for whom it obeys, and ``commands`` checks it whoever
brought it. An operator's own hand is here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from agents.messages.air import OPERATOR_COMMANDS
from agents.messages.codec import decode, encode
from agents.messages.signed import Purpose, Signed, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agents.messages.air import OperatorCommand
    from agents.role import Desk
    from bus.frame import TraceContext
    from transport.security.suites import SigningKey


class Hand(Protocol):
    """Writes commands and delivers them; the octets between are the hand's own, and stored until answered."""

    @property
    def name(self) -> str:
        """Whom the modules obey: to this name they answer."""

    async def load(self) -> None:
        """Read what the hand has stored."""

    def write(self, ua: str, turn: int, command: OperatorCommand) -> bytes:
        """Return *command* for module *ua* and one *turn*, as octets to store and to deliver."""

    def read(self, octets: bytes) -> OperatorCommand:
        """Return the command in octets that this hand wrote."""

    async def deliver(self, ua: str, turn: int, octets: bytes, trace: TraceContext) -> bytes:
        """Bring what was written to the module; return its answer, signed by it and not yet checked.

        Raises Refusal, Unanswered or DeliveryFailed: then nobody knows whether the module has heard it.
        """


class Voice(Protocol):
    """Tells all modules at once (see ``announcer``)."""

    async def announce(
        self,
        groups: Iterable[str],
        *,
        keys: Callable[[int], Sequence[SigningKey]] | None = None,
        trace: TraceContext,
    ) -> None:
        """Tell the modules of *groups*, or of all for none, the time. Raises Refusal when none can hear.

        *keys* says what modules go by when there are so many of them; a voice with a key of its own needs
        none.
        """


class OwnHand:
    """The hand of who signs and sends at a desk of its own."""

    def __init__(self, desk: Desk, key_of: Callable[[str], SigningKey] | None = None) -> None:
        """Take what says which key a module goes by; without, it is the desk's own."""
        self._desk = desk
        self._key_of = key_of or (lambda _ua: desk.keys.signing)

    @property
    def name(self) -> str:
        """Whom the modules obey."""
        return self._desk.keys.name

    async def load(self) -> None:
        """Read nothing: whatever is under way is kept by who has it written."""

    def write(self, ua: str, turn: int, command: OperatorCommand) -> bytes:
        """Return *command*, signed for the module and the turn."""
        return written(self.name, self._key_of(ua), ua, turn, command)

    def read(self, octets: bytes) -> OperatorCommand:
        """Return the command in octets that were written here."""
        command: OperatorCommand = decode(decode(octets, Signed).body, *OPERATOR_COMMANDS)
        return command

    async def deliver(self, ua: str, turn: int, octets: bytes, trace: TraceContext) -> bytes:
        """Send what was written to the module's resource manager; return its answer."""
        del turn  # it is in what was signed
        assert self._desk.exchange is not None, "who commands modules has a number"
        return await self._desk.exchange.manage(ua, octets, trace=trace)


def written(signer: str, key: SigningKey, ua: str, turn: int, command: OperatorCommand) -> bytes:
    """Return *command* for module *ua* and one *turn*, as *signer* signs it with *key*."""
    signed = sign(encode(command), purpose=Purpose.COMMAND, target=ua, counter=turn, signer=signer, key=key)
    return encode(signed)
