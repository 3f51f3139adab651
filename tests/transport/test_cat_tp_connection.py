from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.cat_tp_kit import MODULE_PORT, SERVER_PORT, module_end, server_end
from tests.transport.test_cat_tp_pdu import pdus
from transport.cat_tp import (
    CARD_SETTINGS,
    MAX_IDENTIFICATION,
    MAX_WINDOW,
    CatTpConnection,
    CatTpSettings,
    Closed,
    Flags,
    Opened,
    Pdu,
    ResetReason,
    SduReceived,
    State,
    Synchronisation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ACK, SYN, RST, EAK, SEG, NUL = Flags.ACK, Flags.SYN, Flags.RST, Flags.EAK, Flags.SEG, Flags.NUL
OURS, THEIRS = 9000, 500  # the initial sequence numbers of the server, which is tested, and of its peer
LIMITS = CatTpSettings(max_pdu=100, max_sdu=300, window=4, max_queued_sdus=3)
PEER = Synchronisation(max_pdu=68, max_sdu=1000)  # 50 octets of data in each PDU


def to_server(flags: Flags, sequence: int = THEIRS + 1, acknowledgement: int = OURS, **fields: Any) -> bytes:
    """Return a PDU of the module, by default as it has nothing sent or received behind its SYN."""
    if flags & SYN:
        fields.setdefault("synchronisation", PEER)
    if flags & RST:
        fields.setdefault("reason", ResetReason.NORMAL)
    header = {"source_port": MODULE_PORT, "destination_port": SERVER_PORT, "window": 3}
    return Pdu(
        flags=flags, sequence=sequence, acknowledgement=acknowledgement, **{**header, **fields}
    ).encode()


def sent(server: CatTpConnection) -> list[Pdu]:
    """Return what *server* sends now."""
    return [Pdu.parse(octets) for octets in server.datagrams_to_send()]


def state_of(server: CatTpConnection) -> State:
    """Return where *server* stands now."""
    return server.state


def closed() -> CatTpConnection:
    """Return a server that never was open."""
    return server_end(LIMITS, OURS)


def listening() -> CatTpConnection:
    """Return a server that waits."""
    server = closed()
    server.listen()
    return server


def connecting() -> CatTpConnection:
    """Return a server that has sent its SYN."""
    server = closed()
    server.connect(0.0)
    assert [pdu.flags for pdu in sent(server)] == [SYN]
    return server


def answering() -> CatTpConnection:
    """Return a server that has answered a SYN."""
    server = listening()
    server.receive_datagram(to_server(SYN, THEIRS, 0), 0.0)
    assert [(pdu.flags, pdu.acknowledgement) for pdu in sent(server)] == [(SYN | ACK, THEIRS)]
    return server


def crossing() -> CatTpConnection:
    """Return a server whose SYN crossed that of its peer."""
    server = connecting()
    server.receive_datagram(to_server(SYN, THEIRS, 0), 0.0)
    assert [(pdu.flags, pdu.acknowledgement) for pdu in sent(server)] == [(SYN | ACK, THEIRS)]
    return server


def opened() -> CatTpConnection:
    """Return a server with an open connection."""
    server = answering()
    server.receive_datagram(to_server(ACK), 0.0)
    assert [type(event) for event in server.events_received()] == [Opened]
    assert sent(server) == []
    return server


def waiting() -> CatTpConnection:
    """Return a server that has closed an open connection."""
    server = opened()
    server.close(0.0)
    assert [pdu.flags for pdu in sent(server)] == [RST | ACK]
    assert server.events_received() == [Closed(reason=ResetReason.NORMAL)]
    return server


STATES: dict[State, Callable[[], CatTpConnection]] = {
    State.CLOSED: closed,
    State.LISTEN: listening,
    State.SYN_SENT: connecting,
    State.SYN_RECEIVED: answering,
    State.OPEN: opened,
    State.CLOSE_WAIT: waiting,
}
IN_EACH_STATE = pytest.mark.parametrize("state", State, ids=lambda state: state.name.lower())


def drop(server: CatTpConnection, octets: bytes, now: float = 1.0) -> tuple[str, list[Pdu]]:
    """Hand *octets* over, which are to be dropped; return the reason and what is answered."""
    before, state, idle, held = server.drops, server.state, server.idle, server.held
    server.receive_datagram(octets, now)
    assert server.events_received() == []
    assert (server.state, server.idle, server.held) == (state, idle, held)
    (reason,) = [reason for reason, times in server.drops.items() if times != before.get(reason, 0)]
    return reason, sent(server)


@IN_EACH_STATE
def test_made(state: State) -> None:
    """The makers of these tests make what they say."""
    assert STATES[state]().state is state


# what is no PDU of ours


@IN_EACH_STATE
@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "too-short"),
        (bytes(256), "too-long"),
        (to_server(ACK)[:-1] + b"\xff", "checksum"),
        (to_server(ACK, destination_port=1), "port"),
    ],
    ids=["empty", "long", "damaged", "port"],
)
def test_no_pdu_for_us(state: State, octets: bytes, reason: str) -> None:
    """In every state, what is no PDU for us is counted, not answered, and changes nothing."""
    assert drop(STATES[state](), octets) == (reason, [])


