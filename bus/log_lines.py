"""From an event to a line of JSON: what is added to it, what is kept out of it, and how it is written.

Lines are made by the thread that writes them, of many events at a time: one by one, in the midst of other
work, each would take several times as long. What may be another until then, or is long, is settled at once.

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
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from bus.frame import TraceContext

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

_REFUSED: Final = "<refused>"
_UNWRITABLE: Final = ', "fields": "<unwritable>"'


def tell_exception(event: dict[str, Any]) -> None:
    """Turn ``exc_info`` into the error's chain and the places it went through: no locals, no source text."""
    if "exc_info" in event:
        given = event.pop("exc_info")
        error = given if isinstance(given, BaseException) else sys.exc_info()[1]
        if isinstance(given, tuple):
            error = given[1]
        if error is not None:
            event["error"] = " <- ".join(_chain(error))
            event["where"] = _places(error.__traceback__)


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


# ---- fields ----------------------------------------------------------------------------------------------

_encode: Final = json.JSONEncoder(default=_plain, skipkeys=True).encode
_quoted: Final = encode_basestring_ascii
_SPELL: Final[Mapping[type, Callable[[Any], str]]] = {str: _quoted, int: int.__repr__}
"""What most fields are: for a few of them the encoder would take longer."""


def _spelt(fields: Mapping[str, Any]) -> str:
    """Return *fields* as a line has them, each after a comma, however odd they are."""
    if not fields:
        return ""
    if not REFUSED_NAMES.isdisjoint(fields):
        fields = {name: _REFUSED if name in REFUSED_NAMES else value for name, value in fields.items()}
    try:
        text = "".join([f", {_quoted(name)}: {_SPELL[type(value)](value)}" for name, value in fields.items()])
    except (KeyError, ValueError):
        text = _encoded(fields)
    if len(text) > MAX_LINE:
        text = _encoded({name: _cut(value) for name, value in itertools.islice(fields.items(), 16)})
    return text


def _encoded(fields: Mapping[str, Any]) -> str:
    try:
        text = _encode(fields)
    except (ValueError, TypeError, RecursionError):
        return _UNWRITABLE
    return f", {text[1:-1]}"


def _cut(value: object) -> object:
    if isinstance(value, str):
        return value[:MAX_TEXT]
    return value if isinstance(value, (int, float)) else f"<{type(value).__name__}>"


class Names(dict[str, Any]):
    """What is bound to a task or to a logger, which nobody changes; spelt once, when a line asks for it."""

    __slots__ = ("_text",)
    _text: str

    def spelt(self) -> str:
        """Return it as a line has it."""
        try:
            return self._text
        except AttributeError:
            self._text = _spelt(self)
            return self._text


class End(NamedTuple):
    """One end of a message's way (:mod:`bus.ends`), which most lines tell of: all the fields of its event.

    Of *reason* nothing is known; the others are words of ours, and names as a frame has checked them. *agent*
    is whose end it is, if nothing else in the line says so, and *cause* the message that it comes of. A
    tuple, as one is made for each.
    """

    trace: TraceContext
    bearer: str
    direction: str
    source: str
    destination: str
    reference: bytes
    attempt: int
    octets: int
    reason: str
    agent: str = ""
    cause: bytes = b""

    def spelt(self) -> str:
        """Return its fields as a line has them."""
        reason = f', "reason": {_quoted(self.reason[:MAX_TEXT])}' if self.reason else ""
        agent = f'"agent": "{self.agent}", ' if self.agent else ""
        cause = f'"cause_id": "{self.cause.hex()}", ' if self.cause else ""
        return (
            f'{cause}{agent}"bearer": "{self.bearer}", "direction": "{self.direction}", '
            f'"source": "{self.source}", "destination": "{self.destination}", '
            f'"reference": "{self.reference.hex()}", "attempt": {self.attempt}, '
            f'"octets": {self.octets}{reason}'
        )


def _ids(trace: TraceContext) -> str:
    return (
        f'"trace_id": "{trace.trace_id.hex()}", "span_id": "{trace.span_id.hex()}", '
        f'"parent_id": "{trace.parent_id.hex()}"'
    )


# ---- lines -----------------------------------------------------------------------------------------------

Taken = tuple[int, float, str, str, "TraceContext | None", Names, Names, Mapping[str, Any]]
"""When (the world's nanoseconds and simulated seconds), the level, the event, the task's trace, what is bound
to the task and to the logger, and what the event says: each goes before what stands before it."""
VOID: Final = "void"
"""The field of an event that, it turned out before its line was made, is not to be told."""
_NOTHING: Final[Mapping[str, Any]] = {}
_STILL: Final = frozenset({bool, int, float, type(None), End})


def can_wait(event: str, fields: Mapping[str, Any]) -> bool:
    """Whether an event says the same in a second, and takes no more room until then than its line."""
    for value in fields.values():
        kind = type(value)
        if kind is str:
            if len(value) > MAX_TEXT:
                return False
        elif kind not in _STILL:
            return False
    return len(event) <= MAX_TEXT and "exc_info" not in fields


def settled(fields: dict[str, Any]) -> dict[str, Any]:
    """Return what a line says of *fields*, as they are now."""
    tell_exception(fields)
    said: dict[str, Any] = json.loads(f"{{{_spelt(fields)[2:]}}}")
    return said


class Spelling:
    """Makes the lines, in the order in which they are to stand; for one thread at a time."""

    def __init__(self, process: str) -> None:
        self._process = _quoted(process)
        self._next = itertools.count(1).__next__
        self._second = (-1, "")

    def __call__(self, taken: Taken) -> str:
        """Return the line of what was taken, nothing for what is not to be told."""
        ns, at, level, event, *_, fields = taken
        if VOID in fields:
            return ""
        second, ns = divmod(ns, 1_000_000_000)
        if second != self._second[0]:
            self._second = (second, datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
        try:
            rest = _rest(taken)
        except Exception:  # noqa: BLE001 -- a fault of our own is not to end the log
            rest = _UNWRITABLE
        return (
            f'{{"time": "{self._second[1]}.{ns // 1_000:06d}+00:00", "at": {at:.6f}, "seq": {self._next()}, '
            f'"process": {self._process}, "level": "{level}", "event": {_quoted(event)}{rest}}}\n'
        )


def _rest(taken: Taken) -> str:
    """Return what stands in a line from its event on."""
    _ns, _at, _level, _event, trace, names, context, fields = taken
    end = fields.get("end")
    if type(end) is End:
        fields, told = _NOTHING, f", {_ids(end.trace)}, {end.spelt()}"
    else:
        told = f", {_ids(trace)}" if trace and "trace_id" not in fields else ""
    if _are_disjoint(names, context, fields):
        return f"{names.spelt()}{context.spelt()}{told}{_spelt(fields)}"
    return f"{told}{_spelt({**names, **context, **fields})}"


def _are_disjoint(names: Names, context: Names, fields: Mapping[str, Any]) -> bool:
    keys = context.keys()
    if not fields:
        return keys.isdisjoint(names)
    return keys.isdisjoint(names) and keys.isdisjoint(fields) and names.keys().isdisjoint(fields)
