"""The operator: agreements, subscriptions, and one command at a time to each module."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from agents import link as link_module
from agents.agreements import FIRST_TAR, Agreements
from agents.errors import Refusal
from agents.handset.security_module.core import Core
from agents.handset.security_module.definitions import Definition, DefinitionTable
from agents.handset.security_module.life_cycle import ResourceState
from agents.handset.security_module.memory import Memory
from agents.handset.security_module.module import INS_GET_DATA, PROPRIETARY
from agents.identity import certify_module
from agents.link import Question
from agents.messages.air import MANAGER_TAR, Answer, Audit, Reserve, Subscribe
from agents.messages.codec import decode, encode
from agents.messages.inside import Activate, Agree, Agreed, Done, ModuleRecord, Refused, ResourceChanged
from agents.messages.signed import Purpose, Signed, sign
from agents.messages.succession import key_digest
from agents.randomness import make_rng
from agents.revocations import Revocations
from agents.store.tables import OPERATOR, SUBSCRIPTIONS
from bus.frame import Bearer, Frame
from bus.topics import Events, Inbox, ShortMessageFrom, ShortMessageTo
from tests.agents.role_kit import PATIENCE_S, SUBJECTS, TRACE, Kit, Puppet, open_kit
from transport.apdu import CommandApdu, ResponseApdu
from transport.concatenation import Reassembler, split
from transport.secured_packet import SecurityParameters, decode_command, encode_command
from transport.security.certificates import Role
from transport.security.keyset import DEFAULT_PROTECTION
from transport.security.suites import SUITES
from transport.security.terms import AGREE_THEN_SIGN
from transport.sms import (
    IEI_COMMAND_PACKET,
    Address,
    FailureCause,
    InformationElement,
    SmsDeliver,
    SmsDeliverReport,
    SmsSubmit,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from bus.address import BrokerAddress
    from transport.security.suites import SigningKey

NUMBER = SUBJECTS["mno"][2]
FIRST, SECOND = FIRST_TAR.to_bytes(3, "big"), (FIRST_TAR + 1).to_bytes(3, "big")
LOST = SmsDeliverReport(failure_cause=FailureCause.DATA_DOWNLOAD_ERROR).encode()
STRANGER = SUITES["x25519"].generate_signing_key(make_rng(1, "stranger"))


def agree(service: str = "account", **changes: Any) -> Agree:
    """Return what a supplier asks for."""
    asked: dict[str, Any] = {
        "service": service,
        "number": SUBJECTS["bank"][2],
        "suite": "x25519",
        "forms": [AGREE_THEN_SIGN],
        "public": STRANGER.public,
        "sealing": bytes(range(32)),
        "code_size": 512,
        "data_size": 64,
        "rights": 0,
        "expires_at": 0,
        "lifetime": 0,
        "executions": -1,
        "at_end": "deactivate",
        "bearers": ["sms"],
        "server": b"",
        "protection": DEFAULT_PROTECTION,
    }
    return Agree(**(asked | changes))


def news(kit: Kit, state: str, *, turn: int) -> ResourceChanged:
    """Return what the supplier of the first module's account is told of it."""
    return ResourceChanged(
        ua=kit.ua(),
        service="account",
        state=state,
        turn=turn,
        supplier_digest=key_digest(STRANGER.public),
    )


async def ask(puppet: Puppet, message: Agree) -> Agreed:
    """Have *puppet* ask the operator."""
    return await puppet.desk.link.ask("mno", message, Agreed, trace=TRACE)


class Desks:
    """The operator's market: real but for the suppliers."""

    def __init__(self, kit: Kit, bank: Puppet) -> None:
        self.kit = kit
        self.bank = bank

    def commands(self) -> list[tuple[bytes, Signed]]:
        """Return the commands that the operator sent to the first module: their octets, and what they say."""
        reassembler, found = Reassembler(), []
        for frame in self.kit.wire.on(ShortMessageTo(fleet=self.kit.fleet, ua=self.kit.ua())):
            if frame.source != NUMBER:
                continue
            whole = reassembler.receive("", SmsDeliver.parse(frame.pdu).user_data, 0.0)
            if whole is not None:
                data = decode_command(whole.payload).data
                found.append((data, decode(data, Signed)))
        return found

    def lose_reports(self, count: int) -> None:
        """Turn the last reports of the next *count* commands into "not delivered": the module has them."""
        left = [count]

        def lose(path: str, frame: Frame) -> list[Frame]:
            whole = frame.bearer is Bearer.REPORT and len(frame.pdu) > 20
            if whole and left[0] and path:
                left[0] -= 1
                return [replace(frame, pdu=LOST)]
            return [frame]

        self.kit.clients["cell"].alter = lose

    def alter_report(self, change: Callable[[bytes], bytes]) -> None:
        """Change the next response of the module on its way."""
        done: list[bool] = []

        def alter(_path: str, frame: Frame) -> list[Frame]:
            if frame.bearer is Bearer.REPORT and len(frame.pdu) > 20 and not done:
                done.append(True)
                return [replace(frame, pdu=change(frame.pdu))]
            return [frame]

        self.kit.clients["cell"].alter = alter

    def states(self) -> dict[str, int]:
        """Return how many subscriptions are in which state."""
        return self.kit.operator().states()

    def resources(self) -> list[tuple[str, ResourceState]]:
        """Return the resources in the first module."""
        module = self.kit.cell.phones[self.kit.ua()].module
        return [(each.service, each.state) for each in module.definitions.all()]


@pytest.fixture
async def desks(kit: Kit) -> Desks:
    """Return an operator with two services agreed with a puppet, and one personalised handset."""
    await kit.start("root", "factory", "mno")
    bank = await kit.puppet("bank")
    await kit.handset()
    await kit.take("personalise")
    for service in ("account", "loyalty"):
        await ask(bank, agree(service))
    return Desks(kit, bank)


