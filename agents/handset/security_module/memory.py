"""The module's memory: one image of octets, changed by transactions only.

Layout, all integers big-endian; offsets are fixed when the image is formatted::

    0            header: magic 8 | version 2 | size 4 | slot size 2 | slots 2 | table 4 | zone 4 | CRC-32 4
    PAGE         operating area: one slot for each ``Record``, each a whole number of pages
    table        DEF: ``slots`` slots of ``slot size`` octets
    zone         the resources' areas, to the end of the image

A slot is ``CRC-32 4 | length 2 | octets | zeros``, the CRC over length and octets. Six zero octets are an
empty slot; a slot that holds no octets has a CRC that is not zero.

A transaction stages copies of the pages it writes. While one is open, reads see its writes. At its end the
pages that it really changed go through the ``journal`` behind the image (its layout is there) to the
``medium``, all or none of them, wherever power fails. A boot first does what the journal asks for, and only
then looks at the image: octets that are wrong without a journal's fault are an ImageRejected.

What was applied is handed out by ``take_changes`` as whole pages, which the shell makes durable before the
answer leaves; pages never handed out are zeros, so ``from_pages`` needs none of them. The journal's own pages
are not among them: a shell that stores the changes of one command together needs no journal of ours.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import contextmanager
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agents.handset.security_module import journal
from agents.handset.security_module.errors import ImageRejected, MemoryFull
from agents.handset.security_module.medium import PAGE, ZEROS, Medium

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MIN_SIZE: Final = 32 * 1024
MAX_SIZE: Final = 4 * 1024 * 1024
MAX_DEFINITIONS: Final = 255
DEFAULT_RESOURCES: Final = 16
DEFAULT_SLOT_SIZE: Final = 512
MAX_SLOT_SIZE: Final = 16 * PAGE

_MAGIC: Final = b"OTAFLEET"
_VERSION: Final = 1
_HEADER: Final = struct.Struct(">8sHIHHII")
_CRC: Final = struct.Struct(">I")
_SLOT_HEAD: Final = struct.Struct(">IH")
_LENGTH: Final = struct.Struct(">H")
_ZEROS: Final = bytes(16 * 1024)


class Record(StrEnum):
    """A named record of the operating area."""

    IDENTITY = "identity"  # UA, private key, public keys of authority and operator
    COUNTERS = "counters"  # command counters, time last seen
    ANSWER = "answer"  # the answer to the last command, to be given again to a repetition
    PROFILE = "profile"  # what this module can do, and how much (``profile``)


RECORD_SIZES: Final[Mapping[Record, int]] = MappingProxyType(
    {
        Record.IDENTITY: 8 * PAGE,
        Record.COUNTERS: 1 * PAGE,
        Record.ANSWER: 3 * PAGE,
        Record.PROFILE: 1 * PAGE,
    },
)
"""Octets of each record's slot in the image; a record itself may have six fewer."""


def _record_offsets() -> dict[Record, int]:
    offsets, offset = {}, PAGE
    for record, size in RECORD_SIZES.items():
        offsets[record] = offset
        offset += size
    return offsets


_OFFSETS: Final[Mapping[Record, int]] = MappingProxyType(_record_offsets())
_TABLE: Final = PAGE + sum(RECORD_SIZES.values())


