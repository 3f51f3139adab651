"""What a module asks of its terminal, and what it does not ask because the terminal could not do it.

A terminal says by TERMINAL PROFILE what it can do; one that has said nothing has no toolkit and is asked for
nothing (TS 102 223 clause 6.2). The profile is as volatile as the terminal: after a reset another one may be
there. Whoever has another way to go asks here before he begins, and says why he takes it.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from agents.messages.bearers import CHANNEL_BEARERS, TERMINAL_LACKS
from transport.toolkit import (
    CHANNELS,
    EVENTS,
    PROTOCOLS,
    TIMERS,
    EventCode,
    Facility,
    TerminalProfile,
    TransportProtocol,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.handset.security_module.core import Core
    from transport.toolkit import ProactiveCommand

WITHHELD: Final = "module.proactive_withheld"
"""A note: something was not asked of the terminal, which could not do it; the reason is what it lacks."""
NO_PROFILE: Final = "no-terminal-profile"
_KEPT: Final = 16
"""Different profiles that are kept read: a fleet has few kinds of terminal."""

# What a link takes (``links``): data that comes is told by an event, so without that nothing ever came.
_LINK: Final = (
    Facility.OPEN_CHANNEL,
    Facility.CLOSE_CHANNEL,
    Facility.SEND_DATA,
    Facility.RECEIVE_DATA,
    Facility.SET_UP_EVENT_LIST,
    Facility.DATA_AVAILABLE,
)
_WIRES: Final[Mapping[TransportProtocol, tuple[Facility, ...]]] = {
    TransportProtocol.UDP_CLIENT: TIMERS,  # CAT_TP has time-outs
}


def told(core: Core, octets: bytes) -> None:
    """Take the terminal's word on what it can do; what waits and is beyond that is not asked for."""
    core.terminal = profile_of(octets)
    waiting, core.proactive = core.proactive, deque()
    for command in waiting:
        ask(core, (command,))


@lru_cache(maxsize=_KEPT)
def profile_of(octets: bytes) -> TerminalProfile:
    """Return the profile in *octets*, once for all modules that are told so."""
    return TerminalProfile(octets)


def ask(core: Core, commands: tuple[ProactiveCommand, ...]) -> bool:
    """Queue *commands* for the terminal to fetch, all of them or, with a note, none; say which."""
    if len(core.proactive) + len(commands) > core.profile.proactive:
        core.note("module.proactive_dropped", reason="queue-full")
        return False
    lack = next(filter(None, (_lack_for(core, command) for command in commands)), "")
    if lack:
        core.note(WITHHELD, reason=lack)
        return False
    core.proactive += commands
    return True


def lack_for_link(core: Core, bearer: str) -> str:
    """Return why the terminal cannot give a link over *bearer*, as a reason; empty when it can."""
    if core.terminal is None:
        return NO_PROFILE
    protocol = CHANNEL_BEARERS[bearer].protocol
    needs = (*_LINK, PROTOCOLS[protocol], *_WIRES.get(protocol, ()))
    lack = core.terminal.lack(needs) or ("" if core.terminal.channels else CHANNELS)
    return lack and TERMINAL_LACKS + lack


def channels(core: Core) -> int:
    """Return how many channels module and terminal both have."""
    return min(core.profile.channels, core.terminal.channels if core.terminal else 0)


def events(core: Core) -> tuple[EventCode, ...]:
    """Return the events of channels that the terminal tells."""
    return tuple(event for event, facility in EVENTS.items() if core.terminal and facility in core.terminal)


def _lack_for(core: Core, command: ProactiveCommand) -> str:
    if core.terminal is None:
        return NO_PROFILE
    lack = core.terminal.lack_for(command)
    return lack and TERMINAL_LACKS + lack
