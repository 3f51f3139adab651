"""The launch: from a config to a report, and every way in which it cannot be, in a sentence."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from agents.errors import FleetError
from agents.fleet.config import BrokerTable
from agents.fleet.failures import as_fleet_error
from agents.fleet.launch import broker_address, run
from agents.fleet.options import UpOptions
from agents.fleet.progress import Progress
from agents.fleet.state import open_state
from bus.errors import BrokerLost, BrokerUnavailable
from tests.agents.fleet_kit import fleet_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agents.fleet.report import Report
    from bus.address import BrokerAddress

STORY = "".join(
    f'\n[[step]]\ndo = "{do}"\nexpect = {{ ok = "all" }}\n'
    for do in ("personalise", "agree", "subscribe", "reserve", "activate", "serve", "invoke")
)


class Notes(Progress):
    """A progress that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, sentence: str) -> None:
        """Keep it."""
        self.notes.append(sentence)


@pytest.fixture(autouse=True)
def _loud_again() -> Iterator[None]:
    """Leave structlog as it was found: a launch configures it for its process."""
    yield
    structlog.reset_defaults()


def url(broker: BrokerAddress) -> str:
    """Return the URL of the tests' broker."""
    return f"mqtt://{broker.host}:{broker.port}"


def options(broker: BrokerAddress, **changes: Any) -> UpOptions:
    """Return options for a run at the tests' broker, with its handsets in this process."""
    given: dict[str, Any] = {"broker_url": url(broker), "workers": 0}
    return UpOptions(**(given | changes))


async def test_a_config_becomes_a_report(broker: BrokerAddress, fleet: str, tmp_path: Path) -> None:
    """Three handsets are personalised, served and used; the report and the log say so."""
    config = fleet_config(tmp_path, STORY, name=fleet)
    seen: list[Report] = []
    progress = Notes()
    report = await run(config, options(broker, on_report=seen.append), progress)
    assert report.ok
    assert seen == [report]
    assert (report.modules_served, report.resources) == (3, {"loaded": 5})
    assert [step.ok for step in report.steps] == [3, 2, 5, 5, 5, 5, 5]
    assert (report.crashes, report.dead_letters, report.resumed) == (0, 0, False)
    assert progress.notes == [f"broker: external at {broker.host}:{broker.port}"]
    lines = (config.state_directory / "logs" / "otafleet.jsonl").read_text("utf-8").splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert "fleet.launched" in events
    assert "fleet.ended" in events


async def test_a_second_launch_resumes(broker: BrokerAddress, fleet: str, tmp_path: Path) -> None:
    """What has ended is not played again, and the person is told; a step more is played."""
    await run(fleet_config(tmp_path, STORY, name=fleet), options(broker), Progress())
    more = STORY + '\n[[step]]\ndo = "invoke"\nservice = "account"\nexpect = { ok = 3 }\n'
    config = fleet_config(tmp_path, more, name=fleet)
    progress = Notes()
    report = await run(config, options(broker), progress)
    assert (report.ok, report.resumed) == (True, True)
    assert progress.notes[1] == f"resuming {config.state_directory}: 30 targets are done"
    assert report.steps[-1].ok == 3
    assert report.resources == {"loaded": 5}


async def test_a_fresh_launch_begins_anew(broker: BrokerAddress, fleet: str, tmp_path: Path) -> None:
    """With fresh the same config is played from its first step."""
    config = fleet_config(tmp_path, STORY, name=fleet)
    await run(config, options(broker), Progress())
    report = await run(config, options(broker, fresh=True), Progress())
    assert (report.ok, report.resumed) == (True, False)


async def test_a_missed_expectation_is_in_the_report(
    broker: BrokerAddress, fleet: str, tmp_path: Path
) -> None:
    """The run ends, and the report says which step missed what."""
    steps = '\n[[step]]\ndo = "personalise"\nexpect = { ok = 2 }\n'
    report = await run(fleet_config(tmp_path, steps, name=fleet), options(broker), Progress())
    assert not report.ok
    assert report.steps[0].missed == ("step 1 personalise: expected 2 ok, got 3",)


