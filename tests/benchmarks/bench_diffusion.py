"""Broadcast loading: what forward error correction saves in pages, and what a page costs in CPU.

Run ``python -m tests.benchmarks.bench_diffusion [RECEIVERS]``. Receivers are page assembler and collector,
as a module has them, and a lane of the radio model each, seeded: the n-th page that is broadcast meets the
same fate at the same receiver, whatever is broadcast. What is counted is pages until 99 of 100 receivers
have the programme; after the last allowed page the share that has it is printed instead.
"""

from __future__ import annotations

import os
import random
import sys
from functools import cache
from hmac import compare_digest
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC

from transport.air import Conditions, Lane
from transport.cell_broadcast import PAGE_OCTETS, Page, PageAssembler, packet_of
from transport.diffusion import (
    MAX_PIECES,
    MAX_PROGRAMME,
    Campaign,
    Coding,
    Collected,
    Collector,
    Domain,
    Scheme,
    SharedWork,
    Work,
    make_pieces,
    recover,
)
from transport.errors import DiffusionRejected
from transport.security.domain_key import generate_symmetric
from transport.security.suites import suite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RECEIVERS: Final = 200
LOSSES: Final = (0.0, 0.1, 0.3, 0.5)
PAGES: Final = (1, 2, 3, 5, 15)  # of a packet
WANTED: Final = 0.99
MOST_PAGES: Final = 3_000
IDENTIFIER: Final = 0x1080
ROUNDS: Final = 25
SPARE: Final = 8
DECODED: Final = ((4096, 1), (46_080, 1), (MAX_PROGRAMME, 2), (MAX_PROGRAMME, 15))  # octets, pages a packet
PROGRAMME: Final = random.Random(6).randbytes(4096)
KEY: Final = suite("x25519").generate_signing_key(random.Random(1).randbytes)
DOMAIN: Final = Domain(
    tar=b"\xb2\x01\x01",
    logic_name=b"news",
    supplier=b"press",
    supplier_suite=KEY.suite,
    supplier_public=KEY.public,
    domain_key=generate_symmetric(random.Random(2).randbytes),
)
SHARED: Final = SharedWork(DOMAIN)
_CIPHER: Final = Cipher(AES(DOMAIN.keys.cipher_key), CBC(bytes(16)))
_MAC: Final = CMAC(AES(DOMAIN.keys.mac_key))
_NO_CC: Final = bytes(8)


class Row(NamedTuple):
    """One campaign as it is cut and sent."""

    scheme: Scheme
    pages: int


def campaign(row: Row) -> Campaign:
    """Return the campaign of *row*."""
    coding = Coding(scheme=row.scheme, pages=row.pages)
    return Campaign(DOMAIN, PROGRAMME, number=1, version=1, signing_key=KEY, coding=coding)


@cache
def fates(loss: float, receiver: int) -> bytes:
    """Return, for each page that may be broadcast, whether it comes to *receiver*."""
    lane = Lane(Conditions(loss=loss), b"receiver %d" % receiver, 0.0)
    return bytes(bool(lane.carry(PAGE_OCTETS, 0.0)) for _ in range(MOST_PAGES))


def broadcast(sent: Campaign) -> Iterator[Page]:
    """Yield the pages of *sent*, as often as anybody listens."""
    for packet in sent.carousel():
        yield from sent.pages_of(packet, IDENTIFIER)


def pages_needed(sent: Campaign, loss: float, receivers: int) -> tuple[int, float]:
    """Return after how many pages enough *receivers* have the programme, and the share that has it then."""
    waiting = [(fates(loss, receiver), PageAssembler(), Collector(SHARED)) for receiver in range(receivers)]
    number = 0
    for number, page in zip(range(MOST_PAGES), broadcast(sent), strict=False):
        waiting = [one for one in waiting if not (one[0][number] and hear(page, one[1], one[2]))]
        if len(waiting) <= receivers * (1 - WANTED):
            break
    return number + 1, 1 - len(waiting) / receivers


def hear(page: Page, assembler: PageAssembler, collector: Collector) -> bool:
    """Hand *page* to a module; return whether that completes the programme."""
    content = assembler.receive(page, 0.0)
    if content is None:
        return False
    try:
        events = collector.receive(packet_of(content), 0.0)
    except DiffusionRejected:  # before the head came there may be no more room
        return False
    return any(isinstance(event, Collected) and event.programme == PROGRAMME for event in events)


