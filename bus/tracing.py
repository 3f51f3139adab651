"""The log: structlog events as JSON lines, each with the trace and the span that it belongs to.

A trace is one transaction through all agents, from the step or the subscriber that began it to its last
effect. Its spans are the steps of that: an agent's work on one message is one, a message on its way is one,
and so each repetition of a message is. Ids are those of W3C's trace context; they ride in the frame
(:mod:`bus.frame`). Whoever takes a frame enters a span of its own (:func:`enter`), and every event logged in
that task from then on carries the ids.

Lines have, in this order: ``time`` (UTC), ``at`` (simulated time, in seconds since 1970), ``seq`` (counts up
in a process, so that lines of one microsecond stay in order), ``process``, ``level``, ``event`` (a word of
:mod:`bus.vocabulary`), then what is bound (``agent``, ``role``, ``ua``; ``trace_id``, ``span_id``,
``parent_id``) and what the event says; a message that sets out has ``cause_id`` too (:mod:`bus.ends`). How
lines are made, and what is kept out of them, stands in :mod:`bus.log_lines`.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, cast

import structlog

from bus import spans
from bus.frame import TraceContext
from bus.log_calls import LEVELS, Intake, logger_class
from bus.log_file import LogFile, warn_on_stderr
from bus.log_lines import MAX_TEXT, QUOTED_OCTETS, Names, Spelling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Self

    from structlog.typing import FilteringBoundLogger

    from bus.log_floods import Floods

_SPANS: Final = random.Random()  # noqa: S311 -- names of spans, of which nothing hangs; ``configure`` seeds it

# ---- traces ----------------------------------------------------------------------------------------------


def new_trace(rng: Callable[[int], bytes]) -> TraceContext:
    """Begin a transaction: a fresh trace id (16 octets) and span id (8)."""
    return TraceContext(trace_id=rng(16), span_id=rng(8))


def child(trace: TraceContext) -> TraceContext:
    """Go on with the transaction of *trace* in a span that begins in it."""
    return TraceContext(
        trace_id=trace.trace_id,
        span_id=_SPANS.randbytes(8),
        parent_id=trace.span_id,
        cause_id=trace.cause_id or trace.span_id,
    )


def enter(trace: TraceContext, **names: str) -> TraceContext:
    """Begin a span in *trace*, bind it and *names* to this task, and return it."""
    entered = child(trace)
    bind(entered, **names)
    spans.begin(entered)
    return entered


def leave(message: object) -> None:
    """End the span that this task entered for *message*, if it entered one; its lines may still follow."""
    spans.end(message, _BOUND.get()[1])


# ---- what is bound to the running task -------------------------------------------------------------------

# One variable for all of it: an event then costs one lookup. What a line makes of it, its thread finds out.
_Bound = tuple["TraceContext | None", Names]
_NOTHING: Final[_Bound] = (None, Names())
_BOUND: Final[ContextVar[_Bound]] = ContextVar("otafleet_log", default=_NOTHING)


def bind(trace: TraceContext | None = None, **names: str) -> None:
    """Add *trace* and *names* (``agent=``, ``ua=``) to every event that this task logs from now on."""
    bound_trace, bound_names = _BOUND.get()
    _BOUND.set((trace or bound_trace, Names(bound_names, **names) if names else bound_names))


def bind_only(names: Names) -> None:
    """Forget what is bound, trace and all, and bind *names*."""
    _BOUND.set((None, names))
    spans.forget()


@contextlib.contextmanager
def bound(trace: TraceContext | None = None, **names: str) -> Iterator[None]:
    """As :func:`bind`, until the block ends."""
    before = _BOUND.get()
    bind(trace, **names)
    try:
        yield
    finally:
        _BOUND.set(before)


def current() -> TraceContext | None:
    """Return the trace bound to this task, or None."""
    return _BOUND.get()[0]


def names_agent() -> bool:
    """Whether what this task logs says whose it is."""
    return "agent" in _BOUND.get()[1]


def ids(trace: TraceContext | None) -> dict[str, str]:
    """Return how a line spells *trace*, for an event of another one than is bound."""
    if trace is None:
        return {}
    return {
        "trace_id": trace.trace_id.hex(),
        "span_id": trace.span_id.hex(),
        "parent_id": trace.parent_id.hex(),
    }


# ---- setting up ------------------------------------------------------------------------------------------


class _FromStandardLibrary(logging.Handler):
    """Takes what aiomqtt, SQLAlchemy and asyncio log with ``logging`` into the same file."""

    def emit(self, record: logging.LogRecord) -> None:
        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        text = QUOTED_OCTETS.sub("<octets>", record.getMessage())[:MAX_TEXT]
        structlog.get_logger().log(level, "library", logger=record.name, text=text, exc_info=record.exc_info)


class Log:
    """The log of this process from :func:`configure` until :meth:`close`; a context manager."""

    def __init__(self, file: LogFile | None, floods: Floods | None = None) -> None:
        self._file = file
        self._floods = floods
        self._handler = _FromStandardLibrary(logging.WARNING)
        if file is not None:
            logging.getLogger().addHandler(self._handler)

    def flush(self) -> None:
        """Write what is waiting; blocks."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Write what is waiting and end the log; what is logged afterwards is forgotten. Safe to repeat."""
        if self._file is not None:
            logging.getLogger().removeHandler(self._handler)
            self._tell_hushed()
            self._file.close()
            self._file = None
            _configure_silence()

    def _tell_hushed(self) -> None:
        for event, agent, reason, number in self._floods.hushed() if self._floods else ():
            get_logger().warning("log.hushed", of=event, agent=agent, reason=reason, count=number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def configure(
    path: Path | None,
    *,
    level: str = "info",
    process: str = "main",
    now: Callable[[], float] = time.time,
    warn: Callable[[str], None] = warn_on_stderr,
) -> Log:
    """Send the log of this process to the file at *path* (appended to), or with ``None`` nowhere.

    *level* is the least that is written: debug, info, warning, error or critical; *process* names us in each
    line, and its spans' names come of it; *now* is the simulated time, in seconds since 1970; *warn* hears
    the one sentence about a disk that takes no more. Raises ``OSError`` when the file cannot be opened and
    ``ValueError`` for an unknown level.
    """
    if level not in LEVELS:
        raise ValueError(f"{level!r} is no log level")
    if path is None:
        _configure_silence()
        return Log(None)
    file = LogFile(path, spell=Spelling(process), warn=warn)
    intake = Intake(file.append, now, _BOUND.get)
    _SPANS.seed(f"{process}/{now()}")
    structlog.configure(
        processors=[],
        context_class=Names,
        wrapper_class=logger_class(level),
        logger_factory=lambda *_: intake,
        cache_logger_on_first_use=False,
    )
    return Log(file, intake.floods)


def get_logger(**names: str) -> FilteringBoundLogger:
    """Return a logger for use after :func:`configure`; an event costs less on it than on a lazy one."""
    return cast("FilteringBoundLogger", structlog.get_logger().bind(**names))


def _configure_silence() -> None:
    structlog.configure(
        processors=[_drop],
        wrapper_class=structlog.make_filtering_bound_logger("critical"),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _drop(_logger: object, _level: str, _event: object) -> str:
    raise structlog.DropEvent
