"""Sessions on the inside road, over a real broker: made when somebody asks, and anew when they are lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from agents import link as link_module
from agents.errors import Refusal
from agents.fleet.addresses import ua_of
from agents.freshness import WINDOW_S
from agents.link_sealed import QUESTION
from agents.link_sessions import SessionWay
from agents.link_ways import LinkForms
from agents.messages.codec import decode, encode
from agents.messages.inside import Agreed, Done, LookUp, Refused
from agents.messages.link import (
    LINK_MESSAGES,
    LinkGreeting,
    LinkQuestion,
    LinkReply,
    LinkUnknown,
)
from bus.errors import MailboxFull
from bus.frame import Bearer, Frame
from bus.topics import Inbox
from tests.agents.link_kit import FORMS
from tests.agents.role_kit import TRACE, open_kit
from tests.bus.manual_clock import ManualClock
from transport.security import sealing
from transport.security.certificates import Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from agents.link import Link, Question
    from bus.address import BrokerAddress
    from tests.agents.role_kit import Kit, Puppet, WatchedClient

ASK = LookUp(ua=ua_of("link", 1, 1))
FOR_EVER_S = 1_000.0


@pytest.fixture(autouse=True)
def _in_sessions(kit: Kit) -> None:
    """Have the operator ``mno`` speak in sessions with everybody."""
    kit.forms = LinkForms(said={"mno": FORMS[0]})


@pytest.fixture(name="patient")
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody ask again because of silence: what comes of a test, comes of what was said."""
    monkeypatch.setattr(link_module, "REPLY_TIMEOUT_S", FOR_EVER_S)


@pytest.fixture(name="impatient")
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everybody ask again soon."""
    monkeypatch.setattr(link_module, "REPLY_TIMEOUT_S", 0.5)


def inbox(kit: Kit, agent: str) -> Inbox:
    """Return where *agent* is asked."""
    return Inbox(fleet=kit.fleet, agent=agent)


async def asker(kit: Kit, name: str = "mno") -> Link:
    """Return *name*'s end of the road, listening, with nothing in its memory."""
    link = kit.link(name, await kit.client(name))
    await link.start(lambda question: pytest.fail(f"{name} was asked {question.message}"))
    return link


async def said(kit: Kit, agent: str, kind: type[Any], count: int = 1) -> list[Frame]:
    """Return the frames to *agent* with messages of that kind, once there are *count* on the wire."""
    topic = inbox(kit, agent)
    while True:
        frames = kit.wire.on(topic)
        found = [frame for frame in frames if isinstance(decode(frame.pdu, *LINK_MESSAGES), kind)]
        if len(found) >= count:
            return found
        await kit.wire.until(topic, len(frames) + 1)


def without(kind: type[Any], until: int = 1 << 30) -> Callable[[str, Frame], list[Frame]]:
    """Return what loses the first *until* messages of that kind."""
    lost: list[Frame] = []

    def alter(_path: str, frame: Frame) -> list[Frame]:
        if isinstance(decode(frame.pdu, *LINK_MESSAGES), kind) and len(lost) < until:
            lost.append(frame)
            return []
        return [frame]

    return alter


async def waiting(puppet: Puppet, link: Link) -> tuple[asyncio.Task[Done], Question]:
    """Ask the puppet, which stays silent; return the task that waits, and the question."""
    puppet.says = lambda _question: None
    seen = len(puppet.questions)
    task = asyncio.create_task(link.ask("bank", ASK, Done, trace=TRACE))
    return task, (await puppet.until_asked(seen + 1))[-1]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("patient")
async def test_a_question_and_its_reply(kit: Kit, form: str) -> None:
    """The other learns who asks, as what and under which trace; several questions go in one session."""
    kit.forms = LinkForms(said={"mno": form})
    puppet = await kit.puppet("bank")
    agreed = Agreed(service="account", tar=b"\xb2\0\0")
    puppet.says = lambda _question: agreed
    with capture_logs() as logged:
        link = await asker(kit)
        asked = [link.ask("bank", ASK, Agreed, trace=TRACE) for _ in range(20)]
        assert await asyncio.gather(*asked) == [agreed] * 20
    question = puppet.questions[0]
    assert (question.sender, question.role, question.message) == ("mno", Role.OPERATOR, ASK)
    assert question.trace.trace_id == TRACE.trace_id
    assert [event["peer"] for event in logged if event["event"] == "link.opened"] == ["bank"]
    frames = await said(kit, "bank", LinkQuestion, 20)
    assert len({decode(frame.pdu, LinkQuestion).label for frame in frames}) == 1
    assert kit.counters.snapshot()["dropped"] == {}


