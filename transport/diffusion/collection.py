"""Collecting the pieces of a campaign whose manifest is proven.

Two ways lead to the programme. The *short* way needs no digests of pieces: as soon as there are enough, the
first copy of each is tried, and the programme's SHA-256 in the manifest decides. Nobody but a holder of the
domain key can put in a piece, so among honest modules this succeeds at once, and the list of digests, which
is long where pieces are short, need not have come. If it does not succeed somebody forged: from then on only
the *sure* way counts, pieces whose digest is in the list, which the manifest has the digests of. A forged
piece costs nothing there; on the short way it costs one attempt in all.

Bounds: of a piece that no digest is known for at most four copies that differ, of all pieces ``max_octets``,
and the list, 16 octets a piece. Attempts grow further apart, one more piece, then two, four, eight: who makes
them fail by choosing which pieces come first makes the decoder try at most four times for each repair piece,
both ways taken together.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from transport.diffusion.fragment import FragmentKind
from transport.diffusion.manifest import DIGEST_OCTETS, is_digest_of
from transport.errors import DiffusionRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from transport.diffusion.fragment import Fragment
    from transport.diffusion.manifest import Manifest
    from transport.diffusion.work import Work

MAX_COPIES: Final = 4


class Collection:
    """The pieces of the campaign of *manifest*, at most *max_octets* of them.

    ``is_suspect`` once the short way has failed; ``is_broken`` once the supplier himself is at fault: what is
    all as his manifest says does not make what it says.
    """

    def __init__(self, manifest: Manifest, work: Work, max_octets: int) -> None:
        self.manifest = manifest
        self.campaign = manifest.campaign
        self.is_suspect = self.is_broken = False
        self._work = work
        self._max_octets = max_octets
        self._octets = 0
        self._pieces = manifest.pieces
        self._piece_length = manifest.piece_length
        self._first: dict[int, bytes] = {}  # of each piece the copy that came first
        self._others: dict[int, list[bytes]] = {}  # and those that differ from it, of the few that have such
        self._digests: dict[int, bytes] = {}
        self._next_attempt = manifest.sources

    @property
    def octets(self) -> int:
        """The octets held: pieces and the list of digests."""
        return self._octets + len(self._digests) * DIGEST_OCTETS

    @property
    def collected(self) -> int:
        """How many pieces there are that count."""
        return len(self._usable())

    def take(self, fragment: Fragment) -> bytes | None:
        """Take a fragment of this campaign, a digest part or a piece; return the programme when it is whole.

        Raises DiffusionRejected, and then holds what it held: "out-of-range", "forged", "length", "full".
        """
        if not _TAKE[fragment.kind](self, fragment.number, fragment.data):
            return None
        if len(self._first) < self._next_attempt:
            return None  # whichever way: at most these count
        was_suspect = self.is_suspect
        programme = self._attempt()
        if self.is_suspect and not was_suspect:
            return self._attempt()  # the sure way may have enough already
        return programme

    def _take_digests(self, part: int, octets: bytes) -> bool:
        """Take a part of the list; every copy of a piece that is not what it says is forged, and goes."""
        if part >= len(self.manifest.digests):
            raise DiffusionRejected("out-of-range", f"digest part {part}")
        if not is_digest_of(self.manifest.digests[part], octets):
            raise DiffusionRejected("forged", f"digest part {part}")
        covered = self.manifest.in_part(part)
        if len(octets) != len(covered) * DIGEST_OCTETS:
            self.is_broken = True
            return False
        for place, index in enumerate(covered):
            expected = octets[place * DIGEST_OCTETS : (place + 1) * DIGEST_OCTETS]
            self._digests[index] = expected
            copies = self._copies(index)
            held = [copy for copy in copies if is_digest_of(expected, copy)]
            self._octets -= (len(copies) - len(held)) * self._piece_length
            self._others.pop(index, None)
            if held:
                self._first[index] = held[0]
            else:
                self._first.pop(index, None)
        return True

    def _take_piece(self, index: int, piece: bytes) -> bool:
        if index >= self._pieces:
            raise DiffusionRejected("out-of-range", f"piece {index}")
        if len(piece) != self._piece_length:
            raise DiffusionRejected("length", f"piece {index} of {len(piece)} octets")
        first = self._first.get(index)
        if piece == first or (first is not None and piece in self._others.get(index, ())):
            return False
        expected = self._digests.get(index)
        if expected is not None and not is_digest_of(expected, piece):
            raise DiffusionRejected("forged", f"piece {index}")
        if self._octets + len(piece) > self._max_octets or len(self._others.get(index, ())) == MAX_COPIES - 1:
            raise DiffusionRejected("full", f"no room for piece {index}")
        self._octets += len(piece)
        if first is not None:
            self._others.setdefault(index, []).append(piece)
            return False
        self._first[index] = piece
        return True

    def _copies(self, index: int) -> list[bytes]:
        """Return the copies of a piece, the first one first."""
        return [self._first[index], *self._others.get(index, ())] if index in self._first else []

    def _usable(self) -> Mapping[int, bytes]:
        """Return the pieces that count: the first copies, or on the sure way those whose digest is known."""
        if not self.is_suspect:
            return self._first
        return {index: self._first[index] for index in self._digests if index in self._first}

    def _attempt(self) -> bytes | None:
        usable = self._usable()
        if len(usable) < self._next_attempt:
            return None
        sources = self.manifest.sources
        recovered = self._work.recover(self.manifest, usable)
        if recovered is None:
            self._next_attempt = sources + 2 * (len(usable) - sources) + 1
            return None
        if compare_digest(self._work.digest(recovered), self.manifest.programme_sha256):
            return recovered
        self.is_broken = all(index in self._digests for index in usable)
        self.is_suspect = True
        self._next_attempt = sources
        return None


_TAKE: Final[Mapping[FragmentKind, Callable[[Collection, int, bytes], bool]]] = {
    FragmentKind.DIGESTS: Collection._take_digests,  # noqa: SLF001 -- a table of this class's own methods
    FragmentKind.PIECE: Collection._take_piece,  # noqa: SLF001
}
