"""A market whose bank has a server on the packet network, and offers over more bearers than one."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from agents.messages.bearers import ServerAddress
from bus.bearers.bip import BipSettings
from bus.frame import Bearer, Frame
from bus.topics import BipDown, BipUp, ShortMessageFrom, ShortMessageTo
from tests.agents.role_kit import SUBJECTS, TRACE, offers_of
from transport.bip.link import LinkKind, LinkPdu

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agents.role_kit import Kit

SERVER: Final = ServerAddress(host=IPv4Address("192.0.2.1"), tcp_port=40000, udp_port=40001)
BANK: Final = SUBJECTS["bank"][2]
SMS, TCP, UDP = "sms", "bip-tcp", "bip-udp"
HOST: Final = str(SERVER.host)
RESERVED: Final = ("personalise", "subscribe", "reserve", "activate")
PATIENT: Final = BipSettings()


async def open_market(kit: Kit, *bearers: str, server: BipSettings | None = PATIENT) -> None:
    """Open *kit*'s market: the bank offers everything over *bearers*; None: nobody is at its address."""
    kit.offers["bank"] = [replace(each, bearers=bearers) for each in offers_of("bank")]
    kit.servers["bank"] = SERVER
    if server is not None:
        kit.listening["bank"] = server
    await kit.start("root", "factory", "mno", "bank")
    await kit.agree("account", "silent", "large")


async def serve(kit: Kit, service: str = "account") -> tuple[str, str]:
    """Have the first handset call; return how that ended."""
    event = await kit.order("serve", service)
    return event.result, event.reason


async def invoke(kit: Kit, service: str = "account") -> tuple[str, str]:
    """Have the bank run the first module's application; return how that ended."""
    event = await kit.order("invoke", service, agent="bank")
    return event.result, event.reason


def up(kit: Kit) -> BipUp:
    """Return where handsets send what is for the bank's server."""
    return BipUp(fleet=kit.fleet, server=str(SERVER.host))


def down(kit: Kit, index: int = 1) -> BipDown:
    """Return where servers send what is for a handset."""
    return BipDown(fleet=kit.fleet, ua=kit.ua(index))


def kinds(frames: list[Frame]) -> list[LinkKind]:
    """Return what the frames of a packet network are."""
    return [LinkPdu.parse(frame.pdu).kind for frame in frames]


def said_up(kit: Kit) -> list[LinkKind]:
    """Return what handsets have sent to the bank's server."""
    return kinds(kit.wire.on(up(kit)))


def said_down(kit: Kit) -> list[LinkKind]:
    """Return what the first handset was sent by servers."""
    return kinds(kit.wire.on(down(kit)))


def calls_by_sms(kit: Kit) -> int:
    """Return how many short messages handsets have sent to the bank."""
    return len(kit.wire.on(ShortMessageFrom(fleet=kit.fleet, address=BANK)))


def messages_by_sms(kit: Kit) -> int:
    """Return how many short messages the bank has sent to the first module."""
    frames = kit.wire.on(ShortMessageTo(fleet=kit.fleet, ua=kit.ua()))
    return sum(frame.source == BANK for frame in frames)


def lost(kit: Kit, bearer: Bearer) -> int:
    """Return how many PDUs of *bearer* the air did not deliver."""
    counts = kit.counters.snapshot()["bearers"].get(bearer)
    return counts["lost"] if counts else 0


def packet_frame(
    pdu: LinkPdu | bytes, *, bearer: Bearer, source: str, to: str, reference: bytes = b""
) -> Frame:
    """Return the frame of what the packet network carries, or of octets in its place."""
    octets = pdu if isinstance(pdu, bytes) else pdu.encode()
    return Frame(
        bearer=bearer,
        source=source,
        destination=to,
        pdu=octets,
        reference=reference.rjust(8, b"."),
        trace=TRACE,
        sent_at=0.0,
    )


def nth(
    kit: Kit,
    name: str,
    number: int,
    kind: LinkKind,
    instead: Callable[[LinkPdu], list[LinkPdu]] = lambda _pdu: [],
) -> None:
    """Have *name* publish *instead* in the place of its *number*-th PDU of *kind*, counted from now."""
    seen: list[LinkPdu] = []

    def alter(_path: str, frame: Frame) -> list[Frame]:
        if frame.bearer not in (Bearer.BIP_TCP, Bearer.BIP_UDP):
            return [frame]
        pdu = LinkPdu.parse(frame.pdu)
        if pdu.kind is not kind:
            return [frame]
        seen.append(pdu)
        if len(seen) != number:
            return [frame]
        return [replace(frame, pdu=each.encode()) for each in instead(pdu)]

    kit.clients[name].alter = alter
