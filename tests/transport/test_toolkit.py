from __future__ import annotations

from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.errors import TlvRejected
from transport.toolkit import (
    MAX_TEXT,
    CommandType,
    Envelope,
    ProactiveCommand,
    Tag,
    TerminalResponse,
    TerminalResult,
)

Said: TypeAlias = ProactiveCommand | TerminalResponse | Envelope
SUBMIT = "41010391214300f60100"
SHOWN, SENT, ASKED = CommandType.DISPLAY_TEXT, CommandType.SEND_SHORT_MESSAGE, CommandType.GET_INPUT

# Laid out by hand from TS 102 223 clauses 6.6 and 6.8 and TS 31.111 clause 7.1.1.2; the ENVELOPE and SEND
# SHORT MESSAGE skeletons are those that WIRE.md sections 2 and 3 have from card implementations.
VECTORS = pytest.mark.parametrize(
    ("octets", "value"),
    [
        ("d00f 8103012100 82028102 8d0404416263", ProactiveCommand(type=SHOWN, text=b"Abc")),
        (
            "d012 8103012300 82028182 8d03044f4b 910200c8",
            ProactiveCommand(type=ASKED, text=b"OK"),
        ),
        (
            f"d015 8103011300 82028183 8b0a{SUBMIT}",
            ProactiveCommand(type=SENT, tpdu=bytes.fromhex(SUBMIT)),
        ),
        ("8103012100 82028281 830100", TerminalResponse(type=SHOWN)),
        (
            "8103011300 82028281 830121",
            TerminalResponse(type=SENT, result=TerminalResult.NETWORK_UNABLE),
        ),
        ("8103012300 82028281 830100 8d0604 68656c6c6f", TerminalResponse(type=ASKED, text=b"hello")),
        ("d107 82028381 8b01aa", Envelope(tag=Tag.SMS_PP_DOWNLOAD, tpdu=b"\xaa")),
        (
            "d18188 82028381 8b8181" + "aa" * 129,
            Envelope(tag=Tag.SMS_PP_DOWNLOAD, tpdu=b"\xaa" * 129),
        ),
        ("d307 82020181 900102", Envelope(tag=Tag.MENU_SELECTION, item=2)),
    ],
    ids=[
        "display-text",
        "get-input",
        "send-short-message",
        "displayed",
        "not-sent",
        "typed",
        "sms-pp-download",
        "sms-pp-download-long",
        "menu-selection",
    ],
)

texts = st.binary(max_size=MAX_TEXT)
tpdus = st.binary(min_size=1, max_size=176)
said: st.SearchStrategy[Said] = st.one_of(
    st.builds(ProactiveCommand, type=st.sampled_from([SHOWN, ASKED]), text=texts),
    st.builds(ProactiveCommand, type=st.just(SENT), tpdu=tpdus),
    st.builds(TerminalResponse, type=st.just(ASKED), result=st.sampled_from(TerminalResult), text=texts),
    st.builds(TerminalResponse, type=st.sampled_from([SHOWN, SENT]), result=st.sampled_from(TerminalResult)),
    st.builds(Envelope, tag=st.just(Tag.SMS_PP_DOWNLOAD), tpdu=st.binary(max_size=200)),
    st.builds(Envelope, tag=st.just(Tag.MENU_SELECTION), item=st.integers(0, 255)),
)
kinds = st.sampled_from([ProactiveCommand, TerminalResponse, Envelope])


@VECTORS
def test_whole(octets: str, value: Said) -> None:
    """Each object is read as what it says."""
    assert type(value).parse(bytes.fromhex(octets)) == value


@VECTORS
def test_reencoded(octets: str, value: Said) -> None:
    """What was read encodes to the octets that it was read from."""
    assert value.encode() == bytes.fromhex(octets)


