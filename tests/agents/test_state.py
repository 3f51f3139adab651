"""The state directory: one run at a time, of the config that made it, and what the next run finds."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import structlog

from agents.errors import FleetError
from agents.fleet.expectations import Outcome, Result
from agents.fleet.state import KEY_OCTETS, Launch, hold, open_log, open_state
from bus import tracing
from bus.clock import SystemClock
from tests.agents.fleet_kit import fleet_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agents.fleet.config import FleetConfig

STEPS = """
[[step]]
do = "personalise"
expect = { ok = 3 }
[[step]]
do = "invoke"
service = "account"
"""
MORE = """
[[step]]
do = "block"
"""
OUTCOME = Outcome(
    ua="8988", service="account", result=Result.REFUSED, reason="blocked", latency_s=0.25, output=b"\x01"
)


@pytest.fixture(autouse=True)
def _loud_again() -> Iterator[None]:
    """Leave structlog as it was found: a log configures it for its process."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def config(tmp_path: Path) -> FleetConfig:
    """Return a config of two steps."""
    return fleet_config(tmp_path, STEPS)


async def open_once(config: FleetConfig, *, fresh: bool = False) -> Launch:
    """Open and close the state; return the launch."""
    async with open_state(config, fresh=fresh) as state:
        state.forget_previous()
        return state.launch


# Whose it is


async def test_a_directory_serves_one_run_at_a_time(config: FleetConfig) -> None:
    """While a run holds it a second one is told so; afterwards it is free, however the run ended."""
    async with open_state(config, fresh=False):
        with pytest.raises(FleetError, match=r"state: is in use: a run of this fleet is under way, or "):
            await open_once(config)
    with pytest.raises(RuntimeError, match="boom"):
        async with open_state(config, fresh=False):
            raise RuntimeError("boom")
    assert (await open_once(config)).number == 3


async def test_a_directory_that_is_held(config: FleetConfig) -> None:
    """Who holds a directory for something else keeps runs out, and finds what a killed start put aside."""
    directory = (await open_once(config)).directory
    aside = directory / ".previous"
    aside.mkdir()
    (directory / "fleet.db").rename(aside / "fleet.db")
    with hold(directory):
        assert (directory / "fleet.db").exists()
        assert not aside.exists()
        with pytest.raises(FleetError, match="or a module of it is in a card reader"):
            await open_once(config)
        with pytest.raises(FleetError, match="is in use"), hold(directory):
            pass
    assert (await open_once(config)).number == 2


@pytest.mark.parametrize("fresh", [False, True])
async def test_a_directory_of_somebody_else_is_left_alone(config: FleetConfig, fresh: bool) -> None:  # noqa: FBT001
    """Where there is something that is not ours nothing is made and nothing removed, not even with fresh."""
    directory = config.state_directory
    directory.mkdir()
    (directory / "thesis.txt").write_text("years of work")
    with pytest.raises(FleetError, match="is no state directory of otafleet"):
        await open_once(config, fresh=fresh)
    assert [entry.name for entry in directory.iterdir()] == ["thesis.txt"]


async def test_a_place_where_no_directory_can_be_is_told(config: FleetConfig) -> None:
    """A file in its place: one sentence with the path and the system's word for it."""
    config.state_directory.write_text("a file")
    with pytest.raises(FleetError, match=r"state: cannot be used as state directory: "):
        await open_once(config)


AUTHORITY = '[[authority]]\nname = "root"\nsuite = '
SAME = ("", "")


