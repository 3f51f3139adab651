"""The identification packet: the first word of a module on a TCP channel that it opened, saying who it is.

::

    03 | length (BER) | identification

TS 102 225 gives the TCP dialect such a packet; its layout here is from memory: an identifier, a length as a
command packet has it, and the identification (an ICCID, say) with no structure of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from transport.secured_packet.dialect import IDENTIFICATION_IDENTIFIER, BerLength, unidentified

MAX_IDENTIFICATION: Final = 0xFF
"""Octets of an identification at most, as in CAT_TP, which has one octet for its length."""
_FRAME: Final = BerLength(identifier=IDENTIFICATION_IDENTIFIER, name="length")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification:
    """Who speaks: *ua* is 1 to 255 octets, a ValueError otherwise."""

    ua: bytes

    def __post_init__(self) -> None:
        if not 1 <= len(self.ua) <= MAX_IDENTIFICATION:
            raise ValueError(f"an identification is 1..{MAX_IDENTIFICATION} octets, not {len(self.ua)}")


def encode_identification(ua: bytes) -> bytes:
    """Return the identification packet of *ua*; ValueError when it is not 1 to 255 octets."""
    return _FRAME.head(len(ua)) + Identification(ua=ua).ua


def parse_identification(octets: bytes) -> Identification:
    """Read a whole identification packet; PacketRejected when it is none. It proves nothing."""
    ua = octets[_FRAME.start(octets) :]
    try:
        return Identification(ua=ua)
    except ValueError as error:
        raise unidentified("length", str(error)) from None
