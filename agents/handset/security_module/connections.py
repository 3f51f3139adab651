"""What the module's secure connections have in common, whoever is at the other end: supplier or operator.

First there is a handshake. The module opens it, and its side waits in ``core.calls``, under the TAR that the
connection is for, until the other side's next message comes to the resource manager's TAR. Then there are
packets under the keyset that came of it: of minimum security level 16, and each counter once.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agents.errors import Unproven
from agents.handset.security_module.outgoing import is_answerable, refuse, respond
from agents.messages.air import MANAGER_TAR
from transport.errors import PacketRejected, Rejected
from transport.secured_packet import ResponseStatus, check_counter, decode_command
from transport.security.handshake import State
from transport.security.keyset import SessionKeys

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.handset.security_module.core import Core
    from agents.handset.security_module.definitions import SessionRecord
    from agents.handset.security_module.outgoing import Incoming
    from transport.secured_packet import CommandPacket
    from transport.security.handshake import Side

    Take = Callable[[CommandPacket, SessionRecord], bytes]
    """Does what a packet asks, given the session with the packet's counter in it to store; the answer."""

MINIMUM_SECURITY_LEVEL: Final = 0x16
"""Of whatever comes under a session's keyset: cryptographic checksum, ciphering, and a counter that rises.

Level 06 would be checksum and ciphering alone, and let a sender who leaves the counter unchecked be replayed.
"""


def begin(core: Core, tar: bytes, side: Side) -> bytes:
    """Keep *side* as the call for *tar*, in the place of the one before; return its first message.

    Of those with suppliers the oldest gives way to one too many; the operator's has a place of its own.
    Raises HandshakeRejected when what is registered as the other side's key is none.
    """
    opening = side.start()
    core.calls.pop(tar, None)
    with_suppliers = [each for each in core.calls if each != MANAGER_TAR]
    if tar != MANAGER_TAR and len(with_suppliers) >= core.profile.calls:
        del core.calls[with_suppliers[0]]
    core.calls[tar] = side
    return opening


def proceed(core: Core, tar: bytes, message: bytes) -> tuple[bytes, SessionKeys | None]:
    """Take the other side's next message; return the module's own, and the keys if that is its last one.

    Raises Unproven when there is no call for *tar*, or the message does not hold.
    """
    if tar not in core.calls:
        raise Unproven("no-open-call")
    # A proof that does not hold must not cost the call it claims to answer: it is tried on a copy.
    side = copy(core.calls[tar])
    try:
        answer = side.receive(message)
    except Rejected as rejection:
        raise Unproven(rejection.reason) from None
    assert answer is not None, "the module has the last word"
    if side.state is not State.ESTABLISHED:
        core.calls[tar] = side
        return answer, None
    del core.calls[tar]
    return answer, side.keys


def receive(core: Core, incoming: Incoming, session: SessionRecord, take: Take) -> bytes:
    """Open a packet under *session* and have it *take*n; return what its delivery report carries.

    Never raises for what a packet holds: every refusal is a status in the response packet. One that *take*
    finds unproven has used its counter, and is told so under the keys.
    """
    keys = SessionKeys.load(session.keys)
    outward = keys.from_module
    if incoming.header.keyset != outward.index:
        return refuse(core, incoming, ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "no-session")
    try:
        packet = _open(incoming, keys)
    except PacketRejected as rejection:
        return refuse(core, incoming, rejection.status, rejection.reason, keys=outward)
    counter = packet.counter
    verdict = check_counter(packet.spi.counter, received=counter, stored=session.received_counter)
    if verdict.refusal is not None:
        return refuse(core, incoming, verdict.refusal, "counter", counter=counter, keys=outward)
    try:
        answer = take(packet, replace(session, received_counter=verdict.stored))
    except (Unproven, Rejected) as rejection:
        status = ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
        return refuse(core, incoming, status, rejection.reason, counter=counter, keys=outward)
    return respond(core, incoming, ResponseStatus.POR_OK, counter=counter, data=answer, keys=outward)


def _open(incoming: Incoming, keys: SessionKeys) -> CommandPacket:
    """Return the packet, opened; raise PacketRejected for one that does not hold or cannot be answered."""
    spi = incoming.header.spi
    if not is_answerable(spi, keys.from_module):
        raise PacketRejected(ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "response-protection")
    if not spi.meets(MINIMUM_SECURITY_LEVEL):
        raise PacketRejected(ResponseStatus.INSUFFICIENT_SECURITY_LEVEL, "minimum-security-level")
    return decode_command(incoming.octets, keys.to_module, dialect=incoming.dialect)
