"""The two ends of a message in the log: that it was sent, and that it was taken, or what became of it.

A message on its way is a span, which begins in the one that sent it; who takes it begins a span in the
message's. So the lines of both ends carry the message's own span, whichever processes wrote them, and a
repetition, sent under the same reference, is a span beside the first. A message that both ends tell of is
whole; one with a first end alone is on its way still, unless a loss is told of it.

A message's parent is the work that sent it, of which there may be no line: nothing else came of it. So the
first end says as ``cause_id`` also which message that work began with; without one it is a transaction's
first.

Pages of a cell broadcast are told at the level debug: each is for many, and there are many. What a broadcast
came to is told by whoever broadcasts it, and by each module that took it.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from bus import spans, tracing
from bus.frame import Bearer
from bus.log_lines import End
from bus.spans import Kind
from bus.topics import direction_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from structlog.typing import FilteringBoundLogger

    from bus.frame import Frame, TraceContext

SENT: Final = "message.sent"
TAKEN: Final = "message.taken"
LOST: Final = "message.lost"
_QUIET: Final = frozenset({Bearer.CELL_BROADCAST})


def tell(
    log: FilteringBoundLogger,
    event: str,
    frame: Frame,
    direction: str,
    *,
    span: TraceContext | None = None,
    agent: str = "",
    reason: str = "",
) -> None:
    """Log one end of *frame*'s way, or its loss for *reason*; *span* is the message's where it begins.

    *agent* is whose end it is, where neither the task nor *log* is bound to one: a cell speaks for many.
    """
    if spans.is_exported():
        _export(event, frame, direction, span, reason)
    quiet = frame.bearer in _QUIET
    if not log.is_enabled_for(logging.DEBUG if quiet else logging.INFO):
        return
    end = End(  # of the frame, whose octets are not to wait for the disk
        span or frame.trace,
        frame.bearer,
        direction,
        frame.source,
        frame.destination,
        frame.reference,
        frame.attempt,
        len(frame.pdu),
        reason,
        agent if spans.is_ua(agent) else "",
        frame.trace.cause_id if span is not None else b"",
    )
    (log.debug if quiet else log.info)(event, end=end)


# ---- the spans, for whoever exports them -----------------------------------------------------------------

_AT_HAND: Final = nullcontext()


def on_its_way(frame: Frame, path: str, span: TraceContext) -> AbstractContextManager[None]:
    """Return what is around the sending of *frame* to the topic *path*: *span*, if anybody exports it."""
    return _timed(frame, path, span) if spans.is_exported() else _AT_HAND


@contextmanager
def _timed(frame: Frame, path: str, span: TraceContext) -> Iterator[None]:
    work, error = spans.Work(span), "not-sent"
    try:
        yield
        error = ""
    finally:
        _tell_sent(work, frame, direction_of(path), error, path)


def _tell_sent(work: spans.Work, frame: Frame, direction: str, error: str, path: str = "") -> None:
    said = spans.of_message(frame, "publish", direction)
    if path:
        said["messaging.destination.name"] = path
    spans.tell(work, f"send {frame.label}", Kind.PRODUCER, frame.source, said, error)


def _export(event: str, frame: Frame, direction: str, span: TraceContext | None, reason: str) -> None:
    """Tell of the arrival or of the loss of *frame*; a page's are not told, as each would be for many."""
    if event == SENT or frame.bearer in _QUIET:
        return
    if span is not None:  # lost before it reached the network: then this is all that its span came to
        _tell_sent(spans.Work(span), frame, direction, reason)
        return
    name, kind = ("receive", Kind.CONSUMER) if event == TAKEN else ("lose", Kind.INTERNAL)
    said = spans.of_message(frame, name, direction)
    spans.tell(
        spans.Work(tracing.child(frame.trace)), f"{name} {frame.label}", kind, frame.destination, said, reason
    )
