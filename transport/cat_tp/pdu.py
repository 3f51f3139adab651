"""The CAT_TP protocol data unit, TS 102 127: one UDP payload.

The header, 18 octets and what the flags add to it, all big-endian::

    flags and version(1) | RFU(2) | header length(1) | source port(2) | destination port(2) | data length(2)
    | sequence(2) | acknowledgement(2) | window(2) | checksum(2)
    SYN: | max PDU(2) | max SDU(2) | identification length(1) | identification
    EAK: | numbers(2 each)
    RST: | reason(1)

The checksum is the 16-bit one's complement of the one's complement sum over header and data; there is no
pseudo-header.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from struct import Struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from transport.errors import CatTpRejected

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER_OCTETS: Final = 18
MAX_FIELD: Final = 0xFFFF
MAX_HEADER: Final = 0xFF  # the header length is one octet
MAX_IDENTIFICATION: Final = MAX_HEADER - HEADER_OCTETS - 5
MAX_EXTENDED: Final = (MAX_HEADER - HEADER_OCTETS) // 2

_HEADER: Final = Struct(">BHBHHHHHHH")
_SYN_FIELDS: Final = Struct(">HHB")
_NUMBER: Final = Struct(">H")
_CHECKSUM_AT: Final = 16
_VERSION_BITS: Final = 0x03
_LAST_KNOWN_REASON: Final = 6


class Flags(IntFlag):
    """The six flags of the first octet; its two low bits are the version, 0."""

    SYN = 0x80
    ACK = 0x40
    EAK = 0x20
    RST = 0x10
    NUL = 0x08
    SEG = 0x04


# A SYN, an RST, or an ACK: the kinds that the dissector knows. It lets EAK, NUL and SEG join an ACK freely;
# of these a NUL that is a segment means nothing.
MIXES: Final[Mapping[int, Flags]] = MappingProxyType(
    {
        int(mix): mix
        for mix in (
            Flags.SYN,
            Flags.SYN | Flags.ACK,
            Flags.RST,
            Flags.RST | Flags.ACK,
            Flags.ACK,
            Flags.ACK | Flags.SEG,
            Flags.ACK | Flags.NUL,
            Flags.ACK | Flags.EAK,
            Flags.ACK | Flags.EAK | Flags.SEG,
            Flags.ACK | Flags.EAK | Flags.NUL,
        )
    }
)


class ResetReason(IntEnum):
    """Why a connection ends; 7..255 are reserved, and kept as they come under the name ``RFU``."""

    NORMAL = 0
    ILLEGAL_PARAMETERS = 1
    TEMPORARILY_UNABLE = 2
    PORT_NOT_AVAILABLE = 3
    UNEXPECTED_PDU = 4
    MAX_RETRIES = 5
    VERSION_NOT_SUPPORTED = 6

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        """Keep what is reserved: a reset for a reason unknown to us is a reset all the same."""
        if not isinstance(value, int) or not _LAST_KNOWN_REASON < value <= 0xFF:
            return None
        member = int.__new__(cls, value)
        member._name_, member._value_ = "RFU", value
        return member


@dataclass(frozen=True, slots=True, kw_only=True)
class Synchronisation:
    """What a SYN adds: the longest PDU (header included) and SDU that its sender takes, in octets; its name.

    *identification*, 0..232 octets, is for a module its ICCID in the octets of EF.ICCID, which begin with 98.
    """

    max_pdu: int
    max_sdu: int
    identification: bytes = b""

    def __post_init__(self) -> None:
        """Refuse what the fields cannot hold."""
        if (self.max_pdu | self.max_sdu) >> 16:
            raise ValueError(f"no sizes of 16 bits: {self.max_pdu}, {self.max_sdu}")
        if len(self.identification) > MAX_IDENTIFICATION:
            raise ValueError(f"an identification of {len(self.identification)} octets")

    def encode(self) -> bytes:
        """Return the octets behind the checksum."""
        return _SYN_FIELDS.pack(self.max_pdu, self.max_sdu, len(self.identification)) + self.identification


@dataclass(frozen=True, slots=True, kw_only=True)
class Pdu:
    """One PDU. ``ValueError`` when *flags* are no known mix or do not go with the rest.

    *window*: how many PDUs the sender takes behind *acknowledgement*. *synchronisation* belongs to SYN,
    *extended* (1..118 numbers received out of order) to EAK, *reason* to RST. A segment has a *payload*; a
    SYN, an RST and a NUL have none. *acknowledgement* says nothing without ACK, and is kept all the same.
    """

    flags: Flags
    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int = 0
    window: int = 0
    payload: bytes = b""
    synchronisation: Synchronisation | None = None
    extended: tuple[int, ...] = ()
    reason: ResetReason | None = None

    def __post_init__(self) -> None:
        """Refuse what no octets could say."""
        flags = int(self.flags)
        if flags not in MIXES:
            raise ValueError(f"no known mix of flags: {flags:02x}")
        ports = self.source_port | self.destination_port
        if (ports | self.sequence | self.acknowledgement | self.window | len(self.payload)) >> 16:
            raise ValueError("a field does not fit in 16 bits")
        if any(number >> 16 for number in self.extended) or len(self.extended) > MAX_EXTENDED:
            raise ValueError(f"no {len(self.extended)} numbers of 16 bits")
        extras = self.synchronisation is not None, bool(self.extended), self.reason is not None
        if extras != (flags & 0x80 != 0, flags & 0x20 != 0, flags & 0x10 != 0):
            raise ValueError(f"flags {flags:02x} do not go with what the header holds")
        if not _data_fits(flags, len(self.payload)):
            raise ValueError(f"flags {flags:02x} do not go with {len(self.payload)} octets of data")

    @property
    def takes_number(self) -> bool:
        """Whether the PDU uses up its sequence number and wants to be acknowledged."""
        return bool(self.payload) or self.flags & 0x88 != 0

    def encode(self) -> bytes:
        """Return the octets, with their checksum."""
        extras = self._encode_extras()
        octets = bytearray(
            _HEADER.pack(
                self.flags,
                0,
                HEADER_OCTETS + len(extras),
                self.source_port,
                self.destination_port,
                len(self.payload),
                self.sequence,
                self.acknowledgement,
                self.window,
                0,
            )
        )
        octets += extras
        octets += self.payload
        octets[_CHECKSUM_AT:HEADER_OCTETS] = checksum(octets).to_bytes(2, "big")
        return bytes(octets)

    def _encode_extras(self) -> bytes:
        """Return what stands between the checksum and the data."""
        if self.synchronisation is not None:
            return self.synchronisation.encode()
        if self.reason is not None:
            return bytes((self.reason,))
        return b"".join(number.to_bytes(2, "big") for number in self.extended)

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Return the PDU that *octets* are, whole.

        CatTpRejected: ``too-short``, ``version``, ``reserved`` (the RFU octets), ``flags``,
        ``header-length``, ``data-length`` (header and data are not all there is), ``checksum``, ``data``
        (some in a kind that has none, or none in a segment). ``encode`` gives *octets* again, but for a
        checksum of FFFF, which one's complement arithmetic cannot tell from 0000, the form that we write.
        """
        if len(octets) < HEADER_OCTETS:
            raise CatTpRejected("too-short", f"{len(octets)} octets")
        first, reserved, header_length, *ports, data_length, sequence, acknowledgement, window, _ = (
            _HEADER.unpack_from(octets)
        )
        if first & _VERSION_BITS:
            raise CatTpRejected("version", str(first & _VERSION_BITS))
        if reserved:
            raise CatTpRejected("reserved", f"{reserved:04x}")
        flags = MIXES.get(first)
        if flags is None:
            raise CatTpRejected("flags", f"{first:02x}")
        if not HEADER_OCTETS <= header_length <= len(octets):
            raise CatTpRejected("header-length", str(header_length))
        if header_length + data_length != len(octets):
            raise CatTpRejected("data-length", f"{header_length} and {data_length} of {len(octets)} octets")
        if checksum(octets):
            raise CatTpRejected("checksum", octets[_CHECKSUM_AT:HEADER_OCTETS].hex())
        if not _data_fits(first, data_length):
            raise CatTpRejected("data", f"{data_length} octets with flags {first:02x}")
        synchronisation, extended, reason = _parse_extras(first, octets[HEADER_OCTETS:header_length])
        return cls(
            flags=flags,
            source_port=ports[0],
            destination_port=ports[1],
            sequence=sequence,
            acknowledgement=acknowledgement,
            window=window,
            payload=octets[header_length:],
            synchronisation=synchronisation,
            extended=extended,
            reason=reason,
        )


