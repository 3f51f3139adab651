"""The versions of global services' applications that steps broadcast, and what can be wrong with them.

A step that names an application brings the version after the highest that a step before it brings, unless it
names another. As in ``config_checks``, a problem is ``key: what is wrong``, and nothing stops at the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.applications.wording import refused, too_long
from agents.fleet.config_profile import profile_table
from agents.fleet.config_steps import Data, Verb
from agents.fleet.config_tables import Scope
from agents.fleet.expectations import Result
from agents.handset.security_module.errors import ApplicationRefused
from agents.handset.security_module.run_unit import check_application
from agents.offers import Version
from transport.diffusion import MAX_PROGRAMME, MAX_VERSION, DataPart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agents.applications.programmes import Programme
    from agents.fleet.config import FleetConfig
    from agents.fleet.config_steps import Step
    from agents.fleet.config_tables import Service

FIRST: Final = 1
"""The version of a service's own application."""
_PARTS: Final[Mapping[Data, DataPart]] = {Data.KEEP: DataPart.KEEP, Data.RESET: DataPart.RESET}


def steps_with_applications(config: FleetConfig) -> Iterator[tuple[int, str, str]]:
    """Yield index and place of every step that names an application, and the application."""
    for index, step in enumerate(config.steps):
        if step.application is not None:
            yield index, f"step[{index}]", step.application


def version_of(config: FleetConfig, index: int) -> int:
    """Return the version that step *index* (from 0) broadcasts."""
    step = config.steps[index]
    if step.version is not None:
        return step.version
    return FIRST if step.application is None else _highest_before(config, index) + 1


def _highest_before(config: FleetConfig, index: int) -> int:
    """Return the highest version of the service that a step before *index* brings."""
    highest = FIRST
    for step in config.steps[:index]:
        if step.do is Verb.BROADCAST and step.service == config.steps[index].service:
            highest = max(highest, step.version or (highest + 1 if step.application else FIRST))
    return highest


def updates_of(config: FleetConfig, service: str) -> tuple[Version, ...]:
    """Return the versions of *service* that steps broadcast, but for its own application's first one."""
    versions = {
        version_of(config, index): Version(
            number=version_of(config, index),
            code=config.broadcast_programme(index).code,
            data_part=_PARTS[step.data_part],
        )
        for index, step in enumerate(config.steps)
        if step.do is Verb.BROADCAST and step.service == service
    }
    return tuple(each for number, each in versions.items() if number != FIRST)


def check_updates(config: FleetConfig, programmes: Mapping[str, Programme]) -> Iterator[str]:
    """Yield a problem for each step whose broadcast could not be loaded where it shall."""
    places = {
        service.name: f"supplier[{index}].service[{number}]"
        for index, supplier in enumerate(config.suppliers)
        for number, service in enumerate(supplier.services)
    }
    yield from _check_pulls(config)
    known: dict[str, dict[int, tuple[str, Data]]] = {}
    for index, step in enumerate(config.steps):
        offer = config.offers.get(step.service or "")
        if step.do is not Verb.BROADCAST or offer is None or offer.service.scope is not Scope.GLOBAL:
            continue
        service = offer.service
        own = programmes.get(places[service.name])
        versions = known.setdefault(service.name, {FIRST: (own.digest, Data.KEEP)} if own else {})
        programme = programmes.get(f"step[{index}]") if step.application else own
        if programme is None:
            continue
        yield from _check_version(config, index, programme, versions)
        yield from _check_programme(config, index, service, programme)


def _check_pulls(config: FleetConfig) -> Iterator[str]:
    """Yield a problem for each step that pulls what is never broadcast."""
    for index, step in enumerate(config.steps):
        offer = config.offers.get(step.service or "")
        if step.do is Verb.PULL and offer and offer.service.scope is not Scope.GLOBAL:
            place = f"step[{index}].service"
            yield f'{place}: pull is of a service with scope = "global", and {step.service!r} has not'


def _check_version(
    config: FleetConfig, index: int, programme: Programme, versions: dict[int, tuple[str, Data]]
) -> Iterator[str]:
    """Yield a problem for a version that modules would refuse, or that would be two things."""
    step, version, highest = config.steps[index], version_of(config, index), _highest_before(config, index)
    place = f"step[{index}].{'version' if step.version else 'do'}: version {version} of {step.service!r}"
    what = (programme.digest, step.data_part)
    if version > MAX_VERSION:
        yield f"{place} is beyond {MAX_VERSION}, after which none comes"
    elif version < highest and not _may_be_refused(step):
        yield f"{place} is not newer than {highest}, which is there by then"
    elif versions.setdefault(version, what) != what:
        yield f"{place} is another programme or data_part elsewhere"


def _check_programme(
    config: FleetConfig, index: int, service: Service, programme: Programme
) -> Iterator[str]:
    """Yield a problem for a programme that no campaign carries, or that does not go into the resources."""
    step, length = config.steps[index], len(programme.code)
    name, place = step.application or service.application, f"step[{index}].application"
    if length > MAX_PROGRAMME and not _may_be_refused(step):
        yield f"{place}: {name} has {length} octets, and a broadcast carries {MAX_PROGRAMME}"
    if step.application is not None:
        if length > service.code:
            yield f"{place}: {too_long(name, length, service.code)}"
        try:
            check_application(programme.code, rights=frozenset(service.rights), data_size=service.data)
        except ApplicationRefused as refusal:
            yield f"{place}: {refused(name, refusal)}"
    if step.expect and (step.expect.wants(Result.FAILED, 1) or _may_be_refused(step)):
        return
    for group in config.handsets:
        is_meant = step.handsets is None or group.name in step.handsets
        room = profile_table(config, group).programme
        if is_meant and service.name in group.services and length > room:
            whose = f"the modules of {group.name!r}"
            yield f"{place}: {name} has {length} octets, and {whose} take {room} (programme)"


def _may_be_refused(step: Step) -> bool:
    return bool(step.expect and step.expect.wants(Result.REFUSED, 1))
