"""A supplier's campaigns in stages: on the air, paused, aborted, at their deadline, after a restart."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest

from agents.campaign_run import GRAIN
from agents.messages.codec import encode
from agents.messages.orders import BroadcastOrder, DomainRollOrder
from agents.store.group_commit import GroupCommit
from agents.store.tables import ROLLOUTS
from agents.supplier import Supplier
from bus.frame import Bearer
from bus.topics import Broadcast
from tests.agents.role_kit import Kit, open_kit
from tests.agents.rollout_kit import READY, market, opened
from tests.agents.slow_kit import CELL, CELLS, OTHERS, REPETITIONS, Slow
from transport.cell_broadcast import Page

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Table
    from structlog.typing import FilteringBoundLogger

    from agents.messages.orders import Event
    from bus.address import BrokerAddress


def _said(**changes: Any) -> bytes:
    return encode(BroadcastOrder(**({"version": 1} | changes)))


async def _send(kit: Kit, do: str, argument: bytes = b"") -> None:
    await kit.send_order(do, "silent", agent="bank", ua="", argument=argument)


async def _order(kit: Kit, do: str, argument: bytes = b"") -> tuple[str, str]:
    """Give an order about the campaign; return how it ended, and why."""
    event = await kit.order(do, "silent", agent="bank", ua="", argument=argument)
    return event.result, event.reason


async def _begin(kit: Kit, **changes: Any) -> None:
    assert await _order(kit, "broadcast", _said(wait=False, **changes)) == ("ok", "")


async def _tell(kit: Kit, slow: Slow, do: str, number: int) -> tuple[str, str]:
    """Give an order, and let the page on the air go, on which it may wait."""
    seen = len(kit.events)
    await _send(kit, do, b"%d" % number)
    await slow.until(lambda: any(event.do == do for event in kit.events[seen:]))
    event = await kit.event(do, ua="", after=seen)
    return event.result, event.reason


async def _finished(kit: Kit, slow: Slow, do: str = "finish-campaign", argument: bytes = b"") -> Event:
    seen = len(kit.events)
    await _send(kit, do, argument)
    await slow.until(lambda: any((one.do, one.ua) == (do, "") for one in kit.events[seen:]))
    return await kit.event(do, ua="", after=seen)


async def test_stages_are_broadcast_one_after_the_other(kit: Kit) -> None:
    """Each cell hears every page, as often as without stages, and no cell before its turn."""
    slow = await market(kit)
    await _begin(kit, stages=[30, 60, 100])
    assert (await _finished(kit, slow)).result == "ok"
    on_air = [frame.destination for _, frame in kit.wire.frames if frame.bearer is Bearer.CELL_BROADCAST]
    turns = [cell for cell, _ in groupby(on_air)]
    assert sorted(turns) == sorted(CELLS)
    (pages,) = {slow.pages(cell) for cell in CELLS}
    bank = kit.roles["bank"]
    assert isinstance(bank, Supplier)
    (airing,) = bank.airings.ended
    assert airing.pages * REPETITIONS == pages
    assert (airing.cells, airing.published, airing.state) == (3, 3 * pages, "ended")
    assert [(stage.cells, stage.why) for stage in airing.stages] == [(1, "aired")] * 3


async def test_a_paused_campaign_publishes_nothing(kit: Kit) -> None:
    """Resumed, it goes on with the page behind: in the end each was on the air once."""
    slow = await market(kit)
    await _begin(kit)
    await slow.until(lambda: slow.pages(CELL) > 10)
    assert await _tell(kit, slow, "pause-campaign", 2) == ("ok", "")
    pages = slow.pages()
    assert await _tell(kit, slow, "pause-campaign", 2) == ("ok", "")
    assert await _tell(kit, slow, "pause-campaign", 3) == ("refused", "campaign-paused")
    assert await _order(kit, "finish-campaign") == ("refused", "campaign-paused")
    assert await _order(kit, "broadcast", _said()) == ("refused", "campaign-paused")
    assert slow.pages() == pages
    assert await _tell(kit, slow, "resume-campaign", 4) == ("ok", "")
    assert await _tell(kit, slow, "resume-campaign", 4) == ("ok", "")
    assert await _tell(kit, slow, "resume-campaign", 5) == ("refused", "not-paused")
    assert (await _finished(kit, slow)).result == "ok"
    bank = kit.roles["bank"]
    assert isinstance(bank, Supplier)
    (airing,) = bank.airings.ended
    assert slow.pages() == 3 * REPETITIONS * airing.pages


async def test_an_abort_is_final_for_the_order(kit: Kit) -> None:
    """Nothing more is published, who waits is told; the same order begins anew, with the same octets."""
    slow = await market(kit)
    await _send(kit, "broadcast", _said())
    await slow.until(lambda: slow.pages(CELL) > 10)
    assert await _tell(kit, slow, "abort-campaign", 2) == ("ok", "")
    waited = await kit.event("broadcast", ua="")
    assert (waited.result, waited.reason) == ("refused", "aborted")
    for do in ("pause-campaign", "resume-campaign", "abort-campaign"):
        assert await _order(kit, do, b"3") == ("refused", "campaign-over")
    assert await _order(kit, "finish-campaign") == ("refused", "aborted")
    first = {frame.pdu[2:] for frame in kit.wire.on(Broadcast(fleet=kit.fleet, cell=CELL))}
    assert (await _finished(kit, slow, "broadcast", _said())).result == "ok"
    bank = kit.roles["bank"]
    assert isinstance(bank, Supplier)
    assert [(one.state, one.reason) for one in bank.airings.ended] == [("aborted", "aborted"), ("ended", "")]
    assert first < {frame.pdu[2:] for frame in kit.wire.on(Broadcast(fleet=kit.fleet, cell=CELL))}


async def test_an_order_that_is_said_again_joins(kit: Kit) -> None:
    """Both are told of its end, nothing is published twice; another one, or another key, has to wait."""
    slow = await market(kit)
    await _send(kit, "broadcast", _said())
    await slow.until(lambda: slow.pages(CELL) > 3)
    await _send(kit, "broadcast", _said())
    for other in ({"version": 2}, {"groups": ["city"]}, {"stages": [50, 100]}, {"deadline_s": 9}):
        assert await _order(kit, "broadcast", _said(**other)) == ("refused", "campaign-running")
    roll = encode(DomainRollOrder(roll=9))
    assert await _order(kit, "roll-domain-key", roll) == ("refused", "campaign-running")
    await slow.until(lambda: sum((one.do, one.result) == ("broadcast", "ok") for one in kit.events) == 2)
    bank = kit.roles["bank"]
    assert isinstance(bank, Supplier)
    (airing,) = bank.airings.ended
    assert slow.pages() == 3 * REPETITIONS * airing.pages


async def test_what_cannot_be_said(kit: Kit) -> None:
    """Of no campaign nothing can be said, and three cells are not enough for four stages."""
    await market(kit)
    for do in ("pause-campaign", "resume-campaign", "abort-campaign", "finish-campaign"):
        assert await _order(kit, do, b"1") == ("refused", "no-campaign")
    refused = await _order(kit, "broadcast", _said(stages=[10, 20, 30, 100]))
    assert refused == ("refused", "too-few-cells")
    assert await _order(kit, "finish-campaign") == ("refused", "no-campaign")


async def test_at_its_deadline_a_campaign_expires(kit: Kit) -> None:
    """Even while it is paused; who waits for its end is told."""
    slow = await market(kit)
    await _begin(kit, deadline_s=1)
    await slow.until(lambda: slow.pages(CELL) > 3)
    await _send(kit, "finish-campaign")
    assert await _tell(kit, slow, "pause-campaign", 2) == ("ok", "")
    event = await kit.event("finish-campaign", ua="")
    assert (event.result, event.reason) == ("refused", "deadline")
    assert await _order(kit, "resume-campaign", b"3") == ("refused", "campaign-over")


async def test_a_pause_that_could_not_be_stored_is_none(kit: Kit) -> None:
    """The campaign goes on as if nobody had spoken, and the order is carried out when it is tried again."""
    slow = await market(kit)
    await _begin(kit)
    await slow.until(lambda: slow.pages(CELL) > 3)
    kit.fail_next_save("bank", ROLLOUTS)
    assert await _tell(kit, slow, "pause-campaign", 2) == ("ok", "")
    pages = slow.pages()
    await slow.until(lambda: True)
    assert slow.pages() == pages


@pytest.mark.parametrize("stages", [[], [30, 60, 100]], ids=["at-once", "in-stages"])
async def test_whatever_a_kill_leaves_can_go_on(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, stages: list[int]
) -> None:
    """After each commit a campaign has no stage that it has not come to, and who may be served its version.

    A campaign that goes on would not make good for either.
    """
    slow = await market(kit)
    change, seen = GroupCommit.change, set()

    async def watched(store: GroupCommit, table: Table, **changes: Any) -> None:
        await change(store, table, **changes)
        seen.add(_stored(kit))

    monkeypatch.setattr(GroupCommit, "change", watched)
    for version in (1, 2):
        assert (await _finished(kit, slow, "broadcast", _said(version=version, stages=stages))).result == "ok"
    rows = [one for one in seen if one is not None]
    for state, stage, begun, version, released in rows:
        assert released == (version if state == "ended" or not stages else version - 1)
        assert begun in {stage, stage + 1}
    assert len(rows) > 2 * max(1, len(stages))


def _stored(kit: Kit) -> tuple[str, int, int, int, int] | None:
    """Return what the disk has: the campaign's state, stage, stages begun, version; the version for all.

    None before there is one, and while the version of the next is there and no course of it.
    """
    with closing(sqlite3.connect(kit.directory / "bank.db")) as database:
        row: tuple[str, int, int, int, int] | None = database.execute(
            "SELECT state, stage, (SELECT count(*) FROM rollout_stages), version,"
            " (SELECT coalesce(max(version), 0) FROM releases)"
            " FROM rollouts JOIN campaigns USING (service, number)"
        ).fetchone()
    return row


async def test_a_version_on_trial_is_served_to_nobody(kit: Kit) -> None:
    """Before its campaign has ended, and after an abort, who calls is given the one before it."""
    slow = await market(kit)
    await kit.handset()
    await kit.take(*READY, service="silent")
    assert (await _finished(kit, slow, "broadcast", _said(groups=["coast"]))).result == "ok"
    await _begin(kit, version=2, groups=["coast"], stages=[50, 100])
    await slow.until(lambda: slow.pages(OTHERS[0]) > 3)
    await kit.take("serve", service="silent")
    (definition,) = kit.cell.phones[kit.ua()].module.definitions.all()
    assert definition.version == 1
    assert await _tell(kit, slow, "abort-campaign", 2) == ("ok", "")
    await kit.handset(kit.ua(2))
    await kit.take(*READY, "serve", service="silent", ua=kit.ua(2))
    assert (await _finished(kit, slow, "broadcast", _said(version=2, groups=["coast"]))).result == "ok"
    await kit.take("serve", service="silent")
    versions = {
        ua: [one.version for one in kit.cell.phones[ua].module.definitions.all()]
        for ua in (kit.ua(), kit.ua(2))
    }
    assert versions == {kit.ua(): [2], kit.ua(2): [1]}


def _held(kit: Kit) -> int:
    """Return the version that the handset's module holds."""
    (definition,) = kit.cell.phones[kit.ua()].module.definitions.all()
    return definition.version


