"""Reasons in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.fleet.expectations import Result
from agents.fleet.reasons import WORDS, in_words
from transport.secured_packet.status import ResponseStatus

ROOT = Path(__file__).parents[2]


def test_each_reason_with_words_is_one_that_somebody_gives() -> None:
    """Words for a code that no rule has any more would be dead."""
    own = ROOT / "agents" / "fleet" / "reasons.py"
    paths = [
        path for room in ("agents", "bus", "transport") for path in (ROOT / room).rglob("*.py") if path != own
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    statuses = {status.reason for status in ResponseStatus}
    given = {reason for reason in WORDS if f'"{reason}"' in text} | statuses | {"other-output"}
    assert set(WORDS) - given == set()
    assert len(WORDS) >= 30


def test_words_are_clauses() -> None:
    """They go on after a colon, and end without a stop."""
    for words in WORDS.values():
        assert words[0].islower()
        assert words[-1].isalnum()


@pytest.mark.parametrize(
    ("result", "reason", "words"),
    [
        (Result.REFUSED, "blocked", "the operator has blocked the resource"),
        (Result.REFUSED, "subscription-released", "the subscription is released in the operator's books"),
        (Result.REFUSED, "subscription-none", "the operator has no such subscription"),
        (Result.REFUSED, "invoke-when-reserved", "a resource that is reserved takes no invoke"),
        (Result.REFUSED, "of-a-kind-to-come", "of-a-kind-to-come"),
        (Result.OK, "", "it went well, and was not expected to"),
        (Result.REFUSED, "", "a party said no, and not why"),
        (Result.FAILED, "", "nobody tells why"),
    ],
)
def test_what_a_reason_means(result: Result, reason: str, words: str) -> None:
    """A code has words of its own, or those of its kind; an unknown one stands for itself."""
    assert in_words(result, reason) == words
