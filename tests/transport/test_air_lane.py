from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport.air import MAX_RETRANSMISSIONS, MAX_RTO_S, RTO_S, Conditions, Lane, Loss, Outage

SEED = b"a lane of the tests"
EPOCH = 1_750_000_000.0
MANY = 4000

CHANCES = st.floats(0, 0.95)
SECONDS = st.floats(0, 100)
RATES = st.none() | st.floats(0.1, 10_000)
OUTAGES = st.lists(
    st.builds(Outage, lasts_s=st.floats(0.1, 9.9), every_s=st.none() | st.floats(10, 100), first_s=SECONDS),
    max_size=3,
).map(tuple)


@st.composite
def any_conditions(draw: st.DrawFn, reordering: st.SearchStrategy[float] = CHANCES) -> Conditions:
    """Return conditions of all kinds."""
    delay_s = draw(SECONDS)
    return Conditions(
        loss=draw(CHANCES),
        duplication=draw(st.floats(0, 1)),
        reordering=draw(reordering),
        delay_s=delay_s,
        delay_min_s=draw(st.floats(0, delay_s)),
        spread=draw(st.floats(0, 3)),
        octets_per_s=draw(RATES),
        messages_per_s=draw(RATES),
        max_queue_s=draw(st.floats(0, 1000)),
        outages=draw(OUTAGES),
    )


# What is sent: octets, and seconds since the last.
SENDS = st.lists(st.tuples(st.integers(0, 1500), st.floats(0, 30)), max_size=60)


def send_all(lane: Lane, sends: list[tuple[int, float]]) -> list[tuple[float, tuple[float, ...]]]:
    """Send all of *sends*; return when each was sent and when its copies arrive."""
    now, carried = EPOCH, []
    for octets, pause in sends:
        now += pause
        carried.append((now, lane.carry(octets, now)))
    return carried


def steady(count: int, pause: float = 10.0) -> list[tuple[int, float]]:
    """Return *count* PDUs of 100 octets, *pause* seconds apart."""
    return [(100, pause)] * count


# ---- proportions ----


def test_a_lane_without_conditions_changes_nothing() -> None:
    """Everything arrives once, when it was sent, and was no time on the air."""
    lane = Lane(Conditions(), SEED, EPOCH)
    for sent_at, arrivals in send_all(lane, steady(50)):
        assert arrivals == (sent_at,)
        assert (lane.air_s, lane.loss) == (0.0, None)


@pytest.mark.parametrize("loss", [0.01, 0.2, 0.5, 0.9])
def test_losses_are_as_frequent_as_said(loss: float) -> None:
    """Over a long lane the share of what is lost is the loss."""
    lane = Lane(Conditions(loss=loss), SEED, EPOCH)
    lost = sum(not lane.carry(100, EPOCH) for _ in range(MANY))
    assert lost / MANY == pytest.approx(loss, abs=0.03)


@pytest.mark.parametrize("duplication", [0.1, 0.5, 1.0])
def test_duplicates_are_as_frequent_as_said(duplication: float) -> None:
    """Over a long lane the share of what arrives twice is the duplication; nothing arrives three times."""
    carried = send_all(Lane(Conditions(duplication=duplication), SEED, EPOCH), steady(MANY))
    assert {len(arrivals) for _, arrivals in carried} <= {1, 2}
    assert sum(len(arrivals) == 2 for _, arrivals in carried) / MANY == pytest.approx(duplication, abs=0.03)


@pytest.mark.parametrize("reordering", [0.1, 0.5])
def test_reordering_is_as_frequent_as_said(reordering: float) -> None:
    """The share of what arrives behind the front is the reordering, and later ones overtake it."""
    lane = Lane(Conditions(reordering=reordering, hold_s=10.0), SEED, EPOCH)
    held = 0
    firsts = []
    for octets, now in ((100, EPOCH + number) for number in range(MANY)):
        (at,) = lane.carry(octets, now)
        held += at > lane.front
        firsts.append(at)
    assert held / MANY == pytest.approx(reordering, abs=0.03)
    assert any(later < earlier for earlier, later in pairwise(firsts))


def test_a_held_copy_may_come_behind_its_duplicate() -> None:
    """Copies are held back each by itself, and the earliest is named first."""
    lane = Lane(Conditions(duplication=1.0, reordering=0.5, hold_s=10.0), SEED, EPOCH)
    carried = []
    for sent_at, arrivals in send_all(lane, steady(200, pause=100.0)):
        assert list(arrivals) == sorted(arrivals)
        carried.append(tuple(at > sent_at for at in arrivals))
    assert set(carried) == {(False, False), (False, True), (True, True)}


# ---- the same seed ----


@given(conditions=any_conditions(), sends=SENDS, reliable=st.booleans())
def test_same_seed_same_fates(
    conditions: Conditions, sends: list[tuple[int, float]], *, reliable: bool
) -> None:
    """Two lanes of one seed that carry the same do the same."""
    lanes = [Lane(conditions, SEED, EPOCH, reliable=reliable) for _ in range(2)]
    assert send_all(lanes[0], sends) == send_all(lanes[1], sends)


