from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.concatenation_kit import COMMAND, PACKET, RESPONSE, feed, part_of, whole
from transport.concatenation import (
    MAX_MESSAGE_OCTETS,
    Dropped,
    DropReason,
    Reassembler,
    Refusal,
    split,
)
from transport.errors import ConcatenationRejected
from transport.sms import IEI_COMMAND_PACKET, IEI_CONCAT_8, IEI_CONCAT_16, InformationElement, UserData

if TYPE_CHECKING:
    from types import FrameType


def refusal_of(reassembler: Reassembler, part: UserData, *, now: float = 0.0) -> str:
    """Return the reason for which *part* is refused."""
    with pytest.raises(ConcatenationRejected) as rejection:
        reassembler.receive("a", part, now)
    return rejection.value.reason


def test_time_out() -> None:
    """A message is given up when the time passes without a new part, and said so once."""
    reassembler = Reassembler(timeout_s=10.0)
    reassembler.receive("a", part_of(3, 1), 0.0)
    reassembler.receive("a", part_of(3, 2), 9.0)
    reassembler.receive("a", part_of(3, 2), 18.0)
    assert reassembler.expire(18.9) == []
    assert reassembler.expire(19.0) == [Dropped(sender="a", reference=1, reason=DropReason.TIMED_OUT)]
    assert reassembler.expire(19.0) == []
    assert reassembler.octets == 0


def test_timed_out_parts_are_not_used() -> None:
    """What has timed out completes no message, even if nobody asked for expiry."""
    reassembler = Reassembler(timeout_s=10.0)
    reassembler.receive("a", part_of(2, 1, b"old"), 0.0)
    assert reassembler.receive("a", part_of(2, 2), 10.0) is None
    assert [dropped.reason for dropped in reassembler.expire(10.0)] == [DropReason.TIMED_OUT]


def test_complete_message_is_forgotten_in_time() -> None:
    """After the time-out the same octets under the same reference are a message again."""
    parts = split(PACKET, reference=7, first=COMMAND)
    reassembler = Reassembler(timeout_s=10.0)
    feed(reassembler, *parts)
    assert feed(reassembler, *parts, now=10.0) == whole()


def test_oldest_out_when_full() -> None:
    """One message too many pushes out the one that waited longest for a new part."""
    reassembler = Reassembler(max_messages=2)
    feed(reassembler, part_of(3, 1, reference=1), part_of(3, 1, reference=2), part_of(3, 2, reference=1))
    feed(reassembler, part_of(3, 1, reference=3))
    assert reassembler.expire(0.0) == [Dropped(sender="a", reference=2, reason=DropReason.CROWDED_OUT)]
    assert feed(reassembler, part_of(3, 3, b"end", reference=1)) == UserData(payload=b"end")


def test_complete_messages_remembered_are_bounded() -> None:
    """As many complete messages are remembered as incomplete ones may be held, no more."""
    reassembler = Reassembler(max_messages=2)
    for reference in (1, 2, 3):
        feed(reassembler, part_of(1, 1, b"x", reference=reference))
    assert feed(reassembler, part_of(1, 1, b"x", reference=3)) is None
    assert feed(reassembler, part_of(1, 1, b"x", reference=1)) == UserData(payload=b"x")


