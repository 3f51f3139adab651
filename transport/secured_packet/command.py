"""The command packet (TS 102 225 §5.1), in the dialect of TS 31.115 §4.2 for short messages.

::

    CPL 2 | CHL 1 | SPI 2 | KIc 1 | KID 1 | TAR 3 | CNTR 5 | PCNTR 1 | RC/CC/DS 0, 4, 8 | data | padding
    ------------------ clear -------------------- | ------------------ ciphered ----------------------

CPL and CHL count the octets that follow them, CPL with the padding, CHL up to the checksum. The user-data
header ``02 70 00`` stands before CPL; it belongs to the short message and the checksum does not cover it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, Final

from transport.errors import PacketRejected
from transport.secured_packet.parameters import Integrity, SecurityParameters, parse_spi
from transport.secured_packet.protection import (
    MAX_PACKET,
    check_fields,
    checksum_length,
    means,
    seal,
    unseal,
)
from transport.secured_packet.status import ResponseStatus

if TYPE_CHECKING:
    from transport.secured_packet.algorithms import PacketKeys

_CLEAR: Final = Struct(">HB2sBB3s")
_CLEAR_LENGTH: Final = _CLEAR.size  # CPL .. TAR: 10
_HEADER_LENGTH: Final = 6  # CNTR and PCNTR
_CHL: Final = 13  # SPI .. PCNTR; a checksum adds to it
_CHL_OVERHEAD: Final = 3  # CPL and CHL themselves stand before what CHL counts
_MINIMUM: Final = _CLEAR_LENGTH + _HEADER_LENGTH


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


# TS 102 225 §5.1, table 1
@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPacket:
    """A command packet that held: its clear header, ``counter`` (0..2^40-1) and the secured ``data``."""

    spi: SecurityParameters
    tar: bytes
    counter: int
    data: bytes = field(repr=False)
    kic: int = 0
    kid: int = 0


def encode_command(
    *,
    spi: SecurityParameters,
    tar: bytes,
    data: bytes,
    counter: int = 0,
    keys: PacketKeys | None = None,
    kic: int | None = None,
    kid: int | None = None,
) -> bytes:
    """Return the command packet from CPL on, as *spi* says: checksum, then ciphering, under *keys*.

    KIc and KID name *keys*, or are zero without; *kic* and *kid* replace an octet that protects nothing. A
    ValueError is raised when *spi* asks for what *keys* cannot do, or a field does not fit.
    """
    check_fields(tar, counter)
    checksum, cipher = means(spi.integrity, keys, ciphering=spi.ciphering)
    if keys is not None:
        kic = _named(keys.kic, kic, used=cipher is not None)
        kid = _named(keys.kid, kid, used=checksum > 0)
    length = _HEADER_LENGTH + checksum + len(data)
    padding = -length % cipher.block if cipher is not None else 0
    cpl = _CLEAR_LENGTH - 2 + length + padding
    if cpl > MAX_PACKET:
        raise ValueError(f"{len(data)} octets of data do not fit a command packet")
    return seal(
        _CLEAR.pack(cpl, _CHL + checksum, spi.octets, kic or 0, kid or 0, tar),
        (counter << 8 | padding).to_bytes(_HEADER_LENGTH, "big"),
        data + bytes(padding),
        covered=b"",
        keys=keys,
        checksum=checksum,
        cipher=cipher,
    )


def parse_header(octets: bytes) -> CommandHeader:
    """Read the clear header of a command packet, to find the keys that open it.

    PacketRejected when *octets* are not one whole command packet. Nothing read here is proven yet.
    """
    _, spi, kic, kid, tar = _parse_clear(octets)
    return CommandHeader(spi=spi, kic=kic, kid=kid, tar=tar)


def decode_command(octets: bytes, keys: PacketKeys | None = None) -> CommandPacket:
    """Open a command packet that starts at CPL; *keys* are those its header names, None when there are none.

    PacketRejected when it is malformed, names other keys, or does not hold; ``status`` is what its response
    packet reports. Whether its protection suffices (``spi.meets``) and its counter is fresh
    (``check_counter``) is left to ask.
    """
    chl, spi, kic, kid, tar = _parse_clear(octets)
    cipher = None
    if spi.ciphering:
        if keys is None or kic != keys.kic:
            raise PacketRejected(ResponseStatus.CIPHERING_ERROR, "kic", f"no keys are KIc {kic:02X}")
        cipher = keys.cipher
    checksum = checksum_length(spi.integrity, keys)
    if checksum is None or (checksum and keys is not None and kid != keys.kid):
        raise PacketRejected(ResponseStatus.INTEGRITY_FAILED, "kid", f"no keys are KID {kid:02X}")
    if chl != _CHL + checksum:
        raise PacketRejected(ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "chl", f"CHL is {chl:02X}")
    header, data = unseal(
        octets, _CLEAR_LENGTH, _HEADER_LENGTH, covered=b"", keys=keys, checksum=checksum, cipher=cipher
    )
    counter = int.from_bytes(header, "big") >> 8
    return CommandPacket(spi=spi, tar=tar, counter=counter, data=data, kic=kic, kid=kid)


def _parse_clear(octets: bytes) -> tuple[int, SecurityParameters, int, int, bytes]:
    """Return CHL, SPI, KIc, KID and TAR of what is, by its lengths, one command packet."""
    if len(octets) < _MINIMUM:
        detail = f"{len(octets)} octets hold no command header"
        raise PacketRejected(ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "short", detail)
    cpl, chl, spi, kic, kid, tar = _CLEAR.unpack_from(octets)
    if cpl != len(octets) - 2:
        detail = f"CPL is {cpl}, {len(octets) - 2} octets follow it"
        raise PacketRejected(ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "cpl", detail)
    if not _CHL <= chl <= len(octets) - _CHL_OVERHEAD:
        detail = f"CHL is {chl} in a packet of {len(octets)} octets"
        raise PacketRejected(ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "chl", detail)
    return chl, parse_spi(spi), kic, kid, tar


def _named(own: int, given: int | None, *, used: bool) -> int:
    """Return the KIc or KID to send: *given* may differ from the keys' *own* only where it is not used."""
    if given is None:
        return own
    if used and given != own:
        raise ValueError(f"the octet {given:02X} does not name the keys, {own:02X} does")
    return given
