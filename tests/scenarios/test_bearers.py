"""Every bearer in real runs: on a radio that misbehaves, with bearers that fail, handsets that go off."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.handset.security_module.links import REOPENS
from agents.traces.chart import chart_of
from agents.traces.chart_words import words
from tests.scenarios.kit import (
    LOSSY_STEPS,
    fleet_of,
    log_events,
    logs,
    modules,
    play,
    rows,
    write_fleet,
    write_lossy,
    write_single,
)
from tests.scenarios.processes import Running, otafleet
from transport.air import Lane, Loss
from transport.security.keyset import PROTECTIONS, SessionKeys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from agents.fleet.report import BearerReport, Report
    from transport.air import Conditions

HANDSETS: Final = 4
SERVICES: Final = {"over-sms": "sms", "over-tcp": "bip-tcp", "over-udp": "bip-udp"}
FOREVER: Final = "outages = [{ every_s = 31536000.0, lasts_s = 31535999.0 }]"
ANNOUNCE: Final = '[[step]]\ndo = "announce"\nexpect = { ok = 5 }\n'
LOSSY_AIR: Final = """\
[air]
speed = 100

[air.sms]
loss = 0.2
duplication = 0.1
reordering = 0.1
attempts = 20

[air.cell_broadcast]
loss = 0.2
period = 8
repetitions = 8
"""


def loaded(state: Path) -> set[tuple[str, str]]:
    """Return which services are served in which modules: as the supplier has it, and the modules' DEF."""
    said = {
        (row["ua"], row["service"]) for row in rows(state, "bank", "resources") if row["state"] == "ready"
    }
    found = {
        (ua, one["service"])
        for ua, module in modules(state).items()
        for one in module["definitions"]
        if one["state"] == "loaded"
    }
    assert said == found
    return said


def events(state: Path, name: str) -> list[dict[str, Any]]:
    """Return the events *name* of the logs."""
    return [entry for entry in log_events(state) if entry["event"] == name]


def well(report: Report) -> Mapping[str, BearerReport]:
    """Check that a run ended well; return its traffic."""
    assert report.ok, report.missed
    assert (report.crashes, report.dead_letters) == (0, 0)
    assert report.modules_served == report.handsets
    return report.bearers


# ---- a radio that misbehaves -----------------------------------------------------------------------------


