"""The phone: one thing at a time, stored before it is told, and told again without asking the module."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
import structlog

from agents.console import COMMAND, RESPONSE
from agents.handset.phone import MAX_TPDU, REMEMBERED, Phone
from agents.handset.posts import OrderGiven
from agents.handset.security_module.memory import Memory
from agents.handset.security_module.menu import RESULT
from agents.handset.security_module.module import (
    INS_ENVELOPE,
    INS_FETCH,
    INS_GET_DATA,
    INS_STORE_DATA,
    INS_TERMINAL_RESPONSE,
    PROPRIETARY,
    SecurityModule,
)
from agents.handset.security_module.outgoing import GOES_ON
from agents.handset.serving import MAX_PROACTIVE
from agents.messages.air import MANAGER_TAR
from agents.messages.orders import Order
from agents.store.tables import MODULES, PAGES
from bus.errors import BrokerLost, FrameRejected
from bus.frame import Bearer, Frame
from bus.topics import (
    Contact,
    ContactReply,
    Events,
    Orders,
    ReportTo,
    ShortMessageFrom,
    ShortMessageTo,
)
from tests.agents.role_kit import PATIENCE_S, TRACE, Kit, open_kit
from tests.bus.manual_clock import ManualClock
from transport import apdu
from transport.apdu import CommandApdu, ResponseApdu
from transport.secured_packet import SecurityParameters, encode_command
from transport.sms import (
    IEI_COMMAND_PACKET,
    Address,
    FailureCause,
    InformationElement,
    ServiceCentreTime,
    SmsDeliver,
    SmsDeliverReport,
    SmsSubmit,
    UserData,
)
from transport.toolkit import CommandType, Envelope, ProactiveCommand, Tag, TerminalResponse, TerminalResult

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from bus.address import BrokerAddress

NUMBER = "15550100"


START_UP = {
    apdu.INS_READ_RECORD,
    apdu.INS_TERMINAL_PROFILE,
    apdu.INS_SELECT,
    apdu.INS_READ_BINARY,
    apdu.INS_STATUS,
}
"""The instructions of what a phone says to its module before anything else."""


class Spy(SecurityModule):
    """A real module that keeps the APDUs it is given once it is started, and crashes as often as told."""

    def __init__(self, memory: Memory, **options: Any) -> None:
        super().__init__(memory, **options)
        self.commands: list[CommandApdu] = []
        self.crashes = 0

    def process(self, command: bytes, now: float) -> bytes:
        """Process, or crash after having processed."""
        parsed = CommandApdu.parse(command)
        if parsed.ins not in START_UP:
            self.commands.append(parsed)
        response = super().process(command, now)
        if self.crashes:
            self.crashes -= 1
            raise RuntimeError("the module is broken")
        return response


class Script:
    """In the place of a module that is started: asks for *commands* in turn, and keeps what it is told."""

    def __init__(self, commands: Iterable[ProactiveCommand]) -> None:
        self._commands = iter(commands)
        self._files = SecurityModule.blank(32_768, rng=bytes)
        self._next: ProactiveCommand | None = None
        self.told: list[TerminalResponse] = []
        self.expired: asyncio.Queue[int] = asyncio.Queue()
        """The timers whose end it was told."""

    def process(self, command: bytes, now: float) -> bytes:
        """Answer an APDU as a module does that has something to ask."""
        parsed = CommandApdu.parse(command)
        if parsed.ins in START_UP:
            return self._files.process(command, now)
        if parsed.ins == INS_FETCH:
            assert self._next is not None
            return ResponseApdu(data=self._next.encode()).encode()
        if parsed.ins == INS_TERMINAL_RESPONSE:
            self.told.append(TerminalResponse.parse(parsed.data))
        if parsed.ins == INS_ENVELOPE and parsed.data[0] == Tag.TIMER_EXPIRATION:
            self.expired.put_nowait(Envelope.parse(parsed.data).timer)
        self._next = next(self._commands, None)
        length = len(self._next.encode()) & 0xFF if self._next else 0
        return ResponseApdu(status=apdu.SW_PROACTIVE | length if self._next else apdu.SW_OK).encode()

    def take_notes(self) -> list[object]:
        """Return none."""
        return []

    def take_changes(self) -> list[tuple[int, bytes]]:
        """Return none."""
        return []


def spy(kit: Kit, phone: Phone) -> Spy:
    """Put a spy into the phone."""
    module = Spy(Memory.format(32_768), rng=kit.rng("spy"))
    phone.module = module
    return module


def deliver(
    packet: bytes | None = None, *, reference: int = 0, pdu: bytes | None = None, source: str = NUMBER
) -> Frame:
    """Return a short message for the first handset: a packet to the manager, or any octets as TPDU."""
    if packet is None:
        packet = encode_command(spi=SecurityParameters(), tar=MANAGER_TAR, data=b"hello")
    element = InformationElement(iei=IEI_COMMAND_PACKET, data=b"")
    message = SmsDeliver(
        originator=Address(digits=NUMBER),
        user_data=UserData(header=(element,), payload=packet),
        timestamp=ServiceCentreTime.at(0.0),
    )
    return Frame(
        bearer=Bearer.SMS,
        source=source,
        destination="handset",
        pdu=message.encode() if pdu is None else pdu,
        reference=reference.to_bytes(8, "big"),
        trace=TRACE,
        sent_at=0.0,
    )


def contact(kit: Kit, command: CommandApdu | bytes, **options: str) -> Frame:
    """Return an APDU over the contacts, from the factory."""
    octets = command if isinstance(command, bytes) else command.encode()
    return kit.sealed_apdu(octets, **options)


def ordered(kit: Kit, do: str, *, argument: bytes = b"") -> OrderGiven:
    """Return an order of the first handset's subscriber, as its cell hands it over."""
    frame = kit.sealed_order(do, agent=kit.ua(), argument=argument)
    return OrderGiven(order=kit.console.open(frame, Order, to=kit.ua()), trace=frame.trace)


