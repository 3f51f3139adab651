"""A cell knows who is there, and speaks to all that are at once: presence, and cell broadcast."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agents.announcer import Announcer
from agents.freshness import WINDOW_S
from agents.handset.cell import MAX_TURNED_AWAY, MAX_WAITING
from agents.handset.security_module.memory import Memory
from agents.handset.security_module.module import (
    INS_ENVELOPE,
    INS_READ_BINARY,
    SecurityModule,
)
from agents.messages.bearers import ANNOUNCEMENTS
from bus.bearers.cell_broadcast import CellBroadcaster
from bus.bearers.notice import Notice
from bus.bearers.sms import SmsSettings
from bus.errors import FrameRejected
from bus.frame import Bearer
from bus.topics import (
    BipDown,
    Broadcast,
    Contact,
    ContactReply,
    Orders,
    ReportTo,
    ShortMessageFrom,
    ShortMessageTo,
)
from tests.agents.bearer_kit import (
    RESERVED,
    TCP,
    lost,
    nth,
    open_market,
    packet_frame,
    up,
)
from tests.agents.role_kit import SUBJECTS, Kit, open_kit
from tests.bus.manual_clock import ManualClock
from transport.air import Presence
from transport.apdu import CommandApdu
from transport.bip.link import LinkKind, LinkPdu
from transport.cell_broadcast import CONTENT_OCTETS, GeographicScope, Page, Schedule, SerialNumber

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Any

    from structlog.typing import FilteringBoundLogger

    from agents.role import Desk
    from bus.address import BrokerAddress
    from bus.frame import Frame

A_LONG_TIME_S = 1e6
MNO = SUBJECTS["mno"][2]


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that the test moves."""
    return ManualClock()


@pytest.fixture
async def kit(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger, clock: ManualClock
) -> AsyncIterator[Kit]:
    """Yield surroundings whose time the test moves, and in which nobody hurries."""
    async with open_kit(broker, fleet, tmp_path, log, clock=clock) as kit:
        kit.sms = SmsSettings(
            report_timeout_s=A_LONG_TIME_S,
            attempts=1,
            validity_s=A_LONG_TIME_S,
            absent_retry_s=A_LONG_TIME_S,
        )
        yield kit


class Times:
    """When one handset is on, and a way to get there."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.presence = Presence(1000.0, 1000.0, b"a habit", clock.now())

    def go_on_to_the_next_change(self) -> None:
        """Move to just behind the next moment that the handset goes on or off."""
        now = self.clock.now()
        self.clock.advance(self.presence.next_change(now) - now + 0.01)

    def switch(self, *, on: bool) -> None:
        """Move on until the handset is on, or off."""
        while self.presence.is_on(self.clock.now()) is not on:
            self.go_on_to_the_next_change()


@pytest.fixture
def times(clock: ManualClock) -> Times:
    """Return the first handset's times."""
    return Times(clock)


def notices(kit: Kit, number: str = MNO) -> list[Notice]:
    """Return what the network has told *number* of handsets."""
    frames = kit.wire.on(ReportTo(fleet=kit.fleet, address=number))
    return [Notice.parse(frame.pdu) for frame in frames if frame.bearer is Bearer.NOTICE]


def garbage_sms(source: str) -> Frame:
    """Return a short message of *source* that no module takes."""
    frame = packet_frame(b"no tpdu", bearer=Bearer.SMS, source=source, to="handset")
    return replace(frame, reference=source.encode().rjust(8, b".")[-8:])


# Presence


