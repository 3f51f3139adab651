"""PC/SC as it is installed here: a daemon of our own with vsmartcard's driver, and a client in ctypes.

``pcscd`` has one socket and one file with its number, at fixed places, and somebody else's may be running.
Ours is given a socket as systemd would give it one, and its configuration and ports are its own; clients find
it by ``PCSCLITE_CSOCK_NAME``, which the library reads once for a process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import socket
import subprocess
import sys
from ctypes import byref, c_char_p, c_long, c_ubyte, c_ulong, c_void_p, create_string_buffer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tests.peers import need, need_file
from transport.apdu import ResponseApdu

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

CONFIGURATION: Final = "/etc/reader.conf.d/vpcd"
"""What Debian's package says about the driver; where its library lies is taken from here."""
NUMBER_FILE: Final = Path("/run/pcscd/pcscd.pid")
SOCKET_VARIABLE: Final = "PCSCLITE_CSOCK_NAME"
NAME: Final = "otafleet"
ATTEMPTS: Final = 5
TIMEOUT_MS: Final = 20_000
"""How long a card may take to be seen: a bound for a test that fails, never a wait."""

T0: Final = 1
T1: Final = 2
LEAVE, RESET, UNPOWER = 0, 1, 2
_SYSTEM_SCOPE: Final = 2
_SHARED: Final = 2
_PRESENT: Final = 0x20
_MAX_ATR: Final = 33
_MAX_RESPONSE: Final = 264


