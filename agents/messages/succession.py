"""What a supplier signs when it takes another key: that the one after *former* is this one, for one resource.

The operator tells a module of a supplier's new key, but must not choose it: with a key of its own it would be
the supplier. So the module takes a key only by the word of the one that it goes by.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgpack

from transport.security.terms import KEY_TRANSPORT

if TYPE_CHECKING:
    from collections.abc import Container

_CONTEXT: Final = b"otafleet supplier key succession v1"


def key_digest(public: bytes) -> bytes:
    """Return what a supplier's key is known by: the SHA-256 of the public key to sign with."""
    return hashlib.sha256(public).digest()


def sealing_for(forms: Container[str], sealing: bytes) -> bytes:
    """Return what of a supplier's key to seal to a module is told: all, if a form needs it, or nothing."""
    return sealing if KEY_TRANSPORT in forms else b""


def succession_statement(*, supplier: str, tar: bytes, former: bytes, public: bytes, sealing: bytes) -> bytes:
    """Return what is signed with the key *former*: *public* and *sealing* come after it."""
    # msgpack's own lengths keep the parts apart: no two different tuples give the same octets.
    packed: bytes = msgpack.packb([_CONTEXT, supplier, tar, former, public, sealing])
    return packed
