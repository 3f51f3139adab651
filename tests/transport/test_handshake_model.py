"""Whatever comes, in whatever order: a side stands where the table says, with no keys before its time."""

from __future__ import annotations

from copy import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.transport.handshake_kit import CASES, Case, Parties, has_keys, steps
from transport.errors import HandshakeRejected
from transport.security.handshake_states import MESSAGES, TAGS, TRANSITIONS, Event, State
from transport.security.suites import suite
from transport.security.terms import FORM_NUMBERS

ANY_BEGINNING = st.sampled_from([b"", *TAGS.values()])
ALONE = [case for case in CASES if not case.module]
QUICK = [case for case in ALONE if suite(case.suite).signature_length <= 64]


@pytest.mark.parametrize("case", ALONE, ids=str)
@settings(max_examples=25, deadline=None)
@given(octets=st.binary(max_size=220), beginning=ANY_BEGINNING)
def test_arbitrary_octets_make_no_session(case: Case, octets: bytes, beginning: bytes) -> None:
    """In every state arbitrary octets are refused in kind, or at most answered as a first message."""
    parties = Parties(case)
    held = [parties.held(step) for step in steps(case)]
    waiting = [one.receiver for one in held] + [parties.initiator(), held[-1].sender]
    for side in waiting:
        before, had = side.state, has_keys(side)
        try:
            side.receive(beginning + octets)
        except HandshakeRejected:
            assert side.state is TRANSITIONS[case.form][before, Event.REFUSED]
        else:
            assert before is State.LISTENING
        assert has_keys(side) == had


class Model(RuleBasedStateMachine):
    """One honest attempt at a time, and one who adds to it whatever he has seen or makes up.

    The model knows the tables and which message is the one that is due; everything else is refused.
    """

    form: str
    suite: str

    @initialize(seed=st.integers(0, 3))
    def begin(self, seed: int) -> None:
        """Take two sides, an old session to have messages from, and sessions of other forms."""
        self.parties = Parties(Case(self.form, self.suite), seed)
        self.old = self.parties.run().messages
        self.foreign = [
            message
            for form in FORM_NUMBERS
            if form != self.form
            for message in Parties(Case(form, self.suite), seed + 1).run().messages
        ]
        self.again()

    def again(self) -> None:
        """Begin a new attempt."""
        self.sides = [self.parties.initiator(), self.parties.responder()]
        self.model = [State.READY, State.LISTENING]
        self.sent: list[bytes] = []

    @rule()
    @precondition(lambda self: self.model[0] is State.READY)
    def start(self) -> None:
        """Let the module begin."""
        self.sent.append(self.sides[0].start())
        self.model[0] = TRANSITIONS[self.form][State.READY, Event.START]

    @rule()
    @precondition(lambda self: self.is_due())
    def deliver(self) -> None:
        """Let the message that is due come."""
        number = len(self.sent) % 2
        event = MESSAGES[self.form][len(self.sent) - 1]
        answer = self.sides[number].receive(self.sent[-1])
        self.model[number] = TRANSITIONS[self.form][self.model[number], event]
        if answer is not None:
            self.sent.append(answer)

    def is_due(self) -> bool:
        """Return whether a message has been sent and its receiver waits for it."""
        if not self.sent:
            return False
        event = MESSAGES[self.form][len(self.sent) - 1]
        return (self.model[len(self.sent) % 2], event) in TRANSITIONS[self.form]

    @rule(number=st.integers(0, 1), data=st.data(), on_a_copy=st.booleans())
    def intrude(self, number: int, data: st.DataObject, on_a_copy: bool) -> None:  # noqa: FBT001 -- drawn
        """Let anything else come: old, foreign, repeated, lengthened or made up."""
        pool = [*self.old[1:], *self.foreign, *self.sent[:-1], *(one + b"\0" for one in self.sent), b"noise"]
        octets = data.draw(st.sampled_from(pool))
        side = copy(self.sides[number]) if on_a_copy else self.sides[number]
        with pytest.raises(HandshakeRejected):
            side.receive(octets)
        if not on_a_copy:
            self.model[number] = TRANSITIONS[self.form][self.model[number], Event.REFUSED]

    @rule()
    @precondition(lambda self: self.sent)
    def give_up(self) -> None:
        """Let the module begin anew."""
        self.again()

    @invariant()
    def stands_where_the_table_says(self) -> None:
        """Hold both sides to their states; keys are there in ESTABLISHED only, and the same on both."""
        assert [side.state for side in self.sides] == self.model
        held = [has_keys(side) for side in self.sides]
        assert held == [state is State.ESTABLISHED for state in self.model]
        if all(held):
            assert self.sides[0].keys == self.sides[1].keys


@pytest.mark.parametrize("case", QUICK, ids=str)
def test_a_side_follows_its_table(case: Case) -> None:
    """Random walks of honest messages and intrusions never leave the tables of the form."""

    class Walk(Model):
        form, suite = case.form, case.suite

    walks = settings(max_examples=15, stateful_step_count=25, deadline=None)
    run_state_machine_as_test(Walk, settings=walks)
