"""Short messages and APDUs as they come: put together, taken or refused, and never a way to a crash."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.handset.security_module.core import MAX_NOTES, PART_TIMEOUT_S
from agents.handset.security_module.errors import ImageRejected
from agents.handset.security_module.memory import Memory, Record
from agents.handset.security_module.module import (
    INS_ENVELOPE,
    INS_FETCH,
    INS_GET_DATA,
    INS_STORE_DATA,
    INS_TERMINAL_PROFILE,
    INS_TERMINAL_RESPONSE,
    SecurityModule,
)
from agents.handset.security_module.profile import LIGHT_SUITES, STANDARD
from agents.messages.air import MANAGER_TAR, Block, Invoke
from tests.agents.module_kit import (
    COMMAND,
    NOW,
    OPERATOR_NUMBER,
    TAR,
    UNSECURED,
    Card,
    Market,
    Supplier,
    manage,
    probe,
)
from transport import apdu
from transport.concatenation import Part, split
from transport.secured_packet import ResponseStatus, SecurityParameters, encode_command
from transport.sms.address import Address
from transport.sms.timestamp import ServiceCentreTime
from transport.sms.tpdu import SmsDeliver
from transport.sms.user_data import IEI_RESPONSE_PACKET, InformationElement, UserData
from transport.toolkit import Envelope, Tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from transport.apdu import ResponseApdu

OTHER_TAR = b"\xb2\0\x01"
FAILED = apdu.SW_TECHNICAL_PROBLEM


@pytest.fixture
def market() -> Market:
    """Return a module whose application is loaded and runs."""
    return Market().served()


def _parts(market: Market) -> list[UserData]:
    """Return the parts of a signed command to reserve another resource: there are two of them."""
    command = Supplier(suite="x25519", tar=OTHER_TAR, service="other").reserve(code_size=1)
    packet = encode_command(spi=UNSECURED, tar=MANAGER_TAR, data=market.operator.signed(command))
    parts = split(packet, reference=200, first=COMMAND)
    assert len(parts) == 2
    return parts


def _is_done(market: Market) -> bool:
    """Say whether that command was carried out."""
    return market.card.module.definitions.by_tar(OTHER_TAR) is not None


def _refused(market: Market, response: ResponseApdu, before: bytes) -> str:
    """Check that a short message was refused as a whole; return the reason noted."""
    assert (response.status, response.data) == (FAILED, b"")
    assert market.card.image == before
    assert market.card.notes[-1].name == "envelope.refused"
    return market.card.reasons[-1]


# --- parts ---


def test_parts_in_any_order(market: Market) -> None:
    """A command in two parts is taken when both are there; the report of the last one has the response."""
    first, second = _parts(market)
    assert market.card.deliver(second, sender=OPERATOR_NUMBER).data == b""
    assert not _is_done(market)
    assert market.card.deliver(first, sender=OPERATOR_NUMBER).data != b""
    assert _is_done(market)


def test_a_repeated_part_repeats_nothing(market: Market) -> None:
    """A part that comes twice, or after all is done, gets an empty report."""
    first, second = _parts(market)
    for part in (first, first):
        assert market.card.deliver(part, sender=OPERATOR_NUMBER).data == b""
    assert market.card.deliver(second, sender=OPERATOR_NUMBER).data != b""
    before = market.card.image
    for part in (first, second):
        assert market.card.deliver(part, sender=OPERATOR_NUMBER).data == b""
    assert market.card.image == before


def test_parts_of_two_senders_do_not_mix(market: Market) -> None:
    """The same reference from another number is another message."""
    first, second = _parts(market)
    market.card.deliver(first, sender=OPERATOR_NUMBER)
    assert market.card.deliver(second, sender="15550999").data == b""
    assert not _is_done(market)
    market.card.deliver(second, sender=OPERATOR_NUMBER)
    assert _is_done(market)


def test_parts_time_out(market: Market) -> None:
    """A part waits so long for the others, and no longer."""
    first, second = _parts(market)
    market.card.deliver(first, sender=OPERATOR_NUMBER)
    market.card.now += PART_TIMEOUT_S
    assert market.card.deliver(second, sender=OPERATOR_NUMBER).data == b""
    assert not _is_done(market)
    market.card.deliver(first, sender=OPERATOR_NUMBER)
    assert _is_done(market)


def test_a_power_cut_forgets_parts(market: Market) -> None:
    """Parts wait in volatile memory; sent again as a whole the command is taken."""
    first, second = _parts(market)
    market.card.deliver(first, sender=OPERATOR_NUMBER)
    market.card.power_cycle()
    assert market.card.deliver(second, sender=OPERATOR_NUMBER).data == b""
    assert not _is_done(market)
    market.card.deliver(first, sender=OPERATOR_NUMBER)
    assert _is_done(market)


def test_a_long_packet(market: Market) -> None:
    """A packet of eight short messages reaches its resource, from a supplier with a number of its own."""
    code = probe().ljust(1024, b"\0")
    assert market.supplier.load(market.card, code, version=2, piece=1024).reason != ""
    assert market.supplier.load(market.card, probe(), version=2, piece=1024).reason == ""


def test_a_first_part_without_the_packet_element(market: Market) -> None:
    """A part 1 that does not say that this is a command packet is refused."""
    before = market.card.image
    part = UserData(header=(Part(reference=1, total=2, sequence=1).element(),), payload=b"x")
    response = market.card.deliver(part, sender=OPERATOR_NUMBER)
    assert _refused(market, response, before) == "first-element-missing"


# --- what is no download ---


@pytest.mark.parametrize(
    "changes", [{"pid": 0}, {"pid": 0x40}, {"dcs": 0xF5}, {"dcs": 0x04}, {"dcs": 0xF7}], ids=str
)
def test_only_data_download_is_taken(market: Market, changes: dict[str, Any]) -> None:
    """PID and DCS must be those of data download (TS 31.111 clause 7.1.1.1)."""
    before = market.card.image
    user_data = UserData(header=(COMMAND,), payload=b"x")
    response = market.card.deliver(user_data, sender=OPERATOR_NUMBER, **changes)
    assert _refused(market, response, before) == "no-data-download"


def test_both_codings_of_class_2(market: Market) -> None:
    """Class 2, 8-bit data may be coded in two ways (TS 23.038 clause 4); both are taken."""
    packet = encode_command(spi=UNSECURED, tar=b"\xb2\0\x09", data=b"")
    for dcs in (0xF6, 0x16):
        response = market.card.deliver(
            UserData(header=(COMMAND,), payload=packet), sender=OPERATOR_NUMBER, dcs=dcs
        )
        assert response.data[-1] == ResponseStatus.TAR_UNKNOWN


@pytest.mark.parametrize(
    "header", [(), (InformationElement(iei=IEI_RESPONSE_PACKET),), (InformationElement(iei=5, data=b"ab"),)]
)
def test_a_message_without_a_command_packet(market: Market, header: tuple[InformationElement, ...]) -> None:
    """A short message that holds no command packet is refused."""
    before = market.card.image
    response = market.card.deliver(UserData(header=header, payload=b"x" * 30), sender=OPERATOR_NUMBER)
    assert _refused(market, response, before) == "no-command-packet"


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", "cpl"),
        (b"\0", "cpl"),
        (bytes(15), "cpl"),
        (bytes(16), "cpl"),
        (b"\0\x0e\x0c" + bytes(13), "chl"),
        (b"\0\x0e\x0d\0\x03" + bytes(11), "spi"),
    ],
)
def test_a_packet_without_a_header(market: Market, packet: bytes, reason: str) -> None:
    """What is no command packet, by its lengths or its SPI, names nobody to answer: the download fails."""
    before = market.card.image
    response = market.card.deliver(UserData(header=(COMMAND,), payload=packet), sender=OPERATOR_NUMBER)
    assert _refused(market, response, before) == reason


@pytest.mark.parametrize("tpdu", [b"", b"\x44", bytes(30), b"\x44\x15" + bytes(40), b"\x41" + bytes(30)])
def test_octets_that_are_no_sms_deliver(market: Market, tpdu: bytes) -> None:
    """What is no SMS-DELIVER is refused."""
    before = market.card.image
    response = market.card.envelope(Envelope(tag=Tag.SMS_PP_DOWNLOAD, tpdu=tpdu))
    assert _refused(market, response, before) != ""


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("", "unknown-envelope"),
        ("d5028c00", "unknown-envelope"),
        ("d2028c00", "bad-value"),
        ("d1ff", "bad-length"),
        ("d1028b00d1028b00", "wrong-tag"),
        ("d3029000", "bad-item-identifier"),
    ],
)
def test_an_envelope_that_is_none(market: Market, octets: str, reason: str) -> None:
    """An event that the module does not know, or that is not whole, is refused."""
    before = market.card.image
    response = market.card.transmit(INS_ENVELOPE, bytes.fromhex(octets))
    assert _refused(market, response, before) == reason


# --- APDUs ---


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("", apdu.SW_WRONG_LENGTH),
        ("8012", apdu.SW_WRONG_LENGTH),
        ("80c20000ff00", apdu.SW_WRONG_LENGTH),
        ("00a4040000", apdu.SW_WRONG_P1_P2),
        ("00b0000000", apdu.SW_NO_FILE_SELECTED),
        ("00c20000", apdu.SW_INS_NOT_SUPPORTED),
        ("a0120000", apdu.SW_CLA_NOT_SUPPORTED),
        ("80b00000", apdu.SW_INS_NOT_SUPPORTED),
        ("8012000000", apdu.SW_CONDITIONS_NOT_SATISFIED),
        ("8014000000", apdu.SW_WRONG_DATA),
        ("8010000001ff", apdu.SW_OK),
    ],
)
def test_status_words(market: Market, command: str, status: int) -> None:
    """Each way in which a command is none has its status word; nothing changes."""
    before = market.card.image
    assert market.card.transmit_octets(bytes.fromhex(command)).status == status
    assert market.card.image == before


def test_a_corrupt_image_does_not_boot(market: Market) -> None:
    """A module whose programme or records were altered in its pages refuses to boot."""
    definition = market.card.definition()
    for place in (definition.start + 10, Memory.from_pages(market.card.pages.items()).table_start + 8, 300):
        image = bytearray(market.card.image)
        image[place] ^= 1
        with pytest.raises(ImageRejected):
            SecurityModule(Memory.boot(bytes(image)), rng=bytes)


def test_a_record_that_is_none_does_not_boot(market: Market) -> None:
    """A record whose CRC holds and whose octets are no record is refused at boot too."""
    memory = Memory.from_pages(market.card.pages.items())
    with memory.transaction() as transaction:
        memory.put_record(transaction, Record.IDENTITY, b"\x90")
    with pytest.raises(ImageRejected, match="identity: unexpected-message"):
        SecurityModule(memory, rng=bytes)


# --- bounds ---


def test_the_reports_of_a_module_are_bounded(market: Market) -> None:
    """Whatever happens, no more than so many notes wait to be taken."""
    module = market.card.module
    for _ in range(3 * MAX_NOTES):
        module.process(bytes.fromhex("80c20000 02 d100"), NOW)
    assert len(list(module.take_notes())) == MAX_NOTES
    assert list(module.take_notes()) == []


def test_what_a_module_asks_for_is_bounded(market: Market) -> None:
    """A terminal that never fetches does not make the queue grow; what was asked first stays."""
    choose = Envelope(tag=Tag.MENU_SELECTION, item=9)
    for _ in range(3 * STANDARD.proactive):
        market.card.envelope(choose)
    response = market.card.envelope(choose)
    assert market.card.reasons[-1] == "queue-full"
    market.card.serve(response)
    assert len(market.card.shown) <= STANDARD.proactive
    assert market.card.transmit(INS_FETCH).status == apdu.SW_CONDITIONS_NOT_SATISFIED


@pytest.mark.parametrize("wide", [False, True])
def test_memory_is_bounded(market: Market, wide: bool) -> None:  # noqa: FBT001 -- a case
    """Parts without end, of messages that never become whole, take no more memory than a few of them."""
    numbers = itertools.count()

    def flood(count: int) -> None:
        for _ in range(count):
            number = next(numbers)
            part = Part(reference=number % 256, total=255, sequence=number % 254 + 2, wide=wide)
            user_data = UserData(header=(part.element(),), payload=bytes(130))
            market.card.deliver(user_data, sender=str(100 + number % 700))

    flood(200)
    tracemalloc.start()
    try:
        flood(200)
        before = tracemalloc.get_traced_memory()[0]
        flood(1000)
        market.card.notes.clear()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 8 * STANDARD.buffer
    assert manage(market.card, market.operator.signed(Block(tar=TAR))).status is ResponseStatus.POR_OK


# --- anything at all ---

INSTRUCTIONS = [
    INS_TERMINAL_PROFILE,
    INS_FETCH,
    INS_TERMINAL_RESPONSE,
    INS_ENVELOPE,
    INS_GET_DATA,
    INS_STORE_DATA,
]
octet = st.integers(0, 255)
tlvs = st.builds(
    lambda outer, inner: bytes((outer, len(inner))) + inner,
    st.sampled_from([0xD1, 0xD3, 0xD0, 0x81, 0x8B, 0x90]),
    st.binary(max_size=60).map(lambda octets: b"\x8b" + bytes((len(octets),)) + octets),
)
apdus = st.builds(
    lambda ins, p1, p2, data: bytes((0x80, ins, p1, p2)) + (bytes((len(data),)) + data if data else b""),
    st.sampled_from(INSTRUCTIONS),
    octet,
    octet,
    st.binary(max_size=120) | tlvs,
)
spis = st.builds(lambda spi1, spi2: bytes((spi1, spi2)), octet, octet.filter(lambda each: each & 3 != 3)).map(
    SecurityParameters.parse
)
tars = st.sampled_from([MANAGER_TAR, TAR, b"\xb2\0\x09"])


def _harmless(market: Market, act: Callable[[Card], object]) -> None:
    """Let *act* do something that nobody proved: the image stays as it was."""
    before = market.card.image
    act(market.card)
    assert market.card.image == before


def _markets() -> dict[str, Market]:
    return {"served": Market().served(), "reserved": Market().personalise().reserve(), "blank": Market()}


_MARKETS = _markets()
"""Modules in three states, which nothing below may change."""
EACH_STATE = pytest.mark.parametrize("state", _MARKETS)


@EACH_STATE
@settings(max_examples=150, deadline=None)
@given(command=apdus | st.binary(max_size=60))
def test_any_apdu(state: str, command: bytes) -> None:
    """Arbitrary APDUs get a status word and change nothing."""
    _harmless(_MARKETS[state], lambda card: card.transmit_octets(command))


@EACH_STATE
@settings(max_examples=100, deadline=None)
@given(tpdu=st.binary(max_size=176))
def test_any_tpdu(state: str, tpdu: bytes) -> None:
    """Arbitrary TPDUs get a status word and change nothing."""
    _harmless(_MARKETS[state], lambda card: card.envelope(Envelope(tag=Tag.SMS_PP_DOWNLOAD, tpdu=tpdu)))


@EACH_STATE
@settings(max_examples=100, deadline=None)
@given(payload=st.binary(max_size=130), sender=st.text("0123456789*#abc", max_size=20))
def test_any_packet(state: str, payload: bytes, sender: str) -> None:
    """Arbitrary octets for a command packet get a status word and change nothing."""
    _harmless(_MARKETS[state], lambda card: card.transmit_part(payload, sender=sender))


@EACH_STATE
@settings(max_examples=150, deadline=None)
@given(spi=spis, tar=tars, kic=octet, kid=octet, body=st.binary(max_size=100), chl=st.integers(13, 29))
def test_any_packet_with_a_header(
    state: str, spi: SecurityParameters, tar: bytes, kic: int, kid: int, body: bytes, chl: int
) -> None:
    """Well-formed headers of every SPI, over anything, are answered as they ask or not; nothing changes."""
    rest = bytes((chl,)) + spi.octets + bytes((kic, kid)) + tar + body.ljust(24, b"\0")
    packet = len(rest).to_bytes(2, "big") + rest
    _harmless(_MARKETS[state], lambda card: card.transmit_part(packet, sender=OPERATOR_NUMBER))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_an_altered_short_message(data: st.DataObject) -> None:
    """A genuine packet with one altered octet is refused, in whatever form, and changes nothing."""
    market = _MARKETS["served"]
    packet = market.supplier.packet(Invoke(argument=b"\1"))
    deliver = SmsDeliver(
        originator=Address(digits=market.supplier.number),
        user_data=UserData(header=(COMMAND,), payload=packet),
        timestamp=ServiceCentreTime.at(NOW),
    )
    tpdu = bytearray(deliver.encode())
    at = data.draw(st.integers(len(tpdu) - len(packet), len(tpdu) - 1))
    tpdu[at] ^= data.draw(st.integers(1, 255))
    _harmless(market, lambda card: card.envelope(Envelope(tag=Tag.SMS_PP_DOWNLOAD, tpdu=bytes(tpdu))))


@pytest.mark.parametrize("suite", sorted(LIGHT_SUITES))
def test_after_all_that_the_module_still_works(suite: str) -> None:
    """A module that was sent rubbish in every form serves its operator, supplier and subscriber as before."""
    market = Market(module_suite=suite).served()
    for rubbish in (b"", bytes(16), b"\xff" * 100):
        market.card.transmit_part(rubbish)
        market.card.transmit(INS_ENVELOPE, rubbish)
        market.card.transmit(INS_TERMINAL_RESPONSE, rubbish)
    assert market.supplier.invoke(market.card).output == b"\x01\0"
    assert market.card.use_menu(3, "account", "00") == ["Result: 0200"]
    assert market.command(Block(tar=TAR)).reason == ""
