"""What is said of a channel: how to open it, and how it stands (TS 102 223 clauses 6.6.27, 8.52 to 8.59)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from transport import ber_tlv
from transport.errors import TlvRejected
from transport.toolkit.tags import MAX_CHANNEL, Tag, TransportProtocol

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_BEARER: Final = 0x03
"""Bearer type "default bearer for requested transport layer", which has no parameters; from memory."""
LINK_DROPPED: Final = 0x05
"""Information of a channel status: the link is gone; from memory of TS 102 223 clause 8.56."""
MAX_ACCESS_NAME: Final = 100
"""Octets of an access point name (TS 23.003 clause 9.1)."""

_IPV4: Final = 0x21
_ESTABLISHED: Final = 0x80
_LABEL: Final = re.compile(rb"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOpening:
    """A channel to *port* of *address* (4 octets, IPv4), with *buffer* octets each way.

    *access_name* is an access point name, labels with dots between (TS 23.003 clause 9.1); empty: the
    terminal's own. *bearer_type* and *bearer_parameters* make the bearer description.
    """

    protocol: TransportProtocol
    port: int
    address: bytes
    buffer: int
    access_name: str = ""
    bearer_type: int = DEFAULT_BEARER
    bearer_parameters: bytes = b""

    def __post_init__(self) -> None:
        """Refuse what the objects cannot say."""
        if not 0 <= self.port <= 0xFFFF or not 1 <= self.buffer <= 0xFFFF:
            raise ValueError("a port is 0..65535 and a buffer 1..65535")
        if len(self.address) != 4:
            raise ValueError("an IPv4 address has 4 octets")
        if not 0 <= self.bearer_type <= 0xFF:
            raise ValueError("a bearer type is one octet")
        _labels(self.access_name)

    @property
    def bearer(self) -> bytes:
        """The value of the bearer description."""
        return bytes((self.bearer_type,)) + self.bearer_parameters

    def encode(self) -> bytes:
        """Return the objects of OPEN CHANNEL, in the order of TS 102 223 clause 6.6.27.2."""
        level = bytes((self.protocol,)) + self.port.to_bytes(2, "big")
        octets = ber_tlv.encode(Tag.BEARER_DESCRIPTION, self.bearer)
        octets += ber_tlv.encode(Tag.BUFFER_SIZE, self.buffer.to_bytes(2, "big"))
        if self.access_name:
            octets += ber_tlv.encode(Tag.ACCESS_NAME, _labels(self.access_name))
        octets += ber_tlv.encode(Tag.TRANSPORT_LEVEL, level)
        return octets + ber_tlv.encode(Tag.ADDRESS, bytes((_IPV4,)) + self.address)

    @classmethod
    def of(cls, tlvs: Sequence[ber_tlv.Tlv]) -> Self:
        """Return what *tlvs*, the objects of an OPEN CHANNEL, ask for. Raises TlvRejected, or ValueError.

        Of two addresses the first is the module's own, which is for the terminal to know; the last counts.
        """
        bearer = ber_tlv.require(tlvs, Tag.BEARER_DESCRIPTION).value
        buffer = ber_tlv.require(tlvs, Tag.BUFFER_SIZE).value
        level = ber_tlv.require(tlvs, Tag.TRANSPORT_LEVEL).value
        address = ber_tlv.require(tlvs[::-1], Tag.ADDRESS).value
        name = ber_tlv.find(tlvs, Tag.ACCESS_NAME)
        if not bearer or len(buffer) != 2 or len(level) != 3 or address[:1] != bytes((_IPV4,)):
            raise TlvRejected("bad-channel-opening")
        return cls(
            protocol=TransportProtocol(level[0]),
            port=int.from_bytes(level[1:], "big"),
            address=address[1:],
            buffer=int.from_bytes(buffer, "big"),
            access_name=_name(name.value) if name else "",
            bearer_type=bearer[0],
            bearer_parameters=bearer[1:],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStatus:
    """How *channel* (1..7; 0: there is none) stands: its link *established* or not, and *info* on that."""

    channel: int
    established: bool = False
    info: int = 0

    def __post_init__(self) -> None:
        """Refuse a channel that does not exist, and information that is no octet."""
        if not 0 <= self.channel <= MAX_CHANNEL or not 0 <= self.info <= 0xFF:
            raise ValueError("a channel is 0..7, its information one octet")

    def encode(self) -> bytes:
        """Return the two octets of the value (TS 102 223 clause 8.56)."""
        return bytes((self.channel | (_ESTABLISHED if self.established else 0), self.info))

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Read the value. Raises TlvRejected, also for the bits that only a TCP server has."""
        if len(octets) != 2 or octets[0] & ~(_ESTABLISHED | MAX_CHANNEL):
            raise TlvRejected("bad-channel-status")
        first, info = octets
        return cls(channel=first & MAX_CHANNEL, established=bool(first & _ESTABLISHED), info=info)


def _labels(name: str) -> bytes:
    """Return *name* with each label behind its length; ``ValueError`` for what is no access point name."""
    if not name:
        return b""
    labels = name.encode("ascii").split(b".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("a label is 1 to 63 letters, digits and inner hyphens")
    octets = b"".join(bytes((len(label),)) + label for label in labels)
    if len(octets) > MAX_ACCESS_NAME:
        raise ValueError(f"an access point name has at most {MAX_ACCESS_NAME} octets")
    return octets


def _name(octets: bytes) -> str:
    labels, rest = [], octets
    while rest:
        labels.append(rest[1 : 1 + rest[0]])
        rest = rest[1 + rest[0] :]
    name = b".".join(labels).decode("ascii")
    if not name or _labels(name) != octets:
        raise TlvRejected("bad-access-name")
    return name
