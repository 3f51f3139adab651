"""Spans with their times: when they begin, how they end, and which of them are exported."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
import structlog

from bus import ends, spans, tracing
from bus.actor import Actor, ActorGroup
from bus.counters import Counters
from bus.fallbacks import fall_back
from bus.frame import Bearer, Frame, TraceContext
from bus.sampling import BRANCHES, REMEMBERED, STEPS, Sampling
from bus.spans import Kind, Span
from tests.bus.frames import make_frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import FilteringBoundLogger

UA = "8988000000000000001"
TRACE = TraceContext(trace_id=bytes(range(16)), span_id=b"\x11" * 8)


class _Kept:
    """Keeps what it takes."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def take(self, span: Span) -> None:
        self.spans.append(span)


@pytest.fixture(name="kept")
def _kept() -> Iterator[list[Span]]:
    """Return the spans that this process tells of during the test."""
    kept = _Kept()
    with spans.exported_by(kept):
        yield kept.spans


class _Worker(Actor[Frame | str]):
    """Works on frames in a span, and on words in none; its first *crashes* frames crash."""

    def __init__(self, group: ActorGroup, *, crashes: int = 0, reasons: tuple[str, ...] = ()) -> None:
        super().__init__("bank", group, role="supplier")
        self.crashes = crashes
        self.reasons = reasons

    async def handle(self, message: Frame | str) -> None:
        if isinstance(message, str):
            return
        tracing.enter(message.trace, ua=UA)
        if self.crashes:
            self.crashes -= 1
            raise RuntimeError("a fault of the test's own")
        for reason in self.reasons:
            spans.fail(reason)


async def _worked(*messages: Frame | str, crashes: int = 0, reasons: tuple[str, ...] = ()) -> None:
    log = cast("FilteringBoundLogger", structlog.wrap_logger(structlog.testing.CapturingLogger()))
    async with ActorGroup(log=log, counters=Counters()) as group:
        worker = _Worker(group, crashes=crashes, reasons=reasons)
        with tracing.bound():
            for message in messages:
                worker.deliver(message)


async def test_work_on_a_message_is_a_span(kept: list[Span]) -> None:
    """A child of the message's, under the agent's name, with what is bound, from its begin to its end."""
    frame = make_frame(7)
    await _worked(frame)
    (span,) = kept
    assert (span.name, span.kind, span.agent, span.error) == ("process sms", Kind.CONSUMER, "bank", "")
    assert (span.trace.trace_id, span.trace.parent_id) == (frame.trace.trace_id, frame.trace.span_id)
    assert 0 < span.begun_ns <= span.ended_ns
    assert {"otafleet.role": "supplier", "otafleet.octets": 2}.items() <= span.attributes.items()


async def test_the_first_reason_is_the_status(kept: list[Span]) -> None:
    """What failed first is why the work came to nothing."""
    await _worked(make_frame(7), reasons=("blocked", "no-link"))
    assert [(span.error, span.attributes["otafleet.reason"]) for span in kept] == [("blocked", "blocked")]


async def test_a_crash_ends_a_span(kept: list[Span]) -> None:
    """Each attempt is a span of its own, and the crashed one says so."""
    await _worked(make_frame(7), crashes=1)
    assert [span.error for span in kept] == ["crashed", ""]
    assert len({span.trace.span_id for span in kept}) == 2


async def test_who_enters_no_span_ends_none(kept: list[Span]) -> None:
    """Neither its own, nor that of whoever delivered to it."""
    spans.begin(TRACE)
    await _worked("a word")
    assert kept == []
    spans.end("a word", {"agent": "me"})
    spans.end("a word", {"agent": "me"})
    assert [(span.name, span.kind, span.agent) for span in kept] == [("str", Kind.INTERNAL, "me")]


