"""The transaction that something belongs to which outlives a launch, as it is stored.

What another launch goes on with by itself, a campaign say, is told in the trace of the order that began it:
in a span of its own, which begins in the one that the launch before did it in.
"""

from __future__ import annotations

from typing import Final

from bus import spans, tracing
from bus.frame import TraceContext

_TRACE_OCTETS: Final = 16


def stored(trace: TraceContext) -> bytes:
    """Return *trace* as a column has it."""
    return trace.trace_id + trace.span_id


def continued(octets: bytes) -> TraceContext:
    """Begin a span in the one that was stored."""
    return tracing.child(TraceContext(trace_id=octets[:_TRACE_OCTETS], span_id=octets[_TRACE_OCTETS:]))


def export(span: TraceContext, agent: str, service: str) -> None:
    """Tell whoever takes spans that *agent* goes on in *span* with what it does for *service*."""
    if spans.is_exported():
        said = {"otafleet.service": service}
        spans.tell(spans.Work(span), f"go on with {service}", spans.Kind.INTERNAL, agent, said)
