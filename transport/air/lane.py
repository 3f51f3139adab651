"""One direction of one handset on one bearer: what becomes of each PDU, one after the other."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from transport.air.fates import draw, run_length

if TYPE_CHECKING:
    from transport.air.conditions import Conditions

RTO_S: Final = 1.0  # RFC 6298 §2.1: the retransmission time-out before a round trip was ever measured
MAX_RTO_S: Final = 60.0  # RFC 6298 §2.5: a bound on it may be set, of at least 60 seconds
# Beyond these the PDU passes: TCP would end the connection here (as RFC 1122 §4.2.3.5 lets it), we do not.
MAX_RETRANSMISSIONS: Final = 15

# Places of the drawn numbers: what decides the PDU's fate, then for each of two copies its delay (two
# numbers), whether it is held back, and for how long.
_LOSS, _DUPLICATION, _FIRST_COPY, _SECOND_COPY, _NUMBERS = 0, 1, 2, 6, 10
_FEWER = _FIRST_COPY + 2  # all that are looked at where no copy is another, or held back


class Loss(StrEnum):
    """Why a PDU was lost."""

    RADIO = "radio"
    OUTAGE = "outage"
    CONGESTION = "congestion"


class Lane:
    """The way of one bearer to or from one handset, begun at *epoch* (seconds).

    The n-th PDU always draws the same fate from *seed*. With *reliable* everything arrives once and in order:
    a loss costs retransmission time-outs instead, *rto_s* doubled each time up to a minute, an outage is
    waited out, and the queue has no bound, since the sender's window bounds it. Without *queueing* every PDU
    finds the lane free: for a caller that does not wait for arrivals, so that its time does not pass.
    """

    __slots__ = (
        "_air_s",
        "_conditions",
        "_count",
        "_epoch",
        "_free_at",
        "_front",
        "_loss",
        "_numbers",
        "_queueing",
        "_reliable",
        "_rto_s",
        "_seed",
    )

    def __init__(
        self,
        conditions: Conditions,
        seed: bytes,
        epoch: float,
        *,
        reliable: bool = False,
        queueing: bool = True,
        rto_s: float = RTO_S,
    ) -> None:
        if not 0 < rto_s <= MAX_RTO_S:
            raise ValueError("rto_s is out of bounds")
        self._conditions = conditions
        self._seed = seed
        self._epoch = epoch
        self._reliable = reliable
        self._queueing = queueing
        self._rto_s = rto_s
        self._count = 0
        self._numbers = _NUMBERS if conditions.duplication or conditions.reordering else _FEWER
        self._free_at = self._front = epoch
        self._air_s = 0.0
        self._loss: Loss | None = None

    @property
    def air_s(self) -> float:
        """Seconds that the last PDU was on the air: transmissions, time-outs and the delay of its first copy.

        Waiting for a turn, for those ahead or for the end of an outage is not among them, so that it does
        not depend on when the PDU was sent. A lost PDU was on the air while it was transmitted; one that
        found the queue full never was.
        """
        return self._air_s

    @property
    def loss(self) -> Loss | None:
        """Why the last PDU was lost; None when it was not."""
        return self._loss

    @property
    def front(self) -> float:
        """The latest arrival of all copies that kept their place; a copy that arrives later was held back."""
        return self._front

    def carry(self, octets: int, now: float) -> tuple[float, ...]:
        """Take a PDU of *octets* octets at *now* (seconds); return when its copies arrive, earliest first.

        Nothing when it is lost, two times when it is duplicated. From one call to the next times never
        decrease, but for copies that are held back.
        """
        drawn = draw(self._seed, self._count, self._numbers)
        self._count += 1
        begin = max(now, self._free_at) if self._queueing else now
        return self._insist(drawn, octets, begin) if self._reliable else self._risk(drawn, octets, now, begin)

    def _risk(self, drawn: tuple[float, ...], octets: int, now: float, begin: float) -> tuple[float, ...]:
        if begin - now > self._conditions.max_queue_s:
            self._loss, self._air_s = Loss.CONGESTION, 0.0
            return ()
        self._air_s = self._conditions.transmission_s(octets)
        self._free_at = begin + self._air_s
        self._loss = self._lost_at(begin, drawn[_LOSS])
        return () if self._loss else self._arrivals(drawn)

    def _lost_at(self, begin: float, number: float) -> Loss | None:
        if self._conditions.outages and self._conditions.out_for_s(begin - self._epoch):
            return Loss.OUTAGE
        return Loss.RADIO if number < self._conditions.loss else None

    def _arrivals(self, drawn: tuple[float, ...]) -> tuple[float, ...]:
        first, after_first = self._arrival(drawn, _FIRST_COPY)
        if drawn[_DUPLICATION] >= self._conditions.duplication:
            self._air_s += after_first
            return (first,)
        second, after_second = self._arrival(drawn, _SECOND_COPY)
        self._air_s += min(after_first, after_second)
        return (first, second) if first <= second else (second, first)

    def _arrival(self, drawn: tuple[float, ...], place: int) -> tuple[float, float]:
        """Return when the copy with the numbers from *place* on arrives, and how long after transmission."""
        delay = self._conditions.drawn_delay_s(drawn[place], drawn[place + 1])
        at = max(self._free_at + delay, self._front)
        if self._conditions.reordering and drawn[place + 2] < self._conditions.reordering:
            extra = self._conditions.drawn_hold_s(drawn[place + 3])
            return at + extra, delay + extra
        self._front = at
        return at, delay

    def _insist(self, drawn: tuple[float, ...], octets: int, begin: float) -> tuple[float, ...]:
        again = min(run_length(drawn[_LOSS], self._conditions.loss), MAX_RETRANSMISSIONS)
        transmissions_s = (1 + again) * self._conditions.transmission_s(octets)
        begin += self._conditions.out_for_s(begin - self._epoch)
        self._free_at = begin + transmissions_s
        waited_s = sum(min(self._rto_s * 2.0**time, MAX_RTO_S) for time in range(again))
        delay = self._conditions.drawn_delay_s(*drawn[_FIRST_COPY : _FIRST_COPY + 2])
        self._air_s = transmissions_s + waited_s + delay
        self._front = max(begin + self._air_s, self._front)
        return (self._front,)
