"""The directory: whom a role goes by, for how long, and what is never entered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.directory import CertificateDirectory, KeyDirectory, keys_in
from agents.enrolment import Enrolled, Registrar, enrol
from agents.errors import MessageRejected
from agents.identity import VALIDITY_S, RoleKeys, certify, certify_module
from agents.messages.codec import encode
from agents.messages.inside import PublicKeys
from agents.randomness import make_rng
from agents.store.database import open_store
from agents.store.tables import AUTHORITY, OPERATOR
from bus.clock import SystemClock
from tests.agents.role_kit import SUBJECTS, open_kit
from tests.bus.manual_clock import ManualClock
from tests.transport.security_kit import sealing_key, signing_key
from transport.errors import CertificateRejected, Rejected
from transport.security.certificates import Certificate, Role
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from bus.address import BrokerAddress

NOW: Final = 1_800_000_000.0
DAY: Final = 86_400
UA: Final = "8988211000000000019"


@cache
def keys(name: str, role: Role, suite: str = "x25519") -> RoleKeys:
    """Return a role with key pairs of its own."""
    return RoleKeys.make(name=name, role=role, suite=suite, rng=make_rng(1, f"directory/{name}/{role}"))


ROOT: Final = keys("root", Role.AUTHORITY)
MNO: Final = keys("mno", Role.OPERATOR, "p256")
OTHER: Final = keys("other", Role.OPERATOR)
BANK: Final = keys("bank", Role.SUPPLIER, "p256")
OWN: Final = certify(ROOT, issuer=ROOT, serial=1, now=NOW)
OF_MNO: Final = certify(MNO, issuer=ROOT, serial=2, now=NOW)
OF_OTHER: Final = certify(OTHER, issuer=ROOT, serial=3, now=NOW)
OF_BANK: Final = certify(BANK, issuer=MNO, serial=1, now=NOW)


@dataclass(frozen=True, slots=True)
class Market:
    """A directory of an authority, two operators and a supplier of the first one, and its clock."""

    directory: CertificateDirectory
    clock: ManualClock


@pytest.fixture
def market() -> Market:
    """Return the market on its first day."""
    clock = ManualClock(NOW)
    directory = CertificateDirectory(OWN, clock=clock)
    directory.enter((OF_MNO,), role=Role.OPERATOR, issuer="root")
    directory.enter((OF_OTHER,), role=Role.OPERATOR, issuer="root")
    directory.enter((OF_MNO, OF_BANK), role=Role.SUPPLIER, issuer="mno")
    return Market(directory, clock)


def reason(look: Callable[[], object]) -> str:
    """Return the reason for which a look into a directory is refused."""
    with pytest.raises(Rejected) as caught:
        look()
    return caught.value.reason


def test_everybody_who_was_entered_is_found_and_nobody_else(market: Market) -> None:
    """Name, role, keys and who vouches; the authority is in it by its own word, a stranger is not."""
    bank = market.directory.party("bank")
    assert (bank.name, bank.role, bank.issuer, bank.suite) == ("bank", Role.SUPPLIER, "mno", "p256")
    assert (bank.signing_public, bank.sealing_public) == (BANK.signing.public, BANK.sealing.public)
    assert market.directory.party("root").issuer == "root"
    assert market.directory.introduced("bank") == bank
    with pytest.raises(MessageRejected, match="unknown-role"):
        market.directory.party("stranger")


def enter(chain: tuple[Certificate, ...], *, now: float = NOW, **expected: Any) -> str:
    """Return why a new supplier's *chain* is not entered beside the two operators, empty when it is."""
    directory = CertificateDirectory(OWN, clock=ManualClock(now))
    terms: dict[str, Any] = {"role": Role.SUPPLIER, "issuer": "mno"} | expected
    try:
        directory.enter(chain, **terms)
    except CertificateRejected as rejection:
        return rejection.reason
    return ""


