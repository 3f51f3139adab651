"""APDU in, APDU out: classes and instructions, responses over T=0 and T=1, 91xx, and octets of any kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.handset.security_module.answer_to_reset import ATR
from agents.messages.air import Block
from tests.agents.module_kit import COMMAND, TAR, UNSECURED, Card, Market
from transport import apdu
from transport.apdu import CommandApdu, ResponseApdu
from transport.secured_packet import (
    RESPONSE_USER_DATA_HEADER,
    ResponseStatus,
    decode_response,
    encode_command,
)
from transport.sms.address import Address
from transport.sms.timestamp import ServiceCentreTime
from transport.sms.tpdu import SmsDeliver
from transport.sms.user_data import UserData
from transport.toolkit import Envelope, ProactiveCommand, Tag, TerminalResponse

if TYPE_CHECKING:
    from collections.abc import Callable

MENU_ITEM_9 = Envelope(tag=Tag.MENU_SELECTION, item=9).encode()
"""A menu item that there is not: the module shows that, so it asks for DISPLAY TEXT."""


def say(card: Card, octets: str) -> ResponseApdu:
    """Give the module a command in hexadecimal."""
    return card.transmit_octets(bytes.fromhex(octets))


# --- classes and instructions (clause 10.1) ---


def class_status(cla: int) -> int | None:
    """Return the status word for a class, as table 10.3 has them; None: it is one of ours."""
    if cla in (0x00, 0x80):
        return None
    if cla >> 4 in (0x0, 0x8):
        return apdu.SW_CHANNEL_NOT_SUPPORTED if cla & 3 else apdu.SW_SECURE_MESSAGING_NOT_SUPPORTED
    if cla >> 4 in (0x4, 0x6, 0xC, 0xE):
        return apdu.SW_CHANNEL_NOT_SUPPORTED
    return apdu.SW_CLA_NOT_SUPPORTED


@pytest.mark.parametrize("cla", range(0x100), ids="{:02x}".format)
def test_classes(cla: int) -> None:
    """Other channels, secure messaging and other classes are each refused with a word of their own."""
    expected = class_status(cla)
    for body in ("a4000c023f00", "f2000c", "a4000c05"):
        status = say(Card(), f"{cla:02x}{body}").status
        assert status == expected or (expected is None and status not in REFUSED_CLASSES)


REFUSED_CLASSES = {
    apdu.SW_CHANNEL_NOT_SUPPORTED,
    apdu.SW_SECURE_MESSAGING_NOT_SUPPORTED,
    apdu.SW_CLA_NOT_SUPPORTED,
}
KNOWN = {
    0x00: {0x20, 0x70, 0xA4, 0xB0, 0xB2, 0xC0, 0xD6, 0xDC},
    0x80: {0x10, 0x12, 0x14, 0xC0, 0xC2, 0xCA, 0xE2, 0xF2},
}


@pytest.mark.parametrize("cla", sorted(KNOWN), ids="{:02x}".format)
def test_instructions(cla: int) -> None:
    """An instruction is there in its class and in no other, whatever follows its header."""
    card = Card()
    for ins in range(0x100):
        for body in ("", "00", "0100", "05aa"):
            status = say(card, f"{cla:02x}{ins:02x}ffff{body}").status
            assert (status == apdu.SW_INS_NOT_SUPPORTED) is (ins not in KNOWN[cla]), f"{ins:02x}"


@pytest.mark.parametrize("ins", ["10", "12", "14", "c2"])
@pytest.mark.parametrize("parameters", ["0100", "0001", "ffff"])
def test_toolkit_commands_have_no_parameters(ins: str, parameters: str) -> None:
    """P1 and P2 of the toolkit's commands are 00 (clause 11.2)."""
    assert say(Card(), f"80{ins}{parameters}").status == apdu.SW_WRONG_P1_P2


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "00",
        "00a400",
        "00a4000c023f",
        "00a4000c003f00",
        "00a4000c023f000000",
        "00a4000c0000023f00",
        "00b0000000000a",
    ],
)
def test_lengths_that_do_not_agree(octets: str) -> None:
    """Half a header, half the data, more than Le, and extended lengths are a wrong length."""
    assert say(Card(), octets).status == apdu.SW_WRONG_LENGTH


