"""A handset's timers: started, stopped, asked for, and ended once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from agents.handset.posts import TimerEnded
from agents.handset.timers import Timers
from tests.agents.role_kit import TRACE
from transport.toolkit import (
    TIMER_CURRENT,
    TIMER_DEACTIVATE,
    TIMER_START,
    CommandType,
    ProactiveCommand,
    TerminalResult,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.handset.posts import Post
    from agents.handset.site import Site
    from agents.handset.slot import Slot


class Desk:
    """Timers with a clock that the test moves; *ends* are those that were told, if they counted or not."""

    def __init__(self) -> None:
        self.now = 100.0
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.ends: list[TimerEnded] = []
        site: Any = SimpleNamespace(
            clock=SimpleNamespace(now=lambda: self.now), antenna=SimpleNamespace(after=self._after)
        )
        slot: Any = SimpleNamespace(trace=TRACE)
        self.timers = Timers(cast("Site", site), cast("Slot", slot), self._deliver)

    def _after(self, delay_s: float, call: Callable[[], None]) -> None:
        self.later.append((self.now + delay_s, call))

    def _deliver(self, post: Post) -> None:
        assert isinstance(post, TimerEnded)
        self.ends.append(post)

    def go_to(self, now: float) -> list[int]:
        """Let time pass; return the timers whose end counts."""
        self.now = now
        due = [call for at, call in self.later if at <= now]
        self.later = [each for each in self.later if each[0] > now]
        for call in due:
            call()
        ended, self.ends = self.ends, []
        return [each.number for each in ended if self.timers.end(each)]

    def say(self, timer: int, qualifier: int, seconds: int = 0) -> tuple[TerminalResult, int | None]:
        """Have a TIMER MANAGEMENT done; return how it went, and how many seconds were left."""
        command = ProactiveCommand(
            type=CommandType.TIMER_MANAGEMENT, qualifier=qualifier, timer=timer, timer_value_s=seconds
        )
        response = self.timers.perform(command)
        assert (response.type, response.qualifier, response.timer) == (command.type, qualifier, timer)
        return response.result, response.timer_value_s


def test_a_timer_ends_once() -> None:
    """When it is due, and not again."""
    desk = Desk()
    assert desk.say(3, TIMER_START, 10) == (TerminalResult.OK, None)
    assert desk.go_to(109.0) == []
    assert desk.go_to(110.0) == [3]
    assert desk.go_to(500.0) == []


def test_a_timer_that_is_started_anew() -> None:
    """Its last value counts."""
    desk = Desk()
    desk.say(3, TIMER_START, 10)
    desk.say(3, TIMER_START, 30)
    assert desk.go_to(110.0) == []
    assert desk.go_to(130.0) == [3]


def test_a_timer_that_is_stopped() -> None:
    """It says what was left, and does not end; to stop it again contradicts its state."""
    desk = Desk()
    desk.say(1, TIMER_START, 10)
    desk.now = 103.5
    assert desk.say(1, TIMER_DEACTIVATE) == (TerminalResult.OK, 7)
    assert desk.say(1, TIMER_DEACTIVATE) == (TerminalResult.CONTRADICTS_TIMER, None)
    assert desk.go_to(200.0) == []


def test_a_timer_that_is_asked_for() -> None:
    """It says what is left and runs on; one that does not run has nothing to say."""
    desk = Desk()
    desk.say(8, TIMER_START, 86399)
    assert desk.say(8, TIMER_CURRENT) == (TerminalResult.OK, 86399)
    desk.now = 200.0
    assert desk.say(8, TIMER_CURRENT) == (TerminalResult.OK, 86299)
    assert desk.say(7, TIMER_CURRENT) == (TerminalResult.CONTRADICTS_TIMER, None)
    assert desk.go_to(100.0 + 86399) == [8]


def test_a_timer_whose_end_is_on_its_way() -> None:
    """It is due and nobody has taken its end: nothing is left of it, and less than nothing is not said."""
    desk = Desk()
    desk.say(1, TIMER_START, 1)
    desk.now = 150.0
    assert desk.say(1, TIMER_CURRENT) == (TerminalResult.OK, 0)


def test_without_power_no_timer_runs() -> None:
    """All are forgotten; what ends later does not count."""
    desk = Desk()
    for timer in (1, 2):
        desk.say(timer, TIMER_START, 10)
    desk.timers.clear()
    assert desk.go_to(200.0) == []
    assert desk.say(1, TIMER_CURRENT) == (TerminalResult.CONTRADICTS_TIMER, None)
