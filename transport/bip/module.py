"""The module's side of one channel: what to ask of the terminal, and what to make of its answers.

``open``, ``send`` and ``close`` say what is wanted; ``commands`` gives the next proactive command for it,
``responded`` takes the terminal's word on that and ``event`` what the terminal tells by itself; ``received``
gives what came. At most one command of a channel is out at a time: ``commands`` gives nothing more until
``responded``. What came is fetched before anything is sent, so that the terminal's buffer does not fill.

Over TCP each chunk is sent as it is asked for. Over UDP a datagram is stored chunk by chunk in the
terminal's Tx buffer, and the last chunk sends the whole. In the other direction a datagram ends where the
terminal says that nothing remains; WIRE facts' terminal counts each datagram for itself. With a terminal that
counts on into the next one, what ``received`` gives would be several datagrams in one piece.

Nothing here grows without bound: ``send`` refuses what is over ``room``, and what is not taken out with
``received`` keeps the module from fetching more.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from transport.bip.states import MODULE_TRANSITIONS, ChannelEvent, ChannelState, step
from transport.toolkit import (
    ESTABLISH_NOW,
    MAX_RECEIVE_DATA,
    MAX_SEND_DATA,
    SEND_NOW,
    STORE,
    BipCause,
    CommandType,
    EventCode,
    ProactiveCommand,
    TerminalResult,
    TransportProtocol,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from transport.toolkit import ChannelOpening, Envelope, TerminalResponse

SEND_LIMIT: Final = 0x10000
RECEIVE_LIMIT: Final = 0x10000


class ModuleChannel:
    """One channel that the module has, wants, or wants no more.

    *send_limit* bounds the octets that wait to be sent, *receive_limit* those that wait to be taken out: when
    there are so many, no more are fetched; a datagram that is longer ends the channel. ``ValueError`` for a
    limit under what one command carries.
    """

    def __init__(
        self,
        opening: ChannelOpening,
        *,
        send_limit: int = SEND_LIMIT,
        receive_limit: int = RECEIVE_LIMIT,
    ) -> None:
        if min(send_limit, receive_limit) < MAX_RECEIVE_DATA:
            raise ValueError(f"a limit is {MAX_RECEIVE_DATA} octets or more")
        self._opening = opening
        self._send_limit = send_limit
        self._receive_limit = receive_limit
        self._is_udp = opening.protocol is TransportProtocol.UDP_CLIENT
        self._state = ChannelState.CLOSED
        self._reason = ""
        self._channel = 0
        self._buffer = 0
        self._asked: ProactiveCommand | None = None
        self._to_send: deque[bytearray] = deque()
        self._queued = 0
        self._available = 0
        self._partial = bytearray()
        self._received: deque[bytes] = deque()
        self._kept = 0

    # what is wanted ---------------------------------------------------------------------------------------

    def open(self) -> None:
        """Want the channel; ``ValueError`` unless it is CLOSED and the last CLOSE CHANNEL is answered."""
        self._happens(ChannelEvent.OPEN)
        self._reason = ""

    def send(self, octets: bytes) -> None:
        """Queue *octets*: over TCP the next of the stream, over UDP one datagram.

        ``ValueError`` when the channel is not OPEN, for no octets, for more than ``room`` and for a datagram
        over ``buffer``.
        """
        if self._state is not ChannelState.OPEN:
            raise ValueError(f"nothing is sent on a channel that is {self._state.name}")
        if not 1 <= len(octets) <= self.room:
            raise ValueError(f"{len(octets)} octets to send, where 1..{self.room} can be")
        if self._is_udp and len(octets) > self._buffer:
            raise ValueError(f"a datagram of {len(octets)} octets is over the buffer of {self._buffer}")
        self._to_send.append(bytearray(octets))
        self._queued += len(octets)

    def close(self) -> None:
        """Want the channel no more: what is still queued is dropped (see ``idle``). Never refused."""
        self._drop()
        known = self._channel or self._asked is not None
        self._happens(ChannelEvent.CLOSE if known else ChannelEvent.FORGET)

    # what there is ----------------------------------------------------------------------------------------

    @property
    def state(self) -> ChannelState:
        """Where the channel stands."""
        return self._state

    @property
    def channel(self) -> int:
        """The channel's number (1..7), or 0 while the terminal has given none."""
        return self._channel

    @property
    def buffer(self) -> int:
        """The buffer size that the terminal has granted, or 0."""
        return self._buffer

    @property
    def reason(self) -> str:
        """Why the channel FAILED: a short stable code; empty before."""
        return self._reason

    @property
    def room(self) -> int:
        """Octets that ``send`` would queue now."""
        return self._send_limit - self._queued

    @property
    def idle(self) -> bool:
        """Whether nothing is queued and no command is out: all that was sent has reached the terminal."""
        return not self._to_send and self._asked is None

    # the terminal -----------------------------------------------------------------------------------------

    def commands(self) -> list[ProactiveCommand]:
        """Return the next thing to ask of the terminal, if there is one and nothing else is out."""
        if self._asked is None:
            self._asked = self._next()
            return [] if self._asked is None else [self._asked]
        return []

    def responded(self, command: ProactiveCommand, response: TerminalResponse) -> None:
        """Take the terminal's *response* to *command*; ``ValueError`` when that is not out."""
        if command != self._asked:
            raise ValueError("this command is not out")
        self._asked = None
        _ON_RESPONSE[command.type](self, command, response)

    def event(self, envelope: Envelope) -> None:
        """Take what the terminal tells of channels; what is of another one, or comes late, is let alone."""
        status = envelope.channel_status
        if self._state is not ChannelState.OPEN or status is None or status.channel != self._channel:
            return
        if envelope.event is EventCode.DATA_AVAILABLE:
            self._available = max(self._available, envelope.length or 0)
        elif not status.established:
            self._fail("link-dropped")

    def received(self) -> list[bytes]:
        """Return, once, what came: over UDP one entry for each datagram, over TCP pieces of the stream."""
        pieces = list(self._received)
        self._received.clear()
        self._kept = 0
        return pieces

    def _next(self) -> ProactiveCommand | None:
        if self._state is ChannelState.OPENING:
            return ProactiveCommand(
                type=CommandType.OPEN_CHANNEL, qualifier=ESTABLISH_NOW, opening=self._opening
            )
        if self._state is ChannelState.CLOSING:
            return ProactiveCommand(type=CommandType.CLOSE_CHANNEL, channel=self._channel)
        if self._available and self._kept < self._receive_limit:
            length = min(self._available, MAX_RECEIVE_DATA)
            return ProactiveCommand(type=CommandType.RECEIVE_DATA, channel=self._channel, length=length)
        return self._chunk() if self._to_send else None

    def _chunk(self) -> ProactiveCommand:
        octets = self._to_send[0]
        chunk = bytes(octets[: min(MAX_SEND_DATA, self._buffer)])
        is_last = len(chunk) == len(octets)
        return ProactiveCommand(
            type=CommandType.SEND_DATA,
            qualifier=SEND_NOW if is_last or not self._is_udp else STORE,
            channel=self._channel,
            data=chunk,
        )

    # its answers ------------------------------------------------------------------------------------------

    def _opened(self, command: ProactiveCommand, response: TerminalResponse) -> None:
        fault, status = _fault(command, response), response.channel_status
        if not fault and (status is None or not status.established or not status.channel):
            fault = "not-established"
        if not fault and status is not None:
            self._channel = status.channel
            self._buffer = response.buffer or self._opening.buffer
            self._happens(ChannelEvent.OPENED)
        elif self._state is ChannelState.CLOSING:
            self._happens(ChannelEvent.GONE)
        else:
            self._fail(fault)

    def _sent(self, command: ProactiveCommand, response: TerminalResponse) -> None:
        fault = _fault(command, response)
        if self._state is not ChannelState.OPEN:
            return
        if fault:
            self._fail(fault)
            return
        self._queued -= len(command.data)
        octets = self._to_send[0]
        del octets[: len(command.data)]
        if not octets:
            self._to_send.popleft()

    def _fetched(self, command: ProactiveCommand, response: TerminalResponse) -> None:
        fault = _fault(command, response)
        if self._state is not ChannelState.OPEN:
            return
        if not fault and len(response.data) > command.length:
            fault = "too-much-data"
        if fault:
            self._fail(fault)
            return
        # A terminal that says that more is there and brings nothing is not asked for ever.
        self._available = (response.length or 0) if response.data else 0
        self._partial += response.data
        if len(self._partial) > self._receive_limit:
            self._fail("datagram-too-long")
        elif self._partial and not (self._is_udp and self._available):
            self._received.append(bytes(self._partial))
            self._kept += len(self._partial)
            self._partial.clear()

    def _closed(self, _command: ProactiveCommand, _response: TerminalResponse) -> None:
        """Take it that the channel is gone: what the terminal cannot close, it does not have."""
        self._happens(ChannelEvent.GONE)

    def _fail(self, reason: str) -> None:
        self._happens(ChannelEvent.FAILED)
        self._reason = reason
        self._drop()

    def _drop(self) -> None:
        self._to_send.clear()
        self._queued = 0
        self._partial.clear()
        self._available = 0

    def _happens(self, event: ChannelEvent) -> None:
        self._state = step(MODULE_TRANSITIONS, self._state, event)
        if self._state is ChannelState.CLOSED:
            self._channel = self._buffer = 0


def _fault(command: ProactiveCommand, response: TerminalResponse) -> str:
    """Return why *command* was not performed, as a short stable code; empty when it was."""
    if response.type is not command.type:
        return "wrong-response"
    if response.result.is_good:
        return ""
    if response.result is not TerminalResult.BIP_ERROR:
        return response.result.name.lower().replace("_", "-")
    cause = next((known for known in BipCause if known == response.cause), BipCause.NO_SPECIFIC_CAUSE)
    return "bip-" + cause.name.lower().replace("_", "-")


# SLF001: the class's own table.
_ON_RESPONSE: Final[
    Mapping[CommandType, Callable[[ModuleChannel, ProactiveCommand, TerminalResponse], None]]
] = {
    CommandType.OPEN_CHANNEL: ModuleChannel._opened,  # noqa: SLF001
    CommandType.SEND_DATA: ModuleChannel._sent,  # noqa: SLF001
    CommandType.RECEIVE_DATA: ModuleChannel._fetched,  # noqa: SLF001
    CommandType.CLOSE_CHANNEL: ModuleChannel._closed,  # noqa: SLF001
}