async def test_a_short_message_waits_for_a_handset_that_is_off(kit: Kit, times: Times) -> None:
    """Its sender is told so at once, and again when the handset is back; then it is delivered."""
    await kit.start("root", "factory", "mno", "bank")
    await kit.agree("account")
    await kit.handset(presence=times.presence)
    await kit.take("personalise", "subscribe")
    times.switch(on=False)
    reserving = asyncio.create_task(kit.order("reserve", "account"))
    (absent,) = await kit.wire.until(ReportTo(fleet=kit.fleet, address=MNO))
    (message,) = kit.wire.on(ShortMessageTo(fleet=kit.fleet, ua=kit.ua()))
    assert (absent.source, absent.destination) == (kit.ua(), MNO)
    assert (absent.reference, absent.trace.trace_id) == (message.reference, message.trace.trace_id)
    assert notices(kit) == [Notice.ABSENT]
    times.switch(on=True)
    assert (await reserving).result == "ok"
    assert notices(kit) == [Notice.ABSENT, Notice.ALERT]


async def test_each_sender_is_told_once_of_a_return(kit: Kit, times: Times) -> None:
    """However many messages were turned away: one alert for each sender, and no memory without end."""
    await kit.handset(presence=times.presence)
    times.switch(on=False)
    topic = ShortMessageTo(fleet=kit.fleet, ua=kit.ua())
    senders = [f"155{number:05}" for number in range(MAX_TURNED_AWAY + 8)]
    for sender in (*senders, senders[-1]):
        kit.clients["cell"].inject(topic, garbage_sms(sender))
    last = ReportTo(fleet=kit.fleet, address=senders[-1])
    await kit.wire.until(last, 2)
    times.switch(on=True)
    await kit.wire.until(last, 3)
    assert notices(kit, senders[-1]) == [Notice.ABSENT, Notice.ABSENT, Notice.ALERT]
    assert [notices(kit, sender) for sender in senders[:8]] == [[Notice.ABSENT]] * 8
    assert notices(kit, senders[8]) == [Notice.ABSENT, Notice.ALERT]


async def test_orders_wait_for_their_handset(kit: Kit, times: Times) -> None:
    """What a person wants of a handset that is off is done when it is back, however long that takes."""
    await kit.start("root", "factory", "mno", "bank")
    await kit.agree("account")
    await kit.handset(presence=times.presence)
    await kit.take("personalise")
    times.switch(on=False)
    topic = Orders(fleet=kit.fleet, agent=kit.ua())
    frame = kit.sealed_order("subscribe", "account", agent=kit.ua())
    given_at = kit.clock.now()
    kit.clients["cell"].inject(topic, frame)
    with pytest.raises(FrameRejected, match="replayed"):
        kit.clients["cell"].inject(topic, frame)
    times.switch(on=True)
    assert (await kit.event("subscribe")).result == "ok"
    assert kit.clock.now() - given_at > WINDOW_S


async def test_only_so_many_orders_wait(kit: Kit, times: Times) -> None:
    """One more than the person has patience for is refused to the bus, which counts it."""
    await kit.handset(presence=times.presence)
    times.switch(on=False)
    topic = Orders(fleet=kit.fleet, agent=kit.ua())
    for _ in range(MAX_WAITING):
        kit.clients["cell"].inject(topic, kit.sealed_order("serve", agent=kit.ua()))
    with pytest.raises(FrameRejected, match="handset-off"):
        kit.clients["cell"].inject(topic, kit.sealed_order("serve", agent=kit.ua()))


async def test_the_contacts_know_no_air(kit: Kit, times: Times) -> None:
    """A module in the factory's reader is powered, whatever its handset is."""
    await kit.handset(presence=times.presence)
    times.switch(on=False)
    await kit.clients["tap"].publish(Contact(fleet=kit.fleet, ua=kit.ua()), kit.sealed_apdu(b"\x80"))
    await kit.wire.until(ContactReply(fleet=kit.fleet, agent="factory"))


async def test_packets_for_a_handset_that_is_off_are_lost(kit: Kit, times: Times) -> None:
    """Nobody is told, as on a packet network; each is counted."""
    await kit.handset(presence=times.presence)
    times.switch(on=False)
    for bearer in (Bearer.BIP_TCP, Bearer.BIP_UDP):
        kind = LinkKind.CLOSE if bearer is Bearer.BIP_TCP else LinkKind.DATAGRAM
        pdu = LinkPdu(kind=kind, connection=1, port=1)
        frame = packet_frame(pdu, bearer=bearer, source="192.0.2.1", to=kit.ua())
        kit.clients["cell"].inject(BipDown(fleet=kit.fleet, ua=kit.ua()), frame)
        assert lost(kit, bearer) == 1
    assert kit.counters.snapshot()["dropped"] == {}


