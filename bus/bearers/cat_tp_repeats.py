"""Which time a CAT_TP PDU is said: by its number, which only one that is repeated has again.

CAT_TP repeats by itself, below whoever sends and, at a handset, inside the module; what frames, and so the
log, say of that is read off its datagrams.
"""

from __future__ import annotations

from typing import Final

from transport.cat_tp import Pdu
from transport.errors import Rejected

_REMEMBERED: Final = 256
"""Numbers: more than a window has, and less than there are before they begin anew."""
_MOST: Final = 255


class Repeats:
    """Of one end of one connection."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: dict[int, int] = {}

    def time_of(self, datagram: bytes) -> int:
        """Count that *datagram* goes out; return how often it did: once, if it has no number of its own."""
        try:
            pdu = Pdu.parse(datagram)
        except Rejected:  # a module may say anything
            return 1
        if not pdu.takes_number:
            return 1
        times = min(self._times.pop(pdu.sequence, 0) + 1, _MOST)
        self._times[pdu.sequence] = times
        if len(self._times) > _REMEMBERED:
            del self._times[next(iter(self._times))]
        return times
