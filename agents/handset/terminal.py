"""The terminal's side of the toolkit: what a handset does when its module asks (TS 102 223 clause 6.4).

Sans-IO: a proactive command in, a terminal response out. Sending a short message is the phone's business,
which tells ``answer`` whether the network took it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from transport.toolkit import MAX_TEXT, CommandType, TerminalResponse, TerminalResult

if TYPE_CHECKING:
    from transport.toolkit import ProactiveCommand

MAX_SHOWN: Final = 16


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
