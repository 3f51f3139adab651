"""Questions between roles: sealed one by one, beside packets of a session that was made once.

Run ``python -m tests.benchmarks.bench_link``. First what the protection of a question and its reply costs,
both sides, in time of this process, in each suite: that of a session is the same in all of them, but for the
handshake that it begins with, which stands beside it. Then the whole road through mosquitto, 32 askers at
once, in suite x25519. Rounds of all rows alternate and medians are printed, so that a busy machine slows all
alike.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Final, cast

import structlog
import uvloop

from agents.directory import KeyDirectory
from agents.fleet.addresses import ua_of
from agents.identity import RoleKeys
from agents.link import Link
from agents.link_sealed import SealedWay
from agents.link_sessions import SessionWay
from agents.link_ways import SEALED, Heard, Letter, LinkForms
from agents.messages.inside import Done, LookUp
from bus.actor import ActorGroup
from bus.broker import open_broker
from bus.client import BusClient
from bus.clock import SystemClock
from bus.counters import Counters
from bus.tracing import new_trace
from transport.security.certificates import Role
from transport.security.suites import ALL_SUITES
from transport.security.terms import AGREE_THEN_SIGN

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from agents.link import Question
    from agents.link_ways import Way

ROUNDS: Final = 5
ROUND_S: Final = 0.2
QUESTIONS: Final = 400
AT_ONCE: Final = 32
OCTETS: Final = bytes(range(60))
REFERENCE: Final = bytes(8)
SIDES: Final = {"mno": Role.OPERATOR, "bank": Role.SUPPLIER}
FORMS: Final = {SEALED: LinkForms(), AGREE_THEN_SIGN: LinkForms(said={"mno": AGREE_THEN_SIGN})}


def known(suite: str) -> tuple[dict[str, RoleKeys], KeyDirectory]:
    """Return the two sides' keys, and where each finds the other's."""
    directory, found = KeyDirectory(), {}
    for name, role in SIDES.items():
        found[name] = RoleKeys.make(name=name, role=role, suite=suite, rng=os.urandom)
        directory.enter(found[name], issuer=name)
    return found, directory


def ways(suite: str, form: str) -> tuple[Way, Way]:
    """Return both ends of a way, the asker's first."""
    keys, directory = known(suite)
    if form == SEALED:
        asker, other = (
            SealedWay(
                keys=keys[name], directory=directory, forms=FORMS[form], awaits=lambda who, _: who == "bank"
            )
            for name in SIDES
        )
        return asker, other
    asking, asked = (
        SessionWay(keys=keys[name], directory=directory, forms=FORMS[form], rng=os.urandom) for name in SIDES
    )
    return asking, asked


def shake(asker: Way, other: Way) -> None:
    """Make a session."""
    letter = asker.open("bank", 0.0, patience_s=0.0)
    while letter is not None:
        asker.sent("bank", letter)
        answer = other.take("mno", letter.octets, 0.0)
        letter = None
        if isinstance(answer, Letter):
            last = asker.take("bank", answer.octets, 0.0)
            assert isinstance(last, Letter)
            letter = last


def ask(asker: Way, other: Way) -> None:
    """Ask once, and reply."""
    question = other.take("mno", asker.question("bank", OCTETS, REFERENCE), 0.0)
    assert isinstance(question, Heard)
    said, _ = other.reply("mno", OCTETS, question.reference)
    assert said is not None
    assert isinstance(asker.take("bank", said, 0.0), Heard)


def microseconds(call: Callable[[], None]) -> float:
    """Return what *call* costs, over one round."""
    began, calls = process_time(), 0
    while (spent := process_time() - began) < ROUND_S:
        call()
        calls += 1
    return spent / calls * 1e6


def protection() -> None:
    """Print what a question and its reply cost to protect."""
    calls: dict[str, tuple[Callable[[], None], ...]] = {}
    for suite in ALL_SUITES:
        sealed, sessions = ways(suite, SEALED), ways(suite, AGREE_THEN_SIGN)
        shake(*sessions)
        calls[suite] = (
            lambda sealed=sealed: ask(*sealed),  # type: ignore[misc]
            lambda sessions=sessions: ask(*sessions),  # type: ignore[misc]
            lambda sessions=sessions: shake(*sessions),  # type: ignore[misc]
        )
    rounds = [
        {suite: [microseconds(call) for call in each] for suite, each in calls.items()} for _ in range(ROUNDS)
    ]
    lines = [
        f"a question and its reply, both sides' protection, {os.cpu_count()} cores, 1 used",
        "  suite            sealed  in a session  sealed/session  to make one",
    ]
    for suite in calls:
        sealed_us, session_us, shake_us = (median(times[suite][at] for times in rounds) for at in range(3))
        lines.append(
            f"  {suite:<13}{sealed_us:>7.0f} us{session_us:>11.0f} us{sealed_us / session_us:>16.0f}"
            f"{shake_us:>10.0f} us"
        )
    sys.stdout.write("\n".join(lines) + "\n")


async def road(directory: Path) -> None:
    """Print how many questions a second pass between two roles, through a broker."""
    log = cast("FilteringBoundLogger", structlog.wrap_logger(structlog.testing.CapturingLogger()))
    counters = Counters()
    rates: dict[str, list[float]] = {form: [] for form in FORMS}
    async with (
        open_broker("mosquitto", directory=directory, log=log) as address,
        BusClient(address, identifier="mno", log=log, counters=counters, persistent=False) as asking,
        BusClient(address, identifier="bank", log=log, counters=counters, persistent=False) as answering,
        ActorGroup(log=log, counters=counters) as group,
    ):
        keys, known_by = known("x25519")
        for _ in range(ROUNDS):
            for form, forms in FORMS.items():
                links = {
                    name: Link(
                        client,
                        fleet="bench",
                        keys=keys[name],
                        directory=known_by,
                        clock=SystemClock(),
                        rng=os.urandom,
                        counters=counters,
                        log=log,
                        group=group,
                        forms=forms,
                    )
                    for name, client in (("mno", asking), ("bank", answering))
                }
                rates[form].append(await rate(links["mno"], links["bank"], group))
    sys.stdout.write(f"questions a second through mosquitto, {AT_ONCE} askers at once, x25519, one process\n")
    for form, found in rates.items():
        sys.stdout.write(f"  {form:<17}{median(found):>8,.0f}/s\n")


async def rate(asker: Link, other: Link, group: ActorGroup) -> float:
    """Ask as many questions as there are to ask; return how many a second were answered."""

    def reply(question: Question) -> None:
        group.spawn(other.reply(question, Done()), name="reply")

    await other.start(reply)
    await asker.start(lambda _question: None)
    question = LookUp(ua=ua_of("bench", 1, 1))
    trace, numbers = new_trace(os.urandom), iter(range(QUESTIONS))

    async def work() -> None:
        for _ in numbers:
            await asker.ask("bank", question, Done, trace=trace)

    await asker.ask("bank", question, Done, trace=trace)
    began = perf_counter()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return QUESTIONS / (perf_counter() - began)


def main() -> None:
    """Print both."""
    protection()
    with tempfile.TemporaryDirectory() as directory:
        uvloop.run(road(Path(directory)))


if __name__ == "__main__":
    main()
