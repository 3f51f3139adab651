"""What an operator says to all its modules at once: pages of a broadcast, and the time that they bring."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.handset.security_module.core import PAGE_TIMEOUT_S
from agents.handset.security_module.manager import ANNOUNCED
from agents.messages.air import MANAGER_TAR, Announce, Block, Invoke, Prove
from agents.messages.bearers import ANNOUNCEMENTS
from agents.messages.codec import encode
from agents.messages.signed import EVERYBODY, Purpose
from tests.agents.module_kit import (
    NOW,
    OTHER_UA,
    SERVICE,
    TAR,
    UA,
    UNSECURED,
    Card,
    Market,
    Operator,
    manage,
)
from transport import apdu
from transport.cell_broadcast import MAX_CONTENT, GeographicScope, Page, SerialNumber, split
from transport.secured_packet import CELL_BROADCAST, ResponseStatus, SecurityParameters, encode_command
from transport.toolkit import Envelope, Tag

CLEAR = SecurityParameters()
LATER = int(NOW) + 1000


@pytest.fixture
def market() -> Market:
    """Return a module whose application runs until ten minutes after NOW; nothing is noted."""
    market = Market().served(expires_at=int(NOW) + 600)
    market.card.notes.clear()
    return market


def _announcement(market: Market, *, counter: int = 1, time: int = LATER, **changes: Any) -> bytes:
    terms: dict[str, Any] = {"ua": EVERYBODY, "purpose": Purpose.ANNOUNCEMENT} | changes
    return market.operator.signed(Announce(time=time), counter=counter, **terms)


def _pages(
    data: bytes,
    *,
    code: int = 1,
    update: int = 0,
    identifier: int = ANNOUNCEMENTS,
    spi: SecurityParameters = CLEAR,
    tar: bytes = MANAGER_TAR,
) -> list[Page]:
    """Return *data* as a broadcast command packet in pages."""
    packet = encode_command(spi=spi, tar=tar, data=data, dialect=CELL_BROADCAST)
    serial = SerialNumber(scope=GeographicScope.PLMN, code=code, update=update)
    return split(packet, serial, identifier)


def _hear(card: Card, pages: list[Page]) -> list[int]:
    """Bring pages; nothing may come back but a status word. Returns the status words."""
    statuses = []
    for page in pages:
        response = card.envelope(Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=page.encode()))
        assert response.data == b""
        statuses.append(response.status)
    return statuses


def _refused(market: Market, data: bytes, **changes: Any) -> str:
    """Broadcast *data*, which must come to nothing; return the reason noted."""
    before = market.card.image
    statuses = _hear(market.card, _pages(data, **changes))
    assert set(statuses) == {apdu.SW_OK}
    assert market.card.image == before
    assert market.card.sent == []
    assert [note.name for note in market.card.notes] == ["packet.refused"]
    return market.card.notes.pop().reason


def _taken(card: Card) -> int:
    return [note.name for note in card.notes].count(ANNOUNCED)


# --- what is taken ---


@pytest.mark.parametrize("suite", ["p256", "x25519"])
def test_an_announcement(suite: str) -> None:
    """An announcement in several pages is taken once, whoever repeats it, and nothing is answered."""
    market = Market(operator_suite=suite).personalise()
    pages = _pages(_announcement(market))
    assert len(pages) > 1
    for _ in range(3):
        assert set(_hear(market.card, pages)) == {apdu.SW_OK}
    assert _taken(market.card) == 1
    assert market.card.reasons == []
    assert market.card.sent == []


def test_pages_in_any_order(market: Market) -> None:
    """Pages that come mixed, with repetitions, and over several rounds make the same message."""
    pages = _pages(_announcement(market)) * 3
    random.Random(5).shuffle(pages)
    _hear(market.card, pages)
    assert _taken(market.card) == 1
    assert market.card.reasons == []


def test_an_announcement_that_asks_for_a_response(market: Market) -> None:
    """There is no response to a broadcast, whatever its SPI demands."""
    _hear(market.card, _pages(_announcement(market), spi=UNSECURED))
    assert _taken(market.card) == 1
    assert market.card.sent == []
    market.card.notes.clear()
    assert _refused(market, b"x", spi=UNSECURED, code=2) == "not-an-array"


def test_pages_time_out(market: Market) -> None:
    """A page is kept for a day; what comes after that begins the message anew."""
    first, *rest = _pages(_announcement(market))
    _hear(market.card, [first])
    market.card.now += PAGE_TIMEOUT_S
    _hear(market.card, rest)
    assert _taken(market.card) == 0
    _hear(market.card, [first])
    assert _taken(market.card) == 1


def test_a_power_cut_forgets_pages_and_not_the_counter(market: Market) -> None:
    """What was heard is heard again after a power cut, and refused as a replay: the counter is durable."""
    pages = _pages(_announcement(market))
    _hear(market.card, pages[:1])
    market.card.power_cycle()
    _hear(market.card, pages[1:])
    assert _taken(market.card) == 0
    _hear(market.card, pages[:1])
    assert _taken(market.card) == 1
    market.card.power_cycle()
    market.card.notes.clear()
    assert _refused(market, _announcement(market)) == "replayed"


def test_an_announcement_by_short_message(market: Market) -> None:
    """The same announcement may come by a short message to one module; it counts as the broadcast does."""
    signed = _announcement(market)
    assert manage(market.card, signed).status is ResponseStatus.POR_OK
    market.card.notes.clear()
    assert _refused(market, signed) == "replayed"


# --- what is refused ---


@pytest.mark.parametrize("counter", [0, 1, 6, 7])
def test_an_older_counter(market: Market, counter: int) -> None:
    """A counter that is not higher than the last one's is refused, in an update that is new to the phone."""
    _hear(market.card, _pages(_announcement(market, counter=7)))
    market.card.notes.clear()
    old = _announcement(market, counter=counter, time=LATER + 5)
    assert _refused(market, old, update=1) == "replayed"


