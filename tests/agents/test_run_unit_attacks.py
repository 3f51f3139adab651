"""Programmes that try to leave their area, to take more than theirs or never to end: each with its reason."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmtime import wat2wasm

from agents.handset.security_module.errors import ApplicationRefused, ExecutionFailed
from agents.handset.security_module.host_functions import HOST_FUNCTIONS
from agents.handset.security_module.run_unit import MAX_TABLE_ELEMENTS, TRAP_REASONS, load
from tests.agents.wasm_kit import (
    ALL,
    DATA,
    HEADER,
    app,
    calling,
    failure,
    imports,
    invoke,
    load_area,
    module,
    numbers,
    refusal,
)

LOADS = {
    "i32.load8_s": 1,
    "i32.load8_u": 1,
    "i32.load16_s": 2,
    "i32.load16_u": 2,
    "i32.load": 4,
    "i64.load8_s": 1,
    "i64.load8_u": 1,
    "i64.load16_s": 2,
    "i64.load16_u": 2,
    "i64.load32_s": 4,
    "i64.load32_u": 4,
    "i64.load": 8,
    "f32.load": 4,
    "f64.load": 8,
}
STORES = {
    "i32.store8": 1,
    "i32.store16": 2,
    "i32.store": 4,
    "i64.store8": 1,
    "i64.store16": 2,
    "i64.store32": 4,
    "i64.store": 8,
    "f32.store": 4,
    "f64.store": 8,
}
ACCESSES = [*LOADS.items(), *STORES.items()]
MEMORIES = {64: "64 64 (pagesize 1)", 61: "61 (pagesize 1)", 65536: "1 1"}
TOP = 1 << 32


def access(name: str, address: str, offset: int = 0) -> str:
    """Return an instruction that reads or writes there, and nothing on the stack behind it."""
    if name in STORES:
        return f"({name} offset={offset} {address} ({name[:3]}.const 1))"
    return f"(drop ({name} offset={offset} {address}))"


@pytest.mark.parametrize("size", MEMORIES)
@pytest.mark.parametrize(("name", "width"), ACCESSES, ids=[name for name, _ in ACCESSES])
def test_no_load_or_store_leaves_the_memory(name: str, width: int, size: int) -> None:
    """At its last octets yes; one further, anywhere beyond, or around the end of numbers: no."""

    def accessing(address: int, offset: int = 0) -> bytes:
        # The address is known to the compiler in the first, and in the second it is not.
        known = f"(i32.const {address})"
        unknown = f"(i32.add (local.get $i) {known})"
        text = f"(if (i32.eqz (i32.load8_u (i32.const 0))) (then {access(name, known, offset)}))"
        return app(f"{text} {access(name, unknown, offset)} (i32.const 0)", memory=MEMORIES[size])

    for address, offset in ((size - width, 0), (0, size - width), (1, size - width - 1)):
        assert invoke(accessing(address, offset), data=bytes(size)).status == 0
    for address, offset in (
        (size - width + 1, 0),
        (size, 0),
        (TOP - 1, 0),
        (TOP - width, 0),
        (TOP // 2, 0),
        (0, size - width + 1),
        (0, TOP - 1),
        (1, TOP - 1),
        (TOP - 1, 1),
        (TOP - 1, TOP - 1),
        (TOP - size, size),
    ):
        for first in (b"\0", b"\1"):
            data = first.ljust(size, b"\0")
            assert failure(accessing(address, offset), data=data) == "outside-memory", (address, offset)


MORE = """
    (type $t (func (result i32))) (type $other (func (param i32) (result i32)))
    (table $table 2 funcref) (elem (table $table) (i32.const 0) func $good) (elem $passive func $good $good)
    (data $passive "four")
    (func $good (result i32) (i32.const 5))
    (func $deep (result i32) (call $deep))
    (func $left (result i32) (i32.add (i32.const 1) (call $right)))
    (func $right (result i32) (i32.add (i32.const 1) (call $left)))
    (func $around (result i32)
        (table.set (i32.const 1) (ref.func $around)) (call_indirect (type $t) (i32.const 1)))
    (func $broad (param i64) (result i32) (local i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
        (local.set 1 (i64.add (local.get 0) (i64.const 1)))
        (i32.add (call $broad (local.get 1)) (i32.wrap_i64 (i64.mul (local.get 1) (local.get 0)))))
    (func $asking (result i32) (drop (call $input_length)) (call $asking))
    (elem declare func $around)
"""
SHA = "(call $sha256 (i32.const 0) (i32.const 64) (i32.const 0))"
ZERO = "(i32.const 0)"
ENDED = {
    "an empty loop": ("out-of-fuel", "(loop $l (br $l))"),
    "a loop that asks": ("out-of-fuel", "(loop $l (drop (call $input_length)) (br $l))"),
    "a loop that hashes": ("out-of-fuel", f"(loop $l {SHA} (br $l))"),
    "a loop that fills": ("out-of-fuel", f"(loop $l (memory.fill {ZERO} {ZERO} (i32.const 64)) (br $l))"),
    "a loop that copies": (
        "out-of-fuel",
        f"(loop $l (memory.copy {ZERO} (i32.const 1) (i32.const 63)) (br $l))",
    ),
    "a loop that copies nothing": ("out-of-fuel", f"(loop $l (memory.copy {ZERO} {ZERO} {ZERO}) (br $l))"),
    "a loop that grows": ("out-of-fuel", "(loop $l (drop (memory.grow (i32.const 1))) (br $l))"),
    "a loop that grows the table": (
        "out-of-fuel",
        "(loop $l (drop (table.grow (ref.null func) (i32.const 1))) (br $l))",
    ),
    "deep": ("stack-overflow", "(drop (call $deep))"),
    "deep in turns": ("stack-overflow", "(drop (call $left))"),
    "deep through the table": ("stack-overflow", "(drop (call $around))"),
    "deep with broad frames": ("stack-overflow", "(drop (call $broad (i64.const 3)))"),
    "deep with host functions": ("stack-overflow", "(drop (call $asking))"),
    "fill beyond": ("outside-memory", f"(memory.fill (i32.const 60) {ZERO} (i32.const 5))"),
    "fill around": ("outside-memory", f"(memory.fill (i32.const -1) {ZERO} (i32.const 2))"),
    "fill everything": ("outside-memory", f"(memory.fill {ZERO} {ZERO} (i32.const -1))"),
    "fill nothing, beyond": ("outside-memory", f"(memory.fill (i32.const 65) {ZERO} {ZERO})"),
    "copy from beyond": ("outside-memory", f"(memory.copy {ZERO} (i32.const 60) (i32.const 5))"),
    "copy to beyond": ("outside-memory", f"(memory.copy (i32.const 60) {ZERO} (i32.const 5))"),
    "copy everything": ("outside-memory", f"(memory.copy {ZERO} {ZERO} (i32.const -1))"),
    "more data than there are": ("outside-memory", f"(memory.init $passive {ZERO} {ZERO} (i32.const 5))"),
    "data from beyond": ("outside-memory", f"(memory.init $passive {ZERO} (i32.const 5) {ZERO})"),
    "data to beyond": ("outside-memory", f"(memory.init $passive (i32.const 62) {ZERO} (i32.const 3))"),
    "data that were dropped": (
        "outside-memory",
        f"(data.drop $passive) (memory.init $passive {ZERO} {ZERO} (i32.const 1))",
    ),
    "a call beyond the table": ("outside-table", "(drop (call_indirect (type $t) (i32.const 2)))"),
    "a call far beyond the table": ("outside-table", "(drop (call_indirect (type $t) (i32.const -1)))"),
    "get beyond the table": ("outside-table", "(drop (table.get (i32.const 2)))"),
    "set beyond the table": ("outside-table", "(table.set (i32.const -1) (ref.null func))"),
    "fill beyond the table": ("outside-table", "(table.fill (i32.const 1) (ref.null func) (i32.const 2))"),
    "copy beyond the table": ("outside-table", f"(table.copy {ZERO} (i32.const 1) (i32.const 2))"),
    "more elements than there are": ("outside-table", f"(table.init $passive {ZERO} {ZERO} (i32.const 3))"),
    "elements to beyond the table": (
        "outside-table",
        f"(table.init $passive (i32.const 1) {ZERO} (i32.const 2))",
    ),
    "elements that were dropped": (
        "outside-table",
        f"(elem.drop $passive) (table.init $passive {ZERO} {ZERO} (i32.const 1))",
    ),
    "a call of nothing": ("no-function", "(drop (call_indirect (type $t) (i32.const 1)))"),
    "a call of another type": (
        "other-signature",
        f"(drop (call_indirect (type $other) {ZERO} {ZERO}))",
    ),
    "by zero": ("division-by-zero", f"(drop (i32.div_u (i32.const 1) {ZERO}))"),
    "rest by zero": ("division-by-zero", "(drop (i64.rem_s (i64.const 1) (i64.const 0)))"),
    "a quotient too large": ("integer-overflow", "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))"),
    "a float too large": ("integer-overflow", "(drop (i32.trunc_f32_s (f32.const 1e30)))"),
    "a float that is none": ("not-an-integer", "(drop (i64.trunc_f64_u (f64.const nan)))"),
    "unreachable": ("unreachable", "(unreachable)"),
}


@pytest.mark.parametrize("name", ENDED)
def test_a_run_that_breaks_a_rule_ends_with_its_reason(name: str) -> None:
    """Endless loops, deep recursion and every way out of memory and table end the run, and nothing stays."""
    reason, text = ENDED[name]
    code = app(
        f"(i32.store8 (i32.const 0) (i32.const 99)) {text} (i32.const 0)",
        host="input_length sha256",
        more=MORE,
    )
    data = bytes(range(DATA))
    assert failure(code, data=data) == reason
    assert data == bytes(range(DATA))
    assert invoke(app("(i32.load8_u (i32.const 1))"), data=data).status == 1


def test_every_way_that_the_engine_ends_a_run_was_tried() -> None:
    """No reason of the engine's is without an attack above that ends with it."""
    assert {reason for reason, _ in ENDED.values()} == set(TRAP_REASONS.values())


@pytest.mark.parametrize("name", HOST_FUNCTIONS)
def test_no_host_function_is_free(name: str) -> None:
    """A loop around any of them runs out of fuel, or out of what an answer or the display may hold."""
    values = " ".join(f"(i32.const {number})" for number in numbers(name))
    called = f"(call ${name} {values})"
    dropped = f"(drop {called})" if HOST_FUNCTIONS[name].results else called
    code = app(f"(loop $l {dropped} (br $l)) (i32.const 0)", host=name)
    assert failure(code, bytes(16)) in {"out-of-fuel", "output-too-long", "display-too-long"}


@pytest.mark.parametrize("name", HOST_FUNCTIONS)
def test_fuel_that_ends_within_a_host_function_ends_the_run(name: str) -> None:
    """With a unit less than a run needs, wherever it ends, the run fails and has changed nothing."""
    code = calling(name, *numbers(name))
    needed = invoke(code, bytes(16)).fuel_used
    data = bytes(range(DATA))
    assert invoke(code, bytes(16), data=data, fuel=needed).fuel_used == needed
    for fuel in (needed - 1, HOST_FUNCTIONS[name].fuel - 1, 0):
        assert failure(code, bytes(16), data=data, fuel=fuel) == "out-of-fuel"
    assert data == bytes(range(DATA))


@pytest.mark.parametrize("memory", ["32 64 (pagesize 1)", "32 (pagesize 1)", "32 32 (pagesize 1)"])
def test_memory_never_grows(memory: str) -> None:
    """A memory that declares more than its minimum, or no end, has its minimum: growth answers -1."""
    for more in (1, 32, 0x7FFFFFFF, -1):
        code = app(f"(memory.grow (i32.const {more}))", memory=memory)
        assert len(load_area(code, DATA)) == DATA
        assert invoke(code).status == 0xFFFFFFFF
    grown = "(drop (memory.grow (i32.const 0))) (drop (memory.grow (i32.const 1)))"
    code = app(f"{grown} (i32.store8 (i32.const 31) (i32.const 5)) (memory.size)", memory=memory)
    result = invoke(code, data=b"\7" * DATA)
    assert (result.status, result.data) == (32, b"\7" * 31 + b"\5" + b"\7" * 32)
    assert failure(app(f"{grown} (i32.load8_u (i32.const 32))", memory=memory)) == "outside-memory"


def test_a_table_grows_to_its_bound_and_no_further() -> None:
    """1024 elements are all that there can be, whether declared or grown to; the next run has few again."""
    grow = "(drop (table.grow (ref.null func) (i32.const {})))"
    full = MAX_TABLE_ELEMENTS - 1
    code = app(f"{grow.format(full)} {grow.format(1)} (table.size)", more="(table 1 funcref)")
    assert [invoke(code).status for _ in range(2)] == [MAX_TABLE_ELEMENTS] * 2
    code = app(f"{grow.format(full + 1)} {grow.format(-1)} (table.size)", more="(table 1 funcref)")
    assert invoke(code).status == 1
    assert invoke(app("(table.size)", more=f"(table {MAX_TABLE_ELEMENTS} funcref)")).status == 1024


MEMORY = '(memory (export "memory") 64 64 (pagesize 1))'
REFUSED = {
    "no octets": ("not-webassembly", b""),
    "text": ("not-webassembly", b'(module (memory (export "memory") 1))'),
    "a component": ("not-webassembly", b"\0asm\x0d\0\1\0"),
    "an unknown section": ("invalid", HEADER + b"\x7f\0"),
    "a section without a length": ("malformed", HEADER + b"\1"),
    "a length without an end": ("malformed", HEADER + b"\1\xff\xff\xff\xff\xff\x01"),
    "a section beyond the end": ("malformed", HEADER + b"\1\x7f"),
    "a start function": ("start-function", module(f"{MEMORY} (func $s) (start $s)")),
    "WASI": ("unknown-import", module(f'(import "wasi_snapshot_preview1" "fd_write" (func)) {MEMORY}')),
    "an unknown function": ("unknown-import", module(f'(import "otafleet" "open_door" (func)) {MEMORY}')),
    "an imported memory": ("unknown-import", module('(memory (export "memory") (import "otafleet" "m") 0)')),
    "an imported global": ("unknown-import", module(f'(import "otafleet" "time" (global i64)) {MEMORY}')),
    "an imported table": ("unknown-import", module(f'(import "otafleet" "t" (table 1 funcref)) {MEMORY}')),
    "a module of another name": ("unknown-import", module(f'(import "Otafleet" "time" (func)) {MEMORY}')),
    "another result": (
        "import-signature",
        module(f'(import "otafleet" "time" (func (result i32))) {MEMORY}'),
    ),
    "another parameter": (
        "import-signature",
        module(f'(import "otafleet" "random" (func (param i32 i64))) {MEMORY}'),
    ),
    "a parameter more": (
        "import-signature",
        module(f'(import "otafleet" "random" (func (param i32 i32 i32))) {MEMORY}'),
    ),
    "no memory": ("no-memory", module("")),
    "a memory not exported": ("no-memory", module("(memory 1)")),
    "a function called memory": ("no-memory", module('(func (export "memory"))')),
    "an octet too many": ("memory-too-large", module('(memory (export "memory") 65 65 (pagesize 1))')),
    "an octet too many at most": (
        "memory-too-large",
        module('(memory (export "memory") 64 65 (pagesize 1))'),
    ),
    "a page": ("memory-too-large", module('(memory (export "memory") 1)')),
    "four gibibytes": ("memory-too-large", module('(memory (export "memory") 65536)')),
    "four gibibytes of octets": (
        "memory-too-large",
        module('(memory (export "memory") 0xffffffff (pagesize 1))'),
    ),
    "four gibibytes at most": ("memory-too-large", module('(memory (export "memory") 0 65536)')),
    "a second memory": ("invalid", module(f"{MEMORY} (memory 1)")),
    "a memory of 64-bit addresses": ("invalid", module('(memory (export "memory") i64 1)')),
    "a shared memory": ("invalid", module('(memory (export "memory") 1 1 shared)')),
    "pages of 2 octets": (
        "invalid",
        module(MEMORY).replace(b"\x05\x05\x01\x09\x40\x40\x00", b"\x05\x05\x01\x09\x40\x40\x01"),
    ),
    "vectors": ("invalid", module(f"{MEMORY} (func (result v128) (v128.const i64x2 0 0))")),
    "atomics": ("invalid", module(f"{MEMORY} (func (drop (i32.atomic.load (i32.const 0))))")),
    "exceptions": ("invalid", module(f"{MEMORY} (tag $e) (func (throw $e))")),
    "references to the host": ("invalid", module(f"{MEMORY} (table 1 externref)")),
    "references to types": ("invalid", module(f"{MEMORY} (type $t (func)) (func (param (ref $t)))")),
    "objects": ("invalid", module(f"{MEMORY} (type (struct (field i32)))")),
    "tail calls": ("invalid", module(f"{MEMORY} (func $f (return_call $f))")),
    "two results": ("invalid", module(f"{MEMORY} (func (result i32 i32) (i32.const 0) (i32.const 0))")),
    "a block with parameters": (
        "invalid",
        module(f"{MEMORY} (func (i32.const 0) (block (param i32) (drop)))"),
    ),
    "data behind the end": ("initial-data", module(f'{MEMORY} (data (i32.const 62) "abc")')),
    "data far behind": ("initial-data", module(f'{MEMORY} (data (i32.const -1) "a")')),
    "no data, behind the end": ("initial-data", module(f'{MEMORY} (data (i32.const 65) "")')),
    "elements behind the end": (
        "initial-data",
        module(f"{MEMORY} (table 1 funcref) (func $f) (elem (i32.const 1) $f)"),
    ),
    "elements far behind": (
        "initial-data",
        module(f"{MEMORY} (table 1 funcref) (func $f) (elem (i32.const 0x7fffffff) $f)"),
    ),
    "an element too many": ("resources", module(f"{MEMORY} (table 1025 funcref)")),
    "elements without number": ("resources", module(f"{MEMORY} (table 0xffffffff funcref)")),
    "a second table": ("too-many-parts", module(f"{MEMORY} (table 1 funcref) (table 1 funcref)")),
    "no entries": ("no-entry", bytes(wat2wasm(f"(module {MEMORY})"))),
    "entries of another type": (
        "no-entry",
        bytes(wat2wasm(f'(module {MEMORY} (func (export "personalise")) (func (export "invoke")))')),
    ),
    "an entry that is a global": (
        "no-entry",
        bytes(
            wat2wasm(f"""(module {MEMORY} (global (export "invoke") i32 (i32.const 0))
            (func (export "personalise") (result i32) (i32.const 0)))""")
        ),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_must_not_be_loaded_is_refused_with_its_reason(name: str) -> None:
    """Text, junk, self-starting, foreign imports, other machines' features, wrong sizes, missing entries."""
    reason, code = REFUSED[name]
    assert refusal(code) == reason


def test_what_is_exported_beyond_the_entries_is_harmless() -> None:
    """Functions, a table, globals, by names that mean something to toolchains and others: none is touched."""
    names = ["_start", "_initialize", "__wasm_call_ctors", "", "\\00", "\\e2\\80\\ae", "a" * 2000]
    traps = " ".join(f'(func (export "{name}") (unreachable))' for name in names)
    more = f'{traps} (table (export "t") 1 funcref) (global (export "g") (mut i32) (i32.const 1))'
    code = app("(global.get 0)", more=f'{more} (export "again" (memory 0)) (export "invoke2" (func 0))')
    load_area(code, DATA)
    assert [invoke(code).status for _ in range(2)] == [1, 1]


def test_an_entry_may_be_a_host_function() -> None:
    """An import exported as an entry is called as any: it pays and is checked, and no rule is lost on it."""
    text = f"""(module {imports("input_length")} {MEMORY}
        (export "invoke" (func $input_length)) (export "personalise" (func $input_length)))"""
    code = bytes(wat2wasm(text))
    assert invoke(code, b"12345").status == 5
    assert failure(code, fuel=100) == "out-of-fuel"


GOOD = [
    app(
        f"""(drop (call $input_read {ZERO} {ZERO} (i32.const 32))) {SHA}
        (call $output_write {ZERO} (i32.const 8)) (call $display {ZERO} (i32.const 4)) {ZERO}""",
        host="input_read sha256 output_write display",
    ),
    app(
        """(loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (i32.store8 (local.get $i) (i32.trunc_f64_s (f64.sqrt (f64.convert_i32_u (local.get $i)))))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 60)))) (call_indirect (type $t) (i32.const 0))""",
        host="input_length",
        more=MORE,
    ),
    app(
        "(memory.grow (i32.const 1))",
        memory="1 1",
        more='(data (i32.const 9) "abc") (global i64 (i64.const 7))',
    ),
]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_mutilated_programme_is_refused_or_harmless(data: st.DataObject) -> None:
    """With octets of a real programme changed, cut, doubled or put in, all ends well or typed."""
    code = bytearray(data.draw(st.sampled_from(GOOD)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(len(HEADER), len(code) - 1))
        end = at + data.draw(st.sampled_from([0, 1, 1, 1, 2, 9]))
        source = data.draw(st.integers(0, len(code) - 1))
        other = st.one_of(st.binary(max_size=3), st.just(bytes(code[source : source + 12])))
        code[at:end] = data.draw(other)
    try:
        area = load(bytes(code), rights=ALL, data_size=65536)
        result = invoke(bytes(code), b"argument", data=area, fuel=100_000)
    except (ApplicationRefused, ExecutionFailed):
        return
    assert len(result.data) == 65536
