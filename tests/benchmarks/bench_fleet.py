"""Whole runs, as a person starts them: the demo, and the thousand handsets beside parts of them.

Run ``python -m tests.benchmarks.bench_fleet``. Every run is the console script in a process of its own with a
state directory that is removed afterwards. The second table is each step's time divided by its targets: a
step whose cost a handset grew with the fleet would show in its last column. The fleets of that table host
their handsets in as many processes as the largest one does by default, so that only their size differs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from agents.fleet.config import load_config
from agents.fleet.crew import workers_for
from agents.fleet.resources import cores

ROOT: Final = Path(__file__).resolve().parents[2]
CONFIGS: Final = ROOT / "configs"
COMMAND: Final = Path(sys.executable).with_name("otafleet")
THOUSAND: Final = "thousand.toml"
PARTS: Final = (4, 2, 1)
"""What the counts of ``thousand.toml`` are divided by."""
COUNT: Final = re.compile(r"^count = (\d+)$", re.MULTILINE)
MS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that has ended: the seconds that the person waited, and the report."""

    name: str
    command_s: float
    report: dict[str, Any]

    def row(self) -> str:
        """Return the run as a line of the first table."""
        report, memory = self.report, self.report["memory"]
        sent = report["messages_per_handset"] * report["handsets"]
        return (
            f"  {self.name:<10}{report['handsets']:>9}{self.command_s:>11.2f}{report['wall_s']:>8.2f}"
            f"{report['messages_per_handset']:>11.1f}{sent / report['wall_s']:>12,.0f}"
            f"{memory['kib_per_handset']:>9.0f}{memory['peak_mib']:>10.0f}{memory['base_mib']:>10.0f}"
        )


def divided(source: Path, part: int) -> str:
    """Return the config *source* with every group a *part* of its size; its expectations are shares."""
    return COUNT.sub(lambda match: f"count = {int(match[1]) // part}", source.read_text(encoding="utf-8"))


def play(name: str, directory: Path, config: Path, *options: str) -> Run:
    """Run *config* with its state under *directory*; a run that is not as expected ends the bench."""
    report = directory / "report.json"
    command = [str(COMMAND), "up", str(config), "--fresh", "--quiet", "--report", str(report), *options]
    began = perf_counter()
    ended = subprocess.run(command, cwd=directory, check=False, stdin=subprocess.DEVNULL)
    took = perf_counter() - began
    if ended.returncode:
        sys.exit(f"bench_fleet: {name} ended with exit code {ended.returncode}")
    return Run(name=name, command_s=took, report=json.loads(report.read_text(encoding="utf-8")))


def play_parts(directory: Path) -> list[Run]:
    """Run the thousand and its parts, smallest first, each with the largest one's number of processes."""
    workers = workers_for(load_config(CONFIGS / THOUSAND), None)
    shutil.copytree(CONFIGS / "apps", directory / "apps")
    runs = []
    for part in PARTS:
        config = directory / THOUSAND
        config.write_text(divided(CONFIGS / THOUSAND, part), encoding="utf-8")
        name = "thousand" if part == 1 else f"thousand/{part}"
        runs.append(play(name, directory, config, "--workers", str(workers)))
    return runs


def growth(runs: list[Run]) -> list[str]:
    """Return the second table: milliseconds a target of each step, and the last size against the first."""
    sizes = [f"{run.report['handsets']:>8}" for run in runs]
    lines = [f"  ms a target, by handsets{''.join(sizes)}  last/first"]
    for steps in zip(*(run.report["steps"] for run in runs), strict=True):
        each = [step["seconds"] * MS / step["targets"] for step in steps]
        if steps[0]["targets"] == steps[-1]["targets"]:
            continue  # agree: its targets are services, not handsets
        name = f"{steps[0]['number']:>2} {steps[0]['do']} {steps[0]['service']}"
        lines.append(f"  {name:<24}{''.join(f'{ms:>8.2f}' for ms in each)}{each[-1] / each[0]:>12.2f}")
    total = [run.report["wall_s"] * MS / run.report["handsets"] for run in runs]
    whole = f"{''.join(f'{ms:>8.2f}' for ms in total)}{total[-1] / total[0]:>12.2f}"
    return [*lines, f"  {'whole run, a handset':<24}{whole}"]


def main() -> None:
    """Play the runs and print both tables."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        demo = play("demo", directory, CONFIGS / "demo.toml")
        runs = play_parts(directory)
    broker = demo.report["broker"]["kind"]
    lines = [
        f"fleet, {cores()} of {os.cpu_count()} cores, broker {broker}, SQLite in {tempfile.gettempdir()}",
        "            handsets  command s   run s  messages/h  messages/s    KiB/h  peak MiB  base MiB",
        *(run.row() for run in (demo, *runs)),
        *growth(runs),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
