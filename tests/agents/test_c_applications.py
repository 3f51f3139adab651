"""Applications in C: what the compiler makes of them, their header, and what it says of mistakes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from agents.applications.compiler import (
    DEFAULT_STACK,
    INCLUDE,
    MAX_MADE,
    MAX_TOLD,
    TIMEOUT_S,
    Built,
    compile_c,
)
from agents.applications.sections import without_custom_sections
from agents.errors import NoProgramme
from agents.handset.security_module import host_crypto, host_functions
from agents.handset.security_module.errors import ExecutionFailed
from agents.handset.security_module.host_functions import HOST_FUNCTIONS
from agents.handset.security_module.rights import RIGHTS
from agents.handset.security_module.run_unit import CallResult, HostServices, call, check_application, load

HEADER = (INCLUDE / "otafleet.h").read_text(encoding="ascii")
SERVICES = HostServices(rng=bytes, now=0, sign=bytes)
EMPTY = "int personalise(void) { return 0; }\n"
DATA = 4096
CLOCK = "apps/a.c:2:27: error: expansion of date or time macro is not reproducible [-Werror,-Wdate-time]"
FRAME = (
    "apps/a.c:3:5: error: stack frame size (304) exceeds limit (256) in 'invoke'"
    " [-Werror,-Wframe-larger-than]"
)

# Octets of the argument: operation, then what it is about; the answer is memory after it, or a result.
MEMORY_FUNCTIONS = """
#include <otafleet.h>
struct pair { uint8_t one[20], two[20]; };
static uint8_t argument[64];
static struct pair pair, copy;
int personalise(void) { return 0; }
int invoke(void) {
    ota_input_read(argument, 0, sizeof argument);
    uint8_t to = argument[1], from = argument[2], size = argument[3];
    for (int i = 0; i < 20; i++)
        pair.one[i] = (uint8_t)i, pair.two[i] = (uint8_t)(100 + i);
    int result = 0;
    switch (argument[0]) {
    case 1: memcpy(pair.one + to, pair.two + from, size); break;
    case 2: memmove(pair.one + to, pair.one + from, size); break;
    case 3: memset(pair.one + to, from, size); break;
    case 4: result = memcmp(argument + 4, argument + 4 + size, size); break;
    case 5: copy = pair; pair = (struct pair){{0}, {0}}; pair = copy; break;
    case 6: for (int i = 0; i < size; i++) pair.one[i] = 0; break;
    case 7: ota_wipe(pair.one + to, size); break;
    }
    ota_output_write(&pair, sizeof pair);
    return result < 0 ? 2 : result > 0;
}
"""


def built(directory: Path, source: str, name: str = "a.c", *, stack: int = DEFAULT_STACK) -> Built:
    """Return what comes of a source in a directory of the test's own."""
    path = directory / name
    path.write_text(source, encoding="utf-8")
    return compile_c(path, name, stack=stack)


def complaints(directory: Path, source: str, *, timeout_s: float = TIMEOUT_S) -> list[str]:
    """Return what a person is told of a source that does not compile."""
    path = directory / "a.c"
    path.write_text(source, encoding="utf-8")
    with pytest.raises(NoProgramme) as caught:
        compile_c(path, "apps/a.c", timeout_s=timeout_s)
    return caught.value.sentences


def ran(code: bytes, data: bytes = b"", argument: bytes = b"") -> CallResult:
    """Return how an invoke of *code* ended, on its first data unless there are others."""
    data = data or load(code, rights=RIGHTS, data_size=DATA)
    return call(code, "invoke", data, argument, rights=RIGHTS, services=SERVICES)


def test_the_header_declares_every_host_function(tmp_path: Path) -> None:
    """A source that calls all functions of the table imports each with the type that it has there."""
    calls = []
    for name, host in HOST_FUNCTIONS.items():
        result = "sum += " if host.results else ""
        calls.append(f"{result}ota_{name}({', '.join('0' for _ in host.parameters)});")
    body = "static uint64_t sum;\nint invoke(void) { " + " ".join(calls) + " return (int)sum; }\n"
    code = built(tmp_path, "#include <otafleet.h>\n" + EMPTY + body).code
    info = check_application(code, rights=RIGHTS, data_size=DATA)
    assert set(info.imports) == set(HOST_FUNCTIONS)


