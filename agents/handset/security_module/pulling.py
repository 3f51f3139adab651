"""A module calls the supplier of a global service by itself, where it may lack what was broadcast.

Only where its profile says within which time (``pull_within_s``): each draws a moment in it, so that ten
thousand modules do not call at once. There are three reasons to:

* the resource was reserved, and nothing is loaded: who joins late has missed what was broadcast by then;
* the terminal was switched on: what was broadcast meanwhile nobody can know but the supplier;
* a campaign's head was heard, so the supplier signed that there is a newer version.

A broadcast that comes to its end before the moment takes the reason away, and so does the supplier, once
there is a session: it asks which programme the module holds, and loads the newest if it is another. A call
that leads to no session, because no bearer served or the supplier does not know the module yet, is made again
at another moment, a few times; then the next reason has to come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agents.handset.security_module import links, moments, sessions
from agents.handset.security_module.errors import ModuleError
from transport.diffusion import draw_delay_s

if TYPE_CHECKING:
    from agents.handset.security_module.core import Core
    from agents.handset.security_module.definitions import Definition

CALLED: Final = "pull.called"
"""The note that the module leaves when it calls by itself; its reason is why."""
NOT_LOADED: Final = "not-loaded"
SWITCHED_ON: Final = "switched-on"
HEAD_HEARD: Final = "head-heard"
MOST_TRIES: Final = 3


@dataclass(slots=True, kw_only=True)
class Pull:
    """A call to a supplier, at ``due``, for *reason*; None: tried so often that it is given up."""

    reason: str
    due: float | None
    tries: int = 0


def switched_on(core: Core, now: float) -> None:
    """Take note that the terminal is there: the module was off until now."""
    for definition in core.definitions.all():
        _plan(core, definition, SWITCHED_ON, now)


def reserved(core: Core, tar: bytes, now: float) -> None:
    """Take note that the operator has put a resource at its supplier's disposal."""
    definition = core.definitions.by_tar(tar)
    if definition is not None and not definition.version:
        _plan(core, definition, NOT_LOADED, now)


def heard(core: Core, definition: Definition, now: float) -> None:
    """Take note that the head of a campaign is proven, and the rest of it not there."""
    if definition.tar not in core.moments.pulls:
        _plan(core, definition, HEAD_HEARD, now)


def done(core: Core, tar: bytes) -> None:
    """Take note that a resource has the newest programme, or that its supplier sees to it."""
    core.moments.pulls.pop(tar, None)


def due(core: Core, now: float) -> None:
    """Call the suppliers whose moment has come."""
    for tar, pull in list(core.moments.pulls.items()):
        if pull.due is not None and pull.due <= now:
            _call(core, tar, pull, now)


def _call(core: Core, tar: bytes, pull: Pull, now: float) -> None:
    definition = core.definitions.by_tar(tar)
    assert definition is not None, "what takes a resource away takes its call too"
    pull.tries += 1
    pull.due = now + draw_delay_s(core.profile.pull_within_s, core.rng) if pull.tries < MOST_TRIES else None
    try:
        opening = sessions.call(core, definition)
    except ModuleError as refusal:
        core.note("pull.refused", reason=refusal.reason, tar=tar)
        return
    core.note(CALLED, reason=pull.reason, tar=tar)
    links.call(core, definition, opening, now)


def _plan(core: Core, definition: Definition, reason: str, now: float) -> None:
    """Draw a moment to call, for a resource that a supplier can broadcast to."""
    within_s = core.profile.pull_within_s
    if within_s and definition.domain_key and definition.supplier_public:
        before = core.moments.earliest
        delay_s = draw_delay_s(within_s, core.rng)
        core.moments.pulls[definition.tar] = Pull(reason=reason, due=now + delay_s)
        moments.set_timer(core, now, before)
