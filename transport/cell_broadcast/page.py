"""One page of a cell broadcast message: 88 octets, always."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

from transport.cell_broadcast.serial_number import SerialNumber
from transport.errors import CellBroadcastRejected

PAGE_OCTETS: Final = 88
CONTENT_OCTETS: Final = 82
MAX_PAGES: Final = 15
DCS_CLASS_2_DATA: Final = 0xF6
"""TS 23.038 §5: 8-bit data of message class 2. What makes a page the card's is its message identifier; of a
broadcast the class says "user defined"."""

_CONTENT_AT: Final = PAGE_OCTETS - CONTENT_OCTETS


# TS 23.041 §9.4.1.2
@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Serial number, message identifier, data coding scheme, page parameter and 82 octets of *content*.

    The *page_parameter* is this page's number (high nibble) and the total of pages (low nibble), each from 1.
    Of a zero in either the clause says that the receiver "shall treat the CBS message exactly the same as a
    CBS message with page parameter 0001 0001 (i.e. a single page message)"; so do ``number`` and ``total``,
    while the octet is kept as it came. The clause says nothing of a number beyond the total: refused.
    """

    serial: SerialNumber
    message_identifier: int
    dcs: int = DCS_CLASS_2_DATA
    page_parameter: int = 0x11
    content: bytes = field(repr=False)
    number: int = field(init=False, repr=False, compare=False)
    """Which page this is, 1 to ``total``."""
    total: int = field(init=False, repr=False, compare=False)
    """How many pages the message has, 1 to 15."""

    def __post_init__(self) -> None:
        """Refuse what 88 octets cannot say, or must not."""
        number, total = divmod(self.page_parameter, 0x10)
        # Worked out once: all handsets of a cell ask the same page.
        object.__setattr__(self, "number", number if number and total else 1)
        object.__setattr__(self, "total", total if number and total else 1)
        if not 0 <= self.message_identifier <= 0xFFFF:
            raise ValueError(f"a message identifier is 0..65535, not {self.message_identifier}")
        if not 0 <= self.dcs <= 0xFF:
            raise ValueError(f"a data coding scheme is one octet, not {self.dcs}")
        if not 0 <= self.page_parameter <= 0xFF or self.number > self.total:
            raise ValueError(f"there is no page parameter {self.page_parameter:02X}")
        if len(self.content) != CONTENT_OCTETS:
            raise ValueError(f"a page holds {CONTENT_OCTETS} octets, not {len(self.content)}")

    def encode(self) -> bytes:
        """Return the 88 octets."""
        identifier = self.message_identifier.to_bytes(2, "big")
        return self.serial.encode() + identifier + bytes((self.dcs, self.page_parameter)) + self.content

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Return the page in *octets*, which encodes to them again.

        Raises CellBroadcastRejected: ``length`` unless they are 88, ``page-parameter`` for a page number
        beyond the total.
        """
        if len(octets) != PAGE_OCTETS:
            raise CellBroadcastRejected("length", f"{len(octets)} octets are no page")
        try:
            return cls(
                serial=SerialNumber.parse(octets[:2]),
                message_identifier=int.from_bytes(octets[2:4], "big"),
                dcs=octets[4],
                page_parameter=octets[5],
                content=octets[_CONTENT_AT:],
            )
        except ValueError as error:  # 88 octets can say nothing else that a page refuses
            raise CellBroadcastRejected("page-parameter", str(error)) from None
