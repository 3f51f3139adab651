"""What a module reports of a broadcast campaign, to whom, when, how often, and what it never reports."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from agents.handset.security_module.diffusion import KNOWN
from agents.handset.security_module.moments import TIMER
from agents.handset.security_module.profile import LIGHT_SUITES, STANDARD
from agents.handset.security_module.reporting import MOST_TRIES
from agents.messages.air import Block, Release
from agents.messages.bearers import GLOBAL_SERVICES
from agents.messages.campaign_reports import CampaignReport, Outcome
from agents.messages.codec import decode
from tests.agents.broadcast_kit import KEY, campaign, hear, pages, reservation
from tests.agents.module_kit import NOW, TAR, UA, Market, OnlineCard, Supplier, probe
from transport.diffusion import MAX_SHARE, check_report, report_keys
from transport.errors import PacketRejected, SignatureRejected
from transport.secured_packet import decode_command
from transport.security.domain_key import generate_symmetric
from transport.security.suites import SUITES
from transport.toolkit import CommandType, Envelope, Tag

if TYPE_CHECKING:
    from collections.abc import Mapping


WITHIN_S: Final = 600
ALL: Final[Mapping[str, Any]] = {"report_share": MAX_SHARE, "report_within_s": WITHIN_S}
LARGER: Final = probe(more="(drop (i32.const 1))")
TOO_LARGE: Final = probe(more="(drop (i32.const 1))" * 700)
FORBIDDEN: Final = probe(imports='(import "otafleet" "time" (func (result i64)))')


class Said(NamedTuple):
    """What a module reported, without its proof, which was checked."""

    campaign: int
    version: int
    outcome: Outcome
    reason: str = ""


def _market(*, suite: str = "x25519", seed: int = 1, **changes: Any) -> Market:
    """Return a market whose module holds a global service, in a handset that has timers."""
    size, profile = 128 * 1024, replace(STANDARD, suites=[*LIGHT_SUITES, suite], **changes)
    market = Market(module_suite=suite, size=size, module_profile=profile)
    market.card = OnlineCard(size=size, module_profile=profile, seed=seed)
    market.personalise()
    market.supplier.logic_name = "points"
    assert market.command(reservation(market)).reason == ""
    return market


def _card(market: Market) -> OnlineCard:
    assert isinstance(market.card, OnlineCard)
    return market.card


@pytest.fixture
def market() -> Market:
    """Return a market whose module is in suite x25519."""
    return _market()


def _reports(market: Market) -> list[Said]:
    """Return what the supplier was sent; its number, keys and signatures hold."""
    return [_checked(market, packet) for packet in _packets(market)]


def _packets(market: Market) -> list[bytes]:
    sent = market.card.take_sent()
    assert {number for number, _ in sent} <= {market.supplier.number}
    return [user_data.payload for _, user_data in sent]


def _opened(packet: bytes) -> CampaignReport:
    opened = decode_command(packet, report_keys(KEY))
    check_report(opened)
    assert opened.tar == TAR
    return decode(opened.data, CampaignReport)


def _checked(market: Market, packet: bytes) -> Said:
    report = _opened(packet)
    report.verify(
        ua=UA, supplier=market.supplier.name, tar=TAR, suite=market.module_suite, public=market.public
    )
    assert report.generation == KEY.generation
    return Said(report.campaign, report.version, Outcome(report.outcome), report.reason)


def _pass_time(market: Market) -> None:
    """Let all timers of the handset end."""
    while _card(market).tick():
        pass


# --- what is reported ---


def test_what_was_loaded_is_reported_once_its_time_has_come(market: Market) -> None:
    """Not before: the module waits for a timer of its terminal's, of which it takes the last."""
    hear(market, pages(campaign(market, probe(), **ALL)))
    assert _reports(market) == []
    assert list(_card(market).timers) == [TIMER]
    _pass_time(market)
    assert 1 <= market.card.now - NOW <= WITHIN_S
    assert _reports(market) == [Said(1, 1, Outcome.LOADED)]


@pytest.mark.parametrize(
    ("code", "reason"),
    [(FORBIDDEN, "ungranted-import"), (TOO_LARGE, "too-large")],
    ids=["cannot-run", "does-not-fit"],
)
def test_what_could_not_be_taken_is_reported_with_its_reason(
    market: Market, code: bytes, reason: str
) -> None:
    """The supplier signed it, and the module says why it is of no use here."""
    noted = hear(market, pages(campaign(market, code, **ALL)))
    _pass_time(market)
    assert _reports(market) == [Said(1, 1, Outcome.REFUSED, reason)]
    assert reason in noted


def test_what_was_there_before_is_reported_as_held(market: Market) -> None:
    """A campaign of the very programme that a module has in that version tells so of it."""
    hear(market, pages(campaign(market, probe())))
    hear(market, pages(campaign(market, probe(), number=2, **ALL)))
    _pass_time(market)
    assert _reports(market) == [Said(2, 1, Outcome.HELD)]


