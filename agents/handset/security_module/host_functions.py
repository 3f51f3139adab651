"""The ABI as a table: what a resource's programme may import from the module ``otafleet``.

For whoever writes a programme it is described in ``docs/abi.md``, which a test holds against this table.

A row says which of a function's parameters point into the programme's memory. Those areas are checked and
paid for before the function is entered, and it is handed the areas, never a pointer: a function that forgets
to check one cannot be written.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agents.handset.security_module import host_crypto
from agents.handset.security_module.errors import ExecutionFailed
from agents.handset.security_module.host_crypto import AES_BLOCK, DIGEST
from agents.handset.security_module.host_run import HOST_CALL_FUEL, HOST_OCTET_FUEL, RUN, HostServices, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "HOST_CALL_FUEL",
    "HOST_FUNCTIONS",
    "HOST_OCTET_FUEL",
    "IMPORT_MODULE",
    "MAX_OUTPUT",
    "MAX_TEXTS",
    "MAX_TEXT_OCTETS",
    "RUN",
    "SIGN_FUEL",
    "Area",
    "HostFunction",
    "HostServices",
    "Run",
]

IMPORT_MODULE: Final = "otafleet"
MAX_OUTPUT: Final = 1024
MAX_TEXT_OCTETS: Final = 240
MAX_TEXTS: Final = 8
SIGN_FUEL: Final = 1_000_000
"""What a signature costs more than another call: the slowest suites need most of a millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """Octets of the programme's memory that a function works on: from a pointer, so many."""

    pointer: str
    length: str | int
    """The parameter that says how many, or how many there always are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFunction:
    """A row of the ABI; ``right`` is empty when it is always granted, ``result`` when there is none.

    ``function`` takes the run, its areas in this order, and then what parameters are left.
    """

    right: str
    names: tuple[str, ...]
    areas: tuple[Area, ...]
    result: str
    fuel: int
    function: Callable[..., int | None]

    @property
    def parameters(self) -> tuple[str, ...]:
        """The types of its parameters, by their WebAssembly names."""
        return ("i32",) * len(self.names)

    @property
    def results(self) -> tuple[str, ...]:
        """The types of its results, likewise."""
        return (self.result,) if self.result else ()

    def linked(self) -> Callable[..., int | None]:
        """Return what the engine calls: pays, checks every pointer, and only then enters the function."""
        function, fuel = self.function, self.fuel
        at = {name: index for index, name in enumerate(self.names)}
        # Lengths that never change stand behind the parameters, so that each length has its place.
        fixed = tuple(area.length for area in self.areas if isinstance(area.length, int))
        behind = iter(range(len(self.names), len(self.names) + len(fixed)))
        places = tuple(
            (at[area.pointer], at[area.length] if isinstance(area.length, str) else next(behind))
            for area in self.areas
        )
        taken = {each for area in self.areas for each in (area.pointer, area.length)}
        others = tuple(at[name] for name in self.names if name not in taken)

        def call(*values: int) -> int | None:
            run = RUN.get()
            run.spend(fuel)
            numbers = values + fixed
            areas = [run.take(numbers[pointer], numbers[length]) for pointer, length in places]
            return function(run, *areas, *[values[index] for index in others])

        return call


def _input_length(run: Run) -> int:
    return len(run.argument)


def _input_read(run: Run, target: memoryview, offset: int) -> int:
    offset &= 0xFFFFFFFF
    octets = run.argument[offset : offset + len(target)]
    target[: len(octets)] = octets
    return len(octets)


def _output_write(run: Run, octets: memoryview) -> None:
    if len(run.output) + len(octets) > MAX_OUTPUT:
        raise ExecutionFailed("output-too-long")
    run.output += octets


def _time(run: Run) -> int:
    return run.services.now


def _display(run: Run, octets: memoryview) -> None:
    if len(octets) > MAX_TEXT_OCTETS or len(run.texts) == MAX_TEXTS:
        raise ExecutionFailed("display-too-long")
    text = bytes(octets).decode(errors="replace")
    # A text ends on somebody's terminal: no control characters, no escape sequences.
    run.texts.append("".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text))


def _row(
    function: Callable[..., int | None],
    names: str = "",
    *areas: tuple[str, str | int],
    right: str = "",
    result: str = "",
    fuel: int = HOST_CALL_FUEL,
) -> HostFunction:
    return HostFunction(
        right=right,
        names=tuple(names.split()),
        areas=tuple(Area(pointer=pointer, length=length) for pointer, length in areas),
        result=result,
        fuel=fuel,
        function=function,
    )


_IN: Final = ("ptr", "length")
_KEY: Final = ("key", "key_length")
_CBC: Final = (_KEY, ("iv", AES_BLOCK), _IN, ("out", "length"))

HOST_FUNCTIONS: Final[Mapping[str, HostFunction]] = MappingProxyType(
    {
        "input_length": _row(_input_length, result="i32"),
        "input_read": _row(_input_read, "ptr offset length", _IN, result="i32"),
        "output_write": _row(_output_write, "ptr length", _IN),
        "random": _row(host_crypto.random, "ptr length", _IN, right="random"),
        "sha256": _row(host_crypto.sha256, "ptr length out", _IN, ("out", DIGEST), right="sha256"),
        "hmac": _row(
            host_crypto.hmac, "key key_length ptr length out", _KEY, _IN, ("out", DIGEST), right="hmac"
        ),
        "aes_cbc_encrypt": _row(
            host_crypto.aes_cbc_encrypt, "key key_length iv ptr length out", *_CBC, right="aes"
        ),
        "aes_cbc_decrypt": _row(
            host_crypto.aes_cbc_decrypt, "key key_length iv ptr length out", *_CBC, right="aes"
        ),
        "aes_cmac": _row(
            host_crypto.aes_cmac, "key key_length ptr length out", _KEY, _IN, ("out", AES_BLOCK), right="aes"
        ),
        "sign": _row(
            host_crypto.sign,
            "ptr length out room",
            _IN,
            ("out", "room"),
            right="sign",
            result="i32",
            fuel=HOST_CALL_FUEL + SIGN_FUEL,
        ),
        "time": _row(_time, right="time", result="i64"),
        "display": _row(_display, "ptr length", _IN, right="display"),
    },
)
