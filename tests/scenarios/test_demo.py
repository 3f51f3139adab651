"""The whole story: the demo as a newcomer runs it, and the small fleet on both brokers."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.agents.documents import PAGES
from tests.peers import need
from tests.scenarios.kit import (
    CONFIGS,
    HANDSETS,
    RESOURCES,
    TARGETS,
    cli,
    ends,
    modules,
    play,
    targets_of,
    write_fleet,
)
from tests.scenarios.processes import brokers_of, otafleet, started_from_nothing
from tests.transport.captures import complaints, dissect

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scenarios.conftest import Recording

DEMO = CONFIGS / "demo.toml"
REFUSED_STEPS = (10, 15)
"""The steps of either config in which everything must be refused."""


@pytest.fixture(scope="module", name="demo")
def _demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory in which the demo was run, with its report ``r.json`` and its capture."""
    directory = tmp_path_factory.mktemp("demo")
    options = ("--report", "r.json", "--capture", "r.pcapng")
    code, said, complained = started_from_nothing("up", DEMO, *options, directory=directory)
    assert (code, complained) == (0, ""), said
    assert "OK  fleet demo: 100 of 100 modules served, 15 of 15 steps as expected" in said
    return directory


def test_demo(demo: Path) -> None:
    """The demo ends well: every module is served, each step is as expected, nothing was dropped."""
    report = json.loads((demo / "r.json").read_text())
    assert report["ok"] is True
    assert (report["handsets"], report["modules_served"]) == (100, 100)
    assert [step["number"] for step in report["steps"]] == list(range(1, 16))
    for step in report["steps"]:
        assert step["held"]
        assert step["expected"]
        refused = step["targets"] if step["number"] in REFUSED_STEPS else 0
        assert (step["ok"], step["refused"], step["failed"]) == (step["targets"] - refused, refused, 0)
    assert report["resources"] == {"loaded": 80, "released": 40}
    assert (report["dropped"], report["crashes"], report["dead_letters"]) == ({}, 0, 0)
    assert report["bearers"].keys() == {"contact", "report", "role", "sms"}
    assert all(bearer["messages"] > 0 and bearer["octets"] > 0 for bearer in report["bearers"].values())
    assert report["memory"]["peak_mib"] >= report["memory"]["base_mib"] > 0
    assert report["messages_per_handset"] > 0
    assert (report["resumed"], report["faults"]) == (False, [])


def test_demo_traced(demo: Path) -> None:
    """The demo's log has a transaction for each order that was given, ended as the report tells."""
    steps = json.loads((demo / "r.json").read_text())["steps"]
    expected: Counter[tuple[str, str]] = Counter()
    for step in steps:
        expected[step["do"], "ok"] += step["ok"]
        expected[step["do"], "refused"] += step["refused"]
    code, said, complained = otafleet("trace", "--limit", "0", "--json", directory=demo)
    assert (code, complained) == (0, "")
    traced = [each for each in json.loads(said)["transactions"] if each["do"]]
    assert Counter((each["do"], each["outcome"]) for each in traced) == +expected
    blocked = next(each for each in traced if each["reason"] == "blocked")
    code, said, complained = otafleet("trace", blocked["trace_id"][:12], "--json", directory=demo)
    assert (code, complained) == (0, "")
    assert "blocked" in {line.get("reason") for line in json.loads(said)["told"]}


def test_demo_captured(demo: Path) -> None:
    """Every TPDU and APDU of the demo is dissected: nothing is malformed, no expert warns, parts join."""
    need("tshark")
    packets = dissect(demo / "r.pcapng", ("frame.protocols", "gsm_sms.reassembled.length"))
    protocols = Counter(packet["frame.protocols"].rpartition(":")[2] for packet in packets)
    report = json.loads((demo / "r.json").read_text())["bearers"]
    assert protocols["gsm_sms"] >= report["sms"]["messages"] + report["report"]["messages"]
    assert any(packet["gsm_sms.reassembled.length"] for packet in packets)
    assert complaints(demo / "r.pcapng") == []


def test_demo_leaves_only_its_state(demo: Path) -> None:
    """A run leaves its report, its capture and its state directory, and no broker."""
    assert sorted(path.name for path in demo.iterdir()) == ["r.json", "r.pcapng", "state"]
    assert [path.name for path in (demo / "state").iterdir()] == ["demo"]
    assert brokers_of(demo / "state/demo") == []


def test_demo_modules(demo: Path) -> None:
    """Each module's DEF says what the story made of it."""
    found = modules(demo / "state/demo")
    assert len(found) == 100
    services = {"0001": ["account"], "0002": [], "0003": ["account", "loyalty"]}
    for ua, module in found.items():
        assert module["personalised"]
        assert [one["service"] for one in module["definitions"]] == services[ua[8:12]]
        assert all(one["state"] == "loaded" and one["session"] for one in module["definitions"])


