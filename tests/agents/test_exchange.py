"""The air, from a role's side: what a role sends a module, and what it takes for the answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agents import exchange as exchange_module
from agents.errors import PacketRefused, Unanswered
from agents.exchange import SECURED, UNSECURED, Exchange, FromModule
from agents.messages.air import MANAGER_TAR
from bus.errors import DeliveryFailed
from bus.frame import Bearer, Frame
from bus.topics import ReportTo, ShortMessageFrom, ShortMessageTo
from tests.agents.role_kit import PATIENCE_S, TRACE
from transport.concatenation import split
from transport.errors import PacketRejected
from transport.secured_packet import (
    RESPONSE_USER_DATA_HEADER,
    CommandPacket,
    ResponsePacket,
    ResponseStatus,
    SecurityParameters,
    decode_command,
    encode_command,
    encode_response,
)
from transport.security.keyset import SessionKeys
from transport.sms import (
    IEI_COMMAND_PACKET,
    IEI_RESPONSE_PACKET,
    Address,
    FailureCause,
    InformationElement,
    SmsDeliver,
    SmsDeliverReport,
    SmsSubmit,
    UserData,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agents.role_kit import Kit, WatchedClient

NUMBER = "15550100"
TAR = bytes.fromhex("b20000")
KEYS = SessionKeys.load(bytes([1, 1]) + bytes(range(64)))
Answer = ResponsePacket | SmsDeliverReport


def ok(packet: CommandPacket, data: bytes = b"") -> ResponsePacket:
    """Return the response that a module gives to *packet* when all is well."""
    return ResponsePacket(tar=packet.tar, counter=packet.counter, status=ResponseStatus.POR_OK, data=data)


class Module:
    """A handset with a module as a role sees it: the test says what it answers."""

    def __init__(self, kit: Kit, client: WatchedClient, keys: SessionKeys | None) -> None:
        self.kit = kit
        self.client = client
        self.keys = keys
        self.packets: list[CommandPacket] = []
        self.answer: Callable[[CommandPacket], Answer] = ok
        self.follows: Callable[[CommandPacket], list[bytes]] = lambda _packet: []
        """The response packets that the module sends by itself, before its report leaves."""

    async def switch_on(self) -> None:
        """Register with the network."""
        topic = ShortMessageTo(fleet=self.kit.fleet, ua=self.kit.ua())
        await self.client.subscribe([topic], self._received)

    def _received(self, frame: Frame, _topic: str) -> None:
        self.kit.group.spawn(self._take(frame), name="module")

    async def _take(self, frame: Frame) -> None:
        payload = SmsDeliver.parse(frame.pdu).user_data.payload
        packet = decode_command(payload, self.keys.to_module if self.keys else None)
        self.packets.append(packet)
        for octets in self.follows(packet):
            await send(self.kit, self.client, octets, IEI_RESPONSE_PACKET)
        answer = self.answer(packet)
        report = answer if isinstance(answer, SmsDeliverReport) else self._report(packet, answer)
        topic = ReportTo(fleet=self.kit.fleet, address=frame.source)
        await self.client.publish(topic, self._frame(frame, report))

    def _report(self, packet: CommandPacket, answer: ResponsePacket) -> SmsDeliverReport:
        keys = self.keys.from_module if self.keys else None
        octets = encode_response(answer, spi=packet.spi, keys=keys)
        return SmsDeliverReport(user_data=UserData(payload=RESPONSE_USER_DATA_HEADER + octets))

    def _frame(self, question: Frame, report: SmsDeliverReport) -> Frame:
        return Frame(
            bearer=Bearer.REPORT,
            source=self.kit.ua(),
            destination=question.source,
            pdu=report.encode(),
            reference=question.reference,
            trace=question.trace,
            sent_at=0.0,
        )


async def send(kit: Kit, client: WatchedClient, octets: bytes, iei: int | None, *, ua: str = "") -> None:
    """Send *octets* to the role's number, as a module does by its phone."""
    element = InformationElement(iei=iei, data=b"") if iei is not None else None
    topic = ShortMessageFrom(fleet=kit.fleet, address=NUMBER)
    for number, user_data in enumerate(split(octets, reference=1, first=element)):
        submit = SmsSubmit(reference=1, destination=Address(digits=NUMBER), user_data=user_data)
        frame = Frame(
            bearer=Bearer.SMS,
            source=ua or kit.ua(),
            destination=NUMBER,
            pdu=submit.encode(),
            reference=bytes(7) + bytes([number]),
            trace=TRACE,
            sent_at=0.0,
        )
        await client.publish(topic, frame)


