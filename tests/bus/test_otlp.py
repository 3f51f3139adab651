"""Spans to a collector: what it has of them, and what it costs that there is none."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from bus.frame import TraceContext
from bus.otlp import Bounds, OtlpExport, exporter_to
from bus.sampling import Sampling
from bus.spans import Kind, Span
from tests.collector import Collector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

TRACE_ID = bytes(range(16))
ROOMY = Bounds(waiting=100)


class _Said:
    """An export, and what it said of how it went."""

    def __init__(self, exporter: SpanExporter, *, ratio: float = 1.0, bounds: Bounds = ROOMY) -> None:
        self.warnings: list[str] = []
        self.lost: list[int] = []
        self.warned = threading.Event()
        self.export = OtlpExport(
            exporter,
            sampling=Sampling(ratio=ratio),
            service_of={"bank": "bank"}.__getitem__,
            resource={"service.namespace": "demo"},
            now=lambda: 12.5,
            warn=self._warn,
            lost=self.lost.append,
            bounds=bounds,
        )

    def _warn(self, why: str) -> None:
        self.warnings.append(why)
        self.warned.set()


class _Stuck(SpanExporter):
    """Takes no batch before it is told to go on, and then none either: it raises."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.began.set()
        self.go_on.wait()
        raise RuntimeError(f"{len(spans)} spans are too many")

    def shutdown(self) -> None:
        self.go_on.set()


class _Deaf(_Stuck):
    """Does not even hear that it is over."""

    def shutdown(self) -> None:
        """Do nothing."""


def span(number: int, *, error: str = "") -> Span:
    """Return a span that another began."""
    trace = TraceContext(trace_id=TRACE_ID, span_id=(number + 1).to_bytes(8, "big"), parent_id=b"\xff" * 8)
    return Span(
        trace=trace,
        name="send sms",
        kind=Kind.PRODUCER,
        agent="bank",
        begun_ns=1_000 + number,
        ended_ns=2_000,
        attributes={"otafleet.octets": 140},
        error=error,
    )


def test_a_collector_has_the_span() -> None:
    """Under our ids, with its times, its status, its service, and the simulated time at its end."""
    with Collector() as collector:
        said = _Said(exporter_to(f"{collector.url}/v1/traces"))
        said.export.take(span(1, error="air"))
        said.export.take(span(2))
        said.export.close()
    first, second = collector.spans
    assert (first.trace_id, first.span_id, first.parent_id) == (TRACE_ID.hex(), "0" * 15 + "2", "f" * 16)
    assert (first.name, first.kind, first.begun_ns, first.ended_ns) == ("send sms", "PRODUCER", 1_001, 2_000)
    assert (first.error, second.error) == ("air", "")
    assert first.attributes == {"otafleet.octets": 140, "otafleet.agent": "bank", "otafleet.at": 12.5}
    assert {"service.namespace": "demo", "service.name": "bank"}.items() <= first.resource.items()
    assert (said.warnings, said.lost) == ([], [])


def test_what_is_not_sampled_is_not_sent() -> None:
    """A ratio of 0 sends nothing."""
    with Collector() as collector:
        said = _Said(exporter_to(collector.url), ratio=0.0)
        said.export.take(span(1))
        said.export.close()
    assert (collector.bodies, said.lost) == ((), [])


def test_what_a_collector_rejects_of_a_batch_is_lost() -> None:
    """It takes the batch, but for some: why is told once, and how many they were at the end."""
    with Collector(rejects=2) as collector:
        said = _Said(exporter_to(collector.url))
        for number in range(3):
            said.export.take(span(number))
        assert said.warned.wait(10)
        said.export.take(span(3))
        said.export.close()
    assert said.warnings == ["it rejects 2 of 3 spans: no room"]
    assert said.lost == [3]


@pytest.mark.parametrize("answer", [b"{}", b"\x0a\x02\x08\x00", b"\xff"], ids=["json", "none", "nothing"])
def test_an_answer_that_rejects_nothing(answer: bytes) -> None:
    """Whatever else a collector answers, a batch that it took is taken."""
    with Collector(answer=answer) as collector:
        said = _Said(exporter_to(collector.url))
        said.export.take(span(1))
        said.export.close()
    assert (said.warnings, said.lost) == ([], [])


def test_a_collector_that_refuses(caplog: pytest.LogCaptureFixture) -> None:
    """Its refusal is told once, and how much was lost at the end; the library says nothing by itself."""
    with Collector(status=400) as collector:
        said = _Said(exporter_to(collector.url))
        for number in range(3):
            said.export.take(span(number))
        assert said.warned.wait(10)
        said.export.take(span(3))
        said.export.close()
    assert len(said.warnings) == 1
    assert "400" in said.warnings[0]
    assert said.lost == [4]
    assert caplog.records == []
    assert logging.getLogger("opentelemetry").propagate


def test_a_collector_that_is_away() -> None:
    """Nobody listens there: the end does not wait for the library's next attempt, and says what was lost."""
    with Collector() as collector:
        url = collector.url
    said = _Said(exporter_to(url))
    said.export.take(span(1))
    said.export.close()
    assert said.lost == [1]
    assert len(said.warnings) == 1


def test_a_slow_collector_costs_spans_and_no_memory() -> None:
    """While a batch is stuck, so many spans wait and no more; who takes spans never waits and never fails."""
    stuck = _Stuck()
    said = _Said(stuck, bounds=Bounds(waiting=10))
    said.export.take(span(0))
    assert stuck.began.wait(10)
    for number in range(1, 31):
        said.export.take(span(number))
    stuck.go_on.set()
    said.export.close()
    assert said.lost == [31]
    assert said.warnings == ["RuntimeError"]


def test_a_collector_that_never_answers() -> None:
    """The end does not wait for it, and tells so; what it was given is lost with what it was not."""
    deaf = _Deaf()
    said = _Said(deaf, bounds=Bounds(linger_s=0.01))
    said.export.take(span(0))
    assert deaf.began.wait(10)
    said.export.take(span(1))
    said.export.close()
    deaf.go_on.set()
    assert (said.warnings, said.lost) == (["it does not answer"], [2])


def test_a_redirection_is_no_success() -> None:
    """Who points to another place has not taken the spans; that is told, and they are counted."""
    with Collector(status=308) as collector:
        said = _Said(exporter_to(collector.url))
        said.export.take(span(0))
        said.export.close()
    assert said.lost == [1]
    assert len(said.warnings) == 1
    assert "a redirection (308), which is not followed" in said.warnings[0]
