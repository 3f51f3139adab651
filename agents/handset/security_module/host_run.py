"""One run as host functions see it: what it was given, what it has said, and the fuel it has left.

A host function costs fuel like any instruction: ``HOST_CALL_FUEL``, and ``HOST_OCTET_FUEL`` for each octet
that it reads or writes, so that fuel bounds time whatever a programme does.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agents.handset.security_module.errors import ExecutionFailed

if TYPE_CHECKING:
    from collections.abc import Callable

HOST_CALL_FUEL: Final = 5000
HOST_OCTET_FUEL: Final = 4

_UNSIGNED: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class HostServices:
    """What a run may need from outside: randomness, and the time in seconds of the epoch."""

    rng: Callable[[int], bytes]
    now: int
    sign: Callable[[bytes], bytes]
    """Signs octets as this application's, with the module's private key."""


class Run:
    """One run in progress: the programme's memory, its argument, and what it has said so far."""

    __slots__ = ("argument", "fuel", "memory", "output", "services", "spent", "texts")

    def __init__(self, memory: memoryview, argument: bytes, fuel: int, services: HostServices) -> None:
        self.memory = memory
        self.argument = argument
        self.fuel = fuel
        self.services = services
        self.output = bytearray()
        self.texts: list[str] = []
        self.spent = 0

    def take(self, pointer: int, length: int) -> memoryview:
        """Return these octets of the programme's memory, paid for; raise ExecutionFailed outside of it."""
        # A programme's numbers come with a sign, and it means them without.
        pointer &= _UNSIGNED
        length &= _UNSIGNED
        end = pointer + length
        if end > len(self.memory):
            raise ExecutionFailed("outside-memory")
        self.spend(HOST_OCTET_FUEL * length)
        return self.memory[pointer:end]

    def spend(self, fuel: int) -> None:
        """Charge fuel; raise ExecutionFailed when there is not so much."""
        self.spent += fuel
        if self.spent > self.fuel:
            raise ExecutionFailed("out-of-fuel")


RUN: Final[ContextVar[Run]] = ContextVar("RUN")
"""The run that host functions called now belong to: they are linked once for all runs of a process."""
