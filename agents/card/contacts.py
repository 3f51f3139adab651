"""A module on a reader's contacts: powered, reset, asked; what it changed is stored before it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.errors import FleetError
from agents.handset.security_module.errors import ImageRejected
from agents.handset.security_module.memory import Memory
from agents.handset.security_module.module import SecurityModule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agents.handset.security_module.core import Note
    from agents.store.pages import PageStore
    from bus.clock import Clock
    from transport.security.suites import Rng


class Contacts:
    """The contacts that module *ua* is on; no power is on them yet."""

    def __init__(self, ua: str, pages: PageStore, *, clock: Clock, rng: Rng) -> None:
        self._ua = ua
        self._pages = pages
        self._clock = clock
        self._rng = rng
        self._module: SecurityModule | None = None

    async def power_on(self) -> None:
        """Boot the module as it was last stored. Raises FleetError when it is corrupt."""
        self._module = await self._boot()

    def power_off(self) -> None:
        """Let the module forget what is volatile."""
        self._module = None

    async def transmit(self, command: bytes) -> bytes:
        """Return the response to a command APDU, once what it changed is durable.

        A module that has no power gets it first: a reader does that before it asks anything, and another
        program may not.
        """
        if self._module is None:
            self._module = await self._boot()
        response = self._module.process(command, self._clock.now())
        await self._store(self._module)
        return response

    def take_notes(self) -> Iterable[Note]:
        """Return what happened in the module since they were last taken."""
        return self._module.take_notes() if self._module else ()

    async def _boot(self) -> SecurityModule:
        pages = await self._pages.load(self._ua)
        try:
            module = SecurityModule(Memory.from_pages(pages), rng=self._rng)
        except ImageRejected as error:
            raise FleetError(f"the memory of module {self._ua} is corrupt: {error}") from None
        await self._store(module)  # a boot may have had a journal to carry out
        return module

    async def _store(self, module: SecurityModule) -> None:
        changes = module.take_changes()
        if changes:
            await self._pages.save(self._ua, changes)