async def test_nobody_takes_nothing() -> None:
    """Where nobody exports, work leaves no span behind for who exports later."""
    spans.begin(TRACE)
    spans.fail("blocked")
    await _worked(make_frame(7))
    kept = _Kept()
    with spans.exported_by(kept):
        assert spans.is_exported()
        spans.end("a word", {})
    assert not spans.is_exported()
    spans.tell(spans.Work(TRACE), "late", Kind.INTERNAL, "me", {})
    assert kept.spans == []


def test_a_message_that_is_not_sent(kept: list[Span]) -> None:
    """Its span says so, whatever kept it."""
    frame = make_frame(7)
    with pytest.raises(RuntimeError), ends.on_its_way(frame, "otafleet/f/sms/mt/8988", TRACE):
        raise RuntimeError("no broker")
    (span,) = kept
    assert (span.trace, span.kind, span.error) == (TRACE, Kind.PRODUCER, "not-sent")
    assert span.attributes["messaging.destination.name"] == "otafleet/f/sms/mt/8988"


def test_losses(kept: list[Span], log: FilteringBoundLogger) -> None:
    """Lost before the network, it is the message's own span that fails; lost after it, a child of that."""
    frame, span = make_frame(7), tracing.child(TRACE)
    ends.tell(log, ends.SENT, frame, "up", span=span)
    ends.tell(log, ends.LOST, frame, "up", span=span, reason="air")
    ends.tell(log, ends.TAKEN, frame, "down")
    ends.tell(log, ends.LOST, frame, "down", reason="air")
    assert [(each.name, each.error) for each in kept] == [
        ("send sms", "air"),
        ("receive sms", ""),
        ("lose sms", "air"),
    ]
    assert kept[0].trace == span
    assert {each.trace.parent_id for each in kept[1:]} == {frame.trace.span_id}


def test_a_page_is_told_by_its_sender_alone(kept: list[Span], log: FilteringBoundLogger) -> None:
    """Of many who take it, or do not, each would be a span."""
    page = make_frame(7, bearer=Bearer.CELL_BROADCAST)
    with ends.on_its_way(page, "otafleet/f/cb/1", TRACE):
        ends.tell(log, ends.TAKEN, page, "down")
        ends.tell(log, ends.LOST, page, "down", reason="air")
    assert [span.name for span in kept] == ["send cell-broadcast"]


# ---- sampling --------------------------------------------------------------------------------------------


def _span(number: int, *, ua: str = "", step: int = 1, parent: int = 0, of_page: bool = False) -> Span:
    trace = TraceContext(
        trace_id=b"\x01" * 8 + number.to_bytes(8, "big"),
        span_id=step.to_bytes(8, "big"),
        parent_id=parent.to_bytes(8, "big") if parent else b"",
    )
    return Span(
        trace=trace,
        name="x",
        kind=Kind.INTERNAL,
        agent="a",
        begun_ns=0,
        ended_ns=0,
        attributes={"otafleet.ua": ua} if ua else {},
        of_page=of_page,
    )


def _sent_page(number: int) -> Span:
    return replace(_span(number), kind=Kind.PRODUCER, attributes={"otafleet.bearer": "cell-broadcast"})


