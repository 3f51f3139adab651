"""A small fleet's config, and what a test of its parts needs around it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from agents.fleet.config import FleetConfig, load_config
from agents.fleet.state import Launch
from agents.fleet.surroundings import Surroundings
from bus.client import Companions
from tests.agents.role_kit import CONSOLE_KEY

if TYPE_CHECKING:
    from tests.agents.role_kit import Kit

APPS: Final = Path(__file__).resolve().parents[2] / "configs" / "apps"
MARKET: Final = """\
[fleet]
name = "{name}"
seed = 7
state = "{state}"

[broker]
url = "{url}"

[[authority]]
name = "root"
suite = "x25519"

[[operator]]
name = "mno"
number = "15550100"
authority = "root"
suite = "x25519"

[[supplier]]
name = "bank"
number = "15550200"
operator = "mno"
suite = "p256"

[[supplier.service]]
name = "account"
application = "{apps}/account.wat"
backend = "account"
code = 1024
data = 256
rights = ["hmac"]
expires = 2031-12-31

[[supplier.service]]
name = "loyalty"
application = "{apps}/loyalty.wat"
backend = "loyalty"
code = 1024
data = 64
executions = 50

[[handsets]]
name = "city"
count = 2
operator = "mno"
suite = "x25519"
memory = 32768
services = ["account", "loyalty"]

[[handsets]]
name = "coast"
count = 1
operator = "mno"
suite = "p256"
memory = 32768
services = ["account"]
"""


def fleet_config(
    directory: Path, steps: str, *, name: str = "small", url: str = "auto", edit: tuple[str, str] = ("", "")
) -> FleetConfig:
    """Return a config of three handsets with these steps; its state is in *directory*.

    *edit* replaces one text in the file by another.
    """
    path = directory / "fleet.toml"
    text = MARKET.format(name=name, state=directory / "state", url=url, apps=APPS) + steps
    assert edit[0] in text
    path.write_text(text.replace(*edit, 1), encoding="utf-8")
    return load_config(path)


def surroundings(kit: Kit, config: FleetConfig) -> Surroundings:
    """Return what the parts of *config*'s fleet share, in the kit's market."""
    return Surroundings(
        config=config,
        launch=Launch(directory=kit.directory, number=kit.run, console_key=CONSOLE_KEY),
        broker=kit.broker,
        companions=Companions(),
        clock=kit.clock,
        ground=kit.clock,
        counters=kit.counters,
        log=kit.log,
        group=kit.group,
    )