def reports(kit: Kit) -> list[Frame]:
    """Return the delivery reports that have passed so far."""
    return kit.wire.on(ReportTo(fleet=kit.fleet, address=NUMBER))


async def settle(kit: Kit, phone: Phone) -> None:
    """Return when the phone is at rest and the wire has seen all that it published."""
    await phone.idle()
    topic = ReportTo(fleet=kit.fleet, address="marker")
    seen = len(kit.wire.on(topic))
    await kit.clients["cell"].publish(topic, deliver())
    await kit.wire.until(topic, seen + 1)


async def test_a_short_message_becomes_an_envelope_and_a_report(kit: Kit) -> None:
    """The module gets the TPDU in ENVELOPE; its sender gets a report under the same reference and trace."""
    phone = await kit.handset()
    module = spy(kit, phone)
    topic = ShortMessageTo(fleet=kit.fleet, ua=kit.ua())
    await kit.clients["tap"].publish(topic, deliver(reference=7))
    (frame,) = await kit.wire.until(ReportTo(fleet=kit.fleet, address=NUMBER))
    (command,) = module.commands
    assert (command.cla, command.ins) == (PROPRIETARY, INS_ENVELOPE)
    assert deliver().pdu in command.data
    assert (frame.bearer, frame.source, frame.destination) == (Bearer.REPORT, kit.ua(), NUMBER)
    assert (frame.reference, frame.trace.trace_id) == ((7).to_bytes(8, "big"), TRACE.trace_id)
    assert SmsDeliverReport.parse(frame.pdu).failure_cause is None


async def test_a_response_packet_goes_back_in_the_report(kit: Kit) -> None:
    """What the module answers is the report's user data, with the PID and DCS of data download."""
    phone = await kit.handset()
    spi = SecurityParameters.parse(b"\x00\x01")
    packet = encode_command(spi=spi, tar=MANAGER_TAR, data=b"hello")
    phone.deliver(deliver(packet))
    await settle(kit, phone)
    report = SmsDeliverReport.parse(reports(kit)[0].pdu)
    assert (report.pid, report.dcs) == (0x7F, 0xF6)
    assert report.user_data is not None
    assert report.user_data.payload[:3] == bytes.fromhex("027100")


