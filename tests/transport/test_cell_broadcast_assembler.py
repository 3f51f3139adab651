"""Putting pages together: any order, losses, rounds, updates, contradictions, bounds."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from random import Random  # noqa: TC003 -- hypothesis reads the annotations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from transport.cell_broadcast import (
    MAX_CONTENT,
    Dropped,
    DropReason,
    GeographicScope,
    Page,
    PageAssembler,
    SerialNumber,
    packet_of,
    split,
)

IDENTIFIER = 0x1080


def serial_of(code: int = 1, update: int = 0) -> SerialNumber:
    """Return a serial number of the whole network."""
    return SerialNumber(scope=GeographicScope.PLMN, code=code, update=update)


def message(total: int = 3, *, code: int = 1, update: int = 0, letter: bytes = b"x") -> list[Page]:
    """Return the pages of a packet of *letter* that fills *total* of them but for an octet."""
    size = total * 82 - 1
    return split((size - 2).to_bytes(2, "big") + letter * (size - 2), serial_of(code, update), IDENTIFIER)


def joined(pages: list[Page]) -> bytes:
    """Return the content of *pages*."""
    return b"".join(page.content for page in pages)


def feed(assembler: PageAssembler, *pages: Page, now: float = 0.0) -> list[bytes]:
    """Feed *pages* in turn; return what they completed."""
    return [content for page in pages if (content := assembler.receive(page, now)) is not None]


def reasons(assembler: PageAssembler, now: float = 0.0) -> list[DropReason]:
    """Return why messages were dropped since the last call."""
    return [dropped.reason for dropped in assembler.expire(now)]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_any_order(order: tuple[int, ...]) -> None:
    """Pages in any order give the content in theirs, and nothing of it is held afterwards."""
    pages = message()
    assembler = PageAssembler()
    assert feed(assembler, *(pages[place] for place in order)) == [joined(pages)]
    assert assembler.octets == 0


@pytest.mark.parametrize("total", [1, 2, 15])
def test_any_length(total: int) -> None:
    """One page is whole at once, fifteen are when the last has come."""
    pages = message(total)
    assembler = PageAssembler()
    assert feed(assembler, *pages[:-1]) == []
    assert assembler.octets == 82 * (total - 1)
    assert feed(assembler, pages[-1]) == [joined(pages)]


def test_a_page_of_no_number_is_a_message() -> None:
    """A page parameter of zero is a message of one page."""
    page = replace(message(1)[0], page_parameter=0)
    assert PageAssembler().receive(page, 0.0) == page.content


def test_rounds_fill_what_was_missed() -> None:
    """What the first round lost is taken from the second, and what is known already changes nothing."""
    first, second, third = message()
    assembler = PageAssembler()
    assert feed(assembler, first, third) == []
    assert feed(assembler, first, second, third) == [joined([first, second, third])]


def test_a_complete_message_is_delivered_once() -> None:
    """Round after round of it brings nothing more, for however long."""
    pages = message()
    assembler = PageAssembler(timeout_s=10.0)
    assert feed(assembler, *pages) == [joined(pages)]
    for now in (1.0, 1e4, 1e8):
        assert feed(assembler, *pages, now=now) == []
    assert assembler.octets == 0
    assert reasons(assembler, 1e8) == []


def test_messages_do_not_mix() -> None:
    """Another code, scope or message identifier makes another message."""
    pages = message(2)
    others = [
        message(2, code=2),
        [replace(page, serial=replace(page.serial, scope=GeographicScope.CELL)) for page in pages],
        [replace(page, message_identifier=IDENTIFIER + 1) for page in pages],
    ]
    assembler = PageAssembler()
    assert feed(assembler, *(each[0] for each in (pages, *others))) == []
    assert feed(assembler, *(each[1] for each in (pages, *others))) == [joined(pages)] * 4


def test_an_update_is_delivered_as_new() -> None:
    """After a complete message its update is a message again, and what is left of the old one is nothing."""
    old, new = message(2), message(2, update=1, letter=b"y")
    assembler = PageAssembler()
    assert feed(assembler, *old, *new, *old, *new) == [joined(old), joined(new)]


def test_an_update_with_the_same_content_is_delivered_as_new() -> None:
    """The update number alone makes a message new."""
    assembler = PageAssembler()
    assert len(feed(assembler, *message(2), *message(2, update=1))) == 2


def test_an_update_replaces_an_incomplete_message() -> None:
    """The first page of an update ends what was incomplete, which its own last page cannot revive."""
    old, new = message(2), message(2, update=1, letter=b"y")
    assembler = PageAssembler()
    assert feed(assembler, old[0], new[0], old[1], new[1]) == [joined(new)]
    assert assembler.expire(0.0) == [
        Dropped(message_identifier=IDENTIFIER, serial=serial_of(), reason=DropReason.UPDATED)
    ]


@pytest.mark.parametrize(("latest", "late"), [(1, 0), (0, 15), (7, 0), (0, 9)])
def test_an_earlier_version_is_ignored(latest: int, late: int) -> None:
    """Pages of an earlier version, modulo 16, disturb neither an incomplete message nor a complete one."""
    new, old = message(2, update=latest), message(2, update=late, letter=b"y")
    assembler = PageAssembler()
    assert feed(assembler, new[0], *old, new[1], *old) == [joined(new)]
    assert reasons(assembler) == []


CONTRADICTIONS = {
    "other octets": message(3, letter=b"y")[0],
    "another total": message(2)[1],
    "another total in the same place": message(2)[0],
    "another coding": replace(message(3)[1], dcs=0xF4),
}


@pytest.mark.parametrize("page", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_a_contradiction_begins_anew(page: Page) -> None:
    """Under one serial number a page that cannot be of the same message begins another one."""
    assembler = PageAssembler()
    feed(assembler, message(3)[0], page)
    assert assembler.octets == 82
    assert reasons(assembler) == [DropReason.CONTRADICTED]


@pytest.mark.parametrize("page", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_a_contradiction_of_a_complete_message_begins_anew(page: Page) -> None:
    """A code that is used again without an update brings its new message, and no complaint."""
    assembler = PageAssembler()
    feed(assembler, *message(3), page)
    assert assembler.octets == 82
    assert reasons(assembler) == []


def test_a_code_used_again_is_delivered() -> None:
    """Other content under the same serial number is delivered when it is whole."""
    old, new = message(2), message(2, letter=b"y")
    assert feed(PageAssembler(), *old, *new, *new) == [joined(old), joined(new)]


def test_time_out() -> None:
    """A message is given up when the time passes without a new page, and said so once."""
    first, second, _ = message()
    assembler = PageAssembler(timeout_s=10.0)
    assembler.receive(first, 0.0)
    assembler.receive(second, 9.0)
    assembler.receive(second, 18.0)
    assert reasons(assembler, 18.9) == []
    assert reasons(assembler, 19.0) == [DropReason.TIMED_OUT]
    assert reasons(assembler, 19.0) == []
    assert assembler.octets == 0


def test_timed_out_pages_are_not_used() -> None:
    """What has timed out completes no message, even if nobody asked for expiry."""
    first, second = message(2)
    assembler = PageAssembler(timeout_s=10.0)
    assembler.receive(first, 0.0)
    assert assembler.receive(second, 10.0) is None
    assert reasons(assembler, 10.0) == [DropReason.TIMED_OUT]


def test_oldest_out_when_full() -> None:
    """One message too many pushes out the one that waited longest for a new page."""
    one, two, three = (message(3, code=code) for code in (1, 2, 3))
    assembler = PageAssembler(max_messages=2)
    feed(assembler, one[0], two[0], one[1], three[0])
    assert assembler.expire(0.0) == [
        Dropped(message_identifier=IDENTIFIER, serial=serial_of(2), reason=DropReason.CROWDED_OUT)
    ]
    assert feed(assembler, one[2]) == [joined(one)]


def test_complete_messages_remembered_are_bounded() -> None:
    """Beyond the bound the one not heard of for longest is forgotten, and delivered when it comes again."""
    ones, twos, threes = (message(1, code=code) for code in (1, 2, 3))
    assembler = PageAssembler(max_remembered=2)
    assert len(feed(assembler, *ones, *twos, *ones, *threes)) == 3
    assert feed(assembler, *ones, *threes) == []
    assert feed(assembler, *twos) == [joined(twos)]


def test_versions_apart_do_not_put_each_other_out() -> None:
    """Where a version is a message of its own, a later one neither ends an earlier one nor keeps it out."""
    assembler = PageAssembler(versions_apart=True)
    first, later = message(update=1), message(update=5, letter=b"y")
    assert feed(assembler, *later[:2]) == []
    assert feed(assembler, *first) == [joined(first)]
    assert feed(assembler, *later) == [joined(later)]
    assert feed(assembler, *first, *later) == []


def test_reports_are_bounded() -> None:
    """Of more drops than are kept the latest are reported."""
    assembler = PageAssembler(max_messages=1)
    for code in range(1000):
        feed(assembler, message(2, code=code)[0])
    reported = assembler.expire(0.0)
    assert [dropped.serial.code for dropped in reported] == list(range(743, 999))


@pytest.mark.parametrize("wrong", [{"max_messages": 0}, {"max_remembered": 0}, {"timeout_s": 0.0}], ids=str)
def test_assembler_misuse(wrong: dict[str, Any]) -> None:
    """An assembler without room, memory or patience is our own mistake."""
    with pytest.raises(ValueError, match="an assembler needs"):
        PageAssembler(**wrong)


@given(
    sizes=st.lists(st.integers(2, MAX_CONTENT), min_size=1, max_size=4),
    shuffle=st.randoms(use_true_random=False),
    loss=st.floats(0.0, 0.9),
)
def test_any_packets_survive_a_lossy_air(*, sizes: list[int], shuffle: Random, loss: float) -> None:
    """Packets of any size arrive once each, whatever of a round is lost, repeated and shuffled together."""
    packets = [
        (size - 2).to_bytes(2, "big") + bytes((shuffle.randrange(256),)) * (size - 2) for size in sizes
    ]
    pages = [
        page for code, packet in enumerate(packets) for page in split(packet, serial_of(code), IDENTIFIER)
    ]
    rounds = [[page for page in pages * 2 if shuffle.random() >= loss] for _ in range(3)]
    assembler = PageAssembler()
    arrived = []
    for heard in (*rounds, list(pages), *rounds):
        shuffle.shuffle(heard)
        arrived += feed(assembler, *heard)
    assert sorted(map(packet_of, arrived)) == sorted(packets)
    assert assembler.octets == 0


any_pages = st.builds(
    Page,
    serial=st.builds(
        SerialNumber,
        scope=st.sampled_from(GeographicScope),
        code=st.integers(0, 1),
        update=st.integers(0, 15),
    ),
    message_identifier=st.integers(0, 1),
    dcs=st.sampled_from([0xF6, 0x00]),
    page_parameter=st.sampled_from([0x00, 0x11, 0x12, 0x22, 0x13, 0x23, 0x33]),
    content=st.sampled_from([bytes(82), b"\x01" * 82]),
)


@given(st.lists(st.tuples(any_pages, st.integers(0, 9)), max_size=60))
def test_any_pages(stream: list[tuple[Page, int]]) -> None:
    """Whatever comes, nothing is raised and the bounds hold."""
    assembler = PageAssembler(max_messages=2, max_remembered=1, timeout_s=20.0)
    now = 0.0
    for page, pause_s in stream:
        now += pause_s
        content = assembler.receive(page, now)
        assert content is None or len(content) == 82 * page.total
        assert assembler.octets <= 2 * MAX_CONTENT
    assembler.expire(now + 20.0)
    assert assembler.octets == 0


def test_versions_apart_after_a_round_of_update_numbers() -> None:
    """The seventeenth version has the first one's number, and is delivered; a repetition of one is not."""
    assembler = PageAssembler(versions_apart=True)
    for version in range(40):
        pages = message(update=version % 16)
        assert feed(assembler, *pages, *pages) == [joined(pages)]


