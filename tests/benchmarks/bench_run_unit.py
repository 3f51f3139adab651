"""What a run costs beside bare wasmtime, and what a module at rest costs in memory.

The bare side does the least that wasmtime needs for the same call of the same programme on the same engine: a
store, fuel, a pre-linked instance, the memory's content, the entry, and host functions that do the work and
nothing else: no pointer is checked, nothing is bounded, counted or given back.
"""

from __future__ import annotations

import gc
import hmac
import os
import sys
import time
import tracemalloc
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wasmtime

from agents.handset.security_module.definitions import Definition, DefinitionTable
from agents.handset.security_module.memory import Memory, Record
from agents.handset.security_module.programme import engine
from agents.handset.security_module.run_unit import HostServices, call, check_application, load

if TYPE_CHECKING:
    from collections.abc import Callable

APPS = Path(__file__).resolve().parents[2] / "configs" / "apps"
SERVICES = HostServices(rng=os.urandom, now=0, sign=bytes)
ROUNDS, CALLS = 7, 1000
MODULES = 2000


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

    def __call__(self) -> Any:
        store = wasmtime.Store(engine())
        store.set_fuel(10_000_000)
        exports = self.linked.instantiate(store).exports(store)
        memory, function = exports["memory"], exports["invoke"]
        assert isinstance(memory, wasmtime.Memory)
        assert isinstance(function, wasmtime.Func)
        self.view = memoryview(memory.get_buffer_ptr(store)).cast("B")
        self.view[:] = self.data
        return function(store)


def _microseconds(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        function()
    return (time.perf_counter() - started) / CALLS * 1e6


def _compare(name: str, rights: frozenset[str], size: int, personal: bytes, argument: bytes) -> str:
    code = bytes(wasmtime.wat2wasm((APPS / f"{name}.wat").read_text(encoding="ascii")))
    area = load(code, rights=rights, data_size=size)
    data = call(code, "personalise", area, personal, rights=rights, services=SERVICES).data
    bare = _Bare(code, argument, data)

    def ours() -> Any:
        return call(code, "invoke", data, argument, rights=rights, services=SERVICES)

    assert (bare(), bare.output) == (ours().status, ours().output)
    # Turn about, so that a busy machine is busy for both.
    pairs = [(_microseconds(bare), _microseconds(ours)) for _ in range(ROUNDS)]
    bare_us, ours_us = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    return (
        f"invoke {name:8} {ours_us:6.1f} us; bare wasmtime {bare_us:6.1f} us; ratio {ours_us / bare_us:.2f}"
    )


def _check() -> str:
    code = bytes(wasmtime.wat2wasm((APPS / "loyalty.wat").read_text(encoding="ascii")))
    each = _microseconds(lambda: check_application(code, rights=(), data_size=64))
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


def _memory() -> str:
    size = 32 * 1024
    gc.collect()
    tracemalloc.start()
    modules = []
    for _ in range(MODULES):
        memory = Memory.format(size)
        table = DefinitionTable(memory)
        with memory.transaction() as transaction:
            memory.put_record(transaction, Record.IDENTITY, bytes(150))
            table.put(transaction, _definition(table))
        memory.take_changes()
        modules.append((memory, table))
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] / MODULES
    tracemalloc.stop()
    return f"a module at rest costs {used - size:.0f} octets above its image of {size}"


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

    found = _microseconds(lambda: table.by_tar(definition.tar))
    return [
        f"find a definition by TAR {found:.1f} us; put one in a transaction {_microseconds(change):.1f} us",
        f"boot an image of 64 KiB {_microseconds(lambda: Memory.boot(bytes(memory))):.1f} us",
    ]


def main() -> None:
    """Print every figure, with the machine's cores."""
    lines = [f"run unit and memory, {os.cpu_count()} cores, wasmtime {version('wasmtime')}"]
    lines.append(_compare("account", frozenset({"hmac"}), 256, bytes(32) + b"12345", b"sixteen octets!!"))
    lines.append(_compare("loyalty", frozenset(), 64, b"", b"\3"))
    lines += [_check(), *_definitions(), _memory()]
    sys.stdout.write("\n  ".join(lines) + "\n")


if __name__ == "__main__":
    main()
