"""The next domain key of a global service, in the place of the one that DEF has: by broadcast, or by itself.

By broadcast it comes in a packet of ``transport.diffusion.renewal``: under keys that come of the domain key
that is there, signed by the supplier, wrapped to this module among others. By itself it comes under the
session, wrapped as in a reservation: to a module that missed the broadcast, or that none was meant for. Both
prove the supplier, and only a later generation of the same kind is taken. It takes the place of the former
one in one transaction, and what was collected of a campaign under that one goes.

A session in a form with the module's own key stays: it is not the domain key that proved it. One in a
domain's form ends, for its supplier has no more use for it. By broadcast that waits for the next call; under
the session, the module calls again by itself, when it has answered (``sessions``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agents.handset.security_module import domain
from agents.handset.security_module.errors import ModuleError, TransitionRefused
from agents.handset.security_module.life_cycle import ResourceEvent
from agents.handset.security_module.outgoing import refuse
from agents.messages.air import Result
from transport.diffusion import take_renewal
from transport.errors import PacketRejected, Rejected
from transport.secured_packet import ResponseStatus
from transport.security.domain_key import unwrap
from transport.security.terms import DOMAIN_FORMS

if TYPE_CHECKING:
    from agents.handset.security_module.core import Core
    from agents.handset.security_module.definitions import Definition
    from agents.handset.security_module.outgoing import Incoming
    from agents.messages.air import RenewDomainKey
    from transport.diffusion import Domain
    from transport.security.domain_key import DomainKey

RENEWED: Final = "domain.renewed"
"""The note that the module leaves when it has taken the next domain key."""
KNOWN: Final = "domain.known"
"""The note that it leaves when its domain key is proven to be the newest."""


def hear(core: Core, definition: Definition, of: Domain, incoming: Incoming) -> None:
    """Take a packet of a renewal, broadcast to the modules *of* a domain. Nobody is answered.

    Never raises for what a packet holds: a refusal is a note.
    """
    owner = core.owner()
    try:
        definition.state_after(ResourceEvent.AUTHENTICATE)
        key = take_renewal(incoming.octets, of, core.sealing_key, ua=owner.ua.encode())
        if key is None:
            return  # it is for others
        if key.generation == of.domain_key.generation:
            core.note(KNOWN, tar=definition.tar)
        else:
            _replace(core, definition, key)
    except PacketRejected as rejection:
        refuse(core, incoming, rejection.status, rejection.reason)
    except (ModuleError, Rejected) as rejection:
        refuse(core, incoming, ResponseStatus.INSUFFICIENT_SECURITY_LEVEL, rejection.reason)


def renew(core: Core, definition: Definition, command: RenewDomainKey, _now: float) -> Result:
    """Take the next domain key, which came under the session; one that is there already is taken for done.

    Raises TransitionRefused (``no-domain-key``, ``bad-domain-key``), SealRejected as ``unwrap``.
    """
    definition.state_after(ResourceEvent.AUTHENTICATE)
    if not definition.domain_key:
        raise TransitionRefused("no-domain-key")
    generation = core.domain_key(definition.domain_key).generation
    key = unwrap(
        command.octets,
        core.sealing_key,
        ua=core.owner().ua.encode(),
        tar=definition.tar,
        logic_name=definition.logic_name.encode(),
        newer_than=generation - 1,
    )
    if key.generation > generation:
        _replace(core, definition, key)
    return Result(reason="", status=0, output=b"")


def _replace(core: Core, definition: Definition, key: DomainKey) -> None:
    """Put *key* into DEF. Raises TransitionRefused (``bad-domain-key``) for one of another kind or suite.

    One of the same kind and suite is as long, so that it goes where the former one was.
    """
    former = core.domain_key(definition.domain_key)
    if (key.kind, key.suite) != (former.kind, former.suite):
        raise TransitionRefused("bad-domain-key")
    domain.check_apart(key, definition.supplier_public)
    is_proof = definition.forms[0] in DOMAIN_FORMS
    session = None if is_proof else definition.session
    with core.memory.transaction() as transaction:
        core.definitions.put(transaction, replace(definition, domain_key=key.dump(), session=session))
    if is_proof:
        core.uploads.pop(definition.tar, None)
    core.note(RENEWED, tar=definition.tar)