def test_inspect_of_a_module(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``otafleet inspect`` shows a module's memory map and DEF without being told where the state is."""
    ua = next(ua for ua, module in modules(demo / "state/demo").items() if len(module["definitions"]) == 2)
    monkeypatch.chdir(demo)
    code, said, complained = cli("inspect", ua)
    assert (code, complained) == (0, "")
    assert f"Module {ua}, personalised, 32,768 octets" in said
    for service in ("account", "loyalty"):
        assert service in said


def test_the_manual_shows_a_module_as_it_is(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module in the manual is the demo's, line by line; its keys are those of every fresh run."""
    text = PAGES["docs/module.md"]
    (ua,) = re.findall(r"^\$ otafleet inspect (\d+)$", text, re.MULTILINE)
    shown = text.partition(f"$ otafleet inspect {ua}\n")[2].partition("```")[0]
    monkeypatch.chdir(demo)
    code, said, _ = cli("inspect", ua)
    assert code == 0
    assert lines_of(shown) == lines_of(said)


def lines_of(shown: str) -> list[str]:
    """Return what is shown of a module, without what depends on which of its services came first."""
    lines = (" ".join(line.split()) for line in shown.splitlines())
    # Letters, ids, TARs and places; of the rows of the map nothing is left.
    by_chance = re.compile(r"^[A-Za-z] |^\d+ (A\d{5} )?|\b\d{5}\b|[#=A-Za-z·]{64}")
    return sorted(by_chance.sub("", line) for line in lines)


def test_broken_expectation(demo: Path, tmp_path: Path) -> None:
    """A copy of the demo that expects something else exits with 1 and a sentence that names the step."""
    shutil.copytree(CONFIGS / "apps", tmp_path / "apps")
    shutil.copytree(demo / "state", tmp_path / "state")
    copy = tmp_path / "copy.toml"
    text = DEMO.read_text()
    assert "expect = { refused = 20, reason" in text
    copy.write_text(text.replace("expect = { refused = 20, reason", "expect = { refused = 19, reason"))
    code, said, _ = otafleet("up", copy, "--report", "r.json", directory=tmp_path)
    assert code == 1
    assert "step 10 invoke account: expected 19 refused, got 20" in said
    assert "FAILED  fleet demo" in said
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["ok"] is False
    assert [step["number"] for step in report["steps"] if not step["held"]] == [10]


def test_broken_expectation_of_a_fresh_run(tmp_path: Path) -> None:
    """A fleet that never ran misses what cannot be, also when it may print nothing else."""
    config = write_fleet(tmp_path, edits=[('output = "00000005"', 'output = "00000006"')])
    code, said, complained = cli("up", config, "--quiet")
    assert (code, said) == (1, "")
    (sentence,) = complained.splitlines()
    assert sentence.startswith("step 8 invoke loyalty: expected ")


def test_on_mosquitto(recording: Recording) -> None:
    """The small fleet plays its whole story through mosquitto."""
    need("mosquitto")
    assert recording.report.ok
    assert recording.report.broker.kind == "mosquitto"
    assert recording.report.modules_served == HANDSETS
    assert recording.report.resources == RESOURCES
    check_targets(targets_of(recording.report))


def test_on_amqtt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recording: Recording) -> None:
    """Without mosquitto the same story ends the same through the embedded broker."""
    monkeypatch.setattr("bus.broker.find_mosquitto", lambda: None)
    report = play(write_fleet(tmp_path))
    assert report.ok, report.missed
    assert report.broker.kind == "amqtt"
    assert report.resources == RESOURCES
    check_targets(targets_of(report))
    assert ends(tmp_path / "state") == recording.ends


@pytest.mark.parametrize("kind", ["amqtt", "mosquitto"])
def test_broker_by_name(kind: str, tmp_path: Path) -> None:
    """``--broker`` takes the names of the brokers that we start ourselves, as its check does."""
    if kind == "mosquitto":
        need(kind)
    code, said, complained = cli("up", write_fleet(tmp_path), "--broker", kind)
    assert (code, complained) == (0, "")
    assert f"broker: {kind} at 127.0.0.1:" in said


def test_handsets_in_processes_of_their_own(tmp_path: Path, recording: Recording) -> None:
    """It does not matter in how many processes the handsets are."""
    config = write_fleet(tmp_path)
    code, said, complained = otafleet(
        "up", config, "--workers", "2", "--report", tmp_path / "r.json", directory=tmp_path
    )
    assert (code, complained) == (0, ""), said
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["resources"] == RESOURCES
    assert (report["dropped"], report["crashes"], report["dead_letters"]) == ({}, 0, 0)
    assert ends(tmp_path / "state") == recording.ends
    sent = {name: bearer.messages for name, bearer in recording.report.bearers.items()}
    assert {name: bearer["messages"] for name, bearer in report["bearers"].items()} == sent


def check_targets(found: list[tuple[int, int, int]]) -> None:
    """Check that every target of the small fleet ended as its step expects."""
    assert found == [
        (0, count, 0) if number in REFUSED_STEPS else (count, 0, 0) for number, count in enumerate(TARGETS, 1)
    ]
