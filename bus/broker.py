"""Finds or starts the broker.

``auto`` is Debian's mosquitto as a child process if it is on the PATH, else amqtt in a Python process of its
own; both listen on 127.0.0.1 only. A child that dies is started again on the same port (mosquitto with its
sessions, if it could save them), and no child outlives us, even if we are killed: see
:mod:`bus.broker_process`. Everything else is a URL, whose broker is somebody else's affair.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bus.address import BrokerAddress
from bus.errors import BrokerFailed, PortInUse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from typing import TextIO

    from structlog.typing import FilteringBoundLogger

AUTO: Final = "auto"
HOST: Final = "127.0.0.1"
LOG_NAME: Final = "broker.log"
START_TIMEOUT_S: Final = 15.0
_STOP_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.01
_RESTART_FIRST_S: Final = 0.05
_RESTART_MOST_S: Final = 2.0
_SETTLED_S: Final = 5.0  # a child that lived so long did not fail to start
RESTARTS: Final = 8  # in a row
_PORT_TRIES: Final = 3
_PROCESS: Final = str(Path(__file__).with_name("broker_process.py"))
_SBIN: Final = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"

# Why each line: TCP_NODELAY, or a QoS 1 round trip costs 88 ms; no in-flight limit, because our clients
# acknowledge in the socket's callback; a queue for a whole fleet, because it is the store of the
# store-and-forward; payloads larger than a frame pass, so that the clients can count what they drop.
_MOSQUITTO_CONF: Final = """\
listener {port} {host}
allow_anonymous true
set_tcp_nodelay true
max_inflight_messages 0
max_queued_messages 1000000
message_size_limit 1048576
persistence true
persistence_location {directory}/
persistent_client_expiration 14d
autosave_interval 300
connection_messages false
log_dest stderr
log_type error
log_type warning
"""


def find_mosquitto() -> str | None:
    """Return the path of mosquitto, which Debian keeps out of a user's PATH."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=_SBIN)


def _mosquitto(port: int, directory: Path) -> list[str]:
    program = find_mosquitto()
    if program is None:
        raise BrokerFailed(f"{HOST}:{port}", "mosquitto is not installed")
    text = _MOSQUITTO_CONF.format(port=port, host=HOST, directory=directory)
    if os.geteuid() == 0:
        # As root it would change to user mosquitto, who may not write here; and on a change of user the
        # kernel forgets that the child wants to die with us.
        text += "user root\n"
    conf = directory / "mosquitto.conf"
    conf.write_text(text, encoding="utf-8")
    return [sys.executable, "-I", "-S", _PROCESS, "exec", str(os.getpid()), program, "-c", str(conf)]


def _amqtt(port: int, _directory: Path) -> list[str]:
    return [sys.executable, "-P", _PROCESS, "amqtt", HOST, str(port)]


_COMMANDS: Final[Mapping[str, Callable[[int, Path], list[str]]]] = {"mosquitto": _mosquitto, "amqtt": _amqtt}


@contextlib.asynccontextmanager
async def open_broker(
    broker: str | BrokerAddress = AUTO,
    *,
    directory: Path,
    log: FilteringBoundLogger,
    port: int | None = None,
) -> AsyncIterator[BrokerAddress]:
    """Yield the address of a broker: ``auto``, ``mosquitto``, ``amqtt``, an ``mqtt[s]://`` URL, an address.

    A broker of our own keeps its configuration, log and store in *directory* (made if missing), listens on
    *port* or a free one, and is stopped at the end. Raises PortInUse, BrokerFailed if it does not start, and
    ValueError for a bad URL. An external broker is not spoken to here.
    """
    if isinstance(broker, BrokerAddress):
        yield broker
        return
    if broker != AUTO and broker not in _COMMANDS:
        yield BrokerAddress.from_url(broker)
        return
    kind = broker if broker != AUTO else "mosquitto" if find_mosquitto() else "amqtt"
    child = await _started(kind, directory=directory, log=log, port=port)
    keeper = asyncio.create_task(child.keep_alive(), name=f"broker[{child.address}]")
    try:
        yield child.address
    finally:
        keeper.cancel()
        await asyncio.wait({keeper})
        await child.stop()


async def _started(kind: str, *, directory: Path, log: FilteringBoundLogger, port: int | None) -> _Child:
    """Start a child on *port*, or on a free port: then again if somebody was quicker to take that."""
    directory = await asyncio.to_thread(_made, directory)
    for last in (*([False] * (_PORT_TRIES - 1) if port is None else []), True):
        address = BrokerAddress(host=HOST, port=_checked(port), kind=kind)
        child = _Child(address, directory=directory, log=log.bind(broker=str(address), kind=kind))
        try:
            await child.start()
        except BrokerFailed:
            await child.stop()
            if last:
                raise
        except BaseException:
            await child.stop()
            raise
        else:
            return child
    raise AssertionError  # the last try returned or raised


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory.absolute()


def _checked(port: int | None) -> int:
    """Return *port* if nobody listens there, or a free one for None. Raises PortInUse."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port or 0))
        except PermissionError as error:
            raise BrokerFailed(f"{HOST}:{port}", str(error)) from None
        except OSError:
            raise PortInUse(f"{HOST}:{port}") from None
        chosen: int = probe.getsockname()[1]
        return chosen


class _Child:
    """One broker process after the other, always on the same port."""

    def __init__(self, address: BrokerAddress, *, directory: Path, log: FilteringBoundLogger) -> None:
        self.address = address
        self._directory = directory
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process and return when it accepts connections. Raises BrokerFailed."""
        command = _COMMANDS[self.address.kind](self.address.port, self._directory)
        with (self._directory / LOG_NAME).open("a", encoding="utf-8") as output:
            self._process = process = await self._spawn(command, output)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not await self._answers():
                    if process.returncode is not None:
                        raise BrokerFailed(str(self.address), self._last_words(process.returncode))
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise BrokerFailed(str(self.address), f"silent for {START_TIMEOUT_S:g} s") from None
        self._log.info("broker.started", pid=process.pid)

    async def keep_alive(self) -> None:
        """Start the process again whenever it ends; give up when it will not stay up."""
        loop = asyncio.get_running_loop()
        failures = 0
        while failures < RESTARTS:
            began_s = loop.time()
            if self._process is not None:
                code = await self._process.wait()
                self._log.warning("broker.died", returncode=code)
            failures = 1 if loop.time() - began_s > _SETTLED_S else failures + 1
            await asyncio.sleep(min(_RESTART_MOST_S, _RESTART_FIRST_S * 2.0 ** (failures - 1)))
            try:
                await self.start()
            except BrokerFailed as error:
                self._log.error("broker.not_started", reason=str(error))
        self._log.error("broker.given_up", failures=failures)

    async def stop(self) -> None:
        """End the process, politely first: mosquitto then saves what it holds for absent clients."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _spawn(self, command: list[str], output: TextIO) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is ours to act on; the broker goes last
        )

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(self.address.host, self.address.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    def _last_words(self, returncode: int) -> str:
        lines = (self._directory / LOG_NAME).read_text(encoding="utf-8", errors="replace").splitlines()
        return f"exit code {returncode}: {lines[-1][:200] if lines else 'it said nothing'}"
