"""A supplier's side of reports on its campaigns: which it takes, what they count for, and who forges them."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
import structlog

from agents.diffuser import Diffuser
from agents.errors import FleetError, Refusal
from agents.exchange import FromModule
from agents.identity import RoleKeys
from agents.messages.campaign_reports import CampaignReport, Outcome, Said, sign_report
from agents.messages.codec import encode
from agents.messages.orders import BroadcastOrder
from agents.module_reports import ModuleReports, Reporting, Tally
from agents.randomness import make_rng
from agents.role import Desk
from agents.store.database import open_store
from agents.store.registry import Registry
from agents.store.tables import CAMPAIGNS, RESOURCES, SERVICES, SUPPLIER
from agents.usage import READY, RELEASED
from bus.actor import ActorGroup
from bus.clock import SystemClock
from bus.counters import Counters
from tests.agents.module_kit import luhn
from tests.agents.role_kit import TRACE
from transport.diffusion import MAX_SHARE, is_in_sample, report_keys, seal_report
from transport.errors import DiffusionRejected, SignatureRejected
from transport.secured_packet import SecurityParameters, decode_command, encode_command
from transport.security.certificates import Role
from transport.security.domain_key import generate_symmetric
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agents.store.group_commit import GroupCommit
    from transport.security.suites import SigningKey

BANK: Final = RoleKeys.make(name="bank", role=Role.SUPPLIER, suite="p256", rng=make_rng(1, "reports/bank"))
SERVICE, TAR, OTHER_TAR = "points", b"\xb2\0\0", b"\xb2\0\1"
KEY: Final = generate_symmetric(random.Random(3).randbytes, generation=2)
NUMBER, VERSION = 7, 3
SUITE: Final = "x25519"
ADDRESSES: Final = tuple(luhn(f"8988211000000{number:05d}") for number in range(1, 6))
KEYS: Final = {ua: SUITES[SUITE].generate_signing_key(random.Random(ua).randbytes) for ua in ADDRESSES}
FIRST, SECOND = ADDRESSES[:2]


def _desk() -> Desk:
    """Return the bank's desk, of which only keys, clock and log are used here."""
    counters, log = Counters(), structlog.get_logger()
    nobody: Any = None
    return Desk(
        fleet="reports",
        keys=BANK,
        directory=nobody,
        client=nobody,
        link=nobody,
        console=nobody,
        clock=SystemClock(),
        rng=make_rng(1, "reports/desk"),
        counters=counters,
        log=log,
        group=ActorGroup(log=log, counters=counters),
    )


@dataclass(slots=True, kw_only=True)
class Bank:
    """A supplier that has broadcast campaign 7, version 3, to modules that hold its resource."""

    store: GroupCommit
    resources: Registry
    reports: ModuleReports = field(init=False)
    told: list[tuple[str, Tally]] = field(default_factory=list)
    """Of which service there was news, and what was counted by then."""

    async def open(self) -> None:
        """Take up what the store holds."""
        desk, services = _desk(), Registry(self.store, SERVICES)
        await services.load()
        diffuser = Diffuser(desk, self.store, None)
        await diffuser.load()
        self.reports = ModuleReports(
            desk,
            self.store,
            self.resources,
            services,
            diffuser,
            told=lambda service: self.told.append((service, self.tally)),
        )
        await self.reports.load()

    async def take(self, report: CampaignReport, ua: str = FIRST, tar: bytes = TAR) -> None:
        """Take a report that came from a number and for a TAR, in an honest packet."""
        packet = decode_command(seal_report(encode(report), tar=tar, keys=report_keys(KEY)), report_keys(KEY))
        await self.reports.take(FromModule(ua=ua, packet=packet, trace=TRACE), report)

    async def refusal(self, report: CampaignReport, ua: str = FIRST, tar: bytes = TAR) -> str:
        """Return the reason for which a report is refused; nothing is counted then."""
        before = self.tally
        with pytest.raises((Refusal, SignatureRejected)) as caught:
            await self.take(report, ua, tar)
        assert self.tally == before
        return str(cast("Refusal", caught.value).reason)

    @property
    def tally(self) -> Tally:
        """What is counted of the campaign."""
        return self.reports.tally(SERVICE, NUMBER)


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Bank]:
    """Yield the supplier."""
    async with open_store(tmp_path / "bank.db", SUPPLIER) as store:
        resources = Registry(store, RESOURCES)
        for service, tar, at in ((SERVICE, TAR, 0x1101), ("miles", OTHER_TAR, 0x1102)):
            row = {"service": service, "tar": tar, "domain_key": KEY.dump(), "message_identifier": at}
            await Registry(store, SERVICES).put(row)
        await Registry(store, CAMPAIGNS).put(_campaign())
        for ua in ADDRESSES:
            await resources.put(_resource(ua))
        bank = Bank(store=store, resources=resources)
        await bank.open()
        yield bank


