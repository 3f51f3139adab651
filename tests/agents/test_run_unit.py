"""The run unit: what may be loaded, what a run may do, and what it can never do."""

from __future__ import annotations

import gc
import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmtime import wat2wasm

from agents.handset.security_module.errors import ApplicationRefused, ExecutionFailed
from agents.handset.security_module.host_functions import HOST_CALL_FUEL, HOST_FUNCTIONS, MAX_OUTPUT
from agents.handset.security_module.programme import MAX_COMPILED
from agents.handset.security_module.rights import RIGHTS
from agents.handset.security_module.run_unit import HostServices, call, check_application, load
from agents.handset.security_module.wasm_shape import MAX_CODE_OCTETS, MAX_FUNCTIONS, MAX_LOCALS, check_shape

if TYPE_CHECKING:
    from agents.handset.security_module.run_unit import CallResult

SERVICES = HostServices(rng=lambda count: b"\xa5" * count, now=1_700_000_000, sign=bytes)
ALL = frozenset(RIGHTS)
DATA = 64


def _imports(names: str) -> str:
    lines = []
    for name in names.split():
        host = HOST_FUNCTIONS[name]
        parameters = f"(param {' '.join(host.parameters)})" if host.parameters else ""
        results = f"(result {' '.join(host.results)})" if host.results else ""
        lines.append(f'(import "otafleet" "{name}" (func ${name} {parameters} {results}))')
    return "\n".join(lines)


def _app(
    invoke: str = "(i32.const 0)", *, imports: str = "", memory: str = "64 64 (pagesize 1)", more: str = ""
) -> bytes:
    text = f"""(module {_imports(imports)} (memory (export "memory") {memory}) {more}
        (func (export "personalise") (result i32) (i32.const 0))
        (func (export "invoke") (result i32) (local $i i32) {invoke}))"""
    return bytes(wat2wasm(text))


def _invoke(code: bytes, argument: bytes = b"", data: bytes = bytes(DATA), **options: Any) -> CallResult:
    granted: dict[str, Any] = {"rights": ALL, "services": SERVICES}
    return call(code, "invoke", data, argument, **(granted | options))


def _refusal(code: bytes, *, rights: frozenset[str] = ALL, data_size: int = DATA) -> str:
    with pytest.raises(ApplicationRefused) as caught:
        load(code, rights=rights, data_size=data_size)
    return caught.value.reason


def _failure(code: bytes, argument: bytes = b"", **options: Any) -> str:
    with pytest.raises(ExecutionFailed) as caught:
        _invoke(code, argument, **options)
    return caught.value.reason


def _section(number: int, octets: bytes) -> bytes:
    return bytes([number]) + _leb128(len(octets)) + octets


