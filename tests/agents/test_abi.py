"""docs/abi.md: it says of the ABI what the code does, function by function and reason by reason."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from agents.handset.security_module import (
    host_crypto,
    host_functions,
    host_run,
    programme,
    run_unit,
    wasm_cost,
    wasm_shape,
)
from agents.handset.security_module.host_functions import HOST_FUNCTIONS, HOST_OCTET_FUEL, IMPORT_MODULE
from agents.handset.security_module.programme import ENTRIES, SWITCHES
from agents.handset.security_module.rights import RIGHTS
from agents.handset.security_module.run_unit import OTHER_TRAP, TRAP_REASONS
from agents.handset.security_module.wasm_cost import COST, COSTS
from agents.handset.security_module.wasm_shape import MAX_PARTS
from transport.security.suites import SUITES

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "abi.md").read_text(encoding="utf-8")
ROOMS = (host_crypto, host_functions, host_run, programme, run_unit, wasm_cost, wasm_shape)
LIMITS = {
    name: value
    for room in ROOMS
    for name, value in vars(room).items()
    if isinstance(value, int) and re.fullmatch(r"(MAX|DEFAULT|HOST|SIGN)_[A-Z_]+", name)
}


def table(*header: str, text: str = DOCUMENT) -> list[list[str]]:
    """Return the rows of the table with this header, each split into its cells."""
    head = "| " + " | ".join(header) + " |\n|" + "---|" * len(header) + "\n"
    assert text.count(head) == 1
    rows = text.partition(head)[2].partition("\n\n")[0].splitlines()
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows]


def section(title: str) -> str:
    """Return what stands under a heading."""
    return DOCUMENT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def reasons(error: str) -> set[str]:
    """Return the reasons that the rooms of the run unit raise this error with, from their sources."""
    found = set()
    for room in ROOMS:
        for node in ast.walk(ast.parse(Path(str(room.__file__)).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == error:
                reason = node.args[0]
                if isinstance(reason, ast.Constant):
                    found.add(str(reason.value))
                else:
                    assert ast.unparse(reason) == "_reason(trap)"
    return found


def test_every_host_function_is_described() -> None:
    """Name, parameters, result, right and fuel of each are those of the table, in its order."""
    rows = table("function", "parameters", "result", "right", "fuel", "what it does")
    assert [row[:5] for row in rows] == [
        [name, f"({', '.join(host.names)})", host.result, host.right, str(host.fuel)]
        for name, host in HOST_FUNCTIONS.items()
    ]
    assert all(row[5] for row in rows)
    assert f"the module `{IMPORT_MODULE}`" in DOCUMENT
    assert f"comes {HOST_OCTET_FUEL} for each octet" in DOCUMENT


def test_lengths_that_never_change_are_said() -> None:
    """Where a function always takes so many octets, its row says how many."""
    rows = {
        row[0]: row[5] for row in table("function", "parameters", "result", "right", "fuel", "what it does")
    }
    for name, host in HOST_FUNCTIONS.items():
        text = rows[name].replace("the same the other way", rows["aes_cbc_encrypt"])
        for area in host.areas:
            assert not isinstance(area.length, int) or f"{area.length} octets" in text


def test_every_entry_is_described() -> None:
    """The exports that the run unit looks for, and their types."""
    rows = table("export", "type", "what it is")
    assert {row[0]: row[1] for row in rows} == {
        "memory": "a memory",
        **dict.fromkeys(ENTRIES, "() -> i32"),
    }


def test_every_right_grants_something() -> None:
    """Each right stands in the table of the functions."""
    rows = table("function", "parameters", "result", "right", "fuel", "what it does")
    assert {row[3] for row in rows} - {""} == set(RIGHTS)


def test_every_limit_has_its_value() -> None:
    """All limits of the run unit stand there, with the values that they have."""
    rows = table("limit", "value", "of what")
    assert {row[0]: int(row[1]) for row in rows} == {
        name: value for name, value in LIMITS.items() if "COMPILED" not in name
    }
    parts = table("parts", "at most")
    assert [(int(row[1]), row[0]) for row in parts] == list(MAX_PARTS.values())


def test_limits_in_the_text_are_the_limits() -> None:
    """Where a sentence names a limit, it is the same one."""
    for reason, limit in (
        ("output-too-long", host_functions.MAX_OUTPUT),
        ("display-too-long", host_functions.MAX_TEXT_OCTETS),
    ):
        lines = [line for line in DOCUMENT.splitlines() if f"`{reason}`" in line]
        assert len(lines) == 2
        assert all(f"more than {limit}" in line for line in lines)
    assert f"keep room for {host_crypto.MAX_SIGNATURE}, which" in " ".join(DOCUMENT.split())
    assert f"has {run_unit.DEFAULT_FUEL:,} units" in DOCUMENT
    assert f"has {programme.MAX_STACK // 1024} KiB" in " ".join(DOCUMENT.split())
    text = " ".join(section("Limits").split())
    said = re.search(
        r"most cost (\d+) units, loads and stores (\d+), a call (\d+), an indirect one (\d+),"
        r" a conversion of floats to integers (\d+)",
        text,
    )
    assert said
    assert [int(each) for each in said.groups()] == [COST, COSTS[0x28], COSTS[0x10], COSTS[0x11], COSTS[0xA8]]


def test_every_reason_of_a_refusal_is_described() -> None:
    """What the run unit refuses to load, and nothing else."""
    rows = table("reason", "when", text=section("Why an application is refused"))
    assert {row[0] for row in rows} == reasons("ApplicationRefused")
    assert len(rows) == len(reasons("ApplicationRefused"))


def test_every_reason_that_ends_a_run_is_described() -> None:
    """What host functions raise, every trap of the engine's, and nothing else."""
    rows = table("reason", "when", text=section("What ends a run"))
    ends = reasons("ExecutionFailed") | set(TRAP_REASONS.values()) | {OTHER_TRAP}
    assert {row[0] for row in rows} == ends
    assert len(rows) == len(ends)


def test_what_is_off_is_said() -> None:
    """The proposals that the engine is told to refuse are those that the text says are off."""
    listed = re.search(r"These proposals are off: ([^.]*)\.", DOCUMENT)
    assert listed
    off = {
        name.removeprefix("wasm_") for name, value in SWITCHES.items() if value is False and "wasm_" in name
    }
    assert set(re.findall(r"`(\w+)`", listed[1])) == off


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_lengths_of_signatures_are_said(suite: str) -> None:
    """Each suite is named, with the length of its signatures."""
    assert f"`{suite}`" in DOCUMENT
    assert f"{SUITES[suite].signature_length} octets with" in " ".join(DOCUMENT.split())


def test_files_that_are_named_exist() -> None:
    """Every file that the document sends its reader to is there."""
    named = re.findall(r"`((?:agents|tests|configs|docs)/[\w/.]+)`", DOCUMENT)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
