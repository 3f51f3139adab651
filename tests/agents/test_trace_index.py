"""The index of logs: it says what a scan would, however the logs came to be what they are."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.traces import index as index_module
from agents.traces.archive import Archive
from agents.traces.lookup import Outcome
from agents.traces.places import INDEX_FILE
from agents.traces.tally import told_at
from tests.agents.trace_kit import BLOCKED, SERVE, demo, fresh, lossy, scan, sums, told, two_processes

if TYPE_CHECKING:
    from pathlib import Path

    from agents.traces.lookup import Transaction

HERE, THERE = two_processes()
SPARING = settings(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@pytest.fixture(name="logs")
def _logs(tmp_path: Path) -> Path:
    """Return a directory with the logs of two processes, whose clocks interleave."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "otafleet.jsonl").write_bytes(b"".join(HERE))
    (logs / "handsets-1.jsonl").write_bytes(b"".join(THERE))
    return logs


def summed(lines: list[dict[str, Any]]) -> dict[str, object]:
    """Return what the index should know of a transaction, counted in the simplest way."""
    events = Counter(line["event"] for line in lines)
    sent = [line for line in lines if line["event"] == "message.sent"]
    ends = [line for line in lines if line["event"] == "order.ended"]
    return {
        "do": ends[0]["do"],
        "asked": next(line["destination"] for line in sent if line["bearer"] == "order"),
        "simulated_s": max(line["at"] for line in lines) - min(line["at"] for line in lines),
        "ok": sum(line["result"] == "ok" for line in ends),
        "refused": sum(line["result"] == "refused" for line in ends),
        "lines": len(lines),
        "messages": len(sent),
        "octets": sum(line["octets"] for line in sent),
        "retries": sum(line["attempt"] > 1 for line in sent),
        "taken": events["message.taken"],
        "lost": events["message.lost"],
    }


def test_says_what_a_scan_does(logs: Path) -> None:
    """Sums and lines of each transaction of two processes are those that one finds by reading everything."""
    expected = scan(HERE + THERE)
    with Archive(logs) as archive:
        found = sums(archive)
        assert found.keys() == expected.keys()
        for trace_id, lines in expected.items():
            wanted = summed(lines)
            assert {name: getattr(found[trace_id], name) for name in wanted} == wanted
            assert archive.lines_of(trace_id) == sorted(lines, key=lambda line: line["time"])
        assert archive.said == archive.unread == []


def test_is_not_read_twice(logs: Path) -> None:
    """What the index has is not read again, in the same command or in the next."""
    read: list[int] = []
    for _ in range(2):
        with Archive(logs, tell=read.append) as archive:
            archive.refresh()
    assert sum(read) == len(HERE) + len(THERE)


@SPARING
@given(data=st.data(), portion=st.sampled_from([1, 7, 100_000]))
def test_grown_is_as_made_anew(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    data: st.DataObject,
    portion: int,
) -> None:
    """However two logs grew, octets at a time, with looks between: the index is as if made at last."""
    place = tmp_path_factory.mktemp("grown")
    logs = place / "logs"
    logs.mkdir()
    contents = {"a.jsonl": b"".join(HERE), "b.jsonl": b"".join(THERE)}
    cuts = {
        name: sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=3)))
        for name, whole in contents.items()
    }
    with monkeypatch.context() as patch, Archive(logs) as archive:
        patch.setattr(index_module, "PORTION_LINES", portion)
        patch.setattr(index_module, "LOOK_LINES", 1)
        for _ in range(4):
            for name, whole in contents.items():
                (logs / name).write_bytes(whole[: cuts[name].pop(0) if cuts[name] else len(whole)])
            archive.refresh()
        grown, lines = sums(archive), told(archive)
    assert grown == fresh(logs, place / "fresh")
    assert lines == {
        each: sorted(line, key=lambda line: line["time"]) for each, line in scan(HERE + THERE).items()
    }


def test_order_does_not_matter(tmp_path: Path) -> None:
    """Lines in no order, as logs that somebody put together, tell the same, and are shown in order."""
    lines = lossy() + demo()
    expected = scan(sorted(lines, key=lambda line: str(json.loads(line)["time"])))
    random.Random(7).shuffle(lines)
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines))
    with Archive(tmp_path) as archive:
        assert told(archive) == expected


