"""Two ends, and a network between them that misbehaves by a seed."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.cat_tp_kit import DOWN, PATIENT, UP, Network, module_end, open_pair, over, server_end
from transport.cat_tp import (
    CARD_SETTINGS,
    CatTpSettings,
    Closed,
    Flags,
    Opened,
    Pdu,
    ResetReason,
    SduReceived,
    State,
)

if TYPE_CHECKING:
    from transport.cat_tp import CatTpConnection

PATIENT_CARD = replace(CARD_SETTINGS, retransmission_timeout_s=1.0, max_retransmissions=60, close_wait_s=5.0)


class Talk:
    """SDUs of one direction, sent as room appears."""

    def __init__(self, end: CatTpConnection, sdus: list[bytes]) -> None:
        self._end = end
        self._left = list(reversed(sdus))

    def go_on(self, now: float) -> bool:
        """Send what there is room for; return whether all was sent and acknowledged, or never will be."""
        while self._left and self._end.writable:
            self._end.send(self._left.pop(), now)
        return (not self._left and self._end.idle) or self._end.state in {State.CLOSED, State.CLOSE_WAIT}


def converse(
    network: Network, up: tuple[CatTpConnection, list[bytes]], down: tuple[CatTpConnection, list[bytes]]
) -> None:
    """Let both ends send all they have, at once."""
    talks = [Talk(*up), Talk(*down)]
    network.run(lambda: sum(talk.go_on(network.now) for talk in talks) == len(talks))


def sdus_of(rng: Random, largest: int) -> list[bytes]:
    """Return SDUs of 1 octet, of the most, and of sizes between, each unlike the others."""
    sizes = [1, largest, 218, 219, rng.randint(1, largest), rng.randint(1, largest)]
    rng.shuffle(sizes)
    return [rng.randbytes(size) for size in sizes]


def check_windows(network: Network) -> None:
    """Check on the wire that no end ever sent beyond the window that it had been told."""
    allowed: dict[str, set[int]] = {UP: set(), DOWN: set()}
    other = {UP: DOWN, DOWN: UP}
    for sent, way, octets in network.trace:
        pdu = Pdu.parse(octets)
        if sent and pdu.takes_number and pdu.synchronisation is None:
            assert pdu.sequence in allowed[way]
        if not sent and pdu.flags & Flags.ACK:
            numbers = range(pdu.acknowledgement + 1, pdu.acknowledgement + 1 + pdu.window)
            allowed[other[way]] |= {number & 0xFFFF for number in numbers}


OPENINGS = {
    "module": lambda module, server, now: (server.listen(), module.connect(now)),
    "server": lambda module, server, now: (module.listen(), server.connect(now)),
    "both": lambda module, server, now: (module.connect(now), server.connect(now)),
}


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize("loss", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_everything_arrives_once_and_in_order(opening: str, loss: float, seed: int) -> None:
    """Whoever opens, with loss, duplicates and overtaking, both directions deliver all SDUs at once."""
    network = Network(seed=seed, loss=loss, duplication=0.3, jitter_s=3.0)
    module, server = module_end(PATIENT_CARD, 0xFFF0 + seed), server_end(PATIENT, 0xFFFE)
    network.join(module, server)
    OPENINGS[opening](module, server, network.now)
    assert network.run(lambda: module.state is server.state is State.OPEN)
    rng = Random(seed)
    up, down = sdus_of(rng, 0x2000), sdus_of(rng, CARD_SETTINGS.max_sdu)
    converse(network, (module, up), (server, down))
    assert network.sdus(UP) == up
    assert network.sdus(DOWN) == down
    check_windows(network)
    module.close(network.now)
    network.loss = 0.0
    network.settle()
    if server.state is State.OPEN:  # the RST was lost, or overtaken and then not believed
        server.probe(network.now)
        network.settle()
    assert module.state is server.state is State.CLOSED
    assert over(network.told(UP))
    assert over(network.told(DOWN))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    loss=st.floats(0.0, 0.5),
    jitter_s=st.floats(0.0, 8.0),
    opening=st.sampled_from(sorted(OPENINGS)),
    retries=st.integers(0, 4),
    window=st.integers(1, 12),
    max_pdu=st.integers(19, 300),
)
def test_all_or_closed(
    *, seed: int, loss: float, jitter_s: float, opening: str, retries: int, window: int, max_pdu: int
) -> None:
    """Ends that are soon out of patience deliver the first SDUs unharmed, and all of them or tell why not."""
    rng = Random(seed)
    limits = CatTpSettings(
        max_pdu=max_pdu, max_sdu=500, window=window, max_retransmissions=retries, max_syn_repeats=retries
    )
    network = Network(seed=seed, loss=loss, duplication=loss, jitter_s=jitter_s)
    module = module_end(limits, rng.randrange(0x10000))
    server = server_end(replace(limits, window=13 - window), rng.randrange(0x10000))
    network.join(module, server)
    OPENINGS[opening](module, server, network.now)
    network.run(lambda: network.told(UP) != [] and network.told(DOWN) != [])
    up = [rng.randbytes(rng.randint(1, 500)) for _ in range(5)]
    down = [rng.randbytes(rng.randint(1, 500)) for _ in range(5)]
    converse(network, (module, up), (server, down))
    network.settle()
    check_windows(network)
    for way, sent in ((UP, up), (DOWN, down)):
        arrived = network.sdus(way)
        assert arrived == sent[: len(arrived)]
        sender = network.told(way)
        if len(arrived) < len(sent):
            assert any(isinstance(event, Closed) for event in sender) or not sender


def test_numbers_go_round() -> None:
    """More PDUs than there are numbers arrive, whole and in order."""
    narrow = CatTpSettings(max_pdu=19, window=119)
    module, server = open_pair(Network(), module=narrow, server=narrow, sequences=(0, 0xFFFF))
    sdus = [Random(size).randbytes(size) for size in (60_000, 6_000)]
    for sdu in sdus:
        module.send(sdu, 1.0)
    arrived = []
    while datagrams := module.datagrams_to_send():
        for datagram in datagrams:
            server.receive_datagram(datagram, 1.0)
        for datagram in server.datagrams_to_send():
            module.receive_datagram(datagram, 1.0)
        arrived += server.events_received()
    assert arrived == [SduReceived(octets=sdu) for sdu in sdus]
    assert module.idle


def test_lost_for_good() -> None:
    """With nobody at the other end any more, both give up, say so and fall silent."""
    network = Network()
    module, server = open_pair(network, module=CARD_SETTINGS, server=CatTpSettings())
    network.loss = 1.0
    module.send(b"is there anybody", network.now)
    server.probe(network.now)
    network.settle()
    assert network.told(UP)[-1] == network.told(DOWN)[-1] == Closed(reason=ResetReason.MAX_RETRIES)
    ends = {way: Pdu.parse(octets) for way, octets in network.wire}  # the last of each way
    assert [ends[way].reason for way in (UP, DOWN)] == [ResetReason.MAX_RETRIES] * 2
    assert module.state is server.state is State.CLOSED
    tries = [Pdu.parse(octets).payload for way, octets in network.wire if way == UP].count(
        b"is there anybody"
    )
    assert tries == 1 + CARD_SETTINGS.max_retransmissions


def test_what_is_said_in_opening() -> None:
    """Each end learns from the other's SYN what it is called and what it takes."""
    network = Network()
    module, server = open_pair(network, module=CARD_SETTINGS, server=CatTpSettings())
    assert network.told(DOWN) == [
        Opened(identification=bytes.fromhex("988812010000000010f5"), max_pdu=236, max_sdu=8192)
    ]
    assert network.told(UP) == [Opened(identification=b"", max_pdu=1472, max_sdu=0xFFFF)]
    assert module.idle
    assert server.idle
    assert len(network.wire) == 3
