"""Redundancy checks (RC): what notices noise, and proves nothing. They need no key.

TS 102 225 §5.1.3.2 and its annex on CRC computations. They are sent most significant octet first.
"""

from __future__ import annotations

from binascii import crc_hqx
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CRC_16: Final = 0x1
CRC_32: Final = 0x5

_REFLECTED: Final = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))
_ALL_ONES_16: Final = 0xFFFF


class Checksum(NamedTuple):
    """What fills the field RC/CC/DS: the first *length* octets of what *of* makes of a message."""

    length: int
    of: Callable[[bytes], bytes]


def crc_16(message: bytes) -> bytes:
    """Return the two octets of CRC-16 (ISO/IEC 13239, known as X-25).

    ``crc_hqx`` has the same polynomial and takes bits in the other order, so octets go in and come out
    reflected.
    """
    register = crc_hqx(message.translate(_REFLECTED), _ALL_ONES_16) ^ _ALL_ONES_16
    return register.to_bytes(2, "little").translate(_REFLECTED)


def crc_32(message: bytes) -> bytes:
    """Return the four octets of CRC-32 (ISO/IEC 13239, the one of Ethernet and zlib)."""
    return crc32(message).to_bytes(4, "big")


NO_CHECKSUM: Final = Checksum(0, lambda _: b"")

# Keyed by the low nibble of KID.
REDUNDANCY_CHECKS: Final[Mapping[int, Checksum]] = MappingProxyType(
    {CRC_16: Checksum(2, crc_16), CRC_32: Checksum(4, crc_32)}
)
