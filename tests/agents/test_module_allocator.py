"""A module whose operator has an allocator: whose commands it takes, and to whom it turns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from agents.messages.air import (
    MANAGER_TAR,
    Announce,
    Answer,
    Block,
    Compact,
    IntroduceOperator,
    RollOperatorKey,
    Subscribe,
)
from agents.messages.bearers import ANNOUNCEMENTS
from agents.messages.codec import decode, encode
from agents.messages.contact import ModuleKeys
from agents.messages.signed import EVERYBODY, Purpose, Signed
from tests.agents.module_kit import (
    COMMAND,
    NOW,
    OPERATOR_NUMBER,
    TAR,
    UA,
    UNSECURED,
    Market,
    Operator,
    manage,
)
from transport import apdu
from transport.cell_broadcast import GeographicScope, SerialNumber
from transport.cell_broadcast import split as split_pages
from transport.concatenation import split
from transport.secured_packet import (
    CELL_BROADCAST,
    ResponseStatus,
    SecurityParameters,
    encode_command,
)
from transport.toolkit import Envelope, Tag

HOST_NUMBER: Final = "15550110"


def hosted(suite: str = "p256", **changes: Any) -> tuple[Market, Operator]:
    """Return a market whose module obeys an allocator, and that allocator."""
    market, host = Market(), Operator(suite=suite, name="host")
    terms: dict[str, Any] = {
        "operator_suite": host.suite,
        "operator_public": host.key.public,
        "allocator": host.name,
        "allocator_number": HOST_NUMBER,
    }
    response = market.card.store_data(encode(market.personal(**(terms | changes))))
    if response.status == apdu.SW_OK:
        keys = decode(decode(response.data, Signed).body, ModuleKeys)
        market.public, market.sealing_public = keys.signing, keys.sealing
    return market, host


def answer(market: Market, octets: bytes, *, counter: int) -> Answer:
    """Return the module's answer, which must be signed for the allocator."""
    signed = decode(octets, Signed)
    assert (signed.signer, signed.target, signed.counter) == (UA, "host", counter)
    signed.verify(purpose=Purpose.ANSWER, suite=market.module_suite, public=market.public)
    return decode(signed.body, Answer)


@pytest.mark.parametrize("suite", ["p256", "x25519"])
def test_it_obeys_the_allocator(suite: str) -> None:
    """Commands under the allocator's name and key are carried out, and answered to it."""
    market, host = hosted(suite)
    for number, command in enumerate((market.supplier.reserve(), Block(tar=TAR), Compact()), 1):
        replied = manage(market.card, host.signed(command))
        assert answer(market, replied.data, counter=number).reason == ""
    market.card.power_cycle()
    replied = manage(market.card, host.signed(Compact()))
    assert answer(market, replied.data, counter=4).reason == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "not-our-operator"),
        ({"signer": "host"}, "signature"),
        ({"signer": "other"}, "not-our-operator"),
    ],
    ids=["as-itself", "in-the-allocators-name", "as-another"],
)
def test_it_does_not_obey_its_operator(changes: dict[str, Any], reason: str) -> None:
    """Whose key it does not have it does not believe, though subscriptions go there."""
    market, _host = hosted()
    before = market.card.image
    replied = manage(market.card, market.operator.signed(Compact(), **changes))
    assert (replied.status, replied.data) == (ResponseStatus.INSUFFICIENT_SECURITY_LEVEL, b"")
    assert market.card.reasons == [reason]
    assert market.card.image == before


def test_an_allocator_that_passes_for_the_operator_is_none() -> None:
    """Its key goes with its name: signed by it in the operator's name, a command is nobody's."""
    market, host = hosted()
    replied = manage(market.card, host.signed(Compact(), signer="mno"))
    assert replied.status is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
    assert market.card.reasons == ["not-our-operator"]


