"""The unique address UA of each handset's module: an ICCID of nineteen digits.

ITU-T E.118 §4: issuer identification, individual account identification, and a check digit after Luhn. Here::

    8988 | ffff | gggg | iiiiii | c
    ---- issuer: telecommunications, a shared country code
           ---- the fleet, a digest of its name, so that two fleets on one broker seldom meet
                  ---- the group, in the order of the config, from 0001
                         ------ the handset in its group, from 000001
                                  - Luhn

A handset keeps its address whatever is changed in the groups behind its own.
"""

from __future__ import annotations

import hashlib
from typing import Final

ISSUER: Final = "8988"
UA_DIGITS: Final = 19
MAX_GROUPS: Final = 9_999
MAX_HANDSETS: Final = 999_999


def luhn(digits: str) -> str:
    """Return the check digit of *digits* (ISO/IEC 7812-1 annex B)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def ua_of(fleet: str, group: int, index: int) -> str:
    """Return the UA of handset *index* of group *group*, both counted from 1."""
    if not (1 <= group <= MAX_GROUPS and 1 <= index <= MAX_HANDSETS):
        raise ValueError(f"no address for handset {index} of group {group}")
    fleet_digits = int.from_bytes(hashlib.sha256(fleet.encode()).digest()[:8], "big") % 10_000
    digits = f"{ISSUER}{fleet_digits:04}{group:04}{index:06}"
    return digits + luhn(digits)


def is_ua(text: str) -> bool:
    """Say whether *text* has the digits of a UA, the check digit among them."""
    return len(text) == UA_DIGITS and text.isascii() and text.isdigit() and luhn(text[:-1]) == text[-1]
