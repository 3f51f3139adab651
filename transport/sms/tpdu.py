"""Short messages on their way: SMS-DELIVER to the phone, SMS-SUBMIT from it.

Flags are tables of field and bit. TP-UDHI follows from the user data; TP-MMS is inverted on the wire (0: more
messages wait). The bit that SMS-DELIVER leaves unused is kept in ``spare``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from transport.sms import fields
from transport.sms.address import Address
from transport.sms.cursor import Cursor
from transport.sms.timestamp import LENGTH as TIMESTAMP_LENGTH
from transport.sms.timestamp import ServiceCentreTime
from transport.sms.user_data import MAX_USER_DATA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transport.sms.user_data import UserData

# TS 23.040 §9.2.2.1
_NO_MORE_MESSAGES: Final = 0x04
_DELIVER_SPARE: Final = 0x10
_DELIVER_FLAGS: Final[Mapping[str, int]] = {
    "reply_path": 0x80,
    "status_report_indication": 0x20,
    "loop_prevention": 0x08,
}
_DELIVER_FLAGS_OF: Final = fields.flag_table(_DELIVER_FLAGS)

# TS 23.040 §9.2.2.2
_VPF_SHIFT: Final = 3
_SUBMIT_FLAGS: Final[Mapping[str, int]] = {
    "reply_path": 0x80,
    "status_report_request": 0x20,
    "reject_duplicates": 0x04,
}
_SUBMIT_FLAGS_OF: Final = fields.flag_table(_SUBMIT_FLAGS)


# TS 23.040 §9.2.2.1
@dataclass(frozen=True, slots=True, kw_only=True)
class SmsDeliver:
    """A short message from the network to the phone."""

    originator: Address
    user_data: UserData
    timestamp: ServiceCentreTime
    more_messages: bool = False
    pid: int = fields.PID_DATA_DOWNLOAD
    dcs: int = fields.DCS_CLASS_2_DATA
    reply_path: bool = False
    status_report_indication: bool = False
    loop_prevention: bool = False
    spare: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be encoded."""
        fields.check_octets(pid=self.pid, dcs=self.dcs)
        fields.check_spare(self.spare, _DELIVER_SPARE)
        fields.check_user_data(self.user_data, self.dcs, MAX_USER_DATA)

    def encode(self) -> bytes:
        """Return the TPDU."""
        first = self.spare | fields.encode_first(fields.MTI_DELIVER, self.user_data, self, _DELIVER_FLAGS)
        if not self.more_messages:
            first |= _NO_MORE_MESSAGES
        return b"".join(
            (
                bytes((first,)),
                self.originator.encode(),
                bytes((self.pid, self.dcs)),
                self.timestamp.octets,
                fields.encode_user_data(self.user_data),
            )
        )

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Return the SMS-DELIVER that *octets* are.

        Raises TpduRejected: ``wrong-type``, ``truncated``, ``trailing-octets``, ``bad-address``,
        ``not-eight-bit``, ``too-long`` or ``bad-header``.
        """
        cursor = Cursor(octets)
        first = fields.read_first(cursor, fields.MTI_DELIVER)
        originator = Address.read(cursor)
        pid, dcs = cursor.octet(), cursor.octet()
        timestamp = ServiceCentreTime(octets=cursor.take(TIMESTAMP_LENGTH))
        user_data = fields.read_user_data(cursor, first, dcs, MAX_USER_DATA)
        cursor.finish()
        return cls(
            originator=originator,
            user_data=user_data,
            timestamp=timestamp,
            more_messages=not first & _NO_MORE_MESSAGES,
            pid=pid,
            dcs=dcs,
            spare=first & _DELIVER_SPARE,
            **_DELIVER_FLAGS_OF[first],
        )


# TS 23.040 §9.2.2.2
@dataclass(frozen=True, slots=True, kw_only=True)
class SmsSubmit:
    """A short message from the phone to the network; *reference* (one octet) numbers it for the phone."""

    reference: int
    destination: Address
    user_data: UserData
    pid: int = fields.PID_DATA_DOWNLOAD
    dcs: int = fields.DCS_CLASS_2_DATA
    validity_period: fields.ValidityPeriod | None = None
    reply_path: bool = False
    status_report_request: bool = False
    reject_duplicates: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be encoded."""
        fields.check_octets(reference=self.reference, pid=self.pid, dcs=self.dcs)
        fields.check_user_data(self.user_data, self.dcs, MAX_USER_DATA)

    def encode(self) -> bytes:
        """Return the TPDU."""
        period = self.validity_period
        first = fields.encode_first(fields.MTI_SUBMIT, self.user_data, self, _SUBMIT_FLAGS)
        if period:
            first |= period.format << _VPF_SHIFT
        return b"".join(
            (
                bytes((first, self.reference)),
                self.destination.encode(),
                bytes((self.pid, self.dcs)),
                period.octets if period else b"",
                fields.encode_user_data(self.user_data),
            )
        )

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Return the SMS-SUBMIT that *octets* are; raises TpduRejected as :meth:`SmsDeliver.parse`."""
        cursor = Cursor(octets)
        first = fields.read_first(cursor, fields.MTI_SUBMIT)
        reference = cursor.octet()
        destination = Address.read(cursor)
        pid, dcs = cursor.take(2)
        validity_period = fields.read_validity(cursor, first >> _VPF_SHIFT & 0x03)
        user_data = fields.read_user_data(cursor, first, dcs, MAX_USER_DATA)
        cursor.finish()
        return cls(
            reference=reference,
            destination=destination,
            user_data=user_data,
            pid=pid,
            dcs=dcs,
            validity_period=validity_period,
            **_SUBMIT_FLAGS_OF[first],
        )
