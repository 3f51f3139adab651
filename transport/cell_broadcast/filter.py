"""Message identifiers: which ranges are for cards, and which ones a card wants to hear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from transport.errors import CellBroadcastRejected

# TS 23.041 §9.4.1.2.2. A000-AFFF are heard from the home network and its equivalents alone; a phone that
# roams must sort them out before it asks the filter.
UNSECURED_DATA_DOWNLOAD: Final = range(0x1000, 0x1080)
SECURED_DATA_DOWNLOAD: Final = range(0x1080, 0x1100)
FORMATTED_PACKETS: Final = range(0x1080, 0x10A0)  # from memory of TS 31.115 §5: those with a CPL in front

MAX_IDENTIFIERS: Final = 256
"""Our limit, so that no card makes a phone search for long; the file itself may be of any size."""

_UNUSED: Final = 0xFFFF
_ENTRY_OCTETS: Final = 2


# TS 31.102 §4.2.20
@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """What EF.CBMID (6F48) of a card holds: the *identifiers* of messages for it, in the file's order."""

    identifiers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse too many, and what is no identifier or says that there is none (FFFF)."""
        if len(self.identifiers) > MAX_IDENTIFIERS:
            raise ValueError(f"a filter has at most {MAX_IDENTIFIERS} identifiers")
        for identifier in self.identifiers:
            if not 0 <= identifier < _UNUSED:
                raise ValueError(f"a message identifier to listen for is 0..65534, not {identifier}")

    def passes(self, message_identifier: int) -> bool:
        """Whether a page of *message_identifier* goes to the card."""
        return message_identifier in self.identifiers

    def encode(self, entries: int) -> bytes:
        """Return the file of *entries* entries, the unused ones FFFF; ``ValueError`` if they are too few."""
        unused = entries - len(self.identifiers)
        if unused < 0:
            raise ValueError(f"{len(self.identifiers)} identifiers in a file of {entries}")
        padded = (*self.identifiers, *[_UNUSED] * unused)
        return b"".join(identifier.to_bytes(_ENTRY_OCTETS, "big") for identifier in padded)

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Return what the file *octets* holds; encoded with as many entries it gives them again.

        Raises CellBroadcastRejected: ``length`` when they are no whole entries, ``gap`` when an unused entry
        stands before a used one, ``too-many`` beyond 256 used ones.
        """
        if len(octets) % _ENTRY_OCTETS:
            raise CellBroadcastRejected("length", f"a file of {len(octets)} octets")
        used = len(octets)
        while used and octets[used - _ENTRY_OCTETS : used] == b"\xff\xff":
            used -= _ENTRY_OCTETS
        if used > MAX_IDENTIFIERS * _ENTRY_OCTETS:
            raise CellBroadcastRejected("too-many", f"{used // _ENTRY_OCTETS} identifiers")
        starts = range(0, used, _ENTRY_OCTETS)
        identifiers = tuple(int.from_bytes(octets[start : start + _ENTRY_OCTETS], "big") for start in starts)
        if _UNUSED in identifiers:
            raise CellBroadcastRejected("gap", f"entry {identifiers.index(_UNUSED)} is unused")
        return cls(identifiers=identifiers)