@pytest.mark.parametrize(
    ("steps", "edit", "section"),
    [
        (STEPS, ("seed = 7", "seed = 8"), r"\[fleet\]"),
        (STEPS, (f'{AUTHORITY}"x25519"', f'{AUTHORITY}"p256"'), r"\[authority\]"),
        (STEPS, ('number = "15550100"', 'number = "15550109"'), r"\[operator\]"),
        (STEPS, ("data = 256", "data = 300"), r"\[supplier\]"),
        (STEPS, ("count = 1\n", "count = 2\n"), r"\[handsets\]"),
        (STEPS.replace("personalise", "audit"), SAME, "step 1"),
        (STEPS.replace("account", "loyalty"), SAME, "step 2"),
    ],
    ids=["seed", "authority", "operator", "supplier", "handsets", "step", "step-service"],
)
async def test_another_config_is_refused(
    config: FleetConfig, tmp_path: Path, steps: str, edit: tuple[str, str], section: str
) -> None:
    """The sentence names directory, section and file, and the launch does not count."""
    async with open_state(config, fresh=False) as state:
        for step in (1, 2):
            await state.ledger.keep(step, OUTCOME, started=1.0)
    other = fleet_config(tmp_path, steps, edit=edit)
    sentence = rf"state: was made by another config: {section} differs from .*fleet\.toml; use --fresh"
    with pytest.raises(FleetError, match=sentence):
        await open_once(other)
    assert (await open_once(config)).number == 2


async def test_fresh_makes_the_directory_another_configs(config: FleetConfig, tmp_path: Path) -> None:
    """What is refused otherwise begins anew when the person says so."""
    await open_once(config)
    other = fleet_config(tmp_path, STEPS, edit=("seed = 7", "seed = 8"))
    assert (await open_once(other, fresh=True)).number == 1
    with pytest.raises(FleetError, match="another config"):
        await open_once(config)


@pytest.mark.parametrize(
    ("steps", "edit"),
    [
        (STEPS + MORE, ("", "")),
        (STEPS.replace("ok = 3", "ok = 2"), ("", "")),
        (STEPS, ('url = "auto"', 'url = "mqtt://localhost"')),
        (STEPS, ("[broker]", "[air.sms]\nattempts = 2\n[broker]")),
    ],
    ids=["a-step-more", "other-expectations", "other-broker", "other-air"],
)
async def test_what_is_no_state_may_change(
    config: FleetConfig, tmp_path: Path, steps: str, edit: tuple[str, str]
) -> None:
    """Later steps, expectations, broker and air are not what a directory depends on."""
    await open_once(config)
    assert (await open_once(fleet_config(tmp_path, steps, edit=edit))).number == 2


async def test_a_step_that_was_not_used_yet_may_change(config: FleetConfig, tmp_path: Path) -> None:
    """The run was stopped in the first step: the second, of which nothing was done, may be another now."""
    async with open_state(config, fresh=False) as state:
        await state.ledger.keep(1, OUTCOME, started=1.0)
    other = fleet_config(tmp_path, STEPS.replace('do = "invoke"', 'do = "block"'))
    assert (await open_once(other)).number == 2


# What the next run finds


async def test_launches_are_counted_and_keep_their_key(config: FleetConfig) -> None:
    """Each launch has the next number, so that no randomness repeats; the key is the directory's."""
    first, second = await open_once(config), await open_once(config)
    assert (first.number, second.number) == (1, 2)
    assert first.console_key == second.console_key
    assert len(first.console_key) == KEY_OCTETS


async def test_the_consoles_key_does_not_come_from_the_seed(config: FleetConfig) -> None:
    """Made anew under the same seed, a directory has another key; and no repr tells it."""
    first = await open_once(config)
    second = await open_once(config, fresh=True)
    assert first.console_key != second.console_key
    assert repr(first.console_key) not in repr(first)


async def test_the_ledger_remembers_what_has_ended(config: FleetConfig) -> None:
    """An outcome comes back as it was, for its step, module and service only; then the fleet is resumed."""
    async with open_state(config, fresh=False) as state:
        assert (state.resumed, len(state.ledger)) == (False, 0)
        await state.ledger.keep(1, OUTCOME, started=1.0)
    async with open_state(config, fresh=False) as state:
        assert (state.resumed, len(state.ledger)) == (True, 1)
        assert state.ledger.outcome(1, "8988", "account") == OUTCOME
        for step, ua, service in ((2, "8988", "account"), (1, "8999", "account"), (1, "8988", "loyalty")):
            assert state.ledger.outcome(step, ua, service) is None


