"""Where resources end: the whole of ``configs/limits.toml``, killed and resumed too, and what it leaves."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.scenarios.kit import CONFIGS, cli, ends, fleet_of, images, log_events, modules, rows
from tests.scenarios.processes import Running, brokers_of, otafleet

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = CONFIGS / "limits.toml"
FLEET = fleet_of(LIMITS)
STEPS = len(FLEET.steps)
REFUSED = {
    10: {"exhausted": 2},
    12: {"exhausted": 2},
    14: {"exhausted": 2},
    19: {"unknown-resource": 2},
    21: {"released": 2},
    23: {"blocked": 2},
    27: {"unknown-resource": 2},
    32: {"expired": 1},
    34: {"expired": 1},
    39: {"expired": 2},
    42: {"expired": 3},
    44: {"expired": 3},
    52: {"zone-fragmented": 1},
}
"""Which steps are refused altogether, and why."""
FAILED = 11
"""The step in which nobody is left who could answer under the session's keys."""
RESOURCES = {"loaded": 3, "released": 5, "reserved": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A run of the config: its report, and where it was run."""

    directory: Path
    report: dict[str, Any]

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.directory / "state/limits"

    def counts(self) -> list[tuple[int, int, int]]:
        """Return of each step how many targets were ok, refused and failed."""
        return [(step["ok"], step["refused"], step["failed"]) for step in self.report["steps"]]


def up(directory: Path) -> Played:
    """Run the config to its end; every expectation must hold."""
    code, said, complained = otafleet("up", LIMITS, "--report", "r.json", directory=directory)
    assert (code, complained) == (0, ""), said
    assert f"{STEPS} of {STEPS} steps as expected" in said
    return Played(directory=directory, report=json.loads((directory / "r.json").read_text()))


@pytest.fixture(scope="module", name="played")
def _played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Return the one undisturbed run."""
    return up(tmp_path_factory.mktemp("limits"))


def lasting(state: Path) -> dict[str, dict[str, Any]]:
    """Return what became of each module, without the dates: they count from when a run came to them."""
    found = ends(state)
    for module in found.values():
        for definition in module["definitions"].values():
            definition["expires_at"] = definition["expires_at"] is not None
    return found


def subscriptions(state: Path) -> dict[tuple[str, str], tuple[str, int]]:
    """Return the state of every subscription, and how many executions its resource was last given."""
    return {
        (row["ua"], row["service"]): (row["state"], row["executions"])
        for row in rows(state, "mno", "subscriptions")
    }


def test_every_step_ends_as_it_says(played: Played) -> None:
    """Each has an expectation but the wait, and each refusal has the reason that the story is about."""
    report = played.report
    assert report["ok"] is True
    assert [step["number"] for step in report["steps"] if not step["held"]] == []
    assert [step["do"] for step in report["steps"] if not step["expected"]] == ["wait"]
    for step in report["steps"]:
        reasons = step["reasons"] if step["refused"] else {}
        assert (step["number"], reasons) == (step["number"], REFUSED.get(step["number"], {}))
        assert (step["number"], step["failed"]) == (step["number"], 2 * (step["number"] == FAILED))
    assert (report["crashes"], report["dead_letters"], report["faults"]) == (0, 0, [])


def test_the_report_tells_what_is_left(played: Played) -> None:
    """Resources by state, and how much room the last audits found, in one piece in each module."""
    assert played.report["resources"] == RESOURCES
    audited = played.report["audited"]
    assert audited["modules"] == len(FLEET.handset_addresses())
    free = sum(module["memory"]["free"] for module in modules(played.state).values())
    assert (audited["free"], audited["largest_free"], audited["fragmentation"]) == (free, free, 0.0)


def test_time_passed_as_the_steps_say(played: Played) -> None:
    """Two minutes were waited for, in six seconds of ours."""
    report = played.report
    (wait,) = (step for step in report["steps"] if step["do"] == "wait")
    assert wait["seconds"] >= 120
    assert report["simulated_s"] > 120
    assert report["wall_s"] < report["simulated_s"]


def test_modules_noted_what_ended_by_itself(played: Played) -> None:
    """What happened unordered, as often as it did: used up, suspended, restored, expired, deleted."""
    events = Counter(event["event"] for event in log_events(played.state))
    assert {name: events[f"resource.{name}"] for name in ("exhausted", "deleted", "expired", "restored")} == {
        "exhausted": 2,
        "deleted": 2,
        "expired": 3,
        "restored": 1,
    }
    # The one that was ahead of its time, and later those of the two honest handsets.
    assert events["resource.suspended"] >= 3
    assert events["audit.mismatch"] == 0
    assert events["module.audited"] == 13


def test_modules_hold_what_the_operator_thinks(played: Played) -> None:
    """Each resource in DEF is in the books with the same limits, and each that is held there is in DEF."""
    books = {(row["ua"], row["service"]): row for row in rows(played.state, "mno", "subscriptions")}
    held = set()
    for ua, module in modules(played.state).items():
        for definition in module["definitions"]:
            row = books[ua, definition["service"]]
            held.add((ua, definition["service"]))
            assert row["rsc_id"] == definition["id"]
            assert (row["expires_at"] or None) == definition["expires_at"]
            assert definition["supplier_key"]
    assert held == {key for key, row in books.items() if row["state"] in {"reserved", "active"}}


def test_what_is_free_is_zeros(played: Played) -> None:
    """Released, deleted or moved: of what was there no octet is left."""
    for ua, module in modules(played.state).items():
        memory = bytes(images(played.state)[ua])
        for area in module["areas"]:
            if area["kind"] == "free":
                assert not any(memory[area["start"] : area["end"]])


@pytest.mark.parametrize("group", [group.name for group in FLEET.handsets])
def test_inspect_of_each_kind_of_module(group: str, played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    """``otafleet inspect`` finds each module, and says of it what the story made of it."""
    monkeypatch.chdir(played.directory)
    ua = FLEET.group_addresses(group)[0]
    code, said, complained = cli("inspect", ua)
    assert (code, complained) == (0, "")
    assert f"Module {ua}, personalised, 32,768 octets" in said
    lines = [" ".join(line.split()) for line in said.splitlines()]
    services = {"riders": [], "crowded": ["first", "large", "last"]}.get(group, ["pass"])
    for service in services:
        assert any(f" {service} " in line for line in lines)
    assert ("DEF is empty: no resource is reserved" in lines) == (not services)
    assert any(line.startswith("The operator last told it the time ") for line in lines)
    code, said, _ = cli("inspect", ua, "--json")
    assert code == 0
    values = json.loads(said)
    assert values == modules(played.state)[ua]
    assert sorted(one["service"] for one in values["definitions"]) == services
    assert values["memory"]["fragmentation"] == 0
    assert values["signed_time"] > 0


def test_a_finished_run_reports_the_same_again(played: Played) -> None:
    """Nothing goes over the air, not even for the targets that were to fail."""
    before = lasting(played.state)
    again = up(played.directory)
    assert again.report["resumed"] is True
    assert again.report["bearers"] == {}
    assert again.counts() == played.counts()
    for key in ("resources", "audited", "modules_served"):
        assert again.report[key] == played.report[key]
    assert lasting(played.state) == before


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the broker in /proc")
def test_killed_in_the_middle(tmp_path: Path, played: Played) -> None:
    """Killed while it renews, and again while it compacts, it comes to the same end."""
    for last in (14, 52):
        with Running(("up", str(LIMITS)), tmp_path) as process:
            process.until(f"[{last}/{STEPS}]")
            process.send(signal.SIGKILL)
            assert process.ended()[0] == -signal.SIGKILL
    resumed = up(tmp_path)
    assert resumed.report["resumed"] is True
    assert resumed.counts() == played.counts()
    for key in ("resources", "audited"):
        assert resumed.report[key] == played.report[key]
    assert lasting(resumed.state) == lasting(played.state)
    assert subscriptions(resumed.state) == subscriptions(played.state)
    assert rows(resumed.state, "mno", "commands") == []
    assert brokers_of(resumed.state) == []
