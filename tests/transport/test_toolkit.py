from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.toolkit_values import VECTORS, Said, Vector, kinds, said
from transport import ber_tlv
from transport.errors import TlvRejected
from transport.toolkit import (
    CR,
    MAX_FETCHED,
    MAX_TOLD,
    CommandType,
    Envelope,
    ProactiveCommand,
    Tag,
    TerminalResponse,
)

EACH = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
EXACT = pytest.mark.parametrize(
    "vector", [vector for vector in VECTORS if vector.exact], ids=lambda vector: vector.name
)


def shuffled(value: Said, octets: bytes) -> bytes:
    """Return *octets* with the objects inside them in another order."""
    if isinstance(value, TerminalResponse):
        return b"".join(mixed(octets))
    (outer,) = ber_tlv.parse_all(octets)
    return ber_tlv.encode(outer.tag, b"".join(mixed(outer.value)))


def mixed(octets: bytes) -> list[bytes]:
    """Return the objects that *octets* are, in another order; the last of a kind stays behind the others."""
    objects = [tlv.encode() for tlv in ber_tlv.parse_all(octets)]
    random.Random(1).shuffle(objects)
    return sorted(objects, key=lambda one: one[0] & ~CR in (Tag.ADDRESS, Tag.CHANNEL_STATUS))


@EACH
def test_whole(vector: Vector) -> None:
    """Each object is read as what it says."""
    assert type(vector.value).parse(vector.octets) == vector.value


@EXACT
def test_reencoded(vector: Vector) -> None:
    """What was read encodes to the octets that it was read from."""
    assert vector.value.encode() == vector.octets


@EXACT
def test_cut(vector: Vector) -> None:
    """An object cut anywhere is refused; a response may have lost whole objects at its end, never a half."""
    for end in range(len(vector.octets)):
        try:
            cut = type(vector.value).parse(vector.octets[:end])
        except TlvRejected:
            continue
        assert isinstance(cut, TerminalResponse)
        assert ber_tlv.parse_all(vector.octets[:end])


@EXACT
def test_shuffled(vector: Vector) -> None:
    """The order of the objects does not matter."""
    assert type(vector.value).parse(shuffled(vector.value, vector.octets)) == vector.value


@EXACT
def test_trailing(vector: Vector) -> None:
    """An octet that opens no TLV is refused behind any of them, and a second one behind a BER-TLV."""
    more = () if isinstance(vector.value, TerminalResponse) else (vector.octets,)
    for tail in (b"\0", b"\xff", b"\x8d", *more):
        with pytest.raises(TlvRejected):
            type(vector.value).parse(vector.octets + tail)


@EXACT
def test_comprehension_required_does_not_matter(vector: Vector) -> None:
    """Every tag names the same object with and without the comprehension-required bit."""
    body = vector.octets
    if not isinstance(vector.value, TerminalResponse):
        body = ber_tlv.parse_all(body)[0].value
    other = b"".join(ber_tlv.encode(tlv.tag ^ CR, tlv.value) for tlv in ber_tlv.parse_all(body))
    if not isinstance(vector.value, TerminalResponse):
        other = ber_tlv.encode(vector.octets[0], other)
    assert type(vector.value).parse(other) == vector.value


def test_every_command_type_has_a_vector() -> None:
    """Each command type is asked for by at least one vector."""
    asked = {vector.value.type for vector in VECTORS if isinstance(vector.value, ProactiveCommand)}
    assert asked == set(CommandType)


def test_a_null_text_is_empty() -> None:
    """A text string without even a coding scheme is the null text (TS 102 223 clause 8.15)."""
    assert TerminalResponse.parse(bytes.fromhex("8103012300 830100 8d00")).text == b""


def test_what_is_said_stays_out_of_repr() -> None:
    """Texts, short messages and data, which may hold what nobody else should read, do not show."""
    values = (
        ProactiveCommand(type=CommandType.DISPLAY_TEXT, text=b"secret"),
        ProactiveCommand(type=CommandType.SEND_SHORT_MESSAGE, tpdu=b"secret"),
        ProactiveCommand(type=CommandType.SEND_DATA, channel=1, data=b"secret"),
        TerminalResponse(type=CommandType.GET_INPUT, text=b"secret"),
        TerminalResponse(type=CommandType.RECEIVE_DATA, data=b"secret"),
        Envelope(tag=Tag.SMS_PP_DOWNLOAD, tpdu=b"secret"),
        Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=b"secret".ljust(88)),
    )
    assert all("secret" not in repr(value) for value in values)


@given(said)
def test_anything_said_survives(value: Said) -> None:
    """Whatever is encoded comes back, and fits one short APDU."""
    octets = value.encode()
    assert type(value).parse(octets) == value
    assert len(octets) <= (MAX_FETCHED if isinstance(value, ProactiveCommand) else MAX_TOLD)


@given(kinds, st.binary(max_size=300))
def test_any_octets(kind: type[Said], octets: bytes) -> None:
    """Arbitrary octets are refused in our own words, or are a value."""
    try:
        assert type(kind.parse(octets)) is kind
    except TlvRejected:
        return


@given(said, st.data())
def test_altered_octets(value: Said, data: st.DataObject) -> None:
    """One altered octet is refused in our own words, or gives a value that can be said again."""
    octets = bytearray(value.encode())
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = type(value).parse(bytes(octets))
    except TlvRejected:
        return
    assert type(value).parse(other.encode()) == other


@given(said, st.data())
def test_foreign_objects(value: Said, data: st.DataObject) -> None:
    """Any octets as the value of any of our tags, put behind the rest, are let alone or refused."""
    tag = data.draw(st.sampled_from([tag for tag in Tag if tag < CR]))
    more = ber_tlv.encode(CR | tag, data.draw(st.binary(max_size=20)))
    octets = value.encode()
    if isinstance(value, TerminalResponse):
        octets += more
    else:
        (outer,) = ber_tlv.parse_all(octets)
        octets = ber_tlv.encode(outer.tag, outer.value + more)
    try:
        assert type(type(value).parse(octets)) is type(value)
    except TlvRejected:
        return