# AGREE


async def test_each_service_gets_a_tar_of_its_own_and_keeps_it(kit: Kit) -> None:
    """They count up from the first; agreed again, on other terms, a service keeps its TAR."""
    await kit.start("mno")
    bank, shop = await kit.puppet("bank"), await kit.puppet("shop")
    assert await ask(bank, agree("account")) == Agreed(service="account", tar=FIRST)
    assert await ask(shop, agree("loyalty")) == Agreed(service="loyalty", tar=SECOND)
    assert await ask(bank, agree("account", code_size=1024)) == Agreed(service="account", tar=FIRST)


async def test_services_that_are_agreed_at_once_have_tars_of_their_own(kit: Kit) -> None:
    """What the next one is given depends on what the ones before were, also while those are being stored."""
    desk, store = await kit.desk("mno"), await kit.store("mno", OPERATOR)
    agreements = Agreements(desk, store, Revocations(desk, store), suppliers=None)
    await agreements.load()
    agreed = await asyncio.gather(
        *(
            agreements.agree(
                Question(sender="bank", role=Role.SUPPLIER, message=message, reference=bytes(8), trace=TRACE),
                message,
            )
            for message in (agree(f"service-{number}") for number in range(4))
        )
    )
    assert [each.tar for each in agreed] == [(FIRST_TAR + number).to_bytes(3, "big") for number in range(4)]


async def test_a_service_belongs_to_the_supplier_that_agreed_it_first(kit: Kit) -> None:
    """Another supplier cannot take it over."""
    await kit.start("mno")
    bank, shop = await kit.puppet("bank"), await kit.puppet("shop")
    await ask(bank, agree("account"))
    with pytest.raises(Refusal, match="service-of-another"):
        await ask(shop, agree("account"))


@pytest.mark.parametrize("name", ["other", "factory", "root"])
async def test_nobody_but_a_supplier_agrees(kit: Kit, name: str) -> None:
    """Whoever the authority certified as something else is refused."""
    await kit.start("mno")
    with pytest.raises(Refusal, match="not-a-supplier"):
        await ask(await kit.puppet(name), agree())


