"""The log: what gets into a line, what never does, and what happens when the disk takes no more."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus import log_lines, tracing
from bus.actor import Actor, ActorGroup
from bus.counters import Counters
from bus.frame import TraceContext
from bus.log_file import LogFile

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACE = TraceContext(trace_id=bytes(range(16)), span_id=b"\x11" * 8)
SECRET = bytes.fromhex("c0ffee00112233445566778899aabbcc")


class _Log:
    """A log in a file, read back as the dicts of its lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.handle = tracing.configure(path, level="debug", process="test")
        self.logger = tracing.get_logger()

    def lines(self) -> list[dict[str, Any]]:
        self.handle.flush()
        return [json.loads(line) for line in self.path.read_text("utf-8").splitlines()]

    def last(self) -> dict[str, Any]:
        return self.lines()[-1]

    def text(self) -> str:
        self.handle.flush()
        return self.path.read_text("utf-8")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[_Log]:
    """Yield a log, and leave structlog as it was found."""
    log = _Log(tmp_path / "log" / "test.jsonl")
    yield log
    log.handle.close()
    structlog.reset_defaults()


def test_a_line_says_when_where_and_what(log: _Log) -> None:
    """Each event is one JSON object with time in UTC, a rising sequence, process, level and its fields."""
    log.logger.info("sms.delivered", parts=3)
    log.logger.warning("sms.retry")
    first, second = log.lines()
    assert first["time"].endswith("+00:00")
    assert {key: first[key] for key in first if key not in {"time", "at"}} == {
        "seq": 1,
        "process": "test",
        "level": "info",
        "event": "sms.delivered",
        "parts": 3,
    }
    assert (second["seq"], second["level"], second["event"]) == (2, "warning", "sms.retry")


def test_events_below_the_level_are_not_written(tmp_path: Path) -> None:
    """With level warning an info event leaves no line."""
    path = tmp_path / "w.jsonl"
    with tracing.configure(path, level="warning"):
        tracing.get_logger().info("no")
        tracing.get_logger().error("yes")
    assert [json.loads(line)["event"] for line in path.read_text("utf-8").splitlines()] == ["yes"]
    structlog.reset_defaults()


def test_an_unknown_level_is_misuse(tmp_path: Path) -> None:
    """A level that does not exist is refused before a file is made."""
    with pytest.raises(ValueError, match="'loud' is no log level"):
        tracing.configure(tmp_path / "x.jsonl", level="loud")
    assert not (tmp_path / "x.jsonl").exists()


def test_without_a_path_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    """A run without a log file is silent, errors included."""
    with tracing.configure(None) as handle:
        tracing.get_logger().critical("boom")
        handle.flush()
    assert capsys.readouterr() == ("", "")
    structlog.reset_defaults()


def test_what_is_bound_is_in_every_line_of_the_task(log: _Log) -> None:
    """A bound trace and names go with each event until the block ends; an event's own field wins."""
    with tracing.bound(TRACE, agent="operator", ua="8988"):
        assert tracing.current() == TRACE
        log.logger.info("one")
        log.logger.info("two", ua="8999")
    log.logger.info("three")
    one, two, three = log.lines()
    assert one["trace_id"] == TRACE.trace_id.hex()
    assert one["span_id"] == TRACE.span_id.hex()
    assert (one["agent"], one["ua"], two["ua"]) == ("operator", "8988", "8999")
    assert {"trace_id", "agent"}.isdisjoint(three)
    assert tracing.current() is None


async def test_tasks_do_not_see_each_others_traces(log: _Log) -> None:
    """What one task binds is neither in the other task's lines nor in those of its parent."""

    async def work(name: str) -> None:
        tracing.bind(TRACE, agent=name)
        await asyncio.sleep(0)
        log.logger.info("work", name=name)

    async with asyncio.TaskGroup() as group:
        group.create_task(work("a"))
        group.create_task(work("b"))
    log.logger.info("parent")
    *workers, parent = log.lines()
    assert all(line["agent"] == line["name"] for line in workers)
    assert "agent" not in parent