def test_nobody_reports_who_is_not_asked(market: Market) -> None:
    """Neither to a campaign that asks nobody, nor where the sample is of others."""
    hear(market, pages(campaign(market, probe())))
    assert _card(market).timers == {}
    numbers = range(2, 40)
    for number in numbers:
        update = campaign(market, probe(), number=number, report_share=64, report_within_s=1)
        hear(market, pages(update)[:4])
        _pass_time(market)
    reports = _reports(market)
    assert 0 < len(reports) < len(numbers)
    assert {said.campaign for said in reports} < set(numbers)


# --- how often ---


def test_a_campaign_that_goes_on_is_reported_once(market: Market) -> None:
    """The carousel's next rounds bring no second report, before the first one and after it."""
    made = campaign(market, probe(), **ALL)
    for update in range(4):
        hear(market, pages(made, update=update))
        if update:
            _pass_time(market)
    assert KNOWN in {note.name for note in market.card.notes}
    assert _reports(market) == [Said(1, 1, Outcome.LOADED)]


def test_a_newer_campaign_takes_the_place_of_one_not_reported_yet(market: Market) -> None:
    """One report waits for a resource at a time."""
    hear(market, pages(campaign(market, probe(), **ALL)))
    hear(market, pages(campaign(market, LARGER, version=2, number=2, **ALL)))
    _pass_time(market)
    assert _reports(market) == [Said(2, 2, Outcome.LOADED)]


def test_a_power_cut_between_loading_and_reporting(market: Market) -> None:
    """What was to be said is lost with it; where the campaign is still on the air the module holds it."""
    heard = pages(campaign(market, probe(), **ALL))
    hear(market, heard)
    market.card.power_cycle()
    _card(market).timers.clear()  # a terminal's timers end with the card's session
    hear(market, heard)
    _pass_time(market)
    assert _reports(market) == [Said(1, 1, Outcome.HELD)]


def test_a_resource_reserved_anew_has_a_report_of_its_own(market: Market) -> None:
    """What was said of the one before, whose TAR it has, does not silence it."""
    made = campaign(market, probe(), **ALL)
    for update in range(2):
        hear(market, pages(made, update=update))
        _pass_time(market)
        assert _reports(market) == [Said(1, 1, Outcome.LOADED)]
        assert market.command(Release(tar=TAR)).reason == ""
        assert market.command(reservation(market)).reason == ""


@pytest.mark.parametrize("command", [Block(tar=TAR), Release(tar=TAR)], ids=["blocked", "released"])
def test_a_resource_out_of_use_reports_nothing(market: Market, command: object) -> None:
    """Between loading and reporting the operator took it: nothing is left to be said to its supplier."""
    hear(market, pages(campaign(market, probe(), **ALL)))
    assert market.command(command).reason == ""
    _pass_time(market)
    assert _reports(market) == []


def test_many_services_are_reported_each_in_its_time(market: Market) -> None:
    """One timer serves them all: it is set anew for whichever is due first."""
    tars = [bytes((0xB2, 0, number)) for number in range(1, 5)]
    for at, tar in enumerate(tars, 1):
        names: dict[str, Any] = {"tar": tar, "service": f"s{at}", "logic_name": f"s{at}"}
        other = reservation(market, message_identifier=GLOBAL_SERVICES[at], **names)
        assert market.command(other).reason == ""
    started = market.card.now
    hear(market, pages(campaign(market, probe(), **ALL)))
    for at, tar in enumerate(tars, 1):
        made = campaign(market, probe(), tar=tar, logic_name=f"s{at}".encode(), **ALL)
        hear(market, pages(made, GLOBAL_SERVICES[at]))
    assert list(_card(market).timers) == [TIMER]
    moments = []
    while _card(market).tick():
        moments += [market.card.now - started] * len(_packets(market))
    assert len(moments) == 5
    assert len(set(moments)) > 1
    assert max(moments) <= WITHIN_S


# --- the network ---


def test_what_the_network_did_not_take_is_said_later(market: Market) -> None:
    """In another moment, drawn anew; then it is done with."""
    hear(market, pages(campaign(market, probe(), **ALL)))
    _card(market).unsent = True
    assert _card(market).tick()
    _card(market).unsent = False
    _pass_time(market)
    assert _reports(market) == [Said(1, 1, Outcome.LOADED)]
    assert not _card(market).tick()


def test_a_module_does_not_try_for_ever(market: Market) -> None:
    """After a few moments in which nobody took its report a module gives it up."""
    hear(market, pages(campaign(market, probe(), **ALL)))
    _card(market).unsent = True
    _pass_time(market)
    sent = [each for each in _card(market).asked if each.type is CommandType.SEND_SHORT_MESSAGE]
    assert len(sent) == MOST_TRIES