def test_what_is_forgotten_is_delivered_again() -> None:
    """A complete message of an identifier is new again; another's is not, and what is incomplete stays."""
    assembler, pages, half = PageAssembler(), message(), message(code=2)
    others = [replace(page, message_identifier=IDENTIFIER + 1) for page in pages]
    assert len(feed(assembler, *pages, *others, *half[:-1])) == 2
    assembler.forget(IDENTIFIER)
    assert feed(assembler, *others, *pages, half[-1]) == [joined(pages), joined(half)]


class Updates(RuleBasedStateMachine):
    """A network that broadcasts versions of one message, and a phone that hears some of their pages.

    The model is the clause: the latest version heard of counts, each is delivered once, when it is whole.
    """

    def __init__(self) -> None:
        super().__init__()
        self.assembler = PageAssembler()
        self.on_air = 0  # versions counted without end; the air says them modulo 16
        self.latest = -1
        self.heard: set[int] = set()
        self.delivered: list[int] = []

    def pages(self, version: int) -> list[Page]:
        """Return the three pages of *version*, which say it."""
        packet = (200).to_bytes(2, "big") + version.to_bytes(4, "big") * 50
        return split(packet, serial_of(7, version % 16), IDENTIFIER)

    @rule(steps=st.integers(1, 8))
    def update(self, steps: int) -> None:
        """Go on to a later version, never more than eight beyond what the phone has heard of."""
        self.on_air = min(self.on_air + steps, max(self.latest, 0) + 8)

    @rule(behind=st.integers(0, 7), number=st.integers(0, 2))
    def hear(self, behind: int, number: int) -> None:
        """Hear a page of the version on the air, or of one a little behind it."""
        version = max(self.on_air - behind, self.latest - 7, 0)
        content = self.assembler.receive(self.pages(version)[number], 0.0)
        if version > self.latest:
            self.latest, self.heard = version, set()
        if version < self.latest or number in self.heard:
            assert content is None
            return
        self.heard.add(number)
        assert (content is not None) == (len(self.heard) == 3)
        if content is not None:
            self.delivered.append(int.from_bytes(packet_of(content)[2:6], "big"))
            assert self.delivered[-1] == version

    @invariant()
    def each_version_once_and_in_order(self) -> None:
        """Check that what was delivered goes up, and that nothing complete is held."""
        assert self.delivered == sorted(set(self.delivered))
        assert self.assembler.octets == (82 * len(self.heard) if len(self.heard) < 3 else 0)


TestUpdates = Updates.TestCase
TestUpdates.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
