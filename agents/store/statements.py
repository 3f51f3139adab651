"""What is said to the database: upserts and deletes by primary key, made once a table and a dialect.

Only the upsert differs between databases; ``INSERTS`` is the whole of that difference.
"""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, delete
from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Delete, Table

Key = tuple[Any, ...]
"""The values of a row's primary key, in the table's order of columns."""

INSERTS: Final[Mapping[str, Callable[[Table], Any]]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}
"""The databases that can be written to, by SQLAlchemy's name of their dialect."""


class Shape:
    """A table's columns, looked up once."""

    def __init__(self, table: Table) -> None:
        self.table = table.name
        self.names = tuple(column.name for column in table.columns)
        self.key_names = tuple(column.name for column in table.primary_key.columns)
        self.optional = frozenset(column.name for column in table.columns if column.nullable)
        self._name_set = frozenset(self.names)
        # one getter for all of a key is three times as fast, and gives a bare value where there is one
        self._key: Callable[[Mapping[str, Any]], Any] = itemgetter(*self.key_names)
        self._is_single = len(self.key_names) == 1

    def complete(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return *row* as a whole row: a column it leaves out is null.

        :raises ValueError: for a column that the table lacks, or one left out that may not be null.
        """
        if row.keys() == self._name_set and None not in row.values():
            return dict(row)  # as most are
        if unknown := row.keys() - self._name_set:
            raise ValueError(f"table {self.table} has no column {', '.join(sorted(unknown))}")
        whole = {name: row.get(name) for name in self.names}
        if missing := [name for name, value in whole.items() if value is None and name not in self.optional]:
            raise ValueError(f"a row of table {self.table} lacks {', '.join(missing)}")
        return whole

    def key(self, row: Mapping[str, Any]) -> Key:
        """Return the primary key of *row*."""
        key: Key = self._key(row)
        return (key,) if self._is_single else key

    def check_key(self, key: Key) -> Key:
        """Return *key*; raise ``ValueError`` when it is of another length than the table's."""
        if len(key) != len(self.key_names):
            raise ValueError(f"the key of table {self.table} is ({', '.join(self.key_names)})")
        return key

    def bound(self, key: Key) -> dict[str, Any]:
        """Return *key* as the parameters of ``delete_statement``."""
        return {f"key_{name}": value for name, value in zip(self.key_names, key, strict=True)}


@lru_cache(maxsize=128)
def shape_of(table: Table) -> Shape:
    """Return the shape of *table*."""
    return Shape(table)


def insert_of(dialect: str) -> Callable[[Table], Any]:
    """Return the INSERT construct of *dialect*; raise ``ValueError`` for one that is not known."""
    if dialect not in INSERTS:
        raise ValueError(f"unknown database {dialect!r} (known: {', '.join(sorted(INSERTS))})")
    return INSERTS[dialect]


@lru_cache(maxsize=128)
def upsert_statement(table: Table, dialect: str) -> Any:
    """Return the statement that inserts a row of *table* or replaces the one with its primary key."""
    insert = insert_of(dialect)(table)
    shape = shape_of(table)
    others = {name: insert.excluded[name] for name in shape.names if name not in shape.key_names}
    if not others:
        return insert.on_conflict_do_nothing(index_elements=shape.key_names)
    return insert.on_conflict_do_update(index_elements=shape.key_names, set_=others)


@lru_cache(maxsize=128)
def delete_statement(table: Table) -> Delete:
    """Return the statement that deletes the row whose key columns equal the parameters ``key_<column>``."""
    return delete(table).where(
        and_(*(column == bindparam(f"key_{column.name}") for column in table.primary_key.columns))
    )