FALSE_ROOT: Final = replace(keys("false", Role.AUTHORITY), name="root")
MIDDLE: Final = keys("middle", Role.OPERATOR)
FALSE_CHAINS: Final[dict[str, tuple[str, tuple[Certificate, ...], dict[str, Any]]]] = {
    "nobody": ("empty-chain", (), {}),
    "self-signed": ("self-signed", (certify(BANK, issuer=BANK, serial=1, now=NOW),), {}),
    "self-signed-behind-the-operator": (
        "self-signed",
        (OF_MNO, certify(BANK, issuer=BANK, serial=1, now=NOW)),
        {},
    ),
    "of-another-role": ("wrong-role", (OF_OTHER,), {"issuer": "root"}),
    "of-another-role-altered": (
        "bad-signature",
        (OF_MNO, replace(certify(MNO, issuer=MNO, serial=9, now=NOW), subject="bank", role=Role.SUPPLIER)),
        {},
    ),
    "of-another-operators-supplier": (
        "wrong-issuer",
        (OF_OTHER, certify(BANK, issuer=OTHER, serial=1, now=NOW)),
        {},
    ),
    "of-the-authority-in-the-operators-place": (
        "wrong-issuer",
        (certify(BANK, issuer=ROOT, serial=9, now=NOW),),
        {},
    ),
    "spliced": ("wrong-issuer", (OF_OTHER, OF_BANK), {}),
    "spliced-by-name": (
        "bad-signature",
        (certify(replace(OTHER, name="mno"), issuer=ROOT, serial=3, now=NOW), OF_BANK),
        {},
    ),
    "under-a-false-root": (
        "bad-signature",
        (certify(MNO, issuer=FALSE_ROOT, serial=2, now=NOW), OF_BANK),
        {},
    ),
    "issued-by-a-supplier": (
        "may-not-issue",
        (
            certify(keys("shop", Role.SUPPLIER), issuer=ROOT, serial=5, now=NOW),
            certify(BANK, issuer=keys("shop", Role.SUPPLIER), serial=1, now=NOW),
        ),
        {"issuer": "shop"},
    ),
    "too-deep": (
        "too-deep",
        (
            OF_MNO,
            certify(MIDDLE, issuer=MNO, serial=4, now=NOW),
            certify(BANK, issuer=MIDDLE, serial=1, now=NOW),
        ),
        {"issuer": "middle"},
    ),
    "upside-down": ("wrong-issuer", (OF_BANK, OF_MNO), {}),
    "expired": ("expired", (OF_MNO, certify(BANK, issuer=MNO, serial=1, now=NOW - VALIDITY_S - 1)), {}),
    "not-yet-valid": (
        "not-yet-valid",
        (OF_MNO, certify(BANK, issuer=MNO, serial=1, now=NOW + 2 * DAY)),
        {},
    ),
    "below-an-expired-operator": (
        "expired",
        (certify(MNO, issuer=ROOT, serial=2, now=NOW - VALIDITY_S - 1), OF_BANK),
        {},
    ),
    "unsigned": ("bad-signature", (OF_MNO, replace(OF_BANK, signature=bytes(64))), {}),
}


@pytest.mark.parametrize("case", FALSE_CHAINS)
def test_a_chain_that_does_not_hold_is_not_entered(case: str) -> None:
    """Of another role, self-signed, another operator's, spliced, too deep, out of its time, altered."""
    expected, chain, terms = FALSE_CHAINS[case]
    assert enter(chain, **terms) == expected
    assert enter((OF_MNO, OF_BANK)) == ""


def test_a_name_is_entered_once(market: Market) -> None:
    """Who comes as somebody who is there already is refused, whatever the chain says."""
    again = certify(replace(MIDDLE, name="bank", role=Role.SUPPLIER), issuer=MNO, serial=8, now=NOW)
    with pytest.raises(CertificateRejected, match="duplicate-subject"):
        market.directory.enter((OF_MNO, again), role=Role.SUPPLIER, issuer="mno")
    assert market.directory.party("bank").signing_public == BANK.signing.public


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        (certify(ROOT, issuer=ROOT, serial=1, now=NOW - VALIDITY_S - 1), "expired"),
        (certify(MNO, issuer=MNO, serial=1, now=NOW), "wrong-role"),
        (replace(OWN, signature=bytes(64)), "bad-signature"),
        (certify(ROOT, issuer=MNO, serial=1, now=NOW), "wrong-issuer"),
    ],
    ids=["expired", "an-operator", "unsigned", "of-another"],
)
def test_an_authority_is_one_by_its_own_word(certificate: Certificate, expected: str) -> None:
    """What does not hold, or is of another role, is the anchor of nothing."""
    assert reason(lambda: CertificateDirectory(certificate, clock=ManualClock(NOW))) == expected


