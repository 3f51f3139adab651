"""The inside road: a question and its reply, and everything that is no reply."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agents import link as link_module
from agents.errors import MessageRejected, Refusal, Unanswered
from agents.fleet.addresses import ua_of
from agents.identity import RoleKeys
from agents.link_sealed import QUESTION, REPLY
from agents.messages.codec import encode
from agents.messages.inside import Agreed, Done, LookUp, ModuleRecord, Refused
from agents.messages.orders import Order
from agents.randomness import make_rng
from bus.errors import MailboxFull
from bus.frame import Bearer, Frame
from bus.topics import Inbox
from tests.agents.role_kit import TRACE
from transport.errors import CertificateRejected
from transport.security import sealing
from transport.security.certificates import Role
from transport.security.sealing import SealedMessage

if TYPE_CHECKING:
    from agents.link import Link, Question
    from agents.messages.inside import Reply
    from tests.agents.role_kit import Kit, Puppet, WatchedClient

ASK = LookUp(ua=ua_of("link", 1, 1))


def nothing(_question: Question) -> Reply | None:
    """Say nothing."""
    return None


async def asker(kit: Kit, name: str = "mno") -> tuple[Link, WatchedClient]:
    """Return *name*'s end of the road, listening, with its client."""
    client = await kit.client(name)
    link = kit.link(name, client)
    await link.start(lambda question: pytest.fail(f"{name} was asked {question.message}"))
    return link, client


def sealed(kit: Kit, octets: bytes, *, sender: str, to: str, context: bytes, serial: bytes) -> bytes:
    """Return *octets* as *sender* seals them to *to*."""
    recipient = kit.directory_of_roles.party(to)
    return sealing.seal(
        octets,
        context=context,
        sender=sender,
        sender_key=kit.keys[sender].signing,
        recipient=to,
        recipient_public=recipient.sealing_public,
        recipient_suite=recipient.suite,
        serial=serial,
    )


def framed(octets: bytes, *, source: str = "bank", reference: bytes = bytes(8)) -> Frame:
    """Return a frame between roles."""
    return Frame(
        bearer=Bearer.ROLE,
        source=source,
        destination="mno",
        pdu=octets,
        reference=reference,
        trace=TRACE,
        sent_at=0.0,
    )


def inbox(kit: Kit, agent: str) -> Inbox:
    """Return where *agent* is asked."""
    return Inbox(fleet=kit.fleet, agent=agent)


async def test_a_question_gets_its_reply(kit: Kit) -> None:
    """The other learns who asks, in which role and under which trace; the asker gets the typed reply."""
    puppet = await kit.puppet("bank")
    agreed = Agreed(service="account", tar=b"\xb2\0\0")
    puppet.says = lambda _question: agreed
    link, _ = await asker(kit)
    assert await link.ask("bank", ASK, Agreed, trace=TRACE) == agreed
    (question,) = puppet.questions
    assert (question.sender, question.role, question.message, question.trace.trace_id) == (
        "mno",
        Role.OPERATOR,
        ASK,
        TRACE.trace_id,
    )


async def test_neither_question_nor_reply_can_be_read_on_the_wire(kit: Kit) -> None:
    """Both frames bear the same reference and trace, and no octet of what is said."""
    puppet = await kit.puppet("bank")
    puppet.says = lambda _question: Refused(reason="not-my-business")
    link, _ = await asker(kit)
    with pytest.raises(Refusal):
        await link.ask("bank", ASK, Done, trace=TRACE)
    (asked,) = await kit.wire.until(inbox(kit, "bank"))
    (replied,) = await kit.wire.until(inbox(kit, "mno"))
    assert (asked.reference, asked.trace.trace_id) == (replied.reference, replied.trace.trace_id)
    assert ASK.ua.encode() not in asked.pdu
    assert b"not-my-business" not in replied.pdu


@pytest.mark.parametrize(
    ("reply", "reason"),
    [(Refused(reason="unknown-module"), "unknown-module"), (Done(), "unexpected-reply")],
    ids=["a-refusal", "another-reply"],
)
async def test_a_refusal_is_raised_with_the_others_reason(kit: Kit, reply: Reply, reason: str) -> None:
    """A refusal comes with its code, and a reply of another class than expected is one as well."""
    puppet = await kit.puppet("bank")
    puppet.says = lambda _question: reply
    link, _ = await asker(kit)
    with pytest.raises(Refusal, match=reason):
        await link.ask("bank", ASK, ModuleRecord, trace=TRACE)