@pytest.fixture(scope="module", name="lossy")
def _lossy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory in which a small copy of ``lossy.toml`` was run, with its report ``r.json``."""
    directory = tmp_path_factory.mktemp("lossy")
    config = write_lossy(directory, handsets=HANDSETS, speed=80)
    code, said, complained = otafleet("up", config, "--report", "r.json", directory=directory)
    assert (code, complained) == (0, ""), said
    return directory


def test_lossy(lossy: Path) -> None:
    """A fifth of everything is lost: it is noticed and sent again, TCP loses nothing, all completes."""
    report = json.loads((lossy / "r.json").read_text())
    assert report["ok"] is True
    assert report["modules_served"] == HANDSETS
    assert (report["crashes"], report["dead_letters"], report["faults"]) == (0, 0, [])
    assert len(report["steps"]) == LOSSY_STEPS
    for step in report["steps"]:
        assert (step["held"], step["ok"]) == (True, step["targets"])
    bearers = report["bearers"]
    for name in ("sms", "report", "cell-broadcast", "bip-udp"):
        assert bearers[name]["lost"] > 0, name
    for name in ("sms", "cell-broadcast", "bip-udp"):
        assert bearers[name]["retries"] > 0, name
    assert bearers["bip-tcp"]["messages"] > 0
    assert (bearers["bip-tcp"]["lost"], bearers["bip-tcp"]["retries"]) == (0, 0)


def test_lossy_tells_what_is_sent_again(lossy: Path) -> None:
    """The log says of as many messages that they are repetitions as the report counts; the air doubles some.

    What CAT_TP repeats at the end of a channel is counted, and may go no more.
    """
    bearers = json.loads((lossy / "r.json").read_text())["bearers"]
    again = {
        (line["bearer"], line["reference"], line["attempt"])
        for line in log_events(lossy / "state")
        if line["event"] == "message.sent" and line["attempt"] > 1
    }
    counts = Counter(bearer for bearer, _, _ in again)
    assert set(counts) == {"sms", "bip-udp"}
    assert counts["sms"] == bearers["sms"]["retries"]
    assert bearers["bip-udp"]["retries"] - 3 <= counts["bip-udp"] <= bearers["bip-udp"]["retries"]


def test_lossy_serves_every_module_over_each_bearer(lossy: Path) -> None:
    """Each module is served over SMS, then BIP TCP, then BIP UDP, each service over the bearer it names."""
    config, state = fleet_of(lossy / "lossy.toml"), lossy / "state"
    everybody = {ua for ua, _ in config.handset_addresses()}
    assert loaded(state) == {(ua, service) for ua in everybody for service in SERVICES}
    served = [
        (entry["service"], entry["ua"])
        for entry in events(state, "order.ended")
        if (entry["do"], entry["result"]) == ("serve", "ok")
    ]
    assert [service for service, _ in served] == [service for service in SERVICES for _ in range(HANDSETS)], (
        "one service after the other"
    )
    for service, bearer in SERVICES.items():
        assert {ua for name, ua in served if name == service} == everybody
        if bearer != "sms":
            packets = events(state, "bip.packet_sent")
            assert {entry["ua"] for entry in packets if entry["bearer"] == bearer} == everybody
    assert events(state, "bearer.failed") == []
    assert events(state, "link.fallback") == []


class RecordedLane(Lane):
    """A lane that writes down, under its seed, the fate of each PDU: how many copies, or why it is lost."""

    fates: dict[bytes, list[int | Loss]]

    def __init__(self, conditions: Conditions, seed: bytes, epoch: float, **options: Any) -> None:
        super().__init__(conditions, seed, epoch, **options)
        self._fates = self.fates.setdefault(seed, [])

    def carry(self, octets: int, now: float) -> tuple[float, ...]:
        """Take a PDU, and write its fate down."""
        arrivals = super().carry(octets, now)
        self._fates.append(self.loss or len(arrivals))
        return arrivals


def fates(directory: Path, monkeypatch: pytest.MonkeyPatch) -> dict[bytes, list[int | Loss]]:
    """Run a small lossy fleet in *directory*; return what the air did to the PDUs of each lane."""
    directory.mkdir()
    monkeypatch.setattr("bus.air.Lane", RecordedLane)
    RecordedLane.fates = {}
    well(play(write_lossy(directory, handsets=2, speed=100)))
    return RecordedLane.fates


def test_same_seed_same_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The n-th PDU of a lane has the same fate in every run with a seed, however many there are of them.

    How many there are depends on time-outs, which a busy machine may let run out.
    """
    first = fates(tmp_path / "first", monkeypatch)
    again = fates(tmp_path / "again", monkeypatch)
    assert first.keys() == again.keys()
    # Both ways of two handsets: SMS and both kinds of channel; reports go up and pages come down.
    assert len(first) == 2 * (2 * 3 + 2)
    compared = {seed: list(zip(first[seed], again[seed], strict=False)) for seed in first}
    assert all(fate == other for lane in compared.values() for fate, other in lane)
    kinds = {fate for lane in compared.values() for fate, _ in lane}
    assert kinds == {Loss.RADIO, 1, 2}
    assert min(map(len, compared.values())) >= 2


