"""Campaigns that a step began and did not wait for: who has told of each so far, and when.

The handsets of such a campaign tell under the trace of whatever order its pages go by: that of the step
which began it, of one that waits for its end, or, after a stop, that under which its supplier goes on by
itself. All of these are one audience here, as long as the run lasts. Who told is in the ledger when a run has
ended, so that one that resumes knows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.fleet.audience import Audience
from agents.fleet.config_rollout import broadcast_ended
from agents.fleet.config_steps import Verb
from agents.fleet.expectations import Outcome, Outcomes, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents.fleet.config import FleetConfig
    from agents.fleet.state import Ledger


class Begun:
    """Those of one run of *config*."""

    def __init__(self, config: FleetConfig, ledger: Ledger) -> None:
        self._config = config
        self._ledger = ledger
        self._audiences: dict[int, Audience] = {}
        """By the index of the step that began it."""

    def audience(self, index: int, now: float) -> Audience:
        """Return the audience of the campaign that step *index* begins, or began in an earlier launch."""
        if index not in self._audiences:
            step = self._config.steps[index]
            service = step.service or ""
            known = self._ledger.outcome(index + 1, "", service)
            started = known.started if known else now
            addresses = frozenset(ua for ua, _service in self._config.subscribed(step))
            audience = Audience(addresses=addresses, started=started, stays=True)
            for ua in addresses:
                told = self._ledger.outcome(index + 1, ua, service)
                if told is not None:
                    on_air = None if told.heard_s is None else told.started + told.heard_s
                    audience.hears(ua, told.started + told.told_s, on_air)
            self._audiences[index] = audience
        return self._audiences[index]

    def ended_by(self, index: int, now: float) -> Audience | None:
        """Return the audience of the campaign whose end step *index* waits for, if another step began it."""
        if self._config.steps[index].do is not Verb.FINISH_CAMPAIGN:
            return None
        begun = broadcast_ended(self._config.steps, index)
        assert begun is not None, "a config without is refused"
        return None if self._config.steps[begun].wait else self.audience(begun, now)

    def last(self, service: str, now: float) -> Audience | None:
        """Return the audience of the campaign of *service* that an earlier launch began last, if so."""
        steps = enumerate(self._config.steps)
        broadcasts = [
            at
            for at, step in steps
            if step.do is Verb.BROADCAST and step.service == service and at + 1 in self._ledger.steps
        ]
        index = max(broadcasts, default=None)
        if index is None or self._config.steps[index].wait:
            return None
        return self.audience(index, now)

    async def so_far(self, now: float) -> list[Outcomes]:
        """Return who has told of each campaign that was begun, by the step that began it, and remember it."""
        return [await self._kept(index, now) for index in sorted(self._audiences) if self._is_begun(index)]

    def _is_begun(self, index: int) -> bool:
        known = self._ledger.outcome(index + 1, "", self._config.steps[index].service or "")
        return known is not None and known.result is Result.OK

    async def _kept(self, index: int, now: float) -> Outcomes:
        service, audience = self._config.steps[index].service or "", self._audiences[index]
        outcomes = list(self._outcomes(service, audience, now))
        told = [outcome for outcome in outcomes if outcome.result is Result.OK]
        await self._ledger.keep_all(index + 1, told, started=audience.started)
        return Outcomes(
            number=index + 1,
            do=Verb.BROADCAST.value,
            outcomes=outcomes,
            service=service,
            traces=frozenset(audience.traces),
        )

    @staticmethod
    def _outcomes(service: str, audience: Audience, now: float) -> Iterator[Outcome]:
        for ua in sorted(audience.addresses):
            at = audience.heard.get(ua)
            told_s = (now if at is None else at) - audience.started
            yield Outcome(
                ua=ua,
                service=service,
                result=Result.FAILED if at is None else Result.OK,
                reason="not-heard" if at is None else "",
                latency_s=told_s,
                told_s=told_s,
                heard_s=audience.heard_s(ua),
                started=audience.started,
            )
