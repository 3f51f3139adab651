"""A transaction as a chart: what is in it, in which order, and what is missing of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.traces.chart import chart_of, to_json
from agents.traces.chart_lines import LOST, SENT, TAKEN, in_order
from agents.traces.chart_lines import read as read_line
from agents.traces.chart_rows import Arrow, Fate, Kind, Remark
from agents.traces.chart_words import heading, missing
from tests.agents.chart_kit import ALL, BROADCAST, REFUSED, RETRIED, SERVED, lines_of, read

if TYPE_CHECKING:
    from agents.traces.chart import Chart
    from tests.agents.chart_kit import Lines

BANK, MODULE = "bank", "8988459600010000017"
TRANSACTIONS = pytest.mark.parametrize("trace_id", ALL, ids=["served", "retried", "refused", "broadcast"])
FEW = settings(deadline=None, max_examples=30)
"""For each of four transactions."""


def arrows(chart: Chart) -> list[Arrow]:
    """Return the messages of *chart*."""
    return [row for row in chart.rows if isinstance(row, Arrow)]


def remarks(chart: Chart) -> list[Remark]:
    """Return what is noted in *chart*."""
    return [row for row in chart.rows if isinstance(row, Remark)]


def line(event: str, span: str, **fields: Any) -> dict[str, Any]:
    """Return a line as an agent writes it."""
    return {"event": event, "span_id": span, "bearer": "sms", "source": "a", "destination": "b", **fields}


def names(chart: Chart) -> list[str]:
    """Return the lifelines of *chart* from left to right."""
    return [each.name for each in chart.participants]


# ---- what a chart tells ----------------------------------------------------------------------------------


def test_a_served_module_reads_as_a_story() -> None:
    """Parts of a packet are one arrow, with their bare reports; numbers have names; both sides have notes."""
    chart = chart_of(lines_of(SERVED))
    assert names(chart) == ["console", BANK, MODULE]
    assert [each.role for each in chart.participants] == ["console", "supplier", "handset"]
    assert read(chart) == [
        "order, 67 octets, +16 ms",
        "sms, 90 octets, +6 ms",
        "2 x sms, 203 octets, in 387 ms",
        "session.opened",
        "report, 102 octets, +22 ms",
        "session.opened account",
        "3 x sms, 449 octets, in 66 ms",
        "application.loaded",
        "report, 46 octets, +30 ms",
        "application.loaded account, version 1, 337 octets",
        "sms, 110 octets, +4 ms",
        "application.personalised",
        "report, 46 octets, +51 ms",
        "serve account ok",
        "event, 71 octets, +10 ms",
    ]
    assert heading(chart) == (
        f"serve account, {MODULE}: ok",
        "trace a607eeb350a43555, began 2026-11-27 02:05:17 UTC, took 1,869 ms",
    )


def test_unfolded_each_message_has_its_arrow() -> None:
    """Nothing is added up when each is asked for: as many arrows as messages were sent."""
    lines = lines_of(SERVED)
    chart = chart_of(lines, unfold=True)
    assert len(arrows(chart)) == sum(each["event"] == SENT for each in lines)
    assert {each.messages for each in arrows(chart)} == {1}
    assert [each.octets for each in arrows(chart)][2:6] == [157, 4, 46, 102]
    assert [each.event for each in remarks(chart)].count("sms.delivered") == 3


@pytest.mark.parametrize(
    ("bearer", "later_s", "folded"),
    [("bip-udp", 0.2, True), ("bip-udp", 3.0, False), ("sms", 3.0, True), ("role", 0.2, False)],
    ids=["segments", "repetition", "short-messages", "no-parts"],
)
def test_what_is_sent_later_over_a_channel_is_no_part(bearer: str, later_s: float, folded: bool) -> None:  # noqa: FBT001 -- a parameter
    """CAT_TP repeats in messages that say nothing of it: time tells them from the segments of one packet."""
    lines = [
        line(event, span, bearer=bearer, octets=183, at=at)
        for span, at in (("01", 1.0), ("02", 1.0 + later_s))
        for event in (SENT, TAKEN)
    ]
    said = read(chart_of(lines))
    assert [each.split(", ")[0] for each in said] == ([f"2 x {bearer}"] if folded else [bearer, bearer])


def test_losses_and_repetitions_stand_by_themselves() -> None:
    """A lost message breaks off, the next attempt says which it is, and what the air doubles says so."""
    chart = chart_of(lines_of(RETRIED))
    said = read(chart)
    assert said[3:7] == [
        "sms, 145 octets, lost",
        "report, 4 octets, again, +38 ms",
        "sms.retry over-sms, attempt 2",
        "sms, 145 octets, attempt 2, +46 ms",
    ]
    assert [each.fate for each in arrows(chart)].count(Fate.LOST) == 1
    assert [each.is_repetition for each in arrows(chart)].count(True) == 3
    assert "took 53.8 s simulated, 1,346 ms wall time" in heading(chart)[1]
    assert not chart.incomplete


def test_what_arrows_say_is_not_remarked_again() -> None:
    """Packets that were sent, channels that opened or were done with; not one that ended otherwise."""
    told = [
        line("bip.link_opened", "01", agent="bank"),
        line("bip.packet_sent", "02", agent="bank"),
        line("bip.link_closed", "03", agent="bank", reason="hung-up"),
        line("bip.link_closed", "04", agent="bank", reason="identification", bearer="bip-tcp"),
    ]
    assert read(chart_of(told)) == ["bip.link_closed: identification, bip-tcp"]
    assert len(read(chart_of(told, unfold=True))) == len(told)


def test_what_is_lost_over_and_over_stands_once() -> None:
    """Where nothing comes between, with how often and for how long; another size, or reason, is another."""
    lost = [("01", 42, "air"), ("02", 42, "air"), ("03", 42, "air"), ("04", 28, "air"), ("05", 28, "off")]
    lines = [
        line(event, span, octets=octets, at=float(span), **({"reason": reason} if event == LOST else {}))
        for span, octets, reason in lost
        for event in (SENT, LOST)
    ]
    once = "3 x sms, 126 octets, lost (air), in 2,000 ms"
    assert read(chart_of(lines)) == [once, "sms, 28 octets, lost (air)", "sms, 28 octets, lost (off)"]
    between = line("session.opened", "09", agent="b", at=1.5)
    assert read(chart_of([*lines[:4], between]))[::2] == ["sms, 42 octets, lost (air)"] * 2
    assert len(read(chart_of(lines, unfold=True))) == len(lost)


def test_a_fallback_says_over_what() -> None:
    """Who falls back, what is said in its span over its bearer, and no answer to that."""
    lines = [
        line("bearer.failed", "01", agent="bank", reason="no-link", bearer="bip-tcp", level="warning"),
        line("bearer.fallback", "02", agent="bank", parent_id="01", bearer="sms"),
        line(SENT, "03", agent="bank", source="bank", parent_id="02", octets=9),
        line(LOST, "03", source="bank"),
        line("link.fallback", "04", agent="bank", reason="bip-udp", bearer=""),
        line(SENT, "05", agent="bank", source="bank", parent_id="04", bearer="report", octets=8),
        line(LOST, "05", source="bank"),
    ]
    assert read(chart_of(lines)) == [
        "bearer.failed: no-link, bip-tcp",
        "bearer.fallback to sms",
        "sms, 9 octets, fallback, lost",
        "link.fallback to bip-udp",
        "report, 8 octets, lost",
    ]
    assert [each.depth for each in remarks(chart_of(lines))] == [0, 1, 0]


def test_a_refusal_names_its_reason() -> None:
    """Who refused, that it was refused, and why; in the heading too."""
    chart = chart_of(lines_of(REFUSED))
    assert heading(chart)[0] == "invoke loyalty, 8988459600020000015: refused: unknown-resource"
    assert [each.kind for each in remarks(chart)] == [Kind.REFUSED, Kind.REFUSED]
    assert read(chart)[1:3] == ["menu.refused: unknown-resource", "invoke loyalty refused: unknown-resource"]


@pytest.mark.parametrize(
    ("event", "level", "fields", "said", "kind"),
    [
        ("manager.reserve", "info", {"reason": "no-room"}, "manager.reserve refused: no-room", Kind.REFUSED),
        ("manager.reserve", "info", {"reason": ""}, "manager.reserve", Kind.NOTE),
        ("manager.refused", "info", {"reason": "zone-full"}, "manager.refused: zone-full", Kind.REFUSED),
        ("command.answered", "info", {"do": "block"}, "command.answered block", Kind.NOTE),
        ("link.opened", "info", {"reason": "bip-tcp"}, "link.opened: bip-tcp", Kind.NOTE),
        ("link.lost", "info", {"reason": "hung-up"}, "link.lost: hung-up", Kind.WARNING),
        ("question.refused", "warning", {"reason": "forged"}, "question.refused: forged", Kind.REFUSED),
        ("order.ended", "info", {"do": "pull", "result": "failed"}, "pull failed", Kind.REFUSED),
        ("actor.crashed", "error", {}, "actor.crashed", Kind.REFUSED),
        ("", "info", {}, "something", Kind.NOTE),
    ],
    ids=["no", "yes", "manager", "answered", "opened", "lost", "question", "failed", "crashed", "nameless"],
)
def test_what_an_event_amounts_to(
    event: str, level: str, fields: dict[str, str], said: str, kind: Kind
) -> None:
    """A reason is a refusal where the answer was no, and else says more of what went on."""
    chart = chart_of([{"event": event, "level": level, "agent": "mno", **fields}])
    assert read(chart) == [said]
    assert [each.kind for each in remarks(chart)] == [kind]


def test_a_broadcast_has_one_lifeline_for_its_handsets() -> None:
    """What many do alike stands once, with how many; unfolded, each says who it is."""
    chart = chart_of(lines_of(BROADCAST))
    assert names(chart) == ["console", "shop", "4 handsets"]
    assert "4 x application.loaded, in 388 ms" in read(chart)
    assert "4 x event, 296 octets, in 415 ms" in read(chart)
    assert "2 x cell_broadcast.begun points, 4 cells, in 68 ms" in read(chart)
    assert chart.ua == ""
    each = read(chart_of(lines_of(BROADCAST), unfold=True))
    assert "8988170100010000131: application.loaded" in each
    assert "8988170100010000131: event, 74 octets, +2 ms" in each


def test_what_many_report_stands_once_for_each_outcome() -> None:
    """A campaign's supplier hears from thousands; how it ended says why, and not twice."""
    told = [
        line("campaign.reported", f"{number}", agent="shop", service="points", outcome=outcome, bearer="")
        for number, outcome in enumerate(["loaded", "loaded", "refused", "loaded"])
    ]
    ended = line("campaign.ended", "9", agent="shop", state="aborted", reason="aborted", stage=2, bearer="")
    assert read(chart_of([*told, ended])) == [
        "3 x campaign.reported points, loaded",
        "campaign.reported points, refused",
        "campaign.ended: aborted, stage 2",
    ]


