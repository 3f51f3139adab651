"""A supplier that renews the domain key of a module's global service, and whoever would like to be it."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from agents import domains
from agents.messages.air import Prove
from agents.messages.bearers import GLOBAL_SERVICES
from agents.messages.codec import encode
from tests.agents.module_kit import UA, Market, manage
from transport.apdu import SW_OK
from transport.cell_broadcast import GeographicScope, SerialNumber, split
from transport.diffusion import (
    Campaign,
    Coding,
    Domain,
    Scheme,
    make_notice,
    make_renewal,
    renewal_keys,
    renewal_mark,
)
from transport.secured_packet import CELL_BROADCAST, decode_command
from transport.security.domain_key import DomainKey, wrap
from transport.security.handshake import Credentials, responder
from transport.security.suites import SUITES
from transport.security.terms import DOMAIN_SYMMETRIC, Terms
from transport.toolkit import Envelope
from transport.toolkit.tags import Tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agents.messages.air import Call, DomainCall
    from transport.security.suites import SealingKey, SigningKey

NAME: Final = "points"
IDENTIFIER: Final = GLOBAL_SERVICES[0]
OTHER: Final = "8988211000000000019"
"""Another module of the domain."""
PLAIN: Final = Coding(scheme=Scheme.PLAIN, pages=3, repair=0.0)


@cache
def key(generation: int = 1, form: str = DOMAIN_SYMMETRIC, suite: str = "p256", seed: int = 0) -> DomainKey:
    """Return one generation of the domain key."""
    rng = random.Random(f"{generation}/{form}/{suite}/{seed}").randbytes
    return domains.new_key([form], suite, rng, generation=generation)


@cache
def sealing(ua: str) -> SealingKey:
    """Return the sealing key of a module: of the market's own one too."""
    return SUITES["x25519"].generate_sealing_key(random.Random(ua).randbytes)


def wrapped(market: Market, new: DomainKey, ua: str = UA, **changes: Any) -> bytes:
    """Return *new* as the supplier wraps it to a module, but for *changes*."""
    values: dict[str, Any] = {
        "sealing_public": sealing(ua).public,
        "sealing_suite": market.module_suite,
        "ua": ua.encode(),
        "tar": market.supplier.tar,
        "logic_name": NAME.encode(),
    }
    return wrap(new, **(values | changes))


def domain(market: Market, current: DomainKey, **changes: Any) -> Domain:
    """Return the domain of *market*'s supplier under *current*, but for *changes*."""
    supplier = market.supplier
    values: dict[str, Any] = {
        "tar": supplier.tar,
        "logic_name": NAME.encode(),
        "supplier": supplier.name.encode(),
        "supplier_suite": supplier.suite,
        "supplier_public": supplier.key.public,
        "domain_key": current,
    }
    return Domain(**(values | changes))


def reserved(form: str = DOMAIN_SYMMETRIC, first: DomainKey | None = None) -> Market:
    """Return a market whose module holds the global service, proven by *form*."""
    market = Market()
    signing = SUITES[market.module_suite].generate_signing_key(random.Random(1).randbytes)
    market.personalise(private=signing.private, sealing_private=sealing(UA).private)
    market.supplier.logic_name = NAME
    first = first or key(1, form, market.supplier.suite)
    reservation = market.supplier.reserve(
        forms=[form],
        logic_name=NAME,
        domain_key=wrapped(market, first, ticket=market.ticket),
        message_identifier=IDENTIFIER,
        code_size=2048,
    )
    assert market.command(reservation).reason == ""
    return market


def renewal(
    market: Market,
    former: DomainKey,
    new: DomainKey,
    wraps: Mapping[str, bytes] | None = None,
    *,
    signer: SigningKey | None = None,
    **changes: Any,
) -> list[bytes]:
    """Return the packets that bring *new* to the module and to another one, or what *wraps* say."""
    of = domain(market, former, **changes)
    wraps = wraps if wraps is not None else {ua: wrapped(market, new, ua) for ua in (UA, OTHER)}
    if signer is not None:
        of = replace(of, supplier_suite=signer.suite, supplier_public=signer.public)
    octets = {ua.encode(): each for ua, each in wraps.items()}
    made = make_renewal(of, new.generation, octets, signer or market.supplier.key)
    return [packet.octets for packet in made]


def notice(market: Market, former: DomainKey, new: DomainKey) -> bytes:
    """Return the packet that says that *new* took the place of *former*."""
    return make_notice(domain(market, new), former.generation, market.supplier.key).octets


def entry(packet: bytes, of: Domain, ua: str, generation: int) -> bytes:
    """Return the wrapped key that a renewal has for module *ua*, as whoever knows the domain key reads it."""
    body = decode_command(packet, renewal_keys(of), CELL_BROADCAST).data
    at = body.index(renewal_mark(ua.encode(), generation)) + 8
    return body[at + 2 : at + 2 + int.from_bytes(body[at : at + 2], "big")]


def campaign(market: Market, current: DomainKey, programme: bytes, **changes: Any) -> Campaign:
    """Return a campaign under *current*."""
    values: dict[str, Any] = {"number": 1, "version": 1, "coding": PLAIN}
    of = domain(market, current)
    return Campaign(of, programme, signing_key=market.supplier.key, **(values | changes))


def hear(
    market: Market, packets: Iterable[bytes], identifier: int = IDENTIFIER, update: int = 0
) -> list[str]:
    """Have the module hear *packets*; return what it noted: the names, or the reasons of its refusals."""
    before = len(market.card.notes)
    for code, packet in enumerate(packets):
        serial = SerialNumber(scope=GeographicScope.PLMN, code=code % 1024, update=update)
        for page in split(packet, serial, identifier):
            response = market.card.envelope(Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=page.encode()))
            assert (response.status, response.data) == (SW_OK, b"")
    return [note.reason or note.name for note in market.card.notes[before:]]


def held(market: Market) -> DomainKey:
    """Return the domain key that stands in DEF."""
    return DomainKey.load(market.card.definition().domain_key)


def connect(market: Market, current: DomainKey, form: str = DOMAIN_SYMMETRIC) -> Call | DomainCall:
    """Have the module call its supplier, who goes by *current*, and prove itself; return the call."""
    call = market.call()
    answer(market, call, current, form)
    return call


def answer(market: Market, call: Call | DomainCall, current: DomainKey, form: str = DOMAIN_SYMMETRIC) -> None:
    """Answer *call* as the supplier does who goes by *current*; the supplier has the session then."""
    supplier = market.supplier
    terms = Terms(
        suite=supplier.suite,
        form=form,
        initiator=UA.encode(),
        responder=supplier.name.encode(),
        tar=supplier.tar,
        initiator_suite=market.module_suite,
        responder_suite=supplier.suite,
        protection=supplier.protection,
        logic_name=NAME.encode(),
    )
    credentials = Credentials(
        signing_key=supplier.key,
        peer_signing_public=market.public,
        domain_key=domains.for_supplier(current),
    )
    side = responder(terms, credentials, random.Random(call.opening).randbytes)
    proof = side.receive(call.opening)
    assert proof is not None
    side.receive(manage(market.card, encode(Prove(tar=supplier.tar, proof=proof))).data)
    supplier.keys, supplier.counter = side.keys, 0
