"""Cutting a packet into short messages, and putting it together again.

May import :mod:`transport.errors` and :mod:`transport.sms`.

TS 23.040 §9.2.3.24.1 (8-bit references) and §9.2.3.24.8 (16-bit). Every part carries a concatenation element:
the reference of its message, how many parts there are, and which one this is. The element that says what the
packet is (70 command, 71 response) stands in part 1 only, before or behind the concatenation element (TS
31.115 §4). An element that names no part (a zero, a sequence beyond the total) is ignored.

Theory of operation. :func:`split` cuts. The :class:`Reassembler` holds what is incomplete, within bounds of
memory and of time that do not depend on the peer, so many octets and messages from each sender and so many in
all. A message is named by its sender, its kind of reference and the reference. References are reused, so a
part that contradicts what is held (another total, or other octets in the same place) starts its message anew.
What has ended is remembered for as long as an incomplete message would be held: of a complete one, so that a
part that the network delivers twice neither delivers the message twice nor lies in wait for the next user of
the reference; of a refused one, so that its other parts are refused too and are never held. Every part costs
the same, however many are held.

A part is refused with ConcatenationRejected, whose reason is one of :class:`Refusal` and does not change.
"""

from transport.concatenation.held import Dropped, DropReason
from transport.concatenation.parts import MAX_MESSAGE_OCTETS, MAX_PARTS, Part, split
from transport.concatenation.reassembler import Reassembler, Refusal

__all__ = [
    "MAX_MESSAGE_OCTETS",
    "MAX_PARTS",
    "DropReason",
    "Dropped",
    "Part",
    "Reassembler",
    "Refusal",
    "split",
]
