"""Windows of message codes: who stays in his own meets nobody, and what comes next under a code is news."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.diffusion_kit import campaign, domain, renewal
from transport.cell_broadcast import (
    ALL_CODES,
    CodeWindow,
    GeographicScope,
    PageAssembler,
    packet_of,
    split,
)
from transport.cell_broadcast.serial_number import MAX_CODE
from transport.diffusion import CAMPAIGN_CODES, MAX_PROGRAMME, RENEWAL_CODES, Coding, Scheme
from transport.security.suites import ALL_SUITES

PLMN = GeographicScope.PLMN


@given(
    first=st.integers(0, MAX_CODE),
    size=st.sampled_from([1, 40, 984, MAX_CODE + 1]),
    number=st.integers(0, 2000),
    rounds=st.integers(0, 100),
)
def test_round_and_round(*, first: int, size: int, number: int, rounds: int) -> None:
    """A message has a code of the window; the one that has it after that is a later version to a phone."""
    window = CodeWindow(codes=range(first, min(first + size, MAX_CODE + 1)))
    serial, after = (
        window.serial(each, PLMN, rounds=rounds) for each in (number, number + len(window.codes))
    )
    assert serial.code == after.code == first + number % len(window.codes)
    assert after.newer_than(serial)


@given(messages=st.integers(1, 400), more=st.integers(1, 400), rounds=st.integers(0, 100))
def test_a_series_goes_on_where_another_ended(*, messages: int, more: int, rounds: int) -> None:
    """Counted on by its rounds, each message of the next one is a later version to who heard the last one."""
    last = {
        serial.code: serial
        for serial in (RENEWAL_CODES.serial(number, PLMN, rounds=rounds) for number in range(messages))
    }
    rounds += RENEWAL_CODES.rounds(messages)
    for number in range(more):
        serial = RENEWAL_CODES.serial(number, PLMN, rounds=rounds)
        assert serial.code not in last or serial.newer_than(last[serial.code])
        last[serial.code] = serial


@pytest.mark.parametrize(("messages", "rounds"), [(0, 1), (1, 1), (40, 1), (41, 2), (500, 13)])
def test_rounds(messages: int, rounds: int) -> None:
    """A series takes a round at least, and one more for what the window has no room for."""
    assert RENEWAL_CODES.rounds(messages) == rounds


def test_a_campaign_and_a_roll_over_never_meet() -> None:
    """Together their windows are all codes there are, and no code is in both."""
    assert [*CAMPAIGN_CODES.codes, *RENEWAL_CODES.codes] == list(ALL_CODES.codes) == list(range(MAX_CODE + 1))


@pytest.mark.parametrize("kind", ["x25519", "pq-hybrid"])
@pytest.mark.parametrize("length", [20_000, 24_576, 50_000, MAX_PROGRAMME])
def test_the_longest_campaigns_fit_their_window(length: int, kind: str) -> None:
    """With as many pieces as are measured to be best there are codes for signature and digests as well."""
    of = domain(kind)
    made = campaign(bytes(length), of=of, coding=Coding.measured(length, Scheme.RAPTORQ, of.keys))
    assert kind in ALL_SUITES
    assert 960 < len(made.packets) <= len(CAMPAIGN_CODES.codes)


def test_the_longest_campaign_and_the_roll_over_of_a_large_domain() -> None:
    """Broadcast at once, page by page in turn, to 2,000 modules: a phone puts each packet together once."""
    of = domain()
    made = campaign(bytes(MAX_PROGRAMME), coding=Coding.measured(MAX_PROGRAMME, Scheme.RAPTORQ, of.keys))
    packets = renewal(4, modules=2000)
    assert (len(made.packets), len(packets)) > (960, 200)
    serials = (RENEWAL_CODES.serial(number, PLMN) for number in range(len(packets)))
    renewed = [split(packet, serial, 0x1081) for packet, serial in zip(packets, serials, strict=True)]
    both = itertools.zip_longest(
        itertools.chain.from_iterable(made.pages_of(packet, 0x1081) for packet in made.packets),
        itertools.chain.from_iterable(renewed),
    )
    phone = PageAssembler(max_remembered=len(made.packets) + len(packets))
    pages = (page for pair in both for page in pair if page is not None)
    contents = [content for page in pages if (content := phone.receive(page, 0.0)) is not None]
    octets = [packet.octets for packet in made.packets]
    assert sorted(map(packet_of, contents)) == sorted([*octets, *packets])


@pytest.mark.parametrize(
    "codes",
    [range(0), range(-1, 5), range(MAX_CODE, MAX_CODE + 2), range(0, 8, 2), range(8, 0, -1)],
    ids=str,
)
def test_window_misuse(codes: range) -> None:
    """A window has codes, in a row, and such as there are."""
    with pytest.raises(ValueError, match="a window is of some codes in a row"):
        CodeWindow(codes=codes)