async def test_a_frame_that_comes_again_gets_the_same_report(kit: Kit) -> None:
    """A repetition by the network or by its sender is answered from memory: the module is not troubled."""
    phone = await kit.handset()
    module = spy(kit, phone)
    for attempt in (1, 1, 2):
        phone.deliver(replace(deliver(reference=1), attempt=attempt))
    await settle(kit, phone)
    assert len(module.commands) == 1
    pdus = [frame.pdu for frame in reports(kit)]
    assert len(pdus) == 3
    assert len(set(pdus)) == 1


async def test_another_senders_reference_is_another_message(kit: Kit) -> None:
    """References are each sender's own."""
    phone = await kit.handset()
    module = spy(kit, phone)
    for source in (NUMBER, "15550200"):
        phone.deliver(deliver(reference=1, source=source))
    await settle(kit, phone)
    assert len(module.commands) == 2


async def test_only_the_last_reports_are_remembered(kit: Kit) -> None:
    """After so many others a frame that comes again is new to the phone."""
    phone = await kit.handset()
    module = spy(kit, phone)
    for reference in (*range(REMEMBERED + 1), REMEMBERED, 0):
        phone.deliver(deliver(reference=reference))
    await settle(kit, phone)
    assert len(module.commands) == REMEMBERED + 2


@pytest.mark.parametrize("pdu", [b"", b"garbage", deliver().pdu[:-1], deliver().pdu + b"\0"])
async def test_garbage_is_reported_as_an_error(kit: Kit, pdu: bytes) -> None:
    """A TPDU that the module cannot take gets RP-ERROR with "(U)SIM data download error"."""
    phone = await kit.handset()
    phone.deliver(deliver(pdu=pdu))
    await settle(kit, phone)
    report = SmsDeliverReport.parse(reports(kit)[0].pdu)
    assert report.failure_cause == FailureCause.DATA_DOWNLOAD_ERROR
    assert kit.counters.snapshot()["crashes"] == {}


async def test_a_tpdu_that_no_apdu_can_hold_is_dropped(kit: Kit) -> None:
    """A frame carries more than an APDU does: the phone drops it, and does not crash on it."""
    phone = await kit.handset()
    module = spy(kit, phone)
    for length in (MAX_TPDU + 1, 1000, 60_000):
        phone.deliver(deliver(pdu=bytes(length), reference=length))
    phone.deliver(deliver(pdu=bytes(MAX_TPDU)))
    await settle(kit, phone)
    assert kit.counters.drops("too-large") == 3
    assert kit.counters.snapshot()["crashes"] == {}
    assert len(module.commands) == len(reports(kit)) == 1


# Commit, then speak


async def test_a_crash_powers_the_module_off_and_on_and_the_message_is_taken_again(market: Kit) -> None:
    """What the module had changed and not stored is gone; the message is handled on the stored state."""
    await market.take("personalise", "subscribe")
    phone = market.cell.phones[market.ua()]
    pages = await market.pages.load(market.ua())
    module = Spy(Memory.from_pages(pages), rng=market.rng("spy"))
    module.crashes = 1
    phone.module = module
    await market.take("reserve")
    assert phone.module is not module
    assert [each.service for each in phone.module.definitions.all()] == ["account"]
    assert market.counters.snapshot()["crashes"] == {market.ua(): 1}
    assert phone.dead_letters == ()


async def test_a_restart_boots_what_was_stored(market: Kit) -> None:
    """The module that comes back is the personalised one."""
    await market.take("personalise")
    phone = market.cell.phones[market.ua()]
    before = phone.module
    await phone.restart(RuntimeError())
    assert phone.module is not before
    assert phone.module.ua == market.ua()


async def test_nothing_is_said_that_is_not_stored(market: Kit) -> None:
    """The store fails for good: no reply leaves, the module stays as it was, the letter is dead."""
    await market.take("personalise")
    (recorded,) = market.wire.on(Contact(fleet=market.fleet, ua=market.ua()))
    store_data = contact(market, market.apdu_in(recorded), ua=market.ua(2))
    phone = await market.handset(market.ua(2))
    store = await market.store("handsets", MODULES)
    attempts = 0

    async def fail(*_: object, **__: object) -> None:
        nonlocal attempts
        attempts += 1
        raise OSError("the disk is full")

    store.change = fail  # type: ignore[method-assign]
    await settle(market, phone)
    frames = len(market.wire.frames)
    phone.deliver(store_data)
    await settle(market, phone)
    assert attempts == 3
    assert [topic.rpartition("/")[2] for topic, _ in market.wire.frames[frames:]] == ["marker"]
    assert len(phone.dead_letters) == 1
    assert phone.module.ua is None


