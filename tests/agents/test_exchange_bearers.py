"""A role's packets over channels: which dialect, which errors, and what a module may say by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agents.messages.air import MANAGER_TAR
from bus.bearers.bip import BipServer, BipSettings
from bus.errors import DeliveryFailed, MailboxFull
from bus.frame import Bearer
from tests.agents.bearer_kit import HOST, SERVER, TCP, down, packet_frame, said_down, up
from tests.agents.role_kit import PATIENCE_S, TRACE, Kit
from transport.bip.link import LinkKind, LinkPdu
from transport.iccid import iccid_octets
from transport.secured_packet import TCP as TCP_DIALECT
from transport.secured_packet import (
    ResponsePacket,
    ResponseStatus,
    SecurityParameters,
    decode_command,
    encode_command,
    encode_identification,
    encode_response,
)

if TYPE_CHECKING:
    from agents.exchange import Exchange, FromModule

NUMBER = "15550200"
PATIENT, SHORT = BipSettings(), BipSettings(link_timeout_s=0.1)


class Air:
    """An exchange that listens at a number and a server, and the far end of a module's channel."""

    def __init__(self, kit: Kit, exchange: Exchange, taken: asyncio.Queue[FromModule]) -> None:
        self.kit = kit
        self.exchange = exchange
        self.taken = taken
        self._sent = 0

    def deliver(self, packet: FromModule) -> None:
        """Take a packet as a role's mailbox does."""
        if self.taken.full():
            raise MailboxFull("role", self.taken.maxsize)
        self.taken.put_nowait(packet)

    async def say(self, kind: LinkKind, payload: bytes = b"") -> None:
        """Have the first handset send something over its connection."""
        pdu = LinkPdu(kind=kind, connection=1, port=SERVER.tcp_port, sequence=self._sent, payload=payload)
        self._sent += len(payload)
        frame = packet_frame(
            pdu, bearer=Bearer.BIP_TCP, source=self.kit.ua(), to=HOST, reference=b"%d" % self._sent
        )
        await self.kit.clients["tap"].publish(up(self.kit), frame)

    async def open(self) -> None:
        """Have the module open its channel and say who it is."""
        waiting = asyncio.create_task(self.exchange.wait_link(self.kit.ua(), TCP))
        await self.say(LinkKind.OPEN)
        await self.say(LinkKind.DATA, encode_identification(iccid_octets(self.kit.ua())))
        assert await waiting
        assert self.exchange.has_link(self.kit.ua(), TCP)


async def open_air(kit: Kit, settings: BipSettings = PATIENT, *, room: int = 0) -> Air:
    """Return an exchange with a server, started; its role takes *room* packets, 0: any number."""
    client = await kit.client("role")
    server = BipServer(
        client,
        fleet=kit.fleet,
        address=HOST,
        tcp_port=SERVER.tcp_port,
        udp_port=SERVER.udp_port,
        settings=settings,
        clock=kit.clock,
        rng=kit.rng("server"),
        counters=kit.counters,
        log=kit.log,
    )
    air = Air(kit, kit.exchange(client, NUMBER, server), asyncio.Queue(room))
    await air.exchange.start(air.deliver)
    return air


@pytest.fixture
async def air(kit: Kit) -> Air:
    """Return an exchange to which the first module has a channel open."""
    air = await open_air(kit)
    await air.open()
    return air


def response_to(packet: bytes, data: bytes) -> bytes:
    """Return a module's response, in the TCP dialect."""
    command = decode_command(packet, dialect=TCP_DIALECT)
    response = ResponsePacket(
        tar=command.tar, counter=command.counter, status=ResponseStatus.POR_OK, data=data
    )
    return encode_response(response, spi=command.spi, keys=None, dialect=TCP_DIALECT)


async def test_a_command_and_its_response_in_the_dialect_of_the_bearer(air: Air, kit: Kit) -> None:
    """Over TCP both begin with their identifier; the data of the response is the caller's."""
    managing = asyncio.create_task(air.exchange.manage(kit.ua(), b"hello", trace=TRACE, bearer=TCP))
    frames = await kit.wire.until(down(kit), 2)
    packet = LinkPdu.parse(frames[1].pdu).payload
    assert decode_command(packet, dialect=TCP_DIALECT).data == b"hello"
    await air.say(LinkKind.DATA, response_to(packet, b"good day"))
    assert await managing == b"good day"


