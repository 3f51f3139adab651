"""Programmes that would keep a compiler busy: they are refused before it sees them, whatever their shape."""

from __future__ import annotations

import subprocess
import sys
import weakref
from typing import TYPE_CHECKING

import pytest
from wasmtime import Module, WasmtimeError

from agents.handset.security_module.errors import ApplicationRefused
from agents.handset.security_module.programme import compiled_programme, engine
from agents.handset.security_module.wasm_cost import (
    COST,
    COSTS,
    FUNCTION_COST,
    MAX_LOCALS,
    MAX_PARAMETERS,
    compile_cost,
)
from agents.handset.security_module.wasm_shape import (
    MAX_CODE_OCTETS,
    MAX_FUNCTIONS,
    MAX_PARTS,
    check_shape,
)
from tests.agents.bomb_kit import BOMBS, largest, passes
from tests.agents.wasm_kit import (
    CODE,
    HEADER,
    I32,
    I64,
    TYPE,
    body,
    constant,
    leb128,
    load_area,
    programme,
    refusal,
    section,
    signature,
    vector,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PEAK_MIB = 300
"""Of a process that compiles the dearest programme there is; 60 of them are Python and its libraries."""
DEAREST = ("load, far", "elements", "div_s", "trunc f32", "blocks")
IN_A_CHILD = """
import resource, sys
from wasmtime import Module
from agents.handset.security_module.programme import compiled_programme, engine
from tests.agents.bomb_kit import BOMBS, largest
resource.setrlimit(resource.RLIMIT_STACK, (2 << 20, 2 << 20))
Module(engine(), largest(BOMBS[sys.argv[1]]))
# Not ru_maxrss: that begins with what the process had from which this one was made.
with open("/proc/self/status", encoding="ascii") as status:
    print(next(int(line.split()[1]) >> 10 for line in status if line.startswith("VmHWM:")))
"""


@pytest.mark.parametrize("name", BOMBS)
def test_what_would_cost_too_much_is_not_compiled(name: str) -> None:
    """Each shape is refused from some size on for what it would cost or declare, and was good before."""
    size = 1
    assert passes(BOMBS[name](size))
    while len(code := BOMBS[name](size)) < MAX_CODE_OCTETS and passes(code) and size < 1 << 21:
        size *= 4
    assert refusal(code) in {"too-dear", "too-many-functions", "code-too-large"}


@pytest.mark.parametrize("name", DEAREST)
def test_what_is_compiled_needs_bounded_memory(name: str) -> None:
    """A process that compiles one of the dearest programmes, on a stack of 2 MiB, stays within its bounds."""
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CHILD, name], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < PEAK_MIB


def test_dear_programmes_are_not_kept_by_the_dozen() -> None:
    """Of programmes that may cost as much as any, few stay compiled; of small ones as many as there are."""
    dear = largest(BOMBS["trunc f64, many functions"])

    def compiled(code: bytes, count: int) -> list[weakref.ref[Module]]:
        # Custom sections make them differ.
        codes = [code + section(0, b"\1%c" % number) for number in range(count)]
        return [weakref.ref(compiled_programme(each, 0).module) for each in codes]

    small = compiled(programme(), 40)
    assert all(each() for each in small)
    kept = [each() is not None for each in compiled(dear, 6)]
    assert kept == [False, False, True, True, True, True]
    assert not any(each() for each in small)


def test_what_is_declared_is_counted() -> None:
    """Too many octets, functions, locals or parameters are refused, and not one less."""
    empty = signature()

    def functions(count: int) -> bytes:
        return programme([(1, body())] * (count - 2), [empty])

    def variables(*counts: int) -> bytes:
        return programme([(1, body(b"", [(count, I64) for count in counts]))], [empty])

    def parameters(count: int) -> bytes:
        return programme([(1, body())], [signature([I64] * count)])

    for build, most, reason in (
        (functions, MAX_FUNCTIONS, "too-many-functions"),
        (variables, MAX_LOCALS, "too-many-locals"),
        (parameters, MAX_PARAMETERS, "too-many-parameters"),
    ):
        load_area(build(most))
        assert refusal(build(most + 1)) == reason
    assert refusal(variables(MAX_LOCALS, 1)) == "too-many-locals"
    assert refusal(variables(50_000)) == "too-many-locals"
    assert refusal(variables(*[(1 << 32) - 1] * 9)) == "invalid"
    assert refusal(functions(2).ljust(MAX_CODE_OCTETS + 1, b"\0")) == "code-too-large"


def imports_alone(count: int) -> bytes:
    """Return a module that imports the same function so often, and is no programme."""
    one = b"\x08otafleet\x0cinput_length\0\0"
    return HEADER + section(TYPE, vector([signature((), [I32])])) + section(2, vector([one] * count))


