"""How each pair of roles speaks, as a config says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.fleet.houses import authorities_of, personalizer_of
from agents.link_ways import LinkForms

if TYPE_CHECKING:
    from agents.fleet.config import FleetConfig


def link_forms(config: FleetConfig) -> LinkForms:
    """Return it: an operator's links are as it says, its allocator's too; a factory's as its authority does.

    So each pair has somebody of whom it is said: all speak with an operator or an authority, and of
    authorities nobody says how they speak with anybody but their factory.
    """
    operators = {operator.name: operator.link for operator in config.operators}
    allocators = {each.name: operators[each.operator] for each in config.allocators}
    factories = {personalizer_of(each.name): each.link for each in authorities_of(config)}
    return LinkForms(said=operators | allocators | factories)