def test_the_header_declares_nothing_else_and_says_which_right() -> None:
    """Its functions are those of the table, with its parameters, behind a comment with the right."""
    declared = re.findall(r'/\* (?:(always granted)|right "(\w+)"): [^*]+\*/\nOTA_HOST\((\w+)\)', HEADER)
    assert {name: right for _, right, name in declared} == {
        name: host.right for name, host in HOST_FUNCTIONS.items()
    }
    assert HEADER.count("\nOTA_HOST(") == len(HOST_FUNCTIONS)
    parameters = re.findall(r"\bota_(\w+)\(((?:void|const|u?int|char)\b[^)]*|u?int\d+_t [^)]*)\);", HEADER)
    names = {name: tuple(re.findall(r"(\w+)(?:\[\w+\])?(?:,|$)", listed)) for name, listed in parameters}
    assert names == {name: host.names or ("void",) for name, host in HOST_FUNCTIONS.items()}


def test_the_header_has_the_limits_of_the_run_unit() -> None:
    """Its numbers are those of the host functions."""
    numbers = {name: int(value) for name, value in re.findall(r"#define (OTA_\w+) +(\d+)", HEADER)}
    assert numbers == {
        "OTA_DIGEST": host_crypto.DIGEST,
        "OTA_AES_BLOCK": host_crypto.AES_BLOCK,
        "OTA_MAX_OUTPUT": host_functions.MAX_OUTPUT,
        "OTA_MAX_TEXT": host_functions.MAX_TEXT_OCTETS,
        "OTA_MAX_TEXTS": host_functions.MAX_TEXTS,
        "OTA_MAX_SIGNATURE": host_crypto.MAX_SIGNATURE,
    }


def test_the_example_in_the_header(tmp_path: Path) -> None:
    """The application that the header shows does what it says: what is static stays from run to run."""
    example = re.search(r"^ \*     #include.*?^ \*     }$", HEADER, re.MULTILINE | re.DOTALL)
    assert example
    code = built(tmp_path, re.sub(r"^ \*(?:     )?", "", example[0], flags=re.MULTILINE)).code
    data = load(code, rights=(), data_size=DATA)
    for visits in (1, 2, 3):
        result = ran(code, data)
        assert int.from_bytes(result.output, "little") == visits
        data = result.data


