"""When a PDU goes again: round trips, waits that grow, what the peer says to be missing, and slow links."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.cat_tp_kit import DOWN, UP, Network, module_end, open_pair, server_end
from tests.transport.test_cat_tp_connection import ACK, EAK, OURS, opened, sent, to_server
from transport.cat_tp import CARD_SETTINGS, CatTpSettings, Closed, ResetReason, State

if TYPE_CHECKING:
    from transport.cat_tp import CatTpConnection

WIDE: Final = replace(CARD_SETTINGS, window=8, max_queued_sdus=16)


def numbers(server: CatTpConnection) -> list[int]:
    """Return the numbers of the PDUs that go now, counted from our first behind the SYN."""
    return [(pdu.sequence - OURS) & 0xFFFF for pdu in sent(server) if pdu.takes_number]


def under_way(count: int) -> CatTpConnection:
    """Return a server that has sent so many PDUs, of one SDU each, within one window; none is answered."""
    server = opened()
    server.receive_datagram(to_server(ACK, window=count), 0.0)
    for _ in range(count):
        server.send(b"x", 0.0)
    assert numbers(server) == list(range(1, count + 1))
    return server


# ---- how long to wait --------------------------------------------------------------------------------------


def test_what_went_twice_measures_nothing() -> None:
    """Karn's rule: a repeated PDU's acknowledgement tells no round trip, and the wait stays long."""
    server = under_way(1)
    server.handle_timer(1.0)
    assert server.next_timer() == 3.0
    server.receive_datagram(to_server(ACK, acknowledgement=OURS + 1), 2.9)
    server.send(b"x", 10.0)
    assert server.next_timer() == 12.0
    server.receive_datagram(to_server(ACK, acknowledgement=OURS + 2), 10.2)
    server.send(b"x", 20.0)
    assert server.next_timer() == 21.0


def test_what_waited_with_the_peer_measures_nothing() -> None:
    """What was held until a repeated PDU came tells no round trip, unless the peer named it when it came."""
    server = under_way(2)
    server.handle_timer(1.0)
    sent(server)
    server.receive_datagram(to_server(ACK, acknowledgement=OURS + 2), 20.0)
    server.send(b"x", 20.0)
    assert server.next_timer() == 22.0
    named = under_way(2)
    named.receive_datagram(to_server(ACK | EAK, extended=(OURS + 2,)), 2.0)
    named.receive_datagram(to_server(ACK, acknowledgement=OURS + 2), 9.0)
    named.send(b"x", 20.0)
    assert named.next_timer() == pytest.approx(20.0 + 2.0 / 8 + 4 * 2.0 / 4)


# ---- what goes again ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "named", "again"),
    [
        (4, (2,), []),  # one number between: it may have been overtaken
        (4, (3,), []),
        (4, (4,), [1, 2, 3]),
        (4, (2, 3), []),
        (4, (2, 3, 4), [1]),
        (4, (3, 4), [1, 2]),
        (2, (2,), [1]),  # nothing more will come that could tell
        (3, (2,), []),
        (3, (3,), [1, 2]),
        (4, (1, 2, 3), []),
        (4, (9, 5000), []),
    ],
    ids=str,
)
def test_what_the_peer_says_to_be_missing(count: int, named: tuple[int, ...], again: list[int]) -> None:
    """Before what came by too many numbers, or before the last, a PDU is lost and goes again at once."""
    server = under_way(count)
    said = to_server(ACK | EAK, extended=tuple(OURS + number for number in named))
    server.receive_datagram(said, 0.5)
    assert numbers(server) == again
    assert server.next_timer() == (1.0 if not again else pytest.approx(0.5 + 1.0, abs=0.5))
    server.receive_datagram(said, 0.6)
    assert numbers(server) == []


def test_a_fast_repeat_is_no_time_out() -> None:
    """What goes again because the peer misses it does so once; lost again, it waits for the time-out."""
    server = under_way(4)
    server.receive_datagram(to_server(ACK | EAK, extended=(OURS + 4,)), 0.0)
    assert numbers(server) == [1, 2, 3]
    server.receive_datagram(to_server(ACK | EAK, extended=(OURS + 3, OURS + 4)), 0.5)
    assert numbers(server) == []
    server.handle_timer(1.0)
    assert numbers(server) == [1, 2]


def test_after_a_time_out() -> None:
    """A time-out lets two PDUs go again; each acknowledgement of news then as many as it told of, and one."""
    server = under_way(4)
    server.handle_timer(1.0)
    assert numbers(server) == [1, 2]
    server.receive_datagram(to_server(ACK, acknowledgement=OURS + 1), 1.5)
    assert numbers(server) == [3, 4]
    server.receive_datagram(to_server(ACK, acknowledgement=OURS + 2), 1.6)
    assert numbers(server) == []
    server.handle_timer(3.6)
    assert numbers(server) == [3, 4]


def test_numbers_beyond_the_last() -> None:
    """What is missing is found where numbers begin again."""
    network = Network()
    module, server = open_pair(network, module=WIDE, server=WIDE, sequences=(0xFFFD, 0xFFFD))
    network.loss = 1.0
    for octet in range(3):
        module.send(bytes([octet]), network.now)
    network.flush()
    network.loss = 0.0
    module.send(b"\3", network.now)  # 0xFFFE, 0xFFFF and 0 were lost; 1 will come
    began = network.now
    assert network.run(lambda: len(network.sdus(UP)) == 4)
    assert network.sdus(UP) == [b"\0", b"\1", b"\2", b"\3"]
    assert network.now - began < 1.0
    assert network.repeats() == 3
    assert module.idle or network.run(lambda: module.idle)
    assert server.drops == {}


# ---- how often ---------------------------------------------------------------------------------------------


@given(loss_from=st.integers(0, 3), tries=st.integers(0, 6))
def test_bounded_tries(loss_from: int, tries: int) -> None:
    """However much is under way, so many time-outs in a row end the connection in bounded time."""
    network = Network()
    settings = replace(CARD_SETTINGS, max_retransmissions=tries)
    module, _ = open_pair(network, module=settings)
    for number in range(4):
        if number == loss_from:
            network.loss = 1.0
        module.send(b"x", network.now)
        network.flush()
    began = network.now
    network.run(lambda: module.state is not State.OPEN)
    assert network.told(UP)[-1] == Closed(reason=ResetReason.MAX_RETRIES)
    assert network.now - began <= settings.max_timeout_s * (tries + 1)


def test_news_begin_the_count_anew() -> None:
    """Tries are counted from the last news: whoever gets on, however slowly, is not given up."""
    server = under_way(3)
    now = 0.0
    for number in (1, 2, 3):
        for _ in range(10):
            now = server.next_timer() or now
            server.handle_timer(now)
            assert numbers(server) != []
        server.receive_datagram(to_server(ACK, acknowledgement=OURS + number), now)
    assert (server.state, server.idle) == (State.OPEN, True)


# ---- slow links, and machines ------------------------------------------------------------------------------


def talk(network: Network, module: CatTpConnection, server: CatTpConnection, times: int) -> list[int]:
    """Let question and answer go to and fro so many times; return how many PDUs each time went again."""
    repeats = []
    for _ in range(times):
        before = network.repeats()
        for end, way in ((module, UP), (server, DOWN)):
            said = len(network.sdus(way)) + 1
            end.send(b"x", network.now)
            assert network.run(lambda way=way, said=said: len(network.sdus(way)) == said)  # type: ignore[misc]
        repeats.append(network.repeats() - before)
    return repeats


def test_a_link_that_becomes_slow() -> None:
    """When all takes a hundred times as long, some PDUs are repeated until that is known, and then none."""
    network = Network()
    module, server = open_pair(network, module=CARD_SETTINGS, server=CatTpSettings())
    network.delay_s = 0.1
    assert talk(network, module, server, 5) == [0] * 5
    network.delay_s = 10.0
    repeats = talk(network, module, server, 8)
    assert sum(repeats) < 16
    assert repeats[3:] == [0] * 5


def test_a_link_that_is_slow_from_the_start() -> None:
    """Where a round trip takes longer than the first wait, few PDUs go twice; before, all would have."""
    network = Network()
    network.delay_s = 10.0
    module, server = open_pair(network, module=CARD_SETTINGS, server=CatTpSettings())
    assert sum(talk(network, module, server, 6)) < 12
    assert talk(network, module, server, 4) == [0] * 4


class Turn(Network):
    """A network of which there are many on one machine: each datagram waits for its turn."""

    free_at = 0.0

    def arrivals(self, way: str, octets: bytes) -> list[float]:  # noqa: ARG002 -- all take the same
        """Return when its turn is over."""
        Turn.free_at = max(Turn.free_at, self.now) + 0.1
        return [Turn.free_at]


def test_many_on_a_slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a hundred pairs share a machine that takes ten datagrams a second, all get through in the end.

    Seven datagrams a pair would do, 70 s. With each PDU repeated every few seconds, as it was once, repeats
    pile up and not one pair gets its answer.
    """
    monkeypatch.setattr(Turn, "free_at", 0.0)
    pairs = {network: (module_end(), server_end(CatTpSettings())) for network in [Turn() for _ in range(100)]}
    for network, (module, server) in pairs.items():
        network.join(module, server)
        server.listen()
        module.connect(0.0)
        network.flush()
    while waiting := [network for network in pairs if not network.sdus(DOWN)]:
        network = min(waiting, key=lambda network: network.due())
        module, server = pairs[network]
        assert network.step()
        assert module.state is not State.CLOSED
        if module.writable and module.idle and not network.sdus(UP):
            module.send(b"question", network.now)
        if network.sdus(UP) and server.idle and not network.sdus(DOWN):
            server.send(b"answer", network.now)
        network.flush()
    assert max(network.now for network in pairs) < 300.0
    assert sum(len(network.wire) for network in pairs) < 3500
