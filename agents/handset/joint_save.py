"""What the modules of a cell changed at the same page, made durable in one go.

A broadcast brings its last page to all handsets of a cell at once, and each of them has a new programme to
store. A turn for each, with a task and a wait of its own, would cost more than the storing. What comes while
one save is under way goes into the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.store.pages import Pages, PageStore
    from bus.actor import ActorGroup


class _Waiting(NamedTuple):
    """One module's changes, and who is told what became of them."""

    changes: Pages
    done: Callable[[Exception | None], None]


class JointSave:
    """Saves for the modules of one cell; its task is one of *group* and there while there is something."""

    def __init__(self, pages: PageStore, group: ActorGroup) -> None:
        self._pages = pages
        self._group = group
        self._waiting: dict[str, _Waiting] = {}
        self._saving = False

    def save(self, ua: str, changes: Pages, done: Callable[[Exception | None], None]) -> None:
        """Store *changes* of module *ua*, with the others'; *done* is told once they are durable, or why not.

        There are no others of its own under way: it waits for these. Raises MailboxFull when the group is
        ending; nothing is stored then.
        """
        if not self._saving:
            self._group.spawn(self._save(), name="joint-save")
            self._saving = True
        self._waiting[ua] = _Waiting(changes, done)

    async def _save(self) -> None:
        try:
            while self._waiting:
                together, self._waiting = self._waiting, {}
                failure: Exception | None = None
                try:
                    await self._pages.save_all({ua: waiting.changes for ua, waiting in together.items()})
                except Exception as error:  # noqa: BLE001 -- whatever it is, each is told, and deals with it
                    failure = error
                for waiting in together.values():
                    waiting.done(failure)
        finally:
            self._saving = False
