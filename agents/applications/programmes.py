"""Reads an application: WebAssembly as it is, WebAssembly text or C built into it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import wasmtime

from agents.applications.compiler import DEFAULT_STACK, Built, compile_c
from agents.applications.sections import without_custom_sections
from agents.applications.wording import refused
from agents.errors import NoProgramme
from agents.handset.security_module.errors import ApplicationRefused

if TYPE_CHECKING:
    from pathlib import Path

WASM_MAGIC: Final = b"\0asm"
C_SUFFIX: Final = ".c"
MAX_FILE: Final = 16 << 20

_PLACE: Final = re.compile(r"<anon>:(\d+):(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """An application as a supplier loads it: WebAssembly, and its SHA-256 in hexadecimal."""

    code: bytes = field(repr=False)
    digest: str
    is_source: bool = False
    """Whether it was built from a source and not read as it is."""
    warnings: tuple[str, ...] = ()
    """What the compiler had to say nevertheless."""


def read_programme(path: Path, name: str = "", *, stack: int = DEFAULT_STACK) -> Programme:
    """Return the application in a file, which is *name* to the person; *stack* is for C alone.

    Raises NoProgramme with a sentence for each thing that is wrong.
    """
    name = name or str(path)
    octets = _read(path, name)
    is_source = not octets.startswith(WASM_MAGIC)
    if not is_source:
        built = Built(code=octets)
    elif path.suffix == C_SUFFIX:
        built = compile_c(path, name, stack=stack)
    else:
        built = Built(code=_from_text(octets, name))
    return Programme(
        code=built.code,
        digest=hashlib.sha256(built.code).hexdigest(),
        is_source=is_source,
        warnings=built.warnings,
    )


def _read(path: Path, name: str) -> bytes:
    try:
        # Not what only looks like a file: a device never ends, and a pipe may never begin.
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise NoProgramme([f"cannot read {name}: it is no file"])
        with path.open("rb") as file:
            octets = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:  # a ValueError is a name with an octet 0 in it
        why = getattr(error, "strerror", None) or str(error)
        raise NoProgramme([f"cannot read {name}: {why.lower()}"]) from None
    if len(octets) > MAX_FILE:
        raise NoProgramme([f"{name} is no application: it has more than {MAX_FILE} octets"])
    return octets


def _from_text(octets: bytes, name: str) -> bytes:
    """Return the programme of a WebAssembly text, without the names that the text has for things."""
    try:
        return without_custom_sections(bytes(wasmtime.wat2wasm(octets)))
    except wasmtime.WasmtimeError as error:
        raise NoProgramme([f"{name} is no WebAssembly: {_in_a_line(str(error))}"]) from None
    except ApplicationRefused as refusal:
        raise NoProgramme([refused(name, refusal)]) from None


def _in_a_line(error: str) -> str:
    """Return wasmtime's complaint about a text and its place; it draws a picture of the place below."""
    complaint = _PLACE.sub("", error.strip().partition("\n")[0]).strip().removesuffix(" at")[:200]
    place = _PLACE.search(error)
    return f"{complaint} at line {place[1]}, column {place[2]}" if place else complaint
