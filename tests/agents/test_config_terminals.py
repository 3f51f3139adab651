"""What kind of handset a group has, in its config."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from agents.errors import ConfigError
from agents.fleet.config import load_config
from agents.handset.terminal import TerminalKind

CONFIGS = Path(__file__).parents[2] / "configs"
DEMO = (CONFIGS / "demo.toml").read_text(encoding="utf-8")
GROUP = 'name = "city"'
CODE = 'application = "apps/account.wat"'


def written(directory: Path, *, terminal: str = "", bearers: str = "") -> Path:
    """Return the demo with another kind of handset in its first group, and other bearers of its account."""
    shutil.copytree(CONFIGS / "apps", directory / "apps")
    assert GROUP in DEMO
    assert CODE in DEMO
    text = DEMO.replace(GROUP, f"{GROUP}\n{terminal}").replace(CODE, f"{CODE}\n{bearers}")
    path = directory / "fleet.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", TerminalKind, ids=str)
def test_the_handset_around_a_module_may_be_another_one(tmp_path: Path, kind: TerminalKind) -> None:
    """A group has the kind that it names, and the state of a fleet goes on with whichever."""
    config = load_config(written(tmp_path, terminal=f'terminal = "{kind}"'))
    assert [group.terminal for group in config.handsets] == [kind, TerminalKind.FULL, TerminalKind.FULL]
    assert config.fingerprints() == load_config(CONFIGS / "demo.toml").fingerprints()


@pytest.mark.parametrize(
    ("bearers", "problem"),
    [
        ('bearers = ["bip-udp", "sms"]', ""),
        ('bearers = ["sms"]', ""),
        ('bearers = ["bip-tcp"]', "bip-tcp alone"),
        ('bearers = ["bip-tcp", "bip-udp"]', "bip-tcp and bip-udp alone"),
    ],
    ids=["with-sms", "sms", "tcp", "both"],
)
def test_handsets_that_nothing_reaches(tmp_path: Path, bearers: str, problem: str) -> None:
    """Where a service has no bearer but channels, handsets without channels are told to be wrong."""
    path = written(tmp_path, terminal='terminal = "no-bip"', bearers=bearers)
    if not problem:
        assert load_config(path).handsets[0].terminal is TerminalKind.NO_BIP
        return
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.sentences == [
        f"{path}: handsets[0].terminal: 'no-bip' has no channels, and 'account' is offered over {problem}"
    ]