@VECTORS
def test_cut(octets: str, value: Said) -> None:
    """An object cut anywhere is refused, or has lost its last TLV as a whole: never a half of one."""
    whole = bytes.fromhex(octets)
    for end in range(len(whole)):
        try:
            cut = type(value).parse(whole[:end])
        except TlvRejected:
            continue
        assert cut == TerminalResponse(type=ASKED)
        assert end == len(bytes.fromhex("8103012300 82028281 830100"))


@VECTORS
def test_trailing(octets: str, value: Said) -> None:
    """An octet that opens no TLV is refused behind any of them, and a second one behind a BER-TLV."""
    whole = bytes.fromhex(octets)
    for tail in (b"\0", b"\xff", b"\x8d") + (() if isinstance(value, TerminalResponse) else (whole,)):
        with pytest.raises(TlvRejected):
            type(value).parse(whole + tail)


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
        ("", "missing"),
        ("8103012100", "missing"),
        ("830100", "missing"),
        ("8103012200 830100", "unknown-proactive-command"),
        ("81020121 830100", "unknown-proactive-command"),
        ("8103012100 8300", "unknown-terminal-result"),
        ("8103012100 830177", "unknown-terminal-result"),
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
        ("d2038c01aa", "unknown-envelope"),
        ("d104 82028381", "missing"),
        ("d1038b01aa d1038b01aa", "wrong-tag"),
        ("d304 82020181", "missing"),
        ("d302 9000", "bad-item-identifier"),
        ("d304 90020102", "bad-item-identifier"),
    ],
)
def test_no_envelope(octets: str, reason: str) -> None:
    """What is no envelope, or one of an event that is not known, is refused with its reason."""
    with pytest.raises(TlvRejected) as refusal:
        Envelope.parse(bytes.fromhex(octets))
    assert refusal.value.reason == reason


def test_comprehension_required_does_not_matter() -> None:
    """A tag names the same object with and without the comprehension-required bit."""
    assert Envelope.parse(bytes.fromhex("d107 02028381 0b01aa")).tpdu == b"\xaa"
    assert TerminalResponse.parse(bytes.fromhex("0103012100 030100")).type is SHOWN


def test_a_null_text_is_empty() -> None:
    """A text string without even a coding scheme is the null text (TS 102 223 clause 8.15)."""
    assert TerminalResponse.parse(bytes.fromhex("8103012300 830100 8d00")).text == b""


def test_text_misuse() -> None:
    """A text that does not fit a short APDU is our own mistake."""
    with pytest.raises(ValueError, match="a text of 201 octets"):
        ProactiveCommand(type=SHOWN, text=bytes(MAX_TEXT + 1)).encode()


def test_item_misuse() -> None:
    """A menu item that is not one octet is our own mistake."""
    with pytest.raises(ValueError, match="range"):
        Envelope(tag=Tag.MENU_SELECTION, item=256).encode()


def test_what_is_said_stays_out_of_repr() -> None:
    """Texts and short messages, which may hold what nobody else should read, do not show."""
    values = (
        ProactiveCommand(type=SHOWN, text=b"secret"),
        ProactiveCommand(type=SENT, tpdu=b"secret"),
        TerminalResponse(type=ASKED, text=b"secret"),
        Envelope(tag=Tag.SMS_PP_DOWNLOAD, tpdu=b"secret"),
    )
    assert all("secret" not in repr(value) for value in values)


@given(said)
def test_anything_said_survives(value: Said) -> None:
    """Whatever is encoded comes back, and fits one short APDU."""
    octets = value.encode()
    assert type(value).parse(octets) == value
    assert len(octets) <= 255


@given(kinds, st.binary(max_size=300))
def test_any_octets(kind: type[Said], octets: bytes) -> None:
    """Arbitrary octets are refused in our own words, or are a value."""
    try:
        assert type(kind.parse(octets)) is kind
    except TlvRejected:
        return


@given(said, st.data())
def test_altered_octets(value: Said, data: st.DataObject) -> None:
    """One altered octet is refused in our own words, or gives a value."""
    octets = bytearray(value.encode())
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert type(type(value).parse(bytes(octets))) is type(value)
    except TlvRejected:
        return