@pytest.mark.usefixtures("patient")
async def test_nothing_can_be_read_on_the_wire(kit: Kit) -> None:
    """No octet of what is said stands in any frame of the road."""
    puppet = await kit.puppet("bank")
    puppet.says = lambda _question: Refused(reason="not-my-business")
    with pytest.raises(Refusal, match="not-my-business"):
        await (await asker(kit)).ask("bank", ASK, Done, trace=TRACE)
    frames = [*await kit.wire.until(inbox(kit, "bank"), 3), *await kit.wire.until(inbox(kit, "mno"), 2)]
    for frame in frames:
        assert ASK.ua.encode() not in frame.pdu
        assert b"not-my-business" not in frame.pdu


@pytest.mark.usefixtures("patient")
async def test_both_ask_first_at_once(kit: Kit) -> None:
    """Two roles whose first questions cross get both their replies."""
    links = {}
    for name in ("mno", "bank"):
        puppet = await kit.puppet(name)
        links[name] = puppet.desk.link
    ours, theirs = await asyncio.gather(
        links["mno"].ask("bank", ASK, Done, trace=TRACE), links["bank"].ask("mno", ASK, Done, trace=TRACE)
    )
    assert ours == theirs == Done()
    assert kit.counters.snapshot()["dropped"] == {}


@pytest.mark.usefixtures("patient")
async def test_a_role_that_restarts_is_asked_in_a_new_session_at_once(kit: Kit) -> None:
    """Who lost its sessions says so; its asker does not wait for silence, makes another, and asks again."""
    await kit.puppet("bank")
    link = await asker(kit)
    await link.ask("bank", ASK, Done, trace=TRACE)
    puppet = await kit.puppet("bank")
    assert await link.ask("bank", ASK, Done, trace=TRACE) == Done()
    assert len(puppet.questions) == 1
    assert kit.counters.snapshot()["dropped"] == {"no-session": 1}
    first, lost, again = await said(kit, "bank", LinkQuestion, 3)
    assert lost.reference == again.reference != first.reference
    assert len(await said(kit, "mno", LinkUnknown)) == 1


@pytest.mark.usefixtures("patient")
async def test_an_asker_that_restarts(kit: Kit) -> None:
    """Who lost its sessions opens new ones before it asks."""
    puppet = await kit.puppet("bank")
    for count in (1, 2):
        await (await asker(kit)).ask("bank", ASK, Done, trace=TRACE)
        assert len(puppet.questions) == count
    assert kit.counters.snapshot()["dropped"] == {}


@pytest.mark.usefixtures("impatient")
async def test_a_notice_that_is_withheld(kit: Kit) -> None:
    """Silence leads to a new session as well, and the question is the same one."""
    await kit.puppet("bank")
    link = await asker(kit)
    await link.ask("bank", ASK, Done, trace=TRACE)
    puppet = await kit.puppet("bank")
    kit.clients["bank"].alter = without(LinkUnknown)
    assert await link.ask("bank", ASK, Done, trace=TRACE) == Done()
    assert len(puppet.questions) == 1
    assert kit.counters.retries(Bearer.ROLE) >= 1


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.usefixtures("impatient")
async def test_a_handshake_of_which_a_message_is_lost(kit: Kit, lost: int) -> None:
    """An opening that gets no answer is made anew; after a last message that is lost, the notice helps."""
    puppet = await kit.puppet("bank")
    link = await asker(kit)
    greetings: list[Frame] = []

    def lose(_path: str, frame: Frame) -> list[Frame]:
        if isinstance(decode(frame.pdu, *LINK_MESSAGES), LinkGreeting):
            greetings.append(frame)
            return [] if len(greetings) - 1 == lost else [frame]
        return [frame]

    kit.clients["mno"].alter = lose
    assert await link.ask("bank", ASK, Done, trace=TRACE) == Done()
    assert len(puppet.questions) == 1
    assert len(greetings) >= 3 + lost


# Once, whatever comes twice


@pytest.mark.usefixtures("patient")
async def test_every_message_twice(kit: Kit) -> None:
    """QoS 1 may double whatever there is: a question is carried out once, and has one reply."""
    puppet = await kit.puppet("bank")
    link = await asker(kit)
    for name in ("mno", "bank"):
        kit.clients[name].alter = lambda _path, frame: [frame, frame]
    for count in range(1, 4):
        assert await link.ask("bank", ASK, Done, trace=TRACE) == Done()
        assert len(puppet.questions) == count
    assert set(kit.counters.snapshot()["dropped"]) <= {"replayed", "unexpected-reply", "no-attempt"}