async def test_an_actor_logs_under_its_name_and_not_under_a_strangers_trace(log: _Log) -> None:
    """A handler's events bear the actor's name; the trace is that of its message, never the deliverer's."""

    class _Teller(Actor[TraceContext | None]):
        async def handle(self, message: TraceContext | None) -> None:
            tracing.bind(message)
            log.logger.info("handled")

    async with ActorGroup(log=log.logger, counters=Counters()) as group:
        actor = _Teller("supplier", group)
        with tracing.bound(TRACE, ua="8988"):
            actor.deliver(None)
            actor.deliver(tracing.child(TRACE))
            actor.deliver(None)
    first, second, third = log.lines()
    assert [line["agent"] for line in (first, second, third)] == ["supplier"] * 3
    assert second["trace_id"] == TRACE.trace_id.hex()
    assert {"trace_id", "ua"}.isdisjoint(first)
    assert "trace_id" not in third


def test_a_child_goes_on_with_the_trace() -> None:
    """A new trace has fresh ids of 16 and 8 octets; a child keeps the first, and says whose child it is."""
    counter = iter(range(1, 10))
    trace = tracing.new_trace(lambda count: bytes([next(counter)]) * count)
    first, second = tracing.child(trace), tracing.child(trace)
    assert (trace.trace_id, trace.span_id, trace.parent_id) == (b"\x01" * 16, b"\x02" * 8, b"")
    for child in (first, second):
        assert (child.trace_id, child.parent_id) == (trace.trace_id, trace.span_id)
    assert len({trace.span_id, first.span_id, second.span_id}) == 3


def test_who_enters_a_span_tells_whose_child_it_is(log: _Log) -> None:
    """Its lines carry the trace, the span and the parent; those of another trace after it nothing of them."""
    with tracing.bound():
        entered = tracing.enter(TRACE, ua="8988")
        log.logger.info("sms.retry")
        tracing.bind(TRACE)
        log.logger.info("sms.retry")
    own, other = log.lines()
    assert own["ua"] == "8988"
    assert (own["trace_id"], own["span_id"], own["parent_id"]) == (
        TRACE.trace_id.hex(),
        entered.span_id.hex(),
        TRACE.span_id.hex(),
    )
    assert (other["span_id"], other["parent_id"]) == (TRACE.span_id.hex(), "")


def test_a_line_tells_simulated_time(tmp_path: Path) -> None:
    """Beside the world's: what the fleet's clock says, to the microsecond."""
    path = tmp_path / "at.jsonl"
    with tracing.configure(path, now=lambda: 1_795_745_354.25):
        tracing.get_logger().info("sms.retry")
    assert '"at": 1795745354.250000,' in path.read_text("utf-8")


@pytest.mark.parametrize(
    "fields",
    [
        {"pdu_octets": SECRET},
        {"pdu_octets": bytearray(SECRET)},
        {"pdu_octets": memoryview(SECRET)},
        {"deep": {"list": [{"value": (SECRET,)}]}},
        {"several": {SECRET}},
        {"names": {SECRET: 1}},
        {"key": SECRET.hex()},
        {"session_key": SECRET.hex()},
        {"failure": ValueError(SECRET)},
        {"failure": ValueError(f"got {SECRET.hex()}")},
        {"holder": type("Holder", (), {"__repr__": lambda _: SECRET.hex()})()},
    ],
    ids=[
        "bytes",
        "bytearray",
        "memoryview",
        "deep",
        "in-a-set",
        "as-a-key",
        "hex-under-key",
        "hex-under-session-key",
        "exception-of-bytes",
        "exception-quoting-hex",
        "telling-repr",
    ],
)
def test_octets_and_secrets_never_get_into_a_line(log: _Log, fields: dict[str, Any]) -> None:
    """However a secret is handed to the log, by type, by depth or by name, its octets are not in the file."""
    log.logger.info("event", **fields)
    text = log.text()
    assert log.last()["event"] == "event"
    for spelling in (SECRET.hex(), repr(SECRET)[2:-1], repr(list(SECRET))):
        assert spelling not in text


