"""A supplier's campaigns: one broadcast that loads an application in every module of a domain (GLOBAL).

A campaign is one version of a service's application, signed by the supplier's newest key for the service, and
protected under its domain key; ``transport.diffusion`` makes the packets. Its number counts up under a domain
key and is stored with the signature before anything is broadcast: given again, the order gives the very same
packets, so that what modules have collected by then stays of use. Their pages have another update number, so
that a module that has the programme hears them again, and its handset tells so.

How a campaign goes its way through cells and stages is another's business (``rollout``, ``campaigns``).

Versions only rise. The newest is stored with the campaign, programme and all, and released: whoever is served
from then on is given what the broadcast brought the others. One that has to prove itself first, in stages or
by reports, is released when its campaign has ended. Until then, and for good where it was stopped, nobody is
given it who did not hear it.

Nobody answers a broadcast; who is asked to reports afterwards (``module_reports``). A module that knows the
supplier by an older key than the newest takes nothing, nor does one that was off. Both are served when they
call.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agents.airings import Airings
from agents.errors import Refusal
from agents.offers import Version
from agents.store.registry import Registry
from agents.store.tables import CAMPAIGNS, RELEASES
from transport.cell_broadcast import GeographicScope, Schedule
from transport.cell_broadcast.serial_number import MAX_UPDATE
from transport.diffusion import CAMPAIGN_CODES, Campaign, Coding, DataPart, Domain, Scheme
from transport.security.domain_key import DomainKey, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from agents.identity import RoleKeys
    from agents.module_reports import Reporting
    from agents.offers import Offer
    from agents.role import Desk
    from agents.store.group_commit import GroupCommit
    from agents.store.registry import Row
    from bus.bearers.cell_broadcast import Airtime, CellBroadcaster
    from bus.clock import Clock
    from bus.frame import TraceContext
    from transport.diffusion import CampaignPacket

_ONCE: Final = Schedule(period=1, count=1)
REPORT_MARGIN_S: Final = 120.0
"""For a report of several short messages, of which one is lost and sent again."""


def _nobody(_service: str) -> Mapping[str, int]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Aerial:
    """What a supplier broadcasts with: cells by group of subscribers; how often a campaign is repeated.

    The network tells how many modules in each cell hold a service's resource: a number, and no names.
    """

    broadcaster: CellBroadcaster
    cells: Mapping[str, tuple[str, ...]]
    repetitions: int
    clock: Clock
    """What the pace of pages goes by."""
    page_s: float = 0.0
    """How long a page is on the air: the next one leaves when it is gone, so that it can be stopped."""
    report_margin_s: float = REPORT_MARGIN_S
    """How much longer than modules take their time for it a report may be on its way."""
    holders: Callable[[str], Mapping[str, int]] = _nobody
    members: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Modules by group of subscribers."""


