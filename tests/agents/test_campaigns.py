"""What broadcasts came to, put together from made-up outcomes and airings, and what one by one would cost."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.airings import Airing
from agents.fleet.arrivals import Way, by_cell
from agents.fleet.campaigns import MAX_POINTS, Books, campaigns_of, curve, short_messages
from agents.fleet.config import Verb, load_config
from agents.fleet.expectations import Outcome, Outcomes, Result
from agents.loading import PIECE_OCTETS
from agents.messages.air import LoadApplication
from agents.messages.codec import decode
from bus.counters import Counters
from bus.frame import Bearer
from tests.scenarios.kit import CONFIGS
from transport.concatenation import Reassembler
from transport.secured_packet import decode_command
from transport.security.keyset import SessionKeys
from transport.sms import SmsDeliver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.fleet.campaign_report import CampaignReport
    from agents.fleet.config import FleetConfig
    from bus.counters import Snapshot

CONFIG: Final = load_config(CONFIGS / "broadcast.toml")
TRACE: Final = bytes(15) + b"\x01"
FIRST, SECOND, REFUSED, AGAIN = (
    number for number, step in enumerate(CONFIG.steps, 1) if step.do is Verb.BROADCAST
)
CODE: Final = bytes(range(256)) * 5
NAMES: Final = ("a", "b", "c", "d", "e", "f", "late")
ADDRESSES: Final = dict(zip(NAMES, CONFIG.cells_by_address(), strict=False))
"""Of handsets of the config, under shorter names."""


def step(
    number: int,
    do: str,
    *uas: str,
    failed: tuple[str, ...] = (),
    service: str = "points",
    addresses: Mapping[str, str] = ADDRESSES,
) -> Outcomes:
    """Return a step that ended well for *uas*, each a second later than the one before it."""
    outcomes = [
        Outcome(ua=addresses[ua], service="points", result=Result.OK, told_s=float(place))
        for place, ua in enumerate(uas, 1)
    ] + [
        Outcome(ua=addresses[ua], service="points", result=Result.FAILED, reason="not-heard") for ua in failed
    ]
    traces = frozenset((TRACE,)) if do == "broadcast" else frozenset[bytes]()
    return Outcomes(number=number, do=do, outcomes=outcomes, service=service, traces=traces)


def airing(trace_id: bytes = TRACE, published: int = 312) -> Airing:
    """Return what a supplier broadcast for the order of that trace."""
    return Airing(
        traces=frozenset((trace_id,)),
        planned=published,
        scheme="plain",
        packets=6,
        pages=13,
        repair_pages=0,
        cells=4,
        repetitions=6,
        published=published,
    )


def counts(pages: int, lost: int = 0) -> Snapshot:
    """Return the counts of a run that published so many pages."""
    counters = Counters()
    for _ in range(pages):
        counters.sent(Bearer.CELL_BROADCAST, 88)
    for _ in range(lost):
        counters.lost(Bearer.CELL_BROADCAST)
    return counters.snapshot()


def campaigns(*ended: Outcomes, found: str = "", brought: str = "") -> list[CampaignReport]:
    """Return the reports of all broadcasts.

    A letter of *found* is a module that had version 1, one of *brought* was given it by short messages.
    """
    books = Books(
        found=frozenset((ADDRESSES[ua], "points", 1) for ua in found),
        brought={(ADDRESSES[ua], "points", 1): "sms" for ua in brought},
    )
    return list(campaigns_of(CONFIG, ended, books, counts(0)))


@pytest.mark.parametrize(
    ("pages_per_s", "speed", "time", "curve"),
    [
        pytest.param(0.5, "max", "simulated", ((13.0, 1), (26.0, 2)), id="by-pages"),
        pytest.param(None, "max", "wall", ((1.0, 1), (2.0, 2)), id="pages-take-no-time"),
        pytest.param(0.5, 60, "simulated", ((1.0, 1), (2.0, 2)), id="the-clock-waits-for-pages"),
    ],
)
def test_coverage_is_told_in_simulated_seconds(
    pages_per_s: float | None, speed: float | str, time: str, curve: object
) -> None:
    """By the clock where the air takes its time; else by the pages that were on the air by then."""
    step_of = step(FIRST, "broadcast", "a", "b")
    heard = [replace(told, heard_s=13 * told.told_s) for told in step_of.outcomes]
    table = CONFIG.air.cell_broadcast.model_copy(update={"messages_per_s": pages_per_s})
    air = CONFIG.air.model_copy(update={"speed": speed, "cell_broadcast": table})
    config = CONFIG.model_copy(update={"air": air})
    (made,) = campaigns_of(config, [replace(step_of, outcomes=heard)], Books(), counts(0))
    assert (made.time, made.coverage) == (time, curve)


def the(ended: Outcomes, *airings: Airing) -> CampaignReport:
    """Return the report of one broadcast that was sent so."""
    (made,) = campaigns_of(CONFIG, [ended], Books(airings=airings), counts(312, lost=9))
    return made


def test_each_module_is_counted_where_it_got_it() -> None:
    """By the broadcast, before it, by whoever served it afterwards, or not at all."""
    (made,) = campaigns(
        step(1, "serve", "b"),
        step(FIRST, "broadcast", "a", "b", failed=("c", "d", "e", "f")),
        step(11, "serve", "a", "c", "late"),
        step(12, "pull", "d", "e"),
        step(13, "invoke", "f"),
        found="ae",
        brought="d",
    )
    assert (made.step, made.version, made.targets, made.modules) == (FIRST, 1, 6, 7)
    assert (made.by_broadcast, made.untold, made.had_before) == (2, 1, 1)
    assert (made.one_by_one, made.without) == (3, 1)
    assert made.coverage == ((1.0, 1), (2.0, 2))
    words = {arrival.ua: arrival.words for arrival in made.arrivals}
    assert [words[ADDRESSES[name]] for name in NAMES] == [
        "broadcast",
        "before",
        "served",
        "served over sms",
        "broadcast",
        "none",
        "served",
    ]
    assert [arrival.at_s for arrival in made.arrivals if arrival.way is Way.BROADCAST] == [1.0, None]


def test_who_was_served_and_tells_when_the_order_is_said_again_was_served() -> None:
    """A later launch broadcasts again for whoever had not told; in each launch after that it counts alike."""
    for again, pulled in ((math.inf, 20.0), (30.0, 20.0)):
        told = step(FIRST, "broadcast", "a", "b", "c")
        first = [replace(each, started=10.0) for each in told.outcomes[:2]]
        told = replace(told, outcomes=[*first, replace(told.outcomes[2], started=again)])
        served = step(FIRST + 1, "pull", "b", "c")
        served = replace(served, outcomes=[replace(each, started=pulled) for each in served.outcomes])
        (made,) = campaigns(told, served)
        ways = {arrival.ua: arrival.way for arrival in made.arrivals}
        assert [ways[ADDRESSES[ua]] for ua in "abc"] == [Way.BROADCAST, Way.BROADCAST, Way.SERVED]
        assert (made.by_broadcast, made.one_by_one) == (2, 1)


def test_progress_is_told_by_cell() -> None:
    """Each cell's modules by way; those cells come first in which most have nothing."""
    cells = CONFIG.cells_by_address()
    (made,) = campaigns(step(FIRST, "broadcast", *"abde", failed=("c", "f")), step(FIRST + 1, "pull", "f"))
    shares = by_cell(made.arrivals)
    assert shares[0].cell == cells[ADDRESSES["c"]]
    assert shares[0].count(Way.NONE) == 1
    assert {share.cell for share in shares} == {cells[ADDRESSES[name]] for name in "abcdef"}
    assert sum(share.modules for share in shares) == 6
    assert sum(share.count(Way.BROADCAST) for share in shares) == made.by_broadcast == 4
    assert sum(share.count(Way.SERVED) for share in shares) == 1
    told = {share["cell"]: share for share in made.to_json()["cells"]}
    assert told[shares[0].cell]["none"] == 1


