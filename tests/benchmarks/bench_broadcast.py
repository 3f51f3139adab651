"""Global loading: what a page of a campaign costs a module, and how long a fleet takes over one broadcast.

Run ``python -m tests.benchmarks.bench_broadcast [HANDSETS CELLS]``. The modules are real ones with an image
each, in handsets that hear their cell; beside it stands what none of them could do without, by the bare
library: to decipher each packet, to check its CC, and to verify the one signature. The fleet is a whole one,
with its broker and a process for each core: what is timed is the step ``broadcast`` alone, when nothing waits
for the air.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Final
from unittest import mock

import structlog
import wasmtime
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC
from wasmtime import wat2wasm

from agents.fleet.resources import cores, quiet_collector
from agents.handset.security_module import programme
from agents.messages.bearers import GLOBAL_SERVICES
from tests.agents.module_kit import TAR, UA, Market, probe
from tests.benchmarks.broadcast_cells import open_cells
from tests.benchmarks.broadcast_fleet import broadcast
from transport.diffusion import Campaign, Coding, Domain, Scheme
from transport.diffusion.manifest import signed_octets
from transport.security.domain_key import generate_symmetric, wrap
from transport.security.suites import suite
from transport.security.terms import AGREE_THEN_SIGN

if TYPE_CHECKING:
    from tests.benchmarks.broadcast_fleet import Took

RUNS: Final = 3
MODULES: Final = 500
OF_CELL: Final = 100
PROGRAMME_OCTETS: Final = 4096
NAME: Final = "points"
IDENTIFIER: Final = GLOBAL_SERVICES[0]
KEY: Final = generate_symmetric(random.Random(1).randbytes)
APPS: Final = Path(__file__).parents[2] / "configs" / "apps"
HANDSETS: Final = 10_000
CELLS: Final = 100
FEW_CELLS: Final = 2
OF_FEW: Final = 20
"""Handsets of a cell, where messages are counted."""
TIMES: Final = (1, 2, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a campaign costs one module, in seconds of CPU time, and how often its programme was compiled."""

    page_s: float
    rest_s: float
    bare_s: float
    pages: int
    compiled: int


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")


def padded(code: bytes) -> bytes:
    """Return a programme of 4,096 octets: this one, and a section without meaning, but no zeros.

    Of zeros memory would already be full, and none would have to be stored.
    """
    room = PROGRAMME_OCTETS - len(code) - 4
    # A custom section: 0, its length in LEB128, an empty name.
    return code + bytes([0, (room + 1) & 0x7F | 0x80, (room + 1) >> 7, 0]) + random.Random(1).randbytes(room)


def reserved() -> Market:
    """Return a market whose module holds the global service, and has loaded nothing."""
    market = Market(supplier_suite="x25519").personalise()
    wrapped = wrap(
        KEY,
        sealing_public=market.sealing_public,
        sealing_suite=market.module_suite,
        ua=UA.encode(),
        tar=TAR,
        logic_name=NAME.encode(),
        ticket=market.ticket,
    )
    return market.reserve(
        forms=[AGREE_THEN_SIGN],
        logic_name=NAME,
        domain_key=wrapped,
        message_identifier=IDENTIFIER,
        code_size=PROGRAMME_OCTETS,
    )


def campaign(market: Market, code: bytes) -> Campaign:
    """Return the supplier's campaign, without error correction."""
    supplier = market.supplier
    domain = Domain(
        tar=TAR,
        logic_name=NAME.encode(),
        supplier=supplier.name.encode(),
        supplier_suite=supplier.suite,
        supplier_public=supplier.key.public,
        domain_key=KEY,
    )
    coding = Coding.measured(len(code), Scheme.PLAIN, domain.keys)
    return Campaign(domain, code, number=1, version=1, signing_key=supplier.key, coding=coding)


def bare(sent: Campaign) -> float:
    """Return the seconds that one module's bare deciphering, checksums and signature take."""
    keys = sent.domain.keys
    cipher, mac = Cipher(AES(keys.cipher_key), CBC(bytes(16))), CMAC(AES(keys.mac_key))
    statement = signed_octets(sent.domain.supplier_suite, sent.manifest)
    began = process_time()
    for packet in sent.cycle:
        octets = packet.octets[10 : len(packet.octets) - (len(packet.octets) - 10) % 16]
        decryptor = cipher.decryptor()
        decryptor.update(octets)
        check = mac.copy()
        check.update(packet.octets)
        check.finalize()
    suite(sent.domain.supplier_suite).verify(sent.domain.supplier_public, statement, sent.signature)
    return process_time() - began


