"""Message codes of a domain: campaigns have some, and roll-overs of its key, which may come between, others.

A campaign's cycle comes again, so each of its packets has a code of its own: one with more packets than there
are codes for is refused. A roll-over is done with its packets one after the other, so a few codes do for any
number of modules.
"""

from __future__ import annotations

from typing import Final

from transport.cell_broadcast import CodeWindow
from transport.cell_broadcast.serial_number import MAX_CODE

_FEW: Final = 40
"""Eight rounds of them, in which a phone may have been out of reach, bring a key to some 3,000 modules."""

CAMPAIGN_CODES: Final = CodeWindow(codes=range(MAX_CODE + 1 - _FEW))
RENEWAL_CODES: Final = CodeWindow(codes=range(MAX_CODE + 1 - _FEW, MAX_CODE + 1))
