"""The report of a broadcast: on the screen, as JSON, and drawn."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agents.airings import StageAired
from agents.fleet.campaign_picture import draw, round_step
from agents.fleet.campaign_report import Reported, chart, seconds
from tests.agents.campaign_kit import CAMPAIGN, SENT, arrivals, campaign
from tests.agents.test_report import REPORT

if TYPE_CHECKING:
    from agents.fleet.arrivals import Arrival
    from agents.fleet.campaign_report import CampaignReport

SVG = "{http://www.w3.org/2000/svg}"
UNKNOWN = campaign(sent=None)
UNHEARD = campaign(coverage=(), arrivals=arrivals(0, without=120))


def render(made: CampaignReport) -> list[str]:
    """Return the lines that *made* has on a screen of 80 columns, without what pads them."""
    file = io.StringIO()
    replace(REPORT, campaigns=(made,)).render(Console(file=file, width=80))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    return [" ".join(line.split()) for line in lines]


def words_in(picture: str) -> list[str]:
    """Return all texts of a picture, which has to be well-formed."""
    return [text.text or "" for text in ET.fromstring(picture).iter(f"{SVG}text")]  # noqa: S314 -- our own


def paths_in(picture: str, kind: str) -> list[str]:
    """Return what the paths of a kind draw."""
    root = ET.fromstring(picture)  # noqa: S314 -- our own
    return [path.attrib["d"] for path in root.iter(f"{SVG}path") if path.attrib["class"] == kind]


def test_the_screen_says_how_each_module_got_it() -> None:
    """Who by broadcast, who one by one, who not at all; what was sent, and what it compares with."""
    text = " ".join(render(CAMPAIGN))
    for line in (
        "Broadcast of points, version 2 (step 6)",
        "targets 100, 88 of them told (88 %); 20 others served afterwards",
        "loaded 90 by broadcast (2 told when served), 25 one by one afterwards, 5 without",
        "a cycle 4,096 octets (raptorq) in 250 packets, 250 pages, 60% of them repair",
        "sent 5,000 pages: 250 a cycle, repetitions 2, cells 10",
        "lost 12,345 on the way to handsets",
        "broadcast 5,000 pages, 440,000 octets, 9,416 s on air",
        "instead 2,970 short messages, 445,000 octets, 2,970 s on air, for 90 modules one by one",
    ):
        assert line in text, line


def test_what_is_not_known_is_said() -> None:
    """A launch that resumed has the curve, and of what was sent neither zeros nor guesses."""
    lines = render(UNKNOWN)
    assert "sent not known: an earlier launch sent it" in lines
    assert any("40.00 s simulated time" in line for line in lines)
    assert not any("pages" in line for line in lines)
    assert UNKNOWN.to_json()["sent"] is None
    lines = render(
        campaign(
            sent=replace(SENT, lost=None, lost_by_all=20_000),
            arrivals=arrivals(88, untold=2, before=5, served=25, without=5),
        )
    )
    assert "lost 20,000 on the way to handsets, in all broadcasts of the run" in lines
    assert "90 by broadcast (2 told when served), 5 had it before, 25 one by one" in " ".join(lines)


def test_what_was_reported_is_said_where_somebody_was_asked() -> None:
    """Each outcome with its count, also none; and nothing where nobody was asked."""
    asked = campaign(reported=Reported(loaded=38, held=0, refused=3, reasons={"too-large": 2, "no-right": 1}))
    assert "reported 38 loaded, 0 held, 3 refused: 2 too-large, 1 no-right" in render(asked)
    assert asked.to_json()["reported"] == {
        "loaded": 38,
        "held": 0,
        "refused": 3,
        "reasons": {"too-large": 2, "no-right": 1},
    }
    assert "reported 4 loaded, 0 held, 0 refused" in render(
        campaign(reported=Reported(loaded=4, held=0, refused=0))
    )
    assert not any(line.startswith("reported") for line in render(CAMPAIGN))
    assert CAMPAIGN.to_json()["reported"] is None


def test_stages_are_told_with_their_verdicts() -> None:
    """Where there were several, or the campaign was cut short; else there is nothing to say of them."""
    stages = (
        StageAired(cells=1, holders=4, begun_s=0.5, ended_s=120.0, why="enough-successes"),
        StageAired(cells=3, holders=12, begun_s=120.0, ended_s=180.0, why="too-many-errors"),
    )
    state, reason = "stopped", "too-many-errors"
    sent = replace(SENT, stages=stages, state=state, reason=reason)
    lines = render(campaign(sent=sent, state=state, reason=reason))
    assert "stage 1 1 cell, 4 modules, from 0.50 s to 120 s: enough-successes" in lines
    assert "stage 2 3 cells, 12 modules, from 120 s to 180 s: too-many-errors" in lines
    by_wall = render(campaign(sent=sent, state=state, clock="wall"))
    assert "stage 1 1 cell, 4 modules, from 0.50 s to 120 s wall time: enough-successes" in by_wall
    assert "campaign stopped: too-many-errors" in lines
    assert "campaign aborted" in render(campaign(sent=sent, state="aborted", reason="aborted"))
    # Also where nobody knows any more what was sent.
    assert "campaign expired: deadline" in render(campaign(sent=None, state="expired", reason="deadline"))
    assert not any("stage" in line for line in render(campaign(sent=replace(SENT, stages=stages[:1]))))


def test_an_open_campaign_is_told_so_far() -> None:
    """What was published of what is planned, by which launch, the stage that is not over, and who told."""
    stages = (StageAired(cells=1, holders=4, begun_s=0.5, ended_s=20.0, why=""),)
    sent = replace(SENT, stages=stages, state="open", planned=20_000, is_whole=False)
    made = campaign(sent=sent, state="open", reason="paused")
    lines = render(made)
    assert "targets 100, 88 of them told (88 %); 20 others served afterwards" in lines
    assert any(line.startswith("sent 5,000 of 20,000 pages: ") for line in lines)
    assert "before an earlier launch sent pages too" in lines
    assert "stage 1 1 cell, 4 modules, from 0.50 s to 20.00 s: not over" in lines
    assert "campaign open: paused" in lines
    assert (made.to_json()["state"], made.to_json()["reason"]) == ("open", "paused")


def test_who_loaded_nobody_is_compared_with_nothing() -> None:
    """Neither short messages nor error correction are counted where there are none."""
    sent = replace(SENT, repair_pages=0)
    lines = render(campaign(coverage=(), arrivals=arrivals(0, without=120), sent=sent))
    assert "instead nothing: it loaded nobody" in lines
    assert "a cycle 4,096 octets (raptorq) in 250 packets, 250 pages, none repair" in lines


@pytest.mark.parametrize(
    ("made", "words"),
    [(arrivals(0, without=120), "none"), (arrivals(120), "broadcast"), (arrivals(119, without=1), "")],
    ids=["none", "all", "all-but-one"],
)
def test_cells_that_are_all_alike_are_a_line(made: tuple[Arrival, ...], words: str) -> None:
    """Only where modules came by it in different ways is there a table of cells."""
    lines = render(campaign(arrivals=made))
    assert (f"cells 2, the same in each: {words}" in lines) == bool(words)
    assert any(line.startswith("cell modules ") for line in lines) != bool(words)


def test_json_has_every_figure() -> None:
    """A CI job finds the curve as points, and all else by name."""
    values = json.loads(json.dumps(replace(REPORT, campaigns=(CAMPAIGN,)).to_json()))
    (made,) = values["campaigns"]
    assert made["coverage"] == [
        {"s": 10.0, "modules": 25},
        {"s": 20.0, "modules": 50},
        {"s": 40.0, "modules": 88},
    ]
    assert (made["step"], made["service"], made["time"]) == (6, "points", "simulated")
    assert {name: made[name] for name in ("targets", "modules", "by_broadcast", "untold")} == {
        "targets": 100,
        "modules": 120,
        "by_broadcast": 90,
        "untold": 2,
    }
    assert (made["one_by_one"], made["without"]) == (25, 5)
    assert (made["sent"]["published"], made["sent"]["lost"], made["sent"]["repair_pages"]) == (
        5000,
        12_345,
        150,
    )
    assert made["unicast"] == {"messages": 2970, "octets": 445_000, "air_s": 2970.0}
    assert REPORT.to_json()["campaigns"] == []


def test_the_chart_rises_as_modules_told() -> None:
    """Nothing before the first, half of the height from the middle on, and never more than was told."""
    lines = list(chart(campaign(coverage=((5.0, 50), (10.0, 100)))))
    rows = [line[7:].ljust(60) for line in lines[:6]]
    assert [row[28] for row in rows] == [" "] * 6
    assert [row[30] for row in rows] == [" "] * 3 + ["█"] * 3
    assert [row[59] for row in rows] == ["█"] * 6
    assert lines[0].startswith("100 % │")
    assert lines[5].startswith("  0 % │")
    assert lines[-1].endswith("10.00 s simulated time")
    part = [line[7:] for line in chart(CAMPAIGN)][:6]
    assert part[0][-1] == "▂"
    assert list(chart(UNHEARD)) == ["  no handset told that its module has it"]


@pytest.mark.parametrize(("value", "words"), [(0.771, "0.77 s"), (99.5, "99.50 s"), (1234.5, "1,234 s")])
def test_times_are_short(value: float, words: str) -> None:
    """Two decimals where they matter."""
    assert seconds(value) == words


@given(least=st.floats(1e-6, 1e6))
def test_times_below_a_picture_are_round(least: float) -> None:
    """Steps are 1, 2 or 5 times a power of ten, not below what there is room for and not far above."""
    step = round_step(least)
    assert least <= step <= least * 2.6
    digits = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(digits - one) for one in (1, 2, 5)) < 1e-6


def test_a_picture_has_a_curve_for_each_campaign() -> None:
    """It is well-formed, one below the other, and ends where the modules that told do."""
    picture = draw("town <1>", [CAMPAIGN, campaign(step=9)])
    assert len(paths_in(picture, "curve")) == len(paths_in(picture, "area")) == 2
    # From the corner on: at a quarter of the time a quarter of the modules, at the end 88 of 100.
    assert paths_in(picture, "curve")[0] == "M76 218H241.0V178.0H406.0V138.0H736.0V77.2"
    words = words_in(picture)
    assert "Broadcast of points, version 2 (step 9)" in words
    assert {"0%", "100%", "0 s", "10 s", "40 s", "share of 100 modules"} <= set(words)
    assert "90 by broadcast (2 told when served), 25 one by one afterwards, 5 without" in words
    assert "town &lt;1&gt;" in picture
    assert "prefers-color-scheme: dark" in picture
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (UNHEARD, "no handset told that its module has it"),
        (UNKNOWN, "not known: an earlier launch sent it"),
        (campaign(coverage=((0.0, 100),)), "share of 100 modules"),
    ],
    ids=["unheard", "unknown", "at-once"],
)
def test_a_picture_of_little_is_a_picture(made: CampaignReport, words: str) -> None:
    """Where nobody told, where little is known, or all came at once it says so and stays well-formed."""
    assert words in words_in(draw("town", [made]))


def test_a_picture_of_nothing_says_so() -> None:
    """Where suppliers refused all broadcasts there is no curve, and no empty frame either."""
    picture = draw("town", [])
    assert words_in(picture) == ["no broadcast was carried out"]
    assert paths_in(picture, "grid") == []
