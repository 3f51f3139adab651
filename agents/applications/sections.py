"""Takes custom sections out of a programme (WebAssembly core specification §5.5): names, producers, features.

They are for debuggers and linkers. No module reads them, yet each octet would go over the air and take room
in the resource: the names of a small application are a quarter of it.
"""

from __future__ import annotations

from typing import Final

from agents.handset.security_module.errors import ApplicationRefused

HEADER: Final = b"\0asm\x01\0\0\0"
_CUSTOM: Final = 0
_MAX_NUMBER_OCTETS: Final = 5


def without_custom_sections(code: bytes) -> bytes:
    """Return *code* without its custom sections; raise ApplicationRefused when its sections do not add up."""
    if not code.startswith(HEADER):
        raise ApplicationRefused("not-webassembly")
    kept = [HEADER]
    offset = len(HEADER)
    while offset < len(code):
        start = offset
        length, offset = _number(code, offset + 1)
        offset += length
        if offset > len(code):
            raise ApplicationRefused("malformed", f"the section at {start} has no end")
        if code[start] != _CUSTOM:
            kept.append(code[start:offset])
    return b"".join(kept)


def _number(code: bytes, offset: int) -> tuple[int, int]:
    """Return an unsigned LEB128 number of at most 32 bits and the offset behind it (§5.2.2)."""
    value = 0
    for index, octet in enumerate(code[offset : offset + _MAX_NUMBER_OCTETS]):
        value |= (octet & 0x7F) << 7 * index
        if octet < 0x80:
            return value, offset + index + 1
    raise ApplicationRefused("malformed", f"no number at {offset}")