@given(pauses=st.lists(st.floats(0, 1000), min_size=50, max_size=50))
def test_fates_do_not_depend_on_the_time(pauses: list[float]) -> None:
    """The n-th PDU is lost or duplicated, and so long on the air, whenever and however fast it is sent."""
    conditions = Conditions(loss=0.3, duplication=0.3, reordering=0.3, delay_s=2.0, octets_per_s=100.0)

    def fates(pauses: list[float]) -> list[tuple[int, float]]:
        lane = Lane(conditions, SEED, EPOCH, queueing=False)
        found, now = [], EPOCH
        for pause in pauses:
            now += pause
            found.append((len(lane.carry(100, now)), lane.air_s))
        return found

    assert fates(pauses) == fates([0.0] * 50)


def test_another_seed_other_fates() -> None:
    """Lanes of different seeds lose different PDUs."""
    conditions = Conditions(loss=0.5)
    lost = [
        [not arrivals for _, arrivals in send_all(Lane(conditions, seed, EPOCH), steady(100))]
        for seed in (b"one", b"another")
    ]
    assert lost[0] != lost[1]


# ---- order and time ----


@given(conditions=any_conditions(reordering=st.just(0.0)), sends=SENDS, queueing=st.booleans())
def test_nothing_overtakes(conditions: Conditions, sends: list[tuple[int, float]], *, queueing: bool) -> None:
    """Without reordering no copy arrives before an earlier one, and none is behind the front."""
    lane = Lane(conditions, SEED, EPOCH, queueing=queueing)
    times = [at for _, arrivals in send_all(lane, sends) for at in arrivals]
    assert times == sorted(times)
    assert not times or times[-1] == lane.front


@given(conditions=any_conditions(), sends=SENDS, reliable=st.booleans())
def test_nothing_arrives_early(
    conditions: Conditions, sends: list[tuple[int, float]], *, reliable: bool
) -> None:
    """No copy arrives before its transmission and the least delay are over."""
    lane = Lane(conditions, SEED, EPOCH, reliable=reliable)
    for (octets, _), (sent_at, arrivals) in zip(sends, send_all(lane, sends), strict=True):
        least = conditions.transmission_s(octets) + conditions.delay_min_s
        assert all(at - sent_at >= least - 1e-5 for at in arrivals)


def test_a_slow_lane_forwards_one_after_the_other() -> None:
    """At 50 octets a second, PDUs of 100 octets sent together arrive 2 seconds apart."""
    lane = Lane(Conditions(octets_per_s=50.0), SEED, EPOCH)
    arrivals = [lane.carry(100, EPOCH) for _ in range(4)]
    assert arrivals == [(EPOCH + 2.0 * number,) for number in (1, 2, 3, 4)]
    assert lane.air_s == 2.0
    assert lane.carry(100, EPOCH + 100.0) == (EPOCH + 102.0,)


@given(rate=st.floats(0.5, 50), count=st.integers(2, 60))
def test_rate_is_respected(rate: float, count: int) -> None:
    """However many are sent at once, no more pass in a second than the lane takes."""
    lane = Lane(Conditions(messages_per_s=rate), SEED, EPOCH)
    times = [lane.carry(1, EPOCH)[0] for _ in range(count)]
    assert times[-1] - EPOCH == pytest.approx(count / rate, rel=1e-3)


def test_a_full_queue_loses() -> None:
    """What would wait longer than the queue is long is lost to congestion and leaves the queue as it was."""
    lane = Lane(Conditions(messages_per_s=1.0, max_queue_s=2.0), SEED, EPOCH)
    carried = [(len(lane.carry(10, EPOCH)), lane.loss, lane.air_s) for _ in range(5)]
    assert carried == [(1, None, 1.0)] * 3 + [(0, Loss.CONGESTION, 0.0)] * 2
    assert lane.carry(10, EPOCH + 1.0) == (EPOCH + 4.0,)
    assert lane.loss is None


def test_without_queueing_the_lane_is_always_free() -> None:
    """For who does not wait no queue builds up, and the transmission still counts as time on the air."""
    lane = Lane(Conditions(messages_per_s=1.0, max_queue_s=0.0), SEED, EPOCH, queueing=False)
    assert [lane.carry(10, EPOCH) for _ in range(3)] == [(EPOCH + 1.0,)] * 3
    assert lane.air_s == 1.0


def test_time_on_the_air_is_that_of_the_first_copy() -> None:
    """Of two copies the one that is there first counts; the wait for a turn does not."""
    lane = Lane(Conditions(duplication=1.0, delay_s=5.0, octets_per_s=100.0), SEED, EPOCH)
    for number in range(1, 30):
        sent_at = EPOCH + 1000.0 * number
        assert lane.carry(100, sent_at)[0] - sent_at >= lane.air_s - 1e-6
    undisturbed = Lane(Conditions(delay_s=5.0, octets_per_s=100.0), SEED, EPOCH)
    (at,) = undisturbed.carry(100, EPOCH)
    assert undisturbed.air_s == pytest.approx(at - EPOCH, abs=1e-6)
    undisturbed.carry(100, EPOCH)
    waited = undisturbed.air_s
    again = Lane(Conditions(delay_s=5.0, octets_per_s=100.0), SEED, EPOCH)
    again.carry(100, EPOCH)
    again.carry(100, EPOCH + 500.0)
    assert again.air_s == waited


