"""Peers that mean no good: whatever they say, and however often, this end's work and memory stay bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.test_cat_tp_connection import (
    ACK,
    EAK,
    LIMITS,
    NUL,
    OURS,
    SYN,
    THEIRS,
    answering,
    crossing,
    listening,
    opened,
    sent,
    to_server,
)
from transport.cat_tp import MAX_EXTENDED, Closed, Opened, Pdu, ResetReason, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from transport.cat_tp import CatTpConnection

MANY: Final = 2000
GIVEN_UP: Final = Closed(reason=ResetReason.MAX_RETRIES)


def until_over(server: CatTpConnection, hear: Callable[[CatTpConnection, float, list[Pdu]], None]) -> float:
    """Let time pass until *server* is open no more; at each time-out *hear* says what the peer does to it."""
    now = 0.0
    for _ in range(MANY):
        if server.state is not State.OPEN:
            return now
        now = server.next_timer() or now + 1.0
        server.handle_timer(now)
        hear(server, now, sent(server))
    raise AssertionError("it goes on for ever")


# ---- windows -----------------------------------------------------------------------------------------------


def test_a_window_that_never_opens() -> None:
    """A peer that takes what comes into its window of zero, one by one and for ever, is given up in time."""
    server = opened()
    server.receive_datagram(to_server(ACK, window=0), 0.0)
    for _ in range(LIMITS.max_queued_sdus):
        server.send(bytes(1000), 0.0)
    taken: list[int] = []

    def hear(server: CatTpConnection, now: float, pdus: list[Pdu]) -> None:
        taken.extend(pdu.sequence for pdu in pdus if pdu.payload)
        if taken:
            server.receive_datagram(to_server(ACK, acknowledgement=taken[-1], window=0), now)

    assert until_over(server, hear) < LIMITS.max_timeout_s * (LIMITS.max_retransmissions + 1)
    assert len(taken) == len(set(taken)) == LIMITS.max_retransmissions
    assert server.events_received() == [GIVEN_UP]


def test_a_window_that_takes_nothing() -> None:
    """A peer that keeps saying that its window is zero, and takes nothing, is given up in time too."""
    server = opened()
    server.receive_datagram(to_server(ACK, window=0), 0.0)
    server.send(bytes(200), 0.0)
    gone: list[Pdu] = []

    def hear(server: CatTpConnection, now: float, pdus: list[Pdu]) -> None:
        gone.extend(pdu for pdu in pdus if pdu.payload)
        for _ in range(10):
            server.receive_datagram(to_server(ACK, window=0), now)

    assert until_over(server, hear) < LIMITS.max_timeout_s * (LIMITS.max_retransmissions + 2)
    assert {pdu.sequence for pdu in gone} == {OURS + 1}
    assert len(gone) == 1 + LIMITS.max_retransmissions
    assert server.events_received() == [GIVEN_UP]


def test_a_window_that_opens_again() -> None:
    """A window that was zero for long is forgiven once it opens: what waited goes, the count begins anew."""
    server = opened()
    for opening in range(3):
        last, now = OURS + 10 * opening, 1000.0 * opening
        server.receive_datagram(to_server(ACK, acknowledgement=last, window=0), now)
        server.send(bytes(500), now)
        for number in range(1, 10):
            now = server.next_timer() or now
            server.handle_timer(now)
            assert [pdu.sequence for pdu in sent(server)] == [last + number]
            server.receive_datagram(to_server(ACK, acknowledgement=last + number, window=0), now)
        server.receive_datagram(to_server(ACK, acknowledgement=last + 9, window=1), now)
        server.receive_datagram(to_server(ACK, acknowledgement=last + 10, window=1), now)
        assert server.idle
        sent(server)
    assert server.state is State.OPEN


# ---- acknowledgements --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [1, 5, 0x7000], ids=str)
def test_acknowledgements_of_the_unsent(ahead: int) -> None:
    """However often what never went is acknowledged, it is believed never and not answered."""
    server = opened()
    server.send(b"x", 0.0)
    sent(server)
    for _ in range(MANY):
        server.receive_datagram(to_server(ACK, acknowledgement=OURS + 1 + ahead), 0.0)
    assert server.drops == {"acknowledgement": MANY}
    assert sent(server) == []
    assert not server.idle
    assert server.next_timer() == 1.0


def test_the_same_acknowledgement_for_ever() -> None:
    """Acknowledgements without news make nothing go again, and put off no time-out."""
    server = opened()
    server.send(bytes(150), 0.0)
    sent(server)
    for number in range(MANY):
        server.receive_datagram(to_server(ACK), number / MANY)
    assert sent(server) == []
    assert server.next_timer() == 1.0


@pytest.mark.parametrize(
    "numbers",
    [
        range(OURS + 1, OURS + 1 + MAX_EXTENDED),
        range(OURS - MAX_EXTENDED, OURS),
        [OURS + 3] * MAX_EXTENDED,
        range(0, 0x10000, 0x10000 // 110),
        [OURS],
    ],
    ids=["beyond", "past", "one", "all-over", "syn"],
)
def test_lists_beyond_the_window(numbers: range | list[int]) -> None:
    """A list of numbers that never went, or long ago, or of one a hundred times, does no more than one."""
    server = opened()
    server.send(bytes(150), 0.0)
    sent(server)
    said = to_server(ACK | EAK, extended=tuple(numbers))
    for _ in range(100):
        server.receive_datagram(said, 0.5)
    again = sent(server)
    assert len(again) <= LIMITS.window
    assert not server.idle
    assert server.state is State.OPEN
    server.receive_datagram(to_server(ACK, acknowledgement=OURS + 3), 0.6)
    assert server.idle


def test_gaps_said_over_and_over() -> None:
    """A peer that calls one PDU after the other missing has each of them once more, and no more."""
    server = opened()
    server.receive_datagram(to_server(ACK, window=4), 0.0)
    server.send(bytes(200), 0.0)
    sent(server)
    again: list[int] = []
    for _ in range(100):
        for named in ((4,), (2, 4), (3,), (2, 3, 4)):
            said = to_server(ACK | EAK, extended=tuple(OURS + number for number in named))
            server.receive_datagram(said, 0.5)
            again += [pdu.sequence - OURS for pdu in sent(server)]
    assert again == [1, 2, 3]


def test_named_singly_and_never_in_order() -> None:
    """Naming one PDU more at each time-out holds a connection no longer than saying nothing."""
    server = opened()
    server.receive_datagram(to_server(ACK, window=4), 0.0)
    server.send(bytes(200), 0.0)
    sent(server)
    named: list[int] = []

    def hear(server: CatTpConnection, now: float, _pdus: list[Pdu]) -> None:
        named.append(OURS + 1 + len(named) % 4)
        server.receive_datagram(to_server(ACK | EAK, extended=tuple(named[-100:])), now)

    assert until_over(server, hear) < LIMITS.max_timeout_s * (LIMITS.max_retransmissions + 1)
    assert server.events_received() == [GIVEN_UP]


# ---- SYN, NUL ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("maker", [answering, crossing], ids=["answering", "crossing"])
@pytest.mark.parametrize("another", [0, 1], ids=["same", "other"])
def test_syns_for_ever(maker: Callable[[], CatTpConnection], another: int) -> None:
    """SYNs for ever, the same or others, are not answered one by one, and hold no half-open connection."""
    server = maker()
    answers, now = 0, 0.0
    while server.state is State.SYN_RECEIVED:
        for number in range(100):
            server.receive_datagram(to_server(SYN, (THEIRS + another * number) & 0xFFFF, 0), now)
        now = server.next_timer() or now
        server.handle_timer(now)
        answers += len([pdu for pdu in sent(server) if pdu.flags == SYN | ACK])
    assert answers == LIMITS.max_syn_repeats
    assert now <= LIMITS.max_timeout_s * (LIMITS.max_syn_repeats + 1)


def test_syns_to_an_open_connection() -> None:
    """SYNs to a connection that stands change nothing; however many come in one go are answered once."""
    server = opened()
    for number in range(MANY):
        server.receive_datagram(to_server(SYN, number, 0), 0.0)
    assert [pdu.flags for pdu in sent(server)] == [ACK]
    assert (server.state, server.held) == (State.OPEN, 0)


def test_nuls_for_ever() -> None:
    """Each NUL is acknowledged and nothing of it is kept, also where the numbers begin again."""
    server = listening()
    first = 0xFF00
    server.receive_datagram(to_server(SYN, first, 0), 0.0)
    for number in range(1, MANY):
        sequence = (first + number) & 0xFFFF
        server.receive_datagram(to_server(ACK | NUL, sequence), number / 100)
        assert sent(server)[-1].acknowledgement == sequence
    assert [type(event) for event in server.events_received()] == [Opened]
    assert (server.held, server.drops) == (0, {})


# ---- all of it ---------------------------------------------------------------------------------------------

said = st.one_of(
    st.builds(lambda number, window: to_server(ACK, acknowledgement=(OURS + number) & 0xFFFF, window=window),
              st.integers(-3, 12), st.integers(0, 5)),
    st.builds(lambda numbers: to_server(ACK | EAK, extended=tuple(OURS + number for number in numbers)),
              st.lists(st.integers(0, 9), min_size=1, max_size=12)),
    st.builds(lambda ahead: to_server(ACK | NUL, THEIRS + ahead), st.integers(-2, 6)),
    st.builds(lambda ahead: to_server(SYN, THEIRS + ahead, 0), st.integers(-1, 1)),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 40.0), st.lists(said, max_size=4)), max_size=25))
def test_whatever_a_peer_says(times: list[tuple[float, list[bytes]]]) -> None:
    """Nothing that is said, in any order, makes one call send more than a window, or a timer stand still."""
    server = opened()
    now = 0.0
    for passed, datagrams in times:
        now += passed
        server.handle_timer(now)
        assert len(server.datagrams_to_send()) <= LIMITS.window + 1
        for octets in datagrams:
            if server.writable:
                server.send(bytes(60), now)
                server.datagrams_to_send()
            server.receive_datagram(octets, now)
            assert len(server.datagrams_to_send()) <= LIMITS.window + 1
        due = server.next_timer()
        assert due is None or now < due <= now + LIMITS.max_timeout_s
