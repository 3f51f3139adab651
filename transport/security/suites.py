"""The suites there are, by name and by their octet on the wire."""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from transport.security.suite_base import AgreementKey, Rng, SealingKey, SigningKey, Suite
from transport.security.suite_p256 import P256Suite
from transport.security.suite_pq_hybrid import PqHybridSuite
from transport.security.suite_rsa_ffdh import Rsa2048FfdhSuite, Rsa3072FfdhSuite
from transport.security.suite_x25519 import X25519Suite

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ALL_SUITES",
    "SUITES",
    "AgreementKey",
    "Rng",
    "SealingKey",
    "SigningKey",
    "Suite",
    "suite",
    "suite_by_id",
    "suite_for",
]

ALL_SUITES: Final[Mapping[str, Suite]] = MappingProxyType(
    {
        one.name: one
        for one in (X25519Suite(), P256Suite(), Rsa3072FfdhSuite(), Rsa2048FfdhSuite(), PqHybridSuite())
    }
)
SUITES: Final[Mapping[str, Suite]] = ALL_SUITES
_BY_ID: Final[Mapping[int, Suite]] = MappingProxyType({one.wire_id: one for one in ALL_SUITES.values()})
_REMEMBERED: Final = 64  # groups that fleets gave


def suite(name: str) -> Suite:
    """Return the suite of that name; ValueError, naming those there are, for another."""
    try:
        return ALL_SUITES[name]
    except KeyError:
        raise ValueError(f"no suite is called {name!r}; there are {', '.join(ALL_SUITES)}") from None


def suite_by_id(wire_id: int) -> Suite | None:
    """Return the suite of that octet on the wire, or None."""
    return _BY_ID.get(wire_id)


@lru_cache(maxsize=_REMEMBERED)
def suite_for(name: str, base: bytes = b"", modulus: bytes = b"") -> Suite:
    """Return the suite of that name, with Diffie-Hellman over b and M, big-endian, unless both are empty.

    Raises ValueError for an unknown name; ParametersRejected as ``Suite.with_parameters``, which says what a
    first call costs. Always the same object for the same parameters, as long as it is among the latest.
    """
    return suite(name).with_parameters(base, modulus) if base or modulus else suite(name)
