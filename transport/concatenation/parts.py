"""One part of a message, and how a packet is cut into parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from transport.sms.user_data import (
    IEI_CONCAT_8,
    IEI_CONCAT_16,
    MAX_USER_DATA,
    InformationElement,
    UserData,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PARTS: Final = 255
MAX_MESSAGE_OCTETS: Final = MAX_PARTS * MAX_USER_DATA
"""What the largest message takes while it is put together: the user data of all its parts."""

REFERENCE_OCTETS: Final[Mapping[int, int]] = {IEI_CONCAT_8: 1, IEI_CONCAT_16: 2}
"""The identifiers of concatenation elements, and how long their references are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a concatenation element says: part *sequence* (from 1) of *total*, of message *reference*.

    *wide* is a 16-bit reference; the same number in 8 bits names another message.
    """

    reference: int
    total: int
    sequence: int
    wide: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that the element cannot say, or must not."""
        if not 0 <= self.reference < (0x10000 if self.wide else 0x100):
            raise ValueError(f"reference {self.reference} does not fit")
        if not 1 <= self.sequence <= self.total <= MAX_PARTS:
            raise ValueError(f"there is no part {self.sequence} of {self.total}")

    def element(self) -> InformationElement:
        """Return the information element."""
        iei = IEI_CONCAT_16 if self.wide else IEI_CONCAT_8
        reference = self.reference.to_bytes(REFERENCE_OCTETS[iei], "big")
        return InformationElement(iei=iei, data=reference + bytes((self.total, self.sequence)))

    @classmethod
    def of(cls, user_data: UserData) -> Self | None:
        """Return what the last valid concatenation element of *user_data* says; None: it is a single message.

        Of a total or a sequence of zero, or a sequence beyond the total, the clause says "the receiving
        entity shall ignore the whole information element". The same goes here for one of the wrong length.
        """
        for element in reversed(user_data.header):
            size = REFERENCE_OCTETS.get(element.iei)
            if size is None or len(element.data) != size + 2:
                continue
            *_, total, sequence = element.data
            if 1 <= sequence <= total:
                reference = int.from_bytes(element.data[:size], "big")
                return cls(reference=reference, total=total, sequence=sequence, wide=size > 1)
        return None


def split(
    octets: bytes,
    *,
    reference: int,
    first: InformationElement | None = None,
    wide: bool = False,
    limit: int = MAX_USER_DATA,
) -> list[UserData]:
    """Return *octets* as user data of at most *limit* octets each: one, or the parts of message *reference*.

    *first* (70 or 71) stands before the concatenation element of part 1, or alone in a single message. With
    it and 140 octets there is room for 137 in a single message; else for 132, then 134 (*wide*: 131, then
    133). ``ValueError`` when *reference* does not fit, *limit* leaves no room or more than 255 parts would be
    needed.
    """
    lead = () if first is None else (first,)
    single = UserData(header=lead, payload=octets)
    if single.length <= limit:
        return [single]
    rest_room = limit - (7 if wide else 6)  # header length octet and concatenation element
    first_room = rest_room - sum(len(element.encode()) for element in lead)
    if first_room < 1:
        raise ValueError(f"{limit} octets leave no room for a part")
    starts = [0, *range(first_room, len(octets), rest_room)]
    ends = [*starts[1:], len(octets)]
    parts = []
    for sequence, (start, end) in enumerate(zip(starts, ends, strict=True), 1):
        part = Part(reference=reference, total=len(starts), sequence=sequence, wide=wide)
        header = (*lead, part.element()) if sequence == 1 else (part.element(),)
        parts.append(UserData(header=header, payload=octets[start:end]))
    return parts
