"""Broadcasts load an application and update it in every module of a domain: ``configs/broadcast.toml``."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from agents.fleet.config import Verb
from tests.scenarios.kit import CONFIGS, ROOT, fleet_of, log_events, modules, play

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = CONFIGS / "broadcast.toml"
FLEET = fleet_of(CONFIG)
UPDATE = next(index for index, step in enumerate(FLEET.steps) if step.application)
PULL = next(index for index, step in enumerate(FLEET.steps) if step.do is Verb.PULL)

SMALL = (
    ("loss = 0.2", "loss = 0.0"),
    ("repetitions = 6", "repetitions = 2"),
    ("count = 30", "count = 6"),
    ("count = 10", "count = 2"),
    ("ok = 30", "ok = 6"),
    ("refused = 10", "refused = 2"),
)
"""The same story with fewer handsets and better air."""


def write(directory: Path, *changes: tuple[str, str]) -> Path:
    """Write the config, but for *changes*, with its state in *directory*; return its path."""
    text = CONFIG.read_text(encoding="utf-8")
    state = ('name = "broadcast"', f'name = "broadcast"\nstate = "{directory}/state"')
    for old, new in (*changes, ('"apps/', f'"{CONFIGS}/apps/'), state):
        assert old in text
        text = text.replace(old, new)
    path = directory / "broadcast.toml"
    path.write_text(text)
    return path


def held(state: Path) -> list[dict[str, Any]]:
    """Return the resources of all modules."""
    return [one for module in modules(state).values() for one in module["definitions"]]


def test_one_broadcast_loads_every_module(tmp_path: Path) -> None:
    """All that hear it by pages that grow with cells and not with handsets; whoever did not hear pulls it."""
    report = play(write(tmp_path))
    assert report.missed == ()
    found = held(tmp_path / "state")
    assert len(found) == FLEET.handset_count == report.modules_served
    assert {(one["service"], one["version"], one["domain_key"]) for one in found} == {("points", 2, True)}
    events = log_events(tmp_path / "state")
    campaigns = [event for event in events if event["event"] == "campaign.begun"]
    town, away, late = FLEET.handsets
    assert [(one["version"], one["cells"]) for one in campaigns] == [
        (1, town.cells + away.cells),
        (2, town.cells),
        (2, late.cells),
    ]
    ended = [event for event in events if event["event"] == "cell_broadcast.ended"]
    pages = sum(one["pages"] * one["cells"] for one in campaigns)
    assert sum(event["publishes"] for event in ended) == pages * FLEET.air.cell_broadcast.repetitions
    served = [event for event in events if event["event"] == "application.loaded" and "octets" in event]
    size = len(FLEET.broadcast_programme(UPDATE).code)
    missed = away.count + late.count
    assert sorted(event["octets"] for event in served) == [0] * town.count + [size] * missed


def test_the_report_says_how_each_module_got_it(tmp_path: Path) -> None:
    """By which broadcast, by a pull afterwards, or before; a launch that resumes says what it knows of it."""
    path = write(tmp_path)
    report = play(path)
    first, update, again = report.to_json()["campaigns"]
    town, away, late = (group.count for group in FLEET.handsets)
    both = town + away
    assert [
        (
            made["version"],
            made["targets"],
            made["by_broadcast"],
            made["had_before"],
            made["one_by_one"],
            made["without"],
        )
        for made in (first, update, again)
    ] == [(1, both, both, 0, 0, 0), (2, town, town, 0, away + late, 0), (2, late, 0, late, 0, 0)]
    assert [made["coverage"][-1]["modules"] for made in (first, update, again)] == [both, town, late]
    lost = report.bearers["cell-broadcast"].lost
    assert 0 < lost == first["sent"]["lost_by_all"]
    assert first["sent"]["lost"] is None
    cells = [made["sent"]["cells"] for made in (first, update, again)]
    repetitions = FLEET.air.cell_broadcast.repetitions
    assert [made["sent"]["published"] for made in (first, update, again)] == [
        made["sent"]["pages"] * count * repetitions
        for made, count in zip((first, update, again), cells, strict=True)
    ]
    assert first["unicast"]["messages"] % both == 0
    assert first["unicast"]["messages"] > both
    resumed = play(path).to_json()["campaigns"]
    assert resumed == [made | {"sent": None} for made in (first, update, again)]


@pytest.mark.skipif(sys.platform != "linux", reason="kills itself as only a process can")
@pytest.mark.parametrize(
    ("index", "count"), [(UPDATE, 100), (PULL, 1)], ids=["in-the-broadcast", "before-the-pull"]
)
def test_killed_with_a_version_under_way(index: int, count: int, tmp_path: Path) -> None:
    """Launched again, the supplier broadcasts and serves the version that it had begun, to the same end.

    Of modules that had it by then nobody kept that they told: they hear it again, and tell.
    """
    path = write(tmp_path, *SMALL)
    arguments = ["-m", "tests.scenarios.mortal", str(path), "published", str(count), str(index + 1)]
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert 2 in {one["version"] for one in held(tmp_path / "state")}
    report = play(path)
    assert report.resumed
    assert report.missed == ()
    assert {one["version"] for one in held(tmp_path / "state")} == {2}
