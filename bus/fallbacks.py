"""A fall-back: where one bearer failed, what is tried over the next is a span of its own.

It begins in the span in which the first was tried, and so on: of three bearers the third's span lies in the
second's. What is sent over a bearer begins in that bearer's span, as do the lines that are told meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus import spans, tracing

if TYPE_CHECKING:
    from bus.frame import TraceContext


def fall_back(trace: TraceContext, agent: str, bearer: str) -> TraceContext:
    """Begin what *agent* tries over *bearer* because what it tried in *trace* failed."""
    span = tracing.child(trace)
    if spans.is_exported():
        said = {"otafleet.bearer": bearer}
        spans.tell(spans.Work(span), f"fall back to {bearer}", spans.Kind.INTERNAL, agent, said)
    return span
