"""What a side brings to prove who it is and to know the other by, and which form wants what of whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from transport.security.domain_key import Kind
from transport.security.terms import (
    AGREE_THEN_SIGN,
    DOMAIN_ASYMMETRIC,
    DOMAIN_SYMMETRIC,
    INITIATOR,
    KEY_TRANSPORT,
    RESPONDER,
    SIGN_THEN_AGREE,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transport.security.domain_key import DomainKey
    from transport.security.suites import SealingKey, SigningKey
    from transport.security.terms import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """All that a side has; a form takes what it needs of it and leaves the rest alone.

    The peer's public keys are those of DEF (the supplier's) or of the activation (the module's), never
    anything that came in a handshake.
    """

    signing_key: SigningKey | None = field(default=None, repr=False)
    sealing_key: SealingKey | None = field(default=None, repr=False)
    peer_signing_public: bytes = b""
    peer_sealing_public: bytes = b""
    domain_key: DomainKey | None = field(default=None, repr=False)


_SIGNING: Final = ("signing_key", "peer_signing_public")
_BOTH_SIGN: Final = MappingProxyType({INITIATOR: _SIGNING, RESPONDER: _SIGNING})
_SEALING: Final = (*_SIGNING, "sealing_key", "peer_sealing_public")
_DOMAIN: Final = MappingProxyType(
    {INITIATOR: ("domain_key", "peer_signing_public"), RESPONDER: ("signing_key", "domain_key")}
)
NEEDS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = MappingProxyType(
    {
        AGREE_THEN_SIGN: _BOTH_SIGN,
        KEY_TRANSPORT: MappingProxyType({INITIATOR: _SEALING, RESPONDER: _SEALING}),
        SIGN_THEN_AGREE: _BOTH_SIGN,
        DOMAIN_SYMMETRIC: _DOMAIN,
        DOMAIN_ASYMMETRIC: _DOMAIN,
    }
)
"""The fields of Credentials that each form wants of each role."""
_KINDS: Final[Mapping[tuple[str, str], frozenset[Kind]]] = MappingProxyType(
    {
        (DOMAIN_SYMMETRIC, INITIATOR): frozenset({Kind.SYMMETRIC}),
        (DOMAIN_SYMMETRIC, RESPONDER): frozenset({Kind.SYMMETRIC}),
        (DOMAIN_ASYMMETRIC, INITIATOR): frozenset({Kind.PAIR}),
        (DOMAIN_ASYMMETRIC, RESPONDER): frozenset({Kind.PAIR, Kind.PUBLIC_HALF}),
    }
)


def check_credentials(terms: Terms, role: str, credentials: Credentials) -> None:
    """Raise ValueError, naming what is wrong, unless *role* can play its part of the terms' form with them.

    Each side's keys, to sign and to open with, are of the one suite that the terms give it.
    """
    needs = NEEDS[terms.form][role]
    lacking = [name.replace("_", " ") for name in needs if not getattr(credentials, name)]
    if lacking:
        raise ValueError(f"form {terms.form} lacks of its {role}: {', '.join(lacking)}")
    own_suite = terms.signing_suite(role)
    for name in ("signing_key", "sealing_key"):
        if name in needs and (made := getattr(credentials, name).suite) != own_suite:
            what = f"a {name.replace('_', ' ')} of suite {made}"
            raise ValueError(f"{what} in a handshake whose {role} has keys of {own_suite}")
    key = credentials.domain_key if "domain_key" in needs else None
    if key is not None and key.kind not in (kinds := _KINDS[terms.form, role]):
        names = " or ".join(sorted(kind.name.lower().replace("_", " ") for kind in kinds))
        raise ValueError(f"form {terms.form} wants of its {role} a domain key that is: {names}")