def page_table(receivers: int) -> list[str]:
    """Return the table of pages."""
    lines = [
        f"pages until {WANTED:.0%} of {receivers:,} receivers have {len(PROGRAMME):,} octets, at a loss of"
    ]
    lines.append("  scheme   pages a packet    cycle " + "".join(f"{loss:>9.0%}" for loss in LOSSES))
    for row in (Row(scheme, pages) for scheme in Scheme for pages in PAGES):
        sent = campaign(row)
        cells = [pages_needed(sent, loss, receivers) for loss in LOSSES]
        shown = [f"{needed:>9,}" if share >= WANTED else f"{share:>8.0%}!" for needed, share in cells]
        lines.append(f"  {row.scheme.name.lower():<8} {row.pages:>14} {sent.pages:>8,} {''.join(shown)}")
    lines.append(f"  ! the share that has it after {MOST_PAGES:,} pages")
    return lines


def bare(packets: list[bytes]) -> bool:
    """Decipher and check *packets* with bare ``cryptography`` calls, all kept that depends on keys alone."""
    found = True
    for packet in packets:
        _CIPHER.decryptor().update(packet[10:])
        mac = _MAC.copy()
        mac.update(packet[:-8])
        found &= compare_digest(mac.finalize()[:8], _NO_CC)
    return found


def seconds(call: Callable[[], object]) -> float:
    """Return the CPU that *call* takes, in seconds."""
    start = process_time()
    call()
    return process_time() - start


def seconds_a_page(pages: int) -> dict[str, float]:
    """Return what a page costs one module, in seconds of CPU, with all its work done by itself."""
    sent = campaign(Row(Scheme.PLAIN, pages))
    packets = [packet.octets for packet in sent.cycle]
    heard = [page.encode() for packet in sent.cycle for page in sent.pages_of(packet, IDENTIFIER)]
    events: list[object] = []

    def assemble() -> None:
        assembler = PageAssembler()
        for octets in heard:
            assembler.receive(Page.parse(octets), 0.0)

    def collect(work: Work) -> None:
        collector = Collector(work)
        for packet in packets:
            events.extend(collector.receive(packet, 0.0))

    def least() -> None:
        bare(packets)
        Work(DOMAIN).verify(sent.manifest, sent.signature)

    shared = SharedWork(DOMAIN)
    collect(shared)
    took = {
        "assemble": seconds(assemble),
        "collect": seconds(lambda: collect(Work(DOMAIN))),
        "bare": seconds(least),
        "shared": seconds(lambda: collect(shared)),
    }
    if not any(isinstance(event, Collected) for event in events):
        raise SystemExit("the programme was not collected")
    return {name: value / len(heard) for name, value in took.items()}


def cpu_table() -> list[str]:
    """Return the table of CPU."""
    lines = [
        "us of CPU a page and module: to packets | from there to the programme | bare crypto | work shared"
    ]
    for pages in PAGES:
        rounds = [seconds_a_page(pages) for _ in range(ROUNDS)]
        assemble, collect, least, shared = (
            1e6 * median(each[name] for each in rounds) for name in ("assemble", "collect", "bare", "shared")
        )
        shown = "".join(f"{value:>8.2f}" for value in (assemble, collect, least, shared))
        lines.append(f"  {pages:>2} pages a packet {shown}   {collect / least:.2f} of bare")
    return lines


def decoder_row(length: int, pages: int) -> str:
    """Return what a programme costs RaptorQ when as few source pieces as possible came, and as few pieces."""
    coding = Coding(pages=pages)
    piece, sources = coding.piece_length(DOMAIN.keys), coding.pieces(length, DOMAIN.keys)[0]
    repair = min(sources + SPARE, MAX_PIECES - sources)
    programme = random.Random(length).randbytes(length)
    made = make_pieces(programme, piece, repair, Scheme.RAPTORQ)
    last = dict(list(enumerate(made))[-sources - SPARE :])
    if recover(last, length, piece, Scheme.RAPTORQ) != programme:
        raise SystemExit("the programme was not recovered")
    make = median(
        seconds(lambda: make_pieces(programme, piece, repair, Scheme.RAPTORQ)) for _ in range(ROUNDS)
    )
    back = median(seconds(lambda: recover(last, length, piece, Scheme.RAPTORQ)) for _ in range(ROUNDS))
    forged = {number: random.Random(number).randbytes(piece) for number in last}
    fake = median(seconds(lambda: recover(forged, length, piece, Scheme.RAPTORQ)) for _ in range(ROUNDS))
    shown = "".join(f"{1e3 * value:>8.2f}" for value in (make, back, fake))
    return f"  {length:>6,} octets, {sources:>4} pieces {shown}"


def main() -> None:
    """Print the tables."""
    receivers = int(sys.argv[1]) if len(sys.argv) > 1 else RECEIVERS
    lines = [
        f"diffusion, {os.cpu_count()} cores, 1 used",
        *cpu_table(),
        "RaptorQ, the last pieces alone: ms of CPU to make all | to recover | to recover from forged ones",
        *(decoder_row(length, pages) for length, pages in DECODED),
        *page_table(receivers),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
