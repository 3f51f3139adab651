"""The floors keep to themselves: who may import what, read from the sources."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE_ROOM = "agents/handset/security_module"

# What needs an event loop, a clock, a log or randomness of its own; it comes in as an argument or not at all.
IMPURE = frozenset(
    {"asyncio", "aiomqtt", "structlog", "time", "random", "secrets", "logging", "threading", "socket"}
)


def sources(folder: str) -> list[Path]:
    """Return the Python files under *folder*."""
    return sorted((ROOT / folder).rglob("*.py"))


def imports(source: str, package: tuple[str, ...]) -> set[str]:
    """Return the full names of what *source*, a module in *package*, imports, for types only included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            found.add(".".join((*above, *filter(None, [node.module]))))
    return found


def imported_roots(path: Path) -> set[str]:
    """Return the top-level packages that the file *path* imports."""
    package = path.relative_to(ROOT).parts[:-1]
    return {name.split(".")[0] for name in imports(path.read_text(encoding="utf-8"), package)}


def offenders(folder: str, forbidden: frozenset[str]) -> dict[str, set[str]]:
    """Return the files under *folder* that import something *forbidden*, with what they import."""
    found = {str(path.relative_to(ROOT)): imported_roots(path) & forbidden for path in sources(folder)}
    return {name: names for name, names in found.items() if names}


@pytest.mark.parametrize("folder", ["transport", "bus", MODULE_ROOM])
def test_there_is_something_to_walk(folder: str) -> None:
    """Each place that the rules below name exists, so that they cannot hold of nothing."""
    assert len(sources(folder)) > 1


@pytest.mark.parametrize("folder", ["transport", MODULE_ROOM])
def test_sans_io(folder: str) -> None:
    """Transport floor and security module know no event loop, broker, log, clock or chance."""
    assert offenders(folder, IMPURE) == {}


def test_transport_stands_on_nothing() -> None:
    """The transport floor imports neither floor above it."""
    assert offenders("transport", frozenset({"bus", "agents", "tests"})) == {}


def test_bus_stands_on_transport() -> None:
    """The bus imports nothing of the agents."""
    assert offenders("bus", frozenset({"agents", "tests"})) == {}


def test_security_module_is_driven_by_apdus_only() -> None:
    """The security module imports nothing of the bus."""
    assert offenders(MODULE_ROOM, frozenset({"bus", "tests"})) == {}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import asyncio.queues", {"asyncio.queues"}),
        ("def f():\n    from time import monotonic", {"time"}),
        ("if TYPE_CHECKING:\n    import bus.frame as frame", {"bus.frame"}),
        ("from . import status", {"transport.sms"}),
        ("from ..errors import Rejected", {"transport.errors"}),
        ("from transport.errors import Rejected", {"transport.errors"}),
        ("'import random'", set()),
    ],
)
def test_walker(source: str, expected: set[str]) -> None:
    """The walk sees imports in functions, under TYPE_CHECKING and relative ones, and no mere words."""
    assert imports(source, ("transport", "sms")) == expected
