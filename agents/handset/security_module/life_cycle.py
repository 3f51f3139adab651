"""The life cycle of a resource: one table, alone in its file.

The state is what DEF says of the resource. ``FREE`` is the state of a resource that has no record: it is
where RES starts and where a release ends, and it is never stored. An event that the table does not list in
a state is refused and changes nothing.

What this file does not know: who may cause an event, and whether the session, counter or signature that
carries it holds. Expiry and exhaustion will be further states and events of the same table.
"""

from __future__ import annotations

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
    BLOCKED = "blocked"


class ResourceEvent(StrEnum):
    """What may happen to a resource."""

    RESERVE = "reserve"  # operator
    AUTHENTICATE = "authenticate"  # supplier: a handshake, whatever its end
    LOAD = "load"  # supplier: the first programme
    UPDATE = "update"  # supplier: another programme in its place
    PERSONALISE = "personalise"  # supplier: data for this module alone
    INVOKE = "invoke"  # supplier or user: a run
    BLOCK = "block"  # operator
    UNBLOCK = "unblock"  # operator: of a resource that holds a programme
    UNBLOCK_EMPTY = "unblock-empty"  # operator: of one that was blocked before anything was loaded
    RELEASE = "release"  # operator


_S, _E = ResourceState, ResourceEvent

TRANSITIONS: Final[Mapping[tuple[ResourceState, ResourceEvent], ResourceState]] = MappingProxyType(
    {
        (_S.FREE, _E.RESERVE): _S.RESERVED,
        (_S.RESERVED, _E.AUTHENTICATE): _S.RESERVED,
        (_S.RESERVED, _E.LOAD): _S.LOADED,
        (_S.RESERVED, _E.BLOCK): _S.BLOCKED,
        (_S.RESERVED, _E.RELEASE): _S.FREE,
        (_S.LOADED, _E.AUTHENTICATE): _S.LOADED,
        (_S.LOADED, _E.UPDATE): _S.LOADED,
        (_S.LOADED, _E.PERSONALISE): _S.LOADED,
        (_S.LOADED, _E.INVOKE): _S.LOADED,
        (_S.LOADED, _E.BLOCK): _S.BLOCKED,
        (_S.LOADED, _E.RELEASE): _S.FREE,
        (_S.BLOCKED, _E.UNBLOCK): _S.LOADED,
        (_S.BLOCKED, _E.UNBLOCK_EMPTY): _S.RESERVED,
        (_S.BLOCKED, _E.RELEASE): _S.FREE,
    },
)

KEY_REMOVERS: Final = frozenset({ResourceEvent.BLOCK, ResourceEvent.RELEASE})
"""Events after which the supplier's key and session are gone (DESIGN section 1, REVOKE)."""


def transition(state: ResourceState, event: ResourceEvent) -> ResourceState:
    """Return the state after the event; raise TransitionRefused when the table does not list the pair."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise TransitionRefused(f"{event}-when-{state}") from None
