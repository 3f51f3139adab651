from __future__ import annotations

from typing import Any

import pytest

from transport import ber_tlv
from transport.apdu import CommandApdu, ResponseApdu
from transport.errors import TlvRejected
from transport.toolkit import (
    MAX_CHANNEL,
    MAX_FETCHED,
    MAX_RECEIVE_DATA,
    MAX_SEND_DATA,
    MAX_TEXT,
    MAX_TIMER_S,
    MAX_TOLD,
    ChannelOpening,
    ChannelStatus,
    CommandType,
    Envelope,
    EventCode,
    ProactiveCommand,
    Tag,
    TerminalResponse,
    TerminalResult,
    TransportProtocol,
)

PLACE: dict[str, Any] = {
    "protocol": TransportProtocol.TCP_CLIENT,
    "port": 443,
    "address": bytes(4),
    "buffer": 1400,
}
OPENING = ChannelOpening(**PLACE)
SEND, RECEIVE, OPEN = CommandType.SEND_DATA, CommandType.RECEIVE_DATA, CommandType.OPEN_CHANNEL
TIMER, SHOWN, ASKED = CommandType.TIMER_MANAGEMENT, CommandType.DISPLAY_TEXT, CommandType.GET_INPUT
UP = ChannelStatus(channel=1, established=True)


def test_send_data_fills_a_fetch() -> None:
    """The longest SEND DATA fills the 256 octets that a FETCH with Le = 00 brings, and they come back."""
    command = ProactiveCommand(type=SEND, channel=1, data=bytes(MAX_SEND_DATA))
    octets = command.encode()
    assert len(octets) == MAX_FETCHED
    fetched = ResponseApdu.parse(ResponseApdu(data=octets).encode())
    assert ProactiveCommand.parse(fetched.data) == command
    with pytest.raises(ValueError, match="at most 256"):
        ProactiveCommand(type=SEND, channel=1, data=bytes(MAX_SEND_DATA + 1))


def test_receive_data_fills_a_terminal_response() -> None:
    """The longest answer to RECEIVE DATA fills the 255 octets of one short APDU, and they come back."""
    response = TerminalResponse(type=RECEIVE, data=bytes(MAX_RECEIVE_DATA), length=255)
    assert len(response.encode()) == MAX_TOLD
    told = CommandApdu.parse(CommandApdu(cla=0x80, ins=0x14, data=response.encode()).encode())
    assert TerminalResponse.parse(told.data) == response
    with pytest.raises(ValueError, match="at most 255"):
        TerminalResponse(type=RECEIVE, data=bytes(MAX_RECEIVE_DATA + 1), length=255)


