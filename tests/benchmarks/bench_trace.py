"""Reading logs for ``otafleet trace``: lines a second, memory, and how long each question takes then.

Run ``python -m tests.benchmarks.bench_trace [LINES]``. The log is made of an excerpt of real runs, over and
over under other ids, times and addresses, a hundred copies interleaved as the transactions of a step are; it
is removed afterwards. Each measure runs in a process of its own, whose peak of memory is its own. The least
that could do is beside it: to parse each line and do nothing with it.
"""

from __future__ import annotations

import gzip
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from agents.traces.archive import Archive
from agents.traces.lookup import Outcome, Selection
from agents.traces.places import INDEX_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXCERPT: Final = Path(__file__).parents[1] / "agents" / "logs"
LINES: Final = 200_000
TOGETHER: Final = 100
MODULES: Final = 1_000
_MIB: Final = 1 << 20


def copies(lines: int) -> Iterator[str]:
    """Yield so many lines of a fleet that did over and over what the excerpt shows."""
    excerpt = [line for path in sorted(EXCERPT.glob("*.jsonl")) for line in path.open(encoding="utf-8")]
    parts = [_parts(line) for line in excerpt]
    left = lines
    for batch in range(lines // (len(parts) * TOGETHER) + 1):
        minute = f"2026-11-27T{batch // 60 % 24:02}:{batch % 60:02}"
        for head, trace, middle, ua, tail in parts:
            for copy in range(min(TOGETHER, left)):
                number = batch * TOGETHER + copy
                mixed = trace and f"{int(trace, 16) ^ (number * 0x9E3779B1 & 0xFFFFFFFF):08x}"
                module = ua and f"{number % MODULES:04}"
                yield f'{{"time": "{minute}{head}{mixed}{middle}{module}{tail}'
            left -= min(TOGETHER, left)


def _parts(line: str) -> tuple[str, str, str, str, str]:
    """Cut a line where a copy differs: the minute, eight digits of its trace, four of its module."""
    rest = line[len('{"time": "2026-11-27T02:05') :]
    head, found, after = rest.partition('"trace_id": "')
    trace, after = (after[:8], after[8:]) if found else ("", after)
    middle, found_ua, tail = after.partition('"ua": "8988')
    ua, tail = (tail[:4], tail[4:]) if found_ua else ("", tail)
    return head + found, trace, middle + found_ua, ua, tail


def parse(logs: Path) -> dict[str, float]:
    """Do the least: read and parse."""
    began = perf_counter()
    with (logs / "otafleet.jsonl").open("rb") as file:
        count = sum(1 for line in file if json.loads(line))
    return {"lines": count, "seconds": perf_counter() - began}


def index(logs: Path) -> dict[str, float]:
    """Read all into a new index."""
    began = perf_counter()
    with Archive(logs) as archive:
        lines = sum(log.lines for log in archive.index.known())
    return {"lines": lines, "seconds": perf_counter() - began}


def ask(logs: Path) -> dict[str, float]:
    """Ask an index that is there; return milliseconds for each question."""
    took: dict[str, float] = {}

    def timed(name: str, question: Callable[[], object]) -> object:
        began = perf_counter()
        answer = question()
        took[name] = (perf_counter() - began) * 1_000
        return answer

    archive = Archive(logs)
    timed("open it", archive.refresh)
    with archive:
        timed("list the last 20", lambda: archive.select(Selection(limit=20)))
        timed("list the 20 slowest", lambda: archive.select(Selection(limit=20, slowest=True)))
        timed("list a module's", lambda: archive.select(Selection(limit=20, ua="8988000*")))
        timed("list by a reason", lambda: archive.select(Selection(limit=20, reason="blocked")))
        ((last, *_), _) = archive.select(Selection(limit=1, outcome=Outcome.REFUSED))
        timed("find an id", lambda: archive.find(last.trace_id[:12]))
        timed("read one's lines", lambda: archive.lines_of(last.trace_id))
    return took


MEASURES: Final[dict[str, Callable[[Path], dict[str, float]]]] = {"parse": parse, "index": index, "ask": ask}


def apart(measure: str, logs: Path) -> tuple[dict[str, float], float]:
    """Measure in a process of its own; return what it found, and its peak of memory in MiB."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_trace", measure, str(logs)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(told)
    return found, found.pop("peak") / 1_024


def main(lines: int) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as directory:
        logs = Path(directory)
        log = logs / "otafleet.jsonl"
        with log.open("w", encoding="utf-8") as file:
            file.writelines(copies(lines))
        say(f"logs: {lines:,} lines, {log.stat().st_size / _MIB:,.0f} MiB")
        least, _ = apart("parse", logs)
        ours, peak = apart("index", logs)
        size = (logs / INDEX_FILE).stat().st_size
        rate, bare = (each["lines"] / each["seconds"] for each in (ours, least))
        say(f"  read into an index  {rate:>9,.0f} lines/s   only parsed {bare:,.0f}: {rate / bare:.2f} of it")
        say(f"  took {ours['seconds']:.1f} s, {peak:.0f} MiB at most; the index has {size / _MIB:,.1f} MiB")
        answers, peak = apart("ask", logs)
        for name, took in answers.items():
            say(f"  {name:<20}{took:>9.1f} ms")
        say(f"  {peak:.0f} MiB at most")
        compressed(logs, log)


def compressed(logs: Path, log: Path) -> None:
    """Measure the same log through gzip."""
    with log.open("rb") as file, gzip.open(logs / "otafleet.jsonl.gz", "wb", compresslevel=6) as packed:
        shutil.copyfileobj(file, packed)
    log.unlink()
    ours, _ = apart("index", logs)
    answers, _ = apart("ask", logs)
    say(f"  compressed: read {ours['lines'] / ours['seconds']:,.0f} lines/s, one's lines again", end=" ")
    say(f"{answers['read one' + chr(39) + 's lines']:,.1f} ms")


def say(text: str, end: str = "\n") -> None:
    """Print."""
    sys.stdout.write(text + end)


if __name__ == "__main__":
    match sys.argv[1:]:
        case [measure, where]:
            results = MEASURES[measure](Path(where))
            results["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            say(json.dumps(results))
        case [count]:
            main(int(count))
        case _:
            main(LINES)