PARTS: Mapping[str, Callable[[int], bytes]] = {
    "types": lambda count: programme([], [signature()] * (count - 1)),
    "imports": imports_alone,
    "tables": lambda count: programme(tables=vector([b"\x70\0\1"] * count)),
    "globals": lambda count: programme(globals_=vector([b"\x7f\0\x41\0\x0b"] * count)),
    "exports": lambda count: programme(exports=[b"\4%04d\0\0" % number for number in range(count - 3)]),
    "element segments": lambda count: programme(tables=b"\1\x70\0\1", elements=vector([b"\1\0\0"] * count)),
    "data segments": lambda count: programme(segments=vector([b"\1\0"] * count)),
}


@pytest.mark.parametrize("section_number", MAX_PARTS)
def test_parts_are_counted(section_number: int) -> None:
    """Of everything that a section may declare by the thousand there may be so many and no more."""
    most, kind = MAX_PARTS[section_number]
    check_shape(PARTS[kind](most))
    assert refusal(PARTS[kind](most + 1)) == "too-many-parts"
    if kind != "imports":
        load_area(PARTS[kind](most))


def test_counts_that_lie_cost_no_time() -> None:
    """A count of four milliards of things that are not there ends where the octets end, or the function."""
    huge = leb128((1 << 32) - 1)
    for octets in (
        section(TYPE, huge),
        section(TYPE, leb128(1000) + b"\x60"),
        section(TYPE, b"\1\x60" + huge),
        section(CODE, leb128(4096)),
        section(CODE, huge),
        # each of four thousand functions declares locals that would be those of all that follow it
        section(CODE, leb128(4000) + (b"\5" + leb128(60_000) + b"\0\x7f") * 4000),
    ):
        assert refusal(HEADER + octets) in {"invalid", "too-many-parts", "too-many-functions"}


OPCODES: Sequence[bytes] = [
    *(bytes([opcode]) for opcode in range(256)),
    *(b"\xfc" + bytes([opcode]) for opcode in range(32)),
]
IMMEDIATES = (b"", b"\0", b"\0\0", b"\x40\x0b", b"\x70", b"\1\x7f", bytes(4), bytes(8), b"\x80\0")


def test_every_instruction_that_is_valid_can_be_read() -> None:
    """No instruction that the engine accepts is unknown to the estimate, or has it lose its place there."""

    def around(instruction: bytes, tail: bytes = b"") -> bytes:
        # Behind an unreachable anything may be on the stack.
        return programme(
            [(1, body(b"\0" + instruction + b"\0" + tail))],
            [signature([I32])],
            tables=b"\1\x70\0\1",
            globals_=b"\1\x7f\1\x41\0\x0b",
            elements=b"\1\1\0\1\0",
            data_count=b"\1",
            segments=b"\1\1\1x",
        )

    tail, read = (constant(0x0BFD) + b"\x1a") * 9, set()
    for opcode in OPCODES:
        for immediates in IMMEDIATES:
            short, long = around(opcode + immediates), around(opcode + immediates, tail)
            try:
                Module.validate(engine(), short)
            except WasmtimeError:
                continue
            if opcode + immediates == b"\xfc\x80\0":
                continue  # FC 00 in three octets, which no compiler writes
            assert compile_cost(long) - compile_cost(short) == 9 * 2 * COST
            read.add(int.from_bytes(opcode, "big"))
    assert len(read) > 190
    assert set(COSTS) <= read


def test_cost_is_the_sum_of_the_instructions() -> None:
    """A function costs what its instructions do, also when their numbers are written in more octets."""

    def cost(instructions: bytes) -> int:
        return compile_cost(programme([(1, body(instructions))], [signature()])) - compile_cost(programme())

    idle = cost(b"")
    assert idle == FUNCTION_COST + COST
    assert cost(b"\x41\0\x1a") == idle + 2 * COST
    assert cost(b"\x41\x80\x80\0\x1a") == idle + 2 * COST
    assert cost(b"\x41\0\x28\0\0\x1a") == idle + 2 * COST + COSTS[0x28]
    assert cost(b"\x41\0\x28\x80\0\xff\xff\xff\xff\x0f\x1a") == idle + 2 * COST + COSTS[0x28]
    assert cost(b"\x44" + bytes(range(8)) + b"\x1a") == idle + 2 * COST


def test_what_is_no_instruction_is_malformed() -> None:
    """Asked for the cost of what no engine has found valid, the estimate says so and does not guess."""
    for octets in (b"\xfd\0", b"\x06\x40", b"\xfc\x12\0", b"\xfc\x80\0", b"\x41", b"\x0e\x05\0"):
        with pytest.raises(ApplicationRefused, match="malformed"):
            compile_cost(programme([(1, body(octets))], [signature()])[:-1])
