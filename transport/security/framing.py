"""Octet strings put side by side so that they come apart in one way only, and the names that go in them.

Everything that is hashed, signed or derived from goes through ``framed`` with a label of its own in front:
two different lists of fields never give the same octets, and a signature made for one purpose serves no
other.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FIELD: Final = 0xFFFF
NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def framed(label: str, *fields: bytes) -> bytes:
    """Return *label* and *fields*, each after its length in two octets; injective over lists of fields.

    Raises ValueError for a field longer than 65535 octets.
    """
    octets = _labelled(label)
    for field in fields:
        length = len(field)
        if length > MAX_FIELD:
            raise ValueError(f"a field of {length} octets is longer than {MAX_FIELD}")
        octets += length.to_bytes(2, "big") + field  # few and short, as they are: to join a list takes longer
    return octets


@lru_cache(maxsize=256)
def _labelled(label: str) -> bytes:
    # The labels are ours, and fewer than these; a handshake puts some thirty of them in front of something.
    return len(label).to_bytes(2, "big") + label.encode("ascii")


def cut(octets: bytes, lengths: Sequence[int]) -> tuple[bytes, ...] | None:
    """Cut *octets* into pieces of *lengths*, or return None when they do not add up exactly."""
    pieces, at = [], 0
    for length in lengths:
        pieces.append(octets[at : at + length])
        at += length
    return tuple(pieces) if at == len(octets) else None


def check_name(what: str, name: object) -> None:
    """Raise ValueError unless *name* is 1 to 64 letters, digits, dots, underscores or hyphens."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"{what} must be 1 to 64 of A-Z a-z 0-9 . _ -")