class Diffuser:
    """One supplier's campaigns."""

    def __init__(self, desk: Desk, store: GroupCommit, aerial: Aerial | None) -> None:
        self._desk = desk
        self._aerial = aerial
        self.airings = Airings()
        self._campaigns = Registry(store, CAMPAIGNS)
        self._releases = Registry(store, RELEASES)

    async def load(self) -> None:
        """Read what the store holds."""
        await self._campaigns.load()
        await self._releases.load()

    @property
    def aerial(self) -> Aerial:
        """What there is to broadcast with. Raises Refusal: ``no-broadcast``."""
        if self._aerial is None:
            raise Refusal("no-broadcast")
        return self._aerial

    def last(self, service: str) -> Row | None:
        """Return the campaign of *service* that was broadcast last."""
        return self._campaigns.get(service)

    def newest(self, offer: Offer) -> Offer:
        """Return *offer* in the newest version that is for everybody, as it stands where there is none."""
        known = self._releases.get(offer.service)
        if known is None:
            return offer
        part = DataPart(known["data_part"])
        return offer.at(Version(number=known["version"], code=known["code"], data_part=part))

    def has_reset(self, service: str, since: int) -> bool:
        """Whether a broadcast has begun the data part anew after version *since*."""
        known = self._campaigns.get(service)
        return known is not None and known["reset"] > since

    def begun(self, offer: Offer) -> Offer:
        """Return *offer* in the version that was broadcast last, which may be on trial."""
        known = self._campaigns.get(offer.service)
        if known is None:
            return offer
        part = DataPart(known["data_part"])
        return offer.at(Version(number=known["version"], code=known["code"], data_part=part))

    def cells(self, groups: Iterable[str]) -> list[str]:
        """Return the cells of *groups*, or of all for none. Raises Refusal: ``unknown-group``."""
        chosen = dict.fromkeys(groups) or self.aerial.cells
        cells = [cell for group in chosen for cell in self.aerial.cells.get(group, ())]
        if not cells:
            raise Refusal("unknown-group")
        return cells

    async def campaign(
        self, offer: Offer, service: Row, keys: RoleKeys, reporting: Reporting, *, goes_on: bool = False
    ) -> tuple[Campaign, int]:
        """Return the campaign of *offer*'s version, and the update number of its pages.

        It is made again if it was made before, and stored by then, as is the number, which each order has
        another of. Neither is stored where it *goes_on*. Raises Refusal: ``not-global``, ``no-domain-key``
        (the operator made a pair, and we have its public half alone), ``too-large-to-broadcast``, and
        ``version-not-newer`` once a newer version, or another programme under this one, has been broadcast.
        """
        domain = _domain(offer, service, keys)
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
                    repr((coding, domain.domain_key.generation)).encode(),
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
        if known and goes_on:
            return campaign, _update(known["broadcasts"])
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
                "generation": campaign.manifest.generation,
                "report_share": campaign.manifest.report_share,
            }
        )
        return campaign, _update(ordered)

    async def release(self, service: str) -> None:
        """Make the version that was broadcast last the one for everybody who is served from now on."""
        known = self._campaigns.get(service)
        assert known is not None, "it was broadcast"
        columns = ("service", "version", "code", "data_part")
        await self._releases.put({column: known[column] for column in columns})

    async def next_update(self, service: str) -> int:
        """Return the update number of pages that are to be heard again; the next order has another."""
        known = self._campaigns.get(service)
        assert known is not None, "it was broadcast"
        await self._campaigns.put(known.but(broadcasts=known["broadcasts"] + 1))
        return _update(known["broadcasts"] + 1)

    def is_newest(self, service: str, update: int) -> bool:
        """Whether no pages of *service* are to be broadcast under a later number than *update*."""
        known = self._campaigns.get(service)
        return known is not None and _update(known["broadcasts"]) == update

    async def publish(
        self,
        packet: CampaignPacket,
        *,
        identifier: int,
        update: int,
        cells: Sequence[str],
        trace: TraceContext,
        airtime: Airtime,
    ) -> int:
        """Publish a packet once in *cells*; return how many pages that were, when they are on the air."""
        serial = CAMPAIGN_CODES.serial(packet.place, GeographicScope.PLMN, rounds=update)
        receipt = await self.aerial.broadcaster.broadcast(
            packet.octets,
            message_identifier=identifier,
            code=serial.code,
            update=serial.update,
            cells=cells,
            scope=serial.scope,
            schedule=_ONCE,
            trace=trace,
            airtime=airtime,
        )
        await self.aerial.clock.sleep(receipt.pages * self.aerial.page_s)
        return receipt.publishes


def _domain(offer: Offer, service: Row, keys: RoleKeys) -> Domain:
    if not service["domain_key"]:
        raise Refusal("not-global")
    domain_key = DomainKey.load(service["domain_key"])
    if domain_key.kind is Kind.PUBLIC_HALF:
        raise Refusal("no-domain-key")
    return Domain(
        tar=service["tar"],
        logic_name=offer.logic_name.encode(),
        supplier=keys.name.encode(),
        supplier_suite=keys.suite,
        supplier_public=keys.signing.public,
        domain_key=domain_key,
    )


def _update(ordered: int) -> int:
    return ordered % (MAX_UPDATE + 1)


def _may_follow(known: Row, offer: Offer) -> bool:
    """Whether *offer*'s version is newer than the last one that was broadcast, or that one again."""
    if offer.version != known["version"]:
        return offer.version > int(known["version"])
    same: bool = (offer.code, offer.data_part) == (known["code"], known["data_part"])
    return same
