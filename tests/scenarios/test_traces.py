"""Every message of a run is told by both its ends, or as lost: logs of whole fleets, on good air and bad."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from agents.traces.archive import Archive
from agents.traces.chart import chart_of
from agents.traces.lookup import Outcome, Selection
from bus.ends import LOST, SENT, TAKEN
from bus.vocabulary import EVENTS
from tests.scenarios.kit import OF_THE_HOUSE, log_events, play, write_fleet, write_lossy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", params=["demo", "lossy"])
def state(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the state directory of a fleet that was played to its end."""
    directory: Path = tmp_path_factory.mktemp(request.param)
    path = write_lossy(directory, handsets=2) if request.param == "lossy" else write_fleet(directory)
    assert play(path).missed == ()
    return directory / "state"


def of_messages(state: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines about messages on their way."""
    return (line for line in log_events(state) if line["event"] in {SENT, TAKEN, LOST})


def test_each_line_keeps_to_the_schema(state: Path) -> None:
    """An event of the list; time, process, level; a trace with span and parent; an agent with its role."""
    lines = log_events(state)
    assert {line["event"] for line in lines} <= set(EVENTS)
    for line in lines:
        assert {"time", "at", "seq", "process", "level"} <= set(line)
        assert ("trace_id" in line) == ("span_id" in line) == ("parent_id" in line)
        assert ("agent" in line) == ("role" in line) == ("trace_id" in line), line
    agents = {line["agent"]: line.get("role") for line in lines if "agent" in line and "trace_id" in line}
    assert {"handset", "operator", "supplier", "authority"} <= set(agents.values())


def test_what_is_of_no_transaction_is_of_the_house(state: Path) -> None:
    """Each line belongs to a transaction, but those about the launch itself."""
    assert {line["event"] for line in log_events(state) if "trace_id" not in line} == OF_THE_HOUSE


def test_each_message_has_both_ends_or_is_lost(state: Path) -> None:
    """Under a span of its own; who takes it works in a span that is the message's child."""
    ends = Counter((line["span_id"], line["event"]) for line in of_messages(state))
    sent = {span for span, event in ends if event == SENT}
    ended = {span for span, event in ends if event in {TAKEN, LOST}}
    assert sent
    assert sent == ended
    assert max(count for (_, event), count in ends.items() if event == SENT) == 1
    parents = {line["parent_id"] for line in log_events(state) if "parent_id" in line}
    assert parents & sent


def test_each_span_lies_in_one_that_is_told(state: Path) -> None:
    """In its parent or, where that work has no line, in the message that the work began with; but the order.

    Of pages only who asks for details is told, and so of their effects.
    """
    lines = [line for line in log_events(state) if "trace_id" in line]
    told = {(line["trace_id"], line["span_id"]) for line in lines}
    aired = {line["trace_id"] for line in lines if line["event"] == "cell_broadcast.begun"}
    first = [
        line
        for line in lines
        if line["parent_id"]
        and line["trace_id"] not in aired
        and not {(line["trace_id"], line.get(name)) for name in ("parent_id", "cause_id")} & told
    ]
    assert {(line["event"], line["bearer"]) for line in first} == {(SENT, "order")}
    assert len({line["trace_id"] for line in first}) == len(first)


def test_each_repetition_is_a_span_of_its_own(state: Path) -> None:
    """Under the reference of the first, beside it: the same parent, one attempt more."""
    by_reference: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for line in of_messages(state):
        if line["event"] == SENT and line["bearer"] == "sms":
            key = (line["reference"], line["source"], line["destination"])
            by_reference.setdefault(key, []).append(line)
    for lines in by_reference.values():
        attempts = [line["attempt"] for line in lines]
        assert attempts == sorted(attempts)
        assert set(attempts) == set(range(1, attempts[-1] + 1))
        assert len({line["span_id"] for line in lines}) == len(lines)
        assert len({line["parent_id"] for line in lines}) == 1
    lost = [line for line in of_messages(state) if line["event"] == LOST]
    assert bool(lost) == any(lines[-1]["attempt"] > 1 for lines in by_reference.values())


def test_every_chart_is_complete(state: Path) -> None:
    """What each transaction's lines make is drawn without a gap."""
    with Archive(state / "logs") as archive:
        found, _ = archive.select(Selection())
        charts = [chart_of(archive.lines_of(each.trace_id)) for each in found]
    assert len(charts) > 10
    assert [chart.incomplete for chart in charts if chart.incomplete] == []


def test_what_was_ordered_is_known_before_it_has_ended(state: Path, tmp_path: Path) -> None:
    """Of each transaction the first line alone says verb, service, module and who was asked; it is open."""
    lines: dict[str, dict[str, Any]] = {}
    for line in log_events(state):
        if "trace_id" in line and (line["event"], line.get("bearer")) == (SENT, "order"):
            lines.setdefault(line["trace_id"], line)
    (tmp_path / "killed.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines.values()))
    with Archive(state / "logs") as whole, Archive(tmp_path) as begun:
        ended = {each.trace_id: each for each in whole.select(Selection())[0]}
        found, _ = begun.select(Selection(outcome=Outcome.OPEN))
    assert {each.trace_id for each in found} == set(lines) == set(ended)
    for each in found:
        known = ended[each.trace_id]
        assert (each.do, each.service, each.asked) == (known.do, known.service, known.asked)
        assert each.do
        assert each.ua == known.ua or not lines[each.trace_id].get("ua")
        assert chart_of([lines[each.trace_id]]).title.startswith(f"{each.do} {each.service}".strip())