def checksum(octets: bytes | bytearray) -> int:
    """Return the one's complement of the one's complement sum of *octets*, in time linear in them.

    Octets that are not all zero and hold their own checksum give 0. An odd one out stands high in its pair.
    """
    padded = int.from_bytes(octets, "big") << (len(octets) % 2 * 8)
    # 2^16 is 1 modulo 2^16 - 1, so the remainder is the sum with its carries brought round; of the two zeros
    # of one's complement, a sum of anything but zeros is FFFF.
    return 0xFFFF - (padded % 0xFFFF or (0xFFFF if padded else 0))


def refuse(octets: bytes, reason: ResetReason) -> bytes | None:
    """Return the RST that answers the datagram *octets* which no connection takes, for *reason*.

    None: it is no PDU, or an RST itself, which nothing answers.
    """
    try:
        pdu = Pdu.parse(octets)
    except CatTpRejected:
        return None
    return None if pdu.reason is not None else refusal(pdu, reason).encode()


def refusal(pdu: Pdu, reason: ResetReason) -> Pdu:
    """Return the RST that answers *pdu*, numbered so that its sender finds it to count (RFC 908 §3.7.2)."""
    acknowledges = pdu.flags & 0x40 != 0
    return Pdu(
        flags=Flags.RST if acknowledges else Flags.RST | Flags.ACK,
        source_port=pdu.destination_port,
        destination_port=pdu.source_port,
        sequence=(pdu.acknowledgement + 1) & MAX_FIELD if acknowledges else 0,
        acknowledgement=0 if acknowledges else pdu.sequence,
        reason=reason,
    )


