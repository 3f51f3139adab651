"""The types of values in a config: what a key may say, and in which words it is refused."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Final, Literal, cast

from pydantic import AfterValidator, Field, PlainValidator, StringConstraints

from agents.fleet.addresses import MAX_HANDSETS
from agents.handset.security_module.memory import MAX_SIZE, MIN_SIZE
from agents.handset.security_module.rights import RIGHTS
from agents.link_ways import LINKS
from agents.messages.bearers import BEARERS, BIP_TCP
from transport.security.keyset import PROTECTIONS
from transport.security.suites import SUITES
from transport.security.terms import AGREEMENT_FORMS, FORM_NUMBERS, MAX_DH_OCTETS

MAX_RESERVED: Final = 4 << 20
MAX_SECONDS: Final = 31_536_000.0
MAX_SPEED: Final = 100_000
MAX_SPAN_S: Final = 3_153_600_000
"""A hundred years: more than any resource lives, and than any handset is wrong by."""
ALIASES: Final = MappingProxyType({"bip": BIP_TCP})
"""Other names of bearers that a config may use."""


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


def _bearer(name: str) -> str:
    name = ALIASES.get(name, name)
    if name not in BEARERS:
        raise ValueError(f"unknown bearer {name!r} (known: {', '.join(sorted({*BEARERS, *ALIASES}))})")
    return name


def _protection(name: str) -> str:
    if name not in PROTECTIONS:
        raise ValueError(f"unknown protection {name!r} (known: {', '.join(PROTECTIONS)})")
    return name


def _speed(value: object) -> float | Literal["max"]:
    if value == "max":
        return "max"
    if type(value) in (int, float) and 0 < cast("float", value) <= MAX_SPEED:
        return float(cast("float", value))
    raise ValueError(f'must be "max", or a number above 0 and at most {MAX_SPEED}, not {value!r}')


def _form(name: str) -> str:
    if name not in FORM_NUMBERS:
        raise ValueError(f"unknown form {name!r} (known: {', '.join(sorted(FORM_NUMBERS))})")
    return name


def _session_form(name: str) -> str:
    if name not in AGREEMENT_FORMS:
        raise ValueError(f"unknown form {name!r} (known: {', '.join(sorted(AGREEMENT_FORMS))})")
    return name


def _link(name: str) -> str:
    if name not in LINKS:
        raise ValueError(f"unknown link {name!r} (known: {', '.join(LINKS)})")
    return name


def _dh_number(text: str) -> str:
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        raise ValueError("must be hexadecimal, two digits an octet") from None
    if len(octets) > MAX_DH_OCTETS:
        raise ValueError(f"must not be longer than {MAX_DH_OCTETS} octets")
    return text


Text = Annotated[str, Field(strict=True, min_length=1, max_length=255)]
# No dots: the fleet makes names of its own from these with them, such as city.1 for a cell.
Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]
FleetName = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9-]{1,32}$")]
Digits = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9]{3,20}$")]
SuiteName = Annotated[str, Field(strict=True), AfterValidator(_suite)]
BearerName = Annotated[str, Field(strict=True), AfterValidator(_bearer)]
ProtectionName = Annotated[str, Field(strict=True), AfterValidator(_protection)]
FormName = Annotated[str, Field(strict=True), AfterValidator(_form)]
SessionFormName = Annotated[str, Field(strict=True), AfterValidator(_session_form)]
LinkName = Annotated[str, Field(strict=True), AfterValidator(_link)]
DhNumber = Annotated[str, Field(strict=True), AfterValidator(_dh_number)]
Share = Annotated[float, Field(strict=True, ge=0, lt=1)]
Delay = Annotated[float, Field(strict=True, ge=0, le=3600)]
Rate = Annotated[float, Field(strict=True, gt=0, le=1e9)] | None
Rights = Annotated[tuple[str, ...], AfterValidator(_rights)]
Count = Annotated[int, Field(strict=True, ge=1, le=MAX_HANDSETS)]
Octets = Annotated[int, Field(strict=True, ge=1, le=MAX_RESERVED)]
Percent = Annotated[int, Field(strict=True, ge=1, le=100)]
Span = Annotated[int, Field(strict=True, ge=1, le=MAX_SPAN_S)]
Executions = Annotated[int, Field(strict=True, ge=1, lt=1 << 31)]
Memory = Annotated[int, Field(strict=True, ge=MIN_SIZE, le=MAX_SIZE)]
Speed = Annotated[float | Literal["max"], PlainValidator(_speed)]
