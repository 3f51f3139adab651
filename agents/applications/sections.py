"""Takes custom sections out of a programme (WebAssembly core specification §5.5): names, producers, features.

They are for debuggers and linkers. No module reads them, yet each octet would go over the air and take room
in the resource: the names of a small application are a quarter of it.
"""

from __future__ import annotations

from typing import Final

from agents.handset.security_module.errors import ApplicationRefused
from agents.handset.security_module.wasm_shape import sections

HEADER: Final = b"\0asm\x01\0\0\0"
_CUSTOM: Final = 0


def without_custom_sections(code: bytes) -> bytes:
    """Return *code* without its custom sections; raise ApplicationRefused when its sections do not add up."""
    if not code.startswith(HEADER):
        raise ApplicationRefused("not-webassembly")
    kept = [HEADER]
    start = len(HEADER)
    for section, _, end in sections(code):
        if end > len(code):
            raise ApplicationRefused("malformed", f"the section at {start} has no end")
        if section != _CUSTOM:
            kept.append(code[start:end])
        start = end
    return b"".join(kept)
