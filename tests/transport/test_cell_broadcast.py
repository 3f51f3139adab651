"""Pages, serial numbers, filters, schedules and blocks of cell broadcast."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.vectors import load
from transport.cell_broadcast import (
    BLOCK_OCTETS,
    CONTENT_OCTETS,
    DCS_CLASS_2_DATA,
    FORMATTED_PACKETS,
    MAX_CONTENT,
    MAX_IDENTIFIERS,
    PAGE_OCTETS,
    PERIOD_UNIT_S,
    SECURED_DATA_DOWNLOAD,
    UNSECURED_DATA_DOWNLOAD,
    GeographicScope,
    MessageFilter,
    Page,
    Schedule,
    SerialNumber,
    blocks,
    from_blocks,
    packet_of,
    split,
)
from transport.errors import CellBroadcastRejected

VECTORS = load("cell_broadcast")
SERIAL = SerialNumber(scope=GeographicScope.PLMN, code=0x155, update=9)
PAGE = Page(serial=SERIAL, message_identifier=0x1080, page_parameter=0x23, content=bytes(range(82)))

serials = st.builds(
    SerialNumber,
    scope=st.sampled_from(GeographicScope),
    code=st.integers(0, 0x3FF),
    update=st.integers(0, 0xF),
)
good_parameters = st.integers(0, 0xFF).filter(lambda octet: not 0 < octet & 0xF < octet >> 4)
pages = st.builds(
    Page,
    serial=serials,
    message_identifier=st.integers(0, 0xFFFF),
    dcs=st.integers(0, 0xFF),
    page_parameter=good_parameters,
    content=st.binary(min_size=CONTENT_OCTETS, max_size=CONTENT_OCTETS),
)


def vectors(table: str) -> pytest.MarkDecorator:
    """Run a test for each vector of *table*."""
    return pytest.mark.parametrize("vector", VECTORS[table], ids=[vector["id"] for vector in VECTORS[table]])


# ---- serial numbers ------------------------------------------------------------------------------------


@vectors("serial")
def test_published_serial_numbers(vector: dict[str, Any]) -> None:
    """A published serial number is read as its source says, and written as it was."""
    octets = bytes.fromhex(vector["octets"])
    serial = SerialNumber.parse(octets)
    assert (serial.scope, serial.code, serial.update) == (vector["scope"], vector["code"], vector["update"])
    assert serial.encode() == octets


@given(number=st.binary(min_size=2, max_size=2))
def test_every_serial_number_survives(*, number: bytes) -> None:
    """Any two octets are a serial number that encodes to them."""
    assert SerialNumber.parse(number).encode() == number


@pytest.mark.parametrize("octets", [b"", b"\x40", b"\x40\x10\x00"], ids=["none", "one", "three"])
def test_a_serial_number_has_two_octets(octets: bytes) -> None:
    """Less or more is rejected by its length."""
    with pytest.raises(CellBroadcastRejected, match=r"^length"):
        SerialNumber.parse(octets)


@vectors("later")
def test_later_updates(vector: dict[str, Any]) -> None:
    """Of two update numbers the one that is one to eight steps ahead, modulo 16, is the later."""
    first, second = (
        SerialNumber(scope=GeographicScope.CELL, code=1, update=update) for update in vector["updates"]
    )
    assert second.newer_than(first) is vector["is_later"]


@given(one=serials, other=serials)
def test_of_two_versions_one_is_newer(*, one: SerialNumber, other: SerialNumber) -> None:
    """Two versions of a message are ordered, both ways only when they are eight apart; two messages never."""
    orders = [one.newer_than(other), other.newer_than(one)]
    if (one.scope, one.code) != (other.scope, other.code) or one.update == other.update:
        assert orders == [False, False]
    elif abs(one.update - other.update) == 8:
        assert orders == [True, True]
    else:
        assert sorted(orders) == [False, True]


@pytest.mark.parametrize(
    "numbers", [{"code": -1}, {"code": 1024}, {"code": 1, "update": -1}, {"code": 1, "update": 16}]
)
def test_serial_number_misuse(numbers: dict[str, int]) -> None:
    """A code or an update that its bits cannot say is our own mistake."""
    with pytest.raises(ValueError, match=r"message code|update number"):
        SerialNumber(scope=GeographicScope.PLMN, **numbers)


# ---- pages ---------------------------------------------------------------------------------------------


@vectors("page")
def test_published_pages(vector: dict[str, Any]) -> None:
    """A published page is read as its source says, and written as it was."""
    octets = bytes.fromhex(vector["octets"])
    page = Page.parse(octets)
    assert (page.serial.scope, page.serial.code) == (vector["scope"], vector["code"])
    assert page.serial.update == vector["update"]
    assert (page.message_identifier, page.dcs) == (vector["message_identifier"], vector["dcs"])
    assert (page.number, page.total) == (vector["number"], vector["total"])
    assert page.content == octets[6:]
    assert page.encode() == octets


def test_octets_of_a_page() -> None:
    """Serial number, message identifier, coding, page parameter, content: nothing else and in this order."""
    assert PAGE.encode() == bytes.fromhex("55591080f623") + bytes(range(82))
    assert (PAGE.number, PAGE.total) == (2, 3)


@given(page=pages)
def test_any_page_survives(*, page: Page) -> None:
    """Whatever a page says, its octets say it again."""
    assert Page.parse(page.encode()) == page


@given(octets=st.binary(max_size=2 * PAGE_OCTETS) | st.binary(min_size=PAGE_OCTETS, max_size=PAGE_OCTETS))
def test_any_octets(*, octets: bytes) -> None:
    """Any octets are a page that encodes to them, with a sensible place, or are rejected."""
    try:
        page = Page.parse(octets)
    except CellBroadcastRejected:
        assert len(octets) != PAGE_OCTETS or 0 < octets[5] & 0xF < octets[5] >> 4
    else:
        assert page.encode() == octets
        assert 1 <= page.number <= page.total <= 15


@pytest.mark.parametrize("parameter", [0x00, 0x01, 0x0F, 0x10, 0xF0])
def test_a_zero_makes_a_single_page(parameter: int) -> None:
    """A zero in either half of the page parameter is taken as page 1 of 1, and kept as it came."""
    octets = bytearray(PAGE.encode())
    octets[5] = parameter
    page = Page.parse(bytes(octets))
    assert (page.number, page.total, page.page_parameter) == (1, 1, parameter)
    assert page.encode() == octets


@pytest.mark.parametrize("parameter", [0x21, 0xF1, 0xFE])
def test_a_page_beyond_the_total_is_rejected(parameter: int) -> None:
    """A page number greater than the total makes no page."""
    octets = bytearray(PAGE.encode())
    octets[5] = parameter
    with pytest.raises(CellBroadcastRejected, match=r"^page-parameter"):
        Page.parse(bytes(octets))


@pytest.mark.parametrize("size", [0, 1, 5, 6, 56, 87, 89, 176])
def test_a_page_has_88_octets(size: int) -> None:
    """Cut short, longer, empty, or an emergency notification: rejected by its length."""
    with pytest.raises(CellBroadcastRejected, match=r"^length"):
        Page.parse((PAGE.encode() * 2)[:size])


@pytest.mark.parametrize(
    "fields",
    [
        {"message_identifier": -1},
        {"message_identifier": 0x10000},
        {"dcs": -1},
        {"dcs": 0x100},
        {"page_parameter": -1},
        {"page_parameter": 0x100},
        {"page_parameter": 0x32},
        {"content": bytes(81)},
        {"content": bytes(83)},
    ],
    ids=str,
)
def test_page_misuse(fields: dict[str, Any]) -> None:
    """What 88 octets cannot say is our own mistake."""
    with pytest.raises(ValueError, match=r"identifier|coding|parameter|82 octets"):
        replace(PAGE, **fields)


def test_a_page_keeps_its_content_to_itself() -> None:
    """The content is not in the repr."""
    assert "content" not in repr(PAGE)


# ---- packets in pages ----------------------------------------------------------------------------------


def packet_with(size: int) -> bytes:
    """Return a packet of *size* octets, CPL and all."""
    return (size - 2).to_bytes(2, "big") + bytes(number % 255 + 1 for number in range(size - 2))


@pytest.mark.parametrize(
    ("size", "total", "fill"),
    [(2, 1, 80), (81, 1, 1), (82, 1, 0), (83, 2, 81), (164, 2, 0), (1229, 15, 1), (1230, 15, 0)],
)
def test_a_packet_in_pages(size: int, total: int, fill: int) -> None:
    """A packet is cut to 82 octets a page; the last page is filled up; the joined content gives it back."""
    packet = packet_with(size)
    cut = split(packet, SERIAL, 0x1080)
    assert [(page.number, page.total) for page in cut] == [(n, total) for n in range(1, total + 1)]
    assert {(page.serial, page.message_identifier, page.dcs) for page in cut} == {
        (SERIAL, 0x1080, DCS_CLASS_2_DATA)
    }
    content = b"".join(page.content for page in cut)
    assert content == packet + bytes(fill)
    assert packet_of(content) == packet


def test_another_coding_can_be_had() -> None:
    """The data coding scheme is the caller's to choose."""
    assert [page.dcs for page in split(b"text", SERIAL, 50, dcs=0x01)] == [0x01]


