"""An operator's commands: one at a time to each module, the same octets until it has answered."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.commands import BAD_ANSWER, Answered
from agents.errors import MessageRejected, Refusal, Unanswered
from agents.messages.air import (
    Answer,
    Audit,
    Audited,
    AuditedResource,
    Block,
    Compact,
    Release,
    Subscribe,
)
from agents.messages.codec import decode, encode
from agents.messages.signed import Purpose, Signed
from agents.operator import Operator
from agents.randomness import make_rng
from tests.agents.desk_kit import KEYS, Office
from tests.agents.module_kit import OTHER_UA, SERVICE, TAR, UA
from tests.agents.role_kit import TRACE
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agents.commands import Commands
    from agents.messages.air import OperatorCommand

STRANGER: Final = SUITES["x25519"].generate_signing_key(make_rng(1, "stranger"))
EMPTY: Final = Audited(
    size=32_768, free=0, largest_free=0, time=0, signed_time=0, definitions=[], complete=True
)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Return a desk and a personalised module."""
    return Office(tmp_path)


async def carry_out(commands: Commands, do: str, command: OperatorCommand) -> Answered:
    """Have the module carry out a command for an order about the account."""
    service = "" if do in {"audit", "compact"} else SERVICE
    return await commands.carry_out(do, UA, service, command, TRACE)


async def reserve(office: Office, commands: Commands) -> Answered:
    """Have the account reserved."""
    return await carry_out(commands, "reserve", office.market.supplier.reserve())


def counters(office: Office) -> list[int]:
    """Return the turns of the commands that were sent."""
    return [decode(octets, Signed).counter for octets in office.air.sent]


def pending(office: Office) -> list[tuple[Any, ...]]:
    """Return the commands that are stored as not yet answered."""
    database = sqlite3.connect(office.directory / "mno.db")
    found = database.execute("SELECT counter, kind, service, octets FROM commands").fetchall()
    database.close()
    return found


# One after the other


async def test_each_command_has_a_turn_of_its_own(office: Office) -> None:
    """Signed for the module and the next counter; what it answered is kept under that turn."""
    async with office.commands() as commands:
        await reserve(office, commands)
        await carry_out(commands, "block", Block(tar=TAR))
        await carry_out(commands, "audit", Audit(after=0))
    assert counters(office) == [1, 2, 3]
    assert [(one.do, one.turn, one.reason) for one in office.kept] == [
        ("reserve", 1, ""),
        ("block", 2, ""),
        ("audit", 3, ""),
    ]
    assert isinstance(office.kept[-1].answer, Audited)
    for octets in office.air.sent:
        signed = decode(octets, Signed)
        assert (signed.target, signed.signer) == (UA, "mno")
        signed.verify(purpose=Purpose.COMMAND, suite=KEYS.suite, public=KEYS.signing.public)


async def test_a_command_is_stored_until_it_is_answered(office: Office) -> None:
    """Durable before it leaves, gone once its answer is kept."""
    stored: list[list[tuple[Any, ...]]] = []

    def look(answer: bytes) -> bytes:
        stored.append(pending(office))
        return answer

    office.air.change = look
    async with office.commands() as commands:
        await reserve(office, commands)
    assert stored == [[(1, "reserve", SERVICE, office.air.sent[0])]]
    assert pending(office) == []


async def test_counters_outlive_a_launch(office: Office) -> None:
    """The next launch goes on where the last one was."""
    for command in (Compact(), Compact()):
        async with office.commands() as commands:
            await carry_out(commands, "compact", command)
    assert counters(office) == [1, 2]


async def test_with_nothing_under_way_nothing_is_settled(office: Office) -> None:
    """No command is sent for it."""
    async with office.commands() as commands:
        await commands.settle(UA, TRACE)
        await reserve(office, commands)
        await commands.settle(UA, TRACE)
    assert counters(office) == [1]


# Settled


async def test_a_lost_answer_is_settled_with_the_same_octets(office: Office) -> None:
    """The module gives its first answer again; it is kept once, and done once."""
    async with office.commands() as commands:
        office.air.lost = 2
        with pytest.raises(Unanswered):
            await reserve(office, commands)
        with pytest.raises(Unanswered):
            await commands.settle(UA, TRACE)
        assert office.kept == []
        await commands.settle(UA, TRACE)
        assert [(one.do, one.turn, one.reason) for one in office.kept] == [("reserve", 1, "")]
        assert len(set(office.air.sent)) == 1
        await carry_out(commands, "block", Block(tar=TAR))
    assert counters(office) == [1, 1, 1, 2]