async def test_a_save_that_fails_once_costs_nothing(kit: Kit) -> None:
    """The command is carried out again on the module as it was, answered once, and stored."""
    await kit.start("root", "factory")
    phone = await kit.handset()
    kit.fail_next_save("handsets", PAGES)
    await kit.take("personalise")
    assert kit.counters.snapshot()["crashes"] == {kit.ua(): 1}
    assert len(kit.wire.on(ContactReply(fleet=kit.fleet, agent="factory"))) == 1
    assert phone.module.ua == (await kit.boot(kit.ua())).ua == kit.ua()


async def test_a_command_of_several_parts_that_a_crash_cut_is_found_out_by_the_next(market: Kit) -> None:
    """Parts wait in volatile memory: the command is not answered, and not done; ordered again it is."""
    await market.take("personalise", "subscribe")
    market.fail_next_save("handsets", PAGES)
    event = await market.order("reserve", "account")
    assert (event.result, event.reason) == ("failed", "no-answer")
    phone = market.cell.phones[market.ua()]
    assert phone.module.definitions.all() == []
    await market.take("reserve")
    assert [each.service for each in phone.module.definitions.all()] == ["account"]


async def test_an_order_survives_a_crash(market: Kit) -> None:
    """The store fails once under an order of the subscriber: it is carried out after the restart."""
    await market.take("personalise")
    phone = market.cell.phones[market.ua()]
    market.fail_next_save("handsets", PAGES)
    phone.deliver(ordered(market, "subscribe"))
    await settle(market, phone)
    assert market.counters.snapshot()["crashes"] == {market.ua(): 1}
    assert market.counters.drops("replayed") == 0
    assert len(market.wire.on(ShortMessageFrom(fleet=market.fleet, address=NUMBER))) > 0


async def test_an_order_is_taken_once(market: Kit) -> None:
    """A recorded order, played again, is dropped: nobody presses the subscriber's keys a second time."""
    await market.take("personalise", "subscribe")
    phone = market.cell.phones[market.ua()]
    topic = Orders(fleet=market.fleet, agent=market.ua())
    submitted = len(market.wire.on(ShortMessageFrom(fleet=market.fleet, address=NUMBER)))
    with pytest.raises(FrameRejected, match="replayed"):
        market.clients["cell"].inject(topic, market.wire.on(topic)[0])
    await phone.idle()
    assert len(market.wire.on(ShortMessageFrom(fleet=market.fleet, address=NUMBER))) == submitted


# Contacts


async def test_an_apdu_over_the_contacts_is_answered(kit: Kit) -> None:
    """Whatever its octets are, who holds the module gets a status word under his reference, sealed."""
    phone = await kit.handset()
    frames = [contact(kit, command) for command in (CommandApdu(cla=PROPRIETARY, ins=INS_GET_DATA), b"\x80")]
    for frame in frames:
        phone.deliver(frame)
    await settle(kit, phone)
    answers = kit.wire.on(ContactReply(fleet=kit.fleet, agent="factory"))
    assert [answer.reference for answer in answers] == [frame.reference for frame in frames]
    first, second = [ResponseApdu.parse(kit.apdu_in(answer)) for answer in answers]
    assert (first.status, second.status) == (apdu.SW_CONDITIONS_NOT_SATISFIED, apdu.SW_WRONG_LENGTH)


async def test_an_apdu_that_comes_again_is_not_carried_out_again(kit: Kit) -> None:
    """Who waited too long for an answer says it once more, under the same reference, and gets the same."""
    phone = await kit.handset()
    blocks = [
        CommandApdu(cla=PROPRIETARY, ins=INS_STORE_DATA, p2=number, data=bytes(255)) for number in (0, 1)
    ]
    first, second = [contact(kit, block) for block in blocks]
    for frame in (first, second, second, contact(kit, blocks[1])):
        phone.deliver(frame)
    await settle(kit, phone)
    answers = kit.wire.on(ContactReply(fleet=kit.fleet, agent="factory"))
    statuses = [ResponseApdu.parse(kit.apdu_in(answer)).status for answer in answers]
    # The last one has a reference of its own, and so is another block 1, which the module does not expect.
    assert statuses == [apdu.SW_OK, apdu.SW_OK, apdu.SW_OK, apdu.SW_WRONG_PARAMETERS]


