"""The sending half of a connection: what waits, what is under way, and what must go again.

A number is taken when its PDU goes for the first time; until the peer acknowledges it, it is under way. The
peer may acknowledge all numbers up to one, or single ones (EAK); in both cases they never go again. The
window counts from the first number that is not acknowledged in the first way, because that is where the
peer's begins. Our SYN is under way like any other PDU.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from transport.cat_tp.pdu import HEADER_OCTETS, MAX_FIELD, Flags

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transport.cat_tp.settings import CatTpSettings

_HALF: Final = 0x8000
_PROBE: Final = b""  # in the queue, where an SDU has at least one octet


@dataclass(slots=True, kw_only=True)
class Outgoing:
    """A PDU under way: its flags and data, when it goes again, how often it has; *has_come*: it need not."""

    sequence: int
    flags: Flags
    payload: bytes
    due: float
    retransmissions: int = 0
    has_come: bool = False


class SendingHalf:
    """Numbers, queue and window of what this end sends. The first number is that of its SYN."""

    __slots__ = (
        "_due_now",
        "_first",
        "_max_payload",
        "_next",
        "_offset",
        "_persist_at",
        "_queue",
        "_settings",
        "_under_way",
        "_window",
    )

    def __init__(self, settings: CatTpSettings, initial_sequence: int) -> None:
        self._settings = settings
        self._first = self._next = initial_sequence  # SND.UNA and SND.NXT
        self._window = 0  # the peer's
        self._max_payload = 0
        self._queue: deque[bytes] = deque()
        self._offset = 0  # octets of the queue's first SDU that went already
        self._under_way: dict[int, Outgoing] = {}  # in the order in which they go again
        self._due_now: dict[int, Outgoing] = {}
        self._persist_at: float | None = None

    @property
    def next_sequence(self) -> int:
        """The number of the PDU that goes next, SND.NXT."""
        return self._next

    @property
    def has_room(self) -> bool:
        """Whether the queue takes another SDU."""
        return len(self._queue) < self._settings.max_queued_sdus

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and everything is acknowledged."""
        return not self._queue and self._first == self._next

    def is_last(self, number: int) -> bool:
        """Whether *number* is the last that went, which before data can go is that of our SYN."""
        return number == (self._next - 1) & MAX_FIELD

    def open(self, now: float) -> None:
        """Take the first number for a SYN; whether it acknowledges the peer's is decided as it goes."""
        self._transmit(Flags.SYN, b"", now)

    def limit(self, *, max_pdu: int, window: int) -> None:
        """Learn from the peer's SYN what it takes."""
        self._max_payload = min(max_pdu, self._settings.max_pdu) - HEADER_OCTETS
        self._window = window

    def put(self, sdu: bytes, now: float) -> None:
        """Queue *sdu* and send what the window allows."""
        self._queue.append(sdu)
        self._pump(now)

    def put_probe(self, now: float) -> None:
        """Queue a NUL likewise."""
        self.put(_PROBE, now)

    def acknowledge(self, number: int, *, window: int, now: float) -> bool:
        """Take it that the peer has everything up to *number* and has room for *window* PDUs behind it.

        False, and nothing changes, when *number* was never sent. One that is older than what is known, as in
        a PDU that was overtaken, is no news.
        """
        fresh = (number + 1 - self._first) % 0x10000
        if fresh > self._in_flight:
            return fresh >= _HALF
        for _ in range(fresh):
            self._forget(self._first)
            self._first = (self._first + 1) & MAX_FIELD
        self._window = window
        self._pump(now)
        return True

    def acknowledge_single(self, numbers: Iterable[int]) -> None:
        """Take it that the peer has *numbers* too; they stay in the window but never go again.

        Their time-outs run on, for a peer that never acknowledges them in order has to be given up like any.
        """
        for number in numbers:
            outgoing = self._under_way.get(number)
            if outgoing is not None:
                outgoing.has_come = True
                self._due_now.pop(number, None)

    def expire(self, now: float) -> bool:
        """Let go again what was not acknowledged in time. False: one went as often as the settings allow."""
        if self._persist_at is not None and self._persist_at <= now:
            self._transmit(*self._cut(), now)
        late = list(takewhile(lambda outgoing: outgoing.due <= now, self._under_way.values()))
        if any(outgoing.retransmissions >= self._settings.max_retransmissions for outgoing in late):
            return False
        for outgoing in late:
            outgoing.retransmissions += 1
            self._schedule(outgoing, now)
        return True

    def repeat(self, now: float) -> None:
        """Let what is under way go again without waiting; only a SYN is ever repeated so."""
        for outgoing in list(self._under_way.values()):
            self._schedule(outgoing, now)

    def next_timer(self) -> float | None:
        """Return when ``expire`` has something to do, if ever."""
        return next((outgoing.due for outgoing in self._under_way.values()), self._persist_at)

    def take(self) -> list[Outgoing]:
        """Return what is to go now, each number once, however often it was asked for."""
        going = list(self._due_now.values())
        self._due_now.clear()
        return going

    def stop(self) -> None:
        """Forget all that waits or is under way."""
        self._queue.clear()
        self._under_way.clear()
        self._due_now.clear()
        self._persist_at = None
        self._first = self._next

    @property
    def _in_flight(self) -> int:
        return (self._next - self._first) & MAX_FIELD

    def _pump(self, now: float) -> None:
        """Send what waits as far as both ends' windows go."""
        allowed = min(self._window, self._settings.window)
        while self._queue and self._in_flight < allowed:
            self._transmit(*self._cut(), now)
        if not self._queue or self._in_flight:
            self._persist_at = None
        elif self._persist_at is None:  # a window of zero, and nothing under way whose answer could reopen it
            self._persist_at = now + self._settings.retransmission_timeout_s

    def _cut(self) -> tuple[Flags, bytes]:
        """Take flags and data of the next PDU off the queue."""
        sdu = self._queue[0]
        end = self._offset + self._max_payload
        payload = sdu[self._offset : end]
        if end < len(sdu):
            self._offset = end
            return Flags.ACK | Flags.SEG, payload
        self._queue.popleft()
        self._offset = 0
        return (Flags.ACK, payload) if payload else (Flags.ACK | Flags.NUL, payload)

    def _transmit(self, flags: Flags, payload: bytes, now: float) -> None:
        """Send a PDU for the first time, under the next number."""
        outgoing = Outgoing(sequence=self._next, flags=flags, payload=payload, due=now)
        self._next = (self._next + 1) & MAX_FIELD
        self._persist_at = None
        self._schedule(outgoing, now)

    def _schedule(self, outgoing: Outgoing, now: float) -> None:
        """Let *outgoing* go now, and again after the time-out, which comes to it behind all others."""
        outgoing.due = now + self._settings.retransmission_timeout_s
        self._under_way.pop(outgoing.sequence, None)
        self._under_way[outgoing.sequence] = outgoing
        if not outgoing.has_come:
            self._due_now[outgoing.sequence] = outgoing

    def _forget(self, sequence: int) -> None:
        self._under_way.pop(sequence, None)
        self._due_now.pop(sequence, None)
