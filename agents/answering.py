"""A supplier's side of a new secure connection: of its keys, and of what the operator told it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from transport.security.domain_key import DomainKey, Kind
from transport.security.handshake import Credentials, responder
from transport.security.terms import Terms

if TYPE_CHECKING:
    from agents.identity import RoleKeys
    from agents.offers import Offer
    from agents.store.registry import Row
    from transport.security.handshake import Side
    from transport.security.suites import Rng

_REMEMBERED: Final = 64


def answering(offer: Offer, keys: RoleKeys, resource: Row, domain_key: bytes, rng: Rng) -> Side:
    """Return our side of a new connection, in the form that the reservation of *resource* put first.

    *domain_key* is a global service's, as it was dumped, and empty for another. Of a pair the supplier needs
    the public half alone, also where it made the pair itself.
    """
    terms = Terms(
        protection=offer.protection,
        suite=keys.suite,
        form=offer.forms[0],
        initiator=resource["ua"].encode(),
        responder=keys.name.encode(),
        tar=resource["tar"],
        initiator_suite=resource["module_suite"],
        responder_suite=keys.suite,
        dh_base=offer.dh_base,
        dh_modulus=offer.dh_modulus,
        logic_name=offer.logic_name.encode(),
    )
    credentials = Credentials(
        signing_key=keys.signing,
        sealing_key=keys.sealing,
        peer_signing_public=resource["module_public"],
        peer_sealing_public=resource["module_sealing"],
        domain_key=_held(domain_key) if domain_key else None,
    )
    return responder(terms, credentials, rng)


@lru_cache(maxsize=_REMEMBERED)
def _held(octets: bytes) -> DomainKey:
    """Return what a supplier uses of a domain key; to load a pair of RSA takes as long as all else."""
    key = DomainKey.load(octets)
    return key.public_half() if key.kind is Kind.PAIR else key
