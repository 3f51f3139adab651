"""An allocator: what it signs in its operator's place, for whom, how often; and what it cannot hide."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agents.allocator import SIGNED
from agents.allocators_hand import ASKS
from agents.errors import MessageRejected, Refusal, Unanswered
from agents.messages.air import (
    OPERATOR_COMMANDS,
    Announce,
    Answer,
    Audit,
    Block,
    Compact,
    Release,
    RollOperatorKey,
    Subscribe,
)
from agents.messages.codec import decode, encode
from agents.messages.inside import MAX_GROUPS, Managed
from agents.messages.signed import EVERYBODY, Purpose, Signed, sign
from agents.operator import Operator
from bus.errors import DeliveryFailed
from tests.agents.desk_kit import KEYS
from tests.agents.house_kit import HOST, House
from tests.agents.module_kit import OTHER_UA, SERVICE, TAR, UA, manage
from tests.agents.role_kit import TRACE
from transport.security.certificates import Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agents.commands import Answered, Commands
    from agents.messages.air import OperatorCommand


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Return an operator, its allocator, and a module that obeys the allocator."""
    return House(tmp_path)


async def carry_out(commands: Commands, do: str, command: OperatorCommand) -> Answered:
    """Have the module carry out a command for an order about the account."""
    service = "" if do in {"audit", "compact"} else SERVICE
    return await commands.carry_out(do, UA, service, command, TRACE)


async def reserve(house: House, commands: Commands) -> Answered:
    """Have the account reserved."""
    return await carry_out(commands, "reserve", house.market.supplier.reserve())


def turns(house: House) -> list[int]:
    """Return the turns of the commands that went to the module."""
    return [decode(octets, Signed).counter for octets in house.air.sent]


def pending(house: House) -> int:
    """Return how many commands the operator has under way."""
    database = sqlite3.connect(house.directory / "mno.db")
    (count,) = database.execute("SELECT COUNT(*) FROM commands").fetchone()
    database.close()
    return int(count)


def resources(house: House) -> list[str]:
    """Return the services that the module has a resource for."""
    return [definition.service for definition in house.market.card.module.definitions.all()]


# In the operator's place


async def test_the_allocator_signs_what_the_operator_decides(house: House) -> None:
    """Each command in the operator's turn, under the allocator's name and key; the answer is kept."""
    async with house.allocating(), house.commands() as commands:
        await reserve(house, commands)
        await carry_out(commands, "block", Block(tar=TAR))
        await carry_out(commands, "audit", Audit(after=0))
    assert turns(house) == [1, 2, 3]
    assert [(one.do, one.turn, one.reason) for one in house.kept] == [
        ("reserve", 1, ""),
        ("block", 2, ""),
        ("audit", 3, ""),
    ]
    for octets in house.air.sent:
        signed = decode(octets, Signed)
        assert (signed.signer, signed.target) == (HOST.name, UA)
        signed.verify(purpose=Purpose.COMMAND, suite=HOST.suite, public=HOST.signing.public)


async def test_the_allocator_asks_the_authority_once(house: House) -> None:
    """For a module that it has to do with for the first time, whatever launch that was in."""
    for command in (Compact(), Compact()):
        async with house.allocating(), house.commands() as commands:
            await carry_out(commands, "compact", command)
    assert house.suppliers.looked_up == [UA]
    assert turns(house) == [1, 2]


async def test_a_modules_no_is_a_refusal(house: House) -> None:
    """With the module's reason, and proven; the command is over."""
    async with house.allocating(), house.commands() as commands:
        with pytest.raises(Refusal, match="unknown-resource") as refusal:
            await carry_out(commands, "block", Block(tar=TAR))
    assert refusal.value.proven
    assert pending(house) == 0


async def test_what_is_kept_of_subscriptions_the_allocator_has_not(house: House) -> None:
    """Its books name commands and modules: no supplier's agreement, no state, no request of a subscriber."""
    async with house.allocating(), house.operator() as operator:
        await Operator.orders["reserve"](operator, house.order("reserve"))
        await Operator.orders["block"](operator, house.order("block"))
    database = sqlite3.connect(house.directory / "host.db")
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    [(target, turn, body)] = database.execute("SELECT target, turn, body FROM commands").fetchall()
    database.close()
    assert tables == {"own_keys", "commands", "sessions"}
    assert (target, turn, body) == (UA, 2, encode(Block(tar=TAR)))