async def test_what_a_stopped_launch_sent_is_settled_by_the_next(office: Office) -> None:
    """Octet by octet: another launch signs nothing anew, and keeps what it is answered."""
    async with office.commands() as commands:
        office.air.lost = 1
        with pytest.raises(Unanswered):
            await reserve(office, commands)
    async with office.commands() as commands:
        await commands.settle(UA, TRACE)
        row = commands.modules.get(UA)
        assert row is not None
        assert row["command_counter"] == 1
    assert office.air.sent[0] == office.air.sent[1]
    assert [one.turn for one in office.kept] == [1]
    assert len(office.market.card.module.definitions.all()) == 1


async def test_what_was_stored_and_never_sent_is_settled_too(office: Office) -> None:
    """Stopped between the store and the air: the module sees the command for the first time."""
    cancelled = office.air.manage

    async def stop(*_arguments: object, **_options: object) -> bytes:
        raise asyncio.CancelledError

    async with office.commands() as commands:
        office.air.manage = stop  # type: ignore[method-assign]
        with pytest.raises(asyncio.CancelledError):
            await reserve(office, commands)
    office.air.manage = cancelled  # type: ignore[method-assign]
    assert office.air.sent == []
    async with office.commands() as commands:
        await commands.settle(UA, TRACE)
    assert counters(office) == [1]
    assert len(office.market.card.module.definitions.all()) == 1


# Answers


async def test_a_refusal_is_kept_and_raised(office: Office) -> None:
    """The module's reason; the command is over, and the next one has the next turn."""
    async with office.commands() as commands:
        with pytest.raises(Refusal, match="unknown-resource"):
            await carry_out(commands, "block", Block(tar=TAR))
        assert [one.reason for one in office.kept] == ["unknown-resource"]
        await reserve(office, commands)
    assert counters(office) == [1, 2]


async def test_what_is_gone_is_released(office: Office) -> None:
    """A module that has no such resource is where a release was to bring it."""
    async with office.commands() as commands:
        answered = await carry_out(commands, "release", Release(tar=TAR))
        assert (answered.reason, answered.answer) == ("", Answer(reason="unknown-resource", rsc_id=0))


def earlier(office: Office, _answer: bytes) -> bytes:
    """Return the answer to the command before."""
    return office.says(encode(Answer(reason="", rsc_id=0)), _answer, counter=1)


def forged(**changes: Any) -> Callable[[Office, bytes], bytes]:
    """Return what signs the module's very answer with these changes."""
    return lambda office, answer: office.says(decode(answer, Signed).body, answer, **changes)


def altered(**changes: Any) -> Callable[[Office, bytes], bytes]:
    """Return what changes the answer and leaves its signature."""
    return lambda _office, answer: encode(replace(decode(answer, Signed), **changes))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (earlier, "answer-of-another"),
        (forged(counter=3), "answer-of-another"),
        (forged(signer=OTHER_UA), "answer-of-another"),
        (forged(target="other"), "answer-of-another"),
        (forged(purpose=Purpose.REQUEST), "signature"),
        (forged(purpose=Purpose.POSSESSION), "signature"),
        (forged(key=STRANGER), "signature"),
        (altered(body=encode(Answer(reason="", rsc_id=9))), "signature"),
        (altered(signature=bytes(64)), "signature"),
        (lambda _office, _answer: b"", "not-msgpack"),
        (lambda _office, _answer: encode(Answer(reason="", rsc_id=0)), "unexpected-message"),
    ],
    ids=[
        "earlier-turn",
        "later-turn",
        "another-module",
        "another-operator",
        "a-request",
        "a-possession",
        "a-stranger",
        "another-body",
        "no-signature",
        "nothing",
        "unsigned",
    ],
)
async def test_an_answer_that_does_not_prove_itself_settles_nothing(
    office: Office, change: Callable[[Office, bytes], bytes], reason: str
) -> None:
    """Of another turn, module, operator or purpose, or by nobody: the command stays under way."""
    async with office.commands() as commands:
        await reserve(office, commands)
        office.kept.clear()
        office.air.change = lambda answer: change(office, answer)
        for _ in range(2):
            with pytest.raises(MessageRejected, match=reason):
                await (commands.settle(UA, TRACE) if pending(office) else _block(commands))
        assert office.kept == []
        office.air.change = lambda answer: answer
        await commands.settle(UA, TRACE)
    assert [(one.do, one.turn, one.reason) for one in office.kept] == [("block", 2, "")]
    assert counters(office) == [1, 2, 2, 2]


async def _block(commands: Commands) -> None:
    await carry_out(commands, "block", Block(tar=TAR))


