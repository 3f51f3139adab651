from __future__ import annotations

import random
import sys
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport.diffusion import MAX_PIECES, MAX_PROGRAMME, Scheme, is_available, make_pieces, recover

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTHS = (1, 48, 49, 4096)
PIECE = 48


@cache
def made(length: int, repair: int = 100, piece: int = PIECE) -> tuple[bytes, tuple[bytes, ...]]:
    """Return a programme of *length* octets and its pieces."""
    programme = random.Random(length).randbytes(length)
    return programme, make_pieces(programme, piece, repair, Scheme.RAPTORQ)


@pytest.mark.parametrize("length", LENGTHS)
def test_plain_pieces(length: int) -> None:
    """Plain pieces are the programme, cut and filled up; all together give it back, and no fewer do."""
    programme = made(length)[0]
    pieces = dict(enumerate(make_pieces(programme, PIECE, 0, Scheme.PLAIN)))
    assert b"".join(pieces.values()).rstrip(b"\0") == programme.rstrip(b"\0")
    assert recover(pieces, length, PIECE, Scheme.PLAIN) == programme
    for missing in pieces:
        others = {index: piece for index, piece in pieces.items() if index != missing}
        assert recover(others, length, PIECE, Scheme.PLAIN) is None


@pytest.mark.parametrize("length", LENGTHS)
def test_any_pieces_will_do(length: int) -> None:
    """Source pieces are those of the plain scheme, and any two more than the programme has give it back."""
    programme, pieces = made(length)
    sources = make_pieces(programme, PIECE, 0, Scheme.PLAIN)
    assert pieces[: len(sources)] == sources
    rng = random.Random(length)
    for _ in range(20):
        chosen = rng.sample(range(len(pieces)), len(sources) + 2)
        assert recover({index: pieces[index] for index in chosen}, length, PIECE, Scheme.RAPTORQ) == programme


def test_fewer_than_the_programme_has() -> None:
    """One piece fewer than the programme has gives nothing, repair pieces or not."""
    _, pieces = made(4096)
    for start in (1, 86, 100):
        few = {index: pieces[index] for index in range(start, start + 85)}
        assert recover(few, 4096, PIECE, Scheme.RAPTORQ) is None


def test_as_many_do_not_always_suffice() -> None:
    """Of many choices of as many pieces as the programme has a few give nothing, and never a wrong one."""
    programme, pieces = made(480)
    rng = random.Random(1)
    found = [
        recover({index: pieces[index] for index in rng.sample(range(110), 10)}, 480, PIECE, Scheme.RAPTORQ)
        for _ in range(2000)
    ]
    assert set(found) == {programme, None}
    assert found.count(None) < 40


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_forged_pieces_cost_no_more_than_honest_ones(data: st.DataObject) -> None:
    """Pieces of arbitrary octets give what has the programme's length, or nothing, and raise nothing."""
    numbers = data.draw(st.sets(st.integers(0, MAX_PIECES - 1), min_size=1, max_size=20))
    pieces = {number: data.draw(st.binary(min_size=8, max_size=8)) for number in numbers}
    length = data.draw(st.integers(1, 100))
    found = recover(pieces, length, 8, Scheme.RAPTORQ)
    assert found is None or len(found) == length


@pytest.mark.parametrize(
    ("length", "piece"),
    [(MAX_PROGRAMME, 128), (48_960, 48), (MAX_PROGRAMME, 1200)],
    ids=["512", "1020", "55"],
)
def test_the_largest_programmes(length: int, piece: int) -> None:
    """Programmes of the most octets, and of the most pieces, come back from the last pieces there are."""
    sources = -(-length // piece)
    programme, pieces = made(length, min(sources + 2, MAX_PIECES - sources), piece)
    last = dict(list(enumerate(pieces))[-sources - 2 :])
    assert recover(last, length, piece, Scheme.RAPTORQ) == programme


def test_mistakes_of_our_own() -> None:
    """What the schemes cannot do is a ValueError, and so are pieces that are none."""
    mistakes: list[Callable[[], object]] = [
        lambda: make_pieces(b"", 48, 0, Scheme.PLAIN),
        lambda: make_pieces(bytes(MAX_PROGRAMME + 1), 48, 0, Scheme.PLAIN),
        lambda: make_pieces(b"x", 47, 0, Scheme.RAPTORQ),
        lambda: make_pieces(b"x", 0, 0, Scheme.PLAIN),
        lambda: make_pieces(b"x", 48, 1, Scheme.PLAIN),
        lambda: recover({0: bytes(47)}, 48, 48, Scheme.RAPTORQ),
        lambda: recover({MAX_PIECES: bytes(48)}, 48, 48, Scheme.RAPTORQ),
        lambda: recover({-1: bytes(48)}, 48, 48, Scheme.PLAIN),
    ]
    for mistake in mistakes:
        with pytest.raises(ValueError, match=r"pieces"):
            mistake()


def test_without_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without raptorq the plain scheme works, and the other is said to need the extra."""
    programme, pieces = made(480)
    repair = dict(enumerate(pieces[10:], 10))
    monkeypatch.setitem(sys.modules, "raptorq", None)
    assert [is_available(scheme) for scheme in Scheme] == [True, False]
    with pytest.raises(ValueError, match=r"otafleet\[fec\]"):
        make_pieces(programme, PIECE, 1, Scheme.RAPTORQ)
    with pytest.raises(ValueError, match="raptorq"):
        recover(repair, 480, PIECE, Scheme.RAPTORQ)
    with suppress(KeyError):
        monkeypatch.undo()
    assert is_available(Scheme.RAPTORQ)
