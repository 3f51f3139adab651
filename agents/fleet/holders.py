"""Which modules hold which version of which service, step by step, as handsets and suppliers told.

It goes by outcomes alone, and those are in the ledger: who resumes knows what an earlier launch did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.fleet.config_tables import Verb
from agents.fleet.config_updates import FIRST
from agents.fleet.expectations import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agents.fleet.expectations import Outcomes


class Holders:
    """Of one run."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._of: dict[tuple[str, int], set[str]] = {}

    def newest(self, service: str) -> int:
        """Return the version of *service* that was broadcast last, the first one if none was."""
        return self._newest.get(service, FIRST)

    def of(self, service: str, version: int) -> set[str]:
        """Return the addresses of those that hold *version*; the set grows and shrinks with the run."""
        return self._of.setdefault((service, version), set())

    def after(self, ended: Outcomes, version: int) -> None:
        """Learn from a step that has ended; *version* is what it broadcast, if it did."""
        learn = _LEARN.get(ended.do)
        if learn is not None:
            learn(self, ended, version)

    def broadcast(self, ended: Outcomes, version: int) -> None:
        """Learn who told that the broadcast brought it; one that its supplier refused brought nothing."""
        if ended.count(Result.REFUSED) < len(ended.outcomes):
            self._newest[ended.service] = version
        self.of(ended.service, version).update(outcome.ua for outcome in ended.of(Result.OK))

    def served(self, ended: Outcomes, _version: int) -> None:
        """Learn who was served, which brings the newest version, however much of it is there."""
        for outcome in ended.of(Result.OK):
            self.of(outcome.service, self.newest(outcome.service)).add(outcome.ua)

    def released(self, ended: Outcomes, _version: int) -> None:
        """Learn whose resource is gone, with what it held."""
        for outcome in ended.of(Result.OK):
            for (service, _), holders in self._of.items():
                if service == outcome.service:
                    holders.discard(outcome.ua)

    def count(self, ended: Outcomes, version: int) -> int:
        """Return how many of a step's targets hold *version*."""
        return sum(outcome.ua in self.of(outcome.service, version) for outcome in ended.outcomes)


_LEARN: Final[Mapping[str, Callable[[Holders, Outcomes, int], None]]] = {
    Verb.BROADCAST: Holders.broadcast,
    Verb.SERVE: Holders.served,
    Verb.PULL: Holders.served,
    Verb.RELEASE: Holders.released,
}
