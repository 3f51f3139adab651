"""The command packet (TS 102 225 §5.1).

::

    frame | CHL 1 | SPI 2 | KIc 1 | KID 1 | TAR 3 | CNTR 5 | PCNTR 1 | RC/CC/DS 0, 2, 4, 8 | data | padding
    ------------------ clear -------------------- | -------------------- ciphered -----------------------

The frame is CPL, which counts the octets that follow it, padding included, or CPI and CPL: as the dialect
has it. CHL counts from SPI to the end of the checksum. In a short message the user-data header ``02 70 00``
stands before CPL; it belongs to the message and the checksum does not cover it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from transport.errors import PacketRejected
from transport.secured_packet.dialect import MAX_PACKET, SMS, unidentified
from transport.secured_packet.parameters import Integrity, SecurityParameters, parse_spi
from transport.secured_packet.protection import check_fields, find_checksum, means, seal, unseal
from transport.secured_packet.redundancy import CRC_32
from transport.secured_packet.status import ResponseStatus

if TYPE_CHECKING:
    from transport.secured_packet.algorithms import PacketKeys
    from transport.secured_packet.dialect import Dialect

_CLEAR: Final = Struct(">B2sBB3s")
_CLEAR_LENGTH: Final = _CLEAR.size  # CHL .. TAR: 8
_HEADER_LENGTH: Final = 6  # CNTR and PCNTR
_CPL_OCTETS: Final = 2  # in short messages
_CHL: Final = 13  # SPI .. PCNTR; a checksum adds to it
_RC, _CC = Integrity.RC, Integrity.CC


# TS 102 225 §5.1: what can be read of a command packet before its keys are known
@dataclass(frozen=True, slots=True, kw_only=True)
class CommandHeader:
    """The clear header; ``kic`` and ``kid`` are octets, ``tar`` three octets."""

    spi: SecurityParameters
    kic: int
    kid: int
    tar: bytes

    @property
    def keyset(self) -> int:
        """Index 1..15 of the keyset that the packet is protected by; 0 when it is not, or names none."""
        if self.spi.ciphering:
            return self.kic >> 4
        return self.kid >> 4 if self.spi.integrity is Integrity.CC else 0


# TS 102 225 §5.1, table 1. A tuple because of its rate: to make it takes half the time of a frozen dataclass,
# a tenth of that in which a packet is opened.
class CommandPacket(NamedTuple):
    """A command packet that held: its clear header, ``counter`` (0..2^40-1) and the secured ``data``."""

    spi: SecurityParameters
    tar: bytes
    counter: int
    data: bytes
    kic: int = 0
    kid: int = 0

    def __repr__(self) -> str:
        """Say all but the data."""
        spoken = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields if name != "data")
        return f"CommandPacket({spoken})"


def encode_command(
    *,
    spi: SecurityParameters,
    tar: bytes,
    data: bytes,
    counter: int = 0,
    keys: PacketKeys | None = None,
    kic: int | None = None,
    kid: int | None = None,
    dialect: Dialect = SMS,
) -> bytes:
    """Return the command packet in *dialect*, as *spi* says: checksum, then ciphering, under *keys*.

    KIc and KID name *keys*, or are zero without; *kic* and *kid* replace an octet that names no keys. For a
    redundancy check *kid* says which: CRC-32 unless given. A ValueError is raised when *spi* asks for what
    *keys* cannot do, or a field does not fit.
    """
    check_fields(tar, counter)
    integrity = spi.integrity
    own_kic, own_kid = (0, 0) if keys is None else (keys.kic, keys.kid)
    if integrity is _RC:
        own_kid = CRC_32
    kic = own_kic if kic is None else _named(own_kic, kic, used=spi.ciphering)
    kid = own_kid if kid is None else _named(own_kid, kid, used=integrity is _CC)
    checksum, cipher = means(integrity, keys, kid, ciphering=spi.ciphering)
    length = _HEADER_LENGTH + checksum.length + len(data)
    padding = -length % cipher.block if cipher is not None else 0
    cpl = _CLEAR_LENGTH + length + padding
    if cpl > MAX_PACKET:
        raise ValueError(f"{len(data)} octets of data do not fit a command packet")
    frame = dialect.command
    return seal(
        frame.head(cpl) + _CLEAR.pack(_CHL + checksum.length, spi.octets, kic, kid, tar),
        (counter << 8 | padding).to_bytes(_HEADER_LENGTH, "big"),
        data + bytes(padding),
        covered=frame.covered,
        checksum=checksum,
        cipher=cipher,
    )


def parse_header(octets: bytes, dialect: Dialect = SMS) -> CommandHeader:
    """Read the clear header of a command packet, to find the keys that open it.

    PacketRejected when *octets* are not one whole command packet. Nothing read here is proven yet.
    """
    return _parse_clear(octets, dialect)[2]


def parse_beginning(octets: bytes) -> tuple[CommandHeader, int]:
    """Read the clear header of a command packet for short messages from the first of its parts.

    Returns it with the octets that the whole packet has, CPL among them. PacketRejected when *octets* are too
    few to tell.
    """
    if len(octets) < _CPL_OCTETS + _CLEAR_LENGTH:
        raise unidentified("short", f"{len(octets)} octets hold no clear header")
    header = _read_clear(octets[_CPL_OCTETS : _CPL_OCTETS + _CLEAR_LENGTH])[1]
    return header, _CPL_OCTETS + int.from_bytes(octets[:_CPL_OCTETS], "big")


def decode_command(octets: bytes, keys: PacketKeys | None = None, dialect: Dialect = SMS) -> CommandPacket:
    """Open a command packet of *dialect*; *keys* are those its header names, None when there are none.

    PacketRejected when it is malformed, names other keys, or does not hold; ``status`` is what its response
    packet reports. Whether its protection suffices (``spi.meets``) and its counter is fresh
    (``check_counter``) is left to ask.
    """
    clear, chl, named = _parse_clear(octets, dialect)
    spi, kic, kid = named.spi, named.kic, named.kid
    cipher = None
    if spi.ciphering:
        if keys is None or kic != keys.kic:
            raise PacketRejected(ResponseStatus.CIPHERING_ERROR, "kic", f"no keys are KIc {kic:02X}")
        cipher = keys.cipher
    checksum = find_checksum(spi.integrity, keys, kid)
    if checksum is None or (spi.integrity is _CC and keys is not None and kid != keys.kid):
        raise PacketRejected(ResponseStatus.INTEGRITY_FAILED, "kid", f"nothing here is KID {kid:02X}")
    if chl != _CHL + checksum.length:
        raise unidentified("chl", f"CHL is {chl:02X}")
    covered = dialect.command.covered
    header, data = unseal(octets, clear, _HEADER_LENGTH, covered=covered, checksum=checksum, cipher=cipher)
    counter = int.from_bytes(header, "big") >> 8
    return CommandPacket(spi=spi, tar=named.tar, counter=counter, data=data, kic=kic, kid=kid)


def _parse_clear(octets: bytes, dialect: Dialect) -> tuple[int, int, CommandHeader]:
    """Return the octets that are clear, CHL and the header of what is, by its lengths, one command packet."""
    start = dialect.command.start(octets)
    room = len(octets) - start - 1
    if room < _CHL:
        raise unidentified("short", f"{len(octets)} octets hold no command header")
    clear = start + _CLEAR_LENGTH
    chl, header = _read_clear(octets[start:clear])
    if not _CHL <= chl <= room:
        raise unidentified("chl", f"CHL is {chl} in a packet of {len(octets)} octets")
    return clear, chl, header


# A sender names the same keys and application again and again. Bounded: who varies them only evicts.
@lru_cache(maxsize=2048)
def _read_clear(octets: bytes) -> tuple[int, CommandHeader]:
    """Return CHL and the header of the octets from CHL to TAR; equal octets share one immutable value."""
    chl, spi, kic, kid, tar = _CLEAR.unpack(octets)
    return chl, CommandHeader(spi=parse_spi(spi), kic=kic, kid=kid, tar=tar)


def _named(own: int, given: int, *, used: bool) -> int:
    """Return the KIc or KID to send: *given* may differ from the keys' *own* only where it is not used."""
    if used and given != own:
        raise ValueError(f"the octet {given:02X} does not name the keys, {own:02X} does")
    return given
