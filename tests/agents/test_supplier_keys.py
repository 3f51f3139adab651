"""Suppliers' keys over time: what a supplier makes of a roll-over, and what its operator makes of that."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

import pytest

from agents.errors import Refusal, Unanswered
from agents.messages.air import OPERATOR_COMMANDS, Audit, ChangeSupplierKey, Renew, Reserve, Unblock
from agents.messages.codec import decode
from agents.messages.inside import Agree, Agreed, Done, NextSupplierKey, ResourceChanged, SupplierKey
from agents.messages.signed import Signed
from agents.messages.succession import key_digest, succession_statement
from agents.operator import Operator
from agents.supplier_keys import endorsed, roll_in
from tests.agents.desk_kit import Office
from tests.agents.module_kit import TAR
from tests.agents.role_kit import TRACE, open_kit
from tests.agents.succession_kit import generation
from transport.errors import Rejected
from transport.security.suites import SUITES
from transport.security.terms import AGREE_THEN_SIGN

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from agents.identity import RoleKeys
    from agents.messages.air import OperatorCommand
    from agents.role import Desk
    from bus.address import BrokerAddress
    from bus.frame import TraceContext
    from tests.agents.role_kit import Kit

ACCOUNT_TAR, SILENT_TAR = (bytes.fromhex(tar) for tar in ("a00001", "a00002"))
FIRST, SECOND, THIRD = (generation("p256", number) for number in range(3))


# The supplier: one key for each roll-over


async def operator_of(kit: Kit) -> Desk:
    """Return the operator's desk, with the bank's account agreed: TARs are in the order of agreeing."""
    mno = await kit.puppet("mno")
    await kit.start("bank")
    for service, tar in (("account", ACCOUNT_TAR), ("silent", SILENT_TAR)):
        agreed = Agreed(service=service, tar=tar)
        mno.says = lambda _question, agreed=agreed: agreed  # type: ignore[misc]
        await kit.agree(service)
    return mno.desk


async def next_key(
    mno: Desk, roll: int, *, former: bytes | None = None, service: str = "account"
) -> SupplierKey:
    """Ask the bank for the key of a roll-over, for a module that knows it by *former*, or by its own key."""
    known = mno.directory.party("bank").signing_public if former is None else former
    question = NextSupplierKey(service=service, roll=roll, former=key_digest(known))
    return await mno.link.ask("bank", question, SupplierKey, trace=TRACE)


def on_disk(kit: Kit) -> list[tuple[str, int, int]]:
    """Return the bank's generations as they lie in its database: service, number, roll-over."""
    with sqlite3.connect(kit.directory / "bank.db") as database:
        rows = database.execute("SELECT service, generation, roll FROM key_generations").fetchall()
    database.close()
    return sorted(rows)


async def test_a_roll_over_makes_one_key_however_often_it_is_asked_for(kit: Kit) -> None:
    """It is on disk when it is told; a later roll-over makes another, an earlier one none any more."""
    mno = await operator_of(kit)
    made = [await next_key(mno, roll) for roll in (4, 4, 9, 9, 4)]
    assert made[0].public == made[1].public
    assert made[2].public == made[3].public == made[4].public
    assert len({made[0].public, made[2].public, kit.keys["bank"].signing.public}) == 3
    assert len({each.sealing for each in made}) == 2
    assert {each.suite for each in made} == {"p256"}
    assert on_disk(kit) == [("account", 1, 4), ("account", 2, 9)]


async def test_the_key_that_the_module_has_endorses_the_new_one(kit: Kit) -> None:
    """Whichever of the supplier's that is; one that it never had, or that is another's, endorses nothing."""
    mno = await operator_of(kit)
    own = kit.keys["bank"].signing.public
    first, second = await next_key(mno, 1), await next_key(mno, 2)
    for former in (own, first.public, second.public):
        told = await next_key(mno, 2, former=former)
        statement = succession_statement(
            supplier="bank", tar=ACCOUNT_TAR, former=former, public=second.public, sealing=b""
        )
        SUITES["p256"].verify(former, statement, told.endorsement)
    for former in (kit.keys["shop"].signing.public, b"nothing"):
        with pytest.raises(Refusal, match="unknown-key"):
            await next_key(mno, 2, former=former)


async def test_each_service_has_keys_of_its_own(kit: Kit) -> None:
    """Rolled over, one leaves the others as they are; what is not offered or agreed has none."""
    mno = await operator_of(kit)
    account, silent = await next_key(mno, 3), await next_key(mno, 3, service="silent")
    assert account.public != silent.public
    assert on_disk(kit) == [("account", 1, 3), ("silent", 1, 3)]
    for service in ("loyalty", "large"):
        with pytest.raises(Refusal, match="unknown-service"):
            await next_key(mno, 3, service=service)


