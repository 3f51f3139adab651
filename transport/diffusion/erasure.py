"""From a programme to pieces, and back from enough of them: the forward error correction (FEC) of a campaign.

Scheme ``PLAIN`` has no repair pieces: each piece is needed. Scheme ``RAPTORQ`` (RFC 6330) has as many as one
likes, and nearly any pieces that are as many as the programme has will do: one time in a hundred and fifty
one more is needed, hardly ever two. A piece's index is its encoding symbol ID; there is one source block.

The code is the wheel ``raptorq``, imported when it is first needed, because it is an extra that most fleets
do without. It panics on symbols of a wrong length and on indices beyond what it was told of, so it is never
shown any: lengths and indices are checked here. What it does depends on the indices alone and not on what
stands in the symbols, so nobody who forges symbols can make it work longer; how often it works is bounded by
who collects (``collection``).
"""

from __future__ import annotations

from enum import IntEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PROGRAMME: Final = 65_536
MAX_PIECES: Final = 1023
PIECE_UNIT: Final = 8
"""Pieces have whole units of this many octets: RaptorQ's symbols are aligned to it."""

_ESI_OCTETS: Final = 4  # source block number, which is 0, and encoding symbol ID


class Scheme(IntEnum):
    """How pieces are made of a programme."""

    PLAIN = 0
    RAPTORQ = 1


def is_available(scheme: Scheme) -> bool:
    """Whether *scheme* can be used here: RaptorQ needs the extra ``fec``."""
    return scheme is Scheme.PLAIN or _raptorq() is not None


def _raptorq() -> Any:
    try:
        return import_module("raptorq")
    except ImportError:
        return None


def source_pieces(length: int, piece_length: int) -> int:
    """Return how many pieces of *piece_length* octets a programme of *length* has."""
    return -(-length // piece_length)


def make_pieces(programme: bytes, piece_length: int, repair: int, scheme: Scheme) -> tuple[bytes, ...]:
    """Return the pieces of *programme*, the last source piece filled with zeros, then *repair* more.

    ValueError for what the scheme cannot do, or cannot do here.
    """
    if not programme or len(programme) > MAX_PROGRAMME or piece_length % PIECE_UNIT or piece_length <= 0:
        raise ValueError(f"{len(programme)} octets are not cut into pieces of {piece_length}")
    if scheme is Scheme.PLAIN:
        if repair:
            raise ValueError("there are no repair pieces without forward error correction")
        starts = range(0, len(programme), piece_length)
        return tuple(programme[start : start + piece_length].ljust(piece_length, b"\0") for start in starts)
    library = _raptorq()
    if library is None:
        raise ValueError("forward error correction needs the package raptorq: pip install 'otafleet[fec]'")
    encoder = library.Encoder.with_defaults(programme, piece_length)
    return tuple(symbol[_ESI_OCTETS:] for symbol in encoder.get_encoded_packets(repair))


def recover(pieces: Mapping[int, bytes], length: int, piece_length: int, scheme: Scheme) -> bytes | None:
    """Return the programme of *length* octets that *pieces*, by their index, give; None if they do not yet.

    Costs time and memory in proportion to the programme, whatever the pieces hold. ValueError for pieces of
    another length, indices that cannot be, and where ``is_available`` says no.
    """
    if any(not 0 <= index < MAX_PIECES or len(piece) != piece_length for index, piece in pieces.items()):
        raise ValueError(f"these are not pieces of {piece_length} octets")
    sources = source_pieces(length, piece_length)
    if all(index in pieces for index in range(sources)):
        return b"".join(pieces[index] for index in range(sources))[:length]
    if scheme is Scheme.PLAIN or len(pieces) < sources:
        return None
    library = _raptorq()
    if library is None:
        raise ValueError("forward error correction needs the package raptorq")
    return _decode(library.Decoder.with_defaults(length, piece_length), pieces)


def _decode(decoder: Any, pieces: Mapping[int, bytes]) -> bytes | None:
    found: bytes | None = None
    for index in sorted(pieces):
        found = decoder.decode(index.to_bytes(_ESI_OCTETS, "big") + pieces[index])
        if found is not None:
            break
    return found
