"""What the log costs a run: the demo with its log at each level, beside the demo that logs nothing.

Run ``python -m tests.benchmarks.bench_logging``. Each run is in this process, with its broker beside it, and
what is compared is the CPU time of this process, in which all the roles and handsets are; levels take turns,
and of each the least of several runs stands for it. ``critical`` writes nothing: that is the floor.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from time import process_time
from typing import Final

from agents.fleet.config import load_config
from agents.fleet.launch import run
from agents.fleet.loop import loop_factory
from agents.fleet.options import UpOptions
from agents.fleet.progress import Progress

ROOT: Final = Path(__file__).resolve().parents[2]
DEMO: Final = ROOT / "configs" / "demo.toml"
LEVELS: Final = ("critical", "warning", "info", "debug")
ROUNDS: Final = 3


def once(level: str) -> tuple[float, int]:
    """Play the demo once; return its CPU seconds, and how many lines it logged."""
    with tempfile.TemporaryDirectory() as directory:
        state = Path(directory) / "state"
        text = DEMO.read_text(encoding="utf-8").replace("[fleet]", f'[fleet]\nstate = "{state}"', 1)
        path = Path(directory) / DEMO.name
        path.write_text(text.replace('"apps/', f'"{ROOT}/configs/apps/'), encoding="utf-8")
        options = UpOptions(fresh=True, workers=0, log_level=level)
        began = process_time()
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            report = runner.run(run(load_config(path), options, Progress()))
        took = process_time() - began
        if report.missed:
            sys.exit(f"bench_logging: {report.missed[0]}")
        logs = (state / "logs").glob("*.jsonl")
        return took, sum(file.read_bytes().count(b"\n") for file in logs)


def main() -> None:
    """Run every level in turn, and print what each takes."""
    runs: dict[str, list[tuple[float, int]]] = {level: [] for level in LEVELS}
    for _ in range(ROUNDS):
        for level, taken in runs.items():
            taken.append(once(level))
    floor = min(taken for taken, _ in runs["critical"])
    sys.stdout.write("\nThe log of the demo, 100 handsets: CPU beside a run that logs nothing\n")
    sys.stdout.write(f"  {'level':<10}{'lines':>8}{'CPU s':>8}{'more':>8}{'us a line':>11}\n")
    for level, taken in runs.items():
        least, lines = min(taken)
        each = f"{(least - floor) / lines * 1e6:.1f}" if lines else "-"
        sys.stdout.write(f"  {level:<10}{lines:>8,}{least:>8.2f}{least / floor - 1:>8.1%}{each:>11}\n")


if __name__ == "__main__":
    main()