def test_envelope_fits() -> None:
    """An ENVELOPE holds at most 255 octets of data: a TPDU of 245."""
    assert len(Envelope(tag=Tag.SMS_PP_DOWNLOAD, tpdu=bytes(245)).encode()) == MAX_TOLD
    with pytest.raises(ValueError, match="at most 255"):
        Envelope(tag=Tag.SMS_PP_DOWNLOAD, tpdu=bytes(246))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"type": SHOWN, "text": bytes(MAX_TEXT + 1)}, "a text of 201 octets"),
        ({"type": SHOWN, "tpdu": b"\1"}, "tpdu does not belong to DISPLAY_TEXT"),
        ({"type": SHOWN, "channel": 1}, "channel does not belong"),
        ({"type": SHOWN, "qualifier": 256}, "qualifier"),
        ({"type": OPEN}, "OPEN_CHANNEL needs opening"),
        ({"type": RECEIVE, "channel": 0, "length": 1}, "a channel"),
        ({"type": RECEIVE, "channel": MAX_CHANNEL + 1, "length": 1}, "a channel"),
        ({"type": RECEIVE, "channel": 1}, "asked for"),
        ({"type": RECEIVE, "channel": 1, "length": 256}, "asked for"),
        ({"type": TIMER, "timer": 0, "timer_value_s": 1}, "a timer is"),
        ({"type": TIMER, "timer": 9, "timer_value_s": 1}, "a timer is"),
        ({"type": TIMER, "timer": 1}, "has a value"),
        ({"type": TIMER, "timer": 1, "qualifier": 1, "timer_value_s": 1}, "has a value"),
        ({"type": TIMER, "timer": 1, "timer_value_s": MAX_TIMER_S + 1}, "runs for at most"),
        ({"type": TIMER, "timer": 1, "timer_value_s": -1}, "runs for at most"),
        ({"type": CommandType.REFRESH, "files": (b"\x3f\0",)}, "a path"),
        ({"type": CommandType.REFRESH, "files": (b"\x3f\0\x6f",)}, "a path"),
        ({"type": CommandType.REFRESH, "files": (b"\x3f\0\x6f\x48\x6f",)}, "a path"),
        ({"type": CommandType.REFRESH, "files": (b"\x7f\xff\x6f\x48",)}, "a path"),
        ({"type": CommandType.REFRESH, "files": (b"\x3f\0\x3f\0",)}, "a path"),
    ],
)
def test_command_misuse(fields: dict[str, Any], complaint: str) -> None:
    """A command that could not be said, or says what does not belong to it, refuses to exist."""
    with pytest.raises(ValueError, match=complaint):
        ProactiveCommand(**fields)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"type": ASKED, "text": bytes(MAX_TEXT + 1)}, "a text of 201 octets"),
        ({"type": SHOWN, "text": b"typed"}, "text does not belong to the response to DISPLAY_TEXT"),
        ({"type": SHOWN, "cause": 256}, "cause is"),
        ({"type": SHOWN, "qualifier": -1}, "qualifier is"),
        ({"type": SEND, "length": 256}, "length is"),
        ({"type": OPEN, "buffer": 0x10000}, "buffer is"),
        ({"type": TIMER, "timer": 0}, "timer is"),
        ({"type": TIMER, "timer_value_s": MAX_TIMER_S + 1}, "timer_value_s is"),
    ],
)
def test_response_misuse(fields: dict[str, Any], complaint: str) -> None:
    """A response that could not be said, or says what does not belong to it, refuses to exist."""
    with pytest.raises(ValueError, match=complaint):
        TerminalResponse(**fields)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"tag": Tag.TPDU}, "TPDU is no envelope"),
        ({"tag": Tag.EVENT_DOWNLOAD}, "EVENT_DOWNLOAD is no envelope"),
        ({"tag": Tag.MENU_SELECTION, "event": EventCode.CHANNEL_STATUS}, "of CHANNEL_STATUS is no envelope"),
        ({"tag": Tag.MENU_SELECTION, "item": 256}, "range"),
        ({"tag": Tag.MENU_SELECTION, "tpdu": b"\1"}, "tpdu does not belong"),
        ({"tag": Tag.CELL_BROADCAST_DOWNLOAD, "page": bytes(87)}, "88 octets"),
        ({"tag": Tag.TIMER_EXPIRATION}, "a timer is"),
        ({"tag": Tag.TIMER_EXPIRATION, "timer": 9}, "a timer is"),
        ({"tag": Tag.TIMER_EXPIRATION, "timer": 1, "timer_value_s": MAX_TIMER_S + 1}, "runs for at most"),
        ({"tag": Tag.EVENT_DOWNLOAD, "event": EventCode.CHANNEL_STATUS}, "needs channel_status"),
        (
            {"tag": Tag.EVENT_DOWNLOAD, "event": EventCode.DATA_AVAILABLE, "channel_status": UP},
            "needs length",
        ),
        (
            {
                "tag": Tag.EVENT_DOWNLOAD,
                "event": EventCode.DATA_AVAILABLE,
                "channel_status": UP,
                "length": 256,
            },
            "range",
        ),
    ],
)
def test_envelope_misuse(fields: dict[str, Any], complaint: str) -> None:
    """An envelope that could not be said, or says what does not belong to it, refuses to exist."""
    with pytest.raises(ValueError, match=complaint):
        Envelope(**fields)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"port": -1}, "a port"),
        ({"port": 0x10000}, "a port"),
        ({"buffer": 0}, "a buffer"),
        ({"buffer": 0x10000}, "a buffer"),
        ({"address": bytes(16)}, "4 octets"),
        ({"bearer_type": 256}, "bearer type"),
        ({"access_name": "two..dots"}, "a label"),
        ({"access_name": "-"}, "a label"),
        ({"access_name": "a" * 64}, "a label"),
        ({"access_name": "ü"}, "ascii"),
        ({"access_name": ".".join(["a" * 50] * 2)}, "at most 100"),
    ],
)
def test_opening_misuse(changed: dict[str, Any], complaint: str) -> None:
    """A channel that could not be asked for refuses to exist."""
    with pytest.raises(ValueError, match=complaint):
        ChannelOpening(**{**PLACE, **changed})


