"""The secure connection between operator and module, where PERS said that management travels under a keyset.

The operator's signed Connect is answered with the module's first message, signed too; what the operator says
then comes in Prove, for the resource manager's own TAR, and is answered with the module's next message. With
its last one there is a session, stored in a record of its own in the place of the one before. From then on
the operator's commands are taken under that session's keyset and not otherwise; each is signed inside as it
ever was, and has its turn.

Connect has a count of its own. In that of the commands it would push out the last command's answer, which
the operator may still be waiting for when it learns that it has to connect anew. Repeated while its call is
open, it gets the same answer again; later, or after a power cut, the operator signs another one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agents.errors import Unproven
from agents.handset.security_module import connections
from agents.handset.security_module.definitions import SessionRecord
from agents.handset.security_module.errors import ImageRejected
from agents.handset.security_module.memory import Record
from agents.handset.security_module.outgoing import refuse
from agents.messages.air import MANAGER_TAR, Connect, Connecting
from agents.messages.codec import Counter, Secret, decode, encode, message
from agents.messages.signed import Purpose
from transport.errors import Rejected
from transport.secured_packet import ResponseStatus
from transport.security.handshake import Credentials, initiator
from transport.security.keyset import DEFAULT_PROTECTION, SessionKeys
from transport.security.terms import AGREEMENT_FORMS, Terms

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.handset.security_module.core import Core, Identity
    from agents.handset.security_module.memory import Memory, Transaction
    from agents.handset.security_module.outgoing import Incoming
    from agents.messages.air import Prove
    from agents.messages.signed import Signed
    from transport.secured_packet import CommandPacket
    from transport.security.handshake import Side


@message(203)
class OperatorSession:
    """The record of the session with the operator: its keys, and the last packet's counter."""

    keys: Secret
    received: Counter = 0


def is_needed(core: Core) -> bool:
    """Say whether the module takes the operator's commands under a session's keyset alone."""
    return core.identity is not None and bool(core.identity.session_form)


def kept(memory: Memory) -> SessionRecord | None:
    """Return the session in *memory*, None when there is none; raise ImageRejected when it is corrupt."""
    octets = memory.get_record(Record.SESSION)
    if octets is None:
        return None
    try:
        session = decode(octets, OperatorSession)
        SessionKeys.load(session.keys)
        return SessionRecord(keys=session.keys, received_counter=session.received)
    except (Rejected, ValueError):
        # The cause is left out on purpose: it could quote a key.
        raise ImageRejected("corrupt-record", Record.SESSION) from None


def check(memory: Memory, identity: Identity | None) -> None:
    """Raise ImageRejected for terms or a session that no personalisation and no handshake leaves behind."""
    session = kept(memory)
    form = identity.session_form if identity else ""
    if identity is not None:
        is_whole = bool(identity.dh_base) == bool(identity.dh_modulus)
        is_known = form in AGREEMENT_FORMS and identity.commander != identity.ua
        if not is_whole or not (is_known if form else not identity.dh_base):
            raise ImageRejected("bad-identity", "terms of an operator's session")
    if session and (not form or SessionKeys.load(session.keys).protection != DEFAULT_PROTECTION):
        raise ImageRejected("bad-session", "an operator's session that could not be made")


def connect(core: Core, signed: Signed) -> bytes:
    """Open a secure connection for the operator, who has *signed* Connect; return Connecting, signed.

    Raises Unproven when the module was not personalised for it, or the Connect is an old one.
    """
    if not is_needed(core):
        raise Unproven("no-operator-session")
    try:
        decode(signed.body, Connect)
        if signed.counter == core.turns.connection and MANAGER_TAR in core.calls:
            return core.connecting
        if signed.counter <= core.turns.connection:
            raise Unproven("replayed")
        opening = connections.begin(core, MANAGER_TAR, _side(core))
    except Rejected as rejection:
        raise Unproven(rejection.reason) from None
    with core.memory.transaction() as transaction:
        core.keep_turns(transaction, replace(core.turns, connection=signed.counter))
    core.connecting = core.sign(
        encode(Connecting(opening=opening)),
        purpose=Purpose.CONNECTION,
        target=signed.signer,
        counter=signed.counter,
    )
    return core.connecting


def prove(core: Core, message: Prove) -> bytes:
    """Take the operator's next message; return the module's own, once the session is stored if it ends it.

    Raises Unproven when there is no open call, or the proof does not hold; the session before stays.
    """
    proof, keys = connections.proceed(core, MANAGER_TAR, message.proof)
    if keys is None:
        return proof
    with core.memory.transaction() as transaction:
        core.memory.put_record(transaction, Record.SESSION, encode(OperatorSession(keys=keys.dump())))
    core.connecting = b""
    core.note("session.opened", tar=MANAGER_TAR)
    return proof


def receive(core: Core, incoming: Incoming, execute: Callable[[bytes], bytes]) -> bytes:
    """Take one secured packet of the operator's, and *execute* what is in it; return the report's content.

    Its counter is stored first: whatever becomes of what is inside, and wherever power fails, it is used.
    """
    session = kept(core.memory)
    if session is None:
        return refuse(core, incoming, ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "no-session")

    def take(packet: CommandPacket, used: SessionRecord) -> bytes:
        record = OperatorSession(keys=used.keys, received=used.received_counter)
        with core.memory.transaction() as transaction:
            core.memory.put_record(transaction, Record.SESSION, encode(record))
        return execute(packet.data)

    return connections.receive(core, incoming, session, take)


def end(core: Core, transaction: Transaction) -> None:
    """Forget the session, and what was under way to another: they were an operator's whose key is gone."""
    core.memory.put_record(transaction, Record.SESSION, None)
    core.calls.pop(MANAGER_TAR, None)
    core.connecting = b""


def _side(core: Core) -> Side:
    """Return the module's side of a connection, on the terms that it was personalised with."""
    identity = core.owner()
    terms = Terms(
        suite=identity.operator_suite,
        form=identity.session_form,
        initiator=identity.ua.encode(),
        responder=identity.commander.encode(),
        tar=MANAGER_TAR,
        initiator_suite=identity.suite,
        responder_suite=identity.operator_suite,
        dh_base=identity.dh_base,
        dh_modulus=identity.dh_modulus,
    )
    credentials = Credentials(signing_key=core.signing_key, peer_signing_public=identity.operator_public)
    return initiator(terms, credentials, core.rng)