def test_its_allocators_key_stays_what_it_is() -> None:
    """Neither a certificate of the operator's, whatever it says, nor a roll by the allocator changes it."""
    market, host = hosted()
    before = market.card.image
    replied = manage(market.card, encode(IntroduceOperator(chain=b"")))
    assert replied.status is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
    assert market.card.reasons == ["allocated"]
    assert market.card.image == before
    roll = RollOperatorKey(suite="x25519", public=market.operator.key.public)
    assert answer(market, manage(market.card, host.signed(roll)).data, counter=1).reason == "allocated"
    assert answer(market, manage(market.card, host.signed(Compact())).data, counter=2).reason == ""


def test_subscriptions_go_to_the_operator() -> None:
    """To its number and under its name: the allocator hears of none."""
    market, _host = hosted()
    market.card.use_menu(1, "account")
    number, data = market.card.take_command()
    signed = decode(data, Signed)
    assert (number, signed.target, decode(signed.body, Subscribe).service) == (
        OPERATOR_NUMBER,
        "mno",
        "account",
    )


def test_the_allocators_number_has_room_of_its_own() -> None:
    """However many strangers leave parts of messages lying, the operator's number among them."""
    market, host = hosted()
    packet = encode_command(spi=UNSECURED, tar=MANAGER_TAR, data=host.signed(market.supplier.reserve()))
    parts = split(packet, reference=7, first=COMMAND)
    assert len(parts) > 1
    for part in parts:
        for number in range(40):
            half, *_ = split(bytes(200), reference=number, first=COMMAND)
            market.card.deliver(half, sender=OPERATOR_NUMBER if number % 2 else f"1666{number:04}")
        market.card.deliver(part, sender=HOST_NUMBER)
    assert [each.service for each in market.card.module.definitions.all()] == ["account"]


@pytest.mark.parametrize("name", ["host", "mno"])
def test_it_believes_the_allocators_time(name: str) -> None:
    """An announcement is taken from whom it obeys, and from nobody else."""
    market, host = hosted()
    signer = host if name == "host" else market.operator
    said = signer.signed(Announce(time=int(NOW) + 60), ua=EVERYBODY, counter=1, purpose=Purpose.ANNOUNCEMENT)
    packet = encode_command(spi=SecurityParameters(), tar=MANAGER_TAR, data=said, dialect=CELL_BROADCAST)
    serial = SerialNumber(scope=GeographicScope.PLMN, code=1, update=0)
    for page in split_pages(packet, serial, ANNOUNCEMENTS):
        market.card.envelope(Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=page.encode()))
    noted = [note.reason or note.name for note in market.card.notes]
    assert noted[-1] == ("manager.announced" if name == "host" else "not-our-operator")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"allocator_number": ""}, "half-an-allocator"),
        ({"allocator": ""}, "half-an-allocator"),
        ({"allocator": UA}, "bad-allocator"),
    ],
    ids=["no-number", "no-name", "itself"],
)
def test_an_allocator_that_cannot_be(changes: dict[str, Any], reason: str) -> None:
    """It has name and number, and is not the module."""
    market, _host = hosted(**changes)
    assert market.card.module.ua is None
    assert market.card.reasons == [reason]


def test_another_operators_commands_are_refused_as_ever() -> None:
    """Two operators may call a resource by the same TAR: whose command it is decides, not what it names."""
    market = Market().personalise().reserve()
    other = Operator(suite="x25519", name="other")
    before = market.card.image
    for command in (Block(tar=TAR), market.supplier.reserve(), Compact()):
        replied = manage(market.card, other.signed(command))
        assert replied.status is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
        replied = manage(market.card, other.signed(command, signer="mno"))
        assert replied.status is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
    assert market.card.reasons == ["not-our-operator", "signature"] * 3
    assert market.card.image == before


def test_the_longest_names_fit() -> None:
    """Names, numbers and address as long as a message can have them: the record has room."""
    names = {"authority": "a" * 32, "operator": "o" * 32, "allocator": "l" * 32}
    numbers = {"operator_number": "1" * 20, "allocator_number": "2" * 20}
    market, _host = hosted(**names, **numbers)
    assert market.card.module.ua == UA
    market.card.power_cycle()
    assert market.card.module.ua == UA
    assert replace(market.card.notes[0], reason="").name == "module.personalised"