def test_a_campaign_ends_where_the_next_begins() -> None:
    """Who is served after the next version was broadcast has that; one that was refused is none."""
    refused = Outcomes(
        number=REFUSED,
        do="broadcast",
        outcomes=[
            Outcome(ua=ADDRESSES["b"], service="points", result=Result.REFUSED, reason="version-not-newer")
        ],
        service="points",
    )
    first, second, again = campaigns(
        step(FIRST, "broadcast", "a", failed=("b", "d")),
        step(FIRST + 1, "serve", "b"),
        step(SECOND, "broadcast", "a", failed=("b", "c")),
        refused,
        step(REFUSED + 1, "pull", "b", "c"),
        step(REFUSED + 2, "release", "c"),
        step(AGAIN, "broadcast", "a", "b", "c"),
    )
    assert (first.version, first.one_by_one, first.without) == (1, 1, 1)
    assert (second.version, second.one_by_one, second.without) == (2, 2, 0)
    # What was released and reserved anew held nothing any more.
    assert (again.version, again.had_before, again.by_broadcast) == (2, 2, 1)


def test_a_version_that_was_stopped_is_served_to_nobody() -> None:
    """Who is served after it has the one before; the campaign is the step's that saw it to its end."""
    config = load_config(CONFIGS / "rollout.toml")
    first, stopped, begun = (
        n for n, one in enumerate(config.steps, 1) if one.do is Verb.BROADCAST and n < 16
    )
    end = next(n for n, one in enumerate(config.steps, 1) if one.do is Verb.FINISH_CAMPAIGN)
    addresses = {"": ""} | dict(zip("ab", config.cells_by_address(), strict=False))
    reasons = dict.fromkeys((addresses["a"], addresses["b"]), "too-many-errors")
    refused = [
        Outcome(ua=ua, service="points", result=Result.REFUSED, reason=why) for ua, why in reasons.items()
    ]
    ended = (
        step(first, "broadcast", "a", failed=("b",), addresses=addresses),
        Outcomes(number=stopped, do="broadcast", outcomes=refused, service="points"),
        step(stopped + 1, "serve", "b", addresses=addresses),
        step(begun, "broadcast", "", addresses=addresses),
        step(end, "finish-campaign", "a", failed=("b",), addresses=addresses),
    )
    made = campaigns_of(config, ended, Books(), counts(0))
    assert [(one.step, one.version) for one in made] == [(first, 1), (stopped, 2), (end, 3)]
    assert [(one.by_broadcast, one.one_by_one) for one in made] == [(1, 1), (0, 0), (1, 0)]


