"""The security parameter indicator (SPI): what a command packet is protected by, and how to answer it.

One value for the two octets of TS 102 225 §5.1.1. SPI1 speaks of the command packet, SPI2 of the response
packet (PoR). A minimum security level (MSL) has the bit layout of SPI1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, unique
from functools import lru_cache
from typing import Final

from transport.errors import PacketRejected
from transport.secured_packet.status import ResponseStatus

# Bits that TS 102 225 §5.1.1 reserves: "set to zero and ignored by the receiving entity". They are kept as
# they came, because the CC covers them.
_RESERVED_BITS: Final = 0xE0C0
_SPI1_MEANING: Final = 0x1F


@unique
class CounterMode(IntEnum):
    """SPI1 b5b4: what the receiver does with CNTR."""

    NONE = 0
    NO_CHECK = 1
    HIGHER = 2
    PLUS_ONE = 3


@unique
class Integrity(IntEnum):
    """SPI1 b2b1 and SPI2 b4b3: none, redundancy check, cryptographic checksum, digital signature."""

    NONE = 0
    RC = 1
    CC = 2
    DS = 3


@unique
class PorDemand(IntEnum):
    """SPI2 b2b1: whether a response packet is wanted; 3 is reserved."""

    NONE = 0
    ALWAYS = 1
    ON_ERROR = 2


# TS 102 225 §5.1.1; bit 6 of SPI2 is TS 31.115 §4.2's
@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityParameters:
    """The SPI of a command packet; ``octets`` are its two octets, ready made.

    ``reserved`` holds the reserved bits of both octets, in place; it means nothing and survives re-encoding.
    A ValueError is raised when it holds any other bit.
    """

    counter: CounterMode = CounterMode.NONE
    ciphering: bool = False
    integrity: Integrity = Integrity.NONE
    por: PorDemand = PorDemand.NONE
    por_integrity: Integrity = Integrity.NONE
    por_ciphering: bool = False
    por_in_submit: bool = False
    reserved: int = 0
    octets: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.reserved & ~_RESERVED_BITS:
            raise ValueError(f"reserved holds bits that are not reserved: {self.reserved:04X}")
        spi1 = self.counter << 3 | self.ciphering << 2 | self.integrity
        spi2 = self.por_in_submit << 5 | self.por_ciphering << 4 | self.por_integrity << 2 | self.por
        object.__setattr__(self, "octets", (spi1 << 8 | spi2 | self.reserved).to_bytes(2, "big"))

    def encode(self) -> bytes:
        """Return SPI1 and SPI2."""
        return self.octets

    @staticmethod
    def parse(octets: bytes) -> SecurityParameters:
        """Read SPI1 and SPI2; PacketRejected when they are not two octets or demand the reserved PoR 3."""
        return parse_spi(octets)

    def meets(self, minimum: int) -> bool:
        """Whether the command's protection is at least *minimum*, an MSL octet laid out as SPI1.

        Each field is compared by itself: ciphering does not make up for a missing checksum. A ValueError is
        raised when *minimum* sets a reserved bit.
        """
        if minimum & ~_SPI1_MEANING:
            raise ValueError(f"a minimum security level is five bits, not {minimum:02X}")
        return (
            self.integrity >= minimum & 3
            and self.ciphering >= minimum >> 2 & 1
            and self.counter >= minimum >> 3
        )

    def wants_response(self, status: ResponseStatus) -> bool:
        """Whether the sender asked for a response packet when the outcome is *status*."""
        return self.por is PorDemand.ALWAYS or (self.por is PorDemand.ON_ERROR and status.is_error)


# Bounded: 2,048 meanings are legal, and a sender who also plays with reserved bits only evicts.
@lru_cache(maxsize=2048)
def parse_spi(octets: bytes) -> SecurityParameters:
    """Read SPI1 and SPI2, as ``SecurityParameters.parse`` does; equal octets share one immutable value."""
    if len(octets) != 2:
        raise PacketRejected(ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "spi", "an SPI is two octets")
    spi1, spi2 = octets
    if spi2 & 3 == 3:
        raise PacketRejected(ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "spi", "PoR demand 3 is reserved")
    return SecurityParameters(
        counter=CounterMode(spi1 >> 3 & 3),
        ciphering=bool(spi1 & 4),
        integrity=Integrity(spi1 & 3),
        por=PorDemand(spi2 & 3),
        por_integrity=Integrity(spi2 >> 2 & 3),
        por_ciphering=bool(spi2 & 0x10),
        por_in_submit=bool(spi2 & 0x20),
        reserved=(spi1 << 8 | spi2) & _RESERVED_BITS,
    )