@pytest.mark.parametrize("how", ["in-clear", "for-another-use", "for-another-module", "of-another-run"])
async def test_nobody_else_touches_the_contacts(kit: Kit, how: str) -> None:
    """What was not sealed for this module in this run is dropped: no answer, and the module is not asked."""
    phone = await kit.handset()
    module = spy(kit, phone)
    command = CommandApdu(cla=PROPRIETARY, ins=INS_GET_DATA)
    earlier = replace(kit.console, run=9)
    frames = {
        "in-clear": replace(contact(kit, command), pdu=command.encode()),
        "for-another-use": contact(kit, command, use=RESPONSE),
        "for-another-module": contact(kit, command, ua=kit.ua(2)),
        "of-another-run": kit.sealed(
            command.encode(),
            use=earlier.contact(COMMAND),
            bearer=Bearer.CONTACT,
            to=kit.ua(),
            source="factory",
        ),
    }
    phone.deliver(frames[how])
    await settle(kit, phone)
    assert kit.counters.drops("not-from-the-console") == 1
    assert module.commands == []
    assert kit.wire.on(ContactReply(fleet=kit.fleet, agent="factory")) == []


# Orders


async def test_a_subscriber_hears_why_not(kit: Kit) -> None:
    """What the display refuses is the order's refusal: a blank module does nothing for anybody."""
    await kit.handset()
    event = await kit.order("subscribe", "account")
    assert (event.result, event.reason) == ("refused", "not-personalised")


async def test_a_use_ends_with_its_result(market: Kit) -> None:
    """What the application answers is shown and reported; what it refuses too."""
    await market.take("personalise")
    event = await market.order("invoke", "loyalty", agent=market.ua())
    assert (event.result, event.reason) == ("refused", "unknown-resource")
    await market.take("subscribe", "reserve", "activate", "serve", service="loyalty")
    event = await market.order("invoke", "loyalty", agent=market.ua(), argument=b"\x03")
    assert (event.result, event.output) == ("ok", bytes(4))
    event = await market.order("invoke", "loyalty", agent=market.ua(), argument=b"\xff")
    assert (event.result, event.reason) == ("refused", "application-refused")


async def test_a_handset_tells_its_module_the_time_it_was_set_to(market: Kit) -> None:
    """A day ahead the module suspends what a date will end; right again, it has seen that day anyway."""
    await market.take("personalise")
    await market.take("subscribe", "reserve", service="loyalty")
    event = await market.order("renew", "loyalty", argument=b"3600 0")
    assert event.result == "ok"
    module = market.cell.phones[market.ua()].module
    for off_s, state in (
        (b"0", "reserved"),
        (b"-86400", "reserved"),
        (b"86400", "suspended"),
        (b"0", "suspended"),
    ):
        event = await market.order("set-clock", agent=market.ua(), argument=off_s)
        assert (event.result, event.reason) == ("ok", "")
        await market.take("subscribe", service="loyalty")
        (definition,) = module.definitions.all()
        assert (off_s, definition.state) == (off_s, state)


@pytest.mark.parametrize(
    "argument", [b"", b"noon", b"1.5", b"\xff", b"1" + bytes(1), b"9" * 13, b"-" + b"9" * 5000], ids=repr
)
async def test_a_clock_is_not_set_to_what_is_no_time(kit: Kit, argument: bytes) -> None:
    """Refused, with a reason; the handset goes by the time that it had, and goes on."""
    phone = await kit.handset()
    event = await kit.order("set-clock", agent=kit.ua(), argument=argument)
    assert (event.result, event.reason) == ("refused", "bad-argument")
    event = await kit.order("set-clock", agent=kit.ua(), argument=b"60")
    assert event.result == "ok"
    await phone.idle()
    assert kit.counters.snapshot()["crashes"] == {}


