"""Spans to a collector, by OTLP over HTTP: a bounded queue, and a thread that encodes and sends.

The loop only appends. A collector that is away, too slow, or rejects some costs spans, of which there is one
word when it begins and one, with their number, at the end; it costs the fleet no time and no memory beyond
:data:`MAX_WAITING` spans. Ids are ours, so that a collector's view, the log and a chart speak of the same.

The only module that needs the extra ``otel``; it is imported by whoever has somewhere to export to.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode
from requests import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.trace.export import SpanExporter
    from requests import Response

    from bus.frame import TraceContext
    from bus.sampling import Sampling
    from bus.spans import Span

MAX_WAITING: Final = 20_000
BATCH: Final = 512
SEND_EVERY_S: Final = 1.0
LINGER_S: Final = 3.0
"""How long the end of a run waits for a collector that takes what is left."""
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_LIBRARY: Final = "opentelemetry"


class Bounds(NamedTuple):
    """What a collector that is slow may cost: spans that wait for it, and how long the end of a run does."""

    waiting: int = MAX_WAITING
    linger_s: float = LINGER_S


_BOUNDS: Final = Bounds()


class _Complaints(logging.Handler):
    """Keeps the first thing that the library says of a batch; it would say more of each."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or record.getMessage()


class _Exporter(OTLPSpanExporter):
    """The library's, which takes a batch for taken even if the collector says that it rejects some of it."""

    def __init__(self, endpoint: str) -> None:
        session = Session()
        session.hooks["response"] = [_refuse_redirection, self._look]
        super().__init__(endpoint=endpoint, session=session)
        self.rejected = 0
        """Spans of the last batch."""
        self.why = ""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        self.rejected, self.why = 0, ""
        return super().export(spans)

    def _look(self, response: Response, **_: object) -> None:
        # OTLP, "Partial Success". What is no such message rejects nothing.
        if response.ok:
            with contextlib.suppress(DecodeError):
                said = ExportTraceServiceResponse.FromString(response.content).partial_success
                self.rejected, self.why = max(0, said.rejected_spans), said.error_message


def exporter_to(endpoint: str) -> SpanExporter:
    """Return what sends to *endpoint*; headers, certificates and time-outs it reads in the environment.

    Raises ValueError for what it cannot make sense of there.
    """
    return _Exporter(endpoint)


def _refuse_redirection(response: Response, **_: object) -> None:
    """Raise ValueError for what the library takes for success, though nobody has the spans then."""
    if 300 <= response.status_code < 400:
        response.close()
        raise ValueError(f"a redirection ({response.status_code}), which is not followed")


class _Service(Resource):
    """A resource that knows its hash: the encoder asks each span for it, and spelt all of it each time."""

    def __init__(self, of: Resource) -> None:
        super().__init__(of.attributes, of.schema_url)
        self._hash = hash(of)

    def __hash__(self) -> int:
        return self._hash


class OtlpExport:
    """Sends spans with *exporter*, as :func:`exporter_to` returns one.

    *service_of* names the service that an agent belongs to; *resource* is what is the same for all of them;
    *now* is simulated time. *warn* is called once, from whichever thread, with why spans are not taken, and
    *lost* at the end with how many were not, if any. Closing blocks for twice ``linger_s`` at most.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        sampling: Sampling,
        service_of: Callable[[str], str],
        resource: Mapping[str, str],
        now: Callable[[], float],
        warn: Callable[[str], None],
        lost: Callable[[int], None],
        bounds: Bounds = _BOUNDS,
    ) -> None:
        self._exporter = exporter
        self._sampling = sampling
        self._service_of = service_of
        self._given = resource
        self._now = now
        self._warn = warn
        self._tell_lost = lost
        self._bounds = bounds
        self._scope = InstrumentationScope("otafleet", version("otafleet"))
        self._resources: dict[str, Resource] = {}
        self._waiting: deque[tuple[Span, float]] = deque()
        self._wanted = self._delivered = 0
        """Spans: what is not among the latter at the end is lost, wherever it was by then."""
        self._warned = self._failing = False
        self._wake, self._stopping, self._hurry = threading.Event(), threading.Event(), threading.Event()
        self._complaints = _Complaints()
        library = logging.getLogger(_LIBRARY)
        self._propagated, library.propagate = library.propagate, False
        library.addHandler(self._complaints)
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
        self._thread.start()

    # ---- the loop's side ----

    def take(self, span: Span) -> None:
        """Take *span*, if it is sampled and there is room for it."""
        if not self._sampling.wants(span):
            return
        self._wanted += 1
        if len(self._waiting) >= self._bounds.waiting:
            return
        self._waiting.append((span, self._now()))
        if len(self._waiting) >= BATCH:
            self._wake.set()

    def close(self) -> None:
        """Send what is left, if somebody takes it, and end."""
        self._stopping.set()
        self._wake.set()
        if not self._failing:
            self._thread.join(self._bounds.linger_s)
        self._hurry.set()
        self._exporter.shutdown()
        self._thread.join(self._bounds.linger_s)
        library = logging.getLogger(_LIBRARY)
        library.removeHandler(self._complaints)
        library.propagate = self._propagated
        if self._thread.is_alive():
            self._complain("it does not answer")
        if self._wanted > self._delivered:
            self._tell_lost(self._wanted - self._delivered)

    # ---- the thread's side ----

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(SEND_EVERY_S)
            self._wake.clear()
            while self._waiting and not self._hurry.is_set():
                self._send([self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))])

    def _send(self, batch: Sequence[tuple[Span, float]]) -> None:
        self._complaints.first = ""
        try:
            result = self._exporter.export([self._readable(span, at) for span, at in batch])
            why = self._complaints.first
        except Exception as error:  # noqa: BLE001 -- a library's fault costs spans, not the thread
            result, why = SpanExportResult.FAILURE, type(error).__name__
        self._failing = result is not SpanExportResult.SUCCESS
        if self._failing:
            self._complain(why)
            return
        self._delivered += len(batch)
        if isinstance(self._exporter, _Exporter) and self._exporter.rejected:
            rejected = min(self._exporter.rejected, len(batch))
            self._delivered -= rejected
            self._complain(f"it rejects {rejected} of {len(batch)} spans: {self._exporter.why}")

    def _complain(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(why)

    def _readable(self, span: Span, at: float) -> ReadableSpan:
        trace = span.trace
        return ReadableSpan(
            name=span.name,
            context=_context(trace, trace.span_id),
            parent=_context(trace, trace.parent_id) if trace.parent_id else None,
            resource=self._resource(self._service_of(span.agent)),
            attributes={**span.attributes, "otafleet.agent": span.agent, "otafleet.at": at},
            kind=SpanKind[span.kind],
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
            start_time=span.begun_ns,
            end_time=span.ended_ns,
            instrumentation_scope=self._scope,
        )

    def _resource(self, service: str) -> Resource:
        if service not in self._resources:
            made = Resource.create({**self._given, "service.name": service})
            self._resources[service] = _Service(made)
        return self._resources[service]


def _context(trace: TraceContext, span_id: bytes) -> SpanContext:
    return SpanContext(
        trace_id=int.from_bytes(trace.trace_id, "big"),
        span_id=int.from_bytes(span_id, "big"),
        is_remote=False,
        trace_flags=_SAMPLED,
    )
