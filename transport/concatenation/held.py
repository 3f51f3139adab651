"""Messages that wait for parts, within bounds for each sender and for all together."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from transport.concatenation.parts import REFERENCE_OCTETS
from transport.sms.user_data import UserData

if TYPE_CHECKING:
    from transport.concatenation.parts import Part

_MAX_UNREPORTED: Final = 256


class DropReason(StrEnum):
    """Why parts were thrown away."""

    TIMED_OUT = "timed-out"
    CROWDED_OUT = "crowded-out"
    CONTRADICTED = "contradicted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """An incomplete message that was given up."""

    sender: str
    reference: int
    reason: DropReason


class Name(NamedTuple):
    """What tells messages apart."""

    sender: str
    reference: int
    wide: bool


@dataclass(slots=True, kw_only=True)
class Message:
    """The parts held of one message; ``seen_at`` is when the last new one came."""

    total: int
    seen_at: float = 0.0
    parts: dict[int, UserData] = field(default_factory=dict)
    octets: int = 0

    def agrees(self, part: Part, user_data: UserData) -> bool:
        """Whether *part* can be one of this message: the same total, and nothing else in its place."""
        return self.total == part.total and self.parts.get(part.sequence, user_data) == user_data

    def add(self, part: Part, user_data: UserData, now: float) -> None:
        """Take *part*, which agrees and is new."""
        self.parts[part.sequence] = user_data
        self.octets += user_data.length
        self.seen_at = now

    def in_order(self) -> list[UserData]:
        """Return the parts of a complete message."""
        return [self.parts[sequence] for sequence in range(1, self.total + 1)]

    def join(self) -> UserData:
        """Return the whole message: the elements of part 1 less the concatenation, and all payloads."""
        parts = self.in_order()
        header = tuple(element for element in parts[0].header if element.iei not in REFERENCE_OCTETS)
        return UserData(header=header, payload=b"".join(part.payload for part in parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much may be held: messages and octets of user data, in all and of one sender."""

    messages: int
    octets: int
    sender_messages: int
    sender_octets: int

    def __post_init__(self) -> None:
        """Refuse bounds within which nothing could be put together."""
        if min(self.messages, self.sender_messages) < 1:
            raise ValueError("a reassembler that holds no message reassembles none")


@dataclass(slots=True)
class _Share:
    """What is held of one sender; the names oldest first."""

    names: OrderedDict[Name, None] = field(default_factory=OrderedDict)
    octets: int = 0


class Held:
    """The incomplete messages; when there are too many, the one that waited longest for a new part goes.

    Too many of one sender: that sender's. Each call takes the same time, but for what it throws away.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        # In the order of seen_at, oldest first; a dict would grow slow at losing its first entry.
        self._messages: OrderedDict[Name, Message] = OrderedDict()
        self._shares: dict[str, _Share] = {}
        self._dropped: deque[Dropped] = deque(maxlen=_MAX_UNREPORTED)
        self.octets = 0

    def get(self, name: Name) -> Message | None:
        """Return the message *name*, None when nothing is held of it."""
        return self._messages.get(name)

    def put(self, name: Name, message: Message) -> None:
        """Hold *message*, which alone is within the bounds, as the newest; older ones make room for it."""
        share = self._shares.setdefault(name.sender, _Share())
        self._messages[name] = message
        share.names[name] = None
        share.octets += message.octets
        self.octets += message.octets
        bounds = self._bounds
        while len(share.names) > bounds.sender_messages or share.octets > bounds.sender_octets:
            self.drop(next(iter(share.names)), DropReason.CROWDED_OUT)
        while len(self._messages) > bounds.messages or self.octets > bounds.octets:
            self.drop(next(iter(self._messages)), DropReason.CROWDED_OUT)

    def remove(self, name: Name) -> Message:
        """Hold the message *name*, which is held, no longer; return it."""
        message = self._messages.pop(name)
        share = self._shares[name.sender]
        del share.names[name]
        share.octets -= message.octets
        self.octets -= message.octets
        if not share.names:
            del self._shares[name.sender]
        return message

    def drop(self, name: Name, reason: DropReason) -> None:
        """Give up the message *name*, which is held."""
        self.remove(name)
        self._dropped.append(Dropped(sender=name.sender, reference=name.reference, reason=reason))

    def expire(self, limit: float) -> None:
        """Give up what last saw a new part at *limit* or before."""
        while self._messages:
            name, message = next(iter(self._messages.items()))
            if message.seen_at > limit:
                return
            self.drop(name, DropReason.TIMED_OUT)

    def reports(self) -> list[Dropped]:
        """Return what was dropped since the last call, oldest first; beyond 256 the oldest are lost."""
        dropped = list(self._dropped)
        self._dropped.clear()
        return dropped
