"""An operator whose commands travel under a keyset: when it makes a session, and what it sends under it.

Store, keys and module are real; ``KeysetAir`` is in place of the network, and loses and changes what passes.
"""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.commands import Commands
from agents.errors import MessageRejected, PacketRefused, Refusal, Unanswered
from agents.exchange import SECURED, UNSECURED
from agents.messages.air import MANAGER_TAR, Answer, Audit, Block, Compact, Connecting, Prove, Release
from agents.messages.codec import decode, encode
from agents.messages.signed import Purpose, Signed, sign
from agents.operator import Operator
from agents.operator_sessions import SessionTerms
from agents.randomness import make_rng
from tests.agents.desk_kit import KEYS, Air, Office
from tests.agents.house_kit import HOST, HOST_NUMBER, House
from tests.agents.module_kit import OTHER_UA, SERVICE, TAR, UA, manage
from tests.agents.operator_session_kit import KeysetMarket
from tests.agents.role_kit import TRACE
from transport.errors import HandshakeRejected, PacketRejected, SignatureRejected
from transport.secured_packet import ResponseStatus, decode_response, encode_command
from transport.security.suites import SUITES
from transport.security.terms import AGREE_THEN_SIGN, SIGN_THEN_AGREE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from bus.frame import TraceContext
    from transport.security.keyset import SessionKeys

FORMS: Final = (AGREE_THEN_SIGN, SIGN_THEN_AGREE)
STRANGER: Final = SUITES["x25519"].generate_signing_key(make_rng(1, "stranger"))


class KeysetAir(Air):
    """Carries packets under keys as well, and handshakes."""

    def __init__(self, market: KeysetMarket) -> None:
        super().__init__(market)
        self.under: list[tuple[int, bytes]] = []
        """What was sent under keys: counter, and the signed command in it."""
        self.handshakes: list[bytes] = []
        """What was sent without."""
        self.unanswered = 0
        """How many of the next answers to packets under keys are lost: the module has taken the command."""
        self.garble = 0
        """How many of the next responses under keys do not hold."""
        self.on_packet: Callable[[], None] = lambda: None
        """Called when a packet has left."""
        self.reply: Callable[[bytes], bytes] = lambda answer: answer
        """What is made of a handshake's answer on its way."""
        self.lose_last = 0
        """How many of the next answers to Prove are lost."""

    async def manage(self, ua: str, data: bytes, *, trace: TraceContext) -> bytes:
        """Bring a message of a handshake to the module; return its answer."""
        assert (ua, trace) == (UA, TRACE)
        self.handshakes.append(data)
        self.on_packet()
        replied = manage(self.market.card, data)
        if replied.status is not ResponseStatus.POR_OK:
            raise PacketRefused(replied.status.reason, proven=False)
        if self.lose_last and isinstance(decode(data, Signed, Prove), Prove):
            self.lose_last -= 1
            raise Unanswered(ua)
        return self.reply(replied.data)

    async def command(
        self, ua: str, tar: bytes, data: bytes, *, keys: SessionKeys, counter: int, trace: TraceContext
    ) -> bytes:
        """Bring a packet under keys to the module; return the data of its response, as an exchange does."""
        assert (ua, tar, trace) == (UA, MANAGER_TAR, TRACE)
        self.under.append((counter, data))
        self.on_packet()
        packet = encode_command(spi=SECURED, tar=tar, data=data, counter=counter, keys=keys.to_module)
        assert isinstance(self.market, KeysetMarket)
        octets = self.market.responded(packet)
        if self.unanswered:
            self.unanswered -= 1
            raise Unanswered(ua)
        if self.garble:
            self.garble -= 1
            octets = octets[:-1] + bytes([octets[-1] ^ 1])
        response = decode_response(octets, spi=SECURED, keys=keys.from_module)
        if response.status is not ResponseStatus.POR_OK:
            raise PacketRefused(response.status.reason, proven=response.proven)
        assert response.counter == counter
        return response.data


