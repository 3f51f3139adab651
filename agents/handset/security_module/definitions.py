"""DEF: the table of what each resource is, as records in the memory image.

A record fills one slot of DEF (``memory`` frames it with length and CRC-32). A module keeps nothing decoded:
the image is the only truth, and one at rest costs nothing here. Only the process remembers what the records
said that were read last, for the same octets say the same again, whosever they are.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from agents.handset.security_module.allocation import Area, AreaKind, best_fit, fragmentation, gaps
from agents.handset.security_module.definition import Definition, SessionRecord
from agents.handset.security_module.digests import digest_of
from agents.handset.security_module.errors import ImageRejected, MemoryFull, TransitionRefused
from agents.handset.security_module.life_cycle import TRANSITIONS, ResourceEvent, ResourceState, transition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agents.handset.security_module.memory import Memory, Transaction

__all__ = [
    "TRANSITIONS",
    "Definition",
    "DefinitionTable",
    "ResourceEvent",
    "ResourceState",
    "SessionRecord",
    "transition",
]


_PARSED: Final = 32
"""Records remembered decoded: a command reads the same one several times, and all modules of a domain have
records that are alike."""


class Stored(NamedTuple):
    """A record of DEF: the slot's offset, all its octets, and what they say."""

    offset: int
    octets: bytes
    definition: Definition


