"""The terminal's side of the toolkit: what a handset can do, and does when its module asks (TS 102 223).

Sans-IO: a proactive command in, a terminal response out (clause 6.4). Sending a short message is the phone's
business, which tells ``answer`` whether the network took it. What a kind of handset can do it tells its
module in one TERMINAL PROFILE (clause 5.2), the same octets for all of its kind.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from transport.toolkit import (
    MAX_CHANNEL,
    MAX_TEXT,
    CommandType,
    Facility,
    TerminalProfile,
    TerminalResponse,
    TerminalResult,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transport.toolkit import ProactiveCommand

MAX_SHOWN: Final = 16


class TerminalKind(StrEnum):
    """The kinds of handset: with all that we do, without channels, without cell broadcasts."""

    FULL = "full"
    NO_BIP = "no-bip"
    NO_BROADCAST = "no-broadcast"


_CHANNELS: Final = frozenset(
    {
        Facility.DATA_AVAILABLE,
        Facility.CHANNEL_STATUS,
        Facility.OPEN_CHANNEL,
        Facility.CLOSE_CHANNEL,
        Facility.RECEIVE_DATA,
        Facility.SEND_DATA,
        Facility.GET_CHANNEL_STATUS,
        Facility.PACKET_BEARER,
        Facility.TCP_CLIENT,
        Facility.UDP_CLIENT,
    }
)
_FULL: Final = frozenset(Facility) - {Facility.TCP_SERVER}
PROFILES: Final[Mapping[TerminalKind, TerminalProfile]] = {
    TerminalKind.FULL: TerminalProfile.of(_FULL, channels=MAX_CHANNEL),
    TerminalKind.NO_BIP: TerminalProfile.of(_FULL - _CHANNELS),
    TerminalKind.NO_BROADCAST: TerminalProfile.of(
        _FULL - {Facility.CELL_BROADCAST_DOWNLOAD}, channels=MAX_CHANNEL
    ),
}
"""What each kind tells its module that it can do. All of them have short messages, timers and a person."""


@dataclass(slots=True, kw_only=True)
class Subscriber:
    """The person at the handset: what he is going to type, and what the display has shown him."""

    types: deque[bytes] = field(default_factory=deque, repr=False)
    shown: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_SHOWN), repr=False)


def answer(command: ProactiveCommand, subscriber: Subscriber, *, sent: bool = True) -> TerminalResponse:
    """Return the terminal response to *command*.

    *sent* says of SEND SHORT MESSAGE whether the network took it. A question that the subscriber has no
    answer for gets "terminal currently unable to process".
    """
    if command.type is CommandType.DISPLAY_TEXT:
        subscriber.shown.append(command.text.decode("utf-8", errors="replace"))
        return TerminalResponse.to(command)
    if command.type is CommandType.GET_INPUT:
        if not subscriber.types or len(subscriber.types[0]) > MAX_TEXT:
            return TerminalResponse.to(command, TerminalResult.TERMINAL_UNABLE)
        return TerminalResponse.to(command, text=subscriber.types.popleft())
    result = TerminalResult.OK if sent else TerminalResult.NETWORK_UNABLE
    return TerminalResponse.to(command, result)
