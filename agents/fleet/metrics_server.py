"""A small HTTP server for one page, which whoever scrapes a run asks for.

It runs on the fleet's own loop, since what it reads is the loop's own: from a thread it would find dicts that
change while they are gone through. It reads and changes nothing. So that nobody who asks can disturb the run,
connections are few and short: each is answered once and closed, in ten seconds at most, however slowly its
other end speaks or listens. Where there is one too many, the one gives way that has kept us waiting longest
for its question: who opens connections and asks nothing keeps nobody out that asks at once. Whoever asks may
read everything, so it listens on this machine alone unless the person says otherwise.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from agents.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from typing import Self

    from structlog.typing import FilteringBoundLogger

    Page = Callable[[], Awaitable[bytes]]

PATH: Final = "/metrics"
LOCAL: Final = "127.0.0.1"
MAX_PORT: Final = 65_535
MAX_CONNECTIONS: Final = 16
MAX_HEAD: Final = 8192
DEADLINE_S: Final = 10.0
_PLAIN: Final = "text/plain; charset=utf-8"
_PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus's text format, which every version of it reads."""
_METHODS: Final = frozenset({"GET", "HEAD"})
_ORIGIN: Final = re.compile(r"^https?://[^/?#]*", re.IGNORECASE)
_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where to listen; port 0 is any that is free."""

    host: str = LOCAL
    port: int

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Return the endpoint that ``PORT`` or ``HOST:PORT`` names. Raises ValueError with a sentence."""
        host, colon, port = text.rpartition(":")
        if not (port.isascii() and port.isdigit() and int(port) <= MAX_PORT) or (colon and not host):
            raise ValueError(f"{text[:80]!r} is no [HOST:]PORT with a port from 0 to {MAX_PORT}")
        return cls(host=host.removeprefix("[").removesuffix("]") or LOCAL, port=int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listen(endpoint: Endpoint) -> socket.socket:
    """Return a socket that listens at *endpoint*. Raises FleetError when there is none to be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise FleetError(f"cannot serve metrics at {endpoint}: {_words(error)}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # At once: two that are only bound to one port do not notice each other.
        listener.listen(MAX_CONNECTIONS)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise FleetError(f"cannot serve metrics at {endpoint}: {_words(error)}") from None
    return listener


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "the port is in use by another program; choose another, or 0 for any that is free"
    return (getattr(error, "strerror", None) or "no such host").lower()


class MetricsServer:
    """Answers at *listener* with what it is shown; an async context manager, which closes the socket."""

    def __init__(
        self, listener: socket.socket, *, log: FilteringBoundLogger, deadline_s: float = DEADLINE_S
    ) -> None:
        host, port = listener.getsockname()[:2]
        self.url = f"http://{Endpoint(host=host, port=port)}{PATH}"
        self._listener = listener
        self._log = log
        self._deadline_s = deadline_s
        self._page: Page | None = None
        self._visits: set[asyncio.Task[None]] = set()
        self._silent: dict[asyncio.StreamWriter, None] = {}
        """Those that have asked nothing yet, the oldest first."""
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, sock=self._listener, limit=MAX_HEAD)
        self._log.info("metrics.serving", url=self.url)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for visit in self._visits:
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)
        await self._server.wait_closed()

    @contextmanager
    def showing(self, page: Page) -> Iterator[None]:
        """Answer with *page*; before and after there is nothing to be seen, which is said."""
        self._page = page
        try:
            yield
        finally:
            self._page = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._visits) >= MAX_CONNECTIONS and not self._made_room():
            writer.transport.abort()
            return
        visit = asyncio.create_task(self._serve(reader, writer), name="metrics.visit")
        self._visits.add(visit)
        self._silent[writer] = None
        visit.add_done_callback(self._visits.discard)

    def _made_room(self) -> bool:
        """Cut off who has been silent for longest, whose visit then ends; say whether there was one."""
        writer = next(iter(self._silent), None)
        if writer is None:
            return False
        del self._silent[writer]
        writer.transport.abort()
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                head = await _head_from(reader)
                self._silent.pop(writer, None)
                writer.write(await self._answer(head))
                writer.close()
                await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass  # it went away, or took its time
        finally:
            self._silent.pop(writer, None)
            writer.transport.abort()

    async def _answer(self, head: bytes | None) -> bytes:
        if head is None:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        method, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
        target, _, version = rest.partition(" ")
        response = await self._response_to(method, target, version)
        # RFC 9110 §9.3.2: no answer to HEAD has a body, whatever it says of one.
        return response.partition(_END)[0] + _END if method == "HEAD" else response

    async def _response_to(self, method: str, target: str, version: str) -> bytes:
        if not version.startswith("HTTP/1."):
            return _response(HTTPStatus.BAD_REQUEST)
        if method not in _METHODS:
            return _response(HTTPStatus.METHOD_NOT_ALLOWED)
        # RFC 9112 §3.2.2: the whole URL is a target as well, and what a proxy sends.
        if _ORIGIN.sub("", target, count=1).partition("?")[0] != PATH:
            return _response(HTTPStatus.NOT_FOUND, f"the metrics are at {PATH}\n".encode())
        return await self._metrics()

    async def _metrics(self) -> bytes:
        if self._page is None:
            return _response(HTTPStatus.SERVICE_UNAVAILABLE, b"the fleet is not up\n")
        try:
            body = await self._page()
        except Exception:  # noqa: BLE001 -- a scrape must not take the run down with it
            self._log.exception("metrics.failed")
            return _response(HTTPStatus.INTERNAL_SERVER_ERROR)
        return _response(HTTPStatus.OK, body, content_type=_PROMETHEUS)


async def _head_from(reader: asyncio.StreamReader) -> bytes | None:
    """Return a request's line and fields; None when they are too long."""
    try:
        return await reader.readuntil(_END)
    except asyncio.LimitOverrunError:
        return None


def _response(status: HTTPStatus, body: bytes = b"", *, content_type: str = _PLAIN) -> bytes:
    body = body or f"{status.phrase.lower()}\n".encode()
    allow = ["Allow: GET, HEAD"] if status is HTTPStatus.METHOD_NOT_ALLOWED else []
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *allow,
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + _END + body