def test_names_of_instructions() -> None:
    """Every instruction that the module has, has a name."""
    assert set(apdu.INSTRUCTIONS) == KNOWN[0x00] | KNOWN[0x80]
    assert apdu.INSTRUCTIONS[0xC2] == "ENVELOPE"


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("00200001", 0x63C3),
        ("0020000100", 0x63C3),
        ("0020000108 31323334ffffffff", apdu.SW_REFERENCE_INVALIDATED),
        ("0020000104 31323334", apdu.SW_WRONG_LENGTH),
        ("00200081", apdu.SW_REFERENCE_NOT_FOUND),
        ("0020000a08 31323334ffffffff", apdu.SW_REFERENCE_NOT_FOUND),
        ("00200101", apdu.SW_WRONG_P1_P2),
        ("0070000001", apdu.SW_CHANNEL_NOT_SUPPORTED),
        ("00708001", apdu.SW_CHANNEL_NOT_SUPPORTED),
    ],
)
def test_pins_and_channels(command: str, status: int) -> None:
    """PIN 1 is there, disabled, with three tries; another PIN is not, and no other channel can be opened."""
    assert say(Card(), command).status == status


# --- how a response gets to the terminal ---


def over_t1(card: Card, command: CommandApdu) -> ResponseApdu:
    """Transmit as over T=1: Le is there, and so is the response."""
    return card.transmit_octets(command.encode())


def over_t0(card: Card, command: CommandApdu) -> ResponseApdu:
    """Transmit as over T=0: with data there is no Le, and 61xx and 6Cxx are followed."""
    octets = command.encode()
    if command.data and command.expected is not None:
        octets = octets[:-1]
    response = card.transmit_octets(octets)
    if response.status & 0xFF00 == apdu.SW_EXACT_LENGTH:
        response = card.transmit_octets(octets[:4] + bytes((response.status & 0xFF,)))
    data = response.data
    while response.remaining is not None:
        response = card.transmit_octets(bytes((octets[0], 0xC0, 0, 0, response.remaining & 0xFF)))
        data += response.data
    return ResponseApdu(data=data, status=response.status)


BOTH = pytest.mark.parametrize("transmit", [over_t0, over_t1], ids=["t0", "t1"])


@BOTH
def test_a_terminal_of_either_protocol_sees_the_same(transmit: Callable[..., ResponseApdu]) -> None:
    """Selecting, describing, reading: the same data and status words over T=0 and T=1."""
    card = Market().personalise().card
    commands = [
        CommandApdu(cla=0, ins=0xA4, p2=4, data=b"\x2f\xe2", expected=256),
        CommandApdu(cla=0, ins=0xB0, expected=10),
        CommandApdu(cla=0, ins=0xB0, expected=256),
        CommandApdu(cla=0x80, ins=0xF2, expected=256),
        CommandApdu(cla=0, ins=0xA4, p2=0x0C, data=b"\x3f\x00"),
        CommandApdu(cla=0, ins=0xB0, expected=10),
    ]
    responses = [transmit(card, command) for command in commands]
    assert [response.status for response in responses] == [0x9000] * 5 + [apdu.SW_NO_FILE_SELECTED]
    assert responses[1].data == responses[2].data
    assert [len(response.data) for response in responses] == [25, 10, 10, 31, 0, 0]


@BOTH
def test_a_packet_and_its_response_over_either_protocol(transmit: Callable[..., ResponseApdu]) -> None:
    """An operator's signed command in an ENVELOPE: its response packet comes back, and it was done."""
    market = Market().served()
    data = market.operator.signed(Block(tar=TAR))
    packet = encode_command(spi=UNSECURED, tar=bytes.fromhex("b00000"), data=data)
    tpdu = SmsDeliver(
        originator=Address(digits="15550100"),
        user_data=UserData(header=(COMMAND,), payload=packet),
        timestamp=ServiceCentreTime.at(market.card.now),
    )
    envelope = Envelope(tag=Tag.SMS_PP_DOWNLOAD, tpdu=tpdu.encode()).encode()
    if len(envelope) > apdu.MAX_DATA:
        pytest.fail("the command does not fit one short message")
    response = transmit(market.card, CommandApdu(cla=0x80, ins=0xC2, data=envelope, expected=256))
    assert response.status == apdu.SW_OK
    assert response.data.startswith(RESPONSE_USER_DATA_HEADER)
    answer = decode_response(response.data[len(RESPONSE_USER_DATA_HEADER) :], spi=UNSECURED)
    assert answer.status is ResponseStatus.POR_OK
    assert market.card.definition().state.value == "blocked"


def test_no_le_no_data() -> None:
    """What has data and no Le is told how much waits; GET RESPONSE brings that once."""
    card = Card()
    response = say(card, "00a40004023f00")
    assert (response.data, response.status) == (b"", apdu.SW_MORE_DATA | 31)
    whole = say(card, "00c000001f")
    assert (len(whole.data), whole.status) == (31, apdu.SW_OK)
    assert say(card, "00c000001f").status == apdu.SW_TECHNICAL_PROBLEM


