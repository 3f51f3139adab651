"""What can be wrong with a config's keys over time: an allocator's stay what they are; who certifies them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.fleet.config_steps import Verb
from agents.fleet.config_tables import OperatorKey
from agents.fleet.houses import allocator_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents.fleet.config import FleetConfig

_OF_OPERATORS: Final = frozenset({Verb.ROLL_OPERATOR_KEY, Verb.INTRODUCE_OPERATOR})
"""Steps about the key that an operator's modules obey."""


def check_keys(config: FleetConfig) -> Iterator[str]:
    """Yield a problem for everything wrong with keys over time, and with who certifies them."""
    yield from _check_allocators(config)
    yield from _check_certificates(config)


def _check_certificates(config: FleetConfig) -> Iterator[str]:
    """Yield a problem for each supplier of which it is said who certifies it, where nobody does."""
    bare = {authority.name for authority in config.authorities if not authority.certificates}
    without = {
        operator.name: operator.authority for operator in config.operators if operator.authority in bare
    }
    for index, supplier in enumerate(config.suppliers):
        if "certified_by" in supplier.model_fields_set and supplier.operator in without:
            above = without[supplier.operator]
            yield f"supplier[{index}].certified_by: there are no certificates under authority {above!r}"


def _check_allocators(config: FleetConfig) -> Iterator[str]:
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
