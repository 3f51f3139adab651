"""One broadcast loads an application in every module of a domain: ``configs/broadcast.toml``, played."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.scenarios.kit import CONFIGS, fleet_of, log_events, modules, play

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = CONFIGS / "broadcast.toml"
FLEET = fleet_of(CONFIG)


def test_one_broadcast_loads_every_module(tmp_path: Path) -> None:
    """All of the town by pages that grow with cells and not with handsets; the late ones one by one."""
    text = CONFIG.read_text(encoding="utf-8").replace("apps/", f"{CONFIGS}/apps/")
    config = tmp_path / "broadcast.toml"
    config.write_text(
        text.replace('name = "broadcast"', f'name = "broadcast"\nstate = "{tmp_path}/state"', 1)
    )
    report = play(config)
    assert report.missed == ()
    held = [one for module in modules(tmp_path / "state").values() for one in module["definitions"]]
    assert len(held) == FLEET.handset_count
    assert {(one["service"], one["version"], one["domain_key"]) for one in held} == {("points", 1, True)}
    events = log_events(tmp_path / "state")
    (campaign,) = [event for event in events if event["event"] == "campaign.begun"]
    ended = [event for event in events if event["event"] == "cell_broadcast.ended"]
    repetitions = FLEET.air.cell_broadcast.repetitions
    assert campaign["cells"] == FLEET.handsets[0].cells
    assert sum(event["publishes"] for event in ended) == campaign["pages"] * campaign["cells"] * repetitions
    served = [event for event in events if event["event"] == "application.loaded" and "octets" in event]
    size = len(FLEET.programme("points").code)
    town, late = (group.count for group in FLEET.handsets)
    assert sorted(event["octets"] for event in served) == [0] * town + [size] * late
