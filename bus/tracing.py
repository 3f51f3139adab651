"""The log: structlog events as JSON lines, each with the trace it belongs to.

A trace is one transaction through all agents. Its context rides in the frame (:mod:`bus.frame`); whoever
takes a frame binds the frame's trace to its task, and every event logged in that task from then on carries
the ids. Lines have, in this order: ``time`` (UTC), ``seq`` (counts up in a process, so that lines of one
microsecond stay in order), ``process``, ``level``, ``event``, then what is bound (``agent``, ``ua``,
``trace_id``, ``span_id``) and what the event says.

Octets never get into a line: a bytes-like value, however deep, is written as its length, and a value under
a name that sounds of secrets is refused whatever its type. An object that is no JSON is written as the name
of its type, not as its repr. An event that cannot be written loses its fields, never the run.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from bus.frame import TraceContext
from bus.log_file import LogFile, warn_on_stderr

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from structlog.typing import FilteringBoundLogger

REFUSED_NAMES: Final = frozenset(
    {
        *("account", "application", "cipher_key", "data", "domain_key", "dk", "key", "keys", "ks", "mac_key"),
        *("password", "payload", "pdu", "pin", "private", "private_key", "secret", "session", "session_key"),
    }
)
MAX_LINE: Final = 8_192
_MAX_TEXT: Final = 256
_MAX_FRAMES: Final = 12
_MAX_CAUSES: Final = 4
# An exception of another library may quote what it choked on: a bytes literal or a long run of hex digits.
_QUOTED_OCTETS: Final = re.compile(r"""b'(?:[^'\\]|\\.)*'|b"(?:[^"\\]|\\.)*"|[0-9A-Fa-f]{32,}""")


# ---- traces ----------------------------------------------------------------------------------------------


def new_trace(rng: Callable[[int], bytes]) -> TraceContext:
    """Begin a transaction: a fresh trace id (16 octets) and span id (8)."""
    return TraceContext(trace_id=rng(16), span_id=rng(8))


def child(trace: TraceContext, rng: Callable[[int], bytes]) -> TraceContext:
    """Go on with the transaction of *trace* in a span of our own."""
    return TraceContext(trace_id=trace.trace_id, span_id=rng(8))


# ---- what is bound to the running task -------------------------------------------------------------------

# One variable for all of it, with the ids already in hex: an event then costs one lookup and one dict update.
_Bound = tuple["TraceContext | None", dict[str, str]]
_NOTHING: Final[_Bound] = (None, {})
_BOUND: Final[ContextVar[_Bound]] = ContextVar("otafleet_log")


def bind(trace: TraceContext | None = None, **names: str) -> None:
    """Add *trace* and *names* (``agent=``, ``ua=``) to every event that this task logs from now on."""
    bound_trace, bound_names = _BOUND.get(_NOTHING)
    _BOUND.set((trace or bound_trace, {**bound_names, **_ids(trace), **names}))


def bind_only(names: dict[str, str]) -> None:
    """Forget what is bound, trace and all, and bind *names*, which the caller does not change afterwards."""
    _BOUND.set((None, names))


@contextlib.contextmanager
def bound(trace: TraceContext | None = None, **names: str) -> Iterator[None]:
    """As :func:`bind`, until the block ends."""
    before = _BOUND.get(_NOTHING)
    bind(trace, **names)
    try:
        yield
    finally:
        _BOUND.set(before)


def current() -> TraceContext | None:
    """Return the trace bound to this task, or None."""
    return _BOUND.get(_NOTHING)[0]


def _ids(trace: TraceContext | None) -> dict[str, str]:
    return {"trace_id": trace.trace_id.hex(), "span_id": trace.span_id.hex()} if trace else {}


# ---- the pipeline ----------------------------------------------------------------------------------------

_Event = MutableMapping[str, Any]


def _add_bound(_logger: object, _level: str, event: _Event) -> _Event:
    merged: _Event = _BOUND.get(_NOTHING)[1].copy()
    merged.update(event)
    return merged


def _refuse_secrets(_logger: object, _level: str, event: _Event) -> _Event:
    if not REFUSED_NAMES.isdisjoint(event):
        for name in REFUSED_NAMES.intersection(event):
            event[name] = "<refused>"
    return event


