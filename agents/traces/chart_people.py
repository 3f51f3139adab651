"""Who takes part in a transaction: names for numbers and addresses, roles, and their order across a chart.

A sender's line says which agent it is and under which number it speaks; whoever takes a message goes on in a
span of its own, whose lines name it. So a number has a name where one of them is told. Many of one role share
a lifeline.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agents.traces.chart_lines import ENDS, SENT, TAKEN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agents.traces.chart_lines import Told

# As in the method's figure 3: who gives orders and rights stands left, the modules right.
ROLES: Final[Mapping[str, str]] = {
    "console": "consoles",
    "authority": "authorities",
    "personaliser": "personalisers",
    "operator": "operators",
    "allocator": "allocators",
    "supplier": "suppliers",
    "": "others",
    "cell": "cells",
    "handset": "handsets",
}
"""Roles from left to right, and what many of one are called."""
MOST: Final = 3
"""Of one role that have a lifeline each."""
CONSOLE: Final = "console"
HANDSET: Final = "handset"
CELL_BROADCAST: Final = "cell-broadcast"
_UNKNOWN: Final = "?"
_UA_DIGITS: Final = (19, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """A lifeline: an agent, or all that have a role in common."""

    name: str
    role: str
    members: tuple[str, ...]

    @property
    def is_crowd(self) -> bool:
        """Whether several share it."""
        return len(self.members) > 1


class Names:
    """Who is meant by what the lines of a transaction call sources and destinations."""

    def __init__(self, lines: Sequence[Told]) -> None:
        self._roles: dict[str, str] = {}
        self._takers: dict[str, str] = {}
        having: dict[str, set[str]] = defaultdict(set)
        for line in lines:
            if line.agent and line.role:
                self._roles.setdefault(line.agent, line.role)
            if line.agent and line.event not in ENDS and line.parent:
                self._takers.setdefault(line.parent, line.agent)
            if line.agent and line.event == SENT:
                having[line.source].add(line.agent)
        for line in lines:
            if line.event == TAKEN and (taker := line.agent or self._takers.get(line.span)):
                having[line.destination].add(taker)
        self._agents = {number: min(agents) for number, agents in having.items() if len(agents) == 1}

    def sender(self, line: Told) -> str:
        """Return who sent the message of *line*, whichever end that is."""
        if line.event == SENT and line.agent:
            return line.agent
        return self._agents.get(line.source, line.source) or _UNKNOWN

    def recipient(self, line: Told) -> str:
        """Return for whom the message of *line* is."""
        name = line.destination
        if line.bearer == CELL_BROADCAST:
            self._roles.setdefault(name, "cell")
        elif not is_ua(name):
            name = self._takers.get(line.span) or self._agents.get(name, name)
        return name or _UNKNOWN

    def actor(self, line: Told) -> str:
        """Return whose event *line* is."""
        return line.agent or line.ua or _UNKNOWN

    def role(self, name: str) -> str:
        """Return the role of *name*; empty where nothing tells it."""
        if name == CONSOLE:
            return CONSOLE
        told = self._roles.get(name, HANDSET if is_ua(name) else "")
        return told if told in ROLES else ""


def is_ua(name: str) -> bool:
    """Whether *name* looks like a module's address."""
    return len(name) in _UA_DIGITS and name.isascii() and name.isdigit()


def line_up(met: Sequence[str], names: Names) -> tuple[list[Participant], dict[str, int]]:
    """Return the lifelines of who was *met*, left to right, and who has which of them."""
    by_role: dict[str, list[str]] = {role: [] for role in ROLES}
    for name in dict.fromkeys(met):
        by_role[names.role(name)].append(name)
    lifelines: list[Participant] = []
    for role, members in by_role.items():
        if len(members) > MOST:
            lifelines.append(
                Participant(name=f"{len(members):,} {ROLES[role]}", role=role, members=tuple(members))
            )
        else:
            lifelines += [Participant(name=name, role=role, members=(name,)) for name in members]
    return lifelines, {name: place for place, each in enumerate(lifelines) for name in each.members}
