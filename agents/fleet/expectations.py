"""What a step is expected to end in, and whether it did.

A config says ``expect = { ok = "all" }`` or ``{ refused = 20, reason = "blocked" }``; a run gives one
``Outcome`` for each target of the step. ``evaluate`` holds the one against the other and returns a sentence
for each thing that did not hold, so an empty list is a step that went as expected.
"""

from __future__ import annotations

import math
import operator
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainValidator, Strict, model_validator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


class Result(StrEnum):
    """How a target of a step ended."""

    OK = "ok"
    REFUSED = "refused"
    """A party said no, and why."""
    FAILED = "failed"
    """Nobody answered, or what they answered did not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one target of a step."""

    ua: str
    """The module's address; empty where a step is not about modules (agree)."""
    service: str
    """Empty where a step is not about services (personalise)."""
    result: Result
    reason: str = ""
    """A short stable code, for refused and failed."""
    latency_s: float = 0.0
    """From the step's order on."""
    told_s: float = 0.0
    """When its handset told that it heard, in seconds from the order on that began the broadcast."""
    heard_s: float | None = None
    """When the page had been on the air by which it heard, likewise; None where there was none, or it is
    not known."""
    output: bytes = field(default=b"", repr=False)
    """What the application answered, for an invoke: the user's business, so in no log and no report."""
    traces: tuple[bytes, ...] = field(default=(), compare=False)
    """The trace ids of the orders that this launch gave about it, one for each attempt."""
    started: float = field(default=math.inf, compare=False)
    """When the order was given, that which began it for a broadcast, by the fleet's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """All outcomes of one step; ``number`` counts from 1, as reports do."""

    number: int
    do: str
    outcomes: Sequence[Outcome]
    service: str = ""
    """The step's service filter, if it had one."""
    traces: frozenset[bytes] = frozenset()
    """The trace ids of the orders that this launch gave for a broadcast."""
    loaded: int | None = None
    """How many targets hold the version that the step is about, when it ends; None for other steps."""

    def of(self, result: Result) -> list[Outcome]:
        """Return the outcomes that ended in *result*."""
        return [outcome for outcome in self.outcomes if outcome.result == result]

    def count(self, result: Result) -> int:
        """Return how many ended in *result*."""
        return sum(outcome.result == result for outcome in self.outcomes)

    def reasons(self, *results: Result) -> dict[str, int]:
        """Return how often each reason was given for one of *results*, most frequent first."""
        counts = Counter(outcome.reason for outcome in self.outcomes if outcome.result in results)
        return dict(counts.most_common())