async def test_agreements_outlive_a_launch(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """In the next launch a known service has its TAR, and a new one another."""
    async with open_kit(broker, fleet, tmp_path, log) as first:
        await first.start("mno")
        await ask(await first.puppet("bank"), agree("account"))
    async with open_kit(broker, fleet, tmp_path, log, run=2) as second:
        await second.start("mno")
        bank = await second.puppet("bank")
        assert (await ask(bank, agree("loyalty"))).tar == SECOND
        assert (await ask(bank, agree("account"))).tar == FIRST


# SUB


async def request(
    desks: Desks,
    counter: int,
    *,
    service: str = "account",
    body: bytes | None = None,
    key: SigningKey | None = None,
    changes: dict[str, Any] | None = None,
) -> None:
    """Send the operator a subscription, signed by *key*, from the first module's address."""
    kit = desks.kit
    signed = sign(
        encode(Subscribe(service=service)) if body is None else body,
        purpose=Purpose.REQUEST,
        target="mno",
        counter=counter,
        signer=kit.ua(),
        key=key or STRANGER,
    )
    packet = encode_command(
        spi=SecurityParameters(),
        tar=MANAGER_TAR,
        data=encode(replace(signed, **changes) if changes else signed),
    )
    element = InformationElement(iei=IEI_COMMAND_PACKET, data=b"")
    for number, user_data in enumerate(split(packet, reference=counter & 0xFF, first=element)):
        submit = SmsSubmit(reference=0, destination=Address(digits=NUMBER), user_data=user_data)
        frame = Frame(
            bearer=Bearer.SMS,
            source=kit.ua(),
            destination=NUMBER,
            pdu=submit.encode(),
            reference=bytes([counter & 0xFF]) * 7 + bytes([number]),
            trace=TRACE,
            sent_at=0.0,
        )
        await kit.clients["cell"].publish(ShortMessageFrom(fleet=kit.fleet, address=NUMBER), frame)


async def again(desks: Desks, frames: list[Frame]) -> None:
    """Publish short messages to the operator once more, as somebody who recorded them may."""
    topic = ShortMessageFrom(fleet=desks.kit.fleet, address=NUMBER)
    for frame in frames:
        await desks.kit.clients["tap"].publish(topic, frame)


async def test_a_subscription_is_taken(desks: Desks) -> None:
    """The module's own signature is enough; the operator asks the authority for the key that it lacks."""
    await desks.kit.take("subscribe")
    assert desks.states() == {"subscribed": 1}


async def test_a_service_that_nobody_agreed_is_refused(desks: Desks) -> None:
    """The subscriber hears so, and there is no subscription."""
    event = await desks.kit.order("subscribe", "nothing")
    assert (event.result, event.reason) == ("refused", "unknown-service")
    assert desks.states() == {}


async def test_subscribing_again_changes_nothing(desks: Desks) -> None:
    """Whatever has come of a subscription, it is not begun anew while it lasts."""
    await desks.kit.take("subscribe", "subscribe", "reserve", "subscribe")
    assert desks.states() == {"reserved": 1}


async def test_a_released_service_may_be_subscribed_to_again(desks: Desks) -> None:
    """After the release the story begins anew."""
    await desks.kit.take("subscribe", "reserve", "release", "subscribe")
    assert desks.states() == {"subscribed": 1}


async def test_a_request_delivered_twice_is_told_twice_and_done_once(desks: Desks) -> None:
    """The last request, repeated octet by octet, gets the same word and changes nothing."""
    kit = desks.kit
    await kit.take("subscribe", "reserve")
    sent = kit.wire.on(ShortMessageFrom(fleet=kit.fleet, address=NUMBER))
    seen = len(kit.events)
    await again(desks, sent)
    event = await kit.event("subscribe", after=seen)
    assert (event.result, event.reason) == ("ok", "")
    assert desks.states() == {"reserved": 1}


async def test_a_refused_request_delivered_twice_is_refused_twice(desks: Desks) -> None:
    """The same request gets the same word: a refusal does not turn into an "ok" when it is repeated."""
    kit = desks.kit
    event = await kit.order("subscribe", "nothing")
    assert event.result == "refused"
    seen = len(kit.events)
    await again(desks, kit.wire.on(ShortMessageFrom(fleet=kit.fleet, address=NUMBER)))
    event = await kit.event("subscribe", after=seen)
    assert (event.result, event.reason) == ("refused", "unknown-service")


async def test_a_subscription_is_not_ok_before_it_is_stored(desks: Desks) -> None:
    """The store fails once: whatever the subscriber then hears is what the register says."""
    kit = desks.kit
    kit.fail_next_save("mno", SUBSCRIPTIONS)
    event = await kit.order("subscribe", "account")
    assert (event.result, desks.states()) == ("ok", {"subscribed": 1})


async def test_an_old_request_is_dropped(desks: Desks) -> None:
    """A request recorded before a later one was made is a replay: it would undo a release."""
    kit = desks.kit
    await kit.take("subscribe")
    first = kit.wire.on(ShortMessageFrom(fleet=kit.fleet, address=NUMBER))
    await kit.take("subscribe", "reserve", "release")
    await again(desks, first)
    await kit.counters.until_dropped("replayed")
    assert desks.states() == {"released": 1}


@pytest.mark.parametrize(
    "changes",
    [{"target": "other"}, {"signer": "8988000000000000000"}],
    ids=["another-operator", "another-module"],
)
async def test_a_request_that_is_not_for_us_is_dropped(desks: Desks, changes: dict[str, Any]) -> None:
    """For another operator or by another module: dropped, counted, no subscription."""
    await request(desks, 1, changes=changes)
    await desks.kit.counters.until_dropped("meant-for-another")
    assert desks.states() == {}


async def test_a_request_that_the_module_did_not_sign_is_not_taken(desks: Desks) -> None:
    """Signed by another key it makes no subscription, and uses up no counter: the module's own does."""
    await request(desks, 1)
    await desks.kit.counters.until_dropped("signature")
    assert desks.states() == {}
    await desks.kit.take("subscribe")
    assert desks.states() == {"subscribed": 1}


async def test_a_signature_of_the_module_for_something_else_is_no_request(desks: Desks) -> None:
    """The module's signed word for another purpose, sent as a request, is not taken."""
    kit = desks.kit
    await kit.take("subscribe")
    module = kit.cell.phones[kit.ua()].module
    get_data = CommandApdu(cla=PROPRIETARY, ins=INS_GET_DATA, expected=256).encode()
    said = ResponseApdu.parse(module.process(get_data, 0.0))
    possession = decode(said.data, Signed)
    own = {"signature": possession.signature, "purpose": int(Purpose.POSSESSION)}
    await request(desks, 9, changes=own)
    await kit.counters.until_dropped("signature")


async def test_a_stranger_ends_nobodys_order(desks: Desks) -> None:
    """A trace is no secret: what is not proven is dropped, and no event tells how an order under it ended."""
    await request(desks, 1)
    await desks.kit.take("subscribe")
    assert [event.result for event in desks.kit.events if event.do == "subscribe"] == ["ok"]


async def test_a_module_that_the_authority_does_not_know_subscribes_to_nothing(kit: Kit) -> None:
    """Nobody's module gets no subscription."""
    await kit.start("root", "mno")
    await kit.handset()
    await request(Desks(kit, await kit.puppet("bank")), 1)
    assert (await kit.event("subscribe")).reason == "unknown-module"
    assert kit.operator().states() == {}


async def test_a_module_is_asked_about_once(kit: Kit) -> None:
    """What the authority said of a module is kept: the second request costs no question."""
    await kit.start("root", "factory")
    await kit.handset()
    await kit.take("personalise")
    await kit.start("mno")
    await ask(await kit.puppet("bank"), agree())
    await kit.take("subscribe", "subscribe", "reserve")
    asked = kit.wire.on(Inbox(fleet=kit.fleet, agent="root"))
    assert [frame.source for frame in asked] == ["factory", "mno"]


async def test_a_key_that_the_authority_did_not_certify_is_not_believed(kit: Kit) -> None:
    """What comes in the authority's place with another's certificate makes nobody a subscriber."""
    root = await kit.puppet("root")
    await kit.start("mno")
    await kit.handset()
    forged = certify_module(
        kit.ua(),
        "x25519",
        STRANGER.public,
        b"",
        issuer=replace(kit.keys["bank"], name="root"),
        now=kit.clock.now(),
    )
    root.says = lambda _question: ModuleRecord(certificate=forged.encode(), memory=1, suites=[])
    await request(Desks(kit, await kit.puppet("bank")), 1)
    event = await kit.event("subscribe")
    assert (event.result, event.reason) == ("failed", "bad-signature")
    assert kit.operator().states() == {}


async def test_what_is_no_signed_message_is_dropped(desks: Desks) -> None:
    """A packet that carries something else than a signed request says nothing."""
    packet = encode_command(spi=SecurityParameters(), tar=MANAGER_TAR, data=b"hello")
    element = InformationElement(iei=IEI_COMMAND_PACKET, data=b"")
    (user_data,) = split(packet, reference=1, first=element)
    submit = SmsSubmit(reference=0, destination=Address(digits=NUMBER), user_data=user_data)
    frame = Frame(
        bearer=Bearer.SMS,
        source=desks.kit.ua(),
        destination=NUMBER,
        pdu=submit.encode(),
        reference=bytes(8),
        trace=TRACE,
        sent_at=0.0,
    )
    await again(desks, [frame])
    await desks.kit.counters.until_dropped("not-msgpack")
    assert desks.states() == {}


# RES


async def test_a_reservation_says_what_was_agreed(desks: Desks) -> None:
    """Supplier, key, sizes and TAR are the agreement's, under the operator's signature for this module."""
    kit = desks.kit
    await kit.take("subscribe", "reserve")
    assert desks.resources() == [("account", ResourceState.RESERVED)]
    ((_, signed),) = desks.commands()
    assert (signed.target, signed.signer, signed.counter) == (kit.ua(), "mno", 1)
    command = decode(signed.body, Reserve)
    assert (command.tar, command.supplier, command.supplier_number) == (FIRST, "bank", SUBJECTS["bank"][2])
    assert (command.supplier_public, command.code_size, command.data_size) == (STRANGER.public, 512, 64)
    signed.verify(purpose=Purpose.COMMAND, suite="x25519", public=kit.keys["mno"].signing.public)
    assert desks.states() == {"reserved": 1}


async def test_a_command_is_stored_before_it_is_sent(desks: Desks) -> None:
    """When the first short message leaves, the database already holds the octets that it begins."""
    kit = desks.kit
    await kit.take("subscribe")
    stored: list[tuple[str, int, str]] = []

    def look(path: str, frame: Frame) -> list[Frame]:
        if "/sms/mt/" in path and not stored:
            database = sqlite3.connect(kit.directory / "mno.db")
            stored.extend(database.execute("SELECT ua, counter, kind FROM commands"))
            database.close()
        return [frame]

    kit.clients["mno"].alter = look
    await kit.take("reserve")
    assert stored == [(kit.ua(), 1, "reserve")]


@pytest.mark.parametrize(
    ("do", "service", "reason"),
    [
        ("reserve", "account", "subscription-none"),
        ("activate", "account", "subscription-none"),
        ("block", "account", "subscription-none"),
        ("unblock", "account", "subscription-none"),
        ("release", "account", "subscription-none"),
        ("reserve", "nothing", "unknown-service"),
        ("activate", "nothing", "unknown-service"),
        ("release", "nothing", "unknown-service"),
    ],
)
async def test_without_a_subscription_nothing_is_done(
    desks: Desks, do: str, service: str, reason: str
) -> None:
    """Each order needs a state to begin from; the module hears nothing of a refused one."""
    event = await desks.kit.order(do, service)
    assert (event.result, event.reason) == ("refused", reason)
    assert desks.commands() == []


async def test_what_was_carried_out_is_not_carried_out_again(desks: Desks) -> None:
    """Each order, given twice, ends well twice and costs the module one command."""
    for do in ("subscribe", "reserve", "activate", "block", "unblock", "release"):
        await desks.kit.take(do, do)
    assert [signed.counter for _, signed in desks.commands()] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("before", "do", "state"),
    [
        (["subscribe"], "activate", "subscribed"),
        (["subscribe"], "block", "subscribed"),
        (["subscribe"], "release", "subscribed"),
        (["subscribe"], "unblock", "subscribed"),
        (["subscribe", "reserve", "block"], "activate", "blocked"),
        (["subscribe", "reserve", "release"], "reserve", "released"),
        (["subscribe", "reserve", "release"], "block", "released"),
    ],
)
async def test_an_order_that_the_state_does_not_allow_is_refused(
    desks: Desks, before: list[str], do: str, state: str
) -> None:
    """The state says why, and stays."""
    await desks.kit.take(*before)
    event = await desks.kit.order(do, "account")
    assert (event.result, event.reason) == ("refused", f"subscription-{state}")
    assert desks.states() == {state: 1}


