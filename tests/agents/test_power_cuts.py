"""Power cuts at every write of a transaction, and at every write of the boot that follows."""

from __future__ import annotations

import gc
import random
import struct
import tracemalloc
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from agents.handset.security_module import journal
from agents.handset.security_module.errors import ImageRejected
from agents.handset.security_module.medium import PAGE, Medium
from agents.handset.security_module.memory import MAX_SIZE, MIN_SIZE, RECORD_SIZES, Memory, Record
from tests.agents.power_kit import AFTER, FilmedMedium, cuts

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.handset.security_module.memory import Transaction

PAGES = MIN_SIZE // PAGE
SEED = 4


def _change(memory: Memory, transaction: Transaction, rng: random.Random) -> None:
    """Stage records, slots of DEF and octets of the zone, in one to some ten pages."""
    for _ in range(rng.randrange(1, 4)):
        kind = rng.randrange(3)
        if kind == 0:
            record = rng.choice(list(Record))
            octets = rng.randbytes(rng.randrange(RECORD_SIZES[record] - 6))
            memory.put_record(transaction, record, rng.choice([octets, octets, None]))
        elif kind == 1:
            slot = rng.choice(memory.definition_slots())
            memory.write_slot(transaction, slot, memory.slot_size, rng.randbytes(rng.randrange(500)))
        else:
            octets = rng.choice([1, 1, 0]) * rng.randbytes(rng.randrange(1, 1500)) or bytes(700)
            transaction.write(rng.randrange(memory.zone_start, MIN_SIZE - len(octets)), octets)
    memory.put_record(transaction, Record.COUNTERS, rng.randbytes(40))


def _film(memory: Memory, change: Callable[[Memory, Transaction], None]) -> FilmedMedium:
    """Return the film of one transaction on what *memory* holds."""
    medium = FilmedMedium(bytearray(bytes(memory)))
    again = Memory(medium)
    with again.transaction() as transaction:
        change(again, transaction)
    assert len(medium.ends) == 2
    assert bytes(again) == medium.ends[-1]
    return medium


def _filled(change: Callable[[Memory, Transaction], None]) -> Memory:
    memory = Memory.format(MIN_SIZE)
    with memory.transaction() as transaction:
        change(memory, transaction)
    return memory


def _some_pages(memory: Memory, transaction: Transaction) -> None:
    memory.put_record(transaction, Record.COUNTERS, b"\x07" * 40)
    transaction.write(memory.zone_start + 100, b"data" * 130)


@pytest.mark.parametrize("number", range(12))
def test_a_cut_leaves_what_was_before_or_what_is_after(number: int) -> None:
    """Wherever power fails in a transaction, and again in the boot after it, all of it is there or nothing.

    Once a write has left it done, no later cut leaves it undone. Only while the page with the commit mark is
    torn is it open which of the two it will be, until a boot has come to its end.
    """
    rng = random.Random(SEED + number)
    memory = _filled(lambda memory, transaction: _change(memory, transaction, rng))
    film = _film(memory, lambda memory, transaction: _change(memory, transaction, rng))
    before, after = film.ends
    whole = []
    for cut in cuts(before, {}, film.writes, seed=number):
        medium = cut.medium()
        found = bytes(Memory(medium))
        assert found in (before, after), (cut.write, cut.how)
        assert not medium.journal
        if cut.how == AFTER:
            whole.append(found == after)
        is_open = cut.how != AFTER and found == before and film.writes[cut.write][0] == PAGES
        for second in cuts(cut.image, cut.journal, medium.writes, seed=cut.write):
            again = second.medium()
            assert bytes(Memory(again)) in ((before, after) if is_open else (found,)), (cut.write, cut.how)
            assert not again.journal
    assert whole == sorted(whole)
    assert set(whole) == {False, True}


def test_without_the_journal_a_cut_would_show() -> None:
    """The same writes to the image alone leave something between: what is checked above can fail."""
    film = _film(
        _filled(_some_pages), lambda memory, transaction: _change(memory, transaction, random.Random(2))
    )
    writes = [write for write in film.writes if write[0] < PAGES]
    left = {cut.image for cut in cuts(film.ends[0], {}, writes, seed=1)}
    assert len(writes) > 1
    assert left > set(film.ends)


