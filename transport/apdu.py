"""Command and response APDUs (ISO/IEC 7816-4 clause 5), in their short form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from transport.errors import ApduRejected

HEADER_OCTETS: Final = 4
MAX_DATA: Final = 255

# Status words: ISO/IEC 7816-4 clause 5.6; 91xx of TS 102 221 clause 14.1.2.
SW_OK: Final = 0x9000
SW_PROACTIVE: Final = 0x9100
"""OK, and a proactive command of as many octets as the low octet says waits to be fetched."""
SW_WRONG_LENGTH: Final = 0x6700
SW_CONDITIONS_NOT_SATISFIED: Final = 0x6985
SW_WRONG_DATA: Final = 0x6A80
SW_FILE_NOT_FOUND: Final = 0x6A82
SW_WRONG_PARAMETERS: Final = 0x6B00
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
        """Whether the command was done, with or without a proactive command that waits."""
        return self.status == SW_OK or self.proactive_length is not None

    @property
    def proactive_length(self) -> int | None:
        """How many octets a FETCH will bring, or None when nothing waits."""
        return self.status & 0xFF if self.status & 0xFF00 == SW_PROACTIVE else None
