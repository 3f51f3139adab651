from __future__ import annotations

from itertools import permutations
from random import Random  # noqa: TC003 -- hypothesis reads the annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.concatenation_kit import COMMAND, PACKET, feed, part_of, whole
from transport.concatenation import Dropped, DropReason, Part, Reassembler, split
from transport.sms import (
    IEI_CONCAT_8,
    IEI_CONCAT_16,
    MAX_USER_DATA,
    InformationElement,
    UserData,
)


def raw(iei: int, data: str) -> UserData:
    """Return user data with one element of the octets *data*."""
    return UserData(header=(InformationElement(iei=iei, data=bytes.fromhex(data)),), payload=b"x")


@pytest.mark.parametrize(
    ("size", "wide", "sizes"),
    [
        (0, False, [0]),
        (137, False, [137]),
        (137, True, [137]),
        (138, False, [132, 6]),
        (138, True, [131, 7]),
        (266, False, [132, 134]),
        (267, False, [132, 134, 1]),
        (282, False, [132, 134, 16]),
        (282, True, [131, 133, 18]),
        (132 + 254 * 134, False, [132] + [134] * 254),
    ],
)
def test_room(size: int, sizes: list[int], *, wide: bool) -> None:
    """A packet is cut to 137, or 132 and then 134 octets, with a 16-bit reference 131 and then 133."""
    parts = split(bytes(size), reference=9, first=COMMAND, wide=wide)
    assert [len(part.payload) for part in parts] == sizes
    assert all(part.length <= MAX_USER_DATA for part in parts)


def test_room_without_first_element() -> None:
    """Octets that are no packet get the room that the element would have taken."""
    assert [len(part.payload) for part in split(bytes(140), reference=9)] == [140]
    assert [len(part.payload) for part in split(bytes(141), reference=9)] == [134, 7]


def test_octets_of_parts() -> None:
    """The headers are the clause's: 70 in part 1 only; reference, total and sequence in each."""
    narrow = split(bytes(200), reference=0xAB, first=COMMAND)
    wide = split(bytes(200), reference=0xABCD, first=COMMAND, wide=True)
    assert [part.encode()[: -len(part.payload)].hex() for part in narrow] == [
        "0770000003ab0201",
        "050003ab0202",
    ]
    assert [part.encode()[: -len(part.payload)].hex() for part in wide] == [
        "0870000804abcd0201",
        "060804abcd0202",
    ]


@pytest.mark.parametrize(
    ("size", "fields"),
    [
        (200, {"reference": 256}),
        (200, {"reference": -1}),
        (132 + 254 * 134 + 1, {"reference": 0}),
        (10, {"reference": 0, "limit": 8}),
    ],
)
def test_split_misuse(size: int, fields: dict[str, int]) -> None:
    """A reference that does not fit, too many parts, or no room in a part is our own mistake."""
    with pytest.raises(ValueError, match=r"reference|no part|no room"):
        split(bytes(size), first=COMMAND, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("total", "sequence"), [(0, 0), (2, 0), (2, 3), (256, 1)])
def test_part_misuse(total: int, sequence: int) -> None:
    """A part that cannot be is our own mistake."""
    with pytest.raises(ValueError, match="there is no part"):
        Part(reference=0, total=total, sequence=sequence)


def test_single_passes() -> None:
    """A single message passes through, untouched and without a trace."""
    reassembler = Reassembler()
    assert reassembler.receive("a", whole(b"packet"), 0.0) == whole(b"packet")
    assert reassembler.octets == 0


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_any_order(order: tuple[int, ...], *, wide: bool) -> None:
    """Parts in any order give the packet and the first part's elements without the concatenation."""
    parts = split(PACKET, reference=7, first=COMMAND, wide=wide)
    reassembler = Reassembler()
    assert feed(reassembler, *(parts[place] for place in order)) == whole()
    assert reassembler.octets == 0


def test_total_of_one() -> None:
    """A concatenated message of a single part is complete at once."""
    assert feed(Reassembler(), part_of(1, 1, b"alone")) == UserData(payload=b"alone")


def test_messages_do_not_mix() -> None:
    """Another sender, another reference and the same number in 16 bits are other messages."""
    packets = [bytes((number,)) * 200 for number in range(4)]
    streams = [
        ("a", split(packets[0], reference=1, first=COMMAND)),
        ("b", split(packets[1], reference=1, first=COMMAND)),
        ("a", split(packets[2], reference=2, first=COMMAND)),
        ("a", split(packets[3], reference=1, first=COMMAND, wide=True)),
    ]
    reassembler = Reassembler()
    assert [reassembler.receive(sender, parts[1], 0.0) for sender, parts in streams] == [None] * 4
    joined = [reassembler.receive(sender, parts[0], 0.0) for sender, parts in streams]
    assert joined == [whole(packet) for packet in packets]


