"""What all modules of a cell hear alike is read once: a page of a cell broadcast, and the ENVELOPE around it.

The same octets give the same values, which nobody changes, so modules of one process share them; what is
remembered is bounded, and no secret: whoever is in the cell hears it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from transport.apdu import INS_ENVELOPE, CommandApdu
from transport.cell_broadcast import Page
from transport.toolkit import Envelope, Tag

_PAGES: Final = 512  # more than most campaigns have, for each module takes all that came in one go
_TAG_AT: Final = 5  # behind class, instruction, parameters and a length of one octet
_INS_AT: Final = 1


def is_page(octets: bytes) -> bool:
    """Say whether a command APDU may bring a page: what is not so said is never remembered."""
    return octets[_INS_AT : _INS_AT + 1] == bytes([INS_ENVELOPE]) and (
        octets[_TAG_AT : _TAG_AT + 1] == bytes([Tag.CELL_BROADCAST_DOWNLOAD])
    )


@lru_cache(maxsize=_PAGES)
def command(octets: bytes) -> CommandApdu:
    """Return the command APDU in *octets*; ApduRejected."""
    return CommandApdu.parse(octets)


@lru_cache(maxsize=_PAGES)
def envelope(octets: bytes) -> Envelope:
    """Return the envelope in *octets*; TlvRejected."""
    return Envelope.parse(octets)


@lru_cache(maxsize=_PAGES)
def page(octets: bytes) -> Page:
    """Return the page in *octets*; CellBroadcastRejected."""
    return Page.parse(octets)