def quiet() -> None:
    """Have nothing logged but warnings, as a fleet whose log level is that."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


async def of_modules(directory: Path) -> Cost:
    """Return what a page costs a module, from its cell on, and what the rest of a campaign does.

    All pages of a message but its last cost no more than to be put together. What the last ones take beyond
    that is the rest: to open packets, collect, install, store, and tell.
    """
    market, code = reserved(), padded(probe())
    sent = campaign(market, code)
    messages = [[page.encode() for page in sent.pages_of(packet, IDENTIFIER)] for packet in sent.cycle]
    pages = sum(len(message) for message in messages)
    pages_s = last_s = 0.0
    with mock.patch.object(programme, "Module", wraps=wasmtime.Module) as compiled:
        async with open_cells(
            directory, market.card.image, cells=MODULES // OF_CELL, handsets=OF_CELL
        ) as cells:
            await cells.hear(messages[0][:1])  # handsets have read by then what their modules listen to
            with quiet_collector():
                for number, message in enumerate(messages):
                    began = process_time()
                    await cells.hear(message[:-1] if number else message[1:-1])
                    whole = process_time()
                    await cells.hear(message[-1:])
                    pages_s, last_s = pages_s + whole - began, last_s + process_time() - whole
            versions = {module.definitions.all()[0].version for module in cells.modules}
    assert versions == {1}, "every module has loaded it"
    a_page_s = pages_s / (pages - len(messages) - 1)
    return Cost(
        page_s=a_page_s / MODULES,
        rest_s=(last_s - a_page_s * len(messages)) / MODULES,
        bare_s=sum(bare(sent) for _ in range(MODULES)) / MODULES,
        pages=pages,
        compiled=compiled.call_count,
    )


def say_modules() -> None:
    """Print what a page costs a module, and the rest of a campaign: the best of several runs."""
    costs = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as directory:
            costs.append(asyncio.run(of_modules(Path(directory))))
    page_s = min(cost.page_s for cost in costs)
    rest_s = min(cost.rest_s for cost in costs)
    bare_s = min(cost.bare_s for cost in costs)
    say(f"{MODULES} modules in cells of {OF_CELL}, {PROGRAMME_OCTETS} octets in {costs[0].pages} pages:")
    say(f"  {page_s * 1e6:.1f} us of CPU a page and module, from its cell to reassembly; goal 20")
    say(f"  {rest_s * 1e3:.2f} ms of CPU a module for the rest; bare {bare_s * 1e3:.2f}, goal twice that")
    say(f"  programmes compiled: {costs[0].compiled}; goal 1, however many modules")


def fleet(handsets: int, cells: int, *, workers: int, tapped: bool = False) -> Took:
    """Return what a broadcast takes a fleet."""
    code = padded(bytes(wat2wasm((APPS / "loyalty.wat").read_text(encoding="ascii"))))
    with tempfile.TemporaryDirectory() as directory:
        took = broadcast(
            Path(directory), code, handsets=handsets, cells=cells, workers=workers, tapped=tapped
        )
    assert took.loaded == handsets, f"{took.loaded} of {handsets} have it"
    return took


def of_messages() -> None:
    """Print what the messages to the broker grow with."""

    def counted(handsets: int, cells: int) -> int:
        return fleet(handsets, cells, workers=0, tapped=True).messages

    handsets = FEW_CELLS * OF_FEW
    same_cells = [counted(handsets * n, FEW_CELLS) for n in TIMES]
    same_size = [same_cells[0], *(counted(handsets * n, FEW_CELLS * n) for n in TIMES[1:])]
    say(f"messages to the broker for one broadcast, 1, 2 and 4 times {handsets} handsets")
    say(
        f"  in the same {FEW_CELLS} cells: {', '.join(map(str, same_cells))}; goal: no more for more handsets"
    )
    say(f"  in 1, 2 and 4 times as many cells: {', '.join(map(str, same_size))}")


def of_fleet(handsets: int, cells: int) -> None:
    """Print how long a fleet takes over one broadcast."""
    workers = cores()
    took = fleet(handsets, cells, workers=workers)
    say(f"{handsets} handsets in {cells} cells, {workers} processes: {took.wall_s:.1f} s for one broadcast")
    say(f"  of {PROGRAMME_OCTETS} octets, and all have it; goal for 10,000 in 100 on 2 cores: under 20 s")


def main() -> None:
    """Run all."""
    quiet()
    say_modules()
    of_messages()
    handsets, cells = (*map(int, sys.argv[1:3]),) if sys.argv[2:] else (HANDSETS, CELLS)
    of_fleet(handsets, cells)


if __name__ == "__main__":
    main()
