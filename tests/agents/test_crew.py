from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agents.errors import FleetError
from agents.fleet.config import load_config
from agents.fleet.crew import workers_for
from agents.fleet.launch import run
from agents.fleet.options import UpOptions
from agents.fleet.progress import Progress
from agents.fleet.state import Launch
from agents.fleet.worker import Assignment
from bus.address import BrokerAddress, TlsSettings
from bus.clock import Origin
from bus.counters import Counters

if TYPE_CHECKING:
    from agents.fleet.config import FleetConfig, Step
    from agents.fleet.report import StepReport

APPS = Path(__file__).parents[2] / "configs" / "apps"
CONFIG = """
[fleet]
name = "crew"
state = "{state}"
[[authority]]
name = "root"
suite = "x25519"
[[operator]]
name = "mno"
number = "15550100"
authority = "root"
suite = "x25519"
[[supplier]]
name = "shop"
number = "15550300"
operator = "mno"
suite = "x25519"
[[supplier.service]]
name = "loyalty"
application = "{apps}/loyalty.wat"
backend = "loyalty"
code = 1024
data = 64
[[handsets]]
name = "town"
count = 4
cells = 2
operator = "mno"
suite = "x25519"
memory = 32768
services = ["loyalty"]
[[step]]
do = "personalise"
expect = {{ ok = "all" }}
[[step]]
do = "agree"
[[step]]
do = "subscribe"
[[step]]
do = "reserve"
[[step]]
do = "activate"
[[step]]
do = "serve"
expect = {{ ok = 4 }}
[[step]]
do = "invoke"
by = "user"
input = "01{{step}}00000007"
expect = {{ ok = 4, output = "00000007" }}
[[step]]
do = "announce"
expect = {{ ok = 4 }}
"""


@pytest.fixture
def config(tmp_path: Path) -> FleetConfig:
    """Return the config of four handsets in two cells."""
    path = tmp_path / "crew.toml"
    path.write_text(CONFIG.format(state=tmp_path / "state", apps=APPS), encoding="utf-8")
    return load_config(path)


def test_large_fleets_get_processes_and_small_ones_none(config: FleetConfig) -> None:
    """What a person asks for counts, up to the number of cells; left alone, small fleets stay whole."""
    assert workers_for(config, None) == 0
    assert workers_for(config, 1) == 1
    assert workers_for(config, 9) == 2
    large = config.handsets[0].model_copy(update={"count": 1000})
    assert workers_for(config.model_copy(update={"handsets": (large,)}), None) >= 1


def test_an_assignment_survives_the_pipe(tmp_path: Path) -> None:
    """What a worker reads is what the launcher wrote, secrets and files included; its repr shows neither."""
    assignment = Assignment(
        config="fleet.toml",
        fingerprints={"fleet": "00"},
        broker=BrokerAddress(
            host="broker",
            port=8883,
            username="me",
            password="hush",
            tls=TlsSettings(ca_file=tmp_path / "ca.pem"),
            kind="external",
        ),
        launch=Launch(
            directory=tmp_path,
            number=3,
            console_key=bytes(range(16)),
            begun_s=1.5,
            origin=Origin(real_s=2.5, simulated_s=3.5),
        ),
        share=0,
        processes=2,
        log_level="debug",
    )
    line = assignment.encode()
    assert "\n" not in line
    again = Assignment.parse(line)
    assert again == assignment
    assert again.broker.kind == "external"
    assert "hush" not in repr(assignment)
    assert bytes(range(16)).hex() not in repr(assignment)


@pytest.mark.parametrize("workers", [1, 2])
async def test_handsets_in_other_processes_are_served_alike(config: FleetConfig, workers: int) -> None:
    """A fleet whose handsets live in other processes ends as one in ours, its counts and states included."""
    report = await run(config, UpOptions(workers=workers), Progress())
    assert report.ok, report.missed
    assert report.modules_served == 4
    assert report.resources == {"loaded": 4}
    # Each of the four answered short messages from a process that is not ours.
    assert report.bearers["report"].messages >= 4 * 5
    logs = sorted(path.name for path in (config.state_directory / "logs").iterdir())
    assert logs == [*(f"handsets-{number + 1}.jsonl" for number in range(workers)), "otafleet.jsonl"]


class _KillsAWorker(Progress):
    """Kills the first worker when the given step begins."""

    def __init__(self, step: int) -> None:
        self._step = step

    def step_started(self, index: int, step: Step, total: int) -> None:  # noqa: ARG002
        if index == self._step:
            os.kill(_workers()[0], signal.SIGKILL)


def _workers() -> list[int]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    command = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [pid for pid, line in command.items() if b"agents.fleet.worker" in line]


async def test_a_worker_that_dies_ends_the_run_in_a_sentence_and_the_next_launch_goes_on(
    config: FleetConfig,
) -> None:
    """A killed worker loses nothing: the run says which process died, and the next one finishes the story."""
    with pytest.raises(FleetError, match="handset process 1: died with status -9 in mid-run"):
        await run(config, UpOptions(workers=1), _KillsAWorker(step=3))
    assert not _workers()
    report = await run(config, UpOptions(workers=0), Progress())
    assert report.ok, report.missed
    assert report.resumed


async def test_a_config_that_changed_in_between_is_refused(config: FleetConfig) -> None:
    """A worker that reads another config than the launcher did hosts nothing."""
    text = config.path.read_text(encoding="utf-8")
    config.path.write_text(text.replace("memory = 32768", "memory = 65536"), encoding="utf-8")
    with pytest.raises(FleetError, match="was changed while the fleet was being launched"):
        await run(config, UpOptions(workers=1), Progress())


async def test_a_crew_leaves_no_process_behind(config: FleetConfig) -> None:
    """A run that is cancelled ends its workers before it is over."""

    class Hang(Progress):
        def step_finished(self, index: int, report: StepReport) -> None:  # noqa: ARG002
            if index == 0:
                task.cancel()

    task = asyncio.create_task(run(config, UpOptions(workers=2), Hang()))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not _workers()


def test_counts_of_another_process_are_added() -> None:
    """Absorbed counts are added name by name to our own."""
    ours, theirs = Counters(), Counters()
    for counters in (ours, theirs):
        counters.sent("sms", 100)
        counters.received("report", 10)
        counters.retried("sms")
        counters.dropped("bad-field")
        counters.crashed("phone")
    theirs.sent("role", 7)
    ours.absorb(theirs.snapshot())
    counts = ours.snapshot()
    assert counts["bearers"]["sms"] == {
        "sent": {"messages": 2, "octets": 200},
        "received": {"messages": 0, "octets": 0},
        "ways": {
            "inside": {"sent": {"messages": 2, "octets": 200}, "received": {"messages": 0, "octets": 0}}
        },
        "retries": 2,
        "lost": 0,
        "air_s": 0.0,
    }
    assert counts["bearers"]["role"]["sent"] == {"messages": 1, "octets": 7}
    assert counts["bearers"]["report"]["received"] == {"messages": 2, "octets": 20}
    assert counts["dropped"] == {"bad-field": 2}
    assert counts["crashes"] == {"phone": 2}