def test_octets_are_told_by_their_number(log: _Log) -> None:
    """A bytes value is written as its length and an unknown object as the name of its type."""
    log.logger.info("event", octets=SECRET, path=Path(), reasons=frozenset({"b", "a"}))
    line = log.last()
    assert line["octets"] == "<16 octets>"
    assert line["path"] == "<PosixPath>"
    assert line["reasons"] == ["a", "b"]


def test_an_exception_is_told_without_the_octets_it_quotes(log: _Log) -> None:
    """The error's chain and places are written; bytes literals in its text are not."""
    try:
        _look_up_in_vain()
    except ValueError:
        log.logger.exception("actor.crashed")
    line = log.last()
    assert line["error"] == "ValueError: no such key <- KeyError: <octets>"
    assert line["where"][-1].startswith(__file__)
    assert line["where"][-1].endswith(" _look_up_in_vain")
    assert "exc_info" not in line


def _look_up_in_vain() -> None:
    nothing: dict[bytes, bytes] = {}
    try:
        nothing[SECRET]
    except KeyError as cause:
        raise ValueError("no such key") from cause


def test_the_chain_of_an_exception_is_bounded_and_ends_where_its_author_ended_it(log: _Log) -> None:
    """Of a long chain the last four errors are told; what was raised "from None" hides what was before."""
    error: Exception = ValueError("0")
    for number in range(1, 6):
        outer = ValueError(str(number))
        outer.__cause__, error = error, outer
    hiding = ValueError("seen")
    hiding.__context__, hiding.__suppress_context__ = error, True
    log.logger.error("long", exc_info=error)
    log.logger.error("short", exc_info=hiding)
    long, short = log.lines()
    assert long["error"] == " <- ".join(f"ValueError: {number}" for number in (5, 4, 3, 2))
    assert short["error"] == "ValueError: seen"


def test_an_exception_may_be_given_or_missing(log: _Log) -> None:
    """exc_info takes an exception, a tuple as logging has it, or True where there is none at all."""
    error = OSError("gone")
    log.logger.error("given", exc_info=error)
    log.logger.error("tuple", exc_info=(OSError, error, None))
    log.logger.error("none", exc_info=True)  # noqa: LOG014 -- the mistake under test
    given, triple, none = log.lines()
    assert given["error"] == triple["error"] == "OSError: gone"
    assert "error" not in none


def test_a_line_is_bounded(log: _Log) -> None:
    """A field of a megabyte is cut, and what cannot be cut is named; the line stays whole JSON."""
    log.logger.info("x" * 10_000, text="y" * 1_000_000, rows=list(range(10_000)), count=7)
    assert len(log.text()) < log_lines.MAX_LINE
    line = log.last()
    assert (line["count"], line["rows"], len(line["text"])) == (7, "<list>", 256)


def test_an_event_that_is_no_json_loses_its_fields_only(log: _Log) -> None:
    """A circular value costs the fields, not the event and not the run."""
    circle: list[object] = []
    circle.append(circle)
    log.logger.info("circle", circle=circle)
    assert (log.last()["event"], log.last()["fields"]) == ("circle", "<unwritable>")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=10,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(event=st.text(), value=_VALUES)
def test_any_event_is_one_line(log: _Log, event: str, value: object) -> None:
    """Whatever an event says, it is one more line, and JSON."""
    before = len(log.lines())
    log.logger.info(event, value=value)
    assert len(log.lines()) == before + 1


