"""Asking an index: which transactions there are, one by its id, and where the index is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agents.errors import NoTrace
from agents.traces.archive import Archive
from agents.traces.following import Ended, Lines
from agents.traces.lookup import Outcome, Selection
from agents.traces.places import INDEX_FILE
from agents.traces.whereabouts import latest_logs, logs_in
from tests.agents.trace_kit import BLOCKED, SERVE, demo, lossy, scan, sums

UNKNOWN_RESOURCE = "31543f88e309e1d062bdad6ac9110b9e"
INVOKE = "be5e4c8c7fa7394acedb86cd15d22012"
RESERVE = "4fd0611ada74dcef3714b83b26b796e3"
PERSONALISE = "11cde007b9c975fb68a7aa5e25b1e2d4"
SERVED = "8988847800010000097"


@pytest.fixture(name="logs")
def _logs(tmp_path: Path) -> Path:
    """Return the logs of two launches in a state directory."""
    logs = tmp_path / "state" / "lossy" / "logs"
    logs.mkdir(parents=True)
    (logs / "otafleet.jsonl").write_bytes(b"".join(demo() + lossy()))
    return logs


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        pytest.param(Selection(ua=SERVED), [SERVE], id="ua"),
        pytest.param(Selection(ua="89884596*"), [BLOCKED, UNKNOWN_RESOURCE], id="uas"),
        pytest.param(Selection(agent="bank"), [BLOCKED, SERVE, INVOKE], id="agent"),
        pytest.param(Selection(agent="15550200"), [SERVE, INVOKE], id="number"),
        pytest.param(Selection(outcome=Outcome.REFUSED), [BLOCKED, UNKNOWN_RESOURCE], id="refused"),
        pytest.param(Selection(outcome=Outcome.OPEN), [], id="open"),
        pytest.param(Selection(reason="blocked"), [BLOCKED], id="reason"),
        pytest.param(Selection(reason="hung-?p", outcome=Outcome.OK), [INVOKE], id="reason-on-the-way"),
        pytest.param(Selection(ua=SERVED, agent="mno"), [], id="both"),
        pytest.param(Selection(slowest=True, limit=2), [SERVE, RESERVE], id="slowest"),
        pytest.param(Selection(limit=2), [SERVE, INVOKE], id="last"),
    ],
)
def test_selections(logs: Path, selection: Selection, expected: list[str]) -> None:
    """What is asked for is found: in the order of beginning, or the slowest first."""
    with Archive(logs) as archive:
        found, count = archive.select(selection)
        assert [each.trace_id for each in found] == expected
        assert count == (6 if selection.limit else len(expected))


def test_an_id(logs: Path) -> None:
    """A transaction is found by as much of its id as only it has, however it is typed."""
    with Archive(logs) as archive:
        for text in (SERVE, SERVE[:3], SERVE.upper(), f" {SERVE[:9]} "):
            assert archive.find(text).trace_id == SERVE


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(SERVE[:9] + "5", r"did you mean 7c256380c0\?$", id="a-digit-wrong"),
        pytest.param(SERVE[:4] + SERVE[5:12], r"did you mean 7c256380c09\?$", id="a-digit-left-out"),
        pytest.param(SERVE[:4] + "f" + SERVE[4:12], r"did you mean 7c256380c09c4\?$", id="a-digit-too-many"),
        pytest.param("7c526380", r"did you mean 7c256380\?$", id="two-in-the-wrong-order"),
        pytest.param(f"{SERVE}00", "did you mean " + SERVE, id="too-long"),
        pytest.param("7d", "did you mean 7c256380, .* or ", id="nothing-like-it"),
        pytest.param("serve", "did you mean ", id="no-id"),
        pytest.param("", "did you mean ", id="empty"),
        pytest.param(SERVED, f"is a module's address .*; 1 transaction has it: see --ua {SERVED}$", id="ua"),
    ],
)
def test_an_id_that_is_none(logs: Path, text: str, sentence: str) -> None:
    """An id that no transaction has gets those that it may be a slip for, or those that are nearest."""
    with Archive(logs) as archive, pytest.raises(NoTrace, match=f"^{text or 'an empty id'}: .*{sentence}"):
        archive.find(text)


def test_an_ambiguous_id(logs: Path) -> None:
    """The beginning of two ids is told to be that."""
    log = logs / "otafleet.jsonl"
    log.write_bytes(log.read_bytes().replace(BLOCKED.encode(), b"7c25" + BLOCKED[4:].encode()))
    with (
        Archive(logs) as archive,
        pytest.raises(NoTrace, match=r"^7c2: more than one .*; is it 7c2.* or 7c2"),
    ):
        archive.find("7c2")


def test_an_id_among_none(tmp_path: Path) -> None:
    """Where there are no transactions at all, that is said."""
    (tmp_path / "a.jsonl").write_bytes(demo()[0].replace(b"trace_id", b"trace"))
    with Archive(tmp_path) as archive, pytest.raises(NoTrace, match=r"no other in these logs$"):
        archive.find("abc")


def test_outcomes_of_several(logs: Path) -> None:
    """A transaction with many targets has the worst outcome of any, and is found by it."""
    with Archive(logs) as archive:
        some = replace(sums(archive)[SERVE], ok=30)
        assert some.outcome is Outcome.OK
        assert replace(some, refused=1).outcome is Outcome.REFUSED
        assert replace(some, refused=1, failed=1).outcome is Outcome.FAILED
        assert replace(some, ok=0).outcome is Outcome.OPEN


# ---- where ----------------------------------------------------------------------------------------------


def test_whereabouts(logs: Path) -> None:
    """A fleet's logs are found from its state directory, from theirs, or as those that were written last."""
    states = logs.parents[1]
    assert logs_in(logs.parent) == logs_in(logs) == latest_logs(states) == logs
    later = states / "later" / "logs"
    later.mkdir(parents=True)
    (later / "a.jsonl").touch()
    os.utime(later / "a.jsonl", (2e9, 2e9))
    assert latest_logs(states) == later
    for nowhere in (states, states / "nowhere"):
        with pytest.raises(NoTrace, match="there are no logs of a fleet here"):
            logs_in(nowhere)
    with pytest.raises(NoTrace, match="run 'otafleet up'"):
        latest_logs(logs)