def test_another_peer() -> None:
    """A PDU from another port than the peer's is not taken; a listener for anybody keeps to who opened."""
    assert drop(listening(), to_server(SYN, source_port=7)) == ("port", [])
    server = CatTpConnection(local_port=SERVER_PORT, remote_port=None, initial_sequence=OURS)
    server.listen()
    server.receive_datagram(to_server(SYN, THEIRS, 0, source_port=7), 0.0)
    (answer,) = sent(server)
    assert (answer.flags, answer.destination_port) == (SYN | ACK, 7)
    assert drop(server, to_server(ACK, source_port=8)) == ("port", [])
    server.receive_datagram(to_server(ACK, source_port=7), 0.0)
    assert server.state is State.OPEN
    assert server.peer == PEER


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(State), st.lists(st.binary(max_size=60) | pdus.map(Pdu.encode), max_size=12))
def test_arbitrary_datagrams(state: State, datagrams: list[bytes]) -> None:
    """In every state, no datagrams raise anything, and what they leave behind stays within the limits."""
    server = STATES[state]()
    for now, octets in enumerate(datagrams):
        server.receive_datagram(octets, now)
    assert server.held <= LIMITS.max_sdu + LIMITS.window * 255
    assert len(server.datagrams_to_send()) <= 6
    assert len(server.events_received()) <= LIMITS.max_queued_sdus + LIMITS.window


