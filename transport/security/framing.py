"""Octet strings put side by side so that they come apart in one way only, and the names that go in them.

Everything that is hashed, signed or derived from goes through ``framed`` with a label of its own in front:
two different lists of fields never give the same octets, and a signature made for one purpose serves no
other.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FIELD: Final = 0xFFFF
NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def framed(label: str, *fields: bytes) -> bytes:
    """Return *label* and *fields*, each after its length in two octets; injective over lists of fields.

    Raises ValueError for a field longer than 65535 octets.
    """
    parts = [_labelled(label)]
    for field in fields:
        if len(field) > MAX_FIELD:
            raise ValueError(f"a field of {len(field)} octets is longer than {MAX_FIELD}")
        parts += (len(field).to_bytes(2, "big"), field)
    return b"".join(parts)


@lru_cache(maxsize=256)
def _labelled(label: str) -> bytes:
    # The labels are ours, and fewer than these; a handshake puts some thirty of them in front of something.
    return len(label).to_bytes(2, "big") + label.encode("ascii")


def cut(octets: bytes, lengths: Sequence[int]) -> tuple[bytes, ...] | None:
    """Cut *octets* into pieces of *lengths*, or return None when they do not add up exactly."""
    if len(octets) != sum(lengths):
        return None
    ends = accumulate(lengths)
    return tuple(octets[end - length : end] for end, length in zip(ends, lengths, strict=True))


def check_name(what: str, name: object) -> None:
    """Raise ValueError unless *name* is 1 to 64 letters, digits, dots, underscores or hyphens."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"{what} must be 1 to 64 of A-Z a-z 0-9 . _ -")
