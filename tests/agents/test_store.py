from __future__ import annotations

import asyncio
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import CheckConstraint, Column, Integer, MetaData, String, Table, event, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import CreateTable

from agents.errors import FleetError
from agents.store import tables
from agents.store.database import open_store
from agents.store.group_commit import GroupCommit
from agents.store.pages import Pages, PageStore
from agents.store.registry import Registry, Row
from agents.store.statements import delete_statement, insert_of, upsert_statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
ROLES = (tables.AUTHORITY, tables.OPERATOR, tables.SUPPLIER, tables.FLEET, tables.MODULES)

SHOP = MetaData()
POINTS = Table(
    "points",
    SHOP,
    Column("ua", String(20), primary_key=True),
    Column("balance", Integer(), CheckConstraint("balance >= 0"), nullable=False),
    Column("note", String(40), nullable=True),
)
SEEN = Table(
    "seen", SHOP, Column("ua", String(20), primary_key=True), Column("number", Integer(), primary_key=True)
)


def points(ua: str, balance: int, note: str | None = None) -> dict[str, Any]:
    """Return a row of the table ``points``."""
    return {"ua": ua, "balance": balance, "note": note}


async def stored(store: GroupCommit, table: Table = POINTS) -> list[tuple[Any, ...]]:
    """Read a table's rows with a connection of their own: what is committed, nothing else."""
    async with store.engine.connect() as connection:
        return [
            tuple(row) for row in await connection.execute(select(table).order_by(*table.primary_key.columns))
        ]


def held(registry: Registry, *key: Any) -> dict[str, Any] | None:
    """Return the values of a row in a registry's memory."""
    row = registry.get(*key)
    return None if row is None else dict(row)


class Commits:
    """Counts the transactions that the database begins and commits; knows when the first has begun."""

    def __init__(self, store: GroupCommit) -> None:
        self.count = 0
        self.begun = asyncio.Event()
        loop, engine = asyncio.get_running_loop(), store.writer.engine
        # A file is written by a thread.
        event.listen(engine, "begin", lambda _connection: loop.call_soon_threadsafe(self.begun.set))
        event.listen(engine, "commit", self._committed)

    def _committed(self, _connection: object) -> None:
        self.count += 1


@asynccontextmanager
async def open_shop(path: Path) -> AsyncIterator[GroupCommit]:
    """Open the database of the tests' own tables in directory *path*."""
    async with open_store(path / "shop.sqlite", SHOP) as store:
        yield store


# Group commit


async def test_saved_rows_come_back_after_reopening(tmp_path: Path) -> None:
    """What ``save`` reported is there when the database is opened again."""
    async with open_shop(tmp_path) as store:
        await store.save(POINTS, [points("1", 5), points("2", 6, "gold")])
    async with open_shop(tmp_path) as store:
        assert await stored(store) == [("1", 5, None), ("2", 6, "gold")]


async def test_save_replaces_the_row_with_the_same_key(tmp_path: Path) -> None:
    """A second save of a key is an update of the whole row: a column it leaves out becomes null."""
    async with open_shop(tmp_path) as store:
        await store.save(POINTS, [points("1", 5, "gold")])
        await store.save(POINTS, [{"ua": "1", "balance": 7}])
        assert await stored(store) == [("1", 7, None)]


async def test_delete_takes_the_rows_with_these_keys_only(tmp_path: Path) -> None:
    """A delete goes by the whole primary key, and a key that is not there is no fault."""
    async with open_shop(tmp_path) as store:
        await store.save(SEEN, [{"ua": ua, "number": number} for ua in "ab" for number in (1, 2)])
        await store.delete(SEEN, [("a", 1), ("b", 2), ("c", 3)])
        assert await stored(store, SEEN) == [("a", 2), ("b", 1)]


async def test_a_table_of_nothing_but_its_key_can_be_saved_twice(tmp_path: Path) -> None:
    """Where there is nothing to update, saving again changes nothing."""
    async with open_shop(tmp_path) as store:
        for _ in range(2):
            await store.save(SEEN, [{"ua": "a", "number": 1}])
        assert await stored(store, SEEN) == [("a", 1)]