async def test_a_handset_that_goes_off_loses_its_channels(kit: Kit, times: Times) -> None:
    """In the middle of being served: the link is dead, and after its return the call is made anew."""
    await open_market(kit, TCP)
    phone = await kit.handset(presence=times.presence)
    await kit.take(*RESERVED)
    nth(kit, "bank", 1, LinkKind.DATA)  # the supplier's proof never comes
    await kit.send_order("serve", "account", agent=kit.ua(), ua=kit.ua())
    await kit.wire.until(up(kit), 3)
    await phone.idle()
    times.switch(on=False)
    times.switch(on=True)
    nth(kit, "bank", 0, LinkKind.DATA)
    assert (await kit.order("serve", "account")).result in ("ok", "failed")
    assert (await kit.order("serve", "account")).result == "ok"
    assert (await kit.order("invoke", "account", agent="bank")).result == "ok"


# Power


async def test_a_handset_that_was_switched_off_is_nowhere(kit: Kit) -> None:
    """Messages are turned away, pages and packets lost, orders wait; switched on it gets what waited."""
    await kit.start("root", "factory", "mno", "bank")
    await kit.agree("account")
    await kit.handset()
    await kit.take("personalise", "subscribe")
    for _ in range(2):
        await kit.take("switch-off", service="")
    await kit.send_order("serve", "account", agent=kit.ua(), ua=kit.ua())
    reserving = asyncio.create_task(kit.order("reserve", "account"))
    await kit.wire.until(ReportTo(fleet=kit.fleet, address=MNO))
    assert notices(kit) == [Notice.ABSENT]
    spy = await spied(kit)
    await heard(kit, page(), page(code=2))
    pdu = LinkPdu(kind=LinkKind.DATAGRAM, connection=1, port=1)
    packet = packet_frame(pdu, bearer=Bearer.BIP_UDP, source="192.0.2.1", to=kit.ua())
    kit.clients["cell"].inject(BipDown(fleet=kit.fleet, ua=kit.ua()), packet)
    assert (lost(kit, Bearer.BIP_UDP), spy.commands) == (1, [])
    for _ in range(2):
        await kit.take("switch-on", service="")
    assert (await reserving).result == "ok"
    assert (await kit.event("serve")).result == "refused"
    assert notices(kit) == [Notice.ABSENT, Notice.ALERT]
    assert kit.cell.phones[kit.ua()].module is not spy


async def test_what_is_volatile_goes_with_the_power(kit: Kit) -> None:
    """The module comes back as it was last stored, and the timers that it had started are nobody's."""
    await open_market(kit, TCP)
    phone = await kit.handset()
    await kit.take(*RESERVED)
    nth(kit, "bank", 1, LinkKind.DATA)  # the supplier's proof never comes
    await kit.send_order("serve", "account", agent=kit.ua(), ua=kit.ua())
    await kit.wire.until(up(kit), 3)
    await phone.idle()
    await kit.take("switch-off", "switch-on", service="")
    spy = await spied(kit)
    assert isinstance(kit.clock, ManualClock)
    kit.clock.advance(A_LONG_TIME_S)
    await phone.idle()
    assert spy.commands == []
    nth(kit, "bank", 0, LinkKind.DATA)
    assert (await kit.order("serve", "account")).result in ("ok", "failed")
    assert (await kit.order("serve", "account")).result == "ok"


