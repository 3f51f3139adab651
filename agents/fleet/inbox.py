"""Where parts of what modules send to a role wait for the others, with room for all that a module can send.

A handshake is a call and one or two responses, the longest some thousand octets with post-quantum keys. A
module answers several at once, and its terminal brings their parts mixed.
"""

from __future__ import annotations

from typing import Final

from agents.handset.security_module.profile import MAX_CALLS
from transport.concatenation import MAX_MESSAGE_OCTETS, Reassembler

PER_MODULE: Final = 2 * MAX_CALLS
"""Messages of one module: for each handshake that it can have open, the call and a response to it."""
PER_MODULE_OCTETS: Final = 4 * MAX_MESSAGE_OCTETS
"""Octets of them: twice over what those are when the form is sign-then-agree, and the suite pq-hybrid."""
MESSAGES: Final = 4096
OCTETS: Final = 16 * 1024 * 1024


def inbox() -> Reassembler:
    """Return a role's."""
    return Reassembler(
        max_messages=MESSAGES,
        max_octets=OCTETS,
        max_per_sender=PER_MODULE,
        max_octets_per_sender=PER_MODULE_OCTETS,
    )
