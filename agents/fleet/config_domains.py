"""What can be wrong with a config's global services: their names, their forms, and what they may load.

As in ``config_checks``, a problem is ``key: what is wrong``, and nothing stops at the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents import domains
from agents.backends import BACKENDS
from agents.fleet.config_steps import Verb
from agents.fleet.config_tables import Custody, Fec, Scope
from agents.messages.orders import MAX_NAMED_GROUPS
from transport.diffusion import Scheme, is_available
from transport.security.terms import DOMAIN_ASYMMETRIC, DOMAIN_FORMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents.fleet.config import FleetConfig
    from agents.fleet.config_tables import Service

_GLOBAL_KEYS: Final = ("logic_name", "custody", "fec")
"""The keys that belong to a global service."""


def check_domains(config: FleetConfig) -> Iterator[str]:
    """Yield a problem for everything that is wrong with a service's scope, logic name, custody or forms."""
    for index, supplier in enumerate(config.suppliers):
        for number, service in enumerate(supplier.services):
            place = f"supplier[{index}].service[{number}]"
            yield from _check_service(place, service)
            yield from _check_fec(place, service)
    yield from _check_names(config)
    yield from _check_broadcasts(config)
    yield from _check_rolls(config)


def _check_service(place: str, service: Service) -> Iterator[str]:
    wanted = [form for form in service.forms if form in DOMAIN_FORMS]
    if service.scope is not Scope.GLOBAL:
        for key in _GLOBAL_KEYS:
            if key in service.model_fields_set:
                yield f'{place}.{key}: belongs to a service with scope = "global"'
        if wanted:
            yield f'{place}.forms: {wanted[0]} needs a domain key, which scope = "global" gives a service'
    if not domains.one_kind(service.forms):
        yield f"{place}.forms: {' and '.join(wanted)} want domain keys of two kinds, and a service has one"
    if wanted and BACKENDS[service.backend].is_personal:
        yield (
            f"{place}.backend: {service.backend.value!r} has data for one module alone, and with {wanted[0]}"
            " any module of the domain could ask for it"
        )


def _check_fec(place: str, service: Service) -> Iterator[str]:
    if service.fec is Fec.RAPTORQ and not is_available(Scheme.RAPTORQ):
        yield f"{place}.fec: 'raptorq' needs the package raptorq: pip install 'otafleet[fec]'"


def _check_broadcasts(config: FleetConfig) -> Iterator[str]:
    """Yield a problem for each step that broadcasts what is not global, or what nothing would protect."""
    for index, step in enumerate(config.steps):
        offer = config.offers.get(step.service or "")
        if step.do is not Verb.BROADCAST or offer is None:
            continue
        if len(named := step.handsets or ()) > MAX_NAMED_GROUPS:
            yield (
                f"step[{index}].handsets: names {len(named)} groups, and a broadcast takes {MAX_NAMED_GROUPS}"
                " at most, or all"
            )
        service, place = offer.service, f"step[{index}].service"
        if service.scope is not Scope.GLOBAL:
            yield f'{place}: broadcast loads a service with scope = "global", and {service.name!r} has not'
        elif DOMAIN_ASYMMETRIC in service.forms and service.custody is Custody.OPERATOR:
            yield (
                f"{place}: of {service.name!r} the operator has the domain's pair of keys, and the supplier"
                " its public half, which protects no broadcast"
            )


def _check_rolls(config: FleetConfig) -> Iterator[str]:
    """Yield a problem for each step that rolls over what is no domain key, or not its supplier's."""
    for index, step in enumerate(config.steps):
        offer = config.offers.get(step.service or "")
        if step.do is not Verb.ROLL_DOMAIN_KEY or offer is None:
            continue
        for key in ("handsets", "leave_out"):
            if len(named := getattr(step, key) or ()) > MAX_NAMED_GROUPS:
                yield f"step[{index}].{key}: names {len(named)} groups, and {MAX_NAMED_GROUPS} are the most"
        service, place = offer.service, f"step[{index}].service"
        if service.scope is not Scope.GLOBAL:
            yield f'{place}: {service.name!r} has no domain key, which scope = "global" gives a service'
        elif service.custody is Custody.OPERATOR:
            yield (
                f"{place}: the operator makes the domain key of {service.name!r}, and modules take the next"
                " one by its supplier's signature alone"
            )


def _check_names(config: FleetConfig) -> Iterator[str]:
    """Yield a problem for a logic name that an operator would know two services by."""
    first: dict[tuple[str, str], str] = {}
    for index, supplier in enumerate(config.suppliers):
        for number, service in enumerate(supplier.services):
            place, key = f"supplier[{index}].service[{number}]", (supplier.operator, service.domain)
            if service.domain and key in first:
                yield f"{place}.logic_name: {service.domain!r} is taken by {first[key]}"
            first.setdefault(key, place)