def test_a_lost_pdu_was_on_the_air() -> None:
    """What the radio loses took its transmission time, and whoever follows waited for it."""
    lane = Lane(Conditions(loss=0.99, messages_per_s=2.0), SEED, EPOCH)
    assert lane.carry(10, EPOCH) == ()
    assert (lane.loss, lane.air_s) == (Loss.RADIO, 0.5)


# ---- outages ----


def test_an_outage_loses_everything() -> None:
    """During an outage nothing passes, before and after it everything does."""
    lane = Lane(Conditions(outages=(Outage(every_s=100, lasts_s=10, first_s=50),)), SEED, EPOCH)
    passed = {}
    for since in range(0, 200, 5):
        passed[since] = bool(lane.carry(10, EPOCH + since))
        assert lane.loss is (None if passed[since] else Loss.OUTAGE)
    assert [since for since, whether in passed.items() if not whether] == [50, 55, 150, 155]


def test_an_outage_does_not_shift_later_fates() -> None:
    """The PDUs after an outage draw what they would have drawn without it."""
    dark = Conditions(loss=0.5, outages=(Outage.between(100, 300),))
    with_outage = send_all(Lane(dark, SEED, EPOCH), steady(100))
    without = send_all(Lane(Conditions(loss=0.5), SEED, EPOCH), steady(100))
    assert with_outage[29:] == without[29:]
    assert [arrivals for _, arrivals in with_outage[9:29]] == [()] * 20


# ---- reliable ----


@given(conditions=any_conditions(), sends=SENDS)
def test_reliable_lanes_lose_nothing(conditions: Conditions, sends: list[tuple[int, float]]) -> None:
    """Whatever the conditions, everything arrives exactly once and in order."""
    lane = Lane(conditions, SEED, EPOCH, reliable=True)
    carried = send_all(lane, sends)
    times = [at for _, arrivals in carried for at in arrivals]
    assert [len(arrivals) for _, arrivals in carried] == [1] * len(sends)
    assert times == sorted(times)
    assert lane.loss is None
    assert not times or times[-1] == lane.front


@settings(max_examples=10)
@given(rto_s=st.floats(0.1, MAX_RTO_S))
def test_reliable_lanes_pay_with_time(rto_s: float) -> None:
    """A loss costs the time-out and another transmission, the next loss double the time-out."""
    lane = Lane(Conditions(loss=0.5, messages_per_s=1.0), SEED, EPOCH, reliable=True, rto_s=rto_s)
    costs = []
    for number in range(400):
        (_,) = lane.carry(10, EPOCH + 10_000.0 * number)
        costs.append(round(lane.air_s, 6))
    assert costs.count(1.0) / 400 == pytest.approx(0.5, abs=0.08)
    assert costs.count(round(2 + rto_s, 6)) / 400 == pytest.approx(0.25, abs=0.08)
    third = round(3 + rto_s + min(2 * rto_s, MAX_RTO_S), 6)
    assert costs.count(third) / 400 == pytest.approx(0.125, abs=0.08)


def test_reliable_lanes_do_not_try_for_ever() -> None:
    """On a hopeless lane a PDU passes after the last retransmission, so that time is bounded."""
    lane = Lane(Conditions(loss=0.999), SEED, EPOCH, reliable=True)
    lane.carry(10, EPOCH)
    assert lane.air_s == sum(min(RTO_S * 2**time, MAX_RTO_S) for time in range(MAX_RETRANSMISSIONS))


def test_reliable_lanes_wait_outages_out() -> None:
    """What is sent in an outage arrives when it ends, and so does what follows."""
    lane = Lane(Conditions(outages=(Outage.between(10, 30),)), SEED, EPOCH, reliable=True)
    assert lane.carry(10, EPOCH + 15.0) == (EPOCH + 30.0,)
    assert lane.air_s == 0.0
    assert lane.carry(10, EPOCH + 16.0) == (EPOCH + 30.0,)
    assert lane.carry(10, EPOCH + 31.0) == (EPOCH + 31.0,)


def test_reliable_lanes_have_no_full_queue() -> None:
    """The queue of a reliable lane is the sender's to bound: nothing is lost to congestion."""
    lane = Lane(Conditions(messages_per_s=1.0, max_queue_s=0.0), SEED, EPOCH, reliable=True)
    assert [lane.carry(10, EPOCH) for _ in range(3)] == [(EPOCH + 1,), (EPOCH + 2,), (EPOCH + 3,)]


@pytest.mark.parametrize("rto_s", [0.0, -1.0, 61.0, float("nan")])
def test_time_outs_have_bounds(rto_s: float) -> None:
    """A retransmission time-out of nothing, or of more than a minute, is refused."""
    with pytest.raises(ValueError, match="rto_s"):
        Lane(Conditions(), SEED, EPOCH, reliable=True, rto_s=rto_s)
