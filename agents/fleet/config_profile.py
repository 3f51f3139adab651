"""``[[profile]]``: what the modules of a group can do, and what cannot be right about that.

As in ``config_checks``, a problem is ``key: what is wrong``, and nothing stops at the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field

from agents.fleet.config_steps import Verb
from agents.fleet.config_tables import Handsets, Named
from agents.fleet.config_types import ProtectionName, Rights, SuiteName
from agents.fleet.expectations import Result
from agents.fleet.houses import authorities_of, authority_of
from agents.fleet.step_checks import unknown
from agents.handset.security_module.profile import (
    MAX_BUFFER,
    MAX_CHANNELS,
    MAX_FUEL,
    MAX_SESSIONS,
    MIN_BUFFER,
    STANDARD,
    Profile,
)
from agents.handset.security_module.rights import rights_mask, rights_names
from agents.handset.security_module.wasm_shape import MAX_CODE_OCTETS
from agents.messages.codec import MAX_KEY_OCTETS
from transport.diffusion import MAX_WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agents.fleet.config import FleetConfig


def _no_name_twice(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("names something twice")
    return names


Suites = Annotated[tuple[SuiteName, ...], Field(min_length=1), AfterValidator(_no_name_twice)]
Protections = Annotated[tuple[ProtectionName, ...], Field(min_length=1), AfterValidator(_no_name_twice)]


class ProfileTable(Named):
    """``[[profile]]``: what a module's hardware can do; each key has the standard profile's value."""

    suites: Suites | None = None
    protections: Protections | None = None
    rights: Rights | None = None
    sessions: Annotated[int, Field(strict=True, ge=1, le=MAX_SESSIONS)] = STANDARD.sessions
    calls: Annotated[int, Field(strict=True, ge=1, le=16)] = STANDARD.calls
    channels: Annotated[int, Field(strict=True, ge=1, le=MAX_CHANNELS)] = STANDARD.channels
    messages: Annotated[int, Field(strict=True, ge=1, le=64)] = STANDARD.messages
    buffer: Annotated[int, Field(strict=True, ge=MIN_BUFFER, le=MAX_BUFFER)] = STANDARD.buffer
    proactive: Annotated[int, Field(strict=True, ge=16, le=1024)] = STANDARD.proactive
    programme: Annotated[int, Field(strict=True, ge=1, le=MAX_CODE_OCTETS)] = STANDARD.programme
    fuel: Annotated[int, Field(strict=True, ge=1, le=MAX_FUEL)] = STANDARD.fuel
    key: Annotated[int, Field(strict=True, ge=32, le=MAX_KEY_OCTETS)] = STANDARD.key
    pull_within_s: Annotated[int, Field(strict=True, ge=0, le=MAX_WITHIN_S)] = STANDARD.pull_within_s

    def profile(self) -> Profile:
        """Return what is burnt into each module."""
        values = self.model_dump(exclude={"name"}, exclude_none=True)
        for key in ("suites", "protections"):
            if key in values:
                values[key] = list(values[key])
        if self.rights is not None:
            values["rights"] = rights_mask(self.rights)
        return Profile(**values)


_STANDARD: Final = ProfileTable(name="standard")


def profile_table(config: FleetConfig, group: Handsets) -> ProfileTable:
    """Return the profile of *group*'s modules, the standard one if it names none."""
    return next((each for each in config.profiles if each.name == group.profile), _STANDARD)


def check_profiles(config: FleetConfig) -> Iterator[str]:
    """Yield a problem for each group whose modules could not be what they shall, or hold what they shall."""
    names: set[str] = set()
    for index, table in enumerate(config.profiles):
        if table.name in names:
            yield f"profile[{index}].name: there is another profile {table.name!r}"
        names.add(table.name)
    suites = {each.name: each.suite for each in config.operators}
    suites |= {each.name: each.suite for each in authorities_of(config)}
    suites |= {each.name: each.suite for each in config.allocators}
    authorities = {each.name: authority_of(each) for each in config.operators}
    allocators = {each.operator: each.name for each in config.allocators}
    for index, group in enumerate(config.handsets):
        place = f"handsets[{index}]"
        if group.profile is not None:
            yield from unknown(f"{place}.profile", "profile", group.profile, names)
        profile = profile_table(config, group).profile()
        owners = {"suite": group.suite, "operator": suites.get(group.operator)}
        owners["authority"] = suites.get(authorities.get(group.operator, ""))
        owners["allocator"] = suites.get(allocators.get(group.operator, ""))
        for what, suite in owners.items():
            if suite is not None and suite not in profile.suites:
                key = "suite" if what == "suite" else "operator"
                yield f"{place}.{key}: its modules cannot use suite {suite!r} of {_WHOSE[what]}"
        yield from _check_services(config, place, group, profile)


def _check_services(config: FleetConfig, place: str, group: Handsets, profile: Profile) -> Iterator[str]:
    """Yield a problem for each service that is to be reserved and that *profile* lacks the means for."""
    rights = rights_names(profile.rights)
    for name in expected_services(config, group):
        offer, service = config.offers[name], config.offers[name].service
        lacking = {
            f"the suite {offer.supplier.suite!r}": offer.supplier.suite not in profile.suites,
            f"the protection {service.protection!r}": service.protection not in profile.protections,
        } | {f"the right {right!r}": right not in rights for right in service.rights}
        for what, lacks in lacking.items():
            if lacks:
                yield f"{place}.services: {name} needs {what}, which its modules lack"


def expected_services(config: FleetConfig, group: Handsets) -> list[str]:
    """Return the services that a step reserves in *group*'s modules without expecting refusals."""
    names: dict[str, None] = {}
    for step in config.steps:
        is_meant = step.do is Verb.RESERVE and (step.handsets is None or group.name in step.handsets)
        if is_meant and not (step.expect and step.expect.wants(Result.REFUSED, group.count)):
            names |= {name: None for name in group.services if step.service in (None, name)}
    return [name for name in names if name in config.offers]


_WHOSE: Final[Mapping[str, str]] = {
    "suite": "their own keys",
    "operator": "their operator",
    "authority": "their operator's authority",
    "allocator": "their operator's allocator",
}
