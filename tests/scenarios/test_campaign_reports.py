"""Modules report to their supplier what became of a broadcast: over a real broker, through air that loses."""

from __future__ import annotations

import sqlite3
import sys
from typing import TYPE_CHECKING, Final

import pytest

from agents.messages.campaign_reports import Outcome
from tests.scenarios.kit import CONFIGS, log_events, modules, play
from tests.scenarios.processes import killed

if TYPE_CHECKING:
    from pathlib import Path

HANDSETS: Final = 40
SOME: Final = 16
WITHIN_S: Final = 60
BROADCAST: Final = 6
"""The number of the step."""
CONFIG: Final = """
[fleet]
name = "reports"
seed = 11
state = "{state}"

[air]
speed = {speed}

[air.sms]
loss = {loss}
attempts = 8

[air.cell_broadcast]
loss = 0.1
repetitions = 4

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
suite = "p256"

[[supplier.service]]
name = "points"
application = "{apps}/loyalty.wat"
backend = "loyalty"
code = 1024
data = 64
scope = "global"
forms = ["domain-symmetric"]

[[handsets]]
name = "town"
count = {count}
cells = 4
operator = "mno"
suite = "x25519"
memory = 32768
services = ["points"]
"""
STEPS: Final = ("personalise", "agree", "subscribe", "reserve", "activate")


def write(
    directory: Path, *, count: int = HANDSETS, loss: float = 0.2, speed: str = "100.0", **keys: object
) -> Path:
    """Write a config whose last step broadcasts with *keys*, state in *directory*; return its path."""
    text = CONFIG.format(
        state=directory / "state", apps=CONFIGS / "apps", count=count, loss=loss, speed=speed
    )
    for do in STEPS:
        text += f'\n[[step]]\ndo = "{do}"\nexpect = {{ ok = "all" }}\n'
    text += '\n[[step]]\ndo = "broadcast"\nservice = "points"\nexpect = { ok = "all" }\n'
    path = directory / "reports.toml"
    path.write_text(text + "".join(f"{key} = {value}\n" for key, value in keys.items()))
    return path


def reported(state: Path) -> list[dict[str, object]]:
    """Return what the supplier took note of."""
    return [event for event in log_events(state) if event["event"] == "campaign.reported"]


def test_all_modules_report_through_air_that_loses(tmp_path: Path) -> None:
    """A fifth of all short messages lost: every report arrives once, spread over its time, and is counted."""
    report = play(write(tmp_path, report_share=1.0, report_within_s=WITHIN_S))
    assert report.missed == ()
    assert report.bearers["sms"].lost > 0
    told = reported(tmp_path / "state")
    assert len(told) == len({event["ua"] for event in told}) == HANDSETS
    assert {(event["campaign"], event["version"]) for event in told} == {(1, 1)}
    assert {event["outcome"] for event in told} == {"loaded"}
    (made,) = report.to_json()["campaigns"]
    assert made["reported"] == {"loaded": HANDSETS, "held": 0, "refused": 0, "reasons": {}}


def test_a_sample_reports(tmp_path: Path) -> None:
    """Of half the modules some report and others do not; the step ends when their time is over."""
    keys = {"report_share": 0.5, "report_within_s": 10}
    report = play(write(tmp_path, count=SOME, loss=0.0, speed="300.0", **keys))
    assert report.missed == ()
    told = reported(tmp_path / "state")
    assert 0 < len(told) < SOME
    (made,) = report.to_json()["campaigns"]
    assert made["reported"]["loaded"] == len(told)


@pytest.mark.skipif(sys.platform != "linux", reason="kills itself as only a process can")
def test_a_power_cut_between_loading_and_reporting(tmp_path: Path) -> None:
    """What modules were to say is lost with it; launched again, they hear the campaign, and hold it.

    The cut comes when the first reports are stored. After the launch that follows all have reported, each of
    them once: those that the cut found without the version, that they loaded it.
    """
    handsets = 8
    keys = {"report_share": 1.0, "report_within_s": 600}
    path = write(tmp_path, count=handsets, loss=0.0, speed="600.0", **keys)
    # Time goes on while nothing runs: the campaign may be over by then, but whoever hears it reports.
    with path.open("a") as file:
        file.write('\n[[step]]\ndo = "wait"\nfor_s = 660\n')
    killed(path, "changed:reports", 2, BROADCAST)
    first = outcomes(tmp_path / "state")
    assert 2 <= len(first) < handsets
    assert {outcome for outcome, _ in first.values()} == {Outcome.LOADED}
    versions = {ua: one["definitions"][0]["version"] for ua, one in modules(tmp_path / "state").items()}
    report = play(path)
    assert report.missed == ()
    then = outcomes(tmp_path / "state")
    assert {ua: then[ua] for ua in first} == first
    late = {ua: outcome for ua, (outcome, _) in then.items() if ua not in first}
    assert late == {
        ua: Outcome.HELD if version else Outcome.LOADED for ua, version in versions.items() if ua not in first
    }
    assert Outcome.HELD in late.values()


def outcomes(state: Path) -> dict[str, tuple[int, float]]:
    """Return what each module reported, and when, as it lies in the supplier's database."""
    with sqlite3.connect(state / "shop.db") as database:
        rows = database.execute("SELECT ua, outcome, reported_at FROM reports").fetchall()
    database.close()
    return {ua: (outcome, at) for ua, outcome, at in rows}