async def test_a_reservation_that_the_module_refuses_may_be_tried_again(desks: Desks) -> None:
    """No room: refused with the module's reason; with a smaller agreement the same subscription gets it."""
    await ask(desks.bank, agree("account", code_size=1_000_000))
    kit = desks.kit
    await kit.take("subscribe")
    event = await kit.order("reserve", "account")
    assert (event.result, event.reason) == ("refused", "zone-full")
    assert desks.states() == {"refused": 1}
    assert desks.resources() == []
    await ask(desks.bank, agree("account"))
    await kit.take("reserve")
    assert [signed.counter for _, signed in desks.commands()] == [1, 2]
    assert desks.states() == {"reserved": 1}


async def test_a_module_that_was_exchanged_takes_no_command(desks: Desks) -> None:
    """A blank module answers with a status that nobody vouches for: failed, and the state stays."""
    kit = desks.kit
    await kit.take("subscribe", "reserve")
    kit.cell.phones[kit.ua()].module = await kit.boot(kit.ua(2))
    event = await kit.order("block", "account")
    assert (event.result, event.reason) == ("failed", "insufficient-security-level")
    assert desks.states() == {"reserved": 1}


async def test_a_refused_command_leaves_the_subscription_where_it_was(desks: Desks) -> None:
    """What has ended by itself is not blocked any more: refused, with the module's reason, and as it was."""
    kit = desks.kit
    await ask(desks.bank, agree("account", executions=3))
    await kit.take("subscribe", "reserve")
    await rewrite(desks, exhausted)
    event = await kit.order("block", "account")
    assert (event.result, event.reason) == ("refused", "block-when-exhausted")
    assert desks.states() == {"reserved": 1}


