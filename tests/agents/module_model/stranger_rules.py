"""What a module must refuse whoever says it, in whatever state it is: forged, misplaced, impossible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from agents.messages.air import Block, Invoke, LoadData, Release
from agents.messages.codec import encode
from agents.messages.signed import EVERYBODY, Purpose
from tests.agents.module_kit import OTHER_UA, Operator
from tests.agents.module_model.model import refused
from tests.agents.module_model.operator_rules import FAULTS, OperatorRules, reservations
from tests.agents.module_model.supplier_rules import SupplierRules
from tests.agents.module_model.teller import TARS, picks

if TYPE_CHECKING:
    from collections.abc import Callable

_HIGH = (1 << 40) - 1
"""The highest counter: who got it taken would lock the operator out."""


class StrangerRules(OperatorRules, SupplierRules):
    """Forgeries, and what the right person says in the wrong place."""

    @rule(pick=picks, tar=st.sampled_from(TARS), terms=reservations)
    def misspeak(self, pick: int, tar: bytes, terms: dict[str, Any]) -> None:
        """Send one of many things that are no commands, or none here."""
        ways: tuple[Callable[[], None], ...] = (
            *(lambda fault=fault: self.make(tar, terms, None, fault=fault) for fault in sorted(FAULTS)),
            *(lambda number=number: self.forge(tar, number) for number in range(len(_FORGERIES))),
            lambda: self.play(lambda: self.order(Invoke(argument=b""), refused("unexpected-message"))),
            lambda: self.order_as_a_supplier(pick, Block(tar=tar)),
            lambda: self.order_as_a_supplier(pick, Release(tar=tar)),
        )
        ways[pick % len(ways)]()

    def order_as_a_supplier(self, pick: int, command: object) -> None:
        """Give an operator's command under a session: it is none there."""
        if self.keys:
            tar, session = self.target(pick)
            self.play(lambda: self.tell(tar, session, command, lambda: refused("unexpected-message")))

    def forge(self, tar: bytes, number: int) -> None:
        """Order the module to block a resource, as everybody might who is not its operator."""
        reason, forge = _FORGERIES[number]
        self.play(lambda: self.unproven(forge(self.operator, Block(tar=tar)), reason))


def _stranger() -> Operator:
    return Operator(suite="x25519", name="other-mno")


_FORGERIES: tuple[tuple[str, Callable[[Operator, Block], bytes]], ...] = (
    ("not-our-operator", lambda _, command: _stranger().signed(command, counter=_HIGH)),
    ("signature", lambda _, command: _stranger().signed(command, counter=_HIGH, signer="mno")),
    ("meant-for-another", lambda ours, command: ours.signed(command, counter=_HIGH, ua=OTHER_UA)),
    ("signature", lambda ours, command: ours.signed(command, counter=_HIGH, purpose=Purpose.ANSWER)),
    (
        "unexpected-message",
        lambda ours, command: ours.signed(command, counter=_HIGH, ua=EVERYBODY, purpose=Purpose.ANNOUNCEMENT),
    ),
    ("unexpected-message", lambda _, command: encode(command)),
    ("unexpected-message", lambda _, __: encode(LoadData(octets=b""))),
    ("not-msgpack", lambda ours, command: ours.signed(command, counter=_HIGH)[:-1]),
)
