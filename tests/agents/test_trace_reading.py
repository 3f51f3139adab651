"""Reading logs: torn, damaged, foreign and hostile files, as far as they go; what is skipped counts."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.traces.reading import MAX_LINE, End, Flaw, Reading, left_out, log_files, parse
from tests.agents.trace_kit import lossy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LINES = lossy()[-12:]
WHOLE = b"".join(LINES)
IN_ONE_DIRECTORY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
EVENT = b'{"event": "a"}\n'
PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
COMPRESSED = pytest.mark.parametrize(("ending", "pack"), PACKERS.items(), ids=PACKERS)


def read(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], Reading]:
    """Return the events in a file from an offset on, and the reading."""
    reading = Reading(path, offset)
    return [fields for _, _, fields in reading.events()], reading


def test_which_files_are_logs(tmp_path: Path) -> None:
    """Logs are found also where they were rotated and compressed; nothing else in their directory is one."""
    logs = ["a.jsonl", "a.jsonl-20261127.xz", "a.jsonl.1", "a.jsonl.1.gz", "a.jsonl.bz2", "a.jsonl.gz"]
    for name in (*logs, ".traces.sqlite3", "a.json", "a.jsonl.bak", "a.jsonl.zst"):
        (tmp_path / name).touch()
    (tmp_path / "b.jsonl").mkdir()
    (tmp_path / "c.jsonl").symlink_to("nowhere")
    assert [path.name for path in log_files(tmp_path)] == logs
    assert left_out(tmp_path) == {
        "a.jsonl.bak": "its name is not one that a log has",
        "a.jsonl.zst": "it is compressed by zstd, which is not known here: decompress it",
        "b.jsonl": "it is no file",
        "c.jsonl": "there is no such file",
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b'{"event": "a.b"}\n', {"event": "a.b"}, id="event"),
        pytest.param(b'{"event": "a.b"} \r\n', {"event": "a.b"}, id="blanks-behind"),
        pytest.param(b'{"event": "a.b", "seq"\n', Flaw.CORRUPT, id="torn"),
        pytest.param(b'{"event": "a.b"}{"event": "c.d"}\n', Flaw.CORRUPT, id="two-in-one"),
        pytest.param(b'{"event": "\xff"}\n', Flaw.CORRUPT, id="no-utf-8"),
        pytest.param(b"\0" * 100 + b"\n", Flaw.CORRUPT, id="zeros"),
        pytest.param(b"[" * 60_000 + b"\n", Flaw.CORRUPT, id="too-deep"),
        pytest.param(b'{"event": "a", "seq": ' + b"9" * 5_000 + b"}\n", Flaw.CORRUPT, id="too-long-a-number"),
        pytest.param(b'["event"]\n', Flaw.FOREIGN, id="list"),
        pytest.param(b'{"message": "hello"}\n', Flaw.FOREIGN, id="no-event"),
        pytest.param(b'{"event": 1}\n', Flaw.FOREIGN, id="event-is-a-number"),
    ],
)
def test_lines(line: bytes, expected: dict[str, Any] | Flaw) -> None:
    """A line is an event, or there is a reason why it is none."""
    assert parse(line) == expected


def test_cut_anywhere(tmp_path: Path) -> None:
    """A log cut at any octet of its last lines gives all lines before; the rest follows when it comes."""
    path = tmp_path / "a.jsonl"
    expected = [json.loads(line) for line in LINES]
    ends = [sum(map(len, LINES[: count + 1])) for count in range(len(LINES))]
    for cut in range(ends[-3], len(WHOLE) + 1):
        path.write_bytes(WHOLE[:cut])
        whole = sum(end <= cut for end in ends)
        events, reading = read(path)
        assert (events, reading.offset, reading.skipped) == (expected[:whole], ends[whole - 1], {})
        assert reading.end == (End.WHOLE if cut in ends else End.HALF)
        path.write_bytes(WHOLE)
        assert read(path, reading.offset)[0] == expected[whole:]


def test_killed_in_mid_line(tmp_path: Path) -> None:
    """Where a process was killed in mid-line and the next one went on below, one line is missing."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(LINES[0] + LINES[1][:100] + b"\n" + LINES[2])
    events, reading = read(path)
    assert events == [json.loads(LINES[0]), json.loads(LINES[2])]
    assert reading.skipped == {Flaw.CORRUPT: 1}


@COMPRESSED
def test_compressed_and_cut_anywhere(ending: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """Of a compressed log that is cut at any octet all is read that can be, and that it is cut is noticed."""
    path = tmp_path / f"a.jsonl{ending}"
    packed = pack(WHOLE)
    expected = [json.loads(line) for line in LINES]
    read_so_far = 0
    for cut in range(1, len(packed)):
        path.write_bytes(packed[:cut])
        events, reading = read(path)
        assert events == expected[: len(events)]
        assert reading.end in {End.CUT, End.DAMAGED}
        assert len(events) >= read_so_far
        read_so_far = len(events)
    path.write_bytes(packed)
    assert (read(path)[0], read(path)[1].end) == (expected, End.WHOLE)


def test_compressed_in_members(tmp_path: Path) -> None:
    """A log that was compressed portion by portion is one log; what is no gzip behind it is noticed."""
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(LINES[0]) + gzip.compress(LINES[1]))
    assert len(read(path)[0]) == 2
    path.write_bytes(gzip.compress(LINES[0]) + b"no gzip")
    events, reading = read(path)
    assert (len(events), reading.end) == (1, End.DAMAGED)


@COMPRESSED
@IN_ONE_DIRECTORY
@given(at=st.integers(0, 1 << 20), bit=st.integers(0, 7))
def test_compressed_and_damaged(
    ending: str, pack: Callable[[bytes], bytes], tmp_path: Path, at: int, bit: int
) -> None:
    """A bit that flipped anywhere in a compressed log costs lines at most, and is noticed if it does."""
    packed = bytearray(pack(WHOLE))
    packed[at % len(packed)] ^= 1 << bit
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(packed)
    events, reading = read(path)
    assert reading.end in {End.CUT, End.DAMAGED} or events == [json.loads(line) for line in LINES]


@IN_ONE_DIRECTORY
@given(content=st.lists(st.one_of(st.binary(max_size=40), st.just(EVENT), st.just(b"\n"))).map(b"".join))
def test_anything(tmp_path: Path, content: bytes) -> None:
    """Whatever is in a file, each of its lines is an event, blank or skipped; only the last may be half."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    events, reading = read(path)
    whole, newline, half = content.rpartition(b"\n")
    blank = sum(not line.strip() for line in whole.split(b"\n")) if newline else 0
    assert len(events) + reading.skipped.total() + blank == content.count(b"\n")
    assert reading.offset == len(whole + newline)
    assert (reading.end == End.HALF) == bool(half)


@pytest.mark.parametrize("length", [MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, 5 * MAX_LINE])
def test_too_long(tmp_path: Path, length: int) -> None:
    """A line that is longer than any of ours is passed over, not read into memory; the next one counts."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * length + b"\n" + EVENT)
    events, reading = read(path)
    assert len(events) == 1
    assert reading.skipped == {Flaw.CORRUPT if length < MAX_LINE else Flaw.LONG: 1}
    path.write_bytes(EVENT + b"x" * length)
    events, reading = read(path)
    assert (len(events), reading.end, reading.offset) == (1, End.HALF, len(EVENT))