async def test_concurrent_saves_share_transactions(tmp_path: Path) -> None:
    """A thousand saves by a hundred callers take at most a tenth as many commits of the database."""
    async with open_shop(tmp_path) as store:
        commits = Commits(store)

        async def save_in_turn(caller: int) -> None:
            for number in range(10):
                await store.save(SEEN, [{"ua": str(caller), "number": number}])

        await asyncio.gather(*map(save_in_turn, range(100)))
        assert len(await stored(store, SEEN)) == 1000
        assert commits.count == store.transactions
        assert 10 <= commits.count <= 100


async def test_what_arrives_during_a_commit_goes_into_the_next(tmp_path: Path) -> None:
    """Two hundred saves made while a transaction is under way cost one more, whatever their number."""
    async with open_shop(tmp_path) as store, asyncio.TaskGroup() as callers:
        commits = Commits(store)
        first = callers.create_task(store.save(POINTS, [points("first", 1)]))
        await commits.begun.wait()
        assert not first.done()
        rest = [callers.create_task(store.save(POINTS, [points(f"{n:03}", n)])) for n in range(200)]
        await asyncio.gather(first, *rest)
        assert commits.count == 2


async def test_requests_take_effect_in_the_order_they_were_made(tmp_path: Path) -> None:
    """Of saves and deletes of one key in one transaction, the last made decides."""
    async with open_shop(tmp_path) as store:
        await asyncio.gather(
            store.save(POINTS, [points("kept", 1)]),
            store.delete(POINTS, [("kept",)]),
            store.save(POINTS, [points("kept", 2)]),
            store.save(POINTS, [points("gone", 1)]),
            store.delete(POINTS, [("gone",)]),
        )
        assert await stored(store) == [("kept", 2, None)]
        assert store.transactions == 1


async def test_a_failed_transaction_fails_for_everyone_in_it_and_keeps_nothing(tmp_path: Path) -> None:
    """One row that the database refuses fails all that shared its transaction; the next one works."""
    async with open_shop(tmp_path) as store:
        saves = [store.save(POINTS, [points(str(n), n)]) for n in (-1, 0, 1, 2)]
        outcomes = await asyncio.gather(*saves, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [FleetError] * 4
        assert len({id(outcome) for outcome in outcomes}) == 4
        assert await stored(store) == []
        await store.save(POINTS, [points("1", 1)])
        assert await stored(store) == [("1", 1, None)]


async def test_an_error_names_the_store_and_no_value(tmp_path: Path) -> None:
    """The sentence says which store and why; neither it nor its cause quotes the row."""
    async with open_shop(tmp_path) as store:
        with pytest.raises(FleetError, match=r"shop\.sqlite: cannot save: CHECK constraint failed") as caught:
            await store.save(POINTS, [points("1", -1, "a session key")])
        assert "session key" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"ua": "1", "balance": 1, "colour": "red"}, "no column colour"),
        ({"ua": "1"}, "lacks balance"),
        ({"ua": None, "balance": 1}, "lacks ua"),
    ],
    ids=["unknown-column", "missing-column", "null-key"],
)
async def test_a_row_that_does_not_fit_is_misuse(tmp_path: Path, row: dict[str, Any], fault: str) -> None:
    """A wrong row is a ValueError for its maker alone: others' rows are not in it."""
    async with open_shop(tmp_path) as store:
        good = asyncio.create_task(store.save(POINTS, [points("2", 2)]))
        with pytest.raises(ValueError, match=fault):
            await store.save(POINTS, [points("3", 3), row])
        await good
        assert await stored(store) == [("2", 2, None)]


async def test_a_key_of_the_wrong_length_is_misuse(tmp_path: Path) -> None:
    """A key that leaves out a column would delete by accident what it does not name."""
    async with open_shop(tmp_path) as store:
        with pytest.raises(ValueError, match=r"the key of table seen is \(ua, number\)"):
            await store.delete(SEEN, [("a",)])


async def test_nothing_to_save_costs_no_transaction(tmp_path: Path) -> None:
    """Empty requests and an idle flush return at once."""
    async with open_shop(tmp_path) as store:
        await store.save(POINTS, [])
        await store.delete(POINTS, [])
        await store.flush()
        assert store.transactions == 0


