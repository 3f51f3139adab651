"""A supplier that takes other keys: its generations, and the command by which its operator tells a module."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from agents.handset.security_module.profile import STANDARD
from agents.identity import RoleKeys
from agents.messages.air import ChangeSupplierKey, Prove
from agents.messages.codec import encode
from agents.supplier_keys import endorsed
from tests.agents.module_kit import TAR, UA, Market, Supplier, manage
from transport.secured_packet import ResponseStatus
from transport.security.certificates import Role
from transport.security.handshake import Credentials, responder
from transport.security.suites import SUITES
from transport.security.terms import AGREE_THEN_SIGN, KEY_TRANSPORT, Terms

if TYPE_CHECKING:
    from transport.security.handshake import Side

EVERY: Final = replace(STANDARD, suites=list(SUITES), buffer=16_384)
MEMORY: Final = 192 * 1024


@cache
def generation(suite: str, number: int, name: str = "bank") -> RoleKeys:
    """Return a supplier's keys of one generation; those of RSA take a while to make."""
    rng = random.Random(f"{name}/{suite}/{number}").randbytes
    return RoleKeys.make(name=name, role=Role.SUPPLIER, suite=suite, rng=rng)


def sealing_of(keys: RoleKeys, form: str) -> bytes:
    """Return what a module is told of a key to seal to, for *form*."""
    return keys.sealing.public if form == KEY_TRANSPORT else b""


def change(
    former: RoleKeys, new: RoleKeys, *, form: str = AGREE_THEN_SIGN, tar: bytes = TAR, **changes: Any
) -> ChangeSupplierKey:
    """Return the command that has a module go by *new*, with the word of *former*, but for *changes*."""
    said = endorsed(former, new, tar=tar, forms=[form])
    values: dict[str, Any] = {
        "tar": tar,
        "former_public": former.signing.public,
        "supplier_public": new.signing.public,
        "supplier_sealing": sealing_of(new, form),
        "endorsement": said.endorsement,
    }
    return ChangeSupplierKey(**(values | changes))


def market_of(
    suite: str = "p256", form: str = AGREE_THEN_SIGN, *, module_suite: str = "x25519", **terms: Any
) -> Market:
    """Return a module with a resource of a supplier's first generation, reserved for *form*."""
    market = Market(module_suite=module_suite, size=MEMORY, module_profile=EVERY)
    first = generation(suite, 0)
    market.supplier = Supplier(suite="x25519")
    market.supplier.suite, market.supplier.key = suite, first.signing
    market.personalise()
    return market.reserve(forms=[form], supplier_sealing=sealing_of(first, form), **terms)


def side_of(market: Market, keys: RoleKeys, form: str = AGREE_THEN_SIGN) -> Side:
    """Return a supplier's side of a connection, with these keys."""
    terms = Terms(
        suite=keys.suite,
        form=form,
        initiator=UA.encode(),
        responder=keys.name.encode(),
        tar=TAR,
        initiator_suite=market.module_suite,
        responder_suite=keys.suite,
    )
    credentials = Credentials(
        signing_key=keys.signing,
        sealing_key=keys.sealing,
        peer_signing_public=market.public,
        peer_sealing_public=market.sealing_public,
    )
    return responder(terms, credentials, random.Random(7).randbytes)


def connect(market: Market, keys: RoleKeys, form: str = AGREE_THEN_SIGN) -> Market:
    """Have the supplier make a session with these keys."""
    side = side_of(market, keys, form)
    said = side.receive(market.call().opening)
    while said is not None:
        replied = manage(market.card, encode(Prove(tar=TAR, proof=said)))
        assert replied.status is ResponseStatus.POR_OK, market.card.reasons
        said = side.receive(replied.data)
    market.supplier.keys, market.supplier.counter = side.keys, 0
    return market
