"""A log file that the event loop never waits for.

The loop only appends to a deque; a thread wakes a few times a second, makes lines of what is there and writes
them, many in one call. A disk that is slow costs memory up to :data:`MAX_WAITING` lines and then lines (their
number is written when there is room again); a disk that is full ends the log with one warning, not the run,
and so does one that is nearly full: what is left of it is for what the roles have to store.
A process that is killed loses at most the last :data:`FLUSH_S` seconds of its log.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from bus.disk import is_nearly_full

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FLUSH_S: Final = 0.2
MAX_WAITING: Final = 50_000
_BATCH: Final = 256
"""Lines made at a time: so long, about a millisecond, the loop may have to wait for its turn."""


def warn_on_stderr(sentence: str) -> None:
    """Tell the person at the terminal, if there is one."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"otafleet: {sentence}\n")


class LogFile:
    """Appends lines to the file at *path*, creating it and its directory.

    ``append`` may be called from any thread and never blocks. *spell* makes a line of what it took, with the
    newline; it is called in the order of the file, by one thread at a time, and never raises. Raises
    ``OSError`` here, at the start, when the file cannot be opened at all; later failures go to *warn*, once.
    """

    def __init__(
        self,
        path: Path,
        *,
        spell: Callable[[Any], str] = str,
        warn: Callable[[str], None] = warn_on_stderr,
        flush_s: float = FLUSH_S,
        max_waiting: int = MAX_WAITING,
        is_full: Callable[[int], bool] = is_nearly_full,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = _ends_in_mid_line(path)
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._warn = warn
        self._flush_s = flush_s
        self._max_waiting = max_waiting
        self._is_full = is_full
        self._spell = spell
        self._waiting: deque[Any] = deque()
        self._lost = self._lost_told = 0
        self._broken = False
        self._writing = threading.Lock()
        self._stop = threading.Event()
        if torn:
            self._write(b"\n")
        self._thread = threading.Thread(target=self._run, name=f"log[{path.name}]", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def append(self, taken: Any) -> None:
        """Take what is a line, to be written soon."""
        if self._broken:
            return
        if len(self._waiting) < self._max_waiting:
            self._waiting.append(taken)
        else:
            self._lost += 1

    def flush(self) -> None:
        """Write what is waiting, now and in this thread: blocks, so not for the loop in mid-run."""
        with self._writing:
            while self._waiting and not self._broken:
                self._write("".join(map(self._spell, self._take())).encode())
            self._tell_lost()

    def close(self) -> None:
        """Write what is waiting and close the file; lines that come later are forgotten. Safe to repeat."""
        if self._file.closed:
            return
        self._stop.set()
        self._thread.join()
        self.flush()
        self._broken = True
        self._file.close()
        atexit.unregister(self.close)

    def _run(self) -> None:
        while not self._stop.wait(self._flush_s):
            self.flush()

    def _take(self) -> list[Any]:
        # popleft and append are each atomic, so lines arriving meanwhile are neither lost nor cut.
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]

    def _tell_lost(self) -> None:
        lost = self._lost
        if lost > self._lost_told and not self._broken:
            self._write(f'{{"event": "log.lost", "lines": {lost - self._lost_told}}}\n'.encode())
            self._lost_told = lost

    def _write(self, octets: bytes) -> None:
        try:
            if self._is_full(self._file.fileno()):
                self._end("the disk is nearly full")
                return
            view = memoryview(octets)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            self._end(str(error.strerror))

    def _end(self, why: str) -> None:
        self._broken = True
        self._waiting.clear()
        self._warn(f"no more log in {self._path}: {why}; the run goes on")


def _ends_in_mid_line(path: Path) -> bool:
    """Whether an earlier process was killed in mid-write, so that our first line would join its last."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
