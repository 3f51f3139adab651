"""A domain key is wrapped for one reservation: what was kept of another, or had in advance, opens none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agents.messages.air import Audit, Audited, Block, Compact, Invoke, Release, RenewDomainKey
from agents.messages.codec import decode
from agents.messages.signed import Signed
from tests.agents.attack_kit import announce
from tests.agents.broadcast_kit import NAME, reservation
from tests.agents.module_kit import NOW, TAR, UA, Market, Supplier, certified, introduction, key_of, manage
from tests.agents.renewal_kit import connect, hear, held, key, renewal, reserved, wrapped
from transport.security.domain_key import FIRST_TICKET, TICKET_OCTETS
from transport.security.terms import AGREE_THEN_SIGN

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.messages.air import Answer

OTHER_TAR = b"\xb2\x00\x01"
FIRST, NEXT = key(1), key(2)


@pytest.fixture
def market() -> Market:
    """Return a market with a personalised module that has reserved nothing yet."""
    market = Market().personalise()
    market.supplier.logic_name = NAME
    return market


def _told(market: Market) -> bytes:
    """Return the ticket that the module tells when it is audited."""
    signed = decode(manage(market.card, market.operator.signed(Audit(after=0))).data, Signed)
    return decode(signed.body, Audited).ticket


def _end_by_itself(market: Market) -> None:
    """Let the resource run for the last time, which deletes it."""
    market.connect().load().supplier.result(market.card, Invoke(argument=b"\0"))
    assert market.card.module.definitions.all() == []
    market.ticket = _told(market)


def _released(market: Market) -> None:
    assert market.command(Release(tar=TAR)).reason == ""


@pytest.mark.parametrize(
    ("end", "terms"),
    [(_released, {}), (_end_by_itself, {"executions": 1, "at_end": "delete"})],
    ids=["released", "ended"],
)
def test_what_was_wrapped_before_opens_no_later_reservation(
    market: Market, end: Callable[[Market], None], terms: dict[str, Any]
) -> None:
    """Neither what the last reservation came with, nor what was had meanwhile; what is asked for now does."""
    used = reservation(market, **terms)
    assert market.command(used).reason == ""
    in_advance = reservation(market, **terms)
    end(market)
    for kept in (used, in_advance):
        assert market.command(kept).reason == "other-reservation"
        assert market.card.module.definitions.all() == []
    market.card.power_cycle()
    assert market.command(used).reason == "other-reservation"
    assert market.command(reservation(market, **terms)).reason == ""


def test_a_resource_that_a_date_deletes_uses_up_a_ticket(market: Market) -> None:
    """What was had while it was there does not bring its key back."""
    end = int(NOW) + 600
    assert market.command(reservation(market, expires_at=end, at_end="delete")).reason == ""
    kept, before = reservation(market), _told(market)
    announce(market, end, counter=1)
    assert market.card.module.definitions.all() == []
    assert _told(market) != before
    assert market.command(kept).reason == "other-reservation"


def test_a_refused_reservation_uses_up_its_ticket(market: Market) -> None:
    """What it came with is for no second attempt; the refusal tells the ticket of the next one."""
    refused = reservation(market, code_size=1 << 20)
    answer = market.command(refused)
    assert (answer.reason, len(answer.ticket)) == ("zone-full", TICKET_OCTETS)
    small = reservation(market, domain_key=refused.domain_key)
    assert market.command(small).reason == "other-reservation"
    assert market.command(reservation(market)).reason == ""


def test_a_ticket_is_of_one_resource(market: Market) -> None:
    """What was wrapped for one service is used up by the reservation of another, and opens there no more."""
    other = Supplier(suite="p256", name="shop", number="15550300", tar=OTHER_TAR, service="loyalty")
    kept = reservation(market)
    another = reservation(market, tar=OTHER_TAR, service=other.service, logic_name="miles")
    assert market.command(another).reason == ""
    assert market.command(kept).reason == "other-reservation"
    swapped = reservation(market, domain_key=reservation(market, tar=OTHER_TAR).domain_key)
    assert market.command(swapped).reason == "cannot-open"


@pytest.mark.parametrize(
    "altered",
    [
        lambda ticket: (int.from_bytes(ticket, "big") + 1).to_bytes(TICKET_OCTETS, "big"),
        lambda ticket: (int.from_bytes(ticket, "big") - 1).to_bytes(TICKET_OCTETS, "big"),
        lambda _ticket: FIRST_TICKET,
    ],
    ids=["next", "one-before", "first"],
)
def test_a_ticket_is_not_guessed(market: Market, altered: Callable[[bytes], bytes]) -> None:
    """It is no count: neither what comes before or after it opens, nor does what a new module begins with."""
    assert market.command(reservation(market)).reason == ""
    _released(market)
    drawn = market.ticket
    market.ticket = altered(drawn)
    assert market.command(reservation(market)).reason == "other-reservation"
    assert market.ticket not in {drawn, altered(drawn)}


def test_a_ticket_that_is_relabelled_opens_nothing(market: Market) -> None:
    """The ticket that stands in clear is sealed over too."""
    kept = reservation(market).domain_key
    assert market.command(reservation(market)).reason == ""
    _released(market)
    relabelled = kept.replace(FIRST_TICKET, market.ticket, 1)
    assert market.command(reservation(market, domain_key=relabelled)).reason == "cannot-open"


def test_an_operator_that_is_introduced_anew_has_no_turn_twice() -> None:
    """A certificate begins the count of commands anew: the same commands in the same turns reserve nothing.

    So the counter of a command would not tell one reservation from another, and the ticket does.
    """
    market = Market().personalise(operator_serial=3)
    market.command(Compact())
    used = reservation(market)
    assert market.command(used).reason == ""
    _released(market)
    market.operator.key = key_of("new")
    manage(market.card, introduction(certified(market.operator.key, 9)))
    market.operator.counter = 0
    market.command(Compact())
    assert market.command(used).reason == "other-reservation"
    assert market.operator.counter == 2


def test_an_answer_that_was_lost_is_given_again_with_its_ticket(market: Market) -> None:
    """The same reservation in the same turn is a repetition, after a power cut too, and uses nothing up."""
    command = market.operator.signed(reservation(market))
    first = market.answer(manage(market.card, command))
    market.card.power_cycle()
    assert market.answer(manage(market.card, command)) == first
    assert _told(market) == first.ticket == market.ticket


def test_who_reserves_no_domain_hears_of_no_ticket(market: Market) -> None:
    """What touches no global service brings none and draws none."""
    supplier = market.supplier
    commands = [supplier.reserve(), Block(tar=TAR), Release(tar=TAR), Compact(), Release(tar=TAR)]
    answers: list[Answer] = [market.command(command) for command in commands]
    assert {answer.ticket for answer in answers} == {b""}
    assert _told(market) == FIRST_TICKET


def test_each_ticket_is_another_one(market: Market) -> None:
    """Each reservation and each release tells one that there was not before, and an audit tells the same."""
    told = [FIRST_TICKET]
    for _ in range(3):
        for command in (reservation(market), Release(tar=TAR)):
            told.append(market.command(command).ticket)
            assert _told(market) == told[-1]
    assert len(set(told)) == len(told)


def test_a_renewal_is_no_reservation_and_the_other_way_round() -> None:
    """What is wrapped to who has the key before reserves nothing; what is for a reservation renews none."""
    market = reserved(AGREE_THEN_SIGN, FIRST)
    for_a_reservation = wrapped(market, NEXT, ticket=market.ticket)
    connect(market, FIRST, AGREE_THEN_SIGN)
    refused = market.supplier.result(market.card, RenewDomainKey(octets=for_a_reservation))
    assert (refused.reason, held(market)) == ("unknown-format", FIRST)
    assert hear(market, renewal(market, FIRST, NEXT, {UA: for_a_reservation})) == ["unknown-format"]
    _released(market)
    again = reservation(market, domain_key=wrapped(market, NEXT))
    assert market.command(again).reason == "unknown-format"
