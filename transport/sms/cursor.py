"""Reading a TPDU from left to right, never past its end; and semi-octets, its way to write digits."""

from __future__ import annotations

from typing import Final

from transport.errors import TpduRejected

# TS 23.040 §9.1.2.3: the first digit stands in the low half of its octet.
_SWAPPED: Final = bytes((octet & 0x0F) << 4 | octet >> 4 for octet in range(256))


def swap_semi_octets(octets: bytes) -> bytes:
    """Return *octets* with the two halves of each exchanged."""
    return octets.translate(_SWAPPED)


class Cursor:
    """A place in *octets*; each read moves it, or raises TpduRejected (``truncated``) at the end."""

    __slots__ = ("_octets", "_offset")

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._offset = 0

    def octet(self) -> int:
        """Return the next octet as a number."""
        return self.take(1)[0]

    def take(self, count: int) -> bytes:
        """Return the next *count* octets."""
        end = self._offset + count
        if end > len(self._octets):
            raise TpduRejected("truncated", f"{end - len(self._octets)} octets missing")
        taken = self._octets[self._offset : end]
        self._offset = end
        return taken

    def finish(self) -> None:
        """Raise TpduRejected (``trailing-octets``) unless all octets were read."""
        left = len(self._octets) - self._offset
        if left:
            raise TpduRejected("trailing-octets", f"{left} octets behind the end")
