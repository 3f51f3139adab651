from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
import sys
from typing import TYPE_CHECKING, Final

import pytest
from structlog.testing import capture_logs

from bus import broker_process
from bus.address import BrokerAddress
from bus.broker import open_broker
from bus.client import BusClient
from bus.counters import Counters
from bus.errors import BrokerFailed, PortInUse
from bus.topics import Inbox
from tests.bus.frames import PATIENCE_S, Collector, make_frame
from tests.peers import need

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

_HOLDER: Final = """
import asyncio, pathlib, sys, structlog
from bus.broker import open_broker

async def main():
    log = structlog.wrap_logger(structlog.testing.CapturingLogger())
    async with open_broker(sys.argv[1], directory=pathlib.Path(sys.argv[2]), log=log) as address:
        print(address.port, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def needed(kind: str) -> str:
    """Skip where *kind* is not installed; amqtt always is."""
    if kind == "mosquitto":
        need(kind)
    return kind


def make_program(path: Path, text: str) -> str:
    """Write an executable shell script."""
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize("kind", ["mosquitto", "amqtt"])
async def test_starts(
    kind: str, fleet: str, tmp_path: Path, unused_tcp_port: int, log: FilteringBoundLogger
) -> None:
    """Each kind of broker starts on the port it is told, serves a client, and is gone afterwards."""
    inbox, topic = Collector(), Inbox(fleet=fleet, agent="a")
    async with open_broker(
        needed(kind), directory=tmp_path / "new", log=log, port=unused_tcp_port
    ) as address:
        assert address == BrokerAddress(host="127.0.0.1", port=unused_tcp_port)
        assert address.kind == kind
        async with BusClient(address, identifier="a", log=log, counters=Counters()) as client:
            await client.subscribe([topic], inbox)
            await client.publish(topic, make_frame())
            await inbox.got(1)
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection(address.host, address.port)


async def test_auto(tmp_path: Path, log: FilteringBoundLogger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without mosquitto, auto is amqtt, and mosquitto by name says that it is not installed."""
    monkeypatch.setattr("bus.broker.find_mosquitto", lambda: None)
    async with open_broker(directory=tmp_path, log=log) as address:
        assert address.kind == "amqtt"
    with pytest.raises(BrokerFailed, match="mosquitto is not installed"):
        async with open_broker("mosquitto", directory=tmp_path, log=log):
            pass


async def test_auto_prefers_mosquitto(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """With mosquitto installed, auto is mosquitto."""
    need("mosquitto")
    async with open_broker(directory=tmp_path, log=log) as address:
        assert address.kind == "mosquitto"


async def test_external(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """An external broker is passed through, as a URL or as an address, and nothing is started."""
    async with open_broker("mqtt://u:p@h:1884", directory=tmp_path / "x", log=log) as address:
        assert address == BrokerAddress(host="h", port=1884, username="u", password="p")
    async with open_broker(address, directory=tmp_path / "x", log=log) as same:
        assert same is address
    with pytest.raises(ValueError, match="broker url"):
        async with open_broker("rabbit", directory=tmp_path / "x", log=log):
            pass
    assert not os.listdir(tmp_path)  # noqa: PTH208 -- the async rule refuses iterdir


async def test_port_in_use(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """A port that somebody listens on is named, and nothing is started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"127\.0\.0\.1:{port}.*in use by another program"):
            async with open_broker(directory=tmp_path, log=log, port=port):
                pass


async def test_does_not_start(
    tmp_path: Path, log: FilteringBoundLogger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that ends at once is reported with its own last words, after other ports were tried."""
    program = make_program(
        tmp_path / "broken", 'echo started >> "$(dirname "$2")/tries"; echo no luck; exit 3'
    )
    monkeypatch.setattr("bus.broker.find_mosquitto", lambda: program)
    with pytest.raises(BrokerFailed, match="exit code 3: no luck"):
        async with open_broker("mosquitto", directory=tmp_path, log=log):
            pass
    assert (tmp_path / "tries").read_text(encoding="utf-8").count("started") == 3


async def test_gives_up(tmp_path: Path, log: FilteringBoundLogger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that will not come back is tried a few times and then given up, in the log."""
    real = need("mosquitto")
    monkeypatch.setattr("bus.broker.find_mosquitto", lambda: real)
    monkeypatch.setattr("bus.broker.RESTARTS", 2)
    broken = make_program(tmp_path / "broken", "exit 1")
    with capture_logs() as events:
        async with open_broker("mosquitto", directory=tmp_path, log=log) as address:
            monkeypatch.setattr("bus.broker.find_mosquitto", lambda: broken)
            keeper = next(task for task in asyncio.all_tasks() if task.get_name() == f"broker[{address}]")
            pid = next(event["pid"] for event in events if event["event"] == "broker.started")
            os.kill(pid, signal.SIGKILL)
            async with asyncio.timeout(PATIENCE_S):
                await keeper
    assert [event["event"] for event in events][-2:] == ["broker.not_started", "broker.given_up"]


@pytest.mark.parametrize("kind", ["mosquitto", "amqtt"])
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
async def test_dies_with_parent(kind: str, tmp_path: Path) -> None:
    """A broker whose parent is killed with SIGKILL ends by itself."""
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLDER, needed(kind), str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    port = int(await holder.stdout.readline())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    holder.kill()
    async with asyncio.timeout(PATIENCE_S):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()
    await holder.communicate()


@pytest.mark.parametrize("arguments", [[], ["amqtt"], ["exec", "1"], ["serve", "127.0.0.1", "1883"]])
def test_process_usage(arguments: list[str]) -> None:
    """The broker's process refuses arguments it does not know."""
    with pytest.raises(SystemExit):
        broker_process.main(arguments)