async def test_what_a_module_says_by_itself_names_its_bearer(air: Air, kit: Kit) -> None:
    """A call over a channel is to be answered there."""
    packet = encode_command(spi=SecurityParameters(), tar=MANAGER_TAR, data=b"a call", dialect=TCP_DIALECT)
    await air.say(LinkKind.DATA, packet)
    taken = await asyncio.wait_for(air.taken.get(), PATIENCE_S)
    assert (taken.ua, taken.bearer, taken.packet.data) == (kit.ua(), TCP, b"a call")


async def test_a_packet_that_does_not_open_is_dropped(air: Air, kit: Kit) -> None:
    """Of a length that holds and a header that does not: counted, and the channel stands."""
    good = encode_command(spi=SecurityParameters(), tar=MANAGER_TAR, data=b"x", dialect=TCP_DIALECT)
    bad = good[:3] + b"\x01" + good[4:]
    await air.say(LinkKind.DATA, bad)
    await air.say(LinkKind.DATA, good)
    assert (await asyncio.wait_for(air.taken.get(), PATIENCE_S)).packet.data == b"x"
    assert sum(kit.counters.snapshot()["dropped"].values()) == 1


async def test_a_role_that_is_full_loses_no_link(kit: Kit) -> None:
    """A mailbox without room is counted; the next packet is taken."""
    air = await open_air(kit, room=1)
    await air.open()
    for number in range(3):
        data = bytes([number])
        packet = encode_command(spi=SecurityParameters(), tar=MANAGER_TAR, data=data, dialect=TCP_DIALECT)
        await air.say(LinkKind.DATA, packet)
    await kit.counters.until_dropped("mailbox-full", 2)
    assert air.taken.get_nowait().packet.data == b"\0"
    assert air.exchange.has_link(kit.ua(), TCP)


async def test_without_a_link_there_is_no_delivery(kit: Kit) -> None:
    """Nobody called: a typed failure at once, and a wait that ends."""
    air = await open_air(kit, SHORT)
    assert not air.exchange.has_link(kit.ua(), TCP)
    assert not await air.exchange.wait_link(kit.ua(), TCP)
    with pytest.raises(DeliveryFailed) as failed:
        await air.exchange.manage(kit.ua(), b"hello", trace=TRACE, bearer=TCP)
    assert failed.value.reason == "no-link"


async def test_a_role_without_a_server_has_no_links(kit: Kit) -> None:
    """It is asked like one that has a server, and says no."""
    exchange = kit.exchange(await kit.client("role"), NUMBER)
    await exchange.start(lambda _packet: None)
    assert not exchange.has_link(kit.ua(), TCP)
    assert not await exchange.wait_link(kit.ua(), TCP)
    await exchange.hang_up(kit.ua(), TCP)
    with pytest.raises(DeliveryFailed) as failed:
        await exchange.manage(kit.ua(), b"hello", trace=TRACE, bearer=TCP)
    assert failed.value.reason == "no-link"


async def test_a_link_that_is_lost_ends_what_waits(air: Air, kit: Kit) -> None:
    """The module hangs up instead of answering."""
    managing = asyncio.create_task(air.exchange.manage(kit.ua(), b"hello", trace=TRACE, bearer=TCP))
    await kit.wire.until(down(kit), 2)
    await air.say(LinkKind.CLOSE)
    with pytest.raises(DeliveryFailed) as failed:
        await managing
    assert failed.value.reason == "link-lost"
    assert not air.exchange.has_link(kit.ua(), TCP)


async def test_a_role_that_has_nothing_left_to_say_hangs_up(air: Air, kit: Kit) -> None:
    """The channel is closed; over short messages there is nothing to close."""
    await air.exchange.hang_up(kit.ua(), "sms")
    assert air.exchange.has_link(kit.ua(), TCP)
    await air.exchange.hang_up(kit.ua(), TCP)
    await kit.wire.until(down(kit), 2)
    assert said_down(kit) == [LinkKind.ACCEPT, LinkKind.CLOSE]
