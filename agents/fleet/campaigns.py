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
from agents.fleet.arrivals import Arrival, Way
from agents.fleet.campaign_report import CampaignReport, Load, Sent
from agents.fleet.config_updates import version_of
from agents.fleet.expectations import Result
from agents.fleet.holders import SERVED, Holders, broadcast_of
from agents.fleet.weather import MAX, conditions_of
from agents.loading import PIECE_OCTETS
from agents.messages.air import LoadApplication
from agents.messages.codec import encode
from agents.rollout import STATES, State
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
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from agents.airings import Airing
    from agents.fleet.config import FleetConfig
    from agents.fleet.expectations import Outcome, Outcomes
    from bus.counters import Snapshot

MAX_POINTS: Final = 100
"""Of a curve: a fleet may have more modules than a picture has room."""
_COMMAND_PACKET: Final = InformationElement(iei=IEI_COMMAND_PACKET, data=b"")
_ANY_TAR: Final = bytes(3)
_ANY_TIME: Final = ServiceCentreTime.at(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the suppliers of this launch counted."""

    airings: Sequence[Airing] = ()
    states: Mapping[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    """How the last campaign of each service stands, and why: by service and version."""
    found: AbstractSet[tuple[str, str, int]] = frozenset()
    """Modules, with service and version, that a broadcast had loaded, though no handset told so."""
    brought: Mapping[tuple[str, str, int], str] = field(default_factory=dict)
    """And those that were loaded when they were served: over which bearer."""


@dataclass(slots=True, kw_only=True)
class _Campaign:
    """A broadcast, and who was served between it and the service's next."""

    outcomes: Outcomes
    """Of the step that saw its end, or who has told so far."""
    begun: int
    """The index of the step that ordered the broadcast; another one may have seen it to its end."""
    version: int
    had_before: set[str]
    told: Mapping[str, float]
    """Who told that it has the version, and when."""
    served: set[str] = field(default_factory=set)


def campaigns_of(
    config: FleetConfig,
    ended: Sequence[Outcomes],
    books: Books,
    counts: Snapshot,
    so_far: Iterable[Outcomes] = (),
) -> tuple[CampaignReport, ...]:
    """Return a report for each broadcast of an application.

    *so_far* has who told of those that a step began and did not wait for; where a later step saw the end of
    one, it is that step's business.
    """
    ends = {outcomes.number - 1: outcomes for outcomes in so_far}
    for outcomes in ended:
        begun = broadcast_of(config, outcomes)
        if begun is not None:
            ends[begun] = outcomes
    holders, campaigns = Holders(config), list[_Campaign]()
    for outcomes in ended:
        if outcomes.number - 1 in ends:
            campaigns.append(_begun(config, holders, outcomes.number - 1, ends[outcomes.number - 1]))
        elif outcomes.do in SERVED:
            _serve(campaigns, holders, outcomes)
        holders.after(outcomes)
    return tuple(_report(config, campaign, books, counts) for campaign in campaigns)


def _begun(config: FleetConfig, holders: Holders, begun: int, end: Outcomes) -> _Campaign:
    version = version_of(config, begun)
    return _Campaign(
        outcomes=end,
        begun=begun,
        version=version,
        had_before=holders.of(end.service, version) & {outcome.ua for outcome in end.outcomes},
        told={outcome.ua: outcome.started + outcome.told_s for outcome in end.of(Result.OK)},
    )


def _serve(campaigns: Sequence[_Campaign], holders: Holders, outcomes: Outcomes) -> None:
    """Note for the last broadcast of each service whom its supplier served who had not the version yet."""
    last = {
        campaign.outcomes.service: campaign
        for campaign in campaigns
        if campaign.version == holders.newest(campaign.outcomes.service)
    }
    for outcome in outcomes.of(Result.OK):
        campaign = last.get(outcome.service)
        if campaign is not None and _is_brought(campaign, holders, outcome):
            campaign.served.add(outcome.ua)


def _is_brought(campaign: _Campaign, holders: Holders, outcome: Outcome) -> bool:
    """Say whether who was served so had not the version yet.

    A broadcast may go on while modules are served, and a later launch says its order again for whoever had
    not told: who was served tells then.
    """
    if outcome.ua in campaign.told:
        return outcome.ua not in campaign.had_before and outcome.started < campaign.told[outcome.ua]
    return outcome.ua not in holders.of(outcome.service, campaign.version)


def _report(config: FleetConfig, campaign: _Campaign, books: Books, counts: Snapshot) -> CampaignReport:
    outcomes, service = campaign.outcomes, campaign.outcomes.service
    arrivals = tuple(_arrivals(config, campaign, books))
    own = [airing for airing in books.airings if airing.traces & outcomes.traces]
    state, reason = _state(campaign, own, books)
    code = config.broadcast_programme(campaign.begun).code
    by_broadcast = sum(arrival.way is Way.BROADCAST for arrival in arrivals)
    return CampaignReport(
        step=outcomes.number,
        service=service,
        version=campaign.version,
        state=state,
        reason=reason,
        programme_octets=len(code),
        targets=len(outcomes.outcomes),
        arrivals=arrivals,
        time="wall" if config.air.speed == MAX and not _page_s(config) else "simulated",
        clock="wall" if config.air.speed == MAX else "simulated",
        coverage=curve(sorted(_at_s(config, outcome) for outcome in outcomes.of(Result.OK))),
        sent=_sent(config, own, books.airings, counts) if own else None,
        unicast=_unicast(config, campaign, code, by_broadcast),
    )


def _state(campaign: _Campaign, own: Sequence[Airing], books: Books) -> tuple[str, str]:
    """Return how a broadcast stands, and why: as who sent it says, or the store of its supplier.

    Where the service has another one since, what became of its targets tells.
    """
    if own:
        return own[-1].state, own[-1].reason
    outcomes = campaign.outcomes
    reasons = [outcome.reason for outcome in outcomes.of(Result.REFUSED) if outcome.reason in STATES]
    by_outcomes = (STATES[reasons[0]].value, reasons[0]) if reasons else (State.ENDED.value, "")
    return books.states.get((outcomes.service, campaign.version), by_outcomes)


def _arrivals(config: FleetConfig, campaign: _Campaign, books: Books) -> Iterator[Arrival]:
    """Yield how each module came by the version, in the order of their addresses."""
    service, version = campaign.outcomes.service, campaign.version
    told_by = campaign.outcomes.of(Result.OK)
    told = {outcome.ua: round(_at_s(config, outcome), 6) for outcome in told_by}
    cells = config.cells_by_address()
    # Who called by itself was given no order, and no step knows of it; the supplier does.
    brought = {ua for ua, *what in books.brought if what == [service, version]}
    uas = {outcome.ua for outcome in campaign.outcomes.outcomes} | campaign.served | brought
    for ua in sorted(uas):
        who, at_s, bearer = (ua, service, version), None, ""
        if ua in campaign.had_before:
            way = Way.BEFORE
        elif ua in brought:
            way, bearer = Way.SERVED, books.brought[who]
        elif ua in told and ua not in campaign.served:
            way, at_s = Way.BROADCAST, told[ua]
        elif ua not in campaign.served:
            way = Way.NONE
        elif who in books.found:
            way, at_s = Way.BROADCAST, told.get(ua)
        else:
            way = Way.SERVED  # by an earlier launch
        yield Arrival(ua=ua, cell=cells[ua], way=way, at_s=at_s, bearer=bearer)


def _at_s(config: FleetConfig, outcome: Outcome) -> float:
    """Return when a module had it, in simulated seconds from the order on.

    Where nothing waits for the air, the page that completed it says for how long there was one, by its place.
    """
    if config.air.speed == MAX and _page_s(config) and outcome.heard_s is not None:
        return outcome.heard_s
    return outcome.told_s


def _page_s(config: FleetConfig) -> float:
    """Return how long a page is on the air."""
    return conditions_of(config.air.cell_broadcast).transmission_s(PAGE_OCTETS)


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
    air_s = round(published * _page_s(config), 3)
    # There may be no page at all: a campaign can be stopped before its first one, or paused all the time.
    on_bearer = counts["bearers"].get(Bearer.CELL_BROADCAST.value)
    sent, lost = (on_bearer["sent"]["messages"], on_bearer["lost"]) if on_bearer else (0, 0)
    # The air's losses are counted for the run: they are this broadcast's if nobody broadcast anything else.
    is_alone = len(airings) == len(own) and sent == published
    return Sent(
        scheme=last.scheme,
        packets=last.packets,
        pages=last.pages,
        repair_pages=last.repair_pages,
        repetitions=sum(airing.repetitions for airing in own),
        cells=last.cells,
        published=published,
        planned=sum(airing.planned for airing in own),
        is_whole=all(airing.is_whole for airing in own),
        state=last.state,
        reason=last.reason,
        stages=last.stages,
        lost=lost if is_alone else None,
        lost_by_all=lost,
        load=Load(messages=published, octets=published * PAGE_OCTETS, air_s=air_s),
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
