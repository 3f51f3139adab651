"""A domain key is rolled over by broadcast, and who is left out is left out: ``configs/domain-roll.toml``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from agents.fleet.config import Verb
from agents.handset.security_module.definitions import DefinitionTable
from tests.scenarios.kit import CONFIGS, fleet_of, images, log_events, modules, play, rows
from tests.scenarios.processes import killed
from transport.security.domain_key import DomainKey

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = CONFIGS / "domain-roll.toml"
FLEET = fleet_of(CONFIG)
ROLLS = [index for index, step in enumerate(FLEET.steps, 1) if step.do is Verb.ROLL_DOMAIN_KEY]
ONE_ROLL = '\n[[step]]\ndo = "roll-domain-key"\nservice = "points"\nexpect = { ok = "all" }\n'


def write(directory: Path, *, before: str = "") -> Path:
    """Write the config with its state in *directory*; with *before* a roll-over alone, before that step."""
    text = CONFIG.read_text(encoding="utf-8")
    state = ('name = "domain-roll"', f'name = "domain-roll"\nstate = "{directory}/state"')
    changes = [('"apps/', f'"{CONFIGS}/apps/'), state]
    if before:
        changes += [("loss = 0.2", "loss = 0.0"), ("repetitions = 8", "repetitions = 1")]
        text = text[: text.index(before)] + ONE_ROLL
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = directory / "domain-roll.toml"
    path.write_text(text)
    return path


def keys(state: Path) -> set[DomainKey]:
    """Return the domain keys that modules hold, whatever versions they came with."""
    found = (each.domain_key for memory in images(state).values() for each in DefinitionTable(memory).all())
    return {DomainKey.load(octets) for octets in found}


def newest(state: Path) -> DomainKey:
    """Return the domain key that the supplier goes by."""
    (service,) = rows(state, "shop", "services")
    return DomainKey.load(service["domain_key"])


def test_a_domain_key_is_rolled_over(tmp_path: Path) -> None:
    """Twice by broadcast, for those that are to remain; in the end all are in the domain, on one version."""
    report = play(write(tmp_path))
    assert report.missed == ()
    state = tmp_path / "state"
    assert {(key.generation, key.secret) for key in keys(state)} == {(3, newest(state).secret)}
    held = [one for module in modules(state).values() for one in module["definitions"]]
    assert {one["version"] for one in held} == {2}
    town, away, lost, unpaid = (group.count for group in FLEET.handsets)
    events = log_events(state)
    rolled = [event for event in events if event["event"] == "domain_key.rolled"]
    assert [(one["modules"], one["left_out"], one["served_later"]) for one in rolled] == [
        (town + away, lost, 0),
        (FLEET.handset_count, 0, 0),
    ]
    served = [event for event in events if event["event"] == "domain_key.renewed"]
    assert len(served) == away + lost + unpaid
    assert len([event for event in events if event["event"] == "domain_key.broadcast"]) == len(ROLLS)


@pytest.mark.skipif(sys.platform != "linux", reason="kills itself as only a process can")
@pytest.mark.parametrize(("moment", "count"), [("changed", 1), ("published", 40)], ids=["made", "on-the-air"])
def test_killed_in_a_roll_over(moment: str, count: int, tmp_path: Path) -> None:
    """Launched again it comes to its end with one key; who has it by then has that proven, and tells."""
    path = write(tmp_path, before="\n[[step]]                           # 6")
    step = next(
        number for number, each in enumerate(fleet_of(path).steps, 1) if each.do is Verb.ROLL_DOMAIN_KEY
    )
    killed(path, moment, count, step)
    state = tmp_path / "state"
    made = newest(state)
    assert made.generation == 2
    assert (made.secret in {key.secret for key in keys(state)}) is (moment == "published")
    assert play(path).missed == ()
    assert newest(state) == made
    assert {(key.generation, key.secret) for key in keys(state)} == {(2, made.secret)}
