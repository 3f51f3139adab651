"""The server of the metrics: what it answers, and that nobody who asks can hold it up."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from agents.errors import FleetError
from agents.fleet.metrics_server import MAX_CONNECTIONS, MAX_HEAD, Endpoint, MetricsServer, listen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from structlog.typing import FilteringBoundLogger

PAGE = b"# a page\n"
ANY = Endpoint(port=0)
MUCH = 64 * 1024 * 1024


async def page() -> bytes:
    """Return what is served."""
    return PAGE


@asynccontextmanager
async def serving(log: FilteringBoundLogger, *, deadline_s: float = 10.0) -> AsyncIterator[MetricsServer]:
    """Yield a server at a free port."""
    async with MetricsServer(listen(ANY), log=log, deadline_s=deadline_s) as server:
        yield server


def port_of(server: MetricsServer) -> int:
    """Return where it listens."""
    return int(server.url.rpartition(":")[2].partition("/")[0])


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the connection ends, in whichever way."""
    octets = b""
    with suppress(ConnectionResetError):
        while some := await reader.read(65536):
            octets += some
    return octets


async def ask(server: MetricsServer, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Return status, header fields and body of the answer to *request*."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(request)
    try:
        async with asyncio.timeout(10):
            answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return int(status.split()[1]), dict(field.split(": ", 1) for field in fields), body


async def test_a_page_is_served_while_there_is_one(log: FilteringBoundLogger) -> None:
    """Before the fleet is up, and when it is no more, that is said; in between stands the page, whole."""
    request = b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n"
    async with serving(log) as server:
        assert (await ask(server, request))[0] == 503
        with server.showing(page):
            status, fields, body = await ask(server, request)
        assert (status, body) == (200, PAGE)
        assert fields["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert (fields["Content-Length"], fields["Connection"]) == (str(len(PAGE)), "close")
        assert (await ask(server, request))[0] == 503


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        (b"GET /metrics?name=x HTTP/1.0", 200, PAGE),
        (b"HEAD /metrics HTTP/1.1", 200, b""),
        (b"HEAD / HTTP/1.1", 404, b""),
        (b"HEAD /metrics HTTP/2.0", 400, b""),
        (b"GET http://127.0.0.1:9464/metrics HTTP/1.1", 200, PAGE),
        (b"GET http://127.0.0.1:9464 HTTP/1.1", 404, b"the metrics are at /metrics\n"),
        (b"GET / HTTP/1.1", 404, b"the metrics are at /metrics\n"),
        (b"GET /metrics/ HTTP/1.1", 404, b"the metrics are at /metrics\n"),
        (b"POST /metrics HTTP/1.1", 405, b"method not allowed\n"),
        (b"GET /metrics", 400, b"bad request\n"),
        (b"\x16\x03\x01\x00\xff", 400, b"bad request\n"),
        (b"", 400, b"bad request\n"),
    ],
    ids=[
        *("query", "head", "head-elsewhere", "head-no-version", "url", "url-root", "root"),
        *("other-path", "post", "no-version", "tls", "empty"),
    ],
)
async def test_each_request_has_its_answer(
    log: FilteringBoundLogger, request_line: bytes, status: int, body: bytes
) -> None:
    """One page, read by GET or HEAD; whatever else comes gets a status and is logged by nobody."""
    with capture_logs() as lines:
        async with serving(log) as server:
            with server.showing(page):
                answer = await ask(server, request_line + b"\r\n\r\n")
    assert (answer[0], answer[2]) == (status, body)
    assert [line["event"] for line in lines] == ["metrics.serving"]


async def test_a_head_without_end_is_not_read(log: FilteringBoundLogger) -> None:
    """Past its bound a request is refused, however it goes on."""
    async with serving(log) as server:
        status, _, _ = await ask(server, b"GET /metrics HTTP/1.1\r\nX: " + bytes(2 * MAX_HEAD))
    assert status == 431


async def test_who_says_nothing_and_who_does_not_listen_is_cut_off(log: FilteringBoundLogger) -> None:
    """Neither a silent connection nor a page that nobody takes lasts longer than the deadline."""

    async def much() -> bytes:
        return bytes(MUCH)

    async with serving(log, deadline_s=0.2) as server:
        with server.showing(much):
            deaf, deaf_writer = await asyncio.open_connection("127.0.0.1", port_of(server), limit=1024)
            deaf_writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            silent, silent_writer = await asyncio.open_connection("127.0.0.1", port_of(server))
            async with asyncio.timeout(10):
                assert await rest(silent) == b""
                # It came later than the deaf one, whose time is up too.
                assert 0 < len(await rest(deaf)) < MUCH
        silent_writer.close()
        deaf_writer.close()


