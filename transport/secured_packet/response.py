"""The response packet, proof of receipt or PoR (TS 102 225 §5.2), in the dialect for short messages.

::

    RPL 2 | RHL 1 | TAR 3 | CNTR 5 | PCNTR 1 | STATUS 1 | RC/CC/DS 0, 4, 8 | data | padding
    ------- clear ------- | --------------------- ciphered -------------------------

Its protection is what SPI2 of the command asked for. Its checksum also covers the user-data header
``02 71 00`` that stands before RPL, where a command's does not cover its ``02 70 00``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, Final

from transport.errors import PacketRejected
from transport.secured_packet.parameters import Integrity
from transport.secured_packet.protection import MAX_PACKET, check_fields, means, seal, unseal
from transport.secured_packet.status import ALWAYS_CLEAR, CLEAR_WITHOUT_KEYS, ResponseStatus

if TYPE_CHECKING:
    from transport.secured_packet.algorithms import PacketCipher, PacketKeys
    from transport.secured_packet.parameters import SecurityParameters

RESPONSE_USER_DATA_HEADER: Final = bytes.fromhex("027100")
"""UDHL, IEI 71 (response packet identifier), no data; also what the checksum of a response starts with."""

_CLEAR: Final = Struct(">HB3s")
_CLEAR_LENGTH: Final = _CLEAR.size  # RPL .. TAR: 6
_HEADER_LENGTH: Final = 7  # CNTR, PCNTR and STATUS
_RHL: Final = 10  # TAR .. STATUS; a checksum adds to it
_MINIMUM: Final = _CLEAR_LENGTH + _HEADER_LENGTH


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
    packet: ResponsePacket, *, spi: SecurityParameters, keys: PacketKeys | None = None
) -> bytes:
    """Return the response packet from RPL on, protected under *keys* as SPI2 of the command's *spi* asks.

    Status 06 always goes clear, and 09 when there are no keys. A ValueError is raised when *keys* cannot do
    what is asked of any other, or a field does not fit.
    """
    check_fields(packet.tar, packet.counter)
    if _goes_clear(packet.status, spi, keys):
        if packet.data:
            raise ValueError("a refusal in clear carries no data")
        checksum, cipher = 0, None
    else:
        checksum, cipher = means(spi.por_integrity, keys, ciphering=spi.por_ciphering)
    length = _HEADER_LENGTH + checksum + len(packet.data)
    padding = -length % cipher.block if cipher is not None else 0
    rpl = _CLEAR_LENGTH - 2 + length + padding
    if rpl > MAX_PACKET:
        raise ValueError(f"{len(packet.data)} octets of data do not fit a response packet")
    return seal(
        _CLEAR.pack(rpl, _RHL + checksum, packet.tar),
        (packet.counter << 16 | padding << 8 | packet.status).to_bytes(_HEADER_LENGTH, "big"),
        packet.data + bytes(padding),
        covered=RESPONSE_USER_DATA_HEADER,
        keys=keys,
        checksum=checksum,
        cipher=cipher,
    )


def decode_response(
    octets: bytes, *, spi: SecurityParameters, keys: PacketKeys | None = None
) -> ResponsePacket:
    """Open a response packet that starts at RPL, to a command that was sent with *spi*.

    PacketRejected when it is malformed or not protected as was asked; only 06 and 09 may come clear. That TAR
    and counter are those of the command is for the caller, who knows it, to compare.
    """
    rhl = _parse_lengths(octets)
    checksum, cipher = (0, None) if _is_clear_refusal(octets) else _demanded(spi, keys)
    if rhl != _RHL + checksum:
        raise PacketRejected(ResponseStatus.INTEGRITY_FAILED, "rhl", f"RHL is {rhl:02X}")
    header, data = unseal(
        octets,
        _CLEAR_LENGTH,
        _HEADER_LENGTH,
        covered=RESPONSE_USER_DATA_HEADER,
        keys=keys,
        checksum=checksum,
        cipher=cipher,
    )
    return ResponsePacket(
        tar=octets[3:6],
        counter=int.from_bytes(header[:5], "big"),
        status=_status(header[6]),
        data=data,
        proven=checksum > 0,
    )


def _parse_lengths(octets: bytes) -> int:
    """Return RHL of what is, by its lengths, one response packet."""
    if len(octets) < _MINIMUM:
        detail = f"{len(octets)} octets hold no response header"
        raise PacketRejected(ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "short", detail)
    rpl, rhl, _ = _CLEAR.unpack_from(octets)
    if rpl != len(octets) - 2:
        detail = f"RPL is {rpl}, {len(octets) - 2} octets follow it"
        raise PacketRejected(ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "rpl", detail)
    if not _RHL <= rhl <= len(octets) - 3:
        detail = f"RHL is {rhl} in a packet of {len(octets)} octets"
        raise PacketRejected(ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "rhl", detail)
    return int(rhl)


def _goes_clear(status: ResponseStatus, spi: SecurityParameters, keys: PacketKeys | None) -> bool:
    """Whether *status* is sent without the protection that *spi* asks for."""
    clear = ALWAYS_CLEAR if keys else CLEAR_WITHOUT_KEYS
    return status in clear and (spi.por_ciphering or spi.por_integrity is not Integrity.NONE)


def _is_clear_refusal(octets: bytes) -> bool:
    """Whether *octets* are a bare header with a status that may come clear.

    No protected packet is mistaken for one: a checksum or a cipher block makes it longer.
    """
    return len(octets) == _MINIMUM and octets[-1] in CLEAR_WITHOUT_KEYS


def _demanded(spi: SecurityParameters, keys: PacketKeys | None) -> tuple[int, PacketCipher | None]:
    """Return how the response must be protected; PacketRejected when there are no keys to tell by."""
    try:
        return means(spi.por_integrity, keys, ciphering=spi.por_ciphering)
    except ValueError as error:
        raise PacketRejected(ResponseStatus.INTEGRITY_FAILED, "keys", str(error)) from None


def _status(octet: int) -> ResponseStatus:
    """Return the status that *octet* stands for; proprietary ones (C0..FE) mean nothing to us."""
    try:
        return ResponseStatus(octet)
    except ValueError:
        detail = f"status {octet:02X} is reserved or proprietary"
        raise PacketRejected(ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "status", detail) from None
