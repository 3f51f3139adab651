"""Campaigns in adversity: a supplier that dies as it is spoken to, faults of our own, two at once, nobody."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.errors import FleetError
from agents.messages.codec import encode
from agents.messages.orders import BroadcastOrder
from agents.store.group_commit import GroupCommit
from agents.store.tables import ROLLOUTS
from agents.supplier import Supplier
from bus.clock import Origin, SystemClock
from bus.topics import Events
from tests.agents.role_kit import Kit, open_kit
from tests.agents.rollout_kit import READY, market, opened
from tests.agents.slow_kit import CELL, CELLS, OTHERS, Slow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sqlalchemy import Table
    from structlog.typing import FilteringBoundLogger

    from bus.address import BrokerAddress

FLEET: Final = "adversity"
LATER_S: Final = 10_000.0
STAGED: Final = {"stages": [30, 60, 100]}
JUDGED: Final = {"groups": ["city"], "success": 1.0, "report_share": 1.0, "report_within_s": 3600}
PLACES: Final[Mapping[str, Mapping[str, Any]]] = {"on-air": STAGED, "later": STAGED, "reports": JUDGED}
"""Where a campaign can be: in its first stage, in its second, with all aired and reports outstanding."""


def said(**changes: Any) -> bytes:
    """Return what an order to broadcast says."""
    return encode(BroadcastOrder(**({"version": 1} | changes)))


def bank(kit: Kit) -> Supplier:
    """Return the supplier."""
    role = kit.roles["bank"]
    assert isinstance(role, Supplier)
    return role


def stored(kit: Kit, columns: str = "state, command") -> tuple[Any, ...]:
    """Return what the disk has of the campaign."""
    with closing(sqlite3.connect(kit.directory / "bank.db")) as database:
        row: tuple[Any, ...] = database.execute(f"SELECT {columns} FROM rollouts").fetchone()  # noqa: S608 -- our own words
    return row


async def order(kit: Kit, do: str, argument: bytes = b"", service: str = "silent") -> tuple[str, str]:
    """Give an order; return how it ended, and why."""
    event = await kit.order(do, service, agent="bank", ua="", argument=argument)
    return event.result, event.reason


async def tell(kit: Kit, slow: Slow, do: str, number: int) -> tuple[str, str]:
    """Give an order, and let the page on the air go, on which it may wait."""
    seen = len(kit.events)
    await kit.send_order(do, "silent", agent="bank", ua="", argument=b"%d" % number)
    await slow.until(lambda: any(event.do == do for event in kit.events[seen:]))
    event = await kit.event(do, ua="", after=seen)
    return event.result, event.reason


async def finished(
    kit: Kit, slow: Slow, do: str = "finish-campaign", argument: bytes = b""
) -> tuple[str, str]:
    """Wait for the end of the campaign; return how it ended, and why."""
    seen = len(kit.events)
    await kit.send_order(do, "silent", agent="bank", ua="", argument=argument)
    await slow.until(lambda: any((one.do, one.ua) == (do, "") for one in kit.events[seen:]))
    event = await kit.event(do, ua="", after=seen)
    return event.result, event.reason


async def begin(kit: Kit, slow: Slow, place: str) -> None:
    """Begin a campaign, and go on until it is at *place*; in the place of reports its module says nothing."""
    assert await order(kit, "broadcast", said(wait=False, **PLACES[place])) == ("ok", "")
    if place == "on-air":
        await slow.until(lambda: slow.pages() > 3)
    elif place == "later":
        await slow.until(lambda: stored(kit, "stage") == (1,) and sum(map(bool, map(slow.pages, CELLS))) == 2)
    else:
        await slow.until_still(lambda: all(one.published == one.planned for one in bank(kit).on_air()))


def deaf(kit: Kit) -> None:
    """Have nothing more reach the console that the supplier says to it."""
    events, client = str(Events(fleet=kit.fleet)), kit.clients["bank"]
    client.alter = lambda path, frame: [] if path == events else [frame]


@pytest.mark.parametrize(
    ("place", "do", "before", "after"),
    [
        ("on-air", "pause-campaign", "running", "paused"),
        ("later", "resume-campaign", "paused", "running"),
        ("reports", "abort-campaign", "running", "aborted"),
    ],
    ids=["pause", "resume", "abort"],
)
@pytest.mark.parametrize("is_stored", [True, False], ids=["before-its-answer", "before-its-commit"])
async def test_killed_while_it_is_spoken_to(
    broker: BrokerAddress,
    tmp_path: Path,
    log: FilteringBoundLogger,
    place: str,
    do: str,
    before: str,
    after: str,
    *,
    is_stored: bool,
) -> None:
    """Said again after the kill, an order ends as if nothing had been, and brings about what it says once."""
    async with open_kit(broker, FLEET, tmp_path, log) as kit:
        slow = await market(kit, filling=b"")
        await kit.handset()
        await kit.take(*READY, service="silent")
        await begin(kit, slow, place)
        if before == "paused":
            assert await tell(kit, slow, "pause-campaign", 2) == ("ok", "")
        if is_stored:
            deaf(kit)
            await kit.send_order(do, "silent", agent="bank", ua="", argument=b"3")
            await slow.until_still(lambda: stored(kit) == (after, 3))
    async with open_kit(broker, FLEET, tmp_path, log, run=2) as kit:
        slow = await opened(kit, filling=b"")
        assert stored(kit)[0] == (after if is_stored else before)
        await bank(kit).go_on()
        assert await tell(kit, slow, do, 3) == ("ok", "")
        pages = slow.pages()
        assert stored(kit) == (after, 3)
        again = {"paused": "campaign-paused", "running": "not-paused", "aborted": "campaign-over"}
        assert await tell(kit, slow, do, 4) == ("refused", again[after])
        if after == "running":
            await slow.until(lambda: slow.pages() > 0 or place == "reports")
            return
        assert slow.pages() == pages
        reason = {"paused": "campaign-paused", "aborted": "aborted"}[after]
        assert await order(kit, "finish-campaign") == ("refused", reason)
        assert slow.pages() == pages


async def test_its_deadline_passes_while_nobody_is_there(
    broker: BrokerAddress, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Paused, and its supplier away: the next launch lets it expire, and publishes nothing."""
    async with open_kit(broker, FLEET, tmp_path, log) as kit:
        slow = await market(kit, filling=b"")
        assert await order(kit, "broadcast", said(wait=False, deadline_s=5000)) == ("ok", "")
        await slow.until(lambda: slow.pages() > 3)
        assert await tell(kit, slow, "pause-campaign", 2) == ("ok", "")
        now = kit.clock.now()
    later = SystemClock(origin=Origin(real_s=now, simulated_s=now + LATER_S))
    async with open_kit(broker, FLEET, tmp_path, log, run=2, clock=later) as kit:
        slow = await opened(kit, filling=b"")
        await bank(kit).go_on()
        assert await order(kit, "finish-campaign") == ("refused", "deadline")
        assert await order(kit, "resume-campaign", b"3") == ("refused", "campaign-over")
        assert (stored(kit), slow.pages()) == (("expired", 2), 0)


