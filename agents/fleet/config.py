"""A fleet's config: the TOML file as frozen values that refuse to exist when they cannot be run.

``load_config`` is the only way in. It reports everything wrong at once, a sentence each, and reads the
applications as well: what it returns needs no other file of the person's. TOML writes arrays of tables in the
singular (``[[supplier]]``); the values here are named in the plural. The tables are in ``config_tables``
and ``config_steps``.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import Field, PrivateAttr, ValidationError

from agents.applications.programmes import Programme
from agents.errors import ConfigError
from agents.fleet.addresses import MAX_GROUPS, ua_of
from agents.fleet.config_air import AirTable, SmsTable, Table
from agents.fleet.config_checks import check_config, read_programmes, services_of
from agents.fleet.config_errors import sentences_of
from agents.fleet.config_profile import ProfileTable, profile_table
from agents.fleet.config_rollout import broadcast_before
from agents.fleet.config_steps import ABOUT_CAMPAIGNS, ABOUT_MODULES, By, Step, Verb
from agents.fleet.config_tables import (
    Allocator,
    Authority,
    Backend,
    BrokerTable,
    FleetTable,
    Handsets,
    Operator,
    Service,
    Supplier,
)
from agents.fleet.config_updates import steps_with_applications, version_of
from agents.fleet.key_files import FIELDS, public_halves, read_key_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transport.security.private_keys import BroughtKeys

__all__ = [
    "AirTable",
    "Allocator",
    "Authority",
    "Backend",
    "BrokerTable",
    "By",
    "FleetConfig",
    "FleetTable",
    "Handsets",
    "Offer",
    "Operator",
    "Programme",
    "Service",
    "SmsTable",
    "Step",
    "Supplier",
    "Verb",
    "load_config",
]

MAX_CONFIG: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A service with who offers it."""

    supplier: Supplier
    service: Service


