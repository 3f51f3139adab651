"""The personaliser: blank modules become somebody's, once, whatever stops in between."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from agents import personalizer as personalizer_module
from agents.console import COMMAND, RESPONSE
from agents.handset.security_module.core import Identity
from agents.handset.security_module.memory import Memory, Record
from agents.handset.security_module.module import SecurityModule
from agents.handset.security_module.personalisation import LAST_BLOCK
from agents.handset.security_module.profile import LIGHT_SUITES
from agents.messages.codec import decode, encode
from agents.messages.contact import ModuleKeys
from agents.messages.inside import LookUp, MadeKeys, ModuleRecord, Refused, Register
from agents.messages.signed import Purpose, Signed
from agents.personalizer import WorkOrder
from bus.frame import Bearer, Frame
from bus.topics import Contact, ContactReply, Inbox
from tests.agents.role_kit import TRACE, open_kit
from transport import apdu
from transport.apdu import (
    INS_GET_DATA,
    INS_GET_RESPONSE,
    INS_STORE_DATA,
    PROPRIETARY,
    CommandApdu,
    ResponseApdu,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from bus.address import BrokerAddress
    from tests.agents.role_kit import Kit

SUITE_NAMES: Final = sorted(LIGHT_SUITES)


@pytest.fixture
async def factory(kit: Kit) -> Kit:
    """Return a market with a factory, an authority and one blank handset."""
    await kit.start("root", "factory")
    await kit.handset()
    return kit


def contact(kit: Kit) -> Contact:
    """Return the topic of the first module's contacts."""
    return Contact(fleet=kit.fleet, ua=kit.ua())


async def commands(kit: Kit, count: int) -> list[CommandApdu]:
    """Return the APDUs that went over the first module's contacts, once there are *count*."""
    frames = await kit.wire.until(contact(kit), count)
    return [CommandApdu.parse(kit.apdu_in(frame)) for frame in frames]


@pytest.mark.parametrize("suite", SUITE_NAMES)
async def test_a_blank_module_becomes_somebodys(kit: Kit, suite: str) -> None:
    """It is told whose it is, makes its own key, and the authority learns key and characteristics."""
    root = await kit.puppet("root")
    await kit.start("factory")
    phone = await kit.handset(suite=suite)
    assert phone.module.ua is None
    assert (await kit.order("personalise")).result == "ok"
    assert phone.module.ua == kit.ua()
    (question,) = root.questions
    register = question.message
    assert isinstance(register, Register)
    assert (register.ua, register.suite, register.memory, register.operator, register.suites) == (
        kit.ua(),
        suite,
        32_768,
        "mno",
        list(LIGHT_SUITES),
    )
    proof = decode(register.possession, Signed)
    proof.verify(purpose=Purpose.POSSESSION, suite=suite, public=register.public)
    keys = ModuleKeys(signing=register.public, sealing=register.sealing)
    assert (proof.target, proof.signer, proof.body) == ("root", kit.ua(), encode(keys))


async def test_a_module_that_is_not_in_the_order_book_is_refused(factory: Kit) -> None:
    """An address that the factory has no work order for is nobody's; nothing is sent to it."""
    event = await factory.order("personalise", ua=factory.ua(2))
    assert (event.result, event.reason) == ("refused", "unknown-module")


async def test_a_module_is_personalised_once(factory: Kit) -> None:
    """Ordered again, the factory finds the key that the module has and registers that one again."""
    await factory.take("personalise", "personalise")
    store, again, get = await commands(factory, 3)
    assert (store.ins, again.ins, get.ins) == (INS_STORE_DATA, INS_STORE_DATA, INS_GET_DATA)


