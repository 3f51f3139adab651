"""Runs in processes of their own, for what only a process can show: signals, exit codes, orphans.

Nothing waits by the clock: a process is watched through the lines it prints, its end through a descriptor of
the kernel's.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from tests.scenarios.kit import ROOT
from tests.scenarios.nursery import Child

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

COMMAND: Final = (sys.executable, "-c", "from agents.cli import main; main()")
OTAFLEET: Final = "agents.cli:main"
MORTAL: Final = "tests.scenarios.mortal:command"
END_TIMEOUT_S: Final = 30.0
"""How long what was told to end may take; a bound for a test that fails, never a wait."""


class Running:
    """``otafleet`` with some arguments, as a process; whatever becomes of the test, it ends with it."""

    def __init__(self, arguments: tuple[str, ...], directory: Path, *, entry: str = OTAFLEET) -> None:
        self.said: list[str] = []
        self._entry = entry
        self._arguments = arguments
        self._directory = directory

    def __enter__(self) -> Self:
        """Start it."""
        (out, theirs), (err, their_err) = os.pipe(), os.pipe()
        self._stdout = os.fdopen(out, encoding="utf-8")
        reading = ThreadPoolExecutor(1)
        self._stderr = reading.submit(_read, err)
        reading.shutdown(wait=False)
        try:
            self._process = Child(self._entry, self._arguments, self._directory, out=theirs, err=their_err)
        finally:
            os.close(theirs)
            os.close(their_err)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill it if it still runs."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._stdout.close()

    def until(self, beginning: str) -> str:
        """Return the next line that it prints which begins so; AssertionError when it ends before."""
        for line in self._stdout:
            self.said.append(line.rstrip("\n"))
            if line.startswith(beginning):
                return line
        raise AssertionError(f"no line begins with {beginning!r}: {self.said}, {self.ended()}")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def ended(self) -> tuple[int, str]:
        """Return its exit code and what it said on the standard error, once it has ended."""
        self.said += self._stdout.read().splitlines()
        return self._process.wait(), self._stderr.result(END_TIMEOUT_S)


def _read(descriptor: int) -> str:
    with os.fdopen(descriptor, encoding="utf-8") as file:
        return file.read()


def otafleet(*arguments: str | Path, directory: Path) -> tuple[int, str, str]:
    """Run the command to its end; return exit code, standard output, standard error."""
    with Running(tuple(map(str, arguments)), directory) as process:
        code, complained = process.ended()
        return code, "\n".join(process.said), complained


def started_from_nothing(*arguments: str | Path, directory: Path) -> tuple[int, str, str]:
    """Do the same in a new interpreter, as who types the command does."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return done.returncode, done.stdout, done.stderr


def killed(config: Path, moment: str, count: int, step: int | None = None) -> None:
    """Launch the fleet in a process that kills itself at a moment, of a step or of all: see ``mortal``."""
    arguments = (str(config), moment, str(count), *([] if step is None else [str(step)]))
    with Running(arguments, ROOT, entry=MORTAL) as process:
        code, complained = process.ended()
        assert code == -signal.SIGKILL, (process.said, complained)


# ---- brokers ---------------------------------------------------------------------------------------------


def broker_of(state: Path) -> int:
    """Return the process id of the mosquitto that serves the run with this state directory (Linux)."""
    (pid,) = brokers_of(state)
    return pid


def brokers_of(state: Path) -> list[int]:
    """Return the process ids of all of them; none is left when a run has ended."""
    conf = os.fsencode(state.absolute() / "broker" / "mosquitto.conf")
    return [pid for pid, words in _processes() if conf in words]


def workers_of(launcher: int) -> list[int]:
    """Return the process ids of those that host handsets for the launcher with this id (Linux)."""
    children = {int(pid) for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()}
    return [pid for pid, words in _processes() if pid in children and b"agents.fleet.worker" in words]


def _processes() -> Iterator[tuple[int, list[bytes]]]:
    """Yield every process with the words of its command line."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                yield int(entry.name), (entry / "cmdline").read_bytes().split(b"\0")


def wait_for_end(pid: int) -> None:
    """Return when the process with this id has ended; AssertionError when it does not (Linux)."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([descriptor], [], [], END_TIMEOUT_S)
        assert ready, f"process {pid} does not end"
    finally:
        os.close(descriptor)
