"""Explanations: which transaction is shown, what is said of it, and how long its lines are waited for."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from agents.fleet.config import Step, Verb
from agents.fleet.expectations import Expect, Outcome, Outcomes, Result, evaluate
from agents.fleet.explanations import MOST_STEPS, Explainer
from agents.fleet.report import StepReport
from tests.agents.trace_kit import BLOCKED, SERVE, demo, lossy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agents.fleet.explanations import Explanation

UNKNOWN = "0" * 32
ALL = Expect.model_validate({"ok": "all"})


def outcome(*traces: str, result: Result = Result.REFUSED, reason: str = "blocked", ua: str = "a") -> Outcome:
    """Return how a target ended, with the traces of its orders."""
    return Outcome(ua=ua, service="", result=result, reason=reason, traces=tuple(map(bytes.fromhex, traces)))


def played(number: int, *outcomes: Outcome, expect: Expect = ALL) -> tuple[Step, tuple[StepReport, Outcomes]]:
    """Return step *number* as it was configured and as it ended."""
    ended = Outcomes(number=number, do="invoke", outcomes=outcomes, service="account")
    missed = evaluate(expect, ended)
    step = Step(do=Verb.INVOKE, service="account", expect=expect)
    return step, (StepReport.of(ended, service="account", seconds=1.0, missed=missed), ended)


async def explain(
    logs: Path, *steps: tuple[Any, Any], flush: Callable[[], None] = lambda: None
) -> tuple[Explanation, ...]:
    """Return why *steps* ended as they did."""
    explainer = Explainer(logs.parent, logs, {}, flush)
    return await explainer.explain([step for step, _ in steps], [pair for _, pair in steps])


def shown(explanation: Explanation) -> str:
    """Return what a person sees."""
    file = io.StringIO()
    explanation.render(Console(file=file, width=120))
    return file.getvalue()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Return logs of a state directory whose name a shell would cut, with a transaction that was refused."""
    directory = tmp_path / "my state" / "logs"
    directory.mkdir(parents=True)
    (directory / "otafleet.jsonl").write_bytes(b"".join(demo()))
    return directory


async def test_a_refusal_is_charted(logs: Path) -> None:
    """The sentence with the reason in words, the chart, and a command that can be typed as it stands."""
    (made,) = await explain(logs, played(7, outcome(BLOCKED), outcome(BLOCKED, ua="b")))
    sentence, title, *_, chart, more = shown(made).strip().splitlines()
    words = "the operator has blocked the resource (blocked)"
    assert sentence == f"step 7 invoke account: 2 refused: {words}; a is one"
    assert title == "invoke account: refused: blocked"
    assert "event, 84 octets" in chart
    assert more == f"more: otafleet trace --fleet '{logs.parent}' {BLOCKED[:16]}"


async def test_as_json(logs: Path) -> None:
    """The whole id, the reason with its words, and the rows of the chart."""
    (made,) = await explain(logs, played(7, outcome(BLOCKED)))
    told = made.to_json()
    assert len(told.pop("chart")["rows"]) == 3
    assert told.pop("command").endswith(BLOCKED[:16])
    assert told == {
        "step": 7,
        "do": "invoke",
        "service": "account",
        "result": "refused",
        "reason": "blocked",
        "words": "the operator has blocked the resource",
        "targets": 1,
        "ua": "a",
        "trace_id": BLOCKED,
    }


@pytest.mark.parametrize(
    ("result", "reason", "best"),
    [(Result.REFUSED, "blocked", BLOCKED), (Result.FAILED, "no-answer", SERVE)],
    ids=["refused", "silent"],
)
async def test_the_one_that_tells_the_most(logs: Path, result: Result, reason: str, best: str) -> None:
    """Of refusals the one that shows who said no; of silences the one with losses and repetitions."""
    (logs / "handsets-1.jsonl").write_bytes(b"".join(lossy()))
    targets = [
        outcome(UNKNOWN, SERVE, result=result, reason=reason, ua="a"),
        outcome(BLOCKED, result=result, reason=reason, ua="b"),
    ]
    (made,) = await explain(logs, played(1, *targets))
    assert (made.trace_id, made.targets) == (best, 2)
    assert made.ua == ("a" if best == SERVE else "b")
    assert made.excerpt is not None
    assert made.excerpt.before == 0 or "left out: " in shown(made)


async def test_lines_that_come_late_are_waited_for(logs: Path) -> None:
    """A handset's process writes a little later: each message has both its ends, and nobody waits on."""
    lines = [line for line in demo() if BLOCKED.encode() in line]
    parts = [lines[:1], lines[1:4], lines[4:]]
    log = logs / "otafleet.jsonl"
    log.write_bytes(b"")

    def write() -> None:
        with log.open("ab") as file:
            file.write(b"".join(parts.pop(0)))

    (made,) = await explain(logs, played(1, outcome(BLOCKED)), flush=write)
    assert made.excerpt is not None
    assert made.excerpt.chart.incomplete == ()
    assert parts == [], "it has looked three times"


async def test_lines_that_never_come(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while it is said that there are none; the command is the same."""
    monkeypatch.setattr("agents.fleet.explanations.PATIENCE_S", 0.2)
    (made,) = await explain(logs, played(1, outcome(UNKNOWN)))
    assert "the log of this launch does not tell of it" in shown(made)
    assert made.to_json()["chart"] is None
    assert made.command.endswith(UNKNOWN[:16])


@pytest.mark.parametrize(
    ("ua", "more"), [("8988459600030000112", "--ua 8988459600030000112"), ("", "--outcome refused")]
)
async def test_what_an_earlier_launch_ended(logs: Path, ua: str, more: str) -> None:
    """It has no trace any more, and is named with a command that finds it."""
    (made,) = await explain(logs, played(1, outcome(ua=ua)))
    assert (made.trace_id, made.excerpt) == ("", None)
    assert "it ended in an earlier launch" in shown(made)
    assert made.command.endswith(more)


async def test_the_first_steps_alone(logs: Path) -> None:
    """What held is not explained; of what did not, the first three steps are."""
    held = played(1, outcome(result=Result.OK, reason=""))
    missed = [played(number, outcome(BLOCKED)) for number in range(2, 7)]
    made = await explain(logs, held, *missed)
    assert [each.step for each in made] == [2, 3, 4]
    assert len(made) == MOST_STEPS
    assert await explain(logs, held) == ()


async def test_nothing_that_came_over_the_air_steers_a_terminal(logs: Path) -> None:
    """A reason is what a party said, whoever it is."""
    (made,) = await explain(logs, played(1, outcome(reason="\x1b[31mred")))
    assert "\x1b" not in shown(made)
