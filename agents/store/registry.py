"""A role's rows: in memory for reading, on disk before anybody is told.

Memory changes at once, so that two handlers running side by side never both take the same serial or
counter; the disk follows within the call. When a commit fails, memory goes back to what the disk holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from agents.store.statements import shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Table

    from agents.store.group_commit import GroupCommit
    from agents.store.statements import Key


class Row(Mapping[str, Any]):
    """One row, unchangeable. Its repr shows table and key only: the other columns may be secret."""

    __slots__ = ("_table", "_values")

    def __init__(self, table: Table, values: Mapping[str, Any]) -> None:
        self._table = table
        self._values = dict(values)

    def __getitem__(self, column: str) -> Any:
        return self._values[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        key = ", ".join(f"{column.name}={self[column.name]!r}" for column in self._table.primary_key.columns)
        return f"Row({self._table.name}: {key})"

    def but(self, **changes: Any) -> Row:
        """Return this row with some columns changed."""
        return Row(self._table, self._values | changes)


class _Flight:
    """A key with commits under way: what the disk will hold of it, by the latest that did not fail."""

    __slots__ = ("durable", "durable_number", "started", "under_way")

    def __init__(self, durable: Row | None) -> None:
        self.durable = durable
        self.durable_number = self.started = self.under_way = 0

    def start(self) -> int:
        self.started += 1
        self.under_way += 1
        return self.started

    def end(self, number: int, row: Row | None, *, kept: bool) -> bool:
        """Take note of what became of commit *number*; say whether it was the last under way."""
        if kept and number > self.durable_number:
            self.durable, self.durable_number = row, number
        self.under_way -= 1
        return not self.under_way


class Registry:
    """All rows of one table, by primary key."""

    def __init__(self, store: GroupCommit, table: Table) -> None:
        self._store = store
        self._table = table
        self._shape = shape_of(table)
        self._rows: dict[Key, Row] = {}
        self._flights: dict[Key, _Flight] = {}

    async def load(self) -> None:
        """Read all rows from disk; once, before anything is put."""
        async with self._store.engine.connect() as connection:
            found = await connection.execute(select(self._table))
            for values in map(dict, found.mappings()):
                self._rows[self._shape.key(values)] = Row(self._table, values)

    def get(self, *key: Any) -> Row | None:
        """Return the row with this primary key, given in the table's order of columns."""
        return self._rows.get(key)

    def rows(self) -> Iterable[Row]:
        """Return all rows as they are now; in no order that means anything."""
        return tuple(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    async def put(self, row: Mapping[str, Any]) -> None:
        """Put *row* in the place of the one with its key; return when that is durable.

        :raises ValueError: for a row that does not fit the table.
        :raises FleetError: when it could not be made durable; then memory holds again what the disk does.
        """
        await self.put_all([row])

    async def put_all(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put *rows* as ``put`` does, all in one transaction; of those with one key the last counts."""
        whole = [self._shape.complete(row) for row in rows]
        await self._change({self._shape.key(row): Row(self._table, row) for row in whole})

    async def remove(self, *key: Any) -> None:
        """Delete the row with this key, if there is one; return when that is durable; raises as ``put``."""
        await self._change({key: None})

    async def settled(self) -> None:
        """Return when every row that can be read now is durable: for who answers but changes nothing."""
        await self._store.flush()

    async def _change(self, changes: Mapping[Key, Row | None]) -> None:
        numbers = {key: self._start(key, row) for key, row in changes.items()}
        kept = True
        try:
            await self._store.change(
                self._table,
                rows=[row for row in changes.values() if row is not None],
                gone=[key for key, row in changes.items() if row is None],
            )
        except Exception:
            kept = False
            raise
        finally:
            # A cancelled caller ends here too: its rows are with the writer and will be durable all the same.
            for key, row in changes.items():
                self._end(key, row, numbers[key], kept=kept)

    def _start(self, key: Key, row: Row | None) -> int:
        flight = self._flights.setdefault(key, _Flight(self._rows.get(key)))
        self._set(key, row)
        return flight.start()

    def _end(self, key: Key, row: Row | None, number: int, *, kept: bool) -> None:
        flight = self._flights[key]
        if flight.end(number, row, kept=kept):
            del self._flights[key]
            self._set(key, flight.durable)

    def _set(self, key: Key, row: Row | None) -> None:
        if row is None:
            self._rows.pop(key, None)
        else:
            self._rows[key] = row
