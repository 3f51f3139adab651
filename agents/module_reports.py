"""What modules report of a supplier's campaigns, in answer to nobody: judged, stored, counted.

A report comes in a packet under keys of the service's domain, which keep strangers from costing us anything,
and is signed by the module, as the domain's keys are every module's. Only then is it stored: for each module
its last, so that there are as many as modules hold the resource, whoever repeats what. One that says again
what is known changes nothing, and its signature is not even looked at.

A module that has not the newest domain key yet, or is not to have it, is not heard: its packet does not open.

Only those are heard whom the campaign asked: its thresholds are held against as many, and who else speaks,
be it in its own name, would weigh more than its share.

Reports count for the campaign that was broadcast last. One on an earlier campaign comes too late to decide
anything, and of none that is to come can there be a report.

A report is the module's word on itself, and counts as no more: nothing that is loaded goes by it. When the
module is served it is asked under the session what it holds (``loading``), which is newer than any report,
and by what it held when it was served last it is known whether it lacks personal data: to raise that by a
report would lose them.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from agents.errors import Refusal
from agents.messages.campaign_reports import Outcome
from agents.store.registry import Registry
from agents.store.tables import REPORTS
from agents.usage import RELEASED
from transport.diffusion import MAX_SHARE, check_report, is_in_sample, report_keys
from transport.security.domain_key import DomainKey, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.diffuser import Diffuser
    from agents.exchange import FromModule
    from agents.messages.campaign_reports import CampaignReport
    from agents.messages.orders import BroadcastOrder
    from agents.role import Desk
    from agents.store.group_commit import GroupCommit
    from agents.store.registry import Row
    from transport.secured_packet import PacketKeys

_DOMAINS: Final = 64


class Reporting(NamedTuple):
    """What a campaign's manifest asks of modules: how many of them, in 255, and within how many seconds."""

    share: int = 0
    within_s: int = 0

    @classmethod
    def ordered(cls, said: BroadcastOrder) -> Reporting:
        """Return what an order asks for. Raises Refusal: ``bad-reporting``, for a share without a time."""
        if bool(said.report_share) is not bool(said.report_within_s):
            raise Refusal("bad-reporting")
        if not said.report_share:
            return cls()
        # However small the share is, it is not nobody.
        return cls(max(1, round(said.report_share * MAX_SHARE)), said.report_within_s)


class Tally(NamedTuple):
    """How many modules reported which outcome of one campaign."""

    loaded: int = 0
    held: int = 0
    refused: int = 0

    @property
    def reported(self) -> int:
        """How many reported at all."""
        return sum(self)