async def test_out_of_reach_and_switched_off(kit: Kit, times: Times) -> None:
    """A handset is there when it is in reach and switched on: neither undoes the other."""
    await kit.handset(presence=times.presence)
    topic = ShortMessageTo(fleet=kit.fleet, ua=kit.ua())

    for number, (in_reach, power, there) in enumerate(
        (
            (True, "switch-on", True),
            (True, "switch-off", False),
            (False, "switch-off", False),
            (False, "switch-on", False),
            (True, "switch-on", True),
        )
    ):
        times.switch(on=in_reach)
        await kit.take(power, service="")
        sender = f"5{number}"
        kit.clients["cell"].inject(topic, garbage_sms(sender))
        if not there:
            await kit.wire.until(ReportTo(fleet=kit.fleet, address=sender))
        assert notices(kit, sender) == ([] if there else [Notice.ABSENT])


async def test_out_of_reach_it_can_be_switched_off_at_once(kit: Kit, times: Times) -> None:
    """What it waits to say is given up, and told; in reach it stays silent, and switched on it works."""
    await kit.start("root", "factory", "mno", "bank")
    await kit.agree("account")
    phone = await kit.handset(presence=times.presence)
    await kit.take("personalise")
    said = ShortMessageFrom(fleet=kit.fleet, address=MNO)
    # The order comes while it is in reach; it is out of it when the module has its message ready.
    orders = Orders(fleet=kit.fleet, agent=kit.ua())
    kit.clients["cell"].inject(orders, kit.sealed_order("subscribe", "account", agent=kit.ua()))
    times.switch(on=False)
    await kit.take("switch-off", service="")
    event = await kit.event("subscribe")
    assert (event.result, event.reason) == ("failed", "switched-off")
    times.switch(on=True)
    await phone.idle()
    assert kit.wire.on(said) == []
    await kit.take("switch-on", service="")
    await kit.take("subscribe", "reserve")
    assert len(kit.wire.on(said)) > 0


async def test_a_handset_that_is_off_can_always_be_switched_on(kit: Kit) -> None:
    """However many orders wait for it."""
    await kit.handset()
    await kit.take("switch-off", service="")
    topic = Orders(fleet=kit.fleet, agent=kit.ua())
    for _ in range(MAX_WAITING):
        kit.clients["cell"].inject(topic, kit.sealed_order("serve", agent=kit.ua()))
    with pytest.raises(FrameRejected, match="handset-off"):
        kit.clients["cell"].inject(topic, kit.sealed_order("serve", agent=kit.ua()))
    await kit.take("switch-on", service="")


# Broadcast


class Spy(SecurityModule):
    """A real module that keeps the APDUs it is given, and crashes as often as it is told."""

    def __init__(self, memory: Memory, **options: Any) -> None:
        super().__init__(memory, **options)
        self.commands: list[CommandApdu] = []
        self.crashes = 0

    def process(self, command: bytes, now: float) -> bytes:
        """Keep the command, and process it, or crash."""
        self.commands.append(CommandApdu.parse(command))
        if self.crashes:
            self.crashes -= 1
            raise RuntimeError("the module is broken")
        return super().process(command, now)

    def count(self, ins: int) -> int:
        """Return how many commands of that instruction came."""
        return sum(command.ins == ins for command in self.commands)


def page(identifier: int = ANNOUNCEMENTS, code: int = 1) -> Page:
    """Return a page of one message identifier, with nothing of sense in it."""
    serial = SerialNumber(scope=GeographicScope.CELL, code=code, update=0)
    return Page(serial=serial, message_identifier=identifier, content=bytes(CONTENT_OCTETS))


def broadcast_frame(pdu: bytes, bearer: Bearer = Bearer.CELL_BROADCAST) -> Frame:
    """Return the frame of a page."""
    return packet_frame(pdu, bearer=bearer, source="mno", to="cell")


async def spied(kit: Kit, index: int = 1) -> Spy:
    """Put a spy in the place of a handset's module, which it is in all else."""
    ua = kit.ua(index)
    pages = await kit.pages.load(ua)
    memory = Memory.from_pages(pages) if pages else Memory.format(32_768)
    spy = kit.cell.phones[ua].module = Spy(memory, rng=kit.rng("spy"))
    return spy


