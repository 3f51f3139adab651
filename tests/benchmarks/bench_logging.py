"""What the log costs a run: the demo with its log, beside the demo that logs nothing.

Run ``python -m tests.benchmarks.bench_logging [PAIRS]``. Each run is a process of its own, and what is
compared is the CPU time of that process and of all that it started, from reading the config to the report.
Runs go in pairs, one that logs at the default level and one that logs nothing (at ``critical``), at the same
time: what else the machine does falls on both, so that a pair tells more than two runs one after the other.
Told are the median of what the log adds, and the quartiles around it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import median, quantiles
from typing import Final

from agents.fleet.config import load_config
from agents.fleet.launch import run
from agents.fleet.loop import loop_factory
from agents.fleet.options import UpOptions
from agents.fleet.progress import Progress

ROOT: Final = Path(__file__).resolve().parents[2]
DEMO: Final = ROOT / "configs" / "demo.toml"
OFF: Final = "critical"
ON: Final = UpOptions().log_level
PAIRS: Final = 9
Taken = tuple[float, int]
"""CPU seconds, and lines of log."""


def cpu_s() -> float:
    """Return the CPU seconds of this process and of its children that have ended, in the system too."""
    return sum(used.ru_utime + used.ru_stime for used in map(getrusage, (RUSAGE_SELF, RUSAGE_CHILDREN)))


def once(level: str) -> Taken:
    """Play the demo in this process; return what it took."""
    with tempfile.TemporaryDirectory() as directory:
        state = Path(directory) / "state"
        text = DEMO.read_text(encoding="utf-8").replace("[fleet]", f'[fleet]\nstate = "{state}"', 1)
        path = Path(directory) / DEMO.name
        path.write_text(text.replace('"apps/', f'"{ROOT}/configs/apps/'), encoding="utf-8")
        options = UpOptions(fresh=True, workers=0, log_level=level)
        before = cpu_s()
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            report = runner.run(run(load_config(path), options, Progress()))
        took = cpu_s() - before
        if report.missed:
            sys.exit(f"bench_logging: {report.missed[0]}")
        logs = (state / "logs").glob("*.jsonl")
        return took, sum(file.read_bytes().count(b"\n") for file in logs)


def begin(level: str) -> subprocess.Popen[bytes]:
    """Let a process of its own play the demo."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_logging", level]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)


def taken_by(process: subprocess.Popen[bytes]) -> Taken:
    """Return what its run took."""
    said, _ = process.communicate()
    if process.returncode:
        sys.exit(process.returncode)
    cpu, lines = json.loads(said)
    return cpu, lines


def pair(number: int) -> tuple[Taken, Taken]:
    """Play the demo with its log and without, at the same time; which of them begins, changes."""
    order = (ON, OFF) if number % 2 else (OFF, ON)
    processes = {level: begin(level) for level in order}
    return taken_by(processes[ON]), taken_by(processes[OFF])


def main(count: int) -> None:
    """Play *count* pairs, and print what the log adds."""
    pairs = [pair(number) for number in range(count)]
    lines = pairs[0][0][1]
    costs = [cpu / floor - 1 for (cpu, _), (floor, _) in pairs]
    low, middle, high = quantiles(costs, n=4)
    each_us = median(cpu - floor for (cpu, _), (floor, _) in pairs) / lines * 1e6
    with_log, without = (median(taken[which][0] for taken in pairs) for which in (0, 1))
    say = sys.stdout.write
    say(
        f"\nThe log of the demo, 100 handsets, {lines:,} lines: CPU with and without, {count} pairs of runs\n"
    )
    say(f"  with {with_log:.2f} s, without {without:.2f} s; it adds {middle:.1%}")
    say(f" (quartiles {low:.1%} to {high:.1%}), {each_us:.1f} us a line\n")


if __name__ == "__main__":
    given = sys.argv[1] if len(sys.argv) > 1 else str(PAIRS)
    if given in (ON, OFF):
        sys.stdout.write(json.dumps(once(given)))
    else:
        main(int(given))
