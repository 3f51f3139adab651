"""Messages that are bombs, and floods of anything: refused, in bounded memory, and the operator is heard."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgpack
import pytest

from agents.handset.security_module.manager import ANNOUNCED
from agents.handset.security_module.module import INS_STORE_DATA
from agents.handset.security_module.personalisation import MAX_OCTETS
from agents.handset.security_module.profile import STANDARD
from agents.messages.air import (
    MANAGER_TAR,
    Announce,
    Audit,
    Block,
    Invoke,
    LoadApplication,
    LoadData,
    Prove,
    Push,
    Release,
    Renew,
    Unblock,
)
from agents.messages.bearers import ANNOUNCEMENTS
from agents.messages.codec import decode, encode
from agents.messages.signed import EVERYBODY, Purpose, Signed
from tests.agents.attack_kit import altered, besides_sessions, refused, shop, unproven
from tests.agents.module_kit import COMMAND, NOW, OPERATOR_NUMBER, TAR, UNSECURED, Market, manage
from transport import apdu
from transport.cell_broadcast import GeographicScope, Page, SerialNumber
from transport.cell_broadcast import split as split_pages
from transport.cell_broadcast.page import CONTENT_OCTETS
from transport.concatenation import Part, split
from transport.secured_packet import CELL_BROADCAST, SecurityParameters, encode_command
from transport.sms.user_data import UserData
from transport.toolkit import Envelope, Tag

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTH: Final = 2000
BOMBS: Final[dict[str, tuple[bytes, str]]] = {
    "arrays in arrays": (b"\x91" * DEPTH + b"\xc0", "not-msgpack"),
    "three deep": (b"\x91\x91\x91\xc0", "too-deep"),
    "an array of 2^32 elements": (b"\xdd\xff\xff\xff\xff", "not-msgpack"),
    "an array of more elements than any message": (b"\xdc\0\x41" + b"\0" * 65, "not-msgpack"),
    "a string of 2^32 octets": (b"\xdb\xff\xff\xff\xff", "not-msgpack"),
    "2^32 octets": (b"\xc6\xff\xff\xff\xff", "not-msgpack"),
    "a map": (b"\x81\xc0\xc0", "not-msgpack"),
    "a map of 2^32 entries": (b"\xdf\xff\xff\xff\xff", "not-msgpack"),
    "an extension": (b"\xc7\x01\x05\0", "not-msgpack"),
    "a time stamp": (b"\xd6\xff\0\0\0\0", "not-msgpack"),
    "no text": (b"\x92\x0b\xa1\xff", "not-msgpack"),
    "a number": (b"\x0b", "not-an-array"),
    "nothing": (b"\xc0", "not-an-array"),
    "an empty array": (b"\x90", "unexpected-message"),
    "a class that is not": (b"\x92\xcd\xff\xff\0", "unexpected-message"),
    "a class of 2^64": (b"\x91\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "unexpected-message"),
    "a class that is a truth": (b"\x91\xc3", "unexpected-message"),
    "arrays of arrays of arrays": (msgpack.packb([[[0] * 60] * 60]), "too-deep"),
}
"""Octets that are no message, and why."""
EACH_BOMB: Final = pytest.mark.parametrize("name", BOMBS)


@pytest.fixture
def market() -> Market:
    """Return a module with a loaded resource, and its supplier with a session."""
    return Market().served()


@EACH_BOMB
def test_a_bomb_proves_nothing(market: Market, name: str) -> None:
    """Sent by anybody to the resource manager, it gets status 0A and changes nothing."""
    octets, reason = BOMBS[name]
    assert unproven(market, octets) == reason


@EACH_BOMB
def test_a_bomb_that_is_proven(market: Market, name: str) -> None:
    """Signed by the operator, or under a session, it is refused and uses its turn; a factory's is none."""
    octets, reason = BOMBS[name]
    assert refused(market, octets) == reason
    before = market.card.image
    assert market.supplier.result(market.card, octets).reason == reason
    assert besides_sessions(market.card.image) == besides_sessions(before)
    blank = Market().card
    block = octets[: apdu.MAX_DATA]
    response = blank.transmit(INS_STORE_DATA, block, p1=0x80)
    assert response.status == apdu.SW_WRONG_DATA
    assert blank.reasons


