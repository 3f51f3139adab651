"""The loggers of a process: structlog's, from whose calls an event has a short way to the log's thread.

structlog runs an event through processors and hands what comes out to what it wraps. All that is to be done
with ours is to stamp them and to leave them for the thread that makes the lines (:mod:`bus.log_lines`) and
writes them (:mod:`bus.log_file`): so the wrapper class goes there directly. What strangers can cause is not
told each time (:mod:`bus.log_floods`). Where somebody puts processors, as ``structlog.testing`` does, events
go structlog's way.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from bus.log_floods import FIRST, Floods
from bus.log_lines import MAX_TEXT, VOID, End, Names, can_wait, settled
from bus.vocabulary import BY_STRANGERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from structlog.typing import FilteringBoundLogger

    from bus.frame import TraceContext
    from bus.log_lines import Taken

LEVELS: Final[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

_TAKEN: Final = "message.taken"
"""As in ``bus.ends``, which is above us."""
_WATCHED: Final = BY_STRANGERS | {_TAKEN}
"""Most events are none of these, and cost one look here."""


class Intake:
    """What loggers wrap: stamps events with *now*, simulated time, and what is *bound*, and has them kept."""

    def __init__(
        self,
        keep: Callable[[Taken], None],
        now: Callable[[], float],
        bound: Callable[[], tuple[TraceContext | None, Names]],
    ) -> None:
        self._keep = keep
        self._now = now
        self._bound = bound
        self._taken: dict[str, Any] = {}
        """What is told of the message that was taken last; its line may have been made by now."""
        self.floods = Floods()

    def take(self, level: str, event: str, context: Names, fields: dict[str, Any]) -> None:
        """Take an event, whose *fields* are ours from now on."""
        trace, names = self._bound()
        if event in _WATCHED:
            if event == _TAKEN:
                self._taken = fields
            elif not self._is_told(event, trace, names, context, fields):
                return
        if not can_wait(event, fields):
            event, fields = event[:MAX_TEXT], settled(fields)
        self._keep((time.time_ns(), self._now(), level, event, trace, names, context, fields))

    def _is_told(
        self, event: str, trace: TraceContext | None, names: Names, context: Names, fields: dict[str, Any]
    ) -> bool:
        """Count what a stranger may have caused; say whether it is told.

        Of a flood of what is not, nor is it told that it was taken.
        """
        agent = fields.get("agent") or {**names, **context}.get("agent") or context.get("client", "")
        count = self.floods.count(event, str(agent), str(fields.get("reason", "")))
        if count > FIRST:
            fields["count"] = count
        elif not count and self.floods.is_flood:
            end = self._taken.get("end")
            if type(end) is End and end.trace is trace:
                self._taken[VOID] = True
        return bool(count)


def logger_class(level: str) -> type[FilteringBoundLogger]:
    """Return the class of loggers that let pass *level* and above, and wrap an :class:`Intake`."""
    ours: Any = structlog.make_filtering_bound_logger(level)
    passing = [name for name, number in LEVELS.items() if number >= LEVELS[level]]
    ways = {name: _way(name, getattr(ours, name)) for name in passing}
    made: type[FilteringBoundLogger] = type("Logger", (ours,), {**ways, "_proxy_to_logger": _hand_over})
    return made


def _way(level: str, structlogs: Callable[..., Any]) -> Callable[..., Any]:
    def say(self: Any, event: str, *args: object, **fields: Any) -> Any:
        if args or self._processors:
            return structlogs(self, event, *args, **fields)
        return self._logger.take(level, event, self._context, fields)

    return say


def _hand_over(self: Any, level: str, event: str = "", **fields: Any) -> Any:
    """Take what came structlog's way: with arguments to be filled in, or by a number for its level."""
    if self._processors:
        # Structlog's documents offer this method to wrapper classes.
        return structlog.BoundLoggerBase._proxy_to_logger(self, level, event, **fields)  # noqa: SLF001
    return self._logger.take(level, event, self._context, fields)
