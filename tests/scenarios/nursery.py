"""Processes of ``otafleet`` that need not import it first: each is made of one that has, by fork.

To import its rooms takes a process a second, and many a scenario is over in less. ``python -m
tests.scenarios.nursery FD`` imports them once and then waits at a socket. For each request it forks, and what
it forked becomes what was asked for: in its own directory and environment, with its own command line and
standard streams, it calls the entry point and ends as any interpreter does. It is a process like another: it
can be killed, and starts and loses processes of its own. That the command also starts from nothing is shown
in ``test_demo`` and in ``tests/agents/test_cli.py``.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from tests.scenarios.kit import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_ROOMS: Final = ("agents.cli", "agents.fleet.launch", "agents.fleet.exports", "tests.scenarios.mortal")
"""What is imported before the first request."""
_MAX_OCTETS: Final = 1 << 20
_STREAMS: Final = 3
"""Descriptors of a request: standard output, standard error, and where its end is told."""


class Child:
    """A process that was forked for us: the part of ``subprocess.Popen`` that the scenarios need."""

    def __init__(self, entry: str, words: tuple[str, ...], directory: Path, *, out: int, err: int) -> None:
        """Start it: *entry* is ``module:function``, *words* its command line without the name."""
        ours, theirs = socket.socketpair()
        request = {
            "entry": entry,
            "words": words,
            "directory": str(directory),
            "environment": os.environ | {"PYTHONPATH": str(ROOT)},
            "interruptible": signal.getsignal(signal.SIGINT) is not signal.SIG_IGN,
        }
        with theirs:
            socket.send_fds(_nursery(), [json.dumps(request).encode()], [out, err, theirs.fileno()])
        self._told = ours.makefile("r")
        ours.close()
        self.pid = int(self._told.readline())
        self.returncode: int | None = None

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self) -> int:
        """Return its exit code once it has ended, or the negative number of the signal that ended it."""
        if self.returncode is None:
            self.returncode = int(self._told.readline())
            self._told.close()
        return self.returncode


@cache
def _nursery() -> socket.socket:
    """Return the socket of the one that this process has, and that ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    def close() -> None:
        ours.close()
        process.wait()

    atexit.register(close)
    return ours


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork for each request; return it in the process that becomes it, and None when there are no more."""
    while True:
        octets, descriptors, _, _ = socket.recv_fds(requests, _MAX_OCTETS, _STREAMS)
        _bury(os.WNOHANG if octets else 0)
        if not octets:
            return None
        if os.fork() == 0:
            requests.close()
            return _watched(json.loads(octets), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _bury(options: int) -> None:
    """Wait for those that watched others and have ended, so that ``time`` knows what they all took."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, options)[0]:
            pass


def _watched(request: dict[str, Any], out: int, err: int, end: int) -> dict[str, Any]:
    """Fork again and tell how that ended; in the process that was forked, give it its surroundings."""
    pid = os.fork()
    if pid:
        for descriptor in (out, err):
            os.close(descriptor)
        os.write(end, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(BrokenPipeError):
            os.write(end, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    os.close(end)
    # Streams of its own: those that it was forked with may know theirs as a file.
    sys.stdout = os.fdopen(os.dup2(out, 1), "w", encoding=sys.stdout.encoding)
    sys.stderr = os.fdopen(os.dup2(err, 2), "w", 1, encoding=sys.stderr.encoding, errors="backslashreplace")
    os.close(out)
    os.close(err)
    signal.signal(signal.SIGINT, signal.default_int_handler if request["interruptible"] else signal.SIG_IGN)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    return request


def _become(request: dict[str, Any]) -> None:
    """Call the entry point as its command line would."""
    module, _, function = request["entry"].partition(":")
    sys.argv = ["otafleet", *request["words"]]
    getattr(importlib.import_module(module), function)()


def main(descriptor: str) -> None:
    """Import, serve, and become what was asked for."""
    for room in _ROOMS:
        importlib.import_module(room)
    asked = None
    with contextlib.suppress(KeyboardInterrupt):
        asked = serve(socket.socket(fileno=int(descriptor)))
    if asked is not None:
        _become(asked)


if __name__ == "__main__":
    main(sys.argv[1])
