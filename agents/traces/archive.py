"""The logs of one directory with their index, wherever that can be kept: what a command asks."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgpack

from agents.errors import FleetError
from agents.traces import lookup, wording
from agents.traces.index import Index
from agents.traces.misnomers import misnomers
from agents.traces.places import NOWHERE, candidates, connect, remove
from agents.traces.reading import DAMAGE, MAX_LINE, Fields, open_log, parse
from agents.traces.tally import told_at, trace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from agents.traces.lookup import Selection, Transaction

T = TypeVar("T")

MAX_LINES: Final = 50_000
"""Lines of one transaction that are read at most: a broadcast to ten thousand modules has fewer."""


class Archive:
    """A context manager. Raises FleetError when no index can be kept anywhere."""

    def __init__(self, logs: Path, *, tell: Callable[[int], None] = lambda _: None) -> None:
        self.logs = logs
        self._tell = tell
        self._index: Index | None = None
        self._place = NOWHERE
        self._refusals: list[str] = []
        self.unread: list[str] = []
        """A sentence for each log whose lines were not there when they were last asked for."""

    def __enter__(self) -> Self:
        """Read what there is."""
        self.refresh()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the index; it stays where it is."""
        self._close()

    def refresh(self, *, touched: bool = False) -> set[str]:
        """Take in what the logs have more; return, if *touched*, the ids that have more lines now."""
        index = self._index
        if index is not None and self._is_there():
            with contextlib.suppress(sqlite3.Error):
                index.update(tell=self._tell, touched=touched)
                return {lookup.trace_id(index, tid) for tid in index.touched}
        self._open(touched=touched)
        return {lookup.trace_id(self.index, tid) for tid in self.index.touched}

    @property
    def index(self) -> Index:
        """The index, as it was last refreshed."""
        assert self._index is not None, "refresh comes first"
        return self._index

    @property
    def said(self) -> list[str]:
        """What a person should know of the logs: a sentence for each that was not read as a whole."""
        return [*self._refusals, *self._ask(lambda: wording.of_logs(self.index))]

    def select(self, selection: Selection) -> tuple[list[Transaction], int]:
        """Return the transactions asked for, and of how many they are the last."""
        return self._ask(lambda: lookup.select(self.index, selection))

    def count(self, selection: Selection) -> int:
        """Return how many transactions are asked for, whatever the limit."""
        return self._ask(lambda: lookup.count(self.index, selection))

    def misnomers(self, selection: Selection) -> list[str]:
        """Return a sentence for each name in *selection* that nobody in the logs has."""
        return self._ask(lambda: list(misnomers(self.index, selection)))

    def each(self, selection: Selection) -> Iterator[Transaction]:
        """Yield the transactions asked for, without all of them in memory. Raises FleetError."""
        try:
            yield from lookup.each(self.index, selection)
        except sqlite3.Error as error:
            raise FleetError(f"{self.logs}: their index cannot be read further: {error}") from None

    def find(self, text: str) -> Transaction:
        """Return the transaction whose id begins with *text*. Raises NoTrace."""
        return self._ask(lambda: lookup.find(self.index, text))

    def among(self, selection: Selection, trace_id: str) -> Transaction | None:
        """Return that transaction if it is one of those that are asked for."""
        return self._ask(lambda: lookup.among(self.index, selection, bytes.fromhex(trace_id)))

    def lines_of(self, trace_id: str) -> list[Fields]:
        """Return the lines of one transaction as they were written, in the order of their times."""
        return [line for _, line in self.placed_lines(trace_id)]

    def placed_lines(self, trace_id: str) -> list[tuple[tuple[str, int], Fields]]:
        """Return the same, each with its log and its offset there, which no two lines share."""
        trace = bytes.fromhex(trace_id)
        self.unread = []
        found: list[tuple[tuple[str, int], Fields]] = []
        for name, runs in self._ask(lambda: lookup.places(self.index, trace)):
            try:
                for offset, fields in _lines_at(self.logs / name, runs):
                    if trace_of(fields) == trace and len(found) < MAX_LINES:
                        found.append(((name, offset), fields))
            except (*DAMAGE, EOFError) as error:
                why = (getattr(error, "strerror", None) or str(error)).lower()
                self.unread.append(f"{name}: its lines of this transaction cannot be read: {why}")
        return sorted(found, key=_when)

    def _ask(self, question: Callable[[], T]) -> T:
        """Ask the index; one that turns out to be broken is made anew."""
        try:
            return question()
        except sqlite3.DatabaseError:
            self._close()
            remove(self._place)
            self._open(touched=False)
            return question()

    def _open(self, *, touched: bool) -> None:
        self._close()
        self._refusals = []
        why = "there is no place for one"
        for place in candidates(self.logs):
            try:
                self._try(place, touched=touched)
            except sqlite3.Error as error:
                self._close()
                why = str(error)
                self._refusals = [wording.no_index(place, why)]
            else:
                return
        raise FleetError(f"{self.logs}: no index of these logs can be kept: {why}")

    def _try(self, place: str, *, touched: bool) -> None:
        self._place = place
        try:
            self._update_at(place, touched=touched)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # it is there, and broken
            self._close()
            remove(place)
            self._update_at(place, touched=touched)
        if place != NOWHERE:
            self._refusals = []

    def _update_at(self, place: str, *, touched: bool) -> None:
        self._index = Index(self.logs, connect(place))
        try:
            self._index.update(tell=self._tell, touched=touched)
        except KeyboardInterrupt:
            self._close()
            raise

    def _close(self) -> None:
        if self._index is not None:
            with contextlib.suppress(sqlite3.Error):
                self._index.connection.close()
            self._index = None

    def _is_there(self) -> bool:
        """Whether the index is still at its place: a fresh start puts the logs aside, index and all."""
        return self._place == NOWHERE or Path(self._place).exists()


def _when(placed: tuple[tuple[str, int], dict[str, Any]]) -> tuple[float, str, float]:
    """Order by the clock; lines of a process that have the same time, by its count."""
    fields = placed[1]
    process, seq = fields.get("process"), fields.get("seq")
    told = told_at(fields)
    return (
        0.0 if told is None else told,
        process if isinstance(process, str) else "",
        float(seq) if type(seq) is int and seq < 1 << 53 else 0.0,
    )


def _lines_at(path: Path, runs: list[bytes]) -> Iterator[tuple[int, Fields]]:
    """Yield the events at the places that portions of an index name, with their offsets."""
    with open_log(path) as stream:
        for packed in runs:
            offset = 0
            numbers = iter(msgpack.unpackb(packed))
            for gap, length in zip(numbers, numbers, strict=True):
                offset += gap
                stream.seek(offset)
                end = offset + length
                while offset < end and (octets := stream.readline(MAX_LINE)):
                    fields = parse(octets)
                    if isinstance(fields, dict):
                        yield offset, fields
                    offset += len(octets)
                offset = end