def _campaign(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"service": SERVICE, "number": NUMBER, "version": VERSION, "broadcasts": 1}
    values |= {"what": b"", "signature": b"", "code": b"", "data_part": 0, "reset": 0}
    return values | {"generation": 2, "report_share": MAX_SHARE} | changes


def _resource(ua: str) -> dict[str, Any]:
    return {
        "ua": ua,
        "tar": TAR,
        "service": SERVICE,
        "rsc_id": 1,
        "module_suite": SUITE,
        "module_public": KEYS[ua].public,
        "module_sealing": b"",
        "supplier_digest": b"",
        "state": READY,
        "reserved_turn": 1,
        "turn": 1,
        "barred": "",
        "session": None,
        "counter": 0,
        "personal": b"",
        "version": 0,
        "changed_at": 0.0,
    }


def _report(
    ua: str = FIRST,
    outcome: Outcome = Outcome.LOADED,
    *,
    reason: str = "",
    key: SigningKey | None = None,
    tar: bytes = TAR,
    supplier: str = "bank",
    **changes: Any,
) -> CampaignReport:
    """Return module *ua*'s report on the campaign, but for *changes*."""
    values: dict[str, Any] = {"generation": 2, "campaign": NUMBER, "version": VERSION} | changes
    said = Said(**values, outcome=int(outcome), reason=reason)
    return sign_report(said, ua=ua, supplier=supplier, tar=tar, key=key or KEYS[ua])


# What is taken


async def test_reports_are_counted_by_what_they_say(bank: Bank) -> None:
    """Each module once, by its outcome; and a later launch counts the same."""
    outcomes = (Outcome.LOADED, Outcome.LOADED, Outcome.HELD, Outcome.REFUSED)
    for ua, outcome in zip(ADDRESSES, outcomes, strict=False):
        await bank.take(_report(ua, outcome, reason="too-large" if outcome is Outcome.REFUSED else ""), ua)
    assert bank.tally == Tally(loaded=2, held=1, refused=1)
    assert bank.tally.reported == 4
    await bank.open()
    assert bank.tally == Tally(loaded=2, held=1, refused=1)
    assert bank.reports.by_version() == {(SERVICE, VERSION): bank.tally}
    assert bank.reports.tally("miles", NUMBER) == bank.reports.tally(SERVICE, NUMBER - 1) == Tally()


async def test_what_was_refused_can_be_loaded_after_all(bank: Bank) -> None:
    """The later word counts in the place of the earlier; the other way round nothing is news."""
    await bank.take(_report(outcome=Outcome.REFUSED, reason="no-fec"))
    await bank.take(_report(outcome=Outcome.LOADED))
    assert bank.tally == Tally(loaded=1)
    for outcome in Outcome:
        assert await bank.refusal(_report(outcome=outcome)) == "repeated"


async def test_a_report_under_an_earlier_domain_key_counts(bank: Bank) -> None:
    """The campaign came under it; the key may have been rolled over before the module's moment came."""
    await Registry(bank.store, CAMPAIGNS).put(_campaign(generation=1))
    await bank.open()
    await bank.take(_report(generation=1))
    assert bank.tally == Tally(loaded=1)


async def test_who_waits_for_reports_is_told(bank: Bank) -> None:
    """Of each that counts, once it does, and of no other."""
    await bank.take(_report())
    await bank.refusal(_report())
    await bank.refusal(_report(campaign=NUMBER - 1))
    assert bank.told == [(SERVICE, Tally(loaded=1))]


async def test_what_could_not_be_stored_is_not_counted(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit, then count: when the disk is full the report is as if it had not come, and may come again."""

    async def fail(*_: object, **__: object) -> None:
        raise FleetError("the disk is full")

    with monkeypatch.context() as full:
        full.setattr(bank.store, "change", fail)
        with pytest.raises(FleetError):
            await bank.take(_report())
    assert bank.tally == Tally()
    await bank.take(_report())
    assert bank.tally == Tally(loaded=1)


# What is refused


async def test_a_module_reports_for_itself_alone(bank: Bank) -> None:
    """It has the domain's keys, so its packet opens; of another module that proves nothing."""
    forged = _report(SECOND, key=KEYS[FIRST])
    assert await bank.refusal(forged, SECOND) == "bad-signature"
    own = _report(FIRST)
    assert await bank.refusal(own, SECOND) == "bad-signature"
    await bank.take(_report(SECOND), SECOND)
    assert bank.tally == Tally(loaded=1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"campaign": NUMBER - 1}, "past-campaign"),
        ({"campaign": NUMBER + 1}, "future-campaign"),
        ({"version": VERSION + 1}, "wrong-version"),
        ({"version": VERSION - 1}, "wrong-version"),
        ({"generation": 3}, "wrong-generation"),
        ({"generation": 1}, "wrong-generation"),
        ({"tar": OTHER_TAR}, "bad-signature"),
        ({"supplier": "shop"}, "bad-signature"),
    ],
    ids=["past", "future", "newer", "older", "generation", "former", "other-service", "other-supplier"],
)
async def test_a_report_on_something_else(bank: Bank, changes: dict[str, Any], reason: str) -> None:
    """Only the campaign that was broadcast last, in its version, to us, of this service."""
    assert await bank.refusal(_report(**changes)) == reason


