"""Durable rows a second through the grouped commit, beside SQLite alone with the same settings.

Run ``python -m tests.benchmarks.bench_store``. As in a run, many tasks each save a row and wait until it is
on the disk. Two measures stand beside ours: SQLite committing every row by itself, which is what each waiter
is promised and what grouping spares us; and SQLite handed as many rows a transaction as there are tasks,
which no grouping can beat.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Final

import uvloop

from agents.handset.security_module.memory import SHEET
from agents.store.database import SQLITE_PRAGMAS, open_store
from agents.store.tables import MODULES, PAGES

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS: Final = 5
TASKS: Final = 128
ROWS: Final = 4_096
ROWS_ALONE: Final = 512
OCTETS: Final = bytes(range(256)) * SHEET
UPSERT: Final = "INSERT OR REPLACE INTO pages (ua, first, octets) VALUES (?, ?, ?)"

Row = tuple[str, int, bytes]


def rows(count: int) -> list[Row]:
    """Return *count* sheets of pages, of as many modules."""
    return [(f"89880000{number:011}", 0, OCTETS) for number in range(count)]


async def grouped(path: Path) -> float:
    """Save all rows, TASKS at a time; return rows a second."""
    async with open_store(path, MODULES) as store:
        left = iter(rows(ROWS))

        async def work() -> None:
            for ua, first, octets in left:
                await store.save(PAGES, [{"ua": ua, "first": first, "octets": octets}])

        began = perf_counter()
        await asyncio.gather(*(work() for _ in range(TASKS)))
        return ROWS / (perf_counter() - began)


def alone(path: Path, count: int, at_once: int) -> float:
    """Save *count* rows with the library's own calls, *at_once* in a transaction; return rows a second."""
    connection = sqlite3.connect(path)
    for pragma in SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS pages"
        " (ua VARCHAR(20), first INTEGER, octets BLOB, PRIMARY KEY (ua, first))"
    )
    todo = rows(count)
    began = perf_counter()
    for at in range(0, count, at_once):
        with connection:
            connection.executemany(UPSERT, todo[at : at + at_once])
    took = perf_counter() - began
    connection.close()
    return count / took


def main() -> None:
    """Print the table."""
    calls: dict[str, Callable[[Path], float]] = {
        f"grouped, {TASKS} tasks": lambda path: uvloop.run(grouped(path)),
        "sqlite3, a row a commit": lambda path: alone(path, ROWS_ALONE, 1),
        f"sqlite3, {TASKS} a commit": lambda path: alone(path, ROWS, TASKS),
    }
    rates: dict[str, list[float]] = {name: [] for name in calls}
    with tempfile.TemporaryDirectory() as directory:
        for turn in range(ROUNDS):
            for number, (name, call) in enumerate(calls.items()):
                rates[name].append(call(Path(directory) / f"{turn}-{number}.db"))
        lines = [
            f"store, rows of {len(OCTETS)} octets, SQLite in {tempfile.gettempdir()}, {os.cpu_count()} cores"
        ]
    ours = median(next(iter(rates.values())))
    for name, each in rates.items():
        lines.append(f"  {name:<24}{median(each):>9,.0f} rows/s   ours is {ours / median(each):.2f} of it")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
