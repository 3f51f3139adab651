"""An ICCID, which is a module's address, in the octets of EF.ICCID (TS 102 221 clause 13.2)."""

from __future__ import annotations

from typing import Final

from transport.errors import Rejected

OCTETS: Final = 10
_FILLER: Final = "F"


def iccid_octets(digits: str) -> bytes:
    """Return 18 to 20 *digits* as ten octets, the first digit in the low half of the first; F fills the rest.

    ValueError for anything else.
    """
    if not (18 <= len(digits) <= 2 * OCTETS and digits.isascii() and digits.isdigit()):
        raise ValueError("an ICCID is 18 to 20 digits")
    padded = digits.ljust(2 * OCTETS, _FILLER)
    return bytes.fromhex("".join(padded[at + 1] + padded[at] for at in range(0, 2 * OCTETS, 2)))


def iccid_digits(octets: bytes) -> str:
    """Return the digits in *octets*; Rejected ("iccid") when they are no ICCID."""
    halves = octets.hex().upper()
    digits = "".join(halves[at + 1] + halves[at] for at in range(0, len(halves), 2)).rstrip(_FILLER)
    try:
        again = iccid_octets(digits)
    except ValueError:
        again = b""
    if again != octets:
        raise Rejected("iccid", f"{len(octets)} octets are no ICCID")
    return digits