def test_one_page_is_journalled_too() -> None:
    """A page may tear: even one alone is written behind the image before it is written in its place."""
    film = _film(Memory.format(MIN_SIZE), lambda memory, change: change.write(memory.zone_start, b"x"))
    page = next(octets for number, octets in film.writes if number < PAGES)
    assert [number for number, _ in film.writes] == [
        PAGES + 1,
        PAGES,
        Memory(film).zone_start // PAGE,
        PAGES,
        PAGES + 1,
    ]
    assert film.writes[0][1] == page
    assert [octets for _, octets in film.writes[3:]] == [bytes(PAGE)] * 2


def test_a_transaction_that_changes_nothing_writes_nothing() -> None:
    """What is written as it was costs no page."""
    memory = _filled(_some_pages)
    medium = FilmedMedium(bytearray(bytes(memory)))
    again = Memory(medium)
    with again.transaction() as transaction:
        _some_pages(again, transaction)
    assert medium.writes == []
    assert again.take_changes() == []


def test_what_a_boot_mended_is_handed_out() -> None:
    """A shell that stores pages of the journal too gets the mended pages, and the journal's as zeros."""
    film = _film(
        _filled(_some_pages), lambda memory, transaction: _change(memory, transaction, random.Random(3))
    )
    before, after = film.ends
    mended = 0
    for cut in cuts(before, {}, film.writes, seed=5):
        image = {at // PAGE: cut.image[at : at + PAGE] for at in range(0, MIN_SIZE, PAGE)}
        kept = image | dict(cut.journal)
        memory = Memory.from_pages(kept.items())
        kept.update(_pages(memory.take_changes()))
        assert b"".join(kept[number] for number in range(PAGES)) == bytes(memory)
        assert not any(any(page) for number, page in kept.items() if number >= PAGES)
        assert memory.take_changes() == []
        last = max(cut.journal, default=PAGES - 1)
        behind = b"".join(cut.journal.get(number, bytes(PAGE)) for number in range(PAGES, last + 1))
        assert bytes(Memory.boot(cut.image + behind)) == bytes(memory)
        mended += bytes(memory) == after != cut.image
    assert mended


def _pages(changes: list[tuple[int, bytes]]) -> dict[int, bytes]:
    """Return the pages of some sheets."""
    return {
        first + at // PAGE: octets[at : at + PAGE]
        for first, octets in changes
        for at in range(0, len(octets), PAGE)
    }


def _committed() -> tuple[bytes, bytes, dict[int, bytes]]:
    """Return an image before and after, and the journal between the two at the moment of the commit."""
    film = _film(_filled(_some_pages), lambda memory, change: change.write(memory.zone_start, b"new" * 200))
    before, after = film.ends
    for cut in cuts(before, {}, film.writes, seed=1):
        if cut.how == AFTER and PAGES in cut.journal:
            return before, after, dict(cut.journal)
    raise AssertionError("nothing was committed")


def test_a_journal_with_one_bit_wrong_is_none() -> None:
    """Whichever bit of a committed journal flips, in mark, numbers or pages, the image stays as it was."""
    before, after, written = _committed()
    assert bytes(Memory(Medium(bytearray(before), written))) == after
    rng = random.Random(SEED)
    for number, page in written.items():
        for at in range(PAGE):
            flipped = bytearray(page)
            flipped[at] ^= 1 << rng.randrange(8)
            medium = Medium(bytearray(before), written | {number: bytes(flipped)})
            assert bytes(Memory(medium)) == before
            assert not medium.journal


def _mark(count: int, numbers: list[int], page: bytes) -> bytes:
    behind = b"".join(number.to_bytes(4, "big") for number in numbers).ljust(PAGE - 16, b"\0")
    crc = zlib.crc32(struct.pack(">I", count) + behind + page * count)
    return struct.pack(">8sII", b"OTAJOURN", count, crc) + behind


@pytest.mark.parametrize("numbers", [[0], [PAGES], [0xFFFFFFFF], [9, 9], [9, 8], [8, PAGES]], ids=str)
def test_a_journal_that_nobody_writes_is_rejected(numbers: list[int]) -> None:
    """A mark that holds over the header's page, a page outside, or pages twice or in disorder is forged."""
    page = bytes(range(256))
    written = {PAGES: _mark(len(numbers), numbers, page), PAGES + 1: page, PAGES + 2: page}
    with pytest.raises(ImageRejected) as caught:
        Memory(Medium(bytearray(bytes(Memory.format(MIN_SIZE))), written))
    assert caught.value.reason == "bad-journal"


@pytest.mark.parametrize("count", [0, PAGES + 1, 0xFFFFFFFF])
def test_a_mark_that_counts_what_cannot_be_is_none(count: int) -> None:
    """No pages, or more than the image has, are no journal, and cost nothing to find out."""
    image = bytes(Memory.format(MIN_SIZE))
    mark = struct.pack(">8sII", b"OTAJOURN", count, zlib.crc32(struct.pack(">I", count))).ljust(PAGE, b"\0")
    medium = Medium(bytearray(image), {PAGES: mark})
    assert bytes(Memory(medium)) == image
    assert not medium.journal


def test_behind_the_image_there_is_room_for_the_longest_journal_and_no_more() -> None:
    """Pages behind are taken for a journal as far as one can go; further ones are an image too long."""
    octets = bytes(Memory.format(MIN_SIZE))
    longest = journal.longest(PAGES)
    assert bytes(Memory.boot(octets + b"x" * PAGE * longest)) == octets
    for wrong in (octets + bytes(PAGE * (longest + 1)), octets + bytes(PAGE - 1), octets + b"x"):
        with pytest.raises(ImageRejected) as caught:
            Memory.boot(wrong)
        assert caught.value.reason == "wrong-size"
    pages = {0: octets[:PAGE], PAGES + longest - 1: b"x" * PAGE}
    assert bytes(Memory.from_pages(pages.items())) == octets
    with pytest.raises(ImageRejected) as rejected:
        Memory.from_pages([*pages.items(), (PAGES + longest, b"x" * PAGE)])
    assert rejected.value.reason == "bad-page"


def test_the_largest_transaction_of_the_largest_image_is_one_too() -> None:
    """Every page that can change at once, cut around the commit, in the image and in the wiping."""
    plain = Memory.format(MAX_SIZE)
    medium = FilmedMedium(bytearray(bytes(plain)))
    memory = Memory(medium)
    content = random.Random(SEED).randbytes(MAX_SIZE - memory.zone_start)
    with memory.transaction() as transaction:
        transaction.write(memory.zone_start, content)
    before, after = medium.ends
    pages = MAX_SIZE // PAGE
    assert not medium.journal
    at_commit = next(at for at, (number, _) in enumerate(medium.writes) if number == pages)
    changed = (MAX_SIZE - memory.zone_start) // PAGE
    assert [number for number, _ in medium.writes].count(pages) == 2
    ends = {at_commit: before, at_commit + 1: after, at_commit + changed // 2: after}
    ends |= {at_commit + 1 + changed: after, at_commit + 2 + changed: after, len(medium.writes) - 1: after}
    for end, expected in ends.items():
        left = Medium(bytearray(before))
        for write in medium.writes[:end]:
            left.write(*write)
        assert bytes(Memory(left)) == expected
        assert not left.journal


def test_a_module_at_rest_keeps_no_room_for_its_journal() -> None:
    """After a transaction as large as the zone, memory is what it was before it."""
    memory = Memory.format(MAX_SIZE)

    def write(octet: bytes) -> None:
        with memory.transaction() as transaction:
            transaction.write(memory.zone_start, octet * (MAX_SIZE - memory.zone_start))
        memory.take_changes()

    write(b"a")
    gc.collect()
    tracemalloc.start()
    try:
        write(b"b")
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used < 1024


def test_transactions_follow_each_other_on_one_medium() -> None:
    """Cut anywhere in a run of many, the image is that of the last one done, and they go on from there."""
    rng = random.Random(SEED)
    medium = FilmedMedium(bytearray(bytes(Memory.format(MIN_SIZE))))
    memory = Memory(medium)
    for _ in range(8):
        with memory.transaction() as transaction:
            _change(memory, transaction, rng)
    place = 0
    for cut in cuts(medium.ends[0], {}, medium.writes, seed=SEED):
        rebooted = Memory(cut.medium())
        done = medium.ends.index(bytes(rebooted))
        assert done - place in (0, 1), (cut.write, cut.how)
        if cut.how == AFTER:
            place = done
        with rebooted.transaction() as transaction:
            rebooted.put_record(transaction, Record.ANSWER, b"on it goes")
        assert rebooted.get_record(Record.ANSWER) == b"on it goes"
    assert place == len(medium.ends) - 1
    assert all(one != other for one, other in pairwise(medium.ends))
