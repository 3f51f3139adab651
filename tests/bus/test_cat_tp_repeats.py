"""Which time a datagram of CAT_TP goes out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bus.bearers.cat_tp_repeats import Repeats
from transport.cat_tp import CatTpConnection, CatTpSettings, Pdu


def opened(*, again: int) -> list[bytes]:
    """Return the SYN of a connection that nobody answers, and its repetitions."""
    settings = CatTpSettings(max_syn_repeats=again)
    connection = CatTpConnection(local_port=1, remote_port=2, settings=settings, initial_sequence=65_535)
    connection.connect(0.0)
    said = list(connection.datagrams_to_send())
    while (due := connection.next_timer()) is not None and len(said) <= again:
        connection.handle_timer(due)
        said += connection.datagrams_to_send()
    return said


def test_what_is_repeated_is_counted() -> None:
    """Each time that a PDU with a number goes out again is one more."""
    repeats = Repeats()
    assert [repeats.time_of(said) for said in opened(again=2)] == [1, 2, 3]


@pytest.mark.parametrize("datagram", [b"", b"\x00" * 18, b"anything else"], ids=["empty", "zeros", "words"])
def test_what_is_none_is_said_once(datagram: bytes) -> None:
    """A module may send what is no CAT_TP: nothing is known of that."""
    repeats = Repeats()
    assert [repeats.time_of(datagram) for _ in range(2)] == [1, 1]


def test_old_numbers_are_forgotten() -> None:
    """Numbers begin anew one day: what was said long before is nothing that is repeated."""
    (syn,) = opened(again=0)
    repeats = Repeats()
    assert repeats.time_of(syn) == 1
    for number in range(256):
        assert repeats.time_of(replace(Pdu.parse(syn), sequence=number).encode()) == 1
    assert repeats.time_of(syn) == 1


def test_times_are_bounded() -> None:
    """However often something is said, a frame can tell which time it is."""
    repeats = Repeats()
    (syn,) = opened(again=0)
    assert max(repeats.time_of(syn) for _ in range(300)) == 255
