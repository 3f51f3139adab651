"""API rights: which host functions a resource's programme may be linked to (DESIGN section 6).

In DEF and in messages that count octets, rights are a bitmap; a bit is never given a second meaning.
"""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RIGHTS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "random": 0x01,
        "sha256": 0x02,
        "hmac": 0x04,
        "time": 0x08,
        "display": 0x10,
        "aes": 0x20,
        "sign": 0x40,
    },
)
"""Name of each right and its bit."""


def rights_mask(names: Iterable[str]) -> int:
    """Return the bitmap of these rights; raise ValueError on a name that is no right."""
    mask = 0
    for name in names:
        if name not in RIGHTS:
            raise ValueError(f"there is no right {name!r}; rights are {', '.join(RIGHTS)}")
        mask |= RIGHTS[name]
    return mask


@cache
def rights_names(mask: int) -> frozenset[str]:
    """Return the rights in a bitmap; raise ValueError on a bit that is no right."""
    names = frozenset(name for name, bit in RIGHTS.items() if mask & bit)
    if mask != rights_mask(names):
        raise ValueError(f"no right has a bit in {mask:#x} beyond {rights_mask(names):#x}")
    return names
