"""How a transaction gets into a database: at one go in a thread of its own, or over asyncio.

An asynchronous driver of SQLite is a thread behind a queue, and each statement goes there and back: begin,
execute, commit and what SQLAlchemy asks beside them. A commit that is one call in a thread takes a third of
the time. Other databases are asked over the network, where there is nothing to be gained.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from sqlalchemy import Table

from agents.store.statements import Key, delete_statement, shape_of, upsert_statement

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

Changes: TypeAlias = Mapping[Table, Mapping[Key, Mapping[str, Any] | None]]
"""For each table the new state of rows by their primary keys; None: deleted."""


class Writer(Protocol):
    """Writes to one database, one transaction after the other."""

    @property
    def engine(self) -> Engine:
        """Whose transactions they are."""

    async def write(self, changes: Changes) -> None:
        """Make *changes*, all or nothing; return when they are durable. Raises what the driver raises."""

    async def close(self) -> None:
        """Give back what it holds, after the transaction under way."""


class ThreadWriter:
    """Writes over a synchronous *engine*, in one thread that is there from the first transaction on."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    async def write(self, changes: Changes) -> None:
        """See ``Writer``. Who is cancelled here leaves a transaction that goes on to its end."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, changes)

    async def close(self) -> None:
        """See ``Writer``."""
        await asyncio.to_thread(self._thread.shutdown)
        self.engine.dispose()

    def _write(self, changes: Changes) -> None:
        with self.engine.begin() as connection:
            _put(connection, changes)


class AsyncWriter:
    """Writes over an asynchronous engine, which stays its owner's."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine.sync_engine
        self._engine = engine

    async def write(self, changes: Changes) -> None:
        """See ``Writer``."""
        async with self._engine.begin() as connection:
            await connection.run_sync(_put, changes)

    async def close(self) -> None:
        """See ``Writer``."""


def _put(connection: Connection, changes: Changes) -> None:
    for table, rows in changes.items():
        # Each key occurs once here, so the order between the two statements does not matter.
        bound = shape_of(table).bound
        if gone := [bound(key) for key, row in rows.items() if row is None]:
            connection.execute(delete_statement(table), gone)
        if kept := [row for row in rows.values() if row is not None]:
            connection.execute(upsert_statement(table, connection.dialect.name), kept)
