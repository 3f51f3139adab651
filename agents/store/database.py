"""Opening a database: its engine, its durability, its tables, its writer.

A path is an SQLite file, made when it is missing; anything else is a URL of SQLAlchemy, such as
``postgresql+asyncpg://user@host/name``. Each role has a database of its own: roles do not read each other's
rows.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import URL, event, inspect, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from agents.errors import FleetError
from agents.store.group_commit import GroupCommit, why

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Connection, MetaData
    from sqlalchemy.ext.asyncio import AsyncEngine

SQLITE_PRAGMAS: Final = ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000")
"""WAL: one fsync a commit, and reading never waits. FULL: that fsync is over before the commit returns."""


@asynccontextmanager
async def open_store(where: Path | str, metadata: MetaData) -> AsyncIterator[GroupCommit]:
    """Open the database at *where*, make the tables of *metadata* that it lacks, and run its writer.

    Raises ``FleetError`` when it cannot be opened, is no database, or was made by another version.
    """
    url = where if isinstance(where, str) else URL.create("sqlite+aiosqlite", database=str(where))
    try:
        # hide_parameters: an error of SQLAlchemy would otherwise quote the row, secrets and all.
        engine = create_async_engine(url, hide_parameters=True)
        store = GroupCommit(engine, name=_name(where))
    except (SQLAlchemyError, ImportError, ValueError) as cause:
        raise FleetError(f"{_name(where)}: cannot open: {why(cause)}") from cause
    try:
        await _prepare(engine, where, metadata)
        async with store:
            yield store
    finally:
        await engine.dispose()


async def _prepare(engine: AsyncEngine, where: Path | str, metadata: MetaData) -> None:
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _set_pragmas)
    try:
        if isinstance(where, Path):
            _make_private(where)
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            differing = await connection.run_sync(_differing_tables, metadata)
    except (SQLAlchemyError, OSError) as cause:
        raise FleetError(f"{_name(where)}: cannot open: {why(cause)}") from cause
    if differing:
        raise FleetError(f"{_name(where)}: made by another version (differs in table {', '.join(differing)})")


def _name(where: Path | str) -> str:
    """Name the database for a person, without a password."""
    if isinstance(where, Path):
        return str(where)
    try:
        return make_url(where).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "database"


def _make_private(path: Path) -> None:
    # Private keys lie in it. SQLite gives its log the rights of the file.
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)


def _set_pragmas(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in SQLITE_PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _differing_tables(connection: Connection, metadata: MetaData) -> list[str]:
    found = inspect(connection)
    return [
        table.name
        for table in metadata.sorted_tables
        if {column["name"] for column in found.get_columns(table.name)} != set(table.columns.keys())
    ]