class Air:
    """An exchange that listens, and the module it speaks with."""

    def __init__(self, exchange: Exchange, module: Module) -> None:
        self.exchange = exchange
        self.module = module
        self.taken: asyncio.Queue[FromModule] = asyncio.Queue()

    async def manage(self, data: bytes = b"command") -> bytes:
        """Send to the resource manager."""
        return await self.exchange.manage(self.module.kit.ua(), data, trace=TRACE)

    async def command(self, data: bytes = b"command", *, counter: int = 7) -> bytes:
        """Send to the resource under the session's keys."""
        return await self.exchange.command(
            self.module.kit.ua(), TAR, data, keys=KEYS, counter=counter, trace=TRACE
        )


async def open_air(kit: Kit, keys: SessionKeys | None = None) -> Air:
    """Return an exchange and a module that shares *keys* with it."""
    module = Module(kit, await kit.client("module"), keys)
    await module.switch_on()
    air = Air(kit.exchange(await kit.client("mno"), NUMBER), module)
    await air.exchange.start(air.taken.put_nowait)
    return air


def follow(packet: CommandPacket, data: bytes, keys: SessionKeys | None = None) -> bytes:
    """Return the response packet that comes by itself."""
    return encode_response(ok(packet, data), spi=packet.spi, keys=keys.from_module if keys else None)


def promise(packet: CommandPacket) -> ResponsePacket:
    """Return the report's promise of a response by SMS-SUBMIT."""
    return ResponsePacket(
        tar=packet.tar, counter=packet.counter, status=ResponseStatus.RESPONSE_BY_SMS_SUBMIT
    )


async def test_a_command_to_the_manager_travels_in_clear_and_brings_its_answer(kit: Kit) -> None:
    """The manager's TAR, no keys, a response always; the response's data come back."""
    air = await open_air(kit)
    air.module.answer = lambda packet: ok(packet, b"answer to " + packet.data)
    assert await air.manage(b"reserve") == b"answer to reserve"
    (packet,) = air.module.packets
    assert (packet.tar, packet.data, packet.spi) == (MANAGER_TAR, b"reserve", UNSECURED)


async def test_each_packet_to_the_manager_has_a_counter_that_nobody_checks(kit: Kit) -> None:
    """SPI1 b5b4 = 01 (TS 102 225 5.1.1): there for us, to know by which packet a response is to."""
    air = await open_air(kit)
    for _ in range(3):
        await air.manage()
    first, second, third = (packet.counter for packet in air.module.packets)
    assert 0 < first < second < third
    assert {packet.spi.octets[0] for packet in air.module.packets} == {0x08}


async def test_a_later_launch_counts_on(kit: Kit) -> None:
    """An exchange that is opened anew uses no counter of the one before it."""
    air = await open_air(kit)
    await air.manage()
    again = Air(kit.exchange(await kit.client("bank"), NUMBER), air.module)
    await again.exchange.start(again.taken.put_nowait)
    await again.manage()
    first, second = (packet.counter for packet in air.module.packets)
    assert first <= second


async def test_a_late_response_of_the_manager_is_not_the_next_ones(kit: Kit) -> None:
    """What was promised to one command and comes with the next one's promise answers neither of the two."""
    air = await open_air(kit)
    air.module.answer = promise

    def follows(packet: CommandPacket) -> list[bytes]:
        late = packet._replace(counter=packet.counter - 1)
        return [follow(late, b"late"), follow(packet, b"in time")]

    air.module.follows = follows
    assert await air.manage() == b"in time"


async def test_a_report_with_another_commands_response_is_refused(kit: Kit) -> None:
    """Of the resource manager too: in clear, but with its counter."""
    air = await open_air(kit)
    air.module.answer = lambda packet: ok(packet._replace(counter=packet.counter - 1))
    with pytest.raises(PacketRefused, match="response-of-another-command") as caught:
        await air.manage()
    assert not caught.value.proven


async def test_several_commands_at_once_each_get_what_was_promised_to_them(kit: Kit) -> None:
    """To one TAR of one module, as with several handshakes at once: whichever response comes first."""
    air = await open_air(kit)
    air.module.answer = promise
    waiting: list[CommandPacket] = []

    def follows(packet: CommandPacket) -> list[bytes]:
        waiting.append(packet)
        if len(waiting) < 4:
            return []
        return [follow(each, b"to " + each.data) for each in reversed(waiting)]

    air.module.follows = follows
    data = [bytes([65 + each]) for each in range(4)]
    assert await asyncio.gather(*map(air.manage, data)) == [b"to " + each for each in data]


