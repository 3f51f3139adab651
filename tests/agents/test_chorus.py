"""What the handsets of a cell tell the console together: as many messages as there are things to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agents.handset.chorus import MAX_WAITING, Chorus
from agents.messages.orders import MAX_TOGETHER
from bus.actor import ActorGroup
from bus.errors import BrokerLost
from bus.topics import Events
from bus.tracing import child, new_trace

if TYPE_CHECKING:
    from bus.frame import Frame, TraceContext
    from bus.topics import Topic
    from tests.agents.role_kit import Kit


HEARD_AT = 1767225600.25
"""When a handset heard what it tells of."""


def chorus_of(kit: Kit) -> Chorus:
    """Return the chorus of the kit's cell."""
    client = kit.clients["cell"]
    return Chorus(kit.console, client, kit.group, counters=kit.counters, log=kit.log)


def addresses(count: int) -> list[str]:
    """Return so many addresses, as long as any is."""
    return [f"{number:020}" for number in range(count)]


@pytest.mark.parametrize(
    ("handsets", "messages"),
    [
        pytest.param(1, 1, id="one"),
        pytest.param(MAX_TOGETHER, 1, id="a-cell"),
        pytest.param(MAX_TOGETHER + 1, 2, id="a-crowd"),
    ],
)
async def test_handsets_that_have_the_same_to_tell_share_a_message(
    kit: Kit, handsets: int, messages: int
) -> None:
    """However many heard a broadcast at once, one message tells of them, each once; a crowd takes a few."""
    chorus, trace = chorus_of(kit), new_trace(kit.rng("trace"))
    for place, ua in enumerate(addresses(handsets) * 2):
        # Each heard another page of it, in a span of its own.
        chorus.tell("broadcast", ua, "points", heard_at=HEARD_AT + place, trace=child(trace))
    await kit.group.idle()
    frames = await kit.wire.until(Events(fleet=kit.fleet), messages)
    assert [frame.trace.trace_id for frame in frames] == [trace.trace_id] * messages
    assert [event.ua for event in kit.events] == addresses(handsets)
    assert {(event.do, event.service, event.result) for event in kit.events} == {
        ("broadcast", "points", "ok")
    }
    assert kit.heard_at == [(ua, HEARD_AT + place) for place, ua in enumerate(addresses(handsets))]


async def test_what_is_different_is_told_apart(kit: Kit) -> None:
    """Another service, another order, another transaction: each has a message; too many at once are lost."""
    chorus, first, second = chorus_of(kit), new_trace(kit.rng("a")), new_trace(kit.rng("b"))
    chorus.tell("broadcast", "1", "points", heard_at=HEARD_AT, trace=first)
    chorus.tell("announce", "1", "points", heard_at=HEARD_AT, trace=first)
    chorus.tell("broadcast", "1", "points", heard_at=HEARD_AT, trace=second)
    for number in range(MAX_WAITING):
        chorus.tell("broadcast", "1", str(number), heard_at=HEARD_AT, trace=first)
    await kit.group.idle()
    frames = await kit.wire.until(Events(fleet=kit.fleet), MAX_WAITING)
    assert (len(frames), kit.counters.drops("chorus-full")) == (MAX_WAITING, 3)


async def test_a_broker_that_stays_away_costs_what_was_to_be_told_and_nothing_else(kit: Kit) -> None:
    """The cell's group lives on, and what is told later is told."""
    client = kit.clients["cell"]
    publish = client.publish

    async def fail(topic: Topic | str, frame: Frame, span: TraceContext | None = None) -> None:
        assert (str(topic), frame.source, span) == (Events(fleet=kit.fleet).path, "1", None)
        client.publish = publish  # type: ignore[method-assign]
        raise BrokerLost(str(kit.broker), 1.0)

    client.publish = fail  # type: ignore[method-assign]
    chorus, trace = chorus_of(kit), new_trace(kit.rng("trace"))
    chorus.tell("broadcast", "1", "points", heard_at=HEARD_AT, trace=trace)
    await kit.group.idle()
    chorus.tell("broadcast", "2", "points", heard_at=HEARD_AT, trace=trace)
    await kit.group.idle()
    await kit.wire.until(Events(fleet=kit.fleet))
    assert [event.ua for event in kit.events] == ["2"]


async def test_nothing_is_told_when_the_handsets_are_going(kit: Kit) -> None:
    """Who is being switched off speaks no more, and raises nothing."""
    group = ActorGroup(log=kit.log, counters=kit.counters)
    async with group:
        await group.stop()
    chorus = Chorus(kit.console, kit.clients["cell"], group, counters=kit.counters, log=kit.log)
    chorus.tell("broadcast", "1", "points", heard_at=HEARD_AT, trace=new_trace(kit.rng("trace")))
    assert kit.events == []