class ModuleReports:
    """One supplier's; *resources* are those that modules may report on, of which *services*.

    *told* is called with the service's name when a report has been stored and counted.
    """

    def __init__(
        self,
        desk: Desk,
        store: GroupCommit,
        resources: Registry,
        services: Registry,
        diffuser: Diffuser,
        *,
        told: Callable[[str], None] = lambda _service: None,
    ) -> None:
        self._desk = desk
        self._resources = resources
        self._services = services
        self._diffuser = diffuser
        self._reports = Registry(store, REPORTS)
        self._counts: Counter[tuple[str, int, int]] = Counter()
        self._campaigns: dict[tuple[str, int], int] = {}
        """The last campaign of each version of a service that somebody reported on."""
        self._told = told
        self._log = desk.log.bind(agent=desk.keys.name)

    async def load(self) -> None:
        """Read what the store holds; from then on packets with reports are opened."""
        await self._reports.load()
        if self._desk.exchange is not None:
            self._desk.exchange.open_with(self._keys_of)
        for row in self._reports.rows():
            self._count(row["service"], row["campaign"], row["version"], row["outcome"])

    def tally(self, service: str, campaign: int) -> Tally:
        """Return what modules have reported of a campaign, by its number.

        Of one before the last, after another launch, only what those reported who have not reported since.
        """
        return Tally(*(self._counts[service, campaign, outcome] for outcome in Outcome))

    def by_version(self) -> dict[tuple[str, int], Tally]:
        """Return what modules reported of each version of a service, of its last campaign."""
        return {
            (service, version): self.tally(service, campaign)
            for (service, version), campaign in self._campaigns.items()
        }

    def refusals(self) -> dict[tuple[str, int], Counter[str]]:
        """Return why modules refused each version of a service, by those that reported of nothing since."""
        reasons: dict[tuple[str, int], Counter[str]] = {}
        for row in self._reports.rows():
            name = (row["service"], row["version"])
            if row["outcome"] == Outcome.REFUSED and row["campaign"] == self._campaigns[name]:
                reasons.setdefault(name, Counter())[row["reason"]] += 1
        return reasons

    def is_anybody_asked(self, service: str) -> bool:
        """Say whether a module is in the sample that the last campaign of *service* asks to report."""
        known, last = self._services.get(service), self._diffuser.last(service)
        assert known is not None, "it has a campaign"
        assert last is not None, "it has a campaign"
        return any(
            _is_asked(row["ua"], known["tar"], last)
            for row in self._resources.rows()
            if row["service"] == service and row["state"] != RELEASED and not row["barred"]
        )

    async def take(self, came: FromModule, report: CampaignReport) -> None:
        """Take the *report* that *came*; return when it is stored.

        Raises Refusal: ``unknown-resource``, ``released``, or why the resource may not be used;
        ``unknown-campaign``, ``past-campaign``, ``future-campaign``, ``wrong-version``, ``wrong-generation``;
        ``not-asked``, ``repeated``. Raises Rejected for what is not protected, or not proven.
        """
        check_report(came.packet)
        service, ua = self._service(came.packet.tar), came.ua
        resource = self._resource(ua, came.packet.tar)
        self._check_campaign(service, report, ua)
        known = self._reports.get(service["service"], ua)
        is_same = known is not None and known["campaign"] == report.campaign
        if known is not None and is_same and not _is_better(report.outcome, than=known["outcome"]):
            raise Refusal("repeated")
        report.verify(
            ua=ua,
            supplier=self._desk.keys.name,
            tar=service["tar"],
            suite=resource["module_suite"],
            public=resource["module_public"],
        )
        await self._keep(service["service"], ua, report)
        if known is not None and is_same:
            self._counts[known["service"], known["campaign"], known["outcome"]] -= 1
        self._count(service["service"], report.campaign, report.version, report.outcome)
        self._told(service["service"])

    async def _keep(self, service: str, ua: str, report: CampaignReport) -> None:
        await self._reports.put(
            {
                "service": service,
                "ua": ua,
                "campaign": report.campaign,
                "version": report.version,
                "outcome": report.outcome,
                "reason": report.reason,
                "reported_at": self._desk.clock.now(),
            }
        )
        word = Outcome(report.outcome).word
        self._log.info(
            "campaign.reported",
            ua=ua,
            service=service,
            campaign=report.campaign,
            version=report.version,
            outcome=word,
            reason=report.reason,
        )

    def _count(self, service: str, campaign: int, version: int, outcome: int) -> None:
        self._counts[service, campaign, outcome] += 1
        name = (service, version)
        self._campaigns[name] = max(campaign, self._campaigns.get(name, 0))

    def _service(self, tar: bytes) -> Row:
        for row in self._services.rows():
            if row["tar"] == tar:
                return row
        raise Refusal("unknown-resource")

    def _keys_of(self, tar: bytes) -> PacketKeys | None:
        """Return the keys that reports on a service come under, None where there are none."""
        try:
            domain_key: bytes = self._service(tar)["domain_key"]
        except Refusal:
            return None
        return _report_keys(domain_key) if domain_key else None

    def _resource(self, ua: str, tar: bytes) -> Row:
        row = self._resources.get(ua, tar)
        if row is None:
            raise Refusal("unknown-resource")
        if row["state"] == RELEASED or row["barred"]:
            raise Refusal(row["barred"] or RELEASED)
        return row

    def _check_campaign(self, service: Row, report: CampaignReport, ua: str) -> None:
        last = self._diffuser.last(service["service"])
        if last is None:
            raise Refusal("unknown-campaign")
        faults = {
            "past-campaign": report.campaign < last["number"],
            "future-campaign": report.campaign > last["number"],
            "wrong-version": report.version != last["version"],
            # The campaign's: the module may have a later one by now.
            "wrong-generation": report.generation != last["generation"],
            "not-asked": not _is_asked(ua, service["tar"], last),
        }
        for reason, found in faults.items():
            if found:
                raise Refusal(reason)


def _is_asked(ua: str, tar: bytes, campaign: Row) -> bool:
    """Whether a module is one of those that report on a campaign."""
    return is_in_sample(
        ua,
        tar=tar,
        generation=campaign["generation"],
        campaign=campaign["number"],
        share=campaign["report_share"],
    )


def _is_better(outcome: int, *, than: int) -> bool:
    """Whether a second report on a campaign is news: what was refused could be loaded after all."""
    return than == Outcome.REFUSED != outcome


@lru_cache(maxsize=_DOMAINS)
def _domain_key(octets: bytes) -> DomainKey:
    return DomainKey.load(octets)


@lru_cache(maxsize=_DOMAINS)
def _report_keys(octets: bytes) -> PacketKeys | None:
    key = _domain_key(octets)
    return None if key.kind is Kind.PUBLIC_HALF else report_keys(key)
