"""One secure connection between two roles, as one of them holds it: packets out and packets in.

What is said travels as the data of a command packet of TS 102 225: the reference of its question, then the
message. Each direction has keys of its own, so a question is no reply and what is reflected does not hold;
the counter that the sender counts up is good for one packet, in whatever order they come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.errors import MessageRejected
from bus.frame import REFERENCE_OCTETS
from transport.secured_packet import (
    TCP,
    CounterMode,
    Integrity,
    SecurityParameters,
    decode_command,
    encode_command,
    parse_header,
)

if TYPE_CHECKING:
    from agents.directory import Party
    from transport.security.keyset import SessionKeys

LINK_TAR: Final = bytes(3)
"""What roles say to each other is for no resource, and no resource is 000000: from memory of TS 101 220
annex D, that is the issuer's own domain on a card, and our operator gives out A00001 and on."""
SECURED: Final = SecurityParameters(counter=CounterMode.HIGHER, ciphering=True, integrity=Integrity.CC)
"""As towards a resource, but for its proof of receipt: the reply is one, and a packet of its own."""
COUNTER_WINDOW: Final = 16_384
"""How far behind the latest a counter may come in: a question is asked again after ten seconds, and behind
all that was asked meanwhile."""


class Window:
    """Which counters were heard: bit *n* stands for the counter *latest* - *n*."""

    def __init__(self) -> None:
        self._latest = 0
        self._bits = 0

    def has(self, counter: int) -> bool:
        """Say whether *counter* was heard. Raises MessageRejected (``stale``) if it is too old to tell."""
        behind = self._latest - counter
        if behind >= COUNTER_WINDOW:
            raise MessageRejected("stale")
        return behind >= 0 and bool(self._bits >> behind & 1)

    def hear(self, counter: int) -> None:
        """Take note of a counter that is not too old."""
        ahead = counter - self._latest
        if ahead > 0:
            # Shifted no further than the window is wide: a counter of five octets may leap.
            self._bits = self._bits << min(ahead, COUNTER_WINDOW) & ((1 << COUNTER_WINDOW) - 1)
            self._latest = counter
        self._bits |= 1 << (self._latest - counter)

    def forget(self, counter: int) -> None:
        """Let a counter that was just heard be new again."""
        self._bits &= ~(1 << (self._latest - counter))


class Session:
    """A session with *peer*, as it was known when they shook hands; *asks*: we are the asker."""

    def __init__(self, *, label: bytes, peer: Party, keys: SessionKeys, asks: bool) -> None:
        self.label = label
        self.peer = peer
        # The opening side of a handshake is the one that has the module's part in it.
        ways = (keys.from_module, keys.to_module)
        self._outward, self._inward = ways if asks else ways[::-1]
        self._counter = 0
        self.window = Window()

    def protect(self, octets: bytes, reference: bytes) -> bytes:
        """Return the packet that brings *octets* to the other side, under the next counter."""
        self._counter += 1
        return encode_command(
            spi=SECURED,
            tar=LINK_TAR,
            data=reference + octets,
            counter=self._counter,
            keys=self._outward,
            dialect=TCP,
        )

    def open(self, packet: bytes) -> tuple[bytes, bytes, int, bool]:
        """Return reference, octets and counter of a packet from the other side, and if it came before.

        Raises PacketRejected, or MessageRejected: "wrong-protection", "stale", "no-reference".
        """
        header = parse_header(packet, TCP)
        if (header.spi, header.tar) != (SECURED, LINK_TAR):
            # What a packet says of its own protection is taken at its word by whoever opens it.
            raise MessageRejected("wrong-protection")
        opened = decode_command(packet, self._inward, TCP)
        again = self.window.has(opened.counter)
        if len(opened.data) < REFERENCE_OCTETS:
            raise MessageRejected("no-reference")
        self.window.hear(opened.counter)
        data = opened.data
        return data[:REFERENCE_OCTETS], data[REFERENCE_OCTETS:], opened.counter, again
