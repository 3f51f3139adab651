"""What outlives the process: the registries of the roles and the memory of the modules.

What this room is for
    Rows on disk, in SQLAlchemy Core tables: SQLite files in the state directory by default, PostgreSQL by
    URL. ``tables`` says what each role keeps, ``registry`` holds a role's rows in memory and on disk alike,
    ``pages`` the memory images of the modules, ``group_commit`` is the only place that writes,
    by ``writing``.

What it may import
    SQLAlchemy and ``agents.errors``. It knows no role, no message and no bus.

Theory of operation
    A role commits before it speaks, so every message costs a commit, and a commit costs a wait for the
    disk. To pay that wait once for many messages, each database has one writer: what is handed to it while
    it waits for the disk goes together into the next transaction, and each caller returns when *its* rows
    are durable. Nothing is timed: an idle store commits a lone row at once, a busy one commits in large
    groups by itself. SQLite runs with a write-ahead log and ``synchronous=FULL``, so what was reported
    durable survives kill -9 and, as far as the disk is honest, a power cut. A transaction that fails fails
    for every caller whose rows were in it, and leaves nothing of itself. Rows hold secrets (session keys,
    private keys): no row shows its values in a repr, and no error names them.
"""
