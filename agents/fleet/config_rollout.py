"""Broadcasts that go in stages, and the steps about them: which broadcast they mean, and what can be wrong.

A step about a campaign means the last one that a step before it began for the service. As in
``config_checks``, a problem is ``key: what is wrong``, and nothing stops at the first.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agents.fleet.config_steps import ABOUT_CAMPAIGNS, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agents.fleet.config import FleetConfig
    from agents.fleet.config_steps import Step
    from agents.fleet.config_tables import Handsets


def broadcast_before(steps: Sequence[Step], index: int) -> int | None:
    """Return the index of the broadcast that step *index* is about, None where there is none before it."""
    service = steps[index].service
    begun = (
        at for at, step in enumerate(steps[:index]) if step.do is Verb.BROADCAST and step.service == service
    )
    return max(begun, default=None)


def broadcast_ended(steps: Sequence[Step], index: int) -> int | None:
    """Return the index of the broadcast whose end step *index* waits for, None where it waits for none."""
    if steps[index].do is Verb.FINISH_CAMPAIGN:
        return broadcast_before(steps, index)
    return index if steps[index].do is Verb.BROADCAST and steps[index].wait else None


def check_rollouts(config: FleetConfig) -> Iterator[str]:
    """Yield a problem for each step with stages, thresholds or orders that cannot come to anything."""
    for index, step in enumerate(config.steps):
        place = f"step[{index}]"
        if step.do is Verb.BROADCAST:
            yield from _check_stages(config, place, step)
            yield from _check_thresholds(config, place, step)
        elif (
            step.do in ABOUT_CAMPAIGNS
            and step.service in config.offers
            and broadcast_before(config.steps, index) is None
        ):
            yield f"{place}.do: there is no broadcast of {step.service!r} before it"


def _check_stages(config: FleetConfig, place: str, step: Step) -> Iterator[str]:
    offer = config.offers.get(step.service or "")
    if step.stages is None or offer is None:
        return
    cells = sum(group.cells for group in _groups(config, step))
    if cells < len(step.stages):
        yield (
            f"{place}.stages: {len(step.stages)} stages need as many cells, and the broadcast has {cells}"
            " (handsets.cells)"
        )


def _groups(config: FleetConfig, step: Step) -> list[Handsets]:
    """Return the groups in whose cells a broadcast is heard."""
    operator = config.offers[step.service or ""].supplier.operator
    return [
        group
        for group in config.handsets
        if group.operator == operator and (step.handsets is None or group.name in step.handsets)
    ]


def _check_thresholds(config: FleetConfig, place: str, step: Step) -> Iterator[str]:
    if step.report_within_s is not None and not step.report_share:
        yield f"{place}.report_within_s: nobody reports without 'report_share'"
    for key in ("success", "errors"):
        if getattr(step, key) is not None and not step.report_share:
            yield f"{place}.{key}: is a share of modules' reports, and nobody reports without 'report_share'"
    if step.success is not None and step.report_share and step.service in config.offers:
        yield from _check_sample(config, place, step)


def _check_sample(config: FleetConfig, place: str, step: Step) -> Iterator[str]:
    """Yield a problem where a stage has so few modules that chance decides whether one of them reports."""
    groups = _groups(config, step)
    cells = sum(group.cells for group in groups)
    first = max(1, math.ceil(cells * (step.stages or (100,))[0] / 100))
    modules = sum(group.count for group in groups if step.service in group.services) * first / max(1, cells)
    if 0 < modules * step.report_share < 1:
        yield (
            f"{place}.report_share: 'success' needs a report, and of the first stage (modules: {modules:.3g})"
            " less than one can be expected; let more of them report, or begin with more cells"
        )