def test_a_page_that_some_handsets_miss_was_taken() -> None:
    """A cell takes a page for all its handsets: that one of them missed it loses nobody else's."""
    page = {"bearer": "cell-broadcast", "source": "shop", "destination": "town.1", "direction": "down"}
    lines = [line(event, "01", **page) for event in (SENT, TAKEN, LOST, LOST)]
    chart = chart_of([*lines, line("diffusion.loaded", "02", agent=MODULE, role="handset", parent_id="01")])
    assert [(each.fate, each.recipient) for each in arrows(chart)] == [(Fate.TAKEN, "town.1")]
    assert [each.role for each in chart.participants] == ["", "cell", "handset"]


def test_a_number_is_named_after_who_goes_on_with_what_it_got() -> None:
    """A role that never sends under its number is known by what it did with what came there."""
    chart = chart_of(
        [
            line(SENT, "01", source=MODULE, destination="15550100", agent=MODULE, role="handset"),
            line(LOST, "01", source=MODULE, destination="15550100"),
            line(SENT, "02", source=MODULE, destination="15550100"),
            line(TAKEN, "02", source=MODULE, destination="15550100"),
            line("packet.refused", "03", parent_id="02", agent="mno", role="operator", reason="stale"),
        ]
    )
    assert names(chart) == ["mno", MODULE]