_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "=": operator.eq,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_NO_MORE: Final[Mapping[str, str]] = {"=": "<=", "<=": "<=", "<": "<"}
"""What remains of a comparison for who asks only whether it is too many."""
_QUANTITY: Final = re.compile(r"(?P<sign>>=|<=|=|>|<)?\s*(?P<number>\d{1,9}(?:\.\d{1,6})?)\s*(?P<percent>%)?")
_MOST: Final = 10**9
_WORDS: Final = {"all": ("=", 100.0), "none": ("=", 0.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """How many of a step's targets: ``40``, ``"all"``, ``"none"``, ``">= 99 %"``, ``"< 3"``."""

    text: str
    sign: str
    number: float
    percent: bool

    @classmethod
    def parse(cls, value: object) -> Quantity:
        """Read what a config says. Raises ValueError, in words for a person."""
        if isinstance(value, Quantity):
            return value
        if type(value) is int and 0 <= value <= _MOST:
            return cls(text=str(value), sign="=", number=float(value), percent=False)
        if isinstance(value, str):
            if value in _WORDS:
                sign, number = _WORDS[value]
                return cls(text=value, sign=sign, number=number, percent=True)
            if match := _QUANTITY.fullmatch(value.strip()):
                number, percent = float(match["number"]), match["percent"] is not None
                if not percent or number <= 100:
                    return cls(text=value.strip(), sign=match["sign"] or "=", number=number, percent=percent)
        raise ValueError(f'must be a number of targets, "all", "none" or like ">= 99 %", not {value!r}')

    def holds(self, count: int, total: int) -> bool:
        """Say whether *count* of *total* is what is meant; a share of nothing is always met."""
        if not self.percent:
            return _COMPARISONS[self.sign](count, self.number)
        # Compared as products: a division would make 99 % of 300 a matter of rounding.
        return total == 0 or _COMPARISONS[self.sign](count * 100, self.number * total)

    def allows(self, count: int, total: int) -> bool:
        """Say whether *count* of *total* is not too many."""
        sign = _NO_MORE.get(self.sign)
        return sign is None or replace(self, sign=sign).holds(count, total)

    def can_hold(self, total: int) -> bool:
        """Say whether any count of *total* is what is meant."""
        meant = self.number * total / 100 if self.percent else self.number
        near = {0, total, math.floor(meant), math.ceil(meant), math.floor(meant) + 1, math.ceil(meant) - 1}
        return any(self.holds(count, total) for count in near if 0 <= count <= total)

    def describe(self, total: int) -> str:
        """Return the words for a sentence about *total* targets."""
        return {"all": str(total), "none": "0"}.get(self.text, self.text)


def _hexadecimal(text: str) -> str:
    try:
        bytes.fromhex(text)
    except ValueError:
        raise ValueError("must be hexadecimal digits, two for each octet") from None
    return text


class Expect(BaseModel):
    """``expect`` of a step: every key that is given must hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ok: Annotated[Quantity, PlainValidator(Quantity.parse)] | None = None
    refused: Annotated[Quantity, PlainValidator(Quantity.parse)] | None = None
    failed: Annotated[Quantity, PlainValidator(Quantity.parse)] | None = None
    loaded: Annotated[Quantity, PlainValidator(Quantity.parse)] | None = None
    """How many targets hold the version that the step brings; of ``broadcast`` and ``pull``."""
    reason: Annotated[str, Strict()] | None = None
    """The reason of every refusal."""
    output: Annotated[str, Strict(), AfterValidator(_hexadecimal)] | None = None
    """What every application that ran must have answered; hexadecimal."""

    @model_validator(mode="after")
    def _says_something(self) -> Expect:
        if not self.model_fields_set:
            raise ValueError("expects nothing: give at least one of ok, refused, failed")
        if self.reason is not None and self.refused is None:
            raise ValueError("'reason' is about refusals: say with 'refused' how many are expected")
        if self.output is not None and self.ok is None:
            raise ValueError("'output' is about applications that ran: say with 'ok' how many are expected")
        return self

    def quantity(self, result: Result) -> Quantity | None:
        """Return how many targets are expected to end in *result*, if the config says."""
        quantity: Quantity | None = getattr(self, result.value)
        return quantity

    def wants(self, result: Result, total: int) -> bool:
        """Say whether some of *total* targets are expected to end in *result*: none would be too few."""
        quantity = self.quantity(result)
        return quantity is not None and not quantity.holds(0, total)


def evaluate(expect: Expect | None, outcomes: Outcomes) -> list[str]:
    """Return one sentence for each expectation that did not hold; none when all did."""
    if expect is None:
        return []
    name = " ".join(filter(None, (outcomes.do, outcomes.service)))
    prefix = f"step {outcomes.number} {name}: "
    faults = (
        *_counts(expect, outcomes),
        *_loaded(expect, outcomes),
        *_reasons(expect, outcomes),
        *_outputs(expect, outcomes),
    )
    return [prefix + fault for fault in faults]


def _counts(expect: Expect, outcomes: Outcomes) -> Iterator[str]:
    total = len(outcomes.outcomes)
    for result in Result:
        quantity = expect.quantity(result)
        count = outcomes.count(result)
        if quantity is not None and not quantity.holds(count, total):
            yield f"expected {quantity.describe(total)} {result}, got {count}{_instead(outcomes, result)}"


def _loaded(expect: Expect, outcomes: Outcomes) -> Iterator[str]:
    total, count = len(outcomes.outcomes), outcomes.loaded
    if expect.loaded is not None and count is not None and not expect.loaded.holds(count, total):
        yield f"expected {expect.loaded.describe(total)} loaded, got {count} of {total}"


def _instead(outcomes: Outcomes, wanted: Result) -> str:
    """Say in brackets what the other targets ended in, with the commonest reason of each."""
    parts = []
    for result in Result:
        count = outcomes.count(result)
        if result is wanted or not count:
            continue
        reasons = ", ".join(reason for reason in list(outcomes.reasons(result))[:3] if reason)
        parts.append(f"{count} {result}: {reasons}" if reasons else f"{count} {result}")
    return f" ({'; '.join(parts)})" if parts else ""


def _reasons(expect: Expect, outcomes: Outcomes) -> Iterator[str]:
    if expect.reason is None:
        return
    others = {
        reason: count for reason, count in outcomes.reasons(Result.REFUSED).items() if reason != expect.reason
    }
    if others:
        given = ", ".join(f"{count} {reason or 'without a reason'}" for reason, count in others.items())
        yield f"expected every refusal for {expect.reason}, got {given}"


def _outputs(expect: Expect, outcomes: Outcomes) -> Iterator[str]:
    if expect.output is None:
        return
    wanted = bytes.fromhex(expect.output)
    ran = outcomes.of(Result.OK)
    others = [outcome for outcome in ran if outcome.output != wanted]
    if others:
        # The answer itself is not shown: it may be personal, and a report is not the place for it.
        yield (
            f"expected output {expect.output} from every ok, {len(others)} of {len(ran)} gave another"
            f" (the first: {others[0].ua})"
        )
