"""Keys over time: the whole of ``configs/keys.toml``, killed in the middle of a roll, and what it leaves."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.handset.security_module.core import Identity
from agents.handset.security_module.memory import Record
from agents.messages.codec import decode
from tests.scenarios.kit import CONFIGS, ends, fleet_of, images, log_events, logs, play, rows, spellings
from tests.scenarios.processes import killed
from transport.security.certificates import Certificate
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from pathlib import Path

    from agents.fleet.report import Report

KEYS: Final = CONFIGS / "keys.toml"
STEPS: Final = len(fleet_of(KEYS).steps)
UNKNOWN: Final = 5
"""The step in which some modules do not know their operator's key yet."""
FIRST_ROLL: Final = 10
LAST_ROLL: Final = 15


def write(directory: Path, *edits: tuple[str, str]) -> Path:
    """Write the config into *directory*, with state beside it; each edit replaces what must be there."""
    shutil.copytree(CONFIGS / "apps", directory / "apps")
    text = KEYS.read_text()
    for old, new in (("seed = 2026", f'seed = 2026\nstate = "{directory / "state"}"'), *edits):
        assert old in text, "the edit replaces nothing"
        text = text.replace(old, new)
    path = directory / "keys.toml"
    path.write_text(text)
    return path


def identities(state: Path) -> dict[str, Identity]:
    """Return who each module is, and by whose key it goes."""
    return {
        ua: decode(memory.get_record(Record.IDENTITY) or b"", Identity)
        for ua, memory in images(state).items()
    }


def books(state: Path) -> dict[str, tuple[Any, ...]]:
    """Return what the operator's books say of each module's key, and of what it was told."""
    return {row["ua"]: (row["generation"], row["memory"]) for row in rows(state, "mno", "modules")}


def own_keys(state: Path) -> dict[str, dict[str, Any]]:
    """Return the operator's own keys by what they are called."""
    return {row["purpose"]: row for row in rows(state, "mno", "own_keys")}


def check(report: Report, state: Path) -> None:
    """Expect that every step came to what it says, and that everybody goes by the last key there is."""
    assert report.missed == ()
    failed = {step.number: step.failed for step in report.steps if step.failed}
    assert failed == {UNKNOWN: 3}
    keys = own_keys(state)
    assert set(keys) == {"signing", "sealing", f"signing.{LAST_ROLL}"}
    newest = keys[f"signing.{LAST_ROLL}"]
    public = SUITES[newest["suite"]].load_signing_key(newest["private_key"]).public
    assert {generation for generation, _ in books(state).values()} == {LAST_ROLL}
    assert {identity.operator_public for identity in identities(state).values()} == {public}
    assert rows(state, "mno", "commands") == []
    assert rows(state, "root", "made_keys") == []


@pytest.fixture(scope="module", name="played")
def _played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the state directory of the one undisturbed run, whose report was as expected."""
    directory = tmp_path_factory.mktemp("keys")
    config = write(directory)
    check(play(config, log_level="debug"), directory / "state")
    return directory / "state"


def test_serials_rise_with_the_keys(played: Path) -> None:
    """The operator has a certificate for each key that somebody was introduced by, each later than before."""
    certificates = [
        Certificate.parse(row["octets"])
        for row in sorted(rows(played, "root", "certificates"), key=lambda row: row["serial"])
        if row["subject"] == "mno"
    ]
    assert len({each.signing_public for each in certificates}) == len(certificates) == 2
    enrolled, later = certificates
    serials = {identity.operator_serial for identity in identities(played).values()}
    assert serials == {enrolled.serial, later.serial}


def test_private_keys_are_where_they_belong(played: Path) -> None:
    """A module's are in its own memory; the operator's in its store; and nothing of them is in a log."""
    secrets = [
        key
        for identity in identities(played).values()
        for key in (identity.private, identity.sealing_private)
    ]
    for database in played.glob("*.db*"):
        if not database.name.startswith("modules.db"):
            octets = database.read_bytes()
            assert [key for key in secrets if key in octets] == [], database.name
    secrets += [row["private_key"] for row in own_keys(played).values()]
    for log in logs(played):
        octets = log.read_bytes()
        assert not any(spelling in octets for key in secrets for spelling in spellings(key))


def test_each_announcement_is_heard_under_the_key_that_is_known(played: Path) -> None:
    """The first one under two keys, of which each module knows one; the second under the last key alone."""
    said = [event for event in log_events(played) if event["event"] == "announcement.broadcast"]
    assert len(said) == 3
    refused = [
        event
        for event in log_events(played)
        if event["event"] == "packet.refused" and event.get("reason") == "signature"
    ]
    assert len(refused) == 6


@pytest.mark.skipif(sys.platform != "linux", reason="kills itself as only a process can")
@pytest.mark.parametrize(
    ("step", "moment", "count"),
    [(FIRST_ROLL, "publish", 8), (LAST_ROLL, "changed", 17)],
    ids=["before-an-answer", "after-a-key"],
)
def test_killed_in_the_middle_of_a_roll(
    step: int, moment: str, count: int, tmp_path: Path, played: Path
) -> None:
    """Launched again, the operator goes on with the key that it made, and comes to the same end."""
    config, state = write(tmp_path), tmp_path / "state"
    killed(config, moment, count, step)
    made = own_keys(state)[f"signing.{step}"]
    report = play(config)
    assert report.resumed
    check(report, state)
    assert own_keys(state).get(f"signing.{step}", made) == made
    assert ends(state) == ends(played)


def test_rolls_and_introductions_under_keysets(tmp_path: Path) -> None:
    """Sessions are made with the key that the module has by then, also in a market without certificates."""
    number, root = 'number = "15550100"', 'name = "root"'
    config = write(
        tmp_path,
        (number, f"{number}\noperator_session = true"),
        (root, f"{root}\ncertificates = false"),
    )
    check(play(config), tmp_path / "state")
