"""A USIM as its terminal finds it: in EF.DIR, by its table of services, with short file identifiers.

TS 102 221 clause 13.1 has EF.DIR, TS 31.102 clause 4.2.8 and annex H the rest. The numbers of services are
those that pySim has; the short identifiers, and what the names of USIMs begin with, are from memory of annex
H and of TS 101 220.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from transport import ber_tlv
from transport.errors import TlvRejected

if TYPE_CHECKING:
    from collections.abc import Iterable

SFI_DIR: Final = 0x1E
SFI_UST: Final = 0x04
SFI_CBMID: Final = 0x0E
APPLICATION: Final = 0x61
APPLICATION_NAME: Final = 0x4F
APPLICATION_LABEL: Final = 0x50
USIM: Final = bytes.fromhex("A0000000871002")
"""What the names of all USIMs begin with: 3GPP's registered provider and the application's code."""


class Service(IntEnum):
    """Services of EF.UST, by their numbers there; number 15 would be EF.CBMI, which a subscriber reads."""

    SMS_PP_DOWNLOAD = 28
    CELL_BROADCAST_DOWNLOAD = 29


def service_table(services: Iterable[int]) -> bytes:
    """Return EF.UST with *services*, of which there is one at least: number 1 is its lowest bit."""
    bits = sum(1 << service - 1 for service in set(services))
    return bits.to_bytes(-(-bits.bit_length() // 8), "little")


def services_in(table: bytes) -> frozenset[Service]:
    """Return the services that EF.UST names; what is not in a short table is not there."""
    bits = int.from_bytes(table, "little")
    return frozenset(service for service in Service if bits >> service - 1 & 1)


def usim_in(record: bytes) -> bytes:
    """Return the name of the USIM that a record of EF.DIR is about, empty when it is about none.

    What follows the template fills the record up.
    """
    try:
        length, begin = ber_tlv.parse_length(record, 1)
        inside = ber_tlv.parse_all(record[begin : begin + length])
        name = ber_tlv.require(inside, APPLICATION_NAME).value
    except TlvRejected:
        return b""
    return name if record[0] == APPLICATION and name.startswith(USIM) else b""
