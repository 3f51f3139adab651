"""Scenes: what would take many lucky choices one after the other, played as one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from agents.messages.air import Compact
from tests.agents.module_model.card import PROGRAMMES, SLOTS
from tests.agents.module_model.model import ENDED, NEVER, UNLIMITED, Programme
from tests.agents.module_model.operator_rules import ends, reservations
from tests.agents.module_model.stranger_rules import StrangerRules
from tests.agents.module_model.teller import TARS, picks
from tests.agents.module_model.world_rules import WorldRules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INTERRUPTIONS: Final = (
    "a block",
    "a block until after its date",
    "a release",
    "the operator's time",
    "the handset's time",
    "a clock set forward and back",
    "a power cut",
    "a new session",
    "the last run",
    "a last run that traps",
)
CUT: Final = ("an update", "a personalisation", "a run", "the last run", "a block", "a move", "a release")
"""Where power fails."""


class Scenes(StrangerRules, WorldRules):
    """A service from its beginning, something interrupted, a crowd of calls, power that fails at the worst.

    A cut puts another model in the place of the one before: what is known of a resource is asked each time.
    """

    @rule(tar=st.sampled_from(TARS), terms=reservations, seconds=ends)
    def serve(self, tar: bytes, terms: dict[str, Any], seconds: int | None) -> None:
        """Do for a resource what is still to be done: reserve it or make it good, connect it, load it."""
        known = self.model.resources.get(tar)
        if known is None:
            self.make(tar, terms, seconds)
        elif known.state in ENDED:
            self.make_good(tar, self.date(seconds))
        if self.session_of(tar) is None:
            self.play(lambda: self.make_session(tar))
        for second in (False, True):
            session, known = self.session_of(tar), self.model.resources.get(tar)
            if known is not None and session is not None and known.programme is None:
                self.play(partial(self.send_half, tar, session, PROGRAMMES[1], 1, second=second))

    @precondition(lambda self: self.sessions())
    @rule(pick=picks, how=st.sampled_from(INTERRUPTIONS), programme=st.sampled_from(PROGRAMMES[:2]))
    def interrupt(self, pick: int, how: str, programme: Programme) -> None:
        """Let something come between the halves of a programme, and between a call and its answer.

        Then the user tries to run it; what ended is made good, as far as it can be; and then come the second
        half and the answer.
        """
        tar, session = self.sessions()[pick % len(self.sessions())]
        version = self.version(tar, 1)
        self.play(lambda: self.send_half(tar, session, programme, version, second=False))
        self.play(lambda: self.make_call(tar))
        number = len(self.called)
        self.play(self.interruptions(tar, number)[how])
        self.play(lambda: self.run(tar, b"\0"))
        self.play(lambda: self.make_worse(tar))
        self.make_good(tar)
        current = self.session_of(tar) or session
        self.play(lambda: self.send_half(tar, current, programme, version, second=True))
        self.play(lambda: self.answer(number))

    def sessions(self) -> list[tuple[bytes, int]]:
        """Return the resources that have a session, and which."""
        return [(each.tar, each.session) for each in self.model.areas() if each.session is not None]

    def interruptions(self, tar: bytes, number: int) -> Mapping[str, Callable[[], object]]:
        """Return what may come between."""
        date = self.model.resources[tar].expires_at if tar in self.model.resources else NEVER
        return {
            "a block": lambda: self.order_block(tar),
            "a block until after its date": lambda: self.block_beyond(tar, date),
            "a release": lambda: self.order_release(tar),
            "the operator's time": lambda: self.tell_time(max(date, self.model.signed)),
            "the handset's time": lambda: self.set_clock(date),
            "a clock set forward and back": lambda: self.swing_clock(date),
            "a power cut": self.cycle_power,
            "a new session": lambda: self.answer(number),
            "the last run": lambda: self.use_up(tar, b"\0"),
            "a last run that traps": lambda: self.use_up(tar, b"\2"),
        }

    def block_beyond(self, tar: bytes, date: int) -> None:
        """Block a resource, and let the operator's time pass its date."""
        self.order_block(tar)
        self.moment()
        self.tell_time(max(date, self.model.signed))

    def swing_clock(self, date: int) -> None:
        """Set the handset's clock to a date; cut power, and set it back."""
        now = self.card.now
        self.set_clock(date)
        self.moment()
        self.cycle_power()
        self.card.now = now

    def set_clock(self, date: int) -> None:
        """Set the handset's clock to a date, if it is not past it."""
        self.card.now = max(self.card.now, float(date))
        self.settle()

    def use_up(self, tar: bytes, argument: bytes) -> None:
        """Give a resource one more execution, and run it."""
        self.order_renewal(tar, self.key_for(tar, stranger=False), NEVER, 1)
        self.moment()
        self.run(tar, argument)

    def make_good(self, tar: bytes, date: int = NEVER) -> None:
        """Give back what was taken from a resource, if it is still there."""
        known = self.model.resources.get(tar)
        if known is not None:
            self.play(lambda: self.order_renewal(tar, known.key, date, UNLIMITED))
            if self.model.resources[tar].state == "blocked":
                self.play(lambda: self.order_unblock(tar, known.key))

    def make_worse(self, tar: bytes) -> None:
        """Try to give to another supplier what was taken from this one."""
        stranger = self.key_for(tar, stranger=True)
        self.order_unblock(tar, stranger)
        self.moment()
        self.order_renewal(tar, stranger, NEVER, UNLIMITED)

    @rule(
        sizes=st.tuples(*[st.sampled_from([3000, 5000, 7000, 9000])] * 5), gone=st.permutations(TARS[:SLOTS])
    )
    def rearrange(self, sizes: tuple[int, ...], gone: list[bytes]) -> None:
        """Fill the zone anew, make two gaps, and reserve what fits one of them, or both together only."""
        for tar, size in zip(TARS, sizes, strict=True):
            if tar in self.model.resources:
                self.play(partial(self.order_release, tar))
            if tar is TARS[-1]:
                for each in gone[:2]:
                    self.play(partial(self.order_release, each))
            terms = {"supplier": "bank", "code_size": 1000, "data_size": size - 1000, "executions": UNLIMITED}
            self.make(tar, terms | {"rights": frozenset(), "delete_at_end": False}, None)

    @rule()
    def crowd(self) -> None:
        """Have every supplier called, and let them answer in their turn: the first calls have given way."""
        first = len(self.called) + 1
        for tar in sorted(self.model.resources):
            self.play(partial(self.make_call, tar))
        for number in range(first, len(self.called) + 1):
            self.play(partial(self.answer, number))

    @precondition(lambda self: self.sessions())
    @rule(pick=picks, cut=picks, what=st.sampled_from(CUT))
    def fail_in(self, pick: int, cut: int, what: str) -> None:
        """Let power fail where most is at stake, in a resource that has data to lose."""
        tar, session = self.sessions()[pick % len(self.sessions())]
        version, programme = self.version(tar, 1), PROGRAMMES[pick % 2]
        self.play(lambda: self.give(tar, session, b"old"))
        if what == "an update":
            self.play(lambda: self.send_half(tar, session, programme, version, second=False))
        lowest = self.model.areas()[0].tar
        if what == "a move" and lowest != tar:
            self.play(lambda: self.order_release(lowest))
        self.cut = cut
        acts: Mapping[str, Callable[[], object]] = {
            "an update": lambda: self.send_half(tar, session, programme, version, second=True),
            "a personalisation": lambda: self.give(tar, session, b"new"),
            "a run": lambda: self.run(tar, b"\0cut"),
            "the last run": lambda: self.use_up(tar, b"\0"),
            "a block": lambda: self.order_block(tar),
            "a move": lambda: self.order(Compact(), self.model.compact()),
            "a release": lambda: self.order_release(tar),
        }
        self.play(acts[what])
