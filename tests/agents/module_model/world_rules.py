"""What happens to a module without leave: clocks that lie, power that fails, and what is said again."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.agents.module_kit import manage
from tests.agents.module_model.operator_rules import OperatorRules
from tests.agents.module_model.teller import picks
from transport.secured_packet import ResponseStatus


class WorldRules(OperatorRules):
    """Time, power, repetitions."""

    @rule(seconds=st.sampled_from([1, 10, 100, 1000, -10, -100, -5000]))
    def clock(self, seconds: int) -> None:
        """Set the handset's clock, or let time pass."""
        self.card.now += seconds
        self.play(lambda: None)

    @precondition(lambda self: self.dates())
    @rule(pick=picks, off_by=st.sampled_from([0, -1, 1]), announced=st.booleans())
    def come_to_a_date(self, pick: int, off_by: int, announced: bool) -> None:  # noqa: FBT001 -- drawn
        """Let a resource's date come, not quite come, or just pass: by the handset's time or a signed one."""
        date = self.dates()[pick % len(self.dates())] + off_by
        if announced:
            self.play(lambda: self.tell_time(date))
        else:
            self.card.now = float(date)
            self.play(lambda: None)

    @rule()
    def power_cycle(self) -> None:
        """Cut power between two commands."""
        self.play(self.cycle_power)

    def cycle_power(self) -> None:
        """Switch the module off and on; that is the power cut, whatever was arranged."""
        self.cut = None
        self.card.power_cycle()
        self.model.power_cut()

    @precondition(lambda self: self.cut is None)
    @rule(cut=picks)
    def arrange_a_cut(self, cut: int) -> None:
        """Have power fail in the next thing that is written."""
        self.cut = cut

    # --- repetitions ---

    @precondition(lambda self: self.orders)
    @rule(pick=picks)
    def repeat_an_order(self, pick: int) -> None:
        """Send the module an old command: the last one has the same answer again, any other is a replay."""
        counter, data, answered = self.orders[-1 - pick % min(3, len(self.orders))]

        def act() -> None:
            image = bytes(self.card.film.image)
            replied = manage(self.card, data)
            assert replied.status is ResponseStatus.POR_OK
            if counter == self.model.commands:
                assert replied.data == answered
            else:
                assert self.card.reasons[-1] == "replayed"
            assert self.card.film.image == image

        self.play(act)

    @precondition(lambda self: self.announced)
    @rule(pick=picks)
    def repeat_an_announcement(self, pick: int) -> None:
        """Tell the module an old time."""
        _, data = self.announced[pick % len(self.announced)]
        self.play(lambda: self.unproven(data, "replayed"))

    @precondition(lambda self: self.packets)
    @rule(pick=picks)
    def repeat_a_packet(self, pick: int) -> None:
        """Send the module any packet that it ever got."""
        sent = self.packets[pick % len(self.packets)]

        def act() -> None:
            gate = self.model.packet(sent.tar, sent.session, sent.counter)
            assert gate.reasons
            image = bytes(self.card.film.image)
            self.card.download(sent.octets, sender=sent.number)
            assert self.card.reasons[-1] in gate.reasons
            assert self.card.film.image == image

        self.play(act)
