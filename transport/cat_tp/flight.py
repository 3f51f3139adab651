"""What is under way of one direction: sent, and not acknowledged up to its number yet.

A PDU is in here from its first transmission until the peer has acknowledged all numbers up to its own. The
peer may name it before that, singly: then it never goes again. ``take`` returns what is to go now.

Two things say that a PDU is missing before its time is over. One is another that came although it was sent
later: if three numbers lie between them, or it was the last that went, then the earlier one was hardly
overtaken, it was lost (the threshold of RFC 9002 §6.1.1, with that of RFC 5827 for the last few). The other
is a time-out: it casts doubt on all that was under way then, and each acknowledgement of news lets that many
of them go again and one more, as slow start does (RFC 5681 §3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from transport.cat_tp.pdu import MAX_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transport.cat_tp.pdu import Flags

_OVERTAKEN_BY: Final = 3


@dataclass(slots=True, kw_only=True)
class Outgoing:
    """A PDU under way: its flags and data, and when it went for the first time.

    *repeated*: it went again, so that its acknowledgement tells no round trip. *has_come*: the peer named it
    singly. *doubtful*: a time-out passed since it went last.
    """

    sequence: int
    flags: Flags
    payload: bytes
    sent_at: float
    repeated: bool = False
    has_come: bool = False
    doubtful: bool = False


class Flight:
    """The PDUs under way, by number, from *first* (SND.UNA) to before *next* (SND.NXT)."""

    __slots__ = ("_due_now", "_under_way", "first", "next")

    def __init__(self, initial_sequence: int) -> None:
        self.first = self.next = initial_sequence
        self._under_way: dict[int, Outgoing] = {}  # in the order of their numbers
        self._due_now: dict[int, Outgoing] = {}

    def __len__(self) -> int:
        """Return how many numbers are not acknowledged."""
        return (self.next - self.first) & MAX_FIELD

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self.first != self.next

    def send(self, flags: Flags, payload: bytes, now: float) -> None:
        """Send a PDU for the first time, under the next number."""
        outgoing = Outgoing(sequence=self.next, flags=flags, payload=payload, sent_at=now)
        self.next = (self.next + 1) & MAX_FIELD
        self._under_way[outgoing.sequence] = self._due_now[outgoing.sequence] = outgoing

    def advance(self, count: int) -> list[Outgoing]:
        """Take the first *count* off; return them."""
        return [self._land() for _ in range(count)]

    def came(self, numbers: Iterable[int], now: float) -> float | None:
        """Take it that the peer has *numbers*; return the round trip of the newest, if it tells one."""
        newest: float | None = None
        for number in numbers:
            outgoing = self._under_way.get(number)
            if outgoing is None or outgoing.has_come:
                continue
            outgoing.has_come, outgoing.doubtful = True, False
            self._due_now.pop(number, None)
            if not outgoing.repeated:
                newest = outgoing.sent_at if newest is None else max(newest, outgoing.sent_at)
        return None if newest is None else now - newest

    def repeat_missing(self) -> bool:
        """Let go again, once for each, what later ones overtook by too much; return whether anything was."""
        flying = list(enumerate(self._under_way.values()))
        furthest = max((place for place, outgoing in flying if outgoing.has_come), default=0)
        last = len(flying) - 1
        missing = [
            outgoing
            for place, outgoing in flying
            if not (outgoing.has_come or outgoing.repeated)
            and place < furthest
            and furthest - place >= min(_OVERTAKEN_BY, last - place)
        ]
        for outgoing in missing:
            self._repeat(outgoing)
        return bool(missing)

    def doubt(self) -> None:
        """Take it that nothing was heard for too long of what is under way, but of what came singly."""
        for outgoing in self._under_way.values():
            outgoing.doubtful = not outgoing.has_come

    def repeat_doubtful(self, most: int) -> None:
        """Let go again the first *most* in doubt."""
        doubtful = (outgoing for outgoing in self._under_way.values() if outgoing.doubtful)
        for outgoing in islice(doubtful, most):
            self._repeat(outgoing)

    def repeat_all(self) -> None:
        """Let go again all that is under way."""
        for outgoing in self._under_way.values():
            self._repeat(outgoing)

    def take(self) -> list[Outgoing]:
        """Return what is to go now, each number once, however often it was asked for."""
        going = list(self._due_now.values())
        self._due_now.clear()
        return going

    def clear(self) -> None:
        """Forget all of them."""
        self._under_way.clear()
        self._due_now.clear()
        self.first = self.next

    def _land(self) -> Outgoing:
        self._due_now.pop(self.first, None)
        outgoing = self._under_way.pop(self.first)
        self.first = (self.first + 1) & MAX_FIELD
        return outgoing

    def _repeat(self, outgoing: Outgoing) -> None:
        outgoing.repeated, outgoing.doubtful = True, False
        self._due_now[outgoing.sequence] = outgoing
