"""What ends a resource's use by itself: its date and its count (REVOKE without an operator).

A module has no clock, so a date is looked at whenever an APDU comes, before anything else is done. By the
handset's time a resource is only suspended: nothing of it is of use, and nothing of it is lost. The time that
the operator signed decides: it expires what is past its date, and restores what a handset suspended wrongly.
A count needs no time: the last execution exhausts the resource as soon as it is over, and where power failed
before, at the next APDU.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agents.handset.security_module import domain, links
from agents.handset.security_module.errors import TransitionRefused
from agents.handset.security_module.life_cycle import TRANSITIONS, AtEnd, ResourceEvent, ResourceState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.handset.security_module.core import Core
    from agents.handset.security_module.definitions import Definition
    from agents.handset.security_module.memory import Transaction

NOTES: Final[Mapping[ResourceEvent, str]] = {
    ResourceEvent.SUSPEND: "resource.suspended",
    ResourceEvent.RESTORE: "resource.restored",
    ResourceEvent.EXPIRE: "resource.expired",
    ResourceEvent.EXHAUST: "resource.exhausted",
    ResourceEvent.DELETE: "resource.deleted",
}
"""What the module notes of each event that nobody ordered."""
Happened = tuple[bytes, ResourceEvent]
"""A resource, by its TAR, and what happened to it."""
_DUE: Final = {True: ResourceEvent.EXHAUST, False: ResourceEvent.SUSPEND}
"""By whether a resource has no execution left; else its date is what has come."""
_ENDS: Final = frozenset({ResourceEvent.EXPIRE, ResourceEvent.EXHAUST})
_SILENCERS: Final = frozenset({ResourceEvent.EXPIRE, ResourceEvent.DELETE})
"""After these the supplier's links go too. After an exhaustion the last answer still has to leave; of a
resource that is only suspended the supplier is told that it is."""
_IN_USE: Final = (ResourceState.RESERVED, ResourceState.LOADED)


def check(core: Core, *, expires_at: int, executions: int) -> None:
    """Raise TransitionRefused for limits that a resource could not live within for a moment."""
    if executions == 0:
        raise TransitionRefused("no-executions")
    if 0 < expires_at <= core.turns.signed:
        raise TransitionRefused("already-expired")


def enforce(core: Core, now: float) -> None:
    """Suspend what is past its date at *now*, the module's time, and end what has no execution left."""
    if core.deadline is None:
        core.deadline = min(map(_deadline, core.definitions.all()), default=math.inf)
    if now < core.deadline:
        return
    with core.memory.transaction() as transaction:
        core.claim_time(transaction, now)
        happened = [
            _carry_out(core, transaction, each, _DUE[each.executions_left == 0])
            for each in core.definitions.all()
            if _deadline(each) <= now
        ]
    tell(core, happened, now)


def trust(core: Core, transaction: Transaction) -> list[Happened]:
    """Expire and restore by the operator's time, which was just kept; return what happened, for ``tell``."""
    happened = []
    for definition in core.definitions.all():
        is_over = 0 < definition.expires_at <= core.turns.signed
        event = ResourceEvent.EXPIRE if is_over else ResourceEvent.RESTORE
        if (definition.state, event) in TRANSITIONS:
            happened.append(_carry_out(core, transaction, definition, event))
    return happened


def exhaust(core: Core, transaction: Transaction, definition: Definition) -> list[Happened]:
    """End a resource whose last execution is over; return what happened, for ``tell``."""
    return [_carry_out(core, transaction, definition, ResourceEvent.EXHAUST)]


def tell(core: Core, happened: list[Happened], now: float) -> None:
    """Have what was kept take effect on what is volatile too."""
    core.deadline = None
    core.renew_filter()
    for tar, event in happened:
        core.note(NOTES[event], tar=tar)
        core.calls.pop(tar, None)
        core.uploads.pop(tar, None)
        core.listening.pop(tar, None)
        core.moments.forget(tar)
        if event in _SILENCERS:
            links.drop(core, tar, now)


def forget(core: Core, tar: bytes, now: float) -> None:
    """Drop what was open with the supplier of a resource that the operator took: it finishes nothing."""
    core.deadline = None
    core.calls.pop(tar, None)
    core.uploads.pop(tar, None)
    core.listening.pop(tar, None)
    core.moments.forget(tar)
    links.drop(core, tar, now)


def _deadline(definition: Definition) -> float:
    """Return when a resource's use ends by itself."""
    if definition.state not in _IN_USE:
        return math.inf
    if definition.executions_left == 0:
        return -math.inf
    return definition.expires_at or math.inf


def _carry_out(
    core: Core, transaction: Transaction, definition: Definition, event: ResourceEvent
) -> Happened:
    """Put the definition after *event* in its place, or delete the resource if its reservation said so."""
    if definition.at_end is AtEnd.DELETE and event in _ENDS:
        event = ResourceEvent.DELETE
        definition.state_after(event)
        core.definitions.remove(transaction, definition.rsc_id)
        ticket = domain.next_ticket(core, definition.logic_name) or core.turns.ticket
        core.keep_turns(transaction, replace(core.turns, ticket=ticket))
    else:
        core.definitions.put(transaction, definition.after(event))
    return definition.tar, event
