"""The memory images of the modules, as sheets of pages: a change of state costs the sheets it touched.

A row is what a memory hands out at once, a few pages in a row under the number of the first; a memory always
divides its pages in the same way. A sheet of zeros is not stored, and neither is one that was never handed
over; whoever puts an image together takes the missing pages for zeros.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from agents.store.tables import PAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agents.store.group_commit import GroupCommit

Pages = list[tuple[int, bytes]]
"""``(number of the first page, octets)``, in the order of their numbers."""


class PageStore:
    """The images of all modules, in one database."""

    def __init__(self, store: GroupCommit) -> None:
        self._store = store

    async def load(self, ua: str) -> Pages:
        """Return the stored pages of module *ua*: none when it was never saved."""
        query = select(PAGES.c.first, PAGES.c.octets).where(PAGES.c.ua == ua).order_by(PAGES.c.first)
        async with self._store.engine.connect() as connection:
            return [(number, octets) for number, octets in await connection.execute(query)]

    async def load_all(self) -> dict[str, Pages]:
        """Return the stored pages of every module, by UA."""
        query = select(PAGES.c.ua, PAGES.c.first, PAGES.c.octets).order_by(PAGES.c.ua, PAGES.c.first)
        async with self._store.engine.connect() as connection:
            rows = await connection.execute(query)
            return {
                ua: [(number, octets) for _ua, number, octets in pages]
                for ua, pages in groupby(rows, itemgetter(0))
            }

    async def save(self, ua: str, changes: Iterable[tuple[int, bytes]]) -> None:
        """Store these sheets of module *ua*, all or none; return when they are durable.

        Raises ``FleetError`` when the transaction failed.
        """
        await self.save_all({ua: changes})

    async def save_all(self, changes: Mapping[str, Iterable[tuple[int, bytes]]]) -> None:
        """Store these sheets of several modules, all or none, as ``save``."""
        rows: list[dict[str, Any]] = []
        gone = []
        for ua, sheets in changes.items():
            for number, octets in sheets:
                if octets.strip(b"\0"):
                    rows.append({"ua": ua, "first": number, "octets": octets})
                else:
                    gone.append((ua, number))
        await self._store.change(PAGES, rows=rows, gone=gone)
