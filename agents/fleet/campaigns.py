"""What a run's broadcasts came to, put together from the steps' outcomes and what suppliers counted.

Whom a broadcast loaded is what modules told: in the ledger, so a resumed run knows it too. What was sent for
it only the launch knows that sent it. What loading the same modules one by one would have cost is no guess:
the programme is cut, packed and split as a supplier does it for short messages. The secure connection before
it is left out, for modules need one for their personal data however they got the programme.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agents.exchange import SECURED
from agents.fleet.campaign_report import CampaignReport, Load, Sent
from agents.fleet.config import Verb
from agents.fleet.config_rollout import broadcast_ended
from agents.fleet.config_updates import FIRST, version_of
from agents.fleet.expectations import Result
from agents.fleet.weather import MAX, conditions_of
from agents.loading import PIECE_OCTETS
from agents.messages.air import LoadApplication
from agents.messages.codec import encode
from agents.rollout import CUT_SHORT
from bus.frame import Bearer
from transport.cell_broadcast import PAGE_OCTETS
from transport.concatenation import split
from transport.secured_packet import encode_command
from transport.security.keyset import PROTECTIONS, SessionKeys
from transport.sms import (
    IEI_COMMAND_PACKET,
    Address,
    InformationElement,
    ServiceCentreTime,
    SmsDeliver,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from agents.airings import Airing
    from agents.fleet.config import FleetConfig
    from agents.fleet.expectations import Outcomes
    from bus.counters import Snapshot

MAX_POINTS: Final = 100
"""Of a curve: a fleet may have more modules than a picture has room."""
_COMMAND_PACKET: Final = InformationElement(iei=IEI_COMMAND_PACKET, data=b"")
_ANY_TAR: Final = bytes(3)
_ANY_TIME: Final = ServiceCentreTime.at(0)


@dataclass(slots=True, kw_only=True)
class _Campaign:
    """A broadcast, and who was served between it and the service's next."""

    outcomes: Outcomes
    begun: int
    """The index of the step that ordered the broadcast; another one may have seen it to its end."""
    version: int
    had_before: set[str]
    served: set[str] = field(default_factory=set)


class _History:
    """Who has which version of which service, step by step, as handsets and suppliers told."""

    def __init__(self) -> None:
        self.campaigns: list[_Campaign] = []
        self._last: dict[str, _Campaign] = {}
        self._holders: dict[tuple[str, int], set[str]] = {}

    def broadcast(self, outcomes: Outcomes, begun: int, version: int, *, is_trial: bool) -> None:
        """Note a broadcast that step *begun* ordered; one that its supplier refused to begin is none.

        A version that did not pass its trial is served to nobody afterwards.
        """
        told = {outcome.ua for outcome in outcomes.of(Result.OK)}
        refused = outcomes.of(Result.REFUSED)
        if len(refused) == len(outcomes.outcomes) and not {each.reason for each in refused} <= CUT_SHORT:
            return
        holders = self._holders.setdefault((outcomes.service, version), set())
        campaign = _Campaign(outcomes=outcomes, begun=begun, version=version, had_before=told & holders)
        self.campaigns.append(campaign)
        if not (is_trial and CUT_SHORT & {each.reason for each in refused}):
            self._last[outcomes.service] = campaign
        holders |= told

    def served(self, outcomes: Outcomes) -> None:
        """Note who was served, which brings the newest version, however much of it is there."""
        for outcome in outcomes.of(Result.OK):
            last = self._last.get(outcome.service)
            holders = self._holders.setdefault((outcome.service, last.version if last else FIRST), set())
            if last is not None and outcome.ua not in holders:
                last.served.add(outcome.ua)
            holders.add(outcome.ua)

    def released(self, outcomes: Outcomes) -> None:
        """Note whose resource is gone, with what it held."""
        for outcome in outcomes.of(Result.OK):
            for (service, _version), holders in self._holders.items():
                if service == outcome.service:
                    holders.discard(outcome.ua)


_BROADCAST: Final = frozenset({Verb.BROADCAST.value, Verb.FINISH_CAMPAIGN.value})
_SERVED: Final = frozenset({Verb.SERVE.value, Verb.PULL.value})


def campaigns_of(
    config: FleetConfig,
    ended: Iterable[Outcomes],
    airings: Iterable[Airing],
    found: AbstractSet[tuple[str, str, int]],
    counts: Snapshot,
) -> tuple[CampaignReport, ...]:
    """Return a report for each step that broadcast an application.

    *found* are modules, with service and version, that a broadcast had loaded, though no handset told so.
    """
    history = _History()
    for outcomes in ended:
        if outcomes.do in _BROADCAST:
            begun = broadcast_ended(config.steps, outcomes.number - 1)
            if begun is None:
                continue
            is_trial = config.steps[begun].is_trial
            history.broadcast(outcomes, begun, version_of(config, begun), is_trial=is_trial)
        elif outcomes.do in _SERVED:
            history.served(outcomes)
        elif outcomes.do == Verb.RELEASE:
            history.released(outcomes)
    sent_by = list(airings)
    return tuple(_report(config, campaign, sent_by, found, counts) for campaign in history.campaigns)


