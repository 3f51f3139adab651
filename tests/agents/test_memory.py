"""The memory image: slots, transactions, changes, boot; and the arithmetic of the zone."""

from __future__ import annotations

import gc
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.handset.security_module.allocation import best_fit, fragmentation, gaps
from agents.handset.security_module.errors import ImageRejected, MemoryFull, ModuleError
from agents.handset.security_module.medium import PAGE
from agents.handset.security_module.memory import MAX_SIZE, MIN_SIZE, RECORD_SIZES, SHEET, Memory, Record

SIZE = MIN_SIZE


class _Cut(Exception):  # noqa: N818 -- a power cut is no error of ours
    """Raised inside a transaction in place of whatever may go wrong there."""


def _cut_short(memory: Memory) -> None:
    with memory.transaction() as transaction:
        memory.put_record(transaction, Record.ANSWER, b"never")
        raise _Cut


def _filled() -> Memory:
    memory = Memory.format(SIZE)
    with memory.transaction() as transaction:
        memory.put_record(transaction, Record.IDENTITY, b"who" * 50)
        memory.put_record(transaction, Record.COUNTERS, b"\0" * 8)
        transaction.write(memory.zone_start + 200, b"zone" * 40)
    return memory


def test_a_fresh_memory_holds_nothing() -> None:
    """A formatted image has no records, a zone of zeros, and one page to keep: its header."""
    memory = Memory.format(SIZE, 4)
    assert all(memory.get_record(record) is None for record in Record)
    assert memory.read(memory.zone_start, SIZE - memory.zone_start) == bytes(SIZE - memory.zone_start)
    assert [number for number, _ in memory.take_changes()] == [0]
    assert len(memory.definition_slots()) == 4


@pytest.mark.parametrize(
    ("size", "definitions", "slot"),
    [
        (SIZE - PAGE, 4, 512),
        (MAX_SIZE + PAGE, 4, 512),
        (SIZE + 1, 4, 512),
        (SIZE, 0, 512),
        (SIZE, 256, 512),
        (SIZE, 4, 500),
        (SIZE, 4, 0),
        (SIZE, 4, 8192),
        (SIZE, 60, 512),
    ],
)
def test_a_memory_that_cannot_be_is_not_formatted(size: int, definitions: int, slot: int) -> None:
    """Sizes out of range, not in pages, or without room for a zone are faults of the caller."""
    with pytest.raises(ValueError, match=r"memory|zone"):
        Memory.format(size, definitions, slot_size=slot)


def test_the_smallest_and_the_largest_memory_can_be() -> None:
    """Both ends of the range boot from their own octets."""
    for size in (MIN_SIZE, MAX_SIZE):
        memory = Memory.boot(bytes(Memory.format(size)))
        assert memory.size == size


def test_a_record_is_given_back_as_it_was_put() -> None:
    """Each record takes every length up to its slot's, and gives it back, an empty one too."""
    memory = Memory.format(SIZE)
    for record, capacity in RECORD_SIZES.items():
        for length in (0, 1, capacity - 6):
            with memory.transaction() as transaction:
                memory.put_record(transaction, record, b"x" * length)
            assert memory.get_record(record) == b"x" * length
        with memory.transaction() as transaction, pytest.raises(MemoryFull) as caught:
            memory.put_record(transaction, record, b"x" * (capacity - 5))
        assert caught.value.reason == "record-too-large"


def test_nothing_older_shows_behind_a_shorter_record() -> None:
    """A long secret replaced by a short record, or erased, is nowhere in the image."""
    memory = _filled()
    assert b"whowho" in bytes(memory)
    with memory.transaction() as transaction:
        memory.put_record(transaction, Record.IDENTITY, b"new")
    assert b"whowho" not in bytes(memory)
    with memory.transaction() as transaction:
        memory.put_record(transaction, Record.IDENTITY, None)
    assert memory.get_record(Record.IDENTITY) is None


def test_a_transaction_shows_its_writes_inside_and_applies_them_at_its_end() -> None:
    """Reads inside see what is staged; the image itself changes at the end only."""
    memory = _filled()
    before, at = bytes(memory), memory.zone_start
    with memory.transaction() as transaction:
        transaction.write(at + 250, b"abcdefghijkl")
        assert (
            memory.read(at + 248, 16)
            == before[at + 248 : at + 250] + b"abcdefghijkl" + before[at + 262 : at + 264]
        )
        assert bytes(memory) == before
    assert bytes(memory) == before[: at + 250] + b"abcdefghijkl" + before[at + 262 :]