OPERATORS: Final = (
    shop().reserve(),
    Block(tar=TAR),
    Unblock(tar=TAR, supplier_public=bytes(33)),
    Release(tar=TAR),
    Renew(tar=TAR, supplier_public=bytes(33), expires_at=0, executions=-1),
    Audit(after=0),
)
SUPPLIERS: Final = (
    LoadApplication(version=2, total=1, offset=0, octets=b"\0"),
    LoadData(octets=b""),
    Invoke(argument=b""),
    Push(bearer="bip-tcp"),
)
WRONG: Final[dict[str, object]] = {
    "nothing": None,
    "a fraction": 1.5,
    "a truth": True,
    "less than any": -2,
    "2^64 - 1": (1 << 64) - 1,
    "a long text": "x" * 200,
    "a long list": ["sms"] * 60,
    "nested lists": [[]],
}
"""Values that no field of any of these messages takes."""


def _spoilt(message: object, value: object) -> Iterator[bytes]:
    """Yield a message with *value* in each of its fields, without its last one, and with one more."""
    values = msgpack.unpackb(encode(message))
    # A field that says yes or no takes a truth, and nothing else of these.
    places = [place for place in range(1, len(values)) if not (type(values[place]) is type(value) is bool)]
    yield from (altered(message, place, value) for place in places)
    yield from (msgpack.packb(values[:-1]), msgpack.packb([*values, value]))


@pytest.mark.parametrize("wrong", WRONG)
def test_a_field_of_another_type(market: Market, wrong: str) -> None:
    """In any field of any command, and with one too many or too few: refused, and only the turn is used."""
    reasons = {"bad-field", "wrong-field-count", "too-deep"}
    before = market.card.image
    for order in OPERATORS:
        assert {refused(market, octets) for octets in _spoilt(order, WRONG[wrong])} <= reasons
    for command in SUPPLIERS:
        results = [market.supplier.result(market.card, each) for each in _spoilt(command, WRONG[wrong])]
        assert {each.reason for each in results} <= reasons
    assert besides_sessions(market.card.image) == besides_sessions(before)
    signed = decode(market.operator.signed(Block(tar=TAR)), Signed)
    for message in (signed, Prove(tar=TAR, proof=b"")):
        assert {unproven(market, octets) for octets in _spoilt(message, WRONG[wrong])} <= reasons
    assert market.supplier.invoke(market.card).reason == ""


# --- floods ---


@dataclass(slots=True, kw_only=True)
class Flood:
    """Somebody who sends a module the same sort of thing without end; *number* is how often he has."""

    market: Market
    number: int = 0

    def parts(self) -> None:
        """Send a part of a message that never becomes whole, from one of a hundred numbers."""
        self.part(str(1000 + self.number % 100))

    def operators_parts(self) -> None:
        """Send such a part under the operator's number, as who can forge it may."""
        self.part(OPERATOR_NUMBER)

    def part(self, sender: str) -> None:
        """Send one part of some message."""
        part = Part(reference=self.number % 256, total=255, sequence=self.number % 254 + 2, wide=False)
        self.market.card.deliver(UserData(header=(part.element(),), payload=bytes(134)), sender=sender)

    def pages(self) -> None:
        """Broadcast a page of a message that never becomes whole."""
        serial = SerialNumber(scope=GeographicScope.PLMN, code=self.number % 1024, update=self.number % 16)
        page = Page(
            serial=serial,
            message_identifier=ANNOUNCEMENTS,
            page_parameter=(self.number % 15 + 1) << 4 | 15,
            content=bytes(CONTENT_OCTETS),
        )
        self.market.card.envelope(Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=page.encode()))

    def packets(self) -> None:
        """Send a packet to an address of nobody's."""
        tar = bytes((0xB3, 0, self.number % 8))
        self.market.card.transmit_part(encode_command(spi=UNSECURED, tar=tar, data=bytes(100)), sender="123")

    def forgeries(self) -> None:
        """Send a command that the operator has not signed."""
        manage(self.market.card, self.market.operator.signed(Block(tar=TAR), signer="nobody"))

    def calls(self) -> None:
        """Call the suppliers in turn; none of them answers."""
        self.market.card.use_menu(2, ("account", "loyalty")[self.number % 2])
        self.market.card.take_sent()

    def uploads(self) -> None:
        """Begin a programme anew that never ends."""
        piece = LoadApplication(version=2 + self.number, total=1024, offset=0, octets=bytes(200))
        assert self.market.supplier.result(self.market.card, piece).reason == ""

    def proofs(self) -> None:
        """Answer a call with what proves nothing."""
        manage(self.market.card, encode(Prove(tar=TAR, proof=self.number.to_bytes(130, "big"))))

    def menus(self) -> None:
        """Choose a menu item without looking at what is asked then."""
        self.market.card.envelope(Envelope(tag=Tag.MENU_SELECTION, item=3))

    def flow(self, what: str, count: int) -> None:
        """Send *what* so many times."""
        for _ in range(count):
            self.number += 1
            getattr(self, what)()
            self.market.card.notes.clear()