def begun(config: FleetConfig) -> tuple[int, int]:
    """Return the numbers of the steps of *config* that begin a campaign and see its end."""
    numbered = list(enumerate(config.steps, 1))
    number = next(number for number, one in numbered if one.do is Verb.BROADCAST and not one.wait)
    return number, next(number for number, one in numbered if one.do is Verb.FINISH_CAMPAIGN)


@pytest.mark.parametrize("is_finished", [False, True], ids=["open", "finished"])
def test_a_campaign_that_its_step_does_not_wait_for(*, is_finished: bool) -> None:
    """It has its section by the step that began it, so far; or by the one that saw its end, and only there.

    Who was served meanwhile counts as such, but for who had it by then from the broadcast.
    """
    config = load_config(CONFIGS / "rollout.toml")
    number, end = begun(config)
    # Without stages and thresholds, whoever is served is given the version at once.
    at_once = config.steps[number - 1].model_copy(update=dict.fromkeys(("stages", "success", "errors")))
    steps = (*config.steps[: number - 1], at_once, *config.steps[number:])
    config = config.model_copy(update={"steps": steps})
    addresses = {"": ""} | dict(zip("abcd", config.cells_by_address(), strict=False))
    told = step(number, "broadcast", "a", "b", failed=("c", "d"), addresses=addresses)
    first, second, *others = told.outcomes
    heard = [replace(first, started=100.0, told_s=5.0), replace(second, started=100.0, told_s=50.0), *others]
    told = replace(told, outcomes=heard)
    served = step(number + 1, "pull", "a", "b", "c", addresses=addresses)
    served = replace(served, outcomes=[replace(each, started=120.0) for each in served.outcomes])
    ended = [step(number, "broadcast", "", addresses=addresses), served]
    if is_finished:
        ended.append(replace(told, number=end, do="finish-campaign"))
    still = replace(airing(published=20), planned=40, state="open", reason="paused")
    (made,) = campaigns_of(config, ended, Books(airings=[still]), counts(20), [told])
    assert made.step == (end if is_finished else number)
    assert (made.state, made.reason, made.coverage) == ("open", "paused", ((5.0, 1), (50.0, 2)))
    assert made.sent is not None
    assert (made.sent.published, made.sent.planned, made.targets) == (20, 40, 4)
    ways = {arrival.ua: arrival.way for arrival in made.arrivals}
    assert [ways[addresses[ua]] for ua in "abcd"] == [Way.BROADCAST, Way.SERVED, Way.SERVED, Way.NONE]


@pytest.mark.parametrize(("state", "reason"), [("aborted", "aborted"), ("open", "")], ids=["aborted", "open"])
def test_an_earlier_launchs_campaign_stands_as_its_supplier_says(state: str, reason: str) -> None:
    """What was sent is not known any more; that it was aborted is, and whether it goes on."""
    config = load_config(CONFIGS / "rollout.toml")
    number, _ = begun(config)
    addresses = {"": ""} | dict(zip("a", config.cells_by_address(), strict=False))
    told = step(number, "broadcast", failed=("a",), addresses=addresses)
    books = Books(states={("points", 3): (state, reason)})
    ended = [step(number, "broadcast", "", addresses=addresses)]
    (made,) = campaigns_of(config, ended, books, counts(0), [told])
    assert (made.version, made.sent, made.state, made.reason) == (3, None, state, reason)


