"""The security module as its terminal sees it: APDU in, APDU out (TS 102 221, TS 31.111); see ``card_io``.

The module is a pure machine: time is an argument, randomness was given to it, and what it changed waits in
``take_changes`` for whoever powers it, who must make it durable before the response goes any further.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.handset.security_module import card_io, soundness
from agents.handset.security_module.core import Core
from agents.handset.security_module.files import CBMID_ENTRIES
from agents.handset.security_module.memory import DEFAULT_RESOURCES, Memory
from agents.handset.security_module.profile import STANDARD, blank_memory
from transport.apdu import (
    INS_ENVELOPE,
    INS_FETCH,
    INS_GET_DATA,
    INS_READ_BINARY,
    INS_SELECT,
    INS_STORE_DATA,
    INS_TERMINAL_PROFILE,
    INS_TERMINAL_RESPONSE,
    INTERINDUSTRY,
    PROPRIETARY,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agents.handset.security_module.core import Note
    from agents.handset.security_module.definitions import DefinitionTable
    from agents.handset.security_module.profile import Profile
    from transport.security.suites import Rng

__all__ = [
    "CBMID_ENTRIES",
    "INS_ENVELOPE",
    "INS_FETCH",
    "INS_GET_DATA",
    "INS_READ_BINARY",
    "INS_SELECT",
    "INS_STORE_DATA",
    "INS_TERMINAL_PROFILE",
    "INS_TERMINAL_RESPONSE",
    "INTERINDUSTRY",
    "PROPRIETARY",
    "SecurityModule",
]


class SecurityModule:
    """One module, powered: its memory, and the volatile state that a reset loses."""

    __slots__ = ("_core",)

    def __init__(self, memory: Memory, *, rng: Rng) -> None:
        """Boot from *memory*. Raises ImageRejected when it is corrupt."""
        self._core = Core(memory, rng)
        self._core.definitions.verify()
        soundness.check(self._core)

    @classmethod
    def blank(
        cls, size: int, *, rng: Rng, resources: int = DEFAULT_RESOURCES, profile: Profile = STANDARD
    ) -> SecurityModule:
        """Return a module as it leaves the chip maker: *size* octets of memory, formatted, nobody's.

        Raises ValueError when no such memory can be.
        """
        return cls(blank_memory(size, resources, profile), rng=rng)

    @property
    def ua(self) -> str | None:
        """The module's unique address; None while it is blank."""
        return self._core.identity.ua if self._core.identity else None

    @property
    def definitions(self) -> DefinitionTable:
        """DEF, to be read."""
        return self._core.definitions

    def process(self, command: bytes, now: float) -> bytes:
        """Take one command APDU at *now* (Unix seconds); return the response APDU, whatever came."""
        return card_io.answer(self._core, command, now).encode()

    @property
    def has_news(self) -> bool:
        """Whether there is anything to take: changes to be made durable, or notes."""
        return bool(self._core.notes) or self._core.memory.has_changes

    def take_changes(self) -> list[tuple[int, bytes]]:
        """Return the pages changed since they were last taken: (page number, octets)."""
        return self._core.memory.take_changes()

    def take_notes(self) -> Iterable[Note]:
        """Return what happened since they were last taken, for a log; without any secret."""
        notes = tuple(self._core.notes)
        self._core.notes.clear()
        return notes
