"""What tests of traces share: an excerpt of the logs of two real runs, and what a plain scan makes of logs.

``logs/lossy.jsonl`` and ``logs/demo.jsonl`` were cut out of the logs of ``otafleet up configs/lossy.toml``
and ``configs/demo.toml``: some whole transactions, their lines as they were written, in their order.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agents.traces.archive import Archive
from agents.traces.lookup import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agents.traces.lookup import Transaction

EXCERPT: Final = Path(__file__).parent / "logs"
SERVE: Final = "7c256380c09c443c585eb74cc02ac2e6"
"""In the excerpt: a module is served over short messages, of which three are lost,"""
BLOCKED: Final = "06cde2e84576db80b6fe34d67c60de21"
"""and one is invoked while it is blocked."""


def lossy() -> list[bytes]:
    """Return the lines of the first excerpt."""
    return (EXCERPT / "lossy.jsonl").read_bytes().splitlines(keepends=True)


def demo() -> list[bytes]:
    """Return the lines of the second."""
    return (EXCERPT / "demo.jsonl").read_bytes().splitlines(keepends=True)


def two_processes() -> tuple[list[bytes], list[bytes]]:
    """Return the first excerpt as two processes would write it: the handsets' lines are the second's."""
    here, there = [], []
    for line in lossy():
        fields = json.loads(line)
        if fields.get("client", "").startswith("otafleet-lossy-cell") or fields.get("role") == "handset":
            there.append(json.dumps(fields | {"process": "handsets-1"}).encode() + b"\n")
        else:
            here.append(line)
    return here, there


def sums(archive: Archive) -> dict[str, Transaction]:
    """Return all that an index knows, by transaction."""
    found, count = archive.select(Selection())
    assert count == len(found)
    return {each.trace_id: each for each in found}


def told(archive: Archive) -> dict[str, list[dict[str, Any]]]:
    """Return the lines of all transactions, each by seeking."""
    return {trace_id: archive.lines_of(trace_id) for trace_id in sums(archive)}


def fresh(logs: Path, elsewhere: Path) -> dict[str, Transaction]:
    """Return what an index that is made anew knows of the same logs."""
    elsewhere.mkdir()
    for path in logs.glob("*.jsonl*"):
        (elsewhere / path.name).write_bytes(path.read_bytes())
    with Archive(elsewhere) as archive:
        return sums(archive)


def scan(lines: Iterable[bytes]) -> dict[str, list[dict[str, Any]]]:
    """Return the events in *lines* by transaction, as they come."""
    found = defaultdict(list)
    for line in lines:
        fields = json.loads(line)
        if "trace_id" in fields:
            found[fields["trace_id"]].append(fields)
    return dict(found)


def counted(lines: list[dict[str, Any]]) -> Counter[str]:
    """Return how many events of each name there are in a transaction."""
    return Counter(line["event"] for line in lines)
