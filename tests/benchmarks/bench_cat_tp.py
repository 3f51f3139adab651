"""Octets a second through two CAT_TP connections in memory, both ends in one thread: codec, windows and all.

Run ``python -m tests.benchmarks.bench_cat_tp``. A megabyte goes as SDUs of several sizes, through PDUs for a
server and for a module. An SDU has at most 65,535 octets, so 100 kB are two. Rounds alternate and medians are
printed, so that a busy machine slows all alike. That the time is linear in octets shows in equal rates.

Then what a network that loses and delays makes of it, in simulated seconds: a module is served (it calls, and
packets go to and fro as in a handshake and a loading), or gets one long packet, many times with other losses.
The network is the air of a run, with a tenth of all datagrams doubled and a tenth held back.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from statistics import mean, median
from time import perf_counter
from typing import TYPE_CHECKING, Final

from tests.transport.cat_tp_kit import DOWN, UP, Network, module_end, server_end
from transport.air import Conditions, Lane
from transport.cat_tp import (
    CARD_SETTINGS,
    CatTpConnection,
    CatTpSettings,
    Pdu,
    SduReceived,
    State,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROUNDS: Final = 5
TOTAL: Final = 1_000_000  # octets a round
MAX_SDU: Final = 0xFFFF
SIZES: Final = (1_000, 10_000, 50_000, 100_000)
SERVER: Final = CatTpSettings()
MODULE: Final = replace(CARD_SETTINGS, max_sdu=MAX_SDU)
CONVERSATIONS: Final = 200
SERVED: Final = ((UP, 300), (DOWN, 400), (UP, 300), (DOWN, 1500), (UP, 30), (DOWN, 300), (UP, 30))
LONG: Final = ((DOWN, 8000), (UP, 30))
TALKS: Final = (("served", SERVED), ("8,000 octets", LONG))
LOSSES: Final = (0.0, 0.05, 0.2, 0.4)
DELAYS_S: Final = (0.15, 1.5)
LINK_OCTETS: Final = 9  # that stand for the headers of IP
OVER: Final = frozenset({State.CLOSED, State.CLOSE_WAIT})


def open_pair(settings: CatTpSettings) -> tuple[CatTpConnection, CatTpConnection]:
    """Return two open ends."""
    sender = CatTpConnection(local_port=1, remote_port=2, settings=settings, initial_sequence=1)
    receiver = CatTpConnection(local_port=2, remote_port=1, settings=settings, initial_sequence=1)
    receiver.listen()
    sender.connect(0.0)
    exchange(sender, receiver)
    return sender, receiver


def exchange(sender: CatTpConnection, receiver: CatTpConnection) -> int:
    """Carry datagrams until there are none; return the octets of the SDUs that came to *receiver*."""
    octets = 0
    while datagrams := sender.datagrams_to_send():
        for datagram in datagrams:
            receiver.receive_datagram(datagram, 0.0)
        for datagram in receiver.datagrams_to_send():
            sender.receive_datagram(datagram, 0.0)
        octets += sum(
            len(event.octets) for event in receiver.events_received() if isinstance(event, SduReceived)
        )
    return octets


def rate(settings: CatTpSettings, size: int) -> float:
    """Return how many octets a second get through in SDUs of *size*."""
    sender, receiver = open_pair(settings)
    message = bytes(range(250)) * (size // 250)
    sdus = [message[start : start + MAX_SDU] for start in range(0, size, MAX_SDU)]
    arrived = 0
    start = perf_counter()
    while arrived < TOTAL:
        for sdu in sdus:
            sender.send(sdu, 0.0)
        arrived += exchange(sender, receiver)
    return arrived / (perf_counter() - start)


def pdus_per_second() -> float:
    """Return how many PDUs of a full Ethernet frame are parsed a second."""
    sender, _ = open_pair(SERVER)
    sender.send(bytes(1454), 0.0)
    (octets,) = sender.datagrams_to_send()
    start = perf_counter()
    for _ in range(5_000):
        Pdu.parse(octets)
    return 5_000 / (perf_counter() - start)


class Air(Network):
    """The air of a run between the two ends."""

    def __init__(self, loss: float, delay_s: float, seed: int) -> None:
        super().__init__()
        conditions = Conditions(
            loss=loss, duplication=0.1, reordering=0.1, delay_s=delay_s, spread=0.3, octets_per_s=5000.0
        )
        self._lanes = {way: Lane(conditions, f"{way}/{seed}".encode(), 0.0) for way in (UP, DOWN)}

    def arrivals(self, way: str, octets: bytes) -> Iterable[float]:
        """Return when copies of a datagram that is sent now arrive."""
        return self._lanes[way].carry(len(octets) + LINK_OCTETS, self.now)


def converse(talk: Sequence[tuple[str, int]], loss: float, delay_s: float, seed: int) -> Network | None:
    """Return the network after *talk*, each packet sent when the one before came; None: it was given up."""
    network = Air(loss, delay_s, seed)
    module, server = module_end(), server_end()
    network.join(module, server)
    server.listen()
    module.connect(network.now)
    ends = {UP: module, DOWN: server}
    network.run(lambda: module.state is State.OPEN or module.state in OVER)
    said = {UP: 0, DOWN: 0}
    for way, size in talk:
        network.run(lambda way=way: ends[way].writable or ends[way].state in OVER)  # type: ignore[misc]
        if not ends[way].writable:
            return None
        ends[way].send(bytes(size), network.now)
        said[way] += 1
        network.run(
            lambda way=way: len(network.sdus(way)) == said[way] or ends[way].state in OVER  # type: ignore[misc]
        )
        if len(network.sdus(way)) < said[way]:
            return None
    return network


def conditions() -> list[str]:
    """Return a line for each talk and each network."""
    lines = [f"  {'':<14} one way  loss  seconds  most  PDUs  again  given up"]
    for title, talk in TALKS:
        for delay_s in DELAYS_S:
            for loss in LOSSES:
                ended = [converse(talk, loss, delay_s, seed) for seed in range(CONVERSATIONS)]
                done = [network for network in ended if network is not None]
                lines.append(
                    f"  {title:<14} {delay_s:>6.2f} s {loss:>5.0%} {mean(one.now for one in done):>8.1f}"
                    f" {max(one.now for one in done):>5.0f} {mean(len(one.wire) for one in done):>5.1f}"
                    f" {mean(one.repeats() for one in done):>6.1f} {len(ended) - len(done):>9}"
                )
    return lines


def main() -> None:
    """Print the tables."""
    rows = [(settings, size) for settings in (SERVER, MODULE) for size in SIZES]
    rounds = [[rate(*row) for row in rows] for _ in range(ROUNDS)]
    lines = [f"CAT_TP, {TOTAL:,} octets through two ends, {os.cpu_count()} cores, 1 used"]
    for (settings, size), *found in zip(rows, *rounds, strict=True):
        rates = f"{median(found) / 1e6:>7.2f} MB/s"
        lines.append(f"  PDUs of {settings.max_pdu:>4}, messages of {size:>7,} octets {rates}")
    lines.append(f"  parse of a full PDU {pdus_per_second():>9,.0f} PDUs/s")
    lines.append(f"CAT_TP, {CONVERSATIONS} conversations each, simulated seconds")
    lines += conditions()
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
