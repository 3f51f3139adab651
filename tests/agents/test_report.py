"""The report: its sums, its JSON, and how it reads on a screen."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from agents.fleet.expectations import Outcome, Outcomes, Result
from agents.fleet.report import (
    AuditReport,
    BearerReport,
    BrokerReport,
    Latency,
    MemoryReport,
    Report,
    StepReport,
)


def step(
    number: int = 1, do: str = "subscribe", *, failed: int = 0, missed: tuple[str, ...] = ()
) -> StepReport:
    """Return the report of a step with sixty targets."""
    made = [
        Outcome(
            ua=str(index),
            service="account",
            result=Result.FAILED if index < failed else Result.OK,
            reason="delivery-failed" if index < failed else "",
            latency_s=0.001 * (index + 1),
        )
        for index in range(60)
    ]
    outcomes = Outcomes(number=number, do=do, outcomes=made)
    return StepReport.of(outcomes, service="account", seconds=0.4211, missed=missed)


REPORT = Report(
    fleet="demo",
    seed=2026,
    handsets=100,
    modules_served=100,
    wall_s=6.54321,
    simulated_s=65.43210,
    steps=(step(), step(2, "serve")),
    bearers={
        "sms": BearerReport(messages=12_345, octets=1_234_567, retries=2, lost=1, air_s=34.5),
        "role": BearerReport(messages=9, octets=9, retries=0),
    },
    resources={"loaded": 80, "released": 40},
    latency=Latency(p50=12.3, p95=45.6, p99=78.9),
    memory=MemoryReport(peak_mib=123.4, base_mib=100.1, kib_per_handset=98.7),
    messages_per_handset=123.45,
    dropped={"not-msgpack": 3},
    crashes=1,
    dead_letters=0,
    broker=BrokerReport(kind="mosquitto", address="127.0.0.1:18830"),
)


def render(report: Report, *, width: int = 100, colours: bool = False) -> str:
    """Return what *report* looks like."""
    file = io.StringIO()
    report.render(
        Console(file=file, width=width, force_terminal=colours, color_system="standard" if colours else None)
    )
    return file.getvalue()


def test_step_is_summed_up() -> None:
    """A step counts its outcomes by result and reason and takes its percentiles."""
    made = step(failed=2)
    assert (made.targets, made.ok, made.refused, made.failed) == (60, 58, 0, 2)
    assert made.reasons == {"delivery-failed": 2}
    assert made.latency == Latency(p50=30.0, p95=57.0, p99=60.0)
    assert made.held


@pytest.mark.parametrize(
    ("latencies", "percentiles"),
    [
        ([], (0, 0, 0)),
        ([0.5], (500, 500, 500)),
        ([0.002, 0.001], (1, 2, 2)),
        ([n / 1000 for n in range(100, 0, -1)], (50, 95, 99)),
    ],
)
def test_latency(latencies: list[float], percentiles: tuple[float, float, float]) -> None:
    """Percentiles are by nearest rank, in milliseconds, whatever the order; of nothing they are zero."""
    made = Latency.of(latencies)
    assert (made.p50, made.p95, made.p99) == percentiles


@given(st.lists(st.floats(0, 1e4), min_size=1))
def test_latency_is_one_that_occurred(latencies: list[float]) -> None:
    """Each percentile is a latency that somebody had, and they are in order."""
    made = Latency.of(latencies)
    assert made.p50 <= made.p95 <= made.p99
    assert {made.p50, made.p95, made.p99} <= {round(1000 * latency, 3) for latency in latencies}


def test_json_has_every_promised_key() -> None:
    """The JSON survives a round trip and has the keys that CI jobs read."""
    values = json.loads(json.dumps(REPORT.to_json()))
    assert set(values) == {
        "ok", "fleet", "seed", "handsets", "modules_served", "wall_s", "steps", "bearers", "resources",
        "latency_ms", "memory", "messages_per_handset", "dropped", "crashes", "dead_letters", "broker",
        "resumed", "faults", "simulated_s", "audited", "campaigns",
            "explained",
    }  # fmt: skip
    assert values["ok"] is True
    assert values["wall_s"] == 6.543
    assert values["simulated_s"] == 65.432
    assert values["bearers"]["sms"] == {
        "messages": 12345,
        "octets": 1234567,
        "retries": 2,
        "lost": 1,
        "air_s": 34.5,
    }
    assert values["latency_ms"] == {"p50": 12.3, "p95": 45.6, "p99": 78.9}
    assert values["memory"] == {"peak_mib": 123.4, "base_mib": 100.1, "kib_per_handset": 98.7}
    assert values["broker"] == {"kind": "mosquitto", "address": "127.0.0.1:18830"}
    first = values["steps"][0]
    assert set(first) == {
        "number", "do", "service", "targets", "ok", "refused", "failed", "reasons", "seconds", "latency_ms",
        "missed", "expected", "held",
    }  # fmt: skip
    assert (first["number"], first["do"], first["seconds"], first["held"]) == (1, "subscribe", 0.421, True)


def test_missed_expectation_makes_the_run_fail() -> None:
    """One sentence that did not hold makes ``ok`` false, and stands in the JSON and on the screen."""
    sentence = "step 2 serve: expected 60 ok, got 58 (2 failed: delivery-failed)"
    report = replace(REPORT, steps=(step(), step(2, "serve", failed=2, missed=(sentence,))))
    assert not report.ok
    assert report.to_json()["ok"] is False
    assert report.to_json()["steps"][1]["missed"] == [sentence]
    shown = render(report)
    assert sentence in shown
    assert "FAILED  fleet demo" in shown
    assert "missed" in shown
    assert "1 of 2 steps as expected" in shown


def test_fault_makes_the_run_fail() -> None:
    """What went wrong beside the steps makes ``ok`` false too."""
    report = replace(REPORT, faults=("the broker was lost",))
    assert not report.ok
    assert "the broker was lost" in render(report)


def test_screen_says_everything() -> None:
    """A person finds verdict, steps, bearers and figures, in 100 columns without colours."""
    shown = render(replace(REPORT, resumed=True))
    assert max(map(len, shown.splitlines())) <= 100
    for words in (
        "OK  fleet demo: 100 of 100 modules served, 2 of 2 steps as expected, 6.54 s, resumed",
        "subscribe",
        "0.42",
        "12,345",
        "1,234,567",
        "34.5",
        "80 loaded, 40 released",
        "p50 12.3 ms, p95 45.6 ms, p99 78.9 ms",
        "123.5 a handset",
        "peak 123 MiB, base 100 MiB, 99 KiB a handset",
        "3 not-msgpack",
        "1, dead letters 0",
        "mosquitto at 127.0.0.1:18830",
    ):
        assert words in shown, words
    assert "\x1b" not in shown
    assert "…" not in shown


def test_a_narrow_screen_loses_nothing() -> None:
    """In 80 columns numbers, verdicts and even two minutes of latency are there; a long name is wrapped."""
    long_name = replace(step(11, "release"), service="service-with-a-long-name")
    waited = replace(
        step(12, "wait"),
        service="",
        seconds=120.07,
        latency=Latency(p50=120_020.1, p95=120_020.1, p99=999.96),
    )
    shown = render(replace(REPORT, steps=(step(do="block"), long_name, waited)), width=80)
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    for number, name, figures in (
        (1, "block account", "0.42 30.0 57.0 60.0 held"),
        (12, "wait", "120 120020 120020 1000.0 held"),
    ):
        assert f"{number} {name} 60 60 0 0 {figures}" in lines
    (begun,) = (line for line in lines if line.startswith("11 release 60 60"))
    rest = lines[lines.index(begun) + 1 : lines.index(begun) + 3]
    assert "".join(rest) == "service-with-a-long-name"


@pytest.mark.parametrize(
    ("audited", "words"),
    [
        (AuditReport(), "none"),
        (
            AuditReport(modules=6, free=107_640, largest_free=107_640),
            "6 modules, 107,640 octets free, in one piece each",
        ),
        (
            AuditReport(modules=2, free=1000, largest_free=750),
            "2 modules, 1,000 octets free, 25% of them outside the largest pieces",
        ),
        (AuditReport(modules=1), "1 module, nothing free"),
    ],
    ids=["none", "in-one-piece", "in-pieces", "full"],
)
def test_room_is_told_as_the_audits_found_it(audited: AuditReport, words: str) -> None:
    """How many modules said so, how much is free, and whether it is in one piece; likewise in JSON."""
    report = replace(REPORT, audited=audited)
    assert f"audited    {words}" in [line.rstrip() for line in render(report).splitlines()]
    values = report.to_json()["audited"]
    assert (values["modules"], values["free"], values["largest_free"]) == (
        audited.modules,
        audited.free,
        audited.largest_free,
    )
    assert values["fragmentation"] == round(audited.fragmentation, 3)


def test_screen_in_colours_says_the_same() -> None:
    """Colours add nothing but colours."""
    coloured = render(REPORT, colours=True)
    assert "\x1b[" in coloured
    plain = Text.from_ansi(coloured).plain
    assert [line.rstrip() for line in plain.splitlines()] == [
        line.rstrip() for line in render(REPORT).splitlines()
    ]


def test_markup_in_names_is_not_obeyed() -> None:
    """A name that looks like markup is printed as it is."""
    report = replace(REPORT, bearers={"[red]sms": REPORT.bearers["sms"]}, dropped={"[bold]": 1})
    shown = render(report)
    assert "[red]sms" in shown
    assert "1 [bold]" in shown


def test_empty_report() -> None:
    """A run without steps or traffic has a report all the same."""
    report = replace(REPORT, steps=(), bearers={}, resources={}, dropped={}, seed=None)
    assert "resources  none" in render(report)
    assert report.to_json()["seed"] is None


def test_step_without_expectation() -> None:
    """A step that nothing was expected of neither holds nor misses."""
    made = replace(step(), expected=False)
    assert "held" not in render(replace(REPORT, steps=(made,)))
