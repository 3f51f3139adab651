"""How an event becomes a line: as it was when it was logged, though the line is made later and elsewhere."""

from __future__ import annotations

import gc
import json
import os
import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bus import ends, tracing
from bus.frame import Bearer, TraceContext
from bus.log_file import LogFile
from bus.log_lines import MAX_TEXT, REFUSED_NAMES, End, Names, Spelling, Taken
from tests.bus.frames import make_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

TRACE: Final = TraceContext(trace_id=bytes(range(16)), span_id=b"\x11" * 8, parent_id=b"\x22" * 8)
IDS: Final = {"trace_id": bytes(range(16)).hex(), "span_id": "11" * 8, "parent_id": "22" * 8}
NOON: Final = 1_795_780_800 * 10**9
SECRET: Final = "c0ffee00112233445566778899aabbcc"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    assert sorted(set(names)) == sorted(names)
    return dict(pairs)


def _read(line: str) -> dict[str, Any]:
    """Return what *line* says, in which no name stands twice."""
    assert line.endswith("}\n")
    read: dict[str, Any] = json.loads(line, object_pairs_hook=_once)
    return read


def _line(
    fields: Mapping[str, Any],
    *,
    context: Mapping[str, Any] | None = None,
    names: Mapping[str, Any] | None = None,
    trace: TraceContext | None = None,
) -> dict[str, Any]:
    taken: Taken = (NOON, 0.5, "info", "a.b", trace, Names(names or {}), Names(context or {}), fields)
    return _read(Spelling("main")(taken))


class _Log:
    """A log that nobody writes before it is asked for."""

    def __init__(self, path: Path, level: str) -> None:
        self._path = path
        self._handle = tracing.configure(path, level=level)
        self.logger: FilteringBoundLogger = tracing.get_logger(client="me")

    def lines(self) -> list[dict[str, Any]]:
        self._handle.flush()
        return [_read(f"{line}\n") for line in self._path.read_text("utf-8").splitlines()]

    def close(self) -> None:
        self._handle.close()
        structlog.reset_defaults()


@pytest.fixture(name="log")
def _log(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[_Log]:
    """Yield a log of the level that the test asks for, and leave structlog as it was found."""
    log = _Log(tmp_path / "test.jsonl", getattr(request, "param", "info"))
    yield log
    log.close()


# ---- lines -----------------------------------------------------------------------------------------------


def test_time_is_told_to_the_microsecond_in_every_second() -> None:
    """Also at the edge of a second, and from the first on."""
    spelling = Spelling("main")
    times = [0, NOON, NOON + 1_000, NOON + 999_999_999, NOON + 10**9, NOON]
    lines = [_read(spelling((ns, 0.0, "info", "a.b", None, Names(), Names(), {}))) for ns in times]
    assert [line["time"] for line in lines] == [
        "1970-01-01T00:00:00.000000+00:00",
        "2026-11-27T12:00:00.000000+00:00",
        "2026-11-27T12:00:00.000001+00:00",
        "2026-11-27T12:00:00.999999+00:00",
        "2026-11-27T12:00:01.000000+00:00",
        "2026-11-27T12:00:00.000000+00:00",
    ]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_what_is_nearer_goes_before() -> None:
    """The event's own fields before the logger's, those before the task's; each name stands once."""
    line = _line({"ua": "3", "x": 1}, context={"ua": "2", "agent": "b"}, names={"ua": "1", "agent": "a"})
    assert (line["ua"], line["agent"], line["x"]) == ("3", "b", 1)
    apart = _line({"x": 1}, context={"client": "b"}, names={"agent": "a"}, trace=TRACE)
    assert list(apart)[6:] == ["agent", "client", *IDS, "x"]
    assert {name: apart[name] for name in IDS} == IDS
    other = tracing.child(TRACE)
    assert _line(tracing.ids(other), trace=TRACE)["span_id"] == other.span_id.hex()
    assert _line(tracing.ids(None), trace=TRACE)["span_id"] == IDS["span_id"]


@pytest.mark.parametrize("where", ["fields", "context", "names"])
def test_what_sounds_of_secrets_is_refused_wherever_it_stands(where: str) -> None:
    """In an event, bound to its logger, or bound to the task."""
    said: dict[str, Any] = {"fields": {}, where: {"key": SECRET, "ua": "8988"}}
    line = _line(said.pop("fields"), **said)
    assert (line["key"], line["ua"]) == ("<refused>", "8988")


_PLAIN: Final = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40)


