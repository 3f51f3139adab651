"""Cutting a secured packet into pages, and taking it out of what the pages held (TS 31.115 §5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from transport.cell_broadcast.page import CONTENT_OCTETS, DCS_CLASS_2_DATA, MAX_PAGES, Page
from transport.errors import CellBroadcastRejected

if TYPE_CHECKING:
    from transport.cell_broadcast.serial_number import SerialNumber

MAX_CONTENT: Final = MAX_PAGES * CONTENT_OCTETS
# From memory of TS 31.115 §5 and TS 23.041: text pages are filled with CR (0D); for 8-bit data the receiver
# goes by the packet's own length, and zeros are what the packet's cipher padding has too.
FILL: Final = b"\x00"

_CPL_OCTETS: Final = 2


def split(
    packet: bytes, serial: SerialNumber, message_identifier: int, dcs: int = DCS_CLASS_2_DATA
) -> list[Page]:
    """Return *packet* in pages of 82 octets, the last one filled up: page 1 first, at most 15.

    ``ValueError`` for nothing, for more than 1230 octets, and for a number that a page cannot say.
    """
    if not 1 <= len(packet) <= MAX_CONTENT:
        raise ValueError(
            f"a cell broadcast message has 1 to {MAX_CONTENT} octets ({MAX_PAGES} pages), not {len(packet)}"
        )
    starts = range(0, len(packet), CONTENT_OCTETS)
    return [
        Page(
            serial=serial,
            message_identifier=message_identifier,
            dcs=dcs,
            page_parameter=number << 4 | len(starts),
            content=packet[start : start + CONTENT_OCTETS].ljust(CONTENT_OCTETS, FILL),
        )
        for number, start in enumerate(starts, 1)
    ]


def packet_of(content: bytes) -> bytes:
    """Return the secured packet at the start of the joined *content*, without the fill behind it.

    CPL, its first two octets, counts the octets that follow CPL; how much fill there is, and of what, does
    not matter.
    Raises CellBroadcastRejected: ``truncated`` without a CPL, ``cpl`` when it counts more than there is.
    """
    if len(content) < _CPL_OCTETS:
        raise CellBroadcastRejected("truncated", "no CPL")
    end = _CPL_OCTETS + int.from_bytes(content[:_CPL_OCTETS], "big")
    if end > len(content):
        raise CellBroadcastRejected("cpl", f"a packet of {end} octets in {len(content)}")
    return content[:end]
