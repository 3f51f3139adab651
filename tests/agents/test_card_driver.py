"""What vsmartcard's driver says to a card: lengths and octets, cut anywhere, and what is none of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.card.driver import LENGTH_OCTETS, MAX_MESSAGE, Line, Message, Messages, encode
from agents.errors import DriverRejected

SESSION = bytes.fromhex("000104 000101 000104 0007 00a4000c023f00 000102 0005 80f2000c00 000100")
"""ATR, power on, ATR, a SELECT, reset, a STATUS, power off: as the driver sent them."""
MEANT: list[Message] = [
    Line.ATR,
    Line.POWER_ON,
    Line.ATR,
    bytes.fromhex("00a4000c023f00"),
    Line.RESET,
    bytes.fromhex("80f2000c00"),
    Line.POWER_OFF,
]
messages = st.sampled_from(list(Line)) | st.binary(min_size=2, max_size=400)


def sent(message: Message) -> bytes:
    """Return a message of the driver's."""
    octets = bytes((message,)) if isinstance(message, Line) else message
    return len(octets).to_bytes(LENGTH_OCTETS, "big") + octets


def received(octets: bytes) -> list[Message] | str:
    """Return the messages in *octets*, or why they are none."""
    try:
        return Messages().receive(octets)
    except DriverRejected as rejection:
        return rejection.reason


def test_a_session() -> None:
    """Lines and commands come out as what they are, in their order."""
    assert received(SESSION) == MEANT


@pytest.mark.parametrize("end", range(len(SESSION)))
def test_cut_anywhere(end: int) -> None:
    """Whatever octet the stream is cut at, what follows completes it."""
    stream = Messages()
    before = stream.receive(SESSION[:end])
    assert before == MEANT[: len(before)]
    assert before + stream.receive(SESSION[end:]) == MEANT


def test_octet_by_octet() -> None:
    """A message is there with its last octet, not before."""
    stream = Messages()
    found = [(at, message) for at in range(len(SESSION)) for message in stream.receive(SESSION[at : at + 1])]
    ends, at = [], 0
    for message in MEANT:
        at += len(sent(message))
        ends.append((at - 1, message))
    assert found == ends


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("0000", "empty-message"),
        ("000104 0000 000104", "empty-message"),
        ("000103", "unknown-line"),
        ("000105", "unknown-line"),
        ("0001ff", "unknown-line"),
    ],
)
def test_what_is_none(octets: str, reason: str) -> None:
    """An empty message and a line that there is not are refused."""
    assert received(bytes.fromhex(octets)) == reason


def test_the_longest_message() -> None:
    """A message of the greatest length is taken, and one that announces it waits for its last octet."""
    stream = Messages()
    whole = sent(b"\x80" * MAX_MESSAGE)
    assert stream.receive(whole[:-1]) == []
    assert stream.receive(whole[-1:] + sent(Line.ATR)) == [b"\x80" * MAX_MESSAGE, Line.ATR]


@pytest.mark.parametrize("length", [1, 2, 258, MAX_MESSAGE])
def test_an_answer(length: int) -> None:
    """An answer is its length and itself."""
    octets = encode(bytes(length))
    assert (int.from_bytes(octets[:2], "big"), octets[2:]) == (length, bytes(length))


@pytest.mark.parametrize("length", [0, MAX_MESSAGE + 1])
def test_no_answer(length: int) -> None:
    """None, and one that is too long, is a mistake of ours."""
    with pytest.raises(ValueError, match="1 to 65535 octets"):
        encode(bytes(length))


@given(st.lists(messages, max_size=20), st.lists(st.integers(1, 50), max_size=40))
def test_any_session(meant: list[Message], pieces: list[int]) -> None:
    """Whatever is said, cut in whatever pieces, is heard."""
    octets, stream, found = b"".join(map(sent, meant)), Messages(), []
    for piece in pieces:
        found += stream.receive(octets[:piece])
        octets = octets[piece:]
    assert found + stream.receive(octets) == meant


@given(st.binary(max_size=2000))
def test_any_octets(octets: bytes) -> None:
    """Arbitrary octets are refused in our own words, or are messages and at most the beginning of another."""
    found = received(octets)
    if isinstance(found, str):
        assert found in {"empty-message", "unknown-line"}
        return
    again = b"".join(map(sent, found))
    assert octets.startswith(again)
    rest = octets[len(again) :]
    assert len(rest) < LENGTH_OCTETS or len(rest) < LENGTH_OCTETS + int.from_bytes(rest[:2], "big")
