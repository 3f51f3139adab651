"""What a programme's octets must not look like, seen before any compiler works on them.

A function may declare fifty thousand locals in four octets, and compiling it costs milliseconds: eight
thousand octets of such functions keep a core busy for seconds. So locals and functions are counted first.
The walk reads section headers and local declarations only (WebAssembly core specification §5.5); all else
is for the validator.
"""

from __future__ import annotations

from typing import Final

from agents.handset.security_module.errors import ApplicationRefused

MAX_CODE_OCTETS: Final = 256 * 1024
MAX_FUNCTIONS: Final = 4096
MAX_LOCALS: Final = 8192

_MAGIC: Final = b"\0asm\x01\0\0\0"
_START_SECTION: Final = 8
_CODE_SECTION: Final = 10


def check_shape(code: bytes) -> None:
    """Raise ApplicationRefused unless this is a programme, not too large, not self-starting, not dear."""
    if len(code) > MAX_CODE_OCTETS:
        raise ApplicationRefused("code-too-large", f"{len(code)} octets of {MAX_CODE_OCTETS}")
    # Checked here because wasmtime would take octets that do not begin with a zero for WebAssembly text.
    if not code.startswith(_MAGIC):
        raise ApplicationRefused("not-webassembly")
    offset = len(_MAGIC)
    while offset < len(code):
        section = code[offset]
        length, offset = _leb128(code, offset + 1)
        if section == _START_SECTION:
            raise ApplicationRefused("start-function")
        if section == _CODE_SECTION:
            _check_bodies(code, offset)
        offset += length


def _check_bodies(code: bytes, offset: int) -> None:
    functions, offset = _leb128(code, offset)
    if functions > MAX_FUNCTIONS:
        raise ApplicationRefused("too-many-functions", f"{functions} of {MAX_FUNCTIONS}")
    total = 0
    for _ in range(functions):
        length, offset = _leb128(code, offset)
        groups, at = _leb128(code, offset)
        for _ in range(groups):
            count, at = _leb128(code, at)
            at += 1  # a value type, one octet without the proposals that are switched off
            total += count
            if total > MAX_LOCALS:
                raise ApplicationRefused("too-many-locals", f"more than {MAX_LOCALS}")
        offset += length


def _leb128(code: bytes, offset: int) -> tuple[int, int]:
    """Return an unsigned 32-bit LEB128 number and the offset behind it."""
    value = 0
    for index in range(5):
        if offset + index >= len(code):
            break
        octet = code[offset + index]
        value |= (octet & 0x7F) << 7 * index
        if octet < 0x80:
            return value, offset + index + 1
    raise ApplicationRefused("malformed", f"no number at {offset}")
