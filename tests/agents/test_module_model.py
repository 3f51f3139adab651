"""A real module and a model of it live through the same stories, told by hypothesis; they never disagree.

The module is driven by APDUs alone. The model (``module_model``) was written from the design and predicts
what becomes of each command: done, or refused and why; and what DEF, memory, counters and time are then.
Power fails between two commands, and in the middle of any write of any command.
"""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, run_state_machine_as_test

from agents.handset.security_module.core import Turns
from tests.agents.module_model.card import PROGRAMMES, SLOTS, check_sound, turns_of
from tests.agents.module_model.model import UNLIMITED
from tests.agents.module_model.operator_rules import reservations
from tests.agents.module_model.scenes import CUT, INTERRUPTIONS, Scenes
from tests.agents.module_model.teller import TARS

DATE_S: Final = 900
"""How long the resources live that a story begins with."""
TERMS: Final = {
    "supplier": "bank",
    "code_size": 1024,
    "data_size": 1100,
    "executions": UNLIMITED,
    "rights": frozenset({"hmac"}),
    "delete_at_end": False,
}


class Stories(Scenes):
    """All that may happen to a module, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.before = Turns()

    @initialize(terms=st.tuples(*[reservations] * 3))
    def begin(self, terms: tuple[dict[str, Any], ...]) -> None:
        """Begin with three resources that are served already, as far as they can be."""
        for tar, each in zip(TARS, terms, strict=False):
            self.serve(tar, each, DATE_S)

    @invariant()
    def memory_is_sound(self) -> None:
        """Areas are apart, what is free is zeros, a key that was taken back is nowhere."""
        check_sound(self.card, self.model, self.keys, self.publics)

    @invariant()
    def no_counter_goes_back(self) -> None:
        """Let turns of commands, requests and announcements, and the operator's time, only grow."""
        now = turns_of(self.card)
        for counter in ("command", "request", "announcement", "signed"):
            assert getattr(self.before, counter) <= getattr(now, counter)
        self.before = now

    def teardown(self) -> None:
        """End each story with an audit, and with one more boot."""
        self.cut = None
        self.audit()
        self.power_cycle()


def test_module_and_model_never_disagree() -> None:
    """Whatever operator, suppliers, user, clock, power and strangers do, it is as the model says."""
    run_state_machine_as_test(
        Stories,
        settings=settings(
            max_examples=100,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            report_multiple_bugs=False,
        ),
    )


@pytest.fixture
def story() -> Stories:
    """Return a story of two loaded resources, to be told by hand."""
    return _story()


def _story() -> Stories:
    story = Stories()
    for tar in TARS[:2]:
        story.serve(tar, TERMS, DATE_S)
    return story


@pytest.mark.parametrize("how", INTERRUPTIONS)
def test_an_interruption(story: Stories, how: str) -> None:
    """An update half sent, and a call not answered, come to what the model says, whatever comes between."""
    story.interrupt(0, how, PROGRAMMES[0])
    story.memory_is_sound()
    story.teardown()


@pytest.mark.parametrize("what", CUT)
def test_power_fails(what: str) -> None:
    """A cut at some ten writes of each command leaves what the model was, at one moment of the command."""
    for cut in range(0, 400, 37):
        story = _story()
        story.fail_in(1, cut, what)
        assert story.cut is None
        story.memory_is_sound()
        story.teardown()


@pytest.mark.parametrize("step", [1, 0, -1], ids=["newer", "the same", "older"])
def test_a_version(story: Stories, step: int) -> None:
    """Another programme takes the place of the one that is loaded if its version is newer, else not."""
    story.load(0, PROGRAMMES[0], 2)
    story.load(0, PROGRAMMES[1], step)
    story.teardown()


def test_a_full_table(story: Stories) -> None:
    """With as many resources as DEF has room for, gaps between them, and one more that finds no slot."""
    story.rearrange((3000, 5000, 7000, 3000, 4000), list(reversed(TARS[:SLOTS])))
    for tar in TARS:
        story.serve(tar, TERMS, None)
    assert len(story.model.resources) == SLOTS
    story.memory_is_sound()
    story.teardown()