near = st.integers(-6, 6)
hostile = st.one_of(
    st.builds(
        lambda flags, ahead, back, payload: to_server(
            flags,
            (THEIRS + 1 + ahead) & 0xFFFF,
            (OURS + back) & 0xFFFF,
            payload=payload or b"x" if flags & SEG else b"" if flags & NUL else payload,
            extended=(OURS + 1, OURS + 2) if flags & EAK else (),
        ),
        st.sampled_from([ACK, ACK | SEG, ACK | NUL, ACK | EAK, ACK | EAK | SEG]),
        near,
        near,
        st.binary(max_size=82),
    ),
    st.builds(
        lambda flags, ahead, back: to_server(flags, THEIRS + ahead, OURS + back),
        st.sampled_from([SYN, SYN | ACK, RST, RST | ACK]),
        near,
        near,
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(State), st.lists(hostile, max_size=60), st.booleans())
def test_hostile_peer(state: State, datagrams: list[bytes], fetching: bool) -> None:  # noqa: FBT001 -- drawn
    """Whatever a peer that knows our numbers sends, be it fetched or not, memory stays within the limits."""
    server = STATES[state]()
    for now, octets in enumerate(datagrams):
        if server.writable:
            server.send(b"data", now)
        server.receive_datagram(octets, now)
        server.handle_timer(now)
        assert server.held <= LIMITS.max_sdu + LIMITS.window * 255
        if fetching:
            server.events_received()
            server.datagrams_to_send()
    assert len(server.datagrams_to_send()) <= LIMITS.window + 5
    assert len(server.events_received()) <= LIMITS.max_queued_sdus + LIMITS.window + 4


# opening


@pytest.mark.parametrize("flags", [SYN, ACK, ACK | NUL], ids=["syn", "ack", "nul"])
def test_nobody_here(flags: Flags) -> None:
    """A closed connection says that it is; to an RST it says nothing."""
    reason, (answer,) = drop(closed(), to_server(flags, 5, 6))
    assert reason == "closed"
    opening = flags == SYN
    assert answer.reason == (ResetReason.PORT_NOT_AVAILABLE if opening else ResetReason.UNEXPECTED_PDU)
    assert (answer.sequence, answer.acknowledgement) == ((0, 5) if opening else (7, 0))
    assert drop(closed(), to_server(RST)) == ("closed", [])


def test_listener_takes_a_syn_only() -> None:
    """What belongs to a connection that is no more is answered by an RST; an RST by nothing."""
    for flags in (ACK, SYN | ACK):
        reason, (answer,) = drop(listening(), to_server(flags, 5, 6))
        assert (reason, answer.flags, answer.sequence) == ("unexpected", RST, 7)
    assert drop(listening(), to_server(RST)) == ("unexpected", [])


@pytest.mark.parametrize(
    "peer",
    [Synchronisation(max_pdu=18, max_sdu=1), Synchronisation(max_pdu=19, max_sdu=0)],
    ids=["pdu", "sdu"],
)
def test_no_room_for_data(peer: Synchronisation) -> None:
    """A SYN that leaves no room for data is refused: a listener goes on listening, an opener is closed."""
    reason, (answer,) = drop(listening(), to_server(SYN, THEIRS, 0, synchronisation=peer))
    assert (reason, answer.reason) == ("parameters", ResetReason.ILLEGAL_PARAMETERS)
    server = connecting()
    server.receive_datagram(to_server(SYN | ACK, THEIRS, synchronisation=peer), 1.0)
    assert server.events_received() == [Closed(reason=ResetReason.ILLEGAL_PARAMETERS)]
    assert server.state is State.CLOSED
    assert [pdu.reason for pdu in sent(server)] == [ResetReason.ILLEGAL_PARAMETERS]
    assert server.drops == {"parameters": 1}


def test_refused() -> None:
    """An RST that acknowledges our SYN closes; one that does not, changes nothing."""
    assert drop(connecting(), to_server(RST, 0, 0)) == ("reset-sequence", [])
    assert drop(connecting(), to_server(RST | ACK, 0, OURS + 1)) == ("acknowledgement", [])
    server = connecting()
    server.receive_datagram(to_server(RST | ACK, 0, reason=ResetReason.PORT_NOT_AVAILABLE), 1.0)
    assert server.events_received() == [Closed(reason=ResetReason.PORT_NOT_AVAILABLE)]
    assert server.state is State.CLOSED
    assert sent(server) == []
    assert server.next_timer() is None


def test_answer_of_an_old_connection() -> None:
    """An acknowledgement of what we never sent is answered by an RST that its sender believes."""
    reason, (answer,) = drop(connecting(), to_server(ACK, 7, 77))
    assert (reason, answer.flags, answer.sequence) == ("acknowledgement", RST, 78)
    assert drop(connecting(), to_server(ACK)) == ("unexpected", [])
    reason, (answer,) = drop(answering(), to_server(ACK, acknowledgement=77))
    assert (reason, answer.flags, answer.sequence) == ("acknowledgement", RST, 78)


@pytest.mark.parametrize(
    ("maker", "octets"),
    [
        (connecting, to_server(SYN | ACK, THEIRS)),
        (crossing, to_server(SYN | ACK, THEIRS)),
        (crossing, to_server(ACK)),
        (answering, to_server(ACK)),
        (answering, to_server(ACK | NUL)),
    ],
    ids=["answer", "crossing-syn-ack", "crossing-ack", "ack", "nul"],
)
def test_opening(maker: Callable[[], CatTpConnection], octets: bytes) -> None:
    """Whatever acknowledges our SYN opens the connection, once."""
    server = maker()
    server.receive_datagram(octets, 1.0)
    assert server.state is State.OPEN
    assert server.events_received() == [Opened(identification=b"", max_pdu=68, max_sdu=1000)]
    assert server.idle
    answers = [pdu.flags for pdu in sent(server)]
    assert answers == ([] if Pdu.parse(octets).flags == ACK else [ACK])


def test_opening_with_data() -> None:
    """The first data may be what acknowledges our SYN."""
    server = answering()
    server.receive_datagram(to_server(ACK, payload=b"hello"), 1.0)
    assert [type(event) for event in server.events_received()] == [Opened, SduReceived]


def test_syn_again() -> None:
    """The SYN again is answered when the time-out is over, not each time; another SYN changes nothing."""
    server = answering()
    assert drop(server, to_server(SYN, THEIRS, 0)) == ("duplicate", [])
    server.handle_timer(3.0)
    assert [pdu.flags for pdu in sent(server)] == [SYN | ACK]
    assert drop(answering(), to_server(SYN, THEIRS + 7, 0)) == ("sequence", [])
    for flags in (SYN, SYN | ACK):
        reason, (answer,) = drop(opened(), to_server(flags, THEIRS))
        assert (reason, answer.flags, answer.acknowledgement) == ("duplicate", ACK, THEIRS)
        reason, (answer,) = drop(opened(), to_server(flags, 7777))
        assert (reason, answer.flags, answer.acknowledgement) == ("unexpected", ACK, THEIRS)


def test_far_numbers_open_nothing() -> None:
    """A PDU far from the peer's SYN does not open, even if it acknowledges ours."""
    assert drop(answering(), to_server(ACK, THEIRS + 6)) == ("sequence", [])
    assert drop(answering(), to_server(SYN | ACK, THEIRS + 1)) == ("sequence", [])


def test_listener_survives() -> None:
    """A listener whose opener resets or falls silent listens again, and opens to the next."""
    for reset in (True, False):
        server = answering()
        assert drop(server, to_server(RST, THEIRS)) == ("reset-sequence", [])
        if reset:
            server.receive_datagram(to_server(RST), 1.0)
        else:
            for _ in range(1 + LIMITS.max_syn_repeats):
                assert state_of(server) is State.SYN_RECEIVED
                now = server.next_timer()
                assert now is not None
                server.handle_timer(now)
            assert sent(server)[-1].reason == ResetReason.MAX_RETRIES
        assert state_of(server) is State.LISTEN
        assert server.events_received() == []
        assert server.next_timer() is None
        server.receive_datagram(to_server(SYN, 7, 0), 50.0)
        (answer,) = sent(server)
        assert (answer.flags, answer.sequence, answer.acknowledgement) == (SYN | ACK, OURS + 1, 7)
        server.receive_datagram(to_server(ACK, 8, OURS + 1), 50.0)
        assert state_of(server) is State.OPEN


def test_reset_while_crossing() -> None:
    """An end that opened itself is closed by the peer's RST."""
    server = crossing()
    server.receive_datagram(to_server(RST, reason=ResetReason.TEMPORARILY_UNABLE), 1.0)
    assert server.events_received() == [Closed(reason=ResetReason.TEMPORARILY_UNABLE)]
    assert server.state is State.CLOSED


def test_nobody_answers() -> None:
    """A SYN goes as often as allowed, ever later; then there is an RST, and the connection is closed."""
    server = connecting()
    times = []
    while (now := server.next_timer()) is not None:
        times.append(now)
        server.handle_timer(now - 0.1)
        assert sent(server) == []
        server.handle_timer(now)
        (pdu,) = sent(server)
        assert (pdu.flags, pdu.sequence) == ((SYN, OURS) if len(times) < 7 else (RST, OURS + 1))
    assert times == [3.0, 9.0, 21.0, 45.0, 75.0, 105.0, 135.0]
    assert server.events_received() == [Closed(reason=ResetReason.MAX_RETRIES)]
    assert server.state is State.CLOSED


# data


def test_segments() -> None:
    """An SDU is cut to the peer's PDUs, all but the last segments, no more at once than its window."""
    server = opened()
    sdu = bytes(range(170))
    server.send(sdu, 0.0)
    first = sent(server)
    assert [pdu.flags for pdu in first] == [ACK | SEG] * 3
    server.receive_datagram(to_server(ACK, acknowledgement=OURS + 2), 1.0)
    (last,) = sent(server)
    assert (last.flags, last.sequence) == (ACK, OURS + 4)
    assert b"".join(pdu.payload for pdu in [*first, last]) == sdu
    assert [len(pdu.payload) for pdu in first] == [50, 50, 50]
    assert not server.idle
    server.receive_datagram(to_server(ACK, acknowledgement=OURS + 4), 1.0)
    assert server.idle


def test_our_window_counts_too() -> None:
    """No more is under way than our own window, whatever the peer's."""
    server = opened()
    server.receive_datagram(to_server(ACK, window=60000), 0.0)
    server.send(bytes(1000), 0.0)
    assert len(sent(server)) == LIMITS.window


def test_whole_numbers_of_segments() -> None:
    """An SDU of exactly some PDUs ends with the last of them."""
    server = opened()
    server.send(bytes(100), 0.0)
    assert [(pdu.flags, len(pdu.payload)) for pdu in sent(server)] == [(ACK | SEG, 50), (ACK, 50)]


def test_put_together() -> None:
    """Segments in any order give the SDU when the last is there; what is out of order is reported."""
    server = opened()
    pieces = [to_server(ACK | SEG, THEIRS + 1, payload=b"a"), to_server(ACK | SEG, THEIRS + 2, payload=b"b")]
    last = to_server(ACK, THEIRS + 3, payload=b"c")
    server.receive_datagram(last, 0.0)
    (answer,) = sent(server)
    assert (answer.flags, answer.acknowledgement, answer.extended) == (ACK | EAK, THEIRS, (THEIRS + 3,))
    server.receive_datagram(pieces[1], 0.0)
    (answer,) = sent(server)
    assert answer.extended == (THEIRS + 2, THEIRS + 3)
    assert server.held == 2
    assert drop(server, last)[0] == "duplicate"
    server.receive_datagram(pieces[0], 0.0)
    (answer,) = sent(server)
    assert (answer.flags, answer.acknowledgement) == (ACK, THEIRS + 3)
    assert server.events_received() == [SduReceived(octets=b"abc")]
    assert server.held == 0
    reason, (answer,) = drop(server, last)
    assert (reason, answer.acknowledgement) == ("duplicate", THEIRS + 3)


def test_eak_fits_the_peer() -> None:
    """An EAK PDU names no more numbers than the peer's maximum PDU has room for; with none it is an ACK."""
    for max_pdu, named in ((22, 2), (19, 0)):
        server = listening()
        peer = Synchronisation(max_pdu=max_pdu, max_sdu=1)
        server.receive_datagram(to_server(SYN, THEIRS, 0, synchronisation=peer), 0.0)
        sent(server)
        for number in (4, 3, 2):
            server.receive_datagram(to_server(ACK, THEIRS + number, payload=b"x"), 0.0)
        (answer,) = sent(server)
        assert answer.extended == (THEIRS + 2, THEIRS + 3)[:named]
        assert len(answer.encode()) <= max_pdu


def test_acknowledgement_rides() -> None:
    """What goes anyway acknowledges; but what came out of order is reported on its own."""
    server = opened()
    server.receive_datagram(to_server(ACK, payload=b"question"), 0.0)
    server.send(b"answer", 0.0)
    (answer,) = sent(server)
    assert (answer.payload, answer.acknowledgement) == (b"answer", THEIRS + 1)
    server.receive_datagram(to_server(ACK, THEIRS + 3, payload=b"later"), 0.0)
    server.send(b"more", 0.0)
    assert [(pdu.payload, pdu.extended) for pdu in sent(server)] == [(b"more", ()), (b"", (THEIRS + 3,))]


def test_only_what_is_missing_goes_again() -> None:
    """After the time-out the PDUs go again that were acknowledged neither in order nor singly."""
    server = opened()
    server.send(bytes(150), 0.0)
    sent(server)
    server.receive_datagram(to_server(ACK | EAK, acknowledgement=OURS, extended=(OURS + 2,)), 0.1)
    server.handle_timer(0.9)
    assert sent(server) == []
    server.handle_timer(1.0)
    assert [pdu.sequence for pdu in sent(server)] == [OURS + 1, OURS + 3]
    assert server.next_timer() == 3.0
    server.handle_timer(3.0)
    server.receive_datagram(to_server(ACK, acknowledgement=OURS + 3), 3.0)
    assert sent(server) == []  # it was to go again, and is not needed any more
    assert server.next_timer() is None


def test_never_in_order() -> None:
    """A peer that acknowledges singly what it then never acknowledges in order is given up."""
    server = opened()
    server.send(b"x", 0.0)
    assert len(sent(server)) == 1
    server.receive_datagram(to_server(ACK | EAK, extended=(OURS + 1,)), 1.0)
    while (now := server.next_timer()) is not None and server.state is State.OPEN:
        assert sent(server) == []
        server.handle_timer(now)
    assert server.events_received() == [Closed(reason=ResetReason.MAX_RETRIES)]


def test_old_and_impossible_acknowledgements() -> None:
    """An acknowledgement that was overtaken is no news; one of what never went is not believed."""
    server = opened()
    server.send(b"one", 0.0)
    sent(server)
    server.receive_datagram(to_server(ACK, acknowledgement=OURS - 1, payload=b"data"), 0.0)
    assert server.events_received() == [SduReceived(octets=b"data")]
    assert not server.idle
    sent(server)
    reason, answers = drop(server, to_server(ACK, THEIRS + 2, OURS + 2, payload=b"data"))
    assert (reason, [pdu.flags for pdu in answers]) == ("acknowledgement", [ACK])


@pytest.mark.parametrize("ahead", [5, 6, 0x8000, -5], ids=str)
def test_outside_the_window(ahead: int) -> None:
    """What lies outside the window is answered by where that is; a mere ACK there by nothing."""
    number = THEIRS + ahead
    reason, (answer,) = drop(opened(), to_server(ACK, number, payload=b"x"))
    assert (reason, answer.acknowledgement) == ("sequence", THEIRS)
    if ahead != 5:  # one behind the window is the next number of a peer that has filled it
        assert drop(opened(), to_server(ACK, number)) == ("sequence", [])


def test_sdu_too_long() -> None:
    """Segments beyond our maximum end the connection, also when they came out of order."""
    server = opened()
    pieces = [to_server(ACK | SEG, THEIRS + 1 + number, payload=bytes(80)) for number in range(4)]
    for piece in (pieces[0], pieces[2], pieces[3], pieces[1]):
        assert server.state is State.OPEN
        server.receive_datagram(piece, 1.0)
    assert server.events_received() == [Closed(reason=ResetReason.UNEXPECTED_PDU)]
    assert server.drops == {"sdu-too-long": 1}
    assert [pdu.reason for pdu in sent(server)] == [ResetReason.UNEXPECTED_PDU]
    assert server.state is State.CLOSE_WAIT


def test_crowded() -> None:
    """While nobody fetches what came, no more is taken; a NUL still is. After that it goes on."""
    server = opened()
    for number in range(3):
        server.receive_datagram(to_server(ACK, THEIRS + 1 + number, payload=b"x"), 0.0)
    server.receive_datagram(to_server(ACK, THEIRS + 4, payload=b"y"), 0.0)
    assert server.drops == {"crowded": 1}
    assert [pdu.acknowledgement for pdu in sent(server)] == [THEIRS + 3]
    server.receive_datagram(to_server(ACK | NUL, THEIRS + 4), 0.0)
    assert [pdu.acknowledgement for pdu in sent(server)] == [THEIRS + 4]
    assert len(server.events_received()) == 3
    server.receive_datagram(to_server(ACK, THEIRS + 5, payload=b"y"), 0.0)
    assert server.events_received() == [SduReceived(octets=b"y")]


def test_window_of_zero() -> None:
    """Into a window of zero one PDU goes after a time-out, and when the window opens the rest."""
    server = opened()
    server.receive_datagram(to_server(ACK, window=0), 0.0)
    server.send(bytes(120), 0.0)
    server.send(b"x", 1.0)
    assert sent(server) == []
    assert server.next_timer() == 1.0
    server.handle_timer(1.0)
    assert [pdu.sequence for pdu in sent(server)] == [OURS + 1]
    server.receive_datagram(to_server(ACK, acknowledgement=OURS + 1, window=0), 1.1)
    assert server.next_timer() == 3.1  # the second time the wait is twice as long
    server.receive_datagram(to_server(ACK, acknowledgement=OURS + 1, window=9), 2.0)
    assert [pdu.sequence for pdu in sent(server)] == [OURS + 2, OURS + 3, OURS + 4]


def test_probe() -> None:
    """A NUL asks whether the peer is there, unless something under way asks already; no answer ends it."""
    server = opened()
    server.probe(0.0)
    (pdu,) = sent(server)
    assert (pdu.flags, pdu.sequence) == (ACK | NUL, OURS + 1)
    server.probe(1.0)
    assert sent(server) == []
    server.receive_datagram(to_server(ACK, acknowledgement=OURS + 1), 1.0)
    assert server.idle
    server.probe(2.0)
    while (now := server.next_timer()) is not None and server.state is State.OPEN:
        server.handle_timer(now)
    assert server.events_received() == [Closed(reason=ResetReason.MAX_RETRIES)]
    assert sent(server)[-1].reason == ResetReason.MAX_RETRIES


# closing


@pytest.mark.parametrize("reason", ResetReason, ids=lambda reason: reason.name.lower())
@pytest.mark.parametrize("ahead", [1, 2, 5], ids=str)
def test_reset(reason: ResetReason, ahead: int) -> None:
    """An RST within the window closes, whatever the reason, answered by nothing; then a time is waited."""
    server = opened()
    server.send(b"lost", 0.0)
    server.receive_datagram(to_server(RST, THEIRS + ahead, reason=reason), 1.0)
    assert server.events_received() == [Closed(reason=reason)]
    assert state_of(server) is State.CLOSE_WAIT
    assert drop(server, to_server(ACK)) == ("closed", [])
    assert server.next_timer() == 11.0
    server.handle_timer(10.9)
    assert state_of(server) is State.CLOSE_WAIT
    server.handle_timer(11.0)
    assert state_of(server) is State.CLOSED
    assert server.next_timer() is None


def test_reserved_reason() -> None:
    """A reset for a reason that is reserved is a reset."""
    server = opened()
    server.receive_datagram(to_server(RST, reason=ResetReason(200)), 1.0)
    assert server.events_received() == [Closed(reason=ResetReason(200))]


@pytest.mark.parametrize("number", [THEIRS - 1, THEIRS, THEIRS + 6, 0xFFFF], ids=str)
@pytest.mark.parametrize("maker", [opened, answering, crossing, waiting], ids=lambda maker: maker.__name__)
def test_blind_reset(maker: Callable[[], CatTpConnection], number: int) -> None:
    """An RST outside the window changes nothing and is not answered."""
    assert drop(maker(), to_server(RST, number)) == ("reset-sequence", [])


def test_closed_by_us() -> None:
    """While it waits, a closed end repeats its RST to a peer that does not know; the peer's ends it."""
    server = waiting()
    reason, (answer,) = drop(server, to_server(ACK, payload=b"x"))
    assert (reason, answer.reason, answer.sequence) == ("closed", ResetReason.NORMAL, OURS + 1)
    server.receive_datagram(to_server(RST), 1.0)
    assert server.state is State.CLOSED
    assert server.events_received() == []
    assert server.next_timer() is None


@IN_EACH_STATE
def test_close(state: State) -> None:
    """Closing is possible in every state, told once, and said to a peer that may know of us."""
    server = STATES[state]()
    server.close(1.0, ResetReason.TEMPORARILY_UNABLE)
    server.close(2.0)
    over = state in {State.CLOSED, State.CLOSE_WAIT}
    assert server.events_received() == ([] if over else [Closed(reason=ResetReason.TEMPORARILY_UNABLE)])
    silent = over or state is State.LISTEN
    assert [pdu.reason for pdu in sent(server)] == ([] if silent else [ResetReason.TEMPORARILY_UNABLE])
    lingers = state in {State.OPEN, State.CLOSE_WAIT}
    assert server.state is (State.CLOSE_WAIT if lingers else State.CLOSED)


def test_many_answers_are_few() -> None:
    """However many datagrams ask for it, few RSTs wait to be sent, and none twice."""
    server = closed()
    for number in range(100):
        server.receive_datagram(to_server(ACK, acknowledgement=number // 10), 0.0)
    assert [pdu.sequence for pdu in sent(server)] == [7, 8, 9, 10]


def test_opened_again() -> None:
    """A closed connection opens again, with the number behind its last."""
    server = waiting()
    server.handle_timer(10.0)
    assert server.state is State.CLOSED
    server.connect(11.0)
    (pdu,) = sent(server)
    assert (pdu.flags, pdu.sequence, pdu.acknowledgement) == (SYN, OURS + 1, 0)


# our own mistakes


@IN_EACH_STATE
def test_verbs_out_of_place(state: State) -> None:
    """What cannot be done in a state raises and changes nothing."""
    server = STATES[state]()
    verbs: dict[str, Callable[[], None]] = {
        "connect": lambda: server.connect(0.0),
        "listen": server.listen,
        "send": lambda: server.send(b"x", 0.0),
        "probe": lambda: server.probe(0.0),
    }
    allowed = {State.CLOSED: {"connect", "listen"}, State.OPEN: {"send", "probe"}}.get(state, set())
    for name in verbs.keys() - allowed:
        with pytest.raises(ValueError, match="connection that is"):
            verbs[name]()
    assert server.writable == (state is State.OPEN)
    assert server.state is state
    assert sent(server) == []


@pytest.mark.parametrize("size", [0, 1001], ids=str)
def test_sizes_not_sent(size: int) -> None:
    """An SDU of no octets, and one of more than the peer takes, is not sent."""
    with pytest.raises(ValueError, match=f"not {size}"):
        opened().send(bytes(size), 0.0)


def test_full_queue() -> None:
    """With as many SDUs queued as the settings allow, no more is taken until some went."""
    server = opened()
    for _ in range(6):
        assert server.writable
        server.send(b"x", 0.0)
    assert not server.writable
    with pytest.raises(ValueError, match="full"):
        server.send(b"x", 0.0)
    server.receive_datagram(to_server(ACK, acknowledgement=OURS + 1), 0.0)
    assert server.writable


def test_nobody_to_connect_to() -> None:
    """Without the peer's port there is nothing to connect to."""
    server = CatTpConnection(local_port=1, remote_port=None, initial_sequence=0)
    with pytest.raises(ValueError, match="no port"):
        server.connect(0.0)
    assert server.state is State.CLOSED


@pytest.mark.parametrize(
    "fields",
    [
        {"local_port": 0x10000},
        {"remote_port": -1},
        {"initial_sequence": 0x10000},
        {"identification": bytes(MAX_IDENTIFICATION + 1)},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_no_such_connection(fields: dict[str, Any]) -> None:
    """A connection that the header could not name does not come to exist."""
    with pytest.raises(ValueError, match=r"16 bits|octets"):
        CatTpConnection(**{"local_port": 1, "remote_port": 2, "initial_sequence": 3, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"max_pdu": 18},
        {"max_pdu": 0x10000},
        {"max_sdu": 0},
        {"max_sdu": 0x10000},
        {"window": 0},
        {"window": MAX_WINDOW + 1},
        {"retransmission_timeout_s": 0.0},
        {"retransmission_timeout_s": float("nan")},
        {"min_timeout_s": 0.0},
        {"min_timeout_s": 2.0, "max_timeout_s": 1.0},
        {"max_timeout_s": float("inf")},
        {"close_wait_s": -1.0},
        {"close_wait_s": float("inf")},
        {"max_retransmissions": -1},
        {"max_syn_repeats": -1},
        {"max_queued_sdus": 0},
    ],
    ids=lambda fields: "-".join(f"{key}={value}" for key, value in fields.items()),
)
def test_no_such_settings(fields: dict[str, Any]) -> None:
    """Settings that no connection could keep to do not come to exist."""
    with pytest.raises(ValueError, match="no"):
        replace(CARD_SETTINGS, **fields)


def test_defaults() -> None:
    """Without settings a connection takes what fits an Ethernet frame, and offers that in its SYN."""
    server = server_end()
    server.connect(0.0)
    (pdu,) = sent(server)
    assert pdu.synchronisation == Synchronisation(max_pdu=1472, max_sdu=0xFFFF)
    module = module_end()
    module.connect(0.0)
    (pdu,) = sent(module)
    assert pdu.synchronisation is not None
    assert pdu.synchronisation.identification.hex() == "988812010000000010f5"
