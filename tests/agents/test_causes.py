"""What outlives a launch keeps its transaction."""

from __future__ import annotations

from agents.causes import continued, export, stored
from bus import spans
from bus.frame import TraceContext
from bus.spans import Kind, Span

TRACE = TraceContext(trace_id=bytes(range(16)), span_id=b"\x11" * 8, parent_id=b"\x22" * 8)


class Kept:
    """Keeps the spans that are exported."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def take(self, span: Span) -> None:
        """Keep one."""
        self.spans.append(span)


def test_what_goes_on_lies_in_what_was_done_before() -> None:
    """In a span of its own, in the same trace; whoever exports spans has it, with what it is about."""
    kept, span = Kept(), continued(stored(TRACE))
    assert (span.trace_id, span.parent_id) == (TRACE.trace_id, TRACE.span_id)
    assert span.span_id != TRACE.span_id
    export(span, "shop", "points")
    assert kept.spans == []
    with spans.exported_by(kept):
        export(span, "shop", "points")
    (told,) = kept.spans
    assert (told.trace, told.name, told.kind) == (span, "go on with points", Kind.INTERNAL)
    assert (told.agent, told.attributes["otafleet.service"]) == ("shop", "points")