def test_less_than_there_is() -> None:
    """A response that is longer than Le comes in pieces, with how much is left in the status word."""
    card = Card()
    whole = say(card, "00a40004023f0000").data
    response = say(card, "00a40004023f0005")
    assert (response.data, response.status) == (whole[:5], apdu.SW_MORE_DATA | 26)
    response = say(card, "00c0000006")
    assert (response.data, response.status) == (whole[5:11], apdu.SW_MORE_DATA | 20)
    assert say(card, "00c00000").status == apdu.SW_MORE_DATA | 20
    assert say(card, "80c0000000") == ResponseApdu(data=whole[11:])


def test_more_than_there_is() -> None:
    """GET RESPONSE for more than waits is told how much that is, and it still waits."""
    card = Card()
    say(card, "00a40004023f00")
    assert say(card, "00c0000020").status == apdu.SW_EXACT_LENGTH | 31
    assert len(say(card, "00c000001f").data) == 31


@pytest.mark.parametrize("between", ["80f2000c", "00b0000001", "00a4ff00", "ff", "", "00c00001"])
def test_nothing_comes_between(between: str) -> None:
    """Any other command, even one that is none, and the rest of the response is lost (clause 12.1.1.1)."""
    card = Card()
    assert say(card, "00a40004023f00").remaining == 31
    say(card, between)
    assert say(card, "00c000001f").status == apdu.SW_TECHNICAL_PROBLEM


def test_a_reset_loses_the_rest() -> None:
    """What waits for GET RESPONSE is volatile."""
    card = Card()
    say(card, "00a40004023f00")
    card.power_cycle()
    assert say(card, "00c000001f").status == apdu.SW_TECHNICAL_PROBLEM


# --- proactive commands ---


def test_a_command_that_waits_is_announced_until_it_is_fetched() -> None:
    """After the ENVELOPE every good status word is 91xx; FETCH of another length is told the right one."""
    card = Card()
    response = say(card, "80c20000" + bytes((len(MENU_ITEM_9),)).hex() + MENU_ITEM_9.hex())
    length = response.proactive_length
    assert length
    for command in ("80f2000c", "00a4000c023f00"):
        assert say(card, command).status == apdu.SW_PROACTIVE | length
    assert say(card, "00b0000001").status == apdu.SW_NO_FILE_SELECTED
    for le in ("", "01", f"{length + 1:02x}"):
        assert say(card, f"80120000{le}").status == apdu.SW_EXACT_LENGTH | length
    fetched = say(card, f"80120000{length:02x}")
    assert (len(fetched.data), fetched.status) == (length, apdu.SW_OK)
    done = TerminalResponse.to(ProactiveCommand.parse(fetched.data)).encode()
    assert say(card, f"80140000{len(done):02x}{done.hex()}").status == apdu.SW_OK
    assert say(card, "8012000000").status == apdu.SW_CONDITIONS_NOT_SATISFIED


def test_fetch_announces_nothing() -> None:
    """Two commands wait: FETCH is answered 9000, and the TERMINAL RESPONSE tells that there is another."""
    card = Card()
    for _ in range(2):
        card.transmit(0xC2, MENU_ITEM_9)
    fetched = say(card, "8012000000")
    assert fetched.status == apdu.SW_OK
    done = TerminalResponse.to(ProactiveCommand.parse(fetched.data)).encode()
    response = say(card, f"80140000{len(done):02x}{done.hex()}")
    assert response.proactive_length == len(say(card, "8012000000").data)


def test_the_rest_of_a_response_is_announced_with_it() -> None:
    """61xx first; the status word at the end of GET RESPONSE is 91xx while a command waits."""
    card = Card()
    length = card.transmit(0xC2, MENU_ITEM_9).proactive_length
    assert length
    assert say(card, "00a40004023f00").status == apdu.SW_MORE_DATA | 31
    assert say(card, "00c000001f").status == apdu.SW_PROACTIVE | length


def test_no_terminal_profile_no_toolkit() -> None:
    """A terminal that has not said what it can do is asked for nothing, and after a reset it has not."""
    card = Card(terminal=b"")
    assert card.transmit(0xC2, MENU_ITEM_9).status == apdu.SW_OK
    assert say(card, "8012000000").status == apdu.SW_CONDITIONS_NOT_SATISFIED
    assert card.reasons == ["no-terminal-profile"]
    assert say(card, "8010000003 130001").status == apdu.SW_OK
    assert card.transmit(0xC2, MENU_ITEM_9).proactive_length
    card.power_cycle()
    assert card.transmit(0xC2, MENU_ITEM_9).status == apdu.SW_OK


