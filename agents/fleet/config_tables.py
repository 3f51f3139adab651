"""The tables of a config file: their keys, and the types and bounds of their values.

They say who is there; what they then do, ``[[step]]``, is in ``config_steps``. The names of keys are the
person's; ``config_errors`` puts into words what pydantic says of a wrong one.
"""

from __future__ import annotations

from datetime import date  # noqa: TC003 -- pydantic reads the annotations when it runs
from enum import StrEnum
from ipaddress import IPv4Address  # noqa: TC003 -- likewise
from typing import Annotated, Self

from pydantic import (
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from agents.fleet.config_air import Table
from agents.fleet.config_types import (
    MAX_SECONDS,
    BearerName,
    Count,
    DhNumber,
    Digits,
    Executions,
    FleetName,
    FormName,
    LinkName,
    Memory,
    Name,
    Octets,
    ProtectionName,
    Rights,
    SessionFormName,
    Span,
    SuiteName,
    Text,
)
from agents.handset.security_module.life_cycle import AtEnd
from agents.handset.security_module.memory import DEFAULT_RESOURCES, MAX_DEFINITIONS
from agents.handset.terminal import TerminalKind
from agents.link_ways import SEALED
from agents.messages.bearers import SMS
from transport.security.keyset import DEFAULT_PROTECTION
from transport.security.terms import AGREE_THEN_SIGN


class Certifier(StrEnum):
    """Who vouches for a supplier: the operator, whom the authority vouches for, or the authority itself."""

    OPERATOR = "operator"
    AUTHORITY = "authority"


class KeyMaker(StrEnum):
    """Who makes a module's key pairs: the module itself, or the authority, which has them injected."""

    MODULE = "module"
    AUTHORITY = "authority"


class OperatorKey(StrEnum):
    """How a module gets its operator's public key: at its personalisation, or later by a certificate."""

    PERSONALISED = "personalised"
    CERTIFICATE = "certificate"


class Backend(StrEnum):
    """What a supplier's server knows about the application it gives out."""

    ACCOUNT = "account"
    LOYALTY = "loyalty"
    OTP = "otp"
    NONE = "none"


class Scope(StrEnum):
    """Whom a service is for: each module by itself, or all modules of a domain alike (a global service)."""

    MODULE = "module"
    GLOBAL = "global"


class Fec(StrEnum):
    """How a broadcast makes up for pages that are lost, beside repeating them."""

    NONE = "none"
    RAPTORQ = "raptorq"


class Custody(StrEnum):
    """Who makes the domain key of a global service."""

    SUPPLIER = "supplier"
    OPERATOR = "operator"


class Named(Table):
    """A table whose entries others refer to by name."""

    name: Name


class FleetTable(Table):
    """``[fleet]``."""

    name: FleetName
    seed: Annotated[int, Field(strict=True, ge=0, lt=1 << 63)] | None = None
    """Makes keys and nonces repeatable, for tests; without it they come from the system's randomness."""
    state: Text | None = None
    """The state directory, relative to the current directory; by default ``state/<name>``."""


class BrokerTable(Table):
    """``[broker]``: ``auto`` starts one, a URL finds one."""

    url: Annotated[str, StringConstraints(strict=True, pattern=r"^(auto|mqtts?://[^/\s]+/?)$")] = "auto"
    port: Annotated[int, Field(strict=True, ge=1, le=65535)] | None = None
    username: Text | None = None
    password: Text | None = Field(default=None, repr=False)
    password_env: Text | None = None
    ca_file: Text | None = None
    certificate_file: Text | None = None
    key_file: Text | None = None


class Authority(Named):
    """``[[authority]]``: keeps the registry of modules and vouches for the other roles."""

    suite: SuiteName
    key_file: Text | None = None
    """Private keys of its own PKI, PKCS#8 in PEM: the signing key, and behind it a sealing key or none."""
    key_password_env: Text | None = None
    """The environment variable that holds the file's passphrase."""
    certificates: Annotated[bool, Field(strict=True)] = True
    """Whether it vouches by certificates; else roles and modules are known by bare public keys."""
    link: LinkName = SEALED
    """How it and its factory speak: see ``Operator.link``."""


class Operator(Named):
    """``[[operator]]``: alone reserves, blocks and releases."""

    number: Digits
    authority: Name | None = None
    """Whose certificates it goes by; without one it is its own authority."""
    suite: SuiteName
    key_file: Text | None = None
    """See ``Authority``."""
    key_password_env: Text | None = None
    link: LinkName = SEALED
    """How it speaks with its authority, its allocator and its suppliers, and they with it: ``sealed``, or in
    sessions that are made in one of the forms."""
    operator_session: Annotated[bool, Field(strict=True)] = False
    """Whether commands to modules travel under a keyset, which operator and module agree on."""
    session_form: SessionFormName | None = None
    """The form of that secure connection; by default agree-then-sign."""
    dh_base: DhNumber = ""
    """Its Diffie-Hellman base b, for a suite that has one, in hexadecimal; empty: RFC 7919's."""
    dh_modulus: DhNumber = ""

    @model_validator(mode="after")
    def _has_a_session_for_its_keys(self) -> Self:
        for key in ("session_form", "dh_base", "dh_modulus"):
            if getattr(self, key) and not self.operator_session:
                raise ValueError(f"{key}: is of no use without 'operator_session = true'")
        if bool(self.dh_base) != bool(self.dh_modulus):
            raise ValueError("dh_base: b and M (dh_modulus) come together or not at all")
        return self


class Allocator(Named):
    """``[[allocator]]``: commands modules in an operator's place, with a key of its own."""

    number: Digits
    operator: Name
    suite: SuiteName
    key_file: Text | None = None
    """See ``Authority``."""
    key_password_env: Text | None = None


class Service(Named):
    """``[[supplier.service]]``: an application and the resource it needs; sizes in octets."""

    application: Text
    backend: Backend
    code: Octets
    data: Octets
    rights: Rights = ()
    expires: Annotated[date, Field(strict=True)] | None = None
    lifetime_s: Span | None = None
    """From each reservation to its end, in place of ``expires``; simulated seconds."""
    executions: Executions | None = None
    at_end: AtEnd = AtEnd.DEACTIVATE
    """What expiry and exhaustion do: deactivate the resource, so that it can be renewed, or delete it."""
    bearers: Annotated[tuple[BearerName, ...], Field(min_length=1, max_length=3)] = (SMS,)
    """How supplier and module reach each other, the first choice first."""
    protection: ProtectionName = DEFAULT_PROTECTION
    """Of the packets of a session; ``des`` and ``3des-…`` are legacy, and off unless they stand here."""
    forms: Annotated[tuple[FormName, ...], Field(min_length=1, max_length=4)] = (AGREE_THEN_SIGN,)
    """The forms of secure connection that are allowed, the first choice first."""
    dh_base: DhNumber = ""
    """The Diffie-Hellman base b of a suite that has one, in hexadecimal; empty: RFC 7919's."""
    dh_modulus: DhNumber = ""
    scope: Scope = Scope.MODULE
    """``global``: one logic name and one domain key for all modules that hold it."""
    logic_name: Name | None = None
    """What all modules know a global service by; by default its name."""
    custody: Custody = Custody.SUPPLIER
    """Who makes a global service's domain key."""
    fec: Fec = Fec.NONE
    """The forward error correction of a global service's broadcasts."""

    @property
    def domain(self) -> str:
        """The logic name of a global service; empty for another."""
        return (self.logic_name or self.name) if self.scope is Scope.GLOBAL else ""

    @field_validator("forms")
    @classmethod
    def _no_form_twice(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("names a form twice")
        return names

    @model_validator(mode="after")
    def _has_both_parameters(self) -> Self:
        if bool(self.dh_base) != bool(self.dh_modulus):
            raise ValueError("dh_base: b and M (dh_modulus) come together or not at all")
        return self

    @model_validator(mode="after")
    def _has_one_end(self) -> Self:
        if self.expires is not None and self.lifetime_s is not None:
            raise ValueError("lifetime_s: give this or 'expires', not both")
        return self

    @field_validator("bearers")
    @classmethod
    def _no_bearer_twice(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("a bearer is named twice")
        return names


class Supplier(Named):
    """``[[supplier]]``: alone exploits the resources it was given; ``suite`` is also that of its sessions."""

    number: Digits
    operator: Name
    suite: SuiteName
    key_file: Text | None = None
    """See ``Authority``."""
    key_password_env: Text | None = None
    certified_by: Certifier = Certifier.OPERATOR
    """Who issues its certificate."""
    address: IPv4Address | None = None
    """Of its server on the packet network; by default one of those kept for documentation (RFC 5737)."""
    services: Annotated[tuple[Service, ...], Field(alias="service", min_length=1)]


class Handsets(Named):
    """``[[handsets]]``: a group of subscribers that are alike."""

    count: Count
    operator: Name
    suite: SuiteName
    memory: Memory
    resources: Annotated[int, Field(strict=True, ge=1, le=MAX_DEFINITIONS)] = DEFAULT_RESOURCES
    """How many resources a module can have at once: the records that its DEF has room for."""
    profile: Name | None = None
    """What the modules can do; by default the standard profile."""
    services: tuple[Name, ...] = ()
    keys: KeyMaker = KeyMaker.MODULE
    operator_key: OperatorKey = OperatorKey.PERSONALISED
    terminal: TerminalKind = TerminalKind.FULL
    """What kind of handset they are: what it tells its module that it can do."""
    cells: Count = 1
    """Handsets of a cell share one connection to the broker."""
    on_s: Annotated[float, Field(strict=True, gt=0, le=MAX_SECONDS)] = 3600.0
    """How long a handset stays on, about, before it goes off; only with ``off_s``."""
    off_s: Annotated[float, Field(strict=True, ge=0, le=MAX_SECONDS)] = 0.0
    """How long it stays off, about; 0: it never goes off."""

    @property
    def cell_names(self) -> tuple[str, ...]:
        """The names of the group's cells."""
        return tuple(f"{self.name}.{number}" for number in range(1, self.cells + 1))
