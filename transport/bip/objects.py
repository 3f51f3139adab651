"""The values between the terminal's rules and the handset around them: steps, and the actions in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from transport.toolkit import MAX_CHANNEL

if TYPE_CHECKING:
    from transport.toolkit import TerminalResponse, TransportProtocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelLimits:
    """What a terminal has: *channels* (1..7) at a time, and octets of each buffer by transport protocol.

    The defaults are those of a terminal that was on the market.
    """

    channels: int = MAX_CHANNEL
    tcp_buffer: int = 16384
    udp_buffer: int = 1500

    def __post_init__(self) -> None:
        """Refuse a terminal that could not open a channel."""
        if not 1 <= self.channels <= MAX_CHANNEL:
            raise ValueError(f"a terminal has 1..{MAX_CHANNEL} channels")
        if not all(1 <= size <= 0xFFFF for size in (self.tcp_buffer, self.udp_buffer)):
            raise ValueError("a buffer has 1..65535 octets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """Open a TCP connection and tell ``connected`` or ``refused``; or take a UDP port, and say nothing."""

    channel: int
    protocol: TransportProtocol
    port: int
    address: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Transmit:
    """Send *octets*: over TCP the next of the stream, over UDP one datagram."""

    channel: int
    protocol: TransportProtocol
    port: int
    address: bytes
    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnect:
    """Close the TCP connection, or give the UDP port back."""

    channel: int
    protocol: TransportProtocol
    port: int
    address: bytes


Action: TypeAlias = Connect | Transmit | Disconnect


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a command comes to: *actions* in their order, and the *response*; None: a Connect brings it."""

    response: TerminalResponse | None
    actions: tuple[Action, ...] = ()
