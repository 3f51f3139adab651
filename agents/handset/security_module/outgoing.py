"""What a module says by itself: short messages that it asks its terminal to send, and its response packets.

The response packet to a short message goes back in the delivery report when it fits there and the command did
not ask otherwise. Else it goes in short messages of its own, and the report says so: "response will follow by
SMS-SUBMIT" (status 0B) where that was asked for, "more time" (08) where it is only too long. Where the
terminal sends no short messages, what fits the report goes there, whatever was asked. Over a channel a
response has the room it needs; a cell broadcast has none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from transport.concatenation import split
from transport.secured_packet import (
    CELL_BROADCAST,
    CLEAR_WITHOUT_KEYS,
    SMS,
    Integrity,
    PorDemand,
    ResponsePacket,
    ResponseStatus,
    encode_response,
)
from transport.sms.address import Address
from transport.sms.tpdu import SmsSubmit
from transport.sms.user_data import IEI_COMMAND_PACKET, IEI_RESPONSE_PACKET, InformationElement
from transport.toolkit import MAX_TEXT, CommandType, ProactiveCommand

if TYPE_CHECKING:
    from agents.handset.security_module.core import Core
    from transport.secured_packet import CommandHeader, Dialect, PacketKeys, SecurityParameters

REPORT_ROOM: Final = 137
"""Octets of a response packet that a delivery report carries behind the header 02 71 00: 140 in all."""
GOES_ON: Final = b"+ "
"""What a text begins with that goes on where the one before it ended."""
_COMMAND: Final = InformationElement(iei=IEI_COMMAND_PACKET, data=b"")
_RESPONSE: Final = InformationElement(iei=IEI_RESPONSE_PACKET, data=b"")


# A tuple because of its rate: one is made of each packet of a broadcast.
class Incoming(NamedTuple):
    """A command packet that came whole: its clear header, its octets, how it came and when.

    *reply_to* is the number to answer, for a short message.
    """

    header: CommandHeader
    octets: bytes
    now: float
    reply_to: str = ""
    dialect: Dialect = SMS


def show(core: Core, text: str) -> None:
    """Queue *text* for the display, in as many texts as it takes, all but the first marked as going on."""
    octets = text.encode()
    first, rest = octets[:MAX_TEXT], octets[MAX_TEXT:]
    room = MAX_TEXT - len(GOES_ON)
    for piece in (first, *(GOES_ON + rest[at : at + room] for at in range(0, len(rest), room))):
        core.ask(ProactiveCommand(type=CommandType.DISPLAY_TEXT, text=piece))


def send_command(core: Core, packet: bytes, *, to: str) -> tuple[ProactiveCommand, ...]:
    """Ask the terminal to send a command packet to number *to*, in as many short messages as it takes.

    Returns what was asked for, a command each; nothing where there was no room for all of them.
    """
    return _send(core, packet, _COMMAND, to)


def respond(
    core: Core,
    incoming: Incoming,
    status: ResponseStatus,
    *,
    counter: int = 0,
    data: bytes = b"",
    keys: PacketKeys | None = None,
) -> bytes:
    """Return the response packet to go back at once, or nothing if none was asked for, or can be."""
    spi = incoming.header.spi
    if not spi.wants_response(status) or incoming.dialect is CELL_BROADCAST:
        return b""
    packet = ResponsePacket(tar=incoming.header.tar, counter=counter, status=status, data=data)
    kid = incoming.header.kid
    octets = encode_response(packet, spi=spi, keys=keys, kid=kid, dialect=incoming.dialect)
    # A promise could not be protected either: what goes clear for want of keys goes at once.
    if incoming.dialect is not SMS or not is_answerable(spi, keys):
        return octets
    if not spi.por_in_submit and len(octets) <= REPORT_ROOM:
        return octets
    if not _send(core, octets, _RESPONSE, incoming.reply_to) and len(octets) <= REPORT_ROOM:
        return octets  # a short message would have been the wish, and cannot be
    promise = ResponseStatus.RESPONSE_BY_SMS_SUBMIT if spi.por_in_submit else ResponseStatus.MORE_TIME
    return encode_response(replace(packet, status=promise, data=b""), spi=spi, keys=keys, kid=kid)


def is_answerable(spi: SecurityParameters, keys: PacketKeys | None) -> bool:
    """Say whether a response can be protected as *spi* demands, with *keys* or with none."""
    if spi.por is PorDemand.NONE:
        return True
    if keys is None:
        return not spi.por_ciphering and spi.por_integrity in (Integrity.NONE, Integrity.RC)
    return spi.por_integrity is not Integrity.DS


def refuse(
    core: Core,
    incoming: Incoming,
    status: ResponseStatus,
    reason: str,
    *,
    counter: int = 0,
    keys: PacketKeys | None = None,
) -> bytes:
    """Refuse a packet with *status*, leaving a note of why; return what the delivery report carries.

    Without the protection that was demanded nothing but "unidentified security error" may be said, in clear.
    """
    if not is_answerable(incoming.header.spi, keys) and status not in CLEAR_WITHOUT_KEYS:
        status = ResponseStatus.UNIDENTIFIED_SECURITY_ERROR
    core.note("packet.refused", reason=reason, tar=incoming.header.tar)
    return respond(core, incoming, status, counter=counter, keys=keys)


def _send(core: Core, packet: bytes, element: InformationElement, to: str) -> tuple[ProactiveCommand, ...]:
    core.reference = core.reference + 1 & 0xFF
    parts = tuple(
        ProactiveCommand(
            type=CommandType.SEND_SHORT_MESSAGE,
            tpdu=SmsSubmit(
                reference=core.reference, destination=Address(digits=to), user_data=user_data
            ).encode(),
        )
        for user_data in split(packet, reference=core.reference, first=element)
    )
    return parts if core.ask(*parts) else ()