FLOODS: Final = (
    "parts",
    "operators_parts",
    "pages",
    "packets",
    "forgeries",
    "calls",
    "uploads",
    "proofs",
    "menus",
)


def _flooded() -> Flood:
    market, other = Market().served(), shop()
    assert market.command(other.reserve()).reason == ""
    return Flood(market=market)


FILLING: Final = frozenset({"parts", "operators_parts", "pages"})
"""What the module keeps, as far as it has room; then the oldest gives way."""


@pytest.mark.parametrize("what", FLOODS)
def test_a_flood_costs_bounded_memory(what: str) -> None:
    """After the first ones of anything, two hundred more take no more memory."""
    flood = _flooded()
    tracemalloc.start()
    try:
        flood.flow(what, 700 if what in FILLING else 60)
        before = _in_use()
        flood.flow(what, 200)
        grown = _in_use() - before
    finally:
        tracemalloc.stop()
    # Less than what came, and more than what the interpreter's free lists keep of it, which is some 16 KiB.
    assert grown < 3 * STANDARD.buffer


def _in_use() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize("what", [each for each in FLOODS if each != "operators_parts"])
def test_a_flood_does_not_stop_the_operator(what: str) -> None:
    """Between the parts of an operator's command anything may come, from however many numbers."""
    flood = _flooded()
    card = flood.market.card
    command = shop().reserve(tar=b"\xb2\0\x05", service="later")
    packet = encode_command(spi=UNSECURED, tar=MANAGER_TAR, data=flood.market.operator.signed(command))
    parts = split(packet, reference=7, first=COMMAND)
    assert len(parts) > 1
    for part in parts:
        flood.flow(what, 60)
        card.deliver(part, sender=OPERATOR_NUMBER)
    assert card.definition(b"\xb2\0\x05").service == "later"


@pytest.mark.parametrize("what", [each for each in FLOODS if each != "pages"])
def test_a_flood_does_not_silence_announcements(what: str) -> None:
    """Between the pages of an announcement, too; only who can broadcast can crowd out a broadcast."""
    flood = _flooded()
    card = flood.market.card
    terms: dict[str, Any] = {"ua": EVERYBODY, "purpose": Purpose.ANNOUNCEMENT, "counter": 1}
    data = flood.market.operator.signed(Announce(time=int(NOW) + 1), **terms)
    packet = encode_command(spi=SecurityParameters(), tar=MANAGER_TAR, data=data, dialect=CELL_BROADCAST)
    pages = split_pages(packet, SerialNumber(scope=GeographicScope.PLMN, code=1), ANNOUNCEMENTS)
    assert len(pages) > 1
    for page in pages:
        flood.flow(what, 60)
        card.envelope(Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=page.encode()))
    assert [note.name for note in card.notes] == [ANNOUNCED]


def test_an_endless_personalisation_costs_bounded_memory() -> None:
    """Block after block to a blank module, in order or not, takes no more than the longest message."""
    card = Market().card
    blocks = itertools.cycle(range(256))
    for _ in range(600):
        card.transmit(INS_STORE_DATA, bytes(255), p2=next(blocks))
    tracemalloc.start()
    try:
        for _ in range(600):
            card.transmit(INS_STORE_DATA, bytes(255), p2=next(blocks))
        assert tracemalloc.get_traced_memory()[0] < 2 * MAX_OCTETS
    finally:
        tracemalloc.stop()
