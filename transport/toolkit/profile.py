"""TERMINAL PROFILE: what a terminal can do, a bit for each facility (TS 102 223 and TS 31.111, clauses 5.2).

A profile is its octets. Reading it is total: octets that are not there are zeros, those that nobody here
knows are kept and not looked at, so a terminal of any release can say what it has. The places of the bits
are those at which Wireshark's dissector has them (packet-gsm_sim.c; a test has tshark read them); what each
command takes of them is derived from clauses 6.4 and 8.

Both sides go by the one table: a module asks for nothing that its terminal lacks (clause 6.2), and a terminal
that is asked for it nevertheless is beyond its capabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Self

from transport.toolkit.tags import (
    MAX_CHANNEL,
    MAX_TOLD,
    TIMER_CURRENT,
    TIMER_START,
    CommandType,
    EventCode,
    TransportProtocol,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from transport.toolkit.commands import ProactiveCommand


class Facility(IntEnum):
    """What a terminal may have: the octet of its bit, from 1 on, and the bit in it, 1 (the lowest) to 8."""

    PROFILE_DOWNLOAD = 1_1
    SMS_PP_DOWNLOAD = 1_2
    CELL_BROADCAST_DOWNLOAD = 1_3
    MENU_SELECTION = 1_4
    SMS_PP_DOWNLOAD_TOO = 1_5
    """In SIM days this bit was another option of the same facility: TS 31.111 wants both."""
    TIMER_EXPIRATION = 1_6
    COMMAND_RESULT = 2_1
    DISPLAY_TEXT = 3_1
    GET_INPUT = 3_3
    REFRESH = 3_8
    SEND_SHORT_MESSAGE = 4_2
    SET_UP_EVENT_LIST = 5_1
    DATA_AVAILABLE = 6_3
    CHANNEL_STATUS = 6_4
    TIMER_MANAGEMENT = 8_1
    TIMER_CURRENT_VALUE = 8_2
    DISPLAY_TEXT_TOO = 9_1
    OPEN_CHANNEL = 12_1
    CLOSE_CHANNEL = 12_2
    RECEIVE_DATA = 12_3
    SEND_DATA = 12_4
    GET_CHANNEL_STATUS = 12_5
    PACKET_BEARER = 13_2
    """GPRS, and whatever came after it: a network that carries packets."""
    TCP_CLIENT = 17_1
    UDP_CLIENT = 17_2
    TCP_SERVER = 17_3

    @property
    def place(self) -> tuple[int, int]:
        """The index of its octet, from 0 on, and the mask of its bit."""
        octet, bit = divmod(self, 10)
        return octet - 1, 1 << bit - 1

    @property
    def word(self) -> str:
        """Its name in a reason."""
        return self.name.lower().replace("_", "-")


CHANNELS: Final = "channels"
"""The word for channels, of which a terminal has a number, in place of a bit."""
_CHANNELS_AT: Final = 12
_CHANNELS_SHIFT: Final = 5


@dataclass(frozen=True, slots=True)
class TerminalProfile:
    """What TERMINAL PROFILE brings: at most 255 *octets*, ValueError for more."""

    octets: bytes

    def __post_init__(self) -> None:
        """Refuse what no APDU holds."""
        if len(self.octets) > MAX_TOLD:
            raise ValueError(f"a profile has at most {MAX_TOLD} octets")

    @classmethod
    def of(cls, facilities: Iterable[Facility], *, channels: int = 0) -> Self:
        """Return the shortest profile that has *facilities*, and so many *channels* (0..7)."""
        if not 0 <= channels <= MAX_CHANNEL:
            raise ValueError(f"a terminal has 0..{MAX_CHANNEL} channels")
        octets = bytearray(MAX_TOLD)
        octets[_CHANNELS_AT] = channels << _CHANNELS_SHIFT
        for facility in facilities:
            at, mask = facility.place
            octets[at] |= mask
        return cls(bytes(octets).rstrip(b"\0"))

    def __contains__(self, facility: Facility) -> bool:
        """Whether the terminal has *facility*."""
        at, mask = facility.place
        return at < len(self.octets) and self.octets[at] & mask != 0

    @property
    def channels(self) -> int:
        """How many channels it has at a time, 0 to 7."""
        return self.octets[_CHANNELS_AT] >> _CHANNELS_SHIFT if len(self.octets) > _CHANNELS_AT else 0

    def lack(self, facilities: Iterable[Facility]) -> str:
        """Return the word for the first of *facilities* that it has not got; empty when it has them all."""
        return next((facility.word for facility in facilities if facility not in self), "")

    def lack_for(self, command: ProactiveCommand) -> str:
        """Return the word for what it lacks to perform *command*; empty when it lacks nothing."""
        lack = self.lack(_needs(command))
        if not lack and command.opening is not None and not self.channels:
            return CHANNELS
        return lack


EVENTS: Final[Mapping[EventCode, Facility]] = {
    EventCode.DATA_AVAILABLE: Facility.DATA_AVAILABLE,
    EventCode.CHANNEL_STATUS: Facility.CHANNEL_STATUS,
}
PROTOCOLS: Final[Mapping[TransportProtocol, Facility]] = {
    TransportProtocol.TCP_CLIENT: Facility.TCP_CLIENT,
    TransportProtocol.UDP_CLIENT: Facility.UDP_CLIENT,
    TransportProtocol.TCP_SERVER: Facility.TCP_SERVER,
}
TIMERS: Final = (Facility.TIMER_MANAGEMENT, Facility.TIMER_EXPIRATION)
"""What it takes to have a timer that runs to its end."""
_BY_QUALIFIER: Final[Mapping[tuple[CommandType, int], tuple[Facility, ...]]] = {
    (CommandType.TIMER_MANAGEMENT, TIMER_START): TIMERS,
    (CommandType.TIMER_MANAGEMENT, TIMER_CURRENT): (Facility.TIMER_CURRENT_VALUE,),
}
_BY_TYPE: Final[Mapping[CommandType, tuple[Facility, ...]]] = {
    kind: (Facility[kind.name],) for kind in CommandType
}


def _needs(command: ProactiveCommand) -> Iterator[Facility]:
    """Yield what a terminal must have to perform *command*."""
    yield from _BY_QUALIFIER.get((command.type, command.qualifier), _BY_TYPE[command.type])
    if command.opening is not None:
        yield PROTOCOLS[command.opening.protocol]
    yield from (EVENTS[event] for event in command.events)