class KeysetOffice(Office):
    """An operator's desk whose module was personalised for a keyset."""

    def __init__(self, directory: Path, form: str = AGREE_THEN_SIGN) -> None:
        super().__init__(directory)
        self.form = form
        market = KeysetMarket(session_form=form)
        market.operator.key = KEYS.signing
        market.card.now = self.clock.now()
        market.personalise()
        self.keyset = KeysetAir(market)
        self.market, self.air = market, self.keyset

    @asynccontextmanager
    async def commands(self) -> AsyncIterator[Commands]:
        """Open what the operator knows, the module among it."""
        async with self.store() as store:
            terms = SessionTerms(form=self.form)
            commands = Commands(self.desk(), store, authority="root", keep=self.keep, session=terms)
            await commands.load()
            if not commands.modules.get(UA):
                await commands.modules.put(self.module())
            yield commands

    def row(self) -> tuple[Any, ...]:
        """Return what the store holds of the session: keys, counter, turns of Connect."""
        database = sqlite3.connect(self.directory / "mno.db")
        found: tuple[Any, ...] = database.execute(
            "SELECT session, counter, connects FROM sessions"
        ).fetchone()
        database.close()
        return found


@pytest.fixture(params=FORMS)
def office(request: pytest.FixtureRequest, tmp_path: Path) -> KeysetOffice:
    """Return a desk and a personalised module, for one form after the other."""
    return KeysetOffice(tmp_path, request.param)


@pytest.fixture(name="single")
def _single(tmp_path: Path) -> KeysetOffice:
    """Return the same for one form alone: what is tried with it is the same in both."""
    return KeysetOffice(tmp_path)


async def reserve(office: KeysetOffice, commands: Commands) -> None:
    """Have the account reserved."""
    command = office.market.supplier.reserve()
    assert (await commands.carry_out("reserve", UA, SERVICE, command, TRACE)).reason == ""


async def compact(commands: Commands) -> None:
    """Have the module do next to nothing."""
    await commands.carry_out("compact", UA, "", Compact(), TRACE)


def handshakes(office: KeysetOffice) -> int:
    """Return how many connections were begun."""
    messages = [decode(octets, Signed, Prove) for octets in office.keyset.handshakes]
    return sum(isinstance(message, Signed) for message in messages)


def counters(office: KeysetOffice) -> list[int]:
    """Return the counters of the packets that were sent."""
    return [counter for counter, _ in office.keyset.under]


async def test_the_first_command_makes_the_session(office: KeysetOffice) -> None:
    """One handshake, then each command under the keyset, signed inside, its packet with the next counter."""
    async with office.commands() as commands:
        await reserve(office, commands)
        await commands.carry_out("block", UA, SERVICE, Block(tar=TAR), TRACE)
        audited = await commands.carry_out("audit", UA, "", Audit(after=0), TRACE)
        await commands.carry_out("release", UA, SERVICE, Release(tar=TAR), TRACE)
    assert audited.reason == ""
    assert handshakes(office) == 1
    assert counters(office) == [1, 2, 3, 4]
    turns = [decode(octets, Signed) for _, octets in office.keyset.under]
    assert [(each.counter, each.purpose) for each in turns] == [
        (turn, Purpose.COMMAND) for turn in (1, 2, 3, 4)
    ]


async def test_another_launch_goes_on_under_the_session(single: KeysetOffice) -> None:
    """Keys and counter come from the store: no handshake, no counter twice."""
    for _ in range(3):
        async with single.commands() as commands:
            await compact(commands)
    assert handshakes(single) == 1
    assert counters(single) == [1, 2, 3]


async def test_counters_are_stored_before_anything_leaves(office: KeysetOffice) -> None:
    """Connect's turn and the packet's counter are durable when the packet is on its way."""
    seen = []
    office.keyset.on_packet = lambda: seen.append(office.row()[1:])
    async with office.commands() as commands:
        await compact(commands)
        await compact(commands)
    messages = len(office.keyset.handshakes)
    assert seen == [*[(0, 1)] * messages, (1, 1), (2, 1)]


async def test_a_lost_answer_is_settled_under_the_session(office: KeysetOffice) -> None:
    """The same octets in a new packet, answered as the first time, and done once; also by the next launch."""
    async with office.commands() as commands:
        office.keyset.unanswered = 1
        with pytest.raises(Unanswered):
            await reserve(office, commands)
    async with office.commands() as commands:
        await commands.settle(UA, TRACE)
    (first, octets), (second, again) = office.keyset.under
    assert (octets, first, second) == (again, 1, 2)
    assert handshakes(office) == 1
    assert [(one.do, one.turn, one.reason) for one in office.kept] == [("reserve", 1, "")]


async def test_a_module_that_lost_its_session_gets_another(office: KeysetOffice) -> None:
    """It says that it knows none; a new handshake, and the very same octets again."""
    before = dict(office.market.card.pages)
    async with office.commands() as commands:
        await compact(commands)
        office.market.card.pages = before  # a module whose memory is as the factory left it
        office.market.card.power_cycle()
        # Connect's last turn is gone from it too, and the operator's is higher all the same.
        await reserve(office, commands)
    assert office.market.card.reasons == ["no-session"]
    assert handshakes(office) == 2
    assert counters(office) == [1, 2, 1]
    assert office.keyset.under[1][1] == office.keyset.under[2][1]