def test_what_stands_in_for_a_library(tmp_path: Path) -> None:
    """Copying, moving, filling, comparing and wiping are what C says they are, and import nothing."""
    built_code = built(tmp_path, MEMORY_FUNCTIONS)
    code = built_code.code
    assert built_code.warnings == ()
    assert set(check_application(code, rights=(), data_size=DATA).imports) == {"input_read", "output_write"}
    one, two = bytes(range(20)), bytes(range(100, 120))
    assert ran(code, argument=bytes([1, 3, 5, 7])).output == one[:3] + two[5:12] + one[10:] + two
    assert ran(code, argument=bytes([1, 3, 5, 0])).output == one + two
    for to, from_ in ((2, 6), (6, 2)):
        moved = bytearray(one)
        moved[to : to + 9] = one[from_ : from_ + 9]
        assert ran(code, argument=bytes([2, to, from_, 9])).output == bytes(moved) + two
    assert ran(code, argument=bytes([3, 1, 200, 4])).output == one[:1] + b"\xc8" * 4 + one[5:] + two
    for pair, status in ((b"abab", 0), (b"abac", 2), (b"acab", 1), (b"\x7f\0\x80\0", 2), (b"", 0)):
        assert ran(code, argument=bytes([4, 0, 0, len(pair) // 2]) + pair).status == status
    assert ran(code, argument=bytes([5])).output == one + two
    assert ran(code, argument=bytes([6, 0, 0, 12])).output == bytes(12) + one[12:] + two
    assert ran(code, argument=bytes([7, 4, 0, 3])).output == one[:4] + bytes(3) + one[7:] + two


@pytest.mark.parametrize("stack", [16, 256, 4096])
def test_the_memory_is_stack_and_data(stack: int, tmp_path: Path) -> None:
    """To the octet: the stack, what is static, and nothing for rounding; it never grows."""
    source = "#include <otafleet.h>\nstatic char kept[100];\n" + EMPTY
    source += "int invoke(void) { return kept[ota_input_length()]++; }\n"
    code = built(tmp_path, source, stack=stack).code
    info = check_application(code, rights=(), data_size=stack + 100)
    assert (info.page_size, info.memory_size) == (1, stack + 100)


def test_a_stack_that_overflows_is_a_trap(tmp_path: Path) -> None:
    """It does not run into the data: the run ends, and the data are as before."""
    source = """
    static volatile int kept = 7;
    __attribute__((noinline)) int deep(volatile int *above) {
        volatile int here[4] = {*above + 1};
        return here[0] < 100 ? deep(here) + here[0] : 0;
    }
    int invoke(void) { volatile int first = 0; kept = 8; return deep(&first); }
    """
    code = built(tmp_path, EMPTY + source).code
    with pytest.raises(ExecutionFailed, match=r"^outside-memory$"):
        ran(code)
    assert ran(built(tmp_path, EMPTY + source, stack=8192).code, bytes(9000)).status == 4950


def test_the_same_source_gives_the_same_octets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it lies, whatever the environment would have the compiler do, and with its own headers."""
    source = '#include "own.h"\n#include <stdint.h>\nint invoke(void) { return NUMBER + __FILE__[2]; }\n'
    made = []
    for name in ("here", "a longer name {of} a place"):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "own.h").write_text(EMPTY + "#define NUMBER 5\n")
        made.append(built(directory, source))
        hostile = tmp_path / "hostile"
        hostile.mkdir(exist_ok=True)
        (hostile / "stdint.h").write_text("#error not this one\n")
        monkeypatch.setenv("CPATH", str(hostile))
        monkeypatch.setenv("C_INCLUDE_PATH", str(hostile))
        monkeypatch.setenv("CCC_OVERRIDE_OPTIONS", "+-DNUMBER=6")
        monkeypatch.chdir(directory)
    assert made[0] == made[1]
    assert ran(made[0].code).status == 5 + ord("a")
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"own.h", "a.c"}


def test_nothing_is_carried_along(tmp_path: Path) -> None:
    """No names, no producers, no features: there is no custom section in what is built."""
    code = built(tmp_path, EMPTY + "int invoke(void) { return 0; }\n").code
    assert without_custom_sections(code) == code
    assert len(code) < 100


def test_odd_names(tmp_path: Path) -> None:
    """A name that begins with a dash or has blanks and braces is a name, and no option."""
    source = EMPTY + "int invoke(void) { return 0; }\n"
    for name in ("-v.c", "two words.c", "{0}.c", "@file.c", "ü.c"):
        assert built(tmp_path, source, name) == built(tmp_path, source)


@pytest.mark.parametrize(
    ("source", "sentences"),
    [
        ("int x = 1\nint y;", ["apps/a.c:1:10: error: expected ';' after top level declarator"]),
        (
            "int personalise(void) { return x; }\nint invoke(void) { return y; }",
            [
                "apps/a.c:1:32: error: use of undeclared identifier 'x'",
                "apps/a.c:2:27: error: use of undeclared identifier 'y'",
            ],
        ),
        (EMPTY, ["apps/a.c defines no function invoke"]),
        (
            EMPTY + "void puts(const char *); int invoke(void) { puts(0); return 0; }",
            ["apps/a.c calls puts, which nobody defines: there is no C library"],
        ),
        ("#include <stdio.h>\n", ["apps/a.c:1:10: fatal error: 'stdio.h' file not found"]),
        (
            EMPTY + "int invoke(void) { return __TIME__[0]; }",
            [CLOCK],
        ),
        (
            EMPTY + "void f(char *);\nint invoke(void) { char room[300]; f(room); return 0; }",
            [FRAME],
        ),
        (
            EMPTY + 'int f(void) __asm__("\\x1b[2J"); int invoke(void) { return f(); }',
            ["apps/a.c: wasm-ld: error: object: undefined symbol: \N{REPLACEMENT CHARACTER}[2J"],
        ),
    ],
    ids=["syntax", "names", "no entry", "no library", "no header", "the time", "large frame", "escapes"],
)
def test_what_does_not_compile(source: str, sentences: list[str], tmp_path: Path) -> None:
    """What compiler and linker say reaches the person, with the place, and under the name that they gave."""
    assert complaints(tmp_path, source) == sentences


def test_an_entry_of_another_type(tmp_path: Path) -> None:
    """The header knows what the entries are, so the compiler says it before any module does."""
    told = complaints(tmp_path, f"#include <otafleet.h>\n{EMPTY}void invoke(void) {{}}")
    assert told[0] == "apps/a.c:3:6: error: conflicting types for 'invoke'"
    assert told[1].endswith("otafleet.h:26:5: note: previous declaration is here")


def test_nobody_reads_a_thousand_complaints(tmp_path: Path) -> None:
    """However much there is to complain of, what is told has an end, and its lines do as well."""
    told = complaints(tmp_path, "".join(f"int a{n} = {'b' * 500};\n" for n in range(1000)))
    assert len(told) == 11
    assert all(len(sentence) <= 300 for sentence in told)
    warned = complaints(tmp_path, "#warning again\n" * 5000 + "int")
    assert len(warned) == MAX_TOLD + 1
    assert re.fullmatch(r"apps/a\.c: and \d+ lines more", warned[-1])


def test_warnings_of_what_compiles(tmp_path: Path) -> None:
    """A source may compile and still have something that its author would want to know."""
    made = built(tmp_path, EMPTY + "int invoke(void) { int unused; return 0; }")
    assert made.warnings == ("a.c:2:24: warning: unused variable 'unused' [-Wunused-variable]",)


def test_a_source_that_never_ends(tmp_path: Path) -> None:
    """What doubles forty times over is stopped when its time is over, and nothing of it runs on."""
    bomb = "#define A0 int x;\n" + "".join(f"#define A{n + 1} A{n} A{n}\n" for n in range(40)) + "A40\n"
    assert complaints(tmp_path, bomb, timeout_s=1.5) == ["apps/a.c does not compile within 1.5 s"]
    while any(_leads_to(path, tmp_path) for path in Path("/proc").glob("[0-9]*/cwd")):
        pass  # what was killed may take a moment to be gone


def _leads_to(link: Path, directory: Path) -> bool:
    try:
        return link.readlink() == directory
    except OSError:
        return False


def test_a_source_that_would_fill_the_disk(tmp_path: Path) -> None:
    """A variable of a gigabyte that is not zero is not written out."""
    assert MAX_MADE < 1 << 30
    (told,) = complaints(tmp_path, EMPTY + "char full[1 << 30] = {1};\nint invoke(void) { return full[1]; }")
    assert "File too large" in told
    assert told.startswith("apps/a.c: ")


def test_who_may_write_little_still_builds(tmp_path: Path) -> None:
    """Where less is allowed than the compiler may have, that stays so, and a small source still compiles."""
    path = tmp_path / "a.c"
    path.write_text(EMPTY + "int invoke(void) { return 0; }\n")
    soft = 'ulimit -f 2000; ulimit -v 2000000; exec "$0" -c "$1" app build "$2"'
    main = "from agents.cli import main; main()"
    ran = subprocess.run(
        ["bash", "-c", soft, sys.executable, main, str(path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert path.with_suffix(".wasm").read_bytes() == compile_c(path, "a.c").code


@pytest.mark.parametrize("stack", [0, -16, 8, 100, 1 << 21])
def test_no_such_stack(stack: int, tmp_path: Path) -> None:
    """A stack is a multiple of 16 octets: another one is a mistake of the caller's."""
    with pytest.raises(ValueError, match=f"a stack of {stack} octets"):
        built(tmp_path, EMPTY, stack=stack)
