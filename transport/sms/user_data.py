"""The user data of a short message: a header of information elements, then a payload."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

from transport.errors import TpduRejected

# TS 23.040 §9.2.3.16: 8-bit data, so TP-UDL counts octets.
MAX_USER_DATA: Final = 140

# TS 23.040 §9.2.3.24; the last two are TS 31.115 §4
IEI_CONCAT_8: Final = 0x00
IEI_CONCAT_16: Final = 0x08
IEI_COMMAND_PACKET: Final = 0x70
IEI_RESPONSE_PACKET: Final = 0x71

_MAX_HEADER: Final = 0xFF


# TS 23.040 §9.2.3.24
@dataclass(frozen=True, slots=True, kw_only=True)
class InformationElement:
    """One element of the header: its identifier *iei* (one octet) and up to 255 octets of *data*."""

    iei: int
    data: bytes = b""

    def __post_init__(self) -> None:
        """Refuse an identifier or a length that does not fit its octet."""
        if not 0 <= self.iei <= 0xFF or len(self.data) > 0xFF:
            raise ValueError(f"information element {self.iei:X} of {len(self.data)} octets does not fit")

    def encode(self) -> bytes:
        """Return identifier, length and data."""
        return bytes((self.iei, len(self.data))) + self.data


@dataclass(frozen=True, slots=True, kw_only=True)
class UserData:
    """A *header* of information elements (none: no header, TP-UDHI clear) and the *payload* behind it.

    This is also the user data of a whole concatenated message, longer than one TPDU holds; the TPDUs refuse
    what does not fit them. The payload stays out of the repr.
    """

    header: tuple[InformationElement, ...] = ()
    payload: bytes = field(repr=False)
    length: int = field(init=False, repr=False, compare=False)
    """The octets of header, its length octet and payload together: TP-UDL."""

    def __post_init__(self) -> None:
        """Refuse a header whose length does not fit its octet."""
        length = len(self.payload)
        if self.header:
            header_length = 2 * len(self.header) + sum([len(element.data) for element in self.header])
            if header_length > _MAX_HEADER:
                raise ValueError(f"a user-data header has at most {_MAX_HEADER} octets, not {header_length}")
            length += 1 + header_length
        object.__setattr__(self, "length", length)  # it is asked for at every step

    @property
    def has_header(self) -> bool:
        """What TP-UDHI says."""
        return bool(self.header)

    def find(self, iei: int) -> InformationElement | None:
        """Return the last element with identifier *iei*, or None.

        TS 23.040 §9.2.3.24: of an element that is repeated against the rules "the last occurrence of the IE
        shall be used".
        """
        return next((element for element in reversed(self.header) if element.iei == iei), None)

    def encode(self) -> bytes:
        """Return header length, elements and payload, without TP-UDL before them."""
        if not self.header:
            return self.payload
        elements = b"".join(element.encode() for element in self.header)
        return bytes((len(elements),)) + elements + self.payload

    def assume_header(self) -> Self:
        """Return these user data read as if TP-UDHI had been set, themselves if it was.

        For the response packet that a card put into a delivery report (TS 31.115 §4). Raises TpduRejected as
        :meth:`parse` does.
        """
        return self if self.header else type(self).parse(self.payload, has_header=True)

    @classmethod
    def parse(cls, octets: bytes, *, has_header: bool) -> Self:
        """Return the user data in *octets*, those that TP-UDL counts; *has_header* is TP-UDHI.

        Raises TpduRejected: ``truncated`` when the header length reaches past the end, ``bad-header`` when
        the elements do not fill the header exactly or there are none.
        """
        if not has_header:
            return cls(payload=octets)
        start = 1 + octets[0] if octets else 1
        if start > len(octets):
            raise TpduRejected("truncated", f"a header of {start - 1} octets in {len(octets)}")
        return cls(header=_parse_elements(octets[1:start]), payload=octets[start:])


def _parse_elements(octets: bytes) -> tuple[InformationElement, ...]:
    elements = []
    offset = 0
    end = len(octets)
    while offset < end:
        start = offset + 2
        after = start + octets[offset + 1] if start <= end else end + 1
        if after > end:
            raise TpduRejected("bad-header", f"information element {octets[offset]:02X} cut short")
        elements.append(InformationElement(iei=octets[offset], data=octets[start:after]))
        offset = after
    if not elements:
        raise TpduRejected("bad-header", "a header without information elements")
    return tuple(elements)