def test_other_timers_and_other_messages_are_nothing_to_it(market: Market) -> None:
    """The end of another timer, and a call that is not sent, leave a report as it was."""
    hear(market, pages(campaign(market, probe(), **ALL)))
    for timer in range(1, TIMER):
        market.card.serve(market.card.envelope(Envelope(tag=Tag.TIMER_EXPIRATION, timer=timer)))
    _card(market).unsent = True
    market.card.use_menu(2, market.supplier.service)
    _card(market).unsent = False
    assert _reports(market) == []
    _pass_time(market)
    assert _reports(market) == [Said(1, 1, Outcome.LOADED)]


def test_a_report_that_the_queue_has_no_room_for_is_said_later() -> None:
    """Two that are due at once take more short messages than the queue holds: one goes, then the other."""
    small = _market(suite="pq-hybrid", proactive=40)
    other: dict[str, Any] = {"tar": b"\xb2\0\1", "service": "s1", "logic_name": "s1"}
    assert small.command(reservation(small, message_identifier=GLOBAL_SERVICES[1], **other)).reason == ""
    at_once: dict[str, Any] = {"report_share": MAX_SHARE, "report_within_s": 1}
    hear(small, pages(campaign(small, probe(), **at_once)))
    made = campaign(small, probe(), tar=b"\xb2\0\1", logic_name=b"s1", **at_once)
    hear(small, pages(made, GLOBAL_SERVICES[1]))
    assert _card(small).tick()
    assert "queue-full" in small.card.reasons
    assert len(_packets(small)) == 1
    _pass_time(small)
    assert len(_packets(small)) == 1


# --- the attacker ---


def test_a_forged_campaign_is_not_reported(market: Market) -> None:
    """One who knows the domain key cannot make modules answer, whether his programme fits or not."""
    impostor = Supplier(suite=market.supplier.suite, name="impostor")
    honest, market.supplier = market.supplier, impostor
    for number, code in enumerate((probe(), TOO_LARGE), 1):
        hear(market, pages(campaign(market, code, number=number, supplier=honest.name.encode(), **ALL)))
    assert _card(market).timers == {}


def test_the_network_learns_nothing_from_a_report() -> None:
    """Reports of two modules that say the same share no block, and open under no other domain's key."""
    packets = []
    for seed in (1, 2):
        each = _market(seed=seed)
        hear(each, pages(campaign(each, probe(), **ALL)))
        _pass_time(each)
        packets += _packets(each)
    blocks = [{packet[at : at + 16] for at in range(10, len(packet), 16)} for packet in packets]
    assert blocks[0].isdisjoint(blocks[1])
    with pytest.raises(PacketRejected):
        decode_command(packets[0], report_keys(generate_symmetric(random.Random(9).randbytes)))


@pytest.mark.parametrize(
    ("changes", "whose"),
    [
        ({"version": 9}, {}),
        ({"campaign": 9}, {}),
        ({"generation": 9}, {}),
        ({"outcome": int(Outcome.REFUSED)}, {}),
        ({"reason": "too-large"}, {}),
        ({}, {"ua": "89882110000000000123"}),
        ({}, {"supplier": "rival"}),
        ({}, {"tar": b"\xb2\0\7"}),
        ({}, {"public": SUITES["x25519"].generate_signing_key(random.Random(5).randbytes).public}),
    ],
    ids=["version", "campaign", "generation", "outcome", "reason", "module", "supplier", "tar", "key"],
)
def test_a_report_proves_all_that_it_says(
    market: Market, changes: Mapping[str, Any], whose: Mapping[str, Any]
) -> None:
    """Each field, whose it is, to whom and of what: changed, or said of another, the signature fails."""
    hear(market, pages(campaign(market, probe(), **ALL)))
    _pass_time(market)
    (packet,) = _packets(market)
    altered = replace(_opened(packet), **changes)
    terms: dict[str, Any] = {"ua": UA, "supplier": market.supplier.name, "tar": TAR}
    terms |= {"suite": market.module_suite, "public": market.public, **whose}
    with pytest.raises(SignatureRejected):
        altered.verify(**terms)


# --- what it costs ---


@pytest.mark.parametrize(
    ("suite", "messages"), [("x25519", 1), ("p256", 1), ("rsa-ffdh", 4), ("pq-hybrid", 26)], ids=str
)
def test_what_a_report_takes_by_suite(suite: str, messages: int) -> None:
    """One short message with elliptic curves; the signature decides."""
    market = _market(suite=suite)
    hear(market, pages(campaign(market, probe(), **ALL)))
    _pass_time(market)
    assert len(market.card.sent) == messages
    assert _reports(market) == [Said(1, 1, Outcome.LOADED)]