def test_a_memory_is_asked_whether_it_holds_what_one_has_read() -> None:
    """Octet for octet, as a transaction that is open has them, and never beyond the end."""
    memory = _filled()
    at = memory.zone_start + 200
    assert memory.holds(at, b"zone" * 40)
    assert not memory.holds(at, b"zone" * 41)
    assert not memory.holds(SIZE - 1, bytes(2))
    with memory.transaction() as transaction:
        transaction.write(at, b"Z")
        assert memory.holds(at, b"Zone")
        assert not memory.holds(at, b"zone")
    assert memory.holds(at, b"Zone")


def test_a_transaction_that_raises_changes_nothing() -> None:
    """After an exception the image is as before, nothing is to be kept, and a new transaction can begin."""
    memory = _filled()
    memory.take_changes()
    before = bytes(memory)
    with pytest.raises(_Cut):
        _cut_short(memory)
    assert bytes(memory) == before
    assert memory.take_changes() == []
    with memory.transaction() as transaction:
        memory.put_record(transaction, Record.ANSWER, b"later")
    assert memory.get_record(Record.ANSWER) == b"later"


def test_misuse_of_a_transaction_is_refused() -> None:
    """No second one inside the first, no write after its end, none to the header or beyond the image."""
    memory = Memory.format(SIZE)
    with memory.transaction() as transaction:
        with pytest.raises(ValueError, match="open already"), memory.transaction():
            pass
        for offset, octets in [(0, b"x"), (PAGE - 1, b"x"), (-1, b"x"), (SIZE, b"x"), (SIZE - 1, b"xy")]:
            with pytest.raises(ValueError, match="not writable"):
                transaction.write(offset, octets)
    with pytest.raises(ValueError, match="over"):
        transaction.write(PAGE, b"x")
    for offset, length in [(-1, 1), (0, -1), (SIZE, 1), (1, SIZE)]:
        with pytest.raises(ValueError, match="outside"):
            memory.read(offset, length)


def test_changes_are_whole_sheets_and_given_once() -> None:
    """Only sheets with a page that really changed are handed out, whole, in order, once."""
    memory = Memory.format(SIZE)
    memory.take_changes()
    sheet = memory.zone_start // PAGE // SHEET + 1
    at = (sheet + 2) * SHEET * PAGE
    with memory.transaction() as transaction:
        transaction.write(at - 2, b"abcd")
        transaction.write(sheet * SHEET * PAGE, bytes(PAGE))
    assert memory.take_changes() == [
        ((sheet + 1) * SHEET, bytes(SHEET * PAGE - 2) + b"ab"),
        ((sheet + 2) * SHEET, b"cd" + bytes(SHEET * PAGE - 2)),
    ]
    assert memory.take_changes() == []