@pytest.mark.parametrize("name", ["bank", "mno", "root"])
def test_a_certificate_that_runs_out_during_a_run_is_of_no_more_use(market: Market, name: str) -> None:
    """The signature was checked once; the validity is looked at whenever somebody goes by it."""
    market.clock.advance(VALIDITY_S)
    assert market.directory.party(name).name == name
    market.clock.advance(1)
    assert reason(lambda: market.directory.party(name)) == "expired"
    assert market.directory.introduced(name).name == name
    market.clock.advance(-VALIDITY_S - DAY - 2)
    assert reason(lambda: market.directory.party(name)) == "not-yet-valid"


def test_a_chain_ends_with_the_first_of_its_links() -> None:
    """A supplier whose operator's certificate has run out is believed no more, however long its own holds."""
    clock = ManualClock(NOW)
    directory = CertificateDirectory(OWN, clock=clock)
    brief = certify(MNO, issuer=ROOT, serial=2, now=NOW - VALIDITY_S + DAY)
    directory.enter((brief, OF_BANK), role=Role.SUPPLIER, issuer="mno")
    assert directory.party("bank").name == "bank"
    clock.advance(2 * DAY)
    assert reason(lambda: directory.party("bank")) == "expired"


def test_who_vouches_can_revoke_and_nobody_else(market: Market) -> None:
    """Revoked by its operator a supplier is refused; by another, or the supplier itself, nothing happens."""
    for stranger in ("other", "bank", "root", "nobody"):
        market.directory.revoke("bank", by=stranger)
        assert market.directory.party("bank").name == "bank"
    market.directory.revoke("nobody", by="mno")
    market.directory.revoke("bank", by="mno")
    assert reason(lambda: market.directory.party("bank")) == "revoked"
    assert market.directory.introduced("bank").name == "bank"
    assert {market.directory.party(name).name for name in ("mno", "other", "root")} == {
        "mno",
        "other",
        "root",
    }
    again = reason(lambda: market.directory.enter((OF_MNO, OF_BANK), role=Role.SUPPLIER, issuer="mno"))
    assert again == "revoked"


def test_who_revokes_an_operator_revokes_its_suppliers(market: Market) -> None:
    """The chain leads through it."""
    market.directory.revoke("mno", by="root")
    assert reason(lambda: market.directory.party("mno")) == "revoked"
    assert reason(lambda: market.directory.party("bank")) == "revoked"
    assert market.directory.party("other").name == "other"


# Modules


