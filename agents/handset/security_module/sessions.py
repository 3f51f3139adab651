"""The secure connection between supplier and module (SER): made once, then used packet by packet.

The module opens it, because the handset calls the supplier. What the supplier sends back comes to the
resource manager's TAR and is answered with the module's next message, once or twice as the form has it; with
its last one there is a session, stored in the resource's DEF record in the place of the one before. From then
on the resource's own TAR takes packets of minimum security level 16 under that session's keys, each counter
once.
"""

from __future__ import annotations

from dataclasses import replace
from hmac import compare_digest
from typing import TYPE_CHECKING

from agents.errors import Unproven
from agents.handset.security_module import applications, connections, links
from agents.handset.security_module.definitions import SessionRecord
from agents.handset.security_module.errors import MemoryFull, ModuleError, TransitionRefused
from agents.handset.security_module.life_cycle import ResourceEvent
from agents.handset.security_module.outgoing import refuse
from agents.messages.air import Call, DomainCall, Prove
from agents.messages.codec import encode
from transport.secured_packet import ResponseStatus
from transport.security.handshake import Credentials, initiator
from transport.security.terms import DOMAIN_FORMS, KEY_TRANSPORT, Terms

if TYPE_CHECKING:
    from agents.handset.security_module.core import Core
    from agents.handset.security_module.definitions import Definition
    from agents.handset.security_module.outgoing import Incoming
    from transport.secured_packet import CommandPacket


def call(core: Core, definition: Definition) -> bytes:
    """Open a secure connection for *definition*'s resource; return the Call to send to its supplier.

    Where a domain key proves the module, it says by which generation.

    Raises TransitionRefused when the life cycle does not allow it, MemoryFull (``sessions-full``) when there
    is no room for another session.
    """
    definition.state_after(ResourceEvent.AUTHENTICATE)
    _check_room(core, definition)
    identity = core.owner()
    terms = Terms(
        protection=definition.protection,
        suite=definition.suite,
        form=definition.forms[0],
        initiator=identity.ua.encode(),
        responder=definition.supplier.encode(),
        tar=definition.tar,
        initiator_suite=identity.suite,
        responder_suite=definition.suite,
        dh_base=definition.dh_base,
        dh_modulus=definition.dh_modulus,
        logic_name=definition.logic_name.encode(),
    )
    credentials = Credentials(
        signing_key=core.signing_key,
        sealing_key=core.sealing_key if terms.form == KEY_TRANSPORT else None,
        peer_signing_public=definition.supplier_public,
        peer_sealing_public=definition.supplier_sealing,
        domain_key=core.domain_key(definition.domain_key) if definition.domain_key else None,
    )
    opening = connections.begin(core, definition.tar, initiator(terms, credentials, core.rng))
    if terms.form in DOMAIN_FORMS and credentials.domain_key is not None:
        generation = credentials.domain_key.generation
        return encode(DomainCall(tar=definition.tar, opening=opening, generation=generation))
    return encode(Call(tar=definition.tar, opening=opening))


def prove(core: Core, message: Prove) -> bytes:
    """Take the supplier's next message; return the module's own, once the session is stored if it ends it.

    Raises Unproven when the life cycle does not allow it, there is no open call, or the proof does not hold;
    the session before stays as it is.
    """
    definition = core.definitions.by_tar(message.tar)
    if definition is None:
        raise Unproven("no-open-call")
    try:
        definition.state_after(ResourceEvent.AUTHENTICATE)
        _check_room(core, definition)
    except ModuleError as refusal:
        raise Unproven(refusal.reason) from None
    proof, keys = connections.proceed(core, message.tar, message.proof)
    if keys is None:
        return proof
    session = SessionRecord(keys=keys.dump())
    with core.memory.transaction() as transaction:
        core.definitions.put(transaction, replace(definition, session=session))
    core.uploads.pop(message.tar, None)
    core.moments.pulls.pop(message.tar, None)
    core.note("session.opened", tar=message.tar)
    return proof


def receive(core: Core, incoming: Incoming) -> bytes:
    """Take one secured packet for a resource; return what its delivery report carries.

    Never raises for what a packet holds: every refusal is a status in the response packet.
    """
    header = incoming.header
    definition = core.definitions.by_tar(header.tar)
    if definition is None:
        return refuse(core, incoming, ResponseStatus.TAR_UNKNOWN, "unknown-resource")
    session = definition.session
    if session is None:
        return refuse(core, incoming, ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, _why(definition))

    def take(packet: CommandPacket, kept: SessionRecord) -> bytes:
        taken = replace(definition, session=kept)
        return encode(applications.execute(core, taken, packet.data, incoming.now))

    response = connections.receive(core, incoming, session, take)
    _call_again(core, definition, incoming.now)
    return response


def _call_again(core: Core, before: Definition, now: float) -> None:
    """Call the supplier whose command ended the session with another domain key: it waits for that."""
    definition = core.definitions.by_tar(before.tar)
    if definition is None or definition.session is not None:
        return
    if not compare_digest(definition.domain_key, before.domain_key):
        links.call(core, definition, call(core, definition), now)


def _check_room(core: Core, definition: Definition) -> None:
    """Raise MemoryFull unless *definition*'s resource may have a session: its own, or one more."""
    others = sum(1 for each in core.definitions.all() if each.session and each.tar != definition.tar)
    if others >= core.profile.sessions:
        raise MemoryFull("sessions-full", f"{others} sessions")


def _why(definition: Definition) -> str:
    """Say in our own log why there is no session: the supplier, who cannot be told safely, is not told."""
    try:
        definition.state_after(ResourceEvent.AUTHENTICATE)
    except TransitionRefused as refusal:
        return refusal.reason
    return "no-session"