def test_counters_of_commands_are_others(market: Market) -> None:
    """Announcements and commands have counters of their own: neither uses up the other's."""
    _hear(market.card, _pages(_announcement(market, time=int(NOW), counter=1 << 39)))
    assert _taken(market.card) == 1
    assert market.command(Block(tar=TAR)).reason == ""


def test_a_foreign_operator(market: Market) -> None:
    """Another operator's word is nothing, under its own name or under ours."""
    for name, reason in (("other", "not-our-operator"), (market.operator.name, "signature")):
        foreign = Operator(suite=market.operator_suite, name="other")
        signed = foreign.signed(
            Announce(time=LATER), ua=EVERYBODY, counter=1, purpose=Purpose.ANNOUNCEMENT, signer=name
        )
        assert _refused(market, signed, code=len(name)) == reason


@pytest.mark.parametrize("purpose", [each for each in Purpose if each is not Purpose.ANNOUNCEMENT])
def test_another_purpose(market: Market, purpose: Purpose) -> None:
    """A signature that was made for something else is none here."""
    assert _refused(market, _announcement(market, purpose=purpose)) == "signature"


def test_a_command_to_everybody(market: Market) -> None:
    """An operator that signs a command as an announcement is not obeyed: nobody is blocked by a broadcast."""
    signed = market.operator.signed(Block(tar=TAR), ua=EVERYBODY, counter=1, purpose=Purpose.ANNOUNCEMENT)
    assert _refused(market, signed) == "unexpected-message"


@pytest.mark.parametrize("purpose", [Purpose.COMMAND, Purpose.ANNOUNCEMENT])
@pytest.mark.parametrize("ua", [UA, OTHER_UA])
def test_what_is_meant_for_one(market: Market, ua: str, purpose: Purpose) -> None:
    """What names one module is no broadcast, be it proven or not; by a short message it is still obeyed."""
    signed = market.operator.signed(Block(tar=TAR), ua=ua, purpose=purpose)
    assert _refused(market, signed) == "not-for-everybody"
    if (ua, purpose) == (UA, Purpose.COMMAND):
        assert market.answer(manage(market.card, signed)).reason == ""


def test_a_packet_of_a_session(market: Market) -> None:
    """A supplier's packet in a broadcast runs nothing and uses no counter: by a short message it counts."""
    packet = market.supplier.packet(Invoke(argument=b"\0"))
    before = market.card.image
    pages = split(packet, SerialNumber(scope=GeographicScope.PLMN, code=9), ANNOUNCEMENTS)
    assert set(_hear(market.card, pages)) == {apdu.SW_OK}
    assert market.card.reasons == ["not-for-everybody"]
    assert market.card.image == before
    assert market.supplier.exchange(market.card, packet).status is ResponseStatus.POR_OK


def test_a_proof_in_a_broadcast(market: Market) -> None:
    """A handshake is between two."""
    assert _refused(market, encode(Prove(tar=TAR, proof=b"x"))) == "not-for-everybody"