async def test_a_run_that_was_stopped_before_the_register_goes_on(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """The module is personalised, the authority knows nothing: the next launch registers the same key."""
    async with open_kit(broker, fleet, tmp_path, log) as first:
        root = await first.puppet("root")
        root.says = lambda _question: None
        await first.start("factory")
        await first.handset()
        await first.send_order("personalise", agent="factory", ua=first.ua())
        (question,) = await root.until_asked()
        assert isinstance(question.message, Register)
        public = question.message.public
    async with open_kit(broker, fleet, tmp_path, log, run=2) as second:
        await second.start("root", "factory")
        phone = await second.handset()
        assert phone.module.ua == second.ua()
        await second.take("personalise")
        assert [command.ins for command in await commands(second, 2)] == [INS_STORE_DATA, INS_GET_DATA]
        operator = await second.puppet("mno")
        record = await operator.desk.link.ask("root", LookUp(ua=second.ua()), ModuleRecord, trace=TRACE)
        certificate = second.directory_of_roles.module(record.certificate, second.ua())
        assert certificate.signing_public == public


async def test_the_authoritys_refusal_is_the_orders(kit: Kit) -> None:
    """What the authority will not register the factory reports as refused, with the authority's reason."""
    root = await kit.puppet("root")
    root.says = lambda _question: Refused(reason="already-registered")
    await kit.start("factory")
    await kit.handset()
    event = await kit.order("personalise")
    assert (event.result, event.reason) == ("refused", "already-registered")


# Keys that the authority makes


async def asked(kit: Kit) -> list[int]:
    """Return the instructions that went over the first module's contacts so far."""
    return [CommandApdu.parse(kit.apdu_in(frame)).ins for frame in kit.wire.on(contact(kit))]


async def identity(kit: Kit) -> Identity:
    """Return what the first module has made durable of who it is."""
    memory = Memory.from_pages(await kit.pages.load(kit.ua()))
    return decode(memory.get_record(Record.IDENTITY) or b"", Identity)


@pytest.mark.parametrize("suite", SUITE_NAMES)
async def test_keys_that_the_authority_made(kit: Kit, suite: str) -> None:
    """The module has them, proves them, and is registered with them; nobody else keeps the private halves."""
    await kit.start("root", "factory")
    phone = await kit.handset(suite=suite, takes_keys=True)
    assert (await kit.order("personalise")).result == "ok"
    assert phone.module.ua == kit.ua()
    own = await identity(kit)
    operator = await kit.puppet("mno")
    record = await operator.desk.link.ask("root", LookUp(ua=kit.ua()), ModuleRecord, trace=TRACE)
    keys = kit.directory_of_roles.module(record.certificate, kit.ua())
    assert (keys.signing_public, keys.sealing_public) == (own.public, own.sealing_public)
    for name in ("root", "factory"):
        kept = b"".join(path.read_bytes() for path in kit.directory.glob(f"{name}.db*"))
        assert own.private not in kept
        assert own.sealing_private not in kept


async def test_a_module_that_has_its_keys_is_not_made_others(kit: Kit) -> None:
    """Ordered again, the factory looks first: what the module proves is registered already."""
    await kit.start("root", "factory")
    await kit.handset(takes_keys=True)
    await kit.take("personalise", "personalise")
    assert await asked(kit) == [INS_GET_DATA, INS_STORE_DATA, INS_GET_DATA]


async def test_a_run_that_was_stopped_before_the_keys_were_registered(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """The module has the keys, the authority only knows them again: the next launch registers these."""
    async with open_kit(broker, fleet, tmp_path, log) as first:
        await first.start("root", "factory")
        phone = await first.handset(takes_keys=True)
        inbox, questions = str(Inbox(fleet=first.fleet, agent="root")), []

        def lose_the_second(path: str, frame: Frame) -> list[Frame]:
            questions.extend([frame] * (path == inbox))
            return [] if path == inbox and len(questions) > 1 else [frame]

        first.clients["factory"].alter = lose_the_second
        await first.send_order("personalise", agent="factory", ua=first.ua())
        await first.wire.until(ContactReply(fleet=first.fleet, agent="factory"), 2)
        assert phone.module.ua == first.ua()
        public = (await identity(first)).public
    async with open_kit(broker, fleet, tmp_path, log, run=2) as second:
        await second.start("root", "factory")
        await second.handset(takes_keys=True)
        await second.take("personalise")
        assert await asked(second) == [INS_GET_DATA]
        operator = await second.puppet("mno")
        record = await operator.desk.link.ask("root", LookUp(ua=second.ua()), ModuleRecord, trace=TRACE)
        keys = second.directory_of_roles.module(record.certificate, second.ua())
        assert keys.signing_public == public


async def test_keys_that_the_authority_will_not_make(kit: Kit) -> None:
    """Its reason is the order's, and the module stays blank."""
    root = await kit.puppet("root")
    root.says = lambda _question: Refused(reason="not-a-personaliser")
    await kit.start("factory")
    phone = await kit.handset(takes_keys=True)
    event = await kit.order("personalise")
    assert (event.result, event.reason) == ("refused", "not-a-personaliser")
    assert phone.module.ua is None


async def test_keys_that_are_none(kit: Kit) -> None:
    """What the authority made wrong the module refuses, and says no more about it than that."""
    root = await kit.puppet("root")
    root.says = lambda _question: MadeKeys(private=bytes(31), sealing_private=bytes(32))
    await kit.start("factory")
    phone = await kit.handset(takes_keys=True)
    event = await kit.order("personalise")
    assert (event.result, event.reason) == ("refused", "status-word-6a80")
    assert phone.module.ua is None


class T0Module(SecurityModule):
    """A real module behind a machine that has no room for Le in a command with data."""

    def process(self, command: bytes, now: float) -> bytes:
        """Pass a command on, without its Le if it has data."""
        parsed = CommandApdu.parse(command)
        return super().process(replace(parsed, expected=None).encode() if parsed.data else command, now)


async def test_a_key_that_comes_in_pieces(kit: Kit) -> None:
    """What one response has no room for, as the key of some suite may be, is asked for with GET RESPONSE."""
    await kit.start("root", "factory")
    phone = await kit.handset()
    phone.module = T0Module.blank(32_768, rng=bytes)
    await kit.take("personalise")
    assert [command.ins for command in await commands(kit, 2)] == [INS_STORE_DATA, INS_GET_RESPONSE]
    assert phone.module.ua == kit.ua()


# The machine that holds the module


class Machine:
    """What holds the module by its contacts, in the place of the phone."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.frames: list[Frame] = []
        self.answer: Callable[[CommandApdu], ResponseApdu | None] = lambda _command: ResponseApdu()

    async def start(self) -> None:
        """Take APDUs for the first module."""
        client = await self.kit.client("machine")
        await client.subscribe([contact(self.kit)], self._received)
        number = "15550100"
        order = WorkOrder(
            operator="mno", operator_number=number, suite="x25519", memory=32_768, suites=("x25519",)
        )
        self.kit.work[self.kit.ua()] = order

    def _received(self, frame: Frame, _topic: str) -> None:
        self.frames.append(frame)
        response = self.answer(CommandApdu.parse(self.kit.apdu_in(frame)))
        if response is not None:
            self.kit.group.spawn(self.reply(frame, response.encode()), name="machine")

    async def reply(self, question: Frame, octets: bytes, *, use: str = RESPONSE) -> None:
        """Answer *question* with *octets*, sealed as a response or for another *use*."""
        console = self.kit.console
        sealed = console.wrap(
            console.contact(use),
            octets,
            to=question.source,
            reference=question.reference,
            trace=question.trace,
        )
        frame = replace(question, source=self.kit.ua(), destination=question.source, pdu=sealed)
        topic = ContactReply(fleet=self.kit.fleet, agent=question.source)
        await self.kit.clients["machine"].publish(topic, frame)


@pytest.fixture
async def machine(kit: Kit) -> Machine:
    """Return the machine of a factory whose authority takes everything."""
    await kit.puppet("root")
    await kit.start("factory")
    machine = Machine(kit)
    await machine.start()
    return machine


async def test_a_status_word_that_is_no_ok_is_a_refusal(machine: Machine) -> None:
    """The module's own word for why is the reason; a block that is refused is the last that is sent."""
    machine.answer = lambda _command: ResponseApdu(status=apdu.SW_WRONG_DATA)
    event = await machine.kit.order("personalise")
    assert (event.result, event.reason) == ("refused", "status-word-6a80")
    assert len(machine.frames) == 1


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "apdu-too-short"),
        (b"\x90\0", "not-msgpack"),
        (b"\x01\x90\0", "not-an-array"),
        (b"\x90\x90\0", "unexpected-message"),
    ],
    ids=["no-status-word", "no-data", "a-number", "nothing-signed"],
)
async def test_what_is_no_signed_key_fails(machine: Machine, octets: bytes, reason: str) -> None:
    """A machine that answers nonsense makes the order fail with a reason; the factory goes on."""
    kit = machine.kit
    machine.answer = lambda _command: None
    topic = contact(kit)
    await kit.send_order("personalise", agent="factory", ua=kit.ua())
    (frame, *_) = await kit.wire.until(topic)
    await machine.reply(frame, octets)
    event = await kit.event("personalise")
    assert (event.result, event.reason) == ("failed", reason)
    assert kit.counters.snapshot()["crashes"] == {}


