"""Cutting a packet into short messages, and putting it together again.

TS 23.040 §9.2.3.24.1 (8-bit references) and §9.2.3.24.8 (16-bit). Every part carries a concatenation element:
the reference of its message, how many parts there are, and which one this is. The element that says what the
packet is (70 command, 71 response) stands in part 1 only (TS 31.115 §4).

The :class:`Reassembler` holds what is incomplete, within bounds of memory and of time that do not depend on
the peer. A message is named by its sender, its kind of reference and the reference. References are reused, so
a part that contradicts what is held (another total, or other octets in the same place) starts its message
anew; what was complete is remembered for as long as an incomplete one would be, so that a part that the
network delivers twice neither delivers the message twice nor lies in wait for the next user of the reference.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import takewhile
from typing import TYPE_CHECKING, Final, Self

from transport.errors import ConcatenationRejected
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

_REFERENCE_OCTETS: Final[Mapping[int, int]] = {IEI_CONCAT_8: 1, IEI_CONCAT_16: 2}
_MAX_UNREPORTED: Final = 256


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
        reference = self.reference.to_bytes(_REFERENCE_OCTETS[iei], "big")
        return InformationElement(iei=iei, data=reference + bytes((self.total, self.sequence)))

    @classmethod
    def of(cls, user_data: UserData) -> Self | None:
        """Return what the last valid concatenation element of *user_data* says; None: it is a single message.

        Of a total or a sequence of zero, or a sequence beyond the total, the clause says "the receiving
        entity shall ignore the whole information element". The same goes here for one of the wrong length.
        """
        for element in reversed(user_data.header):
            size = _REFERENCE_OCTETS.get(element.iei)
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


class DropReason(StrEnum):
    """Why parts were thrown away."""

    TIMED_OUT = "timed-out"
    CROWDED_OUT = "crowded-out"
    CONTRADICTED = "contradicted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """An incomplete message that was given up."""

    sender: str
    reference: int
    reason: DropReason


@dataclass(frozen=True, slots=True, kw_only=True)
class _Name:
    """What tells messages apart."""

    sender: str
    reference: int
    wide: bool


@dataclass(slots=True, kw_only=True)
class _Message:
    """The parts held of one message; ``seen_at`` is when the last new one came."""

    total: int
    seen_at: float = 0.0
    parts: dict[int, UserData] = field(default_factory=dict)
    octets: int = 0

    def agrees(self, part: Part, user_data: UserData) -> bool:
        """Whether *part* can be one of this message: the same total, and nothing else in its place."""
        return self.total == part.total and self.parts.get(part.sequence, user_data) == user_data

    def add(self, part: Part, user_data: UserData, now: float) -> None:
        self.parts[part.sequence] = user_data
        self.octets += user_data.length
        self.seen_at = now

    def join(self) -> UserData:
        """Return the whole message: the elements of part 1 less the concatenation, and all payloads."""
        parts = [self.parts[sequence] for sequence in range(1, self.total + 1)]
        header = tuple(element for element in parts[0].header if element.iei not in _REFERENCE_OCTETS)
        return UserData(header=header, payload=b"".join(part.payload for part in parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Memory:
    """What remains of a complete message: enough to know its parts again."""

    total: int
    digests: tuple[int, ...]
    seen_at: float

    def knows(self, part: Part, user_data: UserData) -> bool:
        return self.total == part.total and self.digests[part.sequence - 1] == hash(user_data)


class Reassembler:
    """Takes user data as they come, gives whole messages back.

    Parts may come in any order, repeated, and mixed with those of other messages and senders. At most
    *max_messages* are held incomplete (and as many remembered complete), of at most *max_parts* parts each,
    and *max_octets* of user data in all; the one that waited longest for a new part goes first. A message is
    given up when *timeout_s* pass without a new part. With *require_first_element* a message whose part 1
    lacks that element is refused.
    """

    def __init__(
        self,
        *,
        max_messages: int = 8,
        max_octets: int = 65536,
        max_parts: int = MAX_PARTS,
        timeout_s: float = 300.0,
        require_first_element: int | None = None,
    ) -> None:
        if max_messages < 1:
            raise ValueError("a reassembler that holds no message reassembles none")
        self._max_messages = max_messages
        self._max_octets = max_octets
        self._max_parts = max_parts
        self._timeout_s = timeout_s
        self._required = require_first_element
        # Both in the order of seen_at, oldest first; a dict would grow slow at losing its first entry.
        self._held: OrderedDict[_Name, _Message] = OrderedDict()
        self._complete: OrderedDict[_Name, _Memory] = OrderedDict()
        self._octets = 0
        self._dropped: deque[Dropped] = deque(maxlen=_MAX_UNREPORTED)

    @property
    def octets(self) -> int:
        """The user data held, in octets."""
        return self._octets

    def receive(self, sender: str, user_data: UserData, now: float) -> UserData | None:
        """Return the message that *user_data* is or completes, or None while parts are missing.

        A part that is already known gives None too. Raises ConcatenationRejected: ``too-many-parts``,
        ``first-element-missing`` or ``too-large``; what is held stays as it was.
        """
        part = Part.of(user_data)
        if part is None:
            return user_data
        name = _Name(sender=sender, reference=part.reference, wide=part.wide)
        self._forget_old(now)
        if self._is_repeated(name, part, user_data):
            return None
        self._check(name, part, user_data)
        message = self._take(name, part, user_data)
        message.add(part, user_data, now)
        if len(message.parts) == message.total:
            self._remember(name, message)
            return message.join()
        self._hold(name, message)
        return None

    def expire(self, now: float) -> list[Dropped]:
        """Give up what has timed out; return all that was dropped since the last call, oldest first.

        Beyond 256 unreported, the oldest reports are lost.
        """
        self._forget_old(now)
        dropped = list(self._dropped)
        self._dropped.clear()
        return dropped

    def _is_repeated(self, name: _Name, part: Part, user_data: UserData) -> bool:
        memory = self._complete.get(name)
        if memory and memory.knows(part, user_data):
            return True
        message = self._held.get(name)
        return bool(message and message.agrees(part, user_data) and part.sequence in message.parts)

    def _check(self, name: _Name, part: Part, user_data: UserData) -> None:
        message = self._held.get(name)
        held = message.octets if message and message.agrees(part, user_data) else 0
        lacks_first = self._required is not None and not user_data.find(self._required)
        refusals = {
            "too-many-parts": part.total > self._max_parts,
            "first-element-missing": part.sequence == 1 and lacks_first,
            "too-large": held + user_data.length > self._max_octets,
        }
        for reason, refused in refusals.items():
            if refused:
                raise ConcatenationRejected(reason, f"part {part.sequence} of {part.total}")

    def _take(self, name: _Name, part: Part, user_data: UserData) -> _Message:
        """Take the message out of those held, or begin it."""
        self._complete.pop(name, None)
        message = self._held.get(name)
        if message is None:
            return _Message(total=part.total)
        if not message.agrees(part, user_data):
            self._drop(name, DropReason.CONTRADICTED)
            return _Message(total=part.total)
        del self._held[name]
        self._octets -= message.octets
        return message

    def _hold(self, name: _Name, message: _Message) -> None:
        """Hold *message* as the newest; it fits alone, so older ones make room for it."""
        self._octets += message.octets
        while self._held and (len(self._held) >= self._max_messages or self._octets > self._max_octets):
            self._drop(next(iter(self._held)), DropReason.CROWDED_OUT)
        self._held[name] = message

    def _remember(self, name: _Name, message: _Message) -> None:
        digests = tuple(hash(message.parts[sequence]) for sequence in range(1, message.total + 1))
        self._complete[name] = _Memory(total=message.total, digests=digests, seen_at=message.seen_at)
        if len(self._complete) > self._max_messages:
            del self._complete[next(iter(self._complete))]

    def _forget_old(self, now: float) -> None:
        limit = now - self._timeout_s
        for name in _older(self._held, limit):
            self._drop(name, DropReason.TIMED_OUT)
        for name in _older(self._complete, limit):
            del self._complete[name]

    def _drop(self, name: _Name, reason: DropReason) -> None:
        self._octets -= self._held.pop(name).octets
        self._dropped.append(Dropped(sender=name.sender, reference=name.reference, reason=reason))


def _older(entries: Mapping[_Name, _Message | _Memory], limit: float) -> list[_Name]:
    """Return the names, oldest first, of what was last seen at *limit* or before."""
    return [name for name, _ in takewhile(lambda item: item[1].seen_at <= limit, entries.items())]
