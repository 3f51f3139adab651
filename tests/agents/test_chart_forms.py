"""A chart drawn: on a screen, as SVG, as Mermaid; and that nothing a log holds does harm in any of them."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from agents.traces.chart import Chart, chart_of
from agents.traces.chart_mermaid import MAX_CHARACTERS, to_mermaid
from agents.traces.chart_svg import to_svg
from tests.agents.chart_kit import ALL, BROADCAST, REFUSED, RETRIED, SERVED, draw, lines_of, read

TRANSACTIONS = pytest.mark.parametrize("trace_id", ALL, ids=["served", "retried", "refused", "broadcast"])
SVG = "{http://www.w3.org/2000/svg}"
SAFE = r"(?:[A-Za-z0-9 .,()_+:✗-]|#\d+;)*"
MERMAID = re.compile(
    rf"%% {SAFE}|sequenceDiagram|    title {SAFE}|    participant p\d+ as {SAFE}"
    rf"|    p\d+(?:->>|-->>|--x|--\))p\d+: {SAFE}|    Note over p\d+(?:,p\d+)?: {SAFE}"
)
HOSTILE = (
    "\x1b[31;1m\x1b]0;owned\x07",
    "<script>alert(1)</script>",
    "]]></style><!-- &amp; \"'",
    "a\r\nmessage.sent\n\n    p0->>p1: forged",
    "end; participant x as y %%{init: {}}%% #59;",
    "[red]markup[/red] [link=file:///etc/passwd]x[/link]",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe\N{ZERO WIDTH SPACE}\N{NULL}\ud800\uffff",
    "表示" * 40 + "\N{COMBINING GRAVE ACCENT}" * 40,
    "x" * 10_000,
    "",
)
ODD: tuple[Any, ...] = (*HOSTILE, None, True, -1, 10**400, float("nan"), float("inf"), 1e308, [], {"a": []})


def all_forms(chart: Chart) -> tuple[str, str, str]:
    """Return *chart* on a screen, as SVG and as Mermaid, each of which has to be sound."""
    screen, svg, mermaid = draw(chart), to_svg(chart), to_mermaid(chart)
    for line in screen.splitlines():
        assert cell_len(line) <= 80
        assert line.isprintable()
    root = ET.fromstring(svg)  # noqa: S314 -- our own
    kinds = {each.tag.removeprefix(SVG) for each in root.iter()}
    assert kinds <= {"svg", "title", "style", "rect", "text", "path", "circle", "g"}
    for line in mermaid.splitlines():
        assert MERMAID.fullmatch(line)
        assert not re.search(r"\bend\b", line, re.IGNORECASE)
    return screen, svg, mermaid


def texts(svg: str) -> list[str]:
    """Return all texts of a picture."""
    return [each.text or "" for each in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314 -- our own


# ---- on the screen ---------------------------------------------------------------------------------------


def test_the_screen_shows_a_ladder() -> None:
    """Lifelines down, messages across, losses broken off, what it is at the right."""
    assert draw(chart_of(lines_of(RETRIED))).splitlines() == [
        "reserve over-sms, 8988847800010000022: ok",
        "trace d2ab0e40fcb84a53, began 2026-11-27 02:05:30 UTC, took 53.8 s simulated,",
        "1,346 ms wall time",
        "",
        "           console        mno      8988847800",
        "                                    010000022",
        "                       operator      handset",
        " +0.000       ├───────────▶│            │  order, 70 octets, +560 ms",
        " +1.399       │            ├───────────▶│  sms, 157 octets, +145 ms",
        " +7.225       │            │◀───────────┤  report, 4 octets, +38 ms",
        " +7.282       │            ├╌╌╌╌╌╌✗     │  sms, 145 octets, lost",
        " +7.303       │            │◀───────────┤  report, 4 octets, again, +38 ms",
        "+39.361       │            !            │  sms.retry over-sms, attempt 2",
        "+39.369       │            ├───────────▶│  sms, 145 octets, attempt 2, +46 ms",
        "+42.345       │            │            ●  manager.reserve",
        "+47.936       │            │◀───────────┤  report, 121 octets, +24 ms",
        "+48.354       │            ●            │  command.answered reserve over-sms",
        "+48.357       │            ●            │  reserve over-sms ok",
        "+48.367       │◀───────────┤            │  event, 74 octets, +64 ms",
        "+53.807       │            │◀───────────┤  report, 121 octets, again, +38 ms",
    ]


def test_a_screen_of_ascii_gets_ascii() -> None:
    """Where the terminal knows no more, lifelines and marks are of ASCII."""
    drawn = draw(chart_of(lines_of(RETRIED)), encoding="ascii")
    assert " +7.282       |            |......x     |  sms, 145 octets, lost" in drawn
    assert "+42.345       |            |            *  manager.reserve" in drawn
    assert "X" in draw(chart_of(lines_of(REFUSED)), encoding="ascii")


def test_colours_say_what_matters() -> None:
    """A refusal is bold and red, a loss red, a repetition dim, and what is all right has no colour."""
    refused = draw(chart_of(lines_of(REFUSED)), colour=True)
    assert "\x1b[1;31m✗\x1b[0m" in refused
    assert "\x1b[1;31mmenu.refused: unknown-resource\x1b[0m" in refused
    retried = draw(chart_of(lines_of(RETRIED)), colour=True)
    assert "\x1b[31msms, 145 octets, lost\x1b[0m" in retried
    assert "\x1b[2msms, 145 octets, attempt 2, +46 ms\x1b[0m" in retried
    assert "sms, 157 octets, +145 ms\n" in retried


@pytest.mark.parametrize("width", [20, 40, 57, 80, 200])
@TRANSACTIONS
def test_a_chart_fits_the_screen(trace_id: str, width: int) -> None:
    """However wide it is, no line is wider, and nothing that is said is left out."""
    chart = chart_of(lines_of(trace_id))
    drawn = draw(chart, width=width)
    assert all(cell_len(line.rstrip()) <= width for line in drawn.splitlines())
    if width == 200:
        assert all(said in drawn for said in read(chart))


def test_without_room_for_lifelines_each_row_names_its_ends() -> None:
    """A narrow screen has a list in place of a ladder."""
    drawn = " ".join(draw(chart_of(lines_of(SERVED)), width=44).split())
    assert "bank -> 8988459600010000017: 2 x sms, 203 octets" in drawn
    assert "bank: serve account ok" in drawn


def test_an_end_that_is_missing_is_drawn_as_a_question() -> None:
    """Who sent, or whether it arrived, is a question mark, and a sentence below says how many are so."""
    lines = [
        each
        for each in lines_of(SERVED)
        if (each["event"], each["octets" if "octets" in each else "seq"])
        not in {("message.taken", 90), ("message.sent", 110)}
    ]
    drawn = draw(chart_of(lines))
    assert "?╌╌╌╌╌╌╌╌╌╌╌┤  sms, 90 octets, nobody tells" in drawn
    assert "?╌╌╌╌╌╌╌╌╌╌╌▶│  sms, 110 octets, nobody tells" in drawn
    assert "2 messages have one end only" in drawn


# ---- in documents ----------------------------------------------------------------------------------------


def test_the_picture_says_all_that_the_chart_does() -> None:
    """Names, roles, times and words are in the SVG, losses crossed out, refusals marked."""
    chart = chart_of(lines_of(RETRIED))
    svg = to_svg(chart)
    told = texts(svg)
    assert set(read(chart)) <= set(told)
    assert {"console", "mno", "operator", "8988847800010000022", "handset", "+39.361"} <= set(told)
    assert svg.count('class="bad"') == 1
    assert svg.count("broken") == 2  # the style, and the arrow
    assert "prefers-color-scheme: dark" in svg
    assert '<circle class="refused"' in to_svg(chart_of(lines_of(REFUSED)))


def test_the_diagram_is_mermaids() -> None:
    """Lifelines, arrows by what became of them, notes; GitHub draws it."""
    assert to_mermaid(chart_of(lines_of(REFUSED))).splitlines() == [
        "%% trace f9d5918c9a49285e, began 2026-11-27 02:05:21 UTC, took 18 ms",
        "sequenceDiagram",
        "    title invoke loyalty, 8988459600020000015#58; refused#58; unknown-resource",
        "    participant p0 as console",
        "    participant p1 as 8988459600020000015 (handset)",
        "    p0->>p1: order, 69 octets, +9 ms",
        "    Note over p1: ✗ menu.refused: unknown-resource",
        "    Note over p1: ✗ invoke loyalty refused: unknown-resource",
        "    p1->>p0: event, 93 octets, +5 ms",
    ]
    retried = to_mermaid(chart_of(lines_of(RETRIED)))
    assert "p1--xp2: sms, 145 octets, lost" in retried
    assert "p1-->>p2: sms, 145 octets, attempt 2" in retried


def test_a_long_diagram_is_cut_where_mermaid_would_refuse_it() -> None:
    """More than Mermaid takes is left out, and how many rows that are is said."""
    lines = [each | {"span_id": str(number)} for number in range(60) for each in lines_of(BROADCAST)]
    chart = chart_of(lines, unfold=True)
    drawn = to_mermaid(chart)
    cut = re.search(r"Note over p0,p2: and ([\d,]+) rows more", drawn)
    assert cut is not None
    drawn_rows = sum(
        line.startswith(("    p", "    Note")) and " as " not in line for line in drawn.splitlines()
    )
    assert drawn_rows - 1 + int(cut[1].replace(",", "")) == len(chart.rows)
    assert len(drawn) <= MAX_CHARACTERS


# ---- whatever a log holds --------------------------------------------------------------------------------


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_harmless(hostile: str) -> None:
    """A log that steers terminals, writes markup or forges rows does none of that in any form."""
    harmless = {"event", "span_id", "parent_id", "time", "trace_id"}
    lines = [
        {
            name: value if name in harmless or not isinstance(value, str) else hostile
            for name, value in each.items()
        }
        for each in lines_of(RETRIED)
    ]
    for chart in (chart_of(lines), chart_of(lines, unfold=True)):
        screen, svg, mermaid = all_forms(chart)
        assert len(screen) + len(svg) + len(mermaid) < 120_000
        assert draw(chart, encoding="ascii").isascii()


@given(data=st.data(), unfold=st.booleans())
@settings(deadline=None, max_examples=60)
def test_odd_fields_are_drawn_all_the_same(data: st.DataObject, unfold: bool) -> None:  # noqa: FBT001 -- drawn
    """Any value under any name, any lines missing: there is a chart, and all its forms are sound."""
    lines = data.draw(st.lists(st.sampled_from(lines_of(RETRIED) + lines_of(REFUSED)), max_size=20))
    for each in lines:
        odd = data.draw(st.dictionaries(st.sampled_from(sorted(each)), st.sampled_from(ODD), max_size=4))
        each.update(odd)
    all_forms(chart_of(lines, unfold=unfold))


def test_many_strangers_share_lifelines() -> None:
    """Thousands of agents that nobody knows do not make thousands of lifelines."""
    lines = [
        {"event": "message.sent", "span_id": f"{number}", "source": f"x{number}", "destination": f"y{number}"}
        for number in range(2_000)
    ]
    chart = chart_of(lines)
    assert [each.name for each in chart.participants] == ["4,000 others"]
    screen, _, _ = all_forms(chart)
    assert "2,000 x a message" in " ".join(screen.split())
