"""A supplier's campaigns: one broadcast that loads an application in every module of a domain (GLOBAL).

A campaign is one version of a service's application, signed by the supplier's newest key for the service, and
protected under its domain key; ``transport.diffusion`` makes the packets. Its number counts up under a domain
key and is stored with the signature before anything is broadcast: given again, the order gives the very same
packets, so that what modules have collected by then stays of use. Their pages have another update number, so
that a module that has the programme hears them again, and its handset tells so.

Versions only rise. The newest is stored with the campaign, programme and all: whoever is served from then on
is given what the broadcast brought the others.

Nobody answers a broadcast; who is asked to reports afterwards (``module_reports``). A module that knows the
supplier by an older key than the newest takes nothing, nor does one that was off. Both are served when they
call.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agents.airings import Airing, Airings
from agents.errors import Refusal
from agents.offers import Version
from agents.store.registry import Registry
from agents.store.tables import CAMPAIGNS
from transport.cell_broadcast import GeographicScope, Schedule
from transport.cell_broadcast.serial_number import MAX_UPDATE
from transport.diffusion import Campaign, Coding, DataPart, Domain, Scheme
from transport.security.domain_key import DomainKey, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agents.identity import RoleKeys
    from agents.module_reports import Reporting
    from agents.offers import Offer
    from agents.role import Desk
    from agents.store.group_commit import GroupCommit
    from agents.store.registry import Row
    from bus.bearers.cell_broadcast import CellBroadcaster
    from bus.frame import TraceContext

_ONCE: Final = Schedule(period=1, count=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aerial:
    """What a supplier broadcasts with: cells by group of subscribers; how often a campaign is repeated."""

    broadcaster: CellBroadcaster
    cells: Mapping[str, tuple[str, ...]]
    repetitions: int


class Diffuser:
    """One supplier's campaigns."""

    def __init__(self, desk: Desk, store: GroupCommit, aerial: Aerial | None) -> None:
        self._desk = desk
        self._aerial = aerial
        self.airings = Airings()
        self._campaigns = Registry(store, CAMPAIGNS)

    async def load(self) -> None:
        """Read what the store holds."""
        await self._campaigns.load()

    async def diffuse(
        self,
        offer: Offer,
        service: Row,
        keys: RoleKeys,
        groups: Iterable[str],
        reporting: Reporting,
        *,
        trace: TraceContext,
    ) -> None:
        """Broadcast *offer*'s application in the cells of *groups*, or of all for none.

        Raises Refusal: ``no-broadcast``, ``not-global``, ``no-domain-key`` (the operator made a pair, and we
        have its public half alone), ``unknown-group``, ``too-large-to-broadcast``, and ``version-not-newer``
        once a newer version, or another programme under this one, has been broadcast.
        """
        if self._aerial is None:
            raise Refusal("no-broadcast")
        cells = self._cells(groups)
        campaign, number = await self._campaign(offer, service, keys, reporting)
        self._desk.log.info(
            "campaign.begun",
            service=offer.service,
            version=offer.version,
            pages=campaign.pages,
            packets=len(campaign.packets),
            cells=len(cells),
        )
        published = 0
        for _ in range(self._aerial.repetitions):
            for packet in campaign.cycle:
                receipt = await self._aerial.broadcaster.broadcast(
                    packet.octets,
                    message_identifier=service["message_identifier"],
                    code=packet.place,
                    update=number % (MAX_UPDATE + 1),
                    cells=cells,
                    scope=GeographicScope.PLMN,
                    schedule=_ONCE,
                    trace=trace,
                )
                published += receipt.publishes
        self.airings.ended.append(
            Airing(
                trace_id=trace.trace_id,
                scheme=campaign.coding.scheme.name.lower(),
                packets=len(campaign.cycle),
                pages=campaign.pages,
                repair_pages=campaign.repair_pages,
                cells=len(cells),
                repetitions=self._aerial.repetitions,
                published=published,
            )
        )
        self._desk.log.info("campaign.ended", service=offer.service, version=offer.version)

    def last(self, service: str) -> Row | None:
        """Return the campaign of *service* that was broadcast last."""
        return self._campaigns.get(service)

    def newest(self, offer: Offer) -> Offer:
        """Return *offer* in the newest version that was broadcast, as it stands where none was."""
        known = self._campaigns.get(offer.service)
        if known is None:
            return offer
        part = DataPart(known["data_part"])
        return offer.at(Version(number=known["version"], code=known["code"], data_part=part))

    def has_reset(self, service: str, since: int) -> bool:
        """Whether a broadcast has begun the data part anew after version *since*."""
        known = self._campaigns.get(service)
        return known is not None and known["reset"] > since

    def _cells(self, groups: Iterable[str]) -> list[str]:
        assert self._aerial is not None
        chosen = dict.fromkeys(groups) or self._aerial.cells
        cells = [cell for group in chosen for cell in self._aerial.cells.get(group, ())]
        if not cells:
            raise Refusal("unknown-group")
        return cells

    async def _campaign(
        self, offer: Offer, service: Row, keys: RoleKeys, reporting: Reporting
    ) -> tuple[Campaign, int]:
        """Return the campaign of this version, made again if it was made before, and the order's number.

        Both are stored by then.
        """
        if not service["domain_key"]:
            raise Refusal("not-global")
        domain_key = DomainKey.load(service["domain_key"])
        if domain_key.kind is Kind.PUBLIC_HALF:
            raise Refusal("no-domain-key")
        domain = Domain(
            tar=service["tar"],
            logic_name=offer.logic_name.encode(),
            supplier=keys.name.encode(),
            supplier_suite=keys.suite,
            supplier_public=keys.signing.public,
            domain_key=domain_key,
        )
        scheme = Scheme.RAPTORQ if offer.fec else Scheme.PLAIN
        try:
            coding = Coding.measured(len(offer.code), scheme, domain.keys)
        except ValueError:
            raise Refusal("too-large-to-broadcast") from None
        known = self._campaigns.get(offer.service)
        if known and not _may_follow(known, offer):
            raise Refusal("version-not-newer")
        what = hashlib.sha256(
            b"".join(
                (
                    hashlib.sha256(offer.code).digest(),
                    keys.signing.public,
                    repr(coding).encode(),
                    repr(reporting).encode(),
                )
            )
        ).digest()
        is_known = known is not None and (known["version"], known["what"]) == (offer.version, what)
        number = known["number"] if known else 0
        campaign = Campaign(
            domain,
            offer.code,
            number=number if is_known else number + 1,
            version=offer.version,
            signing_key=keys.signing,
            signature=known["signature"] if known and is_known else b"",
            data_part=offer.data_part,
            coding=coding,
            report_share=reporting.share,
            report_within_s=reporting.within_s,
        )
        reset = offer.version if offer.data_part is DataPart.RESET else known["reset"] if known else 0
        ordered = known["broadcasts"] + 1 if known else 1
        await self._campaigns.put(
            {
                "service": offer.service,
                "number": campaign.manifest.campaign,
                "version": offer.version,
                "what": what,
                "signature": campaign.signature,
                "code": offer.code,
                "data_part": offer.data_part,
                "reset": reset,
                "broadcasts": ordered,
            }
        )
        return campaign, ordered


def _may_follow(known: Row, offer: Offer) -> bool:
    """Whether *offer*'s version is newer than the last one that was broadcast, or that one again."""
    if offer.version != known["version"]:
        return offer.version > int(known["version"])
    same: bool = (offer.code, offer.data_part) == (known["code"], known["data_part"])
    return same
