"""The run unit: what may be loaded, what a run is given, and what it leaves behind."""

from __future__ import annotations

import gc
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.handset.security_module.errors import ApplicationRefused
from agents.handset.security_module.host_functions import HOST_CALL_FUEL, HOST_FUNCTIONS
from agents.handset.security_module.memory import MAX_SIZE
from agents.handset.security_module.programme import MAX_COMPILED
from agents.handset.security_module.rights import RIGHTS, rights_mask, rights_names
from agents.handset.security_module.run_unit import COMPARED, HostServices, call, check_application, load
from tests.agents.module_kit import Market
from tests.agents.wasm_kit import ALL, DATA, HEADER, SERVICES, app, failure, invoke, refusal

PIECE = COMPARED[-1]


def test_a_check_says_what_a_programme_is() -> None:
    """Sizes, imports, the rights it needs and its first data, of a programme that could be loaded."""
    code = app(host="input_read hmac time", more='(data (i32.const 2) "hello")')
    info = check_application(code, rights=ALL, data_size=100)
    assert (info.code_size, info.memory_size, info.page_size) == (len(code), 64, 1)
    assert info.imports == ("input_read", "hmac", "time")
    assert info.rights == {"hmac", "time"}
    assert info.initial_data == b"\0\0hello" + bytes(57)
    assert load(code, rights=ALL, data_size=100) == info.initial_data + bytes(36)


def test_memory_is_restored_and_given_back() -> None:
    """A run sees the area as it was left, not the programme's first data, and gives back what it made."""
    code = app(
        "(i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 1))) (i32.const 7)",
        more='(data (i32.const 0) "\\10\\20")',
    )
    data = load(code, rights=ALL, data_size=DATA)
    assert data[:2] == b"\x10\x20"
    first = invoke(code, data=data)
    second = invoke(code, data=first.data)
    assert (first.data[0], second.data[0], second.status) == (0x11, 0x12, 7)
    assert first.data[1:] == data[1:]


def test_globals_start_anew_in_each_run() -> None:
    """What is not in memory does not last."""
    code = app(
        "(global.set $g (i32.add (global.get $g) (i32.const 1))) (global.get $g)",
        more="(global $g (mut i32) (i32.const 40))",
    )
    assert [invoke(code).status for _ in range(2)] == [41, 41]


def test_the_part_of_the_area_behind_the_memory_is_left_alone() -> None:
    """An area larger than the memory comes back as long, its end untouched; in a smaller one nothing runs."""
    code = app("(memory.fill (i32.const 0) (i32.const 1) (i32.const 64)) (i32.const 0)")
    assert invoke(code, data=b"\xee" * 70).data == b"\x01" * 64 + b"\xee" * 6
    with pytest.raises(ApplicationRefused, match="memory-too-large: 64 octets for 63"):
        invoke(code, data=bytes(63))


def test_ordinary_pages_and_no_memory_at_all_are_legal() -> None:
    """A memory of 64 KiB pages and one of no octets both run."""
    large = app("(i32.store8 (i32.const 65535) (i32.const 9)) (memory.size)", memory="1")
    assert load(large, rights=ALL, data_size=65536) == bytes(65536)
    result = invoke(large, data=bytes(65536))
    assert (result.status, result.data[-1]) == (1, 9)
    assert result.changes == ((65536 - PIECE, bytes(PIECE - 1) + b"\x09"),)
    none = app("(memory.size)", memory="0 0 (pagesize 1)")
    assert load(none, rights=ALL, data_size=0) == b""
    assert invoke(none, data=b"").status == 0
    reading = app(
        "(call $output_write (i32.const 0) (i32.const 1)) (i32.const 0)", host="output_write", memory="0"
    )
    assert failure(reading, data=b"") == "outside-memory"


# Writes at its first octet, at its last and at the borders of what is compared, and counts at 4.
LARGE = """
    (i32.store8 (i32.const 0) (i32.const 1))
    (i32.store (i32.const 4) (i32.add (i32.load (i32.const 4)) (i32.const 1)))
    (i32.store16 (i32.const 4095) (i32.const 0x0203))
    (i32.store8 (i32.const 65535) (i32.const 4))
    (i32.store8 (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1)) (i32.const 5))
    (i32.const 0)"""


@pytest.mark.parametrize("pages", [1, 16, 63], ids=lambda pages: f"{64 * pages}KiB")
def test_a_large_data_area_is_the_memory_to_its_last_octet(pages: int) -> None:
    """Areas of 64 KiB, 1 MiB and nearly 4 MiB come back as they were but for the octets that were written."""
    size = pages * 65536
    code = app(LARGE, memory=f"{pages} {pages}")
    before = random.Random(pages).randbytes(size)
    expected = bytearray(before)
    data = before
    for runs in range(1, 4):
        expected[0], expected[4095:4097], expected[65535], expected[-1] = 1, b"\3\2", 4, 5
        number = int.from_bytes(before[4:8], "little") + runs
        expected[4:8] = (number & 0xFFFFFFFF).to_bytes(4, "little")
        result = invoke(code, data=data)
        assert sum(len(octets) for _, octets in result.changes) <= 5 * PIECE
        data = result.data
        assert data == expected
    assert invoke(app(memory=f"{pages} {pages}"), data=before).changes == ()


