"""Putting the parts of short messages together."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from transport.concatenation.held import Bounds, DropReason, Held, Message, Name
from transport.concatenation.parts import MAX_MESSAGE_OCTETS, MAX_PARTS, Part
from transport.errors import ConcatenationRejected

if TYPE_CHECKING:
    from transport.concatenation.held import Dropped
    from transport.sms.user_data import UserData


class Refusal(StrEnum):
    """The reasons of ConcatenationRejected.

    ``TOO_MANY_PARTS``: the total of this part is beyond what the reassembler takes; nothing else changes.
    ``FIRST_ELEMENT_MISSING``: part 1 does not say that the message is what it must be. ``TOO_LARGE``: with
    this part the message would be larger than all room. These two end their message: what was held of it is
    dropped, and its other parts are refused for the same reason until the time-out, or until a sound part 1
    shows that the reference was reused.
    """

    TOO_MANY_PARTS = "too-many-parts"
    FIRST_ELEMENT_MISSING = "first-element-missing"
    TOO_LARGE = "too-large"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """What remains of a message that is complete or refused: enough to know its parts again."""

    total: int
    seen_at: float
    digests: tuple[int, ...] = ()
    refusal: Refusal | None = None

    def knows(self, part: Part, user_data: UserData) -> bool:
        """Whether *part* is a repetition of one of a complete message."""
        return (
            self.refusal is None
            and self.total == part.total
            and self.digests[part.sequence - 1] == hash(user_data)
        )

    def refuses(self, part: Part) -> Refusal | None:
        """Why *part* is refused with the rest of its message; part 1 stands for itself."""
        return self.refusal if self.total == part.total and part.sequence > 1 else None


class Reassembler:
    """Takes user data as they come, gives whole messages back.

    Parts may come in any order, repeated, and mixed with those of other messages and senders. At most
    *max_messages* are held incomplete (and as many remembered that have ended), of at most *max_parts* parts
    each, and *max_octets* of user data in all; of one sender, *max_per_sender* and *max_octets_per_sender*.
    Beyond that, the one that waited longest for a new part goes first. A message is given up when *timeout_s*
    pass without a new part. With *require_first_element* a message whose part 1 lacks that element is
    refused.
    """

    def __init__(
        self,
        *,
        max_messages: int = 16,
        max_octets: int = 65536,
        max_per_sender: int = 8,
        max_octets_per_sender: int = MAX_MESSAGE_OCTETS,
        max_parts: int = MAX_PARTS,
        timeout_s: float = 300.0,
        require_first_element: int | None = None,
    ) -> None:
        self._max_messages = max_messages
        self._max_octets = min(max_octets, max_octets_per_sender)
        self._max_parts = max_parts
        self._timeout_s = timeout_s
        self._required = require_first_element
        self._held = Held(
            Bounds(
                messages=max_messages,
                octets=max_octets,
                sender_messages=max_per_sender,
                sender_octets=max_octets_per_sender,
            )
        )
        self._ended: OrderedDict[Name, _Ended] = OrderedDict()  # oldest first

    @property
    def octets(self) -> int:
        """The user data held, in octets."""
        return self._held.octets

    def receive(self, sender: str, user_data: UserData, now: float) -> UserData | None:
        """Return the message that *user_data* is or completes, or None while parts are missing.

        A part that is already known gives None too. Raises ConcatenationRejected with a :class:`Refusal`.
        """
        part = Part.of(user_data)
        if part is None:
            return user_data
        if part.total > self._max_parts:
            raise _rejection(Refusal.TOO_MANY_PARTS, part)
        self._forget_old(now)
        name = Name(sender, part.reference, part.wide)
        message = self._held.get(name)
        if message is not None and not message.agrees(part, user_data):
            message = None
        if self._is_repeated(name, message, part, user_data):
            return None
        self._check(name, message, part, user_data, now)
        return self._take(name, message or self._begin(name, part), part, user_data, now)

    def expire(self, now: float) -> list[Dropped]:
        """Give up what has timed out; return all that was dropped since the last call, oldest first.

        Beyond 256 unreported, the oldest reports are lost.
        """
        self._forget_old(now)
        return self._held.reports()

    def _is_repeated(self, name: Name, message: Message | None, part: Part, user_data: UserData) -> bool:
        if message is not None and part.sequence in message.parts:
            return True
        ended = self._ended.get(name)
        return ended is not None and ended.knows(part, user_data)

    def _check(
        self, name: Name, message: Message | None, part: Part, user_data: UserData, now: float
    ) -> None:
        """Refuse *part*, of the *message* that is held if any."""
        refusal = self._refusal(message, part, user_data)
        if refusal is not None:
            self._end(name, message, _Ended(total=part.total, seen_at=now, refusal=refusal))
        elif message is None and name in self._ended:
            refusal = self._ended[name].refuses(part)
        if refusal is not None:
            raise _rejection(refusal, part)

    def _refusal(self, message: Message | None, part: Part, user_data: UserData) -> Refusal | None:
        """Why *part* ends its message, if it does."""
        if part.sequence == 1 and self._required is not None and user_data.find(self._required) is None:
            return Refusal.FIRST_ELEMENT_MISSING
        if (message.octets if message else 0) + user_data.length > self._max_octets:
            return Refusal.TOO_LARGE
        return None

    def _end(self, name: Name, message: Message | None, ended: _Ended) -> None:
        """Drop what is held of a message that is refused, and remember that it was."""
        if message is not None:
            self._held.drop(name, DropReason.REFUSED)
        self._remember(name, ended)

    def _begin(self, name: Name, part: Part) -> Message:
        self._ended.pop(name, None)
        if self._held.get(name) is not None:
            self._held.drop(name, DropReason.CONTRADICTED)
        return Message(total=part.total)

    def _take(
        self, name: Name, message: Message, part: Part, user_data: UserData, now: float
    ) -> UserData | None:
        if message.parts:
            self._held.remove(name)
        message.add(part, user_data, now)
        if len(message.parts) < message.total:
            self._held.put(name, message)
            return None
        digests = tuple(map(hash, message.in_order()))
        self._remember(name, _Ended(total=message.total, seen_at=now, digests=digests))
        return message.join()

    def _remember(self, name: Name, ended: _Ended) -> None:
        self._ended.pop(name, None)
        self._ended[name] = ended
        if len(self._ended) > self._max_messages:
            self._ended.popitem(last=False)

    def _forget_old(self, now: float) -> None:
        limit = now - self._timeout_s
        self._held.expire(limit)
        while self._ended and next(iter(self._ended.values())).seen_at <= limit:
            self._ended.popitem(last=False)


def _rejection(refusal: Refusal, part: Part) -> ConcatenationRejected:
    return ConcatenationRejected(refusal, f"part {part.sequence} of {part.total}")
