"""What can be wrong with a config's steps: keys that are not theirs, names, waits, and what modules hold.

As in ``config_checks``, a problem is ``key: what is wrong``, and nothing stops at the first.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from agents.fleet.config_steps import ABOUT_CAMPAIGNS, ABOUT_MODULES, Verb
from agents.fleet.expectations import Result
from agents.handset.security_module.life_cycle import AtEnd

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agents.fleet.config import FleetConfig
    from agents.fleet.config_steps import Step
    from agents.fleet.config_tables import Handsets, Service

LONGEST_WAIT_S: Final = 3600.0
"""The most of our own time that a step may wait: more is a slip of the pen."""
_KEYS: Final[Mapping[str, tuple[Verb, ...]]] = {
    "for_s": (Verb.RENEW, Verb.WAIT),
    "executions": (Verb.RENEW,),
    "by_s": (Verb.SET_CLOCK,),
    "supplier": (Verb.REVOKE_SUPPLIER,),
    "by": (Verb.INVOKE,),
    "input": (Verb.INVOKE,),
    "application": (Verb.BROADCAST,),
    "version": (Verb.BROADCAST,),
    "data_part": (Verb.BROADCAST,),
    "stages": (Verb.BROADCAST,),
    "success": (Verb.BROADCAST,),
    "errors": (Verb.BROADCAST,),
    "report_share": (Verb.BROADCAST,),
    "report_within_s": (Verb.BROADCAST,),
    "deadline_s": (Verb.BROADCAST,),
    "wait": (Verb.BROADCAST,),
    "leave_out": (Verb.ROLL_DOMAIN_KEY,),
}
"""The keys that belong to some steps only."""
_WITHOUT: Final[tuple[tuple[frozenset[Verb], str, str], ...]] = (
    (frozenset({Verb.AGREE}), "handsets", "is between suppliers and operators; it has no handsets"),
    (frozenset({Verb.WAIT}), "handsets", "is about nobody; it has no handsets"),
    (frozenset({Verb.WAIT}), "service", "is about nobody; it has no service"),
    (
        frozenset({Verb.REVOKE_SUPPLIER}),
        "service",
        "is about all services of a supplier; it has none of its own",
    ),
    (ABOUT_CAMPAIGNS, "handsets", "is about a campaign, which has its handsets from its broadcast"),
    (ABOUT_MODULES, "service", "is about modules; it has no service"),
)
"""The keys that are about targets, where a step has other targets, and why it lacks them."""
_NEEDED: Final[Mapping[Verb, str]] = {
    Verb.SET_CLOCK: "by_s",
    Verb.WAIT: "for_s",
    Verb.BROADCAST: "service",
    Verb.ROLL_DOMAIN_KEY: "service",
    Verb.PULL: "service",
    Verb.REVOKE_SUPPLIER: "supplier",
    **dict.fromkeys(sorted(ABOUT_CAMPAIGNS), "service"),
}
"""The key that a step cannot do without."""
LOADING: Final = frozenset({Verb.BROADCAST, Verb.FINISH_CAMPAIGN, Verb.PULL})
"""The steps that bring a version to modules."""


def check_steps(config: FleetConfig) -> Iterator[str]:
    """Yield a problem for everything wrong with a step."""
    for index, step in enumerate(config.steps):
        yield from _check_step(config, f"step[{index}]", step)


def _check_step(config: FleetConfig, place: str, step: Step) -> Iterator[str]:
    given = step.model_fields_set
    problems = [
        f"{place}.{key}: {why}" for key, why in _misplaced_keys(step) if key.partition(".")[0] in given
    ]
    needed = _NEEDED.get(step.do)
    if needed is not None and needed not in given:
        problems.append(f"{place}.{needed}: is missing, and {step.do} needs it")
    groups = {group.name for group in config.handsets}
    for name in step.handsets or ():
        problems += unknown(f"{place}.handsets", "group", name, groups)
    for name in step.leave_out or ():
        problems += unknown(f"{place}.leave_out", "group", name, groups)
    if step.service is not None:
        problems += unknown(f"{place}.service", "service", step.service, config.offers)
    if step.supplier is not None:
        problems += unknown(
            f"{place}.supplier", "supplier", step.supplier, {each.name for each in config.suppliers}
        )
    if step.do is Verb.WAIT:
        problems += _check_wait(config, place, step)
    # A broadcast that is not waited for has a target of its own, but is for modules all the same.
    if not problems and not (config.targets(step) if step.wait else config.subscribed(step)):
        problems.append(f"{place}: {step.do} would have no target: no handset it names has such a service")
    yield from problems


def check_expectations(config: FleetConfig) -> Iterator[str]:
    """Yield a problem for every expectation of what a step cannot come to."""
    for index, step in enumerate(config.steps):
        if step.expect is None:
            continue
        total = len(config.targets(step))
        if step.expect.loaded is not None and step.do not in LOADING:
            yield (
                f"step[{index}].expect.loaded: belongs to {' and '.join(sorted(LOADING))}, not to {step.do}"
            )
            continue
        wanted = {result.value: step.expect.quantity(result) for result in Result}
        for result, quantity in (wanted | {"loaded": step.expect.loaded}).items():
            if quantity is not None and not quantity.can_hold(total):
                yield (
                    f"step[{index}].expect.{result}: {quantity.text} cannot be:"
                    f" the step has {total} target{'s' * (total != 1)}"
                )


def unknown(place: str, what: str, name: str, known: Iterable[str]) -> Iterator[str]:
    """Yield a problem if *name* is not *known*."""
    if name not in known:
        yield f"{place}: there is no {what} {name!r} (known: {', '.join(sorted(known)) or 'none'})"


def _misplaced_keys(step: Step) -> Iterator[tuple[str, str]]:
    """Yield each key that does not belong to this kind of step, given or not, and why."""
    for steps, key, why in _WITHOUT:
        if step.do in steps:
            yield key, f"{step.do} {why}"
    for key, verbs in _KEYS.items():
        if step.do not in verbs:
            yield key, f"belongs to {' and '.join(verbs)}, not to {step.do}"
    if step.do is not Verb.INVOKE:
        if step.expect and step.expect.output is not None:
            yield "expect.output", f"belongs to invoke, not to {step.do}"
    elif step.by != "user":
        yield "input", 'belongs to invoke by = "user"; a supplier makes its own'


def _check_wait(config: FleetConfig, place: str, step: Step) -> Iterator[str]:
    speed = config.air.speed
    if isinstance(speed, str):
        yield f'{place}.do: wait needs a speed in air.speed; with "max" time is not simulated'
        return
    if step.for_s is not None and step.for_s / speed > LONGEST_WAIT_S:
        ours_s = step.for_s / speed
        yield (
            f"{place}.for_s: {step.for_s} s at air.speed {speed:g} would be {math.ceil(ours_s)} s of ours,"
            f" and {LONGEST_WAIT_S:.0f} is the most"
        )


def holdings(config: FleetConfig, group: Handsets) -> Iterator[list[Service]]:
    """Yield what a module of *group* has to hold at once: after each step that reserves, or all services.

    What is released makes room again, and so may what deletes itself. A reservation of which refusals are
    expected is left out.
    """
    offers = {name: config.offers[name].service for name in group.services if name in config.offers}
    held: dict[str, Service] = {}
    reserves = False
    for step in config.steps:
        if step.handsets is not None and group.name not in step.handsets:
            continue
        meant = {
            name: each
            for name, each in offers.items()
            if step.service in (None, name) and step.supplier in (None, config.offers[name].supplier.name)
        }
        if step.do in (Verb.RELEASE, Verb.REVOKE_SUPPLIER):
            held = {name: each for name, each in held.items() if name not in meant}
        elif step.do is Verb.RESERVE and not (step.expect and step.expect.wants(Result.REFUSED, group.count)):
            reserves = True
            held = {name: each for name, each in held.items() if each.at_end is not AtEnd.DELETE} | meant
            yield list(held.values())
    if not reserves:
        yield list(offers.values())
