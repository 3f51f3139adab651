"""Where spans go: by the command line, by the environment, or nowhere, and in words where that cannot be."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from agents.cli import app
from agents.fleet.config import load_config
from agents.fleet.exports import NOT_INSTALLED, endpoint_of, named_by, ratio_of, services_of
from tests.collector import Collector
from tests.scenarios.kit import CONFIGS, log_events, write_single

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

URL = "http://127.0.0.1:4318"
GENERAL = {"OTEL_EXPORTER_OTLP_ENDPOINT": URL}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide what the machine that we run on has set."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(name="without_extra")
def _without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the extra be as if it were not installed."""
    monkeypatch.delitem(sys.modules, "bus.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        pytest.param(URL, f"{URL}/v1/traces", id="base"),
        pytest.param(f"{URL}/", f"{URL}/v1/traces", id="slash"),
        pytest.param("https://c.example/otlp", "https://c.example/otlp/v1/traces", id="path"),
        pytest.param(f"{URL}/v1/traces", f"{URL}/v1/traces", id="whole"),
    ],
)
def test_endpoints(url: str, endpoint: str) -> None:
    """A collector's URL is what the environment's would be; one that is whole already stays as it is."""
    assert endpoint_of(url) == endpoint


@pytest.mark.parametrize(
    "url",
    ["localhost:4318", "grpc://c:4317", "http://", "http://c:port", "http://c?x=1", "http://[c"],
    ids=["no scheme", "scheme", "no host", "port", "query", "bracket"],
)
def test_no_endpoint(url: str, tmp_path: Path) -> None:
    """What is no collector's URL is refused before anything starts."""
    config = write_single(tmp_path)
    result = CliRunner().invoke(app, ["up", str(config), "--otlp", url])
    assert result.exit_code == 2
    assert "--otlp" in result.output
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        pytest.param({}, "", id="none"),
        pytest.param(GENERAL, f"{URL}/v1/traces", id="general"),
        pytest.param({**GENERAL, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/x"}, "http://t/x", id="own"),
        pytest.param({**GENERAL, "OTEL_SDK_DISABLED": "true"}, "", id="disabled"),
        pytest.param({**GENERAL, "OTEL_TRACES_EXPORTER": "none"}, "", id="no traces"),
        pytest.param({**GENERAL, "OTEL_TRACES_EXPORTER": "console,otlp"}, f"{URL}/v1/traces", id="among"),
        pytest.param(
            {**GENERAL, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, f"{URL}/v1/traces", id="protocol"
        ),
        pytest.param(
            {
                **GENERAL,
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            },
            f"{URL}/v1/traces",
            id="own protocol",
        ),
    ],
)
def test_the_environment(environment: Mapping[str, str], endpoint: str) -> None:
    """The standard variables mean what they mean elsewhere."""
    assert named_by(environment) == endpoint


def test_a_protocol_that_is_not_ours() -> None:
    """It is named, with the one that is."""
    with pytest.raises(ValueError, match=r"OTEL_EXPORTER_OTLP_PROTOCOL: .* http/protobuf only, not by grpc"):
        named_by({**GENERAL, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})


@pytest.mark.parametrize(
    ("sampler", "argument", "ratio"),
    [
        pytest.param("", "", 1.0, id="nothing said"),
        pytest.param("", "0.25", 0.25, id="argument alone"),
        pytest.param("traceidratio", "0.5", 0.5, id="ratio"),
        pytest.param("parentbased_traceidratio", "0", 0.0, id="parent-based"),
        pytest.param("always_on", "0.5", 1.0, id="always on"),
        pytest.param("parentbased_always_off", "", 0.0, id="always off"),
    ],
)
def test_ratios(sampler: str, argument: str, ratio: float) -> None:
    """The sampler and its argument say how much of all transactions is exported."""
    said = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    assert ratio_of(said) == ratio


@pytest.mark.parametrize("argument", ["half", "2", "-1", "nan"], ids=str)
def test_no_ratio(argument: str) -> None:
    """What is no ratio is told with its variable's name."""
    with pytest.raises(ValueError, match=f"OTEL_TRACES_SAMPLER_ARG: '{argument}' is no ratio"):
        ratio_of({"OTEL_TRACES_SAMPLER_ARG": argument})


@pytest.mark.parametrize(
    ("agent", "service"),
    [
        ("bank", "bank"),
        ("15550200", "bank"),
        ("192.0.2.1", "bank"),
        ("mno", "mno"),
        ("console", "console"),
        ("8988847800010000014", "handsets"),
        ("192.0.2.2", "others"),
    ],
    ids=["name", "number", "server", "operator", "console", "handset", "stranger"],
)
def test_whose_span_it_is(agent: str, service: str) -> None:
    """Whatever an agent is called on a bearer, its spans are of one service."""
    assert services_of(load_config(CONFIGS / "lossy.toml"))(agent) == service


@pytest.mark.usefixtures("without_extra")
def test_asked_for_without_the_extra(tmp_path: Path) -> None:
    """The command line's wish is refused in one sentence that says what to install."""
    config = write_single(tmp_path)
    result = CliRunner().invoke(app, ["up", str(config), "--otlp", URL, "--quiet"])
    assert (result.exit_code, result.stderr.strip()) == (1, NOT_INSTALLED)


@pytest.mark.usefixtures("without_extra")
def test_the_machines_wish_without_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the environment asks of every program ends no run: one sentence, and a line of the log."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", URL)
    config = write_single(tmp_path, count=1)
    result = CliRunner().invoke(app, ["up", str(config), "--quiet"])
    assert result.exit_code == 0
    assert (result.stderr + capsys.readouterr().err).count(NOT_INSTALLED) == 1
    said = [line["reason"] for line in log_events(tmp_path / "state") if line["event"].startswith("spans.")]
    assert said == [NOT_INSTALLED]


def test_a_collector_that_takes_nothing_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It costs one sentence when it begins, one with the number of spans at the end, and tells no secret."""
    with Collector() as collector:
        url = f"http://me:secret@{collector.url[7:]}/v1/traces?token=secret"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url)
    result = CliRunner().invoke(app, ["up", str(write_single(tmp_path, count=1)), "--quiet"])
    assert result.exit_code == 0
    first, last = (result.stderr + capsys.readouterr().err).splitlines()
    shown = f"{collector.url[7:]}/v1/traces"
    assert first == f"otafleet: the collector at {shown} does not take spans; the run goes on without"
    assert last.endswith("spans of otafleet were not exported")
    events = [line for line in log_events(tmp_path / "state") if line["event"].startswith("spans.")]
    assert [line["event"] for line in events] == ["spans.refused", "spans.lost"]
    assert "/v1/traces" in events[0]["reason"]
    assert events[1]["spans"] > 50
    assert "secret" not in str(events)
