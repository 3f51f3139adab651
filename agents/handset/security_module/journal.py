"""The journal: what a transaction will write, kept whole behind the image before the image changes.

It begins with the page behind the image's last. All integers are big-endian::

    0     commit mark: magic 8 "OTAJOURN" | pages 4 | CRC-32 4
    16    page numbers in the image, ascending, 4 octets each, then zeros to the end of the page
    ...   the new pages themselves, PAGE octets each, in the same order

The CRC is over everything but magic and itself: how many pages, their numbers with the zeros behind them, and
the pages. The size is as the transaction needs; between two commands all of it is zeros.

The order of the writes is what makes it hold. The journal is written from its end to its beginning, so that
the page with the commit mark is the last one: before that page is whole nothing is committed, and after it
everything is. Then the pages go to the image, and then the journal is wiped from its beginning, the mark
first. So a journal with a mark that holds is carried out again, which is the same once or ten times, and any
other is what power failed in: before the commit, where the image is as it was, or in the wiping, where the
image is as it should be. Both are wiped and no error. The header (page 0) is never journalled.
"""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from agents.handset.security_module.errors import ImageRejected
from agents.handset.security_module.medium import PAGE, ZEROS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agents.handset.security_module.medium import Medium

_MAGIC: Final = b"OTAJOURN"
_MARK: Final = struct.Struct(">8sII")
_COUNT: Final = struct.Struct(">I")
_NUMBER_OCTETS: Final = 4


def longest(pages: int) -> int:
    """Return how many pages a journal takes that changes every page of an image of *pages* pages."""
    return _head_pages(pages) + pages


def commit(medium: Medium, changes: Mapping[int, bytes]) -> None:
    """Have these pages (PAGE octets each, by number) written to the image together, or none of them."""
    pages = sorted(changes.items())
    head = _head(pages)
    journal = [head[at : at + PAGE] for at in range(0, len(head), PAGE)]
    journal += [page for _, page in pages]
    behind = list(enumerate(journal, medium.pages))
    medium.write_all(reversed(behind))
    medium.write_all(pages)
    medium.write_all([(number, ZEROS) for number, _ in behind])


def recover(medium: Medium) -> set[int]:
    """Carry out a committed journal, wipe any; return the numbers of the pages that were written.

    Raises ImageRejected (``bad-journal``) for a mark that holds over page numbers that cannot be: no failure
    of power does that.
    """
    if not medium.journal:
        return set()
    changes = _committed(medium)
    medium.write_all(changes)
    wiped = sorted(medium.journal)
    medium.write_all((number, ZEROS) for number in wiped)
    return {*wiped, *(number for number, _ in changes)}


def _head_pages(count: int) -> int:
    return -(-(_MARK.size + _NUMBER_OCTETS * count) // PAGE)


def _head(pages: Sequence[tuple[int, bytes]]) -> bytes:
    """Return commit mark and page numbers, in whole pages."""
    count = len(pages)
    numbers = struct.pack(f">{count}I", *(number for number, _ in pages))
    numbers = numbers.ljust(_head_pages(count) * PAGE - _MARK.size, b"\0")
    crc = zlib.crc32(b"".join([_COUNT.pack(count), numbers, *(page for _, page in pages)]))
    return _MARK.pack(_MAGIC, count, crc) + numbers


def _committed(medium: Medium) -> list[tuple[int, bytes]]:
    """Return the pages of a journal whose mark holds, none for any other."""
    first, found = medium.pages, medium.journal
    magic, count, _crc = _MARK.unpack_from(found.get(first, ZEROS))
    if magic != _MAGIC or not 0 < count <= first:
        return []
    heads = _head_pages(count)
    head = b"".join(found.get(first + number, ZEROS) for number in range(heads))
    numbers = struct.unpack_from(f">{count}I", head, _MARK.size)
    start = first + heads
    pages = [(number, found.get(start + place, ZEROS)) for place, number in enumerate(numbers)]
    if _head(pages) != head:
        return []
    ascending = all(one < other for one, other in pairwise(numbers))
    if not ascending or not 0 < numbers[0] <= numbers[-1] < first:
        raise ImageRejected("bad-journal", "page numbers that cannot be")
    return pages
