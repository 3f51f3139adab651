"""What the dearest programmes cost that the run unit agrees to compile: time, and memory at its peak.

Each is compiled in a process of its own, for the memory that a process once had shows for ever. ``a unit`` is
that of ``wasm_cost``, whose bound these programmes reach, or the bound of something that is counted.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from importlib.metadata import version

import wasmtime

from agents.handset.security_module.programme import engine
from agents.handset.security_module.wasm_cost import check_cost, compile_cost
from agents.handset.security_module.wasm_shape import check_shape
from tests.agents.bomb_kit import BOMBS, largest


def _peak() -> int:
    """Return the most memory that this process has had so far, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _measure(name: str) -> str:
    code = largest(BOMBS[name])
    started = time.process_time()
    check_shape(code)
    wasmtime.Module.validate(engine(), code)
    check_cost(code)
    looked, before = time.process_time(), _peak()
    wasmtime.Module(engine(), code)
    compiled, after = time.process_time(), _peak()
    cost = compile_cost(code)
    return (
        f"{name:26} {len(code):7} octets {cost:7} units: looked at in {(looked - started) * 1e3:4.0f} ms, "
        f"compiled in {(compiled - looked) * 1e3:4.0f} ms, {(after - before) / 1024:4.0f} MiB"
    )


def main() -> None:
    """Print a line for each shape; with a name as argument, only that one's."""
    if len(sys.argv) > 1:
        sys.stdout.write(_measure(sys.argv[1]))
        return
    sys.stdout.write(f"compiling, {os.cpu_count()} cores, wasmtime {version('wasmtime')}\n")
    for name in BOMBS:
        # Safe: our own interpreter and module, and names of our own.
        command = [sys.executable, "-m", "tests.benchmarks.bench_compile", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        sys.stdout.write(f"  {done.stdout}\n")


if __name__ == "__main__":
    main()