async def test_a_command_to_a_resource_is_protected_both_ways(kit: Kit) -> None:
    """Checksum, ciphering and counter out; checksum and ciphering back; nothing readable on the wire."""
    air = await open_air(kit, KEYS)
    air.module.answer = lambda packet: ok(packet, b"secret answer")
    assert await air.command(b"secret question", counter=9) == b"secret answer"
    (packet,) = air.module.packets
    assert (packet.tar, packet.data, packet.counter, packet.spi) == (TAR, b"secret question", 9, SECURED)
    await kit.wire.until(ReportTo(fleet=kit.fleet, address=NUMBER))
    assert all(b"secret" not in frame.pdu for _topic, frame in kit.wire.frames)


@pytest.mark.parametrize(
    "status",
    [
        ResponseStatus.TAR_UNKNOWN,
        ResponseStatus.INSUFFICIENT_SECURITY_LEVEL,
        ResponseStatus.UNIDENTIFIED_SECURITY_ERROR,
    ],
)
async def test_a_status_that_is_no_ok_is_a_refusal(kit: Kit, status: ResponseStatus) -> None:
    """The module's status becomes the reason, in words."""
    air = await open_air(kit)
    air.module.answer = lambda packet: ResponsePacket(tar=packet.tar, counter=packet.counter, status=status)
    with pytest.raises(PacketRefused) as caught:
        await air.manage()
    assert caught.value.reason == status.name.lower().replace("_", "-")


async def test_a_report_without_a_response_is_no_answer(kit: Kit) -> None:
    """The network delivered, the module said nothing."""
    air = await open_air(kit)
    air.module.answer = lambda _packet: SmsDeliverReport()
    with pytest.raises(Unanswered, match=kit.ua()):
        await air.manage()


async def test_what_the_phone_refuses_was_not_delivered(kit: Kit) -> None:
    """An RP-ERROR is the bearer's failure and comes through as such."""
    air = await open_air(kit)
    air.module.answer = lambda _packet: SmsDeliverReport(failure_cause=FailureCause.DATA_DOWNLOAD_ERROR)
    with pytest.raises(DeliveryFailed, match="rp-error-d5"):
        await air.manage()


@pytest.mark.parametrize("status", [ResponseStatus.RESPONSE_BY_SMS_SUBMIT, ResponseStatus.MORE_TIME])
async def test_a_response_may_follow_by_itself(kit: Kit, status: ResponseStatus) -> None:
    """The report promises it; it comes in short messages of its own, here in two parts, after or before."""
    air = await open_air(kit)
    air.module.answer = lambda packet: ResponsePacket(tar=packet.tar, counter=packet.counter, status=status)
    air.module.follows = lambda packet: [follow(packet, b"long " * 40)]
    assert await air.manage() == b"long " * 40


async def test_a_protected_response_may_follow_by_itself(kit: Kit) -> None:
    """What follows is opened under the session's keys like what a report carries."""
    air = await open_air(kit, KEYS)
    air.module.answer = promise
    air.module.follows = lambda packet: [follow(packet, b"long " * 40, KEYS)]
    assert await air.command() == b"long " * 40


async def test_a_response_that_follows_twice_counts_once(kit: Kit) -> None:
    """The first is the answer; a repetition and one to another TAR change nothing."""
    air = await open_air(kit)
    air.module.answer = promise
    other = CommandPacket(spi=UNSECURED, tar=TAR, counter=0, data=b"")
    air.module.follows = lambda packet: [
        follow(other, b"other"),
        follow(packet, b"first"),
        follow(packet, b"second"),
    ]
    assert await air.manage() == b"first"


async def test_what_follows_and_does_not_hold_is_not_the_answer(kit: Kit) -> None:
    """A forgery, a refusal in clear and the response to another command come first: the true one counts."""
    air = await open_air(kit, KEYS)
    air.module.answer = promise
    impostor = SessionKeys.load(bytes([1, 1]) + bytes(64))

    def follows(packet: CommandPacket) -> list[bytes]:
        unknown = ResponsePacket(tar=packet.tar, counter=packet.counter, status=ResponseStatus.TAR_UNKNOWN)
        old = ResponsePacket(tar=packet.tar, counter=packet.counter - 1, status=ResponseStatus.POR_OK)
        return [
            follow(packet, b"forged", impostor),
            encode_response(unknown, spi=packet.spi),
            encode_response(old, spi=packet.spi, keys=KEYS.from_module),
            follow(packet, b"true", KEYS),
        ]

    air.module.follows = follows
    assert await air.command() == b"true"
    assert sum(kit.counters.snapshot()["dropped"].values()) == 1