@pytest.mark.parametrize("share", [0, 64, 128, MAX_SHARE])
async def test_who_was_not_asked_is_not_heard(bank: Bank, share: int) -> None:
    """Or few modules of a domain, none of which is in the sample, could stop a campaign, or carry it on."""
    row = _campaign(report_share=share)
    await Registry(bank.store, CAMPAIGNS).put(row)
    await bank.open()
    sample = {"tar": TAR, "generation": row["generation"], "campaign": NUMBER, "share": share}
    asked = {ua for ua in ADDRESSES if is_in_sample(ua, **sample)}
    for ua in ADDRESSES:
        if ua in asked:
            await bank.take(_report(ua), ua)
        else:
            assert await bank.refusal(_report(ua, Outcome.REFUSED), ua) == "not-asked"
    assert bank.tally == Tally(loaded=len(asked))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"state": RELEASED}, "released"), ({"barred": "blocked"}, "blocked")],
    ids=["released", "blocked"],
)
async def test_a_resource_out_of_use_reports_nothing(
    bank: Bank, changes: dict[str, Any], reason: str
) -> None:
    """What its module says does not count any more."""
    await bank.resources.put(_resource(FIRST) | changes)
    assert await bank.refusal(_report()) == reason


async def test_a_report_on_what_nobody_has(bank: Bank) -> None:
    """A TAR that is no service's, a module without the resource, a service that was never broadcast."""
    stranger = luhn("898821100000099999")
    assert await bank.refusal(_report(), tar=b"\xb2\0\7") == "unknown-resource"
    assert await bank.refusal(_report(ua=FIRST), stranger) == "unknown-resource"
    await bank.resources.put(_resource(FIRST) | {"tar": OTHER_TAR, "service": "miles"})
    assert await bank.refusal(_report(tar=OTHER_TAR), tar=OTHER_TAR) == "unknown-campaign"


async def test_a_report_in_clear_is_refused(bank: Bank) -> None:
    """Signed as it is: the network shall not learn it, and strangers shall cost no signature."""
    report = _report()
    packet = decode_command(encode_command(spi=SecurityParameters(), tar=TAR, data=encode(report)))
    with pytest.raises(DiffusionRejected, match="unprotected"):
        await bank.reports.take(FromModule(ua=FIRST, packet=packet, trace=TRACE), report)
    assert bank.tally == Tally()


async def test_a_flood_changes_nothing(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """One module, a hundred reports: one is stored and its signature checked, the others cost neither."""
    checked = _counted(monkeypatch, "verify", CampaignReport)
    report = _report()
    await bank.take(report)
    for _ in range(100):
        assert await bank.refusal(report) == "repeated"
    assert (bank.tally, len(checked)) == (Tally(loaded=1), 1)


def _counted(monkeypatch: pytest.MonkeyPatch, name: str, cls: type[Any]) -> list[object]:
    """Have calls of a method taken note of; it does what it did."""
    calls: list[object] = []
    method = cast("Callable[..., Any]", getattr(cls, name))

    def counted(self: object, **arguments: Any) -> Any:
        calls.append(self)
        return method(self, **arguments)

    monkeypatch.setattr(cls, name, counted)
    return calls


async def test_two_copies_that_come_at_once_count_once(bank: Bank) -> None:
    """While the first is being stored the second is known for what it is."""
    report = _report()
    ended = await asyncio.gather(bank.take(report), bank.take(report), return_exceptions=True)
    assert sorted(type(each).__name__ for each in ended) == ["NoneType", "Refusal"]
    assert bank.tally == Tally(loaded=1)


# What is asked


@pytest.mark.parametrize(
    ("share", "within_s", "asked"),
    [(0.0, 0, (0, 0)), (1.0, 60, (MAX_SHARE, 60)), (0.25, 1, (64, 1)), (0.0001, 9, (1, 9))],
    ids=["nobody", "all", "a-quarter", "very-few"],
)
def test_what_an_order_asks_for(share: float, within_s: int, asked: tuple[int, int]) -> None:
    """A share is rounded to one in 255, but never to nobody."""
    order = BroadcastOrder(version=1, report_share=share, report_within_s=within_s)
    assert Reporting.ordered(order) == asked


@pytest.mark.parametrize(("share", "within_s"), [(0.5, 0), (0.0, 60)], ids=["no-time", "nobody"])
def test_a_share_needs_a_time(share: float, within_s: int) -> None:
    """And a time a share."""
    with pytest.raises(Refusal, match="bad-reporting"):
        Reporting.ordered(BroadcastOrder(version=1, report_share=share, report_within_s=within_s))
