"""The time at which the service centre took a short message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, Self

from transport.sms.cursor import swap_semi_octets

LENGTH: Final = 7

_QUARTER: Final = timedelta(minutes=15)
_MAX_QUARTERS: Final = 79
_NEGATIVE: Final = 0x08
_CENTURY: Final = 2000


# TS 23.040 §9.2.3.11
@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCentreTime:
    """TP-SCTS: seven octets, kept as they came.

    The clause wants a phone to keep even a stamp that is no date; so this value holds the octets, and
    :attr:`moment` says what they mean, if anything.
    """

    octets: bytes

    def __post_init__(self) -> None:
        """Refuse anything but seven octets."""
        if len(self.octets) != LENGTH:
            raise ValueError(f"a service centre time has {LENGTH} octets, not {len(self.octets)}")

    @classmethod
    def at(cls, now: float) -> Self:
        """Return the stamp, in UTC, of *now*: seconds since 1970."""
        return cls.of(datetime.fromtimestamp(now, UTC))

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """Return the stamp of *moment*; fractions of a second go, and of the year two digits stay.

        ``ValueError`` unless *moment* is aware of its offset from UTC and that is a number of quarters of an
        hour of at most 79.
        """
        offset = moment.utcoffset()
        if offset is None:
            raise ValueError("a service centre time needs a moment that knows its offset from UTC")
        quarters, rest = divmod(abs(offset), _QUARTER)
        if rest or quarters > _MAX_QUARTERS:
            raise ValueError(f"an offset from UTC of {offset} is not 0..{_MAX_QUARTERS} quarters of an hour")
        zone = quarters // 10 << 4 | quarters % 10 | (_NEGATIVE << 4 if offset < timedelta() else 0)
        digits = bytes.fromhex(f"{moment.year % 100:02}{moment:%m%d%H%M%S}{zone:02x}")
        return cls(octets=swap_semi_octets(digits))

    @property
    def moment(self) -> datetime | None:
        """The moment in the years 2000..2099 that the stamp names, or None when it names none."""
        *digits, zone = self.octets
        date = swap_semi_octets(bytes(digits)).hex()
        units, tens = zone >> 4, zone & 0x07
        if not f"{date}{units:x}".isdecimal():
            return None
        offset = (tens * 10 + units) * _QUARTER
        year, month, day, hour, minute, second = (int(date[place : place + 2]) for place in range(0, 12, 2))
        try:
            return datetime(
                _CENTURY + year,
                month,
                day,
                hour,
                minute,
                second,
                tzinfo=timezone(-offset if zone & _NEGATIVE else offset),
            )
        except ValueError:
            return None
