"""Octets a second through cell broadcast: cut into pages and written, then read and put together.

Run ``python -m tests.benchmarks.bench_cell_broadcast``. Rounds of all rows alternate and medians are printed,
so that a busy machine slows all alike. A row that is linear in octets has the same rate for each number of
pages, less what a message costs as such.
"""

from __future__ import annotations

import os
import sys
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Final

from transport.cell_broadcast import (
    CONTENT_OCTETS,
    GeographicScope,
    Page,
    PageAssembler,
    SerialNumber,
    packet_of,
    split,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS: Final = 9
PAGES: Final = 6_000  # a round
SIZES: Final = (1, 5, 15)  # pages of a message
IDENTIFIER: Final = 0x1080


def packet(pages: int) -> bytes:
    """Return a packet that fills so many *pages*."""
    size = pages * CONTENT_OCTETS
    return (size - 2).to_bytes(2, "big") + bytes(number & 0xFF for number in range(size - 2))


PACKETS: Final = {pages: packet(pages) for pages in SIZES}


def serial(number: int) -> SerialNumber:
    """Return the serial number of message *number*: each round of codes with the next update."""
    return SerialNumber(scope=GeographicScope.PLMN, code=number % 1024, update=number // 1024 % 16)


def write(pages: int, messages: int) -> list[list[bytes]]:
    """Return *messages* of so many *pages*, as octets."""
    octets = PACKETS[pages]
    return [
        [page.encode() for page in split(octets, serial(number), IDENTIFIER)] for number in range(messages)
    ]


def read(written: list[list[bytes]]) -> int:
    """Put together what was *written*, the last page of each first; return how many packets that made."""
    assembler = PageAssembler()
    packets = 0
    for message in written:
        for octets in reversed(message):
            content = assembler.receive(Page.parse(octets), 0.0)
            packets += content is not None and len(packet_of(content)) > 0
    return packets


def repeat(written: list[list[bytes]]) -> int:
    """Hear one message of *written* again and again; return how many packets that made."""
    assembler = PageAssembler()
    first = [Page.parse(octets) for octets in written[0]]
    return sum(assembler.receive(page, 0.0) is not None for _ in written for page in first)


def seconds(call: Callable[[], object]) -> float:
    """Return how long *call* takes."""
    start = perf_counter()
    call()
    return perf_counter() - start


def one_round(pages: int) -> dict[str, float]:
    """Return the rate of each row for messages of so many *pages*, in octets of packet a second."""
    messages = PAGES // pages
    octets = messages * len(PACKETS[pages])
    written = write(pages, messages)
    if read(written) != messages or repeat(written) != 1:
        raise SystemExit("not every message was delivered once")
    return {
        "split and encode": octets / seconds(lambda: write(pages, messages)),
        "parse and assemble": octets / seconds(lambda: read(written)),
        "hear again": octets / seconds(lambda: repeat(written)),
    }


def main() -> None:
    """Print the table."""
    rounds = [{pages: one_round(pages) for pages in SIZES} for _ in range(ROUNDS)]
    lines = [f"cell broadcast, packets in pages of {CONTENT_OCTETS} octets, {os.cpu_count()} cores, 1 used"]
    for pages in SIZES:
        for row in rounds[0][pages]:
            rate = median(each[pages][row] for each in rounds)
            pages_a_second = f"{rate / CONTENT_OCTETS:>9,.0f} pages/s"
            lines.append(f"  {row:<18} {pages:>2} pages {rate / 1e6:>6.1f} M octets/s {pages_a_second}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
