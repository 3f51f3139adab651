"""An operator's keys over time: each module by its own, made once, durable before use, gone when nobody's."""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.allocators_hand import AllocatorsHand
from agents.errors import MessageRejected, Refusal, Unanswered
from agents.identity import certify_operator
from agents.messages.air import Answer, Compact, IntroduceOperator, RollOperatorKey
from agents.messages.codec import decode, encode
from agents.messages.signed import Purpose, Signed
from agents.operator import Operator
from agents.operator_keys import INTRODUCE, ROLL
from agents.randomness import make_rng
from agents.store.database import open_store
from agents.store.tables import OPERATOR
from tests.agents.desk_kit import AUTHORITY, KEYS, Office
from tests.agents.module_kit import OTHER_UA, UA, manage
from transport.errors import CertificateRejected
from transport.secured_packet import ResponseStatus
from transport.security.chain import parse_chain
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agents.messages.inside import Certify
    from transport.security.certificates import Certificate

OTHER: Final = SUITES["x25519"].generate_signing_key(make_rng(1, "other"))


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Return a desk and a module that was told the operator's key."""
    return Office(tmp_path)


@pytest.fixture
def unknown(tmp_path: Path) -> Office:
    """Return a desk and a module that knows its operator's name alone."""
    return Office(tmp_path, operator_public=b"", operator_serial=0)


async def give(operator: Operator, office: Office, do: str, argument: bytes = b"") -> None:
    """Give an operator an order about the module."""
    await Operator.orders[do](operator, office.order(do, argument))


def stored(office: Office, query: str) -> list[Any]:
    """Return the first column of what a query finds in the operator's database."""
    database = sqlite3.connect(office.directory / "mno.db")
    found = [row[0] for row in database.execute(query).fetchall()]
    database.close()
    return found


def generations(office: Office) -> list[str]:
    """Return which later keys the operator has."""
    return sorted(stored(office, "SELECT purpose FROM own_keys"))


def generation(office: Office) -> int:
    """Return by which key the module goes, as the operator's books have it."""
    [found] = stored(office, f"SELECT generation FROM modules WHERE ua = '{UA}'")  # noqa: S608 -- our own
    return int(found)


def sent(office: Office) -> list[object]:
    """Return what was sent to the module, without its envelope."""
    messages = [decode(octets, Signed, IntroduceOperator) for octets in office.air.sent]
    return [
        decode(each.body, RollOperatorKey, Compact) if isinstance(each, Signed) else each for each in messages
    ]


# --- rolls ---


async def test_a_roll(office: Office) -> None:
    """The step's key is made, the module goes by it, and what is ordered next is signed with it."""
    async with office.operator() as operator:
        await give(operator, office, ROLL, b"7")
        assert (generations(office), generation(office)) == (["signing.7"], 7)
        await give(operator, office, "compact")
    [roll, _] = sent(office)
    assert isinstance(roll, RollOperatorKey)
    decode(office.air.sent[1], Signed).verify(purpose=Purpose.COMMAND, suite=roll.suite, public=roll.public)


async def test_a_roll_that_is_ordered_again(office: Office) -> None:
    """By whichever launch, it is done: no other key is made, and nothing is sent."""
    for _ in range(2):
        async with office.operator() as operator:
            await give(operator, office, ROLL, b"7")
            await give(operator, office, ROLL, b"7")
    assert len(office.air.sent) == 1
    assert generations(office) == ["signing.7"]


async def test_a_launch_that_ended_when_the_key_was_made(office: Office) -> None:
    """The next one finds it, for it was durable before anything was signed for it."""
    async with office.commands() as commands:
        await commands.keys.make(7)
        made = commands.keys.key(7).public
    async with office.operator() as operator:
        await give(operator, office, ROLL, b"7")
    [roll] = sent(office)
    assert isinstance(roll, RollOperatorKey)
    assert roll.public == made