async def test_modules_reports_decide(kit: Kit) -> None:
    """The one module of the cells reports that it has it, and only then the campaign has ended."""
    slow = await market(kit)
    await kit.handset()
    await kit.take(*READY, service="silent")
    judged = {"groups": ["city"], "success": 1.0, "report_share": 1.0, "report_within_s": 1}
    event = await _finished(kit, slow, "broadcast", _said(**judged))
    assert (event.result, event.reason, _held(kit)) == ("ok", "", 1)
    bank = kit.roles["bank"]
    assert isinstance(bank, Supplier)
    (airing,) = bank.airings.ended
    assert [(stage.holders, stage.why) for stage in airing.stages] == [(1, "enough-successes")]
    assert sum(bank.reports.tally("silent", 1)) == 1


async def test_a_version_on_trial_stays_where_it_was_heard(kit: Kit) -> None:
    """Served meanwhile, and when the campaign was aborted, a module that has it is not given an older one."""
    slow = await market(kit)
    await kit.handset()
    await kit.take(*READY, service="silent")
    assert (await _finished(kit, slow, "broadcast", _said(groups=["city"]))).result == "ok"
    judged = {"groups": ["city"], "errors": 0.5, "report_share": 1.0, "report_within_s": 60}
    await _begin(kit, version=2, **judged)
    await slow.until(lambda: _held(kit) == 2)
    await kit.take("serve", service="silent")
    assert await _tell(kit, slow, "abort-campaign", 2) == ("ok", "")
    await kit.take("serve", service="silent")
    assert _held(kit) == 2
    assert (await kit.order("invoke", "silent", agent="bank", argument=b"\3")).result == "ok"