async def test_an_order_that_is_none_is_dropped(kit: Kit) -> None:
    """Only the subscriber of this run presses keys, and only those there are."""
    phone = await kit.handset()
    module = spy(kit, phone)
    topic = Orders(fleet=kit.fleet, agent=kit.ua())
    stranger = replace(kit.console, fleet="other")
    for do in ("subscribe", "switch-off"):
        with pytest.raises(FrameRejected, match="not-from-the-console"):
            kit.clients["cell"].inject(topic, kit.sealed_order(do, agent=kit.ua(), console=stranger))
    kit.clients["cell"].inject(topic, kit.sealed_order("dance", agent=kit.ua()))
    await phone.idle()
    assert kit.counters.drops("unknown-order") == 1
    assert module.commands == []


async def test_a_bearer_that_does_not_belong_on_its_topic_is_refused(kit: Kit) -> None:
    """A frame of any other bearer than its topic's never reaches the handset's mailbox."""
    phone = await kit.handset()
    module = spy(kit, phone)
    topic = Contact(fleet=kit.fleet, ua=kit.ua())
    for bearer in set(Bearer) - {Bearer.CONTACT}:
        with pytest.raises(FrameRejected) as caught:
            kit.clients["cell"].inject(topic, replace(contact(kit, b"\x80"), bearer=bearer))
        assert caught.value.reason == "wrong-bearer"
    await phone.idle()
    assert module.commands == []


# What the module asks for


def scripted(phone: Phone, *commands: ProactiveCommand) -> Script:
    """Put a script into the phone."""
    script = Script(commands)
    phone.module = cast("SecurityModule", script)
    return script


def submit(to: str = NUMBER) -> ProactiveCommand:
    """Return SEND SHORT MESSAGE to a number."""
    message = SmsSubmit(reference=1, destination=Address(digits=to), user_data=UserData(payload=b"hello"))
    return ProactiveCommand(type=CommandType.SEND_SHORT_MESSAGE, tpdu=message.encode())


async def test_the_modules_short_messages_go_to_the_network(kit: Kit) -> None:
    """Each is published to the number in it, in order, under the trace of what led to it."""
    phone = await kit.handset()
    script = scripted(phone, submit(), submit("15550200"))
    phone.deliver(deliver())
    await settle(kit, phone)
    (frame,) = kit.wire.on(ShortMessageFrom(fleet=kit.fleet, address=NUMBER))
    assert (frame.pdu, frame.trace.trace_id, frame.source) == (submit().tpdu, TRACE.trace_id, kit.ua())
    assert len(kit.wire.on(ShortMessageFrom(fleet=kit.fleet, address="15550200"))) == 1
    assert [told.result for told in script.told] == [TerminalResult.OK] * 2


