"""Global loading: what a page of a campaign costs a module, and how long a fleet takes over one broadcast.

Run ``python -m tests.benchmarks.bench_broadcast [HANDSETS]``. The modules are real ones with an image each,
and get each page as their handset would give it, in an ENVELOPE; beside it stands what none of them could do
without, by the bare library: to decipher each packet, to check its CC, and to verify the one signature. The
fleet is a whole one, with its broker: what is timed is the step ``broadcast`` alone, when nothing waits for
the air.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC
from wasmtime import wat2wasm

from agents.fleet.config import load_config
from agents.fleet.launch import run
from agents.fleet.loop import loop_factory
from agents.fleet.options import UpOptions
from agents.fleet.progress import Progress
from agents.handset.security_module.memory import Memory
from agents.handset.security_module.module import SecurityModule
from agents.handset.slot import envelope_command
from agents.messages.bearers import GLOBAL_SERVICES
from tests.agents.module_kit import NOW, TAR, UA, Market, probe
from transport.diffusion import Campaign, Coding, Domain, Scheme
from transport.diffusion.manifest import signed_octets
from transport.security.domain_key import generate_symmetric, wrap
from transport.security.suites import suite
from transport.security.terms import AGREE_THEN_SIGN
from transport.toolkit import Envelope, Tag

if TYPE_CHECKING:
    from agents.fleet.report import Report

MODULES: Final = 500
HANDSETS: Final = 400
IN_A_CELL: Final = 100
PROGRAMME_OCTETS: Final = 4096
NAME: Final = "points"
IDENTIFIER: Final = GLOBAL_SERVICES[0]
KEY: Final = generate_symmetric(random.Random(1).randbytes)
APPS: Final = Path(__file__).parents[2] / "configs" / "apps"
FLEET: Final = """\
[fleet]
name = "broadcast"
seed = 1
state = "{state}"

[[authority]]
name = "root"
suite = "x25519"

[[operator]]
name = "mno"
number = "15550100"
authority = "root"
suite = "x25519"

[[supplier]]
name = "shop"
number = "15550300"
operator = "mno"
suite = "x25519"

[[supplier.service]]
name = "points"
application = "padded.wasm"
backend = "loyalty"
code = 4096
data = 64
scope = "global"

[[handsets]]
name = "all"
count = {handsets}
cells = {cells}
operator = "mno"
suite = "x25519"
memory = 32768
services = ["points"]
"""
STEPS: Final = ("personalise", "agree", "subscribe", "reserve", "activate")


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")


def padded(code: bytes) -> bytes:
    """Return a programme of 4,096 octets: this one, and a section without meaning."""
    room = PROGRAMME_OCTETS - len(code) - 4
    # A custom section: 0, its length in LEB128, an empty name.
    return code + bytes([0, (room + 1) & 0x7F | 0x80, (room + 1) >> 7, 0]) + bytes(room)


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


def modules(image: bytes) -> list[SecurityModule]:
    """Return modules with an image each."""
    return [
        SecurityModule(Memory.boot(image), rng=random.Random(number).randbytes) for number in range(MODULES)
    ]


def of_modules() -> None:
    """Print what a page costs a module, and the whole beside the bare work."""
    market, code = reserved(), padded(probe())
    sent = campaign(market, code)
    pages = [page for packet in sent.cycle for page in sent.pages_of(packet, IDENTIFIER)]
    commands = [
        envelope_command(Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=page.encode())) for page in pages
    ]
    several = modules(market.card.image)
    began = process_time()
    for module in several:
        for command in commands:
            module.process(command, NOW)
    took_s = process_time() - began
    versions = {module.definitions.all()[0].version for module in several}
    assert versions == {1}, "every module has loaded it"
    floor_s = min(bare(sent) for _ in range(20))
    each_us = took_s / MODULES / len(pages) * 1e6
    say(f"{MODULES} modules, {len(code)} octets in {len(pages)} pages: {each_us:.1f} us a page and module")
    say(f"  a whole campaign {took_s / MODULES * 1e3:.2f} ms a module, bare {floor_s * 1e3:.2f} ms")


def of_fleet(handsets: int) -> None:
    """Print how long a fleet takes over one broadcast."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "fleet.toml"
        loyalty = wat2wasm((APPS / "loyalty.wat").read_text(encoding="ascii"))
        path.with_name("padded.wasm").write_bytes(padded(bytes(loyalty)))
        cells = max(1, handsets // IN_A_CELL)
        text = FLEET.format(state=Path(directory) / "state", handsets=handsets, cells=cells)
        text += "".join(f'\n[[step]]\ndo = "{do}"\n' for do in STEPS)
        path.write_text(text + '\n[[step]]\ndo = "broadcast"\nservice = "points"\n', encoding="utf-8")
        reports: list[Report] = []
        options = UpOptions(log_level="warning", on_report=reports.append)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(run(load_config(path), options, Progress()))
    step = reports[0].to_json()["steps"][-1]
    loaded, took_s = step["ok"], step["seconds"]
    say(f"{handsets} handsets in {cells} cells: one broadcast of {PROGRAMME_OCTETS} octets, {took_s:.1f} s")
    say(f"  {loaded} of them have it then")


def main() -> None:
    """Run both."""
    of_modules()
    of_fleet(int(sys.argv[1]) if len(sys.argv) > 1 else HANDSETS)


if __name__ == "__main__":
    main()