async def test_a_roll_whose_answer_is_lost(office: Office) -> None:
    """The same octets are sent again, by the next launch too, until the module's first answer comes."""
    office.air.lost = 2
    for _ in range(2):
        async with office.operator() as operator:
            with pytest.raises(Unanswered):
                await give(operator, office, ROLL, b"7")
        assert generation(office) == 0
    async with office.operator() as operator:
        await give(operator, office, "compact")
        assert generation(office) == 7
        await give(operator, office, ROLL, b"7")
    first, second, third, _ = office.air.sent
    assert first == second == third


async def test_several_rolls(office: Office) -> None:
    """Each makes its own key; one that no module has any more is deleted."""
    async with office.operator() as operator:
        for number in (3, 5, 9):
            await give(operator, office, ROLL, str(number).encode())
            assert (generations(office), generation(office)) == ([f"signing.{number}"], number)
        await give(operator, office, "compact")


async def test_a_key_that_another_module_has_stays(office: Office) -> None:
    """And so does the one that a module will have when it has answered."""
    async with office.commands() as commands:
        await commands.modules.put({**office.module(), "ua": OTHER_UA, "generation": 3})
        await commands.keys.make(3)
    async with office.operator() as operator:
        await give(operator, office, ROLL, b"5")
        assert generations(office) == ["signing.3", "signing.5"]
        office.air.lost = 1
        with pytest.raises(Unanswered):
            await give(operator, office, ROLL, b"9")
        assert generations(office) == ["signing.3", "signing.5", "signing.9"]
        await give(operator, office, ROLL, b"9")
        assert generations(office) == ["signing.3", "signing.9"]


async def test_a_key_that_is_being_shown_to_a_module_stays(office: Office) -> None:
    """Whatever is rolled meanwhile, it is not deleted before its module has gone over to it or has not."""
    async with office.commands() as commands:
        for number in (3, 5):
            await commands.keys.make(number)
        with commands.keys.held(3):
            await commands.keys.retire(list)
            assert generations(office) == ["signing.3", "signing.5"]
        await commands.keys.retire(list)
        assert generations(office) == ["signing.5"]


async def test_two_orders_of_a_step_at_once(office: Office) -> None:
    """They wait for one key, and make no other."""
    async with office.commands() as commands:
        await asyncio.gather(*(commands.keys.make(7) for _ in range(3)))
        made = commands.keys.key(7)
    async with office.commands() as commands:
        assert commands.keys.key(7).public == made.public
    assert generations(office) == ["signing.7"]


async def test_an_order_of_an_earlier_step_is_done_by_a_later_key(office: Office) -> None:
    """What comes late makes nothing, and leads to no older key."""
    async with office.operator() as operator:
        await give(operator, office, ROLL, b"9")
        await give(operator, office, ROLL, b"5")
    assert (generations(office), generation(office)) == (["signing.9"], 9)


@pytest.mark.parametrize(
    "argument", [b"", b"0", b"-1", b"1.5", b"x", "٣".encode(), b"\xff", b"9" * 5000, b"00000000001"]
)
async def test_an_order_of_no_step(office: Office, argument: bytes) -> None:
    """An order that does not say which step gave it is refused, and makes no key."""
    async with office.operator() as operator:
        with pytest.raises(Refusal, match="bad-step"):
            await give(operator, office, ROLL, argument)
    assert generations(office) == []


async def test_a_module_that_has_not_the_operators_suite(office: Office) -> None:
    """It need not be asked what its authority has told."""
    async with office.commands() as commands:
        await commands.modules.put({**office.module(), "suites": "p256"})
    async with office.operator() as operator:
        with pytest.raises(Refusal, match="unsupported-suite"):
            await give(operator, office, ROLL, b"7")
    assert office.air.sent == []


# --- introductions ---