def test_longest_access_name() -> None:
    """An access point name of 100 octets, the longest, comes through."""
    command = ProactiveCommand(
        type=OPEN, opening=ChannelOpening(**PLACE, access_name=".".join(["a" * 49] * 2))
    )
    assert ProactiveCommand.parse(command.encode()) == command


@pytest.mark.parametrize("fields", [{"channel": 8}, {"channel": -1}, {"channel": 1, "info": 256}])
def test_status_misuse(fields: dict[str, Any]) -> None:
    """The status of a channel that there cannot be refuses to exist."""
    with pytest.raises(ValueError, match="a channel is"):
        ChannelStatus(**fields)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("", "wrong-tag"),
        ("d1038b01aa", "wrong-tag"),
        ("d000", "missing"),
        ("d0058103012100 8b01aa", "wrong-tag"),
        ("d0058103012200", "unknown-proactive-command"),
        ("d00481020121", "unknown-proactive-command"),
        ("d006810401210000", "unknown-proactive-command"),
        ("d009 8103010500 82028182", "missing"),
        ("d00c 8103010500 82028182 990101", "bad-value"),
        ("d005 8103014100", "missing"),
        ("d009 8103014100 82028120", "bad-channel"),
        ("d009 8103014100 82028128", "bad-channel"),
        ("d008 8103014100 820181", "bad-channel"),
        ("d00c 8103014200 82028121 b70100", "bad-value"),
        ("d00d 8103014200 82028121 b7020001", "bad-octet"),
        ("d00b 8103010101 82028182 9200", "bad-file-list"),
        ("d010 8103010101 82028182 9205023f002fe2", "bad-file-list"),
        ("d010 8103010101 82028182 9205012fe22fe2", "bad-file-list"),
        ("d00e 8103010101 82028182 9203013f00", "bad-value"),
        ("d00f 8103010101 82028182 9204013f002f", "bad-value"),
        ("d00c 8103012700 82028182 a40101", "bad-value"),
        ("d011 8103012700 82028182 a40101 a5030a0000", "bad-timer-value"),
        ("d011 8103012700 82028182 a40101 a503a00000", "bad-timer-value"),
        ("d011 8103012700 82028182 a40101 a503000600", "bad-timer-value"),
        ("d011 8103012700 82028182 a40101 a503000006", "bad-timer-value"),
        ("d011 8103012700 82028182 a40101 a503420000", "bad-value"),
        ("d010 8103012700 82028182 a40101 a5020000", "bad-timer-value"),
    ],
)
def test_no_proactive_command(octets: str, reason: str) -> None:
    """What is no proactive command, or one of a type that is not known, is refused with its reason."""
    with pytest.raises(TlvRejected) as refusal:
        ProactiveCommand.parse(bytes.fromhex(octets))
    assert refusal.value.reason == reason


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("350103 39020578 3c03020050 3e03210a00", "bad-value"),
        ("350103 39020578 3c03020050 3e05570a000001", "bad-channel-opening"),
        ("3500 39020578 3c03020050 3e05210a000001", "bad-channel-opening"),
        ("350103 390105 3c03020050 3e05210a000001", "bad-channel-opening"),
        ("350103 39020578 3c020200 3e05210a000001", "bad-channel-opening"),
        ("350103 39020578 3c03070050 3e05210a000001", "bad-value"),
        ("350103 39020578 4700 3c03020050 3e05210a000001", "bad-access-name"),
        ("350103 39020578 4703036161 3c03020050 3e05210a000001", "bad-access-name"),
        ("350103 39020578 470201ff 3c03020050 3e05210a000001", "bad-value"),
        ("350103 39020578 4702012e 3c03020050 3e05210a000001", "bad-value"),
        ("39020578 3c03020050 3e05210a000001", "missing"),
        ("350103 3c03020050 3e05210a000001", "missing"),
        ("350103 39020578 3e05210a000001", "missing"),
        ("350103 39020578 3c03020050", "missing"),
    ],
)
def test_no_opening(octets: str, reason: str) -> None:
    """An OPEN CHANNEL without what it must have, or with that malformed, is refused with its reason."""
    head = bytes.fromhex("8103014001 82028182")
    with pytest.raises(TlvRejected) as refusal:
        ProactiveCommand.parse(ber_tlv.encode(Tag.PROACTIVE_COMMAND, head + bytes.fromhex(octets)))
    assert refusal.value.reason == reason


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("", "missing"),
        ("8103012100", "missing"),
        ("830100", "missing"),
        ("8103012200 830100", "unknown-proactive-command"),
        ("81020121 830100", "unknown-proactive-command"),
        ("8103012100 8300", "unknown-terminal-result"),
        ("8103012100 830177", "unknown-terminal-result"),
        ("8103012100 8303000000", "unknown-terminal-result"),
        ("8103014001 830100 380181", "bad-channel-status"),
        ("8103014001 830100 38024100", "bad-channel-status"),
        ("8103014001 830100 390105", "bad-number"),
        ("8103014301 830100 3700", "bad-octet"),
        ("8103012701 830100 a40109", "bad-value"),
        ("8103012300 830100 8d81ca" + "00" * 202, "bad-value"),
    ],
)
def test_no_terminal_response(octets: str, reason: str) -> None:
    """What is no terminal response, or has a result that is not known, is refused with its reason."""
    with pytest.raises(TlvRejected) as refusal:
        TerminalResponse.parse(bytes.fromhex(octets))
    assert refusal.value.reason == reason


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("", "unknown-envelope"),
        ("d5038c01aa", "unknown-envelope"),
        ("d104 82028381", "missing"),
        ("d1038b01aa d1038b01aa", "wrong-tag"),
        ("d2038c01aa", "bad-value"),
        ("d304 82020181", "missing"),
        ("d302 9000", "bad-item-identifier"),
        ("d304 90020102", "bad-item-identifier"),
        ("d604 82028281", "missing"),
        ("d602 9900", "bad-octet"),
        ("d603 990101", "bad-value"),
        ("d603 990109", "missing"),
        ("d607 990109 b8028100", "missing"),
        ("d703 a40101", "missing"),
    ],
)
def test_no_envelope(octets: str, reason: str) -> None:
    """What is no envelope, or one of an event that is not known, is refused with its reason."""
    with pytest.raises(TlvRejected) as refusal:
        Envelope.parse(bytes.fromhex(octets))
    assert refusal.value.reason == reason


@pytest.mark.parametrize(
    ("result", "is_good"),
    [
        (TerminalResult.OK, True),
        (TerminalResult.MISSING_INFORMATION, True),
        (TerminalResult.PERFORMED_WITH_MODIFICATION, True),
        (TerminalResult.TERMINAL_UNABLE, False),
        (TerminalResult.BIP_ERROR, False),
    ],
)
def test_good_results(result: TerminalResult, *, is_good: bool) -> None:
    """The results from 00 to 0F say that the command was performed."""
    assert result.is_good is is_good


def test_response_to_a_command() -> None:
    """A response made for a command has its type and its qualifier, as TS 102 223 clause 6.8 wants it."""
    command = ProactiveCommand(type=SEND, qualifier=1, channel=1, data=b"data")
    assert TerminalResponse.to(command, length=7) == TerminalResponse(type=SEND, qualifier=1, length=7)