def say(kit: Kit, *pages: Page) -> None:
    """Let the cell broadcast *pages*, and wait for nothing."""
    for each in pages:
        kit.clients["cell"].inject(Broadcast(fleet=kit.fleet, cell="cell"), broadcast_frame(each.encode()))


async def heard(kit: Kit, *pages: Page) -> None:
    """Let the cell broadcast *pages*; return when every handset is done with them."""
    say(kit, *pages)
    for phone in kit.cell.phones.values():
        await phone.idle()


def announcing(kit: Kit, cells: dict[str, tuple[str, ...]]) -> None:
    """Have the operator broadcast to *cells*, by group of subscribers."""

    def announcer(desk: Desk) -> Announcer:
        broadcaster = CellBroadcaster(
            desk.client,
            fleet=kit.fleet,
            source="mno",
            clock=kit.clock,
            counters=kit.counters,
            rng=kit.rng("broadcast"),
            log=kit.log,
        )
        return Announcer(desk=desk, broadcaster=broadcaster, cells=cells, schedule=Schedule())

    kit.announcer = announcer


async def test_one_publish_reaches_all_handsets_of_a_cell(kit: Kit) -> None:
    """Each tells the console that it heard the announcement; those of another cell hear nothing."""
    announcing(kit, {"city": ("cell",), "coast": ("coast.1",)})
    await kit.start("root", "factory", "mno")
    for index in (1, 2, 3):
        await kit.handset(kit.ua(index))
        await kit.take("personalise", ua=kit.ua(index))
    await kit.put_up_cell("coast.1")
    await kit.handset(kit.ua(4))
    await kit.take("personalise", ua=kit.ua(4))
    event = await kit.order("announce", ua="", argument=b"city")
    assert (event.result, event.reason) == ("ok", "")
    for index in (1, 2, 3):
        assert (await kit.event("announce", ua=kit.ua(index))).result == "ok"
    pages = kit.wire.on(Broadcast(fleet=kit.fleet, cell="cell"))
    assert {frame.bearer for frame in pages} == {Bearer.CELL_BROADCAST}
    assert len({frame.reference for frame in pages}) == len(pages) == Page.parse(pages[0].pdu).total
    await kit.cell.phones[kit.ua(4)].idle()
    assert kit.wire.on(Broadcast(fleet=kit.fleet, cell="coast.1")) == []
    assert all(event.ua != kit.ua(4) for event in kit.events if event.do == "announce")


async def test_an_announcement_is_heard_once(kit: Kit) -> None:
    """A repetition of the same pages is no news: one event, however often the cell says it."""
    announcing(kit, {"city": ("cell",)})
    await kit.start("root", "factory", "mno")
    phone = await kit.handset()
    await kit.take("personalise")
    await kit.order("announce", ua="")
    await kit.event("announce")
    for frame in kit.wire.on(Broadcast(fleet=kit.fleet, cell="cell")):
        kit.clients["cell"].inject(Broadcast(fleet=kit.fleet, cell="cell"), frame)
    await phone.idle()
    await kit.order("announce", ua="")
    assert len([event for event in kit.events if (event.do, event.ua) == ("announce", kit.ua())]) <= 2


async def test_the_phone_asks_the_module_what_it_wants_to_hear(kit: Kit) -> None:
    """EF.UST and EF.CBMID are read before the first page, once; a blank module wants and gets nothing."""
    await kit.handset()
    spy = await spied(kit)
    await heard(kit, page(), page(code=2))
    assert (spy.count(INS_READ_BINARY), spy.count(INS_ENVELOPE)) == (2, 0)


async def test_a_refresh_has_the_file_read_again(kit: Kit) -> None:
    """Once it is personalised the module wants announcements, says so, and gets the next page."""
    await kit.start("root", "factory")
    await kit.handset()
    spy = await spied(kit)
    await heard(kit, page())
    await kit.take("personalise")
    assert (spy.count(INS_READ_BINARY), spy.count(INS_ENVELOPE)) == (3, 0)
    await heard(kit, page(code=2))
    assert (spy.count(INS_READ_BINARY), spy.count(INS_ENVELOPE)) == (3, 1)