# Stopped


async def test_a_lost_reply_is_had_again(house: House) -> None:
    """The operator asks for the same turn; the module is not troubled a second time."""
    async with house.allocating(), house.commands() as commands:
        house.suppliers.replies_lost = ASKS
        with pytest.raises(Unanswered):
            await reserve(house, commands)
        assert (house.kept, pending(house)) == ([], 1)
    async with house.allocating(), house.commands() as commands:
        await commands.settle(UA, TRACE)
    assert len(house.air.sent) == 1
    assert [(one.do, one.turn, one.reason) for one in house.kept] == [("reserve", 1, "")]
    assert pending(house) == 0


async def test_a_question_that_is_lost_is_asked_anew(house: House) -> None:
    """An allocator that is away for some time costs time, and nothing else."""
    async with house.allocating(), house.commands() as commands:
        house.suppliers.questions_lost = ASKS - 1
        await reserve(house, commands)
    assert turns(house) == [1]


async def test_killed_between_store_and_send_it_sends_the_same_octets(house: House) -> None:
    """What the allocator signed and never sent goes out in its next launch, signed once."""
    async with house.commands() as commands:
        async with house.allocating():
            carry, house.air.manage = house.air.manage, stopped  # type: ignore[method-assign]
            with pytest.raises(asyncio.CancelledError):
                await reserve(house, commands)
            house.air.manage = carry  # type: ignore[method-assign]
        database = sqlite3.connect(house.directory / "host.db")
        [(octets, answer)] = database.execute("SELECT octets, answer FROM commands").fetchall()
        database.close()
        assert (answer, house.air.sent) == (b"", [])
        async with house.allocating():
            await commands.settle(UA, TRACE)
    assert house.air.sent == [octets]
    assert resources(house) == [SERVICE]
    assert [one.reason for one in house.kept] == [""]


async def stopped(*_arguments: object, **_options: object) -> bytes:
    """Stop as who is killed does."""
    raise asyncio.CancelledError


async def test_killed_before_it_kept_the_answer_it_has_the_module_repeat_it(house: House) -> None:
    """The module took the command; the same octets again give the same answer, and do nothing twice."""
    async with house.commands() as commands:
        async with house.allocating():
            house.air.change = cancelled
            with pytest.raises(asyncio.CancelledError):
                await reserve(house, commands)
            house.air.change = lambda answer: answer
        async with house.allocating():
            await commands.settle(UA, TRACE)
    assert len(house.air.sent) == 2
    assert len(set(house.air.sent)) == 1
    assert resources(house) == [SERVICE]


def cancelled(_answer: bytes) -> bytes:
    """Stop when the answer is there."""
    raise asyncio.CancelledError


@pytest.mark.parametrize("failure", [Unanswered(UA), DeliveryFailed("no-report", UA, 1, 4)], ids=repr)
async def test_an_air_that_fails_leaves_the_command_under_way(house: House, failure: Exception) -> None:
    """Nobody knows then: the reason comes back as nobody's word, and the command is tried again."""

    async def fail(*_arguments: object, **_options: object) -> bytes:
        raise failure

    async with house.allocating(), house.commands() as commands:
        carry, house.air.manage = house.air.manage, fail  # type: ignore[method-assign]
        with pytest.raises(Refusal, match=r"no-answer|no-report") as refusal:
            await reserve(house, commands)
        assert not refusal.value.proven
        assert (house.kept, pending(house)) == ([], 1)
        house.air.manage = carry  # type: ignore[method-assign]
        await commands.settle(UA, TRACE)
    assert (turns(house), pending(house)) == ([1], 0)