async def test_what_comes_back_is_the_key_that_was_reserved(desks: Desks) -> None:
    """Agreed anew with another key, what was blocked still gets its own: the module takes no other."""
    kit = desks.kit
    await kit.take("subscribe", "reserve", "block")
    await ask(desks.bank, agree("account", public=kit.keys["mno"].signing.public))
    await kit.take("unblock")
    assert desks.states() == {"reserved": 1}
    assert definition(desks).supplier_public == STRANGER.public


async def test_a_lost_answer_is_fetched_before_anything_is_decided(desks: Desks) -> None:
    """Behind a release whose answer got lost a block finds that there is nothing left to block."""
    kit = desks.kit
    await kit.take("subscribe", "reserve")
    desks.lose_reports(1)
    assert (await kit.order("release", "account")).result == "failed"
    event = await kit.order("block", "account")
    assert (event.result, event.reason) == ("refused", "subscription-released")
    assert [signed.counter for _, signed in desks.commands()] == [1, 2, 2]
    assert desks.states() == {"released": 1}


async def test_a_lost_answer_is_asked_for_with_the_same_octets(desks: Desks) -> None:
    """The module has carried it out, the operator does not know: the repetition brings the first answer."""
    kit = desks.kit
    await kit.take("subscribe")
    desks.lose_reports(1)
    event = await kit.order("reserve", "account")
    assert (event.result, event.reason) == ("failed", "rp-error-d5")
    assert desks.states() == {"subscribed": 1}
    assert desks.resources() == [("account", ResourceState.RESERVED)]
    await kit.take("reserve")
    (first, _), (second, _) = desks.commands()
    assert first == second
    assert desks.resources() == [("account", ResourceState.RESERVED)]
    assert desks.states() == {"reserved": 1}


async def test_a_lost_answer_is_fetched_before_the_next_command(desks: Desks) -> None:
    """Another order goes out only when the one before is known to be done; counters have no gap."""
    kit = desks.kit
    await kit.take("subscribe")
    await kit.take("subscribe", service="loyalty")
    desks.lose_reports(1)
    assert (await kit.order("reserve", "account")).result == "failed"
    await kit.take("reserve", service="loyalty")
    commands = desks.commands()
    assert [signed.counter for _, signed in commands] == [1, 1, 2]
    assert commands[0][0] == commands[1][0]
    assert desks.states() == {"reserved": 2}
    await kit.take("reserve")
    assert len(desks.commands()) == 3


async def test_a_refusal_that_was_lost_is_told_when_it_is_found(desks: Desks) -> None:
    """The answer that got lost was a no: the same octets find it out, then the order is tried once more."""
    await ask(desks.bank, agree("account", code_size=1_000_000))
    kit = desks.kit
    await kit.take("subscribe")
    desks.lose_reports(1)
    assert (await kit.order("reserve", "account")).result == "failed"
    event = await kit.order("reserve", "account")
    assert (event.result, event.reason) == ("refused", "zone-full")
    commands = desks.commands()
    assert [signed.counter for _, signed in commands] == [1, 1, 2]
    assert commands[0][0] == commands[1][0]


