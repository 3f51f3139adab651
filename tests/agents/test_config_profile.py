"""Profiles in a config: what they say, what each module then has, and what cannot be right about them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from agents.errors import ConfigError
from agents.fleet.config import load_config
from agents.fleet.config_profile import profile_table
from agents.handset.security_module.profile import STANDARD
from agents.handset.security_module.rights import rights_mask

CONFIGS = Path(__file__).parents[2] / "configs"
DEMO = (CONFIGS / "demo.toml").read_text(encoding="utf-8")
GROUP = 'name = "both"'


def _written(directory: Path, profile: str, *, group: str = 'profile = "small"', text: str = DEMO) -> Path:
    """Return the demo with a profile, which its third group names."""
    shutil.copytree(CONFIGS / "apps", directory / "apps")
    assert GROUP in text
    path = directory / "fleet.toml"
    path.write_text("\n".join((text.replace(GROUP, GROUP + "\n" + group), profile, "")), encoding="utf-8")
    return path


def _sentences(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return [sentence.removeprefix(f"{path}: ") for sentence in caught.value.sentences]


def test_a_group_has_its_profile_and_the_others_the_standard_one(tmp_path: Path) -> None:
    """What a profile does not say is as in the standard one."""
    profile = '[[profile]]\nname = "small"\nrights = ["hmac"]\nsessions = 1\nbuffer = 4096'
    config = load_config(_written(tmp_path, profile))
    small, *_ = (profile_table(config, group).profile() for group in reversed(config.handsets))
    assert (small.rights, small.sessions, small.buffer) == (rights_mask({"hmac"}), 1, 4096)
    assert (small.suites, small.fuel, small.key) == (STANDARD.suites, STANDARD.fuel, STANDARD.key)
    assert profile_table(config, config.handsets[0]).profile() == STANDARD


def test_another_profile_is_another_fleet(tmp_path: Path) -> None:
    """State that was made under one profile is not gone on with under another; one nobody has is none's."""
    plain = load_config(CONFIGS / "demo.toml").fingerprints()
    used, unused = tmp_path / "used", tmp_path / "unused"
    profile = '[[profile]]\nname = "small"\nsessions = 1'
    after = load_config(_written(used, profile)).fingerprints()
    assert {name for name in plain if plain[name] != after[name]} == {"handsets"}
    assert load_config(_written(unused, profile, group="")).fingerprints() == plain


@pytest.mark.parametrize(
    ("profile", "sentences"),
    [
        ('name = "smal"', ["handsets[2].profile: there is no profile 'small' (known: smal)"]),
        (
            'name = "small"\n[[profile]]\nname = "small"',
            ["profile[1].name: there is another profile 'small'"],
        ),
        (
            'name = "small"\nsuites = ["p256"]',
            [
                "handsets[2].operator: its modules cannot use suite 'x25519' of their operator",
                "handsets[2].operator: its modules cannot use suite 'x25519' of their operator's authority",
                "handsets[2].services: loyalty needs the suite 'x25519', which its modules lack",
            ],
        ),
        (
            'name = "small"\nrights = []\nprotections = ["aes-256"]',
            [
                "handsets[2].services: account needs the protection 'aes-128', which its modules lack",
                "handsets[2].services: account needs the right 'hmac', which its modules lack",
                "handsets[2].services: loyalty needs the protection 'aes-128', which its modules lack",
            ],
        ),
        ('name = "small"\nsuites = []', ["profile[0].suites: must not be empty"]),
        (
            'name = "small"\nsuites = ["p256", "p256"]',
            ["profile[0].suites: names something twice"],
        ),
        ('name = "small"\nbuffer = 100', ["profile[0].buffer: must be at least 2048, not 100"]),
        ('name = "small"\nsession = 1', ["profile[0].session: unknown key; did you mean 'sessions'?"]),
    ],
    ids=["unknown", "twice", "suite", "means", "none", "same", "small", "mistyped"],
)
def test_what_cannot_be_right_is_said(profile: str, sentences: list[str], tmp_path: Path) -> None:
    """Each sentence names the key, before anything starts."""
    assert _sentences(_written(tmp_path, f"[[profile]]\n{profile}")) == sentences


def test_a_refusal_may_be_played(tmp_path: Path) -> None:
    """Where a step expects that modules refuse what they have no means for, the config is good."""
    reserve = 'do = "reserve"\nexpect = { ok = "all" }'
    assert reserve in DEMO
    text = DEMO.replace(reserve, 'do = "reserve"\nexpect = { refused = 40, reason = "unsupported-right" }')
    profile = '[[profile]]\nname = "small"\nrights = []'
    assert load_config(_written(tmp_path, profile, text=text)).handset_count == 100


def test_that_nobody_refuses_is_no_refusal(tmp_path: Path) -> None:
    """A step that expects no refusals at all is to succeed: what the modules lack is said."""
    reserve = 'do = "reserve"\nexpect = { ok = "all" }'
    text = DEMO.replace(reserve, 'do = "reserve"\nexpect = { refused = 0 }')
    profile = '[[profile]]\nname = "small"\nrights = []'
    lacking = "handsets[2].services: account needs the right 'hmac', which its modules lack"
    assert lacking in _sentences(_written(tmp_path, profile, text=text))