class DefinitionTable:
    """DEF and the areas it defines, in one memory. Inside a transaction, reads see its writes."""

    __slots__ = ("_memory",)

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def all(self) -> list[Definition]:
        """Return every definition in the order of the slots; raise ImageRejected."""
        return [definition for _, definition in self._used()]

    def by_id(self, rsc_id: int) -> Definition | None:
        """Return the definition of a resource, or None."""
        return next((each for _, each in self._used() if each.rsc_id == rsc_id), None)

    def by_tar(self, tar: bytes) -> Definition | None:
        """Return the definition that a secured packet's TAR addresses, or None."""
        return next((each for _, each in self._used() if each.tar == tar), None)

    def record_of(self, tar: bytes) -> Stored | None:
        """Return the record that a packet's TAR addresses, with where and how it is stored, or None."""
        offset, definition = next(
            ((offset, each) for offset, each in self._used() if each.tar == tar), (0, None)
        )
        if definition is None:
            return None
        return Stored(offset, self._memory.read(offset, self._memory.slot_size), definition)

    def is_still(self, stored: Stored) -> bool:
        """Say whether a record is in its place as it was: then what was read there still holds."""
        return self._memory.holds(stored.offset, stored.octets)

    def by_service(self, service: str) -> Definition | None:
        """Return the definition of the resource that serves this, or None."""
        return next((each for _, each in self._used() if each.service == service), None)

    def require(self, tar: bytes) -> Definition:
        """Return the definition that a TAR addresses; raise TransitionRefused (``unknown-resource``)."""
        definition = self.by_tar(tar)
        if definition is None:
            raise TransitionRefused("unknown-resource")
        return definition

    def next_id(self) -> int:
        """Return the lowest resource id not in use."""
        used = {each.rsc_id for _, each in self._used()}
        return next(rsc_id for rsc_id in range(1, len(used) + 2) if rsc_id not in used)

    def put(self, transaction: Transaction, definition: Definition) -> None:
        """Stage a definition, in place of the one with its id if there is one.

        Raise MemoryFull when DEF or the slot has no room, ValueError when its TAR or a part of its area is
        another's or lies outside the zone.
        """
        slot, before, others = None, None, []
        for offset, each in self._used():
            if each.rsc_id == definition.rsc_id:
                slot, before = offset, each
            else:
                others.append(each)
        if before is None or _place(before) != _place(definition):
            self._check_place(definition, others)
        slot = self._free_slot() if slot is None else slot
        self._memory.write_slot(transaction, slot, self._memory.slot_size, _encoded(definition))

    def _check_place(self, definition: Definition, others: list[Definition]) -> None:
        """Raise ValueError when the TAR or a part of the area is another's, or lies outside the zone."""
        if any(each.tar == definition.tar for each in others):
            raise ValueError(f"TAR {definition.tar.hex()} is another resource's")
        self._gaps([*others, definition])

    def check_room(self, definition: Definition) -> None:
        """Raise MemoryFull (``record-too-large``) if a new definition could ever outgrow its slot.

        What is reserved must not fail later for want of room: neither a session, nor a change of state.
        """
        size, room = len(definition.at_its_largest().encode()), self._memory.slot_room
        if size > room:
            raise MemoryFull("record-too-large", f"up to {size} octets for a slot with room for {room}")

    def remove(self, transaction: Transaction, rsc_id: int) -> None:
        """Stage the end of a resource, its area zeros, its slot empty; raise ValueError if it is none."""
        for offset, each in self._used():
            if each.rsc_id == rsc_id:
                transaction.write(each.start, bytes(each.end - each.start))
                self._memory.write_slot(transaction, offset, self._memory.slot_size, None)
                return
        raise ValueError(f"there is no resource {rsc_id}")

    def allocate(self, size: int) -> int:
        """Return where an area of ``size`` octets fits best; it is taken once a definition says so.

        Raise MemoryFull (``zone-full``, ``zone-fragmented``, ``no-size``).
        """
        return best_fit(self._gaps(self.all()), size)

    def free_octets(self) -> int:
        """Return how many octets of the zone are free, in however many pieces."""
        return sum(end - start for start, end in self._gaps(self.all()))

    def largest_free(self) -> int:
        """Return the octets of the largest area that could be reserved now."""
        return max((end - start for start, end in self._gaps(self.all())), default=0)

    def compact(self, transaction: Transaction) -> int:
        """Stage the resources moved together, so that what is free is in one piece; return octets moved.

        Identity, content and state stay; the area left behind is zeros.
        """
        at, moved = self._memory.zone_start, 0
        # Lowest first, and each goes downward: nothing is written over that has still to be read.
        for slot, each in sorted(self._used(), key=lambda used: (used[1].start, used[1].end)):
            size = each.end - each.start
            if each.start != at:
                content = self._memory.read(each.start, size)
                transaction.write(each.start, bytes(size))
                transaction.write(at, content)
                record = replace(each, start=at).encode()
                self._memory.write_slot(transaction, slot, self._memory.slot_size, record)
                moved += size
            at += size
        return moved

    def fragmentation(self) -> float:
        """Return the share of the free octets that lie outside the largest free area."""
        return fragmentation(self._gaps(self.all()))

    def read_code(self, definition: Definition) -> bytes:
        """Return the programme, empty when there is none; raise ImageRejected when it was altered."""
        code = self._memory.read(definition.start, definition.code_length)
        if code and digest_of(code) != definition.code_digest:
            raise ImageRejected("corrupt-code", f"resource {definition.rsc_id}")
        return code

    def write_code(self, transaction: Transaction, definition: Definition, code: bytes) -> Definition:
        """Stage a programme, zeros behind it; return the definition that says so, for ``put``.

        Raise MemoryFull (``code-too-large``) when it is larger than the resource's code part.
        """
        if len(code) > definition.code_size:
            raise MemoryFull("code-too-large", f"{len(code)} octets for {definition.code_size}")
        transaction.write(definition.start, code.ljust(definition.code_size, b"\0"))
        return _with_code(definition, len(code), digest_of(code) if code else b"")

    def read_data(self, definition: Definition) -> bytes:
        """Return the whole data part, ``data_size`` octets."""
        return self._memory.read(definition.data_start, definition.data_size)

    def write_data(self, transaction: Transaction, definition: Definition, data: bytes) -> None:
        """Stage the data part, zeros behind it; raise MemoryFull (``data-too-large``)."""
        if len(data) > definition.data_size:
            raise MemoryFull("data-too-large", f"{len(data)} octets for {definition.data_size}")
        transaction.write(definition.data_start, data.ljust(definition.data_size, b"\0"))

    def change_data(
        self, transaction: Transaction, definition: Definition, changes: Iterable[tuple[int, bytes]]
    ) -> None:
        """Stage octets at offsets of the data part; raise MemoryFull (``data-too-large``) beyond it."""
        for offset, octets in changes:
            if offset + len(octets) > definition.data_size:
                raise MemoryFull("data-too-large", f"{offset + len(octets)} for {definition.data_size}")
            transaction.write(definition.data_start + offset, octets)

    def verify(self) -> None:
        """Check at boot what a CRC cannot: each record, nothing twice, areas apart, programmes intact.

        Raise ImageRejected. Of a data part nothing can be said: it is what its application made of it.
        """
        definitions = self.all()
        for values, reason in (
            ({each.rsc_id for each in definitions}, "duplicate-resource"),
            ({each.tar for each in definitions}, "duplicate-tar"),
        ):
            if len(values) != len(definitions):
                raise ImageRejected(reason)
        try:
            self._gaps(definitions)
        except ValueError as error:
            raise ImageRejected("bad-area", str(error)) from None
        for each in definitions:
            code = self.read_code(each)
            if any(self._memory.read(each.start + len(code), each.code_size - len(code))):
                raise ImageRejected("corrupt-code", f"octets behind the programme of resource {each.rsc_id}")

    def layout(self) -> list[Area]:
        """Return the memory map, every octet of the image in exactly one area, in order."""
        memory, definitions = self._memory, self.all()
        areas = [
            Area(start=0, end=memory.table_start, kind=AreaKind.OPERATING),
            Area(start=memory.table_start, end=memory.zone_start, kind=AreaKind.DEFINITIONS),
        ]
        areas += [Area(start=start, end=end, kind=AreaKind.FREE) for start, end in self._gaps(definitions)]
        for each in definitions:
            parts = ((AreaKind.CODE, each.start, each.data_start), (AreaKind.DATA, each.data_start, each.end))
            areas += [
                Area(start=start, end=end, kind=kind, owner=each.service)
                for kind, start, end in parts
                if start < end
            ]
        return sorted(areas, key=lambda area: area.start)

    def _used(self) -> Iterator[tuple[int, Definition]]:
        for offset in self._memory.used_slots():
            octets = self._memory.read_slot(offset, self._memory.slot_size)
            if octets is not None:
                yield offset, _parsed(octets)

    def _free_slot(self) -> int:
        for offset in self._memory.definition_slots():
            if self._memory.read_slot(offset, self._memory.slot_size) is None:
                return offset
        raise MemoryFull("definitions-full", f"{self._memory.slots} resources")

    def _gaps(self, definitions: list[Definition]) -> list[tuple[int, int]]:
        taken = [(each.start, each.end) for each in definitions]
        return gaps(self._memory.zone_start, self._memory.size, taken)


def _place(definition: Definition) -> tuple[bytes, int, int]:
    """Return what no two definitions may share."""
    return definition.tar, definition.start, definition.end


@lru_cache(maxsize=_PARSED)
def _with_code(definition: Definition, length: int, digest: bytes) -> Definition:
    return replace(definition, code_length=length, code_digest=digest)


@lru_cache(maxsize=_PARSED)
def _parsed(octets: bytes) -> Definition:
    return Definition.parse(octets)


@lru_cache(maxsize=_PARSED)
def _encoded(definition: Definition) -> bytes:
    return definition.encode()
