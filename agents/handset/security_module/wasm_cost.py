"""What it will cost to compile a programme, estimated from its instructions before it is compiled.

Fuel bounds what a programme may spend when it runs, but a compiler has none, and there are instructions that
keep it busy for fifty times as long as others: two octets of a conversion become four hundred of machine
code, and where branches meet, each of a function's variables has to be settled. So each function is read
once, and its cost is the sum of the costs of its instructions (``COSTS``, and ``COST`` for the others) and of
what its branches cost. A unit is about a microsecond of a desktop core and a quarter KiB of memory while it
lasts; ``tests/benchmarks/bench_compile.py`` measures what the worst programmes within the bound take.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agents.handset.security_module.errors import ApplicationRefused
from agents.handset.security_module.wasm_shape import (
    CODE_SECTION,
    ELEMENT_SECTION,
    FUNCTION_SECTION,
    TYPE_SECTION,
    leb128,
    sections,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_COST: Final = 500_000
MAX_PARAMETERS: Final = 64
MAX_LOCALS: Final = 1024
"""Of one function, so that a call stays cheap too: each may have to be set to zero, for no fuel."""

COST: Final = 2
COSTS: Final[Mapping[int, int]] = MappingProxyType(
    {
        0x03: 20,  # loop: fuel is looked at
        0x0D: 6,  # br_if
        0x10: 10,  # call
        0x11: 90,  # call_indirect
        0x25: 45,  # table.get
        0x26: 20,  # table.set
        **dict.fromkeys(range(0x28, 0x3F), 20),  # loads and stores: bounds are looked at
        0x40: 50,  # memory.grow
        **dict.fromkeys(range(0x45, 0x67), 4),  # comparisons
        **dict.fromkeys((0x6D, 0x7F), 30),  # div_s: by zero, and the one overflow
        **dict.fromkeys((0x6E, 0x6F, 0x70, 0x80, 0x81, 0x82), 14),  # other divisions
        **dict.fromkeys(range(0x8D, 0x99), 12),  # floats: a NaN is made canonical
        **dict.fromkeys(range(0x9B, 0xA7), 12),
        **dict.fromkeys((*range(0xA8, 0xAC), *range(0xAE, 0xB2)), 65),  # trunc: each way out of range
        **dict.fromkeys(range(0xB2, 0xBC), 14),  # convert, demote, promote
        0xFC08: 80,  # memory.init
        0xFC0A: 80,  # memory.copy
        0xFC0B: 50,  # memory.fill
        0xFC0C: 180,  # table.init
        0xFC0E: 220,  # table.copy
        0xFC0F: 110,  # table.grow
        0xFC11: 70,  # table.fill
    }
)
"""By opcode, those behind the prefix FC as FCxx."""
FUNCTION_COST: Final = 100
PARAMETER_COST: Final = 1
ELEMENT_COST: Final = 6
"""Of an octet of element segments."""
LABEL_COST: Final = 3
"""Of a target of br_table."""
MEETING_COST: Final = 2
"""Of a variable in a place where branches may meet."""
BRANCHES_PER_COST: Final = 64
"""Each branch costs one more for so many others in its function."""

_PREFIX: Final = 0xFC
_BR_TABLE: Final = 0x0E
_BRANCHING: Final = frozenset({0x02, 0x03, 0x04, 0x05, 0x0C, 0x0D, 0x0E, 0x0F, 0x00})
# WebAssembly core specification §5.4, without what is switched off; opcodes in as few octets as they need.
_NUMBER: Final = rb"[\x80-\xFF]*[\x00-\x7F]"
_FORMS: Final = (
    rb"[\x00\x01\x05\x0B\x0F\x1A\x1B\x45-\xC4\xD1]",  # the opcode alone
    rb"[\x02-\x04\x0C-\x0E\x10\x20-\x26\x3F-\x42\xD0\xD2]%b",  # a number; behind br_table's, its labels
    rb"[\x11\x28-\x3E]%b%b",
    rb"\x43.{4}",
    rb"\x44.{8}",
    rb"\x1C\x01.",
    rb"\xFC[\x00-\x07]",
    rb"\xFC[\x09\x0B\x0D\x0F-\x11]%b",
    rb"\xFC[\x08\x0A\x0C\x0E]%b%b",
)
_INSTRUCTION: Final = re.compile(b"|".join(_FORMS).replace(b"%b", _NUMBER), re.DOTALL)


def check_cost(code: bytes) -> int:
    """Return what compiling a valid programme costs; raise ApplicationRefused when that is too much."""
    cost = compile_cost(code)
    if cost > MAX_COST:
        raise ApplicationRefused("too-dear", f"{cost} units of {MAX_COST}")
    return cost


def compile_cost(code: bytes) -> int:
    """Return what compiling a valid programme costs, or something over MAX_COST; raise ApplicationRefused."""
    places = {section: (start, end) for section, start, end in sections(code)}
    element_start, element_end = places.get(ELEMENT_SECTION, (0, 0))
    cost = ELEMENT_COST * (element_end - element_start)
    if CODE_SECTION not in places:
        return cost
    parameters = _parameters(code, places)
    for index, (variables, at, end) in enumerate(_functions(code, places[CODE_SECTION][0])):
        if variables > MAX_LOCALS:
            raise ApplicationRefused("too-many-locals", f"{variables} of {MAX_LOCALS}")
        cost += FUNCTION_COST + PARAMETER_COST * parameters[index]
        cost += _function_cost(code, at, end, variables + parameters[index])
        if cost > MAX_COST:
            break
    return cost


def _parameters(code: bytes, places: Mapping[int, tuple[int, int]]) -> list[int]:
    """Return how many parameters each of the programme's own functions has."""
    of_types = list(_types(code, places[TYPE_SECTION][0]))
    functions, at = leb128(code, places[FUNCTION_SECTION][0])
    parameters = []
    for _ in range(functions):
        number, at = leb128(code, at)
        parameters.append(of_types[number])
    return parameters