async def test_a_command_outlives_the_launch_that_sent_it(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Killed before the answer came, the operator sends the very same octets in its next launch."""
    async with open_kit(broker, fleet, tmp_path, log) as kit:
        await kit.start("root", "factory", "mno")
        desks = Desks(kit, await kit.puppet("bank"))
        await kit.handset()
        await ask(desks.bank, agree())
        await kit.take("personalise", "subscribe")
        desks.lose_reports(1)
        assert (await kit.order("reserve", "account")).result == "failed"
        ((sent, _),) = desks.commands()
    async with open_kit(broker, fleet, tmp_path, log, run=2) as kit:
        await kit.start("root", "factory", "mno")
        desks = Desks(kit, await kit.puppet("bank"))
        await kit.handset()
        await kit.take("reserve")
        ((repeated, _),) = desks.commands()
        assert repeated == sent
        assert desks.resources() == [("account", ResourceState.RESERVED)]
        assert desks.states() == {"reserved": 1}


async def test_an_answer_that_the_module_did_not_sign_is_not_believed(desks: Desks) -> None:
    """With an altered signature the order fails and nothing is taken for done; the next one finds out."""
    kit = desks.kit
    await kit.take("subscribe")
    desks.alter_report(lambda pdu: pdu[:-1] + bytes([pdu[-1] ^ 1]))
    event = await kit.order("reserve", "account")
    assert (event.result, event.reason) == ("failed", "signature")
    assert desks.states() == {"subscribed": 1}
    await kit.take("reserve")
    (first, _), (second, _) = desks.commands()
    assert first == second


async def test_the_answer_to_an_earlier_command_is_not_believed(desks: Desks) -> None:
    """A recorded answer, signed by the module, does not answer the next command."""
    kit = desks.kit
    reports: list[bytes] = []

    def replay(_path: str, frame: Frame) -> list[Frame]:
        if frame.bearer is not Bearer.REPORT or len(frame.pdu) <= 20:
            return [frame]
        reports.append(frame.pdu)
        return [replace(frame, pdu=reports[0])] if len(reports) == 2 else [frame]

    kit.clients["cell"].alter = replay
    await kit.take("subscribe", "reserve")
    event = await kit.order("block", "account")
    assert (event.result, event.reason) == ("failed", "response-of-another-command")
    assert desks.states() == {"reserved": 1}
    await kit.take("block")
    assert [signed.counter for _, signed in desks.commands()] == [1, 2, 2]


async def test_two_orders_at_once_become_two_commands_in_turn(desks: Desks) -> None:
    """One module has one command under way; both are carried out, each under a counter of its own."""
    kit = desks.kit
    for service in ("account", "loyalty"):
        await kit.take("subscribe", service=service)
    seen = len(kit.events)
    await asyncio.gather(
        *(kit.send_order("reserve", service, agent="mno", ua=kit.ua()) for service in ("account", "loyalty"))
    )
    await kit.wire.until(Events(fleet=kit.fleet), seen + 2)
    await kit.take("reserve")
    await kit.take("reserve", service="loyalty")
    assert [signed.counter for _, signed in desks.commands()] == [1, 2]
    assert desks.states() == {"reserved": 2}


# ACT


async def test_the_supplier_is_given_the_resource(desks: Desks) -> None:
    """Address, key, identity and TAR: what the supplier needs to reach it and to know it."""
    kit = desks.kit
    await kit.take("subscribe", "reserve", "activate")
    (question,) = desks.bank.questions
    message = question.message
    assert isinstance(message, Activate)
    assert (question.sender, message.ua, message.service, message.tar) == ("mno", kit.ua(), "account", FIRST)
    assert (message.rsc_id, message.turn) == (1, 1)
    certificate = kit.directory_of_roles.module(message.certificate, kit.ua())
    assert certificate.suite == "x25519"
    assert desks.states() == {"active": 1}


async def test_a_supplier_that_refuses_leaves_the_resource_reserved(desks: Desks) -> None:
    """Its no is the order's, and it may be asked again."""
    kit = desks.kit
    desks.bank.says = lambda _question: Refused(reason="unknown-service")
    await kit.take("subscribe", "reserve")
    event = await kit.order("activate", "account")
    assert (event.result, event.reason) == ("refused", "unknown-service")
    assert desks.states() == {"reserved": 1}
    desks.bank.says = lambda _question: Done()
    await kit.take("activate")
    assert desks.states() == {"active": 1}


async def test_a_resource_that_was_blocked_before_it_was_active_still_has_to_be_activated(
    desks: Desks,
) -> None:
    """Blocked and unblocked in between, the supplier still learns of its resource by the activation."""
    kit = desks.kit
    await kit.take("subscribe", "reserve", "block", "unblock", "activate")
    kinds = [type(question.message) for question in desks.bank.questions]
    assert kinds.count(Activate) == 1


# REVOKE


async def test_block_unblock_and_release_reach_module_and_supplier(desks: Desks) -> None:
    """The module first, then the supplier is told; after the release nothing is left in the module."""
    kit = desks.kit
    await kit.take("subscribe", "reserve", "activate")
    desks.bank.questions.clear()
    for turn, do, state, left in (
        (2, "block", "blocked", [("account", ResourceState.BLOCKED)]),
        (3, "unblock", "active", [("account", ResourceState.RESERVED)]),
        (4, "release", "released", []),
    ):
        await kit.take(do)
        assert desks.resources() == left
        assert desks.states() == {state: 1}
        message = desks.bank.questions.pop().message
        assert message == news(kit, state, turn=turn)


async def test_a_supplier_that_did_not_hear_is_told_by_the_next_order(
    desks: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module is blocked, the supplier silent: failed; ordered again it is told, the module left alone."""
    monkeypatch.setattr(link_module, "REPLY_TIMEOUT_S", 0.05)
    kit = desks.kit
    await kit.take("subscribe", "reserve", "activate")
    desks.bank.says = lambda _question: None
    event = await kit.order("block", "account")
    assert (event.result, event.reason) == ("failed", "no-answer")
    assert desks.states() == {"blocked": 1}
    commands = len(desks.commands())
    monkeypatch.undo()
    desks.bank.says = lambda _question: Done()
    await kit.take("block")
    assert len(desks.commands()) == commands


async def test_orders_of_the_operator_are_nobody_elses(desks: Desks) -> None:
    """Another operator with the same order finds no agreement and no subscription of its own."""
    await desks.kit.start("other")
    await desks.kit.take("subscribe", "reserve")
    event = await desks.kit.order("release", "account", agent="other")
    assert (event.result, event.reason) == ("refused", "unknown-service")
    assert desks.resources() == [("account", ResourceState.RESERVED)]


# RENEW


def definition(desks: Desks, service: str = "account") -> Definition:
    """Return what the first module's DEF says of its resource."""
    found = desks.kit.cell.phones[desks.kit.ua()].module.definitions.by_service(service)
    assert found is not None
    return found


async def renew(desks: Desks, argument: bytes = b"0 0") -> tuple[str, str]:
    """Order a renewal; return how that ended."""
    event = await desks.kit.order("renew", "account", argument=argument)
    return event.result, event.reason


async def test_a_renewal_gives_other_limits_from_now_on(desks: Desks) -> None:
    """So many seconds, so many executions; the supplier is told that its resource is active."""
    kit = desks.kit
    await kit.take("subscribe", "reserve", "activate")
    desks.bank.questions.clear()
    before = int(kit.clock.now())
    assert await renew(desks, b"60 5") == ("ok", "")
    renewed = definition(desks)
    assert 0 <= renewed.expires_at - before - 60 < PATIENCE_S
    assert renewed.executions_left == 5
    (question,) = desks.bank.questions
    assert question.message == news(kit, "active", turn=2)
    assert await renew(desks, b"0 6") == ("ok", "")
    assert (definition(desks).expires_at, definition(desks).executions_left) == (0, 6)


async def test_a_renewal_that_names_nothing_gives_what_was_agreed(desks: Desks) -> None:
    """The agreed lifetime begins anew, and so does the agreed count."""
    kit = desks.kit
    await ask(desks.bank, agree("account", lifetime=1000, executions=3))
    await kit.take("subscribe", "reserve")
    first = definition(desks)
    assert await renew(desks, b"0 5") == ("ok", "")
    assert await renew(desks) == ("ok", "")
    assert definition(desks).executions_left == 3
    assert 0 <= definition(desks).expires_at - first.expires_at < PATIENCE_S


async def test_what_is_renewed_before_it_is_active_still_has_to_be_activated(desks: Desks) -> None:
    """The supplier learns of its resource by the activation, whatever came before."""
    kit = desks.kit
    await kit.take("subscribe", "reserve")
    assert await renew(desks, b"60 5") == ("ok", "")
    assert desks.states() == {"reserved": 1}
    await kit.take("activate")
    assert desks.states() == {"active": 1}


async def test_a_renewal_ordered_twice_is_done_twice(desks: Desks) -> None:
    """It counts from when it is ordered; what was under way when its answer got lost is settled before."""
    kit = desks.kit
    await kit.take("subscribe", "reserve", "activate")
    desks.lose_reports(1)
    assert (await renew(desks, b"0 5"))[0] == "failed"
    assert await renew(desks, b"0 7") == ("ok", "")
    assert [signed.counter for _, signed in desks.commands()] == [1, 2, 2, 3]
    assert definition(desks).executions_left == 7


@pytest.mark.parametrize("argument", [b"", b"60", b"-1 0", b"0 9999999999", b"\xff"], ids=repr)
async def test_a_renewal_that_says_nothing_is_refused(desks: Desks, argument: bytes) -> None:
    """The module hears nothing of it, and things stay as they are."""
    await desks.kit.take("subscribe", "reserve")
    assert await renew(desks, argument) == ("refused", "bad-renewal")
    assert len(desks.commands()) == 1
    assert desks.states() == {"reserved": 1}


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (["subscribe"], "subscription-subscribed"),
        (["subscribe", "reserve", "block"], "subscription-blocked"),
        (["subscribe", "reserve", "release"], "subscription-released"),
    ],
    ids=["not-reserved", "blocked", "released"],
)
async def test_a_renewal_that_the_state_does_not_allow_is_refused(
    desks: Desks, before: list[str], reason: str
) -> None:
    """What is blocked is unblocked first; what is not there is reserved."""
    await desks.kit.take(*before)
    assert await renew(desks) == ("refused", reason)


