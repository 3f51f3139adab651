"""The sending half of a connection: what waits, how far the windows go, and when something goes again.

A number is taken when its PDU goes for the first time; until the peer acknowledges it, it is under way
(``flight``). The peer may acknowledge all numbers up to one, or single ones (EAK); in both cases they never
go again. The window counts from the first number that is not acknowledged in the first way, because that is
where the peer's begins. Our SYN is under way like any other PDU.

There is one timer, as in RFC 6298 §5. It runs while anything is under way, anew from each acknowledgement
that brings news. When it ends, the first two PDUs that are missing go again, and the next wait is twice as
long. It ending again and again without any news between is what gives the connection up. Into a window of
zero, with nothing under way whose answer could reopen it, the same timer lets a PDU go now and then.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from transport.cat_tp.flight import Flight, Outgoing
from transport.cat_tp.pdu import HEADER_OCTETS, MAX_FIELD, Flags
from transport.round_trip import RoundTrip

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transport.cat_tp.settings import CatTpSettings

_HALF: Final = 0x8000
_NUL: Final = b""  # in the queue, where an SDU has at least one octet
_PROBES: Final = 2  # RFC 9002 §6.2.4: else a single loss more costs another wait, of twice the length


class SendingHalf:
    """Numbers, queue, window and timer of what this end sends. The first number is that of its SYN."""

    __slots__ = (
        "_flight",
        "_is_open",
        "_max_payload",
        "_offset",
        "_pushes",
        "_queue",
        "_round_trip",
        "_settings",
        "_timer_at",
        "_waits",
        "_window",
    )

    def __init__(self, settings: CatTpSettings, initial_sequence: int) -> None:
        self._settings = settings
        self._flight = Flight(initial_sequence)
        self._round_trip = RoundTrip(
            first_s=settings.retransmission_timeout_s,
            least_s=settings.min_timeout_s,
            most_s=settings.max_timeout_s,
        )
        self._timer_at: float | None = None
        self._is_open = False  # our SYN was acknowledged
        self._waits = 0  # in vain, since the last acknowledgement of news
        self._pushes = 0  # PDUs sent into a window of zero, since it was last open
        self._window = 0  # the peer's
        self._max_payload = 0
        self._queue: deque[bytes] = deque()
        self._offset = 0  # octets of the queue's first SDU that went already

    @property
    def next_sequence(self) -> int:
        """The number of the PDU that goes next, SND.NXT."""
        return self._flight.next

    @property
    def has_room(self) -> bool:
        """Whether the queue takes another SDU."""
        return len(self._queue) < self._settings.max_queued_sdus

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and everything is acknowledged."""
        return not self._queue and not self._flight

    def is_last(self, number: int) -> bool:
        """Whether *number* is the last that went, which before data can go is that of our SYN."""
        return number == (self._flight.next - 1) & MAX_FIELD

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
        self.put(_NUL, now)

    def acknowledge(self, number: int, *, window: int, now: float) -> bool:
        """Take it that the peer has everything up to *number* and has room for *window* PDUs behind it.

        False, and nothing changes, when *number* was never sent. One that is older than what is known, as in
        a PDU that was overtaken, is no news.
        """
        fresh = (number + 1 - self._flight.first) % 0x10000
        if fresh > len(self._flight):
            return fresh >= _HALF
        if fresh:
            self._advance(fresh, now)
        self._window = window
        self._pump(now)
        return True

    def acknowledge_single(self, numbers: Iterable[int], now: float) -> None:
        """Take it that the peer has *numbers* too; they stay in the window but never go again.

        What they show to be missing goes again at once. The timer runs on for them, for a peer that never
        acknowledges them in order has to be given up like any.
        """
        round_trip_s = self._flight.came(numbers, now)
        if round_trip_s is not None:
            self._round_trip.measured(round_trip_s)
        if self._flight.repeat_missing():
            self._restart(now)

    def expire(self, now: float) -> bool:
        """Do what the timer is for, if it ended. False: it ended as often as the settings allow."""
        if self._timer_at is None or now < self._timer_at:
            return True
        if not self._flight:
            return self._push(now)
        settings = self._settings
        if self._waits >= (settings.max_retransmissions if self._is_open else settings.max_syn_repeats):
            return False
        self._waits += 1
        self._round_trip.back_off()
        self._restart(now)
        self._flight.doubt()
        self._flight.repeat_doubtful(_PROBES)
        return True

    def repeat(self) -> None:
        """Let what is under way go again without waiting: a SYN that now acknowledges the peer's."""
        self._flight.repeat_all()

    def next_timer(self) -> float | None:
        """Return when ``expire`` has something to do, if ever."""
        return self._timer_at

    def take(self) -> list[Outgoing]:
        """Return what is to go now, each number once, however often it was asked for."""
        return self._flight.take()

    def stop(self) -> None:
        """Forget all that waits or is under way."""
        self._queue.clear()
        self._flight.clear()
        self._timer_at = None

    def _advance(self, fresh: int, now: float) -> None:
        """Take the first *fresh* numbers for acknowledged."""
        self._is_open = True
        self._waits = 0
        self._learn(self._flight.advance(fresh), now)
        self._flight.repeat_doubtful(fresh + 1)
        self._timer_at = None
        if self._flight:
            self._restart(now)

    def _learn(self, gone: list[Outgoing], now: float) -> None:
        """Learn a round trip from what was acknowledged: that of the newest, unless the peer named it before.

        If any went again, there is nothing to learn: the newest may have waited with the peer for that one.
        """
        took_s = next((now - outgoing.sent_at for outgoing in reversed(gone) if not outgoing.has_come), None)
        if took_s is not None and not any(outgoing.repeated for outgoing in gone):
            self._round_trip.measured(took_s)

    def _restart(self, now: float) -> None:
        self._timer_at = now + self._round_trip.timeout_s

    def _pump(self, now: float) -> None:
        """Send what waits as far as both ends' windows go."""
        allowed = min(self._window, self._settings.window)
        if allowed:
            self._pushes = 0
        while self._queue and len(self._flight) < allowed:
            self._transmit(*self._cut(), now)
        if self._queue and self._timer_at is None:  # a window of zero, and nothing under way
            self._timer_at = now + self._round_trip.doubled_s(self._pushes)

    def _push(self, now: float) -> bool:
        """Send one PDU into a window of zero; False when that was done as often as the settings allow."""
        if self._pushes >= self._settings.max_retransmissions:
            return False
        self._pushes += 1
        self._transmit(*self._cut(), now)
        return True

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
        """Send a PDU for the first time, and wait for its acknowledgement if not for another's already."""
        if not self._flight:
            self._restart(now)
        self._flight.send(flags, payload, now)
