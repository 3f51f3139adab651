"""What a run costs beside bare wasmtime, and what a module at rest costs in memory.

The bare side does the least that wasmtime needs for the same call of the same programme on the same engine: a
store, fuel, a pre-linked instance, the memory's content put in, the entry, the content taken out again, since
the data of an application outlive a run; and host functions that do the work and nothing else: no pointer is
checked, nothing is bounded, counted or compared. Taking out a small memory costs nothing; for large ones the
figures say what the bare side would take without it.

Times are of the processor, turn about, the least of many rounds: this machine may have other things to do.
"""

from __future__ import annotations

import asyncio
import gc
import hmac
import os
import sys
import threading
import time
import tracemalloc
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wasmtime

from agents.handset.security_module.definitions import Definition, DefinitionTable
from agents.handset.security_module.memory import MAX_SIZE, Memory
from agents.handset.security_module.menu import Item
from agents.handset.security_module.module import SecurityModule
from agents.handset.security_module.programme import engine
from agents.handset.security_module.run_unit import HostServices, call, check_application, load
from tests.agents.module_kit import SERVICE, Market

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agents.module_kit import Card

APPS = Path(__file__).resolve().parents[2] / "configs" / "apps"
SERVICES = HostServices(rng=os.urandom, now=0, sign=bytes)
ROUNDS, CALLS = 40, 50
MODULES, TRACED = 10_000, 1000
MIB = 1 << 20

# Reads its argument, counts in one page and answers with another: what an application with large data does.
LARGE = """(module
  (import "otafleet" "input_read" (func $input_read (param i32 i32 i32) (result i32)))
  (import "otafleet" "output_write" (func $output_write (param i32 i32)))
  (memory (export "memory") {pages} {pages})
  (func (export "personalise") (result i32) (i32.const 0))
  (func (export "invoke") (result i32)
    (drop (call $input_read (i32.const 1000) (i32.const 0) (i32.const 16)))
    (i32.store (i32.const 50000) (i32.add (i32.load (i32.const 50000)) (i32.const 1)))
    (call $output_write (i32.const 40000) (i32.const 32))
    (i32.const 0)))"""


class _Bare:
    """A call of ``invoke`` by wasmtime's own interface."""

    def __init__(self, code: bytes, argument: bytes, data: bytes) -> None:
        self.argument, self.data = argument, data
        self.view = memoryview(b"")
        linker, i32 = wasmtime.Linker(engine()), wasmtime.ValType.i32
        functions: list[tuple[str, int, int, Callable[..., Any]]] = [
            ("input_length", 0, 1, lambda: len(argument)),
            ("input_read", 3, 1, self._input_read),
            ("output_write", 2, 0, self._output_write),
            ("hmac", 5, 0, self._hmac),
        ]
        for name, parameters, results, function in functions:
            signature = wasmtime.FuncType([i32()] * parameters, [i32()] * results)
            linker.define_func("otafleet", name, signature, function)
        self.linked = linker.instantiate_pre(wasmtime.Module(engine(), code))

    def _input_read(self, pointer: int, offset: int, length: int) -> int:
        octets = self.argument[offset : offset + length]
        self.view[pointer : pointer + len(octets)] = octets
        return len(octets)

    def _output_write(self, pointer: int, length: int) -> None:
        self.output = bytes(self.view[pointer : pointer + length])

    def _hmac(self, key: int, key_length: int, pointer: int, length: int, out: int) -> None:
        view = self.view
        digest = hmac.digest(view[key : key + key_length], view[pointer : pointer + length], "sha256")
        view[out : out + 32] = digest

    def without_taking_out(self) -> Any:
        """Make the call and leave the memory to be dropped."""
        return self._call(take_out=False)

    def __call__(self) -> Any:
        return self._call(take_out=True)

    def _call(self, *, take_out: bool) -> Any:
        store = wasmtime.Store(engine())
        store.set_fuel(10_000_000)
        exports = self.linked.instantiate(store).exports(store)
        memory, function = exports["memory"], exports["invoke"]
        assert isinstance(memory, wasmtime.Memory)
        assert isinstance(function, wasmtime.Func)
        self.view = memoryview(memory.get_buffer_ptr(store)).cast("B")
        self.view[:] = self.data
        status = function(store)
        if take_out:
            self.after = bytes(self.view)
        return status


def _microseconds(function: Callable[[], Any], calls: int = CALLS) -> float:
    started = time.process_time()
    for _ in range(calls):
        function()
    return (time.process_time() - started) / calls * 1e6


def _least(*functions: Callable[[], Any]) -> list[float]:
    """Return what each function takes, in microseconds of the processor."""
    # Turn about, so that a busy machine is busy for all.
    rounds = [[_microseconds(function) for function in functions] for _ in range(ROUNDS)]
    return [min(times) for times in zip(*rounds, strict=True)]


def _code(name: str) -> bytes:
    return bytes(wasmtime.wat2wasm((APPS / f"{name}.wat").read_text(encoding="ascii")))


def _compare(name: str, code: bytes, rights: frozenset[str], data: bytes, argument: bytes) -> str:
    bare = _Bare(code, argument, data)

    def ours() -> Any:
        return call(code, "invoke", data, argument, rights=rights, services=SERVICES)

    assert (bare(), bare.output, bare.after) == (ours().status, ours().output, ours().data)
    least, bare_us, ours_us = _least(bare.without_taking_out, bare, ours)
    return (
        f"invoke {name:17} {ours_us:6.1f} us; bare wasmtime {bare_us:6.1f} us, {least:6.1f} without taking "
        f"out; ratio {ours_us / bare_us:.2f} ({ours_us / least:.2f})"
    )


