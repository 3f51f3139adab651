"""What can be wrong with a config's keys over time: an allocator's are its own, and stay what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.fleet.config_tables import OperatorKey, Verb
from agents.fleet.houses import allocator_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents.fleet.config import FleetConfig

_OF_OPERATORS: Final = frozenset({Verb.ROLL_OPERATOR_KEY, Verb.INTRODUCE_OPERATOR})
"""Steps about the key that an operator's modules obey."""


def check_keys(config: FleetConfig) -> Iterator[str]:
    """Yield a problem for each group whose modules obey an allocator, and are to have an operator's key."""
    for index, group in enumerate(config.handsets):
        if group.operator_key is OperatorKey.CERTIFICATE and allocator_of(config, group.operator):
            yield (
                f"handsets[{index}].operator_key: a certificate is for an operator's own key, and these"
                f" modules obey the allocator of {group.operator!r}"
            )
    for index, step in enumerate(config.steps):
        if step.do not in _OF_OPERATORS:
            continue
        for group in config.handsets:
            is_meant = step.handsets is None or group.name in step.handsets
            if is_meant and allocator_of(config, group.operator):
                yield (
                    f"step[{index}].do: {step.do} is about an operator's own key, and the modules of"
                    f" {group.name!r} obey the allocator of {group.operator!r}"
                )
