"""Octets a second through two CAT_TP connections in memory, both ends in one thread: codec, windows and all.

Run ``python -m tests.benchmarks.bench_cat_tp``. A megabyte goes as SDUs of several sizes, through PDUs for a
server and for a module. An SDU has at most 65,535 octets, so 100 kB are two. Rounds alternate and medians are
printed, so that a busy machine slows all alike. That the time is linear in octets shows in equal rates.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import Final

from transport.cat_tp import (
    CARD_SETTINGS,
    CatTpConnection,
    CatTpSettings,
    Pdu,
    SduReceived,
)

ROUNDS: Final = 5
TOTAL: Final = 1_000_000  # octets a round
MAX_SDU: Final = 0xFFFF
SIZES: Final = (1_000, 10_000, 50_000, 100_000)
SERVER: Final = CatTpSettings()
MODULE: Final = replace(CARD_SETTINGS, max_sdu=MAX_SDU)


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


def main() -> None:
    """Print the table."""
    rows = [(settings, size) for settings in (SERVER, MODULE) for size in SIZES]
    rounds = [[rate(*row) for row in rows] for _ in range(ROUNDS)]
    lines = [f"CAT_TP, {TOTAL:,} octets through two ends, {os.cpu_count()} cores, 1 used"]
    for (settings, size), *found in zip(rows, *rounds, strict=True):
        rates = f"{median(found) / 1e6:>7.2f} MB/s"
        lines.append(f"  PDUs of {settings.max_pdu:>4}, messages of {size:>7,} octets {rates}")
    lines.append(f"  parse of a full PDU {pdus_per_second():>9,.0f} PDUs/s")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