def _leb128(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def test_a_check_says_what_a_programme_is() -> None:
    """Sizes, imports, the rights it needs and its first data, of a programme that could be loaded."""
    code = _app(imports="input_read hmac time", more='(data (i32.const 2) "hello")')
    info = check_application(code, rights=ALL, data_size=100)
    assert (info.code_size, info.memory_size, info.page_size) == (len(code), 64, 1)
    assert info.imports == ("input_read", "hmac", "time")
    assert info.rights == {"hmac", "time"}
    assert info.initial_data == b"\0\0hello" + bytes(57)
    assert load(code, rights=ALL, data_size=100) == info.initial_data + bytes(36)


def test_memory_is_restored_and_given_back() -> None:
    """A run sees the area as it was left, not the programme's first data, and gives back what it made."""
    code = _app(
        "(i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 1))) (i32.const 7)",
        more='(data (i32.const 0) "\\10\\20")',
    )
    data = load(code, rights=ALL, data_size=DATA)
    assert data[:2] == b"\x10\x20"
    first = _invoke(code, data=data)
    second = _invoke(code, data=first.data)
    assert (first.data[0], second.data[0], second.status) == (0x11, 0x12, 7)
    assert first.data[1:] == data[1:]


def test_globals_start_anew_in_each_run() -> None:
    """What is not in memory does not last."""
    code = _app(
        "(global.set $g (i32.add (global.get $g) (i32.const 1))) (global.get $g)",
        more="(global $g (mut i32) (i32.const 40))",
    )
    assert [_invoke(code).status for _ in range(2)] == [41, 41]


def test_the_part_of_the_area_behind_the_memory_is_left_alone() -> None:
    """An area larger than the memory comes back as long, its end untouched; a smaller one is a fault."""
    code = _app("(memory.fill (i32.const 0) (i32.const 1) (i32.const 64)) (i32.const 0)")
    assert _invoke(code, data=b"\xee" * 70).data == b"\x01" * 64 + b"\xee" * 6
    with pytest.raises(ValueError, match="63 octets"):
        _invoke(code, data=bytes(63))


def test_ordinary_pages_and_no_memory_at_all_are_legal() -> None:
    """A memory of 64 KiB pages and one of no octets both run."""
    large = _app("(i32.store8 (i32.const 65535) (i32.const 9)) (memory.size)", memory="1")
    assert load(large, rights=ALL, data_size=65536) == bytes(65536)
    result = _invoke(large, data=bytes(65536))
    assert (result.status, result.data[-1]) == (1, 9)
    none = _app("(memory.size)", memory="0 0 (pagesize 1)")
    assert load(none, rights=ALL, data_size=0) == b""
    assert _invoke(none, data=b"").status == 0
    reading = _app(
        "(call $output_write (i32.const 0) (i32.const 1)) (i32.const 0)", imports="output_write", memory="0"
    )
    assert _failure(reading, data=b"") == "outside-memory"


def test_each_host_function_does_what_the_abi_says() -> None:
    """Argument in, answer out, digest, MAC, randomness, time and a text for the user."""
    argument = bytes(range(16))
    code = _app(
        """(drop (call $input_read (i32.const 0) (i32.const 0) (i32.const 64)))
        (call $sha256 (i32.const 0) (call $input_length) (i32.const 32))
        (call $output_write (i32.const 32) (i32.const 32))
        (call $hmac (i32.const 0) (i32.const 8) (i32.const 8) (i32.const 8) (i32.const 32))
        (call $output_write (i32.const 32) (i32.const 32))
        (call $random (i32.const 1) (i32.const 3))
        (i64.store (i32.const 8) (call $time))
        (call $output_write (i32.const 0) (i32.const 16))
        (call $display (i32.const 60) (i32.const 4))
        (i32.const 0)""",
        imports="input_length input_read output_write sha256 hmac random time display",
    )
    result = _invoke(code, argument, data=bytes(60) + b"a\x1b\xc3\xa9")
    mac = hmac.digest(argument[:8], argument[8:], "sha256")
    assert result.output[:32] == hashlib.sha256(argument).digest()
    assert result.output[32:64] == mac
    assert result.output[64:] == b"\0\xa5\xa5\xa5\4\5\6\7" + (1_700_000_000).to_bytes(8, "little")
    assert result.texts == (mac[28:].decode(errors="replace"),) or len(result.texts[0]) <= 4


def test_a_text_for_the_user_has_no_control_characters() -> None:
    """What could move a terminal's cursor, and what is no UTF-8, is replaced."""
    code = _app("(call $display (i32.const 0) (i32.const 6)) (i32.const 0)", imports="display")
    result = _invoke(code, data=b"a\x1b[\xc3\xa9\xff" + bytes(58))
    assert result.texts == ("a\N{REPLACEMENT CHARACTER}[é\N{REPLACEMENT CHARACTER}",)


@pytest.mark.parametrize(
    ("offset", "length", "copied"),
    [(0, 5, 5), (0, 9, 5), (4, 9, 1), (5, 1, 0), (6, 1, 0), (-1, 4, 0), (2, 0, 0), (0, 64, 5)],
)
def test_reading_the_argument_stops_at_its_end(offset: int, length: int, copied: int) -> None:
    """Whatever offset and length, only octets that are there are copied, and how many is said."""
    code = _app(
        f"(call $input_read (i32.const 0) (i32.const {offset}) (i32.const {length}))", imports="input_read"
    )
    result = _invoke(code, b"12345")
    assert result.status == copied
    assert result.data == b"12345"[max(offset, 0) :][:copied].ljust(64, b"\0")


POINTERS = [
    "(call $input_read (i32.const {p}) (i32.const 0) (i32.const {n}))",
    "(call $output_write (i32.const {p}) (i32.const {n})) (i32.const 0)",
    "(call $random (i32.const {p}) (i32.const {n})) (i32.const 0)",
    "(call $sha256 (i32.const {p}) (i32.const {n}) (i32.const 0)) (i32.const 0)",
    "(call $sha256 (i32.const 0) (i32.const 1) (i32.const {o})) (i32.const 0)",
    "(call $hmac (i32.const {p}) (i32.const {n}) (i32.const 0) (i32.const 1) (i32.const 0)) (i32.const 0)",
    "(call $hmac (i32.const 0) (i32.const 1) (i32.const {p}) (i32.const {n}) (i32.const 0)) (i32.const 0)",
    "(call $hmac (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const {o})) (i32.const 0)",
    "(call $display (i32.const {p}) (i32.const {n})) (i32.const 0)",
]


@pytest.mark.parametrize("text", POINTERS)
@pytest.mark.parametrize(
    ("pointer", "length"), [(0, 65), (64, 1), (63, 2), (-1, 1), (1, -1), (65, 0), (-1, -1)]
)
def test_no_pointer_leads_outside_the_memory(text: str, pointer: int, length: int) -> None:
    """Off by one, wrapped or negative: a host function ends the run instead of following it."""
    outside = pointer if pointer not in {0, 1} else 33
    body = text.format(p=pointer, n=length, o=outside)
    code = _app(body, imports="input_read output_write random sha256 hmac display")
    assert _failure(code, b"x" * 100) == "outside-memory"


@pytest.mark.parametrize(
    ("reason", "body"),
    [
        ("out-of-fuel", "(loop $l (br $l)) (i32.const 0)"),
        ("out-of-fuel", "(loop $l (drop (call $input_length)) (br $l)) (i32.const 0)"),
        (
            "out-of-fuel",
            "(loop $l (call $sha256 (i32.const 0) (i32.const 64) (i32.const 0)) (br $l)) (i32.const 0)",
        ),
        (
            "out-of-fuel",
            "(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 64)) (br $l)) (i32.const 0)",
        ),
        ("stack-overflow", "(call $deep)"),
        ("outside-memory", "(i32.load8_u (i32.const 64))"),
        ("outside-memory", "(i32.store (i32.const 61) (i32.const 1)) (i32.const 0)"),
        ("outside-memory", "(i32.load8_u offset=4294967295 (i32.const -1))"),
        ("outside-memory", "(memory.fill (i32.const 60) (i32.const 1) (i32.const 5)) (i32.const 0)"),
        ("outside-table", "(call_indirect (type $t) (i32.const 9))"),
        ("unreachable", "(unreachable)"),
        ("trap", "(i32.div_u (i32.const 1) (i32.const 0))"),
        ("trap", "(call_indirect (type $t) (i32.const 1))"),
    ],
)
def test_a_run_that_breaks_a_rule_ends_with_its_reason(reason: str, body: str) -> None:
    """Endless loops, deep recursion and every way out of the area are ended, whatever was written before."""
    more = "(type $t (func (result i32))) (table 2 funcref) (func $deep (result i32) (call $deep))"
    code = _app(f"(i32.store8 (i32.const 0) (i32.const 99)) {body}", imports="input_length sha256", more=more)
    data = bytes(range(DATA))
    assert _failure(code, data=data) == reason
    assert data == bytes(range(DATA))
    assert _invoke(_app("(i32.load8_u (i32.const 1))"), data=data).status == 1


def test_output_and_texts_are_bounded() -> None:
    """An answer of 1025 octets, a ninth text and a text of 241 octets end the run, and not one less."""
    loop = "(loop $l (call ${f} (i32.const 0) (i32.const {n}))"
    loop += " (local.set $i (i32.add (local.get $i) (i32.const 1)))"
    loop += " (br_if $l (i32.lt_u (local.get $i) (i32.const {times})))) (i32.const 0)"

    def code(function: str, length: int, times: int) -> bytes:
        body = loop.format(n=length, times=times, f=function)
        return _app(body, imports=function, memory="256 256 (pagesize 1)")

    data = bytes(256)
    assert len(_invoke(code("output_write", 256, 4), data=data).output) == MAX_OUTPUT
    assert _failure(code("output_write", 205, 5), data=data) == "output-too-long"
    assert len(_invoke(code("display", 240, 8), data=data).texts) == 8
    assert _failure(code("display", 1, 9), data=data) == "display-too-long"
    assert _failure(code("display", 241, 1), data=data) == "display-too-long"


def test_memory_never_grows() -> None:
    """A memory that declares more than its minimum still has its minimum: growth answers -1."""
    for memory in ("32 64 (pagesize 1)", "32 (pagesize 1)"):
        code = _app("(memory.grow (i32.const 1))", memory=memory)
        assert len(load(code, rights=ALL, data_size=DATA)) == DATA
        assert _invoke(code).status == 0xFFFFFFFF
    code = _app(
        "(drop (memory.grow (i32.const 0))) (i32.store8 (i32.const 31) (i32.const 5)) (memory.size)",
        memory="32 64 (pagesize 1)",
    )
    assert _invoke(code).status == 32
    assert _invoke(code).data[31] == 5


def test_fuel_is_counted_with_host_functions_and_is_the_same_each_time() -> None:
    """A run reports what it used, the same whenever it is the same run; one less is not enough."""
    code = _app("(call $input_length)", imports="input_length")
    used = {_invoke(code, fuel=fuel).fuel_used for fuel in (100_000, 1_000_000)}
    assert len(used) == 1
    needed = used.pop()
    assert needed > HOST_CALL_FUEL
    assert _invoke(code, fuel=needed).fuel_used == needed
    assert _failure(code, fuel=needed - 1) == "out-of-fuel"


def test_a_run_without_fuel_for_its_first_data_fails_as_any_other() -> None:
    """Even an instance costs fuel: with none there is a typed failure and no run."""
    code = _app(more='(data (i32.const 0) "some octets of data")')
    assert _failure(code, fuel=0) == "out-of-fuel"
    assert _failure(code, fuel=5) == "out-of-fuel"
    assert _invoke(code, fuel=1000).fuel_used < 1000


def test_a_not_a_number_is_canonical() -> None:
    """The bits of a NaN do not depend on the machine."""
    code = _app("(i32.reinterpret_f32 (f32.div (f32.const 0) (f32.const 0)))")
    assert _invoke(code).status == 0x7FC00000


def test_a_fault_of_ours_in_a_host_function_is_not_blamed_on_the_programme() -> None:
    """When the source of randomness fails, that error comes out, and the next run is well."""

    def broken(_count: int) -> bytes:
        raise OSError("no randomness")

    code = _app("(call $random (i32.const 0) (i32.const 4)) (i32.const 0)", imports="random")
    with pytest.raises(OSError, match="no randomness"):
        _invoke(code, services=HostServices(rng=broken, now=0, sign=bytes))
    assert _invoke(code).data[:4] == b"\xa5" * 4


def test_only_the_two_entries_can_be_called() -> None:
    """Another exported function is not an entry."""
    code = _app(more='(func (export "other") (result i32) (i32.const 0))')
    with pytest.raises(ValueError, match="other"):
        call(code, "other", bytes(DATA), b"", rights=ALL, services=SERVICES)  # type: ignore[arg-type]
    assert call(code, "personalise", bytes(DATA), b"", rights=ALL, services=SERVICES).status == 0


@pytest.mark.parametrize("right", sorted(RIGHTS))
def test_an_ungranted_right_is_not_linked(right: str) -> None:
    """Without its right a host function cannot be imported, to load or to run; with it alone it can."""
    code = _app(imports=next(name for name, host in HOST_FUNCTIONS.items() if host.right == right))
    assert _refusal(code, rights=ALL - {right}) == "ungranted-import"
    with pytest.raises(ApplicationRefused):
        _invoke(code, rights=ALL - {right})
    load(code, rights=frozenset({right}), data_size=DATA)
    assert _invoke(code, rights={right}).status == 0


def _text(body: str) -> bytes:
    entry = '(func (export "{}") (result i32) (i32.const 0))'
    entries = entry.format("personalise") + entry.format("invoke")
    return bytes(wat2wasm(f"(module {body} {entries})"))


MEMORY = '(memory (export "memory") 64 64 (pagesize 1))'


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("not-webassembly", b""),
        ("not-webassembly", b'(module (memory (export "memory") 1))'),
        ("not-webassembly", b"\0asm\x0d\0\1\0"),
        ("invalid", b"\0asm\1\0\0\0\x7f\0"),
        ("malformed", b"\0asm\1\0\0\0\1"),
        ("malformed", b"\0asm\1\0\0\0\1\xff\xff\xff\xff\xff\x01"),
        ("start-function", _text(f"{MEMORY} (func $s) (start $s)")),
        ("unknown-import", _text(f'(import "wasi_snapshot_preview1" "fd_write" (func)) {MEMORY}')),
        ("unknown-import", _text(f'(import "otafleet" "open_door" (func)) {MEMORY}')),
        ("unknown-import", _text('(memory (export "memory") (import "otafleet" "memory") 0)')),
        ("unknown-import", _text(f'(import "otafleet" "time" (global i64)) {MEMORY}')),
        ("import-signature", _text(f'(import "otafleet" "time" (func (result i32))) {MEMORY}')),
        ("no-memory", _text("")),
        ("no-memory", _text("(memory 1)")),
        ("no-memory", _text('(func (export "memory"))')),
        ("memory-too-large", _text('(memory (export "memory") 65 65 (pagesize 1))')),
        ("memory-too-large", _text('(memory (export "memory") 64 65 (pagesize 1))')),
        ("memory-too-large", _text('(memory (export "memory") 1)')),
        ("memory-too-large", _text('(memory (export "memory") 65536)')),
        ("invalid", _text(f"{MEMORY} (memory 1)")),
        ("invalid", _text('(memory (export "memory") i64 1)')),
        ("invalid", _text('(memory (export "memory") 1 1 shared)')),
        ("invalid", _text(f"{MEMORY} (func (result v128) (v128.const i64x2 0 0))")),
        ("invalid", _text(f"{MEMORY} (tag $e) (func (throw $e))")),
        ("invalid", _text(f"{MEMORY} (table 1 externref)")),
        ("invalid", _text(f"{MEMORY} (func $f (return_call $f))")),
        ("initial-data", _text(f'{MEMORY} (data (i32.const 62) "abc")')),
        ("initial-data", _text(f"{MEMORY} (table 1 funcref) (func $f) (elem (i32.const 1) $f)")),
        ("resources", _text(f"{MEMORY} (table 1025 funcref)")),
        ("resources", _text(f"{MEMORY} (table 10000000 funcref)")),
        ("resources", _text(f"{MEMORY} (table 1 funcref) (table 1 funcref)")),
        ("no-entry", bytes(wat2wasm(f"(module {MEMORY})"))),
        (
            "no-entry",
            bytes(wat2wasm(f'(module {MEMORY} (func (export "personalise")) (func (export "invoke")))')),
        ),
    ],
)
def test_what_must_not_be_loaded_is_refused_with_its_reason(reason: str, code: bytes) -> None:
    """Text, junk, self-starting, foreign imports, wrong or too large memories, missing entries."""
    assert _refusal(code) == reason