async def test_a_fleet_may_stay(broker: BrokerAddress, fleet: str, tmp_path: Path) -> None:
    """With stay the report comes as soon as the last step is over, and the run ends when it is told to."""
    config = fleet_config(tmp_path, '\n[[step]]\ndo = "agree"\n', name=fleet)
    reported = asyncio.Event()
    choice = options(broker, stay=True, on_report=lambda _report: reported.set())
    task = asyncio.create_task(run(config, choice, Progress()))
    async with asyncio.timeout(20):
        await reported.wait()
    assert not task.done()
    with pytest.raises(FleetError, match="is in use"):
        await run(config, options(broker), Progress())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with open_state(config, fresh=False) as state:
        assert state.launch.number == 2


# What cannot be


async def test_a_broker_that_is_not_there_is_named(fleet: str, tmp_path: Path) -> None:
    """Nobody listens: one sentence with host and port, and the directory is free again."""
    config = fleet_config(tmp_path, STORY, name=fleet, url="mqtt://127.0.0.1:1")
    for _ in range(2):
        with pytest.raises(FleetError, match=r"cannot reach the MQTT broker at 127\.0\.0\.1:1: "):
            await run(config, UpOptions(workers=0), Progress())


async def test_the_command_line_goes_before_the_config(
    broker: BrokerAddress, fleet: str, tmp_path: Path
) -> None:
    """A broker given with the command is used in the place of the config's."""
    config = fleet_config(tmp_path, "", name=fleet, url="mqtt://127.0.0.1:1")
    assert (await run(config, options(broker), Progress())).ok


async def test_a_log_that_cannot_be_kept_is_told_in_a_sentence(
    broker: BrokerAddress, fleet: str, tmp_path: Path
) -> None:
    """Where the logs should be there is a file: the sentence names it, and no traceback comes."""
    config = fleet_config(tmp_path, "", name=fleet)
    await run(config, options(broker), Progress())
    logs = config.state_directory / "logs"
    (logs / "otafleet.jsonl").unlink()
    logs.rmdir()
    logs.write_text("a file")
    with pytest.raises(FleetError, match="logs"):
        await run(config, options(broker), Progress())