def test_lossy_with_handsets_in_processes_of_their_own(tmp_path: Path) -> None:
    """The small fleet plays all its steps over bad air with two processes; a broadcast reaches both."""
    edits = [
        ("[air.sms]\nreport_timeout_s = 1.0\n", LOSSY_AIR),
        ('[[step]]\ndo = "agree"', f'{ANNOUNCE}\n[[step]]\ndo = "agree"'),
    ]
    config = write_fleet(tmp_path, edits=edits)
    code, said, complained = otafleet(
        "up", config, "--workers", "2", "--report", tmp_path / "r.json", directory=tmp_path
    )
    assert (code, complained) == (0, ""), said
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["steps"][1]["do"], report["steps"][1]["ok"]) == ("announce", 5)
    for name in ("sms", "report", "cell-broadcast"):
        assert report["bearers"][name]["lost"] > 0, name
    assert [path.name for path in logs(tmp_path / "state")] == [
        "handsets-1.jsonl",
        "handsets-2.jsonl",
        "otafleet.jsonl",
    ]
    heard = {(entry["process"], entry["ua"]) for entry in events(tmp_path / "state", "manager.announced")}
    assert len({ua for _, ua in heard}) == 5
    assert {process for process, _ in heard} == {"handsets-1", "handsets-2"}


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("after", [4, 7], ids=["in-reserve", "in-serve-over-tcp"])
def test_lossy_killed_in_mid_run(after: int, tmp_path: Path) -> None:
    """A fleet on bad air that was killed ends well when it is launched again, and does nothing twice."""
    config = write_lossy(tmp_path, handsets=2, speed=100)
    with Running(("up", str(config)), tmp_path) as process:
        process.until(f"[{after}/{LOSSY_STEPS}]")
        process.send(signal.SIGKILL)
        assert process.ended()[0] == -signal.SIGKILL
    report = play(config)
    well(report)
    assert report.resumed
    assert len(loaded(tmp_path / "state")) == 2 * len(SERVICES)
    for row in rows(tmp_path / "state", "mno", "modules"):
        assert row["command_counter"] == len(SERVICES), "a resource was reserved twice"


# ---- bearers that fail -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bearers", [["bip-tcp"], ["bip-udp"], ["bip-udp", "bip-tcp"]], ids="-".join)
def test_next_bearer(bearers: list[str], tmp_path: Path) -> None:
    """Where no packet network is, service goes over SMS: the module finds out, and so does the supplier."""
    air = f"speed = 100\n\n[air.bip]\n{FOREVER}\nresponse_timeout_s = 20.0"
    config = write_single(tmp_path, air=air, service=f"bearers = {json.dumps([*bearers, 'sms'])}")
    state, traffic = tmp_path / "state", well(play(config))
    everybody = {ua for ua, _ in loaded(state)}
    assert len(everybody) == 2
    assert [traffic[bearer].messages - traffic[bearer].lost for bearer in bearers] == [0] * len(bearers)
    assert traffic["sms"].messages > 0
    # Modules first: each call falls back, bearer by bearer, as the report of the lost links has it.
    fallbacks = [(entry["ua"], entry["reason"]) for entry in events(state, "link.fallback")]
    expected = [(ua, bearer) for ua in everybody for bearer in [*bearers, "sms"][1:]]
    assert sorted(fallbacks) == sorted(expected)
    if "bip-udp" in bearers:  # which nobody says no to: what is sent is lost, and asked for again
        assert traffic["bip-udp"].lost > 0
        opened = [entry["ua"] for entry in events(state, "link.opened")]
        # By the call and, once, by the supplier's push; over SMS the call made its way in the end.
        assert {ua: opened.count(ua) for ua in everybody} == dict.fromkeys(everybody, 1 + REOPENS + 1)
    # Then the supplier, when it invokes: it asks for a link over SMS, and none comes.
    failed = [(entry["ua"], entry["bearer"], entry["reason"]) for entry in events(state, "bearer.failed")]
    assert sorted(failed) == sorted((ua, bearer, "no-link") for ua in everybody for bearer in bearers)
    check_fallbacks(log_events(state), [*bearers, "sms"], len(everybody))