def test_what_is_dear_to_compile_is_refused_before_it_is_compiled() -> None:
    """Too many octets, functions or locals are counted, not compiled."""
    head = b"\0asm\1\0\0\0" + _section(1, b"\1\x60\0\0")

    def code(functions: int, body: bytes) -> bytes:
        bodies = (_leb128(len(body)) + body) * functions
        declared = _leb128(functions) + b"\0" * functions
        return head + _section(3, declared) + _section(10, _leb128(functions) + bodies)

    def locals_of(count: int) -> bytes:
        return b"\1" + _leb128(count) + b"\x7e\x0b"

    reasons = {
        "too-many-functions": code(MAX_FUNCTIONS + 1, b"\0\x0b"),
        "too-many-locals": code(1000, locals_of(50_000)),
        "code-too-large": head.ljust(MAX_CODE_OCTETS + 1, b"\0"),
    }
    for reason, each in reasons.items():
        assert _refusal(each) == reason
    assert _refusal(code(2, locals_of(MAX_LOCALS // 2 + 1))) == "too-many-locals"
    check_shape(code(2, locals_of(MAX_LOCALS // 2)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_mutilated_programme_is_refused_or_harmless(data: st.DataObject) -> None:
    """With octets of a real programme changed or cut, loading and running end well or typed."""
    code = bytearray(
        _app("(call $output_write (i32.const 0) (i32.const 8)) (i32.const 0)", imports="output_write")
    )
    for _ in range(data.draw(st.integers(1, 3))):
        code[data.draw(st.integers(0, len(code) - 1))] = data.draw(st.integers(0, 255))
    code = code[: data.draw(st.sampled_from([len(code), len(code) - 5]))]
    try:
        area = load(bytes(code), rights=ALL, data_size=DATA)
        result = _invoke(bytes(code), data=area, fuel=100_000)
    except (ApplicationRefused, ExecutionFailed):
        return
    assert len(result.data) == DATA


@given(st.binary(max_size=80))
def test_arbitrary_octets_are_no_programme(octets: bytes) -> None:
    """With or without a WebAssembly header, they are refused and nothing else happens."""
    for code in (octets, b"\0asm\1\0\0\0" + octets):
        with pytest.raises(ApplicationRefused):
            load(code, rights=ALL, data_size=DATA)


def test_an_unknown_right_is_a_fault_of_the_caller() -> None:
    """Rights come from DEF or a checked config; a name that is none is not ignored."""
    with pytest.raises(ValueError, match="fly"):
        check_application(_app(), rights=["fly"], data_size=DATA)


def test_more_programmes_than_are_kept_compiled_still_run() -> None:
    """When the oldest compiled programmes are dropped, all of them still run, the dropped ones again too."""
    codes = [_app(f"(i32.const {number})") for number in range(MAX_COMPILED + 3)]
    assert [_invoke(code).status for code in codes + codes[:2]] == [*range(len(codes)), 0, 1]


def test_a_run_leaves_nothing_behind() -> None:
    """After thousands of runs the process holds no more objects than before."""
    code = _app("(call $input_length)", imports="input_length")
    _invoke(code)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(1000):
        _invoke(code)
    gc.collect()
    assert len(gc.get_objects()) - before < 50