@pytest.mark.usefixtures("impatient")
async def test_silence_is_asked_again_with_the_same_octets(kit: Kit) -> None:
    """In one session the second attempt repeats packet and reference; the first reply was lost."""
    puppet = await kit.puppet("bank")
    link = await asker(kit)
    await link.ask("bank", ASK, Done, trace=TRACE)
    kit.clients["bank"].alter = without(LinkReply, 1)
    assert await link.ask("bank", ASK, Done, trace=TRACE) == Done()
    _, first, second = (await said(kit, "bank", LinkQuestion, 3))[:3]
    assert (first.pdu, first.reference) == (second.pdu, second.reference)
    assert (first.attempt, second.attempt) == (1, 2)
    assert len(puppet.questions) == 2


@pytest.mark.usefixtures("patient")
async def test_a_question_at_work_when_its_session_ends(kit: Kit) -> None:
    """It is asked again in the next session, not begun again, and has its reply in that."""
    puppet = await kit.puppet("bank")
    link = await asker(kit)
    task, question = await waiting(puppet, link)
    (asked,) = await said(kit, "bank", LinkQuestion)
    notice = encode(LinkUnknown(label=decode(asked.pdu, LinkQuestion).label))
    kit.clients["mno"].inject(inbox(kit, "mno"), framed(notice))
    again = (await said(kit, "bank", LinkQuestion, 2))[1]
    await puppet.idle()
    assert len(puppet.questions) == 1
    await puppet.desk.link.reply(question, Done())
    assert await task == Done()
    (reply,) = await said(kit, "mno", LinkReply)
    assert decode(reply.pdu, LinkReply).label == decode(again.pdu, LinkQuestion).label


@pytest.mark.usefixtures("patient")
async def test_a_recorded_question_gets_the_reply_it_got(kit: Kit) -> None:
    """Played again, a question is not carried out again; the reply to that is one that came before."""
    puppet = await kit.puppet("bank")
    link = await asker(kit)
    await link.ask("bank", ASK, Done, trace=TRACE)
    (recorded,) = await said(kit, "bank", LinkQuestion)
    kit.clients["bank"].inject(inbox(kit, "bank"), recorded)
    await kit.counters.until_dropped("unexpected-reply")
    assert len(puppet.questions) == 1
    assert await link.ask("bank", ASK, Done, trace=TRACE) == Done()


