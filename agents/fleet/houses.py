"""Who shares a house, as a config says it: an operator that is its own authority, or has an allocator.

An operator without an ``authority`` is its own: registry and factory stand in its house, named after it. An
``[[allocator]]`` names the operator in whose place it commands modules. It says so itself, as suppliers do,
because an allocator has one operator: the key that it holds is what this operator's modules obey, and a key
that two operators' modules obeyed would make one house of the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.fleet.config_tables import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents.fleet.config import FleetConfig
    from agents.fleet.config_tables import Allocator, Operator

_OWN: Final = "authority."
_LONGEST: Final = 32 - len(_OWN)
"""Of an operator's name that is in another: names are 32 characters at most."""


def authority_of(operator: Operator) -> str:
    """Return the name of the authority that *operator* goes by: its own is named after it."""
    return operator.authority or f"{_OWN}{operator.name}"


def authorities_of(config: FleetConfig) -> list[Authority]:
    """Return every authority: those of the file, and one of its own for each operator that has none."""
    # Not validated: no name of the file's has a dot, so that these can be nobody's else.
    own = [
        Authority.model_construct(name=authority_of(operator), suite=operator.suite, link=operator.link)
        for operator in config.operators
        if operator.authority is None
    ]
    return [*config.authorities, *own]


def personalizer_of(authority: str) -> str:
    """Return the name of *authority*'s personaliser: the one role that a config does not name."""
    return f"personaliser.{authority.removeprefix(_OWN)}"


def allocator_of(config: FleetConfig, operator: str) -> Allocator | None:
    """Return who commands modules in the place of *operator*, if anybody."""
    return next((each for each in config.allocators if each.operator == operator), None)


def check_houses(config: FleetConfig) -> Iterator[str]:
    """Yield a problem for a house that cannot be: two allocators in one, or too long a name."""
    for index, operator in enumerate(config.operators):
        if operator.authority is None and len(operator.name) > _LONGEST:
            yield (
                f"operator[{index}].name: an operator that is its own authority has a name of at most"
                f" {_LONGEST} characters, not {len(operator.name)}"
            )
    first: dict[str, str] = {}
    for index, allocator in enumerate(config.allocators):
        place = f"allocator[{index}].operator"
        if allocator.operator in first:
            taken = first[allocator.operator]
            yield f"{place}: {allocator.operator!r} has an allocator already, by {taken}; it can have one"
        first.setdefault(allocator.operator, place)
