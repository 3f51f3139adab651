"""Broadcasts in stages: stopped, paused, finished and aborted; a supplier that is killed meanwhile."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from agents.fleet.config import Verb
from tests.scenarios.kit import CONFIGS, OF_THE_HOUSE, fleet_of, log_events, modules, play
from tests.scenarios.processes import killed

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = CONFIGS / "rollout.toml"
STEPS = fleet_of(CONFIG).steps
FINISH = next(number for number, step in enumerate(STEPS, 1) if step.do is Verb.FINISH_CAMPAIGN)
SMALL = (
    ("loss = 0.1", "loss = 0.0"),
    ("repetitions = 4", "repetitions = 2"),
    ("count = 8\ncells = 4", "count = 4\ncells = 4"),
    ("count = 16\ncells = 8", "count = 8\ncells = 4"),
    ("speed = 200.0", "speed = 400.0"),
    ("for_s = 60", "for_s = 10"),
)
"""The same story with fewer handsets and better air: each cell of the old ones has one."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write the small story, with its state beside it."""
    text = CONFIG.read_text(encoding="utf-8")
    for old, new in (*SMALL, ('"apps/', f'"{CONFIGS}/apps/'), ("seed", f'state = "{tmp_path}/state"\nseed')):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "rollout.toml"
    path.write_text(text)
    return path


def _versions(state: Path) -> dict[str, list[int]]:
    """Return the versions that modules hold, by the beginning of the address: that is the group."""
    held: dict[str, list[int]] = {}
    for ua, module in sorted(modules(state).items()):
        held.setdefault(ua[:12], []).extend(one["version"] for one in module["definitions"])
    return held


def _of(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == name]


def test_a_bad_version_is_stopped_and_a_good_one_goes_through_its_stages(config: Path) -> None:
    """Nobody beyond the first stage hears the bad one; modules' own reports decide both."""
    report = play(config)
    assert report.missed == ()
    first, bad, good, aborted = report.to_json()["campaigns"]
    assert [made["sent"]["state"] for made in (first, bad, good, aborted)] == [
        "ended",
        "stopped",
        "ended",
        "aborted",
    ]
    assert bad["sent"]["reason"] == "too-many-errors"
    assert bad["sent"]["cells"] == bad["sent"]["stages"][0]["cells"] < first["sent"]["cells"]
    assert good["reported"] == {"loaded": 8, "held": 0, "refused": 0, "reasons": {}}
    assert bad["reported"]["reasons"] == {"too-large": bad["reported"]["refused"]}
    assert (bad["one_by_one"], good["by_broadcast"], good["without"]) == (0, 8, 0)
    assert [stage["why"] for stage in good["sent"]["stages"]] == ["enough-successes"] * 3
    assert good["sent"]["published"] == 2 * good["sent"]["pages"] * good["sent"]["cells"]
    town, old = _versions(config.parent / "state").values()
    assert (set(town), set(old)) == ({3}, {1})
    events = log_events(config.parent / "state")
    assert {one["event"] for one in events if "trace_id" not in one} == OF_THE_HOUSE
    reported = _of(events, "campaign.reported")
    assert {(one["version"], one["outcome"]) for one in reported} <= {
        (2, "refused"),
        (2, "loaded"),
        (3, "loaded"),
    }


@pytest.mark.skipif(sys.platform != "linux", reason="kills itself as only a process can")
def test_killed_on_the_air_a_campaign_goes_on(config: Path) -> None:
    """From where it was, in the second of three stages; the step that waited for it ends as it would have.

    The cell of the first stage hears nothing again but the roll call, by which its handsets tell the new
    launch.
    """
    state = config.parent / "state"
    killed(config, "published", 50, FINISH)
    report = play(config)
    assert report.resumed
    assert report.missed == ()
    events = log_events(state)
    # What the killed launch had yet to log is lost, so only what was published after it can be counted.
    (again,) = _of(events, "campaign.goes_on")
    ended = next(one for one in _of(events, "campaign.ended") if one["version"] == 3)
    pages = sum(
        one["publishes"]
        for one in events[events.index(again) : events.index(ended)]
        if one["event"] == "cell_broadcast.ended"
    )
    begun = next(one for one in _of(events, "campaign.begun") if one["version"] == 3)
    a_cell = 2 * begun["pages"]
    assert again["stage"] == 2
    assert (again["trace_id"], again["parent_id"]) == (begun["trace_id"], begun["span_id"])
    assert (begun["cells"] - 2) * a_cell <= pages <= (begun["cells"] - 1) * a_cell
    assert len(_of(events, "campaign.roll_call")) == 1


OPEN = """
[[step]]                           # 7
do = "broadcast"
service = "points"
handsets = ["town"]
application = "apps/loyalty2.wat"
stages = [10, 50, 100]
success = 0.9
report_share = 1.0
report_within_s = 60
wait = false
expect = { ok = 1 }

[[step]]                           # 8
do = "wait"
for_s = 60
"""
SEEN = """
[[step]]                           # 9
do = "finish-campaign"
service = "points"
expect = { ok = "all" }
"""


def test_what_nobody_waits_for_is_told_so_far(config: Path) -> None:
    """It has a section that says it is open; the launch that sees its end knows who told the one before.

    The step's latencies are its own, the curve's times count from the order on that began the campaign.
    """
    story = config.read_text().partition("[[step]]                           # 7")[0]
    config.write_text(story + OPEN.replace('"apps/', f'"{CONFIGS}/apps/'))
    first = play(config)
    assert first.missed == ()
    *_, still = first.to_json()["campaigns"]
    assert (still["step"], still["state"], still["targets"], still["sent"]["state"]) == (7, "open", 8, "open")
    assert 0 < still["sent"]["published"] < still["sent"]["planned"]
    assert (still["by_broadcast"], still["without"]) == (len(still["coverage"]), 8 - len(still["coverage"]))
    config.write_text(config.read_text() + 2 * SEEN)
    second = play(config)
    assert (second.resumed, second.missed) == (True, ())
    _, ended = second.to_json()["campaigns"]
    # Who asks twice is told twice: the handsets have told once.
    assert (ended["step"], ended["state"], ended["by_broadcast"], ended["without"]) == (10, "ended", 8, 0)
    assert ended["coverage"][: len(still["coverage"])] == still["coverage"]
    assert (ended["sent"]["is_whole"], [one["why"] for one in ended["sent"]["stages"]]) == (
        False,
        ["enough-successes"] * 3,
    )
    assert second.steps[8].latency.p99 <= 1000 * second.steps[8].seconds
    assert ended["coverage"][-1]["s"] > 60
