"""Broadcasts load an application and update it in every module of a domain: ``configs/broadcast.toml``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from agents.fleet.config import Verb
from agents.fleet.weather import conditions_of
from tests.scenarios.kit import CONFIGS, fleet_of, log_events, modules, play
from tests.scenarios.processes import killed
from transport.cell_broadcast import PAGE_OCTETS

if TYPE_CHECKING:
    from pathlib import Path

    from agents.fleet.config import FleetConfig
    from agents.fleet.report import Report

CONFIG = CONFIGS / "broadcast.toml"
FEWER = (
    ("count = 800\ncells = 8", "count = 45\ncells = 3"),
    ("count = 100\ncells = 2", "count = 5\ncells = 1"),
    ("repetitions = 4", "repetitions = 10"),
)
"""The story of a thousand handsets with fifty-five, of which nobody who is there misses a broadcast."""
FEWEST = (
    *FEWER,
    ("loss = 0.2", "loss = 0.0"),
    ("repetitions = 10", "repetitions = 2"),
    ("count = 45", "count = 6"),
    ("count = 5\n", "count = 2\n"),
    ('">= 85 %"', '">= 75 %"'),
)


def write(directory: Path, *changes: tuple[str, str]) -> Path:
    """Write the config, but for *changes*, with its state in *directory*; return its path."""
    text = CONFIG.read_text(encoding="utf-8")
    state = ('name = "broadcast"', f'name = "broadcast"\nstate = "{directory}/state"')
    for old, new in (*(changes or FEWER), ('"apps/', f'"{CONFIGS}/apps/'), state):
        assert old in text
        text = text.replace(old, new)
    path = directory / "broadcast.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> FleetConfig:
    """Return the config with fewer handsets, as it is read."""
    return fleet_of(write(tmp_path_factory.mktemp("read")))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """Play it once; return where, and its report."""
    directory = tmp_path_factory.mktemp("played")
    return directory, play(write(directory))


def held(state: Path) -> list[dict[str, Any]]:
    """Return the resources of all modules."""
    return [one for module in modules(state).values() for one in module["definitions"]]


def test_one_broadcast_loads_every_module(fleet: FleetConfig, played: tuple[Path, Report]) -> None:
    """All that hear it by pages that grow with cells and not with handsets; whoever did not hear pulls it."""
    directory, report = played
    assert report.missed == ()
    found = held(directory / "state")
    assert len(found) == fleet.handset_count == report.modules_served
    assert {(one["service"], one["version"], one["domain_key"]) for one in found} == {("points", 2, True)}
    first, update = [number for number, step in enumerate(fleet.steps) if step.do is Verb.BROADCAST][:2]
    events = log_events(directory / "state")
    campaigns = [event for event in events if event["event"] == "campaign.begun"]
    town, away, late = fleet.handsets
    both = town.cells + away.cells
    assert [(one["version"], one["cells"]) for one in campaigns] == [(1, both), (2, both), (2, late.cells)]
    ended = [event for event in events if event["event"] == "cell_broadcast.ended"]
    pages = sum(one["pages"] * one["cells"] for one in campaigns)
    assert sum(event["publishes"] for event in ended) == pages * fleet.air.cell_broadcast.repetitions
    served = [event for event in events if event["event"] == "application.loaded" and "octets" in event]
    heard = [0] * (2 * town.count + away.count)
    pulled = [len(fleet.broadcast_programme(first).code)] * away.count
    pulled += [len(fleet.broadcast_programme(update).code)] * late.count
    assert sorted(event["octets"] for event in served) == [*heard, *pulled]


def test_the_report_says_how_each_module_got_it(fleet: FleetConfig, played: tuple[Path, Report]) -> None:
    """By which broadcast, by a pull afterwards, or before; a launch that resumes says what it knows of it."""
    directory, report = played
    first, update, again = report.to_json()["campaigns"]
    town, away, late = (group.count for group in fleet.handsets)
    both = town + away
    names = ("version", "targets", "by_broadcast", "had_before", "one_by_one", "without")
    assert [tuple(made[name] for name in names) for made in (first, update, again)] == [
        (1, both, town, 0, away, 0),
        (2, both, both, 0, late, 0),
        (2, late, 0, late, 0, 0),
    ]
    for made in (first, update, again):
        assert [share["cell"] for share in made["cells"]] == sorted({one["cell"] for one in made["arrivals"]})
        assert sum(share["broadcast"] for share in made["cells"]) == made["by_broadcast"]
    bearers = {
        one["bearer"] for made in (first, update) for one in made["arrivals"] if one["way"] == "served"
    }
    assert bearers == {"bip-tcp"}
    assert [made["coverage"][-1]["modules"] for made in (first, update, again)] == [town, both, late]
    # Nothing waits for the air here, but a module has it when its last page would have been on the air.
    page_s = conditions_of(fleet.air.cell_broadcast).transmission_s(PAGE_OCTETS)
    for made in (first, update):
        pages = [point["s"] / page_s for point in made["coverage"]]
        # They count from the order, and all of them from the same first page on.
        since = [page - pages[0] for page in pages]
        assert since == pytest.approx([round(page) for page in since], abs=0.01)
        assert pages[0] > 1
        assert 0 < since[-1] < made["sent"]["pages"] * fleet.air.cell_broadcast.repetitions
        assert made["time"] == "simulated"
    lost = report.bearers["cell-broadcast"].lost
    assert 0 < lost == first["sent"]["lost_by_all"]
    assert first["sent"]["lost"] is None
    cells = [made["sent"]["cells"] for made in (first, update, again)]
    repetitions = fleet.air.cell_broadcast.repetitions
    assert [made["sent"]["published"] for made in (first, update, again)] == [
        made["sent"]["pages"] * count * repetitions
        for made, count in zip((first, update, again), cells, strict=True)
    ]
    assert first["unicast"]["messages"] % town == 0
    assert first["unicast"]["messages"] > town
    resumed = play(directory / CONFIG.name).to_json()["campaigns"]
    for made in (first, update, again):
        made["sent"] = None
        for each in made["arrivals"]:
            each["bearer"] = ""
    assert resumed == [first, update, again]


def test_a_pull_goes_by_short_message_where_no_channel_opens(tmp_path: Path) -> None:
    """Each module that missed a broadcast finds that out by itself; the report says what it came over."""
    nowhere = "outages = [{ every_s = 31536000.0, lasts_s = 31535999.0 }]"
    air = f"[air]\nspeed = 100\n\n[air.bip]\n{nowhere}\n\n[air.cell_broadcast]\nperiod = 4"
    path = write(tmp_path, *FEWEST, ("[air.cell_broadcast]", air))
    report = play(path)
    assert report.missed == ()
    assert {one["version"] for one in held(tmp_path / "state")} == {2}
    events = log_events(tmp_path / "state")
    fallen_back = {event["ua"] for event in events if event["event"] == "link.fallback"}
    first, update, _ = report.to_json()["campaigns"]
    for made in (first, update):
        pulled = [each for each in made["arrivals"] if each["way"] == "served"]
        assert {(each["bearer"], each["ua"] in fallen_back) for each in pulled} == {("sms", True)}
        assert len(pulled) == made["one_by_one"] == 2


@pytest.mark.skipif(sys.platform != "linux", reason="kills itself as only a process can")
@pytest.mark.parametrize(
    ("do", "count"), [(Verb.BROADCAST, 60), (Verb.PULL, 1)], ids=["in-the-broadcast", "before-the-pull"]
)
def test_killed_with_a_version_under_way(do: Verb, count: int, fleet: FleetConfig, tmp_path: Path) -> None:
    """Launched again, the supplier broadcasts and serves the version that it had begun, to the same end.

    Of modules that had it by then nobody kept that they told: they hear it again, and tell.
    """
    path = write(tmp_path, *FEWEST)
    index = [number for number, step in enumerate(fleet.steps) if step.do is do][1]
    killed(path, "published", count, index + 1)
    assert 2 in {one["version"] for one in held(tmp_path / "state")}
    report = play(path)
    assert report.resumed
    assert report.missed == ()
    assert {one["version"] for one in held(tmp_path / "state")} == {2}