def _samples() -> list[str]:
    lines = []
    for name, rights, size, personal, argument in (
        ("account", {"hmac"}, 256, bytes(32) + b"12345", b"sixteen octets!!"),
        ("loyalty", set[str](), 64, b"", b"\3"),
    ):
        code, granted = _code(name), frozenset(rights)
        area = load(code, rights=granted, data_size=size)
        data = call(code, "personalise", area, personal, rights=granted, services=SERVICES).data
        lines.append(_compare(name, code, granted, data, argument))
    for pages in (1, 16, 63):
        code = bytes(wasmtime.wat2wasm(LARGE.format(pages=pages)))
        lines.append(
            _compare(f"on {64 * pages} KiB", code, frozenset(), os.urandom(65536 * pages), b"argument")
        )
    return lines


def _in_a_module() -> list[str]:
    """Return what an invoke takes from its menu: APDUs, counting, the run, the journal and the pages."""
    lines = []
    for pages in (1, 16, 63):
        code = bytes(wasmtime.wat2wasm(LARGE.format(pages=pages)))
        market = Market(size=MAX_SIZE).personalise()
        card = market.reserve(data_size=65536 * pages, code_size=1024, rights=0).connect().load(code).card
        times = [_microseconds(partial(card.use_menu, Item.USE, SERVICE, "00"), 5) for _ in range(9)]
        lines.append(f"invoke from the menu, data part of {64 * pages} KiB: {min(times) / 1000:.1f} ms")
    return lines


def _check() -> str:
    code = _code("loyalty")
    (each,) = _least(lambda: check_application(code, rights=(), data_size=64))
    return f"check a compiled application {each:.1f} us"


def _definition(table: DefinitionTable) -> Definition:
    return Definition(
        rsc_id=table.next_id(),
        tar=bytes([0, 0, table.next_id()]),
        service="loyalty",
        supplier="shop",
        suite="x25519",
        forms=("agree-then-sign",),
        supplier_public=bytes(32),
        start=table.allocate(764),
        code_size=700,
        data_size=64,
    )


def _definitions() -> list[str]:
    memory = Memory.format(64 * 1024)
    table = DefinitionTable(memory)
    for _ in range(2):
        with memory.transaction() as transaction:
            table.put(transaction, _definition(table))
    definition = table.all()[0]

    def change() -> None:
        with memory.transaction() as transaction:
            table.put(transaction, definition)
        memory.take_changes()

    found, put, booted = _least(
        lambda: table.by_tar(definition.tar), change, lambda: Memory.boot(bytes(memory))
    )
    return [
        f"find a definition by TAR {found:.1f} us; put one in a transaction {put:.1f} us",
        f"boot an image of 64 KiB {booted:.1f} us",
    ]


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _busy() -> str:
    """Return what could run in this process: threads as the system knows them, Python's, and tasks."""
    gc.collect()
    tasks = sum(isinstance(each, asyncio.Task) for each in gc.get_objects())
    threads = len(list(Path("/proc/self/task").iterdir()))
    return f"{threads} thread ({threading.active_count()} of Python's), {tasks} tasks"


def _boot(pages: tuple[tuple[int, bytes], ...], count: int) -> list[SecurityModule]:
    return [SecurityModule(Memory.from_pages(pages), rng=os.urandom) for _ in range(count)]


def _invoke(card: Card, modules: list[SecurityModule]) -> None:
    for module in modules:
        card.module = module
        card.use_menu(Item.USE, SERVICE, "00")


def _at_rest() -> list[str]:
    """Return what many modules cost, personalised, each with a resource reserved, loaded, and served."""
    card = Market().served().card
    pages, size = tuple(card.pages.items()), len(card.image)
    gc.collect()
    before = _resident()
    started = time.perf_counter()
    modules = _boot(pages, MODULES)
    took = time.perf_counter() - started
    above = [_resident() - before - MODULES * size]
    lines = [f"{MODULES} modules in this process, images of {size} octets: booted in {took:.1f} s, {_busy()}"]
    _invoke(card, modules)
    above.append(_resident() - before - MODULES * size)
    lines += [
        f"  {when}: {octets / MIB:.0f} MiB above their images (resident), {octets / MODULES:.0f} octets each"
        for when, octets in zip(("at rest", "after an invoke each"), above, strict=True)
    ]
    del modules
    gc.collect()
    tracemalloc.start()
    traced = _boot(pages, TRACED)
    used = [tracemalloc.get_traced_memory()[0] / TRACED - size]
    _invoke(card, traced)
    gc.collect()
    used.append(tracemalloc.get_traced_memory()[0] / TRACED - size)
    tracemalloc.stop()
    lines.append(
        f"  by tracemalloc, of {TRACED}: {used[0]:.0f} octets each above its image at rest, "
        f"{used[1]:.0f} after an invoke; then {_busy()}"
    )
    return lines


def main() -> None:
    """Print every figure, with the machine's cores."""
    lines = [f"run unit and memory, {os.cpu_count()} cores, wasmtime {version('wasmtime')}"]
    lines += [*_at_rest(), *_samples(), *_in_a_module(), _check(), *_definitions()]
    sys.stdout.write("\n  ".join(lines) + "\n")


if __name__ == "__main__":
    main()