async def test_one_command_at_a_time(house: House) -> None:
    """Asked for two turns at once, the second waits for the first one's answer, as a repetition does."""
    reached, go = asyncio.Event(), asyncio.Event()
    carry = house.air.manage

    async def slowly(ua: str, data: bytes, *, trace: Any) -> bytes:
        reached.set()
        await go.wait()
        return await carry(ua, data, trace=trace)

    house.air.manage = slowly  # type: ignore[method-assign]
    first, second = house.asks(Compact(), 1), house.asks(Audit(after=0), 2)
    asked = [first, first, second, first]
    async with house.allocating():
        under_way: Any = asyncio.gather(*map(house.suppliers.say, asked), return_exceptions=True)
        await reached.wait()
        assert len(house.suppliers.asked) == len(asked)
        assert turns(house) == []
        go.set()
        *answered, late = await under_way
    assert turns(house) == [1, 2]
    assert [decode(each.answer, Signed).counter for each in answered] == [1, 1, 2]
    # It came behind the second command, and its turn was over.
    assert (type(late), str(late)) == (Refusal, "replayed")


# Whom it obeys


@pytest.mark.parametrize(
    ("sender", "role"),
    [
        ("other", Role.OPERATOR),
        ("bank", Role.SUPPLIER),
        ("mno", Role.SUPPLIER),
        ("host", Role.ALLOCATOR),
        ("root", Role.AUTHORITY),
    ],
    ids=["another-operator", "a-supplier", "a-supplier-of-that-name", "itself", "the-authority"],
)
async def test_it_takes_orders_from_its_operator_alone(house: House, sender: str, role: Role) -> None:
    """Whoever else asks is refused before anything is signed, looked up or stored."""
    async with house.allocating():
        for message in (house.asks(Compact(), 1), house.asks(Announce(time=1), 1, target=EVERYBODY)):
            with pytest.raises(Refusal, match="not-our-operator"):
                await house.suppliers.say(message, sender=sender, role=role)
    assert (house.air.sent, house.announced, house.suppliers.looked_up) == ([], [], [])


async def test_it_commands_no_module_that_is_not_its_operators(house: House) -> None:
    """The authority's word decides, and nothing is signed without it."""
    house.suppliers.refuses = "unknown-module"
    async with house.allocating():
        with pytest.raises(Refusal, match="unknown-module"):
            await house.suppliers.say(house.asks(Compact(), 1))
    assert house.air.sent == []


async def test_a_certificate_of_another_module_is_none(house: House) -> None:
    """What comes in the authority's place about one module does for no other."""
    async with house.allocating():
        with pytest.raises(Refusal, match="wrong-subject"):
            await house.suppliers.say(house.asks(Compact(), 1, target=OTHER_UA))
    assert house.air.sent == []


@pytest.mark.parametrize(
    ("message", "turn", "reason"),
    [
        (Compact(), 1, "replayed"),
        (Compact(), 0, "replayed"),
        (Audit(after=0), 2, "turn-of-another-command"),
        (Announce(time=1), 3, "unexpected-message"),
        (Subscribe(service=SERVICE), 3, "unexpected-message"),
        (Answer(reason="", rsc_id=0), 3, "unexpected-message"),
        (RollOperatorKey(suite="x25519", public=KEYS.signing.public), 3, "unexpected-message"),
        (b"", 3, "not-msgpack"),
        (b"\x01", 3, "not-an-array"),
    ],
    ids=[
        "earlier-turn",
        "no-turn",
        "another-command",
        "announcement",
        "request",
        "answer",
        "key-of-the-operators",
        "nothing",
        "rubbish",
    ],
)
async def test_what_it_does_not_sign(house: House, message: object, turn: int, reason: str) -> None:
    """A turn is one command's for ever, and what is no command to resources is never signed."""
    async with house.allocating():
        for number in (1, 2):
            await house.suppliers.say(house.asks(Compact(), number))
        with pytest.raises(Refusal, match=reason):
            await house.suppliers.say(house.asks(message, turn))
        assert turns(house) == [1, 2]
        await house.suppliers.say(house.asks(Compact(), 3))


def test_every_command_is_signed_but_those_about_its_own_key() -> None:
    """Whether a new command is signed has to be decided; what rolls a key would take it from its holder."""
    assert set(OPERATOR_COMMANDS) - set(SIGNED) == {RollOperatorKey}
    assert set(SIGNED) <= set(OPERATOR_COMMANDS)


async def test_a_target_that_is_no_module_is_unknown(house: House) -> None:
    """A role's name, or an address whose Luhn digit does not hold: nobody is asked about it."""
    async with house.allocating():
        for target in ("bank", UA[:-1] + str((int(UA[-1]) + 1) % 10)):
            with pytest.raises(Refusal, match="unknown-module"):
                await house.suppliers.say(house.asks(Compact(), 1, target=target))
    assert house.suppliers.looked_up == []


