"""The suites there are, by name and by their octet on the wire."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from transport.security.suite_base import AgreementKey, Rng, SealingKey, SigningKey, Suite
from transport.security.suite_p256 import P256Suite
from transport.security.suite_x25519 import X25519Suite

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SUITES", "AgreementKey", "Rng", "SealingKey", "SigningKey", "Suite", "suite", "suite_by_id"]

SUITES: Final[Mapping[str, Suite]] = MappingProxyType({one.name: one for one in (X25519Suite(), P256Suite())})
_BY_ID: Final[Mapping[int, Suite]] = MappingProxyType({one.wire_id: one for one in SUITES.values()})


def suite(name: str) -> Suite:
    """Return the suite of that name; ValueError, naming those there are, for another."""
    try:
        return SUITES[name]
    except KeyError:
        raise ValueError(f"no suite is called {name!r}; there are {', '.join(SUITES)}") from None


def suite_by_id(wire_id: int) -> Suite | None:
    """Return the suite of that octet on the wire, or None."""
    return _BY_ID.get(wire_id)