@pytest.mark.parametrize(
    ("command", "body"),
    [
        (Compact(), b"rubbish"),
        (Compact(), b""),
        (Compact(), encode(EMPTY)),
        (Compact(), encode(Subscribe(service="x"))),
        (Audit(after=0), encode(Answer(reason="", rsc_id=0))),
        (Audit(after=0), encode(Compact())),
    ],
    ids=["rubbish", "nothing", "audited", "another-message", "audit-done", "audit-a-command"],
)
async def test_a_signed_answer_that_says_nothing_is_a_refusal(
    office: Office, command: OperatorCommand, body: bytes
) -> None:
    """Asked again the module would say it again: it is over, and the next command is free to go."""
    async with office.commands() as commands:
        office.air.change = lambda answer: office.says(body, answer)
        with pytest.raises(Refusal, match=BAD_ANSWER):
            await carry_out(commands, "compact", command)
        assert pending(office) == []
        office.air.change = lambda answer: answer
        await reserve(office, commands)
    assert counters(office) == [1, 2]


def test_a_command_knows_why_it_was_refused() -> None:
    """An audit's word has no reason; a release's "unknown" is none."""

    def reason(command: OperatorCommand, answer: Answer | Audited) -> str:
        return Answered("x", UA, SERVICE, command, 1, answer).reason

    unknown = Answer(reason="unknown-resource", rsc_id=0)
    assert reason(Audit(after=0), EMPTY) == ""
    assert reason(Release(tar=TAR), unknown) == ""
    assert reason(Release(tar=TAR), replace(unknown, reason="other")) == "other"
    assert reason(Block(tar=TAR), unknown) == "unknown-resource"


# A module that says anything

_REASONS = st.from_regex(r"[a-z0-9-]{0,48}", fullmatch=True)
_IDS = st.integers(0, 0xFFFF)
_SIZES = st.sampled_from([0, 1, 1024, 32_768, 4 << 20])
_SECONDS = st.sampled_from([0, 1, 2_000_000_000, (1 << 40) - 1])
_STATES = st.sampled_from(["reserved", "loaded", "blocked", "expired", "exhausted", "suspended", "x"])
_ENTRIES = st.builds(
    AuditedResource,
    rsc_id=_IDS,
    tar=st.sampled_from([bytes.fromhex("A00001"), TAR]),
    service=st.sampled_from([SERVICE, "loyalty"]),
    state=_STATES,
    supplier=st.just("bank"),
    supplier_digest=st.binary(max_size=32),
    usable=st.booleans(),
    start=_SIZES,
    code_size=_SIZES,
    data_size=_SIZES,
    code_length=_SIZES,
    code_digest=st.just(b""),
    version=st.just(1),
    rights=st.sampled_from([0, 1, (1 << 32) - 1]),
    expires_at=_SECONDS,
    executions_left=st.sampled_from([-1, 0, (1 << 31) - 1]),
    at_end=st.sampled_from(["deactivate", "delete", "x"]),
)
_AUDITED = st.builds(
    Audited,
    size=_SIZES,
    free=_SIZES,
    largest_free=_SIZES,
    time=_SECONDS,
    signed_time=_SECONDS,
    definitions=st.lists(_ENTRIES.map(encode) | st.binary(max_size=8), max_size=4),
    complete=st.booleans(),
)
_ANSWERS = st.builds(Answer, reason=_REASONS, rsc_id=_IDS)
_WORDS = _ANSWERS.map(encode) | _AUDITED.map(encode) | st.binary(max_size=64)
ORDERS: Final = ("reserve", "activate", "block", "unblock", "renew", "release", "compact", "audit")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(_WORDS, min_size=1, max_size=6), orders=st.lists(st.sampled_from(ORDERS), max_size=6))
def test_whatever_a_module_says_to_an_order_the_order_ends(
    tmp_path_factory: pytest.TempPathFactory, words: list[bytes], orders: list[str]
) -> None:
    """Done, refused or not believed, but never a crash, and never a command that stays under way for ever."""

    async def play() -> None:
        office = Office(tmp_path_factory.mktemp("office"))
        said = cycle(words)
        office.air.change = lambda answer: office.says(next(said), answer)
        async with office.operator(lifetime=60, executions=3) as operator:
            for do in ("audit", *orders, "audit", "reserve", "audit"):
                argument = b"60 5" if do == "renew" else b""
                with contextlib.suppress(Refusal, MessageRejected):
                    await Operator.orders[do](operator, office.order(do, argument))
                assert pending(office) == []

    asyncio.run(play())