@pytest.mark.parametrize("size", [0, MAX_CONTENT + 1])
def test_what_fits_no_message(size: int) -> None:
    """Nothing, or more than 15 pages, is our own mistake; the limit is named."""
    with pytest.raises(ValueError, match=r"1 to 1230 octets \(15 pages\)"):
        split(bytes(size), SERIAL, 0x1080)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "truncated"),
        ("00", "truncated"),
        ("0001", "cpl"),
        ("0003aabb", "cpl"),
        ("ffff" + "00" * 80, "cpl"),
    ],
    ids=["nothing", "half a CPL", "no more than CPL", "one short", "far too long"],
)
def test_a_cpl_that_does_not_fit(content: str, reason: str) -> None:
    """Without a CPL, or with one that counts more than there is, there is no packet."""
    with pytest.raises(CellBroadcastRejected) as caught:
        packet_of(bytes.fromhex(content))
    assert caught.value.reason == reason


@given(content=st.binary(max_size=MAX_CONTENT))
def test_any_content(*, content: bytes) -> None:
    """Any content begins with a packet of the length that it says, or is rejected."""
    try:
        packet = packet_of(content)
    except CellBroadcastRejected:
        assert len(content) < 2 + int.from_bytes(content[:2].ljust(2, b"\x01"), "big")
    else:
        assert content.startswith(packet)
        assert int.from_bytes(packet[:2], "big") == len(packet) - 2