async def test_stopped_before_the_operator_has_the_modules_last_word(office: KeysetOffice) -> None:
    """The module has a session that the operator does not know: its next command finds that out."""
    async with office.commands() as commands:
        office.keyset.lose_last = 1
        with pytest.raises(Unanswered):
            await reserve(office, commands)
        assert office.keyset.under == []
    async with office.commands() as commands:
        await commands.settle(UA, TRACE)
    assert handshakes(office) == 2
    assert [one.reason for one in office.kept] == [""]


async def test_a_module_that_forgets_the_call_is_asked_again(office: KeysetOffice) -> None:
    """Power that fails between Connect and Prove costs another handshake, and not the command."""
    cuts = iter([True])

    def cut() -> None:
        # The second message is the first Prove.
        if len(office.keyset.handshakes) == 2 and next(cuts, False):
            office.market.card.power_cycle()

    office.keyset.on_packet = cut
    async with office.commands() as commands:
        await reserve(office, commands)
    assert office.market.card.reasons == ["no-open-call"]
    assert handshakes(office) == 2
    assert counters(office) == [1]


async def test_a_module_that_takes_no_connection_is_asked_twice_and_no_more(single: KeysetOffice) -> None:
    """One that was not personalised for it: the order fails, the command stays under way."""
    market = KeysetMarket(session_form="")
    market.operator.key = KEYS.signing
    market.personalise()
    async with single.commands() as commands:
        single.keyset.market = market
        with pytest.raises(PacketRefused, match="insufficient-security-level"):
            await reserve(single, commands)
        assert handshakes(single) == 2
        single.keyset.market = single.market
        await commands.settle(UA, TRACE)
    assert market.card.reasons == ["no-operator-session"] * 2
    assert [one.reason for one in single.kept] == [""]


async def test_stopped_in_the_middle_of_another_session(office: KeysetOffice) -> None:
    """The module has the new one, the operator the old one: what it sends does not hold, which mends it."""
    async with office.commands() as commands:
        await compact(commands)
    before = office.row()
    market = office.market
    assert isinstance(market, KeysetMarket)
    market.connects = before[2]
    market.open()  # as much as the module has seen of a handshake that the operator forgot
    database = sqlite3.connect(office.directory / "mno.db")
    with database:
        database.execute("UPDATE sessions SET connects = connects + 1")
    database.close()
    async with office.commands() as commands:
        await reserve(office, commands)
    assert handshakes(office) == 2
    assert [one.reason for one in office.kept] == ["", ""]
    assert len(market.card.module.definitions.all()) == 1


async def test_a_response_that_does_not_hold_costs_one_handshake(office: KeysetOffice) -> None:
    """Whoever garbles it: the command is sent once more under a new session, and done once."""
    async with office.commands() as commands:
        await compact(commands)
        office.keyset.garble = 1
        await reserve(office, commands)
        assert handshakes(office) == 2
        office.keyset.garble = 2
        with pytest.raises(PacketRejected):
            await compact(commands)
        assert handshakes(office) == 3
        await commands.settle(UA, TRACE)
    assert [one.turn for one in office.kept] == [1, 2, 3]
    assert len(office.market.card.module.definitions.all()) == 1


async def test_a_refusal_that_another_session_would_not_mend_is_one(single: KeysetOffice) -> None:
    """A module that does not believe what is inside says so under the keyset: no handshake, no end of it."""
    async with single.commands() as commands:
        await compact(commands)
        single.market.operator.key = STRANGER
        desk = single.desk()
        keys = replace(desk.keys, signing=STRANGER)
        async with single.store() as store:
            other = Commands(
                replace(desk, keys=keys),
                store,
                authority="root",
                keep=single.keep,
                session=SessionTerms(form=single.form),
            )
            await other.load()
            with pytest.raises(Refusal, match="insufficient-security-level") as caught:
                await compact(other)
    assert caught.value.proven
    assert handshakes(single) == 1