def test_octets_are_bounded() -> None:
    """Beyond the octets allowed the oldest messages go until the newest fits."""
    reassembler = Reassembler(max_octets=300)
    for reference in range(1, 10):
        feed(reassembler, part_of(2, 1, bytes(94), reference=reference))
        assert reassembler.octets <= 300
    assert [dropped.reference for dropped in reassembler.expire(0.0)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("bound", ["max_octets", "max_octets_per_sender"])
def test_message_larger_than_all_room(bound: str) -> None:
    """A message that alone exceeds the octets allowed is refused at the part that does, and not held."""
    reassembler = Reassembler(**{bound: 300})
    feed(reassembler, part_of(4, 1, bytes(134)), part_of(4, 2, bytes(134)))
    assert refusal_of(reassembler, part_of(4, 3, bytes(134))) == Refusal.TOO_LARGE
    assert reassembler.octets == 0
    assert reassembler.expire(0.0) == [Dropped(sender="a", reference=1, reason=DropReason.REFUSED)]
    assert refusal_of(reassembler, part_of(4, 4)) == Refusal.TOO_LARGE


def test_too_many_parts() -> None:
    """A message of more parts than allowed is refused at its first part, and what is held stays."""
    reassembler = Reassembler(max_parts=3)
    feed(reassembler, part_of(2, 1, b"held"))
    assert refusal_of(reassembler, part_of(4, 2)) == Refusal.TOO_MANY_PARTS
    assert feed(reassembler, part_of(2, 2, b"!")) == UserData(payload=b"held!")


def test_bounds_of_one_sender() -> None:
    """One message too many of a sender pushes out that sender's oldest, and nobody else's."""
    reassembler = Reassembler(max_per_sender=2)
    feed(reassembler, part_of(2, 1, b"b", reference=9), sender="b")
    for reference in (1, 2, 3):
        feed(reassembler, part_of(2, 1, b"a", reference=reference))
    assert reassembler.expire(0.0) == [Dropped(sender="a", reference=1, reason=DropReason.CROWDED_OUT)]
    assert feed(reassembler, part_of(2, 2, b"!", reference=9), sender="b") == UserData(payload=b"b!")


def test_octets_of_one_sender_are_bounded() -> None:
    """Beyond the octets allowed to a sender its oldest messages go, and nobody else's."""
    reassembler = Reassembler(max_octets_per_sender=200)
    feed(reassembler, part_of(2, 1, bytes(94), reference=9), sender="b")
    for reference in (1, 2, 3):
        feed(reassembler, part_of(2, 1, bytes(94), reference=reference))
    assert reassembler.octets == 300
    assert reassembler.expire(0.0) == [Dropped(sender="a", reference=1, reason=DropReason.CROWDED_OUT)]


def test_largest_message_fits() -> None:
    """By default a sender has room for one message of the greatest length, whatever its order."""
    parts = split(bytes(132 + 254 * 134), reference=1, first=COMMAND)
    assert sum(part.length for part in parts) == MAX_MESSAGE_OCTETS
    assert feed(Reassembler(), *reversed(parts)) == whole(bytes(132 + 254 * 134))


def test_completion_crowds_nobody_out() -> None:
    """The part that completes a message needs no room."""
    reassembler = Reassembler(max_octets=300)
    feed(reassembler, part_of(2, 1, bytes(134), reference=1), part_of(2, 1, bytes(134), reference=2))
    assert feed(reassembler, part_of(2, 2, bytes(134), reference=2)) == UserData(payload=bytes(268))
    assert reassembler.octets == 140
    assert reassembler.expire(0.0) == []


@pytest.mark.parametrize("place", [0, 1])
def test_required_first_element_anywhere(place: int) -> None:
    """The element that part 1 must have may stand before or behind the concatenation element."""
    first, *rest = split(PACKET, reference=1, first=COMMAND)
    header = [element for element in first.header if element != COMMAND]
    header.insert(place, COMMAND)
    reassembler = Reassembler(require_first_element=IEI_COMMAND_PACKET)
    assert feed(reassembler, UserData(header=tuple(header), payload=first.payload), *rest) == whole()


def test_required_first_element_in_every_part() -> None:
    """A sender that repeats the element in every part is understood."""
    parts = [
        UserData(header=(*dict.fromkeys((COMMAND, *part.header)),), payload=part.payload)
        for part in split(PACKET, reference=1, first=COMMAND)
    ]
    assert feed(Reassembler(require_first_element=IEI_COMMAND_PACKET), *parts) == whole()


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)], ids=["first", "last", "between"])
def test_missing_first_element(order: tuple[int, ...]) -> None:
    """Of a concatenation whose part 1 lacks its element nothing is held, whenever that part comes."""
    reassembler = Reassembler(require_first_element=IEI_COMMAND_PACKET)
    parts = split(PACKET, reference=2, first=RESPONSE)
    refused = order.index(0)
    for place in order[:refused]:
        assert feed(reassembler, parts[place]) is None
    for place in order[refused:]:
        assert refusal_of(reassembler, parts[place]) == Refusal.FIRST_ELEMENT_MISSING
    assert reassembler.octets == 0
    dropped = [Dropped(sender="a", reference=2, reason=DropReason.REFUSED)] if refused else []
    assert reassembler.expire(0.0) == dropped


