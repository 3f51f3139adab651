"""What the module makes of a supplier's key: the first one, one that comes back, another one.

All of them come from the operator, who may take a key away and give that very key back. It may not put
another one in its place by its own word, for then it would be the supplier, and read what that one loaded. So
a new key comes with the signature of the one before it (see ``succession``), which is the supplier's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents.handset.security_module import domain
from agents.handset.security_module.errors import TransitionRefused
from agents.handset.security_module.life_cycle import ResourceEvent
from agents.messages.air import Answer
from agents.messages.signed import check_key
from agents.messages.succession import key_digest, succession_statement
from transport.errors import SignatureRejected
from transport.security.suites import SUITES
from transport.security.terms import KEY_TRANSPORT

if TYPE_CHECKING:
    from collections.abc import Container

    from agents.handset.security_module.core import Core
    from agents.handset.security_module.definitions import Definition
    from agents.handset.security_module.memory import Transaction
    from agents.messages.air import ChangeSupplierKey


def check_supplier_key(core: Core, suite: str, public: bytes) -> None:
    """Raise TransitionRefused, or Rejected, for a key that is none of *suite*, or the module's own."""
    check_key(suite, public)
    if public == core.owner().public:
        raise TransitionRefused("bad-public-key")


def check_sealing_key(suite: str, forms: Container[str], public: bytes) -> None:
    """Raise TransitionRefused unless there is a key to seal to where a form needs one, and only there."""
    if KEY_TRANSPORT in forms:
        if len(public) != SUITES[suite].sealing_public_length:
            raise TransitionRefused("bad-sealing-key")
    elif public:
        raise TransitionRefused("needless-sealing-key")


def check_returned_key(definition: Definition, public: bytes) -> None:
    """Raise TransitionRefused unless *public* is the key that the resource's supplier has, or had."""
    if key_digest(public) != definition.supplier_digest:
        raise TransitionRefused("not-the-suppliers-key")


def change(core: Core, transaction: Transaction, command: ChangeSupplierKey) -> Answer:
    """Go by another key of a resource's supplier; what ended the resource's use keeps the key away still."""
    definition = core.definitions.require(command.tar)
    check_returned_key(definition, command.former_public)
    check_supplier_key(core, definition.suite, command.supplier_public)
    check_sealing_key(definition.suite, definition.forms, command.supplier_sealing)
    if definition.domain_key:
        domain.check_apart(core.domain_key(definition.domain_key), command.supplier_public)
    _check_endorsement(definition, command)
    changes: dict[str, Any] = {
        "supplier_digest": key_digest(command.supplier_public),
        "supplier_sealing": command.supplier_sealing,
        "session": None,
    }
    if definition.supplier_public:
        changes["supplier_public"] = command.supplier_public
    core.definitions.put(transaction, definition.after(ResourceEvent.CHANGE_KEY, **changes))
    return Answer(reason="", rsc_id=definition.rsc_id)


def _check_endorsement(definition: Definition, command: ChangeSupplierKey) -> None:
    statement = succession_statement(
        supplier=definition.supplier,
        tar=command.tar,
        former=command.former_public,
        public=command.supplier_public,
        sealing=command.supplier_sealing,
    )
    try:
        SUITES[definition.suite].verify(command.former_public, statement, command.endorsement)
    except SignatureRejected:
        raise TransitionRefused("not-endorsed") from None