def _tell_exception(_logger: object, _level: str, event: _Event) -> _Event:
    """Turn ``exc_info`` into the error's chain and the places it went through: no locals, no source text."""
    if "exc_info" in event:
        given = event.pop("exc_info")
        error = given if isinstance(given, BaseException) else sys.exc_info()[1]
        if isinstance(given, tuple):
            error = given[1]
        if error is not None:
            event["error"] = " <- ".join(_chain(error))
            event["where"] = _places(error.__traceback__)
    return event


def _chain(error: BaseException) -> Iterator[str]:
    cause: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if cause is None:
            return
        yield f"{type(cause).__name__}: {_QUOTED_OCTETS.sub('<octets>', str(cause))[:_MAX_TEXT]}"
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-_MAX_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


def _plain(value: object) -> object:
    """Replace *value*, which is no JSON; the encoder asks for such values at any depth."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} octets>"
    if isinstance(value, BaseException):
        return next(_chain(value))
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, map(_plain, value)))
    return value if isinstance(value, str) else f"<{type(value).__name__}>"


_encode: Final = json.JSONEncoder(default=_plain, skipkeys=True).encode


class _Line:
    """Last in the pipeline: the event as one line of JSON, however odd its fields."""

    def __init__(self, process: str) -> None:
        self._process = encode_basestring_ascii(process)
        self._next = itertools.count(1).__next__

    def __call__(self, _logger: object, level: str, event: _Event) -> str:
        name = encode_basestring_ascii(str(event.pop("event", ""))[:_MAX_TEXT])
        head = (
            f'{{"time": "{datetime.now(UTC).isoformat(timespec="microseconds")}", "seq": {self._next()}, '
            f'"process": {self._process}, "level": "{level}", "event": {name}'
        )
        try:
            fields = _encode(event)
        except (ValueError, TypeError, RecursionError):
            fields = '{"fields": "<unwritable>"}'
        if len(fields) > MAX_LINE:
            fields = _encode({key: _cut(value) for key, value in itertools.islice(event.items(), 16)})
        return f"{head}, {fields[1:]}\n" if len(fields) > 2 else head + "}\n"


def _cut(value: object) -> object:
    if isinstance(value, str):
        return value[:_MAX_TEXT]
    return value if isinstance(value, (int, float)) else f"<{type(value).__name__}>"


# ---- setting up ------------------------------------------------------------------------------------------


class _FromStandardLibrary(logging.Handler):
    """Takes what aiomqtt, SQLAlchemy and asyncio log with ``logging`` into the same file."""

    def emit(self, record: logging.LogRecord) -> None:
        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        text = _QUOTED_OCTETS.sub("<octets>", record.getMessage())[:_MAX_TEXT]
        structlog.get_logger().log(level, "library", logger=record.name, text=text, exc_info=record.exc_info)


class Log:
    """The log of this process from :func:`configure` until :meth:`close`; a context manager."""

    def __init__(self, file: LogFile | None) -> None:
        self._file = file
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
            self._file.close()
            self._file = None
            _configure_silence()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def configure(
    path: Path | None,
    *,
    level: str = "info",
    process: str = "main",
    warn: Callable[[str], None] = warn_on_stderr,
) -> Log:
    """Send the log of this process to the file at *path* (appended to), or with ``None`` nowhere.

    *level* is the least that is written: debug, info, warning, error or critical; *process* names us in each
    line; *warn* hears the one sentence about a disk that takes no more. Raises ``OSError`` when the file
    cannot be opened and ``ValueError`` for an unknown level.
    """
    if level not in {"debug", "info", "warning", "error", "critical"}:
        raise ValueError(f"{level!r} is no log level")
    if path is None:
        _configure_silence()
        return Log(None)
    file = LogFile(path, warn=warn)
    structlog.configure(
        processors=[_add_bound, _refuse_secrets, _tell_exception, _Line(process)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: file,
        cache_logger_on_first_use=False,
    )
    return Log(file)


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


def _drop(_logger: object, _level: str, _event: _Event) -> _Event:
    raise structlog.DropEvent
