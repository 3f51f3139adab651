"""What strangers can have logged as often as they like is told seldom: at first, then at each doubling.

Who may publish to the broker can have agents throw away what he publishes, thousands of it a second, and a
line for each would fill the disk. So events of :data:`bus.vocabulary.BY_STRANGERS` are counted, by event,
agent and reason: the first :data:`FIRST` are told, then the 32nd, the 64th and so on, each with its number
(``count``). How many there were by the end is told then. The metrics have the exact counts at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST: Final = 16
MAX_KINDS: Final = 4096
"""What is counted apart; reasons and agents are ours, but there may be many handsets."""
OTHERS: Final = "others"
PATIENCE: Final = 65_536
"""Events that are not told before that they came of a message is not told either.

A radio that doubles and delays brings an honest fleet some thousands of them, and each message of a chart has
to have both its ends; a stranger gets some megabytes of log.
"""


class Hushed(NamedTuple):
    """Events of one kind of which the last ones were not told; *number* is how many there were in all."""

    event: str
    agent: str
    reason: str
    number: int


class Floods:
    """Counts of one process."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str], int] = {}
        self._untold = 0

    def count(self, event: str, agent: str, reason: str) -> int:
        """Count one; return how many that makes if it is to be told, else 0."""
        kind = (event, agent, reason)
        if kind not in self._counts and len(self._counts) >= MAX_KINDS:
            kind = (event, OTHERS, OTHERS)
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if _is_told(count):
            return count
        self._untold += 1
        return 0

    @property
    def is_flood(self) -> bool:
        """Whether there are more than any honest fleet has."""
        return self._untold > PATIENCE

    def hushed(self) -> Iterator[Hushed]:
        """Yield each kind of which it was not told how many there were."""
        for (event, agent, reason), count in self._counts.items():
            if not _is_told(count):
                yield Hushed(event, agent, reason, count)


def _is_told(count: int) -> bool:
    return count <= FIRST or not count & (count - 1)
