"""What can be wrong with a config beyond its single keys: names, references, applications, memory.

Each check looks at one matter and yields problems, ``key: what is wrong``; nothing stops at the first. All
of it is done without starting anything, so that ``otafleet check`` finds what a run would stumble over.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from agents.applications.programmes import Programme, read_programme
from agents.applications.wording import refused, too_long
from agents.errors import NoProgramme
from agents.fleet.addresses import MAX_SERVERS
from agents.fleet.config_domains import check_domains
from agents.fleet.config_lengths import check_lengths
from agents.fleet.config_profile import check_profiles, profile_table
from agents.fleet.config_rollout import check_rollouts
from agents.fleet.config_terminals import check_terminals
from agents.fleet.config_updates import check_updates, steps_with_applications
from agents.fleet.houses import allocator_of, check_houses
from agents.fleet.key_checks import check_keys
from agents.fleet.step_checks import check_expectations, check_steps, holdings, unknown
from agents.handset.security_module.errors import ApplicationRefused
from agents.handset.security_module.medium import PAGE
from agents.handset.security_module.profile import blank_memory
from agents.handset.security_module.run_unit import check_application
from transport.errors import ParametersRejected
from transport.security.suites import suite_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from agents.fleet.config import FleetConfig
    from agents.fleet.config_tables import Handsets, Named, Service

RESERVED_NAMES: Final = frozenset({"console", "fleet", "modules", "personaliser", "personalizer"})
"""Names that the fleet gives to agents of its own."""


def check_config(config: FleetConfig, programmes: Mapping[str, Programme]) -> list[str]:
    """Return a problem for everything wrong with *config*; *programmes* is what ``read_programmes`` read."""
    problems = [
        *_check_broker(config),
        *_check_names(config),
        *_check_air(config),
        *_check_references(config),
        *check_houses(config),
        *check_keys(config),
        *_check_applications(config, programmes),
        *_check_parameters(config),
        *check_domains(config),
        *check_updates(config, programmes),
        *_check_groups(config),
        *check_terminals(config),
        *check_profiles(config),
        *check_steps(config),
        *check_rollouts(config),
    ]
    # What a step can come to is only known of a config that is otherwise right, and so are lengths.
    return problems or [*check_expectations(config), *check_lengths(config)]


def read_programmes(config: FleetConfig) -> tuple[dict[str, Programme], list[str]]:
    """Return the applications that can be read, by place in the file, and a problem for each other.

    They are those of services, and those of steps that broadcast others.
    """
    read: dict[str, Programme] = {}
    programmes: dict[str, Programme] = {}
    problems = []
    named = [(place, service.application) for place, service in services_of(config)]
    named += [(place, name) for _index, place, name in steps_with_applications(config)]
    for place, name in named:
        try:
            # Once for each file, whoever offers it: a source in C takes a while.
            programmes[place] = read[name] = read.get(name) or read_programme(config.path.parent / name, name)
        except NoProgramme as error:
            problems += [f"{place}.application: {sentence}" for sentence in error.sentences]
    return programmes, problems


def services_of(config: FleetConfig) -> Iterator[tuple[str, Service]]:
    """Yield every service with its place in the file: ``supplier[1].service[0]``."""
    for index, supplier in enumerate(config.suppliers):
        for number, service in enumerate(supplier.services):
            yield f"supplier[{index}].service[{number}]", service


def _repeated(named: Iterable[tuple[str, str]], what: str) -> Iterator[str]:
    """Yield a problem for each ``(place, value)`` whose value an earlier place has already."""
    first: dict[str, str] = {}
    for place, value in named:
        if value in first:
            yield f"{place}: {what} {value!r} is taken by {first[value]}"
        first.setdefault(value, place)


def _check_broker(config: FleetConfig) -> Iterator[str]:
    broker = config.broker
    given = broker.model_fields_set
    if broker.url == "auto":
        for key in sorted(given - {"url", "port"}):
            yield f"broker.{key}: belongs to a broker with a URL, and this one is 'auto'"
        return
    if "port" in given:
        yield "broker.port: belongs to the broker 'auto'; write the port into the URL"
    yield from _check_url(config)
    if {"password", "password_env"} <= given:
        yield "broker.password_env: give this or 'password', not both"
    if broker.password_env and broker.password_env not in os.environ:
        yield f"broker.password_env: the environment has no variable {broker.password_env!r}"
    yield from _check_tls(config)


def _check_url(config: FleetConfig) -> Iterator[str]:
    broker = config.broker
    try:
        parts = urlsplit(broker.url)
        _ = parts.port
    except ValueError:
        yield "broker.url: has no valid host and port"
        return
    if not parts.hostname:
        yield "broker.url: names no host"
    if parts.password is not None:
        yield "broker.url: must not hold the password; use 'password' or 'password_env'"
    if parts.username and broker.username:
        yield "broker.username: the URL names a user already"
    if (broker.password or broker.password_env) and not (parts.username or broker.username):
        yield "broker.username: is missing, and there is a password"


def _check_tls(config: FleetConfig) -> Iterator[str]:
    broker = config.broker
    files = {
        "ca_file": broker.ca_file,
        "certificate_file": broker.certificate_file,
        "key_file": broker.key_file,
    }
    for key, name in files.items():
        if name and not broker.url.startswith("mqtts:"):
            yield f"broker.{key}: belongs to a URL that starts with mqtts:"
        elif name and not (config.path.parent / name).is_file():
            yield f"broker.{key}: there is no file {name}"
    if (broker.certificate_file is None) != (broker.key_file is None):
        yield "broker.certificate_file: goes together with 'key_file'"


def _check_air(config: FleetConfig) -> Iterator[str]:
    if config.air.speed != "max":
        return
    for name in ("sms", "cell_broadcast", "bip"):
        if getattr(config.air, name).outages:
            yield f'air.{name}.outages: need a speed in air.speed; with "max" the air takes no time'


def _check_names(config: FleetConfig) -> Iterator[str]:
    tables: Mapping[str, Sequence[Named]] = {
        "authority": config.authorities,
        "operator": config.operators,
        "allocator": config.allocators,
        "supplier": config.suppliers,
        "handsets": config.handsets,
    }
    agents = [
        (f"{table}[{index}].name", agent.name)
        for table, entries in tables.items()
        for index, agent in enumerate(entries)
    ]
    for place, name in agents:
        if name in RESERVED_NAMES:
            yield f"{place}: the fleet needs the name {name!r} itself; choose another"
    yield from _repeated(agents, "the name")
    yield from _repeated(((f"{place}.name", one.name) for place, one in services_of(config)), "the name")
    numbers = [
        *((f"operator[{index}].number", one.number) for index, one in enumerate(config.operators)),
        *((f"allocator[{index}].number", one.number) for index, one in enumerate(config.allocators)),
        *((f"supplier[{index}].number", one.number) for index, one in enumerate(config.suppliers)),
    ]
    yield from _repeated(numbers, "the number")
    addresses = [
        (f"supplier[{index}].address", str(one.address))
        for index, one in enumerate(config.suppliers)
        if one.address is not None
    ]
    yield from _repeated(addresses, "the address")
    if len(config.suppliers) > MAX_SERVERS:
        yield f"supplier: there are addresses for {MAX_SERVERS} servers, not for {len(config.suppliers)}"


def _check_references(config: FleetConfig) -> Iterator[str]:
    authorities = {one.name for one in config.authorities}
    operators = {one.name for one in config.operators}
    for index, operator in enumerate(config.operators):
        if operator.authority is not None:
            yield from unknown(f"operator[{index}].authority", "authority", operator.authority, authorities)
    for index, allocator in enumerate(config.allocators):
        yield from unknown(f"allocator[{index}].operator", "operator", allocator.operator, operators)
    for index, supplier in enumerate(config.suppliers):
        yield from unknown(f"supplier[{index}].operator", "operator", supplier.operator, operators)
    for index, group in enumerate(config.handsets):
        yield from unknown(f"handsets[{index}].operator", "operator", group.operator, operators)
        for name in group.services:
            yield from unknown(f"handsets[{index}].services", "service", name, config.offers)


def _check_applications(config: FleetConfig, programmes: Mapping[str, Programme]) -> Iterator[str]:
    for place, service in services_of(config):
        programme = programmes.get(place)
        if programme is None:
            continue
        name = service.application
        if len(programme.code) > service.code:
            yield f"{place}.code: {too_long(name, len(programme.code), service.code)}"
        try:
            check_application(programme.code, rights=frozenset(service.rights), data_size=service.data)
        except ApplicationRefused as refusal:
            yield f"{place}.application: {refused(name, refusal)}"


def _check_parameters(config: FleetConfig) -> Iterator[str]:
    """Yield a problem for Diffie-Hellman parameters that are unsafe, or of no use to their suite."""
    for index, operator in enumerate(config.operators):
        suite = (allocator_of(config, operator.name) or operator).suite
        try:
            suite_for(suite, bytes.fromhex(operator.dh_base), bytes.fromhex(operator.dh_modulus))
        except ParametersRejected as rejection:
            yield f"operator[{index}].dh_modulus: {rejection}"
    for index, supplier in enumerate(config.suppliers):
        for number, service in enumerate(supplier.services):
            try:
                suite_for(supplier.suite, bytes.fromhex(service.dh_base), bytes.fromhex(service.dh_modulus))
            except ParametersRejected as rejection:
                yield f"supplier[{index}].service[{number}].dh_modulus: {rejection}"


def _check_groups(config: FleetConfig) -> Iterator[str]:
    for index, group in enumerate(config.handsets):
        place = f"handsets[{index}]"
        yield from _repeated(((f"{place}.services", name) for name in group.services), "the service")
        for name in group.services:
            offer = config.offers.get(name)
            if offer and offer.supplier.operator != group.operator:
                yield (
                    f"{place}.services: {name!r} is offered through operator {offer.supplier.operator!r},"
                    f" and these handsets belong to {group.operator!r}"
                )
        if group.cells > group.count:
            yield f"{place}.cells: {group.count} handsets cannot fill {group.cells} cells"
        yield from _check_memory(config, place, group)


def _check_memory(config: FleetConfig, place: str, group: Handsets) -> Iterator[str]:
    if group.memory % PAGE:
        yield f"{place}.memory: must be a multiple of {PAGE} octets, not {group.memory}"
        return
    try:
        memory = blank_memory(group.memory, group.resources, profile_table(config, group).profile())
    except ValueError:
        yield f"{place}.resources: {group.resources} leave no room for any in {group.memory} octets of memory"
        return
    zone = memory.size - memory.zone_start
    for services in holdings(config, group):
        needed = sum(service.code + service.data for service in services)
        names = ", ".join(service.name for service in services)
        if needed > zone:
            yield (
                f"{place}.memory: {group.memory} octets leave {zone} for resources,"
                f" and {needed} are needed for {names}"
            )
        if len(services) > memory.slots:
            count = len(services)
            yield f"{place}.resources: {memory.slots} is less than the {count} that a module has at once"
        if needed > zone or len(services) > memory.slots:
            return
