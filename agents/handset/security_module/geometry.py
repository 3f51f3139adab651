"""How a memory image is divided: fixed when it is formatted, written in its header, the same for ever.

The header is the image's first page; all integers are big-endian::

    magic 8 | version 2 | size 4 | slot size 2 | slots 2 | octets of each record's slot 2 2 2 2 2 | CRC-32 4

Behind it come the operating area, one slot for each ``Record``, then DEF with its slots, then the zone. How
large the slots have to be depends on the longest keys that a module takes: its profile says.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agents.handset.security_module.errors import ImageRejected
from agents.handset.security_module.medium import PAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

MIN_SIZE: Final = 32 * 1024
MAX_SIZE: Final = 4 * 1024 * 1024
MAX_DEFINITIONS: Final = 255
DEFAULT_RESOURCES: Final = 16
DEFAULT_SLOT_SIZE: Final = 768
MAX_SLOT_SIZE: Final = 64 * PAGE
SLOT_HEAD: Final = struct.Struct(">IH")
EMPTY_SLOT: Final = bytes(SLOT_HEAD.size)
"""How a slot begins that holds nothing."""
"""CRC-32 and length of what a slot holds."""

_MAGIC: Final = b"OTAFLEET"
_VERSION: Final = 4
_HEADER: Final = struct.Struct(">8sHIHH5H")
_CRC: Final = struct.Struct(">I")


class Record(StrEnum):
    """A named record of the operating area."""

    IDENTITY = "identity"  # UA, private key, public keys of authority and operator
    COUNTERS = "counters"  # command counters, time last seen
    ANSWER = "answer"  # the answer to the last command, to be given again to a repetition
    PROFILE = "profile"  # what this module can do, and how much (``profile``)
    SESSION = "session"  # the keyset of the secure connection with the operator (``operator_session``)


RECORD_SIZES: Final[Mapping[Record, int]] = MappingProxyType(
    {
        Record.IDENTITY: 7 * PAGE,
        Record.COUNTERS: 1 * PAGE,
        Record.ANSWER: 3 * PAGE,
        Record.PROFILE: 1 * PAGE,
        Record.SESSION: 1 * PAGE,
    },
)
"""Octets of each record's slot, unless the image is formatted otherwise; a record may have six fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The division of one image; sizes in octets. One that cannot be is a ValueError."""

    size: int
    slots: int = DEFAULT_RESOURCES
    slot_size: int = DEFAULT_SLOT_SIZE
    records: tuple[int, ...] = tuple(RECORD_SIZES.values())
    """Of each record's slot, in the order of ``Record``."""
    table_start: int = field(init=False, repr=False, compare=False)
    """Where DEF begins."""
    zone_start: int = field(init=False, repr=False, compare=False)
    """Where the zone for resources begins."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "table_start", PAGE + sum(self.records))
        object.__setattr__(self, "zone_start", self.table_start + self.slots * self.slot_size)
        if not MIN_SIZE <= self.size <= MAX_SIZE or self.size % PAGE:
            raise ValueError(
                f"a memory has {MIN_SIZE} to {MAX_SIZE} octets in pages of {PAGE}, not {self.size}"
            )
        sizes = (self.slot_size, *self.records)
        are_pages = all(PAGE <= size <= MAX_SLOT_SIZE and not size % PAGE for size in sizes)
        if not 1 <= self.slots <= MAX_DEFINITIONS or not are_pages or len(self.records) != len(Record):
            raise ValueError(f"a memory cannot have {self.slots} definitions of {self.slot_size} octets")
        if self.zone_start >= self.size:
            raise ValueError(
                f"{self.slots} definitions of {self.slot_size} octets leave no zone in {self.size}"
            )

    def slot(self, record: Record) -> tuple[int, int]:
        """Return where a record's slot begins, and its octets."""
        index = _INDICES[record]
        return PAGE + sum(self.records[:index]), self.records[index]

    def all_slots(self) -> list[tuple[int, int]]:
        """Return offset and octets of every slot: the records', then DEF's."""
        table = range(self.table_start, self.zone_start, self.slot_size)
        return [*map(self.slot, Record), *((offset, self.slot_size) for offset in table)]

    def header(self) -> bytes:
        """Return the image's first page."""
        octets = _HEADER.pack(_MAGIC, _VERSION, self.size, self.slot_size, self.slots, *self.records)
        return (octets + _CRC.pack(zlib.crc32(octets))).ljust(PAGE, b"\0")


_INDICES: Final[Mapping[Record, int]] = MappingProxyType({each: place for place, each in enumerate(Record)})


def geometry_of(image: bytes | bytearray) -> Geometry:
    """Return what an image's first page says, which must be there; raise ImageRejected."""
    end = _HEADER.size + _CRC.size
    if len(image) < end:
        raise ImageRejected("no-header", f"{len(image)} octets")
    if not image.startswith(_MAGIC):
        raise ImageRejected("not-an-image")
    if _CRC.unpack_from(image, _HEADER.size)[0] != zlib.crc32(image[: _HEADER.size]) or any(image[end:PAGE]):
        raise ImageRejected("corrupt-header")
    return _parsed(bytes(image[: _HEADER.size]))


@lru_cache(maxsize=16)
def _parsed(header: bytes) -> Geometry:
    """Return a geometry once for all modules that have it."""
    _magic, version, size, slot_size, slots, *records = _HEADER.unpack(header)
    if version != _VERSION:
        raise ImageRejected("unknown-version", f"version {version}")
    try:
        return Geometry(size=size, slots=slots, slot_size=slot_size, records=tuple(records))
    except ValueError as error:
        raise ImageRejected("bad-geometry", str(error)) from None
