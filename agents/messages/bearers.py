"""The bearers that a service can name, where a server is, which broadcasts are whose."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self

from transport.cell_broadcast import FORMATTED_PACKETS
from transport.secured_packet import CAT_TP, TCP, Dialect
from transport.toolkit import TransportProtocol

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVER_OCTETS: Final = 8
SMS: Final = "sms"
"""The bearer that needs no server, and every handset has. Names are those of ``bus.frame.Bearer``."""
ANNOUNCEMENTS: Final = 0x1080
"""The message identifier of an operator's announcements: the first for secured data download (TS 23.041)."""
GLOBAL_SERVICES: Final = range(ANNOUNCEMENTS + 1, FORMATTED_PACKETS.stop)
"""Those that an operator gives its global services, each its own, from the first on."""
TERMINAL_LACKS: Final = "terminal-lacks-"
"""What a module's reason begins with why it cannot open a channel, or ask for something else: its handset."""
BIP_TCP: Final = "bip-tcp"
BIP_UDP: Final = "bip-udp"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelBearer:
    """A bearer that is a channel: its transport protocol below, and how packets are written on it."""

    protocol: TransportProtocol
    dialect: Dialect


CHANNEL_BEARERS: Final[Mapping[str, ChannelBearer]] = MappingProxyType(
    {
        BIP_TCP: ChannelBearer(protocol=TransportProtocol.TCP_CLIENT, dialect=TCP),
        BIP_UDP: ChannelBearer(protocol=TransportProtocol.UDP_CLIENT, dialect=CAT_TP),
    }
)
BEARERS: Final = frozenset({SMS, *CHANNEL_BEARERS})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """A server on the packet network: IPv4 address, and a port for each transport protocol."""

    host: IPv4Address
    tcp_port: int
    udp_port: int

    def encode(self) -> bytes:
        """Return the 8 octets that a reservation carries."""
        return self.host.packed + self.tcp_port.to_bytes(2, "big") + self.udp_port.to_bytes(2, "big")

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Read what ``encode`` wrote; ValueError for another length."""
        if len(octets) != SERVER_OCTETS:
            raise ValueError(f"a server's address is {SERVER_OCTETS} octets, not {len(octets)}")
        return cls(
            host=IPv4Address(octets[:4]),
            tcp_port=int.from_bytes(octets[4:6], "big"),
            udp_port=int.from_bytes(octets[6:8], "big"),
        )

    def port(self, protocol: TransportProtocol) -> int:
        """Return the port for *protocol*."""
        return self.tcp_port if protocol is TransportProtocol.TCP_CLIENT else self.udp_port
