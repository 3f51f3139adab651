"""What a response packet says of the command packet it answers (TS 102 225 5.2, table 5)."""

from __future__ import annotations

from enum import IntEnum, unique
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PROPRIETARY_STATUSES: Final = range(0xC0, 0xFF)
"""What a module's maker or operator gives a meaning of their own: to us, refusals that have only a number."""


# TS 102 225 §5.2 "Response status codes"; 0B and 0C are reserved there for TS 31.115.
@unique
class ResponseStatus(IntEnum):
    """The status octet of a response packet.

    ``ResponseStatus(0xC3)`` is a value too, ``PROPRIETARY_C3``, though not one of the members.
    """

    POR_OK = 0x00
    INTEGRITY_FAILED = 0x01  # "RC/CC/DS failed"
    CNTR_LOW = 0x02
    CNTR_HIGH = 0x03
    CNTR_BLOCKED = 0x04
    CIPHERING_ERROR = 0x05
    UNIDENTIFIED_SECURITY_ERROR = 0x06
    INSUFFICIENT_MEMORY = 0x07
    MORE_TIME = 0x08
    TAR_UNKNOWN = 0x09
    INSUFFICIENT_SECURITY_LEVEL = 0x0A
    RESPONSE_BY_SMS_SUBMIT = 0x0B
    RESPONSE_BY_USSD = 0x0C

    @classmethod
    def _missing_(cls, value: object) -> ResponseStatus | None:
        if not isinstance(value, int) or value not in PROPRIETARY_STATUSES:
            return None
        status = int.__new__(cls, value)
        status._name_, status._value_ = f"PROPRIETARY_{value:02X}", value
        return status

    @property
    def reason(self) -> str:
        """The name, as reasons are spelt."""
        return self.name.lower().replace("_", "-")

    @property
    def is_error(self) -> bool:
        """Whether the command was refused; a response that is still to come is no error."""
        return self not in _NO_ERROR


_NO_ERROR: Final = frozenset(
    {
        ResponseStatus.POR_OK,
        ResponseStatus.MORE_TIME,
        ResponseStatus.RESPONSE_BY_SMS_SUBMIT,
        ResponseStatus.RESPONSE_BY_USSD,
    }
)

ALWAYS_CLEAR: Final = frozenset({ResponseStatus.UNIDENTIFIED_SECURITY_ERROR})
"""Statuses sent unciphered and without RC/CC/DS whatever the command asked for (TS 102 225 §5.2)."""

CLEAR_WITHOUT_KEYS: Final = ALWAYS_CLEAR | {ResponseStatus.TAR_UNKNOWN}
"""Statuses that may come clear where protection was asked for: without the TAR there is no keyset either.

That TAR UNKNOWN belongs here is from memory of what cards do, not from the text of the specification.
"""

STATUSES: Final[Mapping[int, ResponseStatus]] = MappingProxyType(
    {octet: ResponseStatus(octet) for octet in (*ResponseStatus, *PROPRIETARY_STATUSES)}
)
"""Every octet that is a status."""
