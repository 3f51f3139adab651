"""Which pair of roles speaks how, as a config says it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agents.fleet.config import load_config
from agents.fleet.links import link_forms
from agents.link_ways import SEALED, LinkForms
from transport.security.terms import AGREE_THEN_SIGN, KEY_TRANSPORT, SIGN_THEN_AGREE

if TYPE_CHECKING:
    from agents.fleet.config import FleetConfig

CONFIGS = Path(__file__).parents[2] / "configs"


def config(directory: Path, name: str, **links: str) -> FleetConfig:
    """Return a shipped config with a link for each role that is named."""
    shutil.copytree(CONFIGS / "apps", directory / "apps")
    text = (CONFIGS / f"{name}.toml").read_text(encoding="utf-8")
    for role, link in links.items():
        line = f'name = "{role}"\n'
        assert text.count(line) == 1
        text = text.replace(line, f'{line}link = "{link}"\n')
    path = directory / "fleet.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def test_nobody_says_anything(tmp_path: Path) -> None:
    """Without a word of it, everybody seals."""
    forms = link_forms(config(tmp_path, "demo"))
    assert forms.between("mno", "bank") == forms.between("mno", "root") == SEALED


def test_an_operators_links_and_a_factorys(tmp_path: Path) -> None:
    """An operator's word is for its authority and suppliers, an authority's for its factory."""
    forms = link_forms(config(tmp_path, "demo", mno=AGREE_THEN_SIGN, root=KEY_TRANSPORT))
    assert forms.between("mno", "bank") == forms.between("bank", "mno") == AGREE_THEN_SIGN
    assert forms.between("mno", "root") == forms.between("root", "mno") == AGREE_THEN_SIGN
    assert forms.between("root", "personaliser.root") == KEY_TRANSPORT


def test_two_operators(tmp_path: Path) -> None:
    """One operator's word is not the other's."""
    forms = link_forms(config(tmp_path, "two-operators", red=AGREE_THEN_SIGN))
    assert forms.between("red", "root") == AGREE_THEN_SIGN
    assert forms.between("blue", "root") == SEALED


def test_an_allocator_speaks_as_its_operator(tmp_path: Path) -> None:
    """With its operator and with their authority."""
    forms = link_forms(config(tmp_path, "allocator", mvno=SIGN_THEN_AGREE))
    assert forms.between("mvno", "host") == SIGN_THEN_AGREE
    assert forms.between("host", "root") == SIGN_THEN_AGREE


def test_an_operator_that_is_its_own_authority(tmp_path: Path) -> None:
    """Its word is for its own house as well: for its authority and the factory in it."""
    forms = link_forms(config(tmp_path, "own-authority", mno=KEY_TRANSPORT))
    assert forms.between("authority.mno", "personaliser.mno") == KEY_TRANSPORT
    assert forms.between("mno", "authority.mno") == KEY_TRANSPORT


@pytest.mark.parametrize("pair", [("a", "b"), ("b", "a")], ids="-".join)
def test_both_sides_are_told_the_same(pair: tuple[str, str]) -> None:
    """Of two of whom something else is said it is always the same one's word."""
    assert LinkForms(said={"a": AGREE_THEN_SIGN, "b": KEY_TRANSPORT}).between(*pair) == AGREE_THEN_SIGN
