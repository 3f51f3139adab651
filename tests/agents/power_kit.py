"""Power that fails: a medium that keeps a log of its writes, and every state that a cut can leave behind.

A module learns nothing of a cut: up to it, it writes what it always writes. So one undisturbed run is filmed,
write by write, and what a cut leaves is the film up to there, with the last page torn or not.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agents.handset.security_module.medium import PAGE, Medium

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Write = tuple[int, bytes]
"""A page's number and its octets."""
AFTER: Final = "after"
"""Power fails after a write, which is before the next one."""


class FilmedMedium(Medium):
    """A medium that remembers every write, and the image as it was at each end of a transaction."""

    __slots__ = ("ends", "writes")

    def __init__(self, image: bytearray, journal: Mapping[int, bytes] | None = None) -> None:
        super().__init__(image, journal)
        self.writes: list[Write] = []
        self.ends: list[bytes] = [bytes(image)]

    def write_all(self, pages: Iterable[Write]) -> None:
        """Write pages one by one, and remember each."""
        for number, octets in pages:
            assert len(octets) == PAGE
            self.writes.append((number, bytes(octets)))
            super().write_all([(number, octets)])
            # Between two transactions, and only then, there is no journal.
            if number >= self.pages and not self.journal and self.ends[-1] != self.image:
                self.ends.append(bytes(self.image))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What is left when power fails at a write: *how* far that one came, and the octets that survive."""

    write: int
    how: str
    image: bytes
    journal: Mapping[int, bytes]

    def medium(self) -> FilmedMedium:
        """Return what the next boot finds; nothing that it does there shows here."""
        return FilmedMedium(bytearray(self.image), self.journal)


def cuts(image: bytes, journal: Mapping[int, bytes], writes: Iterable[Write], *, seed: int) -> Iterator[Cut]:
    """Yield each state that a cut during *writes* can leave, from before the first to after the last.

    A torn page has its first octets new, or its last ones, or noise where the writing stopped.
    """
    rng = random.Random(seed)
    medium = Medium(bytearray(image), journal)

    def state(write: int, how: str, torn: Write | None = None) -> Cut:
        left = medium
        if torn is not None:
            left = Medium(bytearray(medium.image), medium.journal)
            left.write(*torn)
        return Cut(write=write, how=how, image=bytes(left.image), journal=dict(left.journal))

    yield state(-1, AFTER)
    for write, (number, new) in enumerate(writes):
        old = _page(medium, number)
        at, noise = rng.randrange(1, PAGE), rng.randrange(1, 17)
        torn = {
            "first octets": new[:at] + old[at:],
            "last octets": old[:at] + new[at:],
            "noise": (new[:at] + rng.randbytes(noise) + old[at:])[:PAGE],
        }
        for how, page in torn.items():
            yield state(write, how, (number, page.ljust(PAGE, b"\0")))
        medium.write(number, new)
        yield state(write, AFTER)


def _page(medium: Medium, number: int) -> bytes:
    if number < medium.pages:
        return bytes(medium.image[number * PAGE : (number + 1) * PAGE])
    return medium.journal.get(number, bytes(PAGE))
