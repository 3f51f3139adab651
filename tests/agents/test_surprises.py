"""Surprises: which outcomes nobody expected, and which of them are explained first."""

from __future__ import annotations

from typing import Any

import pytest

from agents.fleet.expectations import Expect, Outcome, Outcomes, Quantity, Result
from agents.fleet.surprises import MOST_EXAMPLES, MOST_SURPRISES, surprises

OK, REFUSED, FAILED = Result.OK, Result.REFUSED, Result.FAILED


def ended(*groups: tuple[int, Result, str], loaded: int | None = None, output: bytes = b"") -> Outcomes:
    """Return a step's outcomes: so many of each result, for that reason."""
    made = [
        Outcome(ua=f"{result}-{reason}-{index}", service="", result=result, reason=reason, output=output)
        for count, result, reason in groups
        for index in range(count)
    ]
    return Outcomes(number=1, do="invoke", outcomes=made, loaded=loaded)


@pytest.mark.parametrize(
    ("expect", "outcomes", "found"),
    [
        ({"ok": "all"}, ended((9, OK, ""), (1, REFUSED, "blocked")), [(REFUSED, "blocked", 1)]),
        ({"refused": "all"}, ended((3, OK, ""), (2, REFUSED, "blocked")), [(OK, "", 3)]),
        ({"ok": "none"}, ended((3, OK, ""), (2, FAILED, "no-link")), [(OK, "", 3)]),
        ({"failed": "< 2"}, ended((3, OK, ""), (2, FAILED, "no-link")), [(FAILED, "no-link", 2)]),
        (
            {"ok": 3, "refused": 1},
            ended((2, OK, ""), (1, REFUSED, "expired"), (1, FAILED, "no-link")),
            [(FAILED, "no-link", 1)],
        ),
        (
            {"refused": 3, "reason": "blocked"},
            ended((2, REFUSED, "blocked"), (1, REFUSED, "expired")),
            [(REFUSED, "expired", 1)],
        ),
        ({"ok": 2, "output": "01"}, ended((2, OK, ""), output=b"\x02"), [(OK, "other-output", 2)]),
        (
            {"loaded": "all"},
            ended((2, OK, ""), (1, FAILED, "not-heard"), loaded=2),
            [(FAILED, "not-heard", 1)],
        ),
        ({"ok": "all"}, ended((9, OK, "")), []),
        ({"loaded": "all"}, ended((9, OK, ""), loaded=8), []),
    ],
    ids=[
        *("others-in-place", "went-well", "too-many", "more-than", "only-the-short"),
        *("another-reason", "another-output", "not-loaded", "as-expected", "nobody-to-blame"),
    ],
)
def test_what_nobody_expected(
    expect: dict[str, Any], outcomes: Outcomes, found: list[tuple[Result, str, int]]
) -> None:
    """An outcome is a surprise if there are too many of it, if it stands for another, or differs itself."""
    made = surprises(Expect.model_validate(expect), outcomes)
    assert [(each.result, each.reason, each.count) for each in made] == found


def test_the_commonest_and_those_first_that_tell_more() -> None:
    """Three at most are explained: a refusal for a reason, then failures, then silence."""
    groups = (
        *((1, REFUSED, "expired"), (30, FAILED, "no-answer"), (2, FAILED, "no-report")),
        *((4, REFUSED, "blocked"), (1, FAILED, "no-link")),
    )
    made = surprises(Expect.model_validate({"ok": "all"}), ended(*groups))
    assert len(made) == MOST_SURPRISES
    assert [(each.reason, each.is_silence) for each in made] == [
        ("blocked", False),
        ("no-report", False),
        ("no-answer", True),
    ]


def test_examples_are_few_and_of_this_launch() -> None:
    """What an earlier launch ended has no trace any more: it is an example where there is no other."""
    old = [Outcome(ua=f"old{index}", service="", result=FAILED) for index in range(2 * MOST_EXAMPLES)]
    new = Outcome(ua="new", service="", result=FAILED, traces=(b"\x01" * 16,))
    outcomes = Outcomes(number=1, do="serve", outcomes=[*old, new])
    (surprise,) = surprises(Expect.model_validate({"ok": "all"}), outcomes)
    assert (surprise.count, len(surprise.examples), surprise.examples[0].ua) == (11, MOST_EXAMPLES, "new")


@pytest.mark.parametrize(
    ("text", "count", "allowed"),
    [
        ("all", 10, True),
        ("none", 1, False),
        ("3", 3, True),
        ("3", 4, False),
        ("3", 2, True),
        ("<= 30 %", 4, False),
        ("< 3", 3, False),
        (">= 3", 10, True),
        ("> 3", 0, True),
    ],
)
def test_too_many(text: str, count: int, *, allowed: bool) -> None:
    """A quantity allows what is not too many of ten, also where it is too few."""
    assert Quantity.parse(text).allows(count, 10) is allowed
