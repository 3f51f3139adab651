"""The timers that a handset runs for its module (TS 102 223 clause 6.4.21)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agents.handset.posts import TimerEnded
from transport.toolkit import (
    MAX_TIMER_S,
    TIMER_CURRENT,
    TIMER_START,
    TerminalResponse,
    TerminalResult,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.handset.posts import Post
    from agents.handset.site import Site
    from agents.handset.slot import Slot
    from transport.toolkit import ProactiveCommand


class Timers:
    """One powered module's timers, at most eight; their ends go to *deliver*, each once."""

    __slots__ = ("_deliver", "_running", "_site", "_slot")

    def __init__(self, site: Site, slot: Slot, deliver: Callable[[Post], None]) -> None:
        self._site = site
        self._slot = slot
        self._deliver = deliver
        self._running: dict[int, tuple[TimerEnded, float]] = {}
        """Each as it was started last, and when it ends."""

    def perform(self, command: ProactiveCommand) -> TerminalResponse:
        """Start a timer, stop it, or say what is left of it."""
        if command.qualifier == TIMER_START:
            self._start(command.timer, command.timer_value_s)
            return TerminalResponse.to(command, timer=command.timer)
        left_s = self._left_s(command.timer)
        if left_s is None:
            return TerminalResponse.to(command, TerminalResult.CONTRADICTS_TIMER, timer=command.timer)
        if command.qualifier != TIMER_CURRENT:
            del self._running[command.timer]
        return TerminalResponse.to(command, timer=command.timer, timer_value_s=left_s)

    def end(self, ended: TimerEnded) -> bool:
        """Take the end of a timer; False: it was stopped, or started anew since."""
        running = self._running.get(ended.number)
        if running is None or running[0] is not ended:
            return False
        del self._running[ended.number]
        return True

    def clear(self) -> None:
        """Stop them all: the power is gone."""
        self._running.clear()

    def _start(self, number: int, delay_s: float) -> None:
        ended = TimerEnded(number=number, trace=self._slot.trace)
        self._running[number] = ended, self._site.clock.now() + delay_s
        self._site.antenna.after(delay_s, lambda: self._deliver(ended))

    def _left_s(self, number: int) -> int | None:
        running = self._running.get(number)
        if running is None:
            return None
        return min(MAX_TIMER_S, max(0, math.ceil(running[1] - self._site.clock.now())))
