"""The config of the fleet that ``cost`` measures, of the ways to measure and of a person's config."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from agents.fleet.config import load_config
from agents.fleet.config_profile import profile_table
from transport.security.suites import SUITES
from transport.security.terms import DOMAIN_FORMS, FORM_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from agents.fleet.config import FleetConfig
    from agents.fleet.config_air import AirTable, BearerTable
    from agents.fleet.cost_rows import Way

PREPARATION: Final = ("personalise", "agree", "subscribe", "reserve", "activate")
ROUNDS: Final = ("load", "count", "time")
"""What each service is served for by itself, once each."""
_CALM: Final = {"loss": 0.0, "duplication": 0.0, "reordering": 0.0, "spread": 0.0, "outages": ()}
_APPLICATION: Final = """\
(module
  (memory (export "memory") 64 64 (pagesize 1))
  (func (export "personalise") (result i32) (i32.const 0))
  (func (export "invoke") (result i32) (i32.const 0)))
"""
_FLEET: Final = """\
[fleet]
name = "cost"
{seed}
state = {state}

[broker]
url = "auto"

[[authority]]
name = "root"
suite = "x25519"

[[operator]]
name = "mno"
number = "15550100"
authority = "root"
suite = "x25519"

[[profile]]
name = "every"
suites = {suites}
buffer = 16384
calls = 16
"""
_SUPPLIER: Final = """
[[supplier]]
name = "supplier-{suite}"
number = "{number}"
operator = "mno"
suite = "{suite}"
"""
_HANDSETS: Final = """
[[handsets]]
name = "{name}"
count = 1
operator = "mno"
suite = "{suite}"
memory = 131072
profile = "every"
services = {services}
"""
_SERVICE: Final = """
[[supplier.service]]
name = "{name}"
application = "nothing.wat"
backend = "none"
code = 256
data = 64
forms = ["{form}"]
bearers = ["{bearer}"]
"""
_PARAMETERS: Final = 'dh_base = "{dh_base}"\ndh_modulus = "{dh_modulus}"\n'
_GLOBAL: Final = 'scope = "global"\n'
_STEP: Final = '\n[[step]]\ndo = "{do}"\n'


def parameters_of(config: FleetConfig) -> dict[str, tuple[str, str]]:
    """Return b and M by suite: those of *config*'s first service in that suite that has some."""
    found: dict[str, tuple[str, str]] = {}
    for offer in config.offers.values():
        if offer.service.dh_base:
            found.setdefault(offer.supplier.suite, (offer.service.dh_base, offer.service.dh_modulus))
    return found


def suites_of(config: FleetConfig) -> frozenset[str]:
    """Return the suites that any of *config*'s modules can use."""
    return frozenset(
        suite for group in config.handsets for suite in profile_table(config, group).profile().suites
    )


def calm(air: AirTable, speed: float | str) -> AirTable:
    """Return *air* with its delays and rates, at another *speed*, and with nothing in it that is chance."""

    def settled(table: BearerTable) -> BearerTable:
        return table.model_copy(update=_CALM)

    return air.model_copy(update={"speed": speed, "sms": settled(air.sms), "bip": settled(air.bip)})


def step_number(ways: Sequence[Way], way: Way, served_for: str) -> int:
    """Return which step, from 0, serves *way* for that purpose."""
    return len(PREPARATION) + ROUNDS.index(served_for) * len(ways) + ways.index(way)


def make_config(
    directory: Path, ways: Sequence[Way], *, seed: int | None, parameters: Mapping[str, tuple[str, str]]
) -> FleetConfig:
    """Write the config of a fleet that goes all *ways* to *directory*, and return it. Raises ConfigError."""
    (directory / "nothing.wat").write_text(_APPLICATION, encoding="utf-8")
    path = directory / "cost.toml"
    path.write_text("".join(_text(directory, ways, seed, parameters)), encoding="utf-8")
    return load_config(path)


def _text(
    directory: Path, ways: Sequence[Way], seed: int | None, parameters: Mapping[str, tuple[str, str]]
) -> Iterable[str]:
    yield _FLEET.format(
        seed="" if seed is None else f"seed = {seed}",
        state=json.dumps(str(directory / "state")),
        suites=json.dumps(list(SUITES)),
    )
    for number, suite in enumerate(dict.fromkeys(way.suite for way in ways)):
        own = [way for way in ways if way.suite == suite]
        yield _SUPPLIER.format(suite=suite, number=15550200 + number)
        yield from (_service(way, parameters.get(suite)) for way in own)
        for form in dict.fromkeys(way.form for way in own):
            names = json.dumps([way.service for way in own if way.form == form])
            yield _HANDSETS.format(name=f"{suite}-{FORM_NUMBERS[form]}", suite=suite, services=names)
    yield from (_STEP.format(do=do) for do in PREPARATION)
    for _ in ROUNDS:
        yield from (_STEP.format(do="serve") + f'service = "{way.service}"\n' for way in ways)


def _service(way: Way, parameters: tuple[str, str] | None) -> str:
    text = _SERVICE.format(name=way.service, form=way.form, bearer=way.bearer)
    if parameters is not None:
        text += _PARAMETERS.format(dh_base=parameters[0], dh_modulus=parameters[1])
    return text + (_GLOBAL if way.form in DOMAIN_FORMS else "")