def of_module(suite: str = "p256", *, ua: str = UA, issuer: RoleKeys = ROOT, now: float = NOW) -> bytes:
    """Return *issuer*'s word on a module's keys."""
    signing, sealing = signing_key(suite).public, sealing_key(suite).public
    return certify_module(ua, suite, signing, sealing, issuer=issuer, now=now).encode()


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("by_certificate", [True, False], ids=["certificate", "bare"])
def test_a_modules_keys_come_through_as_they_were_given_out(
    market: Market,
    suite: str,
    by_certificate: bool,  # noqa: FBT001 -- a parameter
) -> None:
    """In every suite, certified or bare: what the authority gives out is what the others go by."""
    directory = market.directory if by_certificate else KeyDirectory()
    given = PublicKeys(
        suite=suite, signing_public=signing_key(suite).public, sealing_public=sealing_key(suite).public
    )
    octets = directory.vouch(UA, given, issuer=ROOT, now=NOW)
    assert directory.module(octets, UA) == keys_in(octets) == given
    assert (octets == encode(given)) is not by_certificate


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (OF_MNO.encode(), "wrong-subject"),
        (replace(OF_MNO, subject=UA).encode(), "wrong-role"),
        (of_module(ua="8988211000000000027"), "wrong-subject"),
        (of_module(issuer=MNO), "wrong-issuer"),
        (of_module(issuer=replace(MNO, name="root")), "bad-signature"),
        (of_module(now=NOW - VALIDITY_S - 1), "expired"),
        (of_module(now=NOW + 2 * DAY), "not-yet-valid"),
        (b"garbage", "malformed"),
        (encode(PublicKeys(suite="p256", signing_public=bytes(33), sealing_public=b"")), "malformed"),
    ],
    ids=[
        "a-roles",
        "a-roles-by-the-modules-name",
        "another-modules",
        "an-operators-word",
        "forged",
        "too-late",
        "too-early",
        "garbage",
        "bare",
    ],
)
def test_nothing_else_vouches_for_a_module(market: Market, octets: bytes, expected: str) -> None:
    """A role's certificate, another's word, a forgery, one out of its time, garbage, bare keys: rejected."""
    assert reason(lambda: market.directory.module(octets, UA)) == expected


def test_a_modules_certificate_is_remembered_for_that_module_and_its_time(market: Market) -> None:
    """Offered for another module it is judged anew, and after its end it is none, verified before or not."""
    octets = of_module()
    market.directory.module(octets, UA)
    assert reason(lambda: market.directory.module(octets, "8988211000000000027")) == "wrong-subject"
    market.clock.advance(VALIDITY_S + 1)
    assert reason(lambda: market.directory.module(octets, UA)) == "expired"


def test_only_so_many_modules_are_remembered(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest gives way, and is judged again when it comes: whoever it is, its keys come through."""
    monkeypatch.setattr("agents.directory.REMEMBERED", 2)
    several = [of_module(now=NOW + second) for second in range(4)]
    for octets in (*several, *several):
        assert market.directory.module(octets, UA) == keys_in(octets)


# By keys alone


def test_keys_that_are_pinned_are_the_ones_that_were_taken_down() -> None:
    """Each role once, by the word of who introduced it; nothing runs out."""
    directory = KeyDirectory()
    for one, issuer in ((ROOT, "root"), (MNO, "root"), (BANK, "mno")):
        directory.enter(one, issuer=issuer)
    bank = directory.party("bank")
    assert (bank.name, bank.role, bank.issuer, bank.suite) == ("bank", Role.SUPPLIER, "mno", "p256")
    assert (bank.signing_public, bank.sealing_public) == (BANK.signing.public, BANK.sealing.public)
    assert reason(lambda: directory.enter(BANK, issuer="mno")) == "duplicate-subject"
    assert reason(lambda: directory.party("stranger")) == "unknown-role"


def test_who_introduced_a_role_strikes_it() -> None:
    """The operator its supplier; nobody else's word does, and nobody else is struck."""
    directory = KeyDirectory()
    directory.enter(MNO, issuer="root")
    directory.enter(BANK, issuer="mno")
    for name, by in (("bank", "other"), ("bank", "root"), ("nobody", "mno")):
        directory.revoke(name, by=by)
    assert directory.party("bank").name == "bank"
    directory.revoke("bank", by="mno")
    assert reason(lambda: directory.party("bank")) == "revoked"
    assert directory.introduced("bank") is not None
    assert directory.party("mno").name == "mno"


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"garbage", "not-msgpack"),
        (of_module(), "unexpected-message"),
        (encode(PublicKeys(suite="rot13", signing_public=bytes(33), sealing_public=b"")), "unknown-suite"),
        (encode(PublicKeys(suite="p256", signing_public=bytes(32), sealing_public=b"")), "bad-public-key"),
        (encode(PublicKeys(suite="p256", signing_public=bytes(33), sealing_public=b"x")), "bad-public-key"),
    ],
    ids=["garbage", "a-certificate", "no-suite", "another-length", "another-length-to-seal"],
)
def test_what_are_no_keys_are_refused(octets: bytes, expected: str) -> None:
    """Other octets, a certificate, a suite that is none, lengths that are not the suite's."""
    assert reason(lambda: KeyDirectory().module(octets, UA)) == expected


