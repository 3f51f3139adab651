"""Opening a database: its engine, its durability, its tables, its writer.

A path is an SQLite file, made when it is missing; anything else is a URL of SQLAlchemy, such as
``postgresql+asyncpg://user@host/name``. Each role has a database of its own: roles do not read each other's
rows.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import URL, create_engine, event, inspect, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateIndex, CreateTable

from agents.errors import FleetError
from agents.store.group_commit import GroupCommit, why
from agents.store.writing import AsyncWriter, ThreadWriter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Connection, MetaData, Table
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.schema import ExecutableDDLElement

SQLITE_PRAGMAS: Final = ("page_size=8192", "journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000")
"""Pages of 8 KiB: of modules' sheets of 2 KiB a third more are stored in the same time than with 4 KiB.
WAL: one fsync a commit, and reading never waits. FULL: that fsync is over before the commit returns."""


@asynccontextmanager
async def open_store(where: Path | str, metadata: MetaData) -> AsyncIterator[GroupCommit]:
    """Open the database at *where*, make the tables of *metadata* that it lacks, and run its writer.

    Raises ``FleetError`` when it cannot be opened, is no database, or was made by another version.
    """
    url = where if isinstance(where, str) else URL.create("sqlite+aiosqlite", database=str(where))
    try:
        # hide_parameters: an error of SQLAlchemy would otherwise quote the row, secrets and all.
        engine = create_async_engine(url, hide_parameters=True)
        writer = _file_writer(where) if isinstance(where, Path) else AsyncWriter(engine)
        store = GroupCommit(engine, name=_name(where), writer=writer)
    except (SQLAlchemyError, ImportError, ValueError) as cause:
        raise FleetError(f"{_name(where)}: cannot open: {why(cause)}") from cause
    try:
        await _prepare(engine, where, metadata)
        async with store:
            yield store
    finally:
        await writer.close()
        await engine.dispose()


async def _prepare(engine: AsyncEngine, where: Path | str, metadata: MetaData) -> None:
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _set_pragmas)
    try:
        if isinstance(where, Path):
            _make_private(where)
            differing = await asyncio.to_thread(_prepare_file, where, metadata)
        else:
            async with engine.begin() as connection:
                differing = await connection.run_sync(_make_tables, metadata)
    except (SQLAlchemyError, OSError) as cause:
        raise FleetError(f"{_name(where)}: cannot open: {why(cause)}") from cause
    if differing:
        raise FleetError(f"{_name(where)}: made by another version (differs in table {', '.join(differing)})")


def _file_writer(path: Path) -> ThreadWriter:
    engine = create_engine(URL.create("sqlite", database=str(path)), hide_parameters=True)
    event.listen(engine, "connect", _set_pragmas)
    return ThreadWriter(engine)


def _prepare_file(path: Path, metadata: MetaData) -> list[str]:
    """Do it all or nothing, and at one go: asyncio's connection takes four turns of a thread a statement."""
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool)
    event.listen(engine, "connect", _set_pragmas)
    with engine.begin() as connection:
        # Without it the driver commits each table by itself.
        connection.exec_driver_sql("BEGIN")
        return _make_tables(connection, metadata)


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


def _make_tables(connection: Connection, metadata: MetaData) -> list[str]:
    """Make the tables that are missing; return the names of those that are there with other columns."""
    found = inspect(connection)
    there = set(found.get_table_names())
    for table in metadata.sorted_tables:
        if table.name not in there:
            for statement in _statements(table, connection.dialect.name):
                connection.exec_driver_sql(statement)
    return [
        table.name
        for table in metadata.sorted_tables
        if table.name in there
        and {column["name"] for column in found.get_columns(table.name)} != set(table.columns.keys())
    ]


@cache
def _statements(table: Table, dialect: str) -> tuple[str, ...]:
    """Return what makes *table*: to word it anew each time takes longer than to do it."""
    spoken = make_url(f"{dialect}://").get_dialect()()
    made: list[ExecutableDDLElement] = [CreateTable(table), *map(CreateIndex, table.indexes)]
    return tuple(str(one.compile(dialect=spoken)) for one in made)
