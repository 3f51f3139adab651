"""What the network below a channel carries, between a handset and a server: connections and datagrams.

This is not a format of TS 102 223: it stands for the IP network, of which it keeps what matters to a channel.
Layout: kind (1), connection (2), port of the server (2), sequence (4), payload; numbers big-endian. A
connection's number is the handset's. ``sequence`` is how many octets of payload were sent before on this
connection in this direction (mod 2^32), so that what comes twice can be told; a datagram has none, its is 0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from transport.errors import BipRejected

HEADER_OCTETS: Final = 9
MAX_PAYLOAD: Final = 0xFFFF

_HEADER: Final = struct.Struct(">BHHI")


class LinkKind(IntEnum):
    """What a PDU does: opens, accepts, refuses, feeds or closes a connection, or is a datagram."""

    OPEN = 1
    ACCEPT = 2
    REFUSE = 3
    DATA = 4
    CLOSE = 5
    DATAGRAM = 6


_WITH_PAYLOAD: Final = frozenset({LinkKind.DATA, LinkKind.DATAGRAM})


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkPdu:
    """One PDU; only DATA (never empty) and DATAGRAM have a *payload*, and a DATAGRAM's *sequence* is 0.

    ``ValueError`` for anything else, and for a number that does not fit its octets.
    """

    kind: LinkKind
    connection: int
    port: int
    sequence: int = 0
    payload: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        """Refuse what the octets cannot say."""
        if not 0 <= self.connection <= 0xFFFF or not 0 <= self.port <= 0xFFFF:
            raise ValueError("a connection and a port have two octets")
        if not 0 <= self.sequence <= 0xFFFFFFFF or (self.kind is LinkKind.DATAGRAM and self.sequence):
            raise ValueError("a sequence has four octets; a datagram has none")
        if self.payload and self.kind not in _WITH_PAYLOAD:
            raise ValueError(f"{self.kind.name} has no payload")
        if len(self.payload) > MAX_PAYLOAD or (self.kind is LinkKind.DATA and not self.payload):
            raise ValueError(f"{len(self.payload)} octets are no payload")

    def encode(self) -> bytes:
        """Return the octets."""
        return _HEADER.pack(self.kind, self.connection, self.port, self.sequence) + self.payload

    @classmethod
    def parse(cls, octets: bytes) -> LinkPdu:
        """Read a PDU. Raises BipRejected: ``link-too-short``, ``link-kind`` or ``link-value``."""
        if len(octets) < HEADER_OCTETS:
            raise BipRejected("link-too-short")
        kind, connection, port, sequence = _HEADER.unpack_from(octets)
        if kind not in set(LinkKind):
            raise BipRejected("link-kind", f"kind {kind}")
        try:
            return cls(
                kind=LinkKind(kind),
                connection=connection,
                port=port,
                sequence=sequence,
                payload=octets[HEADER_OCTETS:],
            )
        except ValueError as error:
            raise BipRejected("link-value", str(error)) from None
