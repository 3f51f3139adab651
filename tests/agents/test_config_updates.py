"""Versions that steps broadcast: which each is, and what is said of them before anything is sent."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

import pytest

from agents.errors import ConfigError
from agents.fleet.config import FleetConfig, load_config
from agents.fleet.config_updates import updates_of, version_of
from tests.agents.fleet_kit import APPS
from tests.agents.role_kit import programme
from transport.diffusion import MAX_PROGRAMME, MAX_VERSION, DataPart

if TYPE_CHECKING:
    from pathlib import Path

MARKET: Final = """
[fleet]
name = "updates"

[[operator]]
name = "mno"
number = "15550100"
suite = "x25519"

[[supplier]]
name = "shop"
number = "15550300"
operator = "mno"
suite = "p256"

[[supplier.service]]
name = "points"
application = "loyalty.wat"
backend = "loyalty"
code = 1024
data = 64
scope = "global"

[[supplier.service]]
name = "local"
application = "loyalty.wat"
backend = "loyalty"
code = 1024
data = 64

[[profile]]
name = "tiny"
programme = 600

[[handsets]]
name = "town"
count = 3
operator = "mno"
suite = "x25519"
memory = 262144
services = ["points", "local"]

[[handsets]]
name = "old"
count = 1
operator = "mno"
suite = "x25519"
memory = 262144
profile = "tiny"
services = ["points"]
"""
FILES: Final = {
    "loyalty2.wat": (APPS / "loyalty2.wat").read_bytes(),
    # A custom section of 100, 600 and 66,000 octets behind the programme.
    "longer.wasm": programme("loyalty") + bytes.fromhex("0064") + bytes(100),
    "long.wasm": programme("loyalty") + bytes.fromhex("00d804") + bytes(600),
    "vast.wasm": programme("loyalty") + bytes.fromhex("00d08304") + bytes(66_000),
    "curious.wat": b'(module (import "otafleet" "time" (func (result i64))) '
    b'(memory (export "memory") 64 64 (pagesize 1)) (func (export "personalise") (result i32) (i32.const 0)) '
    b'(func (export "invoke") (result i32) (i32.const 0)))',
}


def _step(do: str = "broadcast", **keys: str) -> str:
    lines = "".join(f"{key} = {value}\n" for key, value in ({"service": '"points"'} | keys).items())
    return f'\n[[step]]\ndo = "{do}"\n{lines}'


def _load(directory: Path, *steps: str, old: str = "", new: str = "") -> FleetConfig:
    shutil.copy(APPS / "loyalty.wat", directory)
    for name, octets in FILES.items():
        (directory / name).write_bytes(octets)
    path = directory / "fleet.toml"
    path.write_text(MARKET.replace(old, new) + "".join(steps))
    return load_config(path)


def _problems(directory: Path, *steps: str, old: str = "", new: str = "") -> list[str]:
    try:
        _load(directory, *steps, old=old, new=new)
    except ConfigError as error:
        return [sentence.partition("fleet.toml: ")[2] for sentence in error.sentences]
    return []


LONG: Final = len(FILES["longer.wasm"])
TOO_LONG: Final = (
    f"step[0].application: longer.wasm has {LONG} octets, and the modules of 'old' take 600 (programme)"
)
CURIOUS: Final = (
    "step[0].application: curious.wat would be refused: it imports otafleet.time, which takes the right"
    " 'time', and that is not granted"
)
SECOND: Final = {"application": '"loyalty2.wat"', "handsets": '["town"]'}
LONGER: Final = {"application": '"longer.wasm"', "handsets": '["town"]'}
REFUSED: Final = {"expect": '{ refused = "all" }'}
UNHEARD: Final = {"expect": "{ ok = 3, failed = 1 }"}


def test_versions_count_up(tmp_path: Path) -> None:
    """The service's own is 1, another programme the next one, and whoever says a version has that."""
    steps = (
        _step(),
        _step(**SECOND),
        _step(**SECOND, version="2"),
        _step(**LONGER, data_part='"reset"', version="7"),
        _step(**SECOND),
        _step(version="9"),
    )
    config = _load(tmp_path, *steps)
    assert [version_of(config, index) for index in range(len(steps))] == [1, 2, 2, 7, 8, 9]
    known = [(update.number, update.data_part) for update in updates_of(config, "points")]
    assert known == [(2, DataPart.KEEP), (7, DataPart.RESET), (8, DataPart.KEEP), (9, DataPart.KEEP)]
    assert updates_of(config, "points")[-1].code == config.programme("points").code
    assert updates_of(config, "local") == ()


