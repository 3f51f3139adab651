"""Handsets of each kind with a module in them: when it is started, and what the handset does and does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from agents.handset.security_module.memory import Memory
from agents.handset.security_module.module import SecurityModule
from agents.handset.terminal import TerminalKind
from bus.frame import Bearer, Frame
from bus.topics import Broadcast, Contact, ContactReply, ReportTo, ShortMessageTo
from tests.agents.bearer_kit import RESERVED, SMS, TCP, open_market, packet_frame, serve
from tests.agents.role_kit import TRACE, Kit
from transport import apdu
from transport.apdu import CommandApdu, ResponseApdu
from transport.cell_broadcast import CONTENT_OCTETS, GeographicScope, Page, SerialNumber
from transport.sms import FailureCause, SmsDeliverReport
from transport.toolkit import (
    ChannelOpening,
    CommandType,
    ProactiveCommand,
    TerminalResponse,
    TerminalResult,
    TransportProtocol,
)

if TYPE_CHECKING:
    from typing import Any

    from agents.handset.phone import Phone

START = ["READ RECORD", "TERMINAL PROFILE", "SELECT", "READ BINARY", "READ BINARY", "STATUS"]


class Spy(SecurityModule):
    """A real module that keeps what it is given; *without* services its EF.UST is empty."""

    def __init__(self, memory: Memory, **options: Any) -> None:
        super().__init__(memory, **options)
        self.commands: list[str] = []
        self.without = False

    def process(self, command: bytes, now: float) -> bytes:
        """Process."""
        parsed = CommandApdu.parse(command)
        self.commands.append(apdu.INSTRUCTIONS[parsed.ins])
        if self.without and parsed.ins == apdu.INS_READ_BINARY:
            return ResponseApdu(status=apdu.SW_FILE_NOT_FOUND).encode()
        return super().process(command, now)


class Asking(Spy):
    """A module that asks its terminal for what that cannot do, as a faulty one might."""

    told: TerminalResponse | None = None

    def process(self, command: bytes, now: float) -> bytes:
        """Answer the first ENVELOPE with 91xx, and FETCH with OPEN CHANNEL."""
        parsed = CommandApdu.parse(command)
        asked = ProactiveCommand(
            type=CommandType.OPEN_CHANNEL,
            opening=ChannelOpening(
                protocol=TransportProtocol.TCP_CLIENT, port=1, address=bytes(4), buffer=100
            ),
        )
        if parsed.ins == apdu.INS_ENVELOPE:
            return ResponseApdu(status=apdu.SW_PROACTIVE | len(asked.encode())).encode()
        if parsed.ins == apdu.INS_FETCH:
            return ResponseApdu(data=asked.encode()).encode()
        if parsed.ins == apdu.INS_TERMINAL_RESPONSE:
            self.told = TerminalResponse.parse(parsed.data)
            return ResponseApdu().encode()
        return super().process(command, now)


def spy(kit: Kit, phone: Phone, kind: type[Spy] = Spy) -> Spy:
    """Put a spy into the phone."""
    module = kind(Memory.format(32_768), rng=kit.rng("spy"))
    phone.module = module
    return module


async def message(kit: Kit, phone: Phone) -> SmsDeliverReport:
    """Bring the phone a short message of no sense; return what it reports."""
    topic = ReportTo(fleet=kit.fleet, address="15550100")
    before = len(kit.wire.on(topic))
    frame = Frame(
        bearer=Bearer.SMS,
        source="15550100",
        destination=kit.ua(),
        pdu=b"hello",
        reference=before.to_bytes(8, "big"),
        trace=TRACE,
        sent_at=0.0,
    )
    kit.clients["cell"].inject(ShortMessageTo(fleet=kit.fleet, ua=kit.ua()), frame)
    frames = await kit.wire.until(topic, before + 1)
    await phone.idle()
    return SmsDeliverReport.parse(frames[-1].pdu)


async def page(kit: Kit, phone: Phone) -> None:
    """Let the cell broadcast a page of no sense."""
    serial = SerialNumber(scope=GeographicScope.CELL, code=1, update=0)
    made = Page(serial=serial, message_identifier=0x1080, content=bytes(CONTENT_OCTETS))
    frame = packet_frame(made.encode(), bearer=Bearer.CELL_BROADCAST, source="mno", to="cell")
    kit.clients["cell"].inject(Broadcast(fleet=kit.fleet, cell="cell"), frame)
    await phone.idle()


# --- when the module is started ---


async def test_the_first_thing_starts_the_module_and_the_next_does_not(kit: Kit) -> None:
    """Before anything else is brought to it, the module hears what a phone says when it is switched on."""
    phone = await kit.handset()
    module = spy(kit, phone)
    await message(kit, phone)
    await message(kit, phone)
    assert module.commands == [*START, "ENVELOPE", "ENVELOPE"]


async def test_a_page_and_an_order_start_it_too(kit: Kit) -> None:
    """Whatever comes first: of a page that the module does not want it is all that it hears."""
    phone = await kit.handset()
    module = spy(kit, phone)
    await page(kit, phone)
    assert module.commands == START
    module = spy(kit, phone)
    assert (await kit.order("subscribe", "account")).reason == "not-personalised"
    assert module.commands[: len(START) + 1] == [*START, "ENVELOPE"]


async def test_each_power_on_starts_it_again(kit: Kit) -> None:
    """A module that was without power knows of no handset."""
    phone = await kit.handset()
    await message(kit, phone)
    for do in ("switch-off", "switch-on"):
        await kit.take(do, service="")
    module = spy(kit, phone)
    await message(kit, phone)
    await phone.restart(RuntimeError())
    assert phone.module is not module
    again = spy(kit, phone)
    await message(kit, phone)
    assert module.commands == again.commands == [*START, "ENVELOPE"]


async def test_a_reader_at_the_contacts_starts_nothing(kit: Kit) -> None:
    """What the factory says to a module is not the handset's: no TERMINAL PROFILE comes before it."""
    phone = await kit.handset()
    module = spy(kit, phone)
    read = CommandApdu(cla=apdu.PROPRIETARY, ins=apdu.INS_GET_DATA)
    kit.clients["cell"].inject(Contact(fleet=kit.fleet, ua=kit.ua()), kit.sealed_apdu(read.encode()))
    await kit.wire.until(ContactReply(fleet=kit.fleet, agent="factory"))
    assert module.commands == ["GET DATA"]