@given(st.data())
def test_changes_are_all_that_changed(data: st.DataObject) -> None:
    """Whatever a run writes, and wherever, its changes make of the area before it the area after it."""
    size = data.draw(st.sampled_from([1, 255, 256, 257, 4096, 5000, 65536 + 300]))
    writes = data.draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, 255)), max_size=12))
    text = "".join(f"(i32.store8 (i32.const {at}) (i32.const {octet}))" for at, octet in writes)
    before = random.Random(size).randbytes(size + 3)
    result = invoke(app(f"{text} (i32.const 0)", memory=f"{size} {size} (pagesize 1)"), data=before)
    expected = bytearray(before)
    for at, octet in writes:
        expected[at] = octet
    assert result.data == expected
    assert all(expected[at : at + len(octets)] == octets for at, octets in result.changes)
    assert all(before[at : at + len(octets)] != octets for at, octets in result.changes)
    assert sum(len(octets) for _, octets in result.changes) <= PIECE * len(writes)


def test_a_module_of_four_mebibytes_runs_on_most_of_them() -> None:
    """In a module of the largest memory a resource of 63 pages of 64 KiB runs, and few pages change."""
    market = Market(size=MAX_SIZE)
    market.personalise().reserve(data_size=63 * 65536, code_size=1024).connect()
    market.load(app(LARGE, memory="63 63"))
    for runs in range(1, 3):
        before = dict(market.card.pages)
        assert market.supplier.invoke(market.card, b"").reason == ""
        changed = [number for number, page in market.card.pages.items() if before.get(number) != page]
        definition = market.card.definition()
        memory = market.card.image[definition.data_start : definition.end]
        assert (memory[0], memory[4], memory[65535], memory[-1]) == (1, runs, 4, 5)
        assert len(changed) < 16


def test_fuel_is_counted_with_host_functions_and_is_the_same_each_time() -> None:
    """A run reports what it used, the same whenever it is the same run; one less is not enough."""
    code = app("(call $input_length)", host="input_length")
    used = {invoke(code, fuel=fuel).fuel_used for fuel in (100_000, 1_000_000)}
    assert len(used) == 1
    needed = used.pop()
    assert needed > HOST_CALL_FUEL
    assert invoke(code, fuel=needed).fuel_used == needed
    assert failure(code, fuel=needed - 1) == "out-of-fuel"


def test_a_run_without_fuel_for_its_first_data_fails_as_any_other() -> None:
    """Even an instance costs fuel: with none there is a typed failure and no run."""
    code = app(more='(data (i32.const 0) "some octets of data")')
    assert failure(code, fuel=0) == "out-of-fuel"
    assert failure(code, fuel=5) == "out-of-fuel"
    assert invoke(code, fuel=1000).fuel_used < 1000


NANS = {
    "f32": ("i32", 0x7FC00000, [0x7FA00001, 0xFFC12345, 0x7F800001]),
    "f64": ("i64", 0x7FF8000000000000, [0x7FF4000000000001, 0xFFF8123456789ABC, 0x7FF0000000000001]),
}
UNARY = ("ceil", "floor", "trunc", "nearest", "sqrt")
BINARY = ("add", "sub", "mul", "div", "min", "max")


@pytest.mark.parametrize("kind", NANS)
@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_a_not_a_number_is_canonical(kind: str, name: str) -> None:
    """Whatever NaN goes into an operation, on either side, the one that comes out is always the same."""
    integer, canonical, payloads = NANS[kind]
    for bits in payloads:
        nan = f"({kind}.reinterpret_{integer} ({integer}.load (i32.const 0)))"
        for operands in [nan] if name in UNARY else [f"{nan} ({kind}.const 1)", f"({kind}.const 1) {nan}"]:
            made = f"({integer}.reinterpret_{kind} ({kind}.{name} {operands}))"
            code = app(f"({integer}.store (i32.const 8) {made}) (i32.const 0)")
            data = invoke(code, data=bits.to_bytes(8, "little").ljust(DATA, b"\0")).data
            assert int.from_bytes(data[8:16], "little") == canonical


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("(i64.extend_i32_u (i32.reinterpret_f32 (f32.demote_f64 (f64.load (i32.const 0)))))", 0x7FC00000),
        ("(i64.reinterpret_f64 (f64.promote_f32 (f32.load (i32.const 8))))", 0x7FF8000000000000),
        ("(i64.reinterpret_f64 (f64.div (f64.const 0) (f64.const 0)))", 0x7FF8000000000000),
        ("(i64.reinterpret_f64 (f64.sqrt (f64.const -1)))", 0x7FF8000000000000),
        ("(i64.reinterpret_f64 (f64.sub (f64.const inf) (f64.const inf)))", 0x7FF8000000000000),
    ],
    ids=["demote", "promote", "zero by zero", "root of less than zero", "infinities"],
)
def test_a_not_a_number_that_is_made_is_canonical(text: str, canonical: int) -> None:
    """So is one that comes of numbers, or of the conversion of another."""
    data = struct.pack("<QQ", 0xFFF8123456789ABC, 0xFFC12345).ljust(DATA, b"\0")
    made = invoke(app(f"(i64.store (i32.const 16) {text}) (i32.const 0)"), data=data).data[16:24]
    assert int.from_bytes(made, "little") == canonical


