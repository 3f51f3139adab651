"""A broker that goes away in mid-run: it comes back, everybody connects again, and the run goes on."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 -- a dataclass has it
from typing import TYPE_CHECKING

import pytest

from tests.peers import need
from tests.scenarios.kit import FLEET, Moments, impatient, log_events, play
from tests.scenarios.processes import broker_of
from tests.scenarios.stranger import Wiretap

if TYPE_CHECKING:
    from tests.scenarios.conftest import Recording


@dataclass
class Trap:
    """Kills the broker as soon as it hands on a message below *room*, once it is set."""

    state: Path
    number: signal.Signals
    room: str
    is_set: bool = False

    def set(self) -> None:
        """Wait for the next such message."""
        self.is_set = True

    def hear(self, topic: str) -> None:
        """Look whether this is one."""
        if self.is_set and topic.startswith(f"otafleet/{FLEET}/{self.room}"):
            self.is_set = False
            os.kill(broker_of(self.state), self.number)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the broker's process in /proc")
@pytest.mark.parametrize(
    ("number", "step", "room"),
    [
        (signal.SIGTERM, 0, "contact"),
        (signal.SIGTERM, 4, "role"),
        (signal.SIGTERM, 5, "order"),
        (signal.SIGTERM, 5, "sms/mo"),
        (signal.SIGKILL, 3, "sms/report"),
        (signal.SIGKILL, 5, "order"),
        (signal.SIGKILL, 5, "sms/mt"),
        (signal.SIGKILL, 8, "role"),
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else str(value),
)
def test_broker_killed_in_mid_run(
    number: signal.Signals,
    step: int,
    room: str,
    config: Path,
    state: Path,
    recording: Recording,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broker that dies as it hands on a step's first messages comes back; the run goes on and ends well."""
    need("mosquitto")
    impatient(monkeypatch)
    trap = Trap(state=state, number=number, room=room)
    with Wiretap(FLEET, hear=trap.hear) as tap:
        report = play(config, progress=Moments(broker=tap.open, started={step: trap.set}))
    recording.check_same_end(report, state)
    check_losses(state, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the broker's process in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_broker_killed_again_and_again(
    number: signal.Signals, config: Path, state: Path, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that dies in three of the steps costs no more than the time that it is away."""
    need("mosquitto")
    impatient(monkeypatch)
    steps = (2, 8, 12)
    kill = dict.fromkeys(steps, lambda: os.kill(broker_of(state), number))
    report = play(config, progress=Moments(advanced=kill))
    recording.check_same_end(report, state)
    check_losses(state, len(steps))


def check_losses(state: Path, times: int) -> None:
    """Check that the broker was lost so often, and found again."""
    events = [entry["event"] for entry in log_events(state)]
    assert events.count("broker.died") == times
    assert events.count("broker.started") == times + 1
    assert "bus.connected_again" in events
