"""The radio: what becomes of a PDU between a network and a handset, without a radio, a clock or chance.

May import nothing of ours. Times are seconds of the caller's clock, handed in; "since launch" is counted from
the *epoch* that the caller names, the same one for all its lanes.

Theory of operation. :class:`Conditions` say what a bearer does to every PDU. A :class:`Lane` is one direction
of one handset on one bearer: ``carry(octets, now)`` answers with the arrival times of the copies, none when
the PDU is lost. Which fate the n-th PDU of a lane draws depends on the lane's seed and on n alone
(:mod:`transport.air.fates`), so a run that sends the same loses the same, however fast it goes and whatever
other lanes do. What does depend on the time is what must: the queue before a slow lane, and outages.

A lane is a store that forwards: PDUs leave one after the other, each takes its transmission time, then its
own delay. None overtakes another, unless the conditions say that some are held back. A reliable lane stands
for TCP over the same radio: what is lost is sent again after a time-out, so everything arrives, once and in
order, but later. :class:`Presence` says when a handset is switched on.
"""

from __future__ import annotations

from transport.air.conditions import Conditions, Outage
from transport.air.lane import MAX_RETRANSMISSIONS, MAX_RTO_S, RTO_S, Lane, Loss
from transport.air.presence import Presence

__all__ = [
    "MAX_RETRANSMISSIONS",
    "MAX_RTO_S",
    "RTO_S",
    "Conditions",
    "Lane",
    "Loss",
    "Outage",
    "Presence",
]