async def test_flush_waits_for_what_is_under_way(tmp_path: Path) -> None:
    """After ``flush`` what others handed over is durable, and a failure among it is told."""
    async with open_shop(tmp_path) as store:
        commits = Commits(store)
        first = asyncio.create_task(store.save(POINTS, [points("1", 1)]))
        await commits.begun.wait()
        second = asyncio.create_task(store.save(POINTS, [points("2", 2)]))
        await asyncio.wait([second], timeout=0)
        await store.flush()
        assert [row[0] for row in await stored(store)] == ["1", "2"]
        await asyncio.gather(first, second)

        bad = asyncio.create_task(store.save(POINTS, [points("3", -1)]))
        await asyncio.wait([bad], timeout=0)
        with pytest.raises(FleetError, match="cannot save"):
            await store.flush()
        with pytest.raises(FleetError, match="cannot save"):
            await bad


async def test_a_cancelled_caller_takes_nobody_with_it(tmp_path: Path) -> None:
    """Cancelling one caller in mid-commit leaves the others' saves, and even its own, to be done."""
    async with open_shop(tmp_path) as store:
        commits = Commits(store)
        callers = [asyncio.create_task(store.save(POINTS, [points(str(n), n)])) for n in range(3)]
        await commits.begun.wait()
        callers[1].cancel()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), asyncio.CancelledError, type(None)]
        assert [row[0] for row in await stored(store)] == ["0", "1", "2"]


async def test_closing_commits_what_was_handed_over(tmp_path: Path) -> None:
    """The end of the context waits for saves under way; afterwards the store takes none."""
    async with open_shop(tmp_path) as store:
        late = asyncio.create_task(store.save(POINTS, [points("1", 1)]))
        await asyncio.wait([late], timeout=0)
    await late
    with pytest.raises(FleetError, match="the store is closed"):
        await store.save(POINTS, [points("2", 2)])
    async with open_shop(tmp_path) as store:
        assert await stored(store) == [("1", 1, None)]


