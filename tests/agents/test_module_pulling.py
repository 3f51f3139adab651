"""When a module calls the supplier of a global service by itself, and when it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.handset.security_module.profile import STANDARD
from agents.handset.security_module.pulling import (
    CALLED,
    HEAD_HEARD,
    MOST_TRIES,
    NOT_LOADED,
    SWITCHED_ON,
)
from agents.messages.air import Block, Call, Prove, Release
from agents.messages.codec import decode, encode
from tests.agents.broadcast_kit import campaign, hear, pages, reservation
from tests.agents.module_kit import NOW, TAR, UA, Market, OnlineCard, manage, probe
from transport.secured_packet import ResponseStatus, decode_command

if TYPE_CHECKING:
    from transport.cell_broadcast import Page

WITHIN_S: Final = 600
NEWER: Final = probe(more="(drop (i32.const 1))")


def _market(pull_within_s: int = WITHIN_S, *, seed: int = 1, **changes: Any) -> Market:
    """Return a market whose module holds a global service, in a handset that has timers."""
    size, profile = 128 * 1024, replace(STANDARD, pull_within_s=pull_within_s)
    market = Market(size=size, module_profile=profile)
    market.card = OnlineCard(size=size, module_profile=profile, seed=seed)
    market.personalise()
    market.supplier.logic_name = "points"
    assert market.command(reservation(market, **changes)).reason == ""
    return market


def _loaded(pull_within_s: int = WITHIN_S) -> Market:
    """Return one whose module has the service's first version, from a broadcast."""
    market = _market(pull_within_s)
    hear(market, pages(campaign(market, probe())))
    assert market.card.definition().version == 1
    return market


def _timers(market: Market) -> dict[int, float]:
    assert isinstance(market.card, OnlineCard)
    return market.card.timers


def _pass_time(market: Market) -> list[float]:
    """Let all timers of the handset end; return when each did."""
    assert isinstance(market.card, OnlineCard)
    ends = []
    while market.card.tick():
        ends.append(market.card.now)
    return ends


def _calls(market: Market) -> list[Call]:
    """Return the calls that the module has made since."""
    sent = market.card.take_sent()
    assert {number for number, _ in sent} <= {market.supplier.number}
    return [decode(decode_command(user_data.payload).data, Call) for _, user_data in sent]


def _why(market: Market) -> list[str]:
    """Return why it called, each time."""
    return [note.reason for note in market.card.notes if note.name == CALLED]


def _power_cycle(market: Market) -> None:
    _timers(market).clear()
    market.card.power_cycle()


def _but_the_last(made: list[Page]) -> list[Page]:
    """Return a campaign's pages, with the head twice and the programme not whole."""
    return made[:-3]


def test_who_has_nothing_calls_at_a_moment_that_it_draws() -> None:
    """Within the time of its profile after its reservation, and again while that leads to no session."""
    market = _market()
    assert list(_timers(market)) == [8]
    assert _calls(market) == []
    first, *others = _pass_time(market)
    assert 1 <= first - NOW <= WITHIN_S
    assert len(others) == MOST_TRIES - 1
    assert len(_calls(market)) == MOST_TRIES
    assert _why(market) == [NOT_LOADED] * MOST_TRIES


def test_moments_are_each_module_s_own() -> None:
    """Ten thousand modules do not call at once."""
    assert len({_pass_time(_market(seed=seed))[0] for seed in range(1, 9)}) > 4


@pytest.mark.parametrize("pull_within_s", [0, WITHIN_S], ids=["not-asked-to", "has-it"])
def test_who_has_it_or_is_not_to_does_not_call(pull_within_s: int) -> None:
    """A broadcast that came in time takes the reason away; a standard profile never calls by itself."""
    market = _loaded(pull_within_s)
    _pass_time(market)
    assert _calls(market) == []


def test_a_service_for_one_module_is_not_pulled() -> None:
    """Nobody broadcasts it: its supplier is called when the subscriber wants it."""
    market = _market(domain_key=b"", logic_name="", message_identifier=0)
    assert _timers(market) == {}


def test_who_was_off_calls() -> None:
    """It cannot know what was broadcast meanwhile, and has the supplier say."""
    market = _loaded()
    _power_cycle(market)
    assert len(_pass_time(market)) == MOST_TRIES
    assert _why(market) == [SWITCHED_ON] * MOST_TRIES
    assert len(_calls(market)) == MOST_TRIES


def test_a_terminal_that_says_again_what_it_can_was_not_off() -> None:
    """The module is started by the first profile after power came on."""
    market = _loaded()
    timers = dict(_timers(market))
    market.card.start()
    assert _timers(market) == timers
    _pass_time(market)
    assert _calls(market) == []


def test_who_lost_pages_of_a_newer_version_calls() -> None:
    """It heard the signed head, so it knows that there is one; once, however many packets come."""
    market = _loaded()
    hear(market, _but_the_last(pages(campaign(market, NEWER, version=2, number=2))))
    assert list(_timers(market)) == [8]
    ends = dict(_timers(market))
    hear(market, _but_the_last(pages(campaign(market, NEWER, version=2, number=2), update=1)))
    assert _timers(market) == ends
    _pass_time(market)
    assert _why(market) == [HEAD_HEARD] * MOST_TRIES


def test_a_later_repetition_makes_the_call_needless() -> None:
    """What was lost came before the moment did."""
    market = _loaded()
    made = pages(campaign(market, NEWER, version=2, number=2))
    hear(market, _but_the_last(made))
    hear(market, pages(campaign(market, NEWER, version=2, number=2), update=1))
    assert market.card.definition().version == 2
    _pass_time(market)
    assert _calls(market) == []


def test_a_session_ends_the_calls() -> None:
    """The supplier asks what the module holds and sees to it: there is nothing more to call for."""
    market = _market()
    assert isinstance(market.card, OnlineCard)
    assert market.card.tick()
    (call,) = _calls(market)
    responder = market.supplier.responder(UA, market.module_suite, market.public)
    proof = responder.receive(call.opening)
    assert proof is not None
    assert manage(market.card, encode(Prove(tar=TAR, proof=proof))).status is ResponseStatus.POR_OK
    _pass_time(market)
    assert _calls(market) == []


@pytest.mark.parametrize("command", [Block, Release], ids=["blocked", "released"])
def test_what_the_operator_took_is_not_called_for(command: type[Block | Release]) -> None:
    """The resource is nobody's for now: the timer ends, and nothing comes of it."""
    market = _market()
    assert market.command(command(tar=TAR)).reason == ""
    _pass_time(market)
    assert _calls(market) == []
    assert _why(market) == []