@pytest.mark.parametrize("name", ["other", "shop", "root"])
async def test_nobody_but_its_operator_rolls_a_supplier_over(kit: Kit, name: str) -> None:
    """No key is made for anybody else."""
    await operator_of(kit)
    stranger = await kit.puppet(name)
    with pytest.raises(Refusal, match="not-my-operator"):
        await next_key(stranger.desk, 1)
    assert on_disk(kit) == []


async def test_a_key_outlives_a_launch(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Killed after it told it, a supplier tells the same one again, and offers it for what is agreed anew."""
    told = []
    for run in (1, 2):
        async with open_kit(broker, fleet, tmp_path, log, run=run) as kit:
            told.append(await next_key(await operator_of(kit), 7))
    assert told[0].public == told[1].public
    async with open_kit(broker, fleet, tmp_path, log, run=3) as kit:
        mno = await kit.puppet("mno")
        mno.says = lambda _question: Agreed(service="account", tar=ACCOUNT_TAR)
        await kit.start("bank")
        await kit.agree("account")
        message = mno.questions[0].message
        assert isinstance(message, Agree)
        assert (message.public, message.sealing) == (told[0].public, told[0].sealing)


async def test_keys_that_no_resource_has_are_deleted_but_for_the_last_two(market: Kit) -> None:
    """As long as a module knows the supplier by one it is kept; the supplier's own is the roles' as well."""
    await market.take("personalise", "subscribe", "reserve", "activate", "serve")
    for roll in (1, 2, 3, 4):
        if roll > 1:
            mno = market.roles["mno"].desk
            assert (await next_key(mno, roll)).suite == "p256"
        else:
            event = await market.order("roll-supplier-key", "account", argument=b"1")
            assert (event.result, event.reason) == ("ok", "")
    assert on_disk(market) == [("account", 1, 1), ("account", 3, 3), ("account", 4, 4)]
    event = await market.order("roll-supplier-key", "account", argument=b"5")
    assert (event.result, event.reason) == ("ok", "")
    await next_key(market.roles["mno"].desk, 6)
    assert on_disk(market) == [("account", 5, 5), ("account", 6, 6)]
    await use(market)


# Operator and module: the whole of a roll-over


async def use(market: Kit) -> None:
    """Have the first module's account served, and invoked by its supplier."""
    await market.take("serve")
    event = await market.order("invoke", "account", agent="bank")
    assert (event.result, event.reason) == ("ok", "")


async def test_a_resource_in_use_takes_another_key(market: Kit) -> None:
    """Its session ends, it is served anew, and neither programme nor data is loaded again."""
    await market.take("personalise", "subscribe", "reserve", "activate")
    await use(market)
    event = await market.order("roll-supplier-key", "account", argument=b"8")
    assert (event.result, event.reason) == ("ok", "")
    definition = market.cell.phones[market.ua()].module.definitions.by_service("account")
    assert definition is not None
    assert definition.supplier_public != market.keys["bank"].signing.public
    assert definition.session is None
    event = await market.order("invoke", "account", agent="bank")
    assert (event.result, event.reason) == ("refused", "no-session")
    version = definition.version
    await use(market)
    definition = market.cell.phones[market.ua()].module.definitions.by_service("account")
    assert definition is not None
    assert definition.version == version
    assert (await market.order("roll-supplier-key", "account", argument=b"8")).result == "ok"
    assert (await market.order("invoke", "account", agent="bank")).result == "ok"
    assert (await market.order("audit")).result == "ok"


async def test_what_is_reserved_and_not_yet_activated_is_rolled_over_too(market: Kit) -> None:
    """Its supplier hears of it with the activation; and what is reserved later has the newest key at once."""
    await market.take("personalise", "subscribe", "reserve")
    assert (await market.order("roll-supplier-key", "account", argument=b"1")).result == "ok"
    await market.take("activate")
    await use(market)
    await market.take("release", "subscribe", "reserve", "activate")
    await use(market)


@pytest.mark.parametrize("argument", [b"", b"x", b"-1", b"1 2", b"1" * 10, b"\xff"], ids=repr)
def test_what_is_no_number_of_a_roll_over_is_refused(argument: bytes) -> None:
    """Nothing is asked of anybody."""
    with pytest.raises(Refusal, match="bad-roll-over"):
        roll_in(argument)


class Bank:
    """In the place of the suppliers at a desk without a broker: has *keys*, says *reply* if there is one."""

    def __init__(self, office: Office, *keys: RoleKeys) -> None:
        self.keys = list(keys)
        self.rolls: list[NextSupplierKey] = []
        self.told: list[ResourceChanged] = []
        self.reply: SupplierKey | None = None
        office.market.supplier.key = self.keys[0].signing
        office.suppliers = self  # type: ignore[assignment]

    async def ask(self, name: str, question: object, *_expected: object, trace: TraceContext) -> object:
        """Answer a question of the operator's."""
        assert (name, trace) == ("bank", TRACE)
        if isinstance(question, ResourceChanged):
            self.told.append(question)
            return Done()
        assert isinstance(question, NextSupplierKey)
        self.rolls.append(question)
        known = {key_digest(each.signing.public): each for each in self.keys}
        former = known[question.former]
        return self.reply or endorsed(former, self.keys[-1], tar=TAR, forms=[AGREE_THEN_SIGN])


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Return a desk whose module is real."""
    return Office(tmp_path)


async def order(office: Office, operator: Operator, do: str, argument: bytes = b"") -> str:
    """Give an order; return why it was refused or failed, empty when it was not."""
    try:
        await Operator.orders[do](operator, office.order(do, argument))
    except (Refusal, Unanswered, Rejected) as refusal:
        return refusal.reason
    return ""


def sent(office: Office) -> list[OperatorCommand]:
    """Return the commands that were sent to the module, in their order."""
    return [decode(decode(octets, Signed).body, *OPERATOR_COMMANDS) for octets in office.air.sent]


async def test_a_lost_answer_is_fetched_before_the_next_key_is_asked_for(office: Office) -> None:
    """The module has the key and the books do not know it: the very same octets, and no more."""
    bank = Bank(office, FIRST, SECOND)
    async with office.operator() as operator:
        assert await order(office, operator, "reserve") == ""
        office.air.lost = 1
        assert await order(office, operator, "roll-supplier-key", b"4") == "no-answer"
        assert bank.told == []
        assert await order(office, operator, "roll-supplier-key", b"4") == ""
        assert await order(office, operator, "audit") == ""
    assert [type(each) for each in sent(office)] == [Reserve, ChangeSupplierKey, ChangeSupplierKey, Audit]
    assert office.air.sent[1] == office.air.sent[2]
    assert [each.former for each in bank.rolls] == [
        key_digest(each.signing.public) for each in (FIRST, SECOND)
    ]
    (told,) = bank.told
    assert told.supplier_digest == key_digest(SECOND.signing.public)


async def test_what_comes_back_has_the_key_that_it_was_told_last(office: Office) -> None:
    """Blocked, rolled over twice and renewed or given back: with the last key, also if an answer was lost."""
    bank = Bank(office, FIRST, SECOND)
    async with office.operator() as operator:
        for do in ("reserve", "block"):
            assert await order(office, operator, do) == ""
        assert await order(office, operator, "roll-supplier-key", b"1") == ""
        bank.keys.append(THIRD)
        office.air.lost = 1
        assert await order(office, operator, "roll-supplier-key", b"2") == "no-answer"
        assert await order(office, operator, "unblock") == ""
        assert await order(office, operator, "renew", b"0 0") == ""
        assert await order(office, operator, "audit") == ""
    assert office.market.card.definition().supplier_public == THIRD.signing.public
    back = [each.supplier_public for each in sent(office) if isinstance(each, (Unblock, Renew))]
    assert back == [THIRD.signing.public] * 2


OTHERS: Final = generation("x25519", 1)
REPLIES: Final[dict[str, tuple[SupplierKey, str]]] = {
    "of-another-suite": (endorsed(OTHERS, OTHERS, tar=TAR, forms=[]), "other-suite"),
    "no-key": (
        SupplierKey(suite="p256", public=bytes(32), sealing=bytes(33), endorsement=bytes(64)),
        "bad-public-key",
    ),
    "none-to-seal-to": (
        SupplierKey(suite="p256", public=bytes(33), sealing=bytes(32), endorsement=bytes(64)),
        "bad-sealing-key",
    ),
    "one-that-nothing-endorses": (
        endorsed(THIRD, THIRD, tar=TAR, forms=[]),
        "not-endorsed",
    ),
}


@pytest.mark.parametrize("case", REPLIES)
async def test_a_supplier_may_say_anything(office: Office, case: str) -> None:
    """What is no key no module is told, and what nothing endorses it refuses: the old one goes on."""
    bank = Bank(office, FIRST, SECOND)
    bank.reply, reason = REPLIES[case]
    async with office.operator() as operator:
        assert await order(office, operator, "reserve") == ""
        assert await order(office, operator, "roll-supplier-key", b"1") == reason
        assert office.market.card.definition().supplier_public == FIRST.signing.public
        assert (await order(office, operator, "block"), await order(office, operator, "unblock")) == ("", "")
        bank.reply = None
        assert await order(office, operator, "roll-supplier-key", b"1") == ""
    assert office.market.card.definition().supplier_public == SECOND.signing.public


async def test_where_nothing_is_held_there_is_nothing_to_roll_over(office: Office) -> None:
    """The supplier is not even asked."""
    bank = Bank(office, FIRST, SECOND)
    async with office.operator() as operator:
        assert await order(office, operator, "roll-supplier-key", b"1") == "subscription-subscribed"
        assert await order(office, operator, "reserve") == ""
        assert await order(office, operator, "release") == ""
        assert await order(office, operator, "roll-supplier-key", b"1") == "subscription-released"
        assert await order(office, operator, "roll-supplier-key", b"x") == "subscription-released"
    assert bank.rolls == []
