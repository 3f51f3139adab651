"""Seeded randomness and the published vectors, for the tests of transport/security."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transport.security.suites import Rng

VECTORS = tomllib.loads((Path(__file__).parent / "vectors" / "security.toml").read_text(encoding="utf-8"))


def seeded(seed: int) -> Rng:
    """Return a random source that gives the same octets for the same seed."""
    return random.Random(seed).randbytes


def vectors(kind: str) -> list[dict[str, str]]:
    """Return the published vectors of *kind*."""
    found: list[dict[str, str]] = VECTORS[kind]
    return found


def name_of(vector: object) -> str:
    """Return what pytest calls a case: a vector by its id, anything else by itself."""
    return str(vector["id"]) if isinstance(vector, dict) else str(vector)


def flipped(octets: bytes, at: int) -> bytes:
    """Return *octets* with one bit altered in the octet *at*."""
    return octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :]
