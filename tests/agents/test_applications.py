"""From a file to a programme: reading it, building text, and what a person is told when it is refused."""

from __future__ import annotations

import ast
import os
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmtime import wat2wasm

from agents.applications.examination import MOST_DATA, examine, objections
from agents.applications.programmes import MAX_FILE, read_programme
from agents.applications.sections import HEADER, without_custom_sections
from agents.applications.wording import WORDS, refused
from agents.errors import NoProgramme
from agents.handset.security_module import applications, wasm_shape
from agents.handset.security_module.errors import ApplicationRefused
from agents.handset.security_module.rights import RIGHTS
from agents.handset.security_module.run_unit import check_application

APPS = Path(__file__).resolve().parents[2] / "configs" / "apps"
MEMORY = '(memory (export "memory") 16 16 (pagesize 1))'
ENTRIES = " ".join(
    f'(func (export "{name}") (result i32) (i32.const 0))' for name in ("personalise", "invoke")
)
DATA = 16

REFUSED: dict[str, tuple[str | bytes, str]] = {
    "code-too-large": (
        HEADER + bytes(wasm_shape.MAX_CODE_OCTETS),
        "it is too large: 262152 octets of 262144, the most that a module takes",
    ),
    "not-webassembly": (b"\0asm\2\0\0\0", "it does not begin as a WebAssembly module of version 1 does"),
    "malformed": (HEADER + b"\x0a", "it is damaged: no number at 9"),
    "start-function": (
        f"(module {MEMORY} {ENTRIES} (func $s) (start $s))",
        "it has a start function, and nothing of it may run before it is invoked",
    ),
    "too-many-functions": (
        f"(module {MEMORY} {ENTRIES} {'(func)' * 4096})",
        "it has too many functions: 4098 of 4096",
    ),
    "too-many-locals": (
        f"(module {MEMORY} {ENTRIES} (func (local {'i32 ' * 1025})))",
        "one of its functions has too many local variables: 1025 of 1024",
    ),
    "too-many-parameters": (
        f"(module {MEMORY} {ENTRIES} (func (param {'i32 ' * 65})))",
        "one of its types has too many parameters: 65 of 64",
    ),
    "too-many-parts": (
        f"(module {MEMORY} {ENTRIES} (table 1 funcref) (table 1 funcref))",
        "it declares too much: 2 tables of 1",
    ),
    "too-dear": (
        f"(module {MEMORY} {ENTRIES} (func {'(drop (memory.grow (i32.const 1)))' * 10_000}))",
        "it would take too long to compile, by its instructions and branches: 540310 units of 500000",
    ),
    "invalid": (
        f"(module {MEMORY} {ENTRIES} (func (param v128)))",
        "it is not valid, or uses what modules do not have: SIMD support is not enabled (at offset 0xf)",
    ),
    "unknown-import": (
        rf'(module (import "env" "puts\1b[2J" (func)) {MEMORY} {ENTRIES})',
        "it imports env.puts\N{REPLACEMENT CHARACTER}[2J, and there is no such host function",
    ),
    "import-signature": (
        f'(module (import "otafleet" "hmac" (func)) {MEMORY} {ENTRIES})',
        "it imports otafleet.hmac with another type than (i32, i32, i32, i32, i32) -> nothing",
    ),
    "ungranted-import": (
        f'(module (import "otafleet" "time" (func (result i64))) {MEMORY} {ENTRIES})',
        "it imports otafleet.time, which takes the right 'time', and that is not granted",
    ),
    "no-memory": (f"(module (memory 1) {ENTRIES})", "it exports no memory with the name 'memory'"),
    "memory-too-large": (
        f'(module (memory (export "memory") 1 1) {ENTRIES})',
        "its memory is larger than the data of its resource: 65536 octets for 16",
    ),
    "no-entry": (f"(module {MEMORY})", "it exports no function personalise() -> i32"),
    "initial-data": (
        f'(module {MEMORY} {ENTRIES} (data (i32.const 10) "0123456789"))',
        "its first data lie outside the memory or the table",
    ),
    "resources": (
        f"(module {MEMORY} {ENTRIES} (table 2000 2000 funcref))",
        "it needs more than a module gives: table minimum size of 2000 elements exceeds table limits",
    ),
}
"""By the reason: a programme that is refused for it, and what a person is told."""


def code_of(source: str | bytes) -> bytes:
    """Return a programme, from its text if it is one."""
    return source if isinstance(source, bytes) else bytes(wat2wasm(source))


