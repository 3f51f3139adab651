"""Simulated time over several launches: it goes on, and never back."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest
import structlog

from agents.fleet.state import open_state
from agents.store.database import open_store
from agents.store.registry import Registry
from agents.store.tables import FLEET, SETTINGS
from agents.traces.places import INDEX_FILE
from tests.agents.fleet_kit import fleet_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agents.fleet.config import FleetConfig
    from agents.fleet.state import Launch

STEP = """
[[step]]
do = "personalise"
"""
FAST = "[air]\nspeed = 60.0\n"
AN_HOUR_S = 3600.0
SLACK_S = 600.0
"""More than this machine takes for a launch; at speed 60 that is ten seconds of its own."""


@pytest.fixture(autouse=True)
def _loud_again() -> Iterator[None]:
    """Leave structlog as it was found: a log configures it for its process."""
    yield
    structlog.reset_defaults()


async def launch(config: FleetConfig) -> Launch:
    """Open and close the state; return the launch."""
    async with open_state(config, fresh=False) as state:
        return state.launch


async def age(config: FleetConfig, *, begun_ago_s: float, written_ago_s: float) -> None:
    """Have the last launch have begun so long ago, and written its last so long ago."""
    directory, now = config.state_directory, time.time()
    async with open_store(directory / "fleet.db", FLEET) as store:
        settings = Registry(store, SETTINGS)
        await settings.load()
        row = settings.get("clock")
        assert row is not None
        clock = json.loads(row["value"])
        shift_s = clock["real_s"] - (now - begun_ago_s)
        clock |= {key: clock[key] - shift_s for key in ("real_s", "simulated_s", "begun_s")}
        await settings.put({"key": "clock", "value": json.dumps(clock).encode()})
    for entry in directory.rglob("*"):
        os.utime(entry, (now - written_ago_s, now - written_ago_s))


async def test_the_first_launch_begins_now(tmp_path: Path) -> None:
    """Simulated time sets out from the world's, and the air counts from there."""
    before = time.time()
    first = await launch(fleet_config(tmp_path, FAST + STEP))
    assert first.origin is not None
    assert before <= first.origin.simulated_s == first.origin.real_s == first.begun_s <= time.time()


@pytest.mark.parametrize("then", ['[air]\nspeed = "max"\n', FAST], ids=["max", "fast"])
async def test_time_never_goes_back(tmp_path: Path, then: str) -> None:
    """A launch at speed 60 ran for ten minutes: the next one is ten hours on, however fast it is."""
    await launch(fleet_config(tmp_path, FAST + STEP))
    await age(fleet_config(tmp_path, FAST + STEP), begun_ago_s=AN_HOUR_S, written_ago_s=AN_HOUR_S - 600.0)
    second = await launch(fleet_config(tmp_path, then + STEP))
    assert second.origin is not None
    ahead_s = second.origin.simulated_s - second.begun_s
    assert 36_000.0 - 1.0 <= ahead_s <= 36_000.0 + SLACK_S


async def test_a_fleet_that_rests_grows_no_older_than_the_world(tmp_path: Path) -> None:
    """A launch of a minute, a year ago, at speed 60: time is the world's again."""
    await launch(fleet_config(tmp_path, FAST + STEP))
    await age(fleet_config(tmp_path, FAST + STEP), begun_ago_s=3.2e7, written_ago_s=3.2e7 - 60.0)
    second = await launch(fleet_config(tmp_path, FAST + STEP))
    assert second.origin is not None
    assert second.origin.simulated_s == second.origin.real_s
    assert second.begun_s == pytest.approx(second.origin.real_s - 3.2e7, abs=SLACK_S)


async def test_who_reads_the_log_makes_the_fleet_no_older(tmp_path: Path) -> None:
    """An index beside the logs, written long after the launch ended, is no sign that it still ran."""
    config = fleet_config(tmp_path, FAST + STEP)
    await launch(config)
    (config.state_directory / "logs").mkdir()
    (config.state_directory / "logs" / "otafleet.jsonl").touch()
    await age(config, begun_ago_s=AN_HOUR_S, written_ago_s=AN_HOUR_S - 60.0)
    (config.state_directory / "logs" / INDEX_FILE).touch()
    second = await launch(config)
    assert second.origin is not None
    assert second.origin.simulated_s - second.begun_s <= 60.0 * 60.0 + SLACK_S


async def test_files_of_the_future_do_not_take_time_with_them(tmp_path: Path) -> None:
    """The machine's clock was wrong once: what it wrote then counts as written now."""
    await launch(fleet_config(tmp_path, FAST + STEP))
    await age(fleet_config(tmp_path, FAST + STEP), begun_ago_s=60.0, written_ago_s=-1e9)
    second = await launch(fleet_config(tmp_path, FAST + STEP))
    assert second.origin is not None
    assert second.origin.simulated_s - second.begun_s <= 60.0 * 60.0 + SLACK_S