async def test_what_failed_has_ended_only_where_it_was_to_fail(config: FleetConfig) -> None:
    """Nobody answered then, and somebody may now; but not where just that was expected."""
    failure = replace(OUTCOME, result=Result.FAILED, reason="no-answer")
    async with open_state(config, fresh=False) as state:
        await state.ledger.keep(1, failure, started=1.0)
        assert state.ledger.outcome(1, "8988", "account") is None
        assert state.ledger.outcome(1, "8988", "account", may_fail=True) == failure


async def test_fresh_keeps_nothing(config: FleetConfig, tmp_path: Path) -> None:
    """Files, directories and links in it are gone, what a link led to is not; the count begins anew."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    async with open_state(config, fresh=False) as state:
        await state.ledger.keep(1, OUTCOME, started=1.0)
        with open_log(state.launch, "otafleet", "info", SystemClock()):
            tracing.get_logger().info("event")
    directory = config.state_directory
    (directory / "mno.db").write_text("rows")
    (directory / "link").symlink_to(outside)
    async with open_state(config, fresh=True) as state:
        assert (state.launch.number, state.resumed) == (1, False)
        state.forget_previous()
        assert {entry.name for entry in directory.iterdir()} <= {
            "lock",
            "fleet.db",
            "fleet.db-wal",
            "fleet.db-shm",
        }
    assert (outside / "kept").read_text() == "kept"


async def test_a_launch_knows_its_places(config: FleetConfig) -> None:
    """Each role has a database, each process a log that is gone on with, in the state directory."""
    launch = await open_once(config)
    directory = config.state_directory
    assert launch.directory == directory
    assert launch.database("mno") == directory / "mno.db"
    for _ in range(2):
        with open_log(launch, "otafleet", "info", SystemClock()):
            tracing.get_logger().info("event")
    lines = (directory / "logs" / "otafleet.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["process"] for line in lines] == ["otafleet", "otafleet"]


async def test_a_log_that_cannot_be_kept_is_told(config: FleetConfig) -> None:
    """A file where the logs should be, or a directory where a log should: a sentence with the path."""
    launch = await open_once(config)
    logs = config.state_directory / "logs"
    logs.write_text("a file")
    with pytest.raises(FleetError, match=r"logs/otafleet\.jsonl: cannot keep the log: "):
        open_log(launch, "otafleet", "info", SystemClock())
    logs.unlink()
    (logs / "otafleet.jsonl").mkdir(parents=True)
    with pytest.raises(FleetError, match=r"logs/otafleet\.jsonl: cannot keep the log: "):
        open_log(launch, "otafleet", "info", SystemClock())


async def test_a_fresh_start_that_comes_to_nothing_loses_nothing(config: FleetConfig) -> None:
    """What was there is put aside and comes back, unless the new fleet came up and said so."""
    async with open_state(config, fresh=False) as state:
        await state.ledger.keep(1, OUTCOME, started=1.0)
    async with open_state(config, fresh=True) as state:
        assert not state.resumed
    async with open_state(config, fresh=False) as state:
        assert state.resumed
    async with open_state(config, fresh=True) as state:
        state.forget_previous()
    async with open_state(config, fresh=False) as state:
        assert not state.resumed


async def test_a_fresh_start_that_was_killed_loses_nothing(config: FleetConfig) -> None:
    """A start that died with the previous state put aside is undone by the next one."""
    async with open_state(config, fresh=False) as state:
        await state.ledger.keep(1, OUTCOME, started=1.0)
        directory = state.launch.directory
    aside = directory / ".previous"
    aside.mkdir()
    for entry in [entry for entry in directory.iterdir() if entry.name not in ("lock", ".previous")]:
        entry.rename(aside / entry.name)
    (directory / "broker").mkdir()
    async with open_state(config, fresh=False) as state:
        assert state.resumed
    assert not (directory / "broker").exists()
