from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bus.air import MAX_PENDING, TICK_S, AirGate, lane_seed
from bus.clock import SystemClock
from bus.counters import BearerCounts, Counters
from bus.errors import MailboxFull
from bus.frame import Bearer
from tests.bus.manual_clock import ManualClock
from transport.air import Conditions, Lane, Outage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bus.clock import Clock

SEED = b"the air of the tests"
KEY = "8988000000000000001/down"
EPOCH = 1_750_000_000.0
ROUGH = Conditions(loss=0.2, duplication=0.2, reordering=0.2, delay_s=2.0, octets_per_s=100.0)


class Listener:
    """What has arrived, in order."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def take(self, number: int) -> Callable[[], None]:
        """Return what delivers PDU *number*."""
        return lambda: self.heard.append(number)


class Refuser:
    """An end whose mailbox is full."""

    def __call__(self) -> None:
        """Refuse a delivery."""
        raise MailboxFull("phone", 3)


def nothing() -> None:
    """Take what nobody looks at."""


def crash() -> None:
    """Be a bug."""
    raise ZeroDivisionError


class Air:
    """A gate with all that it needs."""

    def __init__(
        self,
        conditions: Mapping[Bearer, Conditions] | Conditions,
        *,
        wait: bool,
        clock: Clock | None = None,
        seed: bytes = SEED,
        max_pending: int = MAX_PENDING,
    ) -> None:
        self.clock = ManualClock(EPOCH)
        self.counters = Counters()
        self.gate = AirGate(
            clock=clock or self.clock,
            seed=seed,
            conditions={Bearer.SMS: conditions} if isinstance(conditions, Conditions) else conditions,
            counters=self.counters,
            log=structlog.get_logger(),
            wait=wait,
            epoch=EPOCH,
            max_pending=max_pending,
        )

    def counts(self, bearer: Bearer = Bearer.SMS) -> BearerCounts:
        """Return what was counted of *bearer*."""
        return self.counters.snapshot()["bearers"][bearer]

    async def advance(self, delay_s: float) -> None:
        """Move on by *delay_s* and let what is due arrive."""
        await settle()
        self.clock.advance(delay_s)
        await settle()


async def settle() -> None:
    """Let every task that can run have its turns."""
    for _ in range(20):
        await asyncio.sleep(0)


# ---- bearers that the air leaves alone ----


@pytest.mark.parametrize("wait", [True, False], ids=["wait", "max"])
@pytest.mark.parametrize(
    "conditions", [{}, {Bearer.SMS: Conditions()}, {Bearer.BIP_UDP: ROUGH}], ids=["none", "clear", "another"]
)
async def test_what_nothing_happens_to_arrives_in_the_call(
    conditions: dict[Bearer, Conditions], *, wait: bool
) -> None:
    """Without conditions, or with ones that change nothing, a PDU is there when the call returns."""
    listener = Listener()
    air = Air(conditions, wait=wait)
    async with air.gate:
        assert air.gate.carry(Bearer.SMS, KEY, 140, listener.take(1))
        assert listener.heard == [1]
    assert air.counters.snapshot()["bearers"] == {}


# ---- waiting ----


async def test_arrivals_are_waited_for() -> None:
    """Each PDU arrives when the model says, neither in the call nor a moment early."""
    listener = Listener()
    air = Air(Conditions(octets_per_s=100.0), wait=True)
    async with air.gate:
        for number in range(3):
            assert air.gate.carry(Bearer.SMS, KEY, 100, listener.take(number))
        await air.advance(0.999)
        assert (listener.heard, air.gate.pending) == ([], 3)
        await air.advance(0.001)
        assert (listener.heard, air.gate.pending) == ([0], 2)
        await air.advance(5.0)
        assert (listener.heard, air.gate.pending) == ([0, 1, 2], 0)
    assert air.counts()["air_s"] == 3.0


async def test_an_earlier_arrival_is_not_kept_by_a_later_one() -> None:
    """While the gate waits for a slow bearer, what a fast one brings arrives in its own time."""
    listener = Listener()
    slow_and_fast = {
        Bearer.SMS: Conditions(delay_s=60.0, spread=0.0),
        Bearer.BIP_UDP: Conditions(delay_s=1.0),
    }
    air = Air(slow_and_fast, wait=True)
    async with air.gate:
        air.gate.carry(Bearer.SMS, KEY, 10, listener.take(1))
        await settle()
        air.gate.carry(Bearer.BIP_UDP, KEY, 10, listener.take(2))
        await air.advance(30.0)
        assert listener.heard == [2]
        await air.advance(30.0)
        assert listener.heard == [2, 1]


async def test_arrivals_are_those_of_the_model() -> None:
    """A rough lane through the gate delivers exactly the copies, in the order, that its lane alone gives."""
    listener = Listener()
    air = Air(ROUGH, wait=True)
    lane = Lane(ROUGH, lane_seed(SEED, Bearer.SMS, KEY), EPOCH)
    times, lost, air_s = [], 0, 0.0
    async with air.gate:
        for number in range(200):
            arrivals = lane.carry(100, EPOCH)
            assert air.gate.carry(Bearer.SMS, KEY, 100, listener.take(number)) is bool(arrivals)
            times += [(at, number) for at in arrivals]
            lost += not arrivals
            air_s += lane.air_s
        for _ in range(300):
            await air.advance(1.0)
    assert listener.heard == [number for _, number in sorted(times, key=lambda pair: pair[0])]
    assert lost > 0
    assert len(set(listener.heard)) < len(listener.heard)
    assert listener.heard != sorted(listener.heard)
    assert air.counts()["lost"] == lost
    assert air.counts()["air_s"] == pytest.approx(air_s)


@pytest.mark.parametrize("wait", [True, False], ids=["wait", "max"])
async def test_a_way_that_is_held_is_the_same_lane(*, wait: bool) -> None:
    """Who holds it and who names the lane take turns at its fates; a gate that was left carries nothing."""
    half = Conditions(loss=0.5)
    named, held, mixed = (Air(half, wait=wait) for _ in range(3))
    async with named.gate, held.gate, mixed.gate:
        way, turn = held.gate.way(Bearer.SMS, KEY), mixed.gate.way(Bearer.SMS, KEY)
        by_name = [named.gate.carry(Bearer.SMS, KEY, 9, nothing) for _ in range(40)]
        assert [way(9, nothing) for _ in range(40)] == by_name
        assert [
            turn(9, nothing) if place % 2 else mixed.gate.carry(Bearer.SMS, KEY, 9, nothing)
            for place in range(40)
        ] == by_name
        assert {True, False} == set(by_name)
    assert not any(way(9, nothing) for _ in range(40))


async def test_more_than_a_batch_arrives() -> None:
    """A thousand PDUs that are due at once all arrive, in order, and others have their turn in between."""
    listener = Listener()
    air = Air(Conditions(delay_s=1.0, spread=0.0), wait=True)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while len(listener.heard) < 1000:
            turns += len(listener.heard) > 0
            await asyncio.sleep(0)

    async with air.gate:
        for number in range(1000):
            air.gate.carry(Bearer.SMS, KEY, 100, listener.take(number))
        await settle()
        air.clock.advance(1.0)
        await other()
    assert listener.heard == list(range(1000))
    assert turns > 1


async def test_a_scaled_clock_carries_too() -> None:
    """With a system clock that runs fast, a delay of hours is over within the test."""
    heard = asyncio.Event()
    air = Air(Conditions(delay_s=3600.0), wait=True, clock=SystemClock(1e6))
    async with air.gate:
        assert air.gate.carry(Bearer.SMS, KEY, 100, heard.set)
        assert not heard.is_set()
        await heard.wait()


async def test_answers_that_take_no_time_starve_nobody() -> None:
    """Two ends that answer each other at once for ever leave the others their turns."""
    air = Air(Conditions(duplication=0.001), wait=True)
    rounds = 0

    def answer() -> None:
        nonlocal rounds
        rounds += 1
        air.gate.carry(Bearer.SMS, KEY, 1, answer)

    async with air.gate:
        air.gate.carry(Bearer.SMS, KEY, 1, answer)
        await settle()
    assert rounds > 1


async def test_too_many_in_the_air_are_lost() -> None:
    """What is under way is bounded: one more than that is lost and counted."""
    air = Air(Conditions(delay_s=1.0), wait=True, max_pending=5)
    listener = Listener()
    async with air.gate:
        taken = [air.gate.carry(Bearer.SMS, KEY, 1, listener.take(number)) for number in range(6)]
        assert air.gate.pending == 5
        await air.advance(60.0)
        assert air.gate.carry(Bearer.SMS, KEY, 1, listener.take(6))
    assert taken == [True] * 5 + [False]
    assert listener.heard == [0, 1, 2, 3, 4]
    assert air.counts()["lost"] == 1


# ---- not waiting ----


async def test_without_waiting_what_arrives_does_so_in_the_call() -> None:
    """At most speed delays are counted, not waited for, and a slow lane never overflows."""
    listener = Listener()
    conditions = Conditions(delay_s=5.0, messages_per_s=1.0, max_queue_s=0.0)
    air = Air(conditions, wait=False)
    async with air.gate:
        for number in range(10):
            assert air.gate.carry(Bearer.SMS, KEY, 100, listener.take(number))
        assert listener.heard == list(range(10))
        assert air.gate.pending == 0
    assert air.counts()["air_s"] > 10.0
    assert air.counts()["lost"] == 0


@settings(max_examples=20)
@given(pauses=st.lists(st.floats(0, 10), min_size=60, max_size=60))
async def test_without_waiting_the_same_is_lost(pauses: list[float]) -> None:
    """Same seed, same losses, copies and time on the air: with waiting and without, however it is paced."""
    results = []
    for wait in (True, False):
        listener = Listener()
        air = Air(ROUGH, wait=wait)
        async with air.gate:
            taken = []
            for number, pause in enumerate(pauses):
                air.clock.advance(pause)
                taken.append(air.gate.carry(Bearer.SMS, KEY, 100, listener.take(number)))
            await air.advance(10_000.0)
        results.append((taken, sorted(listener.heard), round(air.counts()["air_s"], 6), air.counts()["lost"]))
    assert results[0] == results[1]


async def test_without_waiting_what_is_held_back_comes_behind_the_next() -> None:
    """A PDU that the model holds back arrives once another of its lane has, and no other lane lets it go."""
    listener = Listener()
    air = Air(Conditions(reordering=0.5), wait=False)
    lane = Lane(Conditions(reordering=0.5), lane_seed(SEED, Bearer.SMS, KEY), EPOCH)
    expected: list[int] = []
    held: list[int] = []
    async with air.gate:
        for number in range(200):
            (at,) = lane.carry(100, EPOCH)
            if at > lane.front:
                held.append(number)
            else:
                expected += [number, *held]
                held.clear()
            assert air.gate.carry(Bearer.SMS, KEY, 100, listener.take(number))
            air.gate.carry(Bearer.SMS, "another/down", 100, lambda: None)
            assert listener.heard == expected
    assert listener.heard != sorted(listener.heard)


async def test_without_waiting_what_is_held_back_comes_after_a_tick() -> None:
    """When nothing follows that could overtake, a held PDU arrives after a tick, and once."""
    listener = Listener()
    air = Air(Conditions(reordering=1.0), wait=False)
    async with air.gate:
        for number in range(3):
            assert air.gate.carry(Bearer.SMS, KEY, 100, listener.take(number))
        assert (listener.heard, air.gate.pending) == ([], 3)
        await air.advance(TICK_S)
        assert (listener.heard, air.gate.pending) == ([0, 1, 2], 0)


async def test_without_waiting_what_was_let_go_does_not_come_again() -> None:
    """The tick of a PDU that was let go before finds nothing left to deliver."""
    listener = Listener()
    air = Air(Conditions(reordering=0.5), wait=False)
    async with air.gate:
        for number in range(100):
            air.gate.carry(Bearer.SMS, KEY, 100, listener.take(number))
        await air.advance(TICK_S)
        await air.advance(TICK_S)
    assert sorted(listener.heard) == list(range(100))


async def test_held_back_beyond_the_bound_is_lost() -> None:
    """What is held back without waiting counts against the same bound."""
    listener = Listener()
    air = Air(Conditions(reordering=1.0), wait=False, max_pending=5)
    async with air.gate:
        taken = [air.gate.carry(Bearer.SMS, KEY, 1, listener.take(number)) for number in range(6)]
        await air.advance(TICK_S)
    assert taken == [True] * 5 + [False]
    assert listener.heard == [0, 1, 2, 3, 4]


# ---- losses ----


@pytest.mark.parametrize("wait", [True, False], ids=["wait", "max"])
async def test_losses_are_told_counted_and_logged(*, wait: bool) -> None:
    """Who sent a lost PDU is told at once; it is counted and logged with its reason."""
    air = Air(Conditions(outages=(Outage(lasts_s=60.0),)), wait=wait)
    with capture_logs() as logs:
        async with air.gate:
            assert not air.gate.carry(Bearer.SMS, KEY, 100, crash)
            await air.advance(60.0)
            assert air.gate.carry(Bearer.SMS, KEY, 100, lambda: None)
    assert air.counts()["lost"] == 1
    assert [(log["event"], log["bearer"], log["key"], log["reason"]) for log in logs] == [
        ("air.lost", "sms", KEY, "outage")
    ]


@pytest.mark.parametrize("wait", [True, False], ids=["wait", "max"])
async def test_tcp_loses_nothing(*, wait: bool) -> None:
    """What a TCP channel carries over the same radio arrives once and in order."""
    listener = Listener()
    air = Air({Bearer.BIP_TCP: ROUGH}, wait=wait)
    async with air.gate:
        for number in range(100):
            assert air.gate.carry(Bearer.BIP_TCP, KEY, 100, listener.take(number))
        await air.advance(100_000.0)
    assert listener.heard == list(range(100))
    assert air.counts(Bearer.BIP_TCP)["lost"] == 0
    assert air.counts(Bearer.BIP_TCP)["air_s"] > 100.0


@pytest.mark.parametrize(
    ("conditions", "wait", "told"),
    [
        (Conditions(), True, False),
        (Conditions(delay_s=1.0), False, False),
        (Conditions(delay_s=1.0), True, True),
    ],
    ids=["inline", "max", "wait"],
)
async def test_a_full_mailbox_is_a_loss(conditions: Conditions, *, wait: bool, told: bool) -> None:
    """A full mailbox at the far end is counted as lost and raises nothing; who sent is told if possible."""
    air = Air(conditions, wait=wait)
    async with air.gate:
        assert air.gate.carry(Bearer.SMS, KEY, 100, Refuser()) is told
        await air.advance(60.0)
    assert air.counts()["lost"] == 1


async def test_a_crash_on_arrival_stops_nobody_else() -> None:
    """A delivery that crashes later is counted and logged; the next one arrives."""
    listener = Listener()
    air = Air(Conditions(delay_s=1.0), wait=True)
    with capture_logs() as logs:
        async with air.gate:
            air.gate.carry(Bearer.SMS, KEY, 100, crash)
            air.gate.carry(Bearer.SMS, KEY, 100, listener.take(1))
            await air.advance(60.0)
    assert listener.heard == [1]
    assert air.counters.snapshot()["crashes"] == {"air": 1}
    assert [log["event"] for log in logs] == ["air.delivery_failed"]


async def test_a_crash_in_the_call_is_the_callers() -> None:
    """A delivery that crashes while its sender waits raises there."""
    air = Air({}, wait=True)
    async with air.gate:
        with pytest.raises(ZeroDivisionError):
            air.gate.carry(Bearer.SMS, KEY, 100, crash)


# ---- calls that go over no air ----


@pytest.mark.parametrize("wait", [True, False], ids=["wait", "max"])
async def test_a_call_after_a_while(*, wait: bool) -> None:
    """What is to be called later is, each in its time, whether the air is waited for or not."""
    listener = Listener()
    air = Air({}, wait=wait)
    async with air.gate:
        air.gate.after(5.0, listener.take(2))
        air.gate.after(3.0, listener.take(1))
        await air.advance(2.9)
        assert listener.heard == []
        await air.advance(0.1)
        assert listener.heard == [1]
        await air.advance(2.0)
        assert listener.heard == [1, 2]
        air.gate.after(1.0, listener.take(3))
    air.gate.after(0.0, listener.take(4))
    await air.advance(60.0)
    assert (listener.heard, air.gate.pending) == ([1, 2], 0)
    assert air.counters.snapshot() == {"bearers": {}, "dropped": {}, "refused": {}, "crashes": {}}


async def test_a_call_that_cannot_be_made_is_counted() -> None:
    """A call that finds a mailbox full, crashes, or is one too many is counted and stops no other."""
    listener = Listener()
    air = Air({}, wait=False, max_pending=3)
    with capture_logs() as logs:
        async with air.gate:
            for call in (Refuser(), crash, listener.take(1), listener.take(2)):
                air.gate.after(1.0, call)
            await air.advance(1.0)
    assert listener.heard == [1]
    assert air.counters.snapshot()["dropped"] == {"air-full": 1, "mailbox-full": 1}
    assert air.counters.snapshot()["crashes"] == {"air": 1}
    assert [(log["event"], log["key"]) for log in logs] == [("air.delivery_failed", "after")]


# ---- lanes and seeds ----


async def test_lanes_do_not_touch_each_other() -> None:
    """What a lane loses does not depend on what others carry, and differs from lane to lane."""

    async def losses(others: int) -> tuple[list[bool], list[bool]]:
        air = Air(Conditions(loss=0.5), wait=False)
        taken, up = [], []
        async with air.gate:
            for _ in range(100):
                taken.append(air.gate.carry(Bearer.SMS, KEY, 100, lambda: None))
                up.append(air.gate.carry(Bearer.SMS, "8988000000000000001/up", 100, lambda: None))
                for other in range(others):
                    air.gate.carry(Bearer.SMS, f"{other}/down", 100, lambda: None)
        return taken, up

    alone, crowded = await losses(0), await losses(5)
    assert alone == crowded
    assert alone[0] != alone[1]


def test_lane_seeds_are_apart() -> None:
    """Seed, bearer and key each make another lane, and none of them can pass for a part of another."""
    seeds = {
        lane_seed(b"seed", Bearer.SMS, "key"),
        lane_seed(b"seeds", Bearer.SMS, "key"),
        lane_seed(b"seed", Bearer.REPORT, "key"),
        lane_seed(b"seed", Bearer.SMS, "keys"),
        lane_seed(b"", Bearer.SMS, "key"),
        lane_seed(b"seedsms", Bearer.SMS, "key"),
    }
    assert len(seeds) == 6
    assert {len(seed) for seed in seeds} == {32}


async def test_another_seed_loses_others() -> None:
    """Runs of different seeds lose different PDUs."""
    results = []
    for seed in (b"one", b"another"):
        air = Air(Conditions(loss=0.5), wait=False, seed=seed)
        async with air.gate:
            results.append([air.gate.carry(Bearer.SMS, KEY, 1, lambda: None) for _ in range(100)])
    assert results[0] != results[1]


async def test_outages_are_counted_from_now_by_default() -> None:
    """A gate that is given no epoch takes the moment it is made for the launch."""
    gate = AirGate(
        clock=ManualClock(EPOCH),
        seed=SEED,
        conditions={Bearer.SMS: Conditions(outages=(Outage(lasts_s=1.0),))},
        counters=Counters(),
        log=structlog.get_logger(),
        wait=False,
    )
    async with gate:
        assert not gate.carry(Bearer.SMS, KEY, 1, crash)


# ---- life cycle ----


async def test_leaving_drops_what_is_in_the_air() -> None:
    """After the gate is closed nothing arrives any more, and nothing is taken."""
    listener = Listener()
    air = Air(Conditions(delay_s=1.0), wait=True)
    async with air.gate:
        air.gate.carry(Bearer.SMS, KEY, 100, listener.take(1))
    await air.advance(60.0)
    assert (listener.heard, air.gate.pending) == ([], 0)
    assert not air.gate.carry(Bearer.SMS, KEY, 100, listener.take(2))
    assert not air.gate.carry(Bearer.ROLE, KEY, 100, listener.take(3))
    assert listener.heard == []


async def test_it_is_entered_once() -> None:
    """A gate has one task, which has a name and is gone when the gate is left."""
    air = Air({}, wait=True)
    async with air.gate:
        assert "air" in {task.get_name() for task in asyncio.all_tasks()}
        with pytest.raises(ValueError, match="entered before"):
            await air.gate.__aenter__()
    assert "air" not in {task.get_name() for task in asyncio.all_tasks()}
