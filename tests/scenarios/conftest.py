"""What the scenarios' tests share: a fleet of the test's own, and one whole run that was listened to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from agents.handset.security_module.core import Turns
from agents.handset.security_module.memory import Record
from agents.messages.codec import decode
from tests.scenarios.kit import (
    FLEET,
    HANDSETS,
    Moments,
    ends,
    images,
    modules,
    play,
    rows,
    targets_of,
    write_fleet,
)
from tests.scenarios.stranger import Wiretap

if TYPE_CHECKING:
    from pathlib import Path

    from agents.fleet.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A run of the small fleet from its first step to its last, undisturbed but listened to."""

    config: Path
    state: Path
    report: Report
    tape: list[tuple[str, bytes]] = field(repr=False)
    sessions: list[bytes] = field(repr=False)
    """Every session's keys that a supplier held after one of the steps: later ones replace earlier ones."""
    ends: dict[str, dict[str, Any]] = field(repr=False)
    """What became of each module."""

    def check_same_end(self, report: Report, state: Path) -> None:
        """Check that another run of the same fleet came to this end, in each module's memory too."""
        assert report.missed == ()
        assert report.ok
        assert report.modules_served == HANDSETS
        assert targets_of(report) == targets_of(self.report)
        assert report.resources == self.report.resources
        assert (report.crashes, report.dead_letters) == (0, 0)
        # One resource for each service, in memory that holds nothing else, and as many commands as it takes.
        assert ends(state) == self.ends
        for module in modules(state).values():
            assert len({one["service"] for one in module["definitions"]}) == len(module["definitions"])
        assert commands(state) == commands(self.state)
        for row in rows(state, "mno", "modules"):
            record = images(state)[row["ua"]].get_record(Record.COUNTERS)
            assert record is not None
            assert decode(record, Turns).command == row["command_counter"]


def commands(state: Path) -> dict[str, int]:
    """Return how many commands the operator gave each module."""
    return {row["ua"]: row["command_counter"] for row in rows(state, "mno", "modules")}


@pytest.fixture(scope="session", name="recording")
def _recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Return the one recorded run of the session."""
    directory = tmp_path_factory.mktemp("recorded")
    config, state = write_fleet(directory), directory / "state"
    sessions: set[bytes] = set()

    def look() -> None:
        for supplier in ("bank", "shop"):
            sessions.update(row["session"] for row in rows(state, supplier, "resources") if row["session"])

    with Wiretap(FLEET) as tap:
        moments = Moments(broker=tap.open, started=dict.fromkeys(range(6, 15), look))
        report = play(config, progress=moments, log_level="debug", ended=tap.catch_up)
    look()
    return Recording(
        config=config,
        state=state,
        report=report,
        tape=tap.tape,
        sessions=sorted(sessions),
        ends=ends(state),
    )


@pytest.fixture(name="config")
def _config(tmp_path: Path) -> Path:
    """Return the small fleet's config, in a directory of the test's own."""
    return write_fleet(tmp_path)


@pytest.fixture(name="state")
def _state(config: Path) -> Path:
    """Return where the fleet of ``config`` keeps its state."""
    return config.parent / "state"