async def test_an_answer_that_is_not_the_machines_is_dropped(machine: Machine) -> None:
    """What was not sealed as a response is counted, and the true answer still counts."""
    kit = machine.kit
    machine.answer = lambda _command: None
    await kit.send_order("personalise", agent="factory", ua=kit.ua())
    (frame, *_) = await kit.wire.until(contact(kit))
    await machine.reply(frame, b"\x90\0", use=COMMAND)
    await kit.counters.until_dropped("not-from-the-console")
    await machine.reply(frame, ResponseApdu(status=apdu.SW_WRONG_DATA).encode())
    assert (await kit.event("personalise")).reason == "status-word-6a80"


async def test_an_apdu_without_an_answer_is_sent_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same APDU under the same reference, counted as a retry; after the last attempt it has failed."""
    monkeypatch.setattr(personalizer_module, "CONTACT_TIMEOUT_S", 0.01)
    machine.answer = lambda _command: None
    event = await machine.kit.order("personalise")
    assert (event.result, event.reason) == ("failed", "no-answer")
    frames = await machine.kit.wire.until(contact(machine.kit), 4)
    assert [frame.attempt for frame in frames] == [1, 2, 3, 4]
    assert len({frame.reference for frame in frames}) == 1
    assert len({command.encode() for command in await commands(machine.kit, 4)}) == 1
    assert machine.kit.counters.retries(Bearer.CONTACT) == 4


async def test_a_lost_answer_is_given_again(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer gets lost: the repeated block is answered alike, and personalises nothing twice."""
    monkeypatch.setattr(personalizer_module, "CONTACT_TIMEOUT_S", 0.5)
    await kit.start("root", "factory")
    await kit.handset()
    lost: list[Frame] = []

    def lose_the_first(path: str, frame: Frame) -> list[Frame]:
        if frame.bearer is Bearer.CONTACT and not lost:
            lost.append(frame)
            return []
        assert path
        return [frame]

    kit.clients["cell"].alter = lose_the_first
    await kit.take("personalise")
    assert len(lost) == 1
    first, second, *_ = await commands(kit, 2)
    assert (first, second.ins) == (second, INS_STORE_DATA)


async def test_an_answer_that_comes_twice_is_taken_once(factory: Kit) -> None:
    """QoS 1 may double it: the second is counted and does nothing."""
    factory.clients["cell"].alter = lambda _path, frame: [frame, frame]
    await factory.take("personalise")
    await factory.counters.until_dropped("unexpected-contact-reply")


async def test_the_blocks_are_as_the_module_expects_them(factory: Kit) -> None:
    """STORE DATA of the proprietary class, numbered from 0, the last one marked as such."""
    await factory.take("personalise")
    (block,) = await commands(factory, 1)
    assert (block.cla, block.ins, block.p1, block.p2) == (PROPRIETARY, INS_STORE_DATA, LAST_BLOCK, 0)
