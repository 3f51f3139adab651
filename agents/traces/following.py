"""Looking on while a fleet runs: what is new since one looked last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.traces.lookup import Outcome

if TYPE_CHECKING:
    from agents.traces.archive import Archive
    from agents.traces.lookup import Selection, Transaction
    from agents.traces.reading import Fields

LOOK_S: Final = 0.5
"""How often to look: a fleet writes its log five times a second."""


class Ended:
    """The transactions that have ended, each as soon as nothing more comes of it."""

    def __init__(self, archive: Archive, selection: Selection) -> None:
        self._archive = archive
        self._selection = selection
        self._waiting: dict[str, None] = {}

    def look(self) -> list[Transaction]:
        """Return those that were told to have ended before, and of which no line came since."""
        touched = self._archive.refresh(touched=True)
        quiet = [trace_id for trace_id in self._waiting if trace_id not in touched]
        self._waiting = dict.fromkeys(sorted(touched))
        found = []
        for trace_id in quiet:
            transaction = self._archive.among(self._selection, trace_id)
            if transaction is not None and transaction.outcome is not Outcome.OPEN:
                found.append(transaction)
        return sorted(found, key=lambda each: each.ended)


class Lines:
    """The lines of one transaction, each once."""

    def __init__(self, archive: Archive, trace_id: str) -> None:
        self._archive = archive
        self._trace_id = trace_id
        self._seen: set[tuple[str, int]] = set()

    def look(self) -> list[Fields]:
        """Return the lines that were not there before."""
        touched = self._archive.refresh(touched=True)
        if self._seen and self._trace_id not in touched:
            return []
        placed = self._archive.placed_lines(self._trace_id)
        new = [line for place, line in placed if place not in self._seen]
        self._seen.update(place for place, _ in placed)
        return new
