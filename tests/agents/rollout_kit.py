"""A supplier whose global service is broadcast over slow pages, for tests of its campaigns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from agents.handset.security_module.rights import rights_mask
from agents.offers import Version
from tests.agents.role_kit import FILLING, Kit, offer, programme
from tests.agents.slow_kit import CELL, Slow
from transport.security.terms import DOMAIN_SYMMETRIC

if TYPE_CHECKING:
    from agents.offers import Offer

READY: Final = ("personalise", "subscribe", "reserve", "activate")


def global_offer(name: str, filling: bytes) -> Offer:
    """Return a global service with two versions more; its programme is longer by *filling*."""
    code = programme("loyalty") + filling
    terms: dict[str, Any] = {
        "forms": (DOMAIN_SYMMETRIC,),
        "logic_name": f"{name}-points",
        "custody": "supplier",
        "code_size": 8192,
        "rights": rights_mask(()),
        "updates": (Version(number=2, code=code + b"\0\1\0"), Version(number=3, code=code + b"\0\1\1")),
    }
    return replace(offer(name, backend="none", code=code, data_size=64), **terms)


async def opened(kit: Kit, *services: str, filling: bytes = FILLING) -> Slow:
    """Open a market with slow pages; nothing is agreed yet."""
    slow = Slow(kit, lambda service: {CELL: 1} if service == "silent" else {})
    kit.offers["bank"] = [global_offer(name, filling) for name in ("silent", *services)]
    await kit.start("root", "factory", "mno", "bank")
    return slow


async def market(kit: Kit, *services: str, filling: bytes = FILLING) -> Slow:
    """Open a market with slow pages, in which the service, and others, are agreed."""
    slow = await opened(kit, *services, filling=filling)
    await kit.agree("silent", *services)
    return slow
