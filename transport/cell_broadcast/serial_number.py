"""Serial numbers: which message a page belongs to, and which version of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final, Self

from transport.errors import CellBroadcastRejected

MAX_CODE: Final = 0x3FF
MAX_UPDATE: Final = 0xF

_OCTETS: Final = 2
_KEPT: Final = 256  # serial numbers that are kept read: more than are on the air at once
# The clause, as several phones' sources quote it: "Any Update Number eight or less higher (modulo 16) than
# the last received Update Number will be considered more recent, and shall be treated as a new CBS message".
_MOST_STEPS: Final = 8


# TS 23.041 §9.4.1.2.1
class GeographicScope(IntEnum):
    """Where a serial number names the same message; an immediate one is meant to be shown at once."""

    CELL_IMMEDIATE = 0
    PLMN = 1
    LOCATION_AREA = 2
    CELL = 3


# TS 23.041 §9.4.1.2.1
@dataclass(frozen=True, slots=True, kw_only=True)
class SerialNumber:
    """Two octets: *scope* (2 bits), message *code* (10 bits, 0..1023) and *update* number (4 bits, 0..15)."""

    scope: GeographicScope
    code: int
    update: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that the two octets cannot say."""
        if not 0 <= self.code <= MAX_CODE:
            raise ValueError(f"a message code is 0..{MAX_CODE}, not {self.code}")
        if not 0 <= self.update <= MAX_UPDATE:
            raise ValueError(f"an update number is 0..{MAX_UPDATE}, not {self.update}")

    def encode(self) -> bytes:
        """Return the two octets."""
        return (self.scope << 14 | self.code << 4 | self.update).to_bytes(_OCTETS, "big")

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Return what *octets* say; CellBroadcastRejected (``length``) unless they are two."""
        if len(octets) != _OCTETS:
            raise CellBroadcastRejected("length", f"a serial number of {len(octets)} octets")
        return cls._of(int.from_bytes(octets, "big"))

    @classmethod
    @lru_cache(maxsize=_KEPT)
    def _of(cls, number: int) -> Self:
        """Return what two octets say, the same value for all pages of a message: it is compared for each."""
        return cls(scope=_SCOPES[number >> 14], code=number >> 4 & MAX_CODE, update=number & MAX_UPDATE)

    def newer_than(self, other: SerialNumber) -> bool:
        """Whether this is a later version of the message *other*: its update number is 1 to 8 steps ahead.

        Update numbers go round after 15. Of two that are 8 steps apart each is newer than the other.
        """
        if (self.scope, self.code) != (other.scope, other.code):
            return False
        return 1 <= (self.update - other.update) % (MAX_UPDATE + 1) <= _MOST_STEPS


_SCOPES: Final = tuple(
    GeographicScope
)  # by value; calling the enum for each page would cost more than all else
