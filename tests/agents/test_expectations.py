"""Expectations: quantities, and the sentence for each thing that did not hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.fleet.expectations import Expect, Outcome, Outcomes, Quantity, Result, evaluate


def outcomes(
    ok: int = 0, refused: dict[str, int] | None = None, failed: dict[str, int] | None = None
) -> Outcomes:
    """Return the outcomes of step 8, an invoke; refusals and failures by reason."""
    made = [Outcome(ua=f"ok{index}", service="account", result=Result.OK) for index in range(ok)]
    for result, reasons in ((Result.REFUSED, refused), (Result.FAILED, failed)):
        for reason, count in (reasons or {}).items():
            made += [
                Outcome(ua=f"{reason}{index}", service="account", result=result, reason=reason)
                for index in range(count)
            ]
    return Outcomes(number=8, do="invoke", outcomes=made)


@pytest.mark.parametrize(
    ("value", "count", "total", "holds"),
    [
        (40, 40, 60, True),
        (40, 39, 60, False),
        (0, 0, 60, True),
        ("all", 60, 60, True),
        ("all", 59, 60, False),
        ("all", 0, 0, True),
        ("none", 0, 60, True),
        ("none", 1, 60, False),
        ("40", 40, 60, True),
        (">= 99 %", 297, 300, True),
        (">= 99 %", 296, 300, False),
        (">=99%", 300, 300, True),
        ("<= 1 %", 3, 300, True),
        ("<= 1 %", 4, 300, False),
        ("> 99.5 %", 199, 200, False),
        ("> 99.5 %", 200, 200, True),
        ("< 3", 2, 60, True),
        ("< 3", 3, 60, False),
        ("= 50 %", 30, 60, True),
        (">= 5", 4, 4, False),
    ],
)
def test_quantity_holds(value: object, count: int, total: int, *, holds: bool) -> None:
    """A quantity is a number or a share of the targets, exactly, or compared."""
    assert Quantity.parse(value).holds(count, total) is holds


@pytest.mark.parametrize(
    ("value", "wants"),
    [(2, True), ("all", True), (">= 1", True), ("> 0 %", True), (0, False), ("none", False), ("< 3", False)],
)
def test_failures_are_wanted_where_none_would_be_too_few(value: object, *, wants: bool) -> None:
    """A bound from above is no wish, and what is not said is not wanted."""
    expect = Expect.model_validate({"failed": value})
    assert expect.wants(Result.FAILED, 5) is wants
    assert not expect.wants(Result.REFUSED, 5)


@pytest.mark.parametrize(
    "value", [-1, 10**400, True, 1.5, None, "", "most", "101 %", "=> 3", "3 %%", "1e3", "-1"]
)
def test_no_quantity(value: object) -> None:
    """What is no quantity is refused in words, not guessed at."""
    with pytest.raises(ValueError, match="must be a number of targets"):
        Quantity.parse(value)


@given(st.text(), st.integers(0, 10**6), st.integers(0, 10**6))
def test_any_text_is_a_quantity_or_refused(text: str, count: int, total: int) -> None:
    """No text makes anything but a quantity that can be evaluated, or a ValueError."""
    try:
        quantity = Quantity.parse(text)
    except ValueError:
        return
    assert quantity.holds(count, total) in {True, False}
    assert Quantity.parse(quantity) is quantity


CASES = [
    ("nothing expected", None, outcomes(failed={"x": 1}), []),
    ("all ok", {"ok": "all"}, outcomes(ok=60), []),
    (
        "one failed",
        {"refused": 40},
        outcomes(refused={"blocked": 39}, failed={"delivery-failed": 1}),
        ["step 8 invoke: expected 40 refused, got 39 (1 failed: delivery-failed)"],
    ),
    (
        "all of sixty",
        {"ok": "all"},
        outcomes(ok=57, refused={"blocked": 2, "expired": 1}),
        ["step 8 invoke: expected 60 ok, got 57 (3 refused: blocked, expired)"],
    ),
    ("none", {"failed": "none"}, outcomes(failed={"x": 2}), ["step 8 invoke: expected 0 failed, got 2"]),
    (
        "a share",
        {"ok": ">= 99 %"},
        outcomes(ok=8, failed={"": 2}),
        ["step 8 invoke: expected >= 99 % ok, got 8 (2 failed)"],
    ),
    (
        "two counts",
        {"ok": 1, "refused": 1},
        outcomes(),
        ["step 8 invoke: expected 1 ok, got 0", "step 8 invoke: expected 1 refused, got 0"],
    ),
    (
        "the right reason",
        {"refused": "all", "reason": "blocked"},
        outcomes(refused={"blocked": 20}),
        [],
    ),
    (
        "other reasons",
        {"refused": 4, "reason": "blocked"},
        outcomes(refused={"blocked": 1, "no-session": 2, "": 1}),
        ["step 8 invoke: expected every refusal for blocked, got 2 no-session, 1 without a reason"],
    ),
    (
        "many reasons",
        {"ok": 1},
        outcomes(failed={"a": 5, "b": 4, "c": 3, "d": 2}),
        ["step 8 invoke: expected 1 ok, got 0 (14 failed: a, b, c)"],
    ),
]


@pytest.mark.parametrize(
    ("expect", "got", "sentences"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_evaluate(expect: dict[str, object] | None, got: Outcomes, sentences: list[str]) -> None:
    """Each thing that did not hold is one sentence that names the step."""
    assert evaluate(None if expect is None else Expect.model_validate(expect), got) == sentences


def test_what_is_loaded_is_counted_by_itself() -> None:
    """A module that did not tell may hold the version all the same; a step that brings none counts nobody."""
    ended = outcomes(ok=90, failed={"not-heard": 10})
    expect = Expect.model_validate({"loaded": ">= 99 %"})
    assert evaluate(expect, replace(ended, loaded=99)) == []
    assert evaluate(expect, replace(ended, loaded=98)) == [
        "step 8 invoke: expected >= 99 % loaded, got 98 of 100"
    ]
    assert evaluate(Expect.model_validate({"loaded": "all"}), replace(ended, loaded=98)) == [
        "step 8 invoke: expected 100 loaded, got 98 of 100"
    ]


def test_output_is_compared_and_not_shown() -> None:
    """A wrong output is told with the module that gave it, never with the octets it gave."""
    made = [
        Outcome(ua=ua, service="loyalty", result=Result.OK, output=output)
        for ua, output in (("a", b"\x05"), ("b", b"\xfe\xed"), ("c", b""))
    ]
    got = Outcomes(number=9, do="invoke", outcomes=made)
    expect = Expect.model_validate({"ok": 3, "output": "05"})
    (sentence,) = evaluate(expect, got)
    assert sentence == "step 9 invoke: expected output 05 from every ok, 2 of 3 gave another (the first: b)"
    assert "feed" not in sentence + repr(got)
    assert "\\xfe" not in repr(got)
    assert evaluate(expect, Outcomes(number=9, do="invoke", outcomes=made[:1] * 3)) == []


def test_outcomes_are_counted_by_reason() -> None:
    """Reasons come with their number, the commonest first."""
    got = outcomes(ok=3, refused={"blocked": 1, "expired": 2}, failed={"timeout": 4})
    assert [got.count(result) for result in Result] == [3, 3, 4]
    assert list(got.reasons(Result.REFUSED).items()) == [("expired", 2), ("blocked", 1)]
    assert list(got.reasons(Result.REFUSED, Result.FAILED)) == ["timeout", "expired", "blocked"]


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_counts_that_are_true_always_hold(ok: int, refused: int, failed: int) -> None:
    """Expecting exactly what happened leaves nothing to say; one more of anything is one sentence."""
    got = outcomes(ok, {"no": refused}, {"bad": failed})
    counts = {"ok": ok, "refused": refused, "failed": failed}
    assert evaluate(Expect.model_validate(counts), got) == []
    for name, count in counts.items():
        assert len(evaluate(Expect.model_validate(counts | {name: count + 1}), got)) == 1


def test_expectations_do_not_change() -> None:
    """An expectation is a value: it cannot be bent to what happened."""
    expect = Expect.model_validate({"ok": 3})
    with pytest.raises(ValidationError):
        expect.ok = None
