"""The list of events is closed: the code logs what stands there, and nothing there goes unlogged."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bus.vocabulary import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
SAYS: Final = frozenset({"debug", "info", "warning", "error", "exception", "critical", "note"})
NO_EVENTS: Final = frozenset({"progress", "self._progress"})
"""What has a method of such a name and is no log."""


def _modules() -> Iterator[ast.Module]:
    for room in ("agents", "bus"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if path.name != "vocabulary.py":
                yield ast.parse(path.read_text("utf-8"))


def _said() -> Iterator[ast.expr]:
    """Yield the first argument of each call that logs, or leaves a note that a handset will log."""
    for module in _modules():
        for node in ast.walk(module):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                continue
            whose = ast.unparse(node.func.value)
            is_log = node.func.attr == "note" or "log" in whose.lower()
            if node.func.attr in SAYS and is_log and whose not in NO_EVENTS:
                yield node.args[0]


def _spelt() -> set[str]:
    """Return every string of the code that could be an event."""
    return {
        node.value
        for module in _modules()
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
    """Each event that the code spells, and one at least for each beginning of a name it puts together."""
    spelt = {said.value for said in _said() if isinstance(said, ast.Constant)}
    assert spelt
    assert spelt - set(EVENTS) == set()
    for prefix in _prefixes():
        assert any(name.startswith(prefix) for name in EVENTS), prefix


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
