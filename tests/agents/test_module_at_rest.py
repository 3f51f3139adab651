"""A module at rest: it costs its image and a little more, and neither a thread nor a task."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tracemalloc

from agents.handset.security_module.memory import Memory
from agents.handset.security_module.menu import RESULT, Item
from agents.handset.security_module.module import SecurityModule
from tests.agents.module_kit import SERVICE, Market

MODULES = 50
MAX_OCTETS = 12 * 1024
"""Above its image: a ninth of what a module may cost, so that ten thousand of them stay below 1 GiB."""

LIVES = """
import asyncio, gc, json, os, threading

def count():
    gc.collect()
    tasks = sum(isinstance(each, asyncio.Task) for each in gc.get_objects())
    return [len(os.listdir("/proc/self/task")), threading.active_count(), tasks]  # Linux

counts = {"before": count()}
from tests.agents.module_kit import Market
counts["imported"] = count()
market = Market().personalise()
counts["personalised"] = count()
market.reserve().connect().load()
counts["loaded"] = count()
assert market.supplier.invoke(market.card).reason == ""
counts["invoked"] = count()
market.card.power_cycle()
counts["booted"] = count()
print(json.dumps(counts))
"""


def test_a_module_has_neither_thread_nor_task() -> None:
    """All its life, from its imports on, its process has the one thread it began with, and no task.

    The system is asked as well, for the engine that compiles and runs applications could have threads that
    Python does not know of.
    """
    done = subprocess.run([sys.executable, "-c", LIVES], capture_output=True, text=True, check=True)
    counts = json.loads(done.stdout)
    assert set(counts) == {"before", "imported", "personalised", "loaded", "invoked", "booted"}
    assert set(map(tuple, counts.values())) == {(1, 1, 0)}


def test_a_module_costs_little_more_than_its_image() -> None:
    """Of many modules with an application each: what one costs besides its image, before it ran and after."""
    card = Market().served().card
    pages, size = tuple(card.pages.items()), len(card.image)
    gc.collect()
    tracemalloc.start()
    try:
        modules = [SecurityModule(Memory.from_pages(pages), rng=os.urandom) for _ in range(MODULES)]
        at_rest = above(size)
        for module in modules:
            card.module = module
            card.start()
            assert card.use_menu(Item.USE, SERVICE, "00") == [RESULT + "0100"]
        after = above(size)
    finally:
        tracemalloc.stop()
    assert 0 < at_rest <= after < MAX_OCTETS


def above(size: int) -> float:
    """Return what each of the modules costs above its image, and what the card has of them besides."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0] / MODULES - size