# ---- filters -------------------------------------------------------------------------------------------


def test_ranges_of_identifiers() -> None:
    """The ranges for cards are those of the clause, and formatted packets are secured ones."""
    assert (UNSECURED_DATA_DOWNLOAD[0], UNSECURED_DATA_DOWNLOAD[-1]) == (4096, 4223)
    assert (SECURED_DATA_DOWNLOAD[0], SECURED_DATA_DOWNLOAD[-1]) == (4224, 4351)
    assert (FORMATTED_PACKETS[0], FORMATTED_PACKETS[-1]) == (0x1080, 0x109F)
    assert set(FORMATTED_PACKETS) < set(SECURED_DATA_DOWNLOAD)


def test_octets_of_a_filter() -> None:
    """Entries stand in two octets each, and what is unused is FFFF."""
    wanted = MessageFilter(identifiers=(0x1080, 0x109F))
    assert wanted.encode(4).hex() == "1080109fffffffff"
    assert MessageFilter.parse(bytes.fromhex("1080109fffffffff")) == wanted
    assert MessageFilter.parse(bytes.fromhex("1080109f")) == wanted


def test_what_a_filter_passes() -> None:
    """What is listed passes and nothing else does, least of all FFFF."""
    wanted = MessageFilter.parse(bytes.fromhex("1080109fffff"))
    assert [wanted.passes(identifier) for identifier in (0x1080, 0x109F)] == [True, True]
    assert [wanted.passes(identifier) for identifier in (0x1081, 0, 0xFFFF)] == [False] * 3
    assert not MessageFilter().passes(0x1080)


@given(octets=st.binary(max_size=40) | st.lists(st.sampled_from([b"\x10\x80", b"\xff\xff"])).map(b"".join))
def test_any_file(*, octets: bytes) -> None:
    """Any file is a filter that encodes to it, or is rejected."""
    try:
        wanted = MessageFilter.parse(octets)
    except CellBroadcastRejected:
        assert len(octets) % 2 or b"\xff\xff" in octets
    else:
        assert wanted.encode(len(octets) // 2) == octets


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (bytes.fromhex("1080ff"), "length"),
        (bytes.fromhex("ffff1080"), "gap"),
        (b"\x10\x80" * (MAX_IDENTIFIERS + 1), "too-many"),
    ],
    ids=["half an entry", "unused before used", "more than are searched"],
)
def test_a_file_that_does_not_hold(octets: bytes, reason: str) -> None:
    """What cannot be a filter is rejected with its reason."""
    with pytest.raises(CellBroadcastRejected) as caught:
        MessageFilter.parse(octets)
    assert caught.value.reason == reason


