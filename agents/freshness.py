"""Nothing is said twice: references that grow old, and a memory of those that were taken.

A reference is eight octets: the second it was made in, and a count. Whoever takes a message checks, after its
proof, that its reference is of these minutes and was not taken before; so a recording of the wire is worth
nothing, and the memory stays small, because what is too old is refused without being remembered. The clocks
of a market's processes may differ by less than the window.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from agents.errors import MessageRejected

if TYPE_CHECKING:
    from bus.clock import Clock
    from transport.security.suites import Rng

WINDOW_S: Final = 300
MOST: Final = 65_536
"""References remembered at once; past it the oldest is forgotten, and with it what it protected."""

T = TypeVar("T")


class References:
    """Makes references that no other maker, and no earlier launch, is likely to make too."""

    def __init__(self, clock: Clock, rng: Rng) -> None:
        self._clock = clock
        self._count = int.from_bytes(rng(4), "big")

    def next(self) -> bytes:
        """Return a new reference."""
        self._count = (self._count + 1) & 0xFFFFFFFF
        return (int(self._clock.now()) & 0xFFFFFFFF).to_bytes(4, "big") + self._count.to_bytes(4, "big")


class Taken(Generic[T]):
    """What was taken in the last minutes, each with a value that a repetition can be given."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._values: OrderedDict[tuple[str, bytes], T] = OrderedDict()

    def get(self, sender: str, reference: bytes) -> T | None:
        """Return the value that *sender*'s reference was given."""
        return self._values.get((sender, reference))

    def take(self, sender: str, reference: bytes, value: T) -> None:
        """Remember a new reference. Raises MessageRejected for one that is not of now, or not new."""
        self._forget_old()
        if self._age(reference) > WINDOW_S:
            raise MessageRejected("stale")
        if (sender, reference) in self._values:
            raise MessageRejected("replayed")
        self._values[sender, reference] = value

    def settle(self, sender: str, reference: bytes, value: T) -> None:
        """Give a reference that was taken another value; one that is forgotten stays so."""
        if (sender, reference) in self._values:
            self._values[sender, reference] = value

    def forget(self, sender: str, reference: bytes) -> None:
        """Let a reference that was taken be taken again."""
        self._values.pop((sender, reference), None)

    def _forget_old(self) -> None:
        while self._values:
            (_, oldest), _ = next(iter(self._values.items()))
            if len(self._values) < MOST and self._age(oldest) <= WINDOW_S:
                return
            self._values.popitem(last=False)

    def _age(self, reference: bytes) -> int:
        """Return how many seconds *reference* is from now, before or after."""
        difference = (int(self._clock.now()) - int.from_bytes(reference[:4], "big")) & 0xFFFFFFFF
        return min(difference, 0x100000000 - difference)


COUNTER_WINDOW: Final = 32
"""How far behind the latest a counter may come in: the air puts messages out of order."""


def heard(counter: int, latest: int, window: int) -> int | None:
    """Return the window once *counter* was heard, or None for one that was heard before, or is too old.

    Bit *n* of *window* stands for the counter *latest* - *n*. The latest itself may be said again: who heard
    it may have been stopped before it could do anything about it.
    """
    if counter > latest:
        # Shifted no further than the window is wide: a counter of five octets may leap.
        return (window << min(counter - latest, COUNTER_WINDOW) | 1) & ((1 << COUNTER_WINDOW) - 1)
    bit = 1 << (latest - counter)
    if counter == latest:
        return window | bit
    if latest - counter >= COUNTER_WINDOW or window & bit:
        return None
    return window | bit
