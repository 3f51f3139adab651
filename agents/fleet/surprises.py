"""What a step came to that nobody expected, and which of that says the most about why.

An expectation counts; it does not say which target is to blame. Unexpected is an outcome of a result that
there is too much of, or that the config does not mention while another falls short; a refusal for another
reason; an answer other than the expected one. What many targets came to alike is one surprise; the commonest
of a step are explained, each by one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agents.fleet.expectations import Result
from agents.fleet.reasons import OTHER_OUTPUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.fleet.expectations import Expect, Outcome, Outcomes

MOST_SURPRISES: Final = 3
"""Of a step that are explained."""
MOST_EXAMPLES: Final = 5
"""Targets of a surprise whose transactions are looked at, to find the one that tells the most."""
SILENCES: Final = frozenset({"", "no-answer", "not-heard"})
"""What is said where nobody said anything: such a transaction tells less than one that was refused."""

_TELLS: Final[Mapping[tuple[Result, bool], int]] = {
    (Result.REFUSED, False): 0,
    (Result.FAILED, False): 1,
    (Result.OK, False): 2,
    (Result.OK, True): 2,
    (Result.FAILED, True): 3,
    (Result.REFUSED, True): 3,
}
"""By result, and whether it is a silence: what is explained first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surprise:
    """What some targets of a step came to alike."""

    result: Result
    reason: str
    count: int
    examples: tuple[Outcome, ...]
    """Some of them; those that this launch gave orders about, if there are any."""

    @property
    def is_silence(self) -> bool:
        """Whether nobody said why."""
        return self.reason in SILENCES


def surprises(expect: Expect, ended: Outcomes) -> list[Surprise]:
    """Return the commonest surprises among what *ended*, those first that tell more."""
    unwanted = _unwanted(expect, ended)
    alike: dict[tuple[Result, str], list[Outcome]] = {}
    for outcome in ended.outcomes:
        if outcome.result in unwanted or _is_otherwise(expect, outcome):
            alike.setdefault((outcome.result, _reason(expect, outcome)), []).append(outcome)
    found = [
        Surprise(result=result, reason=reason, count=len(outcomes), examples=_examples(outcomes))
        for (result, reason), outcomes in alike.items()
    ]
    commonest = sorted(found, key=lambda each: -each.count)[:MOST_SURPRISES]
    return sorted(commonest, key=lambda each: _TELLS[each.result, each.is_silence])


def _unwanted(expect: Expect, ended: Outcomes) -> frozenset[Result]:
    """Return the results that there are too many of, or that others have while one is short of some."""
    total = len(ended.outcomes)
    asked = {result: quantity for result in Result if (quantity := expect.quantity(result)) is not None}
    many = {result for result, quantity in asked.items() if not quantity.allows(ended.count(result), total)}
    held = {result for result, quantity in asked.items() if quantity.holds(ended.count(result), total)}
    if set(asked) - many - held:
        many |= set(Result) - set(asked)
    if (
        expect.loaded is not None
        and ended.loaded is not None
        and not expect.loaded.holds(ended.loaded, total)
    ):
        many |= {Result.REFUSED, Result.FAILED} - held
    return frozenset(many)


def _is_otherwise(expect: Expect, outcome: Outcome) -> bool:
    """Whether a target ended in an expected result, but not as expected."""
    if outcome.result is Result.REFUSED:
        return expect.reason is not None and outcome.reason != expect.reason
    return _has_other_output(expect, outcome)


def _has_other_output(expect: Expect, outcome: Outcome) -> bool:
    is_run = outcome.result is Result.OK and expect.output is not None
    return is_run and outcome.output != bytes.fromhex(expect.output or "")


def _reason(expect: Expect, outcome: Outcome) -> str:
    return OTHER_OUTPUT if _has_other_output(expect, outcome) else outcome.reason


def _examples(outcomes: list[Outcome]) -> tuple[Outcome, ...]:
    return tuple(sorted(outcomes, key=lambda each: not each.traces)[:MOST_EXAMPLES])
