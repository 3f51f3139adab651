"""The counter rule: whether a packet's CNTR is fresh, and what the receiver stores then (TS 102 225 §5.1.4).

Asked only after the checksum has verified: a forged packet must not move a counter.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from transport.secured_packet.parameters import CounterMode
from transport.secured_packet.protection import MAX_COUNTER
from transport.secured_packet.status import ResponseStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BLOCKED_COUNTER: Final = MAX_COUNTER
"""FF FF FF FF FF: a receiver that stores it takes no more packets whose counter is checked."""


class CounterVerdict(NamedTuple):
    """``refusal``: the status to answer with, None for a fresh packet; ``stored``: the value to keep."""

    refusal: ResponseStatus | None
    stored: int


def _higher(received: int, stored: int) -> ResponseStatus | None:
    return None if received > stored else ResponseStatus.CNTR_LOW


def _plus_one(received: int, stored: int) -> ResponseStatus | None:
    return ResponseStatus.CNTR_HIGH if received > stored + 1 else _higher(received, stored)


_CHECKS: Final[Mapping[CounterMode, Callable[[int, int], ResponseStatus | None]]] = MappingProxyType(
    {CounterMode.HIGHER: _higher, CounterMode.PLUS_ONE: _plus_one}
)


def check_counter(mode: CounterMode, *, received: int, stored: int) -> CounterVerdict:
    """Judge *received* against *stored* as *mode* says; both 0..2^40-1.

    A refusal and mode NONE leave the stored value alone. NO_CHECK accepts any counter but never moves the
    stored one back (some cards store what came): else one unchecked packet would let every older one be
    replayed. Accepting FF FF FF FF FF blocks the counter.
    """
    if mode is CounterMode.NONE:
        return CounterVerdict(None, stored)
    check = _CHECKS.get(mode)
    if check is None:
        return CounterVerdict(None, max(received, stored))
    if stored == BLOCKED_COUNTER:
        return CounterVerdict(ResponseStatus.CNTR_BLOCKED, stored)
    refusal = check(received, stored)
    return CounterVerdict(refusal, stored if refusal else received)
