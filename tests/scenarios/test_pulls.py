"""Modules that lack what was broadcast call their supplier, untold: ``configs/pull.toml``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from agents.fleet.config import Verb
from tests.scenarios.kit import CONFIGS, fleet_of, log_events, modules, play

if TYPE_CHECKING:
    from pathlib import Path

CHANGES = (
    ("pull_within_s = 300", "pull_within_s = 120"),
    ("for_s = 600", "for_s = 240"),
    ("for_s = 900", "for_s = 360"),
    ("count = 20", "count = 4"),
    ("count = 5\n", "count = 2\n"),
    ("speed = 100.0", "speed = 40.0"),
    ('"apps/', f'"{CONFIGS}/apps/'),
)
"""The story with eight handsets, in less time."""


def test_who_was_off_or_late_or_lost_pages_calls_by_itself(tmp_path: Path) -> None:
    """In the end each module has the second version, and no step served any; the report says how."""
    text = (CONFIGS / "pull.toml").read_text(encoding="utf-8")
    for old, new in (*CHANGES, ('name = "pull"', f'name = "pull"\nstate = "{tmp_path}/state"')):
        assert old in text, old
        text = text.replace(old, new)
    config = tmp_path / "pull.toml"
    config.write_text(text, encoding="utf-8")
    fleet = fleet_of(config)
    assert {step.do for step in fleet.steps} & {Verb.SERVE, Verb.PULL} == set()
    report = play(config)
    assert (report.missed, report.modules_served) == ((), 0)
    held = [one for module in modules(tmp_path / "state").values() for one in module["definitions"]]
    assert Counter(one["version"] for one in held) == {2: fleet.handset_count}
    pulls = [event for event in log_events(tmp_path / "state") if event["event"] == "pull.called"]
    why = Counter(event["reason"] for event in pulls)
    away, late = (set(fleet.group_addresses(name)) for name in ("away", "late"))
    assert why["not-loaded"] >= fleet.handset_count
    assert why["switched-on"] >= len(away)
    (campaign,) = report.to_json()["campaigns"]
    ways = {one["ua"]: (one["way"], one["bearer"]) for one in campaign["arrivals"]}
    assert ways.keys() == {ua for ua, _ in fleet.handset_addresses()}
    assert {ways[ua] for ua in away | late} == {("served", "bip-tcp")}
    assert campaign["without"] == 0
