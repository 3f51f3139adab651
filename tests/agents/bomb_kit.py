"""Programmes that are cheap to send and dear to compile, each of a shape that can be as large as one likes.

The shapes are those that cost the compiler most for an octet or a declaration, of all instructions and of
many ways to put them together; ``tests/benchmarks/bench_compile.py`` measures them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agents.handset.security_module.errors import ApplicationRefused
from agents.handset.security_module.wasm_cost import check_cost
from agents.handset.security_module.wasm_shape import check_shape
from tests.agents.wasm_kit import F32, F64, I32, I64, body, leb128, programme, signature, vector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Parameters 0 to 3, one of each type; their values are nothing that a compiler could know.
_KINDS: Final = (I32, I64, F32, F64)
_TYPES: Final = (signature([I32], [I32]), signature(), signature(_KINDS))
_GET: Final = MappingProxyType({I32: b"\x20\0", I64: b"\x20\1", F32: b"\x20\2", F64: b"\x20\3"})
_TO_I32: Final = MappingProxyType({I32: b"", I64: b"\xa7", F32: b"\xbc", F64: b"\xbd\xa7"})
_SET_GLOBAL: Final = b"\x24\0"
_INT: Final = _GET[I32]
_TABLE: Final = b"\1\x70\0\1"
_GLOBALS: Final = b"\2\x7f\1\x41\0\x0b\x7e\1\x42\0\x0b"


def _with(*functions: tuple[int, bytes]) -> bytes:
    """Return a programme with these functions behind number 2, ``(i32) -> i32``, and number 3, ``()``."""
    return programme(
        [(1, body(_INT)), (2, body()), *functions],
        _TYPES,
        tables=_TABLE,
        globals_=_GLOBALS,
        elements=b"\1\1\0\1\0",
        data_count=b"\1",
        segments=b"\1\1\1x",
    )


def _chain(unit: bytes, kind: bytes = I32, functions: int = 1) -> Callable[[int], bytes]:
    """Return the shape of *unit* again and again, each working on what the one before has left."""

    def build(times: int) -> bytes:
        instructions = _GET[kind] + unit * (times // functions) + _TO_I32[kind] + _SET_GLOBAL
        return _with(*[(3, body(instructions))] * functions)

    return build


def _meeting(variables: int, opening: bytes, closing: bytes) -> Callable[[int], bytes]:
    """Return the shape of branches nested in each other, in whose midst all variables are changed."""
    changed = [b"\x20" + leb128(4 + each) + b"\x42\1\x7c\x21" + leb128(4 + each) for each in range(variables)]
    read = [b"\x20" + leb128(4 + each) + b"\x24\1" for each in range(variables)]

    def build(times: int) -> bytes:
        instructions = opening * times + b"".join(changed) + closing * times + b"".join(read)
        return _with((3, body(instructions, [(variables, I64)])))

    return build


def _branches_to_all(times: int) -> bytes:
    labels = b"".join(map(leb128, range(times)))
    inner = _INT + b"\x0e" + leb128(times - 1) + labels
    return _with((3, body(b"\x02\x40" * times + inner + b"\x0b" * times)))


def _many_parameters(functions: int) -> bytes:
    """Return the shape of functions of 64 parameters that may be called by whoever is given them."""
    numbers = vector([leb128(2 + each) for each in range(functions)])
    return programme([(1, body())] * functions, [signature([I64] * 64)], elements=b"\1\1\0" + numbers)


BOMBS: Final[Mapping[str, Callable[[int], bytes]]] = MappingProxyType(
    {
        "trunc f32": _chain(b"\xae\xb4", F32),
        "trunc f64": _chain(b"\xaa\xb7", F64),
        "trunc f64, many functions": _chain(b"\xaa\xb7", F64, functions=40),
        "memory.grow": _chain(b"\x40\0"),
        "memory.copy": _chain(_INT * 3 + b"\xfc\x0a\0\0"),
        "memory.init": _chain(_INT * 3 + b"\xfc\x08\0\0"),
        "table.copy": _chain(_INT * 3 + b"\xfc\x0e\0\0"),
        "table.init": _chain(_INT * 3 + b"\xfc\x0c\0\0"),
        "table.grow": _chain(b"\x21\0\xd0\x70\x20\0\xfc\x0f\0"),
        "table.get": _chain(b"\x25\0\xd1"),
        "call": _chain(b"\x10\2"),
        "call_indirect": _chain(_INT + b"\x11\1\0"),
        "load": _chain(b"\x28\0\0"),
        "load, far": _chain(b"\x2d\0\xff\xff\xff\xff\x0f"),
        "store": _chain(_INT + _INT + b"\x36\0\1"),
        "div_s": _chain(_INT + b"\x6d"),
        "sqrt": _chain(b"\x9f", F64),
        "min": _chain(_GET[F32] + b"\x96", F32),
        "demote, promote": _chain(b"\xb6\xbb", F64),
        "eqz": _chain(b"\x45"),
        "nop": _chain(b"\1"),
        "loop": _chain(b"\x03\x40\x0b"),
        "loop, many functions": _chain(b"\x03\x40\x0b", functions=100),
        "block with a result": _chain(b"\x1a\x02\x7f\x20\0\x0b"),
        "if with a result": _chain(b"\x04\x7f\x20\0\x05\x20\0\x0b"),
        "if and return": _chain(_INT + b"\x04\x40\x0f\x0b"),
        "if and unreachable": _chain(_INT + b"\x04\x40\0\x0b"),
        "br_table of 250": _chain(b"\x02\x40\x20\0\x0e\xfa\1" + bytes(251) + b"\x0b"),
        "br_table to all": _branches_to_all,
        "blocks": lambda times: _with((3, body(b"\x02\x7f" * times + _INT + b"\x0b" * times + _SET_GLOBAL))),
        "loops, 4 variables": _meeting(4, b"\x03\x40", _INT + b"\x0d\0\x0b"),
        "loops, 64 variables": _meeting(64, b"\x03\x40", _INT + b"\x0d\0\x0b"),
        "loops, 1000 variables": _meeting(1000, b"\x03\x40", _INT + b"\x0d\0\x0b"),
        "ifs, 256 variables": _meeting(256, _INT + b"\x04\x40", b"\x0b"),
        "parameters": _many_parameters,
        "functions": lambda times: _with(*[(2, body())] * times),
        "locals": lambda times: _with(*[(2, body(b"", [(1000, I64)]))] * times),
        "elements": lambda times: programme(elements=b"\1\1\0" + leb128(times) + bytes(times)),
    }
)


def passes(code: bytes) -> bool:
    """Return whether a valid programme may be compiled."""
    try:
        check_shape(code)
        check_cost(code)
    except ApplicationRefused:
        return False
    return True


def largest(build: Callable[[int], bytes], most: int = 1 << 20) -> bytes:
    """Return about the largest programme of a shape that may be compiled, less a thirtieth at most."""
    good = 1
    while good < most and passes(build(2 * good)):
        good *= 2
    step = good // 2
    for _ in range(5):
        if good < most and passes(build(good + step)):
            good += step
        step //= 2
    return build(good)
