"""A flood of what is thrown away: few lines, no count lost, and room on the disk for what is to be stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import aiomqtt
import pytest
import structlog

from bus import log_floods, tracing
from bus.client import BusClient
from bus.counters import Counters
from bus.disk import is_nearly_full
from bus.errors import FrameRejected
from bus.frame import Bearer, Frame
from bus.log_file import LogFile
from bus.log_floods import FIRST, MAX_KINDS, OTHERS, Floods
from bus.topics import Inbox
from bus.vocabulary import BY_STRANGERS, EVENTS
from tests.bus.frames import make_frame
from tests.bus.handset import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bus.address import BrokerAddress

FLOOD: Final = 1000
TOLD: Final = [*range(1, FIRST + 1), 32, 64, 128, 256, 512]


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Return where the log of a test is, and leave structlog as it was found."""
    yield tmp_path / "log.jsonl"
    structlog.reset_defaults()


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_the_first_are_told_and_each_doubling() -> None:
    """Each kind by itself: an event, an agent, a reason."""
    floods = Floods()
    assert [count for _ in range(FLOOD) if (count := floods.count("a.b", "mno", "why"))] == TOLD
    others = (("a.c", "mno", "why"), ("a.b", "bank", "why"), ("a.b", "mno", "no"))
    assert [floods.count(*kind) for kind in others] == [1, 1, 1]
    assert [(each.event, each.agent, each.reason, each.number) for each in floods.hushed()] == [
        ("a.b", "mno", "why", FLOOD)
    ]


def test_kinds_are_bounded() -> None:
    """Beyond so many the rest of an event's share a count, and none is lost."""
    floods = Floods()
    for number in range(MAX_KINDS + FLOOD):
        floods.count("a.b", "mno", str(number))
    assert [(each.agent, each.number) for each in floods.hushed()] == [(OTHERS, FLOOD)]


def test_they_are_events_of_the_list() -> None:
    """What a stranger can cause stands in the vocabulary."""
    assert EVENTS.keys() >= BY_STRANGERS


def test_a_log_tells_seldom_and_in_the_end_how_many(path: Path) -> None:
    """Lines that stand for several say how many there were by then; other events are told each time."""
    with tracing.configure(path):
        log = tracing.get_logger(client="fleet-mno")
        for _ in range(FLOOD):
            log.warning("order.dropped", agent="mno", reason="forged")
            log.info("sms.delivered")
    lines = _lines(path)
    dropped = [line for line in lines if line["event"] == "order.dropped"]
    assert [line.get("count") for line in dropped] == [None] * FIRST + TOLD[FIRST:]
    assert sum(line["event"] == "sms.delivered" for line in lines) == FLOOD
    last = lines[-1]
    assert {name: last[name] for name in ("event", "of", "agent", "reason", "count")} == {
        "event": "log.hushed",
        "of": "order.dropped",
        "agent": "mno",
        "reason": "forged",
        "count": FLOOD,
    }
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))


def test_who_it_was_is_what_is_bound_or_who_listens(path: Path) -> None:
    """The event names the agent, or its logger does, or the task it happens in; else it is the connection."""
    with tracing.configure(path):
        for _ in range(2 * FIRST + 1):
            tracing.get_logger().warning("phone.dropped", agent="one", reason="r")
            tracing.get_logger(agent="two", client="c").warning("phone.dropped", reason="r")
            with tracing.bound(agent="three"):
                tracing.get_logger(client="c").warning("phone.dropped", reason="r")
            tracing.get_logger(client="c").warning("phone.dropped", reason="r")
    agents = {line["agent"] for line in _lines(path) if line["event"] == "log.hushed"}
    assert agents == {"one", "two", "three", "c"}


@pytest.mark.parametrize("patience", [0, 2 * FLOOD], ids=["flood", "honest-radio"])
async def test_a_flood_over_a_broker(
    path: Path, broker: BrokerAddress, fleet: str, monkeypatch: pytest.MonkeyPatch, patience: int
) -> None:
    """Of a flood neither that a message was taken is told, nor that it was dropped; the metrics have each.

    Of less, each message has both its ends.
    """
    monkeypatch.setattr(log_floods, "PATIENCE", patience)
    refused, counters = Tally(), Counters()
    inbox = Inbox(fleet=fleet, agent="mno")

    def refuse(frame: Frame, _topic: str) -> None:
        refused.add()
        if frame.pdu != b"good":
            raise FrameRejected("wrong-bearer")

    with tracing.configure(path) as log:
        client = BusClient(
            broker, identifier=f"{fleet}-mno", log=tracing.get_logger(), counters=counters, persistent=False
        )
        stranger = aiomqtt.Client(broker.host, broker.port, identifier=f"{fleet}-stranger")
        async with client, stranger:
            await client.subscribe([inbox], refuse)
            log.flush()
            for number in range(FLOOD):
                await stranger.publish(inbox.path, make_frame(number, bearer=Bearer.SMS).encode())
                await stranger.publish(inbox.path, b"\xc1")
            await stranger.publish(inbox.path, make_frame(pdu=b"good").encode(), qos=1)
            await refused.until(FLOOD + 1)
    assert counters.snapshot()["dropped"] == {"not-msgpack": FLOOD, "wrong-bearer": FLOOD}
    lines = _lines(path)
    dropped = [line["reason"] for line in lines if line["event"] == "bus.payload_dropped"]
    assert {reason: dropped.count(reason) for reason in dropped} == dict.fromkeys(
        ("wrong-bearer", "not-msgpack"), len(TOLD)
    )
    taken = [line for line in lines if line["event"] == "message.taken"]
    assert taken[-1]["octets"] == len(b"good")
    if patience:
        assert len(taken) == FLOOD + 1
    else:
        # Some may have been written before it turned out that they were to be dropped in silence.
        assert len(TOLD) < len(taken) < 3 * len(TOLD)
    assert {line["count"] for line in lines if line["event"] == "log.hushed"} == {FLOOD}


def test_a_log_leaves_room_on_the_disk(tmp_path: Path) -> None:
    """A disk that is nearly full ends the log with one warning, before the roles cannot store any more."""
    warnings: list[str] = []
    left = [2]

    def is_full(_descriptor: int) -> bool:
        left[0] -= 1
        return left[0] < 0

    path = tmp_path / "log.jsonl"
    file = LogFile(path, flush_s=3600, warn=warnings.append, is_full=is_full)
    for number in range(4):
        file.append(f"{number}\n")
        file.flush()
    file.close()
    assert path.read_text("utf-8") == "0\n1\n"
    assert warnings == [f"no more log in {path}: the disk is nearly full; the run goes on"]


def test_a_disk_with_room_is_not_nearly_full(tmp_path: Path) -> None:
    """This one, or the tests would end here."""
    with (tmp_path / "file").open("wb") as file:
        assert not is_nearly_full(file.fileno())