@pytest.mark.parametrize("is_paused", [False, True], ids=["running", "paused"])
async def test_a_campaign_outlives_its_supplier(
    broker: BrokerAddress, tmp_path: Path, log: FilteringBoundLogger, *, is_paused: bool
) -> None:
    """It goes on by itself, from where it was but for some packets; one that was paused is paused.

    Its handset told the launch before; asked by a roll call at its end, it tells this one.
    """
    async with open_kit(broker, "outlives", tmp_path, log) as kit:
        slow = await market(kit)
        await kit.handset()
        await kit.take(*READY, service="silent")
        # Until more of the second stage is on the air than is broadcast again.
        await _begin(kit, stages=[30, 100])
        await slow.until(lambda: min(slow.pages(cell) for cell in CELLS) > 3 * GRAIN)
        if is_paused:
            assert await _tell(kit, slow, "pause-campaign", 2) == ("ok", "")
        before = {cell: slow.pages(cell) for cell in CELLS}
        bank = kit.roles["bank"]
    async with open_kit(broker, "outlives", tmp_path, log, run=2) as kit:
        slow = await opened(kit)
        await kit.handset()
        bank = kit.roles["bank"]
        assert isinstance(bank, Supplier)
        await bank.go_on()
        if is_paused:
            await slow.until(lambda: True)
            assert slow.pages() == 0
            assert await _order(kit, "finish-campaign") == ("refused", "campaign-paused")
            assert await _tell(kit, slow, "resume-campaign", 3) == ("ok", "")
        else:
            await slow.until(lambda: slow.pages() > 0)
        event = await _finished(kit, slow)
        assert event.result == "ok"
        assert (await kit.event("broadcast")).result == "ok"
        (airing,) = bank.airings.ended
        assert airing.state == "ended"
        whole = airing.pages * REPETITIONS
        roll_call = sum(slow.pages(cell) for cell in CELLS) - airing.published
        for cell, pages in before.items():
            again = pages + slow.pages(cell) - whole
            assert 0 <= again <= 2 * GRAIN + roll_call


