"""What the subscriber does at the handset: SUB, SER and use, by menu, GET INPUT and DISPLAY TEXT."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.handset.security_module.menu import Item
from agents.handset.security_module.module import INS_FETCH, INS_TERMINAL_RESPONSE
from agents.handset.security_module.profile import LIGHT_SUITES
from agents.handset.terminal import Subscriber, answer
from agents.messages.air import Subscribe
from agents.messages.codec import decode
from agents.messages.signed import Purpose, Signed
from tests.agents.module_kit import OPERATOR_NUMBER, SERVICE, UA, Card, Market
from transport import apdu
from transport.errors import SignatureRejected
from transport.toolkit import (
    MAX_TEXT,
    CommandType,
    Envelope,
    ProactiveCommand,
    Tag,
    TerminalResponse,
    TerminalResult,
)


@pytest.fixture
def market() -> Market:
    """Return a personalised module with a resource reserved."""
    return Market().personalise().reserve()


def _request(market: Market) -> Signed:
    """Return the request that the module has sent to its operator, its proof checked."""
    number, data = market.card.take_command()
    assert number == OPERATOR_NUMBER
    signed = decode(data, Signed)
    signed.verify(purpose=Purpose.REQUEST, suite=market.module_suite, public=market.public)
    assert (signed.signer, signed.target) == (UA, market.operator.name)
    return signed


def _choose(card: Card, item: int) -> ProactiveCommand:
    """Choose an item; return what the module asks then."""
    response = card.envelope(Envelope(tag=Tag.MENU_SELECTION, item=item))
    assert response.proactive_length is not None
    return _fetch(card)


def _fetch(card: Card) -> ProactiveCommand:
    return ProactiveCommand.parse(card.transmit(INS_FETCH).data)


@pytest.mark.parametrize("suite", sorted(LIGHT_SUITES))
def test_a_subscription_is_signed(suite: str) -> None:
    """SUB: the service's name goes to the operator, signed with the module's key for this operator."""
    market = Market(module_suite=suite).personalise()
    assert market.card.use_menu(Item.SUBSCRIBE, SERVICE) == []
    signed = _request(market)
    assert decode(signed.body, Subscribe) == Subscribe(service=SERVICE)
    with pytest.raises(SignatureRejected):
        signed.verify(purpose=Purpose.ANSWER, suite=suite, public=market.public)


def test_each_request_has_a_turn_of_its_own(market: Market) -> None:
    """Requests are counted, also over power cuts, so that none can be played again."""
    turns = []
    for _ in range(4):
        market.card.use_menu(Item.SUBSCRIBE, SERVICE)
        turns.append(_request(market).counter)
        market.card.power_cycle()
    assert turns == [1, 2, 3, 4]


def test_the_turn_is_stored_before_the_request_leaves(market: Market) -> None:
    """The counter is in the pages when the module asks to send: a power cut then costs a request, no turn."""
    assert _choose(market.card, Item.SUBSCRIBE).type is CommandType.GET_INPUT
    typed = TerminalResponse(type=CommandType.GET_INPUT, text=SERVICE.encode())
    response = market.card.transmit(INS_TERMINAL_RESPONSE, typed.encode())
    assert response.proactive_length is not None
    market.card.power_cycle()
    assert market.card.transmit(INS_FETCH).status == apdu.SW_CONDITIONS_NOT_SATISFIED
    market.card.use_menu(Item.SUBSCRIBE, SERVICE)
    assert _request(market).counter == 2


def test_questions_are_asked(market: Market) -> None:
    """Each item asks what it needs, one question after the other."""
    for item, questions in ((1, 1), (2, 1), (3, 2)):
        command = _choose(market.card, item)
        for _ in range(questions):
            assert command.type is CommandType.GET_INPUT
            assert command.text.endswith(b"?")
            typed = TerminalResponse(type=CommandType.GET_INPUT, text=b"00")
            response = market.card.transmit(INS_TERMINAL_RESPONSE, typed.encode())
            assert response.proactive_length is not None
            command = _fetch(market.card)
        assert command.type is not CommandType.GET_INPUT
        while market.card.transmit(INS_FETCH).status == apdu.SW_OK:
            pass


def test_the_length_that_waits_is_right(market: Market) -> None:
    """91xx says how many octets FETCH will bring, as long as one octet can say it."""
    response = market.card.envelope(Envelope(tag=Tag.MENU_SELECTION, item=1))
    assert response.proactive_length == len(market.card.transmit(INS_FETCH).data)


@pytest.mark.parametrize("item", [0, 4, 255])
def test_an_item_that_does_not_exist(market: Market, item: int) -> None:
    """The subscriber is told."""
    assert market.card.use_menu(item) == ["Refused: no-such-item"]


@pytest.mark.parametrize("item", Item)
def test_a_blank_module_has_no_menu(item: Item) -> None:
    """Before it is personalised a module does nothing for its subscriber."""
    assert Card().use_menu(item, SERVICE, "00") == ["Refused: not-personalised"]


@pytest.mark.parametrize(
    ("item", "typed", "reason"),
    [
        (1, ("a service",), "bad-input"),
        (1, ("",), "bad-input"),
        (1, ("x" * 33,), "bad-input"),
        (1, ("\N{SNOWMAN}",), "bad-input"),
        (2, ("unknown",), "unknown-resource"),
        (2, ("",), "unknown-resource"),
        (3, ("unknown", "00"), "unknown-resource"),
        (3, (SERVICE, "0"), "bad-input"),
        (3, (SERVICE, "xy"), "bad-input"),
    ],
)
def test_what_is_typed_wrongly(market: Market, item: int, typed: tuple[str, ...], reason: str) -> None:
    """A name that is none, a service that is not there, no hexadecimal: shown, noted, and nothing is done."""
    before = market.card.image
    assert market.card.use_menu(item, *typed) == [f"Refused: {reason}"]
    assert market.card.reasons == [reason]
    assert market.card.image == before
    assert market.card.take_sent() == []


def test_a_second_choice_takes_the_place_of_the_first(market: Market) -> None:
    """A subscriber who chooses again is asked again; what he types goes to the last choice."""
    _choose(market.card, Item.USE)
    assert market.card.use_menu(Item.SERVE, SERVICE) == []
    assert market.card.take_command()[0] == market.supplier.number


def test_an_answer_without_a_question(market: Market) -> None:
    """Text that nobody asked for does nothing."""
    before = market.card.image
    typed = TerminalResponse(type=CommandType.GET_INPUT, text=SERVICE.encode())
    assert market.card.transmit(INS_TERMINAL_RESPONSE, typed.encode()).status == apdu.SW_OK
    assert market.card.image == before
    assert market.card.notes[-1].reason == ""


@pytest.mark.parametrize("answered", [0, 1])
def test_a_subscriber_who_turns_away(answered: int) -> None:
    """A question that is not answered ends the dialogue: nothing runs, nothing is counted, nothing leaves."""
    market = Market().served(executions=3)
    _choose(market.card, Item.USE)
    if answered:
        typed = TerminalResponse(type=CommandType.GET_INPUT, text=SERVICE.encode())
        market.card.transmit(INS_TERMINAL_RESPONSE, typed.encode())
        _fetch(market.card)
    before = market.card.image
    gone = TerminalResponse(type=CommandType.GET_INPUT, result=TerminalResult.TERMINAL_UNABLE)
    market.card.serve(market.card.transmit(INS_TERMINAL_RESPONSE, gone.encode()))
    assert market.card.image == before
    assert market.card.definition().executions_left == 3
    late = TerminalResponse(type=CommandType.GET_INPUT, text=b"00")
    market.card.serve(market.card.transmit(INS_TERMINAL_RESPONSE, late.encode()))
    assert market.card.image == before


def test_a_power_cut_ends_a_dialogue(market: Market) -> None:
    """What was chosen and typed is volatile."""
    _choose(market.card, Item.SERVE)
    market.card.power_cycle()
    typed = TerminalResponse(type=CommandType.GET_INPUT, text=SERVICE.encode())
    response = market.card.transmit(INS_TERMINAL_RESPONSE, typed.encode())
    assert (response.status, response.proactive_length) == (apdu.SW_OK, None)


def test_a_terminal_response_that_is_none(market: Market) -> None:
    """Octets that are no terminal response are refused, and the question stays open."""
    _choose(market.card, Item.SERVE)
    assert market.card.transmit(INS_TERMINAL_RESPONSE, b"\x81").status == apdu.SW_WRONG_DATA
    assert market.card.notes[-1].name == "terminal_response.refused"
    typed = TerminalResponse(type=CommandType.GET_INPUT, text=SERVICE.encode())
    market.card.serve(market.card.transmit(INS_TERMINAL_RESPONSE, typed.encode()))
    assert market.card.take_command()[0] == market.supplier.number


def test_messages_go_to_numbers_as_the_octets_say(market: Market) -> None:
    """A command packet leaves with PID 7F and DCS F6, in parts of at most 140 octets, under one number."""
    market.card.use_menu(Item.SUBSCRIBE, "a-service-with-a-name-of-its-own")
    parts = list(market.card.sent)
    assert len(parts) == 2
    for each in parts:
        assert (each.pid, each.dcs) == (0x7F, 0xF6)
        assert each.user_data.length <= 140
    assert {each.destination.digits for each in parts} == {OPERATOR_NUMBER}
    assert len({each.reference for each in parts}) == 1


@pytest.mark.parametrize("length", [0, 1, MAX_TEXT, MAX_TEXT + 1, 16 * 1024])
def test_every_answer_can_be_said(market: Market, length: int) -> None:
    """Whatever is typed, the terminal's answer can be encoded: the module set the longest that it takes."""
    question = _choose(market.card, Item.SERVE)
    response = answer(question, Subscriber(types=deque([b"x" * length])))
    assert len(response.text) <= MAX_TEXT
    assert TerminalResponse.parse(response.encode()) == response
    market.card.serve(market.card.transmit(INS_TERMINAL_RESPONSE, response.encode()))
    assert market.card.take_sent() == []


@settings(max_examples=80, deadline=None)
@given(item=st.integers(0, 255), typed=st.lists(st.binary(max_size=100), min_size=2, max_size=2))
def test_anything_typed(item: int, typed: list[bytes]) -> None:
    """Whatever a subscriber chooses and types, the module answers; nothing but a request changes it."""
    before = _MARKET.card.image
    response = _MARKET.card.envelope(Envelope(tag=Tag.MENU_SELECTION, item=item))
    _MARKET.card.serve(response, typed)
    if not _MARKET.card.take_sent():
        assert _MARKET.card.image == before


_MARKET = Market().personalise().reserve()