async def test_one_too_many_is_closed_and_others_are_served_again(log: FilteringBoundLogger) -> None:
    """So many may wait for the page at once; the next one is closed, and when they go there is room."""
    asked, ready = asyncio.Semaphore(0), asyncio.Event()

    async def later() -> bytes:
        asked.release()
        await ready.wait()
        return PAGE

    async with serving(log) as server:
        with server.showing(later):
            held = [
                await asyncio.open_connection("127.0.0.1", port_of(server)) for _ in range(MAX_CONNECTIONS)
            ]
            for _, other in held:
                other.write(b"GET /metrics HTTP/1.1\r\n\r\n")
                await asked.acquire()
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
            async with asyncio.timeout(10):
                assert await rest(reader) == b""
                writer.close()
                ready.set()
                assert all([(await other.read()).endswith(PAGE) for other, _ in held])
                for _, other in held:
                    other.close()
            assert (await ask(server, b"GET /metrics HTTP/1.1\r\n\r\n"))[0] == 200


async def test_who_asks_nothing_keeps_nobody_out(log: FilteringBoundLogger) -> None:
    """Of many silent connections, some of which have begun to speak, the oldest give way to who asks."""
    async with serving(log) as server:
        with server.showing(page):
            silent = []
            for _ in range(3 * MAX_CONNECTIONS):
                reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
                writer.write(b"GET /metr")
                silent.append((reader, writer))
                assert (await ask(server, b"GET /metrics HTTP/1.1\r\n\r\n"))[2] == PAGE
            async with asyncio.timeout(10):
                cut_off = [await rest(reader) for reader, _ in silent[:-MAX_CONNECTIONS]]
            newest, writer = silent[-1]
            writer.write(b"ics HTTP/1.1\r\n\r\n")
            assert (await rest(newest)).endswith(PAGE)
        assert cut_off == [b""] * (2 * MAX_CONNECTIONS)
        for _, writer in silent:
            writer.close()


async def test_a_page_that_fails_costs_one_answer(log: FilteringBoundLogger) -> None:
    """A fault of our own is logged and answered with 500; the server goes on."""

    async def broken() -> bytes:
        raise LookupError("nothing there")

    with capture_logs() as lines:
        async with serving(log) as server:
            with server.showing(broken):
                assert (await ask(server, b"GET /metrics HTTP/1.1\r\n\r\n"))[0] == 500
            with server.showing(page):
                assert (await ask(server, b"GET /metrics HTTP/1.1\r\n\r\n"))[0] == 200
    assert [line["event"] for line in lines] == ["metrics.serving", "metrics.failed"]


async def test_who_waits_for_a_page_does_not_keep_the_server(log: FilteringBoundLogger) -> None:
    """A server that is left ends what is under way."""
    asked = asyncio.Event()

    async def never() -> bytes:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(log) as server:
        with server.showing(never):
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
            writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            await asked.wait()
    async with asyncio.timeout(10):
        assert await rest(reader) == b""
    writer.close()


def test_a_port_that_is_taken_is_refused_in_a_sentence() -> None:
    """Who listens there first keeps it; the sentence names the place and what to do."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(FleetError) as caught:
            listen(Endpoint(port=port))
    assert str(caught.value) == (
        f"cannot serve metrics at 127.0.0.1:{port}: the port is in use by another program; "
        "choose another, or 0 for any that is free"
    )


@pytest.mark.parametrize(
    "host", ["203.0.113.7", "no.such.host.invalid", "x" * 80], ids=["far", "name", "long"]
)
def test_a_host_that_is_not_ours_is_refused_in_a_sentence(host: str) -> None:
    """An address that this machine does not have, or a name that nobody knows."""
    with pytest.raises(FleetError, match=rf"^cannot serve metrics at {host}:0: [a-z]"):
        listen(Endpoint(host=host, port=0))


@pytest.mark.parametrize(
    ("text", "endpoint", "shown"),
    [
        ("9464", Endpoint(host="127.0.0.1", port=9464), "127.0.0.1:9464"),
        ("0.0.0.0:1", Endpoint(host="0.0.0.0", port=1), "0.0.0.0:1"),  # noqa: S104 -- a person may say so
        ("[::1]:65535", Endpoint(host="::1", port=65535), "[::1]:65535"),
        ("box:0", Endpoint(host="box", port=0), "box:0"),
    ],
    ids=["port", "everywhere", "version-6", "name"],
)
def test_an_endpoint_is_a_port_or_a_host_with_one(text: str, endpoint: Endpoint, shown: str) -> None:
    """Without a host it is this machine alone."""
    assert Endpoint.parse(text) == endpoint
    assert str(endpoint) == shown


@pytest.mark.parametrize("text", ["", "port", "-1", "65536", ":80", "box:", "1.5", "٣"], ids=ascii)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    """The sentence says what it should have been."""
    with pytest.raises(ValueError, match=r"is no \[HOST:\]PORT with a port from 0 to 65535"):
        Endpoint.parse(text)