async def test_a_promise_that_is_not_kept_is_no_answer(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The role waits for what was promised, but not for ever."""
    monkeypatch.setattr(exchange_module, "RESPONSE_TIMEOUT_S", 0.01)
    air = await open_air(kit)
    air.module.answer = promise
    with pytest.raises(Unanswered):
        await air.manage()


async def test_a_response_to_another_command_is_refused(kit: Kit) -> None:
    """A proven response with another counter is an old one: it does not answer this command."""
    air = await open_air(kit, KEYS)
    air.module.answer = lambda packet: ResponsePacket(
        tar=packet.tar, counter=packet.counter - 1, status=ResponseStatus.POR_OK
    )
    with pytest.raises(PacketRefused, match="response-of-another-command"):
        await air.command()


async def test_a_response_without_the_keys_is_refused(kit: Kit) -> None:
    """Who has other keys cannot answer for the module."""
    air = await open_air(kit, KEYS)
    impostor = SessionKeys.load(bytes([1, 1]) + bytes(64))

    def forge(packet: CommandPacket) -> SmsDeliverReport:
        octets = encode_response(ok(packet), spi=packet.spi, keys=impostor.from_module)
        return SmsDeliverReport(user_data=UserData(payload=RESPONSE_USER_DATA_HEADER + octets))

    air.module.answer = forge
    with pytest.raises(PacketRejected):
        await air.command()


async def test_two_commands_to_one_module_at_once_do_not_disturb_each_other(kit: Kit) -> None:
    """Each gets the response to its own report."""
    air = await open_air(kit)
    air.module.answer = lambda packet: ok(packet, b"to " + packet.data)
    one, two = await asyncio.gather(air.manage(b"one"), air.manage(b"two"))
    assert (one, two) == (b"to one", b"to two")


async def test_a_packet_of_a_module_is_handed_on(kit: Kit) -> None:
    """A command packet to the number reaches the role with its sender and its trace."""
    air = await open_air(kit)
    packet = encode_command(spi=SecurityParameters(), tar=TAR, data=b"call " * 40)
    await send(kit, air.module.client, packet, IEI_COMMAND_PACKET)
    async with asyncio.timeout(PATIENCE_S):
        taken = await air.taken.get()
    assert (taken.ua, taken.packet.tar, taken.packet.data, taken.trace.trace_id) == (
        kit.ua(),
        TAR,
        b"call " * 40,
        TRACE.trace_id,
    )


@pytest.mark.parametrize(
    ("octets", "iei", "reason"),
    [
        (b"no packet at all", IEI_COMMAND_PACKET, "cpl"),
        (b"no", IEI_COMMAND_PACKET, "cpl"),
        (b"text", None, "not-a-packet"),
        (encode_command(spi=SECURED, tar=TAR, data=b"", keys=KEYS.to_module), IEI_COMMAND_PACKET, "kic"),
    ],
    ids=["garbage", "short", "no-packet", "under-keys-nobody-has"],
)
async def test_what_is_no_packet_is_dropped(kit: Kit, octets: bytes, iei: int | None, reason: str) -> None:
    """Whatever else comes to the number is counted by its reason and reaches nobody."""
    air = await open_air(kit)
    await send(kit, air.module.client, octets, iei)
    await kit.counters.until_dropped(reason)
    assert air.taken.empty()


async def test_a_response_nobody_waits_for_is_nothing(kit: Kit) -> None:
    """It is neither an answer nor a packet for the role; what comes after it is heard."""
    air = await open_air(kit)
    packet = CommandPacket(spi=UNSECURED, tar=TAR, counter=0, data=b"")
    await send(kit, air.module.client, follow(packet, b""), IEI_RESPONSE_PACKET)
    await send(
        kit,
        air.module.client,
        encode_command(spi=SecurityParameters(), tar=TAR, data=b"next"),
        IEI_COMMAND_PACKET,
    )
    async with asyncio.timeout(PATIENCE_S):
        assert (await air.taken.get()).packet.data == b"next"
    assert air.taken.empty()
