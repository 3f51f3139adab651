"""The resource manager (TAR B00000): what the operator, and nobody else, may do to the module's resources.

The rules, in this order: the command is signed by this module's operator, for this module; its counter is
higher than the last one's, or it repeats what was signed in the last one and gets the very same answer again;
then the life cycle must allow it. The change, the counter and the answer are one transaction. A command that
proves nothing gets no signed answer and changes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from agents.errors import Unproven
from agents.handset.security_module import (
    audit,
    domain,
    limits,
    operator_session,
    owner,
    pulling,
    supplier_key,
)
from agents.handset.security_module.definitions import Definition
from agents.handset.security_module.errors import ModuleError, TransitionRefused
from agents.handset.security_module.life_cycle import (
    AtEnd,
    ModuleEvent,
    ResourceEvent,
    ResourceState,
    module_transition,
    transition,
)
from agents.handset.security_module.memory import Record
from agents.handset.security_module.rights import rights_names
from agents.messages.air import (
    MANAGER_TAR,
    OPERATOR_COMMANDS,
    Announce,
    Answer,
    Audit,
    Audited,
    Block,
    ChangeSupplierKey,
    Compact,
    OperatorCommand,
    Release,
    Renew,
    Reserve,
    RollOperatorKey,
    Unblock,
)
from agents.messages.choices import check_keys, check_names
from agents.messages.codec import decode, encode
from agents.messages.signed import EVERYBODY, Purpose, Signed
from transport.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agents.handset.security_module.core import Core
    from agents.handset.security_module.memory import Transaction


ANNOUNCED: Final = "manager.announced"
"""The note that the module leaves when it has taken an announcement."""


def execute(core: Core, signed: Signed, now: float) -> bytes:
    """Check and carry out one operator command at *now*, the module's time; return its signed answer.

    Whether it is the last one again is looked at before who signed it. A command that rolled the operator's
    key is repeated, when its answer was lost, with the signature of the key that it did away with: under the
    new one it proves nothing any more, and an operator that was told so would never know how things stand. A
    signature that proved the command once therefore goes on proving this one command, and gets the answer
    that it got then; nothing is done again, and nothing is said that was not said before.

    Raises Unproven when the command does not prove that the operator meant it for this module.
    """
    digest = hashlib.sha256(signed.signed_octets).digest()
    is_repeated = hmac.compare_digest(digest, core.turns.digest)
    if not (is_repeated and hmac.compare_digest(_proof(signed), core.turns.proof)):
        _prove(core, signed, Purpose.COMMAND)
    if is_repeated:
        return core.memory.get_record(Record.ANSWER) or b""
    if signed.counter <= core.turns.command:
        # Authentic but old: it is told so, and nothing is stored, so that the last answer stays to be
        # repeated.
        core.note("manager.refused", reason="replayed")
        return _answer(core, signed, Answer(reason="replayed", rsc_id=0))
    return _carry_out(core, signed, digest, now)


def hear(core: Core, signed: Signed, now: float) -> bytes:
    """Take what the operator says to all its modules: the time, which is trusted over the handset's.

    Raises Unproven, or Rejected for what is no announcement. Nobody is answered: who said it asks nobody.
    """
    _prove(core, signed, Purpose.ANNOUNCEMENT)
    announced = decode(signed.body, Announce).time
    if signed.counter <= core.turns.announcement:
        raise Unproven("replayed")
    with core.memory.transaction() as transaction:
        core.trust_time(transaction, announced, announcement=signed.counter)
        happened = limits.trust(core, transaction)
    limits.tell(core, happened, now)
    core.note(ANNOUNCED)
    return b""


def connect(core: Core, signed: Signed) -> bytes:
    """Check that the operator wants a secure connection, and open it; return the module's signed answer.

    Raises Unproven when it is not proven, or not to be.
    """
    _prove(core, signed, Purpose.CONNECTION)
    return operator_session.connect(core, signed)


def _prove(core: Core, signed: Signed, purpose: Purpose) -> None:
    try:
        module_transition(core.state, _MODULE_EVENTS[purpose])
    except TransitionRefused as refusal:
        raise Unproven(refusal.reason) from None
    identity = core.owner()
    if signed.signer != identity.commander:
        raise Unproven("not-our-operator")
    if signed.target != (EVERYBODY if purpose is Purpose.ANNOUNCEMENT else identity.ua):
        raise Unproven("meant-for-another")
    if not identity.operator_public:
        raise Unproven("no-operator-key")
    try:
        signed.verify(purpose=purpose, suite=identity.operator_suite, public=identity.operator_public)
    except Rejected:
        raise Unproven("signature") from None


def _carry_out(core: Core, signed: Signed, digest: bytes, now: float) -> bytes:
    tar, logic_name = b"", ""
    try:
        command: OperatorCommand = decode(signed.body, *OPERATOR_COMMANDS)
        logic_name = getattr(command, "logic_name", "")
        tar = getattr(command, "tar", b"")
        carry_out, event = _COMMANDS[type(command)]
        module_transition(core.state, event)
        with core.memory.transaction() as transaction:
            octets = _keep(core, transaction, signed, digest, carry_out(core, transaction, command))
    except (ModuleError, Rejected) as refusal:
        # The transaction is undone; the counter and the refusal are kept in one of their own.
        core.note("manager.refused", reason=refusal.reason, tar=tar)
        answer = Answer(reason=refusal.reason, rsc_id=0, ticket=domain.next_ticket(core, logic_name))
        with core.memory.transaction() as transaction:
            return _keep(core, transaction, signed, digest, answer)
    core.deadline = None
    core.renew_filter()
    if type(command) in _REVOCATIONS:
        limits.forget(core, tar, now)
    elif type(command) in _GRANTS:
        pulling.reserved(core, tar, now)
    core.note(f"manager.{type(command).__name__.lower()}", tar=tar)
    return octets


def _keep(
    core: Core, transaction: Transaction, signed: Signed, digest: bytes, answer: Answer | Audited
) -> bytes:
    octets = _answer(core, signed, answer)
    ticket = answer.ticket or core.turns.ticket
    turns = replace(core.turns, command=signed.counter, digest=digest, proof=_proof(signed), ticket=ticket)
    core.keep_turns(transaction, turns)
    core.memory.put_record(transaction, Record.ANSWER, octets)
    return octets


def _proof(signed: Signed) -> bytes:
    return hashlib.sha256(signed.signature).digest()


def _answer(core: Core, signed: Signed, answer: Answer | Audited) -> bytes:
    return core.sign(encode(answer), purpose=Purpose.ANSWER, target=signed.signer, counter=signed.counter)


def _reserve(core: Core, transaction: Transaction, command: Reserve) -> Answer:
    check_names(command)
    if command.at_end not in _AT_ENDS:
        raise TransitionRefused("unknown-end")
    try:
        rights = rights_names(command.rights)
    except ValueError:
        raise TransitionRefused("unknown-right") from None
    _check_profile(core, command)
    _check_keys(core, command)
    if command.tar == MANAGER_TAR:
        raise TransitionRefused("reserved-tar")
    if command.supplier == core.owner().ua:
        # Nobody makes a secure connection with himself.
        raise TransitionRefused("bad-supplier")
    if core.definitions.by_tar(command.tar) or core.definitions.by_service(command.service):
        raise TransitionRefused("resource-exists")
    limits.check(core, expires_at=command.expires_at, executions=command.executions)
    state = transition(ResourceState.FREE, ResourceEvent.RESERVE)
    rsc_id = core.definitions.next_id()
    definition = Definition(
        rsc_id=rsc_id,
        tar=command.tar,
        service=command.service,
        state=state,
        supplier=command.supplier,
        supplier_number=command.supplier_number,
        suite=command.suite,
        forms=tuple(command.forms),
        supplier_public=command.supplier_public,
        supplier_digest=hashlib.sha256(command.supplier_public).digest(),
        start=core.definitions.allocate(command.code_size + command.data_size),
        code_size=command.code_size,
        data_size=command.data_size,
        rights=rights,
        bearers=tuple(command.bearers),
        server=command.server,
        protection=command.protection,
        expires_at=command.expires_at,
        executions_left=command.executions,
        at_end=AtEnd(command.at_end),
        dh_base=command.dh_base,
        dh_modulus=command.dh_modulus,
        logic_name=command.logic_name,
        supplier_sealing=command.supplier_sealing,
        domain_key=domain.take(core, command),
        message_identifier=domain.listen(core, command),
    )
    core.definitions.check_room(definition)
    core.definitions.put(transaction, definition)
    return replace(_done(definition), ticket=domain.next_ticket(core, command.logic_name))


def _check_profile(core: Core, command: Reserve) -> None:
    """Raise TransitionRefused for what there is, but not in this module."""
    profile = core.profile
    for is_there, reason in (
        (command.suite in profile.suites, "unsupported-suite"),
        (command.protection in profile.protections, "unsupported-protection"),
        (not command.rights & ~profile.rights, "unsupported-right"),
        (len(command.supplier_public) <= profile.key, "key-too-long"),
    ):
        if not is_there:
            raise TransitionRefused(reason)


def _check_keys(core: Core, command: Reserve) -> None:
    """Raise TransitionRefused, or Rejected, for keys and parameters that the forms cannot be used with."""
    check_keys(command, public=command.supplier_public, sealing=command.supplier_sealing)
    supplier_key.check_supplier_key(core, command.suite, command.supplier_public)
    supplier_key.check_sealing_key(command.suite, command.forms, command.supplier_sealing)


def _block(core: Core, transaction: Transaction, command: Block) -> Answer:
    definition = core.definitions.require(command.tar)
    core.definitions.put(transaction, definition.after(ResourceEvent.BLOCK))
    return _done(definition)


def _unblock(core: Core, transaction: Transaction, command: Unblock) -> Answer:
    definition = core.definitions.require(command.tar)
    supplier_key.check_returned_key(definition, command.supplier_public)
    unblocked = definition.after(ResourceEvent.UNBLOCK, supplier_public=command.supplier_public)
    core.definitions.put(transaction, unblocked)
    return _done(definition)


def _renew(core: Core, transaction: Transaction, command: Renew) -> Answer:
    definition = core.definitions.require(command.tar)
    supplier_key.check_returned_key(definition, command.supplier_public)
    limits.check(core, expires_at=command.expires_at, executions=command.executions)
    renewed = definition.after(
        ResourceEvent.RENEW, expires_at=command.expires_at, executions_left=command.executions
    )
    if renewed.state is not ResourceState.BLOCKED:
        renewed = replace(renewed, supplier_public=command.supplier_public)
    core.definitions.put(transaction, renewed)
    return _done(definition)


def _release(core: Core, transaction: Transaction, command: Release) -> Answer:
    definition = core.definitions.require(command.tar)
    definition.state_after(ResourceEvent.RELEASE)
    core.definitions.remove(transaction, definition.rsc_id)
    return replace(_done(definition), ticket=domain.next_ticket(core, definition.logic_name))


def _compact(core: Core, transaction: Transaction, _command: Compact) -> Answer:
    core.definitions.compact(transaction)
    return Answer(reason="", rsc_id=0)


def _done(definition: Definition) -> Answer:
    return Answer(reason="", rsc_id=definition.rsc_id)


_AT_ENDS: Final = frozenset(AtEnd)
_REVOCATIONS: Final = frozenset({Block, Release, ChangeSupplierKey})
"""What takes the key that the supplier has: what is open with it ends."""
_GRANTS: Final = frozenset({Reserve, Unblock})
"""What puts a resource at its supplier's disposal."""
_MODULE_EVENTS: Final = {
    Purpose.COMMAND: ModuleEvent.MANAGE,
    Purpose.ANNOUNCEMENT: ModuleEvent.ANNOUNCE,
    Purpose.CONNECTION: ModuleEvent.CONNECT,
}
_COMMANDS: Final[
    Mapping[type[Any], tuple[Callable[[Core, Transaction, Any], Answer | Audited], ModuleEvent]]
] = {
    Reserve: (_reserve, ModuleEvent.MANAGE),
    Block: (_block, ModuleEvent.MANAGE),
    Unblock: (_unblock, ModuleEvent.MANAGE),
    Renew: (_renew, ModuleEvent.MANAGE),
    Release: (_release, ModuleEvent.MANAGE),
    ChangeSupplierKey: (supplier_key.change, ModuleEvent.MANAGE),
    Compact: (_compact, ModuleEvent.COMPACT),
    Audit: (audit.report, ModuleEvent.AUDIT),
    RollOperatorKey: (owner.roll, ModuleEvent.ROLL),
}
