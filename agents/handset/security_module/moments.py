"""What a module is to do later, at a moment that it drew: reports, and calls that nobody asked it for.

A module has no clock. The earliest moment is a timer of the terminal's, the one that no channel may have;
when that ends, whoever has something due does it, and the timer is set anew for what is next. All of this is
volatile, as the terminal's timers are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from transport.toolkit import MAX_TIMER, CommandType, ProactiveCommand

if TYPE_CHECKING:
    from agents.handset.security_module.core import Core
    from agents.handset.security_module.pulling import Pull
    from agents.handset.security_module.reporting import Report

TIMER: Final = MAX_TIMER
"""Of the terminal's timers the last: a link has one of those before it, by the number of its channel."""


@dataclass(slots=True, kw_only=True)
class Moments:
    """What is due, by the TAR of a global service; what was done stays known where that matters."""

    reports: dict[bytes, Report] = field(default_factory=dict)
    """What is to be reported of broadcasts, or was."""
    pulls: dict[bytes, Pull] = field(default_factory=dict)
    """Whose supplier is to be called."""

    @property
    def earliest(self) -> float | None:
        """When the terminal's timer is to end; None: nothing is due."""
        dues = [each.due for each in self.reports.values()] + [each.due for each in self.pulls.values()]
        return min((due for due in dues if due is not None), default=None)

    def forget(self, tar: bytes) -> None:
        """Drop what is due for a resource that is gone, or nobody's for now."""
        self.reports.pop(tar, None)
        self.pulls.pop(tar, None)


def set_timer(core: Core, now: float, before: float | None) -> None:
    """Have the terminal's timer end with the earliest moment, unless it does: *before* is its end now."""
    due = core.moments.earliest
    if due is not None and due != before:
        seconds = max(1, math.ceil(due - now))
        core.ask(ProactiveCommand(type=CommandType.TIMER_MANAGEMENT, timer=TIMER, timer_value_s=seconds))
