"""Whether the handsets of a config can do what their services take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.handset.terminal import TerminalKind
from agents.messages.bearers import CHANNEL_BEARERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents.fleet.config import FleetConfig


def check_terminals(config: FleetConfig) -> Iterator[str]:
    """Yield a problem for each service that a group of handsets has no bearer for."""
    for index, group in enumerate(config.handsets):
        if group.terminal is not TerminalKind.NO_BIP:
            continue
        for name in group.services:
            offer = config.offers.get(name)
            if offer and CHANNEL_BEARERS.keys() >= set(offer.service.bearers):
                bearers = " and ".join(offer.service.bearers)
                yield (
                    f"handsets[{index}].terminal: {group.terminal.value!r} has no channels, and {name!r} is"
                    f" offered over {bearers} alone"
                )
