"""A process that hosts handsets: what it is told, what it says, and how it ends."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from agents.errors import FleetError
from agents.fleet.state import Launch
from agents.fleet.worker import Assignment, work
from bus.address import BrokerAddress
from tests.agents.fleet_kit import fleet_config
from tests.agents.role_kit import CONSOLE_KEY, PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOWHERE = BrokerAddress(host="127.0.0.1", port=1)


@pytest.fixture(autouse=True)
def _loud_again() -> Iterator[None]:
    """Leave structlog as it was found: a worker configures it for its process."""
    yield
    structlog.reset_defaults()


def assignment(directory: Path, fleet: str, broker: BrokerAddress) -> Assignment:
    """Return the assignment of the only worker of a small fleet."""
    config = fleet_config(directory, "", name=fleet)
    state = directory / "state"
    state.mkdir(exist_ok=True)
    return Assignment(
        config=str(config.path),
        fingerprints=config.fingerprints(),
        broker=broker,
        launch=Launch(directory=state, number=1, console_key=CONSOLE_KEY),
        share=0,
        processes=1,
        log_level="info",
    )


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return what the worker said."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_a_worker_is_ready_and_sums_up_until_its_input_ends(
    broker: BrokerAddress, fleet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says that it is ready, answers each line with a summary, and is gone after the last."""
    lines = asyncio.StreamReader()
    lines.feed_data(b"summary\nsummary\n")
    lines.feed_eof()
    await work(assignment(tmp_path, fleet, broker), lines)
    ready, first, second = said(capsys)
    assert ready == {"ready": True}
    assert (first["states"], first["dead_letters"]) == ({}, 0)
    assert first["counts"]["dropped"] == {}
    assert second["peak_mib"] >= first["peak_mib"] >= first["base_mib"] > 0
    assert (tmp_path / "state" / "logs" / "handsets-1.jsonl").exists()


async def test_a_config_that_changed_meanwhile_is_refused(tmp_path: Path, fleet: str) -> None:
    """The launcher read another file than the worker does: nobody hosts handsets of either."""
    told = replace(assignment(tmp_path, fleet, NOWHERE), fingerprints={})
    with pytest.raises(FleetError, match=r"fleet\.toml: was changed while the fleet was being launched"):
        await work(told, asyncio.StreamReader())


async def talk(told: Assignment) -> tuple[list[dict[str, Any]], bytes, int]:
    """Run the process with this assignment and one question; return its lines, its complaints, its status."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agents.fleet.worker", stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate(f"{told.encode()}\nsummary\n".encode())
    assert process.returncode is not None
    return [json.loads(line) for line in out.splitlines()], err, process.returncode


async def test_the_process_ends_with_its_input(broker: BrokerAddress, fleet: str, tmp_path: Path) -> None:
    """Assigned, asked once, and left: ready, a summary, status 0 and not a word on standard error."""
    (ready, summary), complaints, status = await talk(assignment(tmp_path, fleet, broker))
    assert ready == {"ready": True}
    assert summary["states"] == {}
    assert (complaints, status) == (b"", 0)


async def test_what_goes_wrong_is_its_last_line(fleet: str, tmp_path: Path) -> None:
    """A broker that is not there is told in the sentence that a person will read."""
    (line,), complaints, status = await talk(assignment(tmp_path, fleet, NOWHERE))
    assert line["error"].startswith("cannot reach the MQTT broker at 127.0.0.1:1: ")
    assert (complaints, status) == (b"", 0)
