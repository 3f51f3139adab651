"""SHA-256 of programmes, worked out once for all modules of a process that load, hold or run the same one."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

_PROGRAMMES: Final = 16


@lru_cache(maxsize=_PROGRAMMES)
def digest_of(programme: bytes) -> bytes:
    """Return the SHA-256 of a programme, which is found again by all its octets."""
    return hashlib.sha256(programme).digest()
