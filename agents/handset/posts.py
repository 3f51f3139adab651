"""What comes to a phone beside frames: ends of timers, its owner's orders, news of its reach and power."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from bus.frame import Frame

if TYPE_CHECKING:
    from agents.messages.orders import Order
    from bus.frame import TraceContext

SWITCH_OFF: Final = "switch-off"
SWITCH_ON: Final = "switch-on"
"""The orders about the handset's power, which its cell takes: nobody else could, of a handset that is off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerEnded:
    """A timer of the module's has ended, under the trace that it was started under."""

    number: int
    trace: TraceContext


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfReach:
    """The handset went out of reach: its channels are gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InReach:
    """The handset is back: its module is told what became of its channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderGiven:
    """What the person at the handset wants, taken out of its frame when that came."""

    order: Order
    trace: TraceContext

    @property
    def label(self) -> str:
        """What work on it is called: what it orders."""
        return self.order.do


@dataclass(frozen=True, slots=True, kw_only=True)
class PoweredOff:
    """The person switched the handset off."""

    given: OrderGiven

    @property
    def label(self) -> str:
        """What work on it is called: what was ordered."""
        return self.given.label


@dataclass(frozen=True, slots=True, kw_only=True)
class PoweredOn:
    """The person switched the handset on."""

    given: OrderGiven

    @property
    def label(self) -> str:
        """What work on it is called: what was ordered."""
        return self.given.label


Post: TypeAlias = Frame | TimerEnded | OutOfReach | InReach | OrderGiven | PoweredOff | PoweredOn
