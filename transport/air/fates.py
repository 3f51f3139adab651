"""Repeatable chance: numbers that depend on a seed and a place in line, never on the time or on each other.

Drawn from SHAKE-256 rather than from a generator with a state, so that the n-th can be had without the others
and a lane that skips one draws the rest unchanged.
"""

from __future__ import annotations

import hashlib
import math
import struct
from typing import Final

# As many as one block of SHAKE-256 gives: 136 octets.
MOST: Final = 17
_WORDS: Final = tuple(struct.Struct(f">{count}Q") for count in range(MOST + 1))
_PLACE: Final = struct.Struct(">Q")
_UNIT: Final = 2.0**-53  # a float has 53 bits of mantissa: every value below 1 is exact


def draw(seed: bytes, place: int, count: int) -> tuple[float, ...]:
    """Return *count* (at most 17) numbers, 0 <= number < 1, of the *place*-th draw from *seed*."""
    octets = hashlib.shake_256(_PLACE.pack(place) + seed).digest(8 * count)
    return tuple([(word >> 11) * _UNIT for word in _WORDS[count].unpack(octets)])


def normal(radius: float, angle: float, *, most: float) -> float:
    """Return a standard normal deviate made of two drawn numbers (Box and Muller), cut at ±*most*."""
    deviate = math.sqrt(-2.0 * math.log(1.0 - radius)) * math.cos(2.0 * math.pi * angle)
    return max(-most, min(most, deviate))


def run_length(number: float, chance: float) -> int:
    """Return how often in a row something of *chance* (below 1) happens before it first does not."""
    return int(math.log(1.0 - number) / math.log(chance)) if chance else 0
