"""Short messages for the module: put together, opened, handed on (TS 31.115 clause 4).

Everything that is wrong with what the network brought ends in a status word or in a response packet with a
status, and in a note; nothing of it raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.errors import Unproven
from agents.handset.security_module import manager, sessions
from agents.handset.security_module.outgoing import Incoming, is_answerable, refuse, respond
from agents.messages.air import MANAGER_TAR, Prove
from agents.messages.codec import decode
from agents.messages.signed import Signed
from transport.errors import PacketRejected, Rejected
from transport.secured_packet import (
    RESPONSE_USER_DATA_HEADER,
    ResponseStatus,
    decode_command,
    parse_header,
)
from transport.sms.tpdu import SmsDeliver
from transport.sms.user_data import IEI_COMMAND_PACKET

if TYPE_CHECKING:
    from agents.handset.security_module.core import Core

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
    user_data = core.reassembler.receive(reply_to, deliver.user_data, now)
    if user_data is None:
        return b""
    if all(element.iei != IEI_COMMAND_PACKET for element in user_data.header):
        raise Rejected("no-command-packet")
    header = parse_header(user_data.payload)
    incoming = Incoming(header=header, octets=user_data.payload, reply_to=reply_to, now=now)
    response = _manage(core, incoming) if header.tar == MANAGER_TAR else sessions.receive(core, incoming)
    return RESPONSE_USER_DATA_HEADER + response if response else b""


def _manage(core: Core, incoming: Incoming) -> bytes:
    """Take what came to the resource manager's TAR: there is no keyset, so it must prove itself."""
    if not is_answerable(incoming.header.spi, None):
        return refuse(core, incoming, ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "response-protection")
    try:
        data = decode_command(incoming.octets).data
        message = decode(data, Signed, Prove)
        if isinstance(message, Prove):
            answer = sessions.prove(core, message, incoming.now)
        else:
            answer = manager.execute(core, message)
    except PacketRejected as rejection:
        return refuse(core, incoming, rejection.status, rejection.reason)
    except (Unproven, Rejected) as rejection:
        return refuse(core, incoming, ResponseStatus.INSUFFICIENT_SECURITY_LEVEL, rejection.reason)
    return respond(core, incoming, ResponseStatus.POR_OK, data=answer)
