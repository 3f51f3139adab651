"""What a connection tells its shell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from transport.cat_tp.pdu import ResetReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The connection stands; this is what the peer's SYN said of it.

    *identification* is what the peer calls itself, for a module its ICCID in the octets of EF.ICCID; it is
    not proven by anything. *max_pdu* and *max_sdu* are what the peer takes, in octets.
    """

    identification: bytes
    max_pdu: int
    max_sdu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SduReceived:
    """The next service data unit of the peer, whole."""

    octets: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The connection carries nothing any more; comes once. *reason* is that of whoever ended it."""

    reason: ResetReason


Event: TypeAlias = Opened | SduReceived | Closed
