from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.vectors import load
from transport.ber_tlv import MAX_LENGTH, Tlv, encode, encode_length, find, parse_all, parse_length, require
from transport.errors import TlvRejected

VECTORS = load("tlv")
OBJECTS = pytest.mark.parametrize("vector", VECTORS["vector"], ids=lambda vector: vector["id"])
LENGTHS = pytest.mark.parametrize(
    ("length", "octets"), [pair for table in VECTORS["length"] for pair in table["pairs"]]
)

tags = st.integers(1, 0xFE).filter(lambda tag: tag != 0x7F) | st.integers(0x7F0000, 0x7FFFFF)
objects = st.builds(Tlv, tag=tags, value=st.binary(max_size=300))


@OBJECTS
def test_whole(vector: dict[str, Any]) -> None:
    """Published octets give the objects they hold."""
    parsed = parse_all(bytes.fromhex(vector["octets"]))
    assert [[tlv.tag, tlv.value.hex()] for tlv in parsed] == vector["objects"]


@OBJECTS
def test_reencoded(vector: dict[str, Any]) -> None:
    """Published objects encode to the octets they were parsed from."""
    parsed = parse_all(bytes.fromhex(vector["octets"]))
    assert b"".join(tlv.encode() for tlv in parsed).hex() == vector["octets"]


@OBJECTS
def test_cut(vector: dict[str, Any]) -> None:
    """Octets cut anywhere inside an object are refused; cut between objects they give the first ones."""
    octets = bytes.fromhex(vector["octets"])
    whole = parse_all(octets)
    ends = {sum(len(tlv.encode()) for tlv in whole[:count]): whole[:count] for count in range(len(whole) + 1)}
    for end in range(len(octets)):
        if end in ends:
            assert parse_all(octets[:end]) == ends[end]
            continue
        with pytest.raises(TlvRejected) as refusal:
            parse_all(octets[:end])
        assert refusal.value.reason == "truncated"


@OBJECTS
@pytest.mark.parametrize("trailing", [0x00, 0xFF])
def test_trailing(vector: dict[str, Any], trailing: int) -> None:
    """An octet behind the objects that can open none is refused."""
    with pytest.raises(TlvRejected) as refusal:
        parse_all(bytes.fromhex(vector["octets"]) + bytes((trailing,)))
    assert refusal.value.reason == "bad-tag"


@LENGTHS
def test_lengths(length: int, octets: str) -> None:
    """Each published length has its published form, both ways."""
    assert encode_length(length).hex() == octets
    assert parse_length(bytes.fromhex("ee" + octets + "ee"), 1) == (length, 1 + len(octets) // 2)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("", "truncated"),
        ("81", "truncated"),
        ("8201", "truncated"),
        ("80", "bad-length"),
        ("8400000001", "bad-length"),
        ("ff", "bad-length"),
        ("817f", "bad-length"),
        ("8200ff", "bad-length"),
        ("8300ffff", "bad-length"),
    ],
)
def test_bad_lengths(octets: str, reason: str) -> None:
    """A length that is cut short, indefinite, over-long or not in its shortest form is refused."""
    with pytest.raises(TlvRejected) as refusal:
        parse_length(bytes.fromhex(octets))
    assert refusal.value.reason == reason


def test_announced_length_costs_nothing() -> None:
    """An object that announces 16 MiB and brings none is refused at once."""
    with pytest.raises(TlvRejected) as refusal:
        parse_all(bytes.fromhex("d083ffffff"))
    assert refusal.value.reason == "truncated"


@pytest.mark.parametrize("length", [-1, MAX_LENGTH + 1])
def test_length_misuse(length: int) -> None:
    """A length that no form holds is our own mistake."""
    with pytest.raises(ValueError, match="TLV length"):
        encode_length(length)


@pytest.mark.parametrize("tag", [-1, 0x00, 0x7F, 0xFF, 0x100, 0x7EFFFF, 0x800000, 0x7F000000])
def test_tag_misuse(tag: int) -> None:
    """A number that is no tag is our own mistake, as an object and as octets."""
    with pytest.raises(ValueError, match="no TLV tag"):
        Tlv(tag=tag, value=b"")
    with pytest.raises(ValueError, match="no TLV tag"):
        encode(tag, b"")


def test_value_too_long() -> None:
    """A value longer than the longest length is our own mistake."""
    with pytest.raises(ValueError, match="at most"):
        Tlv(tag=0xD0, value=bytes(MAX_LENGTH + 1))


def test_find_ignores_comprehension_required() -> None:
    """An object is found whether it or the tag asked for has the comprehension-required bit."""
    tlvs = parse_all(bytes.fromhex("8202 8381 0b01 aa 7f8c0100"))
    assert find(tlvs, 0x02) == find(tlvs, 0x82) == tlvs[0]
    assert find(tlvs, 0x8B) == find(tlvs, 0x0B) == tlvs[1]
    assert find(tlvs, 0x7F0C01) == find(tlvs, 0x7F8C01) == tlvs[2]
    assert find(tlvs, 0x0C) is None


def test_find_exactly() -> None:
    """When the bit belongs to the tag, as in BER-TLV, only the very tag is found."""
    tlvs = [Tlv(tag=0x8B, value=b"1"), Tlv(tag=0x0B, value=b"2")]
    assert find(tlvs, 0x0B, ignore_cr=False) == tlvs[1]
    assert find(tlvs, 0x0C, ignore_cr=False) is None


def test_require() -> None:
    """An object that must be there is returned, or its absence is a refusal that names it."""
    tlvs = [Tlv(tag=0x8B, value=b"1")]
    assert require(tlvs, 0x0B) == tlvs[0]
    with pytest.raises(TlvRejected, match="missing: no object with tag 0B"):
        require(tlvs, 0x0B, ignore_cr=False)


def test_value_stays_out_of_repr() -> None:
    """What an object holds, perhaps a key, does not show."""
    assert "beef" not in repr(Tlv(tag=0x8B, value=b"beef"))


@given(st.lists(objects, max_size=5))
def test_any_objects_survive(tlvs: list[Tlv]) -> None:
    """Whatever objects are encoded come back."""
    assert parse_all(b"".join(encode(tlv.tag, tlv.value) for tlv in tlvs)) == tlvs


@given(st.binary(max_size=600))
def test_any_octets(octets: bytes) -> None:
    """Arbitrary octets are refused in our own words, or encode to themselves."""
    try:
        tlvs = parse_all(octets)
    except TlvRejected:
        return
    assert b"".join(tlv.encode() for tlv in tlvs) == octets