@given(fields=st.dictionaries(st.text().filter(lambda name: name not in REFUSED_NAMES), _PLAIN, max_size=5))
def test_any_name_and_any_plain_value_reads_back(fields: dict[str, Any]) -> None:
    """Whatever an event's fields are called, and whatever plain they are, is what the line says."""
    fields = {f"_{name}": value for name, value in fields.items()}
    line = _line(fields, names={"agent": "a"})
    assert {name: line[name] for name in fields} == fields


def test_an_end_says_all_of_its_message(log: _Log) -> None:
    """Its own span, though another is bound, and each field; of what was lost, why, however it is written."""
    frame = replace(make_frame(7), trace=TRACE)
    with tracing.bound(tracing.child(TRACE), agent="a"):
        ends.tell(log.logger, ends.TAKEN, frame, "down")
        ends.tell(log.logger, ends.LOST, frame, "down", reason='"air"\n')
    taken, lost = log.lines()
    said = {
        "agent": "a",
        "client": "me",
        **IDS,
        "bearer": str(frame.bearer),
        "direction": "down",
        "source": frame.source,
        "destination": frame.destination,
        "reference": frame.reference.hex(),
        "attempt": frame.attempt,
        "octets": len(frame.pdu),
    }
    assert {name: taken[name] for name in list(taken)[6:]} == said
    assert {name: lost[name] for name in list(lost)[6:]} == {**said, "reason": '"air"\n'}
    assert (taken["event"], lost["event"]) == (ends.TAKEN, ends.LOST)


def test_an_end_says_whose_it_is_and_what_it_comes_of(log: _Log) -> None:
    """A handset's, where nothing else names it; and the message in front, over work that logs nothing."""
    work = tracing.child(tracing.child(TRACE))
    frame = replace(make_frame(7), trace=work)
    for agent in ("8988010200000000018", "15550100"):
        ends.tell(log.logger, ends.SENT, frame, "up", span=tracing.child(work), agent=agent)
    handset, other = log.lines()
    assert handset["agent"] == "8988010200000000018"
    assert "agent" not in other
    assert (handset["parent_id"], handset["cause_id"]) == (work.span_id.hex(), TRACE.span_id.hex())


def test_a_reason_is_bounded() -> None:
    """However long the reason of a loss is, its line is not."""
    end = End(TRACE, "sms", "down", "a", "b", bytes(8), 1, 2, "x" * 10_000)
    assert _line({"end": end})["reason"] == "x" * MAX_TEXT


@pytest.mark.parametrize(
    ("log", "told"), [("info", 0), ("debug", 2)], indirect=["log"], ids=["info", "debug"]
)
def test_a_page_is_told_to_who_asks_for_details(log: _Log, told: int) -> None:
    """At the default level neither its arrivals nor its losses leave a line, for each page has many."""
    page = make_frame(7, bearer=Bearer.CELL_BROADCAST)
    ends.tell(log.logger, ends.TAKEN, page, "down")
    ends.tell(log.logger, ends.LOST, page, "down", reason="air")
    assert len(log.lines()) == told


def test_a_fault_of_our_own_costs_the_fields() -> None:
    """Whatever cannot be spelt, the line is one, and the thread that made it goes on to the next."""
    broken = cast("Taken", (NOON, 0.5, "info", "a.b", "no trace", Names(), Names(), {}))
    assert _read(Spelling("main")(broken))["fields"] == "<unwritable>"


# ---- what waits for its line -----------------------------------------------------------------------------


class _Holder(list[str]):
    """Something that can be watched."""


class _Text(str):
    """A text that can be watched."""

    __slots__ = ("__weakref__",)


