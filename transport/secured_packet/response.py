"""The response packet, proof of receipt or PoR (TS 102 225 §5.2).

::

    frame | RHL 1 | TAR 3 | CNTR 5 | PCNTR 1 | STATUS 1 | RC/CC/DS 0, 2, 4, 8 | data | padding
    ------- clear ------- | ----------------------- ciphered --------------------------

Its frame is RPL, or RPI and RPL, and its protection is what SPI2 of the command asked for. In a short message
its checksum also covers the user-data header ``02 71 00`` that stands before RPL, where a command's does not
cover its ``02 70 00``.

Which redundancy check a response has is our reading: the one that the command's KID names, where the command
itself has no checksum with keys (its KID would name those), and CRC-32 otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, Final

from transport.errors import PacketRejected
from transport.secured_packet.dialect import MAX_PACKET, SMS, unidentified
from transport.secured_packet.parameters import Integrity
from transport.secured_packet.protection import check_fields, means, seal, unseal
from transport.secured_packet.redundancy import CRC_32, NO_CHECKSUM, REDUNDANCY_CHECKS
from transport.secured_packet.status import ALWAYS_CLEAR, CLEAR_WITHOUT_KEYS, STATUSES, ResponseStatus

if TYPE_CHECKING:
    from transport.secured_packet.algorithms import PacketKeys
    from transport.secured_packet.ciphers import PacketCipher
    from transport.secured_packet.dialect import Dialect, Framing
    from transport.secured_packet.parameters import SecurityParameters
    from transport.secured_packet.redundancy import Checksum

_CLEAR: Final = Struct(">B3s")
_CLEAR_LENGTH: Final = _CLEAR.size  # RHL and TAR: 4
_HEADER_LENGTH: Final = 7  # CNTR, PCNTR and STATUS
_RHL: Final = 10  # TAR .. STATUS; a checksum adds to it
_NONE, _RC, _CC = Integrity.NONE, Integrity.RC, Integrity.CC


# TS 102 225 §5.2, table 4
@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsePacket:
    """A proof of receipt: TAR and counter of the command it answers, its status, and the answer itself.

    ``proven`` is set on reception when a checksum vouched for it. Without, it is a hint from anyone at all.
    """

    tar: bytes
    counter: int
    status: ResponseStatus
    data: bytes = field(default=b"", repr=False)
    proven: bool = field(default=False, compare=False)


def encode_response(
    packet: ResponsePacket,
    *,
    spi: SecurityParameters,
    keys: PacketKeys | None = None,
    dialect: Dialect = SMS,
    kid: int = CRC_32,
) -> bytes:
    """Return the response packet in *dialect*, protected under *keys* as SPI2 of the command's *spi* asks.

    *kid* is the command's and counts for a redundancy check only. Status 06 always goes clear, and 09 when
    there are no keys. A ValueError is raised when *keys* cannot do what is asked of any other, a field does
    not fit, or the dialect has no response packet.
    """
    check_fields(packet.tar, packet.counter)
    frame = _frame(dialect)
    if _goes_clear(packet.status, spi, keys):
        if packet.data:
            raise ValueError("a refusal in clear carries no data")
        checksum, cipher = NO_CHECKSUM, None
    else:
        checksum, cipher = _demanded(spi, keys, kid)
    length = _HEADER_LENGTH + checksum.length + len(packet.data)
    padding = -length % cipher.block if cipher is not None else 0
    rpl = _CLEAR_LENGTH + length + padding
    if rpl > MAX_PACKET:
        raise ValueError(f"{len(packet.data)} octets of data do not fit a response packet")
    return seal(
        frame.head(rpl) + _CLEAR.pack(_RHL + checksum.length, packet.tar),
        (packet.counter << 16 | padding << 8 | packet.status).to_bytes(_HEADER_LENGTH, "big"),
        packet.data + bytes(padding),
        covered=frame.covered,
        checksum=checksum,
        cipher=cipher,
    )


def decode_response(
    octets: bytes,
    *,
    spi: SecurityParameters,
    keys: PacketKeys | None = None,
    dialect: Dialect = SMS,
    kid: int = CRC_32,
) -> ResponsePacket:
    """Open a response packet of *dialect*, to a command that was sent with *spi* and *kid*.

    PacketRejected when it is malformed or not protected as was asked; only 06 and 09 may come clear. That TAR
    and counter are those of the command is for the caller, who knows it, to compare. A ValueError is raised
    when the dialect has no response packet.
    """
    frame = _frame(dialect)
    clear, rhl, tar = _parse_clear(octets, frame)
    bare = _is_clear_refusal(octets, clear)
    try:
        checksum, cipher = (NO_CHECKSUM, None) if bare else _demanded(spi, keys, kid)
    except ValueError as error:
        raise PacketRejected(ResponseStatus.INTEGRITY_FAILED, "keys", str(error)) from None
    if rhl != _RHL + checksum.length:
        raise PacketRejected(ResponseStatus.INTEGRITY_FAILED, "rhl", f"RHL is {rhl:02X}")
    header, data = unseal(
        octets, clear, _HEADER_LENGTH, covered=frame.covered, checksum=checksum, cipher=cipher
    )
    return ResponsePacket(
        tar=tar,
        counter=int.from_bytes(header[:5], "big"),
        status=_status(header[6]),
        data=data,
        proven=spi.por_integrity is _CC and not bare,
    )


def _frame(dialect: Dialect) -> Framing:
    """Return how *dialect* frames responses."""
    if dialect.response is None:
        raise ValueError(f"no response packet is defined for {dialect.name}")
    return dialect.response


def _parse_clear(octets: bytes, frame: Framing) -> tuple[int, int, bytes]:
    """Return the octets that are clear, RHL and TAR of what is, by its lengths, one response packet."""
    start = frame.start(octets)
    room = len(octets) - start - 1
    if room < _RHL:
        raise unidentified("short", f"{len(octets)} octets hold no response header")
    rhl, tar = _CLEAR.unpack_from(octets, start)
    if not _RHL <= rhl <= room:
        raise unidentified("rhl", f"RHL is {rhl} in a packet of {len(octets)} octets")
    return start + _CLEAR_LENGTH, rhl, tar


def _goes_clear(status: ResponseStatus, spi: SecurityParameters, keys: PacketKeys | None) -> bool:
    """Whether *status* is sent without the protection that *spi* asks for."""
    clear = ALWAYS_CLEAR if keys else CLEAR_WITHOUT_KEYS
    return status in clear and (spi.por_ciphering or spi.por_integrity is not _NONE)


def _is_clear_refusal(octets: bytes, clear: int) -> bool:
    """Whether *octets* are a bare header with a status that may come clear.

    No protected packet is mistaken for one: a checksum or a cipher block makes it longer.
    """
    return len(octets) == clear + _HEADER_LENGTH and octets[-1] in CLEAR_WITHOUT_KEYS


def _demanded(
    spi: SecurityParameters, keys: PacketKeys | None, kid: int
) -> tuple[Checksum, PacketCipher | None]:
    """Return how the response is protected; ValueError when *keys* cannot do it."""
    if spi.por_integrity is _RC and (spi.integrity >= _CC or kid & 0xF not in REDUNDANCY_CHECKS):
        kid = CRC_32
    return means(spi.por_integrity, keys, kid, ciphering=spi.por_ciphering)


def _status(octet: int) -> ResponseStatus:
    """Return the status that *octet* stands for, a reserved one (0D..BF, FF) being refused."""
    status = STATUSES.get(octet)
    if status is None:
        raise unidentified("status", f"status {octet:02X} is reserved")
    return status