async def test_what_is_signed_anew_has_no_stages_of_before(
    broker: BrokerAddress, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Its key was replaced while the supplier was away: it begins again, and a third launch finds that so."""
    async with open_kit(broker, FLEET, tmp_path, log) as kit:
        slow = await market(kit, filling=b"")
        await begin(kit, slow, "later")
        assert await tell(kit, slow, "pause-campaign", 2) == ("ok", "")
    with closing(sqlite3.connect(tmp_path / "bank.db")) as database:
        assert database.execute("SELECT count(*) FROM rollout_stages").fetchone() == (2,)
        database.execute("UPDATE campaigns SET what = x'00'")
        database.commit()
    for run in (2, 3):
        async with open_kit(broker, FLEET, tmp_path, log, run=run) as kit:
            slow = await opened(kit, filling=b"")
            await bank(kit).go_on()
            (airing,) = bank(kit).on_air()
            assert (airing.state, airing.reason, airing.stages) == ("open", "paused", ())
            assert stored(kit, "state, number, stage") == ("paused", 2, 0)
            if run == 3:
                assert await tell(kit, slow, "resume-campaign", 3) == ("ok", "")
                assert await finished(kit, slow) == ("ok", "")
                assert [stage.why for stage in bank(kit).airings.ended[0].stages] == ["aired"] * 3


async def test_a_fault_of_our_own_is_not_its_end(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full for long brings it to a stand, which is counted; the next order has it go on."""
    slow = await market(kit, filling=b"")
    assert await order(kit, "broadcast", said(wait=False)) == ("ok", "")
    change, is_full = GroupCommit.change, True

    async def full(store: GroupCommit, table: Table, **changes: Any) -> None:
        if is_full and table is ROLLOUTS:
            raise FleetError("the disk is full")
        await change(store, table, **changes)

    monkeypatch.setattr(GroupCommit, "change", full)
    await slow.until_still(lambda: [airing.reason for airing in bank(kit).on_air()] == ["crashed"])
    assert (bank(kit).lost_letters, bank(kit).dead_letters) == (1, ())
    is_full = False
    assert await finished(kit, slow) == ("ok", "")
    (ended,) = bank(kit).airings.ended
    assert (ended.state, bank(kit).lost_letters, bank(kit).on_air()) == ("ended", 1, [])
    assert ended.published == ended.planned == slow.pages()


async def test_two_services_are_broadcast_at_once(kit: Kit) -> None:
    """Each goes its own way: one is paused while the other ends, and no page is lost or doubled."""
    slow = await market(kit, "second", filling=b"")
    for service in ("silent", "second"):
        assert await order(kit, "broadcast", said(wait=False, **STAGED), service) == ("ok", "")
    await slow.until(lambda: slow.pages() > 6)
    assert await tell(kit, slow, "pause-campaign", 3) == ("ok", "")
    await kit.send_order("finish-campaign", "second", agent="bank", ua="")
    await slow.until(lambda: any(one.do == "finish-campaign" for one in kit.events))
    assert (await kit.event("finish-campaign", ua="")).result == "ok"
    assert [airing.reason for airing in bank(kit).on_air()] == ["paused"]
    assert await tell(kit, slow, "resume-campaign", 4) == ("ok", "")
    assert await finished(kit, slow) == ("ok", "")
    airings = bank(kit).airings.ended
    assert [airing.published == airing.planned for airing in airings] == [True, True]
    assert slow.pages() == sum(airing.planned for airing in airings)


async def test_a_new_version_after_an_abort(kit: Kit) -> None:
    """It goes its own way from the first stage; the aborted one is behind it from then on."""
    slow = await market(kit, filling=b"")
    assert await order(kit, "broadcast", said(wait=False, version=2, **STAGED)) == ("ok", "")
    await slow.until(lambda: slow.pages() > 3)
    assert await tell(kit, slow, "abort-campaign", 2) == ("ok", "")
    assert bank(kit).campaign_states() == {("silent", 2): ("aborted", "aborted")}
    assert await finished(kit, slow, "broadcast", said(version=3, **STAGED)) == ("ok", "")
    assert [airing.state for airing in bank(kit).airings.ended] == ["aborted", "ended"]
    assert [stage.why for stage in bank(kit).airings.ended[1].stages] == ["aired"] * 3
    assert bank(kit).campaign_states() == {("silent", 3): ("ended", "")}
    assert await order(kit, "broadcast", said(version=2)) == ("refused", "version-not-newer")


async def test_a_threshold_without_anybody_who_reports(kit: Kit) -> None:
    """A sample that the one module is not in is said before any page; where nobody is, none is due."""
    slow = await market(kit, filling=b"")
    await kit.handset()
    await kit.take(*READY, service="silent")
    few = JUDGED | {"report_share": 0.001}
    assert await order(kit, "broadcast", said(**few)) == ("refused", "nobody-asked")
    assert (slow.pages(), await order(kit, "finish-campaign")) == (0, ("refused", "no-campaign"))
    assert await finished(kit, slow, "broadcast", said(**(few | {"groups": ["coast"]}))) == ("ok", "")
    assert (slow.pages(CELL), slow.pages(*OTHERS) > 0) == (0, True)