@cache
def sample() -> bytes:
    """Return a programme as wat2wasm makes it, with the names of its source."""
    return code_of((APPS / "loyalty.wat").read_text(encoding="ascii"))


@pytest.mark.parametrize("reason", REFUSED)
def test_a_refusal_in_words(reason: str) -> None:
    """Each reason of the run unit is told in a sentence that names the culprit, and prints no escapes."""
    source, words = REFUSED[reason]
    with pytest.raises(ApplicationRefused) as caught:
        check_application(code_of(source), rights=(), data_size=DATA)
    assert caught.value.reason == reason
    assert refused("a.wat", caught.value) == f"a.wat would be refused: {words}"


def test_every_reason_has_words() -> None:
    """No reason that the run unit gives is without words, and no words are for a reason that is none."""
    raised = set()
    # The pieces in which an application comes have reasons of their own, in applications.py.
    modules = set(Path(str(wasm_shape.__file__)).parent.glob("*.py")) - {Path(str(applications.__file__))}
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ApplicationRefused":
                assert isinstance(node.args[0], ast.Constant)
                raised.add(node.args[0].value)
    assert raised == set(WORDS) == set(REFUSED)


def test_sections_without_names() -> None:
    """What is taken out are the custom sections alone, wherever they stand: the module is the same."""
    code, custom = without_custom_sections(sample()), b"\0\x05\x04name"
    assert b"name" in sample()
    assert b"name" not in code
    assert len(code) < len(sample()) * 4 // 5
    assert without_custom_sections(code) == code
    assert without_custom_sections(HEADER + custom + code[len(HEADER) :] + custom) == code
    info, full = (check_application(each, rights=(), data_size=64) for each in (code, sample()))
    assert (info.memory_size, info.imports) == (full.memory_size, full.imports)


def test_sections_cut_off() -> None:
    """A programme cut between two sections is a shorter one; cut anywhere else, it is refused as damaged."""
    code = without_custom_sections(sample())
    whole = set()
    for size in range(len(HEADER), len(code)):
        try:
            assert without_custom_sections(code[:size]) == code[:size]
        except ApplicationRefused as refusal:
            assert refusal.reason == "malformed"  # noqa: PT017 -- some of the sizes are whole sections
        else:
            whole.add(size)
    ends, length, offset = {len(HEADER)}, 0, len(HEADER)
    while offset + 2 < len(code):  # until the code section all lengths have an octet, and it has two
        wide = code[offset + 1] >> 7
        length = code[offset + 1] & 0x7F | wide * code[offset + 2] << 7
        offset += 2 + wide + length
        ends.add(offset)
    assert whole == ends - {len(code)}


@given(st.binary(max_size=64))
def test_sections_of_any_octets(octets: bytes) -> None:
    """Whatever stands behind the header is refused, or gives back no more than it was."""
    try:
        left = without_custom_sections(HEADER + octets)
    except ApplicationRefused as refusal:
        assert refusal.reason == "malformed"  # noqa: PT017 -- some are whole sections
    else:
        assert len(left) <= len(HEADER + octets)
        assert without_custom_sections(left) == left


@pytest.mark.parametrize("octets", [b"", b"\0asm", b"\0asm\r\0\1\0", b"hello"], ids=repr)
def test_sections_of_what_is_no_module(octets: bytes) -> None:
    """Octets that do not begin as a module are refused as such."""
    with pytest.raises(ApplicationRefused, match=r"^not-webassembly$"):
        without_custom_sections(octets)


