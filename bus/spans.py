"""Spans with their times, for whoever exports them; where nobody does, each place here is one check for None.

The log tells what happened within a span; a span itself, when it began, when it ended and whether it came to
anything, is told here, once, when it has ended. There are four kinds of them:

=========  ==================================================  ===============================================
kind       what it is                                          begins and ends
=========  ==================================================  ===============================================
client     an order of the console: a transaction's root       it is given; it has been answered, or not
producer   a message on its way: the span that it carries      it sets out; the broker has it
consumer   it arrives (``receive``), a child of the message    at once
consumer   an agent's work on it (``process``), likewise       it is handed in; the handler returns
internal   a loss that the air told of, a child of the         at once
           message; a fall-back to another bearer, a child
           of what failed; what a later launch goes on with;
           work of a handset that no message began
=========  ==================================================  ===============================================

Ids are those of the log (:mod:`bus.tracing`). Attributes have the names of OpenTelemetry's conventions for
messaging where there are such, else ``otafleet.``; there is nothing among them that the log has not.
"""

from __future__ import annotations

import contextlib
import re
import time
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from bus.frame import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bus.frame import TraceContext

_UA: Final = re.compile(r"[0-9]{18,20}")


class Kind(StrEnum):
    """What OpenTelemetry calls a span's kind."""

    INTERNAL = "INTERNAL"
    CLIENT = "CLIENT"
    PRODUCER = "PRODUCER"
    CONSUMER = "CONSUMER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span that has ended; *error* is why it came to nothing, else empty. Times are the world's."""

    trace: TraceContext
    name: str
    kind: Kind
    agent: str
    begun_ns: int
    ended_ns: int
    attributes: Mapping[str, str | int]
    error: str = ""
    of_page: bool = False
    """Whether it is an agent's work on a page of a cell broadcast, or something that it did in that."""


class Exporter(Protocol):
    """Takes spans, without waiting and without raising."""

    def take(self, span: Span) -> None:
        """Take one, from the loop's thread."""


class _Installed:
    """What this process has once, as its log: who exports its spans."""

    exporter: Exporter | None = None


class Work:
    """A span under way."""

    __slots__ = ("begun_ns", "error", "of_page", "trace")

    def __init__(self, trace: TraceContext) -> None:
        self.trace = trace
        self.of_page = False
        self.begun_ns = time.time_ns()
        self.error = ""


_WORK: Final[ContextVar[Work | None]] = ContextVar("otafleet_work", default=None)


@contextlib.contextmanager
def exported_by(exporter: Exporter) -> Iterator[None]:
    """Give *exporter* the spans of this process until the block ends."""
    _Installed.exporter = exporter
    try:
        yield
    finally:
        _Installed.exporter = None


def is_exported() -> bool:
    """Whether anybody takes spans."""
    return _Installed.exporter is not None


def tell(
    work: Work, name: str, kind: Kind, agent: str, attributes: Mapping[str, str | int], error: str = ""
) -> None:
    """Say that *work* has ended now."""
    if _Installed.exporter is None:
        return
    error, within = error or work.error, _WORK.get()
    _Installed.exporter.take(
        Span(
            trace=work.trace,
            name=name,
            kind=kind,
            agent=agent,
            begun_ns=work.begun_ns,
            ended_ns=max(work.begun_ns, time.time_ns()),
            attributes={**attributes, "otafleet.reason": error} if error else attributes,
            error=error,
            of_page=work.of_page or (within is not None and within.of_page),
        )
    )


# ---- an agent's work on one message ----------------------------------------------------------------------


def begin(trace: TraceContext) -> None:
    """Begin the span *trace* in this task."""
    if _Installed.exporter is not None:
        _WORK.set(Work(trace))


def forget() -> None:
    """Leave alone what whoever started this task works on."""
    if _Installed.exporter is not None:
        _WORK.set(None)


def fail(reason: str) -> None:
    """Say that what this task works on came to nothing, and why; the first word counts."""
    if _Installed.exporter is not None and (work := _WORK.get()) is not None:
        work.error = work.error or reason


def of_page() -> None:
    """Say that what this task works on is a page, which may be anybody's."""
    if _Installed.exporter is not None and (work := _WORK.get()) is not None:
        work.of_page = True


def end(message: object, names: Mapping[str, str]) -> None:
    """End the span of this task's work on *message*, if one began; *names* are what is bound to the task.

    A message of the bus says as its ``label`` what it is called.
    """
    if _Installed.exporter is None or (work := _WORK.get()) is None:
        return
    _WORK.set(None)
    attributes: dict[str, str | int] = {
        f"otafleet.{name}": names[name] for name in ("role", "ua", "service") if names.get(name)
    }
    agent, label = names.get("agent", ""), getattr(message, "label", None)
    if label is None:  # what came from nobody: the end of a timer, or that a handset is in reach
        tell(work, type(message).__name__, Kind.INTERNAL, agent, attributes)
        return
    attributes |= _operation("process")
    if isinstance(message, Frame):
        attributes |= of_frame(message)
    tell(work, f"process {label}", Kind.CONSUMER, agent, attributes)


# ---- messages --------------------------------------------------------------------------------------------


def is_ua(name: str) -> bool:
    """Whether *name* is a module's address, as no name or number of a role is."""
    return _UA.fullmatch(name) is not None


def of_frame(frame: Frame) -> dict[str, str | int]:
    """Return what a span says of the message in *frame*."""
    said: dict[str, str | int] = {
        "messaging.message.id": frame.reference.hex(),
        "messaging.message.body.size": len(frame.pdu),
        "otafleet.bearer": str(frame.bearer),
        "otafleet.source": frame.source,
        "otafleet.destination": frame.destination,
        "otafleet.octets": len(frame.pdu),
        "otafleet.attempt": frame.attempt,
    }
    for name in (frame.source, frame.destination):
        if is_ua(name):
            said["otafleet.ua"] = name
    return said


def of_message(frame: Frame, operation: str, direction: str) -> dict[str, str | int]:
    """Return what a span says of *operation* on the message in *frame*."""
    return {**_operation(operation), **of_frame(frame), "otafleet.direction": direction}


def _operation(name: str) -> dict[str, Any]:
    return {
        "messaging.system": "mqtt",
        "messaging.operation.name": name,
        "messaging.operation.type": "send" if name == "publish" else name,
    }
