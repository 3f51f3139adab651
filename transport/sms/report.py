"""The phone's answer to a short message: SMS-DELIVER-REPORT."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Self

from transport.errors import TpduRejected
from transport.sms import fields
from transport.sms.cursor import Cursor

if TYPE_CHECKING:
    from transport.sms.user_data import UserData

# TS 23.040 §9.2.2.1a: a report carries no addresses, so it has more room. From memory of the clause.
MAX_ACK_USER_DATA: Final = 159
MAX_ERROR_USER_DATA: Final = 158

# TS 23.040 §9.2.2.1a and §9.2.3.27
_REPORT_SPARE: Final = 0xBC
_PI_PID: Final = 0x01
_PI_DCS: Final = 0x02
_PI_UDL: Final = 0x04
_PI_KNOWN: Final = _PI_PID | _PI_DCS | _PI_UDL
_FCS_BIT: Final = 0x80  # TP-FCS is 80..FF; in TP-PI this bit announces a second octet, which nobody defined


class FailureCause(IntEnum):
    """The causes of TP-FCS (TS 23.040 §9.2.3.22) that a phone has for data download."""

    UNSPECIFIED_PID = 0x8F
    UNSPECIFIED_DCS = 0x9F
    NO_STORAGE = 0xD1
    MEMORY_EXCEEDED = 0xD3
    TOOLKIT_BUSY = 0xD4
    DATA_DOWNLOAD_ERROR = 0xD5
    UNSPECIFIED = 0xFF


# TS 23.040 §9.2.2.1a
@dataclass(frozen=True, slots=True, kw_only=True)
class SmsDeliverReport:
    """The phone's answer to an SMS-DELIVER: RP-ACK, or RP-ERROR when it has a *failure_cause* (80..FF).

    *pid* and *dcs* repeat those of the message answered; None leaves them out. User data without *dcs* would
    be 7-bit text and are refused. A response packet in it: see the package's docstring.
    """

    user_data: UserData | None = None
    pid: int | None = fields.PID_DATA_DOWNLOAD
    dcs: int | None = fields.DCS_CLASS_2_DATA
    failure_cause: int | None = None
    spare: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be encoded."""
        fields.check_octets(pid=self.pid or 0, dcs=self.dcs or 0)
        fields.check_spare(self.spare, _REPORT_SPARE)
        if self.failure_cause is not None and not _FCS_BIT <= self.failure_cause <= 0xFF:
            raise ValueError(f"a failure cause is 80..FF, not {self.failure_cause:02X}")
        if self.user_data is not None:
            fields.check_user_data(self.user_data, self.dcs or 0, _report_room(self.failure_cause))

    def encode(self) -> bytes:
        """Return the TPDU."""
        user_data = self.user_data
        present = ((_PI_PID, self.pid), (_PI_DCS, self.dcs), (_PI_UDL, user_data))
        indicator = sum(bit for bit, value in present if value is not None)
        first = self.spare | fields.encode_first(fields.MTI_DELIVER, user_data, self, {})
        head = (first, self.failure_cause, indicator, self.pid, self.dcs)
        tail = b"" if user_data is None else fields.encode_user_data(user_data)
        return bytes(octet for octet in head if octet is not None) + tail

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Return the SMS-DELIVER-REPORT that *octets* are.

        Nothing but its value tells TP-FCS from TP-PI: causes have their highest bit set. Raises TpduRejected
        as :meth:`SmsDeliver.parse`, or ``unknown-parameter`` for an indicator bit of a later release, or
        ``stray-header`` for TP-UDHI without user data.
        """
        cursor = Cursor(octets)
        first = fields.read_first(cursor, fields.MTI_DELIVER)
        indicator = cursor.octet()
        failure_cause = indicator if indicator & _FCS_BIT else None
        if failure_cause is not None:
            indicator = cursor.octet()
        if indicator & ~_PI_KNOWN:
            raise TpduRejected("unknown-parameter", f"parameter indicator {indicator:02X}")
        pid = cursor.octet() if indicator & _PI_PID else None
        dcs = cursor.octet() if indicator & _PI_DCS else None
        user_data = None
        if indicator & _PI_UDL:
            user_data = fields.read_user_data(cursor, first, dcs or 0, _report_room(failure_cause))
        elif first & fields.UDHI:
            raise TpduRejected("stray-header", "TP-UDHI without user data")
        cursor.finish()
        return cls(
            user_data=user_data, pid=pid, dcs=dcs, failure_cause=failure_cause, spare=first & _REPORT_SPARE
        )


def _report_room(failure_cause: int | None) -> int:
    return MAX_ACK_USER_DATA if failure_cause is None else MAX_ERROR_USER_DATA