# COMPACT, AUDIT


async def rewrite(desks: Desks, change: Callable[[Definition], Definition | None]) -> None:
    """Have a mishap change what the first module's DEF says of the account, or take it out."""
    kit = desks.kit
    memory = Memory.from_pages(await kit.pages.load(kit.ua()))
    table = DefinitionTable(memory)
    changed = change(definition(desks))
    with memory.transaction() as transaction:
        table.remove(transaction, definition(desks).rsc_id)
        if changed is not None:
            table.put(transaction, changed)
    await kit.pages.save(kit.ua(), memory.take_changes())
    kit.cell.phones[kit.ua()].module = await kit.boot(kit.ua())


def exhausted(one: Definition) -> Definition:
    """Return the resource after its last execution."""
    return replace(one, state=ResourceState.EXHAUSTED, executions_left=0, supplier_public=b"")


async def audit(desks: Desks) -> tuple[str, str]:
    """Order an audit; return how that ended."""
    event = await desks.kit.order("audit")
    return event.result, event.reason


async def test_a_compaction_puts_the_resources_together(desks: Desks) -> None:
    """What lay behind a hole lies in its place; subscriptions and suppliers have nothing to do with it."""
    kit = desks.kit
    for service in ("account", "loyalty"):
        await kit.take("subscribe", "reserve", service=service)
    first = definition(desks)
    await kit.take("release")
    assert definition(desks, "loyalty").start == first.end
    desks.bank.questions.clear()
    event = await kit.order("compact")
    assert (event.result, event.reason) == ("ok", "")
    assert definition(desks, "loyalty").start == first.start
    assert desks.states() == {"released": 1, "reserved": 1}
    assert desks.bank.questions == []


async def test_an_audit_finds_what_was_left(desks: Desks) -> None:
    """Nothing changes, nobody is told; how much room there is is known from then on."""
    kit = desks.kit
    assert kit.operator().zones() == []
    await kit.take("subscribe", "reserve", "activate")
    desks.bank.questions.clear()
    assert await audit(desks) == ("ok", "")
    module = kit.cell.phones[kit.ua()].module
    (zone,) = kit.operator().zones()
    assert zone == (module.definitions.free_octets(), module.definitions.largest_free())
    assert desks.states() == {"active": 1}
    assert desks.bank.questions == []


async def test_a_full_module_is_audited_in_several_pages(desks: Desks) -> None:
    """Each page is a command of its own, and asks on behind the one before."""
    kit = desks.kit
    services = [f"service-{number}" for number in range(9)]
    for service in services:
        await ask(desks.bank, agree(service))
        await kit.take("subscribe", "reserve", service=service)
    assert await audit(desks) == ("ok", "")
    asked = [decode(signed.body, Audit).after for _, signed in desks.commands()[len(services) :]]
    assert len(asked) > 1
    assert asked[0] == 0
    assert asked == sorted(set(asked))


async def test_an_audit_that_was_interrupted_begins_anew(desks: Desks) -> None:
    """The page that was lost is settled with the same octets, and then everything is asked for again."""
    await desks.kit.take("subscribe", "reserve")
    desks.lose_reports(1)
    assert (await audit(desks))[0] == "failed"
    assert desks.kit.operator().zones() == []
    assert await audit(desks) == ("ok", "")
    assert [signed.counter for _, signed in desks.commands()] == [1, 2, 2, 3]


async def test_what_ended_by_itself_is_known_after_an_audit(desks: Desks) -> None:
    """Before, it is active in the books; then it has ended, and the supplier is told once."""
    kit = desks.kit
    await ask(desks.bank, agree("account", executions=3))
    await kit.take("subscribe", "reserve", "activate")
    desks.bank.questions.clear()
    await rewrite(desks, exhausted)
    event = await kit.order("block", "account")
    assert (event.result, event.reason) == ("refused", "block-when-exhausted")
    assert desks.states() == {"active": 1}
    for _ in range(2):
        assert await audit(desks) == ("ok", "")
        assert desks.states() == {"exhausted": 1}
    (question,) = desks.bank.questions
    assert question.message == news(kit, "exhausted", turn=3)
    assert await renew(desks) == ("ok", "")
    assert definition(desks).executions_left == 3
    assert desks.states() == {"active": 1}


