"""Fields that several TPDUs share: their first octet, flags, validity period and user data.

Only the TPDUs of this package import this module. Its ``read_`` functions take untrusted octets from a cursor
and raise TpduRejected; its ``check_`` functions refuse our own mistakes with ``ValueError``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from transport.errors import TpduRejected
from transport.sms.user_data import UserData

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transport.sms.cursor import Cursor

PID_DATA_DOWNLOAD: Final = 0x7F  # TS 23.040 §9.2.3.9: (U)SIM data download
DCS_CLASS_2_DATA: Final = 0xF6  # TS 23.038 §4: message class 2, 8-bit data

MTI_DELIVER: Final = 0x00  # from the phone: SMS-DELIVER-REPORT
MTI_SUBMIT: Final = 0x01
UDHI: Final = 0x40

_MTI_MASK: Final = 0x03


class ValidityFormat(IntEnum):
    """TP-VPF (TS 23.040 §9.2.3.3), when there is a validity period."""

    ENHANCED = 1
    RELATIVE = 2
    ABSOLUTE = 3


_VALIDITY_LENGTHS: Final[Mapping[ValidityFormat, int]] = {
    ValidityFormat.ENHANCED: 7,
    ValidityFormat.RELATIVE: 1,
    ValidityFormat.ABSOLUTE: 7,
}


# TS 23.040 §9.2.3.12
@dataclass(frozen=True, slots=True, kw_only=True)
class ValidityPeriod:
    """TP-VP: its *format* and its one (relative) or seven *octets*, for a service centre to interpret."""

    format: ValidityFormat
    octets: bytes

    def __post_init__(self) -> None:
        """Refuse octets that are not of the format's length."""
        if len(self.octets) != _VALIDITY_LENGTHS[self.format]:
            raise ValueError(f"a validity period {self.format.name} has not {len(self.octets)} octets")


# TS 23.038 §4: the 8-bit alphabet, uncompressed, in the general and automatic-deletion groups or group 1111
_EIGHT_BIT: Final = frozenset(dcs for dcs in range(256) if dcs & 0xAC == 0x04 or dcs & 0xF4 == 0xF4)


def encode_first(mti: int, user_data: UserData | None, tpdu: object, flags: Mapping[str, int]) -> int:
    """Return the first octet: type, TP-UDHI, and of *flags* the bits whose field is true in *tpdu*."""
    udhi = UDHI if user_data is not None and user_data.has_header else 0
    return mti | udhi | sum(bit for name, bit in flags.items() if getattr(tpdu, name))


def read_first(cursor: Cursor, mti: int) -> int:
    """Return the first octet, or raise ``wrong-type`` when it is not of type *mti*."""
    first = cursor.octet()
    if first & _MTI_MASK != mti:
        raise TpduRejected("wrong-type", f"message type {first & _MTI_MASK}")
    return first


def flag_table(flags: Mapping[str, int]) -> tuple[Mapping[str, bool], ...]:
    """Return for every first octet each field of *flags* with its bit in it."""
    return tuple({name: bool(first & bit) for name, bit in flags.items()} for first in range(256))


def read_validity(cursor: Cursor, code: int) -> ValidityPeriod | None:
    """Return the validity period of format *code* (TP-VPF; 0: there is none)."""
    if not code:
        return None
    kind = ValidityFormat(code)
    return ValidityPeriod(format=kind, octets=cursor.take(_VALIDITY_LENGTHS[kind]))


def encode_user_data(user_data: UserData) -> bytes:
    """Return TP-UDL and TP-UD."""
    octets = user_data.encode()
    return bytes((len(octets),)) + octets


def read_user_data(cursor: Cursor, first: int, dcs: int, room: int) -> UserData:
    """Return TP-UD of at most *room* octets; raises ``not-eight-bit``, ``too-long`` or ``bad-header``."""
    if dcs not in _EIGHT_BIT:
        raise TpduRejected("not-eight-bit", f"data coding scheme {dcs:02X}")
    length = cursor.octet()
    if length > room:
        raise TpduRejected("too-long", f"{length} octets of user data, room for {room}")
    return UserData.parse(cursor.take(length), has_header=bool(first & UDHI))


def check_octets(**values: int) -> None:
    """Refuse a value that does not fit one octet."""
    for name, value in values.items():
        if not 0 <= value <= 0xFF:
            raise ValueError(f"{name} is one octet, not {value}")


def check_spare(spare: int, mask: int) -> None:
    """Refuse spare bits outside *mask*."""
    if spare & ~mask:
        raise ValueError(f"spare bits {spare:02X} are in use")


def check_user_data(user_data: UserData, dcs: int, room: int) -> None:
    """Refuse user data that are not 8-bit by *dcs*, or longer than *room*."""
    if dcs not in _EIGHT_BIT:
        raise ValueError(f"data coding scheme {dcs:02X} is not 8-bit data")
    if user_data.length > room:
        raise ValueError(f"{user_data.length} octets of user data do not fit in {room}")
