"""The dialects of secured packets: what stands ahead of CHL and RHL, and what a checksum covers before it.

TS 102 225 has identifiers and BER lengths; TS 31.115 writes them for short messages and pages with lengths of
two octets, where a user-data header or a range of message identifiers says what it is. From CHL and RHL on
all dialects are the same octets.

============== =========================== ======================== ==================================
dialect        ahead of a command's CHL    ahead of a response's    a response's checksum starts with
============== =========================== ======================== ==================================
SMS            CPL 2                       RPL 2                    02 71 00, its user-data header
CELL_BROADCAST CPL 2                       there is no response     --
CAT_TP, TCP    01, CPL as BER has it       02, RPL likewise         02, RPL: nothing that it is without
============== =========================== ======================== ==================================

CPL and RPL count the octets that follow them. CHL and RHL are one octet in each: they never reach 80.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from transport.ber_tlv import encode_length, parse_length
from transport.errors import PacketRejected, TlvRejected
from transport.secured_packet.status import ResponseStatus

MAX_PACKET: Final = 0xFFFF
"""What CPL and RPL count at most: all that two octets can say in SMS, and our limit in the others."""
COMMAND_IDENTIFIER: Final = 0x01  # CPI
RESPONSE_IDENTIFIER: Final = 0x02  # RPI
IDENTIFICATION_IDENTIFIER: Final = 0x03
RESPONSE_USER_DATA_HEADER: Final = bytes.fromhex("027100")
"""UDHL, IEI 71 (response packet identifier), no data; also what the checksum of a response starts with."""


class Framing(Protocol):
    """What stands ahead of CHL or RHL."""

    @property
    def covered(self) -> bytes:
        """What the checksum covers ahead of the packet."""
        ...

    def head(self, length: int) -> bytes:
        """Return the octets ahead of *length* octets."""
        ...

    def start(self, octets: bytes) -> int:
        """Return where CHL or RHL stands; PacketRejected unless *octets* are one packet, by its lengths."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoOctetLength:
    """A length of two octets, and nothing else; *name* is what a rejection calls it."""

    name: str
    covered: bytes = b""

    def head(self, length: int) -> bytes:
        """Return the two octets."""
        return length.to_bytes(2, "big")

    def start(self, octets: bytes) -> int:
        """Return 2; PacketRejected unless the length is that of what follows it."""
        if len(octets) < 2 or octets[0] << 8 | octets[1] != len(octets) - 2:
            raise unidentified(self.name, f"{self.name} is not that of {len(octets)} octets")
        return 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BerLength:
    """An identifier and a length as BER has it, in its shortest form; the checksum covers both."""

    identifier: int
    name: str
    covered: bytes = field(default=b"", init=False)

    def head(self, length: int) -> bytes:
        """Return identifier and length."""
        return bytes((self.identifier,)) + encode_length(length)

    def start(self, octets: bytes) -> int:
        """Return where the value starts; PacketRejected unless it is of the length that is said."""
        if not octets or octets[0] != self.identifier:
            raise unidentified("identifier", f"no packet of the kind {self.identifier:02X}")
        try:
            length, start = parse_length(octets, 1)
        except TlvRejected as rejection:
            raise unidentified(self.name, str(rejection)) from None
        if length != len(octets) - start or length > MAX_PACKET:
            raise unidentified(self.name, f"{self.name} is {length}, {len(octets) - start} octets follow it")
        return start


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a bearer writes packets; ``response`` is None where it carries none."""

    name: str
    command: Framing
    response: Framing | None


SMS: Final = Dialect(
    name="sms",
    command=TwoOctetLength(name="cpl"),
    response=TwoOctetLength(name="rpl", covered=RESPONSE_USER_DATA_HEADER),
)
"""TS 31.115 §4: behind the user-data header ``02 70 00`` (command) or ``02 71 00`` (response)."""
CELL_BROADCAST: Final = Dialect(name="cell-broadcast", command=SMS.command, response=None)
"""TS 31.115 §5: the message identifiers of secured data download play the part of the identifier."""
CAT_TP: Final = Dialect(
    name="cat-tp",
    command=BerLength(identifier=COMMAND_IDENTIFIER, name="cpl"),
    response=BerLength(identifier=RESPONSE_IDENTIFIER, name="rpl"),
)
"""One packet is one service data unit of CAT_TP."""
TCP: Final = Dialect(name="tcp", command=CAT_TP.command, response=CAT_TP.response)
"""Packets one behind the other (``PacketStream``)."""


def unidentified(reason: str, detail: str) -> PacketRejected:
    """Return the rejection of octets that are not what their frame says (status 06)."""
    return PacketRejected(ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, reason, detail)