# Enrolment


@pytest.mark.parametrize("suite", SUITES)
async def test_the_operator_issues_its_suppliers_certificates(tmp_path: Path, suite: str) -> None:
    """In every suite: authority, operator, supplier; serials from 1 on, the same ones after a launch."""
    clock = ManualClock(NOW)
    made = [
        RoleKeys(name=name, role=role, suite=suite, signing=signing_key(suite), sealing=sealing_key(suite))
        for name, role in (("root", Role.AUTHORITY), ("mno", Role.OPERATOR), ("bank", Role.SUPPLIER))
    ]
    for _launch in range(2):
        async with (
            open_store(tmp_path / "root.db", AUTHORITY) as roots,
            open_store(tmp_path / "mno.db", OPERATOR) as mnos,
        ):
            root, mno, bank = (
                Enrolled(keys=one, store=store, issuer=issuer)
                for one, store, issuer in zip(made, (roots, mnos, mnos), ("root", "root", "mno"), strict=True)
            )
            directory = await enrol(root, [mno, bank], clock=clock, by_certificate=True)
            assert (directory.party("bank").issuer, directory.party("mno").issuer) == ("mno", "root")
            office = Registrar(mnos, mno.keys, now=NOW)
            await office.load()
            certificate = await office.enrol(bank.keys)
            assert (certificate.serial, certificate.issuer, certificate.subject) == (1, "mno", "bank")


async def test_serials_rise(tmp_path: Path) -> None:
    """Whoever comes next, or comes again with other keys, has the next serial of that issuer."""
    async with open_store(tmp_path / "mno.db", OPERATOR) as store:
        office = Registrar(store, MNO, now=NOW)
        await office.load()
        subjects = (
            BANK,
            keys("shop", Role.SUPPLIER),
            replace(keys("shop2", Role.SUPPLIER), name="bank"),
            BANK,
        )
        assert [(await office.enrol(one)).serial for one in subjects] == [1, 2, 3, 1]


async def test_without_certificates_nobody_issues_one(tmp_path: Path) -> None:
    """The same roles, the same names and keys, and nothing in the books."""
    async with open_store(tmp_path / "mno.db", OPERATOR) as store:
        root, mno, bank = (
            Enrolled(keys=one, store=store, issuer=issuer)
            for one, issuer in ((ROOT, "root"), (MNO, "root"), (BANK, "mno"))
        )
        directory = await enrol(root, [mno, bank], clock=ManualClock(NOW), by_certificate=False)
        assert directory.party("bank").signing_public == BANK.signing.public
        office = Registrar(store, MNO, now=NOW)
        await office.load()
        assert (await office.enrol(BANK)).serial == 1


# In a market


class LaterClock(SystemClock):
    """The system's clock, put on by so many seconds."""

    ahead = 0.0

    def now(self) -> float:
        """Return the time that a test makes of it."""
        return super().now() + self.ahead


async def test_a_certificate_that_runs_out_in_a_market_is_told_to_who_asks_with_it(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """The bank's ends a day from now: until then it agrees, and afterwards it alone is refused."""
    mno, bank = (
        RoleKeys.make(name=name, role=role, suite=suite, rng=make_rng(1, f"{fleet}/keys/{name}"))
        for name, (role, suite, _number) in SUBJECTS.items()
        if name in {"mno", "bank"}
    )
    clock = LaterClock()
    async with open_store(tmp_path / "mno.db", OPERATOR) as store:
        office = Registrar(store, mno, now=clock.now() - VALIDITY_S + DAY)
        await office.load()
        await office.enrol(bank)
    async with open_kit(broker, fleet, tmp_path, log, clock=clock) as kit:
        await kit.start("mno", "bank", "shop")
        await kit.agree("account", "loyalty")
        clock.ahead = 2 * DAY
        event = await kit.order("agree", "account", agent="bank", ua="")
        assert (event.result, event.reason) == ("refused", "expired")
        await kit.agree("loyalty")
