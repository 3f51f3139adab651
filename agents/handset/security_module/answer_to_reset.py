"""What the module says of itself before anybody asked: the answer to reset (ISO/IEC 7816-3 clause 8)."""

from __future__ import annotations

from functools import reduce
from operator import xor
from typing import Final

_DIRECT_CONVENTION: Final = 0x3B

# Interface characters (clause 8.3; an example for T=0 and T=1 in TS 102 221 annex D).
_TA1_AND_TD1: Final = 0x90
_INTERFACE: Final = bytes(
    (
        0x95,  # TA1: F = 512, D = 16, which a UICC has to know
        0x80,  # TD1: T=0 is the first offer; TD2 follows
        0xB1,  # TD2: T=1 is the other one; TA3, TB3 and TD3 follow
        0xFE,  # TA3: it takes 254 octets in a block
        0x45,  # TB3: block and character waiting times
        0x1F,  # TD3: what follows is of no protocol; TA4
        0xC7,  # TA4: the clock may be stopped at any level; 5 V, 3 V, 1.8 V
    )
)

# Historical characters (ISO/IEC 7816-4 clause 8.1.1): compact TLV, a tag and a length in one octet.
_HISTORICAL: Final = (
    b"\x80"
    # Card service data: applications are selected by their names, or the beginnings of them; EF.DIR is there
    # and has records; so is an MF.
    b"\x31\xe0"
    # Card capabilities: directories by name, its beginning, path and identifier, and the MF without being
    # asked; short identifiers; record numbers. Units of one octet. One logical channel, no extended lengths.
    b"\x73\xfe\x21\x00"
    # Pre-issuing data: whose card it is.
    b"\x66OTAFLT"
)


def _answer_to_reset() -> bytes:
    characters = bytes((_TA1_AND_TD1 | len(_HISTORICAL),)) + _INTERFACE + _HISTORICAL
    check = reduce(xor, characters)  # TCK, because T=0 is not the only offer (clause 8.2.5)
    return bytes((_DIRECT_CONVENTION,)) + characters + bytes((check,))


ATR: Final = _answer_to_reset()