def _types(code: bytes, at: int) -> Iterator[int]:
    """Yield how many parameters each type of functions has."""
    types, at = leb128(code, at)
    for _ in range(types):
        parameters, at = leb128(code, at + 1)  # behind the octet 60, for a type of functions
        if parameters > MAX_PARAMETERS:
            raise ApplicationRefused("too-many-parameters", f"{parameters} of {MAX_PARAMETERS}")
        yield parameters
        results, at = leb128(code, at + parameters)  # a type of a value is one octet
        at += results


def _functions(code: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Yield for each function how many locals it declares, and where its instructions begin and end."""
    functions, at = leb128(code, at)
    for _ in range(functions):
        length, at = leb128(code, at)
        end = at + length
        groups, at = leb128(code, at)
        total = 0
        for _ in range(groups):
            count, at = leb128(code, at)
            at += 1  # the type
            total += count
        yield total, at, end
        at = end


def _function_cost(code: bytes, at: int, end: int, variables: int) -> int:
    cost = branches = 0
    match = _INSTRUCTION.match
    while at < end:
        opcode = code[at]
        instruction = match(code, at, end)
        if instruction is None:
            raise ApplicationRefused("malformed", f"no instruction at {at}")
        if opcode == _PREFIX:
            opcode = _PREFIX << 8 | code[at + 1]
        at = instruction.end()
        cost += COSTS.get(opcode, COST)
        if opcode in _BRANCHING:
            branches += 1
            if opcode == _BR_TABLE:
                labels, at = _labels(code, at, instruction.start() + 1)
                cost += LABEL_COST * labels
    return cost + branches * (MEETING_COST * variables + branches // BRANCHES_PER_COST)


def _labels(code: bytes, at: int, count_at: int) -> tuple[int, int]:
    """Return how many targets a br_table has besides its default, and the offset behind them all."""
    labels, _ = leb128(code, count_at)
    for _ in range(labels + 1):
        _, at = leb128(code, at)
    return labels, at
