"""Where keys and nonces come from: the system, or for a seeded fleet a stream that repeats.

A config with ``fleet.seed`` makes the same keys in every fresh run, which is what teaching and debugging want
and what nobody must use for anything real: who knows the seed knows every key. The label says whose stream it
is and carries the number of the launch, so that a fleet that resumes never draws the same nonce twice.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from transport.security.suites import Rng


_SEED_OCTETS: Final = 32


def make_rng(seed: int | None, label: str) -> Rng:
    """Return a function that gives *n* random octets: seeded by (*seed*, *label*), or the system's own."""
    if seed is None:
        return secrets.token_bytes
    state = hashlib.sha256(f"otafleet/{seed}/{label}".encode()).digest()
    drawn = 0

    def draw(count: int) -> bytes:
        nonlocal drawn
        drawn += 1
        return hashlib.shake_256(state + drawn.to_bytes(8, "big")).digest(count)

    return draw


def branch(rng: Rng, label: str) -> Rng:
    """Return randomness of its own for a thread, which must not draw from *rng* beside others."""
    return make_rng(int.from_bytes(rng(_SEED_OCTETS), "big"), label)
