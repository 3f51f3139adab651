"""Whole packets out of the octets of a TCP channel, where they stand one behind the other.

Only the identifier and the length of a packet are looked at; what is in it is for ``decode_command``,
``decode_response`` and ``parse_identification``, which take what comes out of here as it is.
"""

from __future__ import annotations

from typing import Final

from transport.ber_tlv import parse_length
from transport.errors import PacketRejected, TlvRejected
from transport.secured_packet.dialect import (
    COMMAND_IDENTIFIER,
    IDENTIFICATION_IDENTIFIER,
    MAX_PACKET,
    RESPONSE_IDENTIFIER,
    unidentified,
)

_IDENTIFIERS: Final = frozenset({COMMAND_IDENTIFIER, RESPONSE_IDENTIFIER, IDENTIFICATION_IDENTIFIER})
_LONGEST_HEAD: Final = 5  # the identifier and a length of four octets, which is over every limit already


class PacketStream:
    """The receiving side of a TCP channel: octets in, in pieces of any size, whole packets out.

    It holds one packet that is not whole yet, of at most *limit* octets (1..65535) behind its length. Each
    octet is looked at once, however small the pieces are.
    """

    __slots__ = ("_fault", "_held", "_limit", "_missing")

    def __init__(self, limit: int = MAX_PACKET) -> None:
        if not 1 <= limit <= MAX_PACKET:
            raise ValueError(f"a stream's limit is 1..{MAX_PACKET} octets, not {limit}")
        self._limit = limit
        self._held = bytearray()
        self._missing = 1  # octets without which there is no use in looking again
        self._fault: tuple[str, str] | None = None

    @property
    def held(self) -> int:
        """Octets of a packet that is not whole yet."""
        return len(self._held)

    @property
    def is_dead(self) -> bool:
        """Whether the stream came to what is no packet: nothing behind it can be found any more."""
        return self._fault is not None

    def receive(self, octets: bytes) -> list[bytes]:
        """Take the next *octets*; return the packets that they complete, each from its identifier on.

        PacketRejected (``stream-identifier``, ``stream-length``) is raised for what is no packet, and ever
        after. Whole packets that the same *octets* had ahead of it are returned first; the next call raises.
        """
        packets: list[bytes] = []
        if self._fault is None:
            self._held += octets
            self._missing -= len(octets)
            if self._missing <= 0:
                self._take(packets)
        if self._fault is not None and not packets:
            raise unidentified(*self._fault)
        return packets

    def _take(self, packets: list[bytes]) -> None:
        """Move what is whole from the octets held to *packets*."""
        held, at = bytes(self._held), 0
        try:
            while (end := self._end(held, at)) <= len(held):
                packets.append(held[at:end])
                at = end
        except PacketRejected as rejection:
            self._fault = rejection.reason, rejection.detail
            at, end = len(held), len(held)
        del self._held[:at]
        self._missing = end - len(held)

    def _end(self, held: bytes, at: int) -> int:
        """Return where the packet at *at* ends, or an end beyond *held* as far as is known."""
        if at == len(held):
            return at + 1
        if held[at] not in _IDENTIFIERS:
            raise unidentified("stream-identifier", f"no packet starts with {held[at]:02X}")
        try:
            length, start = parse_length(held[at : at + _LONGEST_HEAD], 1)
        except TlvRejected as rejection:
            if rejection.reason == "truncated":
                return len(held) + 1
            raise unidentified("stream-length", rejection.detail) from None
        if length > self._limit:
            raise unidentified("stream-length", f"{length} octets are over the limit of {self._limit}")
        return at + start + length
