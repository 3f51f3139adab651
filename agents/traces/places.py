"""Where the index lies: beside the logs, or in the person's cache, or, where nothing can be written, nowhere.

An index is worth nothing but time, so that it is written without waiting for the disk; what a power cut
leaves of it may be broken, and is then made anew, as is one of another version.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agents.traces.index_tables import SCHEMA, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

INDEX_FILE: Final = ".traces.sqlite3"
NOWHERE: Final = ""
"""SQLite's name for a database that goes when it is closed, and is in a temporary file once it is large."""
_WAIT_S: Final = 30.0
_CACHE_KIB: Final = 65_536


def candidates(logs: Path) -> Iterator[str]:
    """Yield where the index of the directory *logs* may be, the best place first."""
    yield str(logs / INDEX_FILE)
    digest = hashlib.sha256(str(logs.resolve()).encode(errors="surrogateescape")).hexdigest()
    with contextlib.suppress(OSError, RuntimeError):  # there may be no home
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otafleet"
        cache.mkdir(parents=True, exist_ok=True)
        yield str(cache / f"traces-{digest[:16]}.sqlite3")
    yield NOWHERE


def connect(place: str) -> sqlite3.Connection:
    """Open the index at *place*, empty where it is new or of another version.

    Raises ``sqlite3.OperationalError`` where none can be written, another ``sqlite3.DatabaseError`` where
    what is there is broken.
    """
    connection = sqlite3.connect(place, timeout=_WAIT_S, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone() != (VERSION,):
            _make(connection)
        connection.execute("COMMIT")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def remove(place: str) -> None:
    """Remove the index at *place* with all that SQLite keeps beside it."""
    if place != NOWHERE:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(OSError):
                Path(place + suffix).unlink(missing_ok=True)


def _make(connection: sqlite3.Connection) -> None:
    kept = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (name,) in kept:
        connection.execute(f'DROP TABLE "{name}"')
    for statement in SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