@pytest.mark.parametrize("by_thread", [True, False], ids=["thread", "asyncio"])
async def test_a_writer_that_is_stopped_leaves_nobody_waiting(tmp_path: Path, *, by_thread: bool) -> None:
    """Cancelling the end of the context in mid-commit ends every wait with an error."""
    async with open_shop(tmp_path) as opened:
        store = GroupCommit(opened.engine, writer=opened.writer if by_thread else None)
        commits, stopped = Commits(store), threading.Event()
        if by_thread:  # which would else be through before anybody stops it
            event.listen(store.writer.engine, "begin", lambda _connection: stopped.wait())
        await store.__aenter__()
        first = asyncio.create_task(store.save(POINTS, [points("1", 1)]))
        await commits.begun.wait()
        second = asyncio.create_task(store.save(POINTS, [points("2", 2)]))
        await asyncio.wait([second], timeout=0)
        closing = asyncio.create_task(store.__aexit__())
        await asyncio.wait([closing], timeout=0)
        closing.cancel()
        asyncio.get_running_loop().call_soon(stopped.set)
        outcomes = await asyncio.gather(first, second, closing, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [FleetError, FleetError, asyncio.CancelledError]
        assert "the store was stopped" in str(outcomes[0])


def test_a_database_that_cannot_upsert_is_refused() -> None:
    """Only dialects whose upsert is known are written to."""
    assert insert_of("postgresql") is postgresql.insert
    with pytest.raises(ValueError, match=r"unknown database 'oracle' \(known: postgresql, sqlite\)"):
        insert_of("oracle")


# Opening


async def test_sqlite_is_opened_to_be_durable_and_private(tmp_path: Path) -> None:
    """Each connection has a write-ahead log and full synchronisation, and nobody else may read the file."""
    async with open_shop(tmp_path / "deep" / "down") as store:
        async with store.engine.connect() as connection:
            assert (await connection.execute(text("PRAGMA journal_mode"))).scalar() == "wal"
            assert (await connection.execute(text("PRAGMA synchronous"))).scalar() == 2
        await store.save(POINTS, [points("1", 1)])
        for file in (tmp_path / "deep" / "down").iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


async def test_a_store_opens_by_url(tmp_path: Path) -> None:
    """A URL of SQLAlchemy serves where a path does."""
    async with open_store(f"sqlite+aiosqlite:///{tmp_path}/shop.sqlite", SHOP) as store:
        await store.save(POINTS, [points("1", 1), points("2", 2)])
        await store.change(POINTS, rows=[points("3", 3)], gone=[("2",)])
        with pytest.raises(FleetError, match="cannot save: CHECK constraint failed"):
            await store.save(POINTS, [points("1", -1), points("4", 4)])
    async with open_shop(tmp_path) as store:
        assert await stored(store) == [("1", 1, None), ("3", 3, None)]


@pytest.mark.parametrize(
    "url", ["postgresql+asyncpg://me:hunter2@127.0.0.1:1/x", "mysql://me:hunter2@localhost/x", "no url"]
)
async def test_a_database_that_is_not_there_is_one_sentence(url: str) -> None:
    """An unreachable, unknown or unreadable URL is told in one line without its password."""
    with pytest.raises(FleetError, match="cannot open") as caught:
        async with open_store(url, SHOP):
            pytest.fail("opened")
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """A foreign file in the state directory is named, and left as it is."""
    file = tmp_path / "shop.sqlite"
    file.write_bytes(b"not a database, but a good story" * 100)
    with pytest.raises(FleetError, match=r"shop\.sqlite: cannot open: file is not a database"):
        async with open_shop(tmp_path):
            pytest.fail("opened")
    assert file.read_bytes().startswith(b"not a database")


async def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """A state directory that cannot be made is told with the path."""
    (tmp_path / "state").write_text("")
    with pytest.raises(FleetError, match="cannot open"):
        async with open_shop(tmp_path / "state"):
            pytest.fail("opened")


async def test_tables_of_another_version_are_refused(tmp_path: Path) -> None:
    """A database whose columns differ from ours is named with the table, not failed on later."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.sqlite")
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE points (ua VARCHAR PRIMARY KEY, balance INTEGER)"))
    await engine.dispose()
    with pytest.raises(FleetError, match=r"made by another version \(differs in table points\)"):
        async with open_shop(tmp_path):
            pytest.fail("opened")


async def test_a_store_has_the_indexes_of_its_tables(tmp_path: Path) -> None:
    """What a table is to be found by is made with it."""
    lists = MetaData()
    Table("list", lists, Column("ua", String(20), primary_key=True), Column("city", String(40), index=True))
    async with open_store(tmp_path / "lists.sqlite", lists) as store, store.engine.connect() as connection:
        names = await connection.scalars(text("SELECT name FROM sqlite_master WHERE tbl_name = 'list'"))
        assert "ix_list_city" in names.all()


# What the roles keep


@pytest.mark.parametrize("table", [table for role in ROLES for table in role.sorted_tables], ids=str)
def test_every_table_can_be_told_to_postgresql(table: Table) -> None:
    """Table, upsert and delete compile for PostgreSQL; a conflict is one of the whole primary key."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    key = ", ".join(column.name for column in table.primary_key.columns)
    assert f"PRIMARY KEY ({key})" in str(CreateTable(table).compile(dialect=dialect))
    upsert = str(upsert_statement(table, "postgresql").compile(dialect=dialect))
    assert f"ON CONFLICT ({key}) DO UPDATE SET" in upsert
    assert str(delete_statement(table).compile(dialect=dialect)).count("%(key_") == len(table.primary_key)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: min(role.tables))
async def test_every_role_can_store_a_row_of_each_table(tmp_path: Path, role: MetaData) -> None:
    """Octets, names, counters and times come back as they were put, after reopening."""
    samples = {bytes: b"\x00\xff" * 40, str: "8988000000000000001", int: 2**31 - 1, float: 1800000000.25}
    rows = {
        table: {column.name: samples[column.type.python_type] for column in table.columns}
        for table in role.sorted_tables
    }
    async with open_store(tmp_path / "role.sqlite", role) as store:
        await asyncio.gather(*(Registry(store, table).put(row) for table, row in rows.items()))
        assert store.transactions == 1
    async with open_store(tmp_path / "role.sqlite", role) as store:
        for table, row in rows.items():
            registry = Registry(store, table)
            await registry.load()
            assert [dict(found) for found in registry.rows()] == [row]


# Registry


