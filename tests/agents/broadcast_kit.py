"""A market whose module holds a global service, campaigns of its supplier, and the module that hears them."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from agents.messages.bearers import GLOBAL_SERVICES
from tests.agents.module_kit import UA
from transport.diffusion import Campaign, Coding, DataPart, Domain, Scheme
from transport.security.domain_key import generate_symmetric, wrap
from transport.security.terms import AGREE_THEN_SIGN
from transport.toolkit import Envelope
from transport.toolkit.tags import Tag

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agents.messages.air import Reserve
    from tests.agents.module_kit import Market
    from transport.cell_broadcast import Page
    from transport.security.domain_key import DomainKey

NAME: Final = "points"
IDENTIFIER: Final = GLOBAL_SERVICES[0]
KEY: Final = generate_symmetric(random.Random(61).randbytes)
PLAIN: Final = Coding(scheme=Scheme.PLAIN, pages=3, repair=0.0)


def reservation(market: Market, key: DomainKey = KEY, **changes: Any) -> Reserve:
    """Return the reservation of a global service in the module."""
    supplier = market.supplier
    tar = changes.get("tar", supplier.tar)
    wrapped = wrap(
        key,
        sealing_public=market.sealing_public,
        sealing_suite=market.module_suite,
        ua=UA.encode(),
        tar=tar,
        logic_name=changes.get("logic_name", NAME).encode(),
        ticket=market.ticket,
    )
    values: dict[str, Any] = {
        "forms": [AGREE_THEN_SIGN],
        "logic_name": NAME,
        "domain_key": wrapped,
        "message_identifier": IDENTIFIER,
        "code_size": 2048,
    }
    return supplier.reserve(**(values | changes))


def campaign(
    market: Market,
    programme: bytes,
    *,
    version: int = 1,
    number: int = 1,
    data_part: DataPart = DataPart.KEEP,
    report_share: int = 0,
    report_within_s: int = 0,
    **changes: Any,
) -> Campaign:
    """Return a campaign of the supplier's, in the module's domain but for *changes*."""
    supplier = market.supplier
    values: dict[str, Any] = {
        "tar": supplier.tar,
        "logic_name": NAME.encode(),
        "supplier": supplier.name.encode(),
        "supplier_suite": supplier.suite,
        "supplier_public": supplier.key.public,
        "domain_key": KEY,
    }
    return Campaign(
        Domain(**(values | changes)),
        programme,
        number=number,
        version=version,
        signing_key=supplier.key,
        data_part=data_part,
        coding=PLAIN,
        report_share=report_share,
        report_within_s=report_within_s,
    )


def pages(made: Campaign, identifier: int = IDENTIFIER, *, update: int | None = None) -> list[Page]:
    """Return the pages of one cycle; with another *update* number a module takes them for new."""
    cycle = [page for packet in made.cycle for page in made.pages_of(packet, identifier)]
    if update is None:
        return cycle
    return [replace(page, serial=replace(page.serial, update=update)) for page in cycle]


def hear(market: Market, heard: Iterable[Page]) -> list[str]:
    """Have the module hear pages, and serve what it asks for then; return the reasons that it noted."""
    before = len(market.card.reasons)
    for page in heard:
        response = market.card.envelope(Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=page.encode()))
        assert response.data == b""
        assert response.is_good
        market.card.serve(response)
    return market.card.reasons[before:]