async def test_silence_is_asked_again_with_the_same_octets(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second attempt repeats question and reference and counts as a retry; the first reply was lost."""
    monkeypatch.setattr(link_module, "REPLY_TIMEOUT_S", 0.3)
    puppet = await kit.puppet("bank")
    link, _ = await asker(kit)
    lost: list[Frame] = []

    def lose_the_first(_path: str, frame: Frame) -> list[Frame]:
        lost.append(frame)
        return [] if len(lost) == 1 else [frame]

    kit.clients["bank"].alter = lose_the_first
    assert await link.ask("bank", ASK, Done, trace=TRACE) == Done()
    first, second = (await kit.wire.until(inbox(kit, "bank"), 2))[:2]
    assert (first.pdu, first.reference) == (second.pdu, second.reference)
    assert (first.attempt, second.attempt) == (1, 2)
    assert kit.counters.retries(Bearer.ROLE) >= 1
    assert len(puppet.questions) == 1
    assert lost[0].pdu == lost[1].pdu


async def test_who_never_answers_is_given_up(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last attempt the asker is told who stayed silent."""
    monkeypatch.setattr(link_module, "REPLY_TIMEOUT_S", 0.01)
    puppet = await kit.puppet("bank")
    puppet.says = nothing
    link, _ = await asker(kit)
    with pytest.raises(Unanswered, match="bank does not answer") as caught:
        await link.ask("bank", ASK, Done, trace=TRACE)
    assert (caught.value.who, caught.value.reason) == ("bank", "no-answer")
    assert len(await kit.wire.until(inbox(kit, "bank"), 4)) == link_module.ATTEMPTS == 4


async def test_a_question_delivered_twice_is_carried_out_once(kit: Kit) -> None:
    """QoS 1 may double a question: the second is at work already or gets the reply of the first."""
    puppet = await kit.puppet("bank")
    link, client = await asker(kit)
    client.alter = lambda _path, frame: [frame, frame]
    for count in (1, 2):
        assert await link.ask("bank", ASK, Done, trace=TRACE) == Done()
        assert len(puppet.questions) == count


async def test_a_recorded_question_gets_the_reply_it_got(kit: Kit) -> None:
    """Played again, a question is not carried out again: who asks hears, octet by octet, what was said."""
    puppet = await kit.puppet("bank")
    link, _ = await asker(kit)
    await link.ask("bank", ASK, Done, trace=TRACE)
    (recorded,) = await kit.wire.until(inbox(kit, "bank"))
    kit.clients["bank"].inject(inbox(kit, "bank"), recorded)
    first, second = await kit.wire.until(inbox(kit, "mno"), 2)
    assert first.pdu == second.pdu
    assert len(puppet.questions) == 1


async def test_a_question_at_work_is_not_begun_again(kit: Kit) -> None:
    """While there is no reply yet, a repetition changes nothing and is answered by the first one's reply."""
    puppet = await kit.puppet("bank")
    link, _ = await asker(kit)
    task, question = await _waiting(puppet, link)
    (recorded,) = await kit.wire.until(inbox(kit, "bank"))
    kit.clients["bank"].inject(inbox(kit, "bank"), recorded)
    await puppet.idle()
    assert len(puppet.questions) == 1
    await puppet.desk.link.reply(question, Done())
    assert await task == Done()


async def test_a_question_of_another_time_is_refused(kit: Kit) -> None:
    """Without a memory of it, an old recording is told by the second in its reference."""
    await kit.puppet("bank")
    serial = (1).to_bytes(4, "big") + bytes(4)
    octets = sealed(kit, encode(ASK), sender="mno", to="bank", context=QUESTION, serial=serial)
    kit.clients["bank"].inject(inbox(kit, "bank"), framed(octets, source="mno"))
    assert kit.counters.drops("stale") == 1


async def test_a_question_that_found_no_room_may_come_again(kit: Kit) -> None:
    """A full mailbox is told to the bus, and the question is not remembered as taken."""
    client = await kit.client("bank")
    heard: list[Question] = []

    def full_at_first(question: Question) -> None:
        heard.append(question)
        if len(heard) == 1:
            raise MailboxFull("bank", 1)

    await kit.link("bank", client).start(full_at_first)
    octets = sealed(kit, encode(ASK), sender="mno", to="bank", context=QUESTION, serial=kit.fresh())
    with pytest.raises(MailboxFull):
        client.inject(inbox(kit, "bank"), framed(octets, source="mno"))
    client.inject(inbox(kit, "bank"), framed(octets, source="mno"))
    assert [question.message for question in heard] == [ASK, ASK]


async def _waiting(puppet: Puppet, link: Link) -> tuple[asyncio.Task[Done], Question]:
    """Ask the puppet, which stays silent; return the task that waits, and the question."""
    puppet.says = nothing
    seen = len(puppet.questions)
    task = asyncio.create_task(link.ask("bank", ASK, Done, trace=TRACE))
    question = (await puppet.until_asked(seen + 1))[-1]
    return task, question


async def test_a_reply_that_comes_twice_at_once_is_taken_once(kit: Kit) -> None:
    """Two copies in one reading of the socket: the first is the reply, the second changes nothing."""
    puppet = await kit.puppet("bank")
    link, client = await asker(kit)
    task, question = await _waiting(puppet, link)
    octets = sealed(kit, encode(Done()), sender="bank", to="mno", context=REPLY, serial=question.reference)
    client.inject(inbox(kit, "mno"), framed(octets))
    client.inject(inbox(kit, "mno"), framed(octets))
    assert await task == Done()


async def test_only_who_was_asked_can_reply(kit: Kit) -> None:
    """A certified role's reply to another's question is dropped, and the true one still counts."""
    puppet = await kit.puppet("bank")
    link, client = await asker(kit)
    task, question = await _waiting(puppet, link)
    forged = sealed(kit, encode(Done()), sender="shop", to="mno", context=REPLY, serial=question.reference)
    client.inject(inbox(kit, "mno"), framed(forged, source="bank"))
    assert kit.counters.drops("unexpected-reply") == 1
    assert not task.done()
    await puppet.desk.link.reply(question, Done())
    assert await task == Done()


async def test_a_question_is_no_reply_and_a_reply_no_question(kit: Kit) -> None:
    """Sealed as the one, a message never serves as the other."""
    puppet = await kit.puppet("bank")
    link, client = await asker(kit)
    task, question = await _waiting(puppet, link)
    for context, serial in ((QUESTION, question.reference), (REPLY, bytes(8))):
        octets = sealed(kit, encode(Done()), sender="bank", to="mno", context=context, serial=serial)
        client.inject(inbox(kit, "mno"), framed(octets))
    assert (kit.counters.drops("bad-signature"), kit.counters.drops("unexpected-reply")) == (1, 1)
    assert not task.done()
    await puppet.desk.link.reply(question, Done())
    assert await task == Done()


@pytest.mark.parametrize(
    ("octets", "reason"),
    [(encode(ASK), "unexpected-message"), (b"\xc1", "not-msgpack"), (b"\x90", "unexpected-message")],
    ids=["a-question", "garbage", "nothing"],
)
async def test_a_reply_that_says_nothing_is_dropped(kit: Kit, octets: bytes, reason: str) -> None:
    """A proven reply must be one by its content, too; the asker goes on waiting."""
    puppet = await kit.puppet("bank")
    link, client = await asker(kit)
    task, question = await _waiting(puppet, link)
    reply = sealed(kit, octets, sender="bank", to="mno", context=REPLY, serial=question.reference)
    client.inject(inbox(kit, "mno"), framed(reply))
    assert kit.counters.drops(reason) == 1
    assert not task.done()
    await puppet.desk.link.reply(question, Done())
    assert await task == Done()


async def test_nobody_asks_whom_nobody_certified(kit: Kit) -> None:
    """A name without a certificate has no key to seal for; nothing is sent."""
    link, _ = await asker(kit)
    with pytest.raises(MessageRejected, match="unknown-role"):
        await link.ask("stranger", ASK, Done, trace=TRACE)


async def test_nobody_asks_whom_its_operator_revoked(kit: Kit) -> None:
    """It is sealed for nobody who is none any more; what such a one answers still is no answer."""
    puppet = await kit.puppet("bank")
    link, client = await asker(kit)
    task, question = await _waiting(puppet, link)
    kit.directory_of_roles.revoke("bank", by="mno")
    with pytest.raises(CertificateRejected, match="revoked"):
        await link.ask("bank", ASK, Done, trace=TRACE)
    reply = sealed(kit, encode(Done()), sender="bank", to="mno", context=REPLY, serial=question.reference)
    client.inject(inbox(kit, "mno"), framed(reply))
    assert kit.counters.drops("revoked") == 1
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


async def test_an_uncertified_sender_is_not_heard(kit: Kit) -> None:
    """A sound seal by somebody whom the authority never certified is dropped with that reason."""
    _, client = await asker(kit)
    stranger = RoleKeys.make(name="stranger", role=Role.SUPPLIER, suite="x25519", rng=make_rng(9, "x"))
    mno = kit.directory_of_roles.party("mno")
    octets = sealing.seal(
        encode(ASK),
        context=QUESTION,
        sender="stranger",
        sender_key=stranger.signing,
        recipient="mno",
        recipient_public=mno.sealing_public,
        recipient_suite=mno.suite,
        serial=kit.fresh(),
    )
    client.inject(inbox(kit, "mno"), framed(octets))
    assert kit.counters.drops("unknown-role") == 1


async def test_an_impostor_with_a_certified_name_is_not_heard(kit: Kit) -> None:
    """Who takes a certified name without its key is dropped: the name is not what proves him."""
    puppet = await kit.puppet("bank")
    keys = RoleKeys.make(name="mno", role=Role.OPERATOR, suite="x25519", rng=make_rng(9, "x"))
    client = await kit.client("impostor")
    asking = asyncio.create_task(kit.link("mno", client, keys).ask("bank", ASK, Done, trace=TRACE))
    await kit.counters.until_dropped("bad-signature")
    asking.cancel()
    await asyncio.wait([asking])
    assert puppet.questions == []


async def test_a_message_for_another_is_dropped(kit: Kit) -> None:
    """What was sealed to the shop and lands in another inbox is not opened there."""
    _, client = await asker(kit)
    octets = sealed(kit, encode(ASK), sender="bank", to="shop", context=QUESTION, serial=kit.fresh())
    client.inject(inbox(kit, "mno"), framed(octets))
    assert kit.counters.drops("not-for-us") == 1


async def test_no_octet_of_a_question_can_be_altered(kit: Kit) -> None:
    """Each octet of a sealed question, turned, makes it be dropped; none reaches the role."""
    _, client = await asker(kit)
    octets = sealed(kit, encode(ASK), sender="bank", to="mno", context=QUESTION, serial=kit.fresh())
    for place in range(len(octets)):
        altered = bytearray(octets)
        altered[place] ^= 0x01
        client.inject(inbox(kit, "mno"), framed(bytes(altered)))
    dropped = kit.counters.snapshot()["dropped"]
    assert sum(dropped.values()) == len(octets)
    assert set(dropped) <= {
        "unknown-format",
        "unknown-suite",
        "wrong-suite",
        "unknown-role",
        "malformed",
        "not-for-us",
        "bad-signature",
    }


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (encode(Done()), "unexpected-message"),
        (encode(Order(run=1, do="x", ua="", service="", argument=b"")), "unexpected-message"),
        (encode(ASK)[:-1], "not-msgpack"),
    ],
    ids=["a-reply", "an-order", "cut"],
)
async def test_a_proven_sender_still_has_to_ask_something(kit: Kit, octets: bytes, reason: str) -> None:
    """What a certified role seals as a question must be one of the questions there are."""
    _, client = await asker(kit)
    question = sealed(kit, octets, sender="bank", to="mno", context=QUESTION, serial=kit.fresh())
    client.inject(inbox(kit, "mno"), framed(question))
    assert kit.counters.drops(reason) == 1


async def test_garbage_on_the_road_is_counted(kit: Kit) -> None:
    """Octets that are no sealed message are dropped with a reason, and the road goes on."""
    puppet = await kit.puppet("bank")
    link, client = await asker(kit)
    client.inject(inbox(kit, "mno"), framed(b"garbage"))
    assert sum(kit.counters.snapshot()["dropped"].values()) == 1
    assert await link.ask("bank", ASK, Done, trace=TRACE) == Done()
    assert len(puppet.questions) == 1


async def test_the_clear_part_names_the_sender_the_seal_proves(kit: Kit) -> None:
    """The name that counts is the sealed one: a frame's own source may say anything."""
    heard: list[Question] = []
    client = await kit.client("mno")
    await kit.link("mno", client).start(heard.append)
    octets = sealed(kit, encode(ASK), sender="bank", to="mno", context=QUESTION, serial=kit.fresh())
    client.inject(inbox(kit, "mno"), replace(framed(octets), source="root"))
    assert SealedMessage.parse(octets).sender == heard[0].sender == "bank"
    assert heard[0].role == Role.SUPPLIER
