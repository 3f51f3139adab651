"""What secure connections cost: every way there is, measured in a fleet and on a bench of its own.

No figure is reckoned. Octets, messages and simulated time are those of real connections in a real fleet
(``cost_fleet``); what the sides compute is timed with nothing around them (``cost_cpu``).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from agents.fleet.cost_config import make_config, parameters_of, suites_of
from agents.fleet.cost_cpu import measure_cpu
from agents.fleet.cost_fleet import measure_time, measure_traffic
from agents.fleet.cost_rows import Row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.fleet.config import FleetConfig
    from agents.fleet.cost_rows import Cpu, Tell, Way


async def measure(config: FleetConfig, ways: Sequence[Way], *, repeat: int, tell: Tell) -> list[Row]:
    """Return a row for each of *ways*, measured on the air of *config*; *tell* is told what is under way.

    Raises FleetError when a connection does not come about.
    """
    parameters = parameters_of(config)
    computed = _cpu(ways, parameters, repeat, tell)
    with tempfile.TemporaryDirectory(prefix="otafleet-cost-") as directory:
        fleet = make_config(Path(directory), ways, seed=config.fleet.seed, parameters=parameters)
        traffic = await measure_traffic(fleet, config.air, ways, tell)
        seconds = await measure_time(fleet, config.air, traffic, tell)
    known = suites_of(config)
    return [
        Row(
            way=way,
            traffic=traffic[way],
            cpu=computed[way.suite, way.form],
            simulated_s=seconds[way],
            fits=way.suite in known,
        )
        for way in ways
    ]


def _cpu(
    ways: Sequence[Way],
    parameters: dict[str, tuple[str, str]],
    repeat: int,
    tell: Tell,
) -> dict[tuple[str, str], Cpu]:
    """Return what both sides compute, for each suite and form in *ways*."""
    found: dict[tuple[str, str], Cpu] = {}
    for suite in dict.fromkeys(way.suite for way in ways):
        tell("both sides compute", suite)
        forms = list(dict.fromkeys(way.form for way in ways if way.suite == suite))
        base, modulus = (bytes.fromhex(text) for text in parameters.get(suite, ("", "")))
        measured = measure_cpu(suite, forms, repeat=repeat, dh_base=base, dh_modulus=modulus)
        found |= {(suite, form): cpu for form, cpu in measured}
    return found