async def test_a_registry_reads_from_memory_what_it_keeps_on_disk(tmp_path: Path) -> None:
    """Rows are found by key as soon as they are put, and by a registry that loads them later."""
    async with open_shop(tmp_path) as store:
        registry = Registry(store, POINTS)
        await registry.put_all([points("1", 5), points("2", 4), points("2", 6)])
        assert store.transactions == 1
        await registry.remove("1")
        other = Registry(store, POINTS)
        await other.load()
        for either in (registry, other):
            assert len(either) == 1
            assert either.get("1") is None
            assert held(either, "2") == points("2", 6)
            assert [dict(row) for row in either.rows()] == [points("2", 6)]


async def test_a_row_cannot_be_changed_but_replaced(tmp_path: Path) -> None:
    """A row that was handed out stays as it was; ``but`` makes the next one from it."""
    async with open_shop(tmp_path) as store:
        registry = Registry(store, POINTS)
        mine = points("1", 5)
        await registry.put(mine)
        mine["balance"] = 99
        row = registry.get("1")
        assert row is not None
        assert len(row) == len(mine)
        await registry.put(row.but(balance=row["balance"] + 1))
        assert dict(row) == points("1", 5)
        assert held(registry, "1") == points("1", 6)


def test_the_repr_of_a_row_shows_its_key_only() -> None:
    """A session in a row never reaches a log by the row's repr."""
    row = Row(tables.SUPPLIER_KEYS, {"purpose": "sign", "suite": "p256", "private_key": b"secret"})
    assert repr(row) == "Row(own_keys: purpose='sign')"
    assert "secret" not in f"{row} {row!r} {[row]}"


async def test_memory_changes_at_once_and_the_disk_before_the_answer(tmp_path: Path) -> None:
    """Two handlers side by side never take the same counter, and who only read can wait for the disk."""
    async with open_shop(tmp_path) as store:
        registry = Registry(store, POINTS)
        await registry.put(points("1", 0))

        async def take_a_number() -> int:
            row = registry.get("1")
            assert row is not None
            mine: int = row["balance"] + 1
            await registry.put(row.but(balance=mine))
            return mine

        handlers = [asyncio.create_task(take_a_number()) for _ in range(50)]
        await asyncio.wait(handlers, timeout=0)
        assert held(registry, "1") == points("1", 50)
        await registry.settled()
        assert await stored(store) == [("1", 50, None)]
        assert sorted(await asyncio.gather(*handlers)) == list(range(1, 51))


