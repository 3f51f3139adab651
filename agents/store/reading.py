"""Reading a role's database without touching it, also while a run writes to it.

``open_store`` makes tables and sets pragmas; who only looks must not, and leaves no file behind either. With
a write-ahead log there is somebody's unfinished work, and SQLite reads both as they were at one moment;
without one the file is all there is, and nothing but the file is opened.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

from agents.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read_rows(path: Path, table: str, *columns: str) -> list[Mapping[str, Any]]:
    """Return these columns of all rows of *table*; none where there is no such table, or it lacks one.

    Raises FleetError for what is no database.
    """
    log = path.with_name(f"{path.name}-wal")
    how = "mode=ro" if log.exists() else "mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as database:
            known = {row[1] for row in database.execute("SELECT * FROM pragma_table_info(?)", [table])}
            if not known.issuperset(columns):
                return []
            # Names of ours, and not of anybody who could ask for others.
            found = database.execute(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608 -- likewise
            return [dict(zip(columns, row, strict=True)) for row in found]
    except sqlite3.Error as error:
        raise FleetError(f"{path}: cannot be read: {error}") from None
