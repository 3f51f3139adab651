"""The air between the bus and its users: judges each PDU by the radio model and delivers what arrives, then.

The broker loses nothing and is never slow; this gate is where that changes, once for each PDU, at whichever
end holds the gate. One heap and one task serve all lanes of a process, however many PDUs are in the air.

Without waiting (``air.speed = "max"``) what arrives is delivered in the call itself. Losses and duplicates
are those of a run that waits, and the seconds on the air are counted likewise. A PDU that the model holds
back behind later ones is kept until another PDU of its lane was delivered, or for :data:`TICK_S` when none
comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import heapq
import itertools
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from bus.errors import MailboxFull
from bus.frame import Bearer
from transport.air import Lane, Loss

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import FilteringBoundLogger

    from bus.clock import Clock
    from bus.counters import Counters
    from transport.air import Conditions

Deliver: TypeAlias = Callable[[], None]
Way: TypeAlias = Callable[[int, Deliver], bool]
"""One lane of a gate, as who uses it often holds it: takes octets and who delivers, as ``carry``."""

TICK_S: Final = 0.05
MAX_PENDING: Final = 262_144
_BATCH: Final = 256  # deliveries before other tasks have their turn


class _Pending:
    """A call to come, for whom, and the track that holds it back, if one does; no call once it was made."""

    __slots__ = ("call", "key", "track")

    def __init__(self, call: Callable[[], object], key: str, track: _Track | None = None) -> None:
        self.call: Callable[[], object] | None = call
        self.key = key
        self.track = track


class _Track:
    """A lane, and what it holds back until another PDU was delivered."""

    __slots__ = ("held", "lane")

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.held: dict[_Pending, None] = {}  # an ordered set: one in the middle may go first


class AirGate:
    """Carries PDUs over the bearers of which *conditions* are given; an async context manager.

    All lanes draw from *seed*, each its own; *epoch* (seconds of *clock*, by default now) is when outages are
    counted from and the same in all processes of a run. With *wait* arrivals are waited for, without it what
    arrives does so at once. At most *max_pending* deliveries are under way, one more is lost to congestion.
    Leaving drops what is still in the air.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        seed: bytes,
        conditions: Mapping[Bearer, Conditions],
        counters: Counters,
        log: FilteringBoundLogger,
        wait: bool,
        epoch: float | None = None,
        max_pending: int = MAX_PENDING,
    ) -> None:
        self._clock = clock
        self._seed = seed
        # What changes nothing is left out, so that a PDU it would not change costs one look here.
        self._conditions = {
            bearer: found for bearer, found in conditions.items() if not (found.is_clear and found.is_instant)
        }
        self._counters = counters
        self._log = log
        self._wait = wait
        self._max_pending = max_pending
        self._epoch = clock.now() if epoch is None else epoch
        self._tracks: dict[tuple[Bearer, str], _Track] = {}
        self._pending: list[tuple[float, int, _Pending]] = []
        self._next_number = itertools.count().__next__  # keeps what arrives at one moment in order
        self._earlier = asyncio.Event()  # something is to be delivered before what the task waits for
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise ValueError("the air gate was entered before")
        self._task = asyncio.create_task(self._run(), name="air")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        assert self._task is not None  # it was entered, or it could not be left
        self._task.cancel()
        await asyncio.wait([self._task])
        self._pending.clear()
        self._tracks.clear()

    @property
    def clock(self) -> Clock:
        """The clock that all times here are of."""
        return self._clock

    @property
    def pending(self) -> int:
        """How many deliveries are still to come."""
        return sum(entry.call is not None for _, _, entry in self._pending)

    def carry(self, bearer: Bearer, key: str, octets: int, deliver: Deliver) -> bool:
        """Judge a PDU of *octets* octets on the lane *key* of *bearer*; call *deliver* for each arrival.

        *key* names one of our own ends and a direction; every new one is remembered. Returns False when the
        PDU is lost, which is counted, or the gate closed. That *deliver* raises MailboxFull is a loss too;
        what else it raises is the caller's when it was called at once, and a crash of ``air`` when later.
        """
        return self.way(bearer, key)(octets, deliver)

    def way(self, bearer: Bearer, key: str) -> Way:
        """Return the lane *key* of *bearer*, for many PDUs: each is carried as by :meth:`carry`."""
        conditions = self._conditions.get(bearer)
        if conditions is None:
            return partial(self._carry_clear, bearer, key)
        track = self._tracks.get((bearer, key)) or self._new_track(bearer, key, conditions)
        return partial(self._carry, bearer, key, track)

    def after(self, delay_s: float, call: Deliver) -> None:
        """Call *call* in *delay_s* seconds of the clock, also where nothing waits for the air.

        It goes over no air but ends with the gate, as what does. That it raises MailboxFull, or that too much
        is under way already, is counted as dropped: ``mailbox-full``, ``air-full``; else a crash of ``air``.
        """
        pending = _Pending(partial(self._call, call), "after")
        if not self._closed and not self._schedule(self._clock.now() + delay_s, pending):
            self._counters.dropped("air-full")

    # ---- lanes ----

    def _carry_clear(self, bearer: Bearer, key: str, _octets: int, deliver: Deliver) -> bool:
        return not self._closed and self._deliver(bearer, key, deliver)

    def _carry(self, bearer: Bearer, key: str, track: _Track, octets: int, deliver: Deliver) -> bool:
        if self._closed:
            return False
        lane = track.lane
        arrivals = lane.carry(octets, self._clock.now())
        self._counters.aired(bearer, lane.air_s)
        if lane.loss:
            return self._lose(bearer, key, lane.loss)
        if self._wait:
            taken = [self._later(at, bearer, key, deliver) for at in arrivals]
            return any(taken)
        if len(arrivals) == 1 and not track.held and arrivals[0] <= lane.front:
            return self._deliver(bearer, key, deliver)  # as nearly all do
        return self._pass(arrivals, track, bearer, key, deliver)

    def _new_track(self, bearer: Bearer, key: str, conditions: Conditions) -> _Track:
        lane = Lane(
            conditions,
            lane_seed(self._seed, bearer, key),
            self._epoch,
            reliable=bearer is Bearer.BIP_TCP,
            queueing=self._wait,
        )
        return self._tracks.setdefault((bearer, key), _Track(lane))

    def _pass(
        self, arrivals: tuple[float, ...], track: _Track, bearer: Bearer, key: str, deliver: Deliver
    ) -> bool:
        """Deliver at once what kept its place and, behind it, what was held back for that."""
        in_place = [at for at in arrivals if at <= track.lane.front]
        held, track.held = (track.held, {}) if in_place else ({}, track.held)
        arrived = [self._deliver(bearer, key, deliver) for _ in in_place]
        for pending in held:
            self._make(pending)
        until = self._clock.now() + TICK_S
        arrived += [self._later(until, bearer, key, deliver, track) for _ in arrivals[len(in_place) :]]
        return any(arrived)

    # ---- deliveries to come ----

    def _later(
        self, at: float, bearer: Bearer, key: str, deliver: Deliver, track: _Track | None = None
    ) -> bool:
        pending = _Pending(partial(self._deliver, bearer, key, deliver), key, track)
        if not self._schedule(at, pending):
            return self._lose(bearer, key, Loss.CONGESTION)
        if track is not None:
            track.held[pending] = None
        return True

    def _schedule(self, at: float, pending: _Pending) -> bool:
        if len(self._pending) >= self._max_pending:
            return False
        heapq.heappush(self._pending, (at, self._next_number(), pending))
        if self._pending[0][2] is pending:
            self._earlier.set()
        return True

    async def _run(self) -> None:
        while True:
            self._earlier.clear()
            if self._make_due():
                await asyncio.sleep(0)
                continue
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(self._until_next()):
                    await self._earlier.wait()

    def _until_next(self) -> float | None:
        return self._pending[0][0] - self._clock.now() if self._pending else None

    def _make_due(self) -> bool:
        """Make the calls that are due, so much at a time that others get their turn; say if there was any."""
        now = self._clock.now()
        for count in range(_BATCH):
            if not self._pending or self._pending[0][0] > now:
                return count > 0
            pending = heapq.heappop(self._pending)[2]
            if pending.track is not None:
                pending.track.held.pop(pending, None)
            self._make(pending)
        return True

    def _make(self, pending: _Pending) -> None:
        call, pending.call = pending.call, None
        if call is None:
            return
        try:
            call()
        except Exception:  # noqa: BLE001 -- nobody waits who could be told, and the others are to arrive
            self._counters.crashed("air")
            self._log.exception("air.delivery_failed", key=pending.key)

    # ---- one delivery ----

    def _deliver(self, bearer: Bearer, key: str, deliver: Deliver) -> bool:
        try:
            deliver()
        except MailboxFull:
            return self._lose(bearer, key, "mailbox-full")
        return True

    def _call(self, call: Deliver) -> None:
        try:
            call()
        except MailboxFull:
            self._counters.dropped("mailbox-full")

    def _lose(self, bearer: Bearer, key: str, reason: str) -> bool:
        """Count the loss; return False, for the caller to return."""
        self._counters.lost(bearer)
        self._log.debug("air.lost", bearer=str(bearer), key=key, reason=str(reason))
        return False


def lane_seed(seed: bytes, bearer: Bearer, key: str) -> bytes:
    """Return the seed of the lane *key* of *bearer*: 32 octets, a hash of all three and of nothing else."""
    parts = (seed, str(bearer).encode(), key.encode())
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()