def test_an_event_is_told_as_it_was(log: _Log) -> None:
    """What changes after it was logged is told as it was then, at any depth."""
    holder = {"reasons": ["a"]}
    log.logger.info("a.b", holder=holder, rows=holder["reasons"])
    holder["reasons"].append("b")
    holder["more"] = []
    (line,) = log.lines()
    assert (line["holder"], line["rows"]) == ({"reasons": ["a"]}, ["a"])


@pytest.mark.parametrize("kind", [_Holder, _Text], ids=["list", "text"])
def test_what_was_logged_is_not_kept(log: _Log, kind: type[Any]) -> None:
    """Neither an object nor a text of another kind waits for the disk; what a line says of it does."""
    value = kind("abc")
    seen = weakref.ref(value)
    log.logger.info("a.b", value=value)
    del value
    gc.collect()
    assert seen() is None
    assert list(log.lines()[0]["value"]) == ["a", "b", "c"]


def test_an_exception_is_not_kept(log: _Log) -> None:
    """Nor the frames that it went through, with all that they hold."""
    holder = _Holder()
    seen = weakref.ref(holder)
    try:
        _fail_with(holder)
    except ValueError:
        log.logger.exception("actor.crashed")
    del holder
    gc.collect()
    assert seen() is None
    assert log.lines()[0]["error"] == "ValueError: ('gone', [])"


def _fail_with(holder: object) -> None:
    raise ValueError("gone", holder)


def test_long_names_and_texts_are_bounded_before_they_wait(log: _Log) -> None:
    """Of a text too long for a line its beginning is told, and of the event's name."""
    log.logger.info("x" * 1_000, text="y" * 100_000)
    (line,) = log.lines()
    assert (line["event"], line["text"]) == ("x" * MAX_TEXT, "y" * MAX_TEXT)


def test_who_only_reads_a_pipe_late_keeps_nobody_waiting(tmp_path: Path) -> None:
    """While nothing is read, what is logged is taken at once, up to the bound; the rest is counted."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = LogFile(path, flush_s=0.001, max_waiting=1_000)
    line = "x" * 1_023 + "\n"
    for _ in range(20_000):  # twenty times what pipe and queue have room for
        file.append(line)
    os.set_blocking(reader, True)
    read: list[bytes] = []
    with open(reader, "rb", buffering=0) as end:  # noqa: PTH123 -- of a descriptor
        gone = threading.Thread(target=file.close)
        gone.start()
        while octets := end.read(1 << 16):
            read.append(octets)
        gone.join()
    *whole, lost = b"".join(read).splitlines()
    assert set(whole) == {line.encode().rstrip()}
    assert json.loads(lost) == {"event": "log.lost", "lines": 20_000 - len(whole)}
    assert 1_000 <= len(whole) < 10_000


# ---- structlog's ways ------------------------------------------------------------------------------------


def test_structlogs_other_ways_lead_to_the_log(log: _Log) -> None:
    """Arguments that are filled in, levels by number, names of levels that others use, further binding."""
    log.logger.bind(agent="a").info("%s.%s", "a", "b", x=1)
    log.logger.log(30, "a.b")
    log.logger.warn("a.b")  # noqa: G010 -- a name under test
    log.logger.fatal("a.b")
    log.logger.debug("a.b")
    log.logger.log(10, "a.b")
    lines = log.lines()
    assert [line["level"] for line in lines] == ["info", "warning", "warning", "critical"]
    assert {line["event"] for line in lines} == {"a.b"}
    assert (lines[0]["agent"], lines[0]["client"], lines[0]["x"]) == ("a", "me", 1)


def test_processors_take_what_is_logged(log: _Log) -> None:
    """Who puts processors into structlog's pipeline, as its testing tools do, has the events."""
    with capture_logs() as events:
        tracing.get_logger(client="me").info("a.b", x=1)
        tracing.get_logger().log(40, "c.d")
    assert events == [
        {"client": "me", "x": 1, "event": "a.b", "log_level": "info"},
        {"event": "c.d", "log_level": "error"},
    ]
    assert log.lines() == []