class _Extras(NamedTuple):
    synchronisation: Synchronisation | None = None
    extended: tuple[int, ...] = ()
    reason: ResetReason | None = None


def _data_fits(flags: int, octets: int) -> bool:
    """Whether a PDU with *flags* may have so many octets of data: a segment some, SYN, RST and NUL none."""
    if flags & 0x04:
        return octets > 0
    return octets == 0 or flags & 0x98 == 0


def _parse_extras(flags: int, rest: bytes) -> _Extras:
    """Return what *rest*, the header behind the checksum, says in a PDU with *flags*."""
    if flags & 0x80 and len(rest) >= _SYN_FIELDS.size:
        max_pdu, max_sdu, size = _SYN_FIELDS.unpack_from(rest)
        identification = rest[_SYN_FIELDS.size :]
        if len(identification) == size:
            return _Extras(Synchronisation(max_pdu=max_pdu, max_sdu=max_sdu, identification=identification))
    elif flags & 0x20 and rest and len(rest) % 2 == 0:
        return _Extras(extended=tuple(number for (number,) in _NUMBER.iter_unpack(rest)))
    elif flags & 0x10 and len(rest) == 1:
        return _Extras(reason=ResetReason(rest[0]))
    elif not flags & 0xB0 and not rest:
        return _Extras()
    raise CatTpRejected("header-length", f"{HEADER_OCTETS + len(rest)} with flags {flags:02x}")
