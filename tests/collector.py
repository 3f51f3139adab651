"""A collector: takes spans by OTLP over HTTP, on a thread; OpenTelemetry's own protocol reads them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A span as a collector has it; ids are in hex, as in the log."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    begun_ns: int
    ended_ns: int
    attributes: dict[str, Any]
    resource: dict[str, Any]
    error: str
    """Empty unless the status is that of an error."""


class Collector:
    """Listens at :attr:`url` inside its block; with a *status* other than 200 it takes nothing.

    What it answers says that it rejects so many spans of each batch, or is *answer*.
    """

    def __init__(self, *, status: int = 200, rejects: int = 0, answer: bytes = b"") -> None:
        if rejects:
            said = ExportTraceServiceResponse()
            said.partial_success.rejected_spans = rejects
            said.partial_success.error_message = "no room"
            answer = said.SerializeToString()
        self.paths: set[str] = set()
        self.came = threading.Event()
        self._bodies: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.paths.add(self.path)
                if status == 200:
                    collector._bodies.append(body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                collector.came.set()

            def log_message(self, *_: object) -> None:
                """Say nothing on the screen."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="collector")

    @property
    def url(self) -> str:
        """Return what to give a fleet."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def bodies(self) -> tuple[bytes, ...]:
        """What was posted, octet by octet."""
        return tuple(self._bodies)

    @property
    def spans(self) -> list[Received]:
        """What was received so far."""
        return [span for body in self._bodies for span in _read(body)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _read(body: bytes) -> Iterable[Received]:
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = _plain(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield Received(
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    name=span.name,
                    kind=WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    begun_ns=span.start_time_unix_nano,
                    ended_ns=span.end_time_unix_nano,
                    attributes=_plain(span.attributes),
                    resource=resource,
                    error=span.status.message if span.status.code == Status.STATUS_CODE_ERROR else "",
                )


def _plain(attributes: Iterable[Any]) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
