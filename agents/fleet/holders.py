"""Which modules hold which version of which service, step by step, as handsets and suppliers told.

It goes by outcomes alone, and those are in the ledger: who resumes knows what an earlier launch did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.fleet.config_rollout import broadcast_ended
from agents.fleet.config_steps import Verb
from agents.fleet.config_updates import FIRST, version_of
from agents.fleet.expectations import Result
from agents.rollout import CUT_SHORT

if TYPE_CHECKING:
    from agents.fleet.config import FleetConfig
    from agents.fleet.expectations import Outcomes

BROADCASTS: Final = frozenset({Verb.BROADCAST.value, Verb.FINISH_CAMPAIGN.value})
SERVED: Final = frozenset({Verb.SERVE.value, Verb.PULL.value})
"""The steps after which a module holds the newest version, however much of it was there."""


def broadcast_of(config: FleetConfig, ended: Outcomes) -> int | None:
    """Return the index of the broadcast that *ended* is the end of, None for a step that is none's.

    A broadcast that its supplier refused to begin is none; one that is not waited for ends with the step
    that sees it to its end.
    """
    if ended.do not in BROADCASTS:
        return None
    refused = {outcome.reason for outcome in ended.of(Result.REFUSED)}
    if ended.count(Result.REFUSED) == len(ended.outcomes) and not refused <= CUT_SHORT:
        return None
    return broadcast_ended(config.steps, ended.number - 1)


class Holders:
    """Of one run of *config*."""

    def __init__(self, config: FleetConfig) -> None:
        self._config = config
        self._newest: dict[str, int] = {}
        self._of: dict[tuple[str, int], set[str]] = {}

    def newest(self, service: str) -> int:
        """Return the version of *service* that whoever is served gets: the first one before any broadcast."""
        return self._newest.get(service, FIRST)

    def of(self, service: str, version: int) -> set[str]:
        """Return the addresses of those that hold *version*; the set grows and shrinks with the run."""
        return self._of.setdefault((service, version), set())

    def after(self, ended: Outcomes) -> None:
        """Learn from a step that has ended."""
        begun = broadcast_of(self._config, ended)
        if begun is not None:
            self._broadcast(ended, begun)
        elif ended.do == Verb.BROADCAST and ended.count(Result.OK):
            self._begins(ended)
        elif ended.do in SERVED:
            for outcome in ended.of(Result.OK):
                self.of(outcome.service, self.newest(outcome.service)).add(outcome.ua)
        elif ended.do == Verb.RELEASE:
            self._released(ended)

    def brought(self, ended: Outcomes) -> int | None:
        """Return how many of a step's targets hold what it brings, None for a step that brings nothing."""
        begun = broadcast_of(self._config, ended)
        if begun is not None:
            version = version_of(self._config, begun)
        elif ended.do == Verb.PULL:
            version = self.newest(ended.service)
        else:
            return None
        return sum(outcome.ua in self.of(outcome.service, version) for outcome in ended.outcomes)

    def _broadcast(self, ended: Outcomes, begun: int) -> None:
        """Learn who told that it came; a version that did not pass its trial is served to nobody."""
        version = version_of(self._config, begun)
        cut_short = CUT_SHORT.intersection(outcome.reason for outcome in ended.of(Result.REFUSED))
        if not (self._config.steps[begun].is_trial and cut_short):
            self._newest[ended.service] = version
        self.of(ended.service, version).update(outcome.ua for outcome in ended.of(Result.OK))

    def _begins(self, ended: Outcomes) -> None:
        """Learn that a campaign is on the air that nobody waits for: unless it is on trial, it is served."""
        if not self._config.steps[ended.number - 1].is_trial:
            self._newest[ended.service] = version_of(self._config, ended.number - 1)

    def _released(self, ended: Outcomes) -> None:
        for outcome in ended.of(Result.OK):
            for (service, _), holders in self._of.items():
                if service == outcome.service:
                    holders.discard(outcome.ua)
