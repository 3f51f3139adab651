"""Lines out of log files: each as far as it goes, and what is skipped is counted."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
import zlib
from collections import Counter
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

MAX_LINE: Final = 65_536
"""Octets of the longest line that is looked at; ours have under 10,000."""
_BUFFER: Final = 1 << 18
_OPENERS: Final[Mapping[str, Callable[[Path], object]]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
"""How a log is decompressed, by the ending of its name."""
# As logrotate names them: by number, or by date.
_LOG: Final = re.compile(rf".+\.jsonl([.-]\d+)*({'|'.join(map(re.escape, _OPENERS))})?")
DAMAGE: Final = (OSError, zlib.error, lzma.LZMAError)
"""What reading on may raise in a compressed log, beside EOFError where it is cut off."""
_decode: Final = json.JSONDecoder().raw_decode

Fields = dict[str, Any]


class Flaw(StrEnum):
    """Why lines of a file are skipped."""

    CORRUPT = "corrupt"
    FOREIGN = "foreign"
    LONG = "long"
    UNWRITTEN = "unwritten"
    """Not skipped by us: the fleet tells that it could not write so many."""


class End(StrEnum):
    """How a file ends where it does not end with a line."""

    WHOLE = ""
    HALF = "half"
    CUT = "cut"
    DAMAGED = "damaged"


def log_files(directory: Path) -> list[Path]:
    """Return the logs in *directory*, also those that were rotated and compressed, by name."""
    return sorted(path for path in directory.glob("*.jsonl*") if _LOG.fullmatch(path.name) and path.is_file())


def left_out(directory: Path) -> dict[str, str]:
    """Return why, by name, what looks like a log in *directory* is not among its logs."""
    logs = log_files(directory)
    return {path.name: _why_not(path) for path in directory.glob("*.jsonl*") if path not in logs}


def _why_not(path: Path) -> str:
    if not _LOG.fullmatch(path.name):
        if path.suffix == ".zst":
            return "it is compressed by zstd, which is not known here: decompress it"
        return "its name is not one that a log has"
    return "it is no file" if path.exists() else "there is no such file"


def is_compressed(name: str) -> bool:
    """Whether the file of that name has to be decompressed."""
    return name.endswith(tuple(_OPENERS))


def open_log(path: Path) -> IO[bytes]:
    """Open the log at *path* so that offsets count octets of its text. Raises OSError."""
    if is_compressed(path.name):
        # No buffer of ours around its own: what came with the fault that ends it would be lost.
        return cast("IO[bytes]", _OPENERS[path.suffix](path))
    return path.open("rb", buffering=_BUFFER)


def parse(octets: bytes) -> Fields | Flaw:
    """Return the event in a line, or why it is none."""
    try:
        text = octets.decode()
        fields, end = _decode(text)
    except (ValueError, RecursionError):
        return Flaw.CORRUPT
    if text[end:].strip():
        return Flaw.CORRUPT
    if not isinstance(fields, dict) or not isinstance(fields.get("event"), str):
        return Flaw.FOREIGN
    return fields


class Reading:
    """The events of one file from an offset on, each with where it lies; afterwards, how far that went."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self.offset = offset
        """Behind the last line that was read: where the next reading goes on."""
        self.skipped: Counter[Flaw] = Counter()
        self.end = End.WHOLE

    def events(self) -> Iterator[tuple[int, int, Fields]]:
        """Yield offset, length and fields of each event. Raises OSError where the file cannot be opened."""
        with open_log(self._path) as stream:
            try:
                if self.offset:
                    stream.seek(self.offset)
                yield from self._read(stream)
            except EOFError:
                self.end = End.CUT
            except DAMAGE:
                self.end = End.DAMAGED

    def _read(self, stream: IO[bytes]) -> Iterator[tuple[int, int, Fields]]:
        readline = stream.readline
        while octets := readline(MAX_LINE):
            begin = self.offset
            if octets[-1] != 0x0A:
                if len(octets) < MAX_LINE or not self._pass_over(stream, begin + len(octets)):
                    self.end = End.HALF
                    return
                self.skipped[Flaw.LONG] += 1
                continue
            self.offset = begin + len(octets)
            fields = parse(octets)
            if isinstance(fields, dict):
                yield begin, len(octets), fields
            elif octets.strip():
                self.skipped[fields] += 1

    def _pass_over(self, stream: IO[bytes], offset: int) -> bool:
        """Skip the rest of a line that is too long; return whether it ends at all."""
        while octets := stream.readline(MAX_LINE):
            offset += len(octets)
            if octets[-1] == 0x0A:
                self.offset = offset
                return True
        return False
