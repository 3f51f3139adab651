"""Charts cut to the rows that matter most."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from agents.traces.chart import chart_of
from agents.traces.chart_cut import MOST_ROWS, cut
from tests.agents.chart_kit import REFUSED, RETRIED, SERVED, draw, lines_of, read


def test_a_short_chart_stays_as_it_is() -> None:
    """Nothing is left out, and nothing is said of that."""
    chart = chart_of(lines_of(REFUSED))
    excerpt = cut(chart)
    assert (excerpt.chart, excerpt.left_out) == (chart, "")


def test_the_last_rows_of_what_nobody_refused() -> None:
    """Where all went well, or nobody answered, the end tells the most; the times count from the beginning."""
    chart = chart_of(lines_of(SERVED))
    excerpt = cut(chart, most=5)
    assert excerpt.chart.rows == chart.rows[-5:]
    assert excerpt.left_out == f"left out: {len(chart.rows) - 5} rows before these"
    assert draw(excerpt.chart).splitlines()[-5:] == draw(chart).splitlines()[-5:]


@pytest.mark.parametrize(("most", "place"), [(20, 13), (3, 0), (1, 0)])
def test_the_rows_around_a_refusal(most: int, place: int) -> None:
    """The "no" is there, with what led to it and some of what it led to."""
    refused = chart_of(lines_of(REFUSED))
    (no,) = [row for row in refused.rows if "menu.refused" in read(replace(refused, rows=(row,)))[0]]
    before, after = refused.rows[:1] * 30, refused.rows[:1] * 10
    excerpt = cut(replace(refused, rows=(*before, no, *after)), most=most)
    assert len(excerpt.chart.rows) == most
    assert excerpt.chart.rows[place] == no
    assert excerpt.before + most + excerpt.after == 41


def test_both_ends_are_said_to_be_left_out() -> None:
    """One row is one, and more are more."""
    refused = chart_of(lines_of(REFUSED))
    (no,) = [row for row in refused.rows if "menu.refused" in read(replace(refused, rows=(row,)))[0]]
    arrow = refused.rows[0]
    excerpt = cut(replace(refused, rows=(arrow, no, *[arrow] * 4)), most=2)
    assert excerpt.left_out == "left out: 1 row before these, 3 rows after these"


def test_as_json() -> None:
    """An excerpt is a chart as ``otafleet trace`` has it, bounded in all it lists, and what is left out."""
    chart = chart_of(line for line in lines_of(RETRIED) if line["event"] != "message.taken")
    told = cut(replace(chart, incomplete=chart.incomplete * 100), most=2).to_json()
    assert json.loads(json.dumps(told)) == json.loads(json.dumps(told))
    assert (len(told["rows"]), told["left_out"]["before"]) == (2, len(chart.rows) - 2)
    assert len(told["incomplete"]) == MOST_ROWS


def test_of_several_refusals_the_one_that_decided() -> None:
    """It is the last for the reason that the order ended for; the last of all, where none has that."""
    refused = chart_of(lines_of(REFUSED))
    (no,) = [row for row in refused.rows if "menu.refused" in read(replace(refused, rows=(row,)))[0]]
    other, again = replace(no, reason="other"), replace(no, span="again")
    rows = (no, *refused.rows[:1] * 9, again, *refused.rows[:1] * 9, other, *refused.rows[:1] * 9)
    assert again in cut(replace(refused, rows=rows), most=3).chart.rows
    assert other in cut(replace(refused, rows=rows, reason="third"), most=3).chart.rows
