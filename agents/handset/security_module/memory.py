"""The module's memory: one image of octets, changed by transactions only.

It begins with a header and is divided once and for all (``geometry``): operating area with one slot for each
``Record``, DEF with its slots, and the zone for the resources' areas, to the end.

A slot is ``CRC-32 4 | length 2 | octets | zeros``, the CRC over length and octets. Six zero octets are an
empty slot; a slot that holds no octets has a CRC that is not zero.

A transaction stages copies of the pages it writes. While one is open, reads see its writes. At its end the
pages that it really changed go through the ``journal`` behind the image (its layout is there) to the
``medium``, all or none of them, wherever power fails. A boot first does what the journal asks for, and only
then looks at the image: octets that are wrong without a journal's fault are an ImageRejected.

What was applied is handed out by ``take_changes`` as whole sheets of SHEET pages, which the shell makes
durable before the answer leaves: a new programme is a few rows of a database then, not a few dozen. Sheets
never handed out are zeros, so ``from_pages`` needs none of them. The journal's own pages are not among them:
a shell that stores the changes of one command together needs no journal of ours.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from agents.handset.security_module import journal
from agents.handset.security_module.errors import ImageRejected, MemoryFull
from agents.handset.security_module.geometry import (
    DEFAULT_RESOURCES,
    DEFAULT_SLOT_SIZE,
    EMPTY_SLOT,
    MAX_DEFINITIONS,
    MAX_SIZE,
    MIN_SIZE,
    RECORD_SIZES,
    SLOT_HEAD,
    Geometry,
    Record,
    geometry_of,
)
from agents.handset.security_module.medium import PAGE, ZEROS, Medium

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "DEFAULT_RESOURCES",
    "MAX_DEFINITIONS",
    "MAX_SIZE",
    "MIN_SIZE",
    "RECORD_SIZES",
    "SHEET",
    "Memory",
    "Record",
    "Transaction",
]

SHEET: Final = 8
"""Pages that are handed out together: 2 KiB, of which two fill a page of most databases."""
_LENGTH: Final = struct.Struct(">H")
_ZEROS: Final = bytes(16 * 1024)


class Transaction:
    """Writes that will be applied together, or not at all; made by ``Memory.transaction``."""

    __slots__ = ("_image", "_open", "_pages")

    def __init__(self, image: bytearray) -> None:
        self._image = image
        self._pages: dict[int, bytes | bytearray] = {}  # octets where the whole page is new
        self._open = True

    @property
    def pages(self) -> Mapping[int, bytes | bytearray]:
        """The staged pages by number."""
        return self._pages

    def write(self, offset: int, octets: bytes) -> None:
        """Stage octets at an offset; raise ValueError outside the image, in its header, or after the end."""
        if not self._open:
            raise ValueError("the transaction is over")
        end = offset + len(octets)
        if offset < PAGE or end > len(self._image):
            raise ValueError(f"{offset}..{end} is not writable memory")
        number, start = divmod(offset, PAGE)
        done = 0
        while done < len(octets):
            chunk = octets[done : done + PAGE - start]
            if len(chunk) == PAGE:
                self._pages[number] = chunk  # nothing of what was there stays
            else:
                self._page(number)[start : start + len(chunk)] = chunk
            done += len(chunk)
            number, start = number + 1, 0

    def read(self, offset: int, length: int) -> bytes:
        """Return memory as it will be once this transaction is applied."""
        out = bytearray(self._image[offset : offset + length])
        for number in range(offset // PAGE, (offset + length + PAGE - 1) // PAGE):
            page = self._pages.get(number)
            if page is not None:
                start, end = max(offset, number * PAGE), min(offset + length, number * PAGE + PAGE)
                out[start - offset : end - offset] = page[start - number * PAGE : end - number * PAGE]
        return bytes(out)

    def touches(self, offset: int, length: int) -> bool:
        """Say whether anything of this memory is on a staged page: what is not is as it was."""
        pages = self._pages
        first, last = offset // PAGE, (offset + length - 1) // PAGE
        if first == last:
            return first in pages  # as it is of a slot's head
        return any(number in pages for number in range(first, last + 1))

    def is_within(self, start: int, end: int) -> bool:
        """Say whether any staged page is among those from *start* to *end*, which are whole pages."""
        first, last = start // PAGE, end // PAGE
        return any(first <= number < last for number in self._pages)

    def close(self) -> None:
        """Take no further writes."""
        self._open = False

    def _page(self, number: int) -> bytearray:
        page = self._pages.get(number)
        if isinstance(page, bytearray):
            return page
        page = bytearray(page) if page is not None else self._image[number * PAGE : (number + 1) * PAGE]
        self._pages[number] = page
        return page


class Memory:
    """A memory image and the only ways to change it. Sizes and offsets are in octets."""

    __slots__ = (
        "_dirty",
        "_image",
        "_medium",
        "_transaction",
        "_used",
        "generation",
        "geometry",
    )

    def __init__(self, medium: Medium) -> None:
        """Take up what lies on *medium*, the journal's part first; raise ImageRejected when it is corrupt.

        Corrupt are a header or a slot that does not hold, and octets that are not zeros where nothing is.
        """
        self.geometry = geometry_of(medium.image)
        if len(medium.image) != self.size:
            raise ImageRejected("wrong-size", f"{len(medium.image)} octets of {self.size}")
        self._medium = medium
        self._image = medium.image
        self._dirty: set[int] | None = journal.recover(medium) or None
        self._transaction: Transaction | None = None
        self.generation = 0
        """Counts up with each transaction that changed something: as long as it stays, all of it stays."""
        self._used: tuple[int, tuple[int, ...]] | None = None  # the slots in use, as of a generation
        for offset, capacity in self.geometry.all_slots():
            self._check_slot(offset, capacity)

    @classmethod
    def format(
        cls,
        size: int,
        max_definitions: int = DEFAULT_RESOURCES,
        *,
        slot_size: int = DEFAULT_SLOT_SIZE,
        records: Mapping[Record, int] = RECORD_SIZES,
    ) -> Memory:
        """Return an empty memory of ``size`` octets; raise ValueError when no such memory can be."""
        geometry = Geometry(
            size=size,
            slots=max_definitions,
            slot_size=slot_size,
            records=tuple(records[record] for record in Record),
        )
        medium = Medium(bytearray(size))
        medium.write(0, geometry.header())
        memory = cls(medium)
        memory._dirty = {0}  # the only page of a fresh image that is not zeros
        return memory

    @classmethod
    def boot(cls, octets: bytes) -> Memory:
        """Return the memory that a whole image holds, a journal behind it or not; raise ImageRejected."""
        size = geometry_of(octets).size
        if len(octets) % PAGE or len(octets) > size + PAGE * journal.longest(size // PAGE):
            raise ImageRejected("wrong-size", f"{len(octets)} octets of {size}")
        pages = {at // PAGE: octets[at : at + PAGE] for at in range(size, len(octets), PAGE)}
        return cls(Medium(bytearray(octets[:size]), _without_zeros(pages)))

    @classmethod
    def from_pages(cls, pages: Iterable[tuple[int, bytes]]) -> Memory:
        """Return the memory of these ``(page number, octets)``, each of one page or more in a row.

        Missing pages are zeros; of what is given twice the last counts. Raises ImageRejected.
        """
        found = dict(pages)
        size = geometry_of(found.get(0, b"")[:PAGE]).size
        image = bytearray(size)
        behind: dict[int, bytes] = {}
        end = size // PAGE
        for number, octets in found.items():
            last = number + len(octets) // PAGE
            if not octets or len(octets) % PAGE or not 0 <= number < last <= end + journal.longest(end):
                raise ImageRejected("bad-page", f"page {number} of {len(octets)} octets")
            inside = max(0, end - number) * PAGE
            image[number * PAGE : min(last, end) * PAGE] = octets[:inside]
            behind.update(_pages_of(max(number, end), octets[inside:]))
        return cls(Medium(image, _without_zeros(behind)))

    def __bytes__(self) -> bytes:
        return bytes(self._image)

    @property
    def size(self) -> int:
        """Octets of the image."""
        return self.geometry.size

    @property
    def slots(self) -> int:
        """How many resources DEF has room for."""
        return self.geometry.slots

    @property
    def slot_size(self) -> int:
        """Octets of a slot of DEF."""
        return self.geometry.slot_size

    @property
    def table_start(self) -> int:
        """Where DEF begins."""
        return self.geometry.table_start

    @property
    def zone_start(self) -> int:
        """Where the zone begins."""
        return self.geometry.zone_start

    def read(self, offset: int, length: int) -> bytes:
        """Return octets, as the open transaction has them if there is one; raise ValueError outside."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"{offset}+{length} is outside a memory of {self.size} octets")
        if self._transaction is not None and self._transaction.touches(offset, length):
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

    @property
    def has_changes(self) -> bool:
        """Whether pages were changed since they were last taken."""
        return bool(self._dirty)

    def holds(self, offset: int, octets: bytes) -> bool:
        """Say whether just these octets lie at an offset, as an open transaction has them."""
        transaction = self._transaction
        if transaction is None or not transaction.touches(offset, len(octets)):
            return self._image.startswith(octets, offset)  # nothing is copied
        return transaction.read(offset, len(octets)) == octets

    def take_changes(self) -> list[tuple[int, bytes]]:
        """Return ``(page number, octets)`` of each sheet in which a page was changed since the last call.

        A sheet is up to SHEET pages, from one whose number is a multiple of that, to the end of the image at
        most; they come in order. Behind them come pages of the journal that a boot found and wiped, as zeros.
        """
        numbers, self._dirty = self._dirty or (), None
        image, end = self._image, self.size // PAGE
        sheets = sorted({number - number % SHEET for number in numbers if number < end})
        changes = [(first, bytes(image[first * PAGE : (first + SHEET) * PAGE])) for first in sheets]
        return changes + [(number, ZEROS) for number in sorted(numbers) if number >= end]

    def get_record(self, record: Record) -> bytes | None:
        """Return a record of the operating area, None when it was never put; raise ImageRejected."""
        return self.read_slot(*self.geometry.slot(record))

    def put_record(self, transaction: Transaction, record: Record, octets: bytes | None) -> None:
        """Stage a record of the operating area, None to erase it; raise MemoryFull when it is too large."""
        self.write_slot(transaction, *self.geometry.slot(record), octets)

    def read_slot(self, offset: int, capacity: int) -> bytes | None:
        """Return what a slot holds, None when it is empty; raise ImageRejected when its CRC does not hold."""
        head = self.read(offset, SLOT_HEAD.size)
        crc, length = SLOT_HEAD.unpack(head)
        if not crc and not length:
            return None
        if length > capacity - SLOT_HEAD.size:
            raise ImageRejected("corrupt-slot", f"{length} octets in the slot at {offset}")
        octets = self.read(offset + SLOT_HEAD.size, length)
        if zlib.crc32(octets, zlib.crc32(head[4:])) != crc:
            raise ImageRejected("corrupt-slot", f"wrong CRC in the slot at {offset}")
        return octets

    def write_slot(self, transaction: Transaction, offset: int, capacity: int, octets: bytes | None) -> None:
        """Stage a slot whole, zeros to its end, so that nothing older shows behind a shorter record."""
        if octets is None:
            transaction.write(offset, bytes(capacity))
            return
        if len(octets) > capacity - SLOT_HEAD.size:
            raise MemoryFull("record-too-large", f"{len(octets)} octets for a slot of {capacity}")
        crc = zlib.crc32(octets, zlib.crc32(_LENGTH.pack(len(octets))))
        slot = SLOT_HEAD.pack(crc, len(octets)) + octets
        transaction.write(offset, slot.ljust(capacity, b"\0"))

    @property
    def slot_room(self) -> int:
        """Octets that a record of DEF may have."""
        return self.slot_size - SLOT_HEAD.size

    def used_slots(self) -> tuple[int, ...]:
        """Return the offsets of DEF's slots that are not empty, as an open transaction has them."""
        if self._used is None or self._used[0] != self.generation:
            starts_with = self._image.startswith
            used = tuple(offset for offset in self.definition_slots() if not starts_with(EMPTY_SLOT, offset))
            self._used = (self.generation, used)
        transaction = self._transaction
        if transaction is None or not transaction.is_within(self.table_start, self.zone_start):
            return self._used[1]
        return tuple(offset for offset in self.definition_slots() if not self.holds(offset, EMPTY_SLOT))

    def definition_slots(self) -> range:
        """Return the offsets of DEF's slots."""
        return range(self.table_start, self.table_start + self.slots * self.slot_size, self.slot_size)

    def _check_slot(self, offset: int, capacity: int) -> None:
        """Raise ImageRejected for a slot that does not hold, or has anything behind its record."""
        octets = self.read_slot(offset, capacity)
        used = 0 if octets is None else SLOT_HEAD.size + len(octets)
        if not self._image.startswith(bytes(capacity - used), offset + used):
            raise ImageRejected("corrupt-slot", f"octets behind the record in the slot at {offset}")

    def _apply(self, transaction: Transaction) -> None:
        """Commit: the one place where the image changes."""
        image = self._image
        changes = {
            number: bytes(page)
            for number, page in transaction.pages.items()
            if not image.startswith(page, number * PAGE)
        }
        if changes:
            journal.commit(self._medium, changes)
            self.generation += 1
            self._dirty = self._dirty or set()
            self._dirty.update(changes)


def _pages_of(first: int, octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the pages that *octets* are, numbered from the *first* one on."""
    for at in range(0, len(octets), PAGE):
        yield first + at // PAGE, octets[at : at + PAGE]


def _without_zeros(pages: Mapping[int, bytes]) -> dict[int, bytes]:
    return {number: page for number, page in pages.items() if page != ZEROS}