async def test_a_question_that_was_forgotten(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Played again when nobody remembers its reply any more, it is told by its packet's counter."""
    clock, directory = ManualClock(), tmp_path / "later"
    directory.mkdir()
    async with open_kit(broker, f"{fleet}-later", directory, log, clock=clock) as kit:
        kit.forms = LinkForms(said={"mno": FORMS[0]})
        puppet = await kit.puppet("bank")
        link = await asker(kit)
        await link.ask("bank", ASK, Done, trace=TRACE)
        (recorded,) = await said(kit, "bank", LinkQuestion)
        clock.advance(WINDOW_S + 1)
        await link.ask("bank", ASK, Done, trace=TRACE)
        kit.clients["bank"].inject(inbox(kit, "bank"), recorded)
        assert kit.counters.drops("replayed") == 1
        assert len(puppet.questions) == 2


async def test_a_question_that_found_no_room_may_come_again(kit: Kit) -> None:
    """A full mailbox is told to the bus; packet and question are not remembered as taken."""
    client = await kit.client("bank")
    heard: list[Question] = []

    def full_at_first(question: Question) -> None:
        heard.append(question)
        if len(heard) == 1:
            raise MailboxFull("bank", 1)

    other = kit.link("bank", client)
    await other.start(full_at_first)
    link = await asker(kit)
    task = asyncio.create_task(link.ask("bank", ASK, Done, trace=TRACE))
    await kit.counters.until_dropped("mailbox-full")
    (question,) = await said(kit, "bank", LinkQuestion)
    client.inject(inbox(kit, "bank"), question)
    assert [each.message for each in heard] == [ASK, ASK]
    await other.reply(heard[1], Done())
    assert await task == Done()


# What is not to be


def framed(octets: bytes, *, source: str = "bank") -> Frame:
    """Return a frame between roles."""
    return Frame(
        bearer=Bearer.ROLE,
        source=source,
        destination="mno",
        pdu=octets,
        reference=bytes(8),
        trace=TRACE,
        sent_at=0.0,
    )


@pytest.mark.usefixtures("patient")
async def test_a_sealed_question_where_there_are_sessions(kit: Kit) -> None:
    """What a certified role sealed is dropped, logged once with its reason, and reaches nobody."""
    await kit.puppet("bank")
    link = await asker(kit)
    recipient = kit.directory_of_roles.party("mno")
    octets = sealing.seal(
        encode(ASK),
        context=QUESTION,
        sender="bank",
        sender_key=kit.keys["bank"].signing,
        recipient="mno",
        recipient_public=recipient.sealing_public,
        recipient_suite=recipient.suite,
        serial=kit.fresh(),
    )
    with capture_logs() as logged:
        kit.clients["mno"].inject(inbox(kit, "mno"), framed(octets))
    assert kit.counters.drops("wrong-way") == 1
    dropped = [(each["source"], each["reason"]) for each in logged if each["event"] == "link.dropped"]
    assert dropped == [("bank", "wrong-way")]
    assert await link.ask("bank", ASK, Done, trace=TRACE) == Done()


@pytest.mark.usefixtures("impatient")
async def test_a_session_where_messages_are_sealed(kit: Kit) -> None:
    """One whose config says sessions gets none of one whose config says sealed; the others speak on."""
    sessions, kit.forms = kit.forms, LinkForms()
    await kit.puppet("bank")
    await kit.puppet("shop")
    kit.forms = LinkForms(said={"mno": FORMS[0], "shop": FORMS[0]})
    await kit.puppet("shop")
    kit.forms = sessions
    link = await asker(kit)
    lost = asyncio.create_task(link.ask("bank", ASK, Done, trace=TRACE))
    await kit.counters.until_dropped("wrong-way")
    lost.cancel()
    await asyncio.wait([lost])
    assert await link.ask("shop", ASK, Done, trace=TRACE) == Done()


@pytest.mark.parametrize(
    "octets", [b"", b"\x90", b"\x93\x50\xc4\x00", b"garbage"], ids=["none", "array", "cut", "text"]
)
async def test_garbage_on_the_road_is_counted(kit: Kit, octets: bytes) -> None:
    """Octets that are no message of either way are dropped with a reason, and the road goes on."""
    await kit.puppet("bank")
    link = await asker(kit)
    kit.clients["mno"].inject(inbox(kit, "mno"), framed(octets))
    assert sum(kit.counters.snapshot()["dropped"].values()) == 1
    assert await link.ask("bank", ASK, Done, trace=TRACE) == Done()


async def test_letters_that_wait_are_bounded(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """More answers at once than may wait are not given: the bus counts them, and the road goes on."""
    monkeypatch.setattr(link_module, "MOST_LETTERS", 2)
    await kit.puppet("bank")
    link = await asker(kit)
    stranger = SessionWay(
        keys=kit.keys["bank"], directory=kit.directory_of_roles, forms=kit.forms, rng=kit.rng("stranger")
    )
    opening = stranger.open("mno", 0.0, patience_s=0.0)
    assert opening is not None
    for _ in range(2):
        kit.clients["mno"].inject(inbox(kit, "mno"), framed(opening.octets))
    with pytest.raises(MailboxFull):
        kit.clients["mno"].inject(inbox(kit, "mno"), framed(opening.octets))
    assert await link.ask("bank", ASK, Done, trace=TRACE) == Done()


async def test_notices_do_not_crowd_out_handshakes(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many questions come in sessions that are not, few notices wait to be sent at once."""
    monkeypatch.setattr(link_module, "MOST_NOTICES", 2)
    await kit.puppet("bank")
    link = await asker(kit)
    for _ in range(5):
        question = framed(encode(LinkQuestion(label=bytes(8), packet=b"")))
        kit.clients["mno"].inject(inbox(kit, "mno"), question)
    assert kit.counters.drops("no-session") == 5
    assert await link.ask("bank", ASK, Done, trace=TRACE) == Done()
    assert len(await said(kit, "bank", LinkUnknown)) == 2


async def test_a_letter_that_cannot_be_sent(kit: Kit) -> None:
    """When our own connection is closed already, what was to be said is dropped and counted."""
    await kit.puppet("bank")
    client: WatchedClient = kit.clients["bank"]
    await client.__aexit__(None, None, None)
    client.inject(inbox(kit, "bank"), framed(encode(LinkQuestion(label=bytes(8), packet=b"")), source="mno"))
    await kit.counters.until_dropped("not-sent")
    assert kit.counters.drops("no-session") == 1


@pytest.mark.usefixtures("patient")
async def test_one_whom_its_operator_revoked(kit: Kit) -> None:
    """It is asked nothing more; what it asks in its session it is told no to, in that session."""
    puppet = await kit.puppet("mno")
    link = await asker(kit, "bank")
    assert await link.ask("mno", ASK, Done, trace=TRACE) == Done()
    kit.directory_of_roles.revoke("bank", by="mno")
    puppet.says = lambda question: Refused(reason="revoked") if question.sender == "bank" else None
    with pytest.raises(Refusal, match="revoked"):
        await link.ask("mno", ASK, Done, trace=TRACE)
