"""Command and response APDUs (ISO/IEC 7816-4 clause 5), in their short form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from transport.errors import ApduRejected

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER_OCTETS: Final = 4
MAX_DATA: Final = 255

# Classes and instructions: TS 102 221 clause 10.1; the last two of GlobalPlatform clause 11.
INTERINDUSTRY: Final = 0x00
PROPRIETARY: Final = 0x80
INS_TERMINAL_PROFILE: Final = 0x10
INS_FETCH: Final = 0x12
INS_TERMINAL_RESPONSE: Final = 0x14
INS_VERIFY_PIN: Final = 0x20
INS_MANAGE_CHANNEL: Final = 0x70
INS_SELECT: Final = 0xA4
INS_READ_BINARY: Final = 0xB0
INS_READ_RECORD: Final = 0xB2
INS_GET_RESPONSE: Final = 0xC0
INS_ENVELOPE: Final = 0xC2
INS_UPDATE_BINARY: Final = 0xD6
INS_UPDATE_RECORD: Final = 0xDC
INS_STATUS: Final = 0xF2
INS_GET_DATA: Final = 0xCA
INS_STORE_DATA: Final = 0xE2
INSTRUCTIONS: Final[Mapping[int, str]] = {
    INS_TERMINAL_PROFILE: "TERMINAL PROFILE",
    INS_FETCH: "FETCH",
    INS_TERMINAL_RESPONSE: "TERMINAL RESPONSE",
    INS_VERIFY_PIN: "VERIFY PIN",
    INS_MANAGE_CHANNEL: "MANAGE CHANNEL",
    INS_SELECT: "SELECT",
    INS_READ_BINARY: "READ BINARY",
    INS_READ_RECORD: "READ RECORD",
    INS_GET_RESPONSE: "GET RESPONSE",
    INS_ENVELOPE: "ENVELOPE",
    INS_UPDATE_BINARY: "UPDATE BINARY",
    INS_UPDATE_RECORD: "UPDATE RECORD",
    INS_STATUS: "STATUS",
    INS_GET_DATA: "GET DATA",
    INS_STORE_DATA: "STORE DATA",
}

# Status words: TS 102 221 clause 10.2.1; 61xx and 6Cxx: ISO/IEC 7816-4 clause 5.6.
SW_OK: Final = 0x9000
SW_PROACTIVE: Final = 0x9100
"""OK, and a proactive command of as many octets as the low octet says waits to be fetched."""
SW_MORE_DATA: Final = 0x6100
"""OK so far, and as many octets as the low octet says (00: 256 or more) wait for GET RESPONSE."""
SW_RETRIES_LEFT: Final = 0x63C0
SW_WRONG_LENGTH: Final = 0x6700
SW_CHANNEL_NOT_SUPPORTED: Final = 0x6881
SW_SECURE_MESSAGING_NOT_SUPPORTED: Final = 0x6882
SW_INCOMPATIBLE_FILE: Final = 0x6981
SW_SECURITY_STATUS_NOT_SATISFIED: Final = 0x6982
SW_REFERENCE_INVALIDATED: Final = 0x6984
SW_CONDITIONS_NOT_SATISFIED: Final = 0x6985
SW_NO_FILE_SELECTED: Final = 0x6986
SW_WRONG_DATA: Final = 0x6A80
SW_FILE_NOT_FOUND: Final = 0x6A82
SW_RECORD_NOT_FOUND: Final = 0x6A83
SW_WRONG_P1_P2: Final = 0x6A86
SW_LENGTH_AGAINST_P1_P2: Final = 0x6A87
SW_REFERENCE_NOT_FOUND: Final = 0x6A88
SW_WRONG_PARAMETERS: Final = 0x6B00
SW_EXACT_LENGTH: Final = 0x6C00
"""Nothing was done: Le has to be what the low octet says (00: 256)."""
SW_INS_NOT_SUPPORTED: Final = 0x6D00
SW_CLA_NOT_SUPPORTED: Final = 0x6E00
SW_TECHNICAL_PROBLEM: Final = 0x6F00


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandApdu:
    """CLA INS P1 P2 [Lc data] [Le]; *expected* is None without Le, and 256 for Le = 00."""

    cla: int
    ins: int
    p1: int = 0
    p2: int = 0
    data: bytes = field(default=b"", repr=False)
    expected: int | None = None

    def __post_init__(self) -> None:
        if not all(0 <= octet <= 0xFF for octet in (self.cla, self.ins, self.p1, self.p2)):
            raise ValueError("CLA, INS, P1 and P2 are single octets")
        if len(self.data) > MAX_DATA:
            raise ValueError(f"{len(self.data)} octets of data do not fit a short APDU")
        if self.expected is not None and not 1 <= self.expected <= 256:
            raise ValueError("a short APDU expects 1 to 256 octets")

    def encode(self) -> bytes:
        """Return the octets of the command."""
        octets = bytes((self.cla, self.ins, self.p1, self.p2))
        if self.data:
            octets += bytes((len(self.data),)) + self.data
        if self.expected is not None:
            octets += bytes((self.expected & 0xFF,))
        return octets

    @classmethod
    def parse(cls, octets: bytes) -> CommandApdu:
        """Read cases 1 to 4 of the short form. Raises ApduRejected when the lengths do not agree."""
        if len(octets) < HEADER_OCTETS:
            raise ApduRejected("apdu-too-short")
        cla, ins, p1, p2 = octets[:HEADER_OCTETS]
        body = octets[HEADER_OCTETS:]
        data, rest = b"", body
        if len(body) > 1:
            data, rest = body[1 : 1 + body[0]], body[1 + body[0] :]
            if not body[0] or len(data) != body[0]:
                raise ApduRejected("apdu-wrong-length")
        if len(rest) > 1:
            raise ApduRejected("apdu-wrong-length")
        expected = (rest[0] or 256) if rest else None
        return cls(cla=cla, ins=ins, p1=p1, p2=p2, data=data, expected=expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseApdu:
    """Data and status word."""

    data: bytes = field(default=b"", repr=False)
    status: int = SW_OK

    def encode(self) -> bytes:
        """Return the octets of the response."""
        return self.data + self.status.to_bytes(2, "big")

    @classmethod
    def parse(cls, octets: bytes) -> ResponseApdu:
        """Read a response. Raises ApduRejected when it has no status word."""
        if len(octets) < 2:
            raise ApduRejected("apdu-too-short")
        return cls(data=octets[:-2], status=int.from_bytes(octets[-2:], "big"))

    @property
    def is_good(self) -> bool:
        """Whether the command was done, with or without something that waits to be brought."""
        return self.status == SW_OK or self.status & 0xFF00 in (SW_PROACTIVE, SW_MORE_DATA)

    @property
    def proactive_length(self) -> int | None:
        """How many octets a FETCH will bring, or None when nothing waits."""
        return self.status & 0xFF if self.status & 0xFF00 == SW_PROACTIVE else None

    @property
    def remaining(self) -> int | None:
        """How many octets a GET RESPONSE will bring at most, or None when none wait."""
        return (self.status & 0xFF or 256) if self.status & 0xFF00 == SW_MORE_DATA else None
