"""What the network says of a handset that is off, and of its return (TS 23.040 clause 10).

A short message for a handset that is off comes back as "absent subscriber", under the frame reference of
that message; the network notes the sender's address (its messages-waiting data) and says "alert" to each
address noted when the handset is back. The frame's source is the module's UA, its bearer NOTICE, and its PDU
one octet.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Self

from bus.errors import FrameRejected


# TS 29.002, the protocol in which a real network says the same: the codes of its error and of its operation
class Notice(IntEnum):
    """One word of the network's; the value is its octet."""

    ABSENT = 6  # error absentSubscriberSM
    ALERT = 64  # operation alertServiceCentre

    def encode(self) -> bytes:
        """Return the one octet that says so."""
        return bytes((self,))

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Return the notice that *octets* are. Raises FrameRejected (``bad-notice``) for anything else."""
        try:
            (value,) = octets
            return cls(value)
        except ValueError:
            raise FrameRejected("bad-notice", f"{len(octets)} octets") from None