def test_a_message_taken_twice_says_so() -> None:
    """Each time that one and the same message is taken is counted."""
    chart = chart_of([line(SENT, "01"), *[line(TAKEN, "01")] * 3, line(SENT, "02"), *[line(TAKEN, "02")] * 2])
    assert [said.split(", ", 2)[2] for said in read(chart)] == ["taken 3 times", "taken twice"]


def test_spans_lie_in_each_other() -> None:
    """How deep a row lies is how many causes it has; who is its own cause does not hang anything."""
    lines = [line("phone.on", f"{number:02}", parent_id=f"{number - 1:02}") for number in range(1, 5)]
    assert [each.depth for each in remarks(chart_of(lines))] == [1, 2, 3, 4]
    circle = chart_of([line("phone.on", "01", parent_id="02"), line("phone.off", "02", parent_id="01")])
    assert len(circle.rows) == 2


# ---- what is missing -------------------------------------------------------------------------------------


@TRANSACTIONS
def test_a_whole_transaction_is_complete(trace_id: str) -> None:
    """Each message of a run's transaction has both ends told, or is told lost."""
    chart = chart_of(lines_of(trace_id))
    assert chart.incomplete == ()
    assert missing(chart) == ""


def test_an_end_that_is_missing_is_said() -> None:
    """A message that nobody took, and one that nobody sent, say so, in the chart and below it."""
    chart = chart_of(
        [line(SENT, "01"), line(TAKEN, "02", source="c"), line(LOST, "03", source="d", reason="off")]
    )
    assert [said.split(", ", 2)[2] for said in read(chart)] == [
        "nobody tells that it was taken",
        "nobody tells that it was sent",
        "lost (off), nobody tells that it was sent",
    ]
    assert [each.span for each in chart.incomplete] == ["01", "02", "03"]
    assert missing(chart) == "3 messages have one end only: the log was cut, or they were still on their way"
    assert "1 message has" in missing(chart_of([line(SENT, "01")]))