async def test_a_turn_is_settled_before_the_next(house: House) -> None:
    """While nobody knows what became of a command, no later one is signed for its module."""
    async with house.allocating():
        house.air.lost = 1
        assert (await house.suppliers.say(house.asks(Compact(), 1))).failure == "no-answer"
        with pytest.raises(Refusal, match="turn-under-way"):
            await house.suppliers.say(house.asks(Audit(after=0), 2))
        assert (await house.suppliers.say(house.asks(Compact(), 1))).failure == ""
        assert (await house.suppliers.say(house.asks(Audit(after=0), 2))).failure == ""
    assert turns(house) == [1, 1, 2]


async def test_an_answer_that_is_not_the_modules_is_not_kept(house: House) -> None:
    """What does not hold settles nothing: the allocator sends the same octets again."""
    async with house.allocating():
        house.air.change = lambda answer: encode(replace(decode(answer, Signed), signature=bytes(64)))
        assert (await house.suppliers.say(house.asks(Compact(), 1))).failure == "signature"
        house.air.change = lambda answer: answer
        assert (await house.suppliers.say(house.asks(Compact(), 1))).failure == ""
    assert len(set(house.air.sent)) == 1


# One that is not honest


async def test_a_command_of_its_own_comes_out_with_the_operators_next(house: House) -> None:
    """It used up a turn: the module says ``replayed`` to the operator's, and signs that."""
    async with house.allocating(), house.commands() as commands:
        await reserve(house, commands)
        await house.suppliers.say(house.asks(Release(tar=TAR), 2))
        alien = await house.suppliers.say(house.asks(Compact(), 3))
        assert decode(decode(alien.answer, Signed).body, Answer).reason == ""
        # A dishonest one would sign again for a turn that it has used.
        signed = sign(
            encode(Block(tar=TAR)),
            purpose=Purpose.COMMAND,
            target=UA,
            counter=2,
            signer=HOST.name,
            key=HOST.signing,
        )
        answer = manage(house.market.card, encode(signed)).data
        house.suppliers.change = lambda _managed: Managed(answer=answer, failure="")
        house.suppliers.say = quietly  # type: ignore[method-assign]
        with pytest.raises(Refusal, match="replayed") as refusal:
            await carry_out(commands, "block", Block(tar=TAR))
        assert refusal.value.proven


async def quietly(*_arguments: object, **_options: object) -> Managed:
    """Do nothing in the place of what was asked."""
    return Managed(answer=b"", failure="")


def forged(house: House, answer: bytes) -> bytes:
    """Return an answer that the allocator signs in the module's name."""
    return house.says(encode(Answer(reason="", rsc_id=1)), answer, target=HOST.name, key=HOST.signing)


def altered(_house: House, answer: bytes) -> bytes:
    """Return the module's answer with another word in it."""
    return encode(replace(decode(answer, Signed), body=encode(Answer(reason="", rsc_id=9))))


def earlier(house: House, _answer: bytes) -> bytes:
    """Return what the module signed in the turn before."""
    return house.says(encode(Answer(reason="", rsc_id=0)), _answer, target=HOST.name, counter=1)


def for_the_operator(house: House, answer: bytes) -> bytes:
    """Return an answer to somebody whom the module does not obey."""
    return house.says(decode(answer, Signed).body, answer, target=KEYS.name)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (forged, "signature"),
        (altered, "signature"),
        (earlier, "answer-of-another"),
        (for_the_operator, "answer-of-another"),
        (lambda _house, _answer: b"", "not-msgpack"),
    ],
    ids=["forged", "altered", "earlier", "to-the-operator", "nothing"],
)
async def test_an_answer_made_up_is_not_believed(
    house: House, change: Callable[[House, bytes], bytes], reason: str
) -> None:
    """The operator checks with the module's own key: what does not hold settles nothing."""
    async with house.allocating(), house.commands() as commands:
        await reserve(house, commands)
        house.kept.clear()
        house.suppliers.change = lambda managed: replace(managed, answer=change(house, managed.answer))
        with pytest.raises(MessageRejected, match=reason):
            await carry_out(commands, "block", Block(tar=TAR))
        assert (house.kept, pending(house)) == ([], 1)
        house.suppliers.change = lambda managed: managed
        await commands.settle(UA, TRACE)
    assert [(one.do, one.turn) for one in house.kept] == [("block", 2)]