@pytest.mark.parametrize("identifier", [ANNOUNCEMENTS + 1, 0x1000, 0, 0xFFFF])
def test_an_identifier_that_is_not_wanted(market: Market, identifier: int) -> None:
    """A page that EF.CBMID does not name is refused page by page."""
    pages = _pages(_announcement(market), identifier=identifier)
    assert set(_hear(market.card, pages)) == {apdu.SW_TECHNICAL_PROBLEM}
    assert set(market.card.reasons) == {"message-identifier"}


def test_a_blank_module_hears_nothing() -> None:
    """Before personalisation no identifier is wanted."""
    market = Market()
    statuses = _hear(market.card, _pages(_announcement(market)))
    assert set(statuses) == {apdu.SW_TECHNICAL_PROBLEM}
    assert set(market.card.reasons) == {"message-identifier"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xff", "cpl"),
        (b"\0\0", "short"),
        (b"\0\x0d" + bytes(13), "short"),
        (b"\0\x0e\x0c" + bytes(13), "chl"),
        (b"\0\x0e\x0d\0\x03" + bytes(11), "spi"),
    ],
)
def test_a_page_that_holds_no_packet(market: Market, content: bytes, reason: str) -> None:
    """What is, by its lengths, no command packet is refused when it is whole."""
    serial = SerialNumber(scope=GeographicScope.CELL, code=3)
    assert _hear(market.card, split(content, serial, ANNOUNCEMENTS)) == [apdu.SW_TECHNICAL_PROBLEM]
    assert market.card.reasons == [reason]


@pytest.mark.parametrize("parameter", [0x21, 0xF1, 0xFE])
def test_a_page_number_beyond_the_total(market: Market, parameter: int) -> None:
    """A page whose number is beyond the total is none."""
    page = bytearray(_pages(b"x")[0].encode())
    page[5] = parameter
    response = market.card.envelope(Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=bytes(page)))
    assert response.status == apdu.SW_TECHNICAL_PROBLEM
    assert market.card.reasons == ["page-parameter"]


_HEARING = Market().served()
"""For pages that must not change anything, over and over."""


@settings(max_examples=150, deadline=None)
@given(
    content=st.binary(min_size=1, max_size=MAX_CONTENT),
    code=st.integers(0, 1023),
    identifier=st.sampled_from([ANNOUNCEMENTS, 0x1000]),
)
def test_any_pages(content: bytes, code: int, identifier: int) -> None:
    """Arbitrary octets in pages get status words and change nothing, and the module hears on."""
    before = _HEARING.card.image
    serial = SerialNumber(scope=GeographicScope.PLMN, code=code)
    _hear(_HEARING.card, split(content, serial, identifier))
    assert _HEARING.card.image == before


# --- time ---


def test_an_announcement_moves_the_time_on(market: Market) -> None:
    """A resource that expires is expired when the operator says so, whatever the phone's clock says."""
    assert market.supplier.invoke(market.card).reason == ""
    _hear(market.card, _pages(_announcement(market, time=int(NOW) + 600)))
    assert market.supplier.unheard(market.card, Invoke(argument=b"\0")) == "expired"
    assert market.card.use_menu(3, SERVICE, "00") == ["Refused: expired"]


@pytest.mark.parametrize("cut", [False, True], ids=["powered", "after-a-power-cut"])
def test_a_clock_that_is_set_back(market: Market, cut: bool) -> None:  # noqa: FBT001 -- a case
    """What expired by an announcement stays so when the phone's clock goes back, or power is cut."""
    _hear(market.card, _pages(_announcement(market)))
    market.card.now = NOW - 1_000_000
    if cut:
        market.card.power_cycle()
    assert market.supplier.unheard(market.card, Invoke(argument=b"\0")) == "expired"


def test_an_announcement_of_an_earlier_time(market: Market) -> None:
    """A later announcement of an earlier time is taken, and the time does not go back."""
    _hear(market.card, _pages(_announcement(market, counter=1)))
    _hear(market.card, _pages(_announcement(market, counter=2, time=5), update=1))
    assert _taken(market.card) == 2
    market.card.power_cycle()
    assert market.supplier.unheard(market.card, Invoke(argument=b"\0")) == "expired"
    assert set(_hear(market.card, _pages(_announcement(market, counter=1), code=2))) == {apdu.SW_OK}
    assert market.card.reasons[-1] == "replayed"


def test_an_announcement_before_the_end(market: Market) -> None:
    """A time before the expiry date expires nothing."""
    _hear(market.card, _pages(_announcement(market, time=int(NOW) + 599)))
    assert market.supplier.invoke(market.card).reason == ""