def test_an_open_one_says_what_was_ordered() -> None:
    """Its first line is enough; that nobody tells of an end is said."""
    order = line(SENT, "01", bearer="order", do="serve", service="account")
    assert heading(chart_of([order]))[0] == "serve account: open: nobody tells how it ended"


def test_nothing_is_a_chart_too() -> None:
    """Of no line at all there is a chart that says little."""
    chart = chart_of([])
    assert (chart.rows, chart.participants, chart.outcome) == ((), (), "open")
    assert heading(chart)[0] == "a transaction: open: nobody tells how it ended"


# ---- any lines, in any order -----------------------------------------------------------------------------


@TRANSACTIONS
@given(data=st.data())
@FEW
def test_any_part_in_any_order_is_a_chart(trace_id: str, data: st.DataObject) -> None:
    """Whichever lines there are, each message stands once, and is complete if its ends are among them."""
    lines = data.draw(st.lists(st.sampled_from(lines_of(trace_id)), max_size=60, unique_by=id))
    chart = chart_of(lines, unfold=True)
    events: dict[str, set[str]] = {}
    for each in lines:
        if each["event"] in {SENT, TAKEN, LOST}:
            events.setdefault(each["span_id"], set()).add(each["event"])
    whole = {span for span, told in events.items() if SENT in told and len(told) > 1}
    assert {each.span for each in arrows(chart) if each.is_whole} == whole
    assert {each.span for each in chart.incomplete} == set(events) - whole
    assert len(arrows(chart)) == len(events)
    assert sum(each.times for each in remarks(chart)) == sum(
        each["event"] not in {SENT, TAKEN, LOST} for each in lines
    )


@TRANSACTIONS
@given(st.permutations(range(24)), st.booleans())
@FEW
def test_the_order_of_lines_does_not_matter(trace_id: str, order: list[int], unfold: bool) -> None:  # noqa: FBT001 -- drawn
    """A chart is the same however its lines come: they say themselves when they were written."""
    lines = lines_of(trace_id)
    shuffled = sorted(lines, key=lambda each: order[each["seq"] % len(order)])
    assert chart_of(shuffled, unfold=unfold) == chart_of(lines, unfold=unfold)


@TRANSACTIONS
@given(st.dictionaries(st.sampled_from(["", "handset", "supplier", "operator"]), st.floats(-60, 60)))
@FEW
def test_no_effect_comes_before_its_cause(trace_id: str, wrong_by: dict[str, float]) -> None:
    """Whatever the processes' clocks say, a message is sent before it is taken, and then has its effect."""
    told = in_order(read_line(each) for each in _with_wrong_clocks(lines_of(trace_id), wrong_by))
    sent: set[str] = set()
    taken: set[str] = set()
    spans = {each.span for each in told if each.event == TAKEN}
    for each in told:
        if each.event == SENT:
            sent.add(each.span)
        elif each.event == TAKEN:
            assert each.span in sent
            taken.add(each.span)
        elif each.event == LOST:
            assert each.span in sent
        elif each.parent in spans:
            assert each.parent in taken


def _with_wrong_clocks(lines: Lines, wrong_by: dict[str, float]) -> Lines:
    """Return *lines* as they are when each role is a process with a clock of its own."""
    for each in lines:
        hour, minute, second = each["time"][11:26].split(":")
        shifted = int(hour) * 3600 + int(minute) * 60 + float(second) + wrong_by.get(each.get("role", ""), 0)
        clock = f"{int(shifted // 3600):02}:{int(shifted // 60 % 60):02}:{shifted % 60:09.6f}"
        each["time"] = f"2026-11-27T{clock}+00:00"
    return lines


@TRANSACTIONS
def test_json_says_the_same(trace_id: str) -> None:
    """The chart as JSON names each row's lifelines, and what became of each message."""
    chart = chart_of(lines_of(trace_id))
    told = json.loads(json.dumps(to_json(chart)))
    assert [each["name"] for each in told["participants"]] == names(chart)
    assert [each["row"] for each in told["rows"]] == [type(row).__name__.lower() for row in chart.rows]
    assert [each["fate"] for each in told["rows"] if each["row"] == "arrow"] == [
        str(each.fate) for each in arrows(chart)
    ]
    assert told["outcome"] == chart.outcome