def test_index_elsewhere(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no index can be written beside the logs it is kept in the person's cache, and is found there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (logs / INDEX_FILE).mkdir()
    read: list[int] = []
    for _ in range(2):
        with Archive(logs, tell=read.append) as archive:
            assert len(sums(archive)) == 6
            assert archive.said == []
    assert sum(read) == len(demo() + lossy())
    assert [path.suffix for path in (tmp_path / "cache" / "otafleet").iterdir()] == [".sqlite3"]


def test_index_nowhere(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none can be kept anywhere the logs are read all the same, which a sentence says."""
    (tmp_path / "cache").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (logs / INDEX_FILE).mkdir()
    with Archive(logs) as archive:
        assert len(sums(archive)) == 6
        (sentence,) = archive.said
        assert sentence.startswith(f"{logs / INDEX_FILE}: cannot keep an index of the logs there (")
        with (logs / "otafleet.jsonl").open("ab") as file:
            file.write(demo()[0].replace(BLOCKED[:4].encode(), b"ffff"))
        archive.refresh()
        assert len(sums(archive)) == 7


FULL_DISK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from agents.cli import main
sys.argv = ["otafleet", "trace", "--fleet", sys.argv[1]]
main()
"""


def test_full_disk(logs: Path, tmp_path: Path) -> None:
    """On a disk with no room for the index the list is as whole as on any, and says why it took its time."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(logs)],
        capture_output=True,
        text=True,
        check=False,
        # What measures coverage has no room there either, and would say so.
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")},
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        },
        cwd=Path(__file__).parents[2],
    )
    assert "6 transactions in" in done.stdout
    assert "cannot keep an index of the logs there" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.returncode == 0


# ---- following ------------------------------------------------------------------------------------------


def test_following_what_ends(logs: Path) -> None:
    """A transaction is told once it has ended and nothing more comes of it; others are not, nor any twice."""
    log = logs / "otafleet.jsonl"
    log.write_bytes(b"".join(demo()))
    with Archive(logs) as archive:
        ended, told = Ended(archive, Selection(outcome=Outcome.OK)), []
        assert ended.look() == []
        with log.open("ab", buffering=0) as file:
            for count, line in enumerate(lossy()):
                file.write(line)
                if count == len(lossy()) // 2:
                    told += [*ended.look(), *ended.look()]
        told += [*ended.look(), *ended.look(), *ended.look()]
    assert sorted(each.trace_id for each in told) == sorted(scan(lossy()))


def test_following_lines(logs: Path) -> None:
    """Each line of the transaction that is followed is told once, whichever log it comes to."""
    lines = [line for line in lossy() if SERVE.encode() in line]
    (logs / "otafleet.jsonl").write_bytes(b"".join(lines[:5]))
    with Archive(logs) as archive:
        following = Lines(archive, SERVE)
        assert len(following.look()) == 5
        assert following.look() == []
        (logs / "handsets-1.jsonl").write_bytes(b"".join(lines[5:7] + demo()))
        assert len(following.look()) == 2
        with (logs / "otafleet.jsonl").open("ab") as file:
            file.write(lines[7] + demo()[0])
        assert following.look() == scan(lines[7:8])[SERVE]
