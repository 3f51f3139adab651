"""A fleet of two processes exports its spans: a collector has the trees that the log tells of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from bus.ends import SENT, TAKEN
from tests.collector import Collector, Received
from tests.scenarios.kit import cli, log_events, write_fleet

if TYPE_CHECKING:
    from pathlib import Path

ROLES: Final = {"root", "personaliser.root", "mno", "bank", "shop", "console", "handsets"}


class _Run:
    """What a collector received, by span id, and what the logs of all processes say."""

    def __init__(self, spans: list[Received], lines: list[dict[str, Any]], paths: set[str]) -> None:
        self.paths = paths
        self.all = spans
        self.spans = {span.span_id: span for span in spans}
        self.lines = lines

    def logged(self, event: str) -> set[str]:
        """Return the spans of the lines about one event."""
        return {line["span_id"] for line in self.lines if line["event"] == event}

    def transaction(self, root: str, ua: str = "") -> list[Received]:
        """Return the spans of the last transaction that began with this order, for this module."""
        begun = [span for span in self.all if span.name == root and not span.parent_id]
        last = max((s for s in begun if ua in s.attributes["otafleet.ua"]), key=lambda s: s.begun_ns)
        return [span for span in self.all if span.trace_id == last.trace_id]


@pytest.fixture(scope="module", name="run")
def _run(tmp_path_factory: pytest.TempPathFactory) -> _Run:
    """Return one run of the small fleet, whose handsets are in a process of their own."""
    directory: Path = tmp_path_factory.mktemp("exported")
    with Collector() as collector:
        code, _, complaint = cli("up", write_fleet(directory), "--workers", "1", "--otlp", collector.url)
    assert (code, complaint) == (0, "")
    return _Run(collector.spans, log_events(directory / "state"), collector.paths)


def test_every_tree_is_whole(run: _Run) -> None:
    """Each span was sent once, ends after it began, and below one that began no later, up to an order."""
    assert run.paths == {"/v1/traces"}
    assert len(run.spans) == len(run.all) > 500
    for span in run.all:
        assert span.begun_ns <= span.ended_ns
        if not span.parent_id:
            assert (span.kind, span.resource["service.name"]) == ("CLIENT", "console")
            continue
        parent = run.spans[span.parent_id]
        assert parent.trace_id == span.trace_id
        assert parent.begun_ns <= span.begun_ns


def test_ids_are_those_of_the_log(run: _Run) -> None:
    """Each message that the log tells of was exported by who sent it, and has a child where it was taken."""
    assert run.logged(SENT) == {span.span_id for span in run.all if span.kind == "PRODUCER"}
    received = {span.parent_id for span in run.all if span.name.startswith("receive ")}
    assert run.logged(TAKEN) == received
    assert {line["span_id"] for line in run.lines if line.get("trace_id")} <= set(run.spans)


def test_a_served_module(run: _Run) -> None:
    """From the order through its handset to the supplier and back: who worked, and on what."""
    spans = run.transaction("serve account")
    root = next(span for span in spans if not span.parent_id)
    ua = root.attributes["otafleet.ua"]
    work = [(s.resource["service.name"], s.name) for s in spans if s.name.startswith("process ")]
    assert {("handsets", "process serve"), ("bank", "process packet over sms")} <= set(work)
    assert ("handsets", "process sms") in work
    assert {s.attributes["otafleet.ua"] for s in spans if "otafleet.ua" in s.attributes} == {ua}
    assert not any(span.error for span in spans)
    (event,) = (span for span in spans if span.name == "receive event")
    assert event.begun_ns <= root.ended_ns
    assert all(span.begun_ns >= root.begun_ns for span in spans)


def test_a_message_is_described(run: _Run) -> None:
    """In the words of OpenTelemetry's conventions, and in ours."""
    sent = next(s for s in run.transaction("serve account") if s.name == "send sms")
    said = sent.attributes
    assert said["messaging.system"] == "mqtt"
    assert (said["messaging.operation.name"], said["messaging.operation.type"]) == ("publish", "send")
    assert "/sms/" in said["messaging.destination.name"]
    assert said["messaging.message.body.size"] == said["otafleet.octets"] <= 176
    assert (said["otafleet.bearer"], said["otafleet.attempt"]) == ("sms", 1)
    line = next(x for x in run.lines if x["event"] == SENT and x["span_id"] == sent.span_id)
    for name in ("source", "destination", "direction", "bearer", "octets", "attempt"):
        assert said[f"otafleet.{name}"] == line[name]
    assert said["messaging.message.id"] == line["reference"]


@pytest.mark.parametrize(
    ("order", "reason", "who"),
    [
        pytest.param("invoke account", "blocked", "bank", id="by a supplier"),
        pytest.param("invoke loyalty", "unknown-resource", "handsets", id="by a module"),
    ],
)
def test_a_refusal_is_an_error(run: _Run, order: str, reason: str, who: str) -> None:
    """The order's span has the reason as its status, and so has the work of who refused; nothing else has."""
    refused = [span for span in run.all if span.name == order and span.error == reason]
    assert refused
    for root in refused:
        spans = [span for span in run.all if span.trace_id == root.trace_id]
        failed = [span for span in spans if span.error]
        assert {(span.resource["service.name"], span.error) for span in failed} == {
            ("console", reason),
            (who, reason),
        }
        assert all(span.attributes["otafleet.reason"] == reason for span in failed)
    errors = {span.error for span in run.all if span.error}
    assert errors == {"blocked", "unknown-resource"}


def test_processes_are_services(run: _Run) -> None:
    """Each role is one, all handsets are one, whichever process they are in; the process is the instance."""
    instances: dict[str, set[str]] = {}
    for span in run.all:
        assert span.resource["service.namespace"] == "small"
        instances.setdefault(span.resource["service.name"], set()).add(span.resource["service.instance.id"])
    assert set(instances) == ROLES
    assert instances.pop("handsets") == {"small.1.handsets-1"}
    assert set().union(*instances.values()) == {"small.1.otafleet"}
