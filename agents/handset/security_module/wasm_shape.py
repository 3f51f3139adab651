"""What a programme's octets must not look like, seen before anything else looks at them.

What can be declared in a few octets and costs an instance or a compiler far more is counted, as a table of a
million elements is, of which there could be a hundred. The walk reads the headers of sections and how many
things each declares (WebAssembly core specification §5.5); all else is for the validator. What a valid
programme costs to compile is for ``wasm_cost``.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agents.handset.security_module.errors import ApplicationRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_CODE_OCTETS: Final = 256 * 1024
MAX_FUNCTIONS: Final = 4096

TYPE_SECTION: Final = 1
FUNCTION_SECTION: Final = 3
START_SECTION: Final = 8
ELEMENT_SECTION: Final = 9
CODE_SECTION: Final = 10

MAX_PARTS: Final[Mapping[int, tuple[int, str]]] = MappingProxyType(
    {
        TYPE_SECTION: (1024, "types"),
        2: (64, "imports"),
        4: (1, "tables"),
        6: (1024, "globals"),
        7: (64, "exports"),
        ELEMENT_SECTION: (256, "element segments"),
        11: (256, "data segments"),
    }
)
"""By the number of a section: how many things it may declare, and what they are."""

_MAGIC: Final = b"\0asm\x01\0\0\0"


def check_shape(code: bytes) -> None:
    """Raise ApplicationRefused unless this may be a programme: not too large, not self-starting."""
    if len(code) > MAX_CODE_OCTETS:
        raise ApplicationRefused("code-too-large", f"{len(code)} octets of {MAX_CODE_OCTETS}")
    # Checked here because wasmtime would take octets that do not begin with a zero for WebAssembly text.
    if not code.startswith(_MAGIC):
        raise ApplicationRefused("not-webassembly")
    for section, offset, _ in sections(code):
        if section == START_SECTION:
            raise ApplicationRefused("start-function")
        if section in MAX_PARTS:
            most, parts = MAX_PARTS[section]
            if (count := leb128(code, offset)[0]) > most:
                raise ApplicationRefused("too-many-parts", f"{count} {parts} of {most}")
        if section == CODE_SECTION and (count := leb128(code, offset)[0]) > MAX_FUNCTIONS:
            raise ApplicationRefused("too-many-functions", f"{count} of {MAX_FUNCTIONS}")


def sections(code: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each section, and where its content begins and ends; raise ApplicationRefused."""
    offset = len(_MAGIC)
    while offset < len(code):
        section = code[offset]
        length, offset = leb128(code, offset + 1)
        yield section, offset, offset + length
        offset += length


def leb128(code: bytes, offset: int) -> tuple[int, int]:
    """Return an unsigned 32-bit LEB128 number and the offset behind it; raise ApplicationRefused."""
    value = 0
    for index in range(5):
        if offset + index >= len(code):
            break
        octet = code[offset + index]
        value |= (octet & 0x7F) << 7 * index
        if octet < 0x80:
            return value, offset + index + 1
    raise ApplicationRefused("malformed", f"no number at {offset}")