@pytest.mark.parametrize("bearers", [["bip-tcp"], ["bip-udp", "bip-tcp"]], ids="-".join)
def test_a_handset_without_channels(bearers: list[str], tmp_path: Path) -> None:
    """Its module knows so from the start: service goes over SMS, no channel is tried, the logs say why."""
    config = write_single(
        tmp_path,
        air="speed = 100",
        service=f"bearers = {json.dumps([*bearers, 'sms'])}",
        handsets='terminal = "no-bip"',
    )
    state, traffic = tmp_path / "state", well(play(config))
    everybody = {ua for ua, _ in loaded(state)}
    assert len(everybody) == 2
    assert set(traffic) & set(SERVICES.values()) == {"sms"}
    lacking = [(entry["ua"], entry["reason"]) for entry in events(state, "link.unsupported")]
    assert sorted(lacking) == sorted((ua, "terminal-lacks-open-channel") for ua in everybody for _ in bearers)
    assert events(state, "link.lost") == events(state, "link.opened") == []
    # Then the supplier, when it invokes: the module refuses to open a link.
    failed = [(entry["ua"], entry["bearer"], entry["reason"]) for entry in events(state, "bearer.failed")]
    assert sorted(failed) == sorted(
        (ua, bearer, "terminal-lacks-open-channel") for ua in everybody for bearer in bearers
    )
    check_fallbacks(log_events(state), [*bearers, "sms"], len(everybody), failure="link.unsupported")


def check_fallbacks(
    lines: list[dict[str, Any]], bearers: Sequence[str], handsets: int, *, failure: str = "link.lost"
) -> None:
    """Each fall-back, of modules and of their supplier, is a span in the one that failed; a chart says so.

    The second lies in the first. What is said over the next bearer is said in the fall-back's span. *failure*
    is the event that told a module.
    """
    parents = {line["span_id"]: line["parent_id"] for line in reversed(lines) if line.get("parent_id")}
    for event, cause in (("link.fallback", failure), ("bearer.fallback", "bearer.failed")):
        failed = {line["span_id"] for line in lines if line["event"] == cause}
        begun = {line["span_id"]: line for line in lines if line["event"] == event}
        assert len(begun) == handsets * (len(bearers) - 1)
        for span, line in begun.items():
            assert line["parent_id"] in failed
            over = line.get("bearer") or line["reason"]
            assert bool(begun.keys() & set(above(parents, span))) == (over != bearers[1])
            drawn = chart_of([each for each in lines if each.get("trace_id") == line["trace_id"]])
            said = [words(row, drawn) for row in drawn.rows]
            assert f"{event} to {over}" in said
            if over == "sms":
                assert any("fallback" in row.split(", ") for row in said if "x sms" in row or "sms," in row)


def above(parents: Mapping[str, str], span: str) -> Iterator[str]:
    """Yield the spans that *span* lies in."""
    while (span := parents.get(span, "")) != "":
        yield span


@pytest.mark.parametrize("bearer", ["sms", "bip-udp", "bip-tcp"])
def test_handsets_that_go_off(bearer: str, tmp_path: Path) -> None:
    """Handsets are off half of the time: what is for them waits until they are back, and all is done."""
    config = write_single(
        tmp_path,
        air="speed = 80",
        service=f"bearers = {json.dumps(list(dict.fromkeys([bearer, 'sms'])))}",
        handsets="on_s = 30.0\noff_s = 30.0",
        count=4,
    )
    state, traffic = tmp_path / "state", well(play(config))
    assert len(loaded(state)) == 4
    assert bearer in traffic
    absent, alerted = events(state, "sms.absent"), events(state, "sms.alerted")
    assert absent
    assert alerted
    assert traffic["notice"].messages >= len(absent) + len(alerted)
    assert {entry["to_ua"] for entry in alerted} == {entry["to_ua"] for entry in absent}


# ---- protection ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bearer", ["sms", "bip-tcp", "bip-udp"])
@pytest.mark.parametrize(("protection", "key_octets"), [("3des-2", 16), ("aes-256", 32)])
def test_protection(protection: str, key_octets: int, bearer: str, tmp_path: Path) -> None:
    """A service is served under the algorithms that it names, legacy ones too, over every bearer."""
    service = f'protection = "{protection}"\nbearers = ["{bearer}"]'
    traffic = well(play(write_single(tmp_path, service=service, count=1)))
    assert bearer in traffic
    (row,) = rows(tmp_path / "state", "bank", "resources")
    keys = SessionKeys.load(row["session"])
    for packet_keys in (keys.to_module, keys.from_module):
        assert len(packet_keys.cipher_key) == key_octets
        assert packet_keys.cipher_algorithm == PROTECTIONS[protection].cipher
