"""What tables are made of: types of columns, and tables that several roles have, each in its own database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, Float, LargeBinary, MetaData, String, Table

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

NAME = String(64)
UA = String(20)
TAR = LargeBinary(3)
OCTETS = LargeBinary()
NUMBER = BigInteger()
SECONDS = Float(53)
WORDS = String(1024)


def key(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    """Return a column of a table's key."""
    return Column(name, kind, primary_key=True, autoincrement=False)


def column(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    """Return a column that every row fills."""
    return Column(name, kind, nullable=False)


def maybe(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    """Return a column that a row may leave empty."""
    return Column(name, kind, nullable=True)


def own_keys(metadata: MetaData) -> Table:
    """Return the table of a role's own private keys, by what they are for."""
    return Table(
        "own_keys",
        metadata,
        key("purpose", NAME),
        column("suite", NAME),
        column("private_key", OCTETS),
    )


def issued(metadata: MetaData) -> Table:
    """Return the table of the certificates that a role issued, by serial."""
    return Table(
        "certificates",
        metadata,
        key("serial", NUMBER),
        column("subject", NAME),
        column("role", NAME),
        column("octets", OCTETS),
        column("issued_at", SECONDS),
    )


def sessions(metadata: MetaData) -> Table:
    """Return the table of who commands modules under a keyset: of each the session, which is secret.

    ``counter`` is that of the last packet, ``connects`` the last turn of Connect.
    """
    return Table(
        "sessions",
        metadata,
        key("ua", UA),
        maybe("session", OCTETS),
        column("counter", NUMBER),
        column("connects", NUMBER),
    )