def test_killed_while_it_reads(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that ends in the middle leaves an index with which the next goes on; nothing counts twice."""
    monkeypatch.setattr(index_module, "PORTION_LINES", 10)
    monkeypatch.setattr(index_module, "LOOK_LINES", 1)
    expected = fresh(logs, logs.parent / "fresh")
    read: list[int] = []

    def stop_at_the_third(lines: int) -> None:
        read.append(lines)
        if len(read) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Archive(logs, tell=stop_at_the_third).refresh()
    with Archive(logs, tell=read.append) as archive:
        assert sums(archive) == expected
    assert sum(read) == len(HERE) + len(THERE)


def test_two_commands_at_once(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is overtaken by another one on the same index counts no line twice."""
    monkeypatch.setattr(index_module, "PORTION_LINES", 10)
    monkeypatch.setattr(index_module, "LOOK_LINES", 1)
    others: list[dict[str, Transaction]] = []

    def overtake(_lines: int) -> None:
        if not others:
            with Archive(logs) as other:
                others.append(sums(other))

    with Archive(logs, tell=overtake) as archive:
        assert [sums(archive)] == others
    assert others == [fresh(logs, logs.parent / "fresh")]


def rewritten(log: Path) -> None:
    """Write another log in its place."""
    log.write_bytes(b"".join(demo() + HERE))


def cut(log: Path) -> None:
    """Cut it."""
    log.write_bytes(b"".join(HERE[:-5]))


def altered(log: Path) -> None:
    """Change something in its middle, and leave it as long as before."""
    log.write_bytes(b"".join(HERE).replace(b"over-sms", b"over-SMS"))
    os.utime(log, ns=(1, 1))


def gone(log: Path) -> None:
    """Remove it."""
    log.unlink()


def compressed(log: Path) -> None:
    """Compress it."""
    log.with_name(f"{log.name}.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()


def renamed(log: Path) -> None:
    """Put it aside, and begin another one."""
    log.rename(log.with_name(f"{log.name}.1"))
    log.write_bytes(b"".join(demo()))


@pytest.mark.parametrize(
    "change", [rewritten, cut, altered, gone, compressed, renamed], ids=lambda change: change.__name__
)
def test_another_log_than_it_was(logs: Path, change: Any) -> None:
    """Whatever became of a log but that it grew, the index is what one made anew would be."""
    with Archive(logs) as archive:
        change(logs / "otafleet.jsonl")
        archive.refresh()
        assert sums(archive) == fresh(logs, logs.parent / "fresh")
        assert {each: len(lines) for each, lines in told(archive).items()} == {
            each: transaction.lines for each, transaction in sums(archive).items()
        }


def test_put_aside_is_not_read_again(logs: Path) -> None:
    """A log that was rotated is known again by what is in it."""
    read: list[int] = []
    with Archive(logs, tell=read.append) as archive:
        renamed(logs / "otafleet.jsonl")
        archive.refresh()
    assert sum(read) == len(HERE) + len(THERE) + len(demo())


def test_a_fresh_start(logs: Path) -> None:
    """Where logs and index were put aside for a new run under one's eyes, its logs are read."""
    with Archive(logs) as archive:
        logs.rename(logs.with_name("before"))
        logs.mkdir()
        (logs / "otafleet.jsonl").write_bytes(b"".join(demo()))
        archive.refresh()
        assert sums(archive).keys() == scan(demo()).keys()
        assert (logs / INDEX_FILE).exists()


def test_vanishes_before_its_lines_are_read(logs: Path) -> None:
    """A log that goes between the question and its answer costs its lines, and a sentence says so."""
    with Archive(logs) as archive:
        (logs / "handsets-1.jsonl").unlink()
        lines = archive.lines_of(SERVE)
        assert lines == scan(HERE)[SERVE]
        assert archive.unread == [
            "handsets-1.jsonl: its lines of this transaction cannot be read: no such file or directory"
        ]


def test_compressed_logs(logs: Path) -> None:
    """Compressed, also each log twice over in two members, the logs tell what they did."""
    expected = fresh(logs, logs.parent / "fresh")
    for log in sorted(logs.glob("*.jsonl")):
        whole = log.read_bytes()
        log.with_name(f"{log.name}.gz").write_bytes(
            gzip.compress(whole[:9_999]) + gzip.compress(whole[9_999:])
        )
        log.unlink()
    with Archive(logs) as archive:
        assert sums(archive) == expected
        assert [line for _, line in sorted(told(archive).items())] == [
            sorted(lines, key=lambda line: line["time"]) for _, lines in sorted(scan(HERE + THERE).items())
        ]


@pytest.mark.parametrize("content", [b"no database" * 100, b""], ids=["garbage", "empty"])
def test_a_broken_index(logs: Path, content: bytes) -> None:
    """An index that is none is made anew, and so is one that turns out to be broken when it is asked."""
    with Archive(logs) as archive:
        expected = sums(archive)
    (logs / INDEX_FILE).write_bytes(content)
    with Archive(logs) as archive:
        assert sums(archive) == expected
    octets = bytearray((logs / INDEX_FILE).read_bytes())
    octets[4096:] = os.urandom(len(octets) - 4096)
    (logs / INDEX_FILE).write_bytes(octets)
    with Archive(logs) as archive:
        assert sums(archive) == expected
        assert archive.said == []


def test_what_was_skipped_is_said(logs: Path) -> None:
    """For each log that was not read as a whole, one sentence says what was not, and goes on to say it."""
    (logs / "otafleet.jsonl").write_bytes(
        b"".join(HERE)
        + b'torn\ntorn\n["foreign"]\n{"event": "of somebody"}\n'
        + b"x" * 70_000
        + b'\n{"event": "log.lost", "lines": 1200}\n{"half'
    )
    (logs / "cut.jsonl.gz").write_bytes(gzip.compress(b"".join(demo()))[:-20])
    (logs / "damaged.jsonl.gz").write_bytes(b"no gzip")
    (logs / "old.jsonl.zst").touch()
    for _ in range(2):
        with Archive(logs) as archive:
            assert archive.said == [
                "cut.jsonl.gz: it is cut off, and was read as far as it goes",
                "damaged.jsonl.gz: it is damaged, and was read as far as it goes",
                (
                    "otafleet.jsonl: skipped 2 lines that are no JSON, 2 lines that are no events of a fleet"
                    " and 1 line of more than 65,536 octets; 1,200 lines were never written, for the disk was"
                    " too slow; the last line is only half there"
                ),
                (
                    "old.jsonl.zst: cannot be read: it is compressed by zstd, which is not known here:"
                    " decompress it"
                ),
            ]
            assert archive.find(SERVE[:8]).messages == 18


@pytest.mark.parametrize(
    "time",
    ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1969-12-31T23:59:59+00:00", "", 7],
    ids=["before-all", "after-all", "before-1970", "empty", "number"],
)
def test_a_time_that_cannot_be_is_none(time: object) -> None:
    """Such a line was written at no time, and can be shown at none."""
    assert told_at({"event": "order.ended", "time": time}) is None
    assert told_at({"event": "order.ended", "time": "1970-01-01T00:00:01+00:00"}) == 1.0


def test_of_all_fields_none_need_be_right(tmp_path: Path) -> None:
    """A line whose fields are of other kinds than ours counts for what is right in it."""
    good = next(json.loads(line) for line in demo() if BLOCKED.encode() in line)
    odd: list[Any] = [None, 7, -1, 1 << 70, 1e300, "\x1b[31m", "x" * 9_000, [1], {"a": 1}, True, "\ud800"]
    lines = [
        json.dumps({**good, name: value}) for name in good for value in odd if name not in {"time", "event"}
    ]
    (tmp_path / "a.jsonl").write_text("\n".join([json.dumps(good), *lines]) + "\n", encoding="utf-8")
    with Archive(tmp_path) as archive:
        found = archive.find(BLOCKED)
        assert found.outcome is Outcome.OPEN
        assert found.messages == found.lines == len(archive.lines_of(BLOCKED))
        assert found.simulated_s is not None
        assert len(lines) - found.lines < 2 * len(odd)


NAMES = (
    *("at", "seq", "process", "agent", "ua", "bearer", "source", "destination"),
    *("octets", "attempt", "do", "service", "result", "reason", "lines"),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just(SERVE),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@SPARING
@given(
    events=st.lists(
        st.fixed_dictionaries(
            {
                "event": st.sampled_from(
                    ["message.sent", "message.taken", "message.lost", "order.ended", "log.lost"]
                )
            },
            optional={
                "time": st.just("2026-11-27T02:05:14+00:00") | VALUES,
                "trace_id": st.just(SERVE) | VALUES,
                **dict.fromkeys(NAMES, VALUES),
            },
        ),
        max_size=20,
    )
)
def test_hostile_lines(tmp_path_factory: pytest.TempPathFactory, events: list[dict[str, Any]]) -> None:
    """Whatever stands in the fields of lines, they are taken or counted, in one portion as in many."""
    place = tmp_path_factory.mktemp("hostile")
    logs = place / "logs"
    logs.mkdir()
    with Archive(logs) as archive:
        for count in range(0, len(events), 7):
            with (logs / "a.jsonl").open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(event) + "\n" for event in events[count : count + 7])
            archive.refresh()
        grown = sums(archive)
        assert all(len(archive.lines_of(each)) == grown[each].lines for each in grown)
    assert grown == fresh(logs, place / "fresh")
