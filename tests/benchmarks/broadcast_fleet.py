"""A fleet that has come as far as a broadcast, and what its step ``broadcast`` takes.

One cell's handsets go through all the steps before, as in any fleet. The others would take half a minute a
thousand for the very same: their modules get the memory that one of the first ones has by then, with an
identity of their own. From then on nothing is spared: the fleet is launched, each module boots from its
stored pages, and what is timed is the step as its console plays it.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import structlog

from agents.fleet.addresses import ua_of
from agents.fleet.config import load_config
from agents.fleet.launch import run
from agents.fleet.loop import loop_factory
from agents.fleet.options import UpOptions
from agents.fleet.progress import Progress
from agents.fleet.radio import DATABASE
from agents.handset.security_module.core import Identity
from agents.handset.security_module.memory import Memory, Record
from agents.messages.codec import decode, encode
from agents.store.database import open_store
from agents.store.pages import PageStore
from agents.store.tables import MODULES
from bus.broker import open_broker
from bus.client import BusClient
from bus.counters import Counters
from bus.topics import everything
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from pathlib import Path

    from agents.fleet.report import Report
    from bus.frame import Frame

SUITE: Final = "x25519"
NAME: Final = "broadcast"
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
"""
GROUP: Final = """
[[handsets]]
name = "{name}"
count = {count}
cells = {cells}
operator = "mno"
suite = "x25519"
memory = 32768
services = ["points"]
"""
STEPS: Final = """
[[step]]
do = "personalise"
handsets = ["first"]

[[step]]
do = "agree"

[[step]]
do = "subscribe"
handsets = ["first"]

[[step]]
do = "reserve"
handsets = ["first"]

[[step]]
do = "activate"
handsets = ["first"]
"""
BROADCAST: Final = """
[[step]]
do = "broadcast"
service = "points"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What one broadcast took. *messages* are all that went to the broker, whoever they were from."""

    loaded: int
    wall_s: float
    messages: int


def broadcast(
    directory: Path, code: bytes, *, handsets: int, cells: int, workers: int, tapped: bool = False
) -> Took:
    """Return what a broadcast of *code* takes a fleet in an empty *directory*, of at least two cells.

    Messages are counted by a wiretap at the broker, where the fleet is *tapped*: it takes its time too.
    """
    each = handsets // cells
    directory.joinpath("padded.wasm").write_bytes(code)
    groups = (("first", each, 1), ("others", handsets - each, cells - 1))
    text = FLEET.format(state=directory / "state") + "".join(
        GROUP.format(name=name, count=count, cells=of) for name, count, of in groups
    )
    path = directory / "fleet.toml"
    path.write_text(text + STEPS, encoding="utf-8")
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_up(path, workers=0))
        runner.run(_copy(directory / "state" / f"{DATABASE}.db", handsets - each))
        path.write_text(text + STEPS + BROADCAST, encoding="utf-8")
        up = _tapped if tapped else _up
        report, messages = runner.run(up(path, workers=workers))
    step = report.to_json()["steps"][-1]
    return Took(loaded=step["ok"], wall_s=step["seconds"], messages=messages)


async def _up(path: Path, *, workers: int, url: str | None = None) -> tuple[Report, int]:
    """Launch the fleet; return its report, and that nobody counted its messages."""
    options = UpOptions(log_level="warning", workers=workers, broker_url=url)
    return await run(load_config(path), options, Progress()), 0


async def _tapped(path: Path, *, workers: int) -> tuple[Report, int]:
    """Launch the fleet; return its report, and how many messages its broker got."""
    counters, log = Counters(), structlog.get_logger()
    messages = 0

    def count(_frame: Frame, _topic: str) -> None:
        nonlocal messages
        messages += 1

    async with (
        open_broker(directory=path.with_name("broker"), log=log) as address,
        BusClient(address, identifier="tap", log=log, counters=counters, persistent=False) as tap,
    ):
        await tap.subscribe([everything(NAME)], count)
        report, _ = await _up(path, workers=workers, url=f"mqtt://{address}")
    return report, messages


async def _copy(database: Path, count: int) -> None:
    """Give *count* modules of the second group the memory that the first one has, and an own identity."""
    async with open_store(database, MODULES) as store:
        pages = PageStore(store)
        image = await pages.load(ua_of(NAME, 1, 1))
        addresses = [ua_of(NAME, 2, index) for index in range(1, count + 1)]
        await asyncio.gather(*(pages.save(ua, _as(ua, image)) for ua in addresses))


def _as(ua: str, image: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return the pages of a module that is *ua*, with keys of its own, and else as in *image*."""
    memory, suite, rng = Memory.from_pages(image), SUITES[SUITE], random.Random(ua).randbytes
    octets = memory.get_record(Record.IDENTITY)
    assert octets is not None, "it is personalised"
    signing, sealing = suite.generate_signing_key(rng), suite.generate_sealing_key(rng)
    identity = replace(
        decode(octets, Identity),
        ua=ua,
        private=signing.private,
        public=signing.public,
        sealing_private=sealing.private,
        sealing_public=sealing.public,
    )
    with memory.transaction() as transaction:
        memory.put_record(transaction, Record.IDENTITY, encode(identity))
    return list((dict(image) | dict(memory.take_changes())).items())
