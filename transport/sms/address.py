"""Telephone numbers as short messages carry them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

from transport.errors import TpduRejected
from transport.sms.cursor import Cursor, swap_semi_octets

MAX_DIGITS: Final = 20
TON_NPI_UNKNOWN: Final = 0x81
TON_NPI_INTERNATIONAL: Final = 0x91

# TS 23.040 §9.1.2.3: semi-octets A..E stand for these digits, F fills an odd number up.
_DIGITS: Final = "0123456789*#abc"
_TO_HEX: Final = str.maketrans("*#abc", "abcde")
_FROM_HEX: Final = str.maketrans("abcde", "*#abc")
_FILLER: Final = "f"
_EXTENSION_BIT: Final = 0x80
_TYPE_MASK: Final = 0x70
_ALPHANUMERIC: Final = 0x50


# TS 23.040 §9.1.2.5
@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A number of 0 to 20 *digits* (``0-9*#abc``) and the octet *ton_npi*: type of number, numbering plan.

    ``91`` is an international E.164 number, ``81`` one of unknown type, such as a short number. Alphanumeric
    addresses are refused: nobody can answer them.
    """

    digits: str
    ton_npi: int = TON_NPI_INTERNATIONAL

    def __post_init__(self) -> None:
        """Refuse digits or a type that cannot be encoded."""
        if len(self.digits) > MAX_DIGITS or self.digits.strip(_DIGITS):
            raise ValueError(
                f"an address is at most {MAX_DIGITS} digits of {_DIGITS}, not {self.digits[:30]!r}"
            )
        if not _EXTENSION_BIT <= self.ton_npi <= 0xFF or self.ton_npi & _TYPE_MASK == _ALPHANUMERIC:
            raise ValueError(f"{self.ton_npi:02X} is no numeric type of number")

    def encode(self) -> bytes:
        """Return number of digits, type and semi-octets, as TP-OA and TP-DA have them."""
        return bytes((len(self.digits),)) + self.encode_value()

    def encode_value(self) -> bytes:
        """Return type and semi-octets alone, as an address TLV of a card (TS 102 223 §8.1) has them."""
        digits = self.digits.translate(_TO_HEX)
        if len(digits) % 2:
            digits += _FILLER
        return bytes((self.ton_npi,)) + swap_semi_octets(bytes.fromhex(digits))

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Return the address that fills *octets*; raises as :meth:`read`, or ``trailing-octets``."""
        cursor = Cursor(octets)
        address = cls.read(cursor)
        cursor.finish()
        return address

    @classmethod
    def read(cls, cursor: Cursor) -> Self:
        """Return the address at *cursor*; raises TpduRejected: ``truncated`` or ``bad-address``."""
        count = cursor.octet()
        if count > MAX_DIGITS:
            raise TpduRejected("bad-address", f"{count} digits")
        return cls._of_value(count, cursor.take(1 + (count + 1) // 2))

    @classmethod
    @lru_cache(maxsize=256)  # many messages come from few numbers
    def _of_value(cls, count: int, value: bytes) -> Self:
        ton_npi = value[0]
        if not ton_npi & _EXTENSION_BIT or ton_npi & _TYPE_MASK == _ALPHANUMERIC:
            raise TpduRejected("bad-address", f"type of number {ton_npi:02X}")
        semi_octets = swap_semi_octets(value[1:]).hex()
        if _FILLER in semi_octets[:count] or semi_octets[count:] not in {"", _FILLER}:
            raise TpduRejected("bad-address", "filler where a digit belongs, or the reverse")
        return cls(digits=semi_octets[:count].translate(_FROM_HEX), ton_npi=ton_npi)
