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
        offset = self._offset
        try:
            octet = self._octets[offset]
        except IndexError:
            raise TpduRejected("truncated", "1 octets missing") from None
        self._offset = offset + 1
        return octet

    def take(self, count: int) -> bytes:
        """Return the next *count* octets."""
        offset = self._offset
        end = offset + count
        taken = self._octets[offset:end]
        if len(taken) < count:
            raise TpduRejected("truncated", f"{count - len(taken)} octets missing")
        self._offset = end
        return taken

    def finish(self) -> None:
        """Raise TpduRejected (``trailing-octets``) unless all octets were read."""
        left = len(self._octets) - self._offset
        if left:
            raise TpduRejected("trailing-octets", f"{left} octets behind the end")
