"""What the network brings for the module: put together, opened, handed on (TS 31.115 clauses 4 and 5).

Everything that is wrong with what the network brought ends in a status word or in a response packet with a
status, and in a note; nothing of it raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.errors import Unproven
from agents.handset.security_module import diffusion, heard, manager, operator_session, owner, sessions
from agents.handset.security_module.outgoing import Incoming, is_answerable, refuse, respond
from agents.messages.air import MANAGER_TAR, IntroduceOperator, Prove
from agents.messages.bearers import ANNOUNCEMENTS
from agents.messages.codec import decode
from agents.messages.signed import EVERYBODY, Purpose, Signed
from transport.concatenation import Part
from transport.errors import PacketRejected, Rejected
from transport.secured_packet import (
    CELL_BROADCAST,
    RESPONSE_USER_DATA_HEADER,
    ResponseStatus,
    decode_command,
    parse_beginning,
    parse_header,
)
from transport.sms.tpdu import SmsDeliver
from transport.sms.user_data import IEI_COMMAND_PACKET

if TYPE_CHECKING:
    from agents.handset.security_module.core import Core
    from transport.sms.user_data import UserData

PID_SIM_DATA_DOWNLOAD: Final = 0x7F
DCS_CLASS_2_8_BIT: Final = frozenset({0xF6, 0x16})
"""8-bit data of class 2, in both codings of the data coding scheme (TS 23.038 clause 4)."""


def receive(core: Core, tpdu: bytes, now: float) -> bytes:
    """Take one SMS-DELIVER; return the user data of its delivery report, empty when there is none to send.

    Raises Rejected for what is not a part of a command packet: the terminal then reports the failure.
    """
    deliver = SmsDeliver.parse(tpdu)
    if deliver.pid != PID_SIM_DATA_DOWNLOAD or deliver.dcs not in DCS_CLASS_2_8_BIT:
        raise Rejected("no-data-download")
    reply_to = deliver.originator.digits
    oversized = _oversized(core, deliver.user_data, reply_to, now)
    if oversized is not None:
        response = refuse(core, oversized, ResponseStatus.INSUFFICIENT_MEMORY, "too-large")
        return RESPONSE_USER_DATA_HEADER + response if response else b""
    user_data = core.reassembler(reply_to).receive(reply_to, deliver.user_data, now)
    if user_data is None:
        return b""
    if all(element.iei != IEI_COMMAND_PACKET for element in user_data.header):
        raise Rejected("no-command-packet")
    header = parse_header(user_data.payload)
    incoming = Incoming(header=header, octets=user_data.payload, reply_to=reply_to, now=now)
    response = take(core, incoming)
    return RESPONSE_USER_DATA_HEADER + response if response else b""


def broadcast(core: Core, octets: bytes, now: float) -> None:
    """Take one cell broadcast page; a packet that it completes is handed on, and answered by nothing.

    It goes to whom its TAR names, under that one's message identifier alone.

    Raises Rejected for a page that is none, that was not asked for, or whose message holds no packet.
    """
    page = heard.page(octets)
    if not core.filter.passes(page.message_identifier):
        raise Rejected("message-identifier")
    content = core.pages(page.message_identifier).receive(page, now)
    if content is not None:
        packet, header = heard.packet(content)
        incoming = Incoming(header, packet, now, "", CELL_BROADCAST)
        if header.tar == MANAGER_TAR and page.message_identifier == ANNOUNCEMENTS:
            take(core, incoming)
        else:
            diffusion.receive(core, incoming, page.message_identifier)


def take(core: Core, incoming: Incoming) -> bytes:
    """Hand a whole command packet to whom its TAR names; return the response packet, empty for none."""
    if len(incoming.octets) > core.profile.packet:
        return refuse(core, incoming, ResponseStatus.INSUFFICIENT_MEMORY, "too-large")
    if incoming.header.tar == MANAGER_TAR:
        return _manage(core, incoming)
    return sessions.receive(core, incoming)


def _oversized(core: Core, user_data: UserData, reply_to: str, now: float) -> Incoming | None:
    """Return the packet that *user_data* begins, if it will be too large: CPL stands in its first part."""
    part = Part.of(user_data)
    # Some senders name the command packet in each part: only the first holds its header.
    if user_data.find(IEI_COMMAND_PACKET) is None or part is None or part.sequence != 1:
        return None
    header, octets = parse_beginning(user_data.payload)
    if octets <= core.profile.packet:
        return None
    return Incoming(header=header, octets=user_data.payload, reply_to=reply_to, now=now)


def _manage(core: Core, incoming: Incoming) -> bytes:
    """Take what came to the resource manager's TAR: it proves itself, under the operator's keyset or bare."""
    if incoming.header.keyset and incoming.dialect is not CELL_BROADCAST and operator_session.is_needed(core):
        return operator_session.receive(core, incoming, lambda data: _answer(core, _said(data), incoming))
    if not is_answerable(incoming.header.spi, None):
        return refuse(core, incoming, ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "response-protection")
    counter = 0
    try:
        packet = decode_command(incoming.octets, dialect=incoming.dialect)
        counter = packet.counter
        message = _said(packet.data)
        _check_bare(core, message, incoming)
        answer = _answer(core, message, incoming)
    except PacketRejected as rejection:
        return refuse(core, incoming, rejection.status, rejection.reason)
    except (Unproven, Rejected) as rejection:
        status = ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
        return refuse(core, incoming, status, rejection.reason, counter=counter)
    return respond(core, incoming, ResponseStatus.POR_OK, counter=counter, data=answer)


def _said(data: bytes) -> Signed | Prove | IntroduceOperator:
    said: Signed | Prove | IntroduceOperator = decode(data, Signed, Prove, IntroduceOperator)
    return said


def _check_bare(core: Core, message: Signed | Prove | IntroduceOperator, incoming: Incoming) -> None:
    """Raise Unproven for what has to come under the operator's keyset, where there is to be one.

    A handshake cannot, as there is no keyset before it; nor can a broadcast, whose keys would be everybody's;
    nor the operator's introduction, without which there is nobody to shake hands with.
    """
    if not operator_session.is_needed(core) or isinstance(message, (Prove, IntroduceOperator)):
        return
    is_announced = message.target == EVERYBODY and incoming.dialect is CELL_BROADCAST
    if message.purpose != Purpose.CONNECTION and not is_announced:
        raise Unproven("keyset-required")


def _answer(core: Core, message: Signed | Prove | IntroduceOperator, incoming: Incoming) -> bytes:
    if isinstance(message, Signed) and message.target == EVERYBODY:
        return manager.hear(core, message, incoming.now)
    if incoming.dialect is CELL_BROADCAST:
        raise Unproven(diffusion.NOT_FOR_ALL)
    if isinstance(message, Prove):
        prove = operator_session.prove if message.tar == MANAGER_TAR else sessions.prove
        return prove(core, message)
    if isinstance(message, IntroduceOperator):
        return owner.introduce(core, message, incoming.now)
    if message.purpose == Purpose.CONNECTION:
        return manager.connect(core, message)
    return manager.execute(core, message, incoming.now)