async def test_a_timer_that_is_started_anew_ends_once(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """By its last value (TS 102 223 clause 6.4.21), whether that is later or earlier than the one before."""
    clock = ManualClock()
    async with open_kit(broker, fleet, tmp_path, log, clock=clock) as kit:
        phone = await kit.handset()
        started = ((8, 10), (7, 60), (8, 30), (7, 20), (1, 90))
        script = scripted(
            phone,
            *(
                ProactiveCommand(type=CommandType.TIMER_MANAGEMENT, timer=timer, timer_value_s=seconds)
                for timer, seconds in started
            ),
        )
        phone.deliver(deliver())
        await settle(kit, phone)
        assert len(script.told) == len(started)
        for _ in range(9):
            clock.advance(10)
            await settle(kit, phone)
        async with asyncio.timeout(PATIENCE_S):
            assert [await script.expired.get() for _ in range(3)] == [7, 8, 1]
        assert script.expired.empty()


async def test_the_report_leaves_before_the_module_is_served(kit: Kit) -> None:
    """Its sender hears that the message arrived before anything that came of it."""
    phone = await kit.handset()
    scripted(phone, submit())
    phone.deliver(deliver())
    await settle(kit, phone)
    bearers = [frame.bearer for _topic, frame in kit.wire.frames]
    assert bearers.index(Bearer.REPORT) < bearers.index(Bearer.SMS)


@pytest.mark.parametrize(
    "command",
    [
        ProactiveCommand(type=CommandType.SEND_SHORT_MESSAGE, tpdu=b"garbage"),
        submit("*#"),
    ],
    ids=["no-tpdu", "no-name-for-a-topic"],
)
async def test_a_message_that_cannot_be_sent_is_told_to_the_module(
    kit: Kit, command: ProactiveCommand
) -> None:
    """Octets that are no SMS-SUBMIT, or a number that nobody can have: "network unable"."""
    phone = await kit.handset()
    script = scripted(phone, command)
    phone.deliver(deliver())
    await settle(kit, phone)
    assert [told.result for told in script.told] == [TerminalResult.NETWORK_UNABLE]
    assert kit.counters.snapshot()["crashes"] == {}


async def test_a_network_that_is_gone_is_told_to_the_module(kit: Kit) -> None:
    """The broker is lost in the middle: the module hears "network unable" and the phone lives on."""
    phone = await kit.handset()
    script = scripted(phone, submit())

    def lose(path: str, frame: Frame) -> list[Frame]:
        if "/sms/mo/" in path:
            raise BrokerLost("127.0.0.1:1883", 1.0)
        return [frame]

    kit.clients["cell"].alter = lose
    phone.deliver(deliver())
    await settle(kit, phone)
    assert [told.result for told in script.told] == [TerminalResult.NETWORK_UNABLE]
    assert kit.counters.snapshot()["crashes"] == {}


async def test_a_module_that_asks_without_end_is_served_no_longer(kit: Kit) -> None:
    """After so many commands the phone stops, says so in the log, and takes its next message."""
    phone = await kit.handset()
    text = ProactiveCommand(type=CommandType.DISPLAY_TEXT, text=b"and another thing")
    script = scripted(phone, *[text] * (MAX_PROACTIVE + 10))
    with structlog.testing.capture_logs() as events:
        phone.deliver(deliver())
        await phone.idle()
    assert len(script.told) == MAX_PROACTIVE
    assert "phone.stopped_serving" in [event["event"] for event in events]
    phone.deliver(deliver(reference=2))
    await settle(kit, phone)
    assert len(reports(kit)) == 2


async def test_only_an_end_ends_an_order(kit: Kit) -> None:
    """A text that is neither refusal nor result is shown and is no event; nor is silence."""
    phone = await kit.handset()
    text = ProactiveCommand(type=CommandType.DISPLAY_TEXT, text=b"Please wait")
    scripted(phone, text)
    for _ in range(2):
        phone.deliver(ordered(kit, "invoke", argument=b"\x01"))
    await settle(kit, phone)
    assert kit.wire.on(Events(fleet=kit.fleet)) == []
    assert kit.counters.snapshot()["crashes"] == {}


async def test_a_text_may_go_on_in_the_next(kit: Kit) -> None:
    """What is too long for one text comes in several, and is one result."""
    phone = await kit.handset()
    texts = [RESULT.encode() + b"0102", GOES_ON + b"0304", GOES_ON + b"05"]
    scripted(phone, *(ProactiveCommand(type=CommandType.DISPLAY_TEXT, text=text) for text in texts))
    event = await kit.order("invoke", "account", agent=kit.ua())
    assert (event.result, event.output) == ("ok", bytes(range(1, 6)))


async def test_an_order_whose_message_is_not_sent_has_failed(kit: Kit) -> None:
    """The subscriber need not wait for an answer to what never left."""
    phone = await kit.handset()
    garbage = ProactiveCommand(type=CommandType.SEND_SHORT_MESSAGE, tpdu=b"garbage")
    scripted(phone, garbage)
    event = await kit.order("serve", "account")
    assert (event.result, event.reason) == ("failed", "not-sent")


async def test_the_subscriber_types_service_and_input(kit: Kit) -> None:
    """A use asks twice: the service's name, then the input in hexadecimal."""
    phone = await kit.handset()
    question = ProactiveCommand(type=CommandType.GET_INPUT, text=b"?")
    script = scripted(phone, question, question, question)
    phone.deliver(ordered(kit, "invoke", argument=b"\x01\xff"))
    await settle(kit, phone)
    assert [told.text for told in script.told] == [b"account", b"01ff", b""]
    assert script.told[-1].result is TerminalResult.TERMINAL_UNABLE