def released(house: House) -> OperatorCommand:
    """Return a release, in the place of a block."""
    del house
    return Release(tar=TAR)


def own(house: House) -> OperatorCommand:
    """Return a reservation for a key that is not the supplier's."""
    return house.market.supplier.reserve(supplier_public=HOST.signing.public)


@pytest.mark.parametrize(
    ("orders", "instead", "fault"),
    [
        (("reserve", "block"), released, "missing-resource"),
        (("reserve",), own, "other-supplier"),
    ],
    ids=["released-instead-of-blocked", "reserved-for-a-key-of-its-own"],
)
async def test_what_is_done_in_the_place_of_an_order_comes_out_with_the_audit(
    house: House, orders: tuple[str, ...], instead: Callable[[House], OperatorCommand], fault: str
) -> None:
    """Under the order's own turn it goes unseen until the module signs what it holds."""
    road = house.suppliers
    honest = road.say

    async def dishonest(message: Any, **who: Any) -> Managed:
        return await honest(replace(message, body=encode(instead(house))), **who)

    async with house.allocating(), house.operator() as operator:
        for do in orders:
            if do == orders[-1]:
                road.say = dishonest  # type: ignore[method-assign]
            assert await Operator.orders[do](operator, house.order(do)) == b""
        road.say = honest  # type: ignore[method-assign]
        with pytest.raises(Refusal, match="audit-mismatch"):
            await Operator.orders["audit"](operator, house.order("audit"))
    definition = [each for each in house.market.card.module.definitions.all() if each.service == SERVICE]
    assert (fault == "missing-resource") == (definition == [])


# Announcements


async def test_it_announces_what_the_operator_says(house: House) -> None:
    """The operator's time to the operator's groups; all of them where it names none."""
    async with house.allocating(), house.commands():
        voice = house.hand(house.desk())
        await voice.announce(["city", "coast", "city"], trace=TRACE)  # type: ignore[union-attr]
        await voice.announce([], trace=TRACE)  # type: ignore[union-attr]
    assert [groups for groups, _ in house.announced] == [("city", "coast"), ()]
    now = house.clock.now()
    assert all(now - 60 < said.time <= now for _, said in house.announced)


async def test_many_groups_are_told_in_several_announcements(house: House) -> None:
    """Each group once, however many there are."""
    names = [f"group{number}" for number in range(2 * MAX_GROUPS + 1)]
    async with house.allocating():
        await house.hand(house.desk()).announce(names, trace=TRACE)  # type: ignore[union-attr]
    assert [len(groups) for groups, _ in house.announced] == [MAX_GROUPS, MAX_GROUPS, 1]
    assert [name for groups, _ in house.announced for name in groups] == names


async def test_an_announcement_is_made_once_for_each_turn(house: House) -> None:
    """Asked for again it is done already, in the next launch too; an earlier one is refused."""
    ask = house.asks(Announce(time=7), 5, target=EVERYBODY)
    for _ in range(2):
        async with house.allocating():
            for _ in range(2):
                assert await house.suppliers.say(ask) == Managed(answer=b"", failure="")
            with pytest.raises(Refusal, match="replayed"):
                await house.suppliers.say(replace(ask, turn=4))
            with pytest.raises(Refusal, match="turn-of-another-command"):
                await house.suppliers.say(replace(ask, body=encode(Announce(time=8))))
    assert house.announced == [((), Announce(time=7))]


async def test_what_is_no_announcement_is_not_made(house: House) -> None:
    """A command for everybody would be a command for each of them; without a broadcaster there is none."""
    async with house.allocating():
        with pytest.raises(Refusal, match="unexpected-message"):
            await house.suppliers.say(house.asks(Release(tar=TAR), 1, target=EVERYBODY))
    async with house.allocating(voice=False):
        with pytest.raises(Refusal, match="no-broadcast"):
            await house.suppliers.say(house.asks(Announce(time=7), 1, target=EVERYBODY))
    assert house.announced == []