def test_a_step_digest_has_the_programme(tmp_path: Path) -> None:
    """Other octets, another version or another fate of the data are another step; another place is not."""
    shutil.copy(APPS / "loyalty2.wat", tmp_path / "moved.wat")
    ways = (
        _step(**SECOND),
        _step(application='"moved.wat"', handsets='["town"]'),
        _step(**LONGER),
        _step(**SECOND, version="3"),
        _step(**SECOND, data_part='"reset"'),
    )
    first, moved, *others = [_load(tmp_path, way).step_digest(0) for way in ways]
    assert first == moved
    assert len({first, *others}) == 4


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (
            (_step(**SECOND), _step()),
            "step[1].do: version 1 of 'points' is not newer than 2, which is there by then",
        ),
        (
            (_step(**SECOND, version="5"), _step(**SECOND, version="4")),
            "step[1].version: version 4 of 'points' is not newer than 5, which is there by then",
        ),
        (
            (_step(version=str(MAX_VERSION)), _step(**SECOND)),
            "step[1].do: version 4294967296 of 'points' is beyond 4294967295, after which none comes",
        ),
        (
            (_step(**SECOND), _step(**LONGER, version="2")),
            "step[1].version: version 2 of 'points' is another programme or data_part elsewhere",
        ),
        (
            (_step(data_part='"reset"'),),
            "step[0].do: version 1 of 'points' is another programme or data_part elsewhere",
        ),
        ((_step(**SECOND, version="1"),), "step[0].version: must be more than 1, not 1"),
        (
            (_step(application='"long.wasm"', handsets='["town"]'),),
            f"step[0].application: long.wasm has {len(FILES['long.wasm'])} octets and does not fit in 1024",
        ),
        (
            (_step(application='"longer.wasm"'),),
            TOO_LONG,
        ),
        (
            (_step(application='"curious.wat"'),),
            CURIOUS,
        ),
        (
            (_step(application='"none.wat"'),),
            "step[0].application: cannot read none.wat: no such file or directory",
        ),
        (
            (_step("pull", service='"local"'),),
            "step[0].service: pull is of a service with scope = \"global\", and 'local' has not",
        ),
        (
            (_step("roll-domain-key", service='"local"'),),
            "step[0].service: 'local' has no domain key, which scope = \"global\" gives a service",
        ),
        (
            (_step("roll-domain-key", leave_out='["moon"]'),),
            "step[0].leave_out: there is no group 'moon' (known: old, town)",
        ),
        (
            (_step("roll-domain-key", leave_out=str(["town"] * 33).replace("'", '"')),),
            "step[0].leave_out: names 33 groups, and 32 are the most",
        ),
    ],
    ids=[
        "back-to-the-first",
        "back-by-number",
        "beyond-the-last",
        "two-programmes",
        "two-fates-of-the-data",
        "no-version",
        "larger-than-reserved",
        "larger-than-a-profile-takes",
        "without-the-right",
        "no-file",
        "pull-of-a-local-service",
        "key-of-a-local-service",
        "nobody-left-out",
        "too-many-left-out",
    ],
)
def test_what_is_said_before_sending(steps: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    """One sentence, which names the step and what is wrong."""
    assert _problems(tmp_path, *steps) == [sentence]


def test_an_operators_domain_key_is_not_its_suppliers_to_roll_over(tmp_path: Path) -> None:
    """The modules take the next one by the supplier's signature, who does not make it here."""
    custody = ('scope = "global"\n', 'scope = "global"\ncustody = "operator"\n')
    sentence = (
        "step[0].service: the operator makes the domain key of 'points', and modules take the next one by its"
        " supplier's signature alone"
    )
    assert _problems(tmp_path, _step("roll-domain-key"), old=custody[0], new=custody[1]) == [sentence]
    assert _problems(tmp_path, _step("roll-domain-key", handsets='["town"]', leave_out='["old"]')) == []


def test_more_than_a_campaign_carries(tmp_path: Path) -> None:
    """A service's own programme, or another: 64 KiB is the most of a broadcast."""
    room = {"old": "code = 1024", "new": "code = 90000"}
    vast = len(FILES["vast.wasm"])
    steps = _step(application='"vast.wasm"', handsets='["town"]'), _step(handsets='["town"]', version="3")
    assert vast > MAX_PROGRAMME
    words = f"step[0].application: vast.wasm has {vast} octets, and a broadcast carries {MAX_PROGRAMME}"
    assert words in _problems(tmp_path, *steps, **room)


def test_refusals_and_silence_may_be_shown(tmp_path: Path) -> None:
    """Whoever expects a version to be refused, or handsets not to hear, may have it tried."""
    assert _problems(tmp_path, _step(**SECOND), _step(**REFUSED)) == []
    assert _problems(tmp_path, _step(application='"longer.wasm"', **UNHEARD)) == []