# What systemd does (sd_listen_fds(3)): the socket is descriptor 3, and LISTEN_PID the process's own number.
_LAUNCH: Final = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.execve(sys.argv[2], sys.argv[2:], os.environ | {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())})
"""


class PcscError(Exception):
    """Raised when PC/SC says no."""


class _ReaderState(ctypes.Structure):
    _fields_ = (
        ("name", c_char_p),
        ("data", c_void_p),
        ("current", c_ulong),
        ("event", c_ulong),
        ("atr_length", c_ulong),
        ("atr", c_ubyte * _MAX_ATR),
    )


class _Protocol(ctypes.Structure):
    _fields_ = (("protocol", c_ulong), ("length", c_ulong))


class Client:
    """A program that uses cards: one context, and at most one card."""

    def __init__(self) -> None:
        self._library: Any = ctypes.CDLL("libpcsclite.so.1")
        self._library.pcsc_stringify_error.restype = c_char_p
        self._context = c_long()
        self._card = c_long()
        self._protocol = c_ulong()

    def __enter__(self) -> Self:
        self._call("SCardEstablishContext", _SYSTEM_SCOPE, None, None, byref(self._context))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call("SCardReleaseContext", self._context)

    @property
    def protocol(self) -> int:
        """T=0 or T=1, as it was agreed with the card."""
        return self._protocol.value

    def readers(self) -> list[str]:
        """Return the readers there are."""
        length = c_ulong()
        with contextlib.suppress(PcscError):  # there is none
            self._call("SCardListReaders", self._context, None, None, byref(length))
            names = create_string_buffer(length.value)
            self._call("SCardListReaders", self._context, None, names, byref(length))
            return [name.decode() for name in names.raw.split(b"\0") if name]
        return []

    def until(self, reader: str, *, present: bool) -> bytes:
        """Return the ATR, empty for none, once there is a card in *reader*, or none any more."""
        state = _ReaderState(name=reader.encode())
        while bool(state.event & _PRESENT) is not present or not state.event:
            self._call("SCardGetStatusChange", self._context, c_ulong(TIMEOUT_MS), byref(state), c_ulong(1))
            state.current = state.event
        return bytes(state.atr[: state.atr_length])

    def connect(self, reader: str, *, protocol: int = T0 | T1) -> None:
        """Use the card in *reader*, over one of the protocols."""
        self._call(
            "SCardConnect",
            self._context,
            c_char_p(reader.encode()),
            c_ulong(_SHARED),
            c_ulong(protocol),
            byref(self._card),
            byref(self._protocol),
        )

    def reconnect(self, how: int) -> None:
        """Reset the card, or switch it off and on."""
        self._call(
            "SCardReconnect",
            self._card,
            c_ulong(_SHARED),
            c_ulong(T0 | T1),
            c_ulong(how),
            byref(self._protocol),
        )

    def disconnect(self, how: int = LEAVE) -> None:
        """Use the card no longer."""
        self._call("SCardDisconnect", self._card, c_ulong(how))

    def transmit(self, command: bytes) -> ResponseApdu:
        """Send one APDU, as the protocol has it, and return the response."""
        sent = _Protocol(self._protocol.value, ctypes.sizeof(_Protocol))
        response, length = create_string_buffer(_MAX_RESPONSE), c_ulong(_MAX_RESPONSE)
        self._call(
            "SCardTransmit",
            self._card,
            byref(sent),
            command,
            c_ulong(len(command)),
            None,
            response,
            byref(length),
        )
        return ResponseApdu.parse(response.raw[: length.value])

    def _call(self, name: str, *arguments: object) -> None:
        function = self._library[name]
        function.restype = c_long
        code = function(*arguments)
        if code:
            said = self._library.pcsc_stringify_error(c_long(code)).decode()
            raise PcscError(f"{name}: {said}")


class Daemon:
    """A ``pcscd`` of our own with two readers: what is in the first comes to *port*."""

    def __init__(self, directory: Path) -> None:
        self.port = 0
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = directory / "pcscd.comm"
        self._log = directory / "pcscd.log"

    def __enter__(self) -> Self:
        """Start it; the ports are drawn, so somebody may be faster."""
        driver = re.search(r"^LIBPATH\s+(\S+)", need_file(CONFIGURATION).read_text(), re.MULTILINE)
        assert driver is not None
        program = need("pcscd")
        for _ in range(ATTEMPTS):
            self.port = _free_ports()
            self._start(program, driver[1])
            if self.reader in self._readers():
                return self
            self.stop()
        raise AssertionError(self._log.read_text())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def reader(self) -> str:
        """The first reader's name."""
        return f"{NAME} 00 00"

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to find it."""
        return os.environ | {SOCKET_VARIABLE: str(self._socket)}

    def stop(self) -> None:
        """Stop it; a card that is in its reader is told so by a connection that ends."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _readers(self) -> list[str]:
        """Return the readers that a program sees; a program of its own, for the sake of the library."""
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            env=self.environment,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.splitlines()

    def _start(self, program: str, driver: str) -> None:
        configuration = self._directory / "readers"
        configuration.mkdir(exist_ok=True)
        (configuration / "vpcd").write_text(
            f'FRIENDLYNAME "{NAME}"\nDEVICENAME /dev/null:{self.port}\nLIBPATH {driver}\n'
            f"CHANNELID {self.port}\n"
        )
        # From version 2 on it may otherwise ask polkit whether we may use what we started ourselves.
        said = subprocess.run([program, "--help"], capture_output=True, text=True, check=False).stdout
        options = ["--disable-polkit"] if "--disable-polkit" in said else []
        options += ["--foreground", "--config"]
        self._socket.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listening, self._log.open("wb") as log:
            listening.bind(str(self._socket))
            listening.listen(16)
            fd = listening.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _LAUNCH, str(fd), program, *options, str(configuration)],
                pass_fds=(fd,),
                stdout=log,
                stderr=log,
            )


@contextlib.contextmanager
def daemon(directory: Path) -> Iterator[Daemon]:
    """Run a daemon; programs started by this process, and its own client, find it."""
    number = NUMBER_FILE.read_bytes() if NUMBER_FILE.exists() else b""
    before = os.environ.get(SOCKET_VARIABLE)
    running = Daemon(directory)
    os.environ |= {SOCKET_VARIABLE: running.environment[SOCKET_VARIABLE]}
    try:
        with running:
            yield running
    finally:
        os.environ.pop(SOCKET_VARIABLE)
        if before is not None:
            os.environ[SOCKET_VARIABLE] = before
        _put_back(number)


def _put_back(number: bytes) -> None:
    """Give another's ``pcscd``, if it still runs, its file back: ours wrote its own there and removed it."""
    if number and not NUMBER_FILE.exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(number.rstrip(b"\n\0")), 0)
            NUMBER_FILE.write_bytes(number)


def _free_ports() -> int:
    """Return a port that is free, as the next one is: the driver has two slots."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("", 0))
            port: int = first.getsockname()[1]
            with contextlib.suppress(OSError):
                second.bind(("", port + 1))
                return port


if __name__ == "__main__":
    with Client() as shell:
        print(*shell.readers(), sep="\n")  # noqa: T201 -- what it is asked for