def test_the_standard_library_logs_into_the_same_file(log: _Log) -> None:
    """A library's warning becomes an event; its information does not."""
    logging.getLogger("some.library").warning("watch %s", "out")
    logging.getLogger("some.library").info("nothing to see")
    (line,) = log.lines()
    assert (line["level"], line["event"], line["logger"], line["text"]) == (
        "warning",
        "library",
        "some.library",
        "watch out",
    )


def test_a_second_run_appends_below_a_line_cut_by_a_kill(tmp_path: Path) -> None:
    """After a process was killed in mid-write the next one's first line stands alone."""
    path = tmp_path / "run.jsonl"
    path.write_text('{"event": "whole"}\n{"event": "cu', "utf-8")
    with tracing.configure(path):
        tracing.get_logger().info("again")
    whole, cut, again = path.read_text("utf-8").splitlines()
    assert (whole, cut) == ('{"event": "whole"}', '{"event": "cu')
    assert json.loads(again)["event"] == "again"
    structlog.reset_defaults()


def test_what_is_logged_after_the_end_is_forgotten(tmp_path: Path) -> None:
    """A logger that outlives its log neither writes nor raises; closing twice is no error."""
    path = tmp_path / "run.jsonl"
    handle = tracing.configure(path)
    logger = tracing.get_logger()
    logger.info("in time")
    handle.close()
    handle.close()
    logger.info("late")
    tracing.get_logger().info("later")
    assert path.read_text("utf-8").count("\n") == 1
    structlog.reset_defaults()


def test_a_file_that_cannot_be_made_is_told_at_the_start(tmp_path: Path) -> None:
    """Where no file can be the caller hears of it at once, with the path."""
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(OSError, match="file"):
        tracing.configure(tmp_path / "file" / "log.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_ends_the_log_with_one_warning_and_not_the_run() -> None:
    """The first write that fails is told in one sentence; later lines are forgotten in silence."""
    warnings: list[str] = []
    with tracing.configure(Path("/dev/full"), warn=warnings.append) as handle:
        for number in range(3):
            tracing.get_logger().info("event", number=number)
            handle.flush()
    assert warnings == ["no more log in /dev/full: No space left on device; the run goes on"]
    structlog.reset_defaults()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_the_warning_goes_to_the_terminal_unless_told_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    """A person without a log hears of the full disk on standard error."""
    with tracing.configure(Path("/dev/full")):
        tracing.get_logger().info("event")
    assert capsys.readouterr().err.startswith("otafleet: no more log in /dev/full")
    structlog.reset_defaults()


def test_lines_beyond_what_may_wait_are_counted(tmp_path: Path) -> None:
    """A disk slower than the log costs lines, and their number is written once there is room."""
    path = tmp_path / "slow.jsonl"
    file = LogFile(path, flush_s=3600, max_waiting=2)
    for number in range(5):
        file.append(f'{{"number": {number}}}\n')
    file.flush()
    file.append('{"number": 5}\n')
    file.close()
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert lines == [{"number": 0}, {"number": 1}, {"event": "log.lost", "lines": 3}, {"number": 5}]


def test_the_thread_writes_without_being_asked(tmp_path: Path) -> None:
    """A line gets to the file although nobody flushes."""
    path = tmp_path / "thread.jsonl"
    file = LogFile(path, flush_s=0.001)
    file.append("line\n")
    woken = threading.Event()
    for _ in range(10_000):
        if path.read_text("utf-8"):
            break
        woken.wait(0.001)
    assert path.read_text("utf-8") == "line\n"
    file.close()


def test_lines_of_many_threads_are_whole_and_complete(tmp_path: Path) -> None:
    """While the writer takes lines away no thread's line is lost or cut."""
    path = tmp_path / "threads.jsonl"
    file = LogFile(path, flush_s=0.0001)

    def write(thread: int) -> None:
        for number in range(2_000):
            file.append(f"{thread}:{number}\n")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    file.close()
    lines = path.read_text("utf-8").splitlines()
    assert sorted(lines) == sorted(f"{thread}:{number}" for thread in range(4) for number in range(2_000))
