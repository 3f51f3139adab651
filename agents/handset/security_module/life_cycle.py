"""The life cycles of a resource and of the module itself: two tables, alone in their file.

The state is what DEF says of the resource. ``FREE`` is the state of a resource that has no record: it is
where RES starts and where a release ends, and it is never stored. An event that a table does not list in a
state is refused and changes nothing.

A module has no clock. What its handset says of the time can suspend a resource, and no more; only the time
that the operator signed ends it, or shows that the handset was wrong::

    reserved --LOAD--> loaded --EXHAUST--> exhausted --RENEW--> loaded
       |                  |
       +-----SUSPEND------+--> suspended --RESTORE--> what it was
       +------EXPIRE------+--> expired   --RENEW----> what it was
       +------BLOCK-------+--> blocked   --UNBLOCK--> what it was

A resource whose reservation said so is not expired or exhausted but deleted (DELETE), as by a release.

What this file does not know: who may cause an event, and whether the session, counter or signature that
carries it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agents.handset.security_module.errors import TransitionRefused

if TYPE_CHECKING:
    from collections.abc import Mapping


class ResourceState(StrEnum):
    """Where a resource is in its life."""

    FREE = "free"
    RESERVED = "reserved"
    LOADED = "loaded"
    BLOCKED = "blocked"  # by the operator
    SUSPENDED = "suspended"  # by the handset's time: past its date, but the operator has not said so
    EXPIRED = "expired"  # by the operator's time
    EXHAUSTED = "exhausted"  # by its last execution


class ResourceEvent(StrEnum):
    """What may happen to a resource."""

    RESERVE = "reserve"  # operator
    AUTHENTICATE = "authenticate"  # supplier: a handshake, whatever its end
    LOAD = "load"  # supplier: the first programme
    UPDATE = "update"  # supplier: another programme in its place
    PERSONALISE = "personalise"  # supplier: data for this module alone
    INVOKE = "invoke"  # supplier or user: a run
    PUSH = "push"  # supplier: a request to open a channel to it
    BLOCK = "block"  # operator
    UNBLOCK = "unblock"  # operator
    RENEW = "renew"  # operator: another date, another count
    RELEASE = "release"  # operator
    CHANGE_KEY = "change-key"  # operator, by the supplier's own word: another key of its supplier
    SUSPEND = "suspend"  # the handset's time passed the date
    RESTORE = "restore"  # the operator's time has not
    EXPIRE = "expire"  # the operator's time passed the date
    EXHAUST = "exhaust"  # the last execution is over
    DELETE = "delete"  # either of these two, of a resource that was reserved to be deleted then


class AtEnd(StrEnum):
    """What becomes of a resource that expires or is exhausted: the reservation says."""

    DEACTIVATE = "deactivate"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class _Alive:
    """The state that a resource comes back to: it depends on whether it holds a programme."""

    empty: ResourceState = ResourceState.RESERVED
    loaded: ResourceState = ResourceState.LOADED


_S, _E = ResourceState, ResourceEvent
_ALIVE: Final = _Alive()

TRANSITIONS: Final[Mapping[tuple[ResourceState, ResourceEvent], ResourceState | _Alive]] = MappingProxyType(
    {
        (_S.FREE, _E.RESERVE): _S.RESERVED,
        (_S.RESERVED, _E.AUTHENTICATE): _S.RESERVED,
        (_S.RESERVED, _E.PUSH): _S.RESERVED,
        (_S.RESERVED, _E.LOAD): _S.LOADED,
        (_S.RESERVED, _E.BLOCK): _S.BLOCKED,
        (_S.RESERVED, _E.RENEW): _S.RESERVED,
        (_S.RESERVED, _E.RELEASE): _S.FREE,
        (_S.RESERVED, _E.CHANGE_KEY): _S.RESERVED,
        (_S.RESERVED, _E.SUSPEND): _S.SUSPENDED,
        (_S.RESERVED, _E.EXPIRE): _S.EXPIRED,
        (_S.RESERVED, _E.DELETE): _S.FREE,
        (_S.LOADED, _E.AUTHENTICATE): _S.LOADED,
        (_S.LOADED, _E.PUSH): _S.LOADED,
        (_S.LOADED, _E.UPDATE): _S.LOADED,
        (_S.LOADED, _E.PERSONALISE): _S.LOADED,
        (_S.LOADED, _E.INVOKE): _S.LOADED,
        (_S.LOADED, _E.BLOCK): _S.BLOCKED,
        (_S.LOADED, _E.RENEW): _S.LOADED,
        (_S.LOADED, _E.RELEASE): _S.FREE,
        (_S.LOADED, _E.CHANGE_KEY): _S.LOADED,
        (_S.LOADED, _E.SUSPEND): _S.SUSPENDED,
        (_S.LOADED, _E.EXPIRE): _S.EXPIRED,
        (_S.LOADED, _E.EXHAUST): _S.EXHAUSTED,
        (_S.LOADED, _E.DELETE): _S.FREE,
        (_S.BLOCKED, _E.UNBLOCK): _ALIVE,
        (_S.BLOCKED, _E.RENEW): _S.BLOCKED,
        (_S.BLOCKED, _E.RELEASE): _S.FREE,
        (_S.BLOCKED, _E.CHANGE_KEY): _S.BLOCKED,
        (_S.BLOCKED, _E.EXPIRE): _S.EXPIRED,
        (_S.BLOCKED, _E.DELETE): _S.FREE,
        (_S.SUSPENDED, _E.RESTORE): _ALIVE,
        (_S.SUSPENDED, _E.BLOCK): _S.BLOCKED,
        (_S.SUSPENDED, _E.RENEW): _ALIVE,
        (_S.SUSPENDED, _E.RELEASE): _S.FREE,
        (_S.SUSPENDED, _E.CHANGE_KEY): _S.SUSPENDED,
        (_S.SUSPENDED, _E.EXPIRE): _S.EXPIRED,
        (_S.SUSPENDED, _E.DELETE): _S.FREE,
        (_S.EXPIRED, _E.RENEW): _ALIVE,
        (_S.EXPIRED, _E.RELEASE): _S.FREE,
        (_S.EXPIRED, _E.CHANGE_KEY): _S.EXPIRED,
        (_S.EXHAUSTED, _E.RENEW): _ALIVE,
        (_S.EXHAUSTED, _E.RELEASE): _S.FREE,
        (_S.EXHAUSTED, _E.CHANGE_KEY): _S.EXHAUSTED,
        (_S.EXHAUSTED, _E.EXPIRE): _S.EXPIRED,
    },
)

KEY_REMOVERS: Final = frozenset({_E.BLOCK, _E.EXPIRE, _E.EXHAUST, _E.RELEASE, _E.DELETE})
"""Events after which the supplier's key and session are gone (DESIGN section 1, REVOKE)."""