def test_the_same_run_is_the_same_again() -> None:
    """Data, output, texts and fuel of a run that uses all that it may are the same a second time."""
    code = app(
        """(call $random (i32.const 0) (i32.const 8))
        (f64.store (i32.const 8) (f64.div (f64.convert_i32_u (i32.load (i32.const 0))) (f64.const 7)))
        (call $hmac (i32.const 0) (i32.const 8) (i32.const 8) (i32.const 8) (i32.const 16))
        (drop (call $sign (i32.const 0) (i32.const 16) (i32.const 0) (i32.const 64)))
        (i64.store (i32.const 40) (call $time))
        (call $display (i32.const 48) (i32.const 8))
        (call $output_write (i32.const 0) (i32.const 64)) (i32.const 0)""",
        host="random hmac sign time display output_write",
    )
    assert invoke(code) == invoke(code)


def test_a_fault_of_ours_in_a_host_function_is_not_blamed_on_the_programme() -> None:
    """When the source of randomness fails, that error comes out, and the next run is well."""

    def broken(_count: int) -> bytes:
        raise OSError("no randomness")

    code = app("(call $random (i32.const 0) (i32.const 4)) (i32.const 0)", host="random")
    with pytest.raises(OSError, match="no randomness"):
        invoke(code, services=HostServices(rng=broken, now=0, sign=bytes))
    assert invoke(code).data[:4] == b"\xa5" * 4


def test_only_the_two_entries_can_be_called() -> None:
    """Another exported function is not an entry."""
    code = app(more='(func (export "other") (result i32) (i32.const 0))')
    with pytest.raises(ValueError, match="other"):
        call(code, "other", bytes(DATA), b"", rights=ALL, services=SERVICES)  # type: ignore[arg-type]
    assert call(code, "personalise", bytes(DATA), b"", rights=ALL, services=SERVICES).status == 0


@pytest.mark.parametrize("right", sorted(RIGHTS))
def test_an_ungranted_right_is_not_linked(right: str) -> None:
    """Without its right a host function cannot be imported, to load or to run; with it alone it can."""
    code = app(host=next(name for name, host in HOST_FUNCTIONS.items() if host.right == right))
    assert refusal(code, rights=ALL - {right}) == "ungranted-import"
    with pytest.raises(ApplicationRefused):
        invoke(code, rights=ALL - {right})
    load(code, rights=frozenset({right}), data_size=DATA)
    assert invoke(code, rights={right}).status == 0


@given(st.binary(max_size=80))
def test_arbitrary_octets_are_no_programme(octets: bytes) -> None:
    """With or without a WebAssembly header, they are refused and nothing else happens."""
    for code in (octets, HEADER + octets):
        with pytest.raises(ApplicationRefused):
            load(code, rights=ALL, data_size=DATA)


def test_rights_have_a_bit_each_for_ever() -> None:
    """What is in DEF and on the air keeps its meaning: no bit was ever given another, or given twice."""
    assert RIGHTS == {
        "random": 0x01,
        "sha256": 0x02,
        "hmac": 0x04,
        "time": 0x08,
        "display": 0x10,
        "aes": 0x20,
        "sign": 0x40,
    }
    assert rights_names(rights_mask(RIGHTS)) == ALL
    with pytest.raises(ValueError, match="0x80"):
        rights_names(0x80)
    assert {host.right for host in HOST_FUNCTIONS.values()} - {""} == ALL


def test_an_unknown_right_is_a_fault_of_the_caller() -> None:
    """Rights come from DEF or a checked config; a name that is none is not ignored."""
    with pytest.raises(ValueError, match="fly"):
        check_application(app(), rights=["fly"], data_size=DATA)


def test_more_programmes_than_are_kept_compiled_still_run() -> None:
    """When the oldest compiled programmes are dropped, all of them still run, the dropped ones again too."""
    codes = [app(f"(i32.const {number})") for number in range(MAX_COMPILED + 3)]
    assert [invoke(code).status for code in codes + codes[:2]] == [*range(len(codes)), 0, 1]


def test_a_run_leaves_nothing_behind() -> None:
    """After thousands of runs the process holds no more objects than before."""
    code = app("(call $input_length)", host="input_length")
    invoke(code)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(1000):
        invoke(code)
    gc.collect()
    assert len(gc.get_objects()) - before < 50
