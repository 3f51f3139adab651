"""The list of events is closed: the code logs what stands there, and nothing there goes unlogged."""

from __future__ import annotations

import ast
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from agents.messages.air import OPERATOR_COMMANDS
from bus.vocabulary import EVENTS
from transport.diffusion.collector import Collected, Wanted
from transport.diffusion.collector import Event as CampaignEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
SAYS: Final = frozenset({"debug", "info", "warning", "error", "exception", "critical", "note"})
NO_EVENTS: Final = frozenset({"progress", "self._progress"})
"""What has a method of such a name and is no log."""


COMPOSED: Final = {
    "diffusion.": {
        kind.__name__.lower() for kind in get_args(CampaignEvent) if kind not in {Collected, Wanted}
    },
    "manager.": {command.__name__.lower() for command in OPERATOR_COMMANDS},
}
"""By what a name begins with that is put together: how it goes on, where a type says so."""


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for room in ("agents", "bus"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if path.name != "vocabulary.py":
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                yield name.removesuffix(".__init__"), ast.parse(path.read_text("utf-8"))


@cache
def _said() -> tuple[ast.expr, ...]:
    """Return the first argument of each call that logs, or leaves a note that a handset will log.

    One that is named at the top of a module, or of another, is its value.
    """
    said: list[ast.expr] = []
    for name, module in _modules():
        for node in ast.walk(module):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                continue
            whose = ast.unparse(node.func.value)
            is_log = node.func.attr == "note" or "log" in whose.lower()
            if node.func.attr in SAYS and is_log and whose not in NO_EVENTS:
                first = node.args[0]
                named = getattr(import_module(name), first.id, None) if isinstance(first, ast.Name) else None
                said.append(ast.Constant(named) if isinstance(named, str) else first)
    return tuple(said)


def _spelt() -> set[str]:
    """Return every string of the code that could be an event."""
    return {
        node.value
        for _, module in _modules()
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in EVENTS
    }


def _prefixes() -> set[str]:
    """Return what names begin with that are put together."""
    return {
        str(said.values[0].value)
        for said in _said()
        if isinstance(said, ast.JoinedStr) and isinstance(said.values[0], ast.Constant)
    }


def test_what_is_logged_stands_in_the_list() -> None:
    """Each event that the code spells or puts together; where nothing says of what, one for its beginning."""
    spelt = {said.value for said in _said() if isinstance(said, ast.Constant)}
    assert spelt
    assert spelt - set(EVENTS) == set()
    for prefix in _prefixes():
        assert any(name.startswith(prefix) for name in EVENTS), prefix
    assert {f"{prefix}{rest}" for prefix, rests in COMPOSED.items() for rest in rests} - set(EVENTS) == set()


def test_what_stands_in_the_list_is_logged() -> None:
    """No event stands there that no line of the code spells or puts together."""
    composed = tuple(_prefixes())
    written_by_hand = {"log.lost"}
    missing = set(EVENTS) - _spelt() - written_by_hand
    assert {name for name in missing if not name.startswith(composed)} == set()


def test_each_event_has_a_sentence() -> None:
    """A name of two words, and what it says."""
    for name, sentence in EVENTS.items():
        assert name == "library" or name.count(".") == 1
        assert sentence