async def test_after_a_failure_memory_is_what_the_disk_is(tmp_path: Path) -> None:
    """Puts and removals whose commit failed are taken back, however many there were of one key."""
    async with open_shop(tmp_path) as store:
        registry = Registry(store, POINTS)
        await registry.put(points("1", 5))
        changes = (
            registry.put(points("1", 6)),
            registry.put(points("1", -1)),
            registry.remove("1"),
            registry.put(points("1", -2)),
            registry.put(points("2", 1)),
        )
        outcomes = await asyncio.gather(*changes, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [FleetError] * 5
        assert held(registry, "1") == points("1", 5)
        assert registry.get("2") is None
        assert await stored(store) == [("1", 5, None)]


async def test_a_failure_does_not_take_back_a_later_success(tmp_path: Path) -> None:
    """A row put while the failing commit was under way stays, for its own commit holds it."""
    async with open_shop(tmp_path) as store:
        registry = Registry(store, POINTS)
        commits = Commits(store)
        bad = asyncio.create_task(registry.put(points("1", -1)))
        await commits.begun.wait()
        await registry.put(points("1", 7))
        with pytest.raises(FleetError):
            await bad
        assert held(registry, "1") == points("1", 7)
        assert await stored(store) == [("1", 7, None)]


async def test_a_cancelled_put_stays_in_memory_as_on_disk(tmp_path: Path) -> None:
    """Cancelling a caller does not call its row back, and an older commit ending later does not either."""
    async with open_shop(tmp_path) as store:
        registry = Registry(store, POINTS)
        commits = Commits(store)
        older = asyncio.create_task(registry.put(points("1", 1)))
        await commits.begun.wait()
        newer = asyncio.create_task(registry.put(points("1", 2)))
        await asyncio.wait([newer], timeout=0)
        newer.cancel()
        await asyncio.wait([newer])
        await older
        await registry.settled()
        assert newer.cancelled()
        assert held(registry, "1") == points("1", 2)
        assert await stored(store) == [("1", 2, None)]


KEYS = st.sampled_from("abc")
CHANGES = st.lists(st.tuples(KEYS, st.none() | st.integers(-2, 9)), max_size=12)


@settings(max_examples=30, deadline=None)
@given(st.lists(CHANGES, max_size=4))
def test_memory_and_disk_agree_after_any_changes(groups: list[list[tuple[str, int | None]]]) -> None:
    """Whatever is put, removed or refused, in groups: a registry and one loaded afresh hold the same."""

    async def play(path: Path) -> None:
        async with open_shop(path) as store:
            registry = Registry(store, POINTS)
            for group in groups:
                changes = [
                    registry.remove(ua) if balance is None else registry.put(points(ua, balance))
                    for ua, balance in group
                ]
                await asyncio.gather(*changes, return_exceptions=True)
            fresh = Registry(store, POINTS)
            await fresh.load()
            assert sorted(map(dict, fresh.rows()), key=str) == sorted(map(dict, registry.rows()), key=str)

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(play(Path(directory)))


# Module memory


async def test_pages_come_back_by_module_in_order(tmp_path: Path) -> None:
    """Each module gets its own pages, sorted, the latest of each; a module never saved has none."""
    async with open_store(tmp_path / "modules.sqlite", tables.MODULES) as store:
        pages = PageStore(store)
        await asyncio.gather(
            pages.save("b", [(10, b"ten"), (2, b"two")]),
            pages.save("a", [(0, b"zero")]),
            pages.save("b", [(2, b"TWO")]),
        )
        assert await pages.load("b") == [(2, b"TWO"), (10, b"ten")]
        assert await pages.load("c") == []
        assert await pages.load_all() == {"a": [(0, b"zero")], "b": [(2, b"TWO"), (10, b"ten")]}


async def test_a_page_of_zeros_is_not_stored(tmp_path: Path) -> None:
    """A page overwritten with zeros leaves the disk, so a released resource costs and shows nothing."""
    async with open_store(tmp_path / "modules.sqlite", tables.MODULES) as store:
        pages = PageStore(store)
        await pages.save("a", [(0, b"head"), (1, b"secret"), (2, bytes(256))])
        assert await pages.load("a") == [(0, b"head"), (1, b"secret")]
        await pages.save("a", iter([(0, b"HEAD"), (1, bytes(256))]))
        assert await pages.load("a") == [(0, b"HEAD")]
        assert store.transactions == 2


# Kill -9

CHILD = """
import asyncio, itertools, os, signal, sys
from pathlib import Path
from sqlalchemy import event
from agents.store.database import open_store
from agents.store.pages import PageStore
from agents.store.tables import MODULES

async def main(path, kill_at):
    async with open_store(Path(path), MODULES) as store, asyncio.TaskGroup() as callers:
        pages, commits = PageStore(store), itertools.count(1)

        def committing(_connection):
            # The rows are executed, the commit is not: as bad a moment as there is.
            if next(commits) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        async def save_for_ever(ua):
            for number in itertools.count():
                octets = number.to_bytes(4, "big") * 64
                await pages.save(ua, [(page, b"+" + octets) for page in range(3)])
                os.write(1, f"{ua} {number}\\n".encode())

        event.listen(store.writer.engine, "commit", committing)
        for ua in range(20):
            callers.create_task(save_for_ever(str(ua)))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.parametrize("kill_at", [1, 2, 17, 0], ids=["first-commit", "second", "later", "from-outside"])
def test_after_kill_9_everything_reported_saved_is_there(tmp_path: Path, kill_at: int) -> None:
    """A process killed in mid-commit loses no save that returned and leaves no save half done."""
    database = tmp_path / "modules.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, database, str(kill_at)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as child:
        assert child.stdout is not None
        reported = []
        for line in child.stdout:
            reported.append(line.split())
            if len(reported) == 300 and not kill_at:
                child.kill()
    assert child.returncode == -signal.SIGKILL
    assert len(reported) >= (kill_at - 1) * 20

    async def reopen() -> dict[str, Pages]:
        async with open_store(database, tables.MODULES) as store:
            return await PageStore(store).load_all()

    images = asyncio.run(reopen())
    for image in images.values():
        assert [number for number, _ in image] == [0, 1, 2]
        assert len({octets for _, octets in image}) == 1
    for ua, number in reported:
        assert int.from_bytes(images[ua][0][1][1:5], "big") >= int(number)
