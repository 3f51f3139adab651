"""The lines of some transactions, read straight out of logs that are being written."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from agents.traces.gleaning import Gleaner, lengths
from tests.agents.trace_kit import BLOCKED, SERVE, demo, lossy, scan, two_processes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Return a directory with the logs of two processes."""
    here, there = two_processes()
    (tmp_path / "otafleet.jsonl").write_bytes(b"".join(here))
    (tmp_path / "handsets-1.jsonl").write_bytes(b"".join(there))
    return tmp_path


def test_the_lines_of_all_processes(logs: Path) -> None:
    """As many as a plain scan finds, of those that are asked for and of no other."""
    found = Gleaner(logs, {}, [SERVE, BLOCKED]).look()
    assert sorted(found) == sorted([SERVE, BLOCKED])
    assert len(found[SERVE]) == len(scan(lossy())[SERVE])
    assert found[BLOCKED] == []


def test_only_what_came_since(logs: Path) -> None:
    """What was there before is another launch's; a log that is new is read from its beginning."""
    gleaner = Gleaner(logs, lengths(logs), [SERVE, BLOCKED])
    assert gleaner.look() == {SERVE: [], BLOCKED: []}
    (logs / "handsets-2.jsonl").write_bytes(b"".join(demo()))
    assert gleaner.look()[BLOCKED] == scan(demo())[BLOCKED]
    assert gleaner.look()[BLOCKED] == scan(demo())[BLOCKED], "nothing is taken twice"


def test_half_a_line_is_taken_when_it_is_whole(tmp_path: Path) -> None:
    """Who writes may be in the middle of a line."""
    lines = [line for line in demo() if BLOCKED.encode() in line]
    gleaner = Gleaner(tmp_path, lengths(tmp_path), [BLOCKED])
    log = tmp_path / "otafleet.jsonl"
    log.write_bytes(lines[0] + lines[1][:100])
    assert len(gleaner.look()[BLOCKED]) == 1
    with log.open("ab") as file:
        file.write(lines[1][100:])
    assert gleaner.look()[BLOCKED] == scan(lines[:2])[BLOCKED]


def test_what_cannot_be_read_tells_nothing(logs: Path) -> None:
    """A log that is none, one that is compressed, lines that are damaged: the others are read."""
    (logs / "gone.jsonl").symlink_to(logs / "nowhere")
    (logs / "old.jsonl.gz").write_bytes(gzip.compress(b"".join(demo())))
    damaged = f'{{"trace_id": "{BLOCKED}", "event": \n"trace_id": "{BLOCKED}"\n\n\xff{"x" * 70_000}\n'
    (logs / "damaged.jsonl").write_bytes(damaged.encode("latin-1"))
    found = Gleaner(logs, {}, [SERVE, BLOCKED]).look()
    assert (len(found[SERVE]), found[BLOCKED]) == (len(scan(lossy())[SERVE]), [])
    assert Gleaner(logs / "nowhere", {}, [SERVE]).look() == {SERVE: []}


def test_lines_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction without end does not fill the memory."""
    monkeypatch.setattr("agents.traces.gleaning.MAX_LINES", 3)
    (tmp_path / "otafleet.jsonl").write_bytes(b"".join(demo()))
    assert len(Gleaner(tmp_path, {}, [BLOCKED]).look()[BLOCKED]) == 3
