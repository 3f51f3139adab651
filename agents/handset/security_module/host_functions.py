"""The ABI: what a resource's programme may import from the module ``otafleet``.

Pointers and lengths are unsigned 32-bit octet counts into the programme's own memory. Each is checked on
every call: what reaches outside the memory ends the run. ``out`` receives 32 octets.

=================  ======================================  ======  ===========================================
function           parameters -> result                    right   what it does
=================  ======================================  ======  ===========================================
``input_length``   () -> i32                               none    octets of the call's argument
``input_read``     (ptr, offset, length) -> i32            none    copy argument octets from ``offset`` to
                                                                   ``ptr``; how many there were to copy
``output_write``   (ptr, length)                           none    append to the answer, 1024 octets in all
``random``         (ptr, length)                           random  fill with random octets
``sha256``         (ptr, length, out)                      sha256  SHA-256 of octets
``hmac``           (key_ptr, key_length, ptr, length, out) hmac    HMAC-SHA-256 of octets
``time``           () -> i64                               time    seconds of the epoch, as the module trusts
``display``        (ptr, length)                           display  a UTF-8 text of at most 240 octets for the
                                                                   user, shown when the run ends well; 8 a run
=================  ======================================  ======  ===========================================

A programme exports ``memory`` and the entries ``personalise() -> i32`` and ``invoke() -> i32``. The result
is a status, 0 for OK; another value is the programme's own way to refuse, and the run still counts as one
that ended well. Everything but the memory starts anew in each run: globals and tables have their first
values again.

A host function costs fuel like any instruction: ``HOST_CALL_FUEL``, and ``HOST_OCTET_FUEL`` for each octet
it moves or hashes, so that fuel bounds time whatever a programme does.
"""

from __future__ import annotations

import hashlib
import hmac
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agents.handset.security_module.errors import ExecutionFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

IMPORT_MODULE: Final = "otafleet"
MAX_OUTPUT: Final = 1024
MAX_TEXT_OCTETS: Final = 240
MAX_TEXTS: Final = 8
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
        pointer &= _UNSIGNED
        length &= _UNSIGNED
        if pointer + length > len(self.memory):
            raise ExecutionFailed("outside-memory")
        self.spend(HOST_OCTET_FUEL * length)
        return self.memory[pointer : pointer + length]

    def spend(self, fuel: int) -> None:
        """Charge fuel; raise ExecutionFailed when there is not so much."""
        self.spent += fuel
        if self.spent > self.fuel:
            raise ExecutionFailed("out-of-fuel")


RUN: Final[ContextVar[Run]] = ContextVar("RUN")
"""The run that host functions called now belong to: they are linked once for all runs of a process."""


def _begin() -> Run:
    run = RUN.get()
    run.spend(HOST_CALL_FUEL)
    return run


def _input_length() -> int:
    return len(_begin().argument)


def _input_read(pointer: int, offset: int, length: int) -> int:
    run = _begin()
    target = run.take(pointer, length)
    offset &= _UNSIGNED
    octets = run.argument[offset : offset + len(target)]
    target[: len(octets)] = octets
    return len(octets)


def _output_write(pointer: int, length: int) -> None:
    run = _begin()
    octets = run.take(pointer, length)
    if len(run.output) + len(octets) > MAX_OUTPUT:
        raise ExecutionFailed("output-too-long")
    run.output += octets


def _random(pointer: int, length: int) -> None:
    run = _begin()
    target = run.take(pointer, length)
    target[:] = run.services.rng(len(target))


def _sha256(pointer: int, length: int, out: int) -> None:
    run = _begin()
    digest = hashlib.sha256(run.take(pointer, length)).digest()
    run.take(out, len(digest))[:] = digest


def _hmac(key_pointer: int, key_length: int, pointer: int, length: int, out: int) -> None:
    run = _begin()
    digest = hmac.digest(run.take(key_pointer, key_length), run.take(pointer, length), "sha256")
    run.take(out, len(digest))[:] = digest


def _time() -> int:
    return _begin().services.now


def _display(pointer: int, length: int) -> None:
    run = _begin()
    octets = run.take(pointer, length)
    if len(octets) > MAX_TEXT_OCTETS or len(run.texts) == MAX_TEXTS:
        raise ExecutionFailed("display-too-long")
    text = bytes(octets).decode(errors="replace")
    # A text ends on somebody's terminal: no control characters, no escape sequences.
    run.texts.append("".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text))


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFunction:
    """A row of the ABI: value types by their WebAssembly names; ``right`` empty when always granted."""

    right: str
    parameters: tuple[str, ...]
    results: tuple[str, ...]
    function: Callable[..., int | None]


def _row(
    function: Callable[..., int | None], parameters: int, result: str = "", right: str = ""
) -> HostFunction:
    results = (result,) if result else ()
    return HostFunction(right=right, parameters=("i32",) * parameters, results=results, function=function)


HOST_FUNCTIONS: Final[Mapping[str, HostFunction]] = MappingProxyType(
    {
        "input_length": _row(_input_length, 0, "i32"),
        "input_read": _row(_input_read, 3, "i32"),
        "output_write": _row(_output_write, 2),
        "random": _row(_random, 2, right="random"),
        "sha256": _row(_sha256, 3, right="sha256"),
        "hmac": _row(_hmac, 5, right="hmac"),
        "time": _row(_time, 0, "i64", right="time"),
        "display": _row(_display, 2, right="display"),
    },
)