async def test_a_roll_call_gives_way_to_the_next_campaign(
    broker: BrokerAddress, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Both have heads under the same message codes: once the later ones are on the air, no earlier one is."""
    async with open_kit(broker, "gives-way", tmp_path, log) as kit:
        slow = await market(kit)
        await _begin(kit)
        await slow.until(lambda: slow.pages(CELL) > 60)
    async with open_kit(broker, "gives-way", tmp_path, log, run=2) as kit:
        slow = await opened(kit)
        await _send(kit, "finish-campaign")
        await slow.until(lambda: len(_updates(kit)) == 2)
        await _begin(kit)
        await _send(kit, "finish-campaign")
        await slow.until(lambda: [event.do for event in kit.events].count("finish-campaign") == 2)
        assert [event.result for event in kit.events] == ["ok"] * 3
        assert kit.counters.snapshot()["crashes"] == {}
        updates = _updates(kit)
        assert [update - updates[0] for update in updates] == [0, 1, 2]


def _updates(kit: Kit) -> list[int]:
    """Return the update numbers of the pages in the cell, one after the other."""
    frames = kit.wire.on(Broadcast(fleet=kit.fleet, cell=CELL))
    return [update for update, _ in groupby(Page.parse(frame.pdu).serial.update for frame in frames)]
