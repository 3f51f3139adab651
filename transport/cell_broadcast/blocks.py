"""A page as it goes over the air in GSM: four blocks of 22 octets, each behind its block type.

TS 44.012 §3.3.1. The block type is ``0 | 01 | last block (1) | sequence number (4)``, so a whole page has the
types 20, 21, 22 and 33. Schedule and null messages have others and are rejected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from transport.cell_broadcast.page import PAGE_OCTETS, Page
from transport.errors import CellBroadcastRejected

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCKS: Final = 4
BLOCK_OCTETS: Final = 1 + PAGE_OCTETS // BLOCKS

_TYPES: Final = bytes((0x20, 0x21, 0x22, 0x33))
_ROOM: Final = BLOCK_OCTETS - 1


def blocks(page: Page) -> list[bytes]:
    """Return the four blocks of *page*, 23 octets each, in the order in which they are sent."""
    octets = page.encode()
    return [bytes((kind,)) + octets[n * _ROOM : (n + 1) * _ROOM] for n, kind in enumerate(_TYPES)]


def from_blocks(blocks: Sequence[bytes]) -> Page:
    """Return the page in four *blocks*, in the order in which they were sent.

    Raises CellBroadcastRejected: ``block-type`` when their types are not the four of a page, ``length`` when
    one is not of 23 octets, and what :meth:`Page.parse` raises.
    """
    if len(blocks) != BLOCKS or any(block[:1] != _TYPES[n : n + 1] for n, block in enumerate(blocks)):
        raise CellBroadcastRejected("block-type", "not the four blocks of a page")
    if any(len(block) != BLOCK_OCTETS for block in blocks):
        raise CellBroadcastRejected("length", f"a block has {BLOCK_OCTETS} octets")
    return Page.parse(b"".join(block[1:] for block in blocks))