class Transaction:
    """Writes that will be applied together, or not at all; made by ``Memory.transaction``."""

    __slots__ = ("_image", "_open", "_pages")

    def __init__(self, image: bytearray) -> None:
        self._image = image
        self._pages: dict[int, bytearray] = {}
        self._open = True

    @property
    def pages(self) -> Mapping[int, bytearray]:
        """The staged pages by number."""
        return self._pages

    def write(self, offset: int, octets: bytes) -> None:
        """Stage octets at an offset; raise ValueError outside the image, in its header, or after the end."""
        if not self._open:
            raise ValueError("the transaction is over")
        end = offset + len(octets)
        if offset < PAGE or end > len(self._image):
            raise ValueError(f"{offset}..{end} is not writable memory")
        done = 0
        while done < len(octets):
            number, start = divmod(offset + done, PAGE)
            chunk = octets[done : done + PAGE - start]
            self._page(number)[start : start + len(chunk)] = chunk
            done += len(chunk)

    def read(self, offset: int, length: int) -> bytes:
        """Return memory as it will be once this transaction is applied."""
        out = bytearray(self._image[offset : offset + length])
        for number in range(offset // PAGE, (offset + length + PAGE - 1) // PAGE):
            page = self._pages.get(number)
            if page is not None:
                start, end = max(offset, number * PAGE), min(offset + length, number * PAGE + PAGE)
                out[start - offset : end - offset] = page[start - number * PAGE : end - number * PAGE]
        return bytes(out)

    def close(self) -> None:
        """Take no further writes."""
        self._open = False

    def _page(self, number: int) -> bytearray:
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = self._image[number * PAGE : (number + 1) * PAGE]
        return page


class Memory:
    """A memory image and the only ways to change it. Sizes and offsets are in octets."""

    __slots__ = (
        "_dirty",
        "_image",
        "_medium",
        "_transaction",
        "size",
        "slot_size",
        "slots",
        "table_start",
        "zone_start",
    )

    def __init__(self, medium: Medium) -> None:
        """Take up what lies on *medium*, the journal's part first; raise ImageRejected when it is corrupt.

        Corrupt are a header or a slot that does not hold, and octets that are not zeros where nothing is.
        """
        header = _parse_header(medium.image)
        self.size, self.slot_size, self.slots, self.table_start, self.zone_start = header
        if len(medium.image) != self.size:
            raise ImageRejected("wrong-size", f"{len(medium.image)} octets of {self.size}")
        self._medium = medium
        self._image = medium.image
        self._dirty: set[int] | None = journal.recover(medium) or None
        self._transaction: Transaction | None = None
        for offset, capacity in self._all_slots():
            self._check_slot(offset, capacity)

    @classmethod
    def format(
        cls, size: int, max_definitions: int = DEFAULT_RESOURCES, *, slot_size: int = DEFAULT_SLOT_SIZE
    ) -> Memory:
        """Return an empty memory of ``size`` octets; raise ValueError when no such memory can be."""
        zone = _TABLE + max_definitions * slot_size
        if not MIN_SIZE <= size <= MAX_SIZE or size % PAGE:
            raise ValueError(f"a memory has {MIN_SIZE} to {MAX_SIZE} octets in pages of {PAGE}, not {size}")
        if (
            not 1 <= max_definitions <= MAX_DEFINITIONS
            or slot_size % PAGE
            or not PAGE <= slot_size <= MAX_SLOT_SIZE
        ):
            raise ValueError(f"a memory cannot have {max_definitions} definitions of {slot_size} octets")
        if zone >= size:
            raise ValueError(f"{max_definitions} definitions of {slot_size} octets leave no zone in {size}")
        medium = Medium(bytearray(size))
        header = _HEADER.pack(_MAGIC, _VERSION, size, slot_size, max_definitions, _TABLE, zone)
        medium.write(0, (header + _CRC.pack(zlib.crc32(header))).ljust(PAGE, b"\0"))
        memory = cls(medium)
        memory._dirty = {0}  # the only page of a fresh image that is not zeros
        return memory

    @classmethod
    def boot(cls, octets: bytes) -> Memory:
        """Return the memory that a whole image holds, a journal behind it or not; raise ImageRejected."""
        size = _parse_header(octets)[0]
        if len(octets) % PAGE or len(octets) > size + PAGE * journal.longest(size // PAGE):
            raise ImageRejected("wrong-size", f"{len(octets)} octets of {size}")
        pages = {at // PAGE: octets[at : at + PAGE] for at in range(size, len(octets), PAGE)}
        return cls(Medium(bytearray(octets[:size]), _without_zeros(pages)))

    @classmethod
    def from_pages(cls, pages: Iterable[tuple[int, bytes]]) -> Memory:
        """Return the memory whose pages these are, the missing ones being zeros; raise ImageRejected."""
        found = dict(pages)
        size = _parse_header(found.get(0, b""))[0]
        image, behind = bytearray(size), {}
        end = size // PAGE
        for number, page in found.items():
            if len(page) != PAGE or not 0 <= number < end + journal.longest(end):
                raise ImageRejected("bad-page", f"page {number} of {len(page)} octets")
            if number < end:
                image[number * PAGE : (number + 1) * PAGE] = page
            else:
                behind[number] = page
        return cls(Medium(image, _without_zeros(behind)))

    def __bytes__(self) -> bytes:
        return bytes(self._image)

    def read(self, offset: int, length: int) -> bytes:
        """Return octets, as the open transaction has them if there is one; raise ValueError outside."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"{offset}+{length} is outside a memory of {self.size} octets")
        if self._transaction is not None:
            return self._transaction.read(offset, length)
        return bytes(memoryview(self._image)[offset : offset + length])

    def is_empty(self, start: int, end: int) -> bool:
        """Say whether all octets from *start* to *end* are zeros, whatever is staged; nothing is copied."""
        starts_with = self._image.startswith
        return all(
            starts_with(_ZEROS if end - at >= len(_ZEROS) else bytes(end - at), at)
            for at in range(start, end, len(_ZEROS))
        )

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Apply together at the end of the block what was written in it; forget it when the block raises."""
        if self._transaction is not None:
            raise ValueError("a transaction is open already")
        transaction = self._transaction = Transaction(self._image)
        try:
            yield transaction
        finally:
            self._transaction = None
            transaction.close()
        self._apply(transaction)

    def take_changes(self) -> list[tuple[int, bytes]]:
        """Return ``(page number, PAGE octets)`` of each page changed since the last call, in order.

        Of the journal there are only pages that a boot found and wiped, as zeros.
        """
        numbers, self._dirty = sorted(self._dirty or ()), None
        image = self._image
        return [(number, bytes(image[number * PAGE : (number + 1) * PAGE]) or ZEROS) for number in numbers]

    def get_record(self, record: Record) -> bytes | None:
        """Return a record of the operating area, None when it was never put; raise ImageRejected."""
        return self.read_slot(_OFFSETS[record], RECORD_SIZES[record])

    def put_record(self, transaction: Transaction, record: Record, octets: bytes | None) -> None:
        """Stage a record of the operating area, None to erase it; raise MemoryFull when it is too large."""
        self.write_slot(transaction, _OFFSETS[record], RECORD_SIZES[record], octets)

    def read_slot(self, offset: int, capacity: int) -> bytes | None:
        """Return what a slot holds, None when it is empty; raise ImageRejected when its CRC does not hold."""
        head = self.read(offset, _SLOT_HEAD.size)
        crc, length = _SLOT_HEAD.unpack(head)
        if not crc and not length:
            return None
        if length > capacity - _SLOT_HEAD.size:
            raise ImageRejected("corrupt-slot", f"{length} octets in the slot at {offset}")
        octets = self.read(offset + _SLOT_HEAD.size, length)
        if zlib.crc32(octets, zlib.crc32(head[4:])) != crc:
            raise ImageRejected("corrupt-slot", f"wrong CRC in the slot at {offset}")
        return octets

    def write_slot(self, transaction: Transaction, offset: int, capacity: int, octets: bytes | None) -> None:
        """Stage a slot whole, zeros to its end, so that nothing older shows behind a shorter record."""
        if octets is None:
            transaction.write(offset, bytes(capacity))
            return
        if len(octets) > capacity - _SLOT_HEAD.size:
            raise MemoryFull("record-too-large", f"{len(octets)} octets for a slot of {capacity}")
        crc = zlib.crc32(octets, zlib.crc32(_LENGTH.pack(len(octets))))
        slot = _SLOT_HEAD.pack(crc, len(octets)) + octets
        transaction.write(offset, slot.ljust(capacity, b"\0"))

    @property
    def slot_room(self) -> int:
        """Octets that a record of DEF may have."""
        return self.slot_size - _SLOT_HEAD.size

    def definition_slots(self) -> range:
        """Return the offsets of DEF's slots."""
        return range(self.table_start, self.table_start + self.slots * self.slot_size, self.slot_size)

    def _all_slots(self) -> Iterator[tuple[int, int]]:
        yield from ((_OFFSETS[record], capacity) for record, capacity in RECORD_SIZES.items())
        yield from ((offset, self.slot_size) for offset in self.definition_slots())

    def _check_slot(self, offset: int, capacity: int) -> None:
        """Raise ImageRejected for a slot that does not hold, or has anything behind its record."""
        octets = self.read_slot(offset, capacity)
        used = 0 if octets is None else _SLOT_HEAD.size + len(octets)
        if not self._image.startswith(bytes(capacity - used), offset + used):
            raise ImageRejected("corrupt-slot", f"octets behind the record in the slot at {offset}")

    def _apply(self, transaction: Transaction) -> None:
        """Commit: the one place where the image changes."""
        image = self._image
        changes = {
            number: bytes(page)
            for number, page in transaction.pages.items()
            if image[number * PAGE : (number + 1) * PAGE] != page
        }
        if changes:
            journal.commit(self._medium, changes)
            self._dirty = self._dirty or set()
            self._dirty.update(changes)


def _without_zeros(pages: Mapping[int, bytes]) -> dict[int, bytes]:
    return {number: page for number, page in pages.items() if page != ZEROS}


def _parse_header(image: bytes | bytearray) -> tuple[int, int, int, int, int]:
    """Return size, slot size, slots, table, zone, from the header's page at least; raise ImageRejected."""
    end = _HEADER.size + _CRC.size
    if len(image) < end:
        raise ImageRejected("no-header", f"{len(image)} octets")
    magic, version, *geometry = _HEADER.unpack_from(image)
    if magic != _MAGIC:
        raise ImageRejected("not-an-image")
    if _CRC.unpack_from(image, _HEADER.size)[0] != zlib.crc32(image[: _HEADER.size]) or any(image[end:PAGE]):
        raise ImageRejected("corrupt-header")
    if version != _VERSION:
        raise ImageRejected("unknown-version", f"version {version}")
    size, slot_size, slots, table, zone = geometry
    in_order = table == _TABLE and zone == table + slots * slot_size < size
    in_range = MIN_SIZE <= size <= MAX_SIZE and PAGE <= slot_size <= MAX_SLOT_SIZE
    if not in_order or not in_range or size % PAGE or slot_size % PAGE or not 1 <= slots <= MAX_DEFINITIONS:
        raise ImageRejected("bad-geometry")
    return size, slot_size, slots, table, zone
