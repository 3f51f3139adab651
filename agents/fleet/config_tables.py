"""The tables of a config file: their keys, and the types and bounds of their values.

The names of keys are the person's; ``config_errors`` puts into words what pydantic says of a wrong one.
"""

from __future__ import annotations

from datetime import date  # noqa: TC003 -- pydantic reads the annotations when it runs
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator

from agents.fleet.addresses import MAX_HANDSETS
from agents.fleet.expectations import Expect  # noqa: TC001 -- pydantic reads the annotations when it runs
from agents.handset.security_module.memory import MAX_SIZE, MIN_SIZE
from agents.handset.security_module.rights import RIGHTS
from transport.security.suites import SUITES
from transport.toolkit import MAX_TEXT

MAX_INPUT: Final = MAX_TEXT // 2
"""Octets of an input: the subscriber types it as hexadecimal digits."""
MAX_RESERVED: Final = 4 << 20


def _suite(name: str) -> str:
    if name not in SUITES:
        raise ValueError(f"unknown suite {name!r} (known: {', '.join(sorted(SUITES))})")
    return name


def _rights(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in RIGHTS:
            raise ValueError(f"unknown right {name!r} (known: {', '.join(sorted(RIGHTS))})")
    if len(set(names)) != len(names):
        raise ValueError("a right is named twice")
    return names


Text = Annotated[str, Field(strict=True, min_length=1, max_length=255)]
# No dots: the fleet makes names of its own from these with them, such as city.1 for a cell.
Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]
FleetName = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9-]{1,32}$")]
Digits = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9]{3,20}$")]
SuiteName = Annotated[str, Field(strict=True), AfterValidator(_suite)]
Rights = Annotated[tuple[str, ...], AfterValidator(_rights)]
Count = Annotated[int, Field(strict=True, ge=1, le=MAX_HANDSETS)]
Octets = Annotated[int, Field(strict=True, ge=1, le=MAX_RESERVED)]
Memory = Annotated[int, Field(strict=True, ge=MIN_SIZE, le=MAX_SIZE)]


class Verb(StrEnum):
    """What a step does; DESIGN's names for the exchanges."""

    PERSONALISE = "personalise"
    AGREE = "agree"
    SUBSCRIBE = "subscribe"
    RESERVE = "reserve"
    ACTIVATE = "activate"
    SERVE = "serve"
    INVOKE = "invoke"
    BLOCK = "block"
    UNBLOCK = "unblock"
    RELEASE = "release"


class By(StrEnum):
    """Who invokes an application: the subscriber at the handset, or its supplier over the air."""

    USER = "user"
    SUPPLIER = "supplier"


class Backend(StrEnum):
    """What a supplier's server knows about the application it gives out."""

    ACCOUNT = "account"
    LOYALTY = "loyalty"
    NONE = "none"


class Table(BaseModel):
    """A table of the file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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


class SmsTable(Table):
    """``[air.sms]``."""

    report_timeout_s: Annotated[float, Field(strict=True, gt=0, le=3600)] = 30.0
    """How long a part waits for its delivery report before it is sent again."""
    attempts: Annotated[int, Field(strict=True, ge=1, le=100)] = 4


class AirTable(Table):
    """``[air.*]``: the bearers."""

    sms: SmsTable = SmsTable()


class Authority(Named):
    """``[[authority]]``: keeps the registry of modules and vouches for the other roles."""

    suite: SuiteName


class Operator(Named):
    """``[[operator]]``: alone reserves, blocks and releases."""

    number: Digits
    authority: Name
    suite: SuiteName


class Service(Named):
    """``[[supplier.service]]``: an application and the resource it needs; sizes in octets."""

    application: Text
    backend: Backend
    code: Octets
    data: Octets
    rights: Rights = ()
    expires: Annotated[date, Field(strict=True)] | None = None
    executions: Annotated[int, Field(strict=True, ge=1, lt=1 << 31)] | None = None


class Supplier(Named):
    """``[[supplier]]``: alone exploits the resources it was given; ``suite`` is also that of its sessions."""

    number: Digits
    operator: Name
    suite: SuiteName
    services: Annotated[tuple[Service, ...], Field(alias="service", min_length=1)]


class Handsets(Named):
    """``[[handsets]]``: a group of subscribers that are alike."""

    count: Count
    operator: Name
    suite: SuiteName
    memory: Memory
    services: tuple[Name, ...] = ()
    cells: Count = 1
    """Handsets of a cell share one connection to the broker."""


class Step(Table):
    """``[[step]]``: one exchange with each of its targets, and what is expected of it."""

    do: Verb
    handsets: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    service: Name | None = None
    by: By = By.SUPPLIER
    input: Annotated[str, Field(strict=True)] = ""
    """Hexadecimal; ``{step}`` stands for the step's number as eight hexadecimal digits."""
    expect: Expect | None = None

    @field_validator("input")
    @classmethod
    def _is_hexadecimal(cls, text: str) -> str:
        if len(_octets(text, 1)) > MAX_INPUT:
            raise ValueError(f"must not be longer than {MAX_INPUT} octets")
        return text

    def input_octets(self, number: int) -> bytes:
        """Return the input as octets; *number* is the step's, counted from 1."""
        return _octets(self.input, number)


def _octets(text: str, number: int) -> bytes:
    try:
        return bytes.fromhex(text.replace("{step}", f"{number:08X}"))
    except ValueError:
        raise ValueError(
            "must be hexadecimal digits, two for each octet, and may have {step} in it"
        ) from None
