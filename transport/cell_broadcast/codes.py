"""Who may use which message codes: of 1024 under a message identifier, each series of messages has a window.

Series whose windows have no code in common never meet, however many messages each has and whenever it is on
the air. Within its window a series goes round and round: a code is used again when its last message is over,
and the update number is a step further, so that a phone takes the message for a later version of that one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from transport.cell_broadcast.serial_number import MAX_CODE, MAX_UPDATE, SerialNumber

if TYPE_CHECKING:
    from transport.cell_broadcast.serial_number import GeographicScope


# TS 23.041 §9.4.1.2.1
@dataclass(frozen=True, slots=True, kw_only=True)
class CodeWindow:
    """The *codes* of one series of messages, of which as many can be on the air at once."""

    codes: range

    def __post_init__(self) -> None:
        """Refuse no codes, and what are none."""
        codes = self.codes
        if not codes or codes.step != 1 or codes.start < 0 or codes.stop > MAX_CODE + 1:
            raise ValueError(f"a window is of some codes in a row, of 0..{MAX_CODE}, not {codes}")

    def rounds(self, messages: int) -> int:
        """Return how many rounds *messages* take; at least one."""
        return max(1, -(-messages // len(self.codes)))

    def serial(self, number: int, scope: GeographicScope, *, rounds: int = 0) -> SerialNumber:
        """Return the serial number of message *number*, from 0, of a series that *rounds* went before.

        To a phone it is news if it has heard another message under the code up to eight rounds ago, or none.
        """
        further, place = divmod(number, len(self.codes))
        update = (rounds + further) % (MAX_UPDATE + 1)
        return SerialNumber(scope=scope, code=self.codes[place], update=update)


ALL_CODES: Final = CodeWindow(codes=range(MAX_CODE + 1))
"""For the only series under a message identifier."""