def test_a_large_file_with_few_entries_is_a_filter() -> None:
    """The bound is on what is used, not on the file."""
    octets = b"\x10\x80" + b"\xff" * 4096
    assert MessageFilter.parse(octets) == MessageFilter(identifiers=(0x1080,))


@pytest.mark.parametrize(
    "identifiers", [(-1,), (0xFFFF,), (1,) * (MAX_IDENTIFIERS + 1)], ids=["negative", "unused", "too many"]
)
def test_filter_misuse(identifiers: tuple[int, ...]) -> None:
    """No identifiers, or too many, are our own mistake."""
    with pytest.raises(ValueError, match="identifier"):
        MessageFilter(identifiers=identifiers)


def test_a_filter_that_does_not_fit_its_file() -> None:
    """A file with fewer entries than the filter has is our own mistake."""
    with pytest.raises(ValueError, match="2 identifiers in a file of 1"):
        MessageFilter(identifiers=(1, 2)).encode(1)


# ---- schedules -----------------------------------------------------------------------------------------


def test_times_of_a_schedule() -> None:
    """The first broadcast is at the start, each other one a period of 1.883 s units later."""
    schedule = Schedule(period=10, count=3)
    assert list(schedule.times(100.0)) == pytest.approx([100.0, 118.83, 137.66])
    assert schedule.nth(100.0, 2) == pytest.approx(137.66)


def test_a_schedule_without_end() -> None:
    """A count of zero goes on for ever, without adding up errors."""
    schedule = Schedule(period=4095, count=0)
    assert len(list(islice(schedule.times(0.0), 1000))) == 1000
    assert schedule.nth(0.0, 10**6) == 10**6 * 4095 * PERIOD_UNIT_S


@pytest.mark.parametrize("n", [-1, 3])
def test_a_broadcast_that_is_not_scheduled(n: int) -> None:
    """There is no broadcast before the first or after the last."""
    with pytest.raises(ValueError, match="there is no broadcast"):
        Schedule(period=1, count=3).nth(0.0, n)


@pytest.mark.parametrize(
    "numbers", [{"period": 0}, {"period": 4096}, {"count": -1}, {"count": 0x10000}], ids=str
)
def test_schedule_misuse(numbers: dict[str, int]) -> None:
    """A period or a count that no network takes is our own mistake."""
    with pytest.raises(ValueError, match=r"repetition period|number of broadcasts"):
        Schedule(**numbers)


# ---- blocks --------------------------------------------------------------------------------------------


def test_octets_of_blocks() -> None:
    """A page is four blocks of 22 octets behind 20, 21, 22 and 33."""
    cut = blocks(PAGE)
    assert [block[0] for block in cut] == [0x20, 0x21, 0x22, 0x33]
    assert {len(block) for block in cut} == {BLOCK_OCTETS} == {23}
    assert b"".join(block[1:] for block in cut) == PAGE.encode()


@given(page=pages)
def test_any_page_survives_its_blocks(*, page: Page) -> None:
    """Four blocks give their page again."""
    assert from_blocks(blocks(page)) == page


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ([], "block-type"),
        (blocks(PAGE)[:3], "block-type"),
        ([*blocks(PAGE), blocks(PAGE)[3]], "block-type"),
        (blocks(PAGE)[::-1], "block-type"),
        ([b"", *blocks(PAGE)[1:]], "block-type"),
        ([blocks(PAGE)[0][:22], *blocks(PAGE)[1:]], "length"),
        ([*blocks(PAGE)[:3], blocks(PAGE)[3] + b"\x00"], "length"),
    ],
    ids=["none", "three", "five", "backwards", "an empty one", "one cut short", "one too long"],
)
def test_blocks_that_make_no_page(wrong: list[bytes], reason: str) -> None:
    """Only four whole blocks in their order are a page."""
    with pytest.raises(CellBroadcastRejected) as caught:
        from_blocks(wrong)
    assert caught.value.reason == reason


@given(octets=st.lists(st.binary(max_size=30), max_size=6))
def test_any_blocks(*, octets: list[bytes]) -> None:
    """Any blocks are a page, or are rejected."""
    with pytest.raises(CellBroadcastRejected):
        from_blocks(octets)