def _report(
    config: FleetConfig,
    campaign: _Campaign,
    airings: Sequence[Airing],
    found: AbstractSet[tuple[str, str, int]],
    counts: Snapshot,
) -> CampaignReport:
    outcomes, service = campaign.outcomes, campaign.outcomes.service
    told = {outcome.ua: outcome.latency_s for outcome in outcomes.of(Result.OK)}
    targets = {outcome.ua for outcome in outcomes.outcomes}
    untold = {ua for ua in campaign.served if (ua, service, campaign.version) in found}
    own = [airing for airing in airings if airing.trace_id in outcomes.traces]
    code = config.broadcast_programme(campaign.begun).code
    by_broadcast = len(told) - len(campaign.had_before) + len(untold)
    return CampaignReport(
        step=outcomes.number,
        service=service,
        version=campaign.version,
        programme_octets=len(code),
        targets=len(targets),
        modules=len(targets | campaign.served),
        by_broadcast=by_broadcast,
        untold=len(untold),
        had_before=len(campaign.had_before),
        one_by_one=len(campaign.served - untold),
        time="wall" if config.air.speed == MAX else "simulated",
        coverage=curve(sorted(told.values())),
        sent=_sent(config, own, airings, counts) if own else None,
        unicast=_unicast(config, campaign, code, by_broadcast),
    )


def curve(told_s: Sequence[float]) -> tuple[tuple[float, int], ...]:
    """Return how many modules had told by when, from ordered times: few points, but always the last."""
    last = len(told_s)
    step = max(1, -(-last // MAX_POINTS))
    numbers = [*range(step, last, step), *([last] if last else [])]
    return tuple((round(told_s[number - 1], 6), number) for number in numbers)


def _sent(config: FleetConfig, own: Sequence[Airing], airings: Sequence[Airing], counts: Snapshot) -> Sent:
    """Return what the airings of one broadcast sent: several, when the order was given again."""
    last = own[-1]
    published = sum(airing.published for airing in own)
    page_s = conditions_of(config.air.cell_broadcast).transmission_s(PAGE_OCTETS)
    on_bearer = counts["bearers"][Bearer.CELL_BROADCAST.value]
    # The air's losses are counted for the run: they are this broadcast's if nobody broadcast anything else.
    is_alone = len(airings) == len(own) and on_bearer["sent"]["messages"] == published
    return Sent(
        scheme=last.scheme,
        packets=last.packets,
        pages=last.pages,
        repair_pages=last.repair_pages,
        repetitions=sum(airing.repetitions for airing in own),
        cells=last.cells,
        published=published,
        state=last.state,
        reason=last.reason,
        stages=last.stages,
        lost=on_bearer["lost"] if is_alone else None,
        lost_by_all=on_bearer["lost"],
        load=Load(messages=published, octets=published * PAGE_OCTETS, air_s=round(published * page_s, 3)),
    )


def _unicast(config: FleetConfig, campaign: _Campaign, code: bytes, modules: int) -> Load:
    """Return what it would have taken to load the same programme in so many modules by short messages."""
    offer = config.offers[campaign.outcomes.service]
    tpdus = short_messages(
        code, version=campaign.version, number=offer.supplier.number, protection=offer.service.protection
    )
    sms = conditions_of(config.air.sms)
    return Load(
        messages=modules * len(tpdus),
        octets=modules * sum(map(len, tpdus)),
        air_s=round(modules * sum(sms.transmission_s(len(tpdu)) for tpdu in tpdus), 3),
    )


def short_messages(code: bytes, *, version: int, number: str, protection: str) -> list[bytes]:
    """Return TPDUs as they bring one module *code*: under no real key, so of the right lengths only."""
    keys = SessionKeys(index=1, keys=(bytes(PROTECTIONS[protection].key_octets),) * 4, protection=protection)
    tpdus = []
    for counter, offset in enumerate(range(0, len(code), PIECE_OCTETS), 1):
        piece = code[offset : offset + PIECE_OCTETS]
        message = LoadApplication(version=version, total=len(code), offset=offset, octets=piece)
        packet = encode_command(
            spi=SECURED, tar=_ANY_TAR, data=encode(message), counter=counter, keys=keys.to_module
        )
        parts = split(packet, reference=0, first=_COMMAND_PACKET)
        tpdus += [
            SmsDeliver(
                originator=Address(digits=number),
                user_data=part,
                timestamp=_ANY_TIME,
                more_messages=place < len(parts),
            ).encode()
            for place, part in enumerate(parts, 1)
        ]
    return tpdus