def test_who_told_while_it_was_served_has_its_time() -> None:
    """Its call was on its way when it heard: that its supplier learned of it too takes nothing away."""
    told = step(FIRST, "broadcast", "a")
    told = replace(told, outcomes=[replace(told.outcomes[0], started=100.0)])
    served = step(FIRST + 1, "pull", "a")
    served = replace(served, outcomes=[replace(served.outcomes[0], started=100.5)])
    (made,) = campaigns(told, served, found="a")
    assert (made.by_broadcast, made.untold, made.arrivals[0].at_s) == (1, 0, 1.0)


def test_what_was_sent_is_the_orders_own() -> None:
    """Of all airings that of this order; twice, when it was given again and carried out again."""
    other = airing(bytes(16), published=1)
    ended = step(FIRST, "broadcast", "a", "b")
    sent = the(ended, other, airing()).sent
    assert sent is not None
    assert (sent.published, sent.lost, sent.lost_by_all, sent.repetitions) == (312, None, 9, 6)
    # A page takes 1.883 s of its channel, and 88 octets.
    assert (sent.load.messages, sent.load.octets, round(sent.load.air_s)) == (312, 312 * 88, 588)
    again = the(ended, airing(published=200), airing(published=112)).sent
    assert again is not None
    assert (again.published, again.lost, again.repetitions) == (312, 9, 12)


def test_no_page_may_have_been_published() -> None:
    """In a launch in which the campaign was paused all the time, say: nothing was sent, and nothing lost."""
    still = replace(airing(published=0), planned=40, is_whole=False, state="open", reason="paused")
    books = Books(airings=[still])
    (made,) = campaigns_of(CONFIG, [step(FIRST, "broadcast", failed=("a",))], books, counts(0))
    assert made.sent is not None
    assert (made.sent.published, made.sent.lost, made.sent.lost_by_all) == (0, 0, 0)


def test_losses_are_known_where_nobody_else_broadcast() -> None:
    """The air counts them by bearer, whoever broadcasts: other suppliers' pages are no airings of ours."""
    sent = the(step(FIRST, "broadcast", "a"), airing(published=300)).sent
    assert sent is not None
    assert (sent.lost, sent.lost_by_all) == (None, 9)


def test_an_earlier_launchs_pages_are_not_known() -> None:
    """Of a step that a resumed run did not play the ledger has whom it loaded, and no more."""
    made = the(step(FIRST, "broadcast", "a"))
    assert (made.sent, made.by_broadcast) == (None, 1)


def test_one_by_one_is_for_the_modules_that_the_broadcast_loaded() -> None:
    """So many times the short messages of one module, a second each by the config's rate."""
    made = the(step(SECOND, "broadcast", "a", "b", "c", failed=("d",)))
    code = CONFIG.broadcast_programme(SECOND - 1).code
    tpdus = short_messages(code, version=2, number="15550300", protection="aes-128")
    assert made.programme_octets == len(code)
    assert made.unicast.messages == 3 * len(tpdus)
    assert made.unicast.octets == 3 * sum(map(len, tpdus))
    assert made.unicast.air_s == 3.0 * len(tpdus)


@pytest.mark.parametrize("protection", ["aes-128", "aes-256", "3des-3"])
def test_the_short_messages_are_real(protection: str) -> None:
    """A module puts them together, opens the packets and finds the programme."""
    octets = {"aes-128": 16, "aes-256": 32, "3des-3": 24}[protection]
    keys = SessionKeys(index=1, keys=(bytes(octets),) * 4, protection=protection)
    reassembler = Reassembler()
    programme = b""
    for tpdu in short_messages(CODE, version=3, number="15550300", protection=protection):
        assert len(tpdu) <= 164
        whole = reassembler.receive("15550300", SmsDeliver.parse(tpdu).user_data, now=0.0)
        if whole is not None:
            packet = decode_command(whole.payload, keys.to_module)
            message = decode(packet.data, LoadApplication)
            assert (message.version, message.total, message.offset) == (3, len(CODE), len(programme))
            programme += message.octets
    assert programme == CODE
    assert len(CODE) > PIECE_OCTETS


@given(count=st.integers(0, 1000))
def test_a_curve_has_few_points(count: int) -> None:
    """However many modules there are; it rises, and ends with all of them."""
    points = curve([float(number) for number in range(count)])
    assert len(points) <= MAX_POINTS + 1
    assert list(points) == sorted(set(points))
    assert all(at == modules - 1 for at, modules in points)
    assert (points[-1][1] if points else 0) == count
