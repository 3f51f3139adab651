"""From an event to a line of JSON: what is added to it, what is kept out of it, and how it is written.

Octets never get into a line: a bytes-like value, however deep, is written as its length, and a value under
a name that sounds of secrets is refused whatever its type. An object that is no JSON is written as the name
of its type, not as its repr. An event that cannot be written loses its fields, never the run.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
import traceback
from collections.abc import MutableMapping
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

REFUSED_NAMES: Final = frozenset(
    {
        *("account", "application", "cipher_key", "data", "domain_key", "dk", "key", "keys", "ks", "mac_key"),
        *("password", "payload", "pdu", "pin", "private", "private_key", "secret", "session", "session_key"),
    }
)
MAX_LINE: Final = 8_192
MAX_TEXT: Final = 256
_MAX_FRAMES: Final = 12
_MAX_CAUSES: Final = 4
# An exception of another library may quote what it choked on: a bytes literal or a long run of hex digits.
QUOTED_OCTETS: Final = re.compile(r"""b'(?:[^'\\]|\\.)*'|b"(?:[^"\\]|\\.)*"|[0-9A-Fa-f]{32,}""")

Event = MutableMapping[str, Any]


def refuse_secrets(_logger: object, _level: str, event: Event) -> Event:
    """Put a word in the place of what stands under a name that sounds of secrets."""
    if not REFUSED_NAMES.isdisjoint(event):
        for name in REFUSED_NAMES.intersection(event):
            event[name] = "<refused>"
    return event


def tell_exception(_logger: object, _level: str, event: Event) -> Event:
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
        yield f"{type(cause).__name__}: {QUOTED_OCTETS.sub('<octets>', str(cause))[:MAX_TEXT]}"
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


class Line:
    """Last in the pipeline: the event as one line of JSON, however odd its fields."""

    def __init__(self, process: str, now: Callable[[], float]) -> None:
        self._process = encode_basestring_ascii(process)
        self._now = now
        self._next = itertools.count(1).__next__

    def __call__(self, _logger: object, level: str, event: Event) -> str:
        """Return the line."""
        name = encode_basestring_ascii(str(event.pop("event", ""))[:MAX_TEXT])
        head = (
            f'{{"time": "{datetime.now(UTC).isoformat(timespec="microseconds")}", "at": {self._now():.6f}, '
            f'"seq": {self._next()}, "process": {self._process}, "level": "{level}", "event": {name}'
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
        return value[:MAX_TEXT]
    return value if isinstance(value, (int, float)) else f"<{type(value).__name__}>"
