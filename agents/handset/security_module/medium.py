"""What the octets of a module lie on: pages, each written whole by one method and by no other.

A page write is the only thing that power can fail in: before it, after it, or in its middle, which leaves the
page torn. Whoever wants to see that happen gives ``Memory`` a medium whose ``write_all`` does it.

The image comes first, ``size`` octets of it. The pages behind it are the journal's (``journal``). They are
zeros between two commands, and pages of zeros take no room, so a module at rest has none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PAGE: Final = 256
ZEROS: Final = bytes(PAGE)


class Medium:
    """The pages of one image and of its journal. Reading needs no method: a read changes nothing."""

    __slots__ = ("_journal", "image")

    def __init__(self, image: bytearray, journal: Mapping[int, bytes] | None = None) -> None:
        """Take over an image of whole pages and, by their numbers, the pages behind it that are not zeros."""
        self.image = image
        """To be read, never to be written to."""
        self._journal: dict[int, bytes] | None = dict(journal) if journal else None

    @property
    def pages(self) -> int:
        """How many pages the image has; the journal's numbers begin here."""
        return len(self.image) // PAGE

    @property
    def journal(self) -> Mapping[int, bytes]:
        """The pages behind the image that are not zeros, by number."""
        return self._journal or {}

    def write(self, number: int, octets: bytes) -> None:
        """Write page *number*, PAGE octets of it, to the image or behind it."""
        self.write_all([(number, octets)])

    def write_all(self, pages: Iterable[tuple[int, bytes]]) -> None:
        """Write pages, one after another, in this order: power may fail at each of them."""
        image, end, journal = self.image, self.pages, self._journal
        for number, octets in pages:
            if number < end:
                image[number * PAGE : (number + 1) * PAGE] = octets
            elif octets != ZEROS:
                if journal is None:
                    journal = self._journal = {}
                journal[number] = octets
            elif journal is not None:
                journal.pop(number, None)
                if not journal:
                    journal = self._journal = None  # an emptied dict would keep the room of its fullest day