class FleetConfig(Table):
    """A whole config that can be run."""

    fleet: FleetTable
    broker: BrokerTable = BrokerTable()
    air: AirTable = AirTable()
    authorities: Annotated[tuple[Authority, ...], Field(alias="authority")] = ()
    operators: Annotated[tuple[Operator, ...], Field(alias="operator", min_length=1)]
    allocators: Annotated[tuple[Allocator, ...], Field(alias="allocator")] = ()
    suppliers: Annotated[tuple[Supplier, ...], Field(alias="supplier")] = ()
    profiles: Annotated[tuple[ProfileTable, ...], Field(alias="profile")] = ()
    handsets: Annotated[tuple[Handsets, ...], Field(min_length=1, max_length=MAX_GROUPS)]
    steps: Annotated[tuple[Step, ...], Field(alias="step")] = ()

    _path: Path = PrivateAttr(default=Path())
    _programmes: dict[str, Programme] = PrivateAttr(default_factory=dict)
    _updates: dict[int, Programme] = PrivateAttr(default_factory=dict)
    _keys: dict[str, BroughtKeys] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any, /) -> None:
        """Remember the file that this came from."""
        self._path = context if isinstance(context, Path) else Path()

    def with_files(
        self, programmes: dict[str, Programme], keys: dict[str, BroughtKeys], updates: dict[int, Programme]
    ) -> Self:
        """Return this config with its files.

        They are the applications by service, what roles bring for keys, by role, and the applications that
        steps broadcast, by their index.
        """
        config = self.model_copy()
        config._programmes = programmes  # noqa: SLF001 -- of the copy, before anybody has it
        config._updates = updates  # noqa: SLF001 -- likewise
        config._keys = keys  # noqa: SLF001 -- likewise
        return config

    @property
    def path(self) -> Path:
        """The config file; files it names are relative to its directory."""
        return self._path

    @property
    def state_directory(self) -> Path:
        """Where the run keeps its registries, the modules' memory and the logs."""
        return Path(self.fleet.state or f"state/{self.fleet.name}")

    @property
    def handset_count(self) -> int:
        """How many handsets all groups have together."""
        return sum(group.count for group in self.handsets)

    @property
    def offers(self) -> dict[str, Offer]:
        """Every service with its supplier, by the service's name, in the order of the file."""
        return {
            service.name: Offer(supplier=supplier, service=service)
            for supplier in self.suppliers
            for service in supplier.services
        }

    def programme(self, service: str) -> Programme:
        """Return the application of *service*, as WebAssembly."""
        return self._programmes[service]

    def broadcast_programme(self, index: int) -> Programme:
        """Return the application that step *index* (from 0) broadcasts: its own, or its service's."""
        return self._updates.get(index) or self._programmes[self.steps[index].service or ""]

    def brought_keys(self, name: str) -> BroughtKeys | None:
        """Return the keys that the role *name* brings from its ``key_file``, if it has one."""
        return self._keys.get(name)

    def handset_addresses(self) -> list[tuple[str, str]]:
        """Return ``(ua, group)`` of every handset, in the order of the file."""
        return [(ua, group.name) for group in self.handsets for ua in self.group_addresses(group.name)]

    def group_addresses(self, name: str) -> list[str]:
        """Return the UAs of a group's handsets."""
        for number, group in enumerate(self.handsets, 1):
            if group.name == name:
                return [ua_of(self.fleet.name, number, index) for index in range(1, group.count + 1)]
        raise ValueError(f"no group {name!r}")

    def cells(self) -> Iterator[tuple[Handsets, str, list[str]]]:
        """Yield every cell: its group, its name, and the UAs of the handsets in it."""
        for group in self.handsets:
            addresses = self.group_addresses(group.name)
            for number, name in enumerate(group.cell_names):
                yield group, name, addresses[number :: group.cells]

    def cells_by_address(self) -> dict[str, str]:
        """Return the name of each handset's cell."""
        return {ua: name for _, name, addresses in self.cells() for ua in addresses}

    def targets(self, step: Step) -> list[tuple[str, str]]:
        """Return ``(ua, service)`` of everything that *step* is about.

        A step that is about modules alone (personalise, announce, audit) has no service: ``(ua, "")``; one
        that is about services alone (agree) or about a campaign has no module: ``("", service)``; who waits
        has neither. Whoever sees a campaign to its end has its broadcast's targets.
        """
        if step.do is Verb.WAIT:
            return [("", "")]
        if step.do is Verb.FINISH_CAMPAIGN:
            index = next(at for at, each in enumerate(self.steps) if each is step)
            begun = broadcast_before(self.steps, index)
            if begun is not None:
                return self.subscribed(self.steps[begun])
        if step.do in ABOUT_CAMPAIGNS or not step.wait:
            return [("", step.service or "")]
        if step.do is Verb.AGREE:
            return [("", name) for name in self.offers if step.service in (None, name)]
        if step.do in ABOUT_MODULES:
            return [(ua, "") for group in self._groups(step) for ua in self.group_addresses(group.name)]
        return self.subscribed(step)

    def subscribed(self, step: Step) -> list[tuple[str, str]]:
        """Return each module of *step*'s groups with each service of its that the step is about."""
        suppliers = {name: offer.supplier.name for name, offer in self.offers.items()}
        return [
            (ua, service)
            for group in self._groups(step)
            for ua in self.group_addresses(group.name)
            for service in group.services
            if step.service in (None, service) and step.supplier in (None, suppliers.get(service))
        ]

    def _groups(self, step: Step) -> list[Handsets]:
        return [group for group in self.handsets if step.handsets is None or group.name in step.handsets]

    def fingerprints(self) -> dict[str, str]:
        """Return a digest of each section that a state directory depends on.

        State made under one value of these cannot be gone on with under another. Broker, air and steps may
        change, and so may the handset around a module; for steps see ``step_digest``.
        """
        applications = {name: self._programmes[name].digest for name in self.offers}
        return {
            "fleet": _digest([self.fleet.name, self.fleet.seed]),
            "authority": _digest([*self._roles(self.authorities)]),
            "operator": _digest([*self._roles(self.operators)]),
            "allocator": _digest([*self._roles(self.allocators)]),
            "supplier": _digest([self._roles(self.suppliers), applications]),
            "handsets": _digest(
                [[_plain(table, "terminal"), _plain(profile_table(self, table))] for table in self.handsets]
            ),
        }

    def _roles(self, tables: tuple[Authority | Operator | Allocator | Supplier, ...]) -> list[Any]:
        # Where a key lies may change, and its passphrase too; the key may not.
        return [*(_plain(table, *FIELDS) for table in tables), *public_halves(self._keys, tables)]

    def step_digest(self, index: int) -> str:
        """Return a digest of what step *index* (from 0) does, whatever is expected of it."""
        step = self.steps[index]
        if index not in self._updates:
            return _digest(_plain(step, "expect"))
        what = [self._updates[index].digest, version_of(self, index)]
        return _digest([_plain(step, "expect", "application"), *what])


def _plain(table: Table, *without: str) -> dict[str, Any]:
    # Where an application lies may change; its octets, which have a digest of their own, may not.
    exclude: Any = dict.fromkeys(without, True)  # as pydantic has it
    if isinstance(table, Supplier):
        exclude |= {"services": {"__all__": {"application"}}}
    return table.model_dump(mode="json", exclude=exclude, exclude_defaults=True)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def load_config(path: Path) -> FleetConfig:
    """Return the config in the file *path*, with its applications.

    Raises ConfigError with a sentence for each thing that is wrong.
    """
    try:
        config = FleetConfig.model_validate(_read(path), context=path)
    except ValidationError as error:
        raise ConfigError(sentences_of(error, FleetConfig, str(path))) from None
    programmes, problems = read_programmes(config)
    keys, faults = read_key_files(config)
    problems += [*faults, *check_config(config, programmes)]
    if problems:
        raise ConfigError(f"{path}: {problem}" for problem in problems)
    by_service = {service.name: programmes[place] for place, service in services_of(config)}
    by_step = {index: programmes[place] for index, place, _name in steps_with_applications(config)}
    return config.with_files(by_service, keys, by_step)


def _read(path: Path) -> dict[str, Any]:
    try:
        octets = path.read_bytes()
        if len(octets) > MAX_CONFIG:
            raise ConfigError([f"{path}: is larger than {MAX_CONFIG} octets; this is no fleet config"])
        return tomllib.loads(octets.decode())
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: is not TOML: {error}"]) from None
