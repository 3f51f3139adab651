"""The index of a directory of logs: takes in what they have more than when they were last read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections import Counter
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

import msgpack

from agents.traces.index_tables import ADD, MERGE, TABLES
from agents.traces.reading import Reading, is_compressed, left_out, log_files
from agents.traces.tally import Portion

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from agents.traces.reading import Flaw
    from agents.traces.tally import Tally

PORTION_LINES: Final = 100_000
PORTION_OCTETS: Final = 1 << 26
PORTION_TRACES: Final = 20_000
"""Lines, octets of them, and transactions whose sums are in memory at most."""
LOOK_LINES: Final = 256
_PROOF_OCTETS: Final = 1_024
_MAX_NAMES: Final = 100_000
_UNREAD: Final = "unread"
"""How a log ends, in the index, whose end was not reached yet."""


class _Overtaken(Exception):  # noqa: N818 -- a condition: another command took in the same lines meanwhile
    """Raised when what is to be taken in is there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the index knows of a log."""

    id: int
    name: str
    inode: int
    size: int
    changed: int
    offset: int
    """How far it was read."""
    proof: bytes
    """A digest of what was read last, and first."""
    flaws: dict[str, int]
    ending: str
    lines: int

    def is_as_read(self, stat: os.stat_result) -> bool:
        """Whether nothing happened to the log since."""
        return (self.inode, self.size, self.changed) == (stat.st_ino, stat.st_size, stat.st_mtime_ns)


class Index:
    """Over an open database, which nobody else closes; what concerns the disk raises ``sqlite3.Error``."""

    def __init__(self, logs: Path, connection: sqlite3.Connection) -> None:
        self._logs = logs
        self.connection = connection
        self.unreadable: dict[str, str] = {}
        """By name of a log, or of what looks like one: why it could not be read, when that was tried last."""
        self.touched: set[int] = set()
        """The transactions that the last update added lines to, if it was asked to say."""
        self._names: dict[tuple[str, str], int] = {}

    def update(self, *, tell: Callable[[int], None] = lambda _: None, touched: bool = False) -> None:
        """Take in what is new; *tell* hears how many lines were read, portion by portion."""
        while True:
            self.touched.clear()
            try:
                self._update(tell, touched=touched)
            except _Overtaken:
                self._names.clear()
                continue
            return

    def known(self) -> list[Known]:
        """Return the logs that were read, by name."""
        rows = self.connection.execute(
            "SELECT id, name, inode, size, changed, offset, proof, flaws, ending, lines"
            " FROM logs ORDER BY name"
        )
        columns = [column[0] for column in rows.description]
        return [
            Known(**{**dict(zip(columns, row, strict=True)), "flaws": json.loads(row[7])}) for row in rows
        ]

    def _update(self, tell: Callable[[int], None], *, touched: bool) -> None:
        self.unreadable = left_out(self._logs)
        present = {path.name: path for path in log_files(self._logs)}
        if not self._follow(present):
            self._forget()
        known = {log.name: log for log in self.known()}
        for name, path in present.items():
            try:
                for lines in self._take_in(path, known.get(name), touched=touched):
                    tell(lines)
            except OSError as error:
                self.unreadable[name] = (error.strerror or str(error)).lower()

    def _follow(self, present: dict[str, Path]) -> bool:
        """Know logs again that were rotated, and have other names; return whether all are what they were.

        Compressed, a log is another one: its offsets may be the same, and it cannot be told at a glance.
        """
        strayed = [log for log in self.known() if not _goes_on(log, present.get(log.name))]
        moved = {log.id: name for log in strayed if (name := _moved_to(log, present))}
        if len(moved) == len(strayed) and moved:
            with self._transaction():  # in two steps: one may have taken the other's name
                for names in ({each: f"/{each}" for each in moved}, moved):
                    for number, name in names.items():
                        self.connection.execute("UPDATE logs SET name = ? WHERE id = ?", (name, number))
        return len(moved) == len(strayed)

    def _forget(self) -> None:
        """Begin anew: a log is another one than it was, and what it told cannot be taken out of sums."""
        self._names.clear()
        with self._transaction():
            for table in TABLES:
                self.connection.execute(f"DELETE FROM {table}")  # noqa: S608 -- a name of ours

    def _take_in(self, path: Path, known: Known | None, *, touched: bool) -> Iterator[int]:
        stat = path.stat()
        if known is not None and known.is_as_read(stat) and known.ending != _UNREAD:
            return
        reading = Reading(path, known.offset if known else 0)
        state = _Progress(self, path, stat, known)
        portion, begin = Portion(), reading.offset
        for offset, length, fields in reading.events():
            portion.add(offset, length, fields)
            if not portion.lines % LOOK_LINES and _is_full(portion, reading.offset - begin):
                state.keep(portion, reading, _UNREAD, touched=touched)
                yield portion.lines
                portion, begin = Portion(), reading.offset
        state.keep(portion, reading, reading.end, touched=touched)
        yield portion.lines

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have ended it itself
                self.connection.execute("ROLLBACK")
            self._names.clear()
            raise
        self.connection.execute("COMMIT")

    def keep(self, portion: Portion, log: dict[str, Any], expected: int | None, *, touched: bool) -> None:
        """Commit a portion with how far its log is read now; *expected* is how far it was."""
        with self._transaction():
            row = self.connection.execute("SELECT id, offset FROM logs WHERE name = ?", (log["name"],))
            found = row.fetchall()
            if (found[0][1] if found else None) != expected:
                raise _Overtaken
            (log_id,) = self.connection.execute(_KEEP_LOG, log).fetchall()[0]
            begin = expected or 0
            for trace, tally in portion.tallies.items():
                self._add(trace, tally, log_id, begin, touched=touched)

    def _add(self, trace: bytes, tally: Tally, log_id: int, begin: int, *, touched: bool) -> None:
        execute = self.connection.execute
        values = [getattr(tally, column) for column in MERGE]
        ((tid,),) = execute(ADD, (trace, *values)).fetchall()
        if touched:
            self.touched.add(tid)
        execute("INSERT INTO places VALUES (?, ?, ?, ?)", (tid, log_id, begin, msgpack.packb(tally.runs)))
        names = [*self._ids("party", tally.parties), *self._ids("reason", tally.reasons)]
        self.connection.executemany(
            "INSERT OR IGNORE INTO marks VALUES (?, ?)", zip(names, repeat(tid), strict=False)
        )

    def _ids(self, kind: str, names: Iterable[str]) -> Iterator[int]:
        """Yield the number of each name, which it gets where it has none."""
        for name in names:
            if not name:
                continue
            number = self._names.get((kind, name))
            if number is None:
                if len(self._names) >= _MAX_NAMES:
                    self._names.clear()
                execute = self.connection.execute
                execute("INSERT OR IGNORE INTO names (kind, name) VALUES (?, ?)", (kind, name))
                rows = execute("SELECT id FROM names WHERE kind = ? AND name = ?", (kind, name)).fetchall()
                number = self._names[kind, name] = int(rows[0][0])
            yield number


_KEEP_LOG: Final = """
    INSERT INTO logs (name, inode, size, changed, offset, proof, flaws, ending, lines)
    VALUES (:name, :inode, :size, :changed, :offset, :proof, :flaws, :ending, :lines)
    ON CONFLICT (name) DO UPDATE SET inode = :inode, size = :size, changed = :changed, offset = :offset,
        proof = :proof, flaws = :flaws, ending = :ending, lines = :lines
    RETURNING id"""


def _is_full(portion: Portion, octets: int) -> bool:
    return (
        portion.lines >= PORTION_LINES or octets >= PORTION_OCTETS or len(portion.tallies) >= PORTION_TRACES
    )


class _Progress:
    """How far one log was read, of which each portion that is kept says a little more."""

    def __init__(self, index: Index, path: Path, stat: os.stat_result, known: Known | None) -> None:
        self._index = index
        self._path = path
        self._stat = stat
        self._offset = known.offset if known else None
        self._earlier = known.flaws if known else {}
        self._here: Counter[Flaw] = Counter()
        self._lines = known.lines if known else 0

    def keep(self, portion: Portion, reading: Reading, ending: str, *, touched: bool) -> None:
        self._lines += portion.lines
        self._here.update(portion.flaws)
        total: Counter[str] = Counter(self._earlier)
        for flaws in (self._here, reading.skipped):
            total.update({str(flaw): count for flaw, count in flaws.items()})
        log = {
            "name": self._path.name,
            "inode": self._stat.st_ino,
            "size": self._stat.st_size,
            "changed": self._stat.st_mtime_ns,
            "offset": reading.offset,
            "proof": proof(self._path, reading.offset),
            "flaws": json.dumps({flaw: count for flaw, count in total.items() if count}),
            "ending": str(ending),
            "lines": self._lines,
        }
        self._index.keep(portion, log, self._offset, touched=touched)
        self._offset = reading.offset


def proof(path: Path, offset: int) -> bytes:
    """Return a digest of the beginning of a log and of what stands before *offset*: it stays as a log grows.

    Of a compressed one there is none: it does not grow.
    """
    if is_compressed(path.name):
        return b""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        digest.update(file.read(min(offset, _PROOF_OCTETS)))
        file.seek(max(0, offset - _PROOF_OCTETS))
        digest.update(file.read(min(offset, _PROOF_OCTETS)))
    return digest.digest()


def _goes_on(log: Known, path: Path | None) -> bool:
    """Whether the log at *path* is the one that was read, as it was or with more at its end."""
    if path is None:
        return False
    try:
        stat = path.stat()
        if log.is_as_read(stat):
            return True
        if is_compressed(log.name) or stat.st_size < log.offset or stat.st_size == log.size:
            return False
        return proof(path, log.offset) == log.proof
    except OSError:
        return False


def _moved_to(log: Known, present: dict[str, Path]) -> str:
    """Return the name under which a log goes on that does not under its own, or an empty text."""
    for name, path in present.items():
        with contextlib.suppress(OSError):
            same = path.stat().st_ino == log.inode and is_compressed(name) == is_compressed(log.name)
            if same and name != log.name and _goes_on(log, path):
                return name
    return ""