def test_a_terminal_is_asked_for_what_it_has() -> None:
    """It has a display or not; the latest profile counts, also for what waits already."""
    card = Card(terminal=bytes.fromhex("130004"))
    assert card.transmit(0xC2, MENU_ITEM_9).status == apdu.SW_OK
    assert card.reasons == ["terminal-lacks-display-text"]
    assert say(card, "8010000003 130005").status == apdu.SW_OK
    assert card.transmit(0xC2, MENU_ITEM_9).proactive_length
    assert say(card, "8010000003 130004").status == apdu.SW_OK
    assert say(card, "8012000000").status == apdu.SW_CONDITIONS_NOT_SATISFIED


def test_a_profile_that_is_none_changes_nothing() -> None:
    """TERMINAL PROFILE without a profile is of the wrong length; what was known of the terminal stays."""
    card = Card()
    for octets in ("80100000", "8010000000"):
        assert say(card, octets).status == apdu.SW_WRONG_LENGTH
    assert card.transmit(0xC2, MENU_ITEM_9).proactive_length


# --- the answer to reset (ISO/IEC 7816-3 clause 8) ---


def test_the_answer_to_reset() -> None:
    """A reader walks along the characters: T=0, T=1, the global ones, and all of it adds up to zero."""
    assert ATR[0] == 0x3B
    assert 2 <= len(ATR) <= 33
    indicator, at, protocols = ATR[1], 2, []
    while True:
        at += (indicator >> 4 & 7).bit_count()
        if not indicator & 0x80:
            break
        indicator = ATR[at]
        protocols.append(indicator & 0x0F)
        at += 1
    assert protocols == [0, 1, 15]
    historical = ATR[at : at + (ATR[1] & 0x0F)]
    assert at + len(historical) == len(ATR) - 1
    check = 0
    for octet in ATR[1:]:
        check ^= octet
    assert check == 0
    assert historical[0] == 0x80
    objects, at = {}, 1
    while at < len(historical):
        tag, length = historical[at] >> 4, historical[at] & 0x0F
        objects[tag] = historical[at + 1 : at + 1 + length]
        assert len(objects[tag]) == length
        at += 1 + length
    assert {tag: len(value) for tag, value in objects.items()} == {3: 1, 7: 3, 6: 6}


# --- anything at all ---

STATUS_WORDS = {value for name, value in vars(apdu).items() if name.startswith("SW_")}
commands = st.builds(
    lambda header, body: bytes(header) + body,
    st.tuples(
        st.sampled_from([0x00, 0x80, 0x00, 0x80, 0x04, 0xA0]),
        st.sampled_from(sorted(KNOWN[0x00] | KNOWN[0x80])),
        st.sampled_from([0x00, 0x01, 0x03, 0x04, 0x08, 0x09, 0x82, 0x8E, 0xFF]),
        st.sampled_from([0x00, 0x01, 0x02, 0x03, 0x04, 0x0C, 0x44, 0xF4, 0xFF]),
    ),
    st.one_of(
        st.binary(max_size=1),
        st.binary(min_size=1, max_size=255).map(lambda data: bytes((len(data),)) + data),
        st.sampled_from(["023f00", "022fe200", "022f0600", "07a000000087100200", "047fff6f48", "010a"]).map(
            bytes.fromhex
        ),
        st.binary(max_size=300),
    ),
)


def check_response(command: bytes, response: bytes) -> None:
    """Hold a response against what any response may be."""
    parsed = ResponseApdu.parse(response)
    status = parsed.status
    family = status & 0xFF00
    counted = family in (apdu.SW_PROACTIVE, apdu.SW_MORE_DATA, apdu.SW_EXACT_LENGTH)
    assert status in STATUS_WORDS or counted or status == apdu.SW_RETRIES_LEFT | 3, f"{status:04X}"
    if parsed.data:
        assert parsed.is_good
        expected = CommandApdu.parse(command).expected
        assert expected is not None
        assert len(parsed.data) <= expected


@settings(max_examples=300, deadline=None)
@given(st.lists(commands | st.binary(max_size=300), max_size=12))
def test_any_octets_get_a_response(octets: list[bytes]) -> None:
    """Whatever comes in whatever order: a known status word, data only where Le asked for it, no harm."""
    _CARD.power_cycle()
    before = _CARD.image
    for command in octets:
        check_response(command, _CARD.module.process(command, _CARD.now))
        _CARD.pages.update(_CARD.module.take_changes())
    assert _CARD.image == before


_CARD = Market().personalise().card
