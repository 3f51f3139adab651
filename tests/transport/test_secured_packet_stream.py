from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.secured_packet_values import KEYS, SECURE, TAR
from transport.errors import PacketRejected
from transport.secured_packet import (
    MAX_IDENTIFICATION,
    MAX_PACKET,
    TCP,
    Identification,
    PacketStream,
    ResponsePacket,
    ResponseStatus,
    decode_command,
    decode_response,
    encode_command,
    encode_identification,
    encode_response,
    parse_identification,
)

UA = bytes.fromhex("98440000000000000012")
COMMAND = encode_command(spi=SECURE, tar=TAR, data=bytes(300), keys=KEYS, dialect=TCP)
RESPONSE = encode_response(
    ResponsePacket(tar=TAR, counter=1, status=ResponseStatus.POR_OK, data=bytes(100)),
    spi=SECURE,
    keys=KEYS,
    dialect=TCP,
)
PACKETS = [encode_identification(UA), COMMAND, RESPONSE, b"\x01\x00", COMMAND]
OCTETS = b"".join(PACKETS)

pieces = st.lists(st.integers(0, len(OCTETS)), max_size=12).map(
    lambda cuts: [
        OCTETS[start:end] for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(OCTETS)], strict=True)
    ]
)


def test_whole_stream_at_once() -> None:
    """What was written one behind the other comes out packet by packet, each for its own decoder."""
    packets = PacketStream().receive(OCTETS)
    assert packets == PACKETS
    assert parse_identification(packets[0]).ua == UA
    assert decode_command(packets[1], KEYS, TCP).data == bytes(300)
    assert decode_response(packets[2], spi=SECURE, keys=KEYS, dialect=TCP).data == bytes(100)


@given(pieces)
def test_stream_cut_anywhere(cut: list[bytes]) -> None:
    """However the network cuts the stream, the same packets come out and nothing is left."""
    stream = PacketStream()
    assert [packet for piece in cut for packet in stream.receive(piece)] == PACKETS
    assert stream.held == 0


def test_stream_octet_by_octet() -> None:
    """A packet is out with its last octet, and not before."""
    stream = PacketStream()
    ends, at = [], 0
    for number, octet in enumerate(OCTETS, start=1):
        for packet in stream.receive(bytes([octet])):
            at += len(packet)
            ends.append((number, at))
    assert [number for number, _ in ends] == [at for _, at in ends]
    assert len(ends) == len(PACKETS)


def test_longest_packet_octet_by_octet() -> None:
    """The largest packet that there is comes through in the smallest pieces."""
    octets = b"\x01\x82\xff\xff" + bytes(MAX_PACKET)
    stream = PacketStream()
    assert feed(stream, octets, 1) == [octets]


FAULTS = [
    ("00", "stream-identifier"),
    ("04", "stream-identifier"),
    ("ff", "stream-identifier"),
    ("0180", "stream-length"),
    ("0184", "stream-length"),
    ("01817f", "stream-length"),
    ("028200ff", "stream-length"),
    ("0383010000", "stream-length"),
    ("0165", "stream-length"),
]


def feed(stream: PacketStream, octets: bytes, size: int) -> list[bytes]:
    """Return the packets out of *octets*, given to *stream* in pieces of *size*."""
    pieces = [octets[at : at + size] for at in range(0, len(octets), size)]
    return [packet for piece in pieces for packet in stream.receive(piece)]


@pytest.mark.parametrize(("octets", "reason"), FAULTS)
@pytest.mark.parametrize("size", [1, 9], ids=["octet by octet", "whole"])
def test_fault_kills_the_stream(octets: str, reason: str, size: int) -> None:
    """An unknown identifier, a length in a wrong form or over the limit: nothing behind it can be found."""
    stream = PacketStream(limit=100)
    faulty = bytes.fromhex(octets)
    with pytest.raises(PacketRejected) as caught:
        feed(stream, faulty, size)
    assert (caught.value.reason, caught.value.status) == (reason, ResponseStatus.UNIDENTIFIED_SECURITY_ERROR)
    assert stream.is_dead
    assert stream.held == 0
    for further in (b"", b"\x01\x00"):
        with pytest.raises(PacketRejected) as again:
            stream.receive(further)
        assert again.value.reason == reason
    assert stream.held == 0


def test_packets_ahead_of_a_fault_are_not_lost() -> None:
    """What came whole before the fault is handed out first, as it would have been octet by octet."""
    stream = PacketStream()
    assert stream.receive(OCTETS + b"\x00") == PACKETS
    assert stream.is_dead
    with pytest.raises(PacketRejected, match="stream-identifier"):
        stream.receive(b"")


def test_limit_is_the_longest_that_passes() -> None:
    """A packet as long as the limit comes through, and no more than it is ever held."""
    stream = PacketStream(limit=100)
    assert stream.receive(b"\x01\x64" + bytes(99)) == []
    assert stream.held == 101
    assert stream.receive(bytes(1)) == [b"\x01\x64" + bytes(100)]


@pytest.mark.parametrize("limit", [0, -1, MAX_PACKET + 1])
def test_limit_that_can_not_be(limit: int) -> None:
    """A stream of no packets, or of packets that no decoder takes, does not come to be."""
    with pytest.raises(ValueError, match="limit"):
        PacketStream(limit=limit)


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 60))
def test_arbitrary_octets_are_packets_or_a_fault(received: list[bytes], limit: int) -> None:
    """Whatever comes, what comes out is the start of it, and what is held stays within the limit."""
    stream, out = PacketStream(limit=limit), b""
    for octets in received:
        try:
            out += b"".join(stream.receive(octets))
        except PacketRejected:
            assert stream.is_dead
        assert stream.held <= limit + 2
    assert b"".join(received).startswith(out)


@given(st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.binary(max_size=300)), max_size=8), st.data())
def test_framed_noise_comes_through(bodies: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """The stream looks at frames only: noise in a right frame is a packet, wherever it is cut."""
    packets = [bytes([kind]) + TCP.command.head(len(body))[1:] + body for kind, body in bodies]
    octets = b"".join(packets)
    cut = data.draw(st.integers(0, len(octets)))
    stream = PacketStream()
    assert stream.receive(octets[:cut]) + stream.receive(octets[cut:]) == packets


@given(st.binary(min_size=1, max_size=MAX_IDENTIFICATION))
def test_identification_round_trips(ua: bytes) -> None:
    """An identification is 03, its length and itself."""
    octets = encode_identification(ua)
    assert octets[0] == 3
    assert parse_identification(octets) == Identification(ua=ua)


@pytest.mark.parametrize("ua", [b"", bytes(256)], ids=len)
def test_identification_that_can_not_be(ua: bytes) -> None:
    """Nobody is nobody, and 255 octets say enough: neither is made nor read."""
    with pytest.raises(ValueError, match="identification"):
        encode_identification(ua)
    with pytest.raises(PacketRejected, match="length"):
        parse_identification(b"\x03" + TCP.command.head(len(ua))[1:] + ua)


@given(st.binary(max_size=40))
def test_arbitrary_identifications(octets: bytes) -> None:
    """Any octets are an identification that re-encodes to them, or are refused."""
    try:
        identification = parse_identification(octets)
    except PacketRejected:
        return
    assert encode_identification(identification.ua) == octets


def test_identification_is_exactly_one() -> None:
    """Cut short, followed by more, or of another kind, it is none."""
    octets = encode_identification(UA)
    for wrong in (
        *(octets[:length] for length in range(len(octets))),
        octets + b"\x00",
        b"\x01" + octets[1:],
    ):
        with pytest.raises(PacketRejected):
            parse_identification(wrong)