async def personalised(kit: Kit) -> Spy:
    """Return the module of a handset that listens to its operator, which has crashed at nothing yet."""
    await kit.start("root", "factory")
    await kit.handset()
    await kit.take("personalise")
    spy = await spied(kit)
    await heard(kit, page(code=9))
    spy.commands.clear()
    return spy


async def test_a_handset_at_rest_has_taken_a_page_when_the_cell_has(kit: Kit) -> None:
    """A page that nothing comes of takes no turn of the handset's: its module has it at once."""
    spy = await personalised(kit)
    of_two = replace(page(), page_parameter=0x12)
    say(kit, of_two)
    assert (spy.count(INS_ENVELOPE), kit.cell.phones[kit.ua()].is_at_rest) == (1, True)


async def test_a_page_waits_for_what_is_to_be_done_with_the_one_before(kit: Kit) -> None:
    """What the module says of a page is told in its turn, and nothing reaches the module before that."""
    spy = await personalised(kit)
    say(kit, page(code=1), page(code=2))  # none of them holds a packet, which the module notes
    assert spy.count(INS_ENVELOPE) == 1
    await kit.cell.phones[kit.ua()].idle()
    assert spy.count(INS_ENVELOPE) == 2


async def test_a_crash_over_a_page_is_supervised_as_any_other(kit: Kit) -> None:
    """The module is powered off and on before it gets the page again; who broadcasts feels nothing."""
    spy = await personalised(kit)
    spy.crashes = 1
    await heard(kit, page())
    phone = kit.cell.phones[kit.ua()]
    assert (phone.module is spy, phone.dead_letters) == (False, ())
    assert kit.counters.snapshot()["crashes"] == {kit.ua(): 1}


async def test_other_broadcasts_never_reach_the_module(kit: Kit) -> None:
    """Weather and traffic of the same cell end at the phone."""
    await kit.start("root", "factory")
    await kit.handset()
    await kit.take("personalise")
    spy = await spied(kit)
    await heard(kit, *(page(identifier) for identifier in (0, 0x0032, ANNOUNCEMENTS + 1, 0xFFFF)), page())
    assert spy.count(INS_ENVELOPE) == 1


async def test_a_handset_that_is_off_hears_no_broadcast(kit: Kit, times: Times) -> None:
    """The page passes by, and is not kept for it."""
    await kit.handset(presence=times.presence)
    spy = await spied(kit)
    times.switch(on=False)
    await heard(kit, page())
    times.switch(on=True)
    await heard(kit)
    assert spy.commands == []


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        pytest.param(broadcast_frame(page().encode(), Bearer.SMS), "wrong-bearer", id="bearer"),
        pytest.param(broadcast_frame(b""), "length", id="empty"),
        pytest.param(broadcast_frame(page().encode() + b"\0"), "length", id="trailing"),
        pytest.param(broadcast_frame(page().encode()[:-1]), "length", id="cut-short"),
        pytest.param(
            broadcast_frame(bytes.fromhex("40101080f621") + bytes(82)), "page-parameter", id="page-2-of-1"
        ),
    ],
)
async def test_what_is_no_page_is_refused_to_the_bus(kit: Kit, frame: Frame, reason: str) -> None:
    """Once for the cell, not once for each handset."""
    await kit.handset()
    spy = await spied(kit)
    with pytest.raises(FrameRejected, match=reason):
        kit.clients["cell"].inject(Broadcast(fleet=kit.fleet, cell="cell"), frame)
    assert spy.commands == []


async def test_each_bearer_has_its_topic(kit: Kit) -> None:
    """A frame on a topic where its bearer does not belong is refused, with both names."""
    await kit.handset()
    frame = packet_frame(b"x", bearer=Bearer.SMS, source="192.0.2.1", to=kit.ua())
    with pytest.raises(FrameRejected, match="sms where bip-tcp or bip-udp belongs"):
        kit.clients["cell"].inject(BipDown(fleet=kit.fleet, ua=kit.ua()), frame)
