"""Seeded randomness, keys and the published vectors, for the tests of transport/security."""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING

from tests.transport.vectors import load
from transport.security.suites import suite

if TYPE_CHECKING:
    from transport.security.suites import Rng, SealingKey, SigningKey

VECTORS = load("security") | load("suites")
_EVERY_OCTET = 100


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


def places(octets: bytes) -> range:
    """Return where to alter *octets*: everywhere, or in some fifty places when they are long."""
    return range(0, len(octets), 1 if len(octets) <= _EVERY_OCTET else len(octets) // 50)


@cache
def signing_key(kind: str, seed: int = 1) -> SigningKey:
    """Return a signing key of suite *kind*, made once: RSA takes its time."""
    return suite(kind).generate_signing_key(seeded(seed))


@cache
def sealing_key(kind: str, seed: int = 1) -> SealingKey:
    """Return a sealing key of suite *kind*, made once."""
    return suite(kind).generate_sealing_key(seeded(seed + 100))
