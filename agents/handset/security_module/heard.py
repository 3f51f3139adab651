"""What all modules of a cell hear alike is read once: a page of a cell broadcast, and the ENVELOPE around it.

The same octets give the same values, which nobody changes, so modules of one process share them; what is
remembered is bounded, and no secret: whoever is in the cell hears it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from transport.apdu import INS_ENVELOPE, PROPRIETARY, CommandApdu
from transport.cell_broadcast import Page, packet_of
from transport.secured_packet import CELL_BROADCAST, parse_header
from transport.toolkit import Envelope, Tag

if TYPE_CHECKING:
    from transport.secured_packet import CommandHeader

_PAGES: Final = 512  # more than most campaigns have, for each module takes all that came in one go
_PACKETS: Final = 64  # each page goes to all handsets of a cell before the next one does
_HEADER: Final = bytes([PROPRIETARY, INS_ENVELOPE, 0, 0])
_PAGE: Final = bytes([Tag.CELL_BROADCAST_DOWNLOAD])
_TAG_AT: Final = 5  # behind class, instruction, parameters and a length of one octet


def is_page(octets: bytes) -> bool:
    """Say whether a command APDU may bring a page: what is not so said is never remembered."""
    return octets.startswith(_PAGE, _TAG_AT) and octets.startswith(_HEADER)


@lru_cache(maxsize=_PAGES)
def command(octets: bytes) -> CommandApdu:
    """Return the command APDU in *octets*; ApduRejected."""
    return CommandApdu.parse(octets)


@lru_cache(maxsize=_PAGES)
def envelope(octets: bytes) -> Envelope:
    """Return the envelope in *octets*; TlvRejected."""
    return Envelope.parse(octets)


@lru_cache(maxsize=_PACKETS)
def packet(content: bytes) -> tuple[bytes, CommandHeader]:
    """Return the secured packet in what pages held, and its header; CellBroadcastRejected, PacketRejected."""
    octets = packet_of(content)
    return octets, parse_header(octets, CELL_BROADCAST)


@lru_cache(maxsize=_PAGES)
def page(octets: bytes) -> Page:
    """Return the page in *octets*; CellBroadcastRejected."""
    return Page.parse(octets)