async def test_what_has_ended_is_not_reserved_again(desks: Desks) -> None:
    """It is there, and of no use: who orders a reservation hears why, and renews it."""
    await ask(desks.bank, agree("account", executions=3))
    await desks.kit.take("subscribe", "reserve")
    await rewrite(desks, exhausted)
    assert await audit(desks) == ("ok", "")
    event = await desks.kit.order("reserve", "account")
    assert (event.result, event.reason) == ("refused", "subscription-exhausted")


async def test_a_supplier_that_did_not_hear_is_told_by_the_next_audit(
    desks: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The books know, the supplier is silent: failed; the next audit finds nothing new and tells it."""
    monkeypatch.setattr(link_module, "REPLY_TIMEOUT_S", 0.05)
    await ask(desks.bank, agree("account", executions=3))
    await desks.kit.take("subscribe", "reserve", "activate")
    await rewrite(desks, exhausted)
    desks.bank.says = lambda _question: None
    assert await audit(desks) == ("failed", "no-answer")
    assert desks.states() == {"exhausted": 1}
    monkeypatch.undo()
    desks.bank.says = lambda _question: Done()
    desks.bank.questions.clear()
    assert await audit(desks) == ("ok", "")
    assert [type(question.message) for question in desks.bank.questions] == [ResourceChanged]


async def test_what_deleted_itself_makes_room_for_another_subscription(desks: Desks) -> None:
    """Taken for released, and so it can be subscribed to again."""
    kit = desks.kit
    await ask(desks.bank, agree("account", executions=1, at_end="delete"))
    await kit.take("subscribe", "reserve", "activate")
    await rewrite(desks, lambda _one: None)
    event = await kit.order("block", "account")
    assert (event.result, event.reason) == ("refused", "unknown-resource")
    assert await audit(desks) == ("ok", "")
    assert desks.states() == {"released": 1}
    await kit.take("subscribe", "reserve", "activate")
    assert desks.states() == {"active": 1}


async def test_what_is_not_as_it_was_left_is_a_mismatch(desks: Desks) -> None:
    """Refused; the log says what; the books stay; a release gets out of it."""
    kit = desks.kit
    await kit.take("subscribe", "reserve", "activate")
    await rewrite(desks, lambda one: replace(one, rights=frozenset({"time"}), rsc_id=5))
    with capture_logs() as logs:
        assert await audit(desks) == ("refused", "audit-mismatch")
    said = [
        (entry["what"], entry["service"], entry["rsc_id"], entry["log_level"])
        for entry in logs
        if entry["event"] == "audit.mismatch"
    ]
    assert said == [
        ("other-resource", "account", 5, "warning"),
        ("other-rights", "account", 5, "warning"),
    ]
    assert desks.states() == {"active": 1}
    await kit.take("release")
    assert desks.resources() == []
    assert await audit(desks) == ("ok", "")


async def test_a_resource_that_got_lost_can_be_released(desks: Desks) -> None:
    """The module lacks what the books hold: a mismatch; the release finds it done, and tells the supplier."""
    kit = desks.kit
    await kit.take("subscribe", "reserve", "activate")
    await rewrite(desks, lambda _one: None)
    assert await audit(desks) == ("refused", "audit-mismatch")
    desks.bank.questions.clear()
    await kit.take("release")
    assert desks.states() == {"released": 1}
    (question,) = desks.bank.questions
    assert question.message == news(kit, "released", turn=3)


async def test_a_resource_that_nobody_reserved_can_be_released(desks: Desks) -> None:
    """A module comes back as it was before a release: the audit finds it stray, and only a release helps."""
    kit = desks.kit
    await kit.take("subscribe", "reserve", "activate")
    pages = await kit.pages.load(kit.ua())
    await kit.take("release")
    await kit.pages.save(kit.ua(), pages)
    kit.cell.phones[kit.ua()].module = await kit.boot(kit.ua())
    assert await audit(desks) == ("refused", "audit-mismatch")
    assert desks.states() == {"stray": 1}
    for do in ("reserve", "activate", "block", "unblock"):
        event = await kit.order(do, "account")
        assert (event.result, event.reason) == ("refused", "subscription-stray")
    await kit.take("subscribe")
    assert desks.states() == {"stray": 1}
    await kit.take("release")
    assert desks.resources() == []
    assert await audit(desks) == ("ok", "")
    await kit.take("subscribe", "reserve")
    assert desks.states() == {"reserved": 1}


async def test_a_module_with_nothing_to_say_ends_an_audit(
    desks: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It signs an answer that answers nothing: refused, and the next order goes its way."""
    honest = Core.sign

    def lie(core: Core, body: bytes, **terms: Any) -> bytes:
        return honest(core, encode(Answer(reason="", rsc_id=0)), **terms) if body else b""

    monkeypatch.setattr(Core, "sign", lie)
    assert await audit(desks) == ("refused", "bad-answer")
    monkeypatch.undo()
    await desks.kit.take("subscribe", "reserve")
    assert await audit(desks) == ("ok", "")
    assert [signed.counter for _, signed in desks.commands()] == [1, 2, 3]


async def test_an_audit_needs_no_agreement(desks: Desks) -> None:
    """A module without a resource is audited as well, and one that the authority does not know is not."""
    assert await audit(desks) == ("ok", "")
    event = await desks.kit.order("audit", ua=desks.kit.ua(2))
    assert (event.result, event.reason) == ("refused", "unknown-module")