def test_a_ratio_of_the_transactions() -> None:
    """By the trace id alone, so that all processes decide alike: all, none, or those below the bound."""
    numbers = [0, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
    for ratio, expected in ((1.0, 5), (0.5, 3), (0.25, 1), (0.0, 0)):
        sampling = Sampling(ratio=ratio)
        assert sum(sampling.wants(_span(number)) for number in numbers) == expected
    with pytest.raises(ValueError, match=r"from 0 to 1, not 1.5"):
        Sampling(ratio=1.5)


def test_branches_of_a_broadcast() -> None:
    """Of ten thousand modules about a hundred are followed, the same ones everywhere; of a hundred, all."""
    uas = [f"89880000000000{number:05}" for number in range(10_000)]
    sender, hearer = Sampling(modules=len(uas)), Sampling(modules=len(uas))
    assert sender.wants(_sent_page(1))
    followed = {ua for ua in uas if hearer.wants(_span(1, ua=ua, of_page=True))}
    assert 0.7 * BRANCHES < len(followed) < 1.3 * BRANCHES
    # What comes of it in a module that is followed is exported too, and other transactions as ever.
    assert {ua for ua in uas if sender.wants(_span(1, ua=ua))} == followed
    assert all(sender.wants(_span(2, ua=ua)) for ua in uas)
    few = Sampling(modules=BRANCHES)
    assert all(few.wants(_span(1, ua=ua, of_page=True)) for ua in uas)


def test_what_goes_on_from_a_page_is_of_its_branch() -> None:
    """Step by step, in the process that heard it, though nobody there knows whose the transaction is."""
    sampling = Sampling(modules=10**9)
    assert not sampling.wants(_span(1, ua=UA, step=2, of_page=True))
    assert not sampling.wants(_span(1, ua=UA, step=3, parent=2))
    assert not sampling.wants(_span(1, ua=UA, step=4, parent=3))
    assert sampling.wants(_span(1, ua=UA, step=5, parent=9))


def test_a_forged_page_keeps_nothing_from_being_exported() -> None:
    """Under the ids of a transaction of another kind, it is a branch of its own, and no more than that."""
    sampling = Sampling(modules=10**9)
    sent, received, worked = (_span(1, ua=UA, step=step, parent=step - 1) for step in (2, 3, 4))
    assert sampling.wants(sent)
    assert not sampling.wants(_span(1, ua=UA, step=7, parent=2, of_page=True))
    assert sampling.wants(received)
    assert sampling.wants(worked)


def test_broadcasts_are_forgotten_in_time() -> None:
    """What is remembered of them is bounded."""
    sampling = Sampling(modules=10**9)
    for number in range(REMEMBERED + 1):
        assert sampling.wants(_sent_page(number))
    assert sampling.wants(_span(0, ua=UA))
    assert not sampling.wants(_span(REMEMBERED, ua=UA))
    for step in range(1, STEPS + 2):
        assert not sampling.wants(_span(REMEMBERED + 1, ua=UA, step=step, of_page=True))
    assert sampling.wants(_span(REMEMBERED + 1, ua=UA, step=STEPS + 2, parent=1))
    assert not sampling.wants(_span(REMEMBERED + 1, ua=UA, step=STEPS + 2, parent=STEPS + 1))


async def test_work_on_a_page_is_told_as_such(kept: list[Span], log: FilteringBoundLogger) -> None:
    """And what is done within it; work on anything else is not, whatever bearer its frame says."""
    page = make_frame(7, bearer=Bearer.CELL_BROADCAST)
    for is_page in (True, False):
        tracing.enter(page.trace, ua=UA)
        if is_page:
            spans.of_page()
        with ends.on_its_way(make_frame(8), "otafleet/f/sms/mt/1", tracing.child(TRACE)):
            ends.tell(log, ends.SENT, make_frame(8), "down")
        tracing.leave(page)
    assert [(span.name, span.of_page) for span in kept] == [
        ("send sms", True),
        ("process cell-broadcast", True),
        ("send sms", False),
        ("process cell-broadcast", False),
    ]


def test_a_fallback_is_a_span_in_what_failed(kept: list[Span]) -> None:
    """It is told with its bearer; what is tried after it in turn lies in it."""
    first = fall_back(TRACE, "bank", "bip-tcp")
    second = fall_back(first, "bank", "sms")
    assert [(span.name, span.kind, span.agent) for span in kept] == [
        ("fall back to bip-tcp", Kind.INTERNAL, "bank"),
        ("fall back to sms", Kind.INTERNAL, "bank"),
    ]
    assert [span.trace for span in kept] == [first, second]
    assert [span.trace.parent_id for span in kept] == [TRACE.span_id, first.span_id]
    assert {span.trace.trace_id for span in kept} == {TRACE.trace_id}
    assert kept[1].attributes["otafleet.bearer"] == "sms"