async def test_an_introduction(unknown: Office) -> None:
    """What the module would not take before is signed and sent as it was, and done once."""
    async with unknown.operator() as operator:
        with pytest.raises(MessageRejected):
            await give(operator, unknown, "compact")
        await give(operator, unknown, INTRODUCE)
        await give(operator, unknown, "compact")
    first, introduction, second, third = sent(unknown)
    assert isinstance(introduction, IntroduceOperator)
    assert first == second == third == Compact()
    assert [decode(unknown.air.sent[at], Signed).counter for at in (0, 2, 3)] == [1, 1, 2]
    assert generation(unknown) == 0


async def test_an_introduction_is_of_the_newest_key(office: Office) -> None:
    """A module whose key was stolen goes over to the latest, which others were rolled to."""
    async with office.commands() as commands:
        await commands.keys.make(7)
    async with office.operator() as operator:
        await give(operator, office, INTRODUCE)
        assert generation(office) == 7
        await give(operator, office, "compact")
        await give(operator, office, ROLL, b"7")
    introduction, _ = sent(office)
    assert isinstance(introduction, IntroduceOperator)
    [certificate] = parse_chain(introduction.chain)
    assert (certificate.subject, certificate.issuer, certificate.sealing_public) == ("mno", "root", b"")


async def test_an_introduction_whose_answer_is_lost(unknown: Office) -> None:
    """Ordered again it is sent again, the same; the authority need not be asked twice."""
    unknown.air.lost = 1
    async with unknown.operator() as operator:
        with pytest.raises(Unanswered):
            await give(operator, unknown, INTRODUCE)
        await give(operator, unknown, INTRODUCE)
        await give(operator, unknown, "compact")
    assert unknown.air.sent[0] == unknown.air.sent[1]
    assert unknown.suppliers.serial == 2


async def test_a_command_that_was_done_before_an_introduction(office: Office) -> None:
    """Its answer was lost, and its key is gone: signed with the new one it is repeated, not done again."""
    async with office.commands() as commands:
        await commands.keys.make(7)
    async with office.operator() as operator:
        office.air.lost = 1
        with pytest.raises(Unanswered):
            await give(operator, office, "reserve")
        await give(operator, office, INTRODUCE)
        await give(operator, office, "reserve")
        assert operator.states() == {"reserved": 1}
    first, _, second = office.air.sent
    assert first != second
    assert decode(first, Signed).signed_octets == decode(second, Signed).signed_octets


@pytest.mark.parametrize("heard", [True, False], ids=["taken", "not-taken"])
async def test_a_roll_that_waits_for_an_answer_at_an_introduction(office: Office, heard: bool) -> None:  # noqa: FBT001 -- a case
    """Whether the module took it or not, it goes by the newest key in the end, and the next turn is new."""
    async with office.operator() as operator:
        office.air.deaf = not heard
        office.air.lost = int(heard)
        with pytest.raises(Unanswered):
            await give(operator, office, ROLL, b"7")
        office.air.deaf = False
        await give(operator, office, INTRODUCE)
        assert (generation(office), stored(office, "SELECT counter FROM commands")) == (7, [])
        await give(operator, office, "compact")
    assert decode(office.air.sent[-1], Signed).counter == 2


def _says(office: Office, changes: dict[str, Any], answer: bytes) -> bytes:
    terms = {"purpose": Purpose.INTRODUCTION} | changes
    return office.says(encode(Answer(reason="", rsc_id=0)), answer, **terms)


async def test_a_word_on_a_certificate_that_is_not_the_modules(office: Office) -> None:
    """Somebody else's, of another serial or for another purpose, changes nothing in the books."""
    async with office.commands() as commands:
        await commands.keys.make(7)
    forgeries: tuple[dict[str, Any], ...] = (
        {"key": OTHER},
        {"counter": 1},
        {"target": "other-mno"},
        {"signer": OTHER_UA},
        {"purpose": Purpose.ANSWER},
    )
    async with office.operator() as operator:
        for changes in forgeries:
            office.air.change = partial(_says, office, changes)
            with pytest.raises(MessageRejected):
                await give(operator, office, INTRODUCE)
            assert generation(office) == 0


