"""What an end of a connection can take, and how patient it is."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Final

from transport.cat_tp.pdu import HEADER_OCTETS, MAX_EXTENDED, MAX_FIELD

# As many as one EAK PDU can name, and the one that is missing ahead of them.
MAX_WINDOW: Final = MAX_EXTENDED + 1

# A PDU that could carry no octet would carry nothing.
SMALLEST_MAX_PDU: Final = HEADER_OCTETS + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CatTpSettings:
    """One end's limits. ``ValueError`` for what no connection could keep to.

    *max_pdu*: octets of the longest PDU taken, header included (19..65535), and the longest sent, whatever
    the peer takes. The default fits an Ethernet frame under IPv4 and UDP, and so the 1500-octet buffer of a
    terminal. *max_sdu*: octets of the longest SDU taken (1..65535). *window*: PDUs taken behind the last in
    order, and the most that are sent unacknowledged, whatever the peer takes (1..119).
    *retransmission_timeout_s* after a PDU went it goes again, as long as no round trip was measured. After
    that it is *min_timeout_s* to *max_timeout_s*: RFC 6298 wants no ceiling below 60 s, but who waits for a
    response waits no longer than that himself, and more than one attempt should fall into it.
    *max_retransmissions*: after so many time-outs without news, each twice as long as the one before, the
    connection is given up, and after *max_syn_repeats* while it is being opened. *close_wait_s*: for how long
    a closed connection still tells its peer so. *max_queued_sdus*: how many SDUs ``send`` takes ahead of the
    window, and how many received ones wait to be fetched.
    """

    max_pdu: int = 1472
    max_sdu: int = 0xFFFF
    window: int = 8
    retransmission_timeout_s: float = 3.0
    min_timeout_s: float = 1.0
    max_timeout_s: float = 30.0
    max_retransmissions: int = 10
    max_syn_repeats: int = 6
    close_wait_s: float = 10.0
    max_queued_sdus: int = 16

    def __post_init__(self) -> None:
        """Refuse what no connection could keep to."""
        if not SMALLEST_MAX_PDU <= self.max_pdu <= MAX_FIELD:
            raise ValueError(
                f"a maximum PDU size is {SMALLEST_MAX_PDU}..{MAX_FIELD} octets, not {self.max_pdu}"
            )
        if not 1 <= self.max_sdu <= MAX_FIELD:
            raise ValueError(f"a maximum SDU size is 1..{MAX_FIELD} octets, not {self.max_sdu}")
        if not 1 <= self.window <= MAX_WINDOW:
            raise ValueError(f"a window is 1..{MAX_WINDOW} PDUs, not {self.window}")
        if not (isfinite(self.retransmission_timeout_s) and self.retransmission_timeout_s > 0):
            raise ValueError(f"{self.retransmission_timeout_s} s is no time to wait for an acknowledgement")
        if not (isfinite(self.max_timeout_s) and 0 < self.min_timeout_s <= self.max_timeout_s):
            raise ValueError(f"{self.min_timeout_s}..{self.max_timeout_s} s are no bounds of a time-out")
        if not (isfinite(self.close_wait_s) and self.close_wait_s >= 0):
            raise ValueError(f"{self.close_wait_s} s is no time to wait after closing")
        if min(self.max_retransmissions, self.max_syn_repeats) < 0 or self.max_queued_sdus < 1:
            raise ValueError("less than no retransmission, or no room for a single SDU")


# For a module: a PDU fits one RECEIVE DATA (236 octets) and one SEND DATA, and few wait in its memory.
CARD_SETTINGS: Final = CatTpSettings(max_pdu=236, max_sdu=8192, window=4, max_queued_sdus=4)
