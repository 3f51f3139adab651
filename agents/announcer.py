"""What an operator tells all its modules at once: announcements, signed, by cell broadcast.

Nobody answers a broadcast. A module takes an announcement that its operator signed for everybody and that is
newer than the last one it took; the others are repetitions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agents.errors import Refusal
from agents.messages.air import MANAGER_TAR, Announce
from agents.messages.bearers import ANNOUNCEMENTS
from agents.messages.codec import encode
from agents.messages.signed import EVERYBODY, Purpose, sign
from transport.cell_broadcast import ALL_CODES, MAX_CONTENT, GeographicScope
from transport.secured_packet import CELL_BROADCAST, SecurityParameters, encode_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from agents.role import Desk
    from bus.bearers.cell_broadcast import CellBroadcaster
    from bus.frame import TraceContext
    from transport.cell_broadcast import Schedule, SerialNumber
    from transport.security.suites import SigningKey

TICKS_PER_S: Final = 100
_UNANSWERED: Final = SecurityParameters()


@dataclass(slots=True, kw_only=True)
class Announcer:
    """What an operator broadcasts with: its cells by group of subscribers, and how often it repeats."""

    desk: Desk
    broadcaster: CellBroadcaster
    cells: Mapping[str, tuple[str, ...]]
    schedule: Schedule
    subscribers: int = 0
    """How many modules the operator has, those among them that it never had to do with."""
    _counter: int = field(default=0, init=False)
    _number: int | None = field(default=None, init=False)

    async def announce(
        self,
        groups: Iterable[str],
        *,
        keys: Callable[[int], Sequence[SigningKey]] | None = None,
        trace: TraceContext,
        said: Announce | None = None,
    ) -> None:
        """Tell the modules of *groups*, or of all for none, the time; return after the last repetition.

        *said* is what to tell them in place of our own time. It is said once under each of *keys*, by default
        the desk's own, for each module goes by one of them; one after the other, as a module puts together
        only so many messages at once. Raises Refusal when none of the groups has a cell of ours, or our
        signature is too long for a broadcast.
        """
        cells = self._cells_of(groups)
        if not cells:
            raise Refusal("unknown-group")
        for key in keys(self.subscribers) if keys else (self.desk.keys.signing,):
            await self._broadcast(cells, key, said, trace)

    async def _broadcast(
        self, cells: list[str], key: SigningKey, said: Announce | None, trace: TraceContext
    ) -> None:
        now = self.desk.clock.now()
        # Time never goes back, so neither does this, and it need not be stored; two in one tick count on.
        self._counter = max(self._counter + 1, int(now * TICKS_PER_S))
        signed = sign(
            encode(said or Announce(time=int(now))),
            purpose=Purpose.ANNOUNCEMENT,
            target=EVERYBODY,
            counter=self._counter,
            signer=self.desk.keys.name,
            key=key,
        )
        packet = encode_command(spi=_UNANSWERED, tar=MANAGER_TAR, data=encode(signed), dialect=CELL_BROADCAST)
        if len(packet) > MAX_CONTENT:
            raise Refusal("too-long-to-broadcast")
        serial = self._next_serial()
        receipt = await self.broadcaster.broadcast(
            packet,
            message_identifier=ANNOUNCEMENTS,
            code=serial.code,
            update=serial.update,
            cells=cells,
            scope=serial.scope,
            schedule=self.schedule,
            trace=trace,
        )
        self.desk.log.info("announcement.broadcast", pages=receipt.pages, publishes=receipt.publishes)

    def _next_serial(self) -> SerialNumber:
        """Return the serial number of another announcement, under a code that none of the last thousand had.

        If the one before them is still on the air, this one is a later version of it and ends it. A launch
        begins anywhere, as it does not know where the one before ended.
        """
        self._number = int.from_bytes(self.desk.rng(2), "big") if self._number is None else self._number + 1
        return ALL_CODES.serial(self._number, GeographicScope.CELL)

    def _cells_of(self, groups: Iterable[str]) -> list[str]:
        chosen = dict.fromkeys(groups) or self.cells
        return [cell for group in chosen for cell in self.cells.get(group, ())]