async def test_a_damaged_database_is_named(broker: BrokerAddress, fleet: str, tmp_path: Path) -> None:
    """A role's database that is none ends the launch in a sentence with its path."""
    config = fleet_config(tmp_path, "", name=fleet)
    await run(config, options(broker), Progress())
    for name in ("mno.db", "mno.db-wal", "mno.db-shm"):
        (config.state_directory / name).unlink(missing_ok=True)
    (config.state_directory / "mno.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(FleetError, match=r"mno\.db: cannot open: "):
        await run(config, options(broker), Progress())


def raise_in_group(*errors: Exception) -> None:
    """Raise as a task group does."""
    raise ExceptionGroup("unhandled errors in a TaskGroup", list(errors))


@pytest.mark.parametrize(
    "error",
    [
        BrokerUnavailable("here:1", "nobody"),
        ExceptionGroup("one", [BrokerUnavailable("here:1", "nobody")]),
        ExceptionGroup("out", [ExceptionGroup("in", [BrokerUnavailable("here:1", "nobody")])]),
        ExceptionGroup("both", [ValueError("x"), BrokerUnavailable("here:1", "nobody")]),
    ],
    ids=["alone", "in-a-group", "in-a-group-of-a-group", "beside-another"],
)
def test_what_the_world_did_is_one_sentence(error: Exception) -> None:
    """However deep a task group wrapped it, the broker's own sentence is what a person reads."""
    with pytest.raises(FleetError) as caught, as_fleet_error():
        raise error
    assert caught.value.sentence == "cannot reach the MQTT broker at here:1: nobody"
    assert caught.value.__cause__ is error


def test_a_fleets_own_error_comes_through() -> None:
    """A sentence that is one already stays as it is, alone or in a group."""
    with pytest.raises(FleetError, match=r"^no disk$"), as_fleet_error():
        raise FleetError("no disk")
    with pytest.raises(FleetError, match=r"^no disk$"), as_fleet_error():
        raise_in_group(FleetError("no disk"), BrokerLost("here:1", 1.0))


def test_a_fault_of_our_own_is_not_dressed_up() -> None:
    """What is a bug stays one, traceback and all."""
    with pytest.raises(ZeroDivisionError), as_fleet_error():
        raise ZeroDivisionError
    with pytest.raises(ExceptionGroup), as_fleet_error():
        raise_in_group(ZeroDivisionError())


# The broker of a config


def table(**values: Any) -> BrokerTable:
    """Return the table ``[broker]``."""
    return BrokerTable.model_validate(values)


def test_the_config_fills_what_the_url_leaves_out() -> None:
    """User, password and port come from the table where the URL has none."""
    address = broker_address(table(username="me", password="hush"), "mqtt://broker.example")
    assert (address.host, address.port, address.username, address.password) == (
        "broker.example",
        1883,
        "me",
        "hush",
    )
    assert (address.tls, address.kind) == (None, "external")
    assert "hush" not in repr(address)


def test_the_urls_own_words_count() -> None:
    """What stands in the URL goes before the table."""
    address = broker_address(table(username="me", password="hush"), "mqtt://you:known@broker.example:99")
    assert (address.username, address.password, address.port) == ("you", "known", 99)


def test_a_password_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The config names the variable; where it is not set the sentence names it, too."""
    broker = table(username="me", password_env="OTAFLEET_TEST_PASSWORD")
    monkeypatch.setenv("OTAFLEET_TEST_PASSWORD", "hush")
    assert broker_address(broker, "mqtt://broker.example").password == "hush"
    monkeypatch.delenv("OTAFLEET_TEST_PASSWORD")
    sentence = r"^broker\.password_env: the environment has no variable OTAFLEET_TEST_PASSWORD$"
    with pytest.raises(FleetError, match=sentence):
        broker_address(broker, "mqtt://broker.example")


def test_tls_takes_the_configs_files(tmp_path: Path) -> None:
    """mqtts:// with files of the config; without any the system's authorities are trusted."""
    files = {name: str(tmp_path / name) for name in ("ca_file", "certificate_file", "key_file")}
    address = broker_address(table(**files), "mqtts://broker.example")
    assert address.tls is not None
    assert (address.tls.ca_file, address.tls.certificate_file, address.tls.key_file) == tuple(
        tmp_path / name for name in files
    )
    plain = broker_address(table(), "mqtts://broker.example")
    assert plain.tls is not None
    assert (plain.port, plain.tls.ca_file) == (8883, None)


@pytest.mark.parametrize(
    ("values", "address", "sentence"),
    [
        ({"ca_file": "ca.pem"}, "mqtt://broker.example", "TLS settings need mqtts://"),
        ({"password": "hush"}, "mqtt://broker.example", "a password needs a user name"),
        ({}, "http://broker.example", "begins with mqtt:// or mqtts://"),
        ({}, "mqtt://broker.example:99999", "broker url"),
        ({}, "mqtt://broker.example/path", "nothing more"),
    ],
    ids=["tls-in-clear", "no-user", "no-mqtt", "no-port", "a-path"],
)
def test_parts_that_do_not_go_together_are_told(values: dict[str, str], address: str, sentence: str) -> None:
    """One sentence, in which no password is."""
    with pytest.raises(FleetError, match=sentence) as caught:
        broker_address(table(**values), address)
    assert "hush" not in caught.value.sentence


def test_options_show_no_password() -> None:
    """A broker's URL may carry one: it is in no repr; and who waits for no report hears of none."""
    choice = UpOptions(broker_url="mqtt://me:hush@broker.example")
    assert "hush" not in repr(choice)
    choice.on_report(None)  # type: ignore[arg-type]
