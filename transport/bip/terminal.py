"""The terminal's side of channels: their buffers, what the module asks of them, what it is told (clause 6.4).

The shell hands each proactive command that concerns channels to ``command`` and does the actions that come
back. What the network brings goes to ``received`` and ``dropped``, and ``events`` are the envelopes that the
module then gets. Buffers have the size that the module was granted; nothing else grows.

From memory of TS 102 223: data available is told when data comes into an empty buffer, and not again until
the module has emptied it. For UDP the buffer shows one datagram at a time, so lengths are of that datagram
alone (WIRE facts' terminal does so too); the next one then counts as data that comes into an empty buffer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from transport.bip.buffers import Channel
from transport.bip.objects import ChannelLimits, Disconnect, Step
from transport.bip.states import TerminalEvent, TerminalState
from transport.toolkit import (
    MANY,
    MAX_RECEIVE_DATA,
    SEND_NOW,
    BipCause,
    ChannelStatus,
    CommandType,
    Envelope,
    EventCode,
    ProactiveCommand,
    Tag,
    TerminalResponse,
    TerminalResult,
    TransportProtocol,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _refused(command: ProactiveCommand, cause: BipCause) -> Step:
    return Step(response=TerminalResponse.to(command, TerminalResult.BIP_ERROR, cause=cause))


class TerminalChannels:
    """The channels of one terminal."""

    def __init__(self, profile: ChannelLimits | None = None) -> None:
        self._profile = profile or ChannelLimits()
        self._channels: dict[int, Channel] = {}
        self._wanted: frozenset[EventCode] = frozenset()
        self._to_tell: dict[tuple[int, EventCode], None] = {}  # in order, each once

    def command(self, command: ProactiveCommand) -> Step:
        """Do what the module asks. A command that is not of channels is beyond what is known here (30)."""
        handler = _HANDLERS.get(command.type)
        if handler is None:
            return Step(response=TerminalResponse.to(command, TerminalResult.BEYOND_CAPABILITIES))
        return handler(self, command)

    def connected(self, channel: int) -> TerminalResponse:
        """Take it that the connection of *channel* is up; return the response to OPEN CHANNEL.

        ``ValueError`` when no connection was asked for.
        """
        found = self._connecting(channel)
        found.happens(TerminalEvent.CONNECTED)
        return found.opened()

    def refused(self, channel: int, *, network: bool = True) -> TerminalResponse:
        """Take it that there will be no connection of *channel*; return the response to OPEN CHANNEL.

        Without *network* the fault is nearer than the server. ``ValueError`` when none was asked for.
        """
        found = self._connecting(channel)
        found.happens(TerminalEvent.REFUSED)
        del self._channels[channel]
        if not network:
            return TerminalResponse.to(found.command, TerminalResult.NETWORK_UNABLE)
        cause = BipCause.REMOTE_NOT_REACHABLE
        return TerminalResponse.to(found.command, TerminalResult.BIP_ERROR, cause=cause)

    def received(self, channel: int, octets: bytes) -> bool:
        """Take what the network brought for *channel*: all of it, or none (False).

        None of it fits when there are more octets than ``room``, or when the channel is not up. The shell
        then keeps what is of TCP, and drops a datagram. A datagram without octets is dropped here.
        """
        found = self._channels.get(channel)
        if found is None or found.state is not TerminalState.UP or len(octets) > found.room:
            return False
        if found.take(octets):
            self._tell(channel, EventCode.DATA_AVAILABLE)
        return True

    def dropped(self, channel: int) -> None:
        """Take it that the link of *channel* is gone; a channel that there is not cannot lose one."""
        found = self._channels.get(channel)
        if found is None:
            return
        was_up = found.state is TerminalState.UP
        found.happens(TerminalEvent.DROPPED)
        if was_up:
            self._tell(channel, EventCode.CHANNEL_STATUS)

    def close_all(self) -> tuple[Disconnect, ...]:
        """Forget every channel and what the module wanted to be told; return what to disconnect."""
        ended = tuple(found.disconnect() for found in self._channels.values() if found.is_linked)
        self._channels.clear()
        self._to_tell.clear()
        self._wanted = frozenset()
        return ended

    def room(self, channel: int) -> int:
        """Return how many octets ``received`` would take now."""
        found = self._channels.get(channel)
        return found.room if found is not None and found.state is TerminalState.UP else 0

    def state(self, channel: int) -> TerminalState:
        """Return where *channel* stands."""
        found = self._channels.get(channel)
        return TerminalState.FREE if found is None else found.state

    def events(self) -> list[Envelope]:
        """Return, once, what the module is to be told, in the order it happened."""
        told = [(self._channels[channel], event) for channel, event in self._to_tell]
        self._to_tell.clear()
        # What was fetched before it could be told is no news.
        return [
            self._envelope(found, event)
            for found, event in told
            if event is not EventCode.DATA_AVAILABLE or found.available
        ]

    # the commands -----------------------------------------------------------------------------------------

    def _open(self, command: ProactiveCommand) -> Step:
        opening = command.opening
        assert opening is not None, "an OPEN CHANNEL has one"
        number = next((n for n in range(1, self._profile.channels + 1) if n not in self._channels), None)
        largest = self._largest(opening.protocol)
        if largest is None:
            return _refused(command, BipCause.TRANSPORT_LEVEL_NOT_AVAILABLE)
        if number is None:
            return _refused(command, BipCause.NO_CHANNEL_AVAILABLE)
        found = Channel(number, command, opening, min(opening.buffer, largest))
        self._channels[number] = found
        connect = found.connect()
        if opening.protocol is TransportProtocol.TCP_CLIENT:
            found.happens(TerminalEvent.CONNECT)
            return Step(response=None, actions=(connect,))
        found.happens(TerminalEvent.BIND)
        return Step(response=found.opened(), actions=(connect,))

    def _close(self, command: ProactiveCommand) -> Step:
        found = self._channels.pop(command.channel, None)
        if found is None:
            return _refused(command, BipCause.INVALID_CHANNEL)
        for event in EventCode:
            self._to_tell.pop((found.number, event), None)
        actions = (found.disconnect(),) if found.is_linked else ()
        found.happens(TerminalEvent.CLOSE)
        return Step(response=TerminalResponse.to(command), actions=actions)

    def _send(self, command: ProactiveCommand) -> Step:
        found = self._channels.get(command.channel)
        if found is None:
            return _refused(command, BipCause.INVALID_CHANNEL)
        if found.state is not TerminalState.UP:
            return _refused(command, BipCause.CHANNEL_CLOSED)
        if len(command.data) > found.tx_room:
            return _refused(command, BipCause.BUFFER_SIZE_NOT_AVAILABLE)
        found.store(command.data)
        actions = (found.flush(),) if command.qualifier & SEND_NOW and found.stored else ()
        response = TerminalResponse.to(command, length=min(MANY, found.tx_room))
        return Step(response=response, actions=actions)

    def _receive(self, command: ProactiveCommand) -> Step:
        found = self._channels.get(command.channel)
        if found is None:
            return _refused(command, BipCause.INVALID_CHANNEL)
        if found.state is not TerminalState.UP and not found.available:
            return _refused(command, BipCause.CHANNEL_CLOSED)
        before, wanted = found.available, min(command.length, MAX_RECEIVE_DATA)
        octets = found.fetch(wanted)
        remaining = before - len(octets)
        if not remaining and found.available:
            self._tell(found.number, EventCode.DATA_AVAILABLE)
        result = TerminalResult.OK if wanted == command.length else TerminalResult.PERFORMED_WITH_MODIFICATION
        if len(octets) < wanted:
            result = TerminalResult.MISSING_INFORMATION
        return Step(response=TerminalResponse.to(command, result, data=octets, length=min(MANY, remaining)))

    def _status(self, command: ProactiveCommand) -> Step:
        statuses = tuple(found.status for _, found in sorted(self._channels.items()))
        return Step(response=TerminalResponse.to(command, statuses=statuses or (ChannelStatus(channel=0),)))

    def _set_up_events(self, command: ProactiveCommand) -> Step:
        self._wanted = frozenset(command.events)
        return Step(response=TerminalResponse.to(command))

    # what they need ---------------------------------------------------------------------------------------

    def _connecting(self, channel: int) -> Channel:
        found = self._channels.get(channel)
        if found is None or found.state is not TerminalState.CONNECTING:
            raise ValueError(f"channel {channel} waits for no connection")
        return found

    def _largest(self, protocol: TransportProtocol) -> int | None:
        """Return the largest buffer for *protocol*, or None when it cannot be had."""
        sizes = {
            TransportProtocol.TCP_CLIENT: self._profile.tcp_buffer,
            TransportProtocol.UDP_CLIENT: self._profile.udp_buffer,
        }
        return sizes.get(protocol)

    def _tell(self, channel: int, event: EventCode) -> None:
        if event in self._wanted:
            self._to_tell[channel, event] = None

    def _envelope(self, found: Channel, event: EventCode) -> Envelope:
        length = min(MANY, found.available) if event is EventCode.DATA_AVAILABLE else None
        return Envelope(tag=Tag.EVENT_DOWNLOAD, event=event, channel_status=found.status, length=length)


# SLF001: the class's own table.
_HANDLERS: Final[Mapping[CommandType, Callable[[TerminalChannels, ProactiveCommand], Step]]] = {
    CommandType.SET_UP_EVENT_LIST: TerminalChannels._set_up_events,  # noqa: SLF001
    CommandType.OPEN_CHANNEL: TerminalChannels._open,  # noqa: SLF001
    CommandType.CLOSE_CHANNEL: TerminalChannels._close,  # noqa: SLF001
    CommandType.SEND_DATA: TerminalChannels._send,  # noqa: SLF001
    CommandType.RECEIVE_DATA: TerminalChannels._receive,  # noqa: SLF001
    CommandType.GET_CHANNEL_STATUS: TerminalChannels._status,  # noqa: SLF001
}
