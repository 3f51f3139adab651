"""Published octets, as data files with the source of each."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any


def load(name: str) -> dict[str, list[dict[str, Any]]]:
    """Return the tables of the vector file *name*."""
    return tomllib.loads((Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8"))
