"""One channel of a terminal's: its state, its Tx buffer and its Rx buffer."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from transport.bip.objects import Connect, Disconnect, Transmit
from transport.bip.states import TERMINAL_TRANSITIONS, TerminalEvent, TerminalState, step
from transport.toolkit import (
    LINK_DROPPED,
    ChannelStatus,
    TerminalResponse,
    TerminalResult,
    TransportProtocol,
)

if TYPE_CHECKING:
    from transport.toolkit import ChannelOpening, ProactiveCommand


class Channel:
    """One channel, with buffers of *granted* octets each, as *command* with *opening* asked for it."""

    __slots__ = ("_held", "_opening", "_received", "_stored", "command", "granted", "number", "state")

    def __init__(self, number: int, command: ProactiveCommand, opening: ChannelOpening, granted: int) -> None:
        self.number = number
        self.command = command
        self.granted = granted
        self.state = TerminalState.FREE
        self._opening = opening
        self._stored = bytearray()
        self._received: deque[bytearray] = deque()  # UDP: the datagrams; TCP: the stream, in one piece
        self._held = 0

    def happens(self, event: TerminalEvent) -> None:
        """Go to the state that *event* leads to; ``ValueError`` when it leads to none."""
        self.state = step(TERMINAL_TRANSITIONS, self.state, event)

    @property
    def is_linked(self) -> bool:
        """Whether the network knows of the channel."""
        return self.state in (TerminalState.CONNECTING, TerminalState.UP)

    @property
    def status(self) -> ChannelStatus:
        """How the channel stands, for the module."""
        is_up = self.state is TerminalState.UP
        return ChannelStatus(channel=self.number, established=is_up, info=0 if is_up else LINK_DROPPED)

    def opened(self) -> TerminalResponse:
        """Return the response to the OPEN CHANNEL that has come about."""
        cut = self.granted < self._opening.buffer
        return TerminalResponse.to(
            self.command,
            TerminalResult.PERFORMED_WITH_MODIFICATION if cut else TerminalResult.OK,
            channel_status=self.status,
            bearer=self._opening.bearer,
            buffer=self.granted,
        )

    def connect(self) -> Connect:
        """Return the action that links the channel."""
        return Connect(
            channel=self.number,
            protocol=self._opening.protocol,
            port=self._opening.port,
            address=self._opening.address,
        )

    def disconnect(self) -> Disconnect:
        """Return the action that unlinks the channel."""
        return Disconnect(
            channel=self.number,
            protocol=self._opening.protocol,
            port=self._opening.port,
            address=self._opening.address,
        )

    # Tx ---------------------------------------------------------------------------------------------------

    @property
    def stored(self) -> int:
        """Octets that wait in the Tx buffer."""
        return len(self._stored)

    @property
    def tx_room(self) -> int:
        """Octets that the Tx buffer still takes."""
        return self.granted - len(self._stored)

    def store(self, octets: bytes) -> None:
        """Put *octets*, at most ``tx_room``, into the Tx buffer."""
        self._stored += octets

    def flush(self) -> Transmit:
        """Empty the Tx buffer; return the action that sends what was in it."""
        octets = bytes(self._stored)
        self._stored.clear()
        return Transmit(
            channel=self.number,
            protocol=self._opening.protocol,
            port=self._opening.port,
            address=self._opening.address,
            octets=octets,
        )

    # Rx ---------------------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """Octets that the Rx buffer still takes."""
        return self.granted - self._held

    @property
    def available(self) -> int:
        """Octets that can be fetched before the next datagram; of TCP, all there are."""
        return len(self._received[0]) if self._received else 0

    def take(self, octets: bytes) -> bool:
        """Put *octets*, at most ``room``, into the Rx buffer; say whether it had been empty till then."""
        if not octets:
            return False
        was_empty = not self._received
        if was_empty or self._opening.protocol is TransportProtocol.UDP_CLIENT:
            self._received.append(bytearray())
        self._received[-1] += octets
        self._held += len(octets)
        return was_empty

    def fetch(self, wanted: int) -> bytes:
        """Take at most *wanted* octets out of the Rx buffer, of the first datagram alone."""
        if not self._received:
            return b""
        first = self._received[0]
        octets = bytes(first[:wanted])
        del first[:wanted]
        if not first:
            self._received.popleft()
        self._held -= len(octets)
        return octets
