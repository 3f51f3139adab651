"""One writer a database: what arrives while it commits shares the next transaction.

``save``, ``delete`` and ``change`` return when their rows are durable, or raise ``FleetError`` when the
transaction they were in failed; then nothing of it was kept. Requests take effect in the order in which
they were made, each as a whole or not at all. Only the last state of a row in a transaction is written:
nobody can see the ones between.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy.exc import DBAPIError

from agents.errors import FleetError
from agents.store.statements import insert_of, shape_of
from agents.store.writing import AsyncWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Table
    from sqlalchemy.ext.asyncio import AsyncEngine

    from agents.store.statements import Key
    from agents.store.writing import Writer


class GroupCommit:
    """The writer of one database. It works inside ``async with``, whose end waits for what was handed over.

    *engine* is for whoever reads; what is written goes by *writer*, by default over the same engine. *name*
    says in errors which store failed; by default the engine's URL without its password. Raises ``ValueError``
    for a database that we cannot upsert into.
    """

    def __init__(self, engine: AsyncEngine, *, name: str = "", writer: Writer | None = None) -> None:
        insert_of(engine.dialect.name)
        self.engine = engine
        self.writer = writer or AsyncWriter(engine)
        self.name = name or engine.url.render_as_string(hide_password=True)
        self.transactions = 0
        """How many were committed: far fewer than requests when the store is busy."""
        self._waiting = _Batch()
        self._committing: _Batch | None = None
        self._arrived = asyncio.Event()
        self._open = False
        self._worker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._open = True
        self._worker = asyncio.create_task(self._run(), name=f"store[{self.name}].writer")
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._open = False
        self._arrived.set()
        assert self._worker is not None
        await self._worker

    async def save(self, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
        """Insert *rows*, or replace those with the same primary key; raises as ``change`` does."""
        await self.change(table, rows=rows)

    async def delete(self, table: Table, keys: Iterable[Key]) -> None:
        """Delete the rows with these primary keys, where they exist; raises as ``change`` does."""
        await self.change(table, gone=keys)

    async def change(
        self, table: Table, *, rows: Iterable[Mapping[str, Any]] = (), gone: Iterable[Key] = ()
    ) -> None:
        """Delete the rows with keys *gone* and save *rows* in one transaction; return when that is durable.

        A row is the whole row: a column it leaves out becomes null.

        :raises ValueError: for a row or a key that does not fit the table; nothing is changed then.
        :raises FleetError: when the transaction failed or the store is closed.
        """
        shape = shape_of(table)
        changes: dict[Key, Mapping[str, Any] | None] = {shape.check_key(key): None for key in gone}
        for row in rows:
            whole = shape.complete(row)
            changes[shape.key(whole)] = whole
        if not self._open:
            raise FleetError(f"{self.name}: the store is closed")
        if changes:
            batch = self._waiting
            batch.tables.setdefault(table, {}).update(changes)
            self._arrived.set()
            await self._wait_for(batch)

    async def flush(self) -> None:
        """Return when everything handed over so far is durable; at once when nothing is under way.

        For who has only read, but must not speak of what could still be lost. Raises ``FleetError`` when a
        transaction waited for failed.
        """
        for batch in (self._committing, self._waiting if self._waiting.tables else None):
            if batch is not None:
                await self._wait_for(batch)

    async def _wait_for(self, batch: _Batch) -> None:
        # An event, not a shared future: a caller that is cancelled takes back its own waiting and no other's.
        await batch.finished.wait()
        if batch.failure is not None:
            raise FleetError(f"{self.name}: cannot save: {why(batch.failure)}") from batch.failure

    async def _run(self) -> None:
        try:
            while self._open or self._waiting.tables:
                await self._arrived.wait()
                self._arrived.clear()
                self._committing, self._waiting = self._waiting, _Batch()
                await self._commit(self._committing)
                self._committing = None
        finally:
            # Only a writer that was cancelled leaves anybody waiting.
            self._open = False
            self._waiting.finish(_STOPPED)

    async def _commit(self, batch: _Batch) -> None:
        failure: Exception | None = _STOPPED
        try:
            if batch.tables:
                await self.writer.write(batch.tables)
                self.transactions += 1
            failure = None
        except Exception as cause:  # noqa: BLE001 -- whatever it is, the waiters are told, and the writer goes on
            failure = cause
        finally:
            batch.finish(failure)


class _Batch:
    """What goes into one transaction: for each table the last state of each row, None = deleted."""

    __slots__ = ("failure", "finished", "tables")

    def __init__(self) -> None:
        self.tables: dict[Table, dict[Key, Mapping[str, Any] | None]] = {}
        self.finished = asyncio.Event()
        self.failure: Exception | None = None

    def finish(self, failure: Exception | None) -> None:
        self.failure = failure
        self.finished.set()


_STOPPED = FleetError("the store was stopped")


def why(cause: BaseException) -> str:
    """Say in a few words what went wrong: the database's own words, without statement and parameters."""
    return str(cause.orig if isinstance(cause, DBAPIError) else cause).partition("\n")[0]
