"""Programmes for the run unit: as text around one expression, or octet by octet where text would not do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from wasmtime import wat2wasm

from agents.handset.security_module.errors import ApplicationRefused, ExecutionFailed
from agents.handset.security_module.host_functions import HOST_FUNCTIONS, IMPORT_MODULE, HostServices
from agents.handset.security_module.rights import RIGHTS
from agents.handset.security_module.run_unit import CallResult, call, load

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agents.handset.security_module.host_functions import Area

SIGNATURE: Final = bytes(range(100, 164))
SERVICES: Final = HostServices(
    rng=lambda count: b"\xa5" * count, now=1_700_000_000, sign=lambda _octets: SIGNATURE
)
ALL: Final = frozenset(RIGHTS)
DATA: Final = 64

_NUMBERS: Final = {"key_length": 16, "length": 16, "room": 16}

HEADER: Final = b"\0asm\1\0\0\0"
I32, I64, F32, F64 = b"\x7f", b"\x7e", b"\x7d", b"\x7c"
TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT, START, ELEMENT, CODE, DATA_SEGMENTS = range(1, 12)
DATA_COUNT: Final = 12
_ORDER: Final = (*range(1, CODE), DATA_COUNT, CODE, DATA_SEGMENTS)
_SECTIONS: Final = {
    "imports": IMPORT,
    "tables": TABLE,
    "memory": MEMORY,
    "globals_": GLOBAL,
    "elements": ELEMENT,
    "data_count": DATA_COUNT,
    "segments": DATA_SEGMENTS,
}


# --- as text ---


def imports(names: str) -> str:
    """Return the imports of these host functions, each under its own name."""
    lines = []
    for name in names.split():
        host = HOST_FUNCTIONS[name]
        parameters = f"(param {' '.join(host.parameters)})" if host.parameters else ""
        results = f"(result {' '.join(host.results)})" if host.results else ""
        lines.append(f'(import "{IMPORT_MODULE}" "{name}" (func ${name} {parameters} {results}))')
    return "\n".join(lines)


def app(
    invoke: str = "(i32.const 0)",
    *,
    host: str = "",
    memory: str = f"{DATA} {DATA} (pagesize 1)",
    more: str = "",
) -> bytes:
    """Return an application whose ``invoke`` is this, that imports these host functions and has *more*."""
    text = f"""(module {imports(host)} (memory (export "memory") {memory}) {more}
        (func (export "personalise") (result i32) (i32.const 0))
        (func (export "invoke") (result i32) (local $i i32) {invoke}))"""
    return bytes(wat2wasm(text))


def calling(function: str, *numbers: int, size: int = DATA) -> bytes:
    """Return an application with so much memory that calls a host function once, with these numbers.

    Its status is the function's result, 0 when it has none.
    """
    call_text = f"(call ${function} {' '.join(f'(i32.const {number})' for number in numbers)})"
    results = HOST_FUNCTIONS[function].results
    text = {(): "{} (i32.const 0)", ("i32",): "{}", ("i64",): "(i32.wrap_i64 {})"}[results].format(call_text)
    return app(text, host=function, memory=f"{size} {size} (pagesize 1)")


def numbers(function: str, **changes: int) -> list[int]:
    """Return numbers for a host function with which it does its work in 16 octets, but for *changes*."""
    return [changes.get(each, _NUMBERS.get(each, 0)) for each in HOST_FUNCTIONS[function].names]


def length_of(area: Area) -> int:
    """Return how many octets of memory an area has with those numbers."""
    return area.length if isinstance(area.length, int) else _NUMBERS[area.length]


def module(body: str) -> bytes:
    """Return a module with the two entries and this."""
    entry = '(func (export "{}") (result i32) (i32.const 0))'
    entries = entry.format("personalise") + entry.format("invoke")
    return bytes(wat2wasm(f"(module {body} {entries})"))


# --- as octets (WebAssembly core specification, chapter 5) ---


def leb128(value: int) -> bytes:
    """Return an unsigned number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def constant(value: int) -> bytes:
    """Return ``i32.const`` of a number."""
    out = bytearray(b"\x41")
    while not -64 <= value < 64:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value & 0x7F])


def vector(items: Sequence[bytes]) -> bytes:
    """Return a vector: its length and its items."""
    return leb128(len(items)) + b"".join(items)


def section(number: int, octets: bytes) -> bytes:
    """Return a section."""
    return bytes([number]) + leb128(len(octets)) + octets


def signature(parameters: Iterable[bytes] = (), results: Iterable[bytes] = ()) -> bytes:
    """Return a type of functions."""
    return b"\x60" + vector(list(parameters)) + vector(list(results))


def body(instructions: bytes = b"", variables: Sequence[tuple[int, bytes]] = ()) -> bytes:
    """Return a function's code: so many locals of each type, and instructions without the last ``end``."""
    octets = vector([leb128(count) + kind for count, kind in variables]) + instructions + b"\x0b"
    return leb128(len(octets)) + octets


def programme(
    functions: Sequence[tuple[int, bytes]] = (),
    types: Sequence[bytes] = (),
    *,
    exports: Sequence[bytes] = (),
    **sections: bytes,
) -> bytes:
    """Return a programme with the two entries as functions 0 and 1, and behind them *functions*.

    Each is the number of its type and its body; type 0 is ``() -> i32``, and *types* follow it. *sections*
    are the contents of others, by their names.
    """
    entry = body(constant(0))
    made = {
        MEMORY: b"\1\0\1",
        **{_SECTIONS[name]: octets for name, octets in sections.items()},
        TYPE: vector([signature((), [I32]), *types]),
        FUNCTION: vector([b"\0", b"\0", *(leb128(number) for number, _ in functions)]),
        EXPORT: vector([b"\6memory\2\0", b"\x0bpersonalise\0\0", b"\6invoke\0\1", *exports]),
        CODE: vector([entry, entry, *(octets for _, octets in functions)]),
    }
    return HEADER + b"".join(section(number, made[number]) for number in _ORDER if number in made)


# --- what becomes of them ---


def invoke(code: bytes, argument: bytes = b"", data: bytes = bytes(DATA), **options: Any) -> CallResult:
    """Return how an invoke ended, with every right unless *options* say otherwise."""
    granted: dict[str, Any] = {"rights": ALL, "services": SERVICES}
    return call(code, "invoke", data, argument, **(granted | options))


def load_area(code: bytes, data_size: int = 65536) -> bytes:
    """Return the data area of a programme that can be loaded with every right."""
    return load(code, rights=ALL, data_size=data_size)


def refusal(code: bytes, *, rights: frozenset[str] = ALL, data_size: int = DATA) -> str:
    """Return why a programme, which must not be loaded, is refused."""
    with pytest.raises(ApplicationRefused) as caught:
        load(code, rights=rights, data_size=data_size)
    return caught.value.reason


def failure(code: bytes, argument: bytes = b"", **options: Any) -> str:
    """Return why an invoke, which must not end well, failed."""
    with pytest.raises(ExecutionFailed) as caught:
        invoke(code, argument, **options)
    return caught.value.reason