async def test_a_module_that_will_not_go_by_the_certificate(office: Office) -> None:
    """Its reason is the order's, and the books stay."""
    async with office.commands() as commands:
        await commands.keys.make(7)
    office.air.change = lambda answer: office.says(
        encode(Answer(reason="left-key", rsc_id=0)), answer, purpose=Purpose.INTRODUCTION
    )
    async with office.operator() as operator:
        with pytest.raises(Refusal, match="left-key"):
            await give(operator, office, INTRODUCE)
    assert generation(office) == 0


def _certified(**changes: Any) -> Callable[[Certify], Certificate]:
    def certify(asked: Certify) -> Certificate:
        fields: dict[str, Any] = {
            "name": "mno",
            "suite": asked.suite,
            "signing": asked.public,
            "issuer": AUTHORITY,
            "serial": 2,
            "now": 1_800_000_000.0,
        }
        values = fields | changes
        return certify_operator(values.pop("name"), values.pop("suite"), values.pop("signing"), **values)

    return certify


@pytest.mark.parametrize(
    "certify",
    [
        _certified(name="other"),
        _certified(signing=OTHER.public),
        _certified(issuer=KEYS),
        _certified(now=1_000_000_000.0),
    ],
    ids=["of-another", "of-another-key", "by-another", "expired"],
)
async def test_a_certificate_that_is_none(office: Office, certify: Callable[[Certify], Certificate]) -> None:
    """What the authority's answer does not vouch for is not sent to a module."""
    office.suppliers.certify = certify
    async with office.operator() as operator:
        with pytest.raises((MessageRejected, CertificateRejected)):
            await give(operator, office, INTRODUCE)
    assert office.air.sent == []


async def test_the_only_module_is_a_thiefs(office: Office) -> None:
    """Its roll fails, as nothing obeys the old key; but the key is made, and its certificate believed."""
    market = office.market
    stolen = RollOperatorKey(suite=OTHER.suite, public=OTHER.public)
    thief = market.operator.signed(stolen, counter=(1 << 40) - 1)
    assert manage(market.card, thief).status is ResponseStatus.POR_OK
    async with office.operator() as operator:
        with pytest.raises(MessageRejected):
            await give(operator, office, "compact")
        with pytest.raises(Refusal, match="left-key"):
            await give(operator, office, INTRODUCE)
        with pytest.raises(MessageRejected):
            await give(operator, office, ROLL, b"7")
        await give(operator, office, INTRODUCE)
        await give(operator, office, "compact")
        assert generation(office) == 7


# --- what is said to everybody, and whose key it is ---


async def test_the_keys_that_are_in_use(office: Office) -> None:
    """One for each generation that a module has, and the first while there are modules yet to be met."""
    async with office.commands() as commands:
        first = KEYS.signing.public
        assert [key.public for key in commands.keys.in_use(1)] == [first]
        await commands.keys.make(7)
        await commands.modules.put({**office.module(), "generation": 7})
        seventh = commands.keys.key(7).public
        assert [key.public for key in commands.keys.in_use(1)] == [seventh]
        assert [key.public for key in commands.keys.in_use(2)] == [first, seventh]


@pytest.mark.parametrize("do", [ROLL, INTRODUCE])
async def test_an_operator_that_has_an_allocator(office: Office, do: str) -> None:
    """What its modules obey is the allocator's, so it has no key to roll, and none to be introduced by."""
    async with open_store(office.directory / "mno.db", OPERATOR) as store:
        desk = office.desk()
        operator = await Operator.open(desk, store, authority="root", hand=AllocatorsHand(desk, "third"))
        with pytest.raises(Refusal, match="allocated"):
            await give(operator, office, do, b"7")
    assert generations(office) == []