def connecting(answer: bytes, **changes: Any) -> bytes:
    """Return Connecting with another proof."""
    signed = decode(answer, Signed)
    terms: dict[str, Any] = {
        "purpose": Purpose.CONNECTION,
        "target": KEYS.name,
        "counter": signed.counter,
        "signer": UA,
        "key": STRANGER,
    }
    return encode(sign(signed.body, **(terms | changes)))


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (connecting, SignatureRejected, "bad-signature"),
        (lambda answer: connecting(answer, purpose=Purpose.ANSWER), SignatureRejected, "purpose"),
        (lambda answer: connecting(answer, counter=9), MessageRejected, "answer-of-another"),
        (lambda answer: connecting(answer, signer=OTHER_UA), MessageRejected, "answer-of-another"),
        (lambda answer: connecting(answer, target="other"), MessageRejected, "answer-of-another"),
        (
            lambda answer: encode(replace(decode(answer, Signed), body=encode(Connecting(opening=b"\x11")))),
            SignatureRejected,
            "bad-signature",
        ),
        (lambda _answer: b"", MessageRejected, "not-msgpack"),
        (lambda _answer: encode(Answer(reason="", rsc_id=0)), MessageRejected, "unexpected-message"),
    ],
    ids=[
        "a-stranger",
        "another-purpose",
        "another-turn",
        "another-module",
        "another-operator",
        "another-opening",
        "nothing",
        "unsigned",
    ],
)
async def test_who_opens_in_the_modules_place(
    single: KeysetOffice, change: Callable[[bytes], bytes], error: type[Exception], reason: str
) -> None:
    """What the module did not sign in this turn for this operator begins nothing; the next attempt does."""
    async with single.commands() as commands:
        single.keyset.reply = change
        with pytest.raises(error, match=reason):
            await reserve(single, commands)
        assert single.keyset.under == []
        assert len(single.keyset.handshakes) == 1
        single.keyset.reply = lambda answer: answer
        await commands.settle(UA, TRACE)
    assert [one.reason for one in single.kept] == [""]


async def test_who_answers_in_the_modules_place(office: KeysetOffice) -> None:
    """Any octet of the module's further messages altered: no session, no command leaves, and none is lost."""

    def garbled(answer: bytes) -> bytes:
        try:
            decode(answer, Signed)
        except MessageRejected:
            return answer[:-1] + bytes([answer[-1] ^ 1])
        return answer

    async with office.commands() as commands:
        office.keyset.reply = garbled
        with pytest.raises(HandshakeRejected):
            await reserve(office, commands)
        assert office.keyset.under == []
        assert office.row()[0] is None
        office.keyset.reply = lambda answer: answer
        await commands.settle(UA, TRACE)
    assert [one.reason for one in office.kept] == [""]


async def test_nothing_of_a_command_can_be_read(single: KeysetOffice) -> None:
    """Bare are the handshake's messages alone: no service, no supplier, no key of his stands in them."""
    async with single.commands() as commands:
        await reserve(single, commands)
    asked = single.market.supplier.reserve()
    for octets in single.keyset.handshakes:
        for word in (asked.service.encode(), asked.supplier.encode(), asked.supplier_public):
            assert word not in octets
    bare = encode_command(spi=UNSECURED, tar=MANAGER_TAR, data=single.keyset.under[0][1])
    assert asked.supplier_public in bare


# By an allocator's hand


async def test_an_allocator_has_the_sessions(tmp_path: Path) -> None:
    """It makes and keeps them; stopped between an answer and its keeping, it goes on under the same one."""
    house = House(tmp_path)
    market = KeysetMarket(operator_suite=HOST.suite)
    market.operator.name, market.operator.key = HOST.name, HOST.signing
    market.card.now = house.clock.now()
    market.personalise(operator="mno", allocator=HOST.name, allocator_number=HOST_NUMBER)
    air = KeysetAir(market)
    house.market, house.air, house.session = market, air, SessionTerms()
    async with house.operator() as operator:
        air.unanswered = 1
        async with house.allocating():
            with pytest.raises(Refusal, match="no-answer"):
                await Operator.orders["reserve"](operator, house.order("reserve"))
        async with house.allocating():
            await Operator.orders["reserve"](operator, house.order("reserve"))
            await Operator.orders["block"](operator, house.order("block"))
    assert [counter for counter, _ in air.under] == [1, 2, 3]
    assert air.under[0][1] == air.under[1][1]
    assert [decode(octets, Signed).signer for _, octets in air.under] == [HOST.name] * 3
    # Connect and one Prove, and nothing else bare.
    assert len(air.handshakes) == 2
    kept = {name: sqlite3.connect(tmp_path / f"{name}.db") for name in ("host", "mno")}
    counts = {
        name: database.execute("SELECT count(*) FROM sessions").fetchone()[0]
        for name, database in kept.items()
    }
    for database in kept.values():
        database.close()
    assert counts == {"host": 1, "mno": 0}