def transition(state: ResourceState, event: ResourceEvent, *, loaded: bool = True) -> ResourceState:
    """Return the state after the event, of a resource that is *loaded* with a programme or is not.

    Raises TransitionRefused when the table does not list the pair. Its reason is the state itself where that
    ended the resource's use (``blocked``, ``expired``, ``exhausted``), else event and state.
    """
    after = TRANSITIONS.get((state, event))
    if after is None:
        raise TransitionRefused(_USE_ENDED.get((state, event), f"{event}-when-{state}"))
    if isinstance(after, _Alive):
        return after.loaded if loaded else after.empty
    return after


_USES: Final = (_E.AUTHENTICATE, _E.LOAD, _E.UPDATE, _E.PERSONALISE, _E.INVOKE, _E.PUSH)
_USE_ENDED: Final[Mapping[tuple[ResourceState, ResourceEvent], str]] = {
    (state, event): reason
    for state, reason in (
        (_S.BLOCKED, "blocked"),
        (_S.SUSPENDED, "expired"),
        (_S.EXPIRED, "expired"),
        (_S.EXHAUSTED, "exhausted"),
    )
    for event in _USES
}
"""What user and supplier are told of a resource that they may not use any more, or not now."""


class ModuleState(StrEnum):
    """Where a module is in its life."""

    BLANK = "blank"
    PERSONALISED = "personalised"


class ModuleEvent(StrEnum):
    """What may happen to a module as a whole."""

    PERSONALISE = "personalise"  # the factory, once
    PROVE_POSSESSION = "prove-possession"  # the factory, which missed the answer
    SUBSCRIBE = "subscribe"  # subscriber
    SERVE = "serve"  # subscriber, supplier: whatever they do with a resource
    MANAGE = "manage"  # operator: a command about a resource
    COMPACT = "compact"  # operator
    AUDIT = "audit"  # operator
    ANNOUNCE = "announce"  # operator: the time, to everybody
    CONNECT = "connect"  # operator: a secure connection for its commands
    ROLL = "roll"  # operator: another key of its own
    INTRODUCE = "introduce"  # authority: the operator's key


_M, _ME = ModuleState, ModuleEvent

MODULE_TRANSITIONS: Final[Mapping[tuple[ModuleState, ModuleEvent], ModuleState]] = MappingProxyType(
    {
        (_M.BLANK, _ME.PERSONALISE): _M.PERSONALISED,
        (_M.PERSONALISED, _ME.PROVE_POSSESSION): _M.PERSONALISED,
        (_M.PERSONALISED, _ME.SUBSCRIBE): _M.PERSONALISED,
        (_M.PERSONALISED, _ME.SERVE): _M.PERSONALISED,
        (_M.PERSONALISED, _ME.MANAGE): _M.PERSONALISED,
        (_M.PERSONALISED, _ME.COMPACT): _M.PERSONALISED,
        (_M.PERSONALISED, _ME.AUDIT): _M.PERSONALISED,
        (_M.PERSONALISED, _ME.ANNOUNCE): _M.PERSONALISED,
        (_M.PERSONALISED, _ME.CONNECT): _M.PERSONALISED,
        (_M.PERSONALISED, _ME.ROLL): _M.PERSONALISED,
        (_M.PERSONALISED, _ME.INTRODUCE): _M.PERSONALISED,
    },
)


def module_transition(state: ModuleState, event: ModuleEvent) -> ModuleState:
    """Return the module's state after the event; raise TransitionRefused when the table does not list it.

    The reason is ``already-personalised`` or ``not-personalised``.
    """
    after = MODULE_TRANSITIONS.get((state, event))
    if after is None:
        raise TransitionRefused("not-personalised" if state is _M.BLANK else "already-personalised")
    return after