# --- what the handset does by what the module has, and by what it has itself ---


async def test_without_the_service_a_short_message_is_not_the_modules(kit: Kit) -> None:
    """It would be stored (TS 31.111 clause 7.1.1.1), and there is no file for it: the network hears so."""
    phone = await kit.handset()
    module = spy(kit, phone)
    module.without = True
    report = await message(kit, phone)
    assert report.failure_cause == FailureCause.NO_STORAGE
    await page(kit, phone)
    assert "ENVELOPE" not in module.commands


@pytest.mark.parametrize("kind", [TerminalKind.FULL, TerminalKind.NO_BROADCAST], ids=str)
async def test_only_a_handset_with_cell_broadcasts_passes_pages_on(kit: Kit, kind: TerminalKind) -> None:
    """The other one does not even read which the module wants; short messages it takes all the same."""
    await kit.start("root", "factory", "mno")
    phone = await kit.handset(terminal=kind)
    await kit.take("personalise")
    pages = await kit.pages.load(kit.ua())
    module = Spy(Memory.from_pages(pages), rng=kit.rng("spy"))
    phone.module = module
    await page(kit, phone)
    await page(kit, phone)
    assert module.commands.count("ENVELOPE") == (2 if kind is TerminalKind.FULL else 0)
    await message(kit, phone)
    assert "ENVELOPE" in module.commands


async def test_a_handset_does_no_more_than_it_said(kit: Kit) -> None:
    """A module that asks for a channel nevertheless hears that this is beyond the handset."""
    phone = await kit.handset(terminal=TerminalKind.NO_BIP)
    module = cast("Asking", spy(kit, phone, Asking))
    await message(kit, phone)
    assert module.told is not None
    assert module.told.result is TerminalResult.BEYOND_CAPABILITIES


async def test_a_handset_without_channels_is_served_by_short_messages(kit: Kit) -> None:
    """The call falls back at once, and so does what the supplier asks for: nothing goes over a channel."""
    await open_market(kit, TCP, SMS)
    await kit.handset(terminal=TerminalKind.NO_BIP)
    await kit.take(*RESERVED)
    assert await serve(kit) == ("ok", "")
    ended = await kit.order("invoke", "account", agent="bank")
    assert (ended.result, ended.reason) == ("ok", "")
    assert not [path for path, _ in kit.wire.frames if "/bip/" in path]
