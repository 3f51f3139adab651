"""The index's tables, and how portions of a transaction are added up in them."""

from __future__ import annotations

from typing import Final

VERSION: Final = 2
"""Of these tables: an index with another one is made anew."""

SCHEMA: Final = (
    """CREATE TABLE logs (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, inode INTEGER NOT NULL, size INTEGER NOT NULL,
        changed INTEGER NOT NULL, offset INTEGER NOT NULL, proof BLOB NOT NULL, flaws TEXT NOT NULL,
        ending TEXT NOT NULL, lines INTEGER NOT NULL)""",
    """CREATE TABLE transactions (
        id INTEGER PRIMARY KEY, trace BLOB NOT NULL UNIQUE, began REAL NOT NULL, ended REAL NOT NULL,
        at_first REAL, at_last REAL, do TEXT, service TEXT, asked TEXT, ua_least TEXT, ua_most TEXT,
        ok INTEGER NOT NULL, refused INTEGER NOT NULL, failed INTEGER NOT NULL, reason TEXT,
        lines INTEGER NOT NULL, messages INTEGER NOT NULL, octets INTEGER NOT NULL, taken INTEGER NOT NULL,
        retries INTEGER NOT NULL, lost INTEGER NOT NULL)""",
    "CREATE INDEX transactions_began ON transactions (began)",
    "CREATE TABLE names (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (kind,name))",
    # Which names stand in a transaction's lines.
    "CREATE TABLE marks (name INTEGER NOT NULL, tid INTEGER NOT NULL, PRIMARY KEY (name, tid)) WITHOUT ROWID",
    # Where its lines lie: portion by portion, each a list of how far behind the run before, and how long.
    """CREATE TABLE places (
        tid INTEGER NOT NULL, log INTEGER NOT NULL, portion INTEGER NOT NULL, runs BLOB NOT NULL,
        PRIMARY KEY (tid, log, portion)) WITHOUT ROWID""",
)
TABLES: Final = ("logs", "transactions", "names", "marks", "places")

_LEAST: Final = "coalesce(min({0}, excluded.{0}), {0}, excluded.{0})"
_MOST: Final = "coalesce(max({0}, excluded.{0}), {0}, excluded.{0})"
_SUM: Final = "{0} + excluded.{0}"

MERGE: Final = {
    "began": _LEAST,
    "ended": _MOST,
    "at_first": _LEAST,
    "at_last": _MOST,
    "do": _LEAST,
    "service": _LEAST,
    "asked": _LEAST,
    "ua_least": _LEAST,
    "ua_most": _MOST,
    "ok": _SUM,
    "refused": _SUM,
    "failed": _SUM,
    "reason": _LEAST,
    "lines": _SUM,
    "messages": _SUM,
    "octets": _SUM,
    "taken": _SUM,
    "retries": _SUM,
    "lost": _SUM,
}
"""By column of a transaction, which is also the name of a tally's: how two portions make one."""

ADD: Final = (
    f"INSERT INTO transactions (trace, {', '.join(MERGE)}) VALUES (?{', ?' * len(MERGE)})"  # noqa: S608 -- all ours
    " ON CONFLICT (trace) DO UPDATE SET "
    + ", ".join(f"{column} = {rule.format(column)}" for column, rule in MERGE.items())
    + " RETURNING id"
)
