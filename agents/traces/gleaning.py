"""The lines of some transactions, taken out of logs from a place on: no index, and hardly any parsing.

An index is for whoever comes back. Who has the ids already, and knows since when lines can be there, reads
what the logs have grown by since, and of each line looks at the id alone. Only logs that are being written
are read, so none that is compressed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.traces.reading import MAX_LINE, is_compressed, log_files, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from agents.traces.reading import Fields

MAX_LINES: Final = 50_000
"""Of all the transactions together, as many as ``otafleet trace`` reads of one."""
_BUFFER: Final = 1 << 18
_NAME: Final = b'"trace_id": "'
_TRACE_HEX: Final = 32
_NEWLINE: Final = 0x0A


def lengths(logs: Path) -> dict[str, int]:
    """Return how long each log in the directory *logs* is: a place to read on from."""
    return {path.name: path.stat().st_size for path in log_files(logs) if not is_compressed(path.name)}


class Gleaner:
    """The lines of the transactions *wanted*, as the logs in a directory tell of them after *since*."""

    def __init__(self, logs: Path, since: Mapping[str, int], wanted: Iterable[str]) -> None:
        self._logs = logs
        self._offsets = dict(since)
        self._lines: dict[bytes, list[Fields]] = {trace_id.encode(): [] for trace_id in wanted}
        self._kept = 0

    def look(self) -> dict[str, list[Fields]]:
        """Read on; return what there is by now, by trace id. A log that cannot be read tells nothing."""
        for path in log_files(self._logs):
            if not is_compressed(path.name):
                self._read(path)
        return {trace_id.decode(): lines for trace_id, lines in self._lines.items()}

    def _read(self, path: Path) -> None:
        offset = self._offsets.get(path.name, 0)
        try:
            with path.open("rb", buffering=_BUFFER) as stream:
                stream.seek(offset)
                while octets := stream.readline(MAX_LINE):
                    if octets[-1] != _NEWLINE and len(octets) < MAX_LINE:
                        break  # half a line: the rest is to come
                    offset += len(octets)
                    self._take(octets)
        except OSError:
            return
        finally:
            self._offsets[path.name] = offset

    def _take(self, octets: bytes) -> None:
        at = octets.find(_NAME) + len(_NAME)
        lines = self._lines.get(octets[at : at + _TRACE_HEX])
        if lines is None or self._kept >= MAX_LINES:
            return
        fields = parse(octets)
        if isinstance(fields, dict):
            lines.append(fields)
            self._kept += 1