def test_reference_of_refused_message_is_reused() -> None:
    """A sound part 1, another total, or time makes the reference of a refused message good again."""
    sound = split(PACKET, reference=2, first=COMMAND)
    refused = split(PACKET, reference=2, first=RESPONSE)
    reassembler = Reassembler(require_first_element=IEI_COMMAND_PACKET, timeout_s=10.0)
    refusal_of(reassembler, refused[0])
    assert feed(reassembler, *sound) == whole()
    refusal_of(reassembler, refused[0])
    shorter = split(PACKET[:200], reference=2, first=COMMAND)
    assert feed(reassembler, *reversed(shorter)) == whole(PACKET[:200])
    refusal_of(reassembler, refused[0])
    assert feed(reassembler, *reversed(sound), now=10.0) == whole()


def test_refused_part_spoils_no_other_message() -> None:
    """What is held under the same reference, but is another message, is completed all the same."""
    sound = split(PACKET, reference=2, first=COMMAND)
    reassembler = Reassembler(require_first_element=IEI_COMMAND_PACKET)
    feed(reassembler, sound[0])
    refusal_of(reassembler, split(PACKET, reference=2, first=RESPONSE)[0])
    assert feed(reassembler, *sound[1:]) == whole()


def test_refusals_remembered_are_bounded() -> None:
    """As many refused messages are remembered as incomplete ones may be held, no more."""
    reassembler = Reassembler(max_messages=1, require_first_element=IEI_COMMAND_PACKET)
    for reference in (1, 2):
        refusal_of(reassembler, part_of(2, 1, reference=reference))
    assert feed(reassembler, part_of(2, 2, reference=1)) is None
    assert refusal_of(reassembler, part_of(2, 2, reference=2)) == Refusal.FIRST_ELEMENT_MISSING


def test_reasons_are_stable() -> None:
    """The reasons of a refusal and of a drop are counted and reported by these words."""
    assert [str(reason) for reason in Refusal] == ["too-many-parts", "first-element-missing", "too-large"]
    reasons = ["timed-out", "crowded-out", "contradicted", "refused"]
    assert [str(reason) for reason in DropReason] == reasons


def calls(parts: int, messages: int) -> int:
    """Return how many function calls it takes to put *messages* together, all of so many *parts* at once."""
    cut = [
        split(bytes((number & 0xFF,)) * parts * 134, reference=number, wide=True)
        for number in range(messages)
    ]
    stream = [part for row in zip(*map(reversed, cut), strict=True) for part in row]
    reassembler = Reassembler(
        max_messages=messages, max_per_sender=messages, max_octets=1 << 30, max_octets_per_sender=1 << 30
    )
    count = 0

    def observe(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(observe)
    try:
        joined = [reassembler.receive("a", part, 0.0) for part in stream]
    finally:
        sys.setprofile(before)
    assert sum(message is not None for message in joined) == messages
    return count


@pytest.mark.parametrize("messages", [1, 20])
def test_reassembly_is_linear(messages: int) -> None:
    """A part costs the same, of a long message as of a short one, and however many are under way."""
    few = calls(9, 1) / 9
    assert calls(240, messages) / (240 * messages) <= few


@pytest.mark.parametrize("bounds", [{"max_messages": 0}, {"max_per_sender": 0}])
def test_reassembler_misuse(bounds: dict[str, int]) -> None:
    """A reassembler without room is our own mistake."""
    with pytest.raises(ValueError, match="holds no message"):
        Reassembler(**bounds)


small = st.integers(0, 3)
any_parts = st.builds(
    UserData,
    header=st.lists(
        st.builds(
            InformationElement,
            iei=st.sampled_from([IEI_CONCAT_8, IEI_CONCAT_16, IEI_COMMAND_PACKET]),
            data=st.lists(small, max_size=5).map(bytes),
        ),
        max_size=3,
    ).map(tuple),
    payload=st.binary(max_size=3),
)


@given(st.lists(st.tuples(st.sampled_from("ab"), any_parts, st.integers(0, 9)), max_size=40))
def test_any_parts(stream: list[tuple[str, UserData, int]]) -> None:
    """Whatever comes, only the typed refusal is raised and the bounds hold."""
    reassembler = Reassembler(
        max_messages=3,
        max_octets=60,
        max_per_sender=2,
        max_octets_per_sender=40,
        max_parts=2,
        timeout_s=20.0,
        require_first_element=IEI_COMMAND_PACKET,
    )
    now = 0.0
    for sender, user_data, pause_s in stream:
        now += pause_s
        try:
            joined = reassembler.receive(sender, user_data, now)
        except ConcatenationRejected:
            joined = None
        assert joined is None or joined.length <= 40
        assert 0 <= reassembler.octets <= 60
    reassembler.expire(now + 20.0)
    assert reassembler.octets == 0