def test_text_is_built_without_names_and_binary_is_left_alone(tmp_path: Path) -> None:
    """A text loses its names on the way; a binary is the person's own, to the last octet."""
    built = read_programme(APPS / "loyalty.wat")
    assert (built.code, built.is_source) == (without_custom_sections(sample()), True)
    path = tmp_path / "any.name"
    path.write_bytes(sample())
    read = read_programme(path)
    assert (read.code, read.is_source) == (sample(), False)
    assert read.digest != built.digest
    assert repr(sample())[2:20] not in repr(read)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"(module\n  (foo))", "is no WebAssembly: expected valid module field at line 2, column 4"),
        (b"hello world", "is no WebAssembly: expected `(` at line 1, column 1"),
        (b"", "is no WebAssembly: expected at least one module field at line 1, column 1"),
        (b"\xff", "is no WebAssembly: input was not valid utf-8"),
        (b"(module (func (call $x)))", "is no WebAssembly: unknown func: failed to find name `$x` at"),
        (
            b"(module (func " + b"(block " * 50_000,
            "is no WebAssembly: expected an instruction at line 1, column",
        ),
        (
            b'(module binary "\\00asm\\01\\00\\00\\00\\05\\ff")',
            "would be refused: it is damaged: no number at 9",
        ),
        (b"(component)", "would be refused: it does not begin as a WebAssembly module of version 1 does"),
    ],
    ids=["field", "words", "empty", "latin", "name", "deep", "damaged", "component"],
)
def test_what_is_no_text(text: bytes, why: str, tmp_path: Path) -> None:
    """A text that is none is refused in one sentence, with the line and the column."""
    path = tmp_path / "a.wat"
    path.write_bytes(text)
    with pytest.raises(NoProgramme) as caught:
        read_programme(path, "a.wat")
    (sentence,) = caught.value.sentences
    assert sentence.startswith(f"a.wat {why}")
    assert len(sentence) < 300
    assert sentence.isprintable()


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """No file, a directory, too large a file, and what only looks like one: each in one sentence, at once."""
    large, pipe = tmp_path / "large.wat", tmp_path / "pipe.wat"
    with large.open("wb") as file:
        file.truncate(MAX_FILE + 1)
    os.mkfifo(pipe)
    for path, sentence in (
        (tmp_path / "none.wat", "cannot read {}: no such file or directory"),
        (tmp_path, "cannot read {}: is a directory"),
        (large, "{} is no application: it has more than 16777216 octets"),
        (tmp_path / "zero\0.wat", "cannot read {}: embedded null byte"),
        (tmp_path / ("long" * 100), "cannot read {}: file name too long"),
        (pipe, "cannot read {}: it is no file"),
        (Path("/dev/zero"), "cannot read {}: it is no file"),
    ):
        with pytest.raises(NoProgramme) as caught:
            read_programme(path)
        assert caught.value.sentences == [sentence.format(path)]


def test_an_examination() -> None:
    """It tells what a resource needs to be, also when the memory says that it would grow."""
    text = f'(module (memory (export "memory") 20 64 (pagesize 1)) {ENTRIES} (data (i32.const 3) "ab\\00c"))'
    found = examine(code_of(text))
    assert (found.info.memory_size, found.data_size, found.initial) == (20, 64, 3)
    assert found.lines()[0] == "memory   20 octets in pages of 1, 3 octets of it not zero at first"
    assert found.to_json()["exports"] == ["memory", "personalise", "invoke"]
    assert list(objections("a", code_of(text), data_size=64)) == []
    assert list(objections("a", code_of(text), data_size=63)) == [
        "a would be refused: its memory is larger than the data of its resource: 64 octets for 63"
    ]


def test_the_largest_memory() -> None:
    """A memory as large as a module's is examined, and a page more is refused."""
    pages = MOST_DATA >> 16
    module = '(module (memory (export "memory") {} {}) ' + ENTRIES + ")"
    assert examine(code_of(module.format(pages, pages))).data_size == MOST_DATA
    with pytest.raises(ApplicationRefused, match=r"^memory-too-large"):
        examine(code_of(module.format(pages + 1, pages + 1)))


def test_all_objections_are_told() -> None:
    """Too little code or data and a missing right are three sentences; a resource that fits has none."""
    code = read_programme(APPS / "account.wat").code
    told = list(objections("a", code, rights=(), code_size=100, data_size=100))
    assert told == [
        f"a has {len(code)} octets and does not fit in 100",
        "a would be refused: it imports otafleet.hmac, which takes the right 'hmac', and that is not granted",
        "a would be refused: its memory is larger than the data of its resource: 256 octets for 100",
    ]
    assert list(objections("a", code)) == []
    assert list(objections("a", code, rights=RIGHTS, code_size=len(code), data_size=256)) == []


def test_names_of_strangers_are_printable_and_few() -> None:
    """As many exports as there may be, long names and escapes, fill no screen and move no cursor."""
    exports = " ".join(rf'(export "\1b[2J{number}{"x" * 999}" (memory 0))' for number in range(61))
    found = examine(code_of(f"(module {MEMORY} {ENTRIES} {exports})"))
    told = "\n".join(found.lines())
    assert "\x1b" not in told
    assert len(told) < 3000
    assert "and 32 more" in told
    assert len(found.to_json()["exports"]) == 64
