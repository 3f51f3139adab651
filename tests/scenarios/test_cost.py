"""What a secure connection costs, measured in a fleet on a real broker."""

from __future__ import annotations

import asyncio
import csv
import io
from typing import TYPE_CHECKING, Final

import pytest
from typer.testing import CliRunner

from agents.cli import app
from agents.errors import FleetError
from agents.fleet.config import load_config
from agents.fleet.config_air import AirTable
from agents.fleet.cost_config import PREPARATION, make_config
from agents.fleet.cost_fleet import measure_traffic
from agents.fleet.cost_rows import ways_of
from agents.fleet.loop import loop_factory
from tests.scenarios.kit import CONFIGS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COST: Final = ["cost", str(CONFIGS / "demo.toml"), "--repeat", "3", "--csv", "-"]
NARROWED: Final = ["--suite", "x25519", "--form", "agree-then-sign"]


@pytest.fixture(scope="module")
def rows() -> Mapping[str, dict[str, str]]:
    """Return what one suite in one form costs, by bearer."""
    result = CliRunner().invoke(app, [*COST, *NARROWED])
    assert result.exit_code == 0, result.output
    return {row["bearer"]: row for row in csv.DictReader(io.StringIO(result.stdout))}


def test_every_bearer_is_measured(rows: Mapping[str, dict[str, str]]) -> None:
    """There is a row for each bearer; the handshake is the same over all, as its documentation has it."""
    assert list(rows) == ["sms", "bip-tcp", "bip-udp"]
    for row in rows.values():
        assert (row["handshake_messages"], row["handshake_octets"], row["round_trips"]) == ("3", "260", "2")
        assert row["fits_config"] == "yes"
        assert 0 < int(row["cpu_module_best_us"]) <= int(row["cpu_module_median_us"])
        assert 0 < int(row["cpu_server_best_us"]) <= int(row["cpu_server_median_us"])


def test_short_messages_are_those_of_the_documented_table(rows: Mapping[str, dict[str, str]]) -> None:
    """Four, says the table of ``transport.security.handshake``, with m3 in a message of its own.

    Here it rides in the report of m2's last part: so three, and two reports. What is more than the
    handshake's own octets are the headers of packets, parts and what says which call it is.
    """
    row = rows["sms"]
    assert (row["short_messages"], row["delivery_reports"], row["frames"]) == ("3", "2", "0")
    octets = int(row["octets_up"]) + int(row["octets_down"])
    assert 260 < octets < 2 * 260


def test_channels_take_frames_and_no_short_messages(rows: Mapping[str, dict[str, str]]) -> None:
    """Over a channel there are segments or datagrams, more with CAT_TP, which opens and acknowledges."""
    tcp, udp = rows["bip-tcp"], rows["bip-udp"]
    assert {tcp["short_messages"], udp["short_messages"]} == {"0"}
    assert 0 < int(tcp["frames"]) < int(udp["frames"])


def test_time_is_the_air_s(rows: Mapping[str, dict[str, str]]) -> None:
    """Five messages pass, one after the other; with no spread each takes two seconds, and one of the rate.

    A channel's delays are a thirteenth of that: it is faster by far, and no faster than they let it.
    """
    sms = float(rows["sms"]["simulated_s"])
    assert sms >= 5 * (2 + 1) - 1
    for bearer in ("bip-tcp", "bip-udp"):
        assert 4 * 0.15 <= float(rows[bearer]["simulated_s"]) < sms / 2


def test_a_connection_that_does_not_come_about(tmp_path: Path) -> None:
    """Where a step of the fleet ends otherwise than well, one sentence says which, and why."""
    ways = ways_of(["x25519"], ["agree-then-sign"], ["sms"])
    make_config(tmp_path, ways, seed=1, parameters={})
    path = tmp_path / "cost.toml"
    over = path.read_text(encoding="utf-8").replace("data = 64", "data = 64\nexpires = 2020-01-01")
    path.write_text(over, encoding="utf-8")
    told: list[str] = []
    with (
        asyncio.Runner(loop_factory=loop_factory()) as runner,
        pytest.raises(FleetError, match=r"^cost: serve s1-f1-sms: refused \(expired\)$"),
    ):
        runner.run(
            measure_traffic(load_config(path), AirTable(), ways, lambda _what, which: told.append(which))
        )
    assert told == [*PREPARATION, str(ways[0])]
