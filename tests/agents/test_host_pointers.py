"""Pointers from a programme: wherever one of any host function points, nothing outside the memory is touched.

What is tried comes from the table of the host functions, so that a new one is tried as well.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.handset.security_module.errors import ExecutionFailed
from agents.handset.security_module.host_functions import HOST_FUNCTIONS, Area
from tests.agents.wasm_kit import app, calling, failure, invoke, length_of, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIZE = 256
TOP = 1 << 32
HUGE = (TOP - 1, TOP // 2, TOP // 2 - 1, TOP - SIZE, TOP - 1 - SIZE)
WRITERS = {"input_read", "random"}
"""What writes where ``ptr`` points; all others read there, and write to ``out`` if at all."""
AREAS = [
    pytest.param(name, area, id=f"{name}-{area.pointer}")
    for name, host in HOST_FUNCTIONS.items()
    for area in host.areas
]


def outside(area: Area) -> Iterator[Mapping[str, int]]:
    """Yield numbers that have an area reach outside the memory: by one, far, around the end of numbers."""
    length = length_of(area)
    for pointer in (SIZE - length + 1, SIZE, SIZE + 1, TOP - length, *HUGE, -1, -length):
        yield {area.pointer: pointer}
    if isinstance(area.length, str):
        for more in (SIZE + 1, *HUGE, -1):
            yield {area.length: more}
            yield {area.pointer: 1, area.length: more}
        yield {area.pointer: SIZE + 1, area.length: 0}
        yield {area.pointer: -1, area.length: 0}
        yield {area.pointer: SIZE - 15, area.length: 16}
        yield {area.pointer: TOP - 1, area.length: 1}
        yield {area.pointer: 1, area.length: TOP - 1}


def test_every_pointer_of_the_table_is_in_an_area() -> None:
    """What a function calls a pointer or a length is one, so that none is left out below."""
    for host in HOST_FUNCTIONS.values():
        taken = {each for area in host.areas for each in (area.pointer, area.length)}
        assert set(host.names) - taken <= {"offset"}
        assert set(host.names) >= {each for each in taken if isinstance(each, str)}


@pytest.mark.parametrize("name", HOST_FUNCTIONS)
def test_good_numbers_are_good(name: str) -> None:
    """With every area inside the memory the run ends well, so that what fails below fails for its pointer."""
    assert invoke(calling(name, *numbers(name), size=SIZE), b"x" * 99, data=bytes(SIZE)).fuel_used > 0


@pytest.mark.parametrize(("name", "area"), AREAS)
def test_no_pointer_leads_outside_the_memory(name: str, area: Area) -> None:
    """Off by one, wrapped around, negative or huge: the run ends instead, and nothing has changed."""
    for changes in outside(area):
        code = calling(name, *numbers(name, **changes), size=SIZE)
        assert failure(code, b"x" * 99, data=bytes(SIZE)) == "outside-memory", changes


@pytest.mark.parametrize(("name", "area"), AREAS)
def test_a_pointer_may_lead_to_the_last_octet(name: str, area: Area) -> None:
    """An area that ends where the memory does is inside it; of no octets, it may also begin there."""
    ends = [{area.pointer: SIZE - length_of(area)}]
    if isinstance(area.length, str) and area.length != "key_length":
        ends += [{area.length: 0}, {area.pointer: SIZE, area.length: 0}]
        shares = [each.pointer for each in HOST_FUNCTIONS[name].areas if each.length == area.length]
        ends += [dict.fromkeys(shares, SIZE) | {area.length: 0}]
    for changes in ends:
        code = calling(name, *numbers(name, **changes), size=SIZE)
        assert invoke(code, b"x" * 99, data=bytes(SIZE)).fuel_used > 0


@pytest.mark.parametrize(("name", "area"), AREAS)
def test_what_was_written_before_a_wrong_pointer_does_not_stay(name: str, area: Area) -> None:
    """A run that a host function ends has changed nothing, whatever it wrote on the way."""
    values = " ".join(f"(i32.const {each})" for each in numbers(name, **{area.pointer: SIZE}))
    called = f"(call ${name} {values})"
    code = app(
        f"""(memory.fill (i32.const 0) (i32.const 7) (i32.const {SIZE}))
        {f"(drop {called})" if HOST_FUNCTIONS[name].results else called} (i32.const 0)""",
        host=name,
        memory=f"{SIZE} {SIZE} (pagesize 1)",
    )
    data = bytes(range(256))
    assert failure(code, b"x" * 99, data=data) == "outside-memory"
    assert data == bytes(range(256))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_numbers_end_well_or_typed(data: st.DataObject) -> None:
    """Whatever numbers a function is called with, overlapping areas among them, it works inside or fails."""
    name = data.draw(st.sampled_from(sorted(HOST_FUNCTIONS)))
    near = st.one_of(st.integers(0, SIZE + 2), st.sampled_from(HUGE), st.integers(0, TOP - 1))
    chosen = [data.draw(near) for _ in HOST_FUNCTIONS[name].names]
    before = data.draw(st.binary(min_size=SIZE, max_size=SIZE))
    memory = before
    with suppress(ExecutionFailed):
        memory = invoke(calling(name, *chosen, size=SIZE), b"argument", data=before + b"behind").data
        assert memory[SIZE:] == b"behind"
    written = [area for area in HOST_FUNCTIONS[name].areas if area.pointer == "out" or name in WRITERS]
    if not written:
        assert memory[:SIZE] == before
