"""An ICCID in the octets of its file."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.errors import Rejected
from transport.iccid import iccid_digits, iccid_octets

DIGITS = st.text("0123456789", min_size=18, max_size=20)


def test_known() -> None:
    """Digits stand with their halves swapped, and F fills what is left."""
    assert iccid_octets("8988211000000000015").hex() == "988812010000000010f5"
    assert iccid_octets("89882110000000000157").hex() == "98881201000000001075"


@given(DIGITS)
def test_there_and_back(digits: str) -> None:
    """What was written is read again."""
    octets = iccid_octets(digits)
    assert len(octets) == 10
    assert iccid_digits(octets) == digits


@given(st.binary(max_size=12))
def test_arbitrary_octets(octets: bytes) -> None:
    """Octets are an ICCID that is written so, or are refused."""
    digits = ""
    with contextlib.suppress(Rejected):
        digits = iccid_digits(octets)
    assert not digits or iccid_octets(digits) == octets


def test_no_iccid_at_all() -> None:
    """What is refused is refused for one reason."""
    with pytest.raises(Rejected) as raised:
        iccid_digits(b"TAR")
    assert raised.value.reason == "iccid"


@pytest.mark.parametrize("digits", ["", "1" * 17, "1" * 21, "89882110000000000a", "\u0665" * 19])
def test_no_iccid(digits: str) -> None:
    """Anything but 18 to 20 digits is a fault of the caller."""
    with pytest.raises(ValueError, match="18 to 20 digits"):
        iccid_octets(digits)
