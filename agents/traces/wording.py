"""What a person is told of logs that could not be read as a whole: a sentence for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.traces.places import NOWHERE
from agents.traces.reading import MAX_LINE, End, Flaw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.traces.index import Index

_SKIPPED: Final[Mapping[Flaw, tuple[str, str]]] = {
    Flaw.CORRUPT: ("1 line that is no JSON", "{} lines that are no JSON"),
    Flaw.FOREIGN: ("1 line that is no event of a fleet", "{} lines that are no events of a fleet"),
    Flaw.LONG: (f"1 line of more than {MAX_LINE:,} octets", f"{{}} lines of more than {MAX_LINE:,} octets"),
}
_UNWRITTEN: Final = ("1 line was never written", "{} lines were never written")
_ENDS: Final[Mapping[str, str]] = {
    End.HALF: "the last line is only half there",
    End.CUT: "it is cut off, and was read as far as it goes",
    End.DAMAGED: "it is damaged, and was read as far as it goes",
}


def of_logs(index: Index) -> list[str]:
    """Return a sentence for each log that was not read as a whole."""
    sentences = []
    for log in index.known():
        flaws = [_counted(words, log.flaws[flaw]) for flaw, words in _SKIPPED.items() if log.flaws.get(flaw)]
        parts = [f"skipped {_joined(flaws)}"] if flaws else []
        if unwritten := log.flaws.get(Flaw.UNWRITTEN):
            parts.append(f"{_counted(_UNWRITTEN, unwritten)}, for the disk was too slow")
        if log.ending in _ENDS:
            parts.append(_ENDS[log.ending])
        if parts:
            sentences.append(f"{log.name}: {'; '.join(parts)}")
    return sentences + [f"{name}: cannot be read: {why}" for name, why in index.unreadable.items()]


def no_index(place: str, why: str) -> str:
    """Return what is said where the index could not be kept at *place*."""
    where = place if place != NOWHERE else "a temporary file"
    return f"{where}: cannot keep an index of the logs there ({why}); they are read anew each time"


def _counted(words: tuple[str, str], count: int) -> str:
    return words[0] if count == 1 else words[1].format(f"{count:,}")


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