def test_the_last_sheet_ends_with_the_image() -> None:
    """An image of other than whole sheets has a shorter last one, and comes back from it."""
    memory = Memory.format(SIZE + 3 * PAGE)
    kept = dict(memory.take_changes())
    with memory.transaction() as transaction:
        transaction.write(memory.size - 1, b"z")
    changes = memory.take_changes()
    assert changes == [(SIZE // PAGE, bytes(3 * PAGE - 1) + b"z")]
    assert bytes(Memory.from_pages((kept | dict(changes)).items())) == bytes(memory)


def test_a_memory_comes_back_from_the_pages_that_were_kept() -> None:
    """Pages kept one after another, the newest of each number, are the whole image; zeros need no page."""
    memory, kept = _filled(), dict[int, bytes]()
    kept.update(memory.take_changes())
    with memory.transaction() as transaction:
        transaction.write(memory.zone_start + 200, bytes(160))
    kept.update(memory.take_changes())
    assert bytes(Memory.from_pages(kept.items())) == bytes(memory)
    assert len(kept) < 12


@pytest.mark.parametrize(
    ("reason", "pages"),
    [
        ("no-header", []),
        ("no-header", [(1, bytes(PAGE))]),
        ("not-an-image", [(0, bytes(PAGE))]),
        ("bad-page", [(0, bytes(Memory.format(SIZE))[:PAGE]), (2 * SIZE // PAGE + 3, bytes(PAGE))]),
        ("bad-page", [(0, bytes(Memory.format(SIZE))[:PAGE]), (5, bytes(PAGE - 1))]),
        ("bad-page", [(0, bytes(Memory.format(SIZE))[:PAGE]), (5, b"")]),
        ("bad-page", [(0, bytes(Memory.format(SIZE))[:PAGE]), (2 * SIZE // PAGE - 1, bytes(9 * PAGE))]),
        ("bad-page", [(0, bytes(Memory.format(SIZE))[:PAGE]), (-1, bytes(2 * PAGE))]),
    ],
)
def test_pages_that_are_no_memory_are_rejected(reason: str, pages: list[tuple[int, bytes]]) -> None:
    """No header, a foreign one, a page of another size or outside the image."""
    with pytest.raises(ImageRejected) as caught:
        Memory.from_pages(pages)
    assert caught.value.reason == reason


def test_a_corrupt_image_does_not_boot() -> None:
    """One flipped bit in the header or in a record, and a cut or a longer image, are rejected."""
    octets = bytes(_filled())
    starts = [
        octets.index(b"whowho") + 30,
        octets.index(b"whowho") - 1,
        octets.index(b"whowho") - 6,
        3,
        12,
        20,
        29,
    ]
    for at in starts:
        flipped = bytearray(octets)
        flipped[at] ^= 0x10
        with pytest.raises(ImageRejected) as caught:
            Memory.boot(bytes(flipped))
        assert caught.value.reason in {"corrupt-slot", "corrupt-header", "not-an-image"}
    for wrong in (octets[:-1], octets + b"\0"):
        with pytest.raises(ImageRejected) as caught:
            Memory.boot(wrong)
        assert caught.value.reason == "wrong-size"


RECORDS = tuple(RECORD_SIZES.values())


def _header(
    version: int = 4, size: int = SIZE, slot: int = 512, slots: int = 4, records: tuple[int, ...] = RECORDS
) -> bytes:
    header = struct.pack(">8sHIHH5H", b"OTAFLEET", version, size, slot, slots, *records)
    return header + zlib.crc32(header).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("reason", "header"),
    [
        ("unknown-version", _header(version=2)),
        ("bad-geometry", _header(records=(0, *RECORDS[1:]))),
        ("bad-geometry", _header(records=(*RECORDS[:-1], 100))),
        ("bad-geometry", _header(records=(1 << 15, *RECORDS[1:]))),
        ("bad-geometry", _header(slots=0)),
        ("bad-geometry", _header(slot=4)),
        ("bad-geometry", _header(slots=255)),
        ("bad-geometry", _header(size=SIZE + 1)),
        ("bad-geometry", _header(size=MAX_SIZE + PAGE)),
    ],
    ids=["version", "no-identity", "part-of-a-page", "huge", "no-slots", "slot", "slots", "size", "largest"],
)
def test_a_header_that_is_whole_but_wrong_is_rejected(reason: str, header: bytes) -> None:
    """A right CRC does not excuse another version or a geometry that cannot be."""
    with pytest.raises(ImageRejected) as whole:
        Memory.boot(header.ljust(SIZE, b"\0"))
    with pytest.raises(ImageRejected) as pages:
        Memory.from_pages([(0, header.ljust(PAGE, b"\0"))])
    assert (whole.value.reason, pages.value.reason) == (reason, reason)


def test_a_record_longer_than_its_slot_is_rejected() -> None:
    """A length that leads out of the slot is corrupt before any octet behind it is read."""
    image = bytearray(bytes(_filled()))
    image[image.index(b"whowho") - 2 : image.index(b"whowho")] = b"\xff\xff"
    with pytest.raises(ImageRejected) as caught:
        Memory.boot(bytes(image))
    assert caught.value.reason == "corrupt-slot"


def test_a_zone_can_be_filled_to_the_last_octet() -> None:
    """When all is taken there is no gap left over, and nothing fits."""
    assert gaps(0, 10, [(0, 4), (4, 10)]) == []
    with pytest.raises(MemoryFull) as caught:
        best_fit([], 1)
    assert caught.value.reason == "zone-full"


@given(st.binary(max_size=64), st.integers(0, 40))
def test_arbitrary_octets_are_rejected_or_boot(octets: bytes, at: int) -> None:
    """Whatever is written over the head of an image, boot gives a memory or the typed rejection."""
    image = bytearray(bytes(_filled()))
    image[at : at + len(octets)] = octets
    try:
        assert bytes(Memory.boot(bytes(image))) == bytes(image)
    except ModuleError as error:
        assert isinstance(error, ImageRejected)  # noqa: PT017 -- a memory may also come of it


@given(st.data())
def test_writes_in_any_order_give_the_octets_a_plain_array_would(data: st.DataObject) -> None:
    """Staged writes that overlap and cross pages end as the same writes to a bytearray do."""
    memory = Memory.format(SIZE)
    model = bytearray(bytes(memory))
    with memory.transaction() as transaction:
        for _ in range(data.draw(st.integers(1, 8))):
            offset = data.draw(st.integers(PAGE, PAGE * 6))
            octets = data.draw(st.binary(max_size=700))
            transaction.write(offset, octets)
            model[offset : offset + len(octets)] = octets
            start, length = data.draw(st.integers(0, PAGE * 8)), data.draw(st.integers(0, 900))
            assert memory.read(start, length) == model[start : start + length]
    assert bytes(memory) == model


def test_a_module_at_rest_costs_its_image_and_little_more() -> None:
    """A memory takes less than 3 KiB above its octets."""
    count, size = 50, MIN_SIZE
    gc.collect()
    tracemalloc.start()
    try:
        memories = [Memory.format(size) for _ in range(count)]
        for memory in memories:
            with memory.transaction() as transaction:
                memory.put_record(transaction, Record.IDENTITY, b"x" * 100)
            memory.take_changes()
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used / count - size < 3 * 1024


def test_the_best_fit_is_the_smallest_gap_that_is_large_enough() -> None:
    """Of several gaps the tightest is chosen, and the lowest of equal ones."""
    free = gaps(100, 200, [(110, 120), (125, 150), (155, 160)])
    assert free == [(100, 110), (120, 125), (150, 155), (160, 200)]
    assert best_fit(free, 5) == 120
    assert best_fit(free, 6) == 100
    assert best_fit(free, 11) == 160


def test_no_room_says_whether_it_is_size_or_fragmentation() -> None:
    """Too much is zone-full; enough but in pieces is zone-fragmented; nothing or less is no size."""
    free = gaps(0, 100, [(40, 60)])
    for size, reason in [
        (81, "zone-full"),
        (41, "zone-fragmented"),
        (80, "zone-fragmented"),
        (1 << 40, "zone-full"),
    ]:
        with pytest.raises(MemoryFull) as caught:
            best_fit(free, size)
        assert caught.value.reason == reason
    for size in (0, -1, -(1 << 40)):
        with pytest.raises(MemoryFull) as caught:
            best_fit(free, size)
        assert caught.value.reason == "no-size"


def test_fragmentation_is_what_the_largest_gap_leaves_out() -> None:
    """None when the free octets are in one piece or there are none, half for two equal halves."""
    assert fragmentation([(0, 10)]) == 0.0
    assert fragmentation([]) == 0.0
    assert fragmentation([(0, 10), (20, 30)]) == 0.5


@pytest.mark.parametrize("taken", [[(0, 5), (4, 8)], [(-1, 3)], [(5, 11)], [(5, 3)]])
def test_overlapping_extents_are_a_fault(taken: list[tuple[int, int]]) -> None:
    """Extents that overlap, leave the zone or end before they start are never divided around."""
    with pytest.raises(ValueError, match="overlaps or is outside"):
        gaps(0, 10, taken)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 400)), max_size=40))
def test_the_allocator_never_gives_an_octet_twice(orders: list[tuple[bool, int]]) -> None:
    """Any run of allocations and releases leaves areas apart, and taken and free octets are all there are."""
    start, end = 1000, 3000
    taken: list[tuple[int, int]] = []
    for release, size in orders:
        free = gaps(start, end, taken)
        if release and taken:
            taken.pop(size % len(taken))
            continue
        try:
            at = best_fit(free, size)
        except MemoryFull:
            assert all(gap_end - gap_start < size for gap_start, gap_end in free)
            continue
        holding = [gap for gap in free if gap[0] == at]
        assert holding
        assert all(not size <= b - a < holding[0][1] - at for a, b in free)
        taken.append((at, at + size))
    covered = sum(b - a for a, b in taken) + sum(b - a for a, b in gaps(start, end, taken))
    assert covered == end - start


def test_zeros_are_seen_as_far_as_they_go() -> None:
    """One octet that is none, at either end or anywhere between, is seen there and nowhere else."""
    memory = Memory.format(256 * 1024)
    start, end = memory.zone_start, memory.size
    assert memory.is_empty(start, end)
    assert memory.is_empty(end, end)
    for place in (start, start + 1, start + 16 * 1024 - 1, start + 16 * 1024, end - 1):
        with memory.transaction() as transaction:
            transaction.write(place, b"\1")
        assert not memory.is_empty(start, end)
        assert not memory.is_empty(place, place + 1)
        assert memory.is_empty(start, place)
        assert memory.is_empty(place + 1, end)
        with memory.transaction() as transaction:
            transaction.write(place, b"\0")