def test_duplicates() -> None:
    """A part that comes again changes nothing, before its message is complete and after."""
    first, second, third = split(PACKET, reference=7, first=COMMAND)
    reassembler = Reassembler()
    assert feed(reassembler, first, first, third, first, third, second) == whole()
    assert feed(reassembler, second, first, third) is None
    assert reassembler.octets == 0


def test_late_duplicate_does_not_spoil_the_next_message() -> None:
    """A late duplicate followed by a reuse of its reference leaves the new message whole."""
    reassembler = Reassembler()
    old = split(bytes(200), reference=7, first=COMMAND)
    new = split(b"\x01" * 200, reference=7, first=COMMAND)
    feed(reassembler, *old)
    assert feed(reassembler, old[1], *new) == whole(b"\x01" * 200)


@pytest.mark.parametrize(
    ("held", "contradiction"),
    [
        (part_of(3, 1, b"old"), part_of(3, 1, b"new")),
        (part_of(3, 1, b"old"), part_of(2, 2, b"new")),
        (part_of(3, 1, b"old"), part_of(2, 1, b"old")),
    ],
    ids=["octets", "total", "total-in-the-same-place"],
)
def test_contradiction_starts_anew(held: UserData, contradiction: UserData) -> None:
    """A part with another total, or other octets in the same place, is the first of a new message."""
    reassembler = Reassembler()
    feed(reassembler, held, contradiction)
    assert reassembler.octets == contradiction.length
    assert reassembler.expire(0.0) == [Dropped(sender="a", reference=1, reason=DropReason.CONTRADICTED)]


def test_reused_reference_delivers_the_new_message() -> None:
    """After a contradiction the new message is completed by its own parts alone."""
    reassembler = Reassembler()
    feed(reassembler, part_of(2, 1, b"old"))
    assert feed(reassembler, part_of(2, 1, b"new"), part_of(2, 2, b"er")) == UserData(payload=b"newer")


@pytest.mark.parametrize(
    "user_data",
    [
        raw(IEI_CONCAT_8, "010001"),
        raw(IEI_CONCAT_8, "010200"),
        raw(IEI_CONCAT_8, "010203"),
        raw(IEI_CONCAT_8, "0102"),
        raw(IEI_CONCAT_8, "01020101"),
        raw(IEI_CONCAT_16, "010201"),
        raw(IEI_CONCAT_16, "00010203"),
    ],
)
def test_senseless_element_is_ignored(user_data: UserData) -> None:
    """A zero, a sequence beyond the total or a wrong length in the element makes a single message."""
    assert Reassembler().receive("a", user_data, 0.0) == user_data


def test_last_element_counts() -> None:
    """Of two concatenation elements the last one counts, unless it is senseless."""
    both = UserData(
        header=(*raw(IEI_CONCAT_8, "010201").header, *raw(IEI_CONCAT_16, "00090302").header), payload=b""
    )
    senseless = UserData(
        header=(*raw(IEI_CONCAT_8, "010201").header, *raw(IEI_CONCAT_16, "00090002").header), payload=b""
    )
    assert Part.of(both) == Part(reference=9, total=3, sequence=2, wide=True)
    assert Part.of(senseless) == Part(reference=1, total=2, sequence=1)


@given(
    packets=st.lists(st.binary(max_size=600), min_size=1, max_size=4),
    wide=st.booleans(),
    limit=st.integers(20, MAX_USER_DATA),
    shuffle=st.randoms(use_true_random=False),
)
def test_any_packets_survive(*, packets: list[bytes], wide: bool, limit: int, shuffle: Random) -> None:
    """Whatever packets are cut, shuffled together and partly repeated, each arrives exactly once."""
    parts = [
        part
        for reference, packet in enumerate(packets)
        for part in split(packet, reference=reference, first=COMMAND, wide=wide, limit=limit)
    ]
    repeated = [part for part in parts if Part.of(part)]
    stream = parts + repeated
    shuffle.shuffle(stream)
    reassembler = Reassembler()
    arrived = [joined for part in stream if (joined := reassembler.receive("a", part, 0.0))]
    assert sorted(message.payload for message in arrived) == sorted(packets)
    assert {message.header for message in arrived} == {(COMMAND,)}
    assert reassembler.octets == 0
