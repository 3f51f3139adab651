"""The receiving half of a connection: PDUs into order, segments into SDUs.

What it holds is bounded by our own settings: an SDU that is not whole, up to our maximum, and fewer PDUs out
of order than our window counts, each no longer than our maximum PDU.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from transport.cat_tp.pdu import MAX_FIELD, Flags
from transport.errors import CatTpRejected

if TYPE_CHECKING:
    from transport.cat_tp.pdu import Pdu
    from transport.cat_tp.settings import CatTpSettings


class Place(Enum):
    """Where the number of a PDU that takes one lies."""

    NEXT = auto()  # the one that is missing
    AHEAD = auto()  # within the window behind that
    HELD = auto()  # likewise, and it is here already
    PAST = auto()  # not further back than a peer may still be repeating
    OUTSIDE = auto()


class ReceivingHalf:
    """What came from a peer whose SYN had the number *initial_sequence*."""

    __slots__ = ("_current", "_held", "_initial", "_max_sdu", "_partial", "_window")

    def __init__(self, settings: CatTpSettings, initial_sequence: int) -> None:
        self._window = settings.window
        self._max_sdu = settings.max_sdu
        self._initial = initial_sequence  # RCV.IRS
        self._current = initial_sequence  # RCV.CUR: the last number up to which nothing is missing
        self._held: dict[int, Pdu] = {}
        self._partial = bytearray()

    @property
    def initial_sequence(self) -> int:
        """The number of the peer's SYN, RCV.IRS."""
        return self._initial

    @property
    def current(self) -> int:
        """The last number up to which nothing is missing, RCV.CUR: what an ACK says."""
        return self._current

    @property
    def held_octets(self) -> int:
        """Octets of data that wait for others: of an SDU that is not whole, and out of order."""
        return len(self._partial) + sum(len(pdu.payload) for pdu in self._held.values())

    def out_of_order(self, room: int) -> tuple[int, ...]:
        """Return the numbers held out of order, nearest first, at most *room* of them: what an EAK says."""
        return tuple(sorted(self._held, key=self._distance)[:room])

    def place(self, sequence: int) -> Place:
        """Return where *sequence* lies."""
        distance = self._distance(sequence)
        if distance == 1:
            return Place.NEXT
        if 1 < distance <= self._window:
            return Place.HELD if sequence in self._held else Place.AHEAD
        return Place.PAST if -distance % 0x10000 <= self._window else Place.OUTSIDE

    def is_near(self, sequence: int) -> bool:
        """Whether a PDU with *sequence* may be believed: it lies no further off than the window is wide.

        One that takes no number has the next one of its sender, which may be one beyond the window.
        """
        return (self._distance(sequence) + self._window) & MAX_FIELD <= 2 * self._window + 1

    def may_reset(self, sequence: int) -> bool:
        """Whether an RST with *sequence* counts: its sender's next number is none that came already."""
        return 1 <= self._distance(sequence) <= self._window + 1

    def hold(self, pdu: Pdu) -> None:
        """Keep *pdu*, whose place is AHEAD."""
        self._held[pdu.sequence] = pdu

    def take(self, pdu: Pdu) -> list[bytes]:
        """Take *pdu*, whose place is NEXT, and what was held behind it; return the SDUs that are now whole.

        CatTpRejected (``sdu-too-long``) when segments grow beyond our maximum; the connection is then of no
        use any more, for the peer may have been told that we have what follows.
        """
        sdus: list[bytes] = []
        following: Pdu | None = pdu
        while following is not None:
            self._current = following.sequence
            if following.payload:  # a NUL has its number and nothing else
                self._append(following, sdus)
            following = self._held.pop((self._current + 1) & MAX_FIELD, None)
        return sdus

    def _append(self, pdu: Pdu, sdus: list[bytes]) -> None:
        """Add the data of *pdu* to the SDU that is not whole; if that makes it so, to *sdus*."""
        if len(self._partial) + len(pdu.payload) > self._max_sdu:
            raise CatTpRejected("sdu-too-long", f"more than {self._max_sdu} octets")
        self._partial += pdu.payload
        if not pdu.flags & Flags.SEG:
            sdus.append(bytes(self._partial))
            self._partial.clear()

    def _distance(self, sequence: int) -> int:
        """How far *sequence* lies ahead of the last that is here, 0..65535."""
        return (sequence - self._current) & MAX_FIELD
